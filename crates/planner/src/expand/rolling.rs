//! Rolling windows: a measure over the rows of a window of time around each bucket of the query (reference 1.8).
//!
//! The buckets are a dense axis over the query's date range; where there is none, from the first to the last row that the measure reads. The
//! range decides which buckets there are, not which rows a window reads (RW8). A bucket is `[start, end)`; a `fixed` window is
//! `[end - trailing, end + leading)`, or from the start with `offset: start`; `to_date` is `[start of its unit, end)`. Rows come from an inner
//! question at the finest grain that no border of a window cuts, with all its other conditions, so that multiplied rows count once there;
//! sums, counts and extremes are aggregated again over a window, distinct counts from the values themselves (RW9).
//!
//! It would be wrong to count `dateTo` from the last moment of the bucket: a month before 29 February 23:59:59 is 29 January, so that a window
//! of one month would have January's last days.

use std::collections::BTreeSet;
use std::sync::Arc;

use belvedere_model::{GranularityValue, Interval, MeasureKind, MemberKind, RollingWindow, WindowBound};
use datafusion_common::{Column, JoinType, UnnestOptions};
use datafusion_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, lit};

use crate::bind::operators::cast_exactly;
use crate::catalog::MemberColumn;
use crate::error::{PlanError, Result};
use crate::lower::calculated::{Leaf, Leaves, leaf_name, stage_name};
use crate::lower::joined_rows::{JoinedRows, Planning, internal, missing};
use crate::nodes::fact_leg::{LeafKind, LegScan};
use crate::policy::Restrictions;

use super::build_legs::{Asked, Question};
use super::choose_join_tree::{JoinTree, choose_join_tree};
use super::combine_legs::{SideColumn, or_zero, side_by_side};
use super::hints::{Hints, member};
use super::split_facts::{group_name, split_facts, typed_as};
use super::stages::{asking, key_column, value_column, with_members, within};
use super::time_range::{Bucket, Core, Range, Times, Unit, as_timestamp, at_start, plus, plus_a_microsecond};
use super::time_shift::negated;

/// A rolling measure in a question.
pub(crate) struct Rolling {
    of: MemberColumn,
    kind: MeasureKind,
    window: RollingWindow,
    leaves: Leaves,
    /// Over the leaves.
    value: Expr,
    time: Option<Time>,
}

/// The time that the window is of.
struct Time {
    core: Core,
    /// The buckets of the query; with none the range is one.
    unit: Option<Unit>,
    /// Positions of the groups that are made of it.
    groups: Vec<usize>,
    range: Range,
    /// The question's other conditions.
    filters: Vec<Expr>,
    /// For `to_date`.
    since: Option<Unit>,
}

impl Time {
    /// The time of a row, as a timestamp.
    fn at(&self) -> Result<Expr> {
        let data_type = if self.core.is_date { arrow::datatypes::DataType::Date32 } else { crate::types::timestamp() };
        as_timestamp(self.core.expr.clone(), &data_type).ok_or_else(|| PlanError::internal("a time that is no time"))
    }
}

/// The grain at which no border of a bucket or a window lies inside of a bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grain {
    Exact,
    Second,
    Minute,
    Hour,
    Day,
    Month,
}

