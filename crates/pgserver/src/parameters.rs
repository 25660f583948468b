//! Bound values, text or binary, as Arrow scalars of the parameter's type.
//!
//! A value that cannot be held exactly is an error, never rounded (fractions of a second beyond microseconds are, as in
//! PostgreSQL).

use std::sync::Arc;

use bytes::Buf;
use datafusion::arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalUnit, TimeUnit, i256};
use datafusion::scalar::ScalarValue;
use postgres_types::{Kind, Type};

use belvedere_engine::SqlError;

use crate::calendar::{DAY_US, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_US, days_from_civil, days_in_month};
use crate::encode::BARE_NUMERIC;
use crate::guard::utf8;
use crate::messages::Format;
use crate::zone::Zone;

/// The scale of [`BARE_NUMERIC`].
const NUMERIC_SCALE: i64 = 20;
const NUMERIC_DIGITS: u32 = 76;

/// The Arrow type whose scalars stand for parameters of a PostgreSQL type. Types that are not listed travel as text.
pub(crate) fn arrow_type(pg_type: &Type) -> DataType {
    match *pg_type {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID | Type::XID | Type::CID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => BARE_NUMERIC,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => match pg_type.kind() {
            Kind::Array(element) => DataType::List(Arc::new(Field::new_list_field(arrow_type(element), true))),
            _ => DataType::Utf8,
        },
    }
}

/// One bound value.
///
/// # Errors
/// 22P02 (22007 for dates and times) for text that is not of the type, 22P03 for such binary, 22003 and 22008 for values out of
/// range, 22021 for text that is not UTF-8, 0A000 for values that PostgreSQL has and we do not.
pub(crate) fn decode(
    value: Option<&[u8]>,
    format: Format,
    pg_type: &Type,
    zone: &Zone,
) -> Result<ScalarValue, SqlError> {
    match (value, format) {
        (None, _) => null(pg_type),
        (Some(bytes), Format::Text) => decode_text(text(bytes)?, pg_type, zone),
        (Some(bytes), Format::Binary) => decode_binary(bytes, pg_type),
    }
}

fn null(pg_type: &Type) -> Result<ScalarValue, SqlError> {
    ScalarValue::try_from(&arrow_type(pg_type))
        .map_err(|_| SqlError::new("0A000", format!("parameters of type {pg_type} are not supported")))
}

