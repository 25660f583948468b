//! Readers that append a source's values to Arrow arrays: each value exact, or refused with the kind of value it is.
//!
//! `V` is a value as the driver hands it over: bytes for PostgreSQL, a tagged value for MySQL.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    UInt64Type,
};

use crate::exact::{ExactDecimal, decimal_from_i128, exact_f32, exact_f64};

/// A value that its column's Arrow type cannot hold exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadValue {
    /// As the object of "holds": `NaN`, `an infinite date`. Never the value itself.
    pub(crate) kind: Cow<'static, str>,
}

impl BadValue {
    pub(crate) fn new(kind: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: kind.into() }
    }

    /// For bytes that are not what the type's encoding says.
    pub(crate) fn malformed() -> Self {
        Self::new("a malformed value")
    }
}

/// Collects the values of one column.
pub(crate) trait ColumnReader<V: ?Sized>: Send {
    /// Appends a value that is not NULL; after an error the reader is not used again.
    fn append(&mut self, value: &V) -> Result<(), BadValue>;

    fn append_null(&mut self);

    /// The array of all values since the last call.
    fn finish(&mut self) -> ArrayRef;
}

pub(crate) type BoxedReader<V> = Box<dyn ColumnReader<V>>;

struct PrimitiveReader<T: ArrowPrimitiveType, F> {
    builder: PrimitiveBuilder<T>,
    decode: F,
}