impl Rolling {
    /// # Errors
    /// 0A000 where the query does not say which time is meant, or says it in a way that has no buckets.
    pub(crate) fn of<'a>(
        question: &Question,
        stage: &MemberColumn,
        rows: &mut JoinedRows<'a>,
        planning: Planning<'a>,
    ) -> Result<Self> {
        let measure = stage
            .measure(&planning.catalog.model)
            .ok_or_else(|| missing(stage.view.as_deref().unwrap_or_default(), &stage.member))?;
        let window = measure
            .details
            .rolling_window
            .clone()
            .ok_or_else(|| PlanError::internal("a rolling measure without a window"))?;
        let mut leaves = Leaves::default();
        let value = rows.windowless_of(stage, &mut leaves)?;
        let time = time_of(question, &stage.member, &window, planning)?;
        Ok(Self { of: stage.clone(), kind: measure.kind, window, leaves, value, time })
    }

    pub(crate) fn counts(&self) -> bool {
        match self.kind {
            MeasureKind::Count | MeasureKind::CountDistinct | MeasureKind::CountDistinctApprox => true,
            MeasureKind::Sum
            | MeasureKind::Avg
            | MeasureKind::Min
            | MeasureKind::Max
            | MeasureKind::Number
            | MeasureKind::String
            | MeasureKind::Time
            | MeasureKind::Boolean
            | MeasureKind::NumberAgg
            | MeasureKind::Rank
            | MeasureKind::RunningTotal => false,
        }
    }

    /// Rows with all groups of the question, and the value.
    pub(crate) fn answer(
        &self,
        question: &Question,
        number: usize,
        facts: &BTreeSet<Vec<String>>,
        planning: Planning<'_>,
    ) -> Result<LogicalPlan> {
        let rows = JoinedRows::new(planning, JoinTree::of(""));
        let schema = {
            let mut rows = JoinedRows::new(planning, JoinTree::of(""));
            let mut leaves = Leaves::default();
            rows.windowless_of(&self.of, &mut leaves)?;
            rows.leaf_schema(&leaves)?
        };
        let added: Vec<usize> = self.positions(|kind| !is_of_values(kind));
        let distinct: Vec<usize> = self.positions(is_of_values);
        let mut parts: Vec<Part> = Vec::new();
        if !added.is_empty() {
            parts.push(self.added(question, &added, &schema, facts, planning)?);
        }
        for index in distinct {
            parts.push(self.distinct(question, index, &schema, facts, planning)?);
        }
        let axis = match (&self.time, parts.first()) {
            (Some(time), Some(first)) => Some(self.axis(time, first, planning)?),
            _ => None,
        };
        let mut sides = Vec::new();
        let mut columns = Vec::new();
        for part in &parts {
            for index in &part.leaves {
                let name = leaf_name(*index);
                let field = Arc::clone(&schema.fields()[*index]);
                columns.push(SideColumn { name, field, counts: self.leaves.leaves[*index].of.kind.counts() });
            }
            sides.push(self.side(question, part, axis.as_ref(), &schema, &rows, planning)?);
        }
        let combined = match (sides.pop(), sides.is_empty()) {
            (Some(only), true) => only,
            (Some(last), false) => {
                sides.push(last);
                side_by_side(question.group.len(), &columns, sides, planning)?
            }
            (None, _) => return Err(PlanError::internal("a rolling measure without leaves")),
        };
        let mut projection: Vec<Expr> = (0..question.group.len()).map(|index| named(group_name(index))).collect();
        let value = typed_as(self.value.clone(), combined.schema(), self.of.field.data_type())?;
        projection.push(value.alias(stage_name(number)));
        LogicalPlanBuilder::from(combined).project(projection).and_then(LogicalPlanBuilder::build).map_err(internal)
    }

    fn positions(&self, wanted: impl Fn(LeafKind) -> bool) -> Vec<usize> {
        let leaves = self.leaves.leaves.iter().enumerate();
        leaves.filter(|(_, leaf)| wanted(leaf.of.kind)).map(|(index, _)| index).collect()
    }

    /// Positions of the groups that are no time of the window.
    fn others(&self, question: &Question) -> Vec<usize> {
        let times = self.time.as_ref().map(|time| time.groups.as_slice()).unwrap_or_default();
        (0..question.group.len()).filter(|index| !times.contains(index)).collect()
    }

    /// The conditions of the inner question. Where the range is known it reads what the windows read: all before it would be sent for
    /// nothing. Half a range is left alone, because the axis then ends where the rows do.
    fn filters(&self, question: &Question, planning: Planning<'_>) -> Result<Vec<Expr>> {
        let Some(time) = &self.time else { return Ok(question.filters.clone()) };
        let mut filters = time.filters.clone();
        if let (Some(from), Some(to)) = (&time.range.from, &time.range.to) {
            let at = time.at()?;
            let (first, last) = match &time.unit {
                None => ((from.clone(), to.clone()), (from.clone(), to.clone())),
                Some(unit) => {
                    let last = plus(to.clone(), Interval { months: 0, days: 0, microseconds: -1 }, planning)?;
                    let bucket = |time: Expr| -> Result<(Expr, Expr)> {
                        Ok((unit.start_of(time.clone(), planning)?, unit.end_of(time, planning)?))
                    };
                    (bucket(from.clone())?, bucket(last)?)
                }
            };
            // Later buckets have later borders.
            if let (Some(from), _) = self.borders(time, first, planning)? {
                filters.push(at.clone().gt_eq(from));
            }
            if let (_, Some(to)) = self.borders(time, last, planning)? {
                filters.push(at.lt(to));
            }
        }
        Ok(filters)
    }

    /// From and to of the window of the bucket `[start, end)`; `None` has no border.
    fn borders(
        &self,
        time: &Time,
        (start, end): (Expr, Expr),
        planning: Planning<'_>,
    ) -> Result<(Option<Expr>, Option<Expr>)> {
        Ok(match &self.window {
            RollingWindow::Fixed { trailing, leading, from_start } => {
                let at = if *from_start { start } else { end };
                (border(&at, *trailing, negated, planning)?, border(&at, *leading, Some, planning)?)
            }
            RollingWindow::ToDate { .. } => {
                let since = time.since.as_ref().ok_or_else(|| PlanError::internal("to_date without a unit"))?;
                (Some(since.start_of(start, planning)?), Some(end))
            }
        })
    }

    /// The time of the inner question.
    fn fine(&self, time: &Time, planning: Planning<'_>) -> Result<Expr> {
        let at = time.at()?;
        let unit = match self.grain(time) {
            Grain::Exact => return Ok(at),
            Grain::Second => "second",
            Grain::Minute => "minute",
            Grain::Hour => "hour",
            Grain::Day => "day",
            Grain::Month => "month",
        };
        let cut = planning.functions.needed_scalar("date_trunc").map_err(internal)?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(cut, vec![lit(unit), at])))
    }

    fn grain(&self, time: &Time) -> Grain {
        // The borders of one range may lie anywhere.
        let Some(unit) = &time.unit else { return Grain::Exact };
        let mut grain = grain_of_unit(unit);
        match &self.window {
            RollingWindow::Fixed { trailing, leading, .. } => {
                for bound in [trailing, leading].into_iter().flatten() {
                    if let WindowBound::Interval(interval) = bound {
                        grain = grain.min(grain_of(*interval));
                    }
                }
            }
            RollingWindow::ToDate { .. } => {
                grain = time.since.as_ref().map_or(Grain::Exact, |since| grain.min(grain_of_unit(since)));
            }
        }
        grain
    }

    /// The leaves that can be aggregated again: their values at the inner grain.
    fn added(
        &self,
        question: &Question,
        leaves: &[usize],
        schema: &datafusion_common::DFSchema,
        facts: &BTreeSet<Vec<String>>,
        planning: Planning<'_>,
    ) -> Result<Part> {
        let others = self.others(question);
        let mut group: Vec<Expr> = others.iter().map(|index| question.group[*index].clone()).collect();
        if let Some(time) = &self.time {
            group.push(self.fine(time, planning)?);
        }
        for index in leaves {
            self.refuse_many_times(question, &self.leaves.leaves[*index], &group, planning)?;
        }
        let asked = leaves
            .iter()
            .map(|index| {
                let field = schema.field(*index).as_ref().clone();
                (Asked::Leaf(self.leaves.leaves[*index].of.clone()), field)
            })
            .collect();
        let filters = self.filters(question, planning)?;
        let within = within(question, facts, filters.len());
        let inner = asking(question, question.scans.clone(), group, asked, filters, within)?;
        let below = split_facts(&inner, planning)?;
        let mut columns = Vec::new();
        for (position, index) in others.iter().enumerate() {
            columns.push(key_column(position).alias(group_name(*index)));
        }
        if self.time.is_some() {
            columns.push(key_column(others.len()).alias(TIME));
        }
        for (position, index) in leaves.iter().enumerate() {
            columns.push(value_column(position).alias(leaf_name(*index)));
        }
        let plan =
            LogicalPlanBuilder::from(below).project(columns).and_then(LogicalPlanBuilder::build).map_err(internal)?;
        Ok(Part { plan, leaves: leaves.to_vec() })
    }

    /// The values that a distinct count counts, at the inner grain.
    fn distinct(
        &self,
        question: &Question,
        leaf: usize,
        schema: &datafusion_common::DFSchema,
        facts: &BTreeSet<Vec<String>>,
        planning: Planning<'_>,
    ) -> Result<Part> {
        let of = &self.leaves.leaves[leaf];
        let mut rows = JoinedRows::new(planning, JoinTree::of(""));
        let input = rows.leaf_value(&of.of, None)?;
        let data_type = rows.type_of(&input)?;
        let values = MemberColumn {
            kind: MemberKind::Measure,
            path: of.of.path.clone(),
            member: of.of.measure.clone(),
            view: None,
            values_of: Some(Arc::new(of.of.clone())),
            field: schema.field(leaf).as_ref().clone().with_data_type(data_type),
            mask: None,
        };
        let (scans, columns) = with_members(&question.scans, std::iter::once(&values));
        let column = columns.into_iter().next().ok_or_else(|| PlanError::internal("a question without a table"))?;
        let others = self.others(question);
        let mut group = vec![Expr::Column(column)];
        group.extend(others.iter().map(|index| question.group[*index].clone()));
        if let Some(time) = &self.time {
            group.push(self.fine(time, planning)?);
        }
        let filters = self.filters(question, planning)?;
        let within = within(question, facts, filters.len());
        // The measure itself is asked too: its tree and what restricts it are then those of the measure.
        let asked = vec![(Asked::Leaf(of.of.clone()), schema.field(leaf).as_ref().clone())];
        let inner = asking(question, scans, group, asked, filters, within)?;
        let below = split_facts(&inner, planning)?;
        let mut projection = Vec::new();
        for (position, index) in others.iter().enumerate() {
            projection.push(key_column(position + 1).alias(group_name(*index)));
        }
        if self.time.is_some() {
            projection.push(key_column(others.len() + 1).alias(TIME));
        }
        projection.push(key_column(0).alias(leaf_name(leaf)));
        let plan = LogicalPlanBuilder::from(below)
            .project(projection)
            .and_then(LogicalPlanBuilder::build)
            .map_err(internal)?;
        Ok(Part { plan, leaves: vec![leaf] })
    }

    /// A row that meets several times would count once for each of them in one window.
    fn refuse_many_times(
        &self,
        question: &Question,
        leaf: &Leaf,
        group: &[Expr],
        planning: Planning<'_>,
    ) -> Result<()> {
        let Some(time) = &self.time else { return Ok(()) };
        if leaf.of.kind.ignores_repetition() {
            return Ok(());
        }
        let model = &planning.catalog.model;
        let mut hints = Hints::new(model);
        hints.leaf(&question.scans, &leaf.of)?;
        for expr in group.iter().chain(&time.filters) {
            hints.expr(&question.scans, expr)?;
        }
        let Ok(tree) = choose_join_tree(model, &hints.paths) else { return Ok(()) };
        let mut times = Hints::new(model);
        times.member(member(&question.scans, &time.core.column)?)?;
        let fact = tree.node_at(model, &leaf.of.path).unwrap_or(&tree.root);
        let determined = tree.determined_by(model, fact);
        let met = |path: &&Vec<String>| tree.node_at(model, path).is_none_or(|node| !determined.contains(node));
        match times.paths.iter().find(met).and_then(|path| path.last()) {
            None => Ok(()),
            Some(cube) => Err(PlanError::unsupported(format!(
                "\"{}\" is over a window of the time \"{}\", of which a row of \"{}\" has several",
                self.of.member,
                time.core.column.name,
                leaf.of.cube()
            ))
            .detail(format!(
                "Each row of \"{}\" would count once for every row of \"{cube}\" in the window.",
                leaf.of.cube()
            ))
            .hint("Use a time dimension of the measure's own cube.")),
        }
    }

    /// The buckets, each with the borders of its window: columns [`START`], [`FROM`] and [`TO`].
    fn axis(&self, time: &Time, rows: &Part, planning: Planning<'_>) -> Result<LogicalPlan> {
        let known = |bound: &Option<Expr>| bound.clone();
        let builder = match (known(&time.range.from), known(&time.range.to)) {
            (Some(from), Some(to)) => LogicalPlanBuilder::from(LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: true,
                schema: Arc::new(datafusion_common::DFSchema::empty()),
            }))
            .project([from.alias("first"), to.alias("last")]),
            (from, to) => {
                let call = |name: &str| -> Result<Expr> {
                    let function = planning.functions.needed_aggregate(name).map_err(internal)?;
                    Ok(Expr::AggregateFunction(AggregateFunction::new_udf(
                        function,
                        vec![named(TIME.to_owned())],
                        false,
                        None,
                        vec![],
                        None,
                    )))
                };
                let none: Vec<Expr> = vec![];
                let ends = [call("min")?.alias("least"), call("max")?.alias("most")];
                let from = from.unwrap_or_else(|| named("least".to_owned()));
                let to = match to {
                    Some(to) => to,
                    None => plus_a_microsecond(named("most".to_owned()), planning)?,
                };
                LogicalPlanBuilder::from(rows.plan.clone())
                    .aggregate(none, ends)
                    .and_then(|builder| builder.project([from.alias("first"), to.alias("last")]))
            }
        }
        .map_err(internal)?;
        let (first, last) = (named("first".to_owned()), named("last".to_owned()));
        let builder = match &time.unit {
            None => builder.project([first.alias(START), last.alias(END)]),
            Some(unit) => {
                let end = unit.end_of(named(START.to_owned()), planning)?;
                builder
                    .project([unit.axis(first, last, planning)?.alias(START)])
                    .and_then(|builder| builder.unnest_column_with_options(Column::new_unqualified(START), bins_only()))
                    .and_then(|builder| builder.project([named(START.to_owned()), end.alias(END)]))
            }
        }
        .map_err(internal)?;
        let (start, end) = (named(START.to_owned()), named(END.to_owned()));
        let (from, to) = self.borders(time, (start, end), planning)?;
        // What has no border has every time.
        let mut columns = vec![named(START.to_owned())];
        columns.extend(from.map(|from| from.alias(FROM)));
        columns.extend(to.map(|to| to.alias(TO)));
        builder.project(columns).and_then(LogicalPlanBuilder::build).map_err(internal)
    }

    /// The groups of the question with the leaves of one part over the windows.
    fn side(
        &self,
        question: &Question,
        part: &Part,
        axis: Option<&LogicalPlan>,
        schema: &datafusion_common::DFSchema,
        rows: &JoinedRows<'_>,
        planning: Planning<'_>,
    ) -> Result<LogicalPlan> {
        let others = self.others(question);
        let joined = match axis {
            None => part.plan.clone(),
            Some(axis) => {
                let time = named(TIME.to_owned());
                let has = |name: &str| axis.schema().has_column_with_unqualified_name(name);
                let mut conditions = Vec::new();
                if has(FROM) {
                    conditions.push(time.clone().gt_eq(named(FROM.to_owned())));
                }
                if has(TO) {
                    conditions.push(time.lt(named(TO.to_owned())));
                }
                if conditions.is_empty() {
                    conditions.push(lit(true));
                }
                // Every bucket is there, with or without rows. One range that is no group of the query has groups where it has rows.
                let is_dense = self.time.as_ref().is_some_and(|time| time.unit.is_some());
                let join = if is_dense { JoinType::Left } else { JoinType::Inner };
                LogicalPlanBuilder::from(axis.clone())
                    .join_on(part.plan.clone(), join, conditions)
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(internal)?
            }
        };
        let mut keys: Vec<Expr> = others.iter().map(|index| named(group_name(*index))).collect();
        let bucketed = self.time.as_ref().filter(|time| time.unit.is_some());
        if bucketed.is_some() {
            keys.push(named(START.to_owned()));
        }
        let mut aggregates = Vec::new();
        for index in &part.leaves {
            let again = match self.leaves.leaves[*index].of.kind {
                LeafKind::Count | LeafKind::Sum => LeafKind::Sum,
                LeafKind::Min => LeafKind::Min,
                LeafKind::Max => LeafKind::Max,
                LeafKind::Sketch | LeafKind::Set => {
                    return Err(PlanError::internal("a query asks for what only rollups store"));
                }
                kind @ (LeafKind::CountDistinct | LeafKind::CountDistinctApprox) => kind,
            };
            aggregates.push(rows.leaf_aggregate(again, named(leaf_name(*index)))?.alias(format!("w{index}")));
        }
        let builder = LogicalPlanBuilder::from(joined).aggregate(keys, aggregates).map_err(internal)?;
        let mut projection = Vec::new();
        for index in 0..question.group.len() {
            let value = match bucketed {
                Some(time) if time.groups.contains(&index) => {
                    at_start(&question.group[index], &time.core, &named(START.to_owned()))?
                }
                _ => named(group_name(index)),
            };
            let wanted = question.schema.field(index).data_type();
            projection.push(typed_as(value, builder.schema(), wanted)?.alias(group_name(index)));
        }
        for index in &part.leaves {
            use datafusion_expr::ExprSchemable;
            let value = named(format!("w{index}"));
            let found = value.get_type(builder.schema()).map_err(internal)?;
            // A sum of sums has a wider type than the sum of all; the number is the same.
            let value =
                cast_exactly(value, &found, schema.field(*index).data_type(), planning.session).map_err(internal)?;
            let value = if self.leaves.leaves[*index].of.kind.counts() { or_zero(value, planning)? } else { value };
            projection.push(value.alias(leaf_name(*index)));
        }
        builder.project(projection).and_then(LogicalPlanBuilder::build).map_err(internal)
    }
}

