//! Dates and times from their parts, from text by a pattern, their symbolic differences and bins.

use arrow::datatypes::DataType;
use datafusion_expr::Volatility;

use crate::cast::to_f64;
use crate::datetime::{
    DAY, HOUR, Interval, MINUTE, SECOND, check_date, check_timestamp, civil_from_days, days_from_civil, days_in_month,
    f64_to_i64, from_local, timestamp_from, to_local,
};
use crate::error::{PgError, PgResult};
use crate::function::{Definition, Plan, no_function};
use crate::library::fixed;
use crate::types::PgType as T;
use crate::value::Value;

fn text(value: &Value) -> &str {
    if let Value::Text(t) = value { t } else { "" }
}

/// `age(a, b)` of wall clocks: years, months and days as a calendar counts them.
fn age(a: i64, b: i64) -> PgResult<Interval> {
    let (late, early) = (a.max(b), a.min(b));
    let (y1, m1, d1) = civil_from_days(late.div_euclid(DAY));
    let (y2, m2, d2) = civil_from_days(early.div_euclid(DAY));
    let mut micros = late.rem_euclid(DAY) - early.rem_euclid(DAY);
    let mut days = d1 - d2;
    let mut months = (y1 - y2) * 12 + m1 - m2;
    if micros < 0 {
        micros += DAY;
        days -= 1;
    }
    // PostgreSQL borrows the days of the earlier time's month.
    while days < 0 {
        days += days_in_month(y2, m2);
        months -= 1;
    }
    let out = |_| PgError::datetime_overflow("interval out of range");
    let found =
        Interval { months: i32::try_from(months).map_err(out)?, days: i32::try_from(days).map_err(out)?, micros };
    if a < b { found.neg() } else { Ok(found) }
}

fn date_bin(stride: Interval, source: i64, origin: i64) -> PgResult<i64> {
    if stride.months != 0 {
        return Err(PgError::unsupported("timestamps cannot be binned into intervals containing months or years"));
    }
    let out = || PgError::datetime_overflow("timestamp out of range");
    let length = i64::from(stride.days).checked_mul(DAY).and_then(|d| d.checked_add(stride.micros)).ok_or_else(out)?;
    if length <= 0 {
        return Err(PgError::datetime_overflow("stride must be greater than zero"));
    }
    let distance = i128::from(source) - i128::from(origin);
    let start = i128::from(origin) + distance.div_euclid(i128::from(length)) * i128::from(length);
    i64::try_from(start).map_err(|_| out()).and_then(check_timestamp)
}

fn make_interval(row: &[Value]) -> PgResult<Interval> {
    let out = || PgError::datetime_overflow("interval out of range");
    let part = |i: usize| row.get(i).and_then(Value::as_i64).unwrap_or(0);
    let seconds = row.get(6).and_then(to_f64).unwrap_or(0.0);
    let micros = f64_to_i64((seconds * 1e6).round_ties_even()).ok_or_else(out)?;
    Ok(Interval {
        months: i32::try_from(part(0) * 12 + part(1)).map_err(|_| out())?,
        days: i32::try_from(part(2) * 7 + part(3)).map_err(|_| out())?,
        micros: (part(4) * HOUR).checked_add(part(5) * MINUTE).and_then(|m| m.checked_add(micros)).ok_or_else(out)?,
    })
}

fn make_timestamp(row: &[Value]) -> PgResult<i64> {
    let part = |i: usize| row.get(i).and_then(Value::as_i64).unwrap_or(0);
    let seconds = row.get(5).and_then(to_f64).unwrap_or(f64::NAN);
    let (y, mo, d, h, mi) = (part(0), part(1), part(2), part(3), part(4));
    if y < 1 || !(1..=12).contains(&mo) || d < 1 || d > days_in_month(y, mo) {
        return Err(PgError::datetime_overflow(format!("date field value out of range: {y}-{mo:02}-{d:02}")));
    }
    // A second of 60 and an hour of 24 carry over in PostgreSQL: not compared, refused.
    if !(0..24).contains(&h) || !(0..60).contains(&mi) || !(0.0..60.0).contains(&seconds) {
        return Err(PgError::datetime_overflow(format!("time field value out of range: {h}:{mi:02}:{seconds:02}")));
    }
    let micros = f64_to_i64((seconds * 1e6).round_ties_even()).unwrap_or(0);
    timestamp_from(days_from_civil(y, mo, d), h * HOUR + mi * MINUTE + micros)
}

