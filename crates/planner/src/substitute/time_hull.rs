//! The times for which a condition can hold at all: what lies outside need not be read for it.
//!
//! A hull holds every time for which the condition is true, and it may hold others: the condition itself is still asked of every row. Where a
//! row without a time may satisfy it, there is no hull. It would be wrong to ask a hull in the place of its condition:
//! that of `created_at < '2024-02-01' OR created_at >= '2024-05-01'` with a lower and an upper border has all that lies between.

use arrow::datatypes::DataType;
use belvedere_functions::{PgType, cast_target};
use belvedere_model::Interval;
use chrono::NaiveDate;
use datafusion_common::ScalarValue;
use datafusion_expr::{BinaryExpr, Expr, Operator};

use crate::error::Result;
use crate::expand::time_range::{Core, Times, plus, timestamp};
use crate::lower::joined_rows::Planning;

use super::cover_time::{Span, constant, value_of};

/// Years of which a border is known to be a time.
const YEARS: std::ops::RangeInclusive<i64> = 1..=9999;

/// Four days in microseconds.
const SLACK: i64 = 4 * 86_400_000_000;

/// The times for which a condition can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hull {
    pub span: Span,
    /// The condition is the span, and may be asked as one.
    pub is_exact: bool,
    /// It is written as a comparison with borders: the query asks for all that lies between them, whatever a build found there.
    pub has_borders: bool,
}

impl Hull {
    fn and(self, other: Self) -> Self {
        Self {
            span: self.span.and(&other.span),
            is_exact: self.is_exact && other.is_exact,
            has_borders: self.has_borders && other.has_borders,
        }
    }

    /// One of two, or both.
    fn or(self, other: Self) -> Self {
        let (one, other) = (self.span, other.span);
        let span = Span {
            from: one.from.zip(other.from).map(|(one, other)| one.min(other)),
            to: one.to.zip(other.to).map(|(one, other)| one.max(other)),
        };
        Self { span, is_exact: false, has_borders: false }
    }

    /// The times that were moved into this; `None` where it is not known how. Months that end on other days move times by up to three days less
    /// or more.
    ///
    /// # Errors
    /// 22008 for times out of range.
    pub(crate) fn before(self, core: &Core, planning: Planning<'_>) -> Result<Option<Self>> {
        let Expr::ScalarFunction(moved) = &core.expr else { return Ok(None) };
        let [Expr::Column(_), Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(by)), _)] = moved.args.as_slice()
        else {
            return Ok(None);
        };
        let (Some(months), Some(days)) = (by.months.checked_neg(), by.days.checked_neg()) else { return Ok(None) };
        let back = Interval { months, days, microseconds: -(by.nanoseconds / 1000) };
        let border = |at: Option<i64>, slack: i64| -> Result<Option<Option<i64>>> {
            let Some(at) = at else { return Ok(Some(None)) };
            let at = constant(plus(timestamp(at), back, planning)?, planning)?.flatten();
            Ok(at.and_then(|at| at.checked_add(slack)).map(Some))
        };
        let (from, to) = (border(self.span.from, -SLACK)?, border(self.span.to, SLACK)?);
        let span = from.zip(to).map(|(from, to)| Span { from, to });
        Ok(span.map(|span| Self { span, is_exact: false, has_borders: false }))
    }

    /// Beside a condition that says nothing of the time.
    fn loose(self) -> Self {
        Self { is_exact: false, ..self }
    }
}

