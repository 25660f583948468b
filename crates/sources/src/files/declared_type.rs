//! The types that the columns of text files can have, and how their cells are read: exactly, or not at all.

use std::borrow::Cow;
use std::collections::HashMap;

use belvedere_functions::{PG_TYPE, PG_TYPMOD, numeric_typmod};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, TimeUnit};
use serde::de::IgnoredAny;

use crate::calendar::point_in_time;
use crate::column_reader::{
    BadValue, BoxedReader, MICROSECONDS_A_DAY, ReadDecimal, binary_reader, boolean_reader, date_reader, decimal_reader,
    float_reader, integer_reader, text_reader, time_reader, timestamp_reader,
};
use crate::exact::{ExactDecimal, decimal_from_text};

/// A column type as the configuration declares it, or as the file's cells suggest it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeclaredType {
    Boolean,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// None: a bare `numeric`.
    Numeric(Option<(u8, u8)>),
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Uuid,
    Json,
    Jsonb,
}

impl DeclaredType {
    /// Reads a type as PostgreSQL writes it: `numeric(12,2)`, `timestamp with time zone`; None where there is no such type, or
    /// none that a text file can hold.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (name, arguments) = match text.split_once('(') {
            None => (text.as_str(), None),
            Some((name, rest)) => {
                let (arguments, after) = rest.split_once(')')?;
                // `timestamp(6) with time zone`, `varchar(20)`.
                let arguments = arguments.split(',').map(|number| number.trim().parse::<u16>().ok());
                let arguments = arguments.collect::<Option<Vec<u16>>>()?;
                if !after.trim().is_empty() {
                    return Self::parse(&format!("{} {}", name.trim(), after.trim()));
                }
                (name.trim(), Some(arguments))
            }
        };
        Some(match (name, arguments.as_deref()) {
            ("boolean" | "bool", None) => Self::Boolean,
            ("smallint" | "int2", None) => Self::Int2,
            ("integer" | "int" | "int4", None) => Self::Int4,
            ("bigint" | "int8", None) => Self::Int8,
            ("real" | "float4", None) => Self::Float4,
            ("double precision" | "float8" | "float" | "double", None) => Self::Float8,
            ("numeric" | "decimal", None) => Self::Numeric(None),
            ("numeric" | "decimal", Some([precision])) => Self::numeric(*precision, 0)?,
            ("numeric" | "decimal", Some([precision, scale])) => Self::numeric(*precision, *scale)?,
            ("text" | "string", None) => Self::Text,
            ("varchar" | "character varying" | "char" | "character", None | Some([_])) => Self::Text,
            ("bytea", None) => Self::Bytea,
            ("date", None) => Self::Date,
            ("time" | "time without time zone", None | Some([_])) => Self::Time,
            ("timestamp" | "timestamp without time zone", None | Some([_])) => Self::Timestamp,
            ("timestamptz" | "timestamp with time zone", None | Some([_])) => Self::Timestamptz,
            ("uuid", None) => Self::Uuid,
            ("json", None) => Self::Json,
            ("jsonb", None) => Self::Jsonb,
            _ => return None,
        })
    }

    fn numeric(precision: u16, scale: u16) -> Option<Self> {
        let (precision, scale) = (u8::try_from(precision).ok()?, u8::try_from(scale).ok()?);
        (1..=76).contains(&precision).then_some(())?;
        (scale <= precision).then_some(Self::Numeric(Some((precision, scale))))
    }

    /// The type that all of `cells` fit, the most telling one first; text where there is none, or no cell.
    ///
    /// Numbers with leading zeros are text: they are codes, and would lose their zeros.
    pub(super) fn of_cells<'a>(cells: impl Iterator<Item = &'a str> + Clone) -> Self {
        let all = |fits: fn(&str) -> bool| cells.clone().next().is_some() && cells.clone().all(fits);
        if all(|cell| matches!(cell, "true" | "false")) {
            Self::Boolean
        } else if all(|cell| cell.parse::<i64>().is_ok_and(|number| number.to_string() == cell)) {
            Self::Int8
        } else if all(is_plain_decimal) {
            Self::Numeric(None)
        } else if all(|cell| cell.len() == 10 && point_in_time(cell.as_bytes()).is_ok()) {
            Self::Date
        } else if all(|cell| point_in_time(cell.as_bytes()).is_ok()) {
            Self::Timestamp
        } else if all(|cell| cell.len() > 10 && instant(cell.as_bytes()).is_ok()) {
            Self::Timestamptz
        } else {
            Self::Text
        }
    }

    pub(super) fn field(self, name: &str) -> Field {
        let metadata = match self {
            Self::Uuid => Some((PG_TYPE, "uuid".to_owned())),
            Self::Json => Some((PG_TYPE, "json".to_owned())),
            Self::Jsonb => Some((PG_TYPE, "jsonb".to_owned())),
            Self::Numeric(Some((precision, scale))) => Some((PG_TYPMOD, numeric_typmod(precision, scale).to_string())),
            _ => None,
        };
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Field::new(name, self.data_type(), true).with_metadata(metadata)
    }

    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric(None) => DataType::Decimal256(76, 20),
            Self::Numeric(Some((precision, scale))) if precision <= 38 => DataType::Decimal128(precision, scale as i8),
            Self::Numeric(Some((precision, scale))) => DataType::Decimal256(precision, scale as i8),
            Self::Text | Self::Uuid | Self::Json | Self::Jsonb => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// Reads the cells of a column of this type.
    pub(super) fn reader(self) -> BoxedReader<[u8]> {
        let target = &self.data_type();
        let reader = match self {
            Self::Boolean => {
                boolean_reader(target, |cell: &[u8]| match trimmed(cell).to_ascii_lowercase().as_slice() {
                    b"true" | b"t" | b"yes" | b"y" | b"on" | b"1" => Ok(true),
                    b"false" | b"f" | b"no" | b"n" | b"off" | b"0" => Ok(false),
                    _ => Err(BadValue::new("text that is not a boolean")),
                })
            }
            Self::Int2 | Self::Int4 | Self::Int8 => integer_reader(target, |cell: &[u8]| {
                decimal_from_text::<Decimal128Type>(trimmed(cell), 38, 0).map_err(not_a_number)
            }),
            Self::Float4 => float_reader(target, |cell: &[u8]| float::<f32>(cell).map(f64::from)),
            Self::Float8 => float_reader(target, |cell: &[u8]| float::<f64>(cell)),
            Self::Numeric(_) => decimal_reader::<DecimalCell, [u8]>(target),
            Self::Text => text_reader(target, |cell: &[u8]| utf8(cell)),
            Self::Uuid => text_reader(target, |cell: &[u8]| uuid(cell).map(Cow::Owned)),
            Self::Json | Self::Jsonb => text_reader(target, |cell: &[u8]| {
                serde_json::from_slice::<IgnoredAny>(cell).map_err(|_| BadValue::new("text that is not json"))?;
                utf8(cell)
            }),
            // Hexadecimal, as PostgreSQL writes it; decoded beforehand by `bytea`.
            Self::Bytea => binary_reader(target, |cell: &[u8]| Ok(cell)),
            Self::Date => date_reader(target, |cell: &[u8]| match point_in_time(trimmed(cell))? {
                (day, 0) => Ok(day),
                _ => Err(BadValue::new("a timestamp that is not midnight")),
            }),
            Self::Time => time_reader(target, |cell: &[u8]| {
                let text = [b"1970-01-01 ", trimmed(cell)].concat();
                // `12:30` lacks its seconds.
                let text = if text.len() == 16 { [&text[..], b":00"].concat() } else { text };
                point_in_time(&text).map(|(_, of_day)| of_day).map_err(|_| BadValue::new("text that is not a time"))
            }),
            Self::Timestamp | Self::Timestamptz => timestamp_reader(target, |cell: &[u8]| instant(trimmed(cell))),
        };
        reader.expect("every declared type has a reader into its own Arrow type")
    }
}

