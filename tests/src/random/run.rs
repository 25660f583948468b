//! The run: worlds one after the other, some queries over each, and the kept cases.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use tempfile::TempDir;

use super::case::Case;
use super::dice::Dice;
use super::judge::{Sides, Verdict};
use super::query::{Focus, Query, generate, generate_over};
use super::reference::{Meaning, meaning, views};
use super::rollups::Rollup;
use super::world::{Source, World, generate as generate_world};
use super::{files, parts, query, rollups};
use crate::AnyError;
use crate::server::run_program;
use crate::servers::{Site, connect, source};

const QUERIES: usize = 5_000;
const QUERIES_A_WORLD: usize = 125;
/// Worlds at once; each has a program of its own.
const WORKERS: usize = 3;
/// Of all queries that have an answer.
const MULTIPLIED_MIN_PERCENT: usize = 30;
const SEVERAL_FACTS_MIN_PERCENT: usize = 15;
/// Of so many queries or more; fewer are too few worlds.
const RESTRICTED_MIN_PERCENT: usize = 20;
const RESTRICTED_FROM: usize = 400;
/// Of so many queries or more.
const ROLLUPS_FROM: usize = 1000;
/// Of so many queries one is asked of careless SQL too, and its origin and its columns are looked at.
const SAMPLED: usize = 5;
/// Questions of each world that rollups are invented for, and join trees that are cut into rollups.
const ROLLUPS_FOR: usize = 7;
const JOINED_FOR: usize = 5;
/// Of the sampled queries, how many a rollup must answer, or one of their parts.
const FROM_ROLLUPS_MIN_PERCENT: usize = 35;
/// How many must need a source beside a rollup.
const FROM_BOTH_MIN_PERCENT: usize = 10;
/// How many must need several rollups that are joined, or one joined with a source.
const FROM_JOINED_MIN_PERCENT: usize = 15;
/// No more are looked into; what is wrong once is often wrong everywhere.
const FAILURES_MAX: usize = 12;

/// How `belvedere build` refuses a rollup whose members belong to no tree.
const NOT_BUILDABLE: [&str; 3] = ["no join path connects", "which no join tree holds together", "has no join to"];

#[derive(Default)]
struct Tally {
    queries: usize,
    multiplied: usize,
    several_facts: usize,
    /// In worlds with access policies.
    restricted: usize,
    /// Those that multiply and were asked of careless SQL too, and those where it has other rows.
    sampled: usize,
    shows: usize,
    equal: usize,
    empty: usize,
    scale: usize,
    digits: usize,
    no_path: usize,
    refused: BTreeMap<&'static str, usize>,
    /// Those of which EXPLAIN was asked; from where they are answered.
    explained: usize,
    /// Those about rollups that must be joined.
    about_joined: usize,
    from_rollups: usize,
    from_joined: usize,
    from_both: usize,
    from_index: usize,
    live_parts: usize,
    refusals: BTreeMap<String, usize>,
    rollups: usize,
    /// Microseconds at us, at the reference, and at us without rollups, over all workers.
    took: [u64; 3],
    /// The same for building rollups and starting the program.
    starts: u64,
    failures: Vec<String>,
    failures_max: usize,
    /// How many queries had been asked when the first one failed.
    first_failure: Option<usize>,
}

impl Tally {
    fn has_enough(&self) -> bool {
        self.failures.len() >= self.failures_max
    }
}

