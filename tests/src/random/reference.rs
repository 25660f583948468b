//! The same question as plain SQL over the tables, written from the rules of the model language alone and as naively as possible.
//!
//! Every aggregate is a sub-query of its own: the distinct pairs of group and primary key of the aggregate's cube over the joined
//! rows, then the cube's rows by key. Groups of facts are put side by side over the union of their dimensions' values.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::query::{Aggregate, Counted, Form, Piece, Query, Role, RowText, Text, counts_rows, fold_call};
use super::tree::{Choice, Tree, at_most_one, choose, multiplies, shortest};
use super::world::{Fold, Foreign, Formula, Kind, World};

/// An aggregate over the rows of one cube.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub cube: usize,
    pub fold: Fold,
    pub sql: String,
    pub filter: Option<String>,
    pub foreign: Option<Foreign>,
    /// A condition of the query on the cube's rows, as SQL over `y`.
    pub extra: Option<String>,
    /// `COUNT(*)` over the joined rows as they are.
    pub counts_joined_rows: bool,
    /// What its join tree must hold beside the dimensions.
    pub hints: Vec<Vec<usize>>,
}

/// One join tree under some of the filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub tree: Tree,
    pub filters: Vec<usize>,
}

/// What the rules say of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    Rows(Answer),
    /// It must be refused, in these words.
    Refused(&'static str),
    /// The rules leave open what it means; such queries are not asked.
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub sql: String,
    /// The same without care for rows that are joined more than once.
    pub careless: String,
    /// Measures of several cubes with join trees of their own.
    pub several_facts: bool,
    /// A tree repeats the rows of a measure's cube.
    pub multiplied: bool,
    /// For each aggregate its cube, the root of its tree, and whether the tree repeats its rows.
    pub facts: Vec<(usize, usize, bool)>,
}

enum Stop {
    Refused(&'static str),
    Open,
}

/// No tree has all that a measure and the dimensions, or a query without measures, name.
const NO_TREE: &str = "no tree";
/// A condition that no fact's tree reaches.
const FILTER_OF_NONE: &str = "no fact's filter";

/// A query taken apart.
struct Parts<'a> {
    world: &'a World,
    query: &'a Query,
    leaves: Vec<Leaf>,
    /// The texts of measures and of HAVING, over leaves.
    measures: Vec<Text<usize>>,
    having: Vec<Text<usize>>,
    /// What every tree must hold: the dimensions, and cubes that stand side by side in FROM.
    base: Vec<Vec<usize>>,
    filter_paths: Vec<Vec<Vec<usize>>>,
}

pub fn meaning(world: &World, query: &Query) -> Meaning {
    match answer(world, query) {
        Ok(answer) => Meaning::Rows(answer),
        Err(Stop::Refused(words)) => Meaning::Refused(words),
        Err(Stop::Open) => Meaning::Open,
    }
}

fn answer(world: &World, query: &Query) -> Result<Answer, Stop> {
    let parts = take_apart(world, query)?;
    let groups = groups(&parts)?;
    let trees: Vec<&Tree> = groups.iter().map(|group| &group.tree).collect();
    let facts: BTreeSet<usize> = parts.leaves.iter().map(|leaf| leaf.cube).collect();
    let facts_of: Vec<(usize, usize, bool)> = parts
        .leaves
        .iter()
        .zip(&trees)
        .map(|(leaf, tree)| (leaf.cube, tree.root, multiplies(world, tree, leaf.cube)))
        .collect();
    Ok(Answer {
        sql: query.wrap(&grouped_sql(&parts, &groups, "DISTINCT ")),
        careless: query.wrap(&grouped_sql(&parts, &groups, "")),
        several_facts: facts.len() > 1 && trees.iter().any(|tree| !tree.same_joins(trees[0])),
        multiplied: facts_of.iter().any(|(_, _, is_multiplied)| *is_multiplied),
        facts: facts_of,
    })
}