/// The bytes of a cell of type `bytea`: `\x` and hexadecimal digits.
pub(super) fn bytea(cell: &[u8]) -> Result<Vec<u8>, BadValue> {
    let wrong = || BadValue::new("text that is not a bytea");
    let digits = cell.strip_prefix(b"\\x").filter(|digits| digits.len() % 2 == 0).ok_or_else(wrong)?;
    let digit = |byte: u8| (byte as char).to_digit(16).ok_or_else(wrong);
    digits.chunks(2).map(|pair| Ok((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
}

/// Digits with at most one point in between, without the leading zeros of a code.
fn is_plain_decimal(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole)
        && are_digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && whole.len() <= 56
        && fraction.trim_end_matches('0').len() <= 20
}

fn trimmed(cell: &[u8]) -> &[u8] {
    cell.trim_ascii()
}

fn utf8(cell: &[u8]) -> Result<Cow<'_, str>, BadValue> {
    std::str::from_utf8(cell).map(Cow::Borrowed).map_err(|_| BadValue::new("text that is not UTF-8"))
}

fn not_a_number(bad: BadValue) -> BadValue {
    if bad == BadValue::malformed() { BadValue::new("text that is not a number") } else { bad }
}

trait Float: std::str::FromStr {
    fn is_infinite(&self) -> bool;
}

impl Float for f32 {
    fn is_infinite(&self) -> bool {
        f32::is_infinite(*self)
    }
}

impl Float for f64 {
    fn is_infinite(&self) -> bool {
        f64::is_infinite(*self)
    }
}

fn float<T: Float>(cell: &[u8]) -> Result<T, BadValue> {
    let text = utf8(trimmed(cell))?;
    let number = text.parse::<T>().map_err(|_| BadValue::new("text that is not a number"))?;
    // "1e999" is not infinity, it is too much.
    if number.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(BadValue::new("a number outside of the type's range"));
    }
    Ok(number)
}

