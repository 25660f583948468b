//! Dates that filters of the model name relative to now (reference Q2), on the wall clock of the zone that the filter's dates are of.
//!
//! Units are whole ones and the current one is not among the `last` or the `next` ones: on a Wednesday `last 1 week` ends on Sunday. Weeks begin
//! on Monday. It would be wrong to count back from now instead: the range would begin in the middle of a day.

use belvedere_model::TimeUnit;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::calendar::{after, start_of};

/// What filters may say, for messages.
pub(super) const PHRASES: &str = "Relative dates are: today, yesterday, tomorrow; this, last or next and a unit; last or next, a number and \
                                  units; N units ago, N units from now, now; from … to … of these. Units: second, minute, hour, day, week, \
                                  month, quarter, year.";

/// The time that a phrase names: its first moment, and the first one behind it. `None` for what is no such phrase.
pub(super) fn range(text: &str, now: NaiveDateTime) -> Option<(NaiveDateTime, NaiveDateTime)> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["from", rest @ ..] => {
            let to = rest.iter().position(|word| *word == "to")?;
            let (from, to) = (&rest[..to], &rest[to + 1..]);
            // Rounded to days, or to the finest unit that either names.
            let named = words.iter().filter_map(|word| TimeUnit::named(word)).min();
            let rounded = named.filter(|unit| *unit < TimeUnit::Day).unwrap_or(TimeUnit::Day);
            let start = start_of(rounded, point(from, now)?)?;
            let end = after(rounded, start_of(rounded, point(to, now)?)?, 1)?;
            Some((start, end))
        }
        ["this", name] => whole(TimeUnit::named(name)?, now, 0, 1),
        ["last", name] => whole(TimeUnit::named(name)?, now, -1, 1),
        ["next", name] => whole(TimeUnit::named(name)?, now, 1, 1),
        ["last", count, name] => {
            let count = number(count)?;
            whole(TimeUnit::named(name)?, now, -count, count)
        }
        ["next", count, name] => whole(TimeUnit::named(name)?, now, 1, number(count)?),
        words => {
            let at = point(words, now)?;
            let named = words.iter().find_map(|word| TimeUnit::named(word));
            let rounded = named.filter(|unit| *unit < TimeUnit::Day).unwrap_or(TimeUnit::Day);
            // A bare `now` is the day that it lies in.
            let start = start_of(rounded, at)?;
            Some((start, after(rounded, start, 1)?))
        }
    }
}

/// `count` whole units that begin `first` units from the current one.
fn whole(unit: TimeUnit, now: NaiveDateTime, first: i64, count: i64) -> Option<(NaiveDateTime, NaiveDateTime)> {
    let current = start_of(unit, now)?;
    let start = after(unit, current, first)?;
    Some((start, after(unit, current, first.checked_add(count)?)?))
}

fn point(words: &[&str], now: NaiveDateTime) -> Option<NaiveDateTime> {
    let day = |offset: i64| after(TimeUnit::Day, start_of(TimeUnit::Day, now)?, offset);
    match words {
        ["now"] => Some(now),
        ["today"] => day(0),
        ["yesterday"] => day(-1),
        ["tomorrow"] => day(1),
        [count, name, "ago"] => after(TimeUnit::named(name)?, now, -number(count)?),
        [count, name, "from", "now"] | ["in", count, name] => after(TimeUnit::named(name)?, now, number(count)?),
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
