//! PostgreSQL's operators as functions: `pg_add`, `pg_sub`, `pg_mul`, `pg_div`, `pg_mod`, `pg_pow`, `pg_neg`, `pg_concat` and the bit operators.
//!
//! Every one of them takes what PostgreSQL's operator takes and gives PostgreSQL's type; integers, floats and numerics are checked.
//! Result types of exact numbers, digits before and after the point as `(i, s)`:
//! `+ -`: `(max(i1, i2) + 1, max(s1, s2))`; `*`: `(i1 + i2, s1 + s2)`, the scale no more than 44; `%`: `(max(i1, i2), max(s1, s2))`;
//! `/` and `^`: [`QUOTIENT`]. At most 76 digits in all; what does not fit is 22003, nothing is rounded except by `/` and `^`, which round each
//! value as PostgreSQL rounds it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::{try_binary, try_unary};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Float64Type, Int16Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, Volatility};

use crate::cast::{to_f64, to_numeric};
use crate::datetime::{DAY, Interval, add_interval, add_interval_in_zone, check_date, check_timestamp, timestamp_from};
use crate::error::{PgError, PgResult};
use crate::function::{Call, Context, Definition, PgFunction, Plan};
use crate::types::{PgType, QUOTIENT, QUOTIENT_SCALE, decimal_parts, decimal_type};
use crate::value::Value;

/// A binary operator that PostgreSQL's meaning is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOperator {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `||`
    Concat,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `#`
    BitXor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
}

impl BinaryOperator {
    /// The name of the function that computes it.
    pub fn function_name(self) -> &'static str {
        match self {
            Self::Add => "pg_add",
            Self::Sub => "pg_sub",
            Self::Mul => "pg_mul",
            Self::Div => "pg_div",
            Self::Mod => "pg_mod",
            Self::Pow => "pg_pow",
            Self::Concat => "pg_concat",
            Self::BitAnd => "pg_bit_and",
            Self::BitOr => "pg_bit_or",
            Self::BitXor => "pg_bit_xor",
            Self::ShiftLeft => "pg_shift_left",
            Self::ShiftRight => "pg_shift_right",
        }
    }

    /// As SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Concat => "||",
            Self::BitAnd => "&",
            Self::BitOr => "|",
            Self::BitXor => "#",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
        }
    }

    fn of_function(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|op| op.function_name() == name)
    }
}

const ALL: [BinaryOperator; 12] = [
    BinaryOperator::Add,
    BinaryOperator::Sub,
    BinaryOperator::Mul,
    BinaryOperator::Div,
    BinaryOperator::Mod,
    BinaryOperator::Pow,
    BinaryOperator::Concat,
    BinaryOperator::BitAnd,
    BinaryOperator::BitOr,
    BinaryOperator::BitXor,
    BinaryOperator::ShiftLeft,
    BinaryOperator::ShiftRight,
];

fn definition(op: BinaryOperator) -> Definition {
    Definition {
        name: op.function_name(),
        // timestamptz with days and months moves on the session's clock.
        volatility: if matches!(op, BinaryOperator::Add | BinaryOperator::Sub | BinaryOperator::Concat) {
            Volatility::Stable
        } else {
            Volatility::Immutable
        },
        strict: true,
        plan: plan_by_name,
    }
}

/// The function that computes `left op right`, `None` where PostgreSQL has no such operator. The function does not depend on the types given
/// here: it computes its own from its arguments.
pub fn binary_operator(op: BinaryOperator, left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
    let types = vec![PgType::of(left)?, PgType::of(right)?];
    plan(op, &Call { types, data: vec![left.clone(), right.clone()], scalars: &[None, None] }).ok()?;
    Some(PgFunction::udf(&definition(op)))
}

/// The Arrow type of `left op right`.
pub fn binary_type(op: BinaryOperator, left: &DataType, right: &DataType) -> Option<DataType> {
    let types = vec![PgType::of(left)?, PgType::of(right)?];
    Some(plan(op, &Call { types, data: vec![left.clone(), right.clone()], scalars: &[None, None] }).ok()?.ret)
}

/// The type that PostgreSQL gives an unknown literal beside a value of type `other`: the other's type, except beside dates and times, where
/// `date ± unknown` and `timestamp ± unknown` take an interval or the same type as PostgreSQL resolves them.
pub fn unknown_operand_type(op: BinaryOperator, other: &DataType) -> Option<DataType> {
    let other_pg = PgType::of(other)?;
    Some(match (op, &other_pg) {
        (BinaryOperator::Add, PgType::Timestamp | PgType::Timestamptz | PgType::Time) => PgType::Interval.arrow(),
        (BinaryOperator::Concat, PgType::List(_) | PgType::Bytea) => other.clone(),
        (BinaryOperator::Concat, _) => DataType::Utf8,
        (BinaryOperator::Mul | BinaryOperator::Div, PgType::Interval) => DataType::Float64,
        _ => other.clone(),
    })
}