/// UTF-8 without NUL.
fn text(bytes: &[u8]) -> Result<&str, SqlError> {
    if bytes.contains(&0) {
        return Err(SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    utf8(bytes)
}

fn invalid(type_name: &str, text: &str) -> SqlError {
    SqlError::new("22P02", format!("invalid input syntax for type {type_name}: \"{text}\""))
}

fn invalid_time(type_name: &str, text: &str) -> SqlError {
    SqlError::new("22007", format!("invalid input syntax for type {type_name}: \"{text}\""))
}

fn decode_text(text: &str, pg_type: &Type, zone: &Zone) -> Result<ScalarValue, SqlError> {
    Ok(match *pg_type {
        Type::BOOL => ScalarValue::Boolean(Some(boolean(text).ok_or_else(|| invalid("boolean", text))?)),
        Type::INT2 => ScalarValue::Int16(Some(integer(text, "smallint")?)),
        Type::INT4 => ScalarValue::Int32(Some(integer(text, "integer")?)),
        Type::INT8 => ScalarValue::Int64(Some(integer(text, "bigint")?)),
        Type::OID | Type::XID | Type::CID => ScalarValue::Int64(Some(i64::from(integer::<u32>(text, "oid")?))),
        Type::FLOAT4 => {
            let value: f32 = text.trim().parse().map_err(|_| invalid("real", text))?;
            check_float(text, f64::from(value), "real")?;
            ScalarValue::Float32(Some(plain_f32(value)))
        }
        Type::FLOAT8 => {
            let value: f64 = text.trim().parse().map_err(|_| invalid("double precision", text))?;
            check_float(text, value, "double precision")?;
            ScalarValue::Float64(Some(plain_f64(value)))
        }
        Type::NUMERIC => numeric_scalar(numeric_from_text(text)?),
        Type::BYTEA => ScalarValue::Binary(Some(bytea(text)?)),
        Type::DATE => {
            let moment = moment(text, "date")?;
            ScalarValue::Date32(Some(date32(moment.days)?))
        }
        Type::TIME => {
            let us = time_of_day(text.trim()).ok_or_else(|| {
                if text.contains(':')
                    && text.trim().bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
                {
                    SqlError::new("22008", format!("date/time field value out of range: \"{text}\""))
                } else {
                    invalid_time("time", text)
                }
            })?;
            ScalarValue::Time64Microsecond(Some(us))
        }
        Type::TIMESTAMP => {
            let moment = moment(text, "timestamp")?;
            ScalarValue::TimestampMicrosecond(Some(moment.local_us()?), None)
        }
        Type::TIMESTAMPTZ => {
            let moment = moment(text, "timestamp with time zone")?;
            let local = moment.local_us()?;
            let utc = moment.zone.as_ref().unwrap_or(zone).to_utc(local)?;
            ScalarValue::TimestampMicrosecond(Some(utc), Some("UTC".into()))
        }
        Type::INTERVAL => {
            let value = interval(text).ok_or_else(|| invalid_time("interval", text))?;
            ScalarValue::IntervalMonthDayNano(Some(value))
        }
        Type::UUID => {
            let bytes = uuid_bytes(text).ok_or_else(|| invalid("uuid", text))?;
            ScalarValue::Utf8(Some(uuid_text(&bytes)))
        }
        Type::JSON | Type::JSONB => {
            serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map_err(|_| SqlError::new("22P02", format!("invalid input syntax for type {pg_type}")))?;
            ScalarValue::Utf8(Some(text.to_owned()))
        }
        Type::BIT | Type::VARBIT => {
            if let Some(bad) = text.chars().find(|c| !matches!(c, '0' | '1')) {
                return Err(SqlError::new("22P02", format!("\"{bad}\" is not a valid binary digit")));
            }
            ScalarValue::Utf8(Some(text.to_owned()))
        }
        _ => match pg_type.kind() {
            Kind::Array(element) => {
                let elements = array_elements(text)?;
                let values: Result<Vec<_>, _> = elements
                    .into_iter()
                    .map(|value| match value {
                        Some(value) => decode_text(&value, element, zone),
                        None => null(element),
                    })
                    .collect();
                list(&values?, element)
            }
            _ => ScalarValue::Utf8(Some(text.to_owned())),
        },
    })
}

fn decode_binary(bytes: &[u8], pg_type: &Type) -> Result<ScalarValue, SqlError> {
    let incorrect = || SqlError::new("22P03", format!("incorrect binary data format for type {pg_type}"));
    Ok(match *pg_type {
        Type::BOOL => ScalarValue::Boolean(Some(u8::from_be_bytes(exact(bytes, &incorrect)?) != 0)),
        Type::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(exact(bytes, &incorrect)?))),
        Type::INT4 => ScalarValue::Int32(Some(i32::from_be_bytes(exact(bytes, &incorrect)?))),
        Type::INT8 => ScalarValue::Int64(Some(i64::from_be_bytes(exact(bytes, &incorrect)?))),
        Type::OID | Type::XID | Type::CID => {
            ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(exact(bytes, &incorrect)?))))
        }
        Type::FLOAT4 => ScalarValue::Float32(Some(plain_f32(f32::from_be_bytes(exact(bytes, &incorrect)?)))),
        Type::FLOAT8 => ScalarValue::Float64(Some(plain_f64(f64::from_be_bytes(exact(bytes, &incorrect)?)))),
        Type::NUMERIC => numeric_scalar(numeric_from_binary(bytes, &incorrect)?),
        Type::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
        Type::DATE => match i32::from_be_bytes(exact(bytes, &incorrect)?) {
            i32::MAX | i32::MIN => return Err(infinite("date")),
            days => ScalarValue::Date32(Some(date32(i64::from(days) + POSTGRES_EPOCH_DAYS)?)),
        },
        Type::TIME => match i64::from_be_bytes(exact(bytes, &incorrect)?) {
            us @ 0..=DAY_US => ScalarValue::Time64Microsecond(Some(us)),
            _ => return Err(SqlError::new("22008", "time out of range")),
        },
        Type::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(instant(bytes, "timestamp", &incorrect)?), None),
        Type::TIMESTAMPTZ => {
            let us = instant(bytes, "timestamp with time zone", &incorrect)?;
            ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into()))
        }
        Type::INTERVAL => {
            let mut bytes: &[u8] = &exact::<16>(bytes, &incorrect)?;
            let us = bytes.get_i64();
            let days = bytes.get_i32();
            let months = bytes.get_i32();
            let nanos = us.checked_mul(1_000).ok_or_else(|| SqlError::new("22008", "interval out of range"))?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos)))
        }
        Type::UUID => ScalarValue::Utf8(Some(uuid_text(&exact(bytes, &incorrect)?))),
        // One byte, of which zero stands for the empty value.
        Type::CHAR => match exact::<1>(bytes, &incorrect)? {
            [0] => ScalarValue::Utf8(Some(String::new())),
            byte => ScalarValue::Utf8(Some(utf8(&byte)?.to_owned())),
        },
        Type::JSONB => match bytes.split_first() {
            Some((1, rest)) => decode_text(text(rest)?, pg_type, &Zone::Utc)?,
            _ => return Err(incorrect()),
        },
        Type::BIT | Type::VARBIT => {
            let (length, rest) = bytes.split_at_checked(4).ok_or_else(incorrect)?;
            let length = usize::try_from(i32::from_be_bytes(exact(length, &incorrect)?)).map_err(|_| incorrect())?;
            if rest.len() != length.div_ceil(8) {
                return Err(incorrect());
            }
            let bit = |i: usize| if rest[i / 8] & (0x80 >> (i % 8)) == 0 { '0' } else { '1' };
            ScalarValue::Utf8(Some((0..length).map(bit).collect()))
        }
        _ => match pg_type.kind() {
            Kind::Array(element) => array_from_binary(bytes, element, &incorrect)?,
            // Text, names, JSON and enums have the same form in both formats.
            _ if is_textual(pg_type) => decode_text(text(bytes)?, pg_type, &Zone::Utc)?,
            _ => {
                return Err(SqlError::new("0A000", format!("binary parameters of type {pg_type} are not supported")));
            }
        },
    })
}

