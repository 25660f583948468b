//! PostgreSQL's text form of every value: what `::text` gives.

use std::fmt::Write;

use num_traits::{Signed, Zero};

use crate::datetime::{DAY, HOUR, Interval, MINUTE, SECOND, Zone, civil_from_days, to_local};
use crate::error::PgResult;
use crate::numeric::Numeric;
use crate::types::PgType;
use crate::value::Value;

/// The text of a value of a type, as PostgreSQL's output function writes it with `DateStyle ISO`, `IntervalStyle postgres`, `bytea_output hex`.
///
/// NULL gives `None`. A numeric is written with the scale it has; values read from the quotient carrier come with PostgreSQL's scale already.
///
/// # Errors
/// 22008 where a timestamptz cannot be shown in the zone.
pub fn format_value(value: &Value, pg_type: &PgType, zone: &Zone) -> PgResult<Option<String>> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(b) => if *b { "true" } else { "false" }.to_owned(),
        Value::Int2(v) => v.to_string(),
        Value::Int4(v) => v.to_string(),
        Value::Int8(v) => v.to_string(),
        Value::Float4(v) => float4_text(*v),
        Value::Float8(v) => float8_text(*v),
        Value::Numeric(v) => v.to_string(),
        Value::Text(v) => v.clone(),
        Value::Bytea(v) => {
            let mut out = String::with_capacity(2 + v.len() * 2);
            out.push_str("\\x");
            for byte in v {
                // Writing to a String cannot fail.
                let _ = write!(out, "{byte:02x}");
            }
            out
        }
        Value::Date(days) => date_text(i64::from(*days)),
        Value::Time(micros) => time_text(*micros),
        Value::Timestamp(ts) => timestamp_text(*ts),
        Value::Timestamptz(utc) => {
            let offset = zone.offset_at(*utc)?;
            let text = timestamp_text(to_local(*utc, zone)?);
            match text.strip_suffix(" BC") {
                Some(body) => format!("{body}{} BC", offset_text(offset)),
                None => format!("{text}{}", offset_text(offset)),
            }
        }
        Value::Interval(interval) => interval_text(*interval),
        Value::List(items) => {
            let element = match pg_type {
                PgType::List(element) => element.as_ref(),
                _ => &PgType::Text,
            };
            let mut out = String::from("{");
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                let text = match item {
                    Value::Bool(b) => Some(if *b { "t" } else { "f" }.to_owned()),
                    other => format_value(other, element, zone)?,
                };
                match text {
                    None => out.push_str("NULL"),
                    Some(text) if matches!(item, Value::List(_)) => out.push_str(&text),
                    Some(text) => push_array_item(&mut out, &text),
                }
            }
            out.push('}');
            out
        }
    }))
}

fn push_array_item(out: &mut String, text: &str) {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.chars().any(|c| {
            matches!(c, '"' | '\\' | '{' | '}' | ',') || matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
        });
    if plain {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Digits of the shortest form and the exponent of the first one, from Rust's shortest scientific form.
fn float_text(scientific: &str, plain_below: i32) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if exponent < -4 || exponent >= plain_below {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let exp_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{exp_sign}{:02}", exponent.abs());
    }
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        format!("{sign}0.{zeros}{digits}")
    } else if exponent + 1 >= length {
        let zeros = "0".repeat(usize::try_from(exponent + 1 - length).unwrap_or(0));
        format!("{sign}{digits}{zeros}")
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or(0));
        format!("{sign}{whole}.{fraction}")
    }
}

/// The shortest text that reads back as the same double, in PostgreSQL's form.
pub fn float8_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else if value == 0.0 {
        if value.is_sign_negative() { "-0".into() } else { "0".into() }
    } else {
        float_text(&format!("{value:e}"), 15)
    }
}

/// The same for real.
pub fn float4_text(value: f32) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else if value == 0.0 {
        if value.is_sign_negative() { "-0".into() } else { "0".into() }
    } else {
        float_text(&format!("{value:e}"), 6)
    }
}