struct Servers {
    postgres: PrivatePostgres,
    mariadb: PrivateMariaDb,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_queries_give_the_rows_of_naive_sql() -> Result<(), AnyError> {
    let started = Instant::now();
    let seed = match std::env::var("BELVEDERE_RANDOM_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos().into(),
    };
    let queries = std::env::var("BELVEDERE_RANDOM_QUERIES").map_or(Ok(QUERIES), |text| text.parse())?;
    eprintln!("BELVEDERE_RANDOM_SEED={seed} BELVEDERE_RANDOM_QUERIES={queries}");
    let servers = Servers { postgres: PrivatePostgres::shared()?, mariadb: PrivateMariaDb::shared()? };
    let failures_max = std::env::var("BELVEDERE_RANDOM_FAILURES").map_or(Ok(FAILURES_MAX), |text| text.parse())?;
    let tally = Mutex::new(Tally { failures_max, ..Tally::default() });
    let next = AtomicUsize::new(0);
    let worlds = queries.div_ceil(QUERIES_A_WORLD);
    let worker = || async {
        let place = Place::new(&servers)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let enough = tally.lock().expect("no panic holds it").has_enough();
            if number >= worlds || enough {
                return Ok::<(), AnyError>(());
            }
            let count = QUERIES_A_WORLD.min(queries - number * QUERIES_A_WORLD);
            // Each world has a seed of its own, which makes it again with any number of others.
            let seed = Dice::new(seed).roll().wrapping_add(number as u64);
            run_world(&place, seed, count, &tally).await.map_err(|error| format!("world {seed}: {error}"))?;
        }
    };
    let workers: [_; WORKERS] = std::array::from_fn(|_| worker());
    for outcome in Box::pin(futures_of(workers)).await {
        outcome?;
    }
    let tally = tally.into_inner().expect("no panic held it");
    let report = report(&tally, started.elapsed().as_secs());
    eprintln!("{report}");
    assert!(tally.failures.is_empty(), "BELVEDERE_RANDOM_SEED={seed}\n{}\n{report}", tally.failures.join("\n"));
    assert!(
        tally.multiplied * 100 >= tally.queries * MULTIPLIED_MIN_PERCENT
            && tally.several_facts * 100 >= tally.queries * SEVERAL_FACTS_MIN_PERCENT,
        "too few hard ones: {report}"
    );
    assert!(
        tally.queries < RESTRICTED_FROM || tally.restricted * 100 >= tally.queries * RESTRICTED_MIN_PERCENT,
        "too few under access policies: {report}"
    );
    assert!(
        tally.queries < ROLLUPS_FROM
            || (tally.from_rollups * 100 >= tally.explained * FROM_ROLLUPS_MIN_PERCENT
                && tally.from_joined * 100 >= tally.explained * FROM_JOINED_MIN_PERCENT
                && tally.from_both * 100 >= tally.explained * FROM_BOTH_MIN_PERCENT),
        "too few from rollups: {report}"
    );
    Ok(())
}

