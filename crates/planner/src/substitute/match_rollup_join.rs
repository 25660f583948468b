//! Legs over several cubes from several rollups, joined here: a declared `rollup_join`, or rollups that hold what is needed and the
//! keys of the joins between them (reference 4.6).
//!
//! The leg's tree is cut at some joins; each part is a rollup of its topmost cube, or where no rollup holds it a cube as its source has it now. Put together they are one shape, and what follows is as for one
//! rollup. The rows of the fact's part must not be repeated: a part that is joined to it is reduced to the columns in use, and the key on
//! its side must be the primary key of its cube. It would be wrong to join two rollups as they are: the right one may have several rows for a key.

use std::collections::{BTreeMap, BTreeSet};

use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{JoinEdge, JoinTree, cube_of};
use crate::lower::join_conditions::{Condition, left_join};
use crate::lower::joined_rows::{JoinedRows, Planning, StoredColumn, internal};
use crate::members;
use crate::nodes::fact_leg::{FactLeg, LegAggregate};
use crate::nodes::rollup_scan::RollupScan;
use crate::rollups::{
    PartitionRange, Rollup, RollupColumn, RollupLayout, RollupName, StoredPartition, StoredRollup, Stores, Walk,
    walk_to, walks_of,
};
use crate::tables;
use belvedere_model::{MemberKind, PreAggregationKind};

use super::UsedRollup;
use super::cover_members::{STORED, stored_column};
use super::match_rollup::{Answer, Built, Shape, match_shape, or_refuse, readable, scan_of, stored_key};
use super::refusal::Refusal;

/// Larger trees are not cut.
const EDGES_MAX: usize = 6;
/// Ends a walk that no cube of the query is at.
const NOWHERE: &str = "";
/// Ways to choose a rollup for each part that are tried.
const CHOICES_MAX: usize = 64;

/// The scan that answers `leg` from the rollups that a `rollup_join` names, or why there is none.
///
/// # Errors
/// The outer one for our own contradictions.
pub fn match_declared(leg: &FactLeg, join: &Rollup, planning: Planning<'_>) -> Answer<RollupScan> {
    let model = &planning.catalog.model;
    let definition = model.cubes.get(&join.name.cube).and_then(|cube| cube.pre_aggregations.get(&join.name.name));
    let Some(definition) = definition else { return Ok(Err(Refusal::NotBuilt)) };
    let mut candidates = Vec::new();
    for reference in &definition.rollups {
        let name = RollupName { cube: reference.cube.clone(), name: reference.name.clone() };
        let Some(member) = planning.catalog.rollups.get(&name) else { return Ok(Err(Refusal::NotBuilt)) };
        if let Err(error) = &member.layout {
            return Ok(Err(Refusal::Unusable { reason: format!("its rollup {name}: {}", error.message) }));
        }
        candidates.push(member.as_ref());
    }
    if leg.tree.edges.is_empty() {
        return Ok(Err(Refusal::NothingToJoin));
    }
    joined(leg, &join.name, &candidates, false, planning)
}

/// The scan that answers `leg` from any rollups that can be joined, or from one that is joined with cubes as their sources have them.
///
/// # Errors
/// Our own contradictions.
pub fn match_any(leg: &FactLeg, planning: Planning<'_>) -> Result<Option<RollupScan>> {
    if leg.tree.edges.is_empty() {
        return Ok(None);
    }
    let cubes: BTreeSet<&str> = leg.tree.nodes().map(cube_of).collect();
    let candidates: Vec<&Rollup> = cubes
        .into_iter()
        .filter_map(|cube| planning.catalog.rollups.of_cubes.get(cube))
        .flatten()
        .map(AsRef::as_ref)
        .filter(|rollup| {
            rollup.kind == PreAggregationKind::Rollup && rollup.layout.is_ok() && !rollup.stored.is_empty()
        })
        .collect();
    let name = RollupName { cube: leg.tree.root.clone(), name: "joined rollups".to_owned() };
    if let Ok(scan) = joined(leg, &name, &candidates, false, planning)? {
        return Ok(Some(scan));
    }
    Ok(joined(leg, &name, &candidates, true, planning)?.ok())
}

/// A part of the leg's tree, and what holds it.
#[derive(Clone)]
struct Part<'r> {
    top: String,
    nodes: BTreeSet<String>,
    rows: PartRows<'r>,
}

