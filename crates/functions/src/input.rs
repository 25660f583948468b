//! PostgreSQL's input syntax: text to a value of a type, for untyped literals and for casts from text.

use arrow::datatypes::{DataType, Field};
use datafusion_common::ScalarValue;

use crate::PG_TYPE;
use crate::datetime::{
    DAY, HOUR, Interval, MINUTE, SECOND, Unit, Zone, check_date, days_from_civil, days_in_month, f64_to_i64,
    from_local, parse_offset, timestamp_from, unit_of,
};
use crate::error::{PgError, PgResult};
use crate::numeric::Numeric;
use crate::types::PgType;
use crate::value::Value;

/// A text as a decimal with just its own digits; `None` where it is no number, or has more than 76 digits.
pub fn numeric_literal(text: &str) -> Option<ScalarValue> {
    let value = Numeric::parse(text)?;
    let (whole, scale) = (i32::try_from(value.integer_digits()).ok()?, i32::try_from(value.scale).ok()?);
    if whole + scale > 76 {
        return None;
    }
    Value::Numeric(value).into_scalar(&crate::types::decimal_type(whole, scale)).ok()
}

/// An untyped literal as a value of an Arrow type (and of the PostgreSQL type `pg_type`, where the Arrow type is text).
///
/// `to` numeric: the value is rounded to its scale as a cast would.
///
/// # Errors
/// 22P02, 22007, 22008, 22003 with PostgreSQL's words.
pub fn parse_literal(text: &str, to: &DataType, pg_type: Option<&str>, zone: &Zone) -> PgResult<ScalarValue> {
    let mut field = Field::new("literal", to.clone(), true);
    if let Some(name) = pg_type {
        field = field.with_metadata([(PG_TYPE.to_owned(), name.to_owned())].into());
    }
    let target =
        PgType::of_field(&field).ok_or_else(|| PgError::unsupported(format!("no PostgreSQL type for {to}")))?;
    let mut value = parse_value(text, &target, zone)?;
    if let (Value::Numeric(number), DataType::Decimal128(p, s) | DataType::Decimal256(p, s)) = (&value, to) {
        value = Value::Numeric(number.to_precision(*p, *s)?);
    }
    value.into_scalar(to).map_err(|error| match crate::error::pg_error_of(&error) {
        Some(found) => found.clone(),
        None => PgError::new("XX000", error.to_string()),
    })
}

/// The value of a text in the input syntax of a type. A numeric keeps the scale it was written with.
///
/// # Errors
/// As [`parse_literal`].
pub fn parse_value(text: &str, to: &PgType, zone: &Zone) -> PgResult<Value> {
    Ok(match to {
        PgType::Unknown | PgType::Text | PgType::Other(_) => Value::Text(text.to_owned()),
        PgType::Bool => Value::Bool(parse_bool(text)?),
        PgType::Int2 => Value::Int2(parse_integer(text, "smallint")?),
        PgType::Int4 => Value::Int4(parse_integer(text, "integer")?),
        PgType::Int8 => Value::Int8(parse_integer(text, "bigint")?),
        PgType::Float4 => Value::Float4(parse_float4(text)?),
        PgType::Float8 => Value::Float8(parse_float8(text)?),
        PgType::Numeric => Value::Numeric(parse_numeric(text)?),
        PgType::Bytea => Value::Bytea(parse_bytea(text)?),
        PgType::Date => Value::Date(parse_date(text)?),
        PgType::Time => Value::Time(parse_time(text)?),
        PgType::Timestamp => Value::Timestamp(parse_timestamp(text)?),
        PgType::Timestamptz => Value::Timestamptz(parse_timestamptz(text, zone)?),
        PgType::Interval => Value::Interval(parse_interval(text)?),
        PgType::Uuid => Value::Text(parse_uuid(text)?),
        PgType::Json => {
            check_json(text)?;
            Value::Text(text.to_owned())
        }
        PgType::Jsonb => return Err(PgError::unsupported("conversion of text to jsonb is not supported")),
        PgType::List(element) => Value::List(parse_array(text, element, zone)?),
    })
}