/// All of them, side by side in this task.
async fn futures_of<F: Future>(futures: [F; WORKERS]) -> [F::Output; WORKERS] {
    let [a, b, c] = futures;
    tokio::join!(a, b, c).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_cases_give_the_rows_of_naive_sql() -> Result<(), AnyError> {
    let servers = Servers { postgres: PrivatePostgres::shared()?, mariadb: PrivateMariaDb::shared()? };
    let mut wrong = String::new();
    for (name, case) in Case::kept()? {
        let verdict = replay(&servers, &case).await.map_err(|error| format!("{name}: {error}"))?;
        if let Verdict::Wrong(text) = verdict {
            let _ = writeln!(wrong, "{name}: {}\n{text}", case.query);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    Ok(())
}

async fn replay(servers: &Servers, case: &Case) -> Result<Verdict, AnyError> {
    let place = Place::new(servers)?;
    let (running, sides) = place.set_up(case).await?;
    if let Some(problems) = running.problems {
        return Ok(Verdict::Wrong(problems));
    }
    let verdict = sides.judge(&case.query, &case.references, case.ordered).await?;
    let has_own_types = case.mariadb.is_empty() && case.files.is_empty();
    if let ([reference], false) = (case.references.as_slice(), verdict.is_wrong())
        && let Some(differences) =
            sides.column_differences(&case.query, Some(reference.as_str()).filter(|_| has_own_types)).await?
    {
        return Ok(Verdict::Wrong(differences));
    }
    Ok(verdict)
}

/// Databases that a worker fills again for each world.
struct Place {
    reference: String,
    postgres: String,
    maria: String,
}

impl Place {
    fn new(servers: &Servers) -> Result<Self, AnyError> {
        Ok(Self {
            reference: servers.postgres.fresh_database_by_code_point()?,
            postgres: servers.postgres.fresh_database()?,
            maria: servers.mariadb.fresh_database()?,
        })
    }

    /// The case's data where it belongs, and the program over it.
    async fn set_up(&self, case: &Case) -> Result<(Running, Sides), AnyError> {
        let reference = connect(&self.reference.parse()?).await?;
        let behind = connect(&self.postgres.parse()?).await?;
        let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
        for client in [&reference, &behind] {
            client.batch_execute(empty).await?;
            client.batch_execute(&case.tables).await?;
        }
        reference.batch_execute(&case.views).await?;
        // A time is compared with an instant on the wall clock of the session.
        reference.batch_execute(&case.settings).await?;
        let mut sources = vec![source("default", &self.postgres)];
        if !case.mariadb.is_empty() {
            let (url, script) = (self.maria.clone(), case.mariadb.clone());
            tokio::task::spawn_blocking(move || PrivateMariaDb::run_sql(&url, &script)).await??;
            sources.push(source("maria", &self.maria));
        }
        let folder = TempDir::new()?;
        if !case.files.is_empty() {
            for (name, content) in &case.files {
                fs::write(folder.path().join(name), content)?;
            }
            let (path, columns) = (folder.path().display(), case.columns.join(", "));
            sources.push(format!("files: {{ type: files, path: \"{path}\", columns: {{ {columns} }} }}"));
        }
        // Beside the other worlds: what blocks their task lets their logins wait for longer than a server does.
        let (config, model) = (case.config.clone(), case.model.clone());
        let start = move || {
            let mut problems = None;
            let build = |config: &Path| {
                if model.contains("pre_aggregations:") {
                    problems = build(config)?;
                }
                Ok(())
            };
            let site = Site::start_after(&sources, &config, &model, build);
            site.map(|site| (site, problems)).map_err(|error| format!("{error}\n{model}"))
        };
        let (site, problems) = tokio::task::spawn_blocking(start).await??;
        let mut clients = Vec::new();
        for _ in 0..2 {
            let ours =
                site.connect().await.map_err(|error| format!("{error}\n{}\n{}", site.server.log(), case.model))?;
            ours.batch_execute(&case.settings).await?;
            clients.push(ours);
        }
        let (Some(without_rollups), Some(ours)) = (clients.pop(), clients.pop()) else {
            return Err("no clients".into());
        };
        without_rollups.batch_execute("SET rollups = 'off'").await?;
        let sides = Sides { ours, without_rollups, reference, took: Default::default() };
        Ok((Running { site, problems, _folder: folder }, sides))
    }
}

/// Runs `belvedere build`. A rollup of members that no join tree holds together cannot be built; nothing else may fail.
fn build(config: &Path) -> Result<Option<String>, AnyError> {
    let (went_well, out, error) = run_program(&["build", "--config", &config.to_string_lossy()])?;
    let is_known = |line: &&str| NOT_BUILDABLE.iter().any(|words| line.contains(words));
    let unknown: Vec<&str> =
        error.lines().filter(|line| line.starts_with("error")).filter(|line| !is_known(line)).collect();
    let has_known = error.lines().any(|line| is_known(&line));
    if unknown.is_empty() && (went_well || has_known) {
        return Ok(None);
    }
    Ok(Some(format!("belvedere build fails: {}\n{out}{error}", unknown.join("\n"))))
}

/// What must live as long as the program is asked.
struct Running {
    site: Site,
    /// What `belvedere build` says that it must not say.
    problems: Option<String>,
    _folder: TempDir,
}

async fn run_world(place: &Place, seed: u64, count: usize, tally: &Mutex<Tally>) -> Result<(), AnyError> {
    let mut world = generate_world(seed, 0);
    let focuses = add_rollups(&mut Dice::new(seed ^ 0x0401_10B5), &mut world);
    let (files, columns) = files::csv(&world);
    let template = Case {
        model: files::model(&world),
        tables: files::postgres(&world),
        views: views(&world),
        mariadb: files::mariadb(&world),
        files,
        columns,
        config: config(seed, &world),
        settings: world.zone.map_or_else(String::new, |zone| format!("SET timezone = '{zone}'")),
        ..Case::default()
    };
    let started = Instant::now();
    let (running, sides) = place.set_up(&template).await?;
    let start = started.elapsed();
    if let Some(problems) = &running.problems {
        let one = "SELECT 1 AS one".to_owned();
        let note = format!("world {seed}: its rollups");
        let case = Case { note, query: one.clone(), references: vec![one], ..template.clone() };
        let path = case.keep(&format!("world_{seed}_rollups"))?;
        let report = format!("world {seed}, kept as {}\n{problems}", path.display());
        tally.lock().expect("no panic holds it").failures.push(report);
    }
    let dice = &mut Dice::new(seed ^ 0x5EED);
    for number in 0..count {
        let (query, meaning, is_far) = asked(dice, &world, &focuses);
        let mut verdict = judge(&sides, &query, &meaning).await?;
        let is_sampled = number % SAMPLED == 0;
        let shows = if is_sampled { shows(&sides, &meaning, &verdict).await? } else { None };
        let mut origin = None;
        if is_sampled
            && let Meaning::Rows(answer) = &meaning
            && !verdict.is_wrong()
        {
            origin = sides.origin(&query.ours()).await?;
            let has_own_types = world.sources.iter().all(|source| *source == Source::Postgres);
            let reference = has_own_types.then_some(answer.sql.as_str());
            if let Some(differences) = sides.column_differences(&query.ours(), reference).await? {
                verdict = Verdict::Wrong(differences);
            }
        }
        let failure = if verdict.is_wrong() {
            let query = shrink(&sides, &world, query.clone()).await?;
            let report = keep(&sides, &world, &template, &query, &format!("world {seed}, query {number}")).await?;
            Some(format!(
                "{report}\nbefore it was made smaller: {verdict:?}{}",
                logged(&report, &running.site.server.log())
            ))
        } else {
            None
        };
        let mut tally = tally.lock().expect("no panic holds it");
        count_in(&mut tally, &meaning, &verdict);
        tally.restricted += usize::from(world.is_restricted() && matches!(meaning, Meaning::Rows(_)));
        if let Some(origin) = origin {
            tally.explained += 1;
            tally.about_joined += usize::from(is_far);
            tally.from_rollups += usize::from(origin.from_rollups);
            tally.from_joined += usize::from(origin.from_joined);
            tally.from_index += usize::from(origin.from_index);
            tally.from_both += usize::from(origin.from_rollups && origin.from_sources);
            tally.live_parts += usize::from(origin.has_live_part);
            if !origin.from_rollups {
                for reason in origin.refusals {
                    *tally.refusals.entry(reason).or_default() += 1;
                }
            }
        }
        if let Some(shows) = shows {
            tally.sampled += 1;
            tally.shows += usize::from(shows);
        }
        if failure.is_some() && tally.first_failure.is_none() {
            tally.first_failure = Some(tally.queries);
        }
        tally.failures.extend(failure);
        if tally.has_enough() {
            break;
        }
    }
    let mut tally = tally.lock().expect("no panic holds it");
    for (sum, took) in tally.took.iter_mut().zip(&sides.took) {
        *sum += took.load(Ordering::Relaxed);
    }
    tally.starts += start.as_micros() as u64;
    tally.rollups += world.rollups.len();
    Ok(())
}

/// Gives a world rollups, some of which must be joined; the columns that each of them is about.
fn add_rollups(dice: &mut Dice, world: &mut World) -> Vec<Focus> {
    let mut focuses: Vec<Focus> = Vec::new();
    // Few rollups over filtered cubes are enough: most of them are refused.
    let mut filtered = false;
    for _ in 0..JOINED_FOR * 12 {
        if focuses.len() >= JOINED_FOR {
            break;
        }
        if let Some((mut found, focus)) = parts::invent(dice, world, focuses.len()) {
            if is_filtered(world, &focus, &found) && std::mem::replace(&mut filtered, true) {
                continue;
            }
            found.iter_mut().for_each(|rollup| rollups::complete(dice, world, &focus, rollup));
            world.rollups.extend(found);
            focuses.push(focus);
        }
    }
    let mut invented = 0;
    let mut filtered = 0;
    for _ in 0..ROLLUPS_FOR * 12 {
        if invented >= ROLLUPS_FOR {
            break;
        }
        let (query, meaning, _) = asked(dice, world, &[]);
        let Meaning::Rows(answer) = meaning else { continue };
        // Most questions repeat rows, and of those only rollups of the very same groups know anything.
        let is_hard = answer.multiplied && dice.chance(50);
        if answer.facts.is_empty() || is_hard {
            continue;
        }
        let (mut found, focus) = rollups::invent(dice, world, &query, &answer, invented);
        let is_filtered = is_filtered(world, &focus, &found);
        if found.is_empty() || focus.measures.is_empty() || (is_filtered && filtered > 1) {
            continue;
        }
        filtered += usize::from(is_filtered);
        found.iter_mut().for_each(|rollup| rollups::complete(dice, world, &focus, rollup));
        world.rollups.extend(found);
        invented += 1;
        focuses.push(focus);
    }
    world.rollups.extend(rollups::base_rows(dice, world));
    focuses
}

/// Whether access policies filter a cube that these rollups join: hidden rows of the root are told apart by stored members.
fn is_filtered(world: &World, focus: &Focus, rollups: &[Rollup]) -> bool {
    let columns = focus.rows.iter().chain(&focus.measures).chain(focus.times.iter().map(|(column, _)| column));
    let cubes = columns.map(|column| focus.scope.columns[*column].cube);
    let mut owners = rollups.iter().map(|rollup| rollup.owner);
    let root = owners.next();
    cubes.chain(owners).any(|cube| Some(cube) != root && !world.policies[cube].is_empty())
}

/// Nothing is built but before the first query; now and then not for the session's zone.
fn config(seed: u64, world: &World) -> String {
    let zones = match world.zone {
        Some(zone) if seed.is_multiple_of(2) => format!("[{zone}, UTC]"),
        _ => "[UTC]".to_owned(),
    };
    format!("refresh: {{ enabled: false, time_zones: {zones} }}")
}

/// What the log says of an internal error that a report names.
fn logged(report: &str, log: &str) -> String {
    let Some((_, id)) = report.split_once("internal error ") else { return String::new() };
    let id: String = id.chars().take_while(char::is_ascii_hexdigit).collect();
    // The message may have lines of its own before the one with the id.
    let lines: Vec<&str> = log.lines().collect();
    let Some(last) = lines.iter().position(|line| line.contains(&id)) else { return String::new() };
    format!("\n{}", lines[last.saturating_sub(4)..=last].join("\n"))
}

/// A query that has a meaning, of a kind that is wanted often enough; whether it is about rollups that must be joined.
fn asked(dice: &mut Dice, world: &World, focuses: &[Focus]) -> (Query, Meaning, bool) {
    let wanted = dice.below(100);
    let mut found = None;
    for _ in 0..150 {
        let joined: Vec<&Focus> = focuses.iter().filter(|focus| !focus.far.is_empty()).collect();
        let focus = if wanted >= 38 && !joined.is_empty() && dice.chance(80) {
            Some(*dice.pick(&joined))
        } else if !focuses.is_empty() && dice.chance(92) {
            Some(dice.pick(focuses))
        } else {
            None
        };
        let query = match focus {
            Some(focus) => generate_over(dice, world, focus),
            None => generate(dice, world),
        };
        let is_far = focus.is_some_and(|focus| !focus.far.is_empty());
        let meaning = meaning(world, &query);
        let fits = match &meaning {
            Meaning::Open => continue,
            Meaning::Refused(_) => wanted < 4,
            Meaning::Rows(answer) if wanted < 19 => answer.several_facts,
            Meaning::Rows(answer) if wanted < 38 => answer.multiplied,
            Meaning::Rows(_) => true,
        };
        if fits {
            return (query, meaning, is_far);
        }
        if matches!(meaning, Meaning::Rows(_)) {
            found = Some((query, meaning, is_far));
        }
    }
    found.unwrap_or_else(|| asked(dice, world, focuses))
}

fn references(meaning: &Meaning) -> Vec<String> {
    match meaning {
        Meaning::Rows(answer) => vec![answer.sql.clone()],
        Meaning::Refused(_) | Meaning::Open => Vec::new(),
    }
}

async fn judge(sides: &Sides, query: &Query, meaning: &Meaning) -> Result<Verdict, AnyError> {
    sides.judge(&query.ours(), &references(meaning), query.limit.is_some()).await
}

/// Whether a right answer to a question that multiplies is one that careless SQL would not give.
async fn shows(sides: &Sides, meaning: &Meaning, verdict: &Verdict) -> Result<Option<bool>, AnyError> {
    let Meaning::Rows(answer) = meaning else { return Ok(None) };
    if !answer.multiplied || verdict.is_wrong() {
        return Ok(None);
    }
    sides.references_differ(&answer.sql, &answer.careless).await.map(Some)
}

/// The smallest query that is still wrong, among those that leave out parts of this one.
async fn shrink(sides: &Sides, world: &World, mut query: Query) -> Result<Query, AnyError> {
    loop {
        let mut smaller = None;
        for candidate in simpler(&query) {
            let meaning = meaning(world, &candidate);
            if matches!(meaning, Meaning::Rows(_)) && judge(sides, &candidate, &meaning).await?.is_wrong() {
                smaller = Some(candidate);
                break;
            }
        }
        match smaller {
            Some(candidate) => query = candidate,
            None => return Ok(query),
        }
    }
}

fn simpler(query: &Query) -> Vec<Query> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Query)| {
        let mut candidate = query.clone();
        change(&mut candidate);
        if !(candidate.dimensions.is_empty() && (candidate.measures.is_empty() || candidate.above.is_some())) {
            all.push(candidate);
        }
    };
    if query.limit.is_some() {
        with(&|query| query.limit = None);
    }
    if query.above.is_some() {
        with(&|query| query.above = None);
    }
    for place in 0..query.having.len() {
        with(&|query| drop(query.having.remove(place)));
    }
    for place in 0..query.filters.len() {
        with(&|query| drop(query.filters.remove(place)));
    }
    for place in 0..query.measures.len() {
        with(&|query| drop(query.measures.remove(place)));
    }
    for place in 0..query.dimensions.len() {
        with(&|query| drop(query.dimensions.remove(place)));
    }
    if matches!(query.form, query::Form::SubQuery | query::Form::With | query::Form::Star) {
        with(&|query| query.form = query::Form::Plain);
    }
    all
}

/// Writes the case down and gives the report of it.
async fn keep(sides: &Sides, world: &World, template: &Case, query: &Query, name: &str) -> Result<String, AnyError> {
    let meaning = meaning(world, query);
    let verdict = judge(sides, query, &meaning).await?;
    let what = match &verdict {
        Verdict::Wrong(text) => text.clone(),
        other => format!("not wrong when asked again: {other:?}"),
    };
    let case = Case {
        note: name.to_owned(),
        ordered: query.limit.is_some(),
        query: query.ours(),
        references: references(&meaning),
        ..template.clone()
    };
    let path = case.keep(&name.replace(", ", "_").replace(' ', "_"))?;
    Ok(format!("{name}, kept as {}\n{}\n{}\n{what}", path.display(), case.query, case.references.join("\nor\n")))
}

fn count_in(tally: &mut Tally, meaning: &Meaning, verdict: &Verdict) {
    if let Meaning::Rows(answer) = meaning {
        tally.queries += 1;
        tally.multiplied += usize::from(answer.multiplied);
        tally.several_facts += usize::from(answer.several_facts);
    }
    match verdict {
        Verdict::Equal { rows, .. } => {
            tally.equal += 1;
            tally.empty += usize::from(*rows == 0);
        }
        Verdict::EqualButScale { .. } => tally.scale += 1,
        Verdict::EqualButDigits { .. } => tally.digits += 1,
        Verdict::Refused(kind) => *tally.refused.entry(kind).or_default() += 1,
        Verdict::NoPath => tally.no_path += 1,
        Verdict::Wrong(_) => {}
    }
}

fn report(tally: &Tally, seconds: u64) -> String {
    let percent = |count: usize| count * 100 / tally.queries.max(1);
    let of_explained = |count: usize| count * 100 / tally.explained.max(1);
    format!(
        "{} queries in {seconds} s: {} equal ({} of them without rows), {} equal but for trailing zeros, {} but for digits after the 16th, refused: {:?}, {} rightly without \
         a path, {} failures (the first after {:?} queries); {} % multiply a measure (careless SQL is wrong for {} of {}), {} % have several facts, {} % are under access policies; of {} that were \
         explained {} % are answered by rollups, {} % by joined ones ({} % are about some), {} % by copies of indexes, {} % by rollups and sources ({} % by a rollup whose range ends), with {} rollups; seconds of all workers: \
         {} us, {} us without rollups, {} reference, {} starts\nwhy not from rollups: {:#?}",
        tally.queries,
        tally.equal,
        tally.empty,
        tally.scale,
        tally.digits,
        tally.refused,
        tally.no_path,
        tally.failures.len(),
        tally.first_failure,
        percent(tally.multiplied),
        tally.shows,
        tally.sampled,
        percent(tally.several_facts),
        percent(tally.restricted),
        tally.explained,
        of_explained(tally.from_rollups),
        of_explained(tally.from_joined),
        of_explained(tally.about_joined),
        of_explained(tally.from_index),
        of_explained(tally.from_both),
        of_explained(tally.live_parts),
        tally.rollups,
        tally.took[0] / 1_000_000,
        tally.took[2] / 1_000_000,
        tally.took[1] / 1_000_000,
        tally.starts / 1_000_000,
        tally.refusals
    )
}
