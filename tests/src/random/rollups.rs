//! Random rollups, invented for questions that could be asked: what one of them needs, and now and then more, less, or coarser.
//!
//! A rollup that is made of members at random answers next to nothing. So each begins with a question; the queries of the run then are other
//! questions over the same columns ([`Focus`]).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::dice::Dice;
use super::query::{Aggregate, Focus, NESTED, Query, Role, RowText, Scope, Text, kind, truncated};
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
    if !is_exact {
        let cubes: BTreeSet<usize> = answer.facts.iter().map(|(cube, ..)| *cube).collect();
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
        is_joined: false,
    };
    let (mut dimensions, mut segments): (Vec<usize>, Vec<usize>) = Default::default();
    for column in stored {
        match kind(world, scope, column) {
            Kind::Time | Kind::Date if dice.chance(85) && focus.times.len() < 3 => {
                let granularity =
                    dice.pick(&["hour", "day", "day", "day", "week", "month", "month", "quarter", "year"]);
                // Of days no hours are known.
                let is_date = kind(world, scope, column) == Kind::Date;
                focus.times.push((column, if is_date && *granularity == "hour" { "day" } else { granularity }));
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
        if !rollups.is_empty() && dice.chance(45) {
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
        let columns = Stored { measures: &of_root, dimensions: &dimensions, segments: &segments, times: &focus.times };
        if !is_exact && dice.chance(80) {
            let parts = apart(dice, world, scope, &rollup, &columns);
            if !parts.is_empty() {
                rollups.extend(parts);
                // What lies in the other parts is asked for more often.
                let of_others = |column: &usize| scope.columns[*column].cube != root;
                let others: Vec<usize> = focus.rows.iter().copied().filter(of_others).collect();
                focus.rows.extend(others.repeat(2));
                // Measures of one part only.
                let own = focus.measures.iter().copied().filter(|column| !of_others(column));
                focus.measures = own.collect();
                focus.is_joined = true;
                continue;
            }
        }
        if let Some((_, unit)) = focus.times.first() {
            partition(dice, world, unit, &mut rollup);
        }
        let larger = (!is_exact && dice.chance(15)).then(|| wider(dice, world, scope, root, &rollup));
        rollups.push(rollup);
        rollups.extend(larger);
    }
    (rollups, focus)
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

/// What a rollup stores, of a scope.
struct Stored<'s> {
    measures: &'s [usize],
    dimensions: &'s [usize],
    segments: &'s [usize],
    times: &'s [(usize, &'static str)],
}