#[derive(Clone)]
enum PartRows<'r> {
    Stored {
        rollup: &'r Rollup,
        layout: &'r RollupLayout,
    },
    /// One cube at its source, with all of its members as columns.
    Live(Vec<RollupColumn>),
}

fn joined(
    leg: &FactLeg,
    name: &RollupName,
    candidates: &[&Rollup],
    with_live: bool,
    planning: Planning<'_>,
) -> Answer<RollupScan> {
    let edges = leg.tree.edges.len();
    if edges > EDGES_MAX {
        return Ok(Err(Refusal::TooManyJoins { joins: edges }));
    }
    let mut cuts: Vec<u32> = (1..1_u32 << edges).collect();
    cuts.sort_by_key(|cut| cut.count_ones());
    let mut refusal = None;
    let mut best: Option<RollupScan> = None;
    let mut tried = 0;
    for cut in cuts {
        for parts in choices(leg, cut, candidates, with_live, planning)? {
            tried += 1;
            if tried > CHOICES_MAX {
                break;
            }
            match match_parts(leg, name, &parts, planning)? {
                Ok(scan) => {
                    if best.as_ref().is_none_or(|known| scan.cost() < known.cost()) {
                        best = Some(scan);
                    }
                }
                Err(reason) => {
                    refusal.get_or_insert(reason);
                }
            }
        }
        // Fewer joins are better whatever they cost.
        if best.is_some() {
            break;
        }
    }
    Ok(best.ok_or_else(|| refusal.unwrap_or(Refusal::NoRollupForPart)))
}

/// The ways to choose a rollup for each part that cutting these edges leaves.
fn choices<'r>(
    leg: &FactLeg,
    cut: u32,
    candidates: &[&'r Rollup],
    with_live: bool,
    planning: Planning<'_>,
) -> Result<Vec<Vec<Part<'r>>>> {
    let tree = &leg.tree;
    // What is aggregated is stored, else nothing is gained.
    let of_leaves = leg.aggregates.iter().filter_map(|aggregate| match aggregate {
        LegAggregate::Leaf(leaf) => {
            Some(tree.node_at(&planning.catalog.model, &leaf.path).unwrap_or(&tree.root).to_owned())
        }
        LegAggregate::OverRows(_) | LegAggregate::CountRows { .. } | LegAggregate::HiddenRows(_) => None,
    });
    let facts: BTreeSet<String> = of_leaves.collect();
    let mut part_of: BTreeMap<&str, usize> = BTreeMap::from([(tree.root.as_str(), 0)]);
    let mut tops: Vec<&str> = vec![&tree.root];
    for (index, edge) in tree.edges.iter().enumerate() {
        let part = if cut & (1 << index) == 0 {
            part_of.get(edge.from.as_str()).copied().unwrap_or_default()
        } else {
            tops.push(&edge.to);
            tops.len() - 1
        };
        part_of.insert(&edge.to, part);
    }
    let mut all: Vec<Vec<Part<'r>>> = vec![Vec::new()];
    for (part, top) in tops.into_iter().enumerate() {
        let nodes: BTreeSet<String> =
            part_of.iter().filter(|(_, of)| **of == part).map(|(node, _)| (*node).to_owned()).collect();
        let above = walk_to(tree, top);
        let holds = |layout: &RollupLayout| {
            layout.root == cube_of(top)
                && nodes.iter().all(|node| {
                    let walk = walk_to(tree, node);
                    let below = &walk[above.len() - 1..];
                    below.len() == 1 || walks_in(layout).iter().any(|known| known.starts_with(below))
                })
        };
        let mut fitting: Vec<PartRows<'r>> = candidates
            .iter()
            .filter_map(|rollup| Some((*rollup, rollup.layout.as_ref().ok()?.as_ref())))
            .filter(|(_, layout)| holds(layout))
            .map(|(rollup, layout)| PartRows::Stored { rollup, layout })
            .collect();
        if with_live && nodes.len() == 1 && !facts.is_empty() && !facts.contains(top) {
            fitting.push(PartRows::Live(live_columns(cube_of(top), planning)?));
        }
        all = all
            .into_iter()
            .flat_map(|before| fitting.iter().map(move |rows| (before.clone(), rows.clone())))
            .take(CHOICES_MAX)
            .map(|(mut parts, rows)| {
                parts.push(Part { top: top.to_owned(), nodes: nodes.clone(), rows });
                parts
            })
            .collect();
    }
    Ok(all)
}