fn check_json(text: &str) -> PgResult<()> {
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(|_| ())
        .map_err(|_| PgError::new("22P02", "invalid input syntax for type json"))
}

fn parse_bool(text: &str) -> PgResult<bool> {
    let word = text.trim_matches(is_space).to_ascii_lowercase();
    let is_prefix = |full: &str, least: usize| word.len() >= least && full.starts_with(&word);
    if is_prefix("true", 1) || is_prefix("yes", 1) || word == "on" || word == "1" {
        Ok(true)
    } else if is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(PgError::invalid_text("boolean", text))
    }
}

/// The white space of C's isspace.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn parse_integer<T: TryFrom<i128>>(text: &str, name: &str) -> PgResult<T> {
    let body = text.trim_matches(is_space);
    let digits = body.strip_prefix(['-', '+']).unwrap_or(body);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PgError::invalid_text(name, text));
    }
    let out = || PgError::new("22003", format!("value \"{text}\" is out of range for type {name}"));
    let value: i128 = body.parse().map_err(|_| out())?;
    T::try_from(value).map_err(|_| out())
}

fn parse_numeric(text: &str) -> PgResult<Numeric> {
    let body = text.trim_matches(is_space);
    if let Some(number) = Numeric::parse(body) {
        return Ok(number);
    }
    match body.trim_start_matches(['-', '+']).to_ascii_lowercase().as_str() {
        "nan" | "inf" | "infinity" => Err(PgError::unsupported(format!("numeric value \"{body}\" is not supported"))),
        _ => Err(PgError::invalid_text("numeric", text)),
    }
}

/// The text of a float as Rust's parser reads it; hexadecimal floats are refused.
fn float_body<'a>(text: &'a str, name: &str) -> PgResult<&'a str> {
    let body = text.trim_matches(is_space);
    let bare = body.strip_prefix(['-', '+']).unwrap_or(body);
    let word = bare.to_ascii_lowercase();
    if matches!(word.as_str(), "nan" | "inf" | "infinity") {
        return Ok(body);
    }
    if Numeric::parse(bare).is_some() && !bare.starts_with(['-', '+']) {
        return Ok(body);
    }
    Err(PgError::invalid_text(name, text))
}

fn parse_float8(text: &str) -> PgResult<f64> {
    let body = float_body(text, "double precision")?;
    let value: f64 = body.parse().map_err(|_| PgError::invalid_text("double precision", text))?;
    let named = body.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_alphabetic());
    let zero = Numeric::parse(body).is_some_and(|n| n.is_zero());
    if !named && (value.is_infinite() || (value == 0.0 && !zero)) {
        return Err(PgError::new("22003", format!("\"{body}\" is out of range for type double precision")));
    }
    Ok(value)
}

fn parse_float4(text: &str) -> PgResult<f32> {
    let body = float_body(text, "real")?;
    let value: f32 = body.parse().map_err(|_| PgError::invalid_text("real", text))?;
    let named = body.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_alphabetic());
    let zero = Numeric::parse(body).is_some_and(|n| n.is_zero());
    if !named && (value.is_infinite() || (value == 0.0 && !zero)) {
        return Err(PgError::new("22003", format!("\"{body}\" is out of range for type real")));
    }
    Ok(value)
}

fn parse_bytea(text: &str) -> PgResult<Vec<u8>> {
    let bad = |c: char| PgError::new("22023", format!("invalid hexadecimal digit: \"{c}\""));
    if let Some(hex) = text.strip_prefix("\\x") {
        let mut out = Vec::with_capacity(hex.len() / 2);
        let mut chars = hex.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r'));
        while let Some(high) = chars.next() {
            let h = high.to_digit(16).ok_or_else(|| bad(high))?;
            let low =
                chars.next().ok_or_else(|| PgError::new("22023", "invalid hexadecimal data: odd number of digits"))?;
            let l = low.to_digit(16).ok_or_else(|| bad(low))?;
            out.push(u8::try_from(h * 16 + l).unwrap_or(0));
        }
        return Ok(out);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
        } else if bytes.get(at + 1) == Some(&b'\\') {
            out.push(b'\\');
            at += 2;
        } else {
            let octal = bytes
                .get(at + 1..at + 4)
                .filter(|o| matches!(o[0], b'0'..=b'3') && o[1..].iter().all(|b| matches!(b, b'0'..=b'7')));
            let Some(o) = octal else {
                return Err(PgError::new("22P02", "invalid input syntax for type bytea"));
            };
            out.push((o[0] - b'0') * 64 + (o[1] - b'0') * 8 + (o[2] - b'0'));
            at += 4;
        }
    }
    Ok(out)
}

