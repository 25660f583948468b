//! `belvedere build`: builds what is due, once, and shows how far it is.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use belvedere_engine::Zone;
use belvedere_model::Diagnostic;
use belvedere_planner::rollups::{Rollup, RollupName};
use belvedere_refresh::{BuildEvent, Built, Force, OnBuild, Refresher, did_you_mean};
use belvedere_rollup::CollectOptions;
use futures::StreamExt;
use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};

use crate::commands::{Given, answer, complain};
use crate::observe::Observations;
use crate::status::Status;
use crate::{check, logging, rollup_store, source_problems, startup};

/// Builds the named rollups, or all: exit code 0 if each of them is up to date afterwards.
pub async fn build(given: Given, names: &[String], force: bool) -> ExitCode {
    match Box::pin(run(given, names, force)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problems) => {
            check::print(&problems);
            ExitCode::FAILURE
        }
    }
}

async fn run(given: Given, names: &[String], force: bool) -> Result<bool, Vec<Diagnostic>> {
    let config = startup::read_config(&given)?;
    logging::start(&config.log);
    let read = startup::read_model(&config);
    let mut diagnostics = read.diagnostics.clone();
    diagnostics.extend(startup::check_source_names(&config, &read));
    let model = match &read.model {
        Some(model) if !diagnostics.iter().any(Diagnostic::is_error) => Arc::clone(model),
        _ => return Err(diagnostics),
    };
    if !rollup_store::has_rollups(&model) {
        if let Some(name) = names.first() {
            complain(&format!("error: there is no rollup \"{name}\": the model has none\n"));
            return Ok(false);
        }
        return Ok(answer("the model has no rollups\n").is_ok());
    }
    let observations = Observations::new(Arc::new(Status::default()));
    let sources = startup::open_sources(&config, &observations).await?;
    let engine = startup::engine(&config, sources)?;
    rollup_store::open(&config, &given.environment, &engine).map_err(|problem| vec![*problem])?;
    let problems = engine.load_model(Arc::clone(&model)).await;
    check::print(&source_problems::diagnostics(&problems, &model, &read.files, &config));
    let refresher = match Refresher::new(engine, Arc::new(startup::SystemClock), rollup_store::process_name()) {
        Ok(refresher) => refresher,
        Err(error) => {
            complain(&format!("error: {error}\n"));
            return Ok(false);
        }
    };
    let Some(rollups) = chosen(&refresher, names) else { return Ok(false) };
    let zones = refresher.zones().to_vec();
    let jobs: Vec<(RollupName, Zone)> =
        rollups.iter().flat_map(|name| zones.iter().map(|zone| (name.clone(), *zone))).collect();
    let show = Arc::new(Show::new(zones.len() > 1));
    let force = if force { Force::All } else { Force::No };
    let outcomes: Vec<bool> = futures::stream::iter(jobs)
        .map(|(name, zone)| {
            let (refresher, show) = (refresher.clone(), Arc::clone(&show));
            async move { one(&refresher, &show, &name, zone, force).await }
        })
        .buffer_unordered(config.refresh.concurrency.max(1))
        .collect()
        .await;
    if let Err(error) = refresher.store().collect(CollectOptions::default()).await {
        tracing::warn!(%error, "old versions of rollups could not be deleted");
    }
    Ok(outcomes.into_iter().all(|went_well| went_well))
}

/// The rollups that are meant; `None` after an error was told.
fn chosen(refresher: &Refresher, names: &[String]) -> Option<Vec<RollupName>> {
    let all = refresher.engine().rollups();
    let kept = |rollup: &Rollup| rollup.kind.stores_rows();
    if names.is_empty() {
        return Some(all.iter().filter(|rollup| kept(rollup)).map(|rollup| rollup.name.clone()).collect());
    }
    let mut found = Vec::new();
    let mut went_well = true;
    for name in names {
        let mut matching = all.iter().filter(|rollup| rollup.name.to_string() == *name);
        match matching.next() {
            Some(rollup) if kept(rollup) => found.push(rollup.name.clone()),
            Some(rollup) => {
                let why = match &rollup.layout {
                    Err(error) => error.message.clone(),
                    Ok(_) => "it stores nothing of its own".to_owned(),
                };
                complain(&format!("error: {name} is not built: {why}\n"));
                went_well = false;
            }
            None => {
                let help = match did_you_mean(name, &all) {
                    Some(close) => format!("did you mean \"{close}\"?"),
                    None => {
                        let known: Vec<String> = all.iter().map(|rollup| rollup.name.to_string()).collect();
                        format!("there are: {}", known.join(", "))
                    }
                };
                complain(&format!("error: there is no rollup \"{name}\"\n  = help: {help}\n"));
                went_well = false;
            }
        }
    }
    went_well.then_some(found)
}