/// Types whose binary form is their text.
pub(crate) fn is_textual(pg_type: &Type) -> bool {
    matches!(*pg_type, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON | Type::UNKNOWN | Type::XML)
        || matches!(pg_type.kind(), Kind::Enum(_))
}

fn exact<const N: usize>(bytes: &[u8], incorrect: &impl Fn() -> SqlError) -> Result<[u8; N], SqlError> {
    bytes.try_into().map_err(|_| incorrect())
}

fn boolean(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if text == "1" || begins("true", 1) || begins("yes", 1) || text == "on" {
        Some(true)
    } else if text == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        Some(false)
    } else {
        None
    }
}

fn integer<T: TryFrom<i128>>(text: &str, type_name: &str) -> Result<T, SqlError> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(type_name, text));
    }
    trimmed
        .parse::<i128>()
        .ok()
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| SqlError::new("22003", format!("value \"{text}\" is out of range for type {type_name}")))
}

/// Rust turns too large numbers into infinity and too small ones into zero; PostgreSQL refuses them.
fn check_float(text: &str, value: f64, type_name: &str) -> Result<(), SqlError> {
    let mantissa = text.trim().split(['e', 'E']).next().unwrap_or_default();
    let too_large = value.is_infinite() && mantissa.bytes().any(|byte| byte.is_ascii_digit());
    let too_small = value == 0.0 && mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if too_large || too_small {
        let message = format!("\"{}\" is out of range for type {type_name}", text.trim());
        return Err(SqlError::new("22003", message));
    }
    Ok(())
}

/// No negative zero and one NaN, as everywhere inside.
fn plain_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

fn plain_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