/// All operator functions, to register.
pub fn operator_functions() -> Vec<Arc<ScalarUDF>> {
    let mut all: Vec<_> = ALL.iter().map(|op| PgFunction::udf(&definition(*op))).collect();
    all.push(pg_neg());
    all.push(PgFunction::udf(&BIT_NOT));
    all
}

/// Unary minus.
pub fn pg_neg() -> Arc<ScalarUDF> {
    PgFunction::udf(&Definition { name: "pg_neg", volatility: Volatility::Immutable, strict: true, plan: plan_neg })
}

const BIT_NOT: Definition = Definition {
    name: "pg_bit_not",
    volatility: Volatility::Immutable,
    strict: true,
    plan: |_, call| match call.types.as_slice() {
        [t] if t.is_integer() => Ok(Plan::new(t.arrow(), |_, row| {
            Ok(match &row[0] {
                Value::Int2(v) => Value::Int2(!v),
                Value::Int4(v) => Value::Int4(!v),
                Value::Int8(v) => Value::Int8(!v),
                _ => Value::Null,
            })
        })),
        types => Err(PgError::new(
            "42883",
            format!("operator does not exist: ~ {}", types.first().map(PgType::name).unwrap_or_default()),
        )),
    },
};

fn plan_neg(_: &str, call: &Call<'_>) -> PgResult<Plan> {
    let [t] = call.types.as_slice() else {
        return Err(PgError::new("XX000", "pg_neg takes one argument"));
    };
    if !(t.is_number() || matches!(t, PgType::Interval | PgType::Unknown)) {
        return Err(PgError::new("42883", format!("operator does not exist: - {}", t.name())));
    }
    Ok(Plan::new(call.data[0].clone(), |_, row| {
        Ok(match &row[0] {
            Value::Int2(v) => Value::Int2(v.checked_neg().ok_or_else(|| PgError::out_of_range("smallint"))?),
            Value::Int4(v) => Value::Int4(v.checked_neg().ok_or_else(|| PgError::out_of_range("integer"))?),
            Value::Int8(v) => Value::Int8(v.checked_neg().ok_or_else(|| PgError::out_of_range("bigint"))?),
            Value::Float4(v) => Value::Float4(-v),
            Value::Float8(v) => Value::Float8(-v),
            Value::Numeric(v) => Value::Numeric(v.neg()),
            Value::Interval(v) => Value::Interval(v.neg()?),
            _ => Value::Null,
        })
    }))
}

fn plan_by_name(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let op = BinaryOperator::of_function(name)
        .ok_or_else(|| PgError::new("XX000", format!("unknown operator function {name}")))?;
    plan(op, call)
}