async fn one(refresher: &Refresher, show: &Arc<Show>, name: &RollupName, zone: Zone, force: Force) -> bool {
    let title = show.title(name, zone);
    let begun = Instant::now();
    let on_build = show.listener(&title);
    let outcome = refresher.build(name, zone, force, on_build).await;
    show.end(&title);
    match outcome {
        Ok(built) => show.line(&done(&title, built, begun)),
        Err(error) => {
            show.suspend(|| complain(&format!("error: {error}\n")));
            false
        }
    }
}

fn done(title: &str, built: Built, begun: Instant) -> String {
    let Built { built, partitions, rows, bytes } = built;
    if built == 0 {
        return format!("{title}: up to date, {}", counted(partitions, "partition"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a speed is shown in whole rows")]
    let speed = rows as f64 / seconds.max(0.001);
    format!(
        "{title}: built {built} of {}, {} rows, {} in {seconds:.1} s ({speed:.0} rows/s)",
        counted(partitions, "partition"),
        HumanCount(rows),
        HumanBytes(bytes)
    )
}

fn counted(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// A bar for each rollup on a terminal, a line for each when it is done otherwise.
struct Show {
    bars: Option<MultiProgress>,
    /// By title.
    running: Mutex<HashMap<String, ProgressBar>>,
    with_zone: bool,
}

impl Show {
    fn new(with_zone: bool) -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, running: Mutex::default(), with_zone }
    }

    fn title(&self, name: &RollupName, zone: Zone) -> String {
        if self.with_zone { format!("{name} ({})", zone.name()) } else { name.to_string() }
    }

    fn listener(&self, title: &str) -> OnBuild {
        let Some(bars) = &self.bars else {
            let title = title.to_owned();
            return Arc::new(move |event| {
                if event == BuildEvent::Waiting {
                    complain(&format!("{title}: waiting for another process that builds it\n"));
                }
            });
        };
        let bar = bars.add(ProgressBar::new(1));
        let style = ProgressStyle::with_template("{prefix}  [{bar:24}] {pos}/{len} partitions  {msg}")
            .expect("the template is ours")
            .progress_chars("=> ");
        bar.set_style(style);
        bar.set_prefix(title.to_owned());
        self.running().insert(title.to_owned(), bar.clone());
        let begun = Instant::now();
        let before = Mutex::new(0_u64);
        Arc::new(move |event| {
            let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = match event {
                BuildEvent::Waiting => {
                    bar.set_message("waiting for another process that builds it");
                    bar.tick();
                    return;
                }
                BuildEvent::Planned { due, partitions: _ } => {
                    bar.set_length(u64::try_from(due).unwrap_or(u64::MAX));
                    bar.reset_eta();
                    return;
                }
                BuildEvent::Rows(rows) => *before + rows,
                BuildEvent::Partition { rows, bytes: _ } => {
                    *before += rows;
                    bar.inc(1);
                    *before
                }
            };
            #[expect(clippy::cast_precision_loss, reason = "a speed is shown in whole rows")]
            let speed = rows as f64 / begun.elapsed().as_secs_f64().max(0.001);
            let left = if bar.position() == 0 { "?".to_owned() } else { format!("{} s", bar.eta().as_secs()) };
            bar.set_message(format!("{} rows, {speed:.0} rows/s, {left} left", HumanCount(rows)));
        })
    }

    fn end(&self, title: &str) {
        if let Some(bar) = self.running().remove(title) {
            bar.finish_and_clear();
        }
    }

    /// Whether it could be written.
    fn line(&self, text: &str) -> bool {
        let mut written = false;
        self.suspend(|| written = answer(&format!("{text}\n")).is_ok());
        written
    }

    /// Writes while no bar is in the way.
    fn suspend(&self, write: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, ProgressBar>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