fn numeric_scalar(value: i256) -> ScalarValue {
    ScalarValue::Decimal256(Some(value), NUMERIC_DIGITS as u8, NUMERIC_SCALE as i8)
}

fn numeric_out_of_range() -> SqlError {
    SqlError::new("22003", "numeric parameter out of range")
        .detail("Numeric parameters have up to 56 digits before the decimal point and 20 behind it.")
}

/// Ten to a small power, where it fits.
fn power_of_ten(exponent: i64) -> Option<i256> {
    let exponent = u32::try_from(exponent).ok().filter(|exponent| *exponent <= NUMERIC_DIGITS)?;
    i256::from_i128(10).checked_pow(exponent)
}

/// `digits` × 10^`exponent`, as an unscaled value of [`BARE_NUMERIC`].
fn scaled(digits: i256, exponent: i64) -> Result<i256, SqlError> {
    let shift = exponent + NUMERIC_SCALE;
    let value = if digits == i256::ZERO {
        Some(i256::ZERO)
    } else if shift >= 0 {
        power_of_ten(shift).and_then(|power| digits.checked_mul(power))
    } else {
        power_of_ten(-shift)
            .filter(|power| digits.wrapping_rem(*power) == i256::ZERO)
            .map(|power| digits.wrapping_div(power))
    };
    let limit = power_of_ten(i64::from(NUMERIC_DIGITS)).unwrap_or(i256::MAX);
    value.filter(|value| *value < limit && *value > limit.wrapping_neg()).ok_or_else(numeric_out_of_range)
}

fn numeric_from_text(text: &str) -> Result<i256, SqlError> {
    let error = || invalid("numeric", text);
    let trimmed = text.trim();
    let (negative, unsigned) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    if ["nan", "infinity", "inf"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
        return Err(SqlError::new("0A000", format!("numeric parameters cannot be {trimmed}")));
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(error());
            }
            (mantissa, exponent.parse::<i64>().ok().filter(|n| n.abs() < 100_000).ok_or_else(numeric_out_of_range)?)
        }
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    // Zeros at the end do not count against the limit.
    let zeros = digits().rev().take_while(|byte| *byte == b'0').count();
    let count = whole.len() + fraction.len() - zeros;
    let mut value = i256::ZERO;
    let ten = i256::from_i128(10);
    for byte in digits().take(count) {
        value = value
            .checked_mul(ten)
            .and_then(|value| value.checked_add(i256::from_i128(i128::from(byte - b'0'))))
            .ok_or_else(numeric_out_of_range)?;
    }
    let value = scaled(value, exponent - fraction.len() as i64 + zeros as i64)?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