fn no_operator(op: BinaryOperator, call: &Call<'_>) -> PgError {
    let name = |i: usize| call.types.get(i).map(PgType::name).unwrap_or_default();
    PgError::new("42883", format!("operator does not exist: {} {} {}", name(0), op.symbol(), name(1)))
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

fn plan(op: BinaryOperator, call: &Call<'_>) -> PgResult<Plan> {
    use BinaryOperator as O;
    use PgType as T;
    let [left, right] = call.types.as_slice() else {
        return Err(PgError::new("XX000", format!("operator {} takes two arguments", op.symbol())));
    };
    // An untyped NULL takes the type of the other side.
    let (left, left_data) = if *left == T::Unknown { (right, &call.data[1]) } else { (left, &call.data[0]) };
    let (right, right_data) = if *right == T::Unknown { (left, left_data) } else { (right, &call.data[1]) };
    if op == O::Concat {
        return plan_concat(left, right, left_data, right_data).ok_or_else(|| no_operator(op, call));
    }
    if matches!(op, O::BitAnd | O::BitOr | O::BitXor | O::ShiftLeft | O::ShiftRight) {
        return plan_bits(op, left, right).ok_or_else(|| no_operator(op, call));
    }
    if left.is_number() && right.is_number() {
        return plan_numbers(op, left, right, left_data, right_data).ok_or_else(|| no_operator(op, call));
    }
    if *left == T::Unknown {
        return Ok(Plan::new(DataType::Null, |_, _| Ok(Value::Null)));
    }
    plan_dates(op, left, right).ok_or_else(|| no_operator(op, call))
}

fn plan_numbers(
    op: BinaryOperator,
    left: &PgType,
    right: &PgType,
    left_data: &DataType,
    right_data: &DataType,
) -> Option<Plan> {
    use BinaryOperator as O;
    use PgType as T;
    let common = if left.is_float() || right.is_float() {
        if *left == T::Float4 && *right == T::Float4 { T::Float4 } else { T::Float8 }
    } else if *left == T::Numeric || *right == T::Numeric {
        T::Numeric
    } else if left == right {
        left.clone()
    } else if *left == T::Int8 || *right == T::Int8 {
        T::Int8
    } else {
        T::Int4
    };
    if op == O::Pow {
        return Some(match common {
            T::Numeric => Plan::new(QUOTIENT, |_, row| {
                Ok(Value::Numeric(crate::math::power_numeric(&to_numeric(&row[0])?, &to_numeric(&row[1])?)?))
            }),
            _ => Plan::new(DataType::Float64, |_, row| {
                Ok(Value::Float8(crate::math::power_float(f(&row[0]), f(&row[1]))?))
            }),
        });
    }
    Some(match common {
        T::Int2 => {
            let eval: crate::function::Eval = match op {
                O::Add => |_, r| small(&r[0], &r[1], i16::checked_add),
                O::Sub => |_, r| small(&r[0], &r[1], i16::checked_sub),
                O::Mul => |_, r| small(&r[0], &r[1], i16::checked_mul),
                O::Div => |_, r| small_div(&r[0], &r[1], i16::checked_div),
                _ => |_, r| small_div(&r[0], &r[1], |a, b| Some(a.wrapping_rem(b))),
            };
            let fast: crate::function::Fast = match op {
                O::Add => |a| {
                    arrays::<Int16Type>(a, |l, r| {
                        i16::checked_add(l, r).ok_or_else(|| PgError::out_of_range("smallint"))
                    })
                },
                O::Sub => |a| {
                    arrays::<Int16Type>(a, |l, r| {
                        i16::checked_sub(l, r).ok_or_else(|| PgError::out_of_range("smallint"))
                    })
                },
                O::Mul => |a| {
                    arrays::<Int16Type>(a, |l, r| {
                        i16::checked_mul(l, r).ok_or_else(|| PgError::out_of_range("smallint"))
                    })
                },
                _ => |_| Ok(None),
            };
            Plan::new(DataType::Int16, eval).fast(fast)
        }
        T::Int4 => {
            let eval: crate::function::Eval = match op {
                O::Add => |_, r| int4(&r[0], &r[1], i32::checked_add),
                O::Sub => |_, r| int4(&r[0], &r[1], i32::checked_sub),
                O::Mul => |_, r| int4(&r[0], &r[1], i32::checked_mul),
                O::Div => |_, r| int4_div(&r[0], &r[1], i32::checked_div),
                _ => |_, r| int4_div(&r[0], &r[1], |a, b| Some(a.wrapping_rem(b))),
            };
            let fast: crate::function::Fast = match op {
                O::Add => |a| {
                    arrays::<Int32Type>(a, |l, r| {
                        i32::checked_add(l, r).ok_or_else(|| PgError::out_of_range("integer"))
                    })
                },
                O::Sub => |a| {
                    arrays::<Int32Type>(a, |l, r| {
                        i32::checked_sub(l, r).ok_or_else(|| PgError::out_of_range("integer"))
                    })
                },
                O::Mul => |a| {
                    arrays::<Int32Type>(a, |l, r| {
                        i32::checked_mul(l, r).ok_or_else(|| PgError::out_of_range("integer"))
                    })
                },
                O::Div => |a| {
                    arrays::<Int32Type>(a, |l, r| {
                        if r == 0 {
                            Err(PgError::division_by_zero())
                        } else {
                            l.checked_div(r).ok_or_else(|| PgError::out_of_range("integer"))
                        }
                    })
                },
                _ => |a| {
                    arrays::<Int32Type>(a, |l, r| {
                        if r == 0 { Err(PgError::division_by_zero()) } else { Ok(l.wrapping_rem(r)) }
                    })
                },
            };
            Plan::new(DataType::Int32, eval).fast(fast)
        }
        T::Int8 => {
            let eval: crate::function::Eval = match op {
                O::Add => |_, r| int8(&r[0], &r[1], i64::checked_add),
                O::Sub => |_, r| int8(&r[0], &r[1], i64::checked_sub),
                O::Mul => |_, r| int8(&r[0], &r[1], i64::checked_mul),
                O::Div => |_, r| int8_div(&r[0], &r[1], i64::checked_div),
                _ => |_, r| int8_div(&r[0], &r[1], |a, b| Some(a.wrapping_rem(b))),
            };
            let fast: crate::function::Fast = match op {
                O::Add => |a| {
                    arrays::<Int64Type>(a, |l, r| i64::checked_add(l, r).ok_or_else(|| PgError::out_of_range("bigint")))
                },
                O::Sub => |a| {
                    arrays::<Int64Type>(a, |l, r| i64::checked_sub(l, r).ok_or_else(|| PgError::out_of_range("bigint")))
                },
                O::Mul => |a| {
                    arrays::<Int64Type>(a, |l, r| i64::checked_mul(l, r).ok_or_else(|| PgError::out_of_range("bigint")))
                },
                O::Div => |a| {
                    arrays::<Int64Type>(a, |l, r| {
                        if r == 0 {
                            Err(PgError::division_by_zero())
                        } else {
                            l.checked_div(r).ok_or_else(|| PgError::out_of_range("bigint"))
                        }
                    })
                },
                _ => |a| {
                    arrays::<Int64Type>(a, |l, r| {
                        if r == 0 { Err(PgError::division_by_zero()) } else { Ok(l.wrapping_rem(r)) }
                    })
                },
            };
            Plan::new(DataType::Int64, eval).fast(fast)
        }
        T::Float4 => {
            let eval: crate::function::Eval = match op {
                O::Add => |_, r| float4(&r[0], &r[1], |a, b| a + b, false),
                O::Sub => |_, r| float4(&r[0], &r[1], |a, b| a - b, false),
                O::Mul => |_, r| float4(&r[0], &r[1], |a, b| a * b, true),
                O::Div => |_, r| float4_div(&r[0], &r[1]),
                _ => return None,
            };
            Plan::new(DataType::Float32, eval)
        }
        T::Float8 => {
            let eval: crate::function::Eval = match op {
                O::Add => |_, r| float8_add(f(&r[0]), f(&r[1])).map(Value::Float8),
                O::Sub => |_, r| float8_add(f(&r[0]), -f(&r[1])).map(Value::Float8),
                O::Mul => |_, r| float8_mul(f(&r[0]), f(&r[1])).map(Value::Float8),
                O::Div => |_, r| float8_div(f(&r[0]), f(&r[1])).map(Value::Float8),
                _ => return None,
            };
            let fast: crate::function::Fast = match op {
                O::Add => |a| arrays::<Float64Type>(a, float8_add),
                O::Sub => |a| arrays::<Float64Type>(a, |l, r| float8_add(l, -r)),
                O::Mul => |a| arrays::<Float64Type>(a, float8_mul),
                _ => |a| arrays::<Float64Type>(a, float8_div),
            };
            Plan::new(DataType::Float64, eval).fast(fast)
        }
        _ => {
            let (p1, s1) = decimal_parts(left_data)?;
            let (p2, s2) = decimal_parts(right_data)?;
            let (i1, i2) = (i32::from(p1) - i32::from(s1), i32::from(p2) - i32::from(s2));
            let (s1, s2) = (i32::from(s1), i32::from(s2));
            let ret = match op {
                O::Add | O::Sub => decimal_type(i1.max(i2) + 1, s1.max(s2)),
                O::Mul => decimal_type(i1 + i2, (s1 + s2).min(i32::from(QUOTIENT_SCALE).max(s1).max(s2))),
                O::Mod => decimal_type(i1.max(i2), s1.max(s2)),
                _ => QUOTIENT,
            };
            let eval: crate::function::Eval = match op {
                O::Add => |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.add(&to_numeric(&r[1])?))),
                O::Sub => |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.sub(&to_numeric(&r[1])?))),
                O::Mul => |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.mul(&to_numeric(&r[1])?))),
                O::Div => |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.div(&to_numeric(&r[1])?)?)),
                _ => |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.rem(&to_numeric(&r[1])?)?)),
            };
            let fast: crate::function::Fast = match op {
                O::Add => |a| decimals(a, i128::checked_add, true),
                O::Sub => |a| decimals(a, i128::checked_sub, true),
                O::Mul => |a| decimals(a, i128::checked_mul, false),
                _ => |_| Ok(None),
            };
            Plan::new(ret, eval).fast(fast)
        }
    })
}

