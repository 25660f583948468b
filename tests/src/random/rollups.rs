//! Random rollups, invented for questions that could be asked: what one of them needs, and now and then more, less, or coarser.
//!
//! A rollup that is made of members at random answers next to nothing. So each begins with a question; the queries of the run then are other
//! questions over the same columns ([`Focus`]).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::dice::Dice;
use super::query::{Aggregate, Column, Focus, NESTED, Query, Role, RowText, Scope, Text, kind, truncated};
use super::reference::Answer;
use super::world::{Formula, Join, Kind, Relation, World};

/// A `rollup` among the `pre_aggregations` of a cube, as the model writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollup {
    pub owner: usize,
    pub name: String,
    pub measures: Vec<String>,
    pub dimensions: Vec<String>,
    pub segments: Vec<String>,
    /// Each with its granularity; the first may partition.
    pub times: Vec<(String, &'static str)>,
    pub partition: Option<&'static str>,
    /// Times without a zone.
    pub from: Option<&'static str>,
    pub to: Option<&'static str>,
    pub exact_distinct: bool,
    /// What `type` says, if not `rollup`.
    pub of_type: Option<&'static str>,
    /// Those that a `rollup_join` joins.
    pub rollups: Vec<String>,
    pub reads_base_rows: bool,
    /// The members of each index, and whether it aggregates.
    pub indexes: Vec<(Vec<String>, bool)>,
}

impl Rollup {
    /// Its lines in the model.
    pub fn yaml(&self) -> String {
        let mut text = format!("      - name: {}\n", self.name);
        if let Some(of_type) = self.of_type {
            let _ = writeln!(text, "        type: {of_type}");
        }
        for (key, members) in [
            ("measures", &self.measures),
            ("dimensions", &self.dimensions),
            ("segments", &self.segments),
            ("rollups", &self.rollups),
        ] {
            if !members.is_empty() {
                let _ = writeln!(text, "        {key}: [{}]", members.join(", "));
            }
        }
        match self.times.as_slice() {
            [] => {}
            [(time, granularity)] => {
                let _ = writeln!(text, "        time_dimension: {time}\n        granularity: {granularity}");
            }
            several => {
                text.push_str("        time_dimensions:\n");
                for (time, granularity) in several {
                    let _ = writeln!(text, "          - {{ dimension: {time}, granularity: {granularity} }}");
                }
            }
        }
        if let Some(partition) = self.partition {
            let _ = writeln!(text, "        partition_granularity: {partition}");
        }
        for (key, at) in [("build_range_start", self.from), ("build_range_end", self.to)] {
            if let Some(at) = at {
                let _ = writeln!(text, "        {key}: {{ sql: \"SELECT TIMESTAMP '{at}'\" }}");
            }
        }
        if self.exact_distinct {
            text.push_str("        exact_distinct: true\n");
        }
        if self.reads_base_rows {
            text.push_str("        use_original_sql_pre_aggregations: true\n");
        }
        for (number, (members, aggregates)) in self.indexes.iter().enumerate() {
            if number == 0 {
                text.push_str("        indexes:\n");
            }
            let kind = if *aggregates { ", type: aggregate" } else { "" };
            let _ = writeln!(text, "          - {{ name: i{number}, columns: [{}]{kind} }}", members.join(", "));
        }
        text
    }
}