fn numeric_from_binary(bytes: &[u8], incorrect: &impl Fn() -> SqlError) -> Result<i256, SqlError> {
    let (mut header, mut groups) = bytes.split_at_checked(8).ok_or_else(incorrect)?;
    let count = usize::from(header.get_u16());
    let weight = i64::from(header.get_i16());
    let sign = header.get_u16();
    if groups.len() != count * 2 {
        return Err(incorrect());
    }
    let negative = match sign {
        0 => false,
        0x4000 => true,
        0xC000 | 0xD000 | 0xF000 => return Err(SqlError::new("0A000", "numeric parameters cannot be NaN or infinite")),
        _ => return Err(incorrect()),
    };
    let mut value = i256::ZERO;
    for i in 0..count {
        let group = groups.get_u16();
        if group > 9_999 {
            return Err(incorrect());
        }
        let part = scaled(i256::from_i128(i128::from(group)), 4 * (weight - i as i64))?;
        value = value.checked_add(part).ok_or_else(numeric_out_of_range)?;
    }
    let value = scaled(value, -NUMERIC_SCALE)?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// `\x` and hexadecimal, or the older form with escapes.
fn bytea(text: &str) -> Result<Vec<u8>, SqlError> {
    let digit = |byte: u8| {
        (byte as char).to_digit(16).map(|digit| digit as u8).ok_or_else(|| {
            SqlError::new("22023", format!("invalid hexadecimal digit: \"{}\"", (byte as char).escape_default()))
        })
    };
    if let Some(hex) = text.strip_prefix("\\x") {
        let mut bytes = Vec::with_capacity(hex.len() / 2);
        let mut rest = hex.bytes().filter(|byte| !byte.is_ascii_whitespace());
        while let Some(high) = rest.next() {
            let high = digit(high)?;
            let low =
                rest.next().ok_or_else(|| SqlError::new("22023", "invalid hexadecimal data: odd number of digits"))?;
            bytes.push(high << 4 | digit(low)?);
        }
        return Ok(bytes);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'\\' {
            bytes.push(byte);
            rest = tail;
        } else if tail.first() == Some(&b'\\') {
            bytes.push(b'\\');
            rest = &tail[1..];
        } else {
            match tail {
                [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                    bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                    rest = &tail[3..];
                }
                _ => return Err(SqlError::new("22P02", "invalid input syntax for type bytea")),
            }
        }
    }
    Ok(bytes)
}

/// Hyphens may stand behind any group of four digits, braces around it all.
pub(crate) fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text = text.trim();
    let text = text.strip_prefix('{').map_or(Some(text), |inner| inner.strip_suffix('}'))?;
    let mut bytes = [0; 16];
    let mut digits = 0;
    let mut hyphen_before = false;
    for character in text.chars() {
        if character == '-' {
            if hyphen_before || digits == 0 || digits % 4 != 0 || digits == 32 {
                return None;
            }
            hyphen_before = true;
            continue;
        }
        hyphen_before = false;
        let digit = character.to_digit(16)? as u8;
        let byte = bytes.get_mut(digits / 2)?;
        *byte = *byte << 4 | digit;
        digits += 1;
    }
    (digits == 32).then_some(bytes)
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    text
}

fn infinite(type_name: &str) -> SqlError {
    SqlError::new("0A000", format!("infinite values of type {type_name} are not supported"))
}

fn date32(days: i64) -> Result<i32, SqlError> {
    i32::try_from(days).map_err(|_| SqlError::new("22008", "date out of range"))
}

fn instant(bytes: &[u8], type_name: &str, incorrect: &impl Fn() -> SqlError) -> Result<i64, SqlError> {
    match i64::from_be_bytes(exact(bytes, incorrect)?) {
        i64::MAX | i64::MIN => Err(infinite(type_name)),
        us => us.checked_add(POSTGRES_EPOCH_US).ok_or_else(|| SqlError::new("22008", "timestamp out of range")),
    }
}

/// A date, a time of day and perhaps a zone, as written.
struct Moment {
    days: i64,
    time_us: i64,
    zone: Option<Zone>,
}

impl Moment {
    fn local_us(&self) -> Result<i64, SqlError> {
        self.days
            .checked_mul(DAY_US)
            .and_then(|us| us.checked_add(self.time_us))
            .ok_or_else(|| SqlError::new("22008", "timestamp out of range"))
    }
}

/// ISO dates and times with what drivers add to them: `T`, fractions, `Z`, offsets, zone names, `BC`.
fn moment(text: &str, type_name: &str) -> Result<Moment, SqlError> {
    let error = || invalid_time(type_name, text);
    let mut rest = text.trim();
    if ["infinity", "-infinity", "+infinity"].iter().any(|word| rest.eq_ignore_ascii_case(word)) {
        return Err(infinite(type_name));
    }
    let mut before_christ = false;
    if let Some(head) = rest.len().checked_sub(3).and_then(|at| rest.split_at_checked(at))
        && (head.1.eq_ignore_ascii_case(" BC") || head.1.eq_ignore_ascii_case(" AD"))
    {
        before_christ = head.1.eq_ignore_ascii_case(" BC");
        rest = head.0.trim_end();
    }
    let end = rest.find([' ', 'T', 't']).unwrap_or(rest.len());
    let (date, tail) = rest.split_at(end);
    let days = ymd(date, before_christ).ok_or_else(|| {
        if date.len() >= 8 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            SqlError::new("22008", format!("date/time field value out of range: \"{text}\""))
        } else {
            error()
        }
    })?;
    let tail = tail.trim_start_matches([' ', 'T', 't']);
    let is_time = tail.split([' ', '+', '-', 'Z', 'z']).next().is_some_and(|head| head.contains(':'));
    let (time_us, zone) = if is_time {
        let end = tail.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.'))).unwrap_or(tail.len());
        let (time, zone) = tail.split_at(end);
        (time_of_day(time).ok_or_else(error)?, zone.trim())
    } else {
        (0, tail)
    };
    let zone = match zone {
        "" => None,
        zone => Some(zone_suffix(zone).ok_or_else(error)?),
    };
    Ok(Moment { days, time_us, zone })
}

