//! The same question as plain SQL over the tables, written from the rules of the model language alone and as naively as possible.
//!
//! Every aggregate is a sub-query of its own: the distinct pairs of group and primary key of the aggregate's cube over the joined
//! rows, then the cube's rows by key. Groups of facts are put side by side over the union of their dimensions' values.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::query::{Aggregate, Counted, Form, Query, Role, RowText, Text, counts_rows, fold_call};
use super::tree::{Choice, Tree, choose, multiplies, shortest};
use super::world::{Fold, Formula, Relation, World};

/// An aggregate over the rows of one cube.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub cube: usize,
    pub path: Vec<usize>,
    pub fold: Fold,
    pub sql: String,
    pub filter: Option<String>,
    /// `COUNT(*)` over the joined rows as they are.
    pub counts_joined_rows: bool,
}

/// One join tree with the aggregates that are computed over it.
#[derive(Debug, Clone)]
pub struct Group {
    pub tree: Tree,
    pub leaves: Vec<usize>,
    pub filters: Vec<usize>,
}

/// What the rules say of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Answers that the rules allow, as SQL; they are several only where the rules can be read in more than one way.
    Rows { readings: Vec<(Reading, String)>, facts: usize, multiplied: bool },
    /// It must be refused: no tree joins what it names.
    NoPath,
    /// The rules leave open what it means; such queries are not asked.
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reading {
    /// One tree over all that the query names.
    OneTree,
    /// One tree for each fact; a filter on members of one fact leaves the others alone.
    TreePerFact,
}

enum Stop {
    NoPath,
    Open,
}

/// A query taken apart.
struct Parts<'a> {
    world: &'a World,
    query: &'a Query,
    leaves: Vec<Leaf>,
    /// The texts of measures and of HAVING, over leaves.
    measures: Vec<Text<usize>>,
    having: Vec<Text<usize>>,
    dimension_paths: Vec<Vec<usize>>,
    filter_paths: Vec<Vec<Vec<usize>>>,
}

pub fn meaning(world: &World, query: &Query) -> Meaning {
    let parts = match take_apart(world, query) {
        Ok(parts) => parts,
        Err(Stop::NoPath) => return Meaning::NoPath,
        Err(Stop::Open) => return Meaning::Open,
    };
    let one = one_tree(&parts);
    let per_fact = tree_per_fact(&parts);
    if matches!(one, Err(Stop::Open)) || matches!(per_fact, Err(Stop::Open)) {
        return Meaning::Open;
    }
    // A view with one root, and cubes that one tree joins, are one table to their reader, unless the root is a hub of several facts.
    let is_hub = one.as_ref().is_ok_and(|groups| {
        let fans = groups[0].tree.joins.iter().filter(|join| world.joins[**join].relation == Relation::OneToMany);
        fans.count() > 1
    });
    let one_table = (query.scope.view_root.is_some() || (!query.scope.is_view && one.is_ok())) && !is_hub;
    // What becomes of a cube that is named in FROM alone is not said where each fact has a tree of its own.
    if !query.scope.is_view
        && let Ok(groups) = &per_fact
    {
        let joined: BTreeSet<usize> = groups.iter().flat_map(|group| group.tree.cubes(world)).collect();
        if !one_table && query.scope.cubes.iter().any(|cube| !joined.contains(cube)) {
            return Meaning::Open;
        }
    }
    let mut readings = Vec::new();
    let (mut facts, mut multiplied) = (1, false);
    for (reading, groups) in [(Reading::TreePerFact, per_fact), (Reading::OneTree, one)] {
        let Ok(groups) = groups else { continue };
        if one_table && reading == Reading::TreePerFact {
            continue;
        }
        if readings.is_empty() {
            facts = groups.len();
            multiplied = groups
                .iter()
                .any(|group| group.leaves.iter().any(|leaf| multiplies(world, &group.tree, parts.leaves[*leaf].cube)));
        }
        let sql = query.wrap(&grouped_sql(&parts, &groups));
        if readings.iter().all(|(_, other)| *other != sql) {
            readings.push((reading, sql));
        }
    }
    if readings.is_empty() { Meaning::NoPath } else { Meaning::Rows { readings, facts, multiplied } }
}

