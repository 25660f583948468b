//! Parameters as PostgreSQL's binary values, each with its type said.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::scalar::ScalarValue;
use tokio_postgres::types::{IsNull, ToSql, Type};

/// One parameter.
#[derive(Debug)]
pub(super) struct Bound<'a>(pub(super) &'a ScalarValue);

/// The type that a parameter is sent as; None where PostgreSQL has no type for it.
pub(super) fn type_of(value: &ScalarValue) -> Option<Type> {
    type_of_arrow(&value.data_type())
}

fn type_of_arrow(arrow: &DataType) -> Option<Type> {
    Some(match arrow {
        // PostgreSQL finds the type of an untyped NULL by itself.
        DataType::Null => Type::UNKNOWN,
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Type::INT2,
        DataType::Int32 | DataType::UInt16 => Type::INT4,
        DataType::Int64 | DataType::UInt32 => Type::INT8,
        DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..) => Type::NUMERIC,
        DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::TEXT,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::BYTEA,
        DataType::Date32 => Type::DATE,
        DataType::Time64(TimeUnit::Microsecond) => Type::TIME,
        DataType::Timestamp(TimeUnit::Microsecond, None) => Type::TIMESTAMP,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::MonthDayNano) => Type::INTERVAL,
        DataType::List(item) => match type_of_arrow(item.data_type())? {
            Type::BOOL => Type::BOOL_ARRAY,
            Type::INT2 => Type::INT2_ARRAY,
            Type::INT4 => Type::INT4_ARRAY,
            Type::INT8 => Type::INT8_ARRAY,
            Type::NUMERIC => Type::NUMERIC_ARRAY,
            Type::FLOAT4 => Type::FLOAT4_ARRAY,
            Type::FLOAT8 => Type::FLOAT8_ARRAY,
            Type::TEXT => Type::TEXT_ARRAY,
            Type::BYTEA => Type::BYTEA_ARRAY,
            Type::DATE => Type::DATE_ARRAY,
            Type::TIME => Type::TIME_ARRAY,
            Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
            Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
            _ => return None,
        },
        _ => return None,
    })
}

impl ToSql for Bound<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        put(self.0, out)
    }

    fn accepts(_: &Type) -> bool {
        // The type was chosen by `type_of` for this very value.
        true
    }

    fn to_sql_checked(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(wanted, out)
    }
}

const MICROSECONDS_TO_2000: i64 = 10_957 * 86_400_000_000;

fn put(value: &ScalarValue, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
    if value.is_null() {
        return Ok(IsNull::Yes);
    }
    match value {
        ScalarValue::Boolean(Some(value)) => out.put_u8(u8::from(*value)),
        ScalarValue::Int8(Some(value)) => out.put_i16((*value).into()),
        ScalarValue::Int16(Some(value)) => out.put_i16(*value),
        ScalarValue::UInt8(Some(value)) => out.put_i16((*value).into()),
        ScalarValue::Int32(Some(value)) => out.put_i32(*value),
        ScalarValue::UInt16(Some(value)) => out.put_i32((*value).into()),
        ScalarValue::Int64(Some(value)) => out.put_i64(*value),
        ScalarValue::UInt32(Some(value)) => out.put_i64((*value).into()),
        ScalarValue::UInt64(Some(value)) => put_numeric(&value.to_string(), 0, out)?,
        ScalarValue::Decimal128(Some(value), _, scale) => put_numeric(&value.to_string(), *scale, out)?,
        ScalarValue::Decimal256(Some(value), _, scale) => put_numeric(&value.to_string(), *scale, out)?,
        ScalarValue::Float32(Some(value)) => out.put_f32(*value),
        ScalarValue::Float64(Some(value)) => out.put_f64(*value),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            out.put_slice(text.as_bytes());
        }
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => {
            out.put_slice(bytes);
        }
        ScalarValue::Date32(Some(days)) => out.put_i32(days.checked_sub(10_957).ok_or("a date out of range")?),
        ScalarValue::Time64Microsecond(Some(time)) => out.put_i64(*time),
        ScalarValue::TimestampMicrosecond(Some(time), _) => {
            out.put_i64(time.checked_sub(MICROSECONDS_TO_2000).ok_or("a timestamp out of range")?);
        }
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            if interval.nanoseconds % 1000 != 0 {
                return Err("an interval finer than microseconds".into());
            }
            out.put_i64(interval.nanoseconds / 1000);
            out.put_i32(interval.days);
            out.put_i32(interval.months);
        }
        ScalarValue::List(list) => {
            let elements = list.value(0);
            let element_type = type_of_arrow(elements.data_type()).ok_or("an array of a type without a name")?;
            out.put_i32(1);
            out.put_i32(i32::from(elements.null_count() > 0));
            out.put_u32(element_type.oid());
            out.put_i32(i32::try_from(elements.len())?);
            out.put_i32(1);
            for index in 0..elements.len() {
                let element = ScalarValue::try_from_array(&elements, index)?;
                let size_at = out.len();
                out.put_i32(-1);
                if matches!(put(&element, out)?, IsNull::No) {
                    let size = i32::try_from(out.len() - size_at - 4)?;
                    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
                }
            }
        }
        other => return Err(format!("a parameter of type {}", other.data_type()).into()),
    }
    Ok(IsNull::No)
}

/// Writes the number whose digits, without a point, are `unscaled`.
fn put_numeric(unscaled: &str, scale: i8, out: &mut BytesMut) -> Result<(), Box<dyn Error + Sync + Send>> {
    let scale = usize::try_from(scale).map_err(|_| "a number with a negative scale")?;
    let (negative, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, unscaled),
    };
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    // Groups of four on both sides of the point.
    let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let digits = format!("{whole}{fraction}");
    let groups =
        digits.as_bytes().chunks(4).map(|group| group.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0')));
    out.put_i16(i16::try_from(digits.len() / 4)?);
    out.put_i16(i16::try_from(whole.len() / 4)? - 1);
    out.put_u16(if negative { 0x4000 } else { 0 });
    out.put_i16(i16::try_from(scale)?);
    groups.for_each(|group| out.put_i16(group));
    Ok(())
}