fn ymd(date: &str, before_christ: bool) -> Option<i64> {
    let (year, month, day) = if date.contains('-') {
        let mut parts = date.split('-');
        let parts = (parts.next()?, parts.next()?, parts.next()?, parts.next());
        if parts.3.is_some() || parts.0.len() < 3 {
            return None;
        }
        (parts.0, parts.1, parts.2)
    } else {
        if date.len() != 8 || !date.is_ascii() {
            return None;
        }
        (&date[..4], &date[4..6], &date[6..])
    };
    let number = |text: &str| {
        (!text.is_empty() && text.len() <= 7 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<i64>().ok())
            .flatten()
    };
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    // There is no year zero: before 1 AD comes 1 BC.
    let year = if before_christ { 1 - year } else { year };
    if year == 0 && !before_christ {
        return None;
    }
    let month = u8::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    let day = u8::try_from(day).ok().filter(|day| (1..=days_in_month(year, month)).contains(day))?;
    Some(days_from_civil(year, month, day))
}

/// `HH:MM`, `HH:MM:SS` or with a fraction, in µs since midnight. 24:00:00 and a 60th second are let in, as in PostgreSQL.
fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let two = |text: &str| {
        ((1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<i64>().ok())
            .flatten()
    };
    let hours = two(parts.next()?)?;
    let minutes = two(parts.next()?)?;
    let (seconds, fraction) = match parts.next() {
        Some(seconds) => {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
            (two(whole)?, micros(fraction)?)
        }
        None => (0, 0),
    };
    if parts.next().is_some() || hours > 24 || minutes > 59 || seconds > 60 {
        return None;
    }
    let us = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction;
    (us <= DAY_US).then_some(us)
}

/// The digits behind the point of a second as µs, rounded.
fn micros(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digit = |i: usize| i64::from(fraction.as_bytes().get(i).map_or(0, |byte| byte - b'0'));
    let us = (0..6).fold(0, |us, i| us * 10 + digit(i));
    Some(us + i64::from(digit(6) >= 5))
}

/// `Z`, `+02`, `-0330`, `+05:30:15` or a zone's name.
fn zone_suffix(text: &str) -> Option<Zone> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => match Zone::from_setting(text) {
            Zone::Unknown(_) => return None,
            zone => return Some(zone),
        },
    };
    let digits = &text[1..];
    let parts: Vec<&str> = match digits.len() {
        4 if !digits.contains(':') && digits.is_ascii() => vec![&digits[..2], &digits[2..]],
        _ => digits.split(':').collect(),
    };
    let mut seconds = 0;
    for (i, part) in parts.iter().enumerate() {
        let fits = i < 3 && (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let value = part.parse::<i32>().ok().filter(|value| fits && *value < if i == 0 { 16 } else { 60 })?;
        seconds += value * [3_600, 60, 1][i];
    }
    Some(Zone::Fixed(sign * seconds))
}

