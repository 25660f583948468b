//! Whether a rollup answers a leg, and how (reference 4.4).
//!
//! *Additive*: every leaf is stored so that it can be added up over the groups that the leg does not tell apart: then the rollup may be
//! finer than the leg. *Exact*: a plain distinct count, or a leaf of which one row counts in several groups, is read as it is; then each
//! group of the leg must be one row of the rollup: all of its dimensions are grouped by, or pinned to one value.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use belvedere_functions::{PgType, cast_target};
use belvedere_model::{MeasureKind, Model, PreAggregationKind};
use datafusion_common::{DFSchema, TableReference};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{Case, Expr, LogicalPlan, Operator, TableScanBuilder};
use indexmap::IndexMap;

use crate::catalog::{MemberColumn, ViewTable};
use crate::error::{PlanError, Result};
use crate::expand::time_range::Core;
use crate::lower::joined_rows::{Planning, internal};
use crate::members;
use crate::nodes::fact_leg::{FactLeg, LeafKind, LeafOrigin, LegAggregate, LegLeaf, LegScan};
use crate::nodes::rollup_scan::{Merge, Merged, RollupScan};
use crate::policy::Guard;
use crate::rollups::{
    Cover as RangeCover, PartitionRange, Rollup, RollupColumn, RollupLayout, RollupName, StoredLeaf, StoredPartition,
    StoredRollup, Stores, Walk, walk_to, walks_of,
};

use super::UsedRollup;
use super::cover_members::{Cover, STORED, stored_column, within};
use super::cover_time::{Span, whole_buckets};
use super::refusal::Refusal;
use super::same_rows::same_rows;

pub(super) type Answer<T> = Result<std::result::Result<T, Refusal>>;

/// Returns with a refusal.
macro_rules! or_refuse {
    ($answer:expr) => {
        match $answer {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

/// What a rollup stores, or several put together.
pub(super) struct Shape<'r> {
    pub root: &'r str,
    pub columns: &'r [RollupColumn],
    /// The column that partitions.
    pub partitioned_by: Option<usize>,
    /// Columns of groups that the others decide: one row for each group needs only the others.
    pub decided: &'r [usize],
}

impl<'r> Shape<'r> {
    pub(super) fn of(layout: &'r RollupLayout) -> Self {
        Self {
            root: &layout.root,
            columns: &layout.columns,
            partitioned_by: layout.partitioned_by.as_ref().map(|(position, _)| *position),
            decided: &[],
        }
    }
}

/// The plan of some partitions, with the columns that are in use at least.
type RowsOf<'r> = dyn Fn(&[usize], &BTreeSet<String>) -> Result<LogicalPlan> + 'r;

/// The rollups whose rows those are.
type UsedOf<'r> = dyn Fn(&[usize]) -> Vec<UsedRollup> + 'r;

/// Rows of such a shape.
pub(super) struct Built<'r> {
    pub partitions: Vec<StoredPartition>,
    pub covers: RangeCover,
    pub is_whole: bool,
    /// The plan of some partitions; its columns are [`stored_column`]s.
    pub rows: Box<RowsOf<'r>>,
    pub used: Box<UsedOf<'r>>,
    /// For everything that depends on the zone, where it is not the session's.
    pub other_zone: Option<Refusal>,
}

/// The scan of `rollup` that answers `leg`, or why there is none.
///
/// # Errors
/// The outer one for our own contradictions.
pub fn match_rollup(leg: &FactLeg, rollup: &Rollup, planning: Planning<'_>) -> Answer<RollupScan> {
    match rollup.kind {
        PreAggregationKind::RollupLambda => return super::match_lambda::match_lambda(leg, rollup, planning),
        PreAggregationKind::RollupJoin => return super::match_rollup_join::match_declared(leg, rollup, planning),
        PreAggregationKind::Rollup => {}
        PreAggregationKind::OriginalSql => return Err(PlanError::internal("rows of a cube answer no leg")),
    }
    let layout = match &rollup.layout {
        Ok(layout) => layout,
        Err(error) => return Ok(Err(Refusal::Unusable { reason: error.message.clone() })),
    };
    let rows = || Ok(built(rollup, None, planning));
    let scan = or_refuse!(match_shape(leg, &rollup.name, &Shape::of(layout), planning, rows)?);
    over_coarser_copies(scan, leg, rollup, layout, planning).map(Ok)
}

/// The scan, or the cheapest one over a coarser copy of the same rows.
fn over_coarser_copies(
    scan: RollupScan,
    leg: &FactLeg,
    rollup: &Rollup,
    layout: &RollupLayout,
    planning: Planning<'_>,
) -> Result<RollupScan> {
    let mut best = scan;
    let partition = layout.partitioned_by.as_ref().map(|(position, _)| &layout.columns[*position].name);
    for index in &layout.indexes {
        let Some(coarser) = &index.coarser else { continue };
        let place = |name: &String| coarser.columns.iter().position(|column| column.name == *name);
        let partitioned_by = partition.and_then(place);
        // A copy without the time does not know what the partitions lack.
        if partition.is_some() && partitioned_by.is_none() && !best.live.is_empty() {
            continue;
        }
        let shape = Shape { root: &layout.root, columns: &coarser.columns, partitioned_by, decided: &[] };
        let rows = || Ok(built(rollup, Some(&index.name), planning));
        if let Ok(found) = match_shape(leg, &rollup.name, &shape, planning, rows)?
            && found.cost() < best.cost()
        {
            best = found;
        }
    }
    Ok(best)
}

/// The rows of one rollup, or of a coarser copy of them.
pub(super) fn built<'r>(
    rollup: &'r Rollup,
    index: Option<&'r str>,
    planning: Planning<'_>,
) -> std::result::Result<Built<'r>, Refusal> {
    let (stored, other_zone) = readable(rollup, planning)?;
    let name = rollup.name.clone();
    let mut partitions = stored.partitions.clone();
    if let Some(index) = index {
        let rows = stored.coarser.get(index).ok_or(Refusal::NotBuilt)?;
        partitions.iter_mut().zip(rows).for_each(|(partition, rows)| partition.rows = *rows);
    }
    let all = partitions.len();
    Ok(Built {
        partitions,
        covers: stored.covers,
        is_whole: stored.is_whole,
        rows: Box::new(move |partitions, _| scan_of(stored, partitions, index)),
        used: Box::new(move |partitions| {
            let (rollup, index) = (name.clone(), index.map(str::to_owned));
            vec![UsedRollup { rollup, index, partitions_read: partitions.len(), partitions: all }]
        }),
        other_zone,
    })
}