/// The members of a cube that have a value on each of its rows alone.
fn live_columns(cube: &str, planning: Planning<'_>) -> Result<Vec<RollupColumn>> {
    let cube = members::cube_named(&planning.catalog.model, cube)?;
    let at: Walk = vec![cube.naming.name.clone()];
    let column = |kind: MemberKind, member: &str| {
        let column = tables::column(planning, cube, kind, at.clone(), member);
        (format!("{}__{member}", cube.naming.name), column.field)
    };
    let mut columns = Vec::new();
    for (member, dimension) in &cube.dimensions {
        if dimension.details.sub_query {
            continue;
        }
        let (name, field) = column(MemberKind::Dimension, member);
        let stores = Stores::Dimension { at: at.clone(), member: member.clone() };
        columns.push(RollupColumn { name, field, stores });
    }
    for member in cube.segments.keys() {
        let (name, field) = column(MemberKind::Segment, member);
        let stores = Stores::Segment { at: at.clone(), member: member.clone() };
        columns.push(RollupColumn { name, field, stores });
    }
    Ok(columns)
}

impl Part<'_> {
    fn columns(&self) -> &[RollupColumn] {
        match &self.rows {
            PartRows::Stored { layout, .. } => &layout.columns,
            PartRows::Live(columns) => columns,
        }
    }

    fn partitioned_by(&self) -> Option<usize> {
        match &self.rows {
            PartRows::Stored { layout, .. } => layout.partitioned_by.as_ref().map(|(position, _)| *position),
            PartRows::Live(_) => None,
        }
    }

    /// A place in the rollup as one in the whole tree.
    fn place(&self, above: &Walk, at: &Walk) -> Walk {
        above.iter().chain(at.iter().skip(1)).cloned().collect()
    }
}

fn walks_in(layout: &RollupLayout) -> Vec<&Walk> {
    layout.columns.iter().flat_map(|column| column.stores.walks()).collect()
}

/// The name that a column of a part has in the shape.
fn part_column(part: usize, name: &str) -> String {
    format!("{part}_{name}")
}