/// `2024-01-31`, years before 1 AD with ` BC`.
pub fn date_text(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    if year > 0 { format!("{year:04}-{month:02}-{day:02}") } else { format!("{:04}-{month:02}-{day:02} BC", 1 - year) }
}

/// `12:34:56.789`, fraction without trailing zeros.
pub fn time_text(micros: i64) -> String {
    let mut out = format!("{:02}:{:02}:{:02}", micros / HOUR, micros / MINUTE % 60, micros / SECOND % 60);
    push_fraction(&mut out, micros % SECOND);
    out
}

fn push_fraction(out: &mut String, micros: i64) {
    if micros != 0 {
        let digits = format!("{:06}", micros.abs());
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// `2024-01-31 12:34:56.789`.
pub fn timestamp_text(ts: i64) -> String {
    let date = date_text(ts.div_euclid(DAY));
    let time = time_text(ts.rem_euclid(DAY));
    match date.strip_suffix(" BC") {
        Some(body) => format!("{body} {time} BC"),
        None => format!("{date} {time}"),
    }
}

/// `+02`, `-03:30`, `+00:53:28`.
pub fn offset_text(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let s = seconds.abs();
    let mut out = format!("{sign}{:02}", s / 3600);
    if s % 3600 != 0 {
        let _ = write!(out, ":{:02}", s / 60 % 60);
        if s % 60 != 0 {
            let _ = write!(out, ":{:02}", s % 60);
        }
    }
    out
}

/// `1 year 2 mons -3 days +04:05:06`.
pub fn interval_text(interval: Interval) -> String {
    let mut out = String::new();
    let mut negative_before = false;
    let mut part = |out: &mut String, count: i32, unit: &str| {
        if count == 0 {
            return;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        if negative_before && count > 0 {
            out.push('+');
        }
        let plural = if count == 1 { "" } else { "s" };
        let _ = write!(out, "{count} {unit}{plural}");
        negative_before = count < 0;
    };
    part(&mut out, interval.months / 12, "year");
    part(&mut out, interval.months % 12, "mon");
    part(&mut out, interval.days, "day");
    if interval.micros != 0 || out.is_empty() {
        if !out.is_empty() {
            out.push(' ');
        }
        let micros = interval.micros.unsigned_abs();
        if interval.micros < 0 {
            out.push('-');
        } else if negative_before {
            out.push('+');
        }
        let second = 1_000_000u64;
        let _ = write!(
            out,
            "{:02}:{:02}:{:02}",
            micros / (3600 * second),
            micros / (60 * second) % 60,
            micros / second % 60
        );
        push_fraction(&mut out, i64::try_from(micros % second).unwrap_or(0));
    }
    out
}

/// A value of the quotient carrier with the scale that PostgreSQL's division would show: at least 16 significant digits, and every digit that
/// is there. (Exact but for one case: where the first base-10000 digits of dividend and divisor are equal PostgreSQL shows four zeros more.)
pub fn quotient_display(number: &Numeric) -> Numeric {
    let needed = without_zeros(number);
    let shown = if number.digits.is_zero() {
        16
    } else {
        let lead = i64::try_from(number.digits.abs().to_string().len()).unwrap_or(0) - 1 - i64::from(number.scale);
        (16 - 4 * lead.div_euclid(4)).clamp(0, 44)
    };
    let scale = needed.scale.max(u32::try_from(shown).unwrap_or(0));
    needed.round(scale)
}

/// The same number without zeros at the end of its fraction.
pub fn without_zeros(number: &Numeric) -> Numeric {
    let mut out = number.clone();
    for (step, digits) in [(8u32, 100_000_000u32), (1, 10)] {
        while out.scale >= step && (&out.digits % digits).is_zero() {
            out = Numeric { digits: out.digits / digits, scale: out.scale - step };
        }
    }
    out
}