/// A number as a double; types were checked when the call was planned.
fn f(value: &Value) -> f64 {
    to_f64(value).unwrap_or(f64::NAN)
}

fn small(l: &Value, r: &Value, op: fn(i16, i16) -> Option<i16>) -> PgResult<Value> {
    match (l, r) {
        (Value::Int2(a), Value::Int2(b)) => {
            op(*a, *b).map(Value::Int2).ok_or_else(|| PgError::out_of_range("smallint"))
        }
        _ => Ok(Value::Null),
    }
}

fn small_div(l: &Value, r: &Value, op: fn(i16, i16) -> Option<i16>) -> PgResult<Value> {
    if r.as_i64() == Some(0) { Err(PgError::division_by_zero()) } else { small(l, r, op) }
}

fn as_i32(value: &Value) -> i32 {
    value.as_i64().and_then(|v| i32::try_from(v).ok()).unwrap_or(0)
}

fn int4(l: &Value, r: &Value, op: fn(i32, i32) -> Option<i32>) -> PgResult<Value> {
    op(as_i32(l), as_i32(r)).map(Value::Int4).ok_or_else(|| PgError::out_of_range("integer"))
}

fn int4_div(l: &Value, r: &Value, op: fn(i32, i32) -> Option<i32>) -> PgResult<Value> {
    if r.as_i64() == Some(0) { Err(PgError::division_by_zero()) } else { int4(l, r, op) }
}