/// Reads text by a pattern of YYYY MM DD HH24 MI SS MS US Mon Month and separators that stand in the text as they stand in the pattern;
/// what PostgreSQL would read more leniently is refused.
fn read_by_pattern(input: &str, pattern: &str) -> PgResult<i64> {
    const PATTERNS: [&str; 10] = ["YYYY", "MONTH", "MON", "MM", "DD", "HH24", "MI", "SS", "MS", "US"];
    let refused = || {
        PgError::unsupported(format!("reading \"{input}\" by the pattern \"{pattern}\" is not supported"))
            .with_hint("Supported are YYYY MM DD HH24 MI SS MS US Mon Month, and text that matches them exactly.")
    };
    let (mut year, mut month, mut day, mut time) = (None, 1, 1, [0i64; 4]);
    let (mut at, mut rest) = (input, pattern);
    let mut seen: Vec<&str> = Vec::new();
    while let Some(c) = rest.chars().next() {
        let upper: String = rest.chars().take(5).collect::<String>().to_ascii_uppercase();
        let Some(found) = PATTERNS.iter().find(|p| upper.starts_with(**p)) else {
            if c.is_alphanumeric() || matches!(c, '"' | '\\') || !at.starts_with(c) {
                return Err(refused());
            }
            at = &at[c.len_utf8()..];
            rest = &rest[c.len_utf8()..];
            continue;
        };
        let kind = if *found == "MONTH" || *found == "MON" || *found == "MM" { "MM" } else { found };
        if seen.contains(&kind) || (seen.contains(&"MS") && kind == "US") || (seen.contains(&"US") && kind == "MS") {
            return Err(refused());
        }
        seen.push(kind);
        rest = &rest[found.len()..];
        if rest.starts_with("TH") || rest.starts_with("th") {
            return Err(refused());
        }
        if *found == "MON" || *found == "MONTH" {
            let length = at.chars().take_while(char::is_ascii_alphabetic).count();
            let word = &at[..length];
            month = crate::input::month_number(&word.to_ascii_lowercase()).ok_or_else(refused)?;
            // May is both; otherwise Mon is three letters and Month is the full name.
            if (*found == "MON") != (length == 3) && month != 5 {
                return Err(refused());
            }
            at = &at[length..];
            continue;
        }
        let width = match *found {
            "YYYY" => 4,
            "MS" => 3,
            "US" => 6,
            _ => 2,
        };
        let length = at.bytes().take(width).take_while(u8::is_ascii_digit).count();
        // A short number is read by PostgreSQL too, but what it means depends on what follows.
        if length != width {
            return Err(refused());
        }
        let value: i64 = at[..length].parse().map_err(|_| refused())?;
        at = &at[length..];
        if *found == "YYYY"
            && at.bytes().next().is_some_and(|b| b.is_ascii_digit())
            && !rest.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            return Err(refused());
        }
        match *found {
            "YYYY" => year = Some(value),
            "MM" => month = value,
            "DD" => day = value,
            "HH24" => time[0] = value,
            "MI" => time[1] = value,
            "SS" => time[2] = value,
            "MS" => time[3] = value * 1000,
            _ => time[3] = value,
        }
    }
    let year = year.filter(|y| *y > 0).ok_or_else(refused)?;
    if !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || time[0] > 23
        || time[1] > 59
        || time[2] > 59
    {
        return Err(PgError::datetime_overflow(format!("date/time field value out of range: \"{input}\"")));
    }
    timestamp_from(days_from_civil(year, month, day), time[0] * HOUR + time[1] * MINUTE + time[2] * SECOND + time[3])
}