fn take_apart<'a>(world: &'a World, query: &'a Query) -> Result<Parts<'a>, Stop> {
    let mut parts = Parts {
        world,
        query,
        leaves: Vec::new(),
        measures: Vec::new(),
        having: Vec::new(),
        dimension_paths: Vec::new(),
        filter_paths: Vec::new(),
    };
    for (texts, having) in [(&query.measures, false), (&query.having, true)] {
        for text in texts {
            let mut pieces = Vec::new();
            for piece in &text.0 {
                match piece {
                    super::query::Piece::Words(words) => pieces.push(super::query::Piece::Words(words.clone())),
                    super::query::Piece::Hole(aggregate) => {
                        pieces.extend(parts.leaves_of(aggregate)?.0);
                    }
                }
            }
            if having { &mut parts.having } else { &mut parts.measures }.push(Text(pieces));
        }
    }
    let path = |column: &usize| query.scope.columns[*column].path.clone();
    parts.dimension_paths = query.dimensions.iter().flat_map(|text| text.holes().map(path)).collect();
    parts.filter_paths = query.filters.iter().map(|text| text.holes().map(path).collect()).collect();
    Ok(parts)
}

impl Parts<'_> {
    fn leaves_of(&mut self, aggregate: &Aggregate) -> Result<Text<usize>, Stop> {
        let scope = &self.query.scope;
        let leaf = match aggregate {
            Aggregate::Measure { column, .. } => {
                let column = &scope.columns[*column];
                let Role::Measure(measure) = column.role else { return Err(Stop::Open) };
                return self.measure(column.cube, measure, column.path.clone());
            }
            Aggregate::Dimension { fold, column } => {
                let column = &scope.columns[*column];
                let Role::Dimension(place) = column.role else { return Err(Stop::Open) };
                Leaf {
                    cube: column.cube,
                    path: column.path.clone(),
                    fold: *fold,
                    sql: self.world.cubes[column.cube].dimensions[place].sql.clone(),
                    filter: None,
                    counts_joined_rows: false,
                }
            }
            Aggregate::CountRows => match counts_rows(self.world, scope).ok_or(Stop::Open)? {
                Counted::Measure { cube, measure } => return self.measure(cube, measure, vec![cube]),
                Counted::Rows { root } => Leaf {
                    cube: root,
                    path: vec![root],
                    fold: Fold::Count,
                    sql: String::new(),
                    filter: None,
                    counts_joined_rows: true,
                },
            },
        };
        Ok(Text::hole(self.place(leaf)))
    }

    fn measure(&mut self, cube: usize, measure: usize, path: Vec<usize>) -> Result<Text<usize>, Stop> {
        match &self.world.cubes[cube].measures[measure].formula {
            Formula::Leaf { fold, sql, filter } => {
                let (fold, sql, filter) = (*fold, sql.clone(), filter.clone());
                let leaf = Leaf { cube, path, fold, sql, filter, counts_joined_rows: false };
                Ok(Text::hole(self.place(leaf)))
            }
            Formula::Calculated { text, of } => {
                let mut inner = Vec::new();
                for (other, measure) in of {
                    let path = if *other == cube { path.clone() } else { self.path_of_other(&path, *other)? };
                    inner.push(Text::fill("(#0)", &[self.measure(*other, *measure, path)?]));
                }
                Ok(Text::fill(&format!("({text})"), &inner))
            }
        }
    }

    /// How the model gets to a measure of another cube that a measure at `path` names.
    fn path_of_other(&self, path: &[usize], other: usize) -> Result<Vec<usize>, Stop> {
        let scope = &self.query.scope;
        if !scope.is_view {
            return Ok(vec![other]);
        }
        let shown: BTreeSet<&Vec<usize>> =
            scope.columns.iter().filter(|column| column.cube == other).map(|column| &column.path).collect();
        let own = *path.last().expect("a path is not empty");
        let onward = match shortest(self.world, own, other) {
            Some((_, true)) => return Err(Stop::Open),
            Some((joins, false)) => {
                let mut longer = path.to_vec();
                longer.extend(joins.iter().map(|join| self.world.joins[*join].to));
                Some(longer)
            }
            None => None,
        };
        match (shown.into_iter().collect::<Vec<_>>().as_slice(), onward) {
            ([], Some(onward)) => Ok(onward),
            ([], None) => Ok(vec![other]),
            ([shown], Some(onward)) if **shown == onward => Ok(onward),
            ([shown], None) => Ok((*shown).clone()),
            _ => Err(Stop::Open),
        }
    }

    fn place(&mut self, leaf: Leaf) -> usize {
        if let Some(place) = self.leaves.iter().position(|other| *other == leaf) {
            return place;
        }
        self.leaves.push(leaf);
        self.leaves.len() - 1
    }

    fn choose(&self, hints: &[Vec<usize>]) -> Result<Tree, Stop> {
        let hints = if hints.is_empty() { vec![vec![self.default_root().ok_or(Stop::Open)?]] } else { hints.to_vec() };
        match choose(self.world, &hints) {
            Choice::Tree(tree) => Ok(tree),
            Choice::NoPath => Err(Stop::NoPath),
            Choice::Tie => Err(Stop::Open),
        }
    }

    fn default_root(&self) -> Option<usize> {
        self.query.scope.view_root.or(self.query.scope.cubes.first().copied())
    }

    fn leaf_paths(&self, leaves: &[usize]) -> Vec<Vec<usize>> {
        leaves.iter().map(|leaf| self.leaves[*leaf].path.clone()).collect()
    }
}

