//! MySQL's values, each read exactly into the Arrow type that is asked for.

use std::borrow::Cow;

use datafusion::arrow::datatypes::DataType;
use mysql_async::Value;

use super::types::Meaning;
use crate::column_reader::{
    BadValue, BoxedReader, MICROSECONDS_A_DAY, ReadDecimal, binary_reader, date_reader, decimal_reader, float_reader,
    integer_reader, text_reader, time_reader, timestamp_reader,
};
use crate::exact::{ExactDecimal, days_since_1970, decimal_from_text};

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
            Value::Date(year, month, day, 0, 0, 0, 0) => days(*year, *month, *day),
            _ => Err(BadValue::malformed()),
        }),
        Meaning::Datetime | Meaning::Timestamp => timestamp_reader(target, |value: &Value| match value {
            Value::Date(year, month, day, hour, minute, second, micro) => {
                microseconds(days(*year, *month, *day)?, (*hour).into(), (*minute).into(), (*second).into(), *micro)
            }
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

fn days(year: u16, month: u8, day: u8) -> Result<i32, BadValue> {
    if (year, month, day) == (0, 0, 0) {
        return Err(BadValue::new("a zero date"));
    }
    if month == 0 || day == 0 {
        return Err(BadValue::new("a date with a zero month or day"));
    }
    days_since_1970(year.into(), month.into(), day.into())
        .ok_or_else(|| BadValue::new("a date that the calendar does not have"))
}

fn microseconds(days: i32, hour: i64, minute: i64, second: i64, micro: u32) -> Result<i64, BadValue> {
    if hour > 23 || minute > 59 || second > 59 || micro > 999_999 {
        return Err(BadValue::malformed());
    }
    Ok(i64::from(days) * MICROSECONDS_A_DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000 + i64::from(micro))
}

/// The day and the microseconds of it that a text means: `2024-02-29`, `2024-02-29 12:30:00` or with up to six decimals.
fn point_in_time(text: &[u8]) -> Result<(i32, i64), BadValue> {
    let wrong = || BadValue::new("text that is not a date or timestamp");
    let number = |digits: &[u8]| -> Result<u32, BadValue> {
        digits.iter().try_fold(0_u32, |sum, digit| match digit {
            b'0'..=b'9' => Ok(sum * 10 + u32::from(digit - b'0')),
            _ => Err(wrong()),
        })
    };
    let (date, time) = text.split_at_checked(10).ok_or_else(wrong)?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *date else { return Err(wrong()) };
    let year = u16::try_from(number(&[y0, y1, y2, y3])?).map_err(|_| wrong())?;
    let day = days(year, number(&[m0, m1])? as u8, number(&[d0, d1])? as u8)?;
    let (time, fraction) = match time {
        [] => return Ok((day, 0)),
        [b' ' | b'T', time @ ..] => time.split_at_checked(8).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    let [h0, h1, b':', n0, n1, b':', s0, s1] = *time else { return Err(wrong()) };
    let micro = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => number(digits)? * 10_u32.pow(6 - digits.len() as u32),
        _ => return Err(wrong()),
    };
    let of_day =
        microseconds(0, number(&[h0, h1])?.into(), number(&[n0, n1])?.into(), number(&[s0, s1])?.into(), micro)
            .map_err(|_| wrong())?;
    Ok((day, of_day))
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
