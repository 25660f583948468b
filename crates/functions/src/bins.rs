//! Bins of time: an interval laid end to end from an origin, on the wall clock.
//!
//! Months are counted on the calendar from the origin, days and shorter parts as fixed lengths. An interval with both is counted month
//! part first: bin `n` is `[origin + n * interval, origin + (n + 1) * interval)`.

use crate::datetime::{DAY, Interval, add_months};
use crate::error::{PgError, PgResult};
use crate::function::{Call, Plan};
use crate::library::fixed;
use crate::types::PgType as T;
use crate::value::Value;

/// An axis with more bins is a mistake of the statement: it would hold memory before anything is aggregated.
const AXIS_BINS_MAX: i128 = 1_000_000;

/// `belvedere_bin(interval, origin, ts)`: the start of the bin that holds `ts`.
pub(crate) fn plan_bin(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    fixed(name, call, &[T::Interval, T::Timestamp, T::Timestamp], T::Timestamp, |_, r| match (&r[0], &r[1], &r[2]) {
        (Value::Interval(i), Value::Timestamp(origin), Value::Timestamp(ts)) => {
            Ok(Value::Timestamp(bin(*i, *origin, *ts)?))
        }
        _ => Ok(Value::Null),
    })
}

/// `belvedere_bin_end(interval, origin, ts)`: the start of the bin after the one that holds `ts`.
pub(crate) fn plan_bin_end(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    fixed(name, call, &[T::Interval, T::Timestamp, T::Timestamp], T::Timestamp, |_, r| match (&r[0], &r[1], &r[2]) {
        (Value::Interval(i), Value::Timestamp(origin), Value::Timestamp(ts)) => {
            let bins = Bins::new(*i, *origin)?;
            Ok(Value::Timestamp(bins.start(bins.number_at(*ts)? + 1)?))
        }
        _ => Ok(Value::Null),
    })
}

/// `belvedere_axis(interval, origin, from, to)`: the starts of all bins that meet `[from, to)`, ascending.
pub(crate) fn plan_axis(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let takes = [T::Interval, T::Timestamp, T::Timestamp, T::Timestamp];
    fixed(name, call, &takes, T::List(Box::new(T::Timestamp)), |_, r| match (&r[0], &r[1], &r[2], &r[3]) {
        (Value::Interval(i), Value::Timestamp(origin), Value::Timestamp(from), Value::Timestamp(to)) => {
            let starts = axis(*i, *origin, *from, *to)?;
            Ok(Value::List(starts.into_iter().map(Value::Timestamp).collect()))
        }
        _ => Ok(Value::Null),
    })
}

/// Start of the bin that holds `ts`.
///
/// # Errors
/// 22023 for an interval that is not positive, 22008 out of range.
pub fn bin(interval: Interval, origin: i64, ts: i64) -> PgResult<i64> {
    let bins = Bins::new(interval, origin)?;
    bins.start(bins.number_at(ts)?)
}

/// Starts of the bins that meet `[from, to)`; empty where `from` is not before `to`.
///
/// # Errors
/// As [`bin`]; 54000 for more bins than any chart shows.
fn axis(interval: Interval, origin: i64, from: i64, to: i64) -> PgResult<Vec<i64>> {
    if from >= to {
        return Ok(Vec::new());
    }
    let bins = Bins::new(interval, origin)?;
    let (first, last) = (bins.number_at(from)?, bins.number_at(to - 1)?);
    if last - first >= AXIS_BINS_MAX {
        return Err(PgError::new("54000", format!("the time axis would have more than {AXIS_BINS_MAX} points"))
            .with_hint("Restrict the time dimension to a shorter range, or group by a longer unit."));
    }
    (first..=last).map(|n| bins.start(n)).collect()
}

struct Bins {
    interval: Interval,
    origin: i64,
    /// By 30-day months; exact where there are no months.
    length: i128,
}

impl Bins {
    fn new(interval: Interval, origin: i64) -> PgResult<Self> {
        let length = interval.comparison_micros();
        if interval.months < 0 || interval.days < 0 || interval.micros < 0 || length <= 0 {
            return Err(PgError::new("22023", "interval of a granularity must be positive"));
        }
        Ok(Self { interval, origin, length })
    }

    fn start(&self, n: i128) -> PgResult<i64> {
        let out = || PgError::datetime_overflow("timestamp out of range");
        let months = i64::try_from(n * i128::from(self.interval.months)).map_err(|_| out())?;
        let base = i128::from(add_months(self.origin.div_euclid(DAY), months)) * i128::from(DAY)
            + i128::from(self.origin.rem_euclid(DAY));
        let fixed = i128::from(self.interval.days) * i128::from(DAY) + i128::from(self.interval.micros);
        i64::try_from(base + n * fixed).map_err(|_| out())
    }

    fn number_at(&self, ts: i64) -> PgResult<i128> {
        let mut n = (i128::from(ts) - i128::from(self.origin)).div_euclid(self.length);
        if self.interval.months == 0 {
            return Ok(n);
        }
        // The guess by 30-day months is off by the drift of the calendar: walk by proportion first, then by single bins.
        for _ in 0..64 {
            let step = self.length + self.length / 30 + i128::from(DAY);
            let off = (i128::from(ts) - i128::from(self.start(n)?)).div_euclid(step);
            if off == 0 || off == -1 {
                break;
            }
            n += off;
        }
        while self.start(n)? > ts {
            n -= 1;
        }
        while self.start(n + 1)? <= ts {
            n += 1;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i64, month: i64, day: i64) -> i64 {
        crate::datetime::days_from_civil(year, month, day) * DAY
    }

    fn months(months: i32) -> Interval {
        Interval { months, days: 0, micros: 0 }
    }

    #[test]
    fn an_axis_has_every_bin_that_meets_the_range_and_no_other() {
        let origin = day(2000, 1, 1);
        let found = axis(months(1), origin, day(2024, 1, 15), day(2024, 3, 1)).expect("a short axis");
        assert_eq!(found, vec![day(2024, 1, 1), day(2024, 2, 1)]);
        let found = axis(months(1), origin, day(2024, 1, 15), day(2024, 3, 1) + 1).expect("a short axis");
        assert_eq!(found, vec![day(2024, 1, 1), day(2024, 2, 1), day(2024, 3, 1)]);
        assert_eq!(axis(months(1), origin, day(2024, 3, 1), day(2024, 3, 1)).expect("no axis"), Vec::<i64>::new());
        assert_eq!(axis(months(1), origin, day(2024, 3, 1), day(2023, 3, 1)).expect("no axis"), Vec::<i64>::new());
    }

    #[test]
    fn bins_of_months_keep_their_day_across_short_months() {
        let origin = day(2024, 1, 31);
        let found = axis(months(1), origin, day(2024, 1, 31), day(2024, 4, 1)).expect("a short axis");
        assert_eq!(found, vec![day(2024, 1, 31), day(2024, 2, 29), day(2024, 3, 31)]);
    }

    #[test]
    fn an_axis_that_is_too_long_is_refused_before_it_is_made() {
        let second = Interval { months: 0, days: 0, micros: 1_000_000 };
        let refused = axis(second, 0, day(1970, 1, 1), day(2024, 1, 1)).expect_err("54 years of seconds");
        assert_eq!(refused.sqlstate, "54000");
    }
}