fn uuid(cell: &[u8]) -> Result<String, BadValue> {
    let wrong = || BadValue::new("text that is not a uuid");
    let text = utf8(trimmed(cell))?;
    let parts: Vec<&str> = text.split('-').collect();
    let shape = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]);
    if !shape || !parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(wrong());
    }
    Ok(text.to_ascii_lowercase())
}

/// Microseconds since 1970 of a timestamp; without an offset it is UTC.
fn instant(text: &[u8]) -> Result<i64, BadValue> {
    let offset_at = text.iter().skip(10).rposition(|byte| matches!(byte, b'+' | b'-' | b'Z' | b'z')).map(|at| at + 10);
    let (local, offset) = text.split_at(offset_at.unwrap_or(text.len()));
    let (day, of_day) = point_in_time(local.trim_ascii_end())?;
    let minutes = match offset {
        [] | [b'Z' | b'z'] => 0,
        [sign, hours @ ..] => {
            let digits: Vec<i64> = hours
                .iter()
                .filter(|byte| **byte != b':')
                .map(|byte| (*byte as char).to_digit(10).map(i64::from))
                .collect::<Option<_>>()
                .ok_or_else(|| BadValue::new("text that is not a date or timestamp"))?;
            let minutes = match digits[..] {
                [h0, h1] => (h0 * 10 + h1) * 60,
                [h0, h1, m0, m1] => (h0 * 10 + h1) * 60 + m0 * 10 + m1,
                _ => return Err(BadValue::new("text that is not a date or timestamp")),
            };
            if *sign == b'-' { -minutes } else { minutes }
        }
    };
    Ok(i64::from(day) * MICROSECONDS_A_DAY + of_day - minutes * 60_000_000)
}

/// A number written in decimal digits.
#[derive(Clone, Copy)]
struct DecimalCell;

impl ReadDecimal<[u8]> for DecimalCell {
    fn read<T: ExactDecimal>(cell: &[u8], precision: u8, scale: i8) -> Result<T::Native, BadValue> {
        decimal_from_text::<T>(trimmed(cell), precision, scale).map_err(not_a_number)
    }
}