/// The scan of some partitions, or of the copy of an index that aggregates.
pub(crate) fn scan_of(stored: &StoredRollup, partitions: &[usize], index: Option<&str>) -> Result<LogicalPlan> {
    let table = stored.rows.table(partitions, index).map_err(internal)?;
    let scan = TableScanBuilder::new(TableReference::bare(STORED), table).build().map_err(internal)?;
    Ok(LogicalPlan::TableScan(scan))
}

/// The scan of a shape that answers `leg`. Rows are asked for last: what the definition lacks is the better reason.
///
/// # Errors
/// The outer one for our own contradictions.
pub(super) fn match_shape<'r>(
    leg: &FactLeg,
    name: &RollupName,
    shape: &Shape<'_>,
    planning: Planning<'_>,
    built: impl FnOnce() -> Answer<Built<'r>>,
) -> Answer<RollupScan> {
    let guards = or_refuse!(same_rows(leg, shape, planning)?);
    let mut matching = Matching {
        leg,
        shape,
        planning,
        cover: Cover::new(leg, shape.columns, planning),
        needs_one_row: None,
        distinct: Vec::new(),
        keyed: BTreeSet::new(),
        merged_at: BTreeSet::new(),
        filters: Vec::new(),
        policies: Vec::new(),
        edges: Vec::new(),
        spans: Vec::new(),
    };
    let mut group = Vec::new();
    for expr in &leg.group {
        group.push(or_refuse!(matching.cover.covered(expr)?));
    }
    or_refuse!(matching.cover_filters()?);
    or_refuse!(matching.cover_guards(&guards));
    let mut merged = Vec::new();
    for aggregate in &leg.aggregates {
        merged.push(or_refuse!(matching.merged(aggregate)?));
    }
    // Rows with one key are one only where all their values depend on it.
    if let Some(keyed) = matching.keyed.first()
        && (matching.keyed.len() > 1 || matching.merged_at.iter().any(|at| at != keyed))
    {
        let measure = keyed.join(".");
        return Ok(Err(Refusal::Multiplied { measure }));
    }
    if let Some(refusal) = &matching.needs_one_row
        && !matching.has_one_row_a_group(&group)
    {
        return Ok(Err(refusal.clone()));
    }
    let built = or_refuse!(built()?);
    let Reads { partitions, rows_read, live_time, live } = or_refuse!(matching.reads(&built)?);
    if let Some(refusal) = matching.needs_one_row.clone()
        && !live.is_empty()
    {
        return Ok(Err(refusal));
    }
    if !matching.distinct.is_empty() && !live.is_empty() {
        let aggregate = "distinct rows".to_owned();
        return Ok(Err(Refusal::CannotCombine { aggregate }));
    }
    let mut legs = Vec::new();
    for condition in live {
        legs.push(or_refuse!(matching.live_leg(condition)?));
    }
    let mut filters = std::mem::take(&mut matching.filters);
    filters.extend(matching.whole_spans()?);
    if let Some(refusal) = built.other_zone {
        let values = merged.iter().map(|merged| &merged.value);
        let names_time = group.iter().chain(&filters).chain(values).any(|expr| names_time(expr, shape.columns));
        if names_time || !legs.is_empty() {
            return Ok(Err(refusal));
        }
    }
    let conditions = filters.iter().chain(&matching.policies);
    let exprs =
        group.iter().chain(conditions).chain(&matching.distinct).chain(merged.iter().map(|merged| &merged.value));
    let in_use: BTreeSet<String> = exprs.flat_map(Expr::column_refs).map(|column| column.name.clone()).collect();
    Ok(Ok(RollupScan {
        leg: leg.clone(),
        rollup: name.clone(),
        rows: (built.rows)(&partitions, &in_use)?,
        used: (built.used)(&partitions),
        rows_read,
        live_time,
        group,
        filters,
        policies: matching.policies,
        merged,
        distinct: matching.distinct,
        live: legs,
    }))
}