fn match_parts(leg: &FactLeg, name: &RollupName, parts: &[Part<'_>], planning: Planning<'_>) -> Answer<RollupScan> {
    let model = &planning.catalog.model;
    let tree = &leg.tree;
    // The part whose rows are aggregated.
    let mut fact: Option<(usize, String)> = None;
    let mut repeats = false;
    for aggregate in &leg.aggregates {
        let LegAggregate::Leaf(leaf) = aggregate else { continue };
        let node = tree.node_at(model, &leaf.path).unwrap_or(&tree.root);
        let part = parts.iter().position(|part| part.nodes.contains(node));
        let part = part.ok_or_else(|| PlanError::internal("a cube that is in no part of the tree"))?;
        if fact.as_ref().is_some_and(|(known, _)| *known != part) {
            return Ok(Err(Refusal::SeveralFacts));
        }
        repeats |= tree.multiplies(model, node);
        fact = Some((part, node.to_owned()));
    }
    let aggregated = fact.as_ref().map_or(0, |(part, _)| *part);
    let mut columns: Vec<RollupColumn> = Vec::new();
    let mut origins: Vec<(usize, String)> = Vec::new();
    let mut decided = Vec::new();
    let mut partitioned_by = None;
    let outside: BTreeSet<Walk> = walks_of(tree);
    // Repeated rows of the fact can be told apart by its key.
    let has_key = fact.as_ref().is_some_and(|(part, node)| {
        let above = walk_to(tree, &parts[*part].top);
        let below: Walk = walk_to(tree, node).split_off(above.len() - 1);
        stored_key(parts[*part].columns(), &below, model).is_some()
    });
    for (index, part) in parts.iter().enumerate() {
        let above = walk_to(tree, &part.top);
        let own: BTreeSet<Walk> = part.nodes.iter().map(|node| walk_to(tree, node)).collect();
        for (position, column) in part.columns().iter().enumerate() {
            // What a part holds of another part's cube is not what is joined there: a row may have several. It still makes the rows finer.
            let place = |at: &Walk| {
                let mut place = part.place(&above, at);
                if !own.contains(&place) {
                    place.push(NOWHERE.to_owned());
                }
                place
            };
            if let Stores::Dimension { at, .. } | Stores::Segment { at, .. } | Stores::Time { at, .. } = &column.stores
                && index != aggregated
                && !own.contains(&part.place(&above, at))
            {
                continue;
            }
            let stores = match &column.stores {
                Stores::Dimension { at, member } => Stores::Dimension { at: place(at), member: member.clone() },
                Stores::Segment { at, member } => Stores::Segment { at: place(at), member: member.clone() },
                Stores::Time { at, member, granularity, unit } => Stores::Time {
                    at: place(at),
                    member: member.clone(),
                    granularity: granularity.clone(),
                    unit: unit.clone(),
                },
                Stores::Base { .. } => continue,
                Stores::Leaf(leaf) => {
                    let stays = !repeats || has_key || leaf.kind.ignores_repetition_when_merged();
                    if index != aggregated || !stays {
                        continue;
                    }
                    let mut leaf = leaf.clone();
                    leaf.at = part.place(&above, &leaf.at);
                    leaf.walks = leaf.walks.iter().map(|walk| part.place(&above, walk)).collect();
                    leaf.walks.extend(outside.difference(&own).cloned());
                    leaf.is_repeated |= repeats && !leaf.kind.ignores_repetition();
                    for (walk, _) in &mut leaf.within {
                        *walk = part.place(&above, walk);
                    }
                    Stores::Leaf(leaf)
                }
            };
            let is_partition = part.partitioned_by() == Some(position);
            if index == aggregated && is_partition {
                partitioned_by = Some(columns.len());
            }
            if index != aggregated {
                decided.push(columns.len());
            }
            columns.push(RollupColumn { name: part_column(index, &column.name), field: column.field.clone(), stores });
            origins.push((index, column.name.clone()));
        }
    }
    let keys = or_refuse!(keys_of(leg, parts, &columns, &origins, planning)?);
    if let Some((_, node)) = &fact
        && !repeats
    {
        or_refuse!(unique_keys(leg, node, parts, &keys, &columns, planning)?);
    }
    let shape = Shape { root: &tree.root, columns: &columns, partitioned_by, decided: &decided };
    match_shape(leg, name, &shape, planning, || Ok(built(parts, aggregated, keys, &columns, &origins, planning)))
}

/// A join between parts, over the shape's columns.
struct Key {
    edge: JoinEdge,
    condition: Condition,
}

fn part_with(parts: &[Part<'_>], node: &str) -> Option<usize> {
    parts.iter().position(|part| part.nodes.contains(node))
}

/// The joins between the parts. Each side is read from the part that stands for its cube: another part may hold the same member through
/// a join of its own, and a condition on that would not join the two.
fn keys_of(
    leg: &FactLeg,
    parts: &[Part<'_>],
    columns: &[RollupColumn],
    origins: &[(usize, String)],
    planning: Planning<'_>,
) -> Answer<Vec<Key>> {
    let tree = &leg.tree;
    let mut rows = JoinedRows::new(planning, tree.clone());
    let mut stored = Vec::new();
    for (column, (part, _)) in columns.iter().zip(origins) {
        let node_of = |walk: &Walk| parts[*part].nodes.iter().find(|node| walk_to(tree, node) == *walk).cloned();
        let (at, member, is_segment) = match &column.stores {
            Stores::Dimension { at, member } => (at, member, false),
            Stores::Segment { at, member } => (at, member, true),
            Stores::Time { .. } | Stores::Leaf(_) | Stores::Base { .. } => continue,
        };
        if let Some(node) = node_of(at) {
            let field = column.field.clone().with_name(&column.name).with_nullable(true);
            stored.push(StoredColumn { node, member: member.clone(), is_segment, field });
        }
    }
    rows.reads_only(stored, Vec::new());
    let mut keys = Vec::new();
    for edge in tree.edges.iter().filter(|edge| part_with(parts, &edge.from) != part_with(parts, &edge.to)) {
        match rows.stored_join_condition(&edge.from, &edge.to) {
            Ok(condition) if !condition.on.is_empty() => keys.push(Key { edge: edge.clone(), condition }),
            Ok(_) | Err(_) => {
                return Ok(Err(Refusal::KeyMissing {
                    from: cube_of(&edge.from).to_owned(),
                    to: cube_of(&edge.to).to_owned(),
                }));
            }
        }
    }
    Ok(Ok(keys))
}

/// Whether every part meets the rows of `fact` at most once: its side of the join holds its primary key.
fn unique_keys(
    leg: &FactLeg,
    fact: &str,
    parts: &[Part<'_>],
    keys: &[Key],
    columns: &[RollupColumn],
    planning: Planning<'_>,
) -> Answer<()> {
    let tree = &leg.tree;
    let mut met: BTreeSet<usize> = part_with(parts, fact).into_iter().collect();
    let mut todo: Vec<&Key> = keys.iter().collect();
    while !todo.is_empty() {
        let before = todo.len();
        let mut rest = Vec::new();
        for key in todo {
            let (from, to) = (part_with(parts, &key.edge.from), part_with(parts, &key.edge.to));
            let is_met = |part: Option<usize>| part.is_some_and(|part| met.contains(&part));
            // The side that is joined to what is there already.
            let (node, on): (&str, Vec<&Expr>) = match (is_met(from), is_met(to)) {
                (true, _) => (&key.edge.to, key.condition.on.iter().map(|(_, right)| right).collect()),
                (false, true) => (&key.edge.from, key.condition.on.iter().map(|(left, _)| left).collect()),
                (false, false) => {
                    rest.push(key);
                    continue;
                }
            };
            let cube = members::cube_named(&planning.catalog.model, cube_of(node))?;
            let walk = walk_to(tree, node);
            let is_key = |member: &str| {
                columns.iter().any(|column| {
                    matches!(&column.stores, Stores::Dimension { at, member: stored } if *at == walk && stored == member)
                        && on.iter().any(|expr| **expr == stored_column(&column.name))
                })
            };
            let has_key = cube.primary_key().next().is_some();
            if !has_key || !cube.primary_key().all(|dimension| is_key(&dimension.naming.name)) {
                return Ok(Err(Refusal::KeyNotUnique { cube: cube.naming.name.clone() }));
            }
            met.extend(from);
            met.extend(to);
        }
        if rest.len() == before {
            return Err(PlanError::internal("parts of a tree that are not joined"));
        }
        todo = rest;
    }
    Ok(Ok(()))
}

/// The rows of a part.
enum Source<'r> {
    Stored(&'r StoredRollup),
    /// The cube whose rows they are.
    Live(String),
}

fn built<'r>(
    parts: &[Part<'r>],
    aggregated: usize,
    keys: Vec<Key>,
    columns: &[RollupColumn],
    origins: &[(usize, String)],
    planning: Planning<'r>,
) -> std::result::Result<Built<'r>, Refusal> {
    let mut sources: Vec<Source<'r>> = Vec::new();
    let mut names: Vec<Option<RollupName>> = Vec::new();
    let mut other_zone = None;
    let mut zone = None;
    for (index, part) in parts.iter().enumerate() {
        let rollup = match &part.rows {
            PartRows::Stored { rollup, .. } => *rollup,
            PartRows::Live(_) => {
                sources.push(Source::Live(cube_of(&part.top).to_owned()));
                names.push(None);
                continue;
            }
        };
        let (rows, refusal) = readable(rollup, planning)?;
        other_zone = other_zone.or(refusal);
        let is_whole = rows.is_whole && rows.covers == crate::rollups::Cover::default();
        // The fact's part may lack rows only where it is the root's: below it, a row of the root whose rows are not there would be one without any.
        if (index != aggregated || index != 0) && !is_whole {
            return Err(Refusal::PartNotWhole { rollup: rollup.name.clone() });
        }
        if *zone.get_or_insert(rows.zone) != rows.zone {
            return Err(Refusal::NotBuilt);
        }
        sources.push(Source::Stored(rows));
        names.push(Some(rollup.name.clone()));
    }
    let Source::Stored(fact) = &sources[aggregated] else { return Err(Refusal::NoRollupForPart) };
    let fact: &'r StoredRollup = fact;
    let rows_of = |source: &Source<'_>| match source {
        Source::Stored(rows) => rows.partitions.iter().map(|partition| partition.rows).sum(),
        Source::Live(_) => 0,
    };
    // Parts that are only joined are read whole, and count where sizes are compared.
    let mut partitions = fact.partitions.clone();
    let others: u64 =
        sources.iter().enumerate().filter(|(index, _)| *index != aggregated).map(|(_, source)| rows_of(source)).sum();
    match partitions.iter_mut().find(|partition| partition.range != PartitionRange::NoTime) {
        Some(first) => first.rows += others,
        None => {
            for StoredPartition { rows, .. } in &mut partitions {
                *rows += others;
            }
        }
    }
    let counts: Vec<usize> = sources
        .iter()
        .map(|source| match source {
            Source::Stored(rows) => rows.partitions.len(),
            Source::Live(_) => 0,
        })
        .collect();
    let nodes: Vec<BTreeSet<String>> = parts.iter().map(|part| part.nodes.clone()).collect();
    let owned: Vec<Owned> = columns
        .iter()
        .zip(origins)
        .map(|(column, (part, origin))| Owned {
            part: *part,
            origin: origin.clone(),
            name: column.name.clone(),
            stores: column.stores.clone(),
        })
        .collect();
    let all = counts.clone();
    Ok(Built {
        partitions,
        covers: fact.covers,
        is_whole: fact.is_whole,
        rows: Box::new(move |read, in_use| {
            let mut wanted: BTreeSet<String> = in_use.clone();
            for key in &keys {
                let on = key.condition.on.iter().flat_map(|(left, right)| [left, right]);
                for expr in on.chain(&key.condition.filter) {
                    wanted.extend(expr.column_refs().into_iter().map(|column| column.name.clone()));
                }
            }
            let scan = |part: usize| -> Result<LogicalPlan> {
                let columns: Vec<&Owned> =
                    owned.iter().filter(|column| column.part == part && wanted.contains(&column.name)).collect();
                match &sources[part] {
                    Source::Live(cube) => live_rows(cube, part, &columns, planning),
                    Source::Stored(rows) => {
                        let all: Vec<usize> = (0..counts[part]).collect();
                        let rows = scan_of(rows, if part == aggregated { read } else { &all }, None)?;
                        let values = columns.iter().map(|column| (stored_column(&column.origin), *column)).collect();
                        let builder = LogicalPlanBuilder::from(rows).project(named(values, part)).map_err(internal)?;
                        let builder =
                            if part == aggregated { builder } else { builder.distinct().map_err(internal)? };
                        builder.build().map_err(internal)
                    }
                }
            };
            let part_of = |node: &str| nodes.iter().position(|nodes| nodes.contains(node)).unwrap_or_default();
            let mut plan = scan(0)?;
            for key in &keys {
                let right = scan(part_of(&key.edge.to))?;
                plan = left_join(plan, right, key.condition.clone())?;
            }
            Ok(plan)
        }),
        used: Box::new(move |read| {
            let used = names.iter().zip(&all).enumerate().filter_map(|(part, (rollup, partitions))| {
                Some(UsedRollup {
                    index: None,
                    rollup: rollup.clone()?,
                    partitions_read: if part == aggregated { read.len() } else { *partitions },
                    partitions: *partitions,
                })
            });
            used.collect()
        }),
        other_zone,
    })
}

/// A column of the shape, and where it comes from.
struct Owned {
    part: usize,
    /// Its name in that part.
    origin: String,
    name: String,
    stores: Stores,
}

/// The columns of a part under their names in the shape; one at least, as without any there are no rows.
fn named(values: Vec<(Expr, &Owned)>, part: usize) -> Vec<Expr> {
    let mut named: Vec<Expr> =
        values.into_iter().map(|(value, column)| value.alias_qualified(Some(STORED), &column.name)).collect();
    if named.is_empty() {
        named.push(datafusion_expr::lit(1_i64).alias_qualified(Some(STORED), format!("{part}_one")));
    }
    named
}

/// The rows of a cube as its source has them now.
fn live_rows(cube: &str, part: usize, columns: &[&Owned], planning: Planning<'_>) -> Result<LogicalPlan> {
    let path = [cube.to_owned()];
    let mut rows = JoinedRows::new(planning, JoinTree::of(cube));
    let mut values = Vec::new();
    for column in columns {
        let value = match &column.stores {
            Stores::Dimension { member, .. } => rows.dimension(&path, member)?,
            Stores::Segment { member, .. } => rows.segment(&path, member)?,
            Stores::Time { .. } | Stores::Leaf(_) | Stores::Base { .. } => {
                return Err(PlanError::internal("a cube that is read live has no such column"));
            }
        };
        values.push((value, *column));
    }
    let plan = planning.completing_a_rollup(|| rows.build())?;
    LogicalPlanBuilder::from(plan)
        .project(named(values, part))
        .and_then(LogicalPlanBuilder::distinct)
        .and_then(LogicalPlanBuilder::build)
        .map_err(internal)
}