/// Numbers with units, a time of day, or ISO 8601's `P…T…`; a sign counts for the number behind it.
fn interval(text: &str) -> Option<IntervalMonthDayNano> {
    let trimmed = text.trim();
    let mut total = Span::default();
    if let Some(iso) = trimmed.strip_prefix('P') {
        let mut in_time = false;
        let mut rest = iso;
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('T') {
                in_time = true;
                rest = tail;
                continue;
            }
            let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))?;
            let unit = rest[end..].chars().next()?;
            let unit = match (in_time, unit) {
                (false, 'Y') => "year",
                (false, 'M') => "mon",
                (false, 'W') => "week",
                (false, 'D') => "day",
                (true, 'H') => "hour",
                (true, 'M') => "min",
                (true, 'S') => "sec",
                _ => return None,
            };
            total.add(&rest[..end], unit)?;
            rest = &rest[end + 1..];
        }
        return (!iso.is_empty()).then(|| total.value()).flatten();
    }
    let (trimmed, ago) = match trimmed.strip_suffix("ago") {
        Some(head) => (head.trim_end(), true),
        None => (trimmed, false),
    };
    let mut words = trimmed.split_ascii_whitespace().peekable();
    words.peek()?;
    while let Some(word) = words.next() {
        let digits_end =
            word.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | ':'))).unwrap_or(word.len());
        let (number, unit) = word.split_at(digits_end);
        if number.contains(':') && unit.is_empty() {
            total.add_clock(number)?;
        } else if !unit.is_empty() {
            total.add(number, unit)?;
        } else {
            // A number alone counts seconds.
            total.add(number, words.next().unwrap_or("sec"))?;
        }
    }
    if ago {
        total = Span { months: -total.months, days: -total.days, us: -total.us };
    }
    total.value()
}

#[derive(Default)]
struct Span {
    months: i64,
    days: i64,
    us: i64,
}

impl Span {
    fn add(&mut self, number: &str, unit: &str) -> Option<()> {
        let (negative, digits) = match number.as_bytes().first()? {
            b'-' => (true, &number[1..]),
            b'+' => (false, &number[1..]),
            _ => (false, number),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
        let unit = unit.to_ascii_lowercase();
        let unit = unit.strip_suffix('s').filter(|unit| unit.len() > 1).unwrap_or(&unit);
        let sign = if negative { -1 } else { 1 };
        let fraction_us = |unit_us: i64| {
            let millionths = micros(fraction)?;
            unit_us.checked_mul(millionths).map(|us| us / 1_000_000)
        };
        let mut add_us = |unit_us: i64| {
            let us = whole.checked_mul(unit_us)?.checked_add(fraction_us(unit_us)?)?;
            self.us = self.us.checked_add(sign * us)?;
            Some(())
        };
        match unit {
            "microsecond" | "usec" | "us" if fraction.is_empty() => add_us(1)?,
            "millisecond" | "msec" | "ms" => add_us(1_000)?,
            "second" | "sec" | "s" => add_us(1_000_000)?,
            "minute" | "min" | "m" => add_us(60_000_000)?,
            "hour" | "hr" | "h" => add_us(3_600_000_000)?,
            "day" | "d" => {
                self.us = self.us.checked_add(sign * fraction_us(DAY_US)?)?;
                self.days = self.days.checked_add(sign * whole)?;
            }
            "week" | "w" if fraction.is_empty() => self.days = self.days.checked_add(sign * whole.checked_mul(7)?)?,
            "month" | "mon" if fraction.is_empty() => self.months = self.months.checked_add(sign * whole)?,
            "year" | "yr" | "y" if fraction.is_empty() => {
                self.months = self.months.checked_add(sign * whole.checked_mul(12)?)?;
            }
            "decade" if fraction.is_empty() => {
                self.months = self.months.checked_add(sign * whole.checked_mul(120)?)?;
            }
            "century" | "centurie" if fraction.is_empty() => {
                self.months = self.months.checked_add(sign * whole.checked_mul(1_200)?)?;
            }
            _ => return None,
        }
        Some(())
    }

    /// `HH:MM`, `HH:MM:SS.f` with any number of hours, or `MM:SS.f`.
    fn add_clock(&mut self, text: &str) -> Option<()> {
        let (sign, digits) = match text.as_bytes().first()? {
            b'-' => ("-", &text[1..]),
            b'+' => ("", &text[1..]),
            _ => ("", text),
        };
        let parts: Vec<&str> = digits.split(':').collect();
        let units: &[&str] = match parts.as_slice() {
            [_, seconds] if seconds.contains('.') => &["min", "sec"],
            [_, _] => &["hour", "min"],
            [_, _, _] => &["hour", "min", "sec"],
            _ => return None,
        };
        for (part, unit) in parts.iter().zip(units) {
            if !part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                return None;
            }
            self.add(&format!("{sign}{part}"), unit)?;
        }
        Some(())
    }