/// The rollups for one question, one for each root that its facts have, and the columns that they store.
pub fn invent(dice: &mut Dice, world: &World, query: &Query, answer: &Answer, number: usize) -> (Vec<Rollup>, Focus) {
    let scope = &query.scope;
    let mut measures: Vec<usize> = Vec::new();
    let mut named: Vec<usize> = Vec::new();
    for aggregate in query.aggregates() {
        match aggregate {
            Aggregate::Measure { column, filter, .. } => {
                add(&mut measures, *column);
                filter.iter().flat_map(Text::holes).for_each(|column| add(&mut named, *column));
            }
            Aggregate::Dimension { column, .. } => add(&mut named, *column),
            Aggregate::CountRows => {}
        }
    }
    let grouped: Vec<usize> = unique(query.dimensions.iter().flat_map(Text::holes).copied());
    grouped.iter().for_each(|column| add(&mut named, *column));
    let filtered = unique(query.filters.iter().flat_map(Text::holes).copied());
    let is_multiplied = answer.multiplied;
    // What counts in several groups is only read group by group, so there the rollup has what the question groups by and no more.
    let is_exact = is_multiplied && dice.chance(75) || dice.chance(15);
    let mut stored = if is_exact { grouped.clone() } else { named };
    if !is_exact || dice.chance(30) {
        filtered.iter().for_each(|column| add(&mut stored, *column));
    }
    let roots: BTreeSet<usize> = answer.facts.iter().map(|(_, root, _)| *root).collect();
    let cubes: BTreeSet<usize> = answer.facts.iter().map(|(cube, ..)| *cube).collect();
    let segments: Vec<usize> = (0..scope.columns.len())
        .filter(|column| {
            let of = &scope.columns[*column];
            matches!(of.role, Role::Segment(_)) && cubes.contains(&of.cube)
        })
        .collect();
    if !segments.is_empty() && dice.chance(if is_exact { 20 } else { 45 }) {
        add(&mut stored, *dice.pick(&segments));
    }
    if !is_exact {
        // More of its own, so that other questions find something too; a time before all.
        let mut own: Vec<usize> = (0..scope.columns.len())
            .filter(|column| {
                cubes.contains(&scope.columns[*column].cube)
                    && !matches!(scope.columns[*column].role, Role::Measure(_))
                    && !stored.contains(column)
            })
            .collect();
        dice.shuffle(&mut own);
        let is_time = |column: &usize| matches!(kind(world, scope, *column), Kind::Time | Kind::Date);
        own.sort_by_key(|column| !is_time(column));
        for column in own.into_iter().take(if roots.len() == 1 { dice.between(1, 3) } else { dice.below(2) }) {
            stored.push(column);
        }
        // And of cubes that the fact's rows have one row of, so that there is something to join.
        let mut near: Vec<usize> = (0..scope.columns.len())
            .filter(|column| {
                let of = &scope.columns[*column];
                let is_near = |root: &usize| {
                    let path_fits = of.path == [of.cube] || of.path == [*root, of.cube];
                    path_fits && of.cube != *root && joined_once(world, *root, of.cube).is_some()
                };
                !matches!(of.role, Role::Measure(_)) && !stored.contains(column) && roots.iter().any(is_near)
            })
            .collect();
        dice.shuffle(&mut near);
        if roots.len() == 1 && dice.chance(90) {
            stored.extend(near.into_iter().take(dice.between(1, 3)));
        }
        let more: Vec<usize> = (0..scope.columns.len())
            .filter(|column| {
                cubes.contains(&scope.columns[*column].cube) && matches!(scope.columns[*column].role, Role::Measure(_))
            })
            .collect();
        dice.some(&more, 50).into_iter().for_each(|column| add(&mut measures, column));
        // The root's own are those that joins do not repeat.
        let of_roots = (0..scope.columns.len()).filter(|column| {
            let of = &scope.columns[*column];
            roots.contains(&of.cube) && matches!(of.role, Role::Measure(_))
        });
        of_roots.take(2).for_each(|column| add(&mut measures, column));
    }
    let mut focus = Focus {
        scope: scope.clone(),
        rows: Vec::new(),
        measures: measures.clone(),
        times: Vec::new(),
        exactly: None,
        far: Vec::new(),
    };
    let (mut dimensions, mut segments): (Vec<usize>, Vec<usize>) = Default::default();
    for column in stored {
        match kind(world, scope, column) {
            Kind::Time | Kind::Date if dice.chance(85) && focus.times.len() < 3 => {
                let unit = granularity(dice, world, scope, column);
                focus.times.push((column, unit));
            }
            _ => {
                if matches!(scope.columns[column].role, Role::Segment(_)) {
                    segments.push(column);
                } else {
                    dimensions.push(column);
                }
                focus.rows.push(column);
            }
        }
    }
    dice.shuffle(&mut focus.times);
    if is_exact {
        let plain = dimensions.iter().chain(&segments).map(|column| Text::hole(*column));
        let times = focus.times.iter().map(|(column, unit)| truncated(world, scope, *column, unit));
        focus.exactly = Some(plain.chain(times).collect::<Vec<RowText>>());
    }
    let mut rollups = Vec::new();
    for root in roots {
        // One fact may have none, so that a source answers beside a rollup.
        if !rollups.is_empty() && dice.chance(55) {
            continue;
        }
        let names = |columns: &[usize]| columns.iter().map(|column| reference(world, scope, root, *column)).collect();
        let of_root: Vec<usize> =
            measures.iter().copied().filter(|column| is_of_root(world, scope, answer, *column, root)).collect();
        if of_root.is_empty() {
            continue;
        }
        let mut rollup = Rollup {
            owner: root,
            name: format!("r{number}_{root}"),
            measures: names(&of_root),
            dimensions: names(&dimensions),
            segments: names(&segments),
            times: focus.times.iter().map(|(column, unit)| (reference(world, scope, root, *column), *unit)).collect(),
            exact_distinct: dice.chance(50),
            reads_base_rows: dice.chance(30),
            ..Rollup::default()
        };
        if let Some((_, unit)) = focus.times.first() {
            partition(dice, world, unit, &mut rollup);
        }
        let larger = (!is_exact && dice.chance(15)).then(|| wider(dice, world, scope, root, &rollup));
        rollups.push(rollup);
        rollups.extend(larger);
    }
    (rollups, focus)
}