fn int8(l: &Value, r: &Value, op: fn(i64, i64) -> Option<i64>) -> PgResult<Value> {
    op(l.as_i64().unwrap_or(0), r.as_i64().unwrap_or(0)).map(Value::Int8).ok_or_else(|| PgError::out_of_range("bigint"))
}

fn int8_div(l: &Value, r: &Value, op: fn(i64, i64) -> Option<i64>) -> PgResult<Value> {
    if r.as_i64() == Some(0) { Err(PgError::division_by_zero()) } else { int8(l, r, op) }
}

fn float4(l: &Value, r: &Value, op: fn(f32, f32) -> f32, underflow: bool) -> PgResult<Value> {
    let (Value::Float4(a), Value::Float4(b)) = (l, r) else { return Ok(Value::Null) };
    let result = op(*a, *b);
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(PgError::new("22003", "value out of range: overflow"));
    }
    if underflow && result == 0.0 && *a != 0.0 && *b != 0.0 {
        return Err(PgError::new("22003", "value out of range: underflow"));
    }
    Ok(Value::Float4(result))
}

fn float4_div(l: &Value, r: &Value) -> PgResult<Value> {
    let (Value::Float4(a), Value::Float4(b)) = (l, r) else { return Ok(Value::Null) };
    if *b == 0.0 && !a.is_nan() {
        return Err(PgError::division_by_zero());
    }
    let result = a / b;
    if result.is_infinite() && a.is_finite() {
        return Err(PgError::new("22003", "value out of range: overflow"));
    }
    if result == 0.0 && *a != 0.0 && b.is_finite() {
        return Err(PgError::new("22003", "value out of range: underflow"));
    }
    Ok(Value::Float4(result))
}

/// `a + b`; infinite only if an input is.
pub(crate) fn float8_add(a: f64, b: f64) -> PgResult<f64> {
    let result = a + b;
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(PgError::new("22003", "value out of range: overflow"));
    }
    Ok(crate::value::normal_f64(result))
}

fn float8_mul(a: f64, b: f64) -> PgResult<f64> {
    let result = a * b;
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(PgError::new("22003", "value out of range: overflow"));
    }
    if result == 0.0 && a != 0.0 && b != 0.0 {
        return Err(PgError::new("22003", "value out of range: underflow"));
    }
    Ok(crate::value::normal_f64(result))
}

fn float8_div(a: f64, b: f64) -> PgResult<f64> {
    if b == 0.0 && !a.is_nan() {
        return Err(PgError::division_by_zero());
    }
    let result = a / b;
    if result.is_infinite() && a.is_finite() {
        return Err(PgError::new("22003", "value out of range: overflow"));
    }
    if result == 0.0 && a != 0.0 && b.is_finite() {
        return Err(PgError::new("22003", "value out of range: underflow"));
    }
    Ok(crate::value::normal_f64(result))
}