    fn value(&self) -> Option<IntervalMonthDayNano> {
        let months = i32::try_from(self.months).ok()?;
        let days = i32::try_from(self.days).ok()?;
        Some(IntervalMonthDayNano::new(months, days, self.us.checked_mul(1_000)?))
    }
}

fn list(values: &[ScalarValue], element: &Type) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list(values, &arrow_type(element), true))
}

/// The elements of a one-dimensional array's text, unquoted; `None` for NULL.
fn array_elements(text: &str) -> Result<Vec<Option<String>>, SqlError> {
    let malformed = || SqlError::new("22P02", format!("malformed array literal: \"{text}\""));
    let inner = text.trim();
    if inner.starts_with('[') {
        return Err(SqlError::new("0A000", "array parameters with explicit bounds are not supported"));
    }
    let inner = inner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).ok_or_else(malformed)?;
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Ok(elements);
    }
    let mut characters = inner.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let mut element = String::new();
        let mut quoted = false;
        if characters.next_if_eq(&'"').is_some() {
            quoted = true;
            loop {
                match characters.next().ok_or_else(malformed)? {
                    '"' => break,
                    '\\' => element.push(characters.next().ok_or_else(malformed)?),
                    other => element.push(other),
                }
            }
            while characters.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        } else {
            // Where the last character that was escaped ends: blanks behind it are cut off, it is not.
            let mut kept = 0;
            while let Some(&character) = characters.peek() {
                match character {
                    ',' => break,
                    '{' if element.is_empty() => {
                        return Err(SqlError::new(
                            "0A000",
                            "array parameters of more than one dimension are not supported",
                        ));
                    }
                    '{' | '}' | '"' => return Err(malformed()),
                    '\\' => {
                        characters.next();
                        element.push(characters.next().ok_or_else(malformed)?);
                        kept = element.len();
                        quoted = true;
                    }
                    other => {
                        characters.next();
                        element.push(other);
                    }
                }
            }
            let end = element.trim_end_matches(|c: char| c.is_ascii_whitespace()).len().max(kept);
            element.truncate(end);
            if element.is_empty() {
                return Err(malformed());
            }
        }
        elements.push(if !quoted && element.eq_ignore_ascii_case("NULL") { None } else { Some(element) });
        match characters.next() {
            None => return Ok(elements),
            Some(',') => {}
            Some(_) => return Err(malformed()),
        }
    }
}

fn array_from_binary(bytes: &[u8], element: &Type, incorrect: &impl Fn() -> SqlError) -> Result<ScalarValue, SqlError> {
    let (mut header, rest) = bytes.split_at_checked(12).ok_or_else(incorrect)?;
    let dimensions = header.get_i32();
    let flags = header.get_i32();
    let oid = header.get_u32();
    if !matches!(flags, 0 | 1) || oid != element.oid() {
        return Err(incorrect());
    }
    match dimensions {
        0 if rest.is_empty() => return Ok(list(&[], element)),
        1 => {}
        2..=6 => {
            return Err(SqlError::new("0A000", "array parameters of more than one dimension are not supported"));
        }
        _ => return Err(incorrect()),
    }
    let (mut dimension, mut rest) = rest.split_at_checked(8).ok_or_else(incorrect)?;
    let count = usize::try_from(dimension.get_i32()).map_err(|_| incorrect())?;
    // Each element has at least its length, so that a count cannot promise more than is there.
    if count > rest.len() / 4 {
        return Err(incorrect());
    }
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let (mut length, tail) = rest.split_at_checked(4).ok_or_else(incorrect)?;
        match length.get_i32() {
            -1 => {
                values.push(null(element)?);
                rest = tail;
            }
            length => {
                let length = usize::try_from(length).map_err(|_| incorrect())?;
                let (value, tail) = tail.split_at_checked(length).ok_or_else(incorrect)?;
                values.push(decode_binary(value, element)?);
                rest = tail;
            }
        }
    }
    if rest.is_empty() { Ok(list(&values, element)) } else { Err(incorrect()) }
}
