//! Expressions of a leg over the columns that a rollup stores.
//!
//! A dimension that is stored is its column; one that is computed from stored ones is computed from their columns; a time that is stored by day
//! stands in every expression that has one value for each day. A comparison of the time itself with the start of a bucket is the same comparison of the
//! bucket. It would be wrong to compare anything else with the bucket: `created_at > '2024-01-10 12:00'` holds for a part of a day.

use arrow::datatypes::Field;
use belvedere_functions::Zone;
use belvedere_model::{DimensionValue, Model, ViewMemberValue};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, TableReference};
use datafusion_expr::{Expr, lit};

use crate::catalog::MemberColumn;
use crate::error::Result;
use crate::expand::hints::member;
use crate::expand::time_range::{Core, Times, Unit, at_start, timestamp};
use crate::lower::calculated::composed_path;
use crate::lower::joined_rows::{JoinedRows, Planning, StoredColumn, internal};
use crate::lower::lower_leg::granularity_call;
use crate::members::{REFERENCE_DEPTH_MAX, sole_reference};
use crate::nodes::fact_leg::{FactLeg, LegLeaf};
use crate::policy::condition::Condition;
use crate::rewrite::CUSTOM_GRANULARITY;
use crate::rollups::{RollupColumn, Stores, walk_to};

use super::cover_time::{Span, constant, start_of};
use super::refusal::Refusal;
use super::time_hull::{Hull, hull_of};

/// The relation of a rollup's columns: no name that SQL could give.
pub const STORED: &str = "rollup:";

/// A column of the rollup.
#[must_use]
pub fn stored_column(name: &str) -> Expr {
    Expr::Column(Column::new(Some(TableReference::bare(STORED)), name))
}

/// A time that a rollup stores by some granularity, where the leg has it.
#[derive(Debug, Clone)]
pub struct StoredTime {
    /// Of the rollup's columns.
    pub position: usize,
    node: String,
    member: String,
    pub granularity: String,
    /// `None` where a calendar defines it.
    pub unit: Option<Unit>,
    pub column: Expr,
}

impl StoredTime {
    /// About how long its buckets are; those that a calendar defines come last.
    fn length(&self) -> i128 {
        self.unit.as_ref().map_or(i128::MAX, Unit::length)
    }
}

pub struct Cover<'a> {
    leg: &'a FactLeg,
    planning: Planning<'a>,
    rows: JoinedRows<'a>,
    pub times: Vec<StoredTime>,
}

impl<'a> Cover<'a> {
    #[must_use]
    pub fn new(leg: &'a FactLeg, columns: &[RollupColumn], planning: Planning<'a>) -> Self {
        let mut rows = JoinedRows::new(planning, leg.tree.clone());
        rows.switches = Some(leg.switches.clone());
        let mut times = Vec::new();
        let mut stored = Vec::new();
        let node_of =
            |walk: &[String]| leg.tree.nodes().find(|node| walk_to(&leg.tree, node) == walk).map(str::to_owned);
        for (position, column) in columns.iter().enumerate() {
            let field: Field = column.field.clone().with_name(&column.name).with_nullable(true);
            match &column.stores {
                Stores::Dimension { at, member } => {
                    if let Some(node) = node_of(at) {
                        stored.push(StoredColumn { node, member: member.clone(), is_segment: false, field });
                    }
                }
                Stores::Segment { at, member } => {
                    if let Some(node) = node_of(at) {
                        stored.push(StoredColumn { node, member: member.clone(), is_segment: true, field });
                    }
                }
                Stores::Time { at, member, granularity, unit } => {
                    if let Some(node) = node_of(at) {
                        times.push(StoredTime {
                            position,
                            node,
                            member: member.clone(),
                            granularity: granularity.clone(),
                            unit: unit.clone(),
                            column: stored_column(&column.name),
                        });
                    }
                }
                Stores::Leaf(_) | Stores::Base { .. } => {}
            }
        }
        let cut = columns.iter().filter(|column| matches!(column.stores, Stores::Time { .. }));
        let cut = cut.map(|column| column.field.clone().with_name(&column.name).with_nullable(true)).collect();
        rows.reads_only(stored, cut);
        Self { leg, planning, rows, times }
    }