fn one_tree(parts: &Parts<'_>) -> Result<Vec<Group>, Stop> {
    let leaves: Vec<usize> = (0..parts.leaves.len()).collect();
    let mut hints = parts.leaf_paths(&leaves);
    hints.extend(parts.dimension_paths.iter().cloned());
    hints.extend(parts.filter_paths.iter().flatten().cloned());
    // What stands in FROM is joined, used or not.
    hints.extend(parts.query.scope.cubes.iter().map(|cube| vec![*cube]));
    let tree = parts.choose(&hints)?;
    Ok(vec![Group { tree, leaves, filters: (0..parts.query.filters.len()).collect() }])
}

fn tree_per_fact(parts: &Parts<'_>) -> Result<Vec<Group>, Stop> {
    let mut groups: Vec<Group> = Vec::new();
    for leaf in 0..parts.leaves.len() {
        let mut hints = parts.leaf_paths(&[leaf]);
        hints.extend(parts.dimension_paths.iter().cloned());
        let tree = parts.choose(&hints)?;
        match groups.iter_mut().find(|group| group.tree.same_joins(&tree)) {
            Some(group) => group.leaves.push(leaf),
            None => groups.push(Group { tree, leaves: vec![leaf], filters: Vec::new() }),
        }
    }
    // A tree inside another one from the same root: one fact, of which a measure needs a join more.
    while let Some((inner, outer)) = nested(&groups) {
        let leaves = groups[inner].leaves.clone();
        groups[outer].leaves.extend(leaves);
        groups.remove(inner);
    }
    if groups.len() < 2 {
        return Err(Stop::NoPath);
    }
    let owned: Vec<BTreeSet<usize>> =
        groups.iter().map(|group| group.leaves.iter().map(|leaf| parts.leaves[*leaf].cube).collect()).collect();
    let mut reached = vec![false; parts.filter_paths.len()];
    for (place, group) in groups.iter_mut().enumerate() {
        let mut hints = parts.leaf_paths(&group.leaves);
        hints.extend(parts.dimension_paths.iter().cloned());
        let cubes = group.tree.cubes(parts.world);
        for (filter, paths) in parts.filter_paths.iter().enumerate() {
            let mut longer = hints.clone();
            longer.extend(paths.iter().cloned());
            let tree = match parts.choose(&longer) {
                Ok(tree) => tree,
                Err(Stop::NoPath) => continue,
                Err(stop) => return Err(stop),
            };
            let added: BTreeSet<usize> = tree.cubes(parts.world).difference(&cubes).copied().collect();
            let through_another_fact = owned
                .iter()
                .enumerate()
                .any(|(other, owned)| other != place && owned.iter().any(|cube| added.contains(cube)));
            if through_another_fact {
                continue;
            }
            reached[filter] = true;
            group.filters.push(filter);
        }
        for filter in &group.filters {
            hints.extend(parts.filter_paths[*filter].iter().cloned());
        }
        group.tree = parts.choose(&hints)?;
    }
    if reached.contains(&false) { Err(Stop::NoPath) } else { Ok(groups) }
}

