//! Which time a question is about, in which buckets, and from when to when.
//!
//! A rolling window reads rows outside of the query's date range, so that the range must be told apart from the other conditions. A
//! range is a comparison (`=`, `<`, `<=`, `>`, `>=`, BETWEEN) of the time dimension, of `DATE_TRUNC` of it or of its `CAST … AS date`, with
//! something that has no columns; several are joined by AND. An instant in the place of that is the wall clock that it is in the session's zone, as
//! long as that clock is not changed nearby. It would be wrong to guess at anything else: `EXTRACT(year FROM t) = 2024` kept
//! as an ordinary condition would cut off the rows before 2024 that a window reads.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use belvedere_functions::{PgType, Zone, cast_target};
use belvedere_model::{DimensionKind, Interval, MemberKind};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{Case, Expr, ExprSchemable, Operator, lit};

use crate::error::{PlanError, Result};
use crate::granularity::scalar;
use crate::lower::joined_rows::{Planning, internal};
use crate::nodes::fact_leg::LegScan;
use crate::substitute::cover_time::value_of;

use super::hints::member;
use super::stages::scan_schema;

const DAY_MICROSECONDS: i64 = 86_400_000_000;
const HOUR_MICROSECONDS: i64 = 3_600_000_000;

/// How long before and after an instant the session's clock must not change for comparisons with it to be comparisons of wall clocks.
const EVEN_HOURS: i64 = 54;

/// A time dimension, maybe moved by a stage's time shift.
#[derive(Debug, Clone, PartialEq)]
pub struct Core {
    pub column: Column,
    pub expr: Expr,
    /// Whole days: `expr` is a date.
    pub is_date: bool,
}

/// Bins of time: an interval laid end to end from an origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Of a predefined granularity.
    pub name: Option<&'static str>,
    pub interval: Interval,
    /// Without columns.
    pub origin: Expr,
}

/// The bin of a time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bucket {
    pub core: Core,
    pub unit: Unit,
}

/// Predefined granularities, each with the coarser ones whose bins are made of whole bins of it (reference G8).
const NESTED: [(&str, &[&str]); 8] = [
    ("second", &["minute", "hour", "day", "week", "month", "quarter", "year"]),
    ("minute", &["hour", "day", "week", "month", "quarter", "year"]),
    ("hour", &["day", "week", "month", "quarter", "year"]),
    ("day", &["week", "month", "quarter", "year"]),
    ("week", &[]),
    ("month", &["quarter", "year"]),
    ("quarter", &["year"]),
    ("year", &[]),
];

impl Unit {
    /// A predefined granularity.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let lower = name.to_lowercase();
        let singular = lower.strip_suffix('s').unwrap_or(&lower);
        let name = NESTED.iter().map(|(name, _)| *name).find(|known| *known == singular)?;
        let interval = |months, days, microseconds| Interval { months, days, microseconds };
        let interval = match name {
            "second" => interval(0, 0, 1_000_000),
            "minute" => interval(0, 0, 60_000_000),
            "hour" => interval(0, 0, 3_600_000_000),
            "day" => interval(0, 1, 0),
            "week" => interval(0, 7, 0),
            "month" => interval(1, 0, 0),
            "quarter" => interval(3, 0, 0),
            _ => interval(12, 0, 0),
        };
        // 2000-01-03 was a Monday.
        let days = if name == "week" { 10_959 } else { 10_957 };
        Some(Self { name: Some(name), interval, origin: timestamp(days * DAY_MICROSECONDS) })
    }

    /// About how long a bin is, in microseconds: which of two is the finer.
    pub(crate) fn length(&self) -> i128 {
        let days = i128::from(self.interval.months) * 30 + i128::from(self.interval.days);
        days * i128::from(DAY_MICROSECONDS) + i128::from(self.interval.microseconds)
    }

    /// Whether its bins are whole days.
    pub(crate) fn begins_at_midnight(&self) -> bool {
        matches!(self.name, Some("day" | "week" | "month" | "quarter" | "year"))
    }

    /// Whether every bin of `coarser` is made of whole bins of this.
    pub(crate) fn nests_in(&self, coarser: &Self) -> bool {
        if self == coarser {
            return true;
        }
        match (self.name, coarser.name) {
            (Some(fine), Some(coarse)) => NESTED.iter().any(|(name, nested)| *name == fine && nested.contains(&coarse)),
            _ => false,
        }
    }

    fn call(&self, function: &str, time: Expr, planning: Planning<'_>) -> Result<Expr> {
        let function = planning.functions.needed_scalar(function).map_err(internal)?;
        let interval = lit(scalar(self.interval)?);
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![interval, self.origin.clone(), time])))
    }

    /// The start of the bin that holds a time.
    pub(crate) fn start_of(&self, time: Expr, planning: Planning<'_>) -> Result<Expr> {
        self.call("belvedere_bin", time, planning)
    }

    /// The start of the next bin.
    pub(crate) fn end_of(&self, time: Expr, planning: Planning<'_>) -> Result<Expr> {
        self.call("belvedere_bin_end", time, planning)
    }

    /// The starts of all bins that meet a range.
    pub(crate) fn axis(&self, from: Expr, to: Expr, planning: Planning<'_>) -> Result<Expr> {
        let function = planning.functions.needed_scalar("belvedere_axis").map_err(internal)?;
        let interval = lit(scalar(self.interval)?);
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![interval, self.origin.clone(), from, to])))
    }
}