fn external(error: PgError) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// Runs a primitive operation over two columns, or a column and a constant, of exactly one type.
fn arrays<T: ArrowPrimitiveType>(
    args: &ScalarFunctionArgs,
    op: impl Fn(T::Native, T::Native) -> PgResult<T::Native>,
) -> Result<Option<ColumnarValue>> {
    if args.arg_fields.iter().any(|f| *f.data_type() != T::DATA_TYPE) {
        return Ok(None);
    }
    let constant = |s: &ScalarValue| -> Result<Option<T::Native>> {
        let array = s.to_array_of_size(1)?;
        Ok((!array.is_null(0)).then(|| array.as_primitive::<T>().value(0)))
    };
    let array: PrimitiveArray<T> = match (&args.args[0], &args.args[1]) {
        (ColumnarValue::Array(l), ColumnarValue::Array(r)) => {
            try_binary(l.as_primitive::<T>(), r.as_primitive::<T>(), |a, b| op(a, b).map_err(external))?
        }
        (ColumnarValue::Array(l), ColumnarValue::Scalar(r)) => match constant(r)? {
            Some(b) => try_unary(l.as_primitive::<T>(), |a| op(a, b).map_err(external))?,
            None => return Ok(None),
        },
        (ColumnarValue::Scalar(l), ColumnarValue::Array(r)) => match constant(l)? {
            Some(a) => try_unary(r.as_primitive::<T>(), |b| op(a, b).map_err(external))?,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(ColumnarValue::Array(Arc::new(array))))
}

/// Exact numbers in 128 bits: both sides are brought to i128 at the scale the operation needs.
fn decimals(
    args: &ScalarFunctionArgs,
    op: fn(i128, i128) -> Option<i128>,
    align: bool,
) -> Result<Option<ColumnarValue>> {
    let DataType::Decimal128(precision, scale) = args.return_field.data_type() else { return Ok(None) };
    if args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_))) {
        return Ok(None);
    }
    let side = |value: &ColumnarValue| -> Result<Option<(PrimitiveArray<Decimal128Type>, i8)>> {
        let array: ArrayRef = match value {
            ColumnarValue::Array(a) => Arc::clone(a),
            ColumnarValue::Scalar(s) => s.to_array_of_size(args.number_rows)?,
        };
        Ok(Some(match array.data_type() {
            DataType::Decimal128(_, s) => (array.as_primitive::<Decimal128Type>().clone(), *s),
            DataType::Int16 => (array.as_primitive::<Int16Type>().unary::<_, Decimal128Type>(i128::from), 0),
            DataType::Int32 => (array.as_primitive::<Int32Type>().unary::<_, Decimal128Type>(i128::from), 0),
            DataType::Int64 => (array.as_primitive::<Int64Type>().unary::<_, Decimal128Type>(i128::from), 0),
            _ => return Ok(None),
        }))
    };
    let (Some((left, s1)), Some((right, s2))) = (side(&args.args[0])?, side(&args.args[1])?) else { return Ok(None) };
    let factor = |from: i8| 10i128.pow(u32::from((*scale - from).unsigned_abs()));
    let (f1, f2) = if align { (factor(s1), factor(s2)) } else { (1, 1) };
    if !align && s1 + s2 != *scale {
        return Ok(None);
    }
    let limit = 10i128.pow(u32::from(*precision));
    let array: PrimitiveArray<Decimal128Type> = try_binary(&left, &right, |a, b| {
        a.checked_mul(f1)
            .zip(b.checked_mul(f2))
            .and_then(|(a, b)| op(a, b))
            .filter(|v| *v < limit && *v > -limit)
            .ok_or_else(|| external(PgError::numeric_too_wide()))
    })?;
    Ok(Some(ColumnarValue::Array(Arc::new(array.with_precision_and_scale(*precision, *scale)?))))
}

fn plan_bits(op: BinaryOperator, left: &PgType, right: &PgType) -> Option<Plan> {
    use BinaryOperator as O;
    let shift = matches!(op, O::ShiftLeft | O::ShiftRight);
    if !left.is_integer() || !right.is_integer() || (shift && *right == PgType::Int8) {
        return None;
    }
    let wide = if shift {
        left.clone()
    } else if *left == PgType::Int8 || *right == PgType::Int8 {
        PgType::Int8
    } else if left == right {
        left.clone()
    } else {
        PgType::Int4
    };
    let eval: crate::function::Eval = match op {
        O::BitAnd => |c, r| bits(c, &r[0], &r[1], |a, b, _| a & b),
        O::BitOr => |c, r| bits(c, &r[0], &r[1], |a, b, _| a | b),
        O::BitXor => |c, r| bits(c, &r[0], &r[1], |a, b, _| a ^ b),
        // The processor takes the count modulo the width, and so does PostgreSQL.
        O::ShiftLeft => {
            |c, r| bits(c, &r[0], &r[1], |a, b, width| a.wrapping_shl(u32::try_from(b & (width - 1)).unwrap_or(0)))
        }
        _ => |c, r| bits(c, &r[0], &r[1], |a, b, width| a.wrapping_shr(u32::try_from(b & (width - 1)).unwrap_or(0))),
    };
    Some(Plan::new(wide.arrow(), eval))
}

#[expect(clippy::cast_possible_truncation, reason = "bit operations keep the low bits")]
fn bits(context: &Context<'_>, l: &Value, r: &Value, op: fn(i64, i64, i64) -> i64) -> PgResult<Value> {
    let (a, b) = (l.as_i64().unwrap_or(0), r.as_i64().unwrap_or(0));
    Ok(match context.ret.data_type() {
        // int2 shifts are done in int4.
        DataType::Int16 => Value::Int2(op(a, b, 32) as i16),
        DataType::Int32 => Value::Int4(op(a, b, 32) as i32),
        _ => Value::Int8(op(a, b, 64)),
    })
}