/// Rows of an inner question: groups, [`TIME`], and values of leaves.
struct Part {
    plan: LogicalPlan,
    leaves: Vec<usize>,
}

const TIME: &str = "time";
const START: &str = "bucket_start";
const END: &str = "bucket_end";
const FROM: &str = "window_from";
const TO: &str = "window_to";

/// Whether a leaf of a window needs the values themselves.
fn is_of_values(kind: LeafKind) -> bool {
    match kind {
        LeafKind::CountDistinct | LeafKind::CountDistinctApprox | LeafKind::Sketch | LeafKind::Set => true,
        LeafKind::Count | LeafKind::Sum | LeafKind::Min | LeafKind::Max => false,
    }
}

/// An axis without an end is NULL, and has no bin.
fn bins_only() -> UnnestOptions {
    UnnestOptions::new().with_preserve_nulls(false)
}

fn named(name: String) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// A border of a fixed window; `None` for unbounded.
fn border(
    at: &Expr,
    bound: Option<WindowBound>,
    direction: fn(Interval) -> Option<Interval>,
    planning: Planning<'_>,
) -> Result<Option<Expr>> {
    Ok(match bound {
        None => Some(at.clone()),
        Some(WindowBound::Unbounded) => None,
        Some(WindowBound::Interval(interval)) => {
            let interval = direction(interval).ok_or_else(|| PlanError::new("22008", "interval out of range"))?;
            Some(plus(at.clone(), interval, planning)?)
        }
    })
}

