//! What is known of a wall clock: conditions on local time become exact ranges of stored time, and stored times are cut to steps of a
//! quarter of an hour to an hour without changing any day, week or month of local time.
//!
//! MySQL knows no zone by name for sure, so that what is asked of local time would be computed here, row by row. Conditions against a
//! constant do not need the zone, once it is known which stored times fulfil them: `to_local(t, 'Europe/Oslo') >= '2024-04-01'` is
//! `t >= '2024-03-31 22:00'`. Around a change of the clock the times may lie in two ranges, or in none.
//!
//! When it would be wrong: beside anything but a constant, and where a zone has an offset that the step does not divide (local mean time,
//! long ago): there times are not cut.

use std::ops::Range;

use belvedere_functions::Zone;
use belvedere_functions::datetime::{DAY, Interval, MINUTE, SECOND, add_interval, date_trunc, from_local, to_local};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::scalar::ScalarValue;

use super::rules::{text_literal, travels};

/// No zone is further from another than this.
const OFFSETS_MAX: i64 = 50 * 60 * MINUTE;
/// Every zone changes at least this long after it changed before, and stays changed for longer.
const SAMPLE: i64 = 15 * MINUTE;
/// 1980-01-01, 2005-01-01 and 2060-01-01: from when and until when steps are looked for, and from when they must hold at the latest.
const FIRST: i64 = 3652 * DAY;
const FROM_MAX: i64 = 12_784 * DAY;
const LAST: i64 = 32_872 * DAY;

/// Functions of zones over one value, the innermost first.
#[derive(Debug)]
pub(super) struct WallClock<'a> {
    pub inner: &'a Expr,
    turns: Vec<Turn>,
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    ToLocal(Zone),
    FromLocal(Zone),
}

/// Stored times in `range` (microseconds) may be cut to whole `minutes` since 1970, and stay in the same hour of local time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub minutes: i32,
    pub range: Range<i64>,
}

impl<'a> WallClock<'a> {
    /// `to_local(x, zone)`, `from_local(x, zone)`, or one of the other; `None` for anything else.
    pub fn of(expr: &'a Expr) -> Option<Self> {
        let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
        let [inner, zone] = args.as_slice() else { return None };
        let turn: fn(Zone) -> Turn = match func.name() {
            "to_local" => Turn::ToLocal,
            "from_local" => Turn::FromLocal,
            _ => return None,
        };
        let turn = turn(Zone::parse(text_literal(zone)?).ok()?);
        let mut below = Self::of(inner).unwrap_or(Self { inner, turns: vec![] });
        below.turns.push(turn);
        Some(below)
    }

    /// The same, or the value itself as the wall clock of UTC.
    pub fn or_plain(expr: &'a Expr) -> Self {
        Self::of(expr).unwrap_or(Self { inner: expr, turns: vec![] })
    }

    /// The same functions over another value.
    pub fn over(expr: &Expr, value: Expr) -> Expr {
        match expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) if WallClock::of(expr).is_some() => {
                let below = Self::over(&args[0], value);
                Expr::ScalarFunction(ScalarFunction::new_udf(std::sync::Arc::clone(func), vec![below, args[1].clone()]))
            }
            _ => value,
        }
    }

    fn shown_at(&self, stored: i64) -> Option<i64> {
        self.turns.iter().try_fold(stored, |time, turn| match turn {
            Turn::ToLocal(zone) => to_local(time, zone).ok(),
            Turn::FromLocal(zone) => from_local(time, zone).ok(),
        })
    }

    /// The stored times that are shown as `bound` or later: sorted ranges that do not touch; the last one never ends.
    fn from(&self, bound: i64) -> Option<Vec<Range<i64>>> {
        let mut found: Vec<Range<i64>> = vec![];
        let mut add = |range: Range<i64>| match found.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if range.start < range.end => found.push(range),
            _ => {}
        };
        let (start, end) = (bound - OFFSETS_MAX, bound + OFFSETS_MAX);
        let shift_at = |stored: i64| Some(self.shown_at(stored)? - stored);
        let (mut piece, mut shift) = (start, shift_at(start)?);
        while piece < end {
            // The piece of time from here on with one shift.
            let mut same = piece;
            let mut next = end;
            while same < end {
                let sample = (same + SAMPLE).min(end);
                if shift_at(sample)? != shift {
                    let (mut low, mut high) = (same, sample);
                    while high - low > 1 {
                        let middle = low + (high - low) / 2;
                        if shift_at(middle)? == shift { low = middle } else { high = middle }
                    }
                    next = high;
                    break;
                }
                same = sample;
            }
            add(piece.max(bound - shift)..next);
            piece = next;
            shift = shift_at(piece)?;
        }
        // All later times are shown as later than the bound.
        add(end..i64::MAX);
        Some(found)
    }

    /// How stored times can be cut, if the zones allow it for the years that matter.
    pub fn step(&self) -> Option<Step> {
        let mut steps = [(60, FIRST), (30, FIRST), (15, FIRST)];
        for turn in &self.turns {
            let (Turn::ToLocal(zone) | Turn::FromLocal(zone)) = turn;
            for (minutes, from) in &mut steps {
                *from = (*from).max(aligned_from(zone, i64::from(*minutes) * MINUTE)?);
            }
        }
        let (minutes, from) = steps.into_iter().find(|(_, from)| *from <= FROM_MAX)?;
        Some(Step { minutes, range: from + 7 * DAY..LAST - 7 * DAY })
    }
}