fn plan_concat(left: &PgType, right: &PgType, left_data: &DataType, right_data: &DataType) -> Option<Plan> {
    use PgType as T;
    match (left, right) {
        (T::Unknown, T::Unknown) => Some(Plan::new(DataType::Utf8, |_, _| Ok(Value::Null))),
        (T::List(a), T::List(b)) if a == b => Some(Plan::new(left_data.clone(), |_, r| match (&r[0], &r[1]) {
            (Value::List(a), Value::List(b)) => Ok(Value::List(a.iter().chain(b).cloned().collect())),
            _ => Ok(Value::Null),
        })),
        (T::List(a), b) if **a == *b => Some(Plan::new(left_data.clone(), |_, r| match (&r[0], &r[1]) {
            (Value::List(a), b) => Ok(Value::List(a.iter().chain([b]).cloned().collect())),
            _ => Ok(Value::Null),
        })),
        (a, T::List(b)) if *a == **b => Some(Plan::new(right_data.clone(), |_, r| match (&r[0], &r[1]) {
            (a, Value::List(b)) => Ok(Value::List([a].into_iter().chain(b).cloned().collect())),
            _ => Ok(Value::Null),
        })),
        (T::List(_), _) | (_, T::List(_)) => None,
        (T::Bytea, T::Bytea) => Some(Plan::new(DataType::Binary, |_, r| match (&r[0], &r[1]) {
            (Value::Bytea(a), Value::Bytea(b)) => Ok(Value::Bytea([a.as_slice(), b.as_slice()].concat())),
            _ => Ok(Value::Null),
        })),
        (T::Jsonb, _) | (_, T::Jsonb) => None,
        (a, b) if a.is_text_carried() || b.is_text_carried() => Some(
            Plan::new(DataType::Utf8, |_, r| match (&r[0], &r[1]) {
                (Value::Text(a), Value::Text(b)) => Ok(Value::Text(format!("{a}{b}"))),
                _ => Ok(Value::Null),
            })
            .taking(vec![T::Text, T::Text]),
        ),
        _ => None,
    }
}

fn plan_dates(op: BinaryOperator, left: &PgType, right: &PgType) -> Option<Plan> {
    use BinaryOperator as O;
    use PgType as T;
    let subtract = op == O::Sub;
    let small_int = |t: &T| matches!(t, T::Int2 | T::Int4);
    Some(match (left, op, right) {
        (T::Date, O::Add | O::Sub, r) if small_int(r) => {
            let eval: crate::function::Eval = if subtract {
                |_, r| shift_date(&r[0], r[1].as_i64(), -1)
            } else {
                |_, r| shift_date(&r[0], r[1].as_i64(), 1)
            };
            Plan::new(T::Date.arrow(), eval)
        }
        (l, O::Add, T::Date) if small_int(l) => Plan::new(T::Date.arrow(), |_, r| shift_date(&r[1], r[0].as_i64(), 1)),
        (T::Date, O::Sub, T::Date) => Plan::new(DataType::Int32, |_, r| match (&r[0], &r[1]) {
            (Value::Date(a), Value::Date(b)) => {
                Ok(Value::Int4(a.checked_sub(*b).ok_or_else(|| PgError::out_of_range("integer"))?))
            }
            _ => Ok(Value::Null),
        }),
        (T::Date | T::Timestamp | T::Timestamptz, O::Sub, T::Timestamptz)
        | (T::Timestamptz, O::Sub, T::Date | T::Timestamp) => {
            Plan::new(T::Interval.arrow(), |_, r| difference(&r[0], &r[1])).taking(vec![T::Timestamptz, T::Timestamptz])
        }
        (T::Date | T::Timestamp, O::Sub, T::Timestamp) | (T::Timestamp, O::Sub, T::Date) => {
            Plan::new(T::Interval.arrow(), |_, r| difference(&r[0], &r[1])).taking(vec![T::Timestamp, T::Timestamp])
        }
        (T::Time, O::Sub, T::Time) => Plan::new(T::Interval.arrow(), |_, r| match (&r[0], &r[1]) {
            (Value::Time(a), Value::Time(b)) => Ok(Value::Interval(Interval { months: 0, days: 0, micros: a - b })),
            _ => Ok(Value::Null),
        }),
        (T::Date, O::Add, T::Time) | (T::Time, O::Add, T::Date) => {
            Plan::new(T::Timestamp.arrow(), |_, r| match (&r[0], &r[1]) {
                (Value::Date(d), Value::Time(t)) | (Value::Time(t), Value::Date(d)) => {
                    Ok(Value::Timestamp(timestamp_from(i64::from(*d), *t)?))
                }
                _ => Ok(Value::Null),
            })
        }
        (T::Timestamp, O::Add | O::Sub, T::Time) | (T::Timestamptz, O::Add | O::Sub, T::Time) => {
            shift_plan(left, subtract).taking(vec![left.clone(), T::Interval])
        }
        (T::Date | T::Timestamp, O::Add | O::Sub, T::Interval) => {
            shift_plan(&T::Timestamp, subtract).taking(vec![T::Timestamp, T::Interval])
        }
        (T::Timestamptz, O::Add | O::Sub, T::Interval) => shift_plan(left, subtract),
        (T::Interval, O::Add, T::Date | T::Timestamp) => {
            Plan::new(T::Timestamp.arrow(), |c, r| shift(c, &r[1], &r[0], false))
                .taking(vec![T::Interval, T::Timestamp])
        }
        (T::Interval, O::Add, T::Timestamptz) => {
            Plan::new(T::Timestamptz.arrow(), |c, r| shift(c, &r[1], &r[0], false))
        }
        (T::Time, O::Add | O::Sub, T::Interval) => {
            let eval: crate::function::Eval =
                if subtract { |c, r| shift(c, &r[0], &r[1], true) } else { |c, r| shift(c, &r[0], &r[1], false) };
            Plan::new(T::Time.arrow(), eval)
        }
        (T::Interval, O::Add, T::Time) => Plan::new(T::Time.arrow(), |c, r| shift(c, &r[1], &r[0], false)),
        (T::Interval, O::Add | O::Sub, T::Interval) => {
            let eval: crate::function::Eval = if subtract {
                |_, r| match (&r[0], &r[1]) {
                    (Value::Interval(a), Value::Interval(b)) => Ok(Value::Interval(a.add(b.neg()?)?)),
                    _ => Ok(Value::Null),
                }
            } else {
                |_, r| match (&r[0], &r[1]) {
                    (Value::Interval(a), Value::Interval(b)) => Ok(Value::Interval(a.add(*b)?)),
                    _ => Ok(Value::Null),
                }
            };
            Plan::new(T::Interval.arrow(), eval)
        }
        (T::Interval, O::Mul, n) if n.is_number() => Plan::new(T::Interval.arrow(), |_, r| match &r[0] {
            Value::Interval(i) => Ok(Value::Interval(i.mul(f(&r[1]))?)),
            _ => Ok(Value::Null),
        }),
        (n, O::Mul, T::Interval) if n.is_number() => Plan::new(T::Interval.arrow(), |_, r| match &r[1] {
            Value::Interval(i) => Ok(Value::Interval(i.mul(f(&r[0]))?)),
            _ => Ok(Value::Null),
        }),
        (T::Interval, O::Div, n) if n.is_number() => Plan::new(T::Interval.arrow(), |_, r| match &r[0] {
            Value::Interval(i) => Ok(Value::Interval(i.div(f(&r[1]))?)),
            _ => Ok(Value::Null),
        }),
        _ => return None,
    })
}