/// The same as several rollups, to be joined: one of the root with the keys of the others, and one of each cube that it joins; now and then
/// with the `rollup_join` that says so. None where there is nothing to take apart.
fn apart(dice: &mut Dice, world: &World, scope: &Scope, whole: &Rollup, columns: &Stored<'_>) -> Vec<Rollup> {
    let root = whole.owner;
    let named = columns.dimensions.iter().chain(columns.segments).chain(columns.times.iter().map(|(column, _)| column));
    let next = |column: &usize| match scope.columns[*column].path.as_slice() {
        [first, second, ..] if *first == root => Some(*second),
        // A table by itself: what leads there is found.
        [only] if *only != root => Some(*only),
        _ => None,
    };
    let cubes: BTreeSet<usize> = named.filter_map(next).collect();
    let mut of_root = Rollup {
        measures: Vec::new(),
        times: Vec::new(),
        dimensions: Vec::new(),
        segments: Vec::new(),
        ..whole.clone()
    };
    let mut parts = Vec::new();
    let mut joined: BTreeSet<usize> = BTreeSet::new();
    for cube in cubes {
        let Some(join) = joined_once(world, root, cube) else { continue };
        joined.insert(cube);
        for (foreign, _) in &join.pairs {
            let own = world.cubes[root].dimensions.iter().find(|dimension| dimension.sql == format!("$.{foreign}"));
            of_root.dimensions.extend(own.map(|dimension| format!("CUBE.{}", dimension.name)));
        }
        let keys = world.cubes[cube].dimensions.iter().filter(|dimension| dimension.is_key);
        parts.push(Rollup {
            owner: cube,
            name: format!("{}_{cube}", whole.name),
            dimensions: keys.map(|dimension| format!("CUBE.{}", dimension.name)).collect(),
            ..Rollup::default()
        });
    }
    if joined.is_empty() {
        return Vec::new();
    }
    // Where a column is stored: in the part of the cube that the root joins, or in the root's.
    let place = |column: usize| next(&column).filter(|cube| joined.contains(cube));
    let written = |column: usize| match place(column) {
        None => reference(world, scope, root, column),
        Some(_) => from_second(world, scope, column),
    };
    let put =
        |column: usize, into: &mut dyn FnMut(&mut Rollup, String), of_root: &mut Rollup, parts: &mut Vec<Rollup>| {
            let part = place(column).and_then(|cube| parts.iter_mut().find(|part| part.owner == cube));
            into(part.unwrap_or(of_root), written(column));
        };
    for column in columns.measures {
        put(*column, &mut |part, name| add_name(&mut part.measures, name), &mut of_root, &mut parts);
    }
    for column in columns.dimensions {
        put(*column, &mut |part, name| add_name(&mut part.dimensions, name), &mut of_root, &mut parts);
    }
    for column in columns.segments {
        put(*column, &mut |part, name| add_name(&mut part.segments, name), &mut of_root, &mut parts);
    }
    for (column, unit) in columns.times {
        put(*column, &mut |part, name| part.times.push((name, unit)), &mut of_root, &mut parts);
    }
    // Nothing of the root's own was asked for.
    let stores_nothing =
        [&of_root.measures, &of_root.dimensions, &of_root.segments].iter().all(|names| names.is_empty());
    if stores_nothing && of_root.times.is_empty() {
        return Vec::new();
    }
    let declared = dice.chance(50).then(|| Rollup {
        name: format!("{}_joined", whole.name),
        of_type: Some("rollup_join"),
        rollups: std::iter::once(format!("CUBE.{}", of_root.name))
            .chain(parts.iter().map(|part| format!("{}.{}", world.cubes[part.owner].name, part.name)))
            .collect(),
        exact_distinct: false,
        reads_base_rows: false,
        ..whole.clone()
    });
    if let Some((_, unit)) = of_root.times.first().cloned() {
        partition(dice, world, unit, &mut of_root);
    }
    std::iter::once(of_root).chain(parts).chain(declared).collect()
}

/// A member as a rollup of the cube writes it that the root joins.
fn from_second(world: &World, scope: &Scope, column: usize) -> String {
    let path = &scope.columns[column].path;
    let whole = reference(world, scope, usize::MAX, column);
    let name = whole.rsplit('.').next().unwrap_or_default();
    if path.len() <= 2 {
        return format!("CUBE.{name}");
    }
    let path: Vec<&str> = path[1..].iter().map(|cube| world.cubes[*cube].name.as_str()).collect();
    format!("{}.{name}", path.join("."))
}

fn add_name(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
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
    let cube = &world.cubes[column.cube];
    let name = match column.role {
        Role::Dimension(place) => &cube.dimensions[place].name,
        Role::Segment(place) => &cube.segments[place].name,
        Role::Measure(place) => &cube.measures[place].name,
    };
    if column.path == [root] {
        return format!("CUBE.{name}");
    }
    let path: Vec<&str> = column.path.iter().map(|cube| world.cubes[*cube].name.as_str()).collect();
    format!("{}.{name}", path.join("."))
}

/// Whether all that a measure aggregates is of trees with this root.
fn is_of_root(world: &World, scope: &Scope, answer: &Answer, column: usize, root: usize) -> bool {
    fn cubes(world: &World, cube: usize, measure: usize, into: &mut BTreeSet<usize>) {
        match &world.cubes[cube].measures[measure].formula {
            Formula::Leaf { .. } => {
                into.insert(cube);
            }
            Formula::Calculated { of, .. } => of.iter().for_each(|(cube, measure)| cubes(world, *cube, *measure, into)),
        }
    }
    let Role::Measure(measure) = scope.columns[column].role else { return false };
    let mut all = BTreeSet::new();
    cubes(world, scope.columns[column].cube, measure, &mut all);
    let roots = |cube: usize| -> BTreeSet<usize> {
        answer.facts.iter().filter(|(known, ..)| *known == cube).map(|(_, root, _)| *root).collect()
    };
    all.into_iter().all(|cube| roots(cube) == BTreeSet::from([root]))
}

/// Partitions of whole buckets, all of them or those of a range. Few enough to be built.
fn partition(dice: &mut Dice, world: &World, unit: &str, rollup: &mut Rollup) {
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
    if dice.chance(50) || is_old {
        rollup.from = Some(*dice.pick(&["2024-01-01 00:00:00", "2024-02-01 00:00:00", "2024-01-15 12:00:00"]));
    }
    if dice.chance(35) {
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
