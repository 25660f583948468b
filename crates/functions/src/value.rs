//! One SQL value, and the way between Arrow arrays and values.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Decimal128Array, Decimal256Array, ListArray,
    PrimitiveArray, StringBuilder, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion_common::{Result, ScalarValue, internal_err};
use num_traits::ToPrimitive;

use crate::datetime::Interval;
use crate::error::{PgError, PgResult};
use crate::numeric::Numeric;

/// A SQL value. Dates are days and times microseconds since 1970-01-01.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL of any type.
    Null,
    /// bool
    Bool(bool),
    /// smallint
    Int2(i16),
    /// integer
    Int4(i32),
    /// bigint
    Int8(i64),
    /// real
    Float4(f32),
    /// double precision
    Float8(f64),
    /// numeric
    Numeric(Numeric),
    /// text and everything carried as text
    Text(String),
    /// bytea
    Bytea(Vec<u8>),
    /// Days.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Wall-clock microseconds.
    Timestamp(i64),
    /// UTC microseconds.
    Timestamptz(i64),
    /// interval
    Interval(Interval),
    /// A one-dimensional array.
    List(Vec<Value>),
}

impl Value {
    /// Reads one row of an array.
    ///
    /// # Errors
    /// An internal error for Arrow types that stand for no PostgreSQL type.
    pub fn read(array: &dyn Array, row: usize) -> Result<Self> {
        if array.is_null(row) {
            return Ok(Self::Null);
        }
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean().value(row)),
            DataType::Int16 => Self::Int2(array.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => Self::Int4(array.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => Self::Int8(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => Self::Float4(array.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => Self::Float8(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal128(_, s) => {
                Self::Numeric(Numeric::from_i128(array.as_primitive::<Decimal128Type>().value(row), *s))
            }
            DataType::Decimal256(p, s) => {
                let number = Numeric::from_i256(array.as_primitive::<Decimal256Type>().value(row), *s);
                Self::Numeric(carried(number, *p, *s))
            }
            DataType::Utf8 => Self::Text(array.as_string::<i32>().value(row).to_owned()),
            DataType::LargeUtf8 => Self::Text(array.as_string::<i64>().value(row).to_owned()),
            DataType::Utf8View => Self::Text(array.as_string_view().value(row).to_owned()),
            DataType::Binary => Self::Bytea(array.as_binary::<i32>().value(row).to_owned()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().value(row)),
            DataType::Time64(TimeUnit::Microsecond) => {
                Self::Time(array.as_primitive::<Time64MicrosecondType>().value(row))
            }
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Self::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                Self::Timestamptz(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::Interval(_) => {
                Self::Interval(Interval::from_arrow(array.as_primitive::<IntervalMonthDayNanoType>().value(row))?)
            }
            DataType::List(_) => {
                let items = array.as_list::<i32>().value(row);
                Self::List((0..items.len()).map(|i| Self::read(items.as_ref(), i)).collect::<Result<_>>()?)
            }
            other => return internal_err!("no PostgreSQL value for Arrow type {other}"),
        })
    }

    /// The value of a scalar.
    ///
    /// # Errors
    /// As [`Value::read`].
    pub fn of(scalar: &ScalarValue) -> Result<Self> {
        if scalar.is_null() {
            return Ok(Self::Null);
        }
        if let ScalarValue::Utf8(Some(text)) = scalar {
            return Ok(Self::Text(text.clone()));
        }
        Self::read(scalar.to_array_of_size(1)?.as_ref(), 0)
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// As a scalar of exactly `data_type`.
    ///
    /// # Errors
    /// 22003 where a numeric does not fit.
    pub fn into_scalar(self, data_type: &DataType) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&build(data_type, &[self])?, 0)
    }

    /// The integer in it, for arguments that take any integer type.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int2(v) => Some(i64::from(*v)),
            Self::Int4(v) => Some(i64::from(*v)),
            Self::Int8(v) => Some(*v),
            _ => None,
        }
    }
}

/// A numeric read from a carrier loses the zeros that the carrier added, so that scales stay what PostgreSQL would show: a quotient keeps its
/// 16 significant digits, a bare numeric the digits that are there.
fn carried(number: Numeric, precision: u8, scale: i8) -> Numeric {
    match (precision, scale) {
        (76, crate::types::QUOTIENT_SCALE) => crate::output::quotient_display(&number),
        (76, 20) => crate::output::without_zeros(&number),
        _ => number,
    }
}

/// The sum of a column of type `of` with the scale that PostgreSQL's sum would have: see [`Value::read`].
pub(crate) fn carried_as(sum: Numeric, of: &DataType) -> Numeric {
    match of {
        DataType::Decimal256(p, s) => carried(sum, *p, *s),
        _ => sum,
    }
}

fn primitive<T: ArrowPrimitiveType>(
    data_type: &DataType,
    values: &[Value],
    read: impl Fn(&Value) -> Option<Result<T::Native>>,
) -> Result<ArrayRef> {
    let mut out = Vec::with_capacity(values.len());
    for value in values {
        out.push(match value {
            Value::Null => None,
            other => match read(other) {
                Some(native) => Some(native?),
                None => return internal_err!("a value {other:?} where {data_type} was promised"),
            },
        });
    }
    Ok(Arc::new(PrimitiveArray::<T>::from_iter(out).with_data_type(data_type.clone())))
}