/// From when on all offsets of a zone and all moments of its changes are multiples of `step`.
fn aligned_from(zone: &Zone, step: i64) -> Option<i64> {
    const WEEK: i64 = 7 * DAY;
    let mut from = FIRST;
    let mut time = FIRST - WEEK;
    let mut offset = zone.offset_at(time).ok()?;
    while time < LAST {
        let next = time + WEEK;
        let changed = zone.offset_at(next).ok()?;
        if changed != offset {
            let (mut low, mut high) = (time, next);
            while high - low > SECOND {
                let middle = low + (high - low) / 2 / SECOND * SECOND;
                if zone.offset_at(middle).ok()? == offset { low = middle } else { high = middle }
            }
            if high % step != 0 {
                from = next;
            }
        }
        if i64::from(changed) * SECOND % step != 0 {
            from = next;
        }
        (time, offset) = (next, changed);
    }
    Some(from)
}

/// Puts conditions on local time as conditions on stored time, in filters and joins. The value is the same for every row, NULLs too.
///
/// Before common parts of conditions are taken out of them: two conditions on the same local time have their local time in common.
#[derive(Debug, Default)]
pub struct ConditionsOnStoredTime;

impl OptimizerRule for ConditionsOnStoredTime {
    fn name(&self) -> &'static str {
        "conditions_on_stored_time"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(mut node) => {
                let rewritten = on_stored_time(node.predicate, node.input.schema())?;
                node.predicate = rewritten.data;
                Ok(Transformed::new(LogicalPlan::Filter(node), rewritten.transformed, rewritten.tnr))
            }
            LogicalPlan::Join(mut node) if node.filter.is_some() => {
                let schema = node.left.schema().join(node.right.schema())?;
                let rewritten = node.filter.take().map(|filter| on_stored_time(filter, &schema)).transpose()?;
                let changed = rewritten.as_ref().is_some_and(|rewritten| rewritten.transformed);
                node.filter = rewritten.map(|rewritten| rewritten.data);
                let plan = LogicalPlan::Join(node);
                Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

fn on_stored_time(predicate: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    predicate.transform_up(|expr| {
        let stored = match &expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                compared(left, *op, right, schema).or_else(|| compared(right, op.swap()?, left, schema))
            }
            Expr::Between(Between { expr: tested, negated, low, high }) => {
                let low = compared(tested, Operator::GtEq, low, schema);
                let high = compared(tested, Operator::LtEq, high, schema);
                low.zip(high).map(|(low, high)| if *negated { !low.and(high) } else { low.and(high) })
            }
            _ => None,
        };
        Ok(stored.map_or_else(|| Transformed::no(expr), Transformed::yes))
    })
}