fn parse_uuid(text: &str) -> PgResult<String> {
    let bad = || PgError::invalid_text("uuid", text);
    let body = match text.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}').ok_or_else(bad)?,
        None => text,
    };
    let mut hex = String::with_capacity(36);
    let mut group = 0;
    for c in body.chars() {
        if c == '-' {
            // Hyphens are allowed after each group of four digits.
            if group == 0 || group % 4 != 0 || group == 32 || hex.ends_with('-') {
                return Err(bad());
            }
            hex.push('-');
        } else if c.is_ascii_hexdigit() && group < 32 {
            hex.push(c.to_ascii_lowercase());
            group += 1;
        } else {
            return Err(bad());
        }
    }
    if group != 32 {
        return Err(bad());
    }
    let d: String = hex.chars().filter(|c| *c != '-').collect();
    Ok(format!("{}-{}-{}-{}-{}", &d[..8], &d[8..12], &d[12..16], &d[16..20], &d[20..]))
}

fn parse_array(text: &str, element: &PgType, zone: &Zone) -> PgResult<Vec<Value>> {
    let bad = || PgError::new("22P02", format!("malformed array literal: \"{text}\""));
    let body = text.trim_matches(is_space);
    let inner = body.strip_prefix('{').and_then(|b| b.strip_suffix('}')).ok_or_else(bad)?;
    let mut items = Vec::new();
    if inner.trim_matches(is_space).is_empty() {
        return Ok(items);
    }
    let mut chars = inner.chars().peekable();
    loop {
        while chars.peek().is_some_and(|c| is_space(*c)) {
            chars.next();
        }
        let mut item = String::new();
        let mut quoted = false;
        let mut escaped = false;
        if chars.peek() == Some(&'"') {
            quoted = true;
            chars.next();
            loop {
                match chars.next().ok_or_else(bad)? {
                    '"' => break,
                    '\\' => item.push(chars.next().ok_or_else(bad)?),
                    c => item.push(c),
                }
            }
            while chars.peek().is_some_and(|c| is_space(*c)) {
                chars.next();
            }
            if !matches!(chars.peek(), None | Some(',')) {
                return Err(bad());
            }
        } else {
            while let Some(c) = chars.peek().copied() {
                match c {
                    ',' => break,
                    '{' | '}' => return Err(PgError::unsupported("multidimensional arrays are not supported")),
                    '"' => return Err(bad()),
                    '\\' => {
                        chars.next();
                        escaped = true;
                        item.push(chars.next().ok_or_else(bad)?);
                    }
                    _ => {
                        item.push(c);
                        chars.next();
                    }
                }
            }
            item.truncate(item.trim_end_matches(is_space).len());
            if item.is_empty() {
                return Err(bad());
            }
        }
        if !quoted && !escaped && item.eq_ignore_ascii_case("null") {
            items.push(Value::Null);
        } else {
            items.push(parse_value(&item, element, zone)?);
        }
        match chars.next() {
            None => return Ok(items),
            Some(',') => {}
            Some(_) => return Err(bad()),
        }
    }
}