pub(crate) fn timestamp(microseconds: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(microseconds), None))
}

fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// The date or timestamp as a timestamp.
pub(crate) fn as_timestamp(expr: Expr, data_type: &DataType) -> Option<Expr> {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, None) => Some(expr),
        DataType::Date32 => Some(datafusion_expr::cast(expr, timestamp_type())),
        _ => None,
    }
}

/// Recognizes times in the expressions of one question.
#[derive(Clone, Copy)]
pub(crate) struct Times<'q> {
    pub scans: &'q [LegScan],
    pub planning: Planning<'q>,
}

impl Times<'_> {
    /// A time dimension.
    pub(crate) fn is_time(&self, column: &Column) -> bool {
        member(self.scans, column).is_ok_and(|known| {
            known.kind == MemberKind::Dimension
                && known
                    .dimension(&self.planning.catalog.model)
                    .is_some_and(|dimension| dimension.kind == DimensionKind::Time)
        })
    }

    /// Whether an expression reads the time, under whichever name.
    pub(crate) fn mentions(&self, expr: &Expr, core: &Core) -> bool {
        let identity = |column: &Column| {
            member(self.scans, column).ok().map(|known| super::time_shift::identity_of(self.planning, known))
        };
        let wanted = identity(&core.column);
        expr.column_refs().into_iter().any(|column| *column == core.column || identity(column) == wanted)
    }

    /// A time dimension, maybe moved, and maybe a date as a timestamp.
    pub(crate) fn core_of(&self, expr: &Expr) -> Option<Core> {
        match expr {
            Expr::Column(column) if self.is_time(column) => {
                let is_date = member(self.scans, column).ok()?.field.data_type() == &DataType::Date32;
                Some(Core { column: column.clone(), expr: expr.clone(), is_date })
            }
            Expr::Cast(cast) if cast.field.data_type() == &timestamp_type() => {
                self.core_of(&cast.expr).filter(|core| core.is_date)
            }
            Expr::ScalarFunction(call) if call.func.name() == "pg_add" => {
                let [time, Expr::Literal(..)] = call.args.as_slice() else { return None };
                let core = self.core_of(time)?;
                Some(Core { expr: expr.clone(), is_date: false, ..core })
            }
            Expr::ScalarFunction(call) => {
                let target = cast_target(&call.func)?;
                let [inner] = call.args.as_slice() else { return None };
                match &target.pg {
                    PgType::Timestamp => self.core_of(inner).filter(|core| core.is_date),
                    // A date that was moved is a date again.
                    PgType::Date => match inner {
                        Expr::ScalarFunction(sum) if sum.func.name() == "pg_add" => {
                            let core = self.core_of(sum.args.first()?)?;
                            core.is_date.then(|| Core { expr: expr.clone(), ..core })
                        }
                        _ => None,
                    },
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// `DATE_TRUNC`, a custom granularity, or a date.
    pub(crate) fn bucket_of(&self, expr: &Expr) -> Option<Bucket> {
        if let Some(core) = self.core_of(expr) {
            // `date::timestamp` is that date.
            return if core.is_date { Some(Bucket { core, unit: Unit::named("day")? }) } else { None };
        }
        let Expr::ScalarFunction(call) = expr else { return None };
        match (call.func.name(), call.args.as_slice()) {
            ("date_trunc", [Expr::Literal(ScalarValue::Utf8(Some(unit)), _), time]) => {
                Some(Bucket { core: self.core_of(time)?, unit: Unit::named(unit)? })
            }
            ("belvedere_bin", [Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _), origin, time]) => {
                let interval = Interval {
                    months: interval.months,
                    days: interval.days,
                    microseconds: interval.nanoseconds / 1000,
                };
                Some(Bucket { core: self.core_of(time)?, unit: Unit { name: None, interval, origin: origin.clone() } })
            }
            (_, [inner]) if cast_target(&call.func).is_some_and(|target| target.pg == PgType::Date) => {
                let day = Unit::named("day")?;
                match self.bucket_of(inner) {
                    Some(bucket) if bucket.unit.nests_in(&day) => Some(Bucket { unit: day, ..bucket }),
                    // Coarser bins start at midnight.
                    Some(bucket) if bucket.unit.name.is_some() => Some(bucket),
                    Some(_) => None,
                    None => Some(Bucket { core: self.core_of(inner)?, unit: day }),
                }
            }
            _ => None,
        }
    }

    /// Whether an expression over a time has one value in each bin of `fine`.
    pub(crate) fn is_one_in(&self, expr: &Expr, core: &Core, fine: &Unit) -> bool {
        if !self.mentions(expr, core) {
            return true;
        }
        if let Some(bucket) = self.bucket_of(expr) {
            return bucket.core == *core && fine.nests_in(&bucket.unit);
        }
        if let Expr::ScalarFunction(call) = expr
            && matches!(call.func.name(), "extract" | "date_part")
            && let [Expr::Literal(ScalarValue::Utf8(Some(field)), _), time] = call.args.as_slice()
            && self.core_of(time).is_some_and(|found| found == *core)
        {
            let unit = match field.to_lowercase().as_str() {
                "year" => "year",
                "quarter" => "quarter",
                "month" => "month",
                "week" | "isoyear" => "week",
                "day" | "dow" | "isodow" | "doy" => "day",
                "hour" => "hour",
                "minute" => "minute",
                _ => return false,
            };
            return Unit::named(unit).is_some_and(|unit| fine.nests_in(&unit));
        }
        if matches!(expr, Expr::Column(_)) {
            return false;
        }
        let mut all = true;
        let walked = expr.apply_children(|child| {
            all &= self.is_one_in(child, core, fine);
            Ok(if all { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        });
        walked.is_ok() && all
    }

    /// The range of a condition over `core`; `None` where it is not one.
    pub(crate) fn range_of(&self, expr: &Expr, core: &Core) -> Result<Option<Range>> {
        match expr {
            Expr::BinaryExpr(binary) => {
                let sides = [
                    (&binary.left, &binary.right, binary.op),
                    (&binary.right, &binary.left, binary.op.swap().unwrap_or(binary.op)),
                ];
                for (time, bound, op) in sides {
                    if let Some(time) = self.compared(time, core)
                        && let Some(bound) = self.constant(bound)?
                    {
                        return self.range(&time, op, bound);
                    }
                    if let Some(time) = self.as_instant(time).and_then(|time| self.compared(time, core))
                        && let Some(bound) = self.instant(bound)?
                    {
                        return self.range(&time, op, bound);
                    }
                }
                Ok(None)
            }
            Expr::Between(between) if !between.negated => {
                let side = |op: Operator, bound: &Expr| {
                    self.range_of(&datafusion_expr::binary_expr(between.expr.as_ref().clone(), op, bound.clone()), core)
                };
                let (low, high) = (side(Operator::GtEq, &between.low)?, side(Operator::LtEq, &between.high)?);
                Ok(low.zip(high).map(|(low, high)| low.and(high)))
            }
            _ => Ok(None),
        }
    }

    /// The unit in which a side of a comparison counts; `None` inside for the time itself.
    fn compared(&self, expr: &Expr, core: &Core) -> Option<Option<Unit>> {
        if let Some(bucket) = self.bucket_of(expr) {
            return (bucket.core == *core).then_some(Some(bucket.unit));
        }
        (self.core_of(expr)? == *core).then_some(None)
    }

    /// A bound: a date or timestamp without columns, as a timestamp.
    fn constant(&self, expr: &Expr) -> Result<Option<Expr>> {
        let mut is_constant = !expr.is_volatile();
        expr.apply(|node| {
            if matches!(
                node,
                Expr::Column(_)
                    | Expr::OuterReferenceColumn(..)
                    | Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::Placeholder(_)
            ) {
                is_constant = false;
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(internal)?;
        if !is_constant {
            return Ok(None);
        }
        let data_type = expr.get_type(&scan_schema(self.scans)?).map_err(internal)?;
        Ok(as_timestamp(expr.clone(), &data_type))
    }

    /// What a comparison with an instant reads in the session's zone.
    fn as_instant<'e>(&self, expr: &'e Expr) -> Option<&'e Expr> {
        match expr {
            Expr::Cast(cast)
                if matches!(cast.field.data_type(), DataType::Timestamp(TimeUnit::Microsecond, Some(_)))
                    && self.planning.session.zone == Zone::UTC =>
            {
                Some(&cast.expr)
            }
            Expr::ScalarFunction(call) => match call.args.as_slice() {
                [inner]
                    if cast_target(&call.func)
                        .is_some_and(|target| target.pg == PgType::Timestamptz && target.modifier.is_none()) =>
                {
                    Some(inner)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// A bound that is an instant, on the wall clock of the session. The clock must run evenly around it: times that a change of the clock
    /// skips or repeats are not in the order of their instants. No clock was ever moved by more than a day, and none is more than a day off
    /// from what it was before: further away the order is certain.
    fn instant(&self, expr: &Expr) -> Result<Option<Expr>> {
        let is_constant = !expr.is_volatile() && expr.column_refs().is_empty() && !expr.contains_outer();
        if !is_constant {
            return Ok(None);
        }
        let Some(ScalarValue::TimestampMicrosecond(Some(at), Some(_))) = value_of(expr.clone(), self.planning)? else {
            return Ok(None);
        };
        let zone = self.planning.session.zone;
        let offset = |at: i64| zone.offset_at(at).ok();
        let Some(known) = offset(at) else { return Ok(None) };
        let hours = -EVEN_HOURS..=EVEN_HOURS;
        let is_even = hours.into_iter().all(|hour| offset(at.saturating_add(hour * HOUR_MICROSECONDS)) == Some(known));
        let wall = i64::from(known).checked_mul(1_000_000).and_then(|offset| at.checked_add(offset));
        Ok(wall.filter(|_| is_even).map(timestamp))
    }

    fn range(&self, unit: &Option<Unit>, op: Operator, bound: Expr) -> Result<Option<Range>> {
        let planning = self.planning;
        // The first time at or after the bound, and the first one after it, that the side can have.
        let (at, after) = match unit {
            None => (bound.clone(), plus_a_microsecond(bound, planning)?),
            Some(unit) => {
                let start = unit.start_of(bound.clone(), planning)?;
                let next = unit.end_of(bound.clone(), planning)?;
                let is_start = start.eq(bound.clone());
                let at = Case::new(None, vec![(Box::new(is_start), Box::new(bound))], Some(Box::new(next.clone())));
                (Expr::Case(at), next)
            }
        };
        Ok(match op {
            Operator::GtEq => Some(Range { from: Some(at), to: None }),
            Operator::Gt => Some(Range { from: Some(after), to: None }),
            Operator::Lt => Some(Range { from: None, to: Some(at) }),
            Operator::LtEq => Some(Range { from: None, to: Some(after) }),
            Operator::Eq => Some(Range { from: Some(at), to: Some(after) }),
            _ => None,
        })
    }

    /// The conditions of a question apart: the range of `core`, and the rest.
    ///
    /// # Errors
    /// 0A000 for a condition on this time that is not a range.
    pub(crate) fn split_range(&self, filters: &[Expr], core: &Core, shown: &str) -> Result<(Range, Vec<Expr>)> {
        let mut range = Range { from: None, to: None };
        let mut rest = Vec::new();
        for filter in filters {
            if !self.mentions(filter, core) {
                rest.push(filter.clone());
            } else if let Some(found) = self.range_of(filter, core)? {
                range = range.and(found);
            } else if matches!(filter, Expr::IsNotNull(time) if self.compared(time, core).is_some()) {
                // No window has rows without a time.
                rest.push(filter.clone());
            } else {
                return Err(PlanError::unsupported(format!(
                    "the condition on the time \"{}\" is not a range, and \"{shown}\" is over a window of it",
                    core.column.name
                ))
                .detail(
                    "The range decides which points the answer has; the window reads rows outside of it, which another \
                     condition would cut off.",
                )
                .hint(
                    "Compare the time dimension, or DATE_TRUNC or CAST … AS date of it, with =, <, <=, >, >= or BETWEEN, \
                     joined by AND, and LOCALTIMESTAMP where now() would compare instants.",
                ));
            }
        }
        Ok((range, rest))
    }

    /// Times with a range among the conditions, each once.
    pub(crate) fn ranged(&self, filters: &[Expr]) -> Result<Vec<Core>> {
        let mut found: Vec<Core> = Vec::new();
        for filter in filters {
            let mut cores: Vec<Core> = Vec::new();
            filter
                .apply(|node| {
                    if let Some(core) = self.core_of(node) {
                        cores.push(core);
                        return Ok(TreeNodeRecursion::Jump);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
                .map_err(internal)?;
            for core in cores {
                if !found.contains(&core) && self.range_of(filter, &core)?.is_some() {
                    found.push(core);
                }
            }
        }
        Ok(found)
    }
}

/// From, included, to, excluded: timestamps without columns.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub from: Option<Expr>,
    pub to: Option<Expr>,
}

impl Range {
    fn and(self, other: Self) -> Self {
        Self { from: both(self.from, other.from, Operator::GtEq), to: both(self.to, other.to, Operator::LtEq) }
    }
}

/// The one for which `op` holds; NULL where one is NULL, as no comparison with NULL holds.
fn both(one: Option<Expr>, other: Option<Expr>, op: Operator) -> Option<Expr> {
    let (one, other) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return one.or(other),
    };
    let is_null = Expr::IsNull(Box::new(one.clone())).or(Expr::IsNull(Box::new(other.clone())));
    let first = datafusion_expr::binary_expr(one.clone(), op, other.clone());
    Some(Expr::Case(Case::new(
        None,
        vec![
            (Box::new(is_null), Box::new(lit(ScalarValue::TimestampMicrosecond(None, None)))),
            (Box::new(first), Box::new(one)),
        ],
        Some(Box::new(other)),
    )))
}

pub(crate) fn plus_a_microsecond(time: Expr, planning: Planning<'_>) -> Result<Expr> {
    plus(time, Interval { months: 0, days: 0, microseconds: 1 }, planning)
}

/// `time + interval` on the wall clock.
pub(crate) fn plus(time: Expr, interval: Interval, planning: Planning<'_>) -> Result<Expr> {
    let add = planning.functions.needed_scalar("pg_add").map_err(internal)?;
    let interval = lit(scalar(interval)?);
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&add), vec![time, interval])))
}

/// An expression over a time with `start`, a timestamp, in its place.
pub(crate) fn at_start(expr: &Expr, core: &Core, start: &Expr) -> Result<Expr> {
    let start = if core.is_date { super::time_shift::to_date(start.clone()) } else { start.clone() };
    expr.clone()
        .transform_down(|node| {
            Ok(if node == core.expr {
                Transformed::new(start.clone(), true, TreeNodeRecursion::Jump)
            } else {
                Transformed::no(node)
            })
        })
        .map(|transformed| transformed.data)
        .map_err(internal)
}