fn take_apart<'a>(world: &'a World, query: &'a Query) -> Result<Parts<'a>, Stop> {
    let path = |column: &usize| query.scope.columns[*column].path.clone();
    let mut base: Vec<Vec<usize>> = query.dimensions.iter().flat_map(|text| text.holes().map(path)).collect();
    if query.scope.cubes.len() > 1 {
        base.extend(query.scope.cubes.iter().map(|cube| vec![*cube]));
    }
    let filter_paths = query.filters.iter().map(|text| text.holes().map(path).collect()).collect();
    let mut parts =
        Parts { world, query, leaves: Vec::new(), measures: Vec::new(), having: Vec::new(), base, filter_paths };
    // COUNT(*) hangs on the trees of the others.
    for counts_rows in [false, true] {
        for aggregate in query.aggregates().filter(|aggregate| (**aggregate == Aggregate::CountRows) == counts_rows) {
            parts.leaves_of(aggregate)?;
        }
    }
    for (texts, having) in [(&query.measures, false), (&query.having, true)] {
        for text in texts {
            let mut pieces = Vec::new();
            for piece in &text.0 {
                match piece {
                    Piece::Words(words) => pieces.push(Piece::Words(words.clone())),
                    Piece::Hole(aggregate) => pieces.extend(parts.leaves_of(aggregate)?.0),
                }
            }
            if having { &mut parts.having } else { &mut parts.measures }.push(Text(pieces));
        }
    }
    Ok(parts)
}