fn compared(shown: &Expr, operator: Operator, constant: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::Literal(constant, _) = constant else { return None };
    // The first moment that is shown as the constant or later, and the first that is shown as later.
    let (clock, lower, after) = match constant {
        ScalarValue::TimestampMicrosecond(Some(at), zone) => match truncated(shown, schema) {
            Some((unit, of)) if zone.is_none() => {
                let start = date_trunc(unit, *at, "timestamp without time zone").ok()?;
                let after = next_start(unit, start)?;
                (WallClock::or_plain(of), if start == *at { start } else { after }, after)
            }
            _ if constant.data_type() == shown.get_type(schema).ok()? => {
                (WallClock::of(shown)?, *at, at.checked_add(1)?)
            }
            _ => return None,
        },
        ScalarValue::Date32(Some(day)) => {
            let midnight = i64::from(*day).checked_mul(DAY)?;
            (WallClock::of(dated(shown, schema)?)?, midnight, midnight.checked_add(DAY)?)
        }
        _ => return None,
    };
    let travels = |at: i64| travels(&ScalarValue::TimestampMicrosecond(Some(at), None));
    if !travels(lower) || !travels(after) {
        return None;
    }
    let stored = Stored { value: clock.inner, data_type: clock.inner.get_type(schema).ok()? };
    Some(match operator {
        Operator::GtEq => stored.within(&clock.from(lower)?)?,
        Operator::Gt => stored.within(&clock.from(after)?)?,
        Operator::Lt => !stored.within(&clock.from(lower)?)?,
        Operator::LtEq => !stored.within(&clock.from(after)?)?,
        Operator::Eq => stored.within(&clock.from(lower)?)?.and(!stored.within(&clock.from(after)?)?),
        Operator::NotEq => !stored.within(&clock.from(lower)?)?.and(!stored.within(&clock.from(after)?)?),
        _ => return None,
    })
}

/// `date_trunc` of a wall clock, or of a plain time, to a unit whose starts are known: the unit and the time.
fn truncated<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<(&'a str, &'a Expr)> {
    let Expr::ScalarFunction(function) = expr else { return None };
    let [unit, of] = function.args.as_slice() else { return None };
    let is_wall_clock = of.get_type(schema).ok()? == DataType::Timestamp(TimeUnit::Microsecond, None);
    let unit = text_literal(unit)?;
    (matches!(function.name(), "date_trunc" | "pg_date_trunc") && is_wall_clock && next_start(unit, 0).is_some())
        .then_some((unit, of))
}

/// The start of the next hour, day, week, month, quarter or year behind the start of one.
fn next_start(unit: &str, start: i64) -> Option<i64> {
    let (months, days, micros) = match unit.to_ascii_lowercase().as_str() {
        "hour" => (0, 0, 60 * MINUTE),
        "day" => (0, 1, 0),
        "week" => (0, 7, 0),
        "month" => (1, 0, 0),
        "quarter" => (3, 0, 0),
        "year" => (12, 0, 0),
        _ => return None,
    };
    add_interval(start, Interval { months, days, micros }).ok()
}

/// What a cast to date is of.
pub(super) fn dated<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<&'a Expr> {
    match expr {
        Expr::Cast(cast) if cast.field.data_type() == &DataType::Date32 => Some(&cast.expr),
        Expr::ScalarFunction(function) if function.name() == "pg_cast" => {
            let [of] = function.args.as_slice() else { return None };
            let is_date = expr.get_type(schema).ok()? == DataType::Date32;
            let is_wall_clock = of.get_type(schema).ok()? == DataType::Timestamp(TimeUnit::Microsecond, None);
            (is_date && is_wall_clock).then_some(of)
        }
        _ => None,
    }
}

struct Stored<'a> {
    value: &'a Expr,
    data_type: DataType,
}

