//! `to_char` of dates and times, for the patterns that were compared with PostgreSQL; any other letter is an error.

use std::fmt::Write;

use crate::datetime::{DAY, HOUR, MINUTE, SECOND, civil_from_days, days_from_civil, iso_week, weekday_from_monday};
use crate::error::{PgError, PgResult};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Longest first where one pattern begins another.
const PATTERNS: [&str; 36] = [
    "YYYY", "YY", "IYYY", "IW", "ID", "MONTH", "Month", "month", "MON", "Mon", "mon", "MM", "MI", "MS", "DAY", "Day",
    "day", "DDD", "DD", "DY", "Dy", "dy", "D", "HH24", "HH12", "HH", "SS", "US", "WW", "W", "Q", "AM", "PM", "am",
    "pm", "Y,YYY",
];

/// The text of a wall clock by a pattern. Years before 1 AD are refused.
///
/// # Errors
/// 0A000 for a letter that begins no known pattern.
pub(crate) fn to_char(ts: i64, pattern: &str) -> PgResult<String> {
    let days = ts.div_euclid(DAY);
    let time = ts.rem_euclid(DAY);
    let (year, month, day) = civil_from_days(days);
    if year < 1 {
        return Err(PgError::unsupported("to_char of years before 1 AD is not supported"));
    }
    let at = |n: i64| usize::try_from(n).unwrap_or(0);
    let month_name = MONTHS[at(month - 1)];
    let day_name = DAYS[at(weekday_from_monday(days))];
    let doy = days - days_from_civil(year, 1, 1) + 1;
    let hour = time / HOUR;
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let mut out = String::new();
    let mut rest = pattern;
    let mut fill = true;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("FM") {
            fill = false;
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix('"') {
            let end = after
                .find('"')
                .ok_or_else(|| PgError::unsupported("to_char with an unclosed quote is not supported"))?;
            out.push_str(&after[..end]);
            rest = &after[end + 1..];
            continue;
        }
        // Longer patterns of PostgreSQL that begin with one of ours.
        if rest.starts_with("SSSS") || rest.starts_with("IDDD") {
            return Err(PgError::unsupported(format!("to_char pattern \"{pattern}\" is not supported")));
        }
        let Some(found) = PATTERNS.iter().find(|p| rest.starts_with(**p)) else {
            if first.is_alphanumeric() || first == '\\' {
                return Err(PgError::unsupported(format!("to_char pattern \"{pattern}\" is not supported")));
            }
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = &rest[found.len()..];
        let number = |value: i64, width: usize| if fill { format!("{value:0width$}") } else { value.to_string() };
        let word = |text: String, width: usize| if fill { format!("{text:width$}") } else { text };
        let text = match *found {
            "YYYY" => number(year, 4),
            "YY" => number(year % 100, 2),
            "IYYY" => number(iso_week(days).0, 4),
            "IW" => number(iso_week(days).1, 2),
            "ID" => (weekday_from_monday(days) + 1).to_string(),
            "MONTH" => word(month_name.to_uppercase(), 9),
            "Month" => word(month_name.to_owned(), 9),
            "month" => word(month_name.to_lowercase(), 9),
            "MON" => month_name[..3].to_uppercase(),
            "Mon" => month_name[..3].to_owned(),
            "mon" => month_name[..3].to_lowercase(),
            "MM" => number(month, 2),
            "MI" => number(time / MINUTE % 60, 2),
            "MS" => number(time % SECOND / 1000, 3),
            "DAY" => word(day_name.to_uppercase(), 9),
            "Day" => word(day_name.to_owned(), 9),
            "day" => word(day_name.to_lowercase(), 9),
            "DDD" => number(doy, 3),
            "DD" => number(day, 2),
            "DY" => day_name[..3].to_uppercase(),
            "Dy" => day_name[..3].to_owned(),
            "dy" => day_name[..3].to_lowercase(),
            "D" => ((weekday_from_monday(days) + 1) % 7 + 1).to_string(),
            "HH24" => number(hour, 2),
            "HH12" | "HH" => number(hour12, 2),
            "SS" => number(time / SECOND % 60, 2),
            "US" => number(time % SECOND, 6),
            "WW" => number((doy - 1) / 7 + 1, 2),
            "W" => ((day - 1) / 7 + 1).to_string(),
            "Q" => ((month - 1) / 3 + 1).to_string(),
            "AM" | "PM" => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            "am" | "pm" => if hour < 12 { "am" } else { "pm" }.to_owned(),
            _ => return Err(PgError::unsupported(format!("to_char pattern \"{pattern}\" is not supported"))),
        };
        // Writing to a String cannot fail.
        let _ = out.write_str(&text);
        // FM holds for the pattern that follows it.
        fill = true;
    }
    Ok(out)
}