fn nested(groups: &[Group]) -> Option<(usize, usize)> {
    for (inner, group) in groups.iter().enumerate() {
        for (outer, other) in groups.iter().enumerate() {
            if inner != outer
                && group.tree.root == other.tree.root
                && group.tree.join_set().is_subset(&other.tree.join_set())
            {
                return Some((inner, outer));
            }
        }
    }
    None
}

/// For each cube a view `TABLE_rows` with the values of its dimensions (`d_NAME`) and segments (`s_NAME`). A member belongs to a row of its
/// cube: where a LEFT JOIN finds none it is NULL, whatever its SQL would make of NULLs.
pub fn views(world: &World) -> String {
    let mut text = String::new();
    for (index, cube) in world.cubes.iter().enumerate() {
        let mut columns = vec!["r.*".to_owned()];
        for member in &cube.dimensions {
            columns.push(format!("({}) AS d_{}", member.sql.replace('$', "r"), member.name));
        }
        for member in &cube.segments {
            columns.push(format!("({}) AS s_{}", member.sql.replace('$', "r"), member.name));
        }
        let table = world.table(index);
        let _ = writeln!(text, "CREATE VIEW {table}_rows AS SELECT {} FROM {table} AS r;", columns.join(", "));
    }
    text
}

fn row_sql(parts: &Parts<'_>, text: &RowText) -> String {
    text.write(|column| {
        let column = &parts.query.scope.columns[*column];
        let cube = &parts.world.cubes[column.cube];
        match column.role {
            Role::Dimension(place) => format!("x{}.d_{}", column.cube, cube.dimensions[place].name),
            Role::Segment(place) => format!("x{}.s_{}", column.cube, cube.segments[place].name),
            Role::Measure(_) => unreachable!("a row's text has no measures"),
        }
    })
}

/// `FROM … LEFT JOIN … WHERE …`
fn joined(parts: &Parts<'_>, group: &Group) -> String {
    let world = parts.world;
    let mut text = format!("FROM {}_rows AS x{}", world.table(group.tree.root), group.tree.root);
    for join in group.tree.joins.iter().map(|join| &world.joins[*join]) {
        let on: Vec<String> =
            join.pairs.iter().map(|(from, to)| format!("x{}.{from} = x{}.{to}", join.from, join.to)).collect();
        text = format!("{text} LEFT JOIN {}_rows AS x{} ON {}", world.table(join.to), join.to, on.join(" AND "));
    }
    if !group.filters.is_empty() {
        let filters: Vec<String> =
            group.filters.iter().map(|filter| format!("({})", row_sql(parts, &parts.query.filters[*filter]))).collect();
        text = format!("{text} WHERE {}", filters.join(" AND "));
    }
    text
}