fn shift_plan(of: &PgType, subtract: bool) -> Plan {
    let eval: crate::function::Eval =
        if subtract { |c, r| shift(c, &r[0], &r[1], true) } else { |c, r| shift(c, &r[0], &r[1], false) };
    Plan::new(of.arrow(), eval)
}

fn shift_date(date: &Value, days: Option<i64>, sign: i64) -> PgResult<Value> {
    match (date, days) {
        (Value::Date(d), Some(n)) => Ok(Value::Date(check_date(i64::from(*d) + sign * n)?)),
        _ => Ok(Value::Null),
    }
}

fn difference(l: &Value, r: &Value) -> PgResult<Value> {
    match (l, r) {
        (Value::Timestamp(a), Value::Timestamp(b)) | (Value::Timestamptz(a), Value::Timestamptz(b)) => {
            let micros = a.checked_sub(*b).ok_or_else(|| PgError::datetime_overflow("interval out of range"))?;
            Ok(Value::Interval(Interval { months: 0, days: 0, micros }.justify_hours()?))
        }
        _ => Ok(Value::Null),
    }
}

fn shift(context: &Context<'_>, at: &Value, by: &Value, subtract: bool) -> PgResult<Value> {
    let Value::Interval(interval) = by else { return Ok(Value::Null) };
    let interval = if subtract { interval.neg()? } else { *interval };
    Ok(match at {
        Value::Timestamp(t) => Value::Timestamp(add_interval(*t, interval)?),
        Value::Timestamptz(t) => {
            Value::Timestamptz(check_timestamp(add_interval_in_zone(*t, interval, &context.zone)?)?)
        }
        Value::Time(t) => Value::Time(
            (i128::from(*t) + i128::from(interval.micros)).rem_euclid(i128::from(DAY)).try_into().unwrap_or(0),
        ),
        _ => Value::Null,
    })
}

/// `%` for the function `mod`.
pub(crate) fn plan_modulo(call: &Call<'_>) -> PgResult<Plan> {
    plan(BinaryOperator::Mod, call)
}

/// `^` for the function `power`.
pub(crate) fn plan_power(call: &Call<'_>) -> PgResult<Plan> {
    plan(BinaryOperator::Pow, call)
}