impl Parts<'_> {
    /// The value of an aggregate over leaves, which are added where they are not there yet.
    fn leaves_of(&mut self, aggregate: &Aggregate) -> Result<Text<usize>, Stop> {
        let scope = &self.query.scope;
        match aggregate {
            Aggregate::Measure { column, filter, .. } => {
                let column = &scope.columns[*column];
                let Role::Measure(measure) = column.role else { return Err(Stop::Open) };
                let extra = filter.as_ref().map(|filter| own_rows_sql(self.world, self.query, filter));
                self.whole_measure(column.cube, measure, column.path.clone(), extra)
            }
            Aggregate::Dimension { fold, column } => {
                let column = &scope.columns[*column];
                let Role::Dimension(place) = column.role else { return Err(Stop::Open) };
                let leaf = Leaf {
                    cube: column.cube,
                    fold: *fold,
                    sql: dimension_sql(self.world, column.cube, place),
                    filter: None,
                    foreign: None,
                    extra: None,
                    counts_joined_rows: false,
                    hints: vec![column.path.clone()],
                };
                Ok(Text::hole(self.place(leaf)))
            }
            Aggregate::CountRows => {
                let root = self.counted_root()?;
                match counts_rows(self.world, scope, root).ok_or(Stop::Open)? {
                    Counted::Measure(measure) => self.whole_measure(root, measure, vec![root], None),
                    Counted::Rows => {
                        let leaf = Leaf {
                            cube: root,
                            fold: Fold::Count,
                            sql: String::new(),
                            filter: None,
                            foreign: None,
                            extra: None,
                            counts_joined_rows: true,
                            hints: vec![vec![root]],
                        };
                        Ok(Text::hole(self.place(leaf)))
                    }
                }
            }
        }
    }

    /// The root of the only tree that there is.
    fn counted_root(&self) -> Result<usize, Stop> {
        let others = self.leaves.iter().filter(|leaf| !self.is_counted_row(leaf));
        let roots: BTreeSet<usize> =
            others.map(|leaf| Ok(self.choose(&[&leaf.hints, &self.base])?.root)).collect::<Result<_, _>>()?;
        match roots.into_iter().collect::<Vec<_>>().as_slice() {
            [] => {
                let filters: Vec<Vec<usize>> = self.filter_paths.iter().flatten().cloned().collect();
                Ok(self.choose(&[&self.base, &filters])?.root)
            }
            [root] => Ok(*root),
            _ => Err(Stop::Open),
        }
    }

    /// Whether the leaf is there for a `COUNT(*)`: then it says nothing about the tree of the others.
    fn is_counted_row(&self, leaf: &Leaf) -> bool {
        leaf.counts_joined_rows
    }

    /// A measure whose cubes one tree joins is computed over that, one that none joins leaf by leaf.
    fn whole_measure(
        &mut self,
        cube: usize,
        measure: usize,
        path: Vec<usize>,
        extra: Option<String>,
    ) -> Result<Text<usize>, Stop> {
        let mut hints = vec![path.clone()];
        self.paths_in(cube, measure, &path, &mut hints)?;
        let whole = match choose(self.world, &self.hints(&[&hints, &self.base])) {
            Choice::Tree(_) => Some(hints),
            Choice::NoPath => None,
            Choice::Tie => return Err(Stop::Open),
        };
        self.measure(cube, measure, path, whole.as_ref(), extra)
    }

    fn paths_in(&self, cube: usize, measure: usize, path: &[usize], into: &mut Vec<Vec<usize>>) -> Result<(), Stop> {
        if let Formula::Leaf { foreign: Some(foreign), .. } = &self.world.cubes[cube].measures[measure].formula {
            let longer = self.path_of_other(path, self.world.joins[foreign.join].to)?;
            if !into.contains(&longer) {
                into.push(longer);
            }
        }
        if let Formula::Calculated { of, .. } = &self.world.cubes[cube].measures[measure].formula {
            for (other, measure) in of {
                let longer = self.path_of_other(path, *other)?;
                if !into.contains(&longer) {
                    into.push(longer.clone());
                }
                self.paths_in(*other, *measure, &longer, into)?;
            }
        }
        Ok(())
    }

    fn measure(
        &mut self,
        cube: usize,
        measure: usize,
        path: Vec<usize>,
        whole: Option<&Vec<Vec<usize>>>,
        extra: Option<String>,
    ) -> Result<Text<usize>, Stop> {
        match &self.world.cubes[cube].measures[measure].formula {
            Formula::Leaf { fold, sql, filter, foreign } => {
                let mut hints = vec![path.clone()];
                self.paths_in(cube, measure, &path, &mut hints)?;
                let hints = whole.cloned().unwrap_or(hints);
                let (fold, sql, filter, foreign) = (*fold, sql.clone(), filter.clone(), foreign.clone());
                let leaf = Leaf { cube, fold, sql, filter, foreign, extra, counts_joined_rows: false, hints };
                Ok(Text::hole(self.place(leaf)))
            }
            Formula::Calculated { text, of } => {
                let mut inner = Vec::new();
                for (other, measure) in of {
                    let longer = self.path_of_other(&path, *other)?;
                    inner.push(Text::fill("(#0)", &[self.measure(*other, *measure, longer, whole, None)?]));
                }
                Ok(Text::fill(&format!("({text})"), &inner))
            }
        }
    }

    /// How the model gets to a member of `other` that a member at `path` names: onwards by joins where they lead there.
    fn path_of_other(&self, path: &[usize], other: usize) -> Result<Vec<usize>, Stop> {
        let own = *path.last().expect("a path is not empty");
        if own == other {
            return Ok(path.to_vec());
        }
        let scope = &self.query.scope;
        let shown: BTreeSet<&Vec<usize>> = scope
            .columns
            .iter()
            .filter(|column| scope.is_view && column.cube == other)
            .map(|column| &column.path)
            .collect();
        let onward = match shortest(self.world, own, other) {
            Some((_, true)) => return Err(Stop::Open),
            Some((joins, false)) => {
                let mut longer = path.to_vec();
                longer.extend(joins.iter().map(|join| self.world.joins[*join].to));
                longer
            }
            None => vec![other],
        };
        // The view has it elsewhere: the rules do not say which of the two is meant.
        if shown.iter().any(|shown| **shown != onward) { Err(Stop::Open) } else { Ok(onward) }
    }

    fn place(&mut self, leaf: Leaf) -> usize {
        if let Some(place) = self.leaves.iter().position(|other| *other == leaf) {
            return place;
        }
        self.leaves.push(leaf);
        self.leaves.len() - 1
    }

    fn hints(&self, lists: &[&Vec<Vec<usize>>]) -> Vec<Vec<usize>> {
        let hints: Vec<Vec<usize>> = lists.iter().flat_map(|list| list.iter().cloned()).collect();
        match (hints.is_empty(), self.query.scope.view_root.or(self.query.scope.cubes.first().copied())) {
            (true, Some(root)) => vec![vec![root]],
            _ => hints,
        }
    }

    fn choose(&self, lists: &[&Vec<Vec<usize>>]) -> Result<Tree, Stop> {
        let hints = self.hints(lists);
        if hints.is_empty() {
            return Err(Stop::Open);
        }
        match choose(self.world, &hints) {
            Choice::Tree(tree) => Ok(tree),
            Choice::NoPath => Err(Stop::Refused(NO_TREE)),
            Choice::Tie => Err(Stop::Open),
        }
    }
}

