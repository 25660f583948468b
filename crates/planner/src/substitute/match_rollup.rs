//! Whether a rollup answers a leg, and how (reference 4.4).
//!
//! *Additive*: every leaf is stored so that it can be added up over the groups that the leg does not tell apart: then the rollup may be
//! finer than the leg. *Exact*: a plain distinct count, or a leaf of which one row counts in several groups, is read as it is; then each
//! group of the leg must be one row of the rollup: all of its dimensions are grouped by, or pinned to one value.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use belvedere_functions::{PgType, cast_target};
use belvedere_model::{Model, PreAggregationKind};
use datafusion_common::TableReference;
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{Expr, LogicalPlan, Operator, TableScanBuilder};

use crate::error::{PlanError, Result};
use crate::expand::time_range::Core;
use crate::lower::joined_rows::{Planning, internal};
use crate::nodes::fact_leg::FactLeg;
use crate::nodes::rollup_scan::RollupScan;
use crate::policy::Guard;
use crate::rollups::{
    Cover as RangeCover, Rollup, RollupColumn, RollupLayout, RollupName, StoredPartition, StoredRollup, Stores, Walk,
};

use super::UsedRollup;
use super::cover_members::{Cover, STORED, stored_column};
use super::cover_time::Span;
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

pub(super) use or_refuse;

mod merged;
mod parts;

use parts::Reads;

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
    // Rows with one key are one only where all their values depend on it: beside a value of another cube, each would count once for each of those.
    if let Some(keyed) = matching.keyed.first()
        && (matching.keyed.len() > 1 || !merged.iter().all(|merged| depends_on(&merged.value, keyed, shape.columns)))
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

/// Whether all that an expression reads is of the cube at a place, so that its key decides the value.
fn depends_on(expr: &Expr, place: &Walk, columns: &[RollupColumn]) -> bool {
    let is_of_it = |name: &str| columns.iter().any(|stored| stored.name == name && stored.stores.at() == Some(place));
    expr.column_refs().into_iter().all(|column| is_of_it(&column.name))
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
    /// The places of the cubes whose rows are told apart by that key.
    keyed: BTreeSet<Walk>,
    /// Over the rollup's columns.
    filters: Vec<Expr>,
    /// The same of access policies.
    policies: Vec<Expr>,
    /// Stored times of which the leg's range cuts through buckets.
    edges: Vec<(usize, Core)>,
    /// The times for which conditions can hold, by stored time, and whether those are borders of the query.
    spans: Vec<(usize, Span, bool)>,
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
}
