//! PostgreSQL's binary values, each read exactly into the Arrow type that is asked for.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNano};

use super::types::Wire;
use crate::calendar::days_since_1970;
use crate::column_reader::{
    BadValue, BoxedReader, ColumnReader, MICROSECONDS_A_DAY, ReadDecimal, binary_reader, boolean_reader, date_reader,
    decimal_reader, float_reader, integer_reader, interval_reader, text_reader, time_reader, timestamp_reader,
};
use crate::exact::{ExactDecimal, decimal_from_groups};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const DAYS_TO_2000: i32 = 10_957;
const MICROSECONDS_TO_2000: i64 = DAYS_TO_2000 as i64 * MICROSECONDS_A_DAY;

/// The last year that both PostgreSQL's and our calendar arithmetic know.
const LAST_YEAR: i32 = 262_142;

/// A reader for values that look like `wire`; None where `target` is no type for them.
pub(super) fn reader(wire: &Wire, target: &DataType) -> Option<BoxedReader<[u8]>> {
    match wire {
        Wire::Bool => boolean_reader(target, |raw: &[u8]| match raw {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(BadValue::malformed()),
        }),
        Wire::Int2 => integer_reader(target, |raw: &[u8]| Ok(i16::from_be_bytes(sized(raw)?).into())),
        Wire::Int4 => integer_reader(target, |raw: &[u8]| Ok(i32::from_be_bytes(sized(raw)?).into())),
        Wire::Int8 => integer_reader(target, |raw: &[u8]| Ok(i64::from_be_bytes(sized(raw)?).into())),
        Wire::Oid => integer_reader(target, |raw: &[u8]| Ok(u32::from_be_bytes(sized(raw)?).into())),
        Wire::Float4 => float_reader(target, |raw: &[u8]| Ok(f32::from_be_bytes(sized(raw)?).into())),
        Wire::Float8 => float_reader(target, |raw: &[u8]| Ok(f64::from_be_bytes(sized(raw)?))),
        Wire::Numeric(_) => decimal_reader::<NumericBytes, [u8]>(target),
        Wire::Text | Wire::Json | Wire::Other => text_reader(target, |raw: &[u8]| utf8(raw)),
        Wire::Char => text_reader(target, |raw: &[u8]| match raw {
            // The type's way to say that there is no character.
            [0] => Ok(Cow::Borrowed("")),
            _ => utf8(raw),
        }),
        Wire::Jsonb => text_reader(target, |raw: &[u8]| match raw {
            [1, text @ ..] => utf8(text),
            _ => Err(BadValue::new("a jsonb value of an unknown version")),
        }),
        Wire::Bytea => binary_reader(target, |raw: &[u8]| Ok(raw)),
        Wire::Date => date_reader(target, |raw: &[u8]| date(i32::from_be_bytes(sized(raw)?))),
        Wire::Time => time_reader(target, |raw: &[u8]| match i64::from_be_bytes(sized(raw)?) {
            MICROSECONDS_A_DAY => Err(BadValue::new("the time 24:00:00")),
            time @ 0..MICROSECONDS_A_DAY => Ok(time),
            _ => Err(BadValue::malformed()),
        }),
        Wire::Timestamp | Wire::Timestamptz => {
            timestamp_reader(target, |raw: &[u8]| timestamp(i64::from_be_bytes(sized(raw)?)))
        }
        Wire::Interval => interval_reader(target, |raw: &[u8]| interval(sized(raw)?)),
        Wire::Uuid => text_reader(target, |raw: &[u8]| Ok(Cow::Owned(uuid(sized(raw)?)))),
        Wire::Bit => text_reader(target, |raw: &[u8]| bits(raw).map(Cow::Owned)),
        Wire::Array(element) => {
            let DataType::List(item) = target else { return None };
            let elements = reader(element, item.data_type())?;
            Some(Box::new(ListReader { item: Arc::clone(item), elements, ends: vec![0], valid: Vec::new() }))
        }
    }
}

fn sized<const N: usize>(raw: &[u8]) -> Result<[u8; N], BadValue> {
    raw.try_into().map_err(|_| BadValue::malformed())
}

fn utf8(raw: &[u8]) -> Result<Cow<'_, str>, BadValue> {
    std::str::from_utf8(raw).map(Cow::Borrowed).map_err(|_| BadValue::new("text that is not UTF-8"))
}

fn date(days: i32) -> Result<i32, BadValue> {
    match days {
        i32::MAX | i32::MIN => Err(BadValue::new("an infinite date")),
        days => match days.checked_add(DAYS_TO_2000) {
            Some(days) if Some(days) <= days_since_1970(LAST_YEAR, 12, 31) => Ok(days),
            _ => Err(BadValue::new("a date after the year 262142")),
        },
    }
}

fn timestamp(microseconds: i64) -> Result<i64, BadValue> {
    match microseconds {
        i64::MAX | i64::MIN => Err(BadValue::new("an infinite timestamp")),
        microseconds => match microseconds.checked_add(MICROSECONDS_TO_2000) {
            Some(since_1970)
                if Some(since_1970.div_euclid(MICROSECONDS_A_DAY))
                    <= days_since_1970(LAST_YEAR, 12, 31).map(i64::from) =>
            {
                Ok(since_1970)
            }
            _ => Err(BadValue::new("a timestamp after the year 262142")),
        },
    }
}