/// For each leaf (or once, without any) the tree and the filters that restrict it.
fn groups(parts: &Parts<'_>) -> Result<Vec<Group>, Stop> {
    let all: Vec<usize> = (0..parts.filter_paths.len()).collect();
    let all_paths: Vec<Vec<usize>> = parts.filter_paths.iter().flatten().cloned().collect();
    if parts.leaves.is_empty() {
        let tree = parts.choose(&[&parts.base, &all_paths])?;
        return Ok(vec![Group { tree, filters: all }]);
    }
    let own: Vec<Tree> =
        parts.leaves.iter().map(|leaf| parts.choose(&[&leaf.hints, &parts.base])).collect::<Result<_, _>>()?;
    if own.iter().all(|tree| tree.same_joins(&own[0])) {
        let tree = |leaf: &Leaf| parts.choose(&[&leaf.hints, &parts.base, &all_paths]);
        return parts.leaves.iter().map(|leaf| Ok(Group { tree: tree(leaf)?, filters: all.clone() })).collect();
    }
    let facts: BTreeSet<usize> = parts.leaves.iter().map(|leaf| leaf.cube).collect();
    let mut groups = Vec::new();
    let mut restricts = vec![false; all.len()];
    for (leaf, own) in parts.leaves.iter().zip(&own) {
        let there = own.cubes(parts.world);
        let mut hints = parts.hints(&[&leaf.hints, &parts.base]);
        let mut filters = Vec::new();
        for filter in &all {
            let tree = match parts.choose(&[&leaf.hints, &parts.base, &parts.filter_paths[*filter]]) {
                Ok(tree) => tree,
                Err(Stop::Refused(_)) => continue,
                Err(Stop::Open) => return Err(Stop::Open),
            };
            // Another fact, of which a row of this one may meet several, restricts itself alone.
            let foreign = |cube: &usize| {
                facts.contains(cube)
                    && !there.contains(cube)
                    && !at_most_one(parts.world, &tree, leaf.cube).contains(cube)
            };
            if !tree.cubes(parts.world).iter().any(foreign) {
                filters.push(*filter);
                restricts[*filter] = true;
                hints.extend(parts.filter_paths[*filter].iter().cloned());
            }
        }
        groups.push(Group { tree: parts.choose(&[&hints])?, filters });
    }
    if restricts.contains(&false) { Err(Stop::Refused(FILTER_OF_NONE)) } else { Ok(groups) }
}

/// For each cube a view `TABLE_rows` with the values of its dimensions (`d_NAME`) and segments (`s_NAME`). A member belongs to a row of its
/// cube: where a LEFT JOIN finds none it is NULL, whatever its SQL would make of NULLs.
///
/// Where a policy restricts a cube, the references ask data that was filtered beforehand.
pub fn views(world: &World) -> String {
    let mut text = String::new();
    for (index, policies) in world.policies.iter().enumerate().filter(|(_, policies)| !policies.is_empty()) {
        let any: Vec<String> = policies.iter().map(|policy| format!("({})", policy.sql.replace('$', "y"))).collect();
        let (table, any) = (world.table(index), any.join(" OR "));
        let _ = writeln!(text, "DELETE FROM {table} AS y WHERE NOT COALESCE({any}, false);");
    }
    for (index, cube) in world.cubes.iter().enumerate() {
        let mut columns = vec!["r.*".to_owned()];
        for member in &cube.dimensions {
            let sql = dimension_sql(world, index, columns.len() - 1);
            columns.push(format!("({}) AS d_{}", sql.replace('$', "r"), member.name));
        }
        for member in &cube.segments {
            columns.push(format!("({}) AS s_{}", member.sql.replace('$', "r"), member.name));
        }
        let table = world.table(index);
        let _ = writeln!(text, "CREATE VIEW {table}_rows AS SELECT {} FROM {table} AS r;", columns.join(", "));
    }
    text
}