impl Stored<'_> {
    fn at(&self, time: i64) -> Option<Expr> {
        let DataType::Timestamp(TimeUnit::Microsecond, zone) = &self.data_type else { return None };
        Some(lit(ScalarValue::TimestampMicrosecond(Some(time), zone.clone())))
    }

    /// NULL for NULL.
    fn within(&self, ranges: &[Range<i64>]) -> Option<Expr> {
        let mut any: Option<Expr> = None;
        for range in ranges {
            let mut one = self.value.clone().gt_eq(self.at(range.start)?);
            if range.end != i64::MAX {
                one = one.and(self.value.clone().lt(self.at(range.end)?));
            }
            any = Some(match any {
                None => one,
                Some(any) => any.or(one),
            });
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use datafusion::common::Column;

    const ZONES: [&str; 9] = [
        "Europe/Oslo",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "America/St_Johns",
        "Africa/Casablanca",
        "Pacific/Apia",
        "America/Santiago",
        "<+05:45>-05:45",
    ];

    fn function(name: &str) -> Arc<datafusion::logical_expr::ScalarUDF> {
        belvedere_functions::scalar_functions()
            .into_iter()
            .find(|known| known.name() == name)
            .expect("it is one of ours")
    }

    fn turned(name: &str, value: Expr, zone: &str) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(function(name), vec![value, lit(zone)]))
    }

    fn chains() -> Vec<Expr> {
        let time = || Expr::Column(Column::new_unqualified("t"));
        let mut chains = vec![];
        for zone in ZONES {
            chains.push(turned("to_local", time(), zone));
            chains.push(turned("from_local", time(), zone));
            for other in ["Europe/Oslo", "Australia/Lord_Howe"] {
                chains.push(turned("to_local", turned("from_local", time(), zone), other));
            }
        }
        chains
    }

    /// Moments around the changes of 2024 (and Apia's skipped day), and a wide net over the rest.
    fn moments() -> Vec<i64> {
        let mut moments: Vec<i64> = (0..4000).map(|n| (n * 7_919 % 29_000) * DAY + n * 1_234_567_891 % DAY).collect();
        for day in [15_338, 19_792, 19_796, 19_813, 19_818, 19_819, 19_821, 20_002, 20_023, 20_030] {
            moments.extend((0..192).map(|n| (day - 1) * DAY + n * 15 * MINUTE));
            moments.extend((0..40).map(|n| day * DAY + n * 4_321_000_007 % DAY));
        }
        moments
    }

    #[test]
    fn conditions_on_stored_time_hold_for_the_same_rows() {
        for chain in chains() {
            let clock = WallClock::of(&chain).expect("it is one");
            for bound in moments().into_iter().step_by(97) {
                let ranges = clock.from(bound).expect("in the calendar");
                assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{chain}: {ranges:?}");
                let mut tried: Vec<i64> = (-300..300).map(|n| bound + n * 10 * MINUTE).collect();
                tried.extend(ranges.iter().flat_map(|range| [range.start - 1, range.start, range.end - 1]));
                for time in tried.into_iter().filter(|time| *time < i64::MAX / 2) {
                    let shown = clock.shown_at(time).expect("in the calendar");
                    let within = ranges.iter().any(|range| range.contains(&time));
                    assert_eq!(within, shown >= bound, "{chain}: {time} against {bound} in {ranges:?}");
                }
            }
        }
    }

    #[test]
    fn times_cut_to_a_step_are_shown_in_the_same_hour() {
        for chain in chains() {
            let clock = WallClock::of(&chain).expect("it is one");
            let Some(step) = clock.step() else { continue };
            let unit = i64::from(step.minutes) * MINUTE;
            for time in moments().into_iter().filter(|time| step.range.contains(time)) {
                let shown = clock.shown_at(time).expect("in the calendar");
                let cut = clock.shown_at(time.div_euclid(unit) * unit).expect("in the calendar");
                let hour = 60 * MINUTE;
                assert_eq!(shown.div_euclid(hour), cut.div_euclid(hour), "{chain}: {time} cut to {}", step.minutes);
            }
        }
    }

    #[test]
    fn the_step_divides_every_offset_of_the_zone() {
        let minutes = |zone: &str| {
            let chain = turned("to_local", Expr::Column(Column::new_unqualified("t")), zone);
            WallClock::of(&chain).and_then(|clock| clock.step()).map(|step| step.minutes)
        };
        assert_eq!(minutes("Europe/Oslo"), Some(60));
        assert_eq!(minutes("America/New_York"), Some(60));
        assert_eq!(minutes("Australia/Lord_Howe"), Some(30));
        assert_eq!(minutes("Asia/Kathmandu"), Some(15));
        // Its clocks changed at one minute past midnight until 2011.
        assert_eq!(minutes("America/St_Johns"), None);
    }
}