fn interval(raw: [u8; 16]) -> Result<IntervalMonthDayNano, BadValue> {
    let [a, b, c, d, e, f, g, h, days @ .., _, _, _, _] = raw;
    let [.., m0, m1, m2, m3] = raw;
    let (days, months) = (i32::from_be_bytes(days), i32::from_be_bytes([m0, m1, m2, m3]));
    let microseconds = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
    // PostgreSQL 17 writes infinite intervals as all fields at their limit.
    if (months, days, microseconds) == (i32::MAX, i32::MAX, i64::MAX)
        || (months, days, microseconds) == (i32::MIN, i32::MIN, i64::MIN)
    {
        return Err(BadValue::new("an infinite interval"));
    }
    let nanoseconds =
        microseconds.checked_mul(1000).ok_or_else(|| BadValue::new("an interval with more than 2562047 hours"))?;
    Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
}

fn uuid(raw: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(raw));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn bits(raw: &[u8]) -> Result<String, BadValue> {
    let (length, bytes) = raw.split_first_chunk::<4>().ok_or_else(BadValue::malformed)?;
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| BadValue::malformed())?;
    if bytes.len() != length.div_ceil(8) {
        return Err(BadValue::malformed());
    }
    Ok((0..length).map(|bit| if bytes[bit / 8] & (0x80 >> (bit % 8)) == 0 { '0' } else { '1' }).collect())
}

/// PostgreSQL's `numeric` in binary: digits to the base 10000.
#[derive(Clone, Copy)]
struct NumericBytes;

impl ReadDecimal<[u8]> for NumericBytes {
    fn read<T: ExactDecimal>(raw: &[u8], precision: u8, scale: i8) -> Result<T::Native, BadValue> {
        let (head, digits) = raw.split_first_chunk::<8>().ok_or_else(BadValue::malformed)?;
        let [n0, n1, w0, w1, s0, s1, _, _] = *head;
        let negative = match u16::from_be_bytes([s0, s1]) {
            0x0000 => false,
            0x4000 => true,
            0xC000 => return Err(BadValue::new("NaN")),
            0xD000 | 0xF000 => return Err(BadValue::new("an infinite number")),
            _ => return Err(BadValue::malformed()),
        };
        if digits.len() != 2 * usize::from(u16::from_be_bytes([n0, n1])) {
            return Err(BadValue::malformed());
        }
        let groups = digits.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        decimal_from_groups::<T>(groups, i16::from_be_bytes([w0, w1]).into(), negative, precision, scale)
    }
}

/// Reads one-dimensional arrays.
struct ListReader {
    item: FieldRef,
    elements: BoxedReader<[u8]>,
    /// Where each array ends among the elements; begins with 0.
    ends: Vec<i32>,
    valid: Vec<bool>,
}

impl ListReader {
    fn close(&mut self, added: usize, valid: bool) -> Result<(), BadValue> {
        let end = self.ends.last().copied().unwrap_or(0);
        let end = i32::try_from(added).ok().and_then(|added| end.checked_add(added));
        self.ends.push(end.ok_or_else(|| BadValue::new("an array with too many elements"))?);
        self.valid.push(valid);
        Ok(())
    }
}

impl ColumnReader<[u8]> for ListReader {
    fn append(&mut self, raw: &[u8]) -> Result<(), BadValue> {
        let mut rest = raw;
        let dimensions = take_i32(&mut rest)?;
        let (_has_nulls, _element_oid) = (take_i32(&mut rest)?, take_i32(&mut rest)?);
        let length = match dimensions {
            0 => 0,
            1 => {
                let length = usize::try_from(take_i32(&mut rest)?).map_err(|_| BadValue::malformed())?;
                if take_i32(&mut rest)? != 1 {
                    return Err(BadValue::new("an array whose first index is not 1"));
                }
                length
            }
            _ => return Err(BadValue::new("an array of more than one dimension")),
        };
        for _ in 0..length {
            match usize::try_from(take_i32(&mut rest)?) {
                Ok(size) => {
                    let (element, after) = rest.split_at_checked(size).ok_or_else(BadValue::malformed)?;
                    self.elements.append(element)?;
                    rest = after;
                }
                Err(_) if self.item.is_nullable() => self.elements.append_null(),
                Err(_) => return Err(BadValue::new("an array with a NULL element")),
            }
        }
        if !rest.is_empty() {
            return Err(BadValue::malformed());
        }
        self.close(length, true)
    }

    fn append_null(&mut self) {
        self.close(0, false).expect("adding nothing does not overflow");
    }

    fn finish(&mut self) -> ArrayRef {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        let valid = Some(NullBuffer::from(std::mem::take(&mut self.valid)));
        let elements = self.elements.finish();
        Arc::new(ListArray::new(Arc::clone(&self.item), OffsetBuffer::new(ScalarBuffer::from(ends)), elements, valid))
    }
}

fn take_i32(rest: &mut &[u8]) -> Result<i32, BadValue> {
    let (head, after) = rest.split_first_chunk::<4>().ok_or_else(BadValue::malformed)?;
    *rest = after;
    Ok(i32::from_be_bytes(*head))
}
