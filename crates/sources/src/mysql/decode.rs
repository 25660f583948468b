//! MySQL's values, each read exactly into the Arrow type that is asked for.

use std::borrow::Cow;

use datafusion::arrow::datatypes::DataType;
use mysql_async::Value;

use super::types::Meaning;
use crate::calendar::{calendar_day, microseconds, point_in_time};
use crate::column_reader::{
    BadValue, BoxedReader, MICROSECONDS_A_DAY, ReadDecimal, binary_reader, date_reader, decimal_reader, float_reader,
    integer_reader, text_reader, time_reader, timestamp_reader,
};
use crate::exact::{ExactDecimal, decimal_from_text};

/// A reader for values of `meaning`; None where `target` is no type for them.
pub(super) fn reader(meaning: Meaning, target: &DataType) -> Option<BoxedReader<Value>> {
    match meaning {
        Meaning::Integer(_) => integer_reader(target, |value: &Value| match value {
            Value::Int(number) => Ok((*number).into()),
            Value::UInt(number) => Ok((*number).into()),
            _ => Err(BadValue::malformed()),
        }),
        Meaning::Float | Meaning::Double => float_reader(target, |value: &Value| match value {
            Value::Float(number) => Ok((*number).into()),
            Value::Double(number) => Ok(*number),
            _ => Err(BadValue::malformed()),
        }),
        Meaning::Decimal { .. } => decimal_reader::<DecimalText, Value>(target),
        Meaning::Bit(bits) => match target {
            DataType::Utf8 => text_reader(target, move |value: &Value| bit_string(bytes(value)?, bits).map(Cow::Owned)),
            _ => integer_reader(target, |value: &Value| bit_number(bytes(value)?)),
        },
        Meaning::Date => date_reader(target, |value: &Value| match value {
            Value::Date(year, month, day, 0, 0, 0, 0) => calendar_day(*year, *month, *day),
            _ => Err(BadValue::malformed()),
        }),
        Meaning::Datetime | Meaning::Timestamp => timestamp_reader(target, |value: &Value| match value {
            Value::Date(year, month, day, hour, minute, second, micro) => microseconds(
                calendar_day(*year, *month, *day)?,
                (*hour).into(),
                (*minute).into(),
                (*second).into(),
                *micro,
            ),
            _ => Err(BadValue::malformed()),
        }),
        Meaning::Time => time_reader(target, |value: &Value| match value {
            Value::Time(false, 0, hour, minute, second, micro) => {
                microseconds(0, (*hour).into(), (*minute).into(), (*second).into(), *micro)
            }
            Value::Time(true, 0, 0, 0, 0, 0) => Ok(0),
            Value::Time(..) => Err(BadValue::new("a time outside of a day")),
            _ => Err(BadValue::malformed()),
        }),
        Meaning::Text => match target {
            DataType::Utf8 => text_reader(target, |value: &Value| text(value)),
            // Functions such as DATE_FORMAT give text where a point in time is meant.
            DataType::Date32 => date_reader(target, |value: &Value| match point_in_time(bytes(value)?)? {
                (days, 0) => Ok(days),
                _ => Err(BadValue::new("a timestamp that is not midnight")),
            }),
            DataType::Timestamp(..) => timestamp_reader(target, |value: &Value| {
                let (days, of_day) = point_in_time(bytes(value)?)?;
                Ok(i64::from(days) * MICROSECONDS_A_DAY + of_day)
            }),
            _ => None,
        },
        Meaning::Json | Meaning::Null => text_reader(target, |value: &Value| text(value)),
        Meaning::Binary => binary_reader(target, |value: &Value| bytes(value)),
    }
}

/// The bytes that a value took on its way, about.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len(),
        _ => 8,
    }
}

fn bytes(value: &Value) -> Result<&[u8], BadValue> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(BadValue::malformed()),
    }
}

fn text(value: &Value) -> Result<Cow<'_, str>, BadValue> {
    std::str::from_utf8(bytes(value)?).map(Cow::Borrowed).map_err(|_| BadValue::new("text that is not UTF-8"))
}

fn bit_number(bytes: &[u8]) -> Result<i128, BadValue> {
    if bytes.len() > 8 {
        return Err(BadValue::malformed());
    }
    Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | i128::from(*byte)))
}

fn bit_string(bytes: &[u8], bits: u32) -> Result<String, BadValue> {
    let number = bit_number(bytes)?;
    if bits > 64 || number >> bits != 0 {
        return Err(BadValue::malformed());
    }
    Ok(format!("{number:0width$b}", width = bits as usize))
}

/// MySQL's `decimal`, which travels as text.
#[derive(Clone, Copy)]
struct DecimalText;

impl ReadDecimal<Value> for DecimalText {
    fn read<T: ExactDecimal>(value: &Value, precision: u8, scale: i8) -> Result<T::Native, BadValue> {
        decimal_from_text::<T>(bytes(value)?, precision, scale)
    }
}