pub(crate) fn definitions() -> Vec<Definition> {
    let strict = |name, plan| Definition { name, volatility: Volatility::Stable, strict: true, plan };
    vec![
        strict("age", |n, c| {
            let [a, b] = c.types.as_slice() else {
                return Err(if c.types.len() == 1 {
                    PgError::unsupported("age of one argument is not supported").with_hint("Use age(current_date, x).")
                } else {
                    no_function(n, &c.types)
                });
            };
            let wide = if *a == T::Timestamp && *b == T::Timestamp { T::Timestamp } else { T::Timestamptz };
            let dated = |t: &T| matches!(t, T::Date | T::Timestamp | T::Timestamptz);
            if !dated(a) || !dated(b) {
                return Err(no_function(n, &c.types));
            }
            Ok(Plan::new(T::Interval.arrow(), |c, r| match (&r[0], &r[1]) {
                (Value::Timestamp(a), Value::Timestamp(b)) => Ok(Value::Interval(age(*a, *b)?)),
                (Value::Timestamptz(a), Value::Timestamptz(b)) => {
                    let (x, y) = (to_local(*a, &c.zone)?, to_local(*b, &c.zone)?);
                    if (a < b) != (x < y) && a != b {
                        return Err(PgError::unsupported("age across a repeated hour is not supported"));
                    }
                    Ok(Value::Interval(age(x, y)?))
                }
                _ => Ok(Value::Null),
            })
            .taking(vec![wide.clone(), wide]))
        }),
        strict("date_bin", |n, c| {
            let wide = match c.types.as_slice() {
                [T::Interval, T::Timestamp, T::Timestamp] => T::Timestamp,
                [T::Interval, T::Date | T::Timestamp | T::Timestamptz, T::Date | T::Timestamp | T::Timestamptz] => {
                    T::Timestamptz
                }
                types => return Err(no_function(n, types)),
            };
            Ok(Plan::new(wide.arrow(), |_, r| match (&r[0], &r[1], &r[2]) {
                (Value::Interval(i), Value::Timestamp(s), Value::Timestamp(o)) => {
                    Ok(Value::Timestamp(date_bin(*i, *s, *o)?))
                }
                (Value::Interval(i), Value::Timestamptz(s), Value::Timestamptz(o)) => {
                    Ok(Value::Timestamptz(date_bin(*i, *s, *o)?))
                }
                _ => Ok(Value::Null),
            })
            .taking(vec![T::Interval, wide.clone(), wide]))
        }),
        strict("make_interval", |n, c| {
            let all = [T::Int4, T::Int4, T::Int4, T::Int4, T::Int4, T::Int4, T::Float8];
            let takes = all.get(..c.types.len()).ok_or_else(|| no_function(n, &c.types))?;
            fixed(n, c, takes, T::Interval, |_, r| Ok(Value::Interval(make_interval(r)?)))
        }),
        strict("make_timestamp", |n, c| {
            let takes = [T::Int4, T::Int4, T::Int4, T::Int4, T::Int4, T::Float8];
            fixed(n, c, &takes, T::Timestamp, |_, r| Ok(Value::Timestamp(make_timestamp(r)?)))
        }),
        strict("to_date", |n, c| {
            fixed(n, c, &[T::Text, T::Text], T::Date, |_, r| {
                let ts = read_by_pattern(text(&r[0]), text(&r[1]))?;
                Ok(Value::Date(check_date(ts.div_euclid(DAY))?))
            })
        }),
        strict("to_timestamp", |n, c| {
            if c.types.len() == 2 {
                return fixed(n, c, &[T::Text, T::Text], T::Timestamptz, |c, r| {
                    let local = read_by_pattern(text(&r[0]), text(&r[1]))?;
                    Ok(Value::Timestamptz(from_local(local, &c.zone)?))
                });
            }
            fixed(n, c, &[T::Float8], T::Timestamptz, |_, r| {
                let seconds = to_f64(&r[0]).unwrap_or(f64::NAN);
                let out = || PgError::datetime_overflow(format!("timestamp out of range: \"{seconds}\""));
                if !seconds.is_finite() {
                    return Err(PgError::unsupported("infinite timestamps are not supported"));
                }
                // PostgreSQL rounds relative to the year 2000.
                let since_2000 = f64_to_i64(((seconds - 946_684_800.0) * 1e6).round_ties_even()).ok_or_else(out)?;
                let utc = since_2000.checked_add(946_684_800 * SECOND).ok_or_else(out)?;
                Ok(Value::Timestamptz(check_timestamp(utc)?))
            })
        }),
        Definition {
            name: "random",
            volatility: Volatility::Volatile,
            strict: true,
            plan: |n, c| {
                if c.types.is_empty() {
                    Ok(Plan::new(DataType::Float64, |_, _| Ok(Value::Float8(rand::random::<f64>()))))
                } else {
                    Err(no_function(n, &c.types))
                }
            },
        },
    ]
}