/// Gives a rollup what no question asked for: the members that an access policy tests, so that filtered users may read it, and an index.
pub fn complete(dice: &mut Dice, world: &World, focus: &Focus, rollup: &mut Rollup) {
    if rollup.of_type.is_some() {
        return;
    }
    let tested = world.policies[rollup.owner].iter().flat_map(|policy| &policy.members);
    let tested: Vec<String> = tested.map(|member| format!("CUBE.{member}")).collect();
    if focus.exactly.is_none() && dice.chance(75) {
        for member in tested {
            if !rollup.dimensions.contains(&member) {
                rollup.dimensions.push(member);
            }
        }
    }
    let mut members: Vec<String> = rollup.times.iter().map(|(time, _)| time.clone()).collect();
    members.extend(rollup.dimensions.iter().chain(&rollup.segments).cloned());
    for _ in 0..2 {
        if !members.is_empty() && dice.chance(60) {
            dice.shuffle(&mut members);
            let some = dice.between(1, (members.len() - 1).clamp(1, 3));
            rollup.indexes.push((members[..some].to_vec(), dice.chance(85)));
        }
    }
}

/// A granularity to store a time by.
pub fn granularity(dice: &mut Dice, world: &World, scope: &Scope, column: usize) -> &'static str {
    // Weeks make none of the longer ones, so that most can go wrong with them.
    let unit =
        *dice.pick(&["hour", "day", "day", "day", "week", "week", "week", "week", "month", "month", "quarter", "year"]);
    // Of days no hours are known.
    let is_date = kind(world, scope, column) == Kind::Date;
    if is_date && unit == "hour" { "day" } else { unit }
}

/// The rows of some cubes as their sources give them.
pub fn base_rows(dice: &mut Dice, world: &World) -> Vec<Rollup> {
    let cubes: Vec<usize> = (0..world.cubes.len()).collect();
    let chosen = dice.some(&cubes, 20).into_iter();
    let rows = |owner| Rollup { owner, name: "base".to_owned(), of_type: Some("original_sql"), ..Rollup::default() };
    chosen.map(rows).collect()
}

/// The join from one cube to another that a row of the first has one row of.
fn joined_once(world: &World, from: usize, to: usize) -> Option<&Join> {
    let join = world.joins.iter().find(|join| join.from == from && join.to == to)?;
    match join.relation {
        Relation::ManyToOne | Relation::OneToOne => Some(join),
        Relation::OneToMany => None,
    }
}

fn add(columns: &mut Vec<usize>, column: usize) {
    if !columns.contains(&column) {
        columns.push(column);
    }
}

fn unique(columns: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut all = Vec::new();
    columns.for_each(|column| add(&mut all, column));
    all
}