/// What the text of a date or time said.
#[derive(Default)]
struct DateTimeParts {
    date: Option<i64>,
    time: Option<i64>,
    zone: Option<Zone>,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const MONTHS_FULL: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 14] = [
    "sun",
    "mon",
    "tue",
    "wed",
    "thu",
    "fri",
    "sat",
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// The number of a month by its English name.
pub fn month_number(word: &str) -> Option<i64> {
    MONTHS
        .iter()
        .position(|m| *m == word || (word == "sept" && *m == "sep"))
        .or_else(|| MONTHS_FULL.iter().position(|m| *m == word))
        .and_then(|i| i64::try_from(i + 1).ok())
}

/// Reads a date and/or time: ISO 8601 and its variants, `January 8, 1999`, `8 Jan 1999`, `1/8/1999` (month first), time with seconds,
/// fraction, AM/PM, and a zone as offset or name.
fn parse_parts(text: &str, type_name: &str) -> PgResult<DateTimeParts> {
    let bad = || PgError::invalid_datetime(type_name, text);
    let range = || PgError::datetime_overflow(format!("date/time field value out of range: \"{text}\""));
    let body = text.trim_matches(is_space);
    match body.to_ascii_lowercase().as_str() {
        "epoch" => return Ok(DateTimeParts { date: Some(0), time: Some(0), zone: Some(Zone::UTC) }),
        "infinity" | "-infinity" | "+infinity" => {
            return Err(PgError::unsupported(format!("{type_name} value \"{body}\" is not supported")));
        }
        "now" | "today" | "tomorrow" | "yesterday" | "allballs" => {
            return Err(PgError::unsupported(format!("special {type_name} input \"{body}\" is not supported"))
                .with_hint("Use now() or current_date."));
        }
        _ => {}
    }
    let mut parts = DateTimeParts::default();
    // Cut into words; the T of ISO 8601 between digits separates.
    let chars: Vec<char> = body.chars().collect();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for (i, c) in chars.iter().enumerate() {
        let iso_t = matches!(c, 'T' | 't')
            && word.len() >= 8
            && word.bytes().all(|b| b.is_ascii_digit() || b == b'-')
            && chars.get(i + 1).is_some_and(char::is_ascii_digit);
        if is_space(*c) || *c == ',' || iso_t {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(*c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let mut month_name: Option<i64> = None;
    let mut numbers: Vec<&str> = Vec::new();
    let mut pm: Option<bool> = None;
    for word in &words {
        let lower = word.to_ascii_lowercase();
        let first = lower.chars().next().ok_or_else(bad)?;
        if lower.contains(':') && first.is_ascii_digit() {
            if parts.time.is_some() {
                return Err(bad());
            }
            let (time, rest) = split_time(&lower);
            parts.time = Some(parse_clock(time).ok_or_else(|| if looks_like_clock(time) { range() } else { bad() })?);
            match rest {
                "" => {}
                "am" => pm = Some(false),
                "pm" => pm = Some(true),
                // The zone keeps the case of the input.
                _ => parts.zone = Some(parse_zone_suffix(&word[word.len() - rest.len()..]).ok_or_else(bad)?),
            }
        } else if first.is_ascii_digit() && (lower.contains('-') || lower.contains('/') || lower.contains('.')) {
            if parts.date.is_some() {
                return Err(bad());
            }
            let lower = match lower.strip_suffix('z') {
                Some(rest) => {
                    parts.zone = Some(Zone::UTC);
                    rest.to_owned()
                }
                None => lower,
            };
            parts.date = Some(parse_calendar(&lower).ok_or_else(bad)?.ok_or_else(range)?);
        } else if first.is_ascii_digit() && lower.bytes().all(|b| b.is_ascii_digit()) {
            if lower.len() == 8 && parts.date.is_none() && month_name.is_none() {
                parts.date = Some(parse_compact(&lower).ok_or_else(bad)?.ok_or_else(range)?);
            } else if lower.len() == 6 && parts.date.is_some() && parts.time.is_none() {
                let clock = format!("{}:{}:{}", &lower[..2], &lower[2..4], &lower[4..]);
                parts.time = Some(parse_clock(&clock).ok_or_else(range)?);
            } else {
                numbers.push(word);
            }
        } else if matches!(first, '+' | '-') && (parts.time.is_some() || parts.date.is_some()) {
            parts.zone = Some(Zone::Fixed(parse_offset(&lower).ok_or_else(bad)?));
        } else if let Some(month) = month_number(&lower) {
            if month_name.replace(month).is_some() {
                return Err(bad());
            }
        } else if DAYS.contains(&lower.as_str()) {
            // The name of the day says nothing that the date does not.
        } else if lower == "ad" {
        } else if lower == "bc" {
            return Err(PgError::unsupported(format!("{type_name} before year 1 is not supported: \"{body}\"")));
        } else if lower == "am" || lower == "pm" {
            pm = Some(lower == "pm");
        } else if parts.time.is_some() || parts.date.is_some() {
            let zone = Zone::parse(word).map_err(|_| {
                if word
                    .chars()
                    .all(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '_' | '+' | '-') || c.is_ascii_digit())
                    && word.contains('/')
                {
                    PgError::new("22023", format!("time zone \"{}\" not recognized", lower))
                } else {
                    bad()
                }
            })?;
            parts.zone = Some(zone);
        } else {
            return Err(bad());
        }
    }
    if let Some(month) = month_name {
        let [a, b] = numbers[..] else { return Err(bad()) };
        // `January 8 1999`, `8 Jan 1999`, `1999 Jan 8`.
        let (day, year) = if a.len() > 2 { (b, a) } else { (a, b) };
        let year: i64 = two_digit_year(year).ok_or_else(bad)?;
        let day: i64 = day.parse().map_err(|_| bad())?;
        if parts.date.is_some() {
            return Err(bad());
        }
        parts.date = Some(checked_date(year, month, day).ok_or_else(range)?);
    } else if !numbers.is_empty() {
        return Err(bad());
    }
    if let Some(pm) = pm {
        let time = parts.time.ok_or_else(bad)?;
        let hour = time / HOUR;
        if !(1..=12).contains(&hour) {
            return Err(range());
        }
        let hour12 = hour % 12 + if pm { 12 } else { 0 };
        parts.time = Some(hour12 * HOUR + time % HOUR);
    }
    if parts.date.is_none() && parts.time.is_none() {
        return Err(bad());
    }
    Ok(parts)
}

fn looks_like_clock(text: &str) -> bool {
    text.split(':').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// The clock at the start of a word and what follows it.
fn split_time(word: &str) -> (&str, &str) {
    let end = word.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.'))).unwrap_or(word.len());
    word.split_at(end)
}

fn parse_zone_suffix(text: &str) -> Option<Zone> {
    if let Some(seconds) = parse_offset(text) {
        return Some(Zone::Fixed(seconds));
    }
    Zone::parse(text).ok()
}

/// `12:34[:56[.789]]` as microseconds; 24:00:00 is allowed, second 60 rolls over.
fn parse_clock(text: &str) -> Option<i64> {
    let mut fields = text.split(':');
    let hour = fields.next()?;
    let minute = fields.next()?;
    let second = fields.next();
    if fields.next().is_some() || hour.len() > 2 || minute.len() > 2 {
        return None;
    }
    let hour: i64 = hour.parse().ok()?;
    let minute: i64 = minute.parse().ok()?;
    let micros = match second {
        None => 0,
        Some(text) => second_micros(text)?,
    };
    if hour > 24 || minute > 59 || micros > 60 * SECOND {
        return None;
    }
    let total = hour * HOUR + minute * MINUTE + micros;
    (total <= DAY).then_some(total)
}

/// `56.789` as microseconds, more than six digits rounded.
fn second_micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() > 2 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    if fraction.is_empty() {
        return Some(whole * SECOND);
    }
    let part: f64 = format!("0.{fraction}").parse().ok()?;
    Some(whole * SECOND + f64_to_i64((part * 1e6).round_ties_even())?)
}

fn two_digit_year(text: &str) -> Option<i64> {
    let year: i64 = text.parse().ok()?;
    Some(if text.len() <= 2 { if year < 70 { 2000 + year } else { 1900 + year } } else { year })
}

fn checked_date(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || !(1..=294_276).contains(&year) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

/// `2024-1-31`, `1/31/2024`, `2024/01/31`, `31-Jan-2024`. Outer `None`: not a date; inner: no such day.
#[expect(clippy::option_option, reason = "two kinds of refusal with different errors")]
fn parse_calendar(word: &str) -> Option<Option<i64>> {
    let separator = ['-', '/', '.'].into_iter().find(|s| word.contains(*s))?;
    let fields: Vec<&str> = word.split(separator).collect();
    let [a, b, c] = fields[..] else { return None };
    if a.is_empty() || b.is_empty() || c.is_empty() {
        return None;
    }
    if let Some(month) = month_number(b) {
        let (year, day) = if a.len() > 2 { (a, c) } else { (c, a) };
        return Some(checked_date(two_digit_year(year)?, month, day.parse().ok()?));
    }
    if ![a, b, c].iter().all(|f| f.bytes().all(|x| x.is_ascii_digit())) {
        return None;
    }
    let (year, month, day) = if a.len() > 2 { (a, b, c) } else { (c, a, b) };
    Some(checked_date(two_digit_year(year)?, month.parse().ok()?, day.parse().ok()?))
}

/// `20240131`.
#[expect(clippy::option_option, reason = "two kinds of refusal with different errors")]
fn parse_compact(word: &str) -> Option<Option<i64>> {
    Some(checked_date(word[..4].parse().ok()?, word[4..6].parse().ok()?, word[6..].parse().ok()?))
}

/// A date; a time or zone after it is read and dropped, as PostgreSQL does.
///
/// # Errors
/// 22007, 22008.
pub fn parse_date(text: &str) -> PgResult<i32> {
    let parts = parse_parts(text, "date")?;
    check_date(parts.date.ok_or_else(|| PgError::invalid_datetime("date", text))?)
}

/// A time of day; a date before it and a zone after it are dropped.
///
/// # Errors
/// 22007, 22008.
pub fn parse_time(text: &str) -> PgResult<i64> {
    parse_parts(text, "time")?.time.ok_or_else(|| PgError::invalid_datetime("time", text))
}

/// A timestamp; a zone is read and dropped, as PostgreSQL does.
///
/// # Errors
/// 22007, 22008.
pub fn parse_timestamp(text: &str) -> PgResult<i64> {
    let parts = parse_parts(text, "timestamp")?;
    let date = parts.date.ok_or_else(|| PgError::invalid_datetime("timestamp", text))?;
    timestamp_from(date, parts.time.unwrap_or(0))
        .map_err(|_| PgError::datetime_overflow(format!("timestamp out of range: \"{text}\"")))
}

/// A timestamptz; without a zone of its own it is read in `zone`.
///
/// # Errors
/// 22007, 22008.
pub fn parse_timestamptz(text: &str, zone: &Zone) -> PgResult<i64> {
    let parts = parse_parts(text, "timestamp with time zone")?;
    let date = parts.date.ok_or_else(|| PgError::invalid_datetime("timestamp with time zone", text))?;
    let out = |_| PgError::datetime_overflow(format!("timestamp out of range: \"{text}\""));
    let local = timestamp_from(date, parts.time.unwrap_or(0)).map_err(out)?;
    from_local(local, &parts.zone.unwrap_or(*zone))
}

/// Exact micro-units: a decimal number times a factor, rounded half to even as PostgreSQL's double arithmetic does.
fn scaled(number: &Numeric, factor: i64) -> PgResult<i64> {
    number
        .mul(&Numeric::from(factor))
        .to_i64_rounded()
        .ok_or_else(|| PgError::new("22015", "interval field value out of range"))
}

/// An interval: `1 year 2 mons 3 days 04:05:06.7`, `@ 1 hour ago`, `1-2`, `3 4:05:06`, ISO 8601 `P1Y2M3DT4H5M6S`.
///
/// # Errors
/// 22007, 22015.
pub fn parse_interval(text: &str) -> PgResult<Interval> {
    let bad = || PgError::invalid_datetime("interval", text);
    let range = || PgError::new("22015", format!("interval field value out of range: \"{text}\""));
    let body = text.trim_matches(is_space);
    if body.is_empty() {
        return Err(bad());
    }
    if body.starts_with(['P', 'p']) {
        return parse_iso_interval(body).ok_or_else(bad)?.map_err(|_| range());
    }
    let lower = body.to_ascii_lowercase();
    if matches!(lower.as_str(), "infinity" | "-infinity") {
        return Err(bad());
    }
    let mut tokens: Vec<String> = Vec::new();
    for word in lower.split(is_space).filter(|w| !w.is_empty() && *w != "@") {
        let word = word.strip_prefix('@').unwrap_or(word);
        // `1day` is two tokens, `04:05:06` and `1-2` one; `1d2h` four.
        let mut current = String::new();
        let mut in_number = None;
        for c in word.chars() {
            let numeric = c.is_ascii_digit() || matches!(c, '.' | ':' | '+' | '-');
            if in_number.is_some_and(|n| n != numeric) {
                tokens.push(std::mem::take(&mut current));
            }
            in_number = Some(numeric);
            current.push(c);
        }
        tokens.push(current);
    }
    let mut months: i64 = 0;
    let mut days: i64 = 0;
    let mut micros: i64 = 0;
    let mut ago = false;
    let mut seen = false;
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        at += 1;
        if token == "ago" {
            if at != tokens.len() || !seen {
                return Err(bad());
            }
            ago = true;
            continue;
        }
        let negative = token.starts_with('-');
        if token.contains(':') {
            let clock = token.trim_start_matches(['-', '+']);
            let value = parse_interval_clock(clock).ok_or_else(bad)?;
            micros = micros.checked_add(if negative { -value } else { value }).ok_or_else(range)?;
            seen = true;
            continue;
        }
        let inner = token.trim_start_matches(['-', '+']);
        if let Some((years, rest)) = inner.split_once('-') {
            // SQL's year-month form.
            let years: i64 = years.parse().map_err(|_| bad())?;
            let rest: i64 = rest.parse().map_err(|_| bad())?;
            if rest >= 12 {
                return Err(range());
            }
            let value = years.checked_mul(12).and_then(|v| v.checked_add(rest)).ok_or_else(range)?;
            months += if negative { -value } else { value };
            seen = true;
            continue;
        }
        let number = Numeric::parse(token).ok_or_else(bad)?;
        seen = true;
        let unit = match tokens.get(at) {
            Some(word) if word.chars().all(|c| c.is_ascii_alphabetic()) && word != "ago" => {
                at += 1;
                unit_of(word).ok_or_else(bad)?
            }
            // A number before a clock counts days, at the end seconds.
            Some(next) if next.contains(':') => Unit::Day,
            Some(_) => return Err(bad()),
            None => Unit::Second,
        };
        add_interval_unit(&number, unit, &mut months, &mut days, &mut micros).ok_or_else(bad)?.map_err(|_| range())?;
    }
    if !seen {
        return Err(bad());
    }
    let interval = Interval {
        months: i32::try_from(months).map_err(|_| range())?,
        days: i32::try_from(days).map_err(|_| range())?,
        micros,
    };
    if ago { interval.neg() } else { Ok(interval) }
}

fn parse_interval_clock(text: &str) -> Option<i64> {
    let fields: Vec<&str> = text.split(':').collect();
    let micros = |t: &str| second_micros(t).filter(|m| *m < 60 * SECOND + 1);
    let (hour, minute, rest) = match fields[..] {
        // `mm:ss.f` where the second field has a fraction.
        [m, s] if s.contains('.') => (0, m.parse::<i64>().ok()?, micros(s)?),
        [h, m] => (h.parse::<i64>().ok()?, m.parse::<i64>().ok()?, 0),
        [h, m, s] => (h.parse::<i64>().ok()?, m.parse::<i64>().ok()?, micros(s)?),
        _ => return None,
    };
    if minute > 59 {
        return None;
    }
    hour.checked_mul(HOUR)?.checked_add(minute * MINUTE)?.checked_add(rest)
}

/// Adds `number unit`, fractions cascading: years to months, months to days (30), weeks to days, days to microseconds. `None`: not a unit of
/// intervals.
fn add_interval_unit(
    number: &Numeric,
    unit: Unit,
    months: &mut i64,
    days: &mut i64,
    micros: &mut i64,
) -> Option<PgResult<()>> {
    let mut add = || -> PgResult<()> {
        let range = || PgError::new("22015", "interval field value out of range");
        let whole = number.trunc_at(0);
        let fraction = number.sub(&whole);
        let count = whole.to_i64_rounded().ok_or_else(range)?;
        let add_to = |target: &mut i64, value: Option<i64>| -> PgResult<()> {
            *target = value.and_then(|v| target.checked_add(v)).ok_or_else(range)?;
            Ok(())
        };
        let day_fraction = |fraction: &Numeric, days: &mut i64, micros: &mut i64, factor: i64| -> PgResult<()> {
            let exact = fraction.mul(&Numeric::from(factor));
            let whole = exact.trunc_at(0);
            *days += whole.to_i64_rounded().ok_or_else(range)?;
            *micros = micros.checked_add(scaled(&exact.sub(&whole), DAY)?).ok_or_else(range)?;
            Ok(())
        };
        match unit {
            Unit::Microsecond => add_to(micros, number.to_i64_rounded()),
            Unit::Millisecond => add_to(micros, Some(scaled(number, 1000)?)),
            Unit::Second => add_to(micros, Some(scaled(number, SECOND)?)),
            Unit::Minute => add_to(micros, Some(scaled(number, MINUTE)?)),
            Unit::Hour => add_to(micros, Some(scaled(number, HOUR)?)),
            Unit::Day => {
                add_to(days, Some(count))?;
                day_fraction(&fraction, days, micros, 1)
            }
            Unit::Week => {
                add_to(days, count.checked_mul(7))?;
                day_fraction(&fraction, days, micros, 7)
            }
            Unit::Month => {
                add_to(months, Some(count))?;
                day_fraction(&fraction, days, micros, 30)
            }
            Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium => {
                let factor = match unit {
                    Unit::Year => 12,
                    Unit::Decade => 120,
                    Unit::Century => 1200,
                    _ => 12_000,
                };
                add_to(months, count.checked_mul(factor))?;
                add_to(months, Some(scaled(&fraction, factor)?))
            }
            _ => Err(range()),
        }
    };
    if matches!(
        unit,
        Unit::Quarter
            | Unit::Dow
            | Unit::Isodow
            | Unit::Doy
            | Unit::Isoyear
            | Unit::Epoch
            | Unit::Julian
            | Unit::Timezone
            | Unit::TimezoneHour
            | Unit::TimezoneMinute
    ) {
        return None;
    }
    Some(add())
}

/// `P1Y2M3W4DT5H6M7.8S`.
fn parse_iso_interval(text: &str) -> Option<PgResult<Interval>> {
    let mut months = 0;
    let mut days = 0;
    let mut micros = 0;
    let mut in_time = false;
    let mut number = String::new();
    let mut seen = false;
    for c in text.chars().skip(1) {
        match c.to_ascii_uppercase() {
            'T' if !in_time && number.is_empty() => in_time = true,
            '0'..='9' | '.' | '-' | '+' => number.push(c),
            designator => {
                let unit = match (designator, in_time) {
                    ('Y', false) => Unit::Year,
                    ('M', false) => Unit::Month,
                    ('W', false) => Unit::Week,
                    ('D', false) => Unit::Day,
                    ('H', true) => Unit::Hour,
                    ('M', true) => Unit::Minute,
                    ('S', true) => Unit::Second,
                    _ => return None,
                };
                let value = Numeric::parse(&std::mem::take(&mut number))?;
                if let Err(error) = add_interval_unit(&value, unit, &mut months, &mut days, &mut micros)? {
                    return Some(Err(error));
                }
                seen = true;
            }
        }
    }
    if !number.is_empty() || !seen {
        return None;
    }
    let out = |_| PgError::new("22015", "interval field value out of range");
    Some(
        i32::try_from(months)
            .map_err(out)
            .and_then(|months| Ok(Interval { months, days: i32::try_from(days).map_err(out)?, micros })),
    )
}
