//! Units of time on a wall clock: where one begins, and what lies some of them away. `None` beyond the times that a calendar has.

use belvedere_model::TimeUnit;
use chrono::{Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

/// The start of the unit that holds a time. Weeks begin on Monday.
#[must_use]
pub fn start_of(unit: TimeUnit, time: NaiveDateTime) -> Option<NaiveDateTime> {
    let (date, clock) = (time.date(), time.time());
    let first_of = |month: u32| NaiveDate::from_ymd_opt(date.year(), month, 1);
    let date = match unit {
        TimeUnit::Second => return date.and_hms_opt(clock.hour(), clock.minute(), clock.second()),
        TimeUnit::Minute => return date.and_hms_opt(clock.hour(), clock.minute(), 0),
        TimeUnit::Hour => return date.and_hms_opt(clock.hour(), 0, 0),
        TimeUnit::Day => date,
        TimeUnit::Week => date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday())))?,
        TimeUnit::Month => first_of(date.month())?,
        TimeUnit::Quarter => first_of(date.month0() / 3 * 3 + 1)?,
        TimeUnit::Year => first_of(1)?,
    };
    Some(date.and_time(NaiveTime::MIN))
}

/// The time `count` units later; earlier where that is negative. A day that its month does not have is the month's last.
#[must_use]
pub fn after(unit: TimeUnit, time: NaiveDateTime, count: i64) -> Option<NaiveDateTime> {
    let delta = match unit {
        TimeUnit::Second => TimeDelta::try_seconds(count),
        TimeUnit::Minute => TimeDelta::try_minutes(count),
        TimeUnit::Hour => TimeDelta::try_hours(count),
        TimeUnit::Day => TimeDelta::try_days(count),
        TimeUnit::Week => TimeDelta::try_weeks(count),
        TimeUnit::Month => return months_after(time, count),
        TimeUnit::Quarter => return months_after(time, count.checked_mul(3)?),
        TimeUnit::Year => return months_after(time, count.checked_mul(12)?),
    };
    time.checked_add_signed(delta?)
}

fn months_after(time: NaiveDateTime, count: i64) -> Option<NaiveDateTime> {
    let months = Months::new(u32::try_from(count.unsigned_abs()).ok()?);
    if count < 0 { time.checked_sub_months(months) } else { time.checked_add_months(months) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_cut_where_the_calendar_has_them() {
        let at = |text: &str| {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").expect("a time that the test writes")
        };
        let moment = at("2024-08-14 13:45:59.25");
        for (name, start, next) in [
            ("second", "2024-08-14 13:45:59", "2024-08-14 13:46:00"),
            ("minute", "2024-08-14 13:45:00", "2024-08-14 13:46:00"),
            ("hour", "2024-08-14 13:00:00", "2024-08-14 14:00:00"),
            ("day", "2024-08-14 00:00:00", "2024-08-15 00:00:00"),
            ("week", "2024-08-12 00:00:00", "2024-08-19 00:00:00"),
            ("month", "2024-08-01 00:00:00", "2024-09-01 00:00:00"),
            ("quarter", "2024-07-01 00:00:00", "2024-10-01 00:00:00"),
            ("year", "2024-01-01 00:00:00", "2025-01-01 00:00:00"),
        ] {
            let unit = TimeUnit::named(name).expect("a known unit");
            assert_eq!(start_of(unit, moment), Some(at(start)), "{name}");
            assert_eq!(after(unit, at(start), 1), Some(at(next)), "{name}");
            assert_eq!(after(unit, at(next), -1), Some(at(start)), "{name}");
        }
        assert_eq!(after(TimeUnit::Month, at("2024-01-31 05:00:00"), 1), Some(at("2024-02-29 05:00:00")));
        assert_eq!(after(TimeUnit::Year, moment, 999_999), None);
    }
}