/// A member as a rollup of `root` writes it.
fn reference(world: &World, scope: &Scope, root: usize, column: usize) -> String {
    let column = &scope.columns[column];
    let name = member_name(world, column);
    if column.path == [root] {
        return format!("CUBE.{name}");
    }
    let path: Vec<&str> = column.path.iter().map(|cube| world.cubes[*cube].name.as_str()).collect();
    format!("{}.{name}", path.join("."))
}

/// What the model calls it.
pub fn member_name<'w>(world: &'w World, column: &Column) -> &'w str {
    let cube = &world.cubes[column.cube];
    match column.role {
        Role::Dimension(place) => &cube.dimensions[place].name,
        Role::Segment(place) => &cube.segments[place].name,
        Role::Measure(place) => &cube.measures[place].name,
    }
}

/// The cubes whose rows a measure aggregates.
fn cubes_of(world: &World, cube: usize, measure: usize, into: &mut BTreeSet<usize>) {
    match &world.cubes[cube].measures[measure].formula {
        Formula::Leaf { .. } => {
            into.insert(cube);
        }
        Formula::Calculated { of, .. } => of.iter().for_each(|(cube, measure)| cubes_of(world, *cube, *measure, into)),
    }
}

/// Whether a measure aggregates rows of `only` alone.
pub fn is_of(world: &World, cube: usize, measure: usize, only: usize) -> bool {
    let mut all = BTreeSet::new();
    cubes_of(world, cube, measure, &mut all);
    all == BTreeSet::from([only])
}

/// Whether all that a measure aggregates is of trees with this root.
fn is_of_root(world: &World, scope: &Scope, answer: &Answer, column: usize, root: usize) -> bool {
    let Role::Measure(measure) = scope.columns[column].role else { return false };
    let mut all = BTreeSet::new();
    cubes_of(world, scope.columns[column].cube, measure, &mut all);
    let roots = |cube: usize| -> BTreeSet<usize> {
        answer.facts.iter().filter(|(known, ..)| *known == cube).map(|(_, root, _)| *root).collect()
    };
    all.into_iter().all(|cube| roots(cube) == BTreeSet::from([root]))
}

/// Partitions of whole buckets, all of them or those of a range. Few enough to be built.
pub fn partition(dice: &mut Dice, world: &World, unit: &str, rollup: &mut Rollup) {
    if dice.chance(25) {
        return;
    }
    let nested = NESTED.iter().find(|(name, _)| *name == unit).map_or(&["month"][..], |(_, nested)| nested);
    let wide: Vec<&'static str> = nested.iter().copied().filter(|unit| !matches!(*unit, "hour" | "day")).collect();
    let partition = *dice.pick(&wide);
    rollup.partition = Some(partition);
    // A sub-query dimension has the times of another cube.
    let values = world.cubes.iter().flat_map(|cube| cube.rows.iter().flatten().flatten());
    let is_old = values.into_iter().any(|value| value.starts_with("1969"));
    if dice.chance(60) || is_old {
        rollup.from = Some(*dice.pick(&["2024-01-01 00:00:00", "2024-02-01 00:00:00", "2024-01-15 12:00:00"]));
    }
    if dice.chance(45) {
        rollup.to = Some(*dice.pick(&["2024-02-01 00:00:00", "2024-03-01 00:00:00", "2024-02-15 06:30:00"]));
    }
}

/// One that holds all that `rollup` does and more.
fn wider(dice: &mut Dice, world: &World, scope: &Scope, root: usize, rollup: &Rollup) -> Rollup {
    let own: Vec<usize> = (0..scope.columns.len())
        .filter(|column| {
            scope.columns[*column].cube == root && matches!(scope.columns[*column].role, Role::Dimension(_))
        })
        .collect();
    let mut wider =
        Rollup { name: format!("{}w", rollup.name), partition: None, from: None, to: None, ..rollup.clone() };
    for column in dice.some(&own, 40) {
        let name = reference(world, scope, root, column);
        if !wider.dimensions.contains(&name) {
            wider.dimensions.push(name);
        }
    }
    wider
}
