//! Dates that filters of the model name relative to now (reference Q2), on the wall clock of the zone that the filter's dates are of.
//!
//! Units are whole ones and the current one is not among the `last` or the `next` ones: on a Wednesday `last 1 week` ends on Sunday. Weeks begin
//! on Monday. It would be wrong to count back from now instead: the range would begin in the middle of a day.

use chrono::{Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

/// What filters may say, for messages.
pub(super) const PHRASES: &str = "Relative dates are: today, yesterday, tomorrow; this, last or next and a unit; last or next, a number and \
                                  units; N units ago, N units from now, now; from … to … of these. Units: second, minute, hour, day, week, \
                                  month, quarter, year.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// The time that a phrase names: its first moment, and the first one behind it. `None` for what is no such phrase.
pub(super) fn range(text: &str, now: NaiveDateTime) -> Option<(NaiveDateTime, NaiveDateTime)> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["from", rest @ ..] => {
            let to = rest.iter().position(|word| *word == "to")?;
            let (from, to) = (&rest[..to], &rest[to + 1..]);
            // Rounded to days, or to the finest unit that either names.
            let named = words.iter().filter_map(|word| unit(word)).min();
            let rounded = named.filter(|unit| *unit < Unit::Day).unwrap_or(Unit::Day);
            let start = rounded.start_of(point(from, now)?)?;
            let end = rounded.after(rounded.start_of(point(to, now)?)?, 1)?;
            Some((start, end))
        }
        ["this", name] => whole(unit(name)?, now, 0, 1),
        ["last", name] => whole(unit(name)?, now, -1, 1),
        ["next", name] => whole(unit(name)?, now, 1, 1),
        ["last", count, name] => {
            let count = number(count)?;
            whole(unit(name)?, now, -count, count)
        }
        ["next", count, name] => whole(unit(name)?, now, 1, number(count)?),
        words => {
            let at = point(words, now)?;
            let named = words.iter().find_map(|word| unit(word));
            let rounded = named.filter(|unit| *unit < Unit::Day).unwrap_or(Unit::Day);
            // A bare `now` is the day that it lies in.
            let start = rounded.start_of(at)?;
            Some((start, rounded.after(start, 1)?))
        }
    }
}

/// `count` whole units that begin `first` units from the current one.
fn whole(unit: Unit, now: NaiveDateTime, first: i64, count: i64) -> Option<(NaiveDateTime, NaiveDateTime)> {
    let current = unit.start_of(now)?;
    let start = unit.after(current, first)?;
    Some((start, unit.after(current, first.checked_add(count)?)?))
}

fn point(words: &[&str], now: NaiveDateTime) -> Option<NaiveDateTime> {
    let day = |offset: i64| Unit::Day.after(Unit::Day.start_of(now)?, offset);
    match words {
        ["now"] => Some(now),
        ["today"] => day(0),
        ["yesterday"] => day(-1),
        ["tomorrow"] => day(1),
        [count, name, "ago"] => unit(name)?.after(now, -number(count)?),
        [count, name, "from", "now"] | ["in", count, name] => unit(name)?.after(now, number(count)?),
        [date] => NaiveDate::parse_from_str(date, "%Y-%m-%d").ok().map(|date| date.and_time(NaiveTime::MIN)),
        _ => None,
    }
}

/// A count of units; `a` and `an` are one.
fn number(word: &str) -> Option<i64> {
    match word {
        "a" | "an" => Some(1),
        digits if digits.len() <= 6 && digits.chars().all(|c| c.is_ascii_digit()) => {
            digits.parse().ok().filter(|count| *count > 0)
        }
        _ => None,
    }
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word.strip_suffix('s').unwrap_or(word) {
        "second" => Unit::Second,
        "minute" => Unit::Minute,
        "hour" => Unit::Hour,
        "day" => Unit::Day,
        "week" => Unit::Week,
        "month" => Unit::Month,
        "quarter" => Unit::Quarter,
        "year" => Unit::Year,
        _ => return None,
    })
}

impl Unit {
    fn start_of(self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        let (date, clock) = (time.date(), time.time());
        let first_of = |month: u32| NaiveDate::from_ymd_opt(date.year(), month, 1);
        let date = match self {
            Self::Second => return date.and_hms_opt(clock.hour(), clock.minute(), clock.second()),
            Self::Minute => return date.and_hms_opt(clock.hour(), clock.minute(), 0),
            Self::Hour => return date.and_hms_opt(clock.hour(), 0, 0),
            Self::Day => date,
            Self::Week => date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday())))?,
            Self::Month => first_of(date.month())?,
            Self::Quarter => first_of(date.month0() / 3 * 3 + 1)?,
            Self::Year => first_of(1)?,
        };
        Some(date.and_time(NaiveTime::MIN))
    }

    fn after(self, time: NaiveDateTime, count: i64) -> Option<NaiveDateTime> {
        let delta = match self {
            Self::Second => TimeDelta::try_seconds(count),
            Self::Minute => TimeDelta::try_minutes(count),
            Self::Hour => TimeDelta::try_hours(count),
            Self::Day => TimeDelta::try_days(count),
            Self::Week => TimeDelta::try_weeks(count),
            Self::Month => return months_after(time, count),
            Self::Quarter => return months_after(time, count.checked_mul(3)?),
            Self::Year => return months_after(time, count.checked_mul(12)?),
        };
        time.checked_add_signed(delta?)
    }
}

fn months_after(time: NaiveDateTime, count: i64) -> Option<NaiveDateTime> {
    let months = Months::new(u32::try_from(count.unsigned_abs()).ok()?);
    if count < 0 { time.checked_sub_months(months) } else { time.checked_add_months(months) }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::range;

    /// A Wednesday.
    fn shown(text: &str) -> String {
        let now = NaiveDate::from_ymd_opt(2024, 5, 15).and_then(|day| day.and_hms_opt(13, 45, 30));
        match range(text, now.expect("the time exists")) {
            Some((start, end)) => format!("{start} .. {end}").replace(" 00:00:00", ""),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn phrases_are_whole_units_of_the_wall_clock() {
        for (text, expected) in [
            ("today", "2024-05-15 .. 2024-05-16"),
            ("Yesterday", "2024-05-14 .. 2024-05-15"),
            ("tomorrow", "2024-05-16 .. 2024-05-17"),
            ("this week", "2024-05-13 .. 2024-05-20"),
            ("last week", "2024-05-06 .. 2024-05-13"),
            ("next  quarter", "2024-07-01 .. 2024-10-01"),
            ("this year", "2024-01-01 .. 2025-01-01"),
            ("last 7 days", "2024-05-08 .. 2024-05-15"),
            ("last 1 week", "2024-05-06 .. 2024-05-13"),
            ("next 2 months", "2024-06-01 .. 2024-08-01"),
            ("last 3 hours", "2024-05-15 10:00:00 .. 2024-05-15 13:00:00"),
            ("from 7 days ago to now", "2024-05-08 .. 2024-05-16"),
            ("from 1 hour ago to now", "2024-05-15 12:00:00 .. 2024-05-15 14:00:00"),
            ("from 2024-01-31 to a month from now", "2024-01-31 .. 2024-06-16"),
            ("2 weeks ago", "2024-05-01 .. 2024-05-02"),
            ("now", "2024-05-15 .. 2024-05-16"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn other_words_are_no_dates() {
        for text in
            ["", "last", "last 0 days", "last -1 days", "last 9999999 days", "next fortnight", "from today", "the past"]
        {
            assert_eq!(shown(text), "none", "{text}");
        }
        assert_eq!(shown("last 999999 years"), "none");
    }
}