fn grouped_sql(parts: &Parts<'_>, groups: &[Group]) -> String {
    let query = parts.query;
    let dimensions: Vec<String> = query
        .dimensions
        .iter()
        .enumerate()
        .map(|(place, text)| format!("{} AS d{place}", row_sql(parts, text)))
        .collect();
    let names: Vec<String> = (0..dimensions.len()).map(|place| format!("d{place}")).collect();
    if query.form == Form::Ungrouped {
        return format!("SELECT {} {}", dimensions.join(", "), joined(parts, &groups[0]));
    }
    // The values of the dimensions, of all facts.
    let mut text = if dimensions.is_empty() {
        "(SELECT 1 AS one) AS g".to_owned()
    } else {
        let each: Vec<String> =
            groups.iter().map(|group| format!("SELECT {} {}", dimensions.join(", "), joined(parts, group))).collect();
        let each =
            if each.len() == 1 { each[0].replacen("SELECT", "SELECT DISTINCT", 1) } else { each.join(" UNION ") };
        format!("({each}) AS g")
    };
    for group in groups {
        for leaf in &group.leaves {
            let on: Vec<String> =
                names.iter().map(|name| format!("l{leaf}.{name} IS NOT DISTINCT FROM g.{name}")).collect();
            let on = if on.is_empty() { "true".to_owned() } else { on.join(" AND ") };
            text =
                format!("{text} LEFT JOIN ({}) AS l{leaf} ON {on}", leaf_sql(parts, group, *leaf, &dimensions, &names));
        }
    }
    let value = |leaf: &usize| match parts.leaves[*leaf].fold {
        // A fact without rows for a group counts none.
        Fold::Count | Fold::CountSql | Fold::CountDistinct => format!("COALESCE(l{leaf}.v, 0)"),
        Fold::Sum | Fold::Avg | Fold::Min | Fold::Max => format!("l{leaf}.v"),
    };
    let mut select: Vec<String> = names.iter().map(|name| format!("g.{name}")).collect();
    select.extend(parts.measures.iter().enumerate().map(|(place, text)| format!("{} AS m{place}", text.write(value))));
    let mut sql = format!("SELECT {} FROM {text}", select.join(", "));
    if !parts.having.is_empty() {
        let having: Vec<String> = parts.having.iter().map(|text| format!("({})", text.write(value))).collect();
        sql = format!("{sql} WHERE {}", having.join(" AND "));
    }
    sql
}

/// The dimensions' names and the aggregate's value `v`.
fn leaf_sql(parts: &Parts<'_>, group: &Group, leaf: usize, dimensions: &[String], names: &[String]) -> String {
    let leaf = &parts.leaves[leaf];
    let joined = joined(parts, group);
    let grouped = if names.is_empty() { String::new() } else { format!(" GROUP BY {}", names.join(", ")) };
    if leaf.counts_joined_rows {
        let select: Vec<String> = dimensions.iter().cloned().chain(["COUNT(*) AS v".to_owned()]).collect();
        let places: Vec<String> = (1..=names.len()).map(|place| place.to_string()).collect();
        let grouped = if names.is_empty() { String::new() } else { format!(" GROUP BY {}", places.join(", ")) };
        return format!("SELECT {} {joined}{grouped}", select.join(", "));
    }
    let cube = &parts.world.cubes[leaf.cube];
    let keys: Vec<&str> = cube.columns[..cube.keys].iter().map(|column| column.name.as_str()).collect();
    let mut select = dimensions.to_vec();
    select.extend(keys.iter().map(|key| format!("x{}.{key} AS key_{key}", leaf.cube)));
    let on: Vec<String> = keys.iter().map(|key| format!("y.{key} = k.key_{key}")).collect();
    let own = |sql: &str| sql.replace('$', "y");
    let value = if leaf.fold == Fold::Count { format!("y.{}", keys[0]) } else { format!("({})", own(&leaf.sql)) };
    // A group without rows of this cube has one line here without a key: nothing is aggregated from it.
    let filter = leaf.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({})", own(filter)));
    let value = format!("CASE WHEN y.{} IS NOT NULL{filter} THEN {value} END", keys[0]);
    let fold = if leaf.fold == Fold::Count { Fold::CountSql } else { leaf.fold };
    let names: Vec<String> = names.iter().map(|name| format!("k.{name}")).collect();
    let select_outer: Vec<String> = names.into_iter().chain([format!("{} AS v", fold_call(fold, &value))]).collect();
    format!(
        "SELECT {} FROM (SELECT DISTINCT {} {joined}) AS k LEFT JOIN {} AS y ON {}{grouped}",
        select_outer.join(", "),
        select.join(", "),
        parts.world.table(leaf.cube),
        on.join(" AND ")
    )
}