/// A dimension's SQL; a time is the wall clock's of the session's zone, a date has none.
fn dimension_sql(world: &World, cube: usize, dimension: usize) -> String {
    let dimension = &world.cubes[cube].dimensions[dimension];
    match world.zone {
        Some(zone) if dimension.kind == Kind::Time => {
            format!("({}) AT TIME ZONE 'UTC' AT TIME ZONE '{zone}'", dimension.sql)
        }
        _ => dimension.sql.clone(),
    }
}

/// A condition on one cube's rows over the alias `y`.
fn own_rows_sql(world: &World, query: &Query, text: &RowText) -> String {
    text.write(|column| {
        let column = &query.scope.columns[*column];
        let sql = match column.role {
            Role::Dimension(place) => dimension_sql(world, column.cube, place),
            Role::Segment(place) => world.cubes[column.cube].segments[place].sql.clone(),
            Role::Measure(_) => unreachable!("a row's text has no measures"),
        };
        format!("({})", sql.replace('$', "y"))
    })
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

fn grouped_sql(parts: &Parts<'_>, groups: &[Group], distinct: &str) -> String {
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
        let mut each: Vec<String> = Vec::new();
        for group in groups {
            let values = format!("SELECT {} {}", dimensions.join(", "), joined(parts, group));
            if !each.contains(&values) {
                each.push(values);
            }
        }
        let each =
            if each.len() == 1 { each[0].replacen("SELECT", "SELECT DISTINCT", 1) } else { each.join(" UNION ") };
        format!("({each}) AS g")
    };
    if !parts.leaves.is_empty() {
        for (leaf, group) in groups.iter().enumerate() {
            let on: Vec<String> =
                names.iter().map(|name| format!("l{leaf}.{name} IS NOT DISTINCT FROM g.{name}")).collect();
            let on = if on.is_empty() { "true".to_owned() } else { on.join(" AND ") };
            let values = leaf_sql(parts, group, leaf, distinct, &dimensions, &names);
            text = format!("{text} LEFT JOIN ({values}) AS l{leaf} ON {on}");
        }
    }
    let value = |leaf: &usize| match parts.leaves[*leaf].fold {
        // A fact without rows for a group counts none.
        Fold::Count | Fold::CountSql | Fold::CountDistinct | Fold::CountDistinctApprox => {
            format!("COALESCE(l{leaf}.v, 0)")
        }
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
fn leaf_sql(
    parts: &Parts<'_>,
    group: &Group,
    leaf: usize,
    distinct: &str,
    dimensions: &[String],
    names: &[String],
) -> String {
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
    let mut filter = leaf.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({})", own(filter)));
    if let Some(extra) = &leaf.extra {
        let _ = write!(filter, " AND ({extra})");
    }
    let mut beside = String::new();
    if let Some(foreign) = &leaf.foreign {
        let join = &parts.world.joins[foreign.join];
        let on: Vec<String> = join.pairs.iter().map(|(from, to)| format!("y.{from} = z.{to}")).collect();
        beside = format!(" LEFT JOIN {}_rows AS z ON {}", parts.world.table(join.to), on.join(" AND "));
        let dimension = format!("z.d_{}", parts.world.cubes[join.to].dimensions[foreign.dimension].name);
        let _ = write!(filter, " AND ({})", foreign.condition.replace('#', &dimension));
    }
    let value = format!("CASE WHEN y.{} IS NOT NULL{filter} THEN {value} END", keys[0]);
    let fold = if leaf.fold == Fold::Count { Fold::CountSql } else { leaf.fold };
    let names: Vec<String> = names.iter().map(|name| format!("k.{name}")).collect();
    let select_outer: Vec<String> = names.into_iter().chain([format!("{} AS v", fold_call(fold, &value))]).collect();
    format!(
        "SELECT {} FROM (SELECT {distinct}{} {joined}) AS k LEFT JOIN {} AS y ON {}{beside}{grouped}",
        select_outer.join(", "),
        select.join(", "),
        parts.world.table(leaf.cube),
        on.join(" AND ")
    )
}