impl<V: ?Sized, T, F> ColumnReader<V> for PrimitiveReader<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(&V) -> Result<T::Native, BadValue> + Send,
{
    fn append(&mut self, value: &V) -> Result<(), BadValue> {
        self.builder.append_value((self.decode)(value)?);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

struct BooleanReader<F> {
    builder: BooleanBuilder,
    decode: F,
}

impl<V: ?Sized, F> ColumnReader<V> for BooleanReader<F>
where
    F: Fn(&V) -> Result<bool, BadValue> + Send,
{
    fn append(&mut self, value: &V) -> Result<(), BadValue> {
        self.builder.append_value((self.decode)(value)?);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

struct TextReader<F> {
    builder: StringBuilder,
    decode: F,
}

impl<V: ?Sized, F> ColumnReader<V> for TextReader<F>
where
    F: for<'a> Fn(&'a V) -> Result<Cow<'a, str>, BadValue> + Send,
{
    fn append(&mut self, value: &V) -> Result<(), BadValue> {
        self.builder.append_value((self.decode)(value)?);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

struct BinaryReader<F> {
    builder: BinaryBuilder,
    decode: F,
}

impl<V: ?Sized, F> ColumnReader<V> for BinaryReader<F>
where
    F: for<'a> Fn(&'a V) -> Result<&'a [u8], BadValue> + Send,
{
    fn append(&mut self, value: &V) -> Result<(), BadValue> {
        self.builder.append_value((self.decode)(value)?);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

fn primitive<T, V: ?Sized + 'static>(
    data_type: &DataType,
    decode: impl Fn(&V) -> Result<T::Native, BadValue> + Send + 'static,
) -> BoxedReader<V>
where
    T: ArrowPrimitiveType,
{
    Box::new(PrimitiveReader::<T, _> {
        builder: PrimitiveBuilder::<T>::new().with_data_type(data_type.clone()),
        decode,
    })
}

/// Reads booleans as `target`: Boolean, or an integer 0 or 1.
pub(crate) fn boolean_reader<V: ?Sized + 'static>(
    target: &DataType,
    read: impl Fn(&V) -> Result<bool, BadValue> + Send + 'static,
) -> Option<BoxedReader<V>> {
    Some(match target {
        DataType::Boolean => Box::new(BooleanReader { builder: BooleanBuilder::new(), decode: read }),
        DataType::Int16 => primitive::<Int16Type, V>(target, move |value| Ok(i16::from(read(value)?))),
        DataType::Int32 => primitive::<Int32Type, V>(target, move |value| Ok(i32::from(read(value)?))),
        DataType::Int64 => primitive::<Int64Type, V>(target, move |value| Ok(i64::from(read(value)?))),
        _ => return None,
    })
}

/// Reads whole numbers as `target`: any number type that holds each value exactly, or Boolean for 0 and 1.
pub(crate) fn integer_reader<V: ?Sized + 'static>(
    target: &DataType,
    read: impl Fn(&V) -> Result<i128, BadValue> + Send + 'static,
) -> Option<BoxedReader<V>> {
    Some(match target {
        DataType::Boolean => Box::new(BooleanReader {
            builder: BooleanBuilder::new(),
            decode: move |value: &V| match read(value)? {
                0 => Ok(false),
                1 => Ok(true),
                _ => Err(BadValue::new("a number other than 0 and 1")),
            },
        }),
        DataType::Int8 => primitive::<Int8Type, V>(target, move |value| narrow(read(value)?)),
        DataType::Int16 => primitive::<Int16Type, V>(target, move |value| narrow(read(value)?)),
        DataType::Int32 => primitive::<Int32Type, V>(target, move |value| narrow(read(value)?)),
        DataType::Int64 => primitive::<Int64Type, V>(target, move |value| narrow(read(value)?)),
        DataType::UInt64 => primitive::<UInt64Type, V>(target, move |value| narrow(read(value)?)),
        DataType::Float32 => primitive::<Float32Type, V>(target, move |value| {
            let number = read(value)?;
            let float = number as f32;
            if float as i128 == number { Ok(float) } else { Err(BadValue::new("a number with too many digits")) }
        }),
        DataType::Float64 => primitive::<Float64Type, V>(target, move |value| {
            let number = read(value)?;
            let float = number as f64;
            if float as i128 == number { Ok(float) } else { Err(BadValue::new("a number with too many digits")) }
        }),
        &DataType::Decimal128(precision, scale) => primitive::<Decimal128Type, V>(target, move |value| {
            decimal_from_i128::<Decimal128Type>(read(value)?, precision, scale)
        }),
        &DataType::Decimal256(precision, scale) => primitive::<Decimal256Type, V>(target, move |value| {
            decimal_from_i128::<Decimal256Type>(read(value)?, precision, scale)
        }),
        _ => return None,
    })
}

/// How a source writes exact numbers with a fraction.
pub(crate) trait ReadDecimal<V: ?Sized>: Copy + Send + 'static {
    /// The number times 10^`scale`, when that is whole and has at most `precision` digits.
    fn read<T: ExactDecimal>(value: &V, precision: u8, scale: i8) -> Result<T::Native, BadValue>;
}

/// Reads exact numbers with a fraction as `target`: a decimal, or an integer where there is no fraction.
pub(crate) fn decimal_reader<R: ReadDecimal<V>, V: ?Sized + 'static>(target: &DataType) -> Option<BoxedReader<V>> {
    let whole = |value: &V| R::read::<Decimal128Type>(value, 38, 0);
    Some(match *target {
        DataType::Decimal128(precision, scale) if scale >= 0 => {
            primitive::<Decimal128Type, V>(target, move |value| R::read::<Decimal128Type>(value, precision, scale))
        }
        DataType::Decimal256(precision, scale) if scale >= 0 => {
            primitive::<Decimal256Type, V>(target, move |value| R::read::<Decimal256Type>(value, precision, scale))
        }
        _ => return integer_reader(target, whole),
    })
}

/// Reads `double precision` as `target`: a float that holds each value exactly. -0 becomes 0, every NaN the same one.
pub(crate) fn float_reader<V: ?Sized + 'static>(
    target: &DataType,
    read: impl Fn(&V) -> Result<f64, BadValue> + Send + 'static,
) -> Option<BoxedReader<V>> {
    Some(match target {
        DataType::Float32 => primitive::<Float32Type, V>(target, move |value| exact_f32(read(value)?)),
        DataType::Float64 => primitive::<Float64Type, V>(target, move |value| Ok(exact_f64(read(value)?))),
        _ => return None,
    })
}