fn grain_of(interval: Interval) -> Grain {
    let divides = |unit: i64| interval.microseconds % unit == 0;
    match (interval.days, interval.microseconds) {
        (0, 0) => Grain::Month,
        (_, 0) => Grain::Day,
        (_, _) if divides(3_600_000_000) => Grain::Hour,
        (_, _) if divides(60_000_000) => Grain::Minute,
        (_, _) if divides(1_000_000) => Grain::Second,
        (_, _) => Grain::Exact,
    }
}

fn grain_of_unit(unit: &Unit) -> Grain {
    match (unit.name, &unit.origin) {
        (Some("second"), _) => Grain::Second,
        (Some("minute"), _) => Grain::Minute,
        (Some("hour"), _) => Grain::Hour,
        (Some("day" | "week"), _) => Grain::Day,
        (Some(_), _) => Grain::Month,
        (None, Expr::Literal(datafusion_common::ScalarValue::TimestampMicrosecond(Some(origin), None), _))
            if *origin % 86_400_000_000 == 0 =>
        {
            grain_of(unit.interval).min(Grain::Day)
        }
        (None, _) => Grain::Exact,
    }
}

/// The time that a window is of (reference RW6, RW7): the one that the query groups by, else the one that its range is of.
fn time_of(question: &Question, shown: &str, window: &RollingWindow, planning: Planning<'_>) -> Result<Option<Time>> {
    let times = Times { scans: &question.scans, planning };
    let mut buckets: Vec<Bucket> = Vec::new();
    for bucket in question.group.iter().filter_map(|expr| times.bucket_of(expr)) {
        if !buckets.contains(&bucket) {
            buckets.push(bucket);
        }
    }
    let groups_a_time = |column: &Column| times.is_time(column);
    let (core, unit) = match buckets.split_first() {
        Some((first, rest)) => {
            if rest.iter().any(|bucket| bucket.core != first.core) {
                return Err(PlanError::unsupported(format!(
                    "\"{shown}\" is over a window of time, and the query groups by several time dimensions"
                ))
                .hint("Group by one time dimension."));
            }
            let finest = buckets.iter().find(|bucket| buckets.iter().all(|other| bucket.unit.nests_in(&other.unit)));
            let finest = finest.ok_or_else(|| {
                PlanError::unsupported(format!(
                    "\"{shown}\" is over a window of time, and the query groups by units of which none is made of whole others"
                ))
                .hint("Group by one unit of time, or by units such as month and year.")
            })?;
            (first.core.clone(), Some(finest.unit.clone()))
        }
        None => {
            let raw = question.group.iter().flat_map(Expr::column_refs).find(|column| groups_a_time(column));
            if let Some(column) = raw {
                return Err(PlanError::unsupported(format!(
                    "\"{shown}\" is over a window of time, and the query groups by \"{}\" without a unit",
                    column.name
                ))
                .hint(format!("Group by DATE_TRUNC('day', {}), or another unit.", column.name)));
            }
            let ranged = times.ranged(&question.filters)?;
            match ranged.as_slice() {
                [only] => (only.clone(), None),
                [] => return no_time(question, shown, window, &times),
                _ => {
                    return Err(PlanError::unsupported(format!(
                        "\"{shown}\" is over a window of time, and the query restricts several time dimensions"
                    ))
                    .hint("Group by the time dimension that is meant."));
                }
            }
        }
    };
    let mut groups = Vec::new();
    for (index, expr) in question.group.iter().enumerate() {
        if !times.mentions(expr, &core) {
            continue;
        }
        let is_of_bucket = unit.as_ref().is_some_and(|unit| times.is_one_in(expr, &core, unit))
            && expr.column_refs().iter().all(|column| **column == core.column);
        if !is_of_bucket {
            return Err(PlanError::unsupported(format!(
                "\"{shown}\" is over a window of time, and {expr} differs within one point of the time axis"
            ))
            .hint("Group by DATE_TRUNC of the time dimension, and by what is made of that."));
        }
        groups.push(index);
    }
    refuse_default_range(question, member(&question.scans, &core.column)?, shown)?;
    let (range, filters) = times.split_range(&question.filters, &core, shown)?;
    let since = match window {
        RollingWindow::Fixed { .. } => None,
        RollingWindow::ToDate { granularity } => {
            Some(unit_named(granularity, &core, &question.scans, shown, planning)?)
        }
    };
    Ok(Some(Time { core, unit, groups, range, filters, since }))
}