/// The hull of `condition` in the times of `core`; `None` where it says nothing, so that rows without a time may satisfy it too.
///
/// # Errors
/// Our own contradictions, and what computing the borders says.
pub(crate) fn hull_of(times: &Times<'_>, condition: &Expr, core: &Core) -> Result<Option<Hull>> {
    let hull = |inner: &Expr| hull_of(times, inner, core);
    Ok(match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => match (hull(left)?, hull(right)?) {
            (Some(left), Some(right)) => Some(left.and(right)),
            (left, right) => left.or(right).map(Hull::loose),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            hull(left)?.zip(hull(right)?).map(|(left, right)| left.or(right))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let turned = op.swap().unwrap_or(*op);
            match compared(times, left, *op, right, core)? {
                None => compared(times, right, turned, left, core)?,
                known => known,
            }
        }
        Expr::Between(between) if !between.negated => {
            let low = compared(times, &between.expr, Operator::GtEq, &between.low, core)?;
            let high = compared(times, &between.expr, Operator::LtEq, &between.high, core)?;
            match (low, high) {
                (Some(low), Some(high)) => Some(low.and(high)),
                (low, high) => low.or(high).map(Hull::loose),
            }
        }
        Expr::InList(list) if !list.negated => {
            let mut all: Option<Hull> = None;
            for item in &list.list {
                let Some(one) = compared(times, &list.expr, Operator::Eq, item, core)? else { return Ok(None) };
                all = Some(all.map_or(one, |all| all.or(one)));
            }
            all
        }
        Expr::IsTrue(inner) => hull(inner)?,
        // Where a comparison is not known, neither is its opposite.
        Expr::Not(inner) => match inner.as_ref() {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op.negate() {
                Some(opposite) => {
                    hull(&Expr::BinaryExpr(BinaryExpr { left: left.clone(), op: opposite, right: right.clone() }))?
                }
                None => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// The hull of `side op bound`.
fn compared(times: &Times<'_>, side: &Expr, op: Operator, bound: &Expr, core: &Core) -> Result<Option<Hull>> {
    if is_year_of(times, side, core) {
        let span = number(bound, times.planning)?.and_then(|(floor, is_whole)| years(op, floor, is_whole));
        return Ok(span.map(|span| Hull { span, is_exact: true, has_borders: false }));
    }
    let comparison = datafusion_expr::binary_expr(side.clone(), op, bound.clone());
    let Some(range) = times.range_of(&comparison, core)? else { return Ok(None) };
    let mut span = Span::ALL;
    for (border, is_from) in [(range.from, true), (range.to, false)] {
        let Some(border) = border else { continue };
        let Some(Some(at)) = constant(border, times.planning)? else { return Ok(None) };
        if is_from { span.from = Some(at) } else { span.to = Some(at) }
    }
    Ok(Some(Hull { span, is_exact: true, has_borders: true }))
}

/// The year of a time, maybe as another type of number that holds every year.
fn is_year_of(times: &Times<'_>, expr: &Expr, core: &Core) -> bool {
    match expr {
        Expr::Cast(cast) => {
            let holds_years = match cast.field.data_type() {
                DataType::Int32 | DataType::Int64 | DataType::Float64 => true,
                DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale >= 0,
                _ => false,
            };
            holds_years && is_year_of(times, &cast.expr, core)
        }
        Expr::ScalarFunction(call) => match call.args.as_slice() {
            [Expr::Literal(ScalarValue::Utf8(Some(field)), _), time]
                if matches!(call.func.name(), "extract" | "date_part") && field.eq_ignore_ascii_case("year") =>
            {
                times.core_of(time).is_some_and(|found| found == *core)
            }
            [inner] => {
                cast_target(&call.func).is_some_and(|target| match &target.pg {
                    PgType::Int4 | PgType::Int8 | PgType::Float8 => true,
                    PgType::Numeric => target.numeric.is_none(),
                    _ => false,
                }) && is_year_of(times, inner, core)
            }
            _ => false,
        },
        _ => false,
    }
}

/// The times whose year compares so with a number: its floor, and whether it is a whole one.
fn years(op: Operator, floor: i64, is_whole: bool) -> Option<Span> {
    let ceiling = if is_whole { floor } else { floor.checked_add(1)? };
    let after = floor.checked_add(1)?;
    let (from, to) = match op {
        Operator::Eq if is_whole => (Some(floor), Some(after)),
        Operator::Gt => (Some(after), None),
        Operator::GtEq => (Some(ceiling), None),
        Operator::Lt => (None, Some(ceiling)),
        Operator::LtEq => (None, Some(after)),
        _ => return None,
    };
    let start = |year: Option<i64>| match year {
        None => Some(None),
        Some(year) if YEARS.contains(&year) => {
            let first = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, 1, 1)?.and_hms_opt(0, 0, 0)?;
            Some(Some(first.and_utc().timestamp_micros()))
        }
        Some(_) => None,
    };
    Some(Span { from: start(from)?, to: start(to)? })
}

/// A number without columns, rounded down, and whether it was whole; `None` where it is not known.
fn number(expr: &Expr, planning: Planning<'_>) -> Result<Option<(i64, bool)>> {
    if expr.is_volatile() || !expr.column_refs().is_empty() {
        return Ok(None);
    }
    let Some(value) = value_of(expr.clone(), planning)? else { return Ok(None) };
    Ok(match value {
        ScalarValue::Int16(Some(value)) => Some((i64::from(value), true)),
        ScalarValue::Int32(Some(value)) => Some((i64::from(value), true)),
        ScalarValue::Int64(Some(value)) => Some((value, true)),
        ScalarValue::Decimal128(Some(value), _, scale) => u32::try_from(scale)
            .ok()
            .and_then(|scale| 10_i128.checked_pow(scale))
            .and_then(|one| Some((i64::try_from(value.div_euclid(one)).ok()?, value.rem_euclid(one) == 0))),
        // Every whole number of this size is exact.
        ScalarValue::Float64(Some(value)) if value.abs() < 1e9 =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "its size was checked")]
            Some((value.floor() as i64, value.fract() == 0.0))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn year(year: i32) -> i64 {
        let first = NaiveDate::from_ymd_opt(year, 1, 1).expect("a day").and_hms_opt(0, 0, 0).expect("midnight");
        first.and_utc().timestamp_micros()
    }

    #[test]
    fn years_are_ranges_from_one_january_to_another() {
        let span = |from: Option<i32>, to: Option<i32>| Some(Span { from: from.map(year), to: to.map(year) });
        let cases = [
            (Operator::Eq, 2024, true, span(Some(2024), Some(2025))),
            (Operator::Eq, 2024, false, None),
            (Operator::NotEq, 2024, true, None),
            (Operator::Gt, 2024, true, span(Some(2025), None)),
            (Operator::Gt, 2024, false, span(Some(2025), None)),
            (Operator::GtEq, 2024, true, span(Some(2024), None)),
            (Operator::GtEq, 2024, false, span(Some(2025), None)),
            (Operator::Lt, 2024, true, span(None, Some(2024))),
            (Operator::Lt, 2024, false, span(None, Some(2025))),
            (Operator::LtEq, 2024, true, span(None, Some(2025))),
            (Operator::LtEq, 2024, false, span(None, Some(2025))),
            (Operator::Eq, 0, true, None),
            (Operator::Eq, i64::MAX, true, None),
        ];
        for (op, floor, is_whole, expected) in cases {
            assert_eq!(years(op, floor, is_whole), expected, "year {op} {floor}, whole: {is_whole}");
        }
    }

    #[test]
    fn a_hull_holds_both_sides_of_an_or() {
        let hull = |span: Span| Hull { span, is_exact: true, has_borders: true };
        let before = Span { from: None, to: Some(5) };
        let after = Span { from: Some(20), to: None };
        for (one, other, both) in [
            (Span::new(0, 10), Span::new(20, 30), Span::new(0, 30)),
            (before, Span::new(20, 30), Span { from: None, to: Some(30) }),
            (Span::new(0, 10), after, Span { from: Some(0), to: None }),
            (before, after, Span::ALL),
        ] {
            let both = Hull { span: both, is_exact: false, has_borders: false };
            assert_eq!(hull(one).or(hull(other)), both, "{one:?} or {other:?}");
        }
    }
}
