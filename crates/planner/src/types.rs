//! SQL type names to Arrow fields, as PostgreSQL reads them.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use belvedere_functions::{CastTarget, PG_TYPE, PgType};
use datafusion_sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlType, ExactNumberInfo, TimezoneInfo,
};

use crate::error::{PlanError, Result};

/// `numeric` without precision: every value is checked against these.
pub const BARE_NUMERIC: DataType = belvedere_functions::BARE_NUMERIC;

/// The zone in which stored instants live.
pub const UTC: &str = "UTC";

/// `timestamp with time zone`.
#[must_use]
pub fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

/// `timestamp without time zone`.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// What a cast to `sql_type` goes to, its length or digits included.
///
/// # Errors
/// As [`field_of`].
pub fn cast_target(sql_type: &SqlType) -> Result<CastTarget> {
    let field = field_of(sql_type)?;
    let pg =
        PgType::of_field(&field).ok_or_else(|| PlanError::unsupported(format!("type {sql_type} is not supported")))?;
    if field.data_type() == &BARE_NUMERIC {
        return Ok(CastTarget::from_type(pg));
    }
    let target = CastTarget::of_field(&field)
        .ok_or_else(|| PlanError::unsupported(format!("type {sql_type} is not supported")))?;
    let modifier = match sql_type {
        SqlType::Varchar(length)
        | SqlType::CharacterVarying(length)
        | SqlType::CharVarying(length)
        | SqlType::Char(length)
        | SqlType::Character(length) => match length {
            Some(CharacterLength::IntegerLength { length, .. }) => Some(*length),
            // char alone is char(1), as in PostgreSQL.
            None if matches!(sql_type, SqlType::Char(_) | SqlType::Character(_)) => Some(1),
            Some(CharacterLength::Max) | None => None,
        },
        SqlType::Timestamp(digits, _) | SqlType::Time(digits, _) => *digits,
        SqlType::Numeric(_) | SqlType::Decimal(_) | SqlType::Dec(_) => match field.data_type() {
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => u8::try_from(*scale)
                .ok()
                .and_then(|scale| u64::try_from(belvedere_functions::numeric_typmod(*precision, scale)).ok()),
            _ => None,
        },
        _ => None,
    };
    Ok(match modifier.and_then(|modifier| u32::try_from(modifier).ok()) {
        Some(modifier) => target.with_modifier(modifier),
        None => target,
    })
}

/// The type that a cast to `sql_type` gives.
///
/// # Errors
/// 42704 for a type that PostgreSQL does not have either, 0A000 for one that we do not.
pub fn field_of(sql_type: &SqlType) -> Result<Field> {
    let (data_type, pg_type): (DataType, Option<&str>) = match sql_type {
        SqlType::Bool | SqlType::Boolean => (DataType::Boolean, None),
        SqlType::SmallInt(None) | SqlType::Int2(None) => (DataType::Int16, None),
        SqlType::Int(None) | SqlType::Integer(None) | SqlType::Int4(None) => (DataType::Int32, None),
        SqlType::BigInt(None) | SqlType::Int8(None) => (DataType::Int64, None),
        SqlType::Real | SqlType::Float4 => (DataType::Float32, None),
        SqlType::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => (DataType::Float32, None),
        SqlType::Float8 | SqlType::DoublePrecision | SqlType::Float(_) | SqlType::Double(ExactNumberInfo::None) => {
            (DataType::Float64, None)
        }
        SqlType::Numeric(info) | SqlType::Decimal(info) | SqlType::Dec(info) => (numeric(info)?, None),
        SqlType::Text | SqlType::String(None) => (DataType::Utf8, None),
        SqlType::Varchar(_)
        | SqlType::CharacterVarying(_)
        | SqlType::CharVarying(_)
        | SqlType::Char(_)
        | SqlType::Character(_) => (DataType::Utf8, None),
        SqlType::Bytea => (DataType::Binary, None),
        SqlType::Date => (DataType::Date32, None),
        SqlType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            (DataType::Time64(TimeUnit::Microsecond), None)
        }
        SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => (timestamp(), None),
        SqlType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => (timestamptz(), None),
        SqlType::Interval { .. } => (DataType::Interval(IntervalUnit::MonthDayNano), None),
        SqlType::Uuid => (DataType::Utf8, Some("uuid")),
        SqlType::JSON => (DataType::Utf8, Some("json")),
        SqlType::JSONB => (DataType::Utf8, Some("jsonb")),
        SqlType::Array(ArrayElemTypeDef::SquareBracket(inner, None)) => {
            let inner = field_of(inner)?;
            (DataType::List(Field::new("item", inner.data_type().clone(), true).into()), None)
        }
        SqlType::Custom(name, _) => {
            let name = name.0.last().map(ToString::to_string).unwrap_or_default().replace('"', "").to_lowercase();
            match name.as_str() {
                "timestamptz" => (timestamptz(), None),
                "name" => (DataType::Utf8, Some("name")),
                "bpchar" => (DataType::Utf8, None),
                _ => return Err(PlanError::new("42704", format!("type \"{name}\" does not exist"))),
            }
        }
        other => return Err(PlanError::unsupported(format!("type {other} is not supported"))),
    };
    let field = Field::new("cast", data_type, true);
    Ok(match pg_type {
        Some(name) => field.with_metadata(HashMap::from([(PG_TYPE.to_owned(), name.to_owned())])),
        None => field,
    })
}

fn numeric(info: &ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(BARE_NUMERIC),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let out_of_range = || PlanError::new("22023", format!("NUMERIC precision {precision} must be between 1 and 76"));
    let precision = u8::try_from(precision).map_err(|_| out_of_range())?;
    let scale = i8::try_from(scale)
        .ok()
        .filter(|scale| (0..=precision as i8).contains(scale))
        .ok_or_else(|| PlanError::new("22023", format!("NUMERIC scale {scale} must be between 0 and precision")))?;
    match precision {
        1..=38 => Ok(DataType::Decimal128(precision, scale)),
        39..=76 => Ok(DataType::Decimal256(precision, scale)),
        _ => Err(out_of_range()),
    }
}