    fn recognizer(&self) -> Times<'a> {
        Times { scans: &self.leg.scans, planning: self.planning }
    }

    /// The stored times that an expression names, each with how the expression has it.
    fn cores_in(&self, expr: &Expr) -> Result<Vec<(usize, Core)>> {
        let recognizer = self.recognizer();
        let mut cores: Vec<Core> = Vec::new();
        expr.apply(|node| {
            if let Some(core) = recognizer.core_of(node) {
                if !cores.contains(&core) {
                    cores.push(core);
                }
                return Ok(TreeNodeRecursion::Jump);
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(internal)?;
        let mut found = Vec::new();
        for core in cores {
            let Some((node, name)) = self.place_of(&core.column)? else { continue };
            for (index, time) in self.times.iter().enumerate() {
                if time.node == node && time.member == name {
                    found.push((index, core.clone()));
                }
            }
        }
        Ok(found)
    }

    /// The node and the member that a column is, seen through dimensions that are nothing but another one.
    fn place_of(&self, column: &Column) -> Result<Option<(String, String)>> {
        if column.relation.as_ref().is_some_and(|relation| relation.table() == STORED) {
            return Ok(None);
        }
        let found = member(&self.leg.scans, column)?;
        if found.mask.is_some() {
            return Ok(None);
        }
        let model = &self.planning.catalog.model;
        let Some((path, name)) = seen_through(model, found) else { return Ok(None) };
        Ok(self.leg.tree.node_at(model, &path).map(|node| (node.to_owned(), name)))
    }

    /// An expression over the columns of the leg's scans as one over the rollup's.
    ///
    /// # Errors
    /// The outer one for our own contradictions.
    pub fn covered(&mut self, expr: &Expr) -> Result<std::result::Result<Expr, Refusal>> {
        let expr = self.over_buckets(expr)?;
        if let Ok(covered) = self.rows.over_rows(&self.leg.scans, &expr) {
            return Ok(Ok(covered));
        }
        Ok(Err(self.missing_in(&expr)?))
    }

    /// A condition of the model over the rollup's columns; `None` where it reads what is not stored.
    pub fn condition(&mut self, condition: &Condition, zone: Zone) -> Option<Expr> {
        self.rows.condition(condition, zone).ok()
    }

    /// The values of a leaf over what is stored, where they are an expression of that.
    pub fn leaf_value(&mut self, leaf: &LegLeaf) -> Option<Expr> {
        let filter = match &leaf.filter {
            None => None,
            Some(filter) => {
                let filter = self.over_buckets(filter).ok()?;
                Some(self.rows.over_rows(&self.leg.scans, &filter).ok()?)
            }
        };
        self.rows.leaf_value(leaf, filter).ok()
    }

    /// With what is stored of times in the place of the times.
    fn over_buckets(&self, expr: &Expr) -> Result<Expr> {
        let mut expr = expr.clone().transform_down(|node| self.as_bucket(node)).map_err(internal)?.data;
        for (index, core) in self.cores_in(&expr)? {
            let time = &self.times[index];
            let Some(unit) = &time.unit else { continue };
            if self.recognizer().is_one_in(&expr, &core, unit)
                && let Some(start) = moved_start(&core, time, unit)?
            {
                expr = at_start(&expr, &core, &start)?;
            }
        }
        Ok(expr)
    }

    /// A bucket that is stored as it is, or a comparison with the start of one.
    fn as_bucket(&self, node: Expr) -> datafusion_common::Result<Transformed<Expr>> {
        let whole = |expr: Expr| Ok(Transformed::new(expr, true, TreeNodeRecursion::Jump));
        if let Expr::ScalarFunction(call) = &node {
            if call.func.name() == CUSTOM_GRANULARITY {
                let (granularity, column) = granularity_call(call)?;
                let Some((at, name)) = self.place_of(column)? else { return Ok(Transformed::no(node)) };
                let time = self.times.iter().find(|time| {
                    time.node == at && time.member == name && time.granularity.eq_ignore_ascii_case(granularity)
                });
                if let Some(time) = time {
                    return whole(time.column.clone());
                }
                return Ok(Transformed::no(node));
            }
            if matches!(call.func.name(), "date_trunc" | "belvedere_bin")
                && let Some(bucket) = self.recognizer().bucket_of(&node)
                && is_unmoved(&bucket.core)
            {
                for (index, core) in self.cores_in(&node)? {
                    let time = &self.times[index];
                    if core == bucket.core && time.unit.as_ref() == Some(&bucket.unit) {
                        return whole(time.column.clone());
                    }
                }
            }
            return Ok(Transformed::no(node));
        }
        // A time is there where its bucket is.
        if let Expr::IsNull(time) | Expr::IsNotNull(time) = &node {
            for (index, core) in self.cores_in(time)? {
                if core.expr == **time && is_unmoved(&core) {
                    let bucket = Box::new(self.times[index].column.clone());
                    let is_null = matches!(node, Expr::IsNull(_));
                    return whole(if is_null { Expr::IsNull(bucket) } else { Expr::IsNotNull(bucket) });
                }
            }
            return Ok(Transformed::no(node));
        }
        if !matches!(node, Expr::BinaryExpr(_) | Expr::Between(_)) {
            return Ok(Transformed::no(node));
        }
        for (index, core) in self.cores_in(&node)? {
            let time = &self.times[index];
            let Some(unit) = time.unit.as_ref() else { continue };
            let Some(Some(span)) = self.span_of(&node, &core)? else { continue };
            let is_start = |at: Option<i64>| match at {
                None => Ok::<bool, crate::error::PlanError>(true),
                Some(at) => Ok(start_of(at, unit, self.planning)? == at),
            };
            if is_start(span.from)? && is_start(span.to)? {
                if is_unmoved(&core) {
                    return whole(within(&time.column, span));
                }
                // The times of a bucket are moved into one bucket, which lies on one side of the start of another.
                if let Some(start) = moved_start(&core, time, unit)? {
                    return whole(at_start(&node, &core, &start)?);
                }
            }
        }
        Ok(Transformed::no(node))
    }

    /// The span that a condition allows a time: `None` where it is no range, `Some(None)` where its bounds are not known or NULL.
    fn span_of(&self, condition: &Expr, core: &Core) -> Result<Option<Option<Span>>> {
        let Some(range) = self.recognizer().range_of(condition, core)? else { return Ok(None) };
        let mut span = Span::ALL;
        for (bound, is_from) in [(range.from, true), (range.to, false)] {
            let Some(bound) = bound else { continue };
            let Some(Some(at)) = constant(bound, self.planning)? else { return Ok(Some(None)) };
            if is_from { span.from = Some(at) } else { span.to = Some(at) }
        }
        Ok(Some(Some(span)))
    }

    /// The stored times outside of whose hull a condition cannot hold; a time that is stored more than once by its shortest buckets first, of which
    /// most are whole.
    ///
    /// # Errors
    /// Our own contradictions, and what computing the bounds says.
    pub fn hulls_in(&self, condition: &Expr) -> Result<Vec<(usize, Core, Hull)>> {
        let mut found = Vec::new();
        for (index, core) in self.cores_in(condition)? {
            let Some(hull) = hull_of(&self.recognizer(), condition, &core)? else { continue };
            if is_unmoved(&core) {
                found.push((index, core, hull));
            } else if let Some(hull) = hull.before(&core, self.planning)? {
                found.push((index, core, hull));
            }
        }
        found.sort_by_key(|(index, ..)| self.times[*index].length());
        Ok(found)
    }

    /// Why an expression is not covered: the first of its members that is not.
    fn missing_in(&mut self, expr: &Expr) -> Result<Refusal> {
        let mut columns: Vec<Column> = Vec::new();
        expr.apply(|node| {
            if let Expr::Column(column) = node
                && column.relation.as_ref().is_none_or(|relation| relation.table() != STORED)
                && !columns.contains(column)
            {
                columns.push(column.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(internal)?;
        for column in columns {
            let found = member(&self.leg.scans, &column)?;
            if self.rows.row_member(found).is_ok() {
                continue;
            }
            let owner = found.path.last().or(found.view.as_ref()).cloned().unwrap_or_default();
            let shown = format!("{owner}.{}", found.member);
            let place = self.place_of(&column)?;
            let time = place.and_then(|(node, name)| {
                let known = self.times.iter().filter(|time| time.node == node && time.member == name);
                known.min_by_key(|time| time.length())
            });
            return Ok(match time {
                Some(time) => Refusal::TooCoarse { member: shown, stored: time.granularity.clone() },
                None => Refusal::MemberMissing { member: shown },
            });
        }
        Ok(Refusal::RowsNeeded { aggregate: expr.to_string() })
    }
}

/// The time itself, or a date as a timestamp.
fn is_unmoved(core: &Core) -> bool {
    match &core.expr {
        Expr::Column(_) => true,
        Expr::Cast(cast) => matches!(*cast.expr, Expr::Column(_)),
        _ => false,
    }
}

/// What stands for a time in an expression with one value for each bucket. A time that was moved by days or months is in the bucket of the moved
/// start where buckets are no longer than a day; any other is not.
fn moved_start(core: &Core, time: &StoredTime, unit: &Unit) -> Result<Option<Expr>> {
    if is_unmoved(core) {
        return Ok(Some(time.column.clone()));
    }
    let mut has_only_days = true;
    core.expr
        .apply(|node| {
            if let Expr::Literal(datafusion_common::ScalarValue::IntervalMonthDayNano(Some(interval)), _) = node {
                has_only_days &= interval.nanoseconds == 0;
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(internal)?;
    let is_short = matches!(unit.name, Some("second" | "minute" | "hour" | "day"));
    if !has_only_days || !is_short || core.is_date {
        return Ok(None);
    }
    let column = Expr::Column(core.column.clone());
    let moved = core.expr.clone().transform_down(|node| {
        Ok(if node == column { Transformed::yes(time.column.clone()) } else { Transformed::no(node) })
    });
    moved.map(|moved| Some(moved.data)).map_err(internal)
}

/// The condition that a time lies in a span.
#[must_use]
pub fn within(time: &Expr, span: Span) -> Expr {
    let from = span.from.map(|from| time.clone().gt_eq(timestamp(from)));
    let to = span.to.map(|to| time.clone().lt(timestamp(to)));
    match (from, to) {
        (Some(from), Some(to)) => from.and(to),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => lit(true),
    }
}

/// The member that a column is, by the path to its cube; `None` for what a view computes itself.
#[must_use]
pub fn seen_through(model: &Model, column: &MemberColumn) -> Option<(Vec<String>, String)> {
    let (mut path, mut name) = (column.path.clone(), column.member.clone());
    if let Some(view) = &column.view {
        let ViewMemberValue::OwnDimension(dimension) = &model.views.get(view)?.members.get(&column.member)?.value
        else {
            return None;
        };
        let DimensionValue::Sql(template) = &dimension.value else { return None };
        let reference = sole_reference(template).filter(|reference| reference.granularity.is_none())?;
        (path, name) = (reference.path.clone(), reference.member.clone());
    }
    for _ in 0..REFERENCE_DEPTH_MAX {
        let Some(dimension) = model.cubes.get(path.last()?)?.dimensions.get(&name) else { break };
        let DimensionValue::Sql(template) = &dimension.value else { break };
        let Some(next) = sole_reference(template).filter(|next| next.granularity.is_none()) else { break };
        let onward = composed_path(model, &path, &next.path);
        // A sub-query dimension refers to a measure, and has a value of its own.
        if !model.cubes.get(onward.last()?)?.dimensions.contains_key(&next.member) {
            break;
        }
        path = onward;
        name.clone_from(&next.member);
    }
    Some((path, name))
}
