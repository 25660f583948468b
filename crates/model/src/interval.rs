//! Interval texts such as `1 month 2 weeks`, refresh periods, and origins of granularities.

use crate::{Interval, TimeUnit};

/// The granularities that every time dimension has.
pub const PREDEFINED_GRANULARITIES: [&str; 8] = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];

/// One `N unit` of an interval text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) count: i32,
    pub(crate) unit: TimeUnit,
}

/// The terms of `text`, or what is wrong with it.
pub(crate) fn terms(text: &str) -> Result<Vec<Term>, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || words.len() % 2 == 1 {
        return Err("an interval is `N unit`, such as `1 month` or `2 weeks 3 days`".to_owned());
    }
    if words.len() > 16 {
        return Err("an interval has at most 8 terms".to_owned());
    }
    let pair = |pair: &[&str]| {
        let (count, unit) = (pair[0], pair[1]);
        let count = count.parse::<i32>().map_err(|_| format!("`{count}` is not a whole number"))?;
        let unit = TimeUnit::named(unit).ok_or_else(|| {
            format!("`{unit}` is not a unit: second, minute, hour, day, week, month, quarter or year")
        })?;
        Ok(Term { count, unit })
    };
    words.chunks(2).map(pair).collect()
}

/// The sum of the terms.
pub(crate) fn sum(terms: &[Term]) -> Result<Interval, String> {
    let too_large = || "this interval is too large".to_owned();
    let mut total = Interval { months: 0, days: 0, microseconds: 0 };
    for Term { count, unit } in terms {
        let months =
            |n: i32| count.checked_mul(n).and_then(|value| total.months.checked_add(value)).ok_or_else(too_large);
        let days = |n: i32| count.checked_mul(n).and_then(|value| total.days.checked_add(value)).ok_or_else(too_large);
        let seconds = |n: i64| {
            i64::from(*count)
                .checked_mul(n * 1_000_000)
                .and_then(|value| total.microseconds.checked_add(value))
                .ok_or_else(too_large)
        };
        match unit {
            TimeUnit::Second => total.microseconds = seconds(1)?,
            TimeUnit::Minute => total.microseconds = seconds(60)?,
            TimeUnit::Hour => total.microseconds = seconds(3_600)?,
            TimeUnit::Day => total.days = days(1)?,
            TimeUnit::Week => total.days = days(7)?,
            TimeUnit::Month => total.months = months(1)?,
            TimeUnit::Quarter => total.months = months(3)?,
            TimeUnit::Year => total.months = months(12)?,
        }
    }
    Ok(total)
}

/// The interval that `text` says.
///
/// # Errors
/// What is wrong with the text, as a sentence for users.
pub fn parse_interval(text: &str) -> Result<Interval, String> {
    sum(&terms(text)?)
}

/// Whether bins of these terms fill their parent unit without a rest, so that no origin is needed (G2).
pub(crate) fn is_aligned(terms: &[Term]) -> bool {
    let [Term { count, unit }] = terms else { return false };
    let divides = |parent: i32| *count > 0 && parent % count == 0;
    match unit {
        TimeUnit::Year => *count > 0,
        TimeUnit::Quarter => divides(4),
        TimeUnit::Month => divides(12),
        TimeUnit::Week | TimeUnit::Day => *count == 1,
        TimeUnit::Hour => divides(24),
        TimeUnit::Minute | TimeUnit::Second => divides(60),
    }
}

/// Whether `text` is a cron line of five or six fields.
pub(crate) fn is_cron(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    (5..=6).contains(&fields.len())
        && fields
            .iter()
            .all(|field| field.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '*' | ',' | '/' | '-' | '?')))
        && fields.iter().any(|field| field.starts_with(|c: char| c == '*' || c.is_ascii_digit()))
        && terms(text).is_err()
}

/// Whether `text` is a point in time: `YYYY[-MM[-DD[(T| )HH:MM[:SS[.f…]]]]]`, without a zone or with `Z`.
pub(crate) fn is_timestamp(text: &str) -> bool {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u32>().ok()).flatten()
    };
    let parts: Vec<&str> = date.split('-').collect();
    let Some(year) = parts.first().and_then(|year| number(year, 4)) else { return false };
    let month = match parts.get(1) {
        None => 1,
        Some(month) => match number(month, 2) {
            Some(month @ 1..=12) => month,
            _ => return false,
        },
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let day_fits = parts.get(2).is_none_or(|day| number(day, 2).is_some_and(|day| (1..=days).contains(&day)));
    if !day_fits || parts.len() > 3 || year == 0 {
        return false;
    }
    let Some(time) = time else { return true };
    let (clock, fraction) = time.split_once('.').map_or((time, None), |(clock, fraction)| (clock, Some(fraction)));
    let clock: Vec<&str> = clock.split(':').collect();
    let in_range = |index: usize, below: u32| {
        clock.get(index).is_none_or(|text| number(text, 2).is_some_and(|value| value < below))
    };
    parts.len() == 3
        && (2..=3).contains(&clock.len())
        && in_range(0, 24)
        && in_range(1, 60)
        && in_range(2, 60)
        && fraction.is_none_or(|digits| {
            clock.len() == 3 && (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        })
}
