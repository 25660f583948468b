//! Parameters as MySQL's values.

use datafusion::arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use datafusion::scalar::ScalarValue;
use mysql_async::Value;

/// The value to bind; None where MySQL has no such value.
///
/// Decimals and texts both travel as strings, which MySQL would compare as floats or by the session's collation: the statement
/// casts every parameter to the type that it means.
pub(super) fn bound(value: &ScalarValue) -> Option<Value> {
    if value.is_null() {
        return Some(Value::NULL);
    }
    Some(match value {
        ScalarValue::Boolean(Some(value)) => Value::Int((*value).into()),
        ScalarValue::Int8(Some(value)) => Value::Int((*value).into()),
        ScalarValue::Int16(Some(value)) => Value::Int((*value).into()),
        ScalarValue::Int32(Some(value)) => Value::Int((*value).into()),
        ScalarValue::Int64(Some(value)) => Value::Int(*value),
        ScalarValue::UInt8(Some(value)) => Value::UInt((*value).into()),
        ScalarValue::UInt16(Some(value)) => Value::UInt((*value).into()),
        ScalarValue::UInt32(Some(value)) => Value::UInt((*value).into()),
        ScalarValue::UInt64(Some(value)) => Value::UInt(*value),
        ScalarValue::Float32(Some(value)) if value.is_finite() => Value::Float(*value),
        ScalarValue::Float64(Some(value)) if value.is_finite() => Value::Double(*value),
        ScalarValue::Decimal128(Some(unscaled), _, scale) => decimal_text(&unscaled.to_string(), *scale)?,
        ScalarValue::Decimal256(Some(unscaled), _, scale) => decimal_text(&unscaled.to_string(), *scale)?,
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            Value::Bytes(text.as_bytes().to_vec())
        }
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => Value::Bytes(bytes.clone()),
        ScalarValue::Date32(Some(days)) => {
            let text = date32_to_datetime(*days)?.format("%Y %m %d 0 0 0 0").to_string();
            date_value(&text)?
        }
        ScalarValue::TimestampMicrosecond(Some(time), _) => {
            let text = timestamp_us_to_datetime(*time)?.format("%Y %m %d %H %M %S %6f").to_string();
            date_value(&text)?
        }
        ScalarValue::Time64Microsecond(Some(time)) => {
            let (seconds, micro) = (time / 1_000_000, u32::try_from(time % 1_000_000).ok()?);
            let part = |number: i64| u8::try_from(number).ok();
            Value::Time(false, 0, part(seconds / 3600)?, part(seconds / 60 % 60)?, part(seconds % 60)?, micro)
        }
        _ => return None,
    })
}

/// Year to microsecond, separated by blanks; None outside of MySQL's years.
fn date_value(parts: &str) -> Option<Value> {
    let mut parts = parts.split(' ');
    let year = parts.next()?.parse::<u16>().ok().filter(|year| (0..=9999).contains(year))?;
    let mut part = || parts.next()?.parse::<u32>().ok();
    let mut small = || u8::try_from(part()?).ok();
    let (month, day, hour, minute, second) = (small()?, small()?, small()?, small()?, small()?);
    Some(Value::Date(year, month, day, hour, minute, second, part()?))
}

fn decimal_text(unscaled: &str, scale: i8) -> Option<Value> {
    let scale = usize::try_from(scale).ok()?;
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", unscaled), |digits| ("-", digits));
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    Some(Value::Bytes(format!("{sign}{whole}{point}{fraction}").into_bytes()))
}