/// The columns of the primary key of the cube at a place, where all of them are stored.
pub(super) fn stored_key(columns: &[RollupColumn], at: &Walk, model: &Model) -> Option<Vec<Expr>> {
    let cube = model.cubes.get(at.last()?)?;
    let keys: Option<Vec<Expr>> = cube
        .primary_key()
        .map(|key| {
            columns.iter().find_map(|column| match &column.stores {
                Stores::Dimension { at: place, member } if place == at && *member == key.naming.name => {
                    Some(stored_column(&column.name))
                }
                _ => None,
            })
        })
        .collect();
    keys.filter(|keys| !keys.is_empty())
}

/// Whether an expression reads a stored time: that is one of the zone that it was stored in.
fn names_time(expr: &Expr, columns: &[RollupColumn]) -> bool {
    expr.column_refs().into_iter().any(|column| {
        columns
            .iter()
            .any(|stored| stored.name == column.name && matches!(stored.field.data_type(), DataType::Timestamp(..)))
    })
}

/// Rows that are fresh enough, of the session's zone where there are some; else with the refusal for all that depends on it.
pub(crate) fn readable<'r>(
    rollup: &'r Rollup,
    planning: Planning<'_>,
) -> std::result::Result<(&'r StoredRollup, Option<Refusal>), Refusal> {
    let Some(first) = rollup.stored.first() else { return Err(Refusal::NotBuilt) };
    let zone = planning.session.zone;
    let own = rollup.stored.iter().find(|stored| stored.zone == zone);
    let other_zone = own.is_none().then(|| Refusal::OtherZone {
        zone: zone.name(),
        built: rollup.stored.iter().map(|stored| stored.zone.name()).collect(),
    });
    let stored = own.unwrap_or(first);
    if let Some(allowed) = planning.session.rollups.max_staleness
        && let Some(built_at) = stored.built_at
    {
        let age = planning.session.now.timestamp_micros() - built_at;
        if age > allowed {
            return Err(Refusal::Stale { seconds: age / 1_000_000, allowed: allowed / 1_000_000 });
        }
    }
    Ok((stored, other_zone))
}

struct Matching<'a, 's, 'r> {
    leg: &'a FactLeg,
    shape: &'s Shape<'r>,
    planning: Planning<'a>,
    cover: Cover<'a>,
    /// The refusal unless each group is one row of the rollup.
    needs_one_row: Option<Refusal>,
    /// The primary key of the cube whose rows the stored rows repeat.
    distinct: Vec<Expr>,
    /// The places of the cubes whose rows are told apart by that key, and of those whose leaves are merged.
    keyed: BTreeSet<Walk>,
    merged_at: BTreeSet<Walk>,
    /// Over the rollup's columns.
    filters: Vec<Expr>,
    /// The same of access policies.
    policies: Vec<Expr>,
    /// Stored times of which the leg's range cuts through buckets.
    edges: Vec<(usize, Core)>,
    /// The times for which conditions can hold, by stored time, and whether those are borders of the query.
    spans: Vec<(usize, Span, bool)>,
}