/// The digits of a numeric at the scale of a column, checked against its precision; nothing is rounded.
///
/// # Errors
/// 22003.
pub fn fit_i128(number: &Numeric, precision: u8, scale: i8) -> PgResult<i128> {
    let exact = number.exactly(u32::try_from(scale).unwrap_or(0))?;
    exact
        .digits
        .to_i128()
        .filter(|v| v.unsigned_abs() < 10u128.pow(u32::from(precision)))
        .ok_or_else(PgError::numeric_too_wide)
}

/// As [`fit_i128`], for the wide carrier.
///
/// # Errors
/// 22003.
pub fn fit_i256(number: &Numeric, precision: u8, scale: i8) -> PgResult<arrow::datatypes::i256> {
    let exact = number.exactly(u32::try_from(scale).unwrap_or(0))?;
    if exact.digits.magnitude() >= crate::numeric::pow10(u32::from(precision)).magnitude() {
        return Err(PgError::numeric_too_wide());
    }
    exact.to_i256().ok_or_else(PgError::numeric_too_wide)
}

/// An array of exactly `data_type` from values of that type.
///
/// # Errors
/// 22003 where a numeric does not fit its column; an internal error where a value has another type.
pub fn build(data_type: &DataType, values: &[Value]) -> Result<ArrayRef> {
    match data_type {
        DataType::Null => Ok(new_null_array(data_type, values.len())),
        DataType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(values.len());
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Bool(b) => builder.append_value(*b),
                    other => return internal_err!("a value {other:?} where boolean was promised"),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Text(t) => builder.append_value(t),
                    other => return internal_err!("a value {other:?} where text was promised"),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Bytea(b) => builder.append_value(b),
                    other => return internal_err!("a value {other:?} where bytea was promised"),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::Int16 => primitive::<Int16Type>(data_type, values, |v| match v {
            Value::Int2(v) => Some(Ok(*v)),
            _ => None,
        }),
        DataType::Int32 => primitive::<Int32Type>(data_type, values, |v| match v {
            Value::Int4(v) => Some(Ok(*v)),
            _ => None,
        }),
        DataType::Int64 => primitive::<Int64Type>(data_type, values, |v| match v {
            Value::Int8(v) => Some(Ok(*v)),
            _ => None,
        }),
        DataType::Float32 => primitive::<Float32Type>(data_type, values, |v| match v {
            Value::Float4(v) => Some(Ok(normal_f32(*v))),
            _ => None,
        }),
        DataType::Float64 => primitive::<Float64Type>(data_type, values, |v| match v {
            Value::Float8(v) => Some(Ok(normal_f64(*v))),
            _ => None,
        }),
        DataType::Decimal128(p, s) => {
            let mut out = Vec::with_capacity(values.len());
            for value in values {
                out.push(match value {
                    Value::Null => None,
                    Value::Numeric(n) => Some(fit_i128(n, *p, *s)?),
                    other => return internal_err!("a value {other:?} where numeric was promised"),
                });
            }
            Ok(Arc::new(Decimal128Array::from(out).with_precision_and_scale(*p, *s)?))
        }
        DataType::Decimal256(p, s) => {
            let mut out = Vec::with_capacity(values.len());
            for value in values {
                out.push(match value {
                    Value::Null => None,
                    Value::Numeric(n) => Some(fit_i256(n, *p, *s)?),
                    other => return internal_err!("a value {other:?} where numeric was promised"),
                });
            }
            Ok(Arc::new(Decimal256Array::from(out).with_precision_and_scale(*p, *s)?))
        }
        DataType::Date32 => primitive::<Date32Type>(data_type, values, |v| match v {
            Value::Date(v) => Some(Ok(*v)),
            _ => None,
        }),
        DataType::Time64(TimeUnit::Microsecond) => primitive::<Time64MicrosecondType>(data_type, values, |v| match v {
            Value::Time(v) => Some(Ok(*v)),
            _ => None,
        }),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(data_type, values, |v| match v {
                Value::Timestamp(v) | Value::Timestamptz(v) => Some(Ok(*v)),
                _ => None,
            })
        }
        DataType::Interval(_) => primitive::<IntervalMonthDayNanoType>(data_type, values, |v| match v {
            Value::Interval(v) => Some(v.to_arrow().map_err(Into::into)),
            _ => None,
        }),
        DataType::List(field) => {
            let mut lengths = Vec::with_capacity(values.len());
            let mut valid = Vec::with_capacity(values.len());
            let mut items = Vec::new();
            for value in values {
                match value {
                    Value::Null => {
                        lengths.push(0);
                        valid.push(false);
                    }
                    Value::List(list) => {
                        lengths.push(list.len());
                        valid.push(true);
                        items.extend(list.iter().cloned());
                    }
                    other => return internal_err!("a value {other:?} where an array was promised"),
                }
            }
            let child = build(field.data_type(), &items)?;
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(field),
                OffsetBuffer::from_lengths(lengths),
                child,
                Some(NullBuffer::from(valid)),
            )?))
        }
        other => internal_err!("no way to build Arrow type {other}"),
    }
}

/// Zero without a sign, one NaN.
pub fn normal_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// Zero without a sign, one NaN.
pub fn normal_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}