/// A default filter on the window's time would cut off the rows that a window reads.
fn refuse_default_range(question: &Question, time: &MemberColumn, shown: &str) -> Result<()> {
    let mut tested = question.within.restrictions.iter().flat_map(Restrictions::members_by_default);
    if tested.any(|tested| tested.path == time.path && tested.member == time.member && tested.view == time.view) {
        return Err(PlanError::unsupported(format!(
            "a default filter of the view restricts the time \"{}\", and \"{shown}\" is over a window of it",
            time.member
        ))
        .hint("Restrict the time in the query, which takes the default filter's place."));
    }
    Ok(())
}

/// Without any time, a window that has no lower border is all rows.
fn no_time(question: &Question, shown: &str, window: &RollingWindow, times: &Times<'_>) -> Result<Option<Time>> {
    let conditioned = question.filters.iter().flat_map(Expr::column_refs).find(|column| times.is_time(column));
    if let Some(column) = conditioned {
        return Err(PlanError::unsupported(format!(
            "the condition on the time \"{}\" is not a range, and \"{shown}\" is over a window of time",
            column.name
        ))
        .hint(
            "Compare the time dimension with =, <, <=, >, >= or BETWEEN, joined by AND, or group by DATE_TRUNC of it.",
        ));
    }
    match window {
        RollingWindow::Fixed {
            trailing: Some(WindowBound::Unbounded),
            leading: None | Some(WindowBound::Unbounded),
            from_start: false,
        } => Ok(None),
        RollingWindow::Fixed { .. } | RollingWindow::ToDate { .. } => Err(PlanError::unsupported(format!(
            "\"{shown}\" is over a window of time, and the query names no time dimension"
        ))
        .hint("Group by DATE_TRUNC of a time dimension, or restrict it to a range.")),
    }
}

/// A granularity by its name: a predefined one, or one of the dimension's own.
fn unit_named(name: &str, core: &Core, scans: &[LegScan], shown: &str, planning: Planning<'_>) -> Result<Unit> {
    let column = member(scans, &core.column)?;
    let own = column
        .dimension(&planning.catalog.model)
        .and_then(|dimension| dimension.granularities.get(name))
        .map(|granularity| &granularity.value);
    match own {
        Some(GranularityValue::Bins { interval, offset, origin }) => {
            let defined = (*interval, *offset, origin.as_deref());
            let origin = crate::granularity::origin_of(defined, planning.functions, planning.session)?;
            Ok(Unit { name: None, interval: *interval, origin })
        }
        Some(GranularityValue::Sql(_)) => Err(PlanError::unsupported(format!(
            "the window of \"{shown}\" is counted by the granularity \"{name}\", which is defined by SQL"
        ))),
        None => Unit::named(name).ok_or_else(|| {
            PlanError::unsupported(format!(
                "the window of \"{shown}\" is counted by \"{name}\", which is no granularity of \"{}\"",
                core.column.name
            ))
        }),
    }
}