/// What is read: partitions, and conditions on what the source gives beside.
struct Reads {
    partitions: Vec<usize>,
    rows_read: u64,
    live_time: u64,
    live: Vec<Expr>,
}

impl Matching<'_, '_, '_> {
    fn cover_filters(&mut self) -> Answer<()> {
        for filter in &self.leg.filters {
            for part in split_conjunction_owned(filter.clone()) {
                let hulls = self.cover.hulls_in(&part)?;
                let covered = self.cover.covered(&part)?;
                for (time, _, hull) in &hulls {
                    self.spans.push((*time, hull.span, hull.has_borders || covered.is_err()));
                }
                match covered {
                    Ok(covered) => self.filters.push(covered),
                    Err(refusal) => {
                        let exact = hulls.into_iter().find(|(_, _, hull)| hull.is_exact);
                        let Some((time, core, _)) = exact else { return Ok(Err(refusal)) };
                        if !self.edges.iter().any(|(known, _)| *known == time) {
                            self.edges.push((time, core));
                        }
                    }
                }
            }
        }
        if self.edges.len() > 1 {
            return Ok(Err(self.too_coarse(self.edges[1].0)));
        }
        Ok(Ok(()))
    }

    /// Restrictions that the statement does not have.
    fn cover_guards(&mut self, guards: &[Guard]) -> std::result::Result<(), Refusal> {
        for Guard { condition, zone, is_policy } in guards {
            let covered = self.cover.condition(condition, *zone);
            match (covered, is_policy) {
                (Some(covered), true) => self.policies.push(covered),
                (Some(covered), false) => self.filters.push(covered),
                (None, false) => return Err(Refusal::DefaultFilter),
                // Not by which member: that is nobody's business who is restricted by it.
                (None, true) => {
                    let view = self.leg.scans.first().map(|scan| scan.table.name.clone());
                    return Err(Refusal::RowFilter { cube: view.unwrap_or_default() });
                }
            }
        }
        Ok(())
    }

    fn too_coarse(&self, time: usize) -> Refusal {
        let time = &self.cover.times[time];
        let shown = match &self.shape.columns[time.position].stores {
            Stores::Time { at, member, .. } => format!("{}.{member}", at.last().map_or("", String::as_str)),
            _ => String::new(),
        };
        Refusal::TooCoarse { member: shown, stored: time.granularity.clone() }
    }

    /// All that conditions say of a stored time.
    fn asked(&self, time: usize) -> Span {
        self.spanned(time, false)
    }

    /// The borders that the query has for a stored time.
    fn borders(&self, time: usize) -> Span {
        self.spanned(time, true)
    }

    fn spanned(&self, time: usize, only_borders: bool) -> Span {
        let member = |time: usize| match &self.shape.columns[self.cover.times[time].position].stores {
            Stores::Time { at, member, .. } => Some((at.clone(), member.clone())),
            _ => None,
        };
        let wanted = member(time);
        self.spans
            .iter()
            .filter(|(known, _, is_border)| member(*known) == wanted && (*is_border || !only_borders))
            .fold(Span::ALL, |all, (_, span, _)| all.and(span))
    }

    fn merged(&mut self, aggregate: &LegAggregate) -> Answer<Merged> {
        match aggregate {
            LegAggregate::Leaf(leaf) => self.merged_leaf(leaf),
            LegAggregate::OverRows(Expr::AggregateFunction(call)) => self.merged_call(call),
            LegAggregate::OverRows(other) => Ok(Err(Refusal::RowsNeeded { aggregate: other.to_string() })),
            LegAggregate::CountRows { .. } => Ok(Err(Refusal::RowsNeeded { aggregate: "COUNT(*)".to_owned() })),
            LegAggregate::HiddenRows(_) => Ok(Err(Refusal::RowFilter { cube: self.leg.tree.root.clone() })),
        }
    }

    fn merged_leaf(&mut self, leaf: &LegLeaf) -> Answer<Merged> {
        let model = &self.planning.catalog.model;
        let tree = &self.leg.tree;
        let node = tree.node_at(model, &leaf.path).unwrap_or(&tree.root);
        let at = walk_to(tree, node);
        self.merged_at.insert(at.clone());
        let mut within_walks = Vec::new();
        for (path, measure) in &leaf.within {
            let node = tree.node_at(model, path).unwrap_or(&tree.root);
            within_walks.push((walk_to(tree, node), measure.clone()));
        }
        let walks = walks_of(tree);
        let is_same = |stored: &StoredLeaf| {
            stored.measure == leaf.measure && stored.at.last() == at.last() && stored.origin == leaf.origin
        };
        // Distinct rows of a cube, and the distinct keys of its rows, are counted alike.
        let counts_rows = leaf.origin == LeafOrigin::Value
            && members::cube_named(model, leaf.cube())?
                .measures
                .get(&leaf.measure)
                .is_some_and(|measure| measure.kind == MeasureKind::Count && measure.sql.is_none());
        let kinds: &[(LeafKind, Merge)] = match leaf.kind {
            LeafKind::Count | LeafKind::CountDistinct if counts_rows => {
                &[(LeafKind::Count, Merge::Count), (LeafKind::CountDistinct, Merge::Count)]
            }
            LeafKind::Count => &[(LeafKind::Count, Merge::Count)],
            LeafKind::CountDistinct => &[(LeafKind::Set, Merge::Set), (LeafKind::CountDistinct, Merge::Count)],
            LeafKind::CountDistinctApprox => &[(LeafKind::Sketch, Merge::Sketch)],
            LeafKind::Sum => &[(LeafKind::Sum, Merge::Sum)],
            LeafKind::Min => &[(LeafKind::Min, Merge::Min)],
            LeafKind::Max => &[(LeafKind::Max, Merge::Max)],
            LeafKind::Sketch | LeafKind::Set => &[],
        };
        let shown = format!("{}.{}", leaf.cube(), leaf.measure);
        let mut differs = None;
        for (kind, merge) in kinds {
            for column in self.shape.columns {
                let Stores::Leaf(stored) = &column.stores else { continue };
                if !is_same(stored) {
                    continue;
                }
                let fits = stored.kind == *kind
                    && stored.at == at
                    && stored.within == within_walks
                    && walks.is_subset(&stored.walks);
                if !fits {
                    differs = Some(if stored.kind == LeafKind::CountDistinct && leaf.kind == LeafKind::Count {
                        Refusal::Multiplied { measure: shown.clone() }
                    } else {
                        Refusal::MeasureDiffers { measure: shown.clone() }
                    });
                    continue;
                }
                let repeats = stored.is_repeated || (counts_rows && stored.kind == LeafKind::CountDistinct);
                if let Some(key) = self.stored_key(&at).filter(|_| repeats && stored.kind != LeafKind::CountDistinct) {
                    // Each stored row has one of the cube's, so that its rows can be told apart.
                    self.distinct = key;
                    self.keyed.insert(at.clone());
                } else if repeats {
                    if walks != stored.walks {
                        return Ok(Err(Refusal::Multiplied { measure: shown }));
                    }
                    self.needs_one_row.get_or_insert(Refusal::Multiplied { measure: shown });
                } else if stored.kind == LeafKind::CountDistinct {
                    if let Some(value) = self.cover.leaf_value(leaf) {
                        return Ok(Ok(Merged { merge: Merge::CountDistinct, value }));
                    }
                    self.needs_one_row.get_or_insert(Refusal::NotAdditive { measure: shown });
                }
                let mut value = stored_column(&column.name);
                if let Some(filter) = &leaf.filter {
                    value = where_holds(value, or_refuse!(self.cover.covered(filter)?));
                }
                return Ok(Ok(Merged { merge: *merge, value }));
            }
        }
        // What repetition leaves as it is can be computed from stored dimensions.
        let merge = match leaf.kind {
            LeafKind::CountDistinct => Some(Merge::CountDistinct),
            LeafKind::Min => Some(Merge::Min),
            LeafKind::Max => Some(Merge::Max),
            LeafKind::Count | LeafKind::CountDistinctApprox | LeafKind::Sum | LeafKind::Sketch | LeafKind::Set => None,
        };
        let has_one_key = members::cube_named(model, leaf.cube())?.primary_key().count() == 1;
        if let Some(merge) = merge.filter(|_| leaf.origin == LeafOrigin::Value && (has_one_key || !counts_rows))
            && let Some(value) = self.cover.leaf_value(leaf)
        {
            return Ok(Ok(Merged { merge, value }));
        }
        Ok(Err(differs.unwrap_or(Refusal::MeasureMissing { measure: shown })))
    }

    /// The columns of the primary key of the cube at a place, where all of them are stored.
    fn stored_key(&self, at: &Walk) -> Option<Vec<Expr>> {
        stored_key(self.shape.columns, at, &self.planning.catalog.model)
    }

    /// An aggregate over dimensions that repetition leaves as it is.
    fn merged_call(&mut self, call: &AggregateFunction) -> Answer<Merged> {
        let name = call.func.name();
        let merge = match (name, call.params.distinct) {
            ("min", _) => Merge::Min,
            ("max", _) => Merge::Max,
            ("bool_and" | "every", _) => Merge::BoolAnd,
            ("bool_or", _) => Merge::BoolOr,
            ("count", true) => Merge::CountDistinct,
            _ => return Ok(Err(Refusal::RowsNeeded { aggregate: format!("{name}(…)") })),
        };
        let [argument] = call.params.args.as_slice() else {
            return Ok(Err(Refusal::RowsNeeded { aggregate: format!("{name}(…)") }));
        };
        let mut value = or_refuse!(self.cover.covered(argument)?);
        if let Some(filter) = &call.params.filter {
            value = where_holds(value, or_refuse!(self.cover.covered(filter)?));
        }
        Ok(Ok(Merged { merge, value }))
    }

    /// Whether no two rows of the rollup fall into one group.
    fn has_one_row_a_group(&self, group: &[Expr]) -> bool {
        let filters: Vec<Expr> =
            self.filters.iter().flat_map(|filter| split_conjunction_owned(filter.clone())).collect();
        self.shape.columns.iter().enumerate().all(|(position, column)| {
            if matches!(column.stores, Stores::Leaf(_)) || self.shape.decided.contains(&position) {
                return true;
            }
            let own = stored_column(&column.name);
            let is_pin = |filter: &Expr| match filter {
                Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
                    let is = |one: &Expr, other: &Expr| *one == own && matches!(other, Expr::Literal(..));
                    is(&binary.left, &binary.right) || is(&binary.right, &binary.left)
                }
                Expr::IsTrue(inner) => **inner == own,
                other => *other == own,
            };
            // The date of a bucket that begins at midnight tells it from all others.
            let is_date = |expr: &Expr| match expr {
                Expr::ScalarFunction(call) => {
                    call.args == [own.clone()]
                        && cast_target(&call.func).is_some_and(|target| target.pg == PgType::Date)
                        && matches!(&column.stores, Stores::Time { unit: Some(unit), .. } if unit.begins_at_midnight())
                }
                _ => false,
            };
            group.iter().any(|expr| *expr == own || is_date(expr)) || filters.iter().any(is_pin)
        })
    }

    /// The conditions that keep out the buckets that a range cuts through.
    fn whole_spans(&self) -> Result<Vec<Expr>> {
        let mut conditions = Vec::new();
        for (time, _) in &self.edges {
            let stored = &self.cover.times[*time];
            if let Some(unit) = &stored.unit {
                let whole = whole_buckets(self.asked(*time), unit, self.planning)?;
                conditions.push(within(&stored.column, whole));
            }
        }
        Ok(conditions)
    }

    fn reads(&self, stored_rollup: &Built<'_>) -> Answer<Reads> {
        let partitioned = self.shape.partitioned_by;
        let cut = self.edges.first();
        let of_partitions =
            partitioned.and_then(|position| self.cover.times.iter().position(|time| time.position == position));
        // Whole buckets of the cut time, and all of it.
        let cut_spans = match cut {
            None => None,
            Some((time, _)) => {
                let asked = self.asked(*time);
                let stored = &self.cover.times[*time];
                let Some(unit) = &stored.unit else { return Ok(Err(self.too_coarse(*time))) };
                let whole = whole_buckets(asked, unit, self.planning)?;
                if whole.is_empty() {
                    let Refusal::TooCoarse { member, stored } = self.too_coarse(*time) else {
                        return Err(PlanError::internal("a time that is too coarse for another reason"));
                    };
                    return Ok(Err(Refusal::NoWholeBucket { member, stored }));
                }
                Some((asked, whole))
            }
        };
        let Some(position) = partitioned else {
            let (live, live_time) = match (cut, cut_spans) {
                (Some((_, core)), Some((asked, whole))) => live_conditions(core, asked, whole),
                _ => (Vec::new(), 0),
            };
            return Ok(Ok(Reads {
                partitions: (0..stored_rollup.partitions.len()).collect(),
                rows_read: stored_rollup.partitions.iter().map(|partition| partition.rows).sum(),
                live_time,
                live,
            }));
        };
        let is_same_time = |one: usize, other: usize| {
            let key = |time: usize| match &self.shape.columns[self.cover.times[time].position].stores {
                Stores::Time { at, member, .. } => Some((at.clone(), member.clone())),
                _ => None,
            };
            key(one) == key(other)
        };
        let (asked, wanted) = match (of_partitions, cut, cut_spans) {
            (Some(time), Some((cut, _)), Some((asked, whole))) if is_same_time(time, *cut) => (asked, whole),
            (Some(time), _, _) => (self.asked(time), self.asked(time)),
            (None, _, _) => (Span::ALL, Span::ALL),
        };
        let may_be_null = asked == Span::ALL;
        let held = Self::held(stored_rollup, of_partitions.map_or(Span::ALL, |time| self.borders(time)));
        let read: Vec<Span> = held.iter().map(|span| span.and(&wanted)).filter(|span| !span.is_empty()).collect();
        let mut partitions = Vec::new();
        let mut has_null = false;
        for (index, partition) in stored_rollup.partitions.iter().enumerate() {
            let reads = match partition.range {
                PartitionRange::Whole => true,
                PartitionRange::Between { start, end } => !Span::new(start, end).and(&wanted).is_empty(),
                PartitionRange::NoTime => {
                    has_null = true;
                    may_be_null
                }
            };
            if reads {
                partitions.push(index);
            }
        }
        let mut missing = asked.minus(&read);
        let other_cut = cut.filter(|(cut, _)| of_partitions.is_none_or(|time| !is_same_time(time, *cut)));
        if let Some((_, core)) = other_cut {
            if !missing.is_empty() || (may_be_null && !has_null) {
                return Ok(Err(Refusal::RangeNotBuilt));
            }
            let Some((asked, whole)) = cut_spans else { return Err(PlanError::internal("a cut without a span")) };
            let (live, live_time) = live_conditions(core, asked, whole);
            return Ok(Ok(with_rows(stored_rollup, partitions, live, live_time)));
        }
        if read.is_empty() && !missing.is_empty() {
            return Ok(Err(Refusal::RangeNotBuilt));
        }
        missing.retain(|span| !span.is_empty());
        let mut live = Vec::new();
        let live_time = missing.iter().fold(0_u64, |sum, span| sum.saturating_add(span.length()));
        if !missing.is_empty() || (may_be_null && !has_null) {
            let Some(time) = self.live_time(position) else { return Ok(Err(Refusal::RangeNotBuilt)) };
            live.extend(missing.into_iter().map(|span| within(&time, span)));
            if may_be_null && !has_null {
                live.push(Expr::IsNull(Box::new(time)));
            }
        }
        Ok(Ok(with_rows(stored_rollup, partitions, live, live_time)))
    }

    /// The spans that partitions hold. Where the build had no border of its own, nothing was before its first partition and after its last one,
    /// which is as good as held for a query without a border there.
    fn held(stored: &Built<'_>, asked: Span) -> Vec<Span> {
        let mut held: Vec<Span> = stored
            .partitions
            .iter()
            .filter_map(|partition| match partition.range {
                PartitionRange::Whole => Some(Span::ALL),
                // What the build left out of its first and last partition is not there.
                PartitionRange::Between { start, end } => {
                    Some(Span::new(start, end).and(&Span { from: stored.covers.from, to: stored.covers.to }))
                }
                PartitionRange::NoTime => None,
            })
            .filter(|span| !span.is_empty())
            .collect();
        held.sort_by_key(|span| span.from);
        if !stored.is_whole {
            return held;
        }
        if held.is_empty() && stored.covers == RangeCover::default() && !stored.partitions.is_empty() {
            // There was no time at all.
            return vec![Span::ALL];
        }
        if asked.from.is_none()
            && stored.covers.from.is_none()
            && let Some(first) = held.first_mut()
        {
            first.from = None;
        }
        if asked.to.is_none()
            && stored.covers.to.is_none()
            && let Some(last) = held.iter_mut().max_by_key(|span| span.to)
        {
            last.to = None;
        }
        held
    }

    /// The time that partitions, as a column of a scan that is added to the leg; `None` where the leg has no such place.
    fn live_time(&self, position: usize) -> Option<Expr> {
        let scan = self.live_scan(position)?;
        let column = scan.table.columns.values().next()?;
        let time = Expr::Column(datafusion_common::Column::new(Some(scan.reference.clone()), LIVE_TIME));
        Some(if column.field.data_type() == &DataType::Date32 {
            datafusion_expr::cast(time, DataType::Timestamp(TimeUnit::Microsecond, None))
        } else {
            time
        })
    }

    fn live_scan(&self, position: usize) -> Option<LegScan> {
        let Stores::Time { at, member, .. } = &self.shape.columns[position].stores else { return None };
        let tree = &self.leg.tree;
        tree.nodes().find(|node| walk_to(tree, node) == *at)?;
        let cube = members::cube_named(&self.planning.catalog.model, at.last()?).ok()?;
        let kind = belvedere_model::MemberKind::Dimension;
        let column: MemberColumn = crate::tables::column(self.planning, cube, kind, at.clone(), member);
        let mut columns = IndexMap::new();
        columns.insert(LIVE_TIME.to_owned(), column);
        let table = ViewTable::new(LIVE_SCAN.to_owned(), columns, None);
        Some(LegScan { reference: TableReference::bare(LIVE_SCAN), table: Arc::new(table), defaults: Vec::new() })
    }

    /// The leg under one condition more, with values that can be merged.
    fn live_leg(&self, condition: Expr) -> Answer<FactLeg> {
        let mut leg = self.leg.clone();
        let names_live_time = condition
            .column_refs()
            .iter()
            .any(|column| column.relation.as_ref().is_some_and(|relation| relation.table() == LIVE_SCAN));
        if names_live_time {
            let position = self.shape.partitioned_by.unwrap_or_default();
            leg.scans.extend(self.live_scan(position));
        }
        leg.filters.push(condition);
        let mut fields: Vec<Field> = leg.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (index, aggregate) in leg.aggregates.iter_mut().enumerate() {
            let field = &mut fields[self.leg.group.len() + index];
            match aggregate {
                LegAggregate::Leaf(leaf) => match leaf.kind {
                    LeafKind::Count | LeafKind::Sum | LeafKind::Min | LeafKind::Max => {}
                    LeafKind::CountDistinctApprox => {
                        leaf.kind = LeafKind::Sketch;
                        *field = field.clone().with_data_type(DataType::Binary);
                    }
                    LeafKind::CountDistinct => {
                        let set = self.shape.columns.iter().find_map(|column| match &column.stores {
                            Stores::Leaf(stored) if stored.kind == LeafKind::Set && stored.measure == leaf.measure => {
                                Some(column.field.data_type().clone())
                            }
                            _ => None,
                        });
                        let Some(set) = set else {
                            return Ok(Err(Refusal::CannotCombine {
                                aggregate: format!("measure \"{}\"", leaf.measure),
                            }));
                        };
                        leaf.kind = LeafKind::Set;
                        *field = field.clone().with_data_type(set);
                    }
                    LeafKind::Sketch | LeafKind::Set => {
                        return Err(PlanError::internal("a query asks for what only rollups store"));
                    }
                },
                LegAggregate::OverRows(Expr::AggregateFunction(call)) if call.func.name() != "count" => {}
                LegAggregate::OverRows(other) => {
                    return Ok(Err(Refusal::CannotCombine { aggregate: other.to_string() }));
                }
                LegAggregate::CountRows { .. } | LegAggregate::HiddenRows(_) => {
                    return Ok(Err(Refusal::CannotCombine { aggregate: "COUNT(*)".to_owned() }));
                }
            }
        }
        let schema = DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(internal)?;
        leg.schema = Arc::new(schema);
        Ok(Ok(leg))
    }
}

fn with_rows(stored: &Built<'_>, partitions: Vec<usize>, live: Vec<Expr>, live_time: u64) -> Reads {
    let rows_read = partitions.iter().map(|index| stored.partitions[*index].rows).sum();
    Reads { partitions, rows_read, live_time, live }
}

pub(super) use or_refuse;

/// The scan that is added to a leg for the time that partitions, and its column.
const LIVE_SCAN: &str = "rollup:live";
const LIVE_TIME: &str = "time";

/// The conditions for the edges of a range, and how long they are.
fn live_conditions(core: &Core, asked: Span, whole: Span) -> (Vec<Expr>, u64) {
    let edges = asked.minus(&[whole]);
    let length = edges.iter().fold(0_u64, |sum, span| sum.saturating_add(span.length()));
    (edges.into_iter().map(|span| live_condition(core, span)).collect(), length)
}

/// The condition that a leg's own time lies in a span.
fn live_condition(core: &Core, span: Span) -> Expr {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
    let time = match &core.expr {
        Expr::Column(_) if core.is_date => datafusion_expr::cast(core.expr.clone(), timestamp),
        other => other.clone(),
    };
    within(&time, span)
}

/// A value where a condition holds.
fn where_holds(value: Expr, condition: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(value))], None))
}