/// Reads text.
pub(crate) fn text_reader<V: ?Sized + 'static>(
    target: &DataType,
    read: impl for<'a> Fn(&'a V) -> Result<Cow<'a, str>, BadValue> + Send + 'static,
) -> Option<BoxedReader<V>> {
    matches!(target, DataType::Utf8)
        .then(|| -> BoxedReader<V> { Box::new(TextReader { builder: StringBuilder::new(), decode: read }) })
}

/// Reads byte strings.
pub(crate) fn binary_reader<V: ?Sized + 'static>(
    target: &DataType,
    read: impl for<'a> Fn(&'a V) -> Result<&'a [u8], BadValue> + Send + 'static,
) -> Option<BoxedReader<V>> {
    matches!(target, DataType::Binary)
        .then(|| -> BoxedReader<V> { Box::new(BinaryReader { builder: BinaryBuilder::new(), decode: read }) })
}

/// Reads microseconds of a day.
pub(crate) fn time_reader<V: ?Sized + 'static>(
    target: &DataType,
    read: impl Fn(&V) -> Result<i64, BadValue> + Send + 'static,
) -> Option<BoxedReader<V>> {
    (*target == DataType::Time64(TimeUnit::Microsecond)).then(|| primitive::<Time64MicrosecondType, V>(target, read))
}

/// Reads points in time, in microseconds since 1970 (of the wall clock, or UTC), as a timestamp, or as a date where all are
/// midnights.
pub(crate) fn timestamp_reader<V: ?Sized + 'static>(
    target: &DataType,
    read: impl Fn(&V) -> Result<i64, BadValue> + Send + 'static,
) -> Option<BoxedReader<V>> {
    Some(match target {
        DataType::Timestamp(TimeUnit::Microsecond, None) => primitive::<TimestampMicrosecondType, V>(target, read),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if matches!(&**zone, "UTC" | "+00:00") => {
            primitive::<TimestampMicrosecondType, V>(target, read)
        }
        DataType::Date32 => primitive::<Date32Type, V>(target, move |value| {
            let microseconds = read(value)?;
            if microseconds % MICROSECONDS_A_DAY != 0 {
                return Err(BadValue::new("a timestamp that is not midnight"));
            }
            narrow(i128::from(microseconds / MICROSECONDS_A_DAY))
        }),
        _ => return None,
    })
}

/// Reads days since 1970 as a date, or as the timestamp of its midnight.
pub(crate) fn date_reader<V: ?Sized + 'static>(
    target: &DataType,
    read: impl Fn(&V) -> Result<i32, BadValue> + Send + 'static,
) -> Option<BoxedReader<V>> {
    if *target == DataType::Date32 {
        return Some(primitive::<Date32Type, V>(target, read));
    }
    let midnight = move |value: &V| {
        i64::from(read(value)?)
            .checked_mul(MICROSECONDS_A_DAY)
            .ok_or_else(|| BadValue::new("a date too far from now for a timestamp"))
    };
    timestamp_reader(target, midnight)
}

/// Reads intervals.
pub(crate) fn interval_reader<V: ?Sized + 'static>(
    target: &DataType,
    read: impl Fn(&V) -> Result<<IntervalMonthDayNanoType as ArrowPrimitiveType>::Native, BadValue> + Send + 'static,
) -> Option<BoxedReader<V>> {
    (*target == DataType::Interval(IntervalUnit::MonthDayNano))
        .then(|| primitive::<IntervalMonthDayNanoType, V>(target, read))
}

pub(crate) const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

fn narrow<T: TryFrom<i128>>(number: i128) -> Result<T, BadValue> {
    T::try_from(number).map_err(|_| BadValue::new("a number outside of the type's range"))
}
