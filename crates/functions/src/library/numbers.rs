//! Functions of numbers: rounding, powers, logarithms, angles, divisors.

use arrow::datatypes::DataType;

use crate::cast::to_numeric;
use crate::error::{PgError, PgResult};
use crate::function::{Call, Definition, Eval, Plan, no_function};
use crate::numeric::Numeric;
use crate::types::{PgType as T, decimal_parts, decimal_type};
use crate::value::Value;

use super::{I, f, fixed, float1, int, strict, text};

fn one_number<'a>(name: &str, call: &'a Call<'_>) -> PgResult<&'a T> {
    match call.types.as_slice() {
        [t] if t.is_number() => Ok(t),
        types => Err(no_function(name, types)),
    }
}

pub(super) fn plan_abs(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    one_number(name, call)?;
    Ok(Plan::new(call.data[0].clone(), |_, r| {
        Ok(match &r[0] {
            Value::Int2(v) => Value::Int2(v.checked_abs().ok_or_else(|| PgError::out_of_range("smallint"))?),
            Value::Int4(v) => Value::Int4(v.checked_abs().ok_or_else(|| PgError::out_of_range("integer"))?),
            Value::Int8(v) => Value::Int8(v.checked_abs().ok_or_else(|| PgError::out_of_range("bigint"))?),
            Value::Float4(v) => Value::Float4(v.abs()),
            Value::Float8(v) => Value::Float8(v.abs()),
            Value::Numeric(v) => Value::Numeric(v.abs()),
            _ => Value::Null,
        })
    }))
}

fn whole_type(data: &DataType) -> DataType {
    let (p, s) = decimal_parts(data).unwrap_or((38, 0));
    decimal_type(i32::from(p) - i32::from(s) + 1, 0)
}

pub(super) fn plan_ceil(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    if *one_number(name, call)? == T::Numeric {
        return Ok(Plan::new(whole_type(&call.data[0]), |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.ceil()))));
    }
    float1(name, call, |_, r| Ok(Value::Float8(f(&r[0]).ceil())))
}

pub(super) fn plan_floor(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    if *one_number(name, call)? == T::Numeric {
        return Ok(Plan::new(whole_type(&call.data[0]), |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.floor()))));
    }
    float1(name, call, |_, r| Ok(Value::Float8(f(&r[0]).floor())))
}

/// `round(x)`, `round(x, n)`: the result has n digits where n is a constant, else as many as x has.
fn plan_rounding(name: &str, call: &Call<'_>, float: Eval, numeric: Eval) -> PgResult<Plan> {
    if let [t] = call.types.as_slice()
        && t.is_number()
        && *t != T::Numeric
    {
        return float1(name, call, float);
    }
    let exact = |t: &T| t.is_integer() || *t == T::Numeric;
    let fits = match call.types.as_slice() {
        [t] => exact(t),
        [t, n] => exact(t) && matches!(n, T::Int2 | T::Int4),
        _ => false,
    };
    if !fits {
        return Err(no_function(name, &call.types));
    }
    let (p, s) = decimal_parts(&call.data[0]).ok_or_else(|| no_function(name, &call.types))?;
    let digits = match call.scalars.get(1) {
        None if call.types.len() == 1 => Some(0),
        Some(Some(scalar)) => Value::of(scalar).ok().and_then(|v| v.as_i64()),
        _ => None,
    };
    let scale = digits.map_or(i32::from(s), |d| i32::try_from(d.clamp(0, 44)).unwrap_or(44));
    Ok(Plan::new(decimal_type(i32::from(p) - i32::from(s) + 1, scale), numeric))
}

fn position(row: &[Value]) -> i32 {
    row.get(1).map_or(0, |n| i32::try_from(int(n).clamp(-2000, 2000)).unwrap_or(0))
}

pub(super) fn plan_round(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    plan_rounding(
        name,
        call,
        |_, r| Ok(Value::Float8(f(&r[0]).round_ties_even())),
        |_, r| Ok(Value::Numeric(shorten(&to_numeric(&r[0])?, position(r), false))),
    )
}

pub(super) fn plan_trunc(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    plan_rounding(
        name,
        call,
        |_, r| Ok(Value::Float8(f(&r[0]).trunc())),
        |_, r| Ok(Value::Numeric(shorten(&to_numeric(&r[0])?, position(r), true))),
    )
}

/// Rounds or cuts; never adds zeros, so that a long `n` does not overflow the column.
fn shorten(number: &Numeric, position: i32, cut: bool) -> Numeric {
    if position >= i32::try_from(number.scale).unwrap_or(i32::MAX) {
        return number.clone();
    }
    if cut { number.trunc_at(position) } else { number.round_at(position) }
}

pub(super) fn plan_sign(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    if *one_number(name, call)? == T::Numeric {
        return Ok(Plan::new(DataType::Decimal128(1, 0), |_, r| {
            Ok(Value::Numeric(Numeric::from(to_numeric(&r[0])?.signum())))
        }));
    }
    float1(name, call, |_, r| {
        let x = f(&r[0]);
        Ok(Value::Float8(if x > 0.0 {
            1.0
        } else if x < 0.0 {
            -1.0
        } else {
            x
        }))
    })
}

pub(super) fn plan_mod(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let exact = |t: &T| t.is_integer() || matches!(t, T::Numeric | T::Unknown);
    if call.types.len() != 2 || !call.types.iter().all(exact) {
        return Err(no_function(name, &call.types));
    }
    crate::operator::plan_modulo(call)
}

pub(super) fn plan_power(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    if call.types.len() != 2 || !call.types.iter().all(|t| t.is_number() || *t == T::Unknown) {
        return Err(no_function(name, &call.types));
    }
    crate::operator::plan_power(call)
}

/// PostgreSQL's order of two values of one type: NaN equal to itself and above all, text by code point, intervals by length.
/// Functions of one double. Of numerics PostgreSQL computes them in numeric: refused.
pub(super) const FLOAT_FUNCTIONS: &[(&str, Eval)] = &[
    ("exp", |_, r| {
        let (x, y) = (f(&r[0]), f(&r[0]).exp());
        if y.is_infinite() && x.is_finite() {
            return Err(PgError::new("22003", "value out of range: overflow"));
        }
        if y == 0.0 && x.is_finite() {
            return Err(PgError::new("22003", "value out of range: underflow"));
        }
        Ok(Value::Float8(y))
    }),
    ("ln", |_, r| logarithm(f(&r[0]), f64::ln)),
    ("log", |_, r| logarithm(f(&r[0]), f64::log10)),
    ("log10", |_, r| logarithm(f(&r[0]), f64::log10)),
    ("sin", |_, r| trigonometric(f(&r[0]), f64::sin)),
    ("cos", |_, r| trigonometric(f(&r[0]), f64::cos)),
    ("tan", |_, r| trigonometric(f(&r[0]), f64::tan)),
    ("atan", |_, r| Ok(Value::Float8(f(&r[0]).atan()))),
];

pub(super) fn plan_to_char_of_number(of: &T) -> PgResult<Plan> {
    let takes = match of {
        T::Float4 | T::Float8 => T::Float8,
        T::Numeric => T::Numeric,
        _ => T::Int8,
    };
    let eval: Eval = |_, r| {
        let pattern = crate::to_char_number::Pattern::read(text(&r[1]))?;
        let number = match &r[0] {
            Value::Float8(x) => {
                if !x.is_finite() {
                    return Err(PgError::unsupported("to_char of NaN and infinity is not supported"));
                }
                // No digits beyond those that a double has.
                let whole = format!("{:.0}", x.abs()).len();
                let behind = pattern.behind.min(15_usize.saturating_sub(whole));
                let shown = format!("{:.behind$}", x.abs());
                return Ok(Value::Text(pattern.write(x.is_sign_negative() && *x != 0.0, &shown, behind)));
            }
            number => to_numeric(number)?.round(u32::try_from(pattern.behind).unwrap_or(u32::MAX)),
        };
        Ok(Value::Text(pattern.write(number.signum() < 0, &number.abs().to_string(), pattern.behind)))
    };
    Ok(Plan::new(DataType::Utf8, eval).taking(vec![takes, T::Text]))
}

fn logarithm(x: f64, of: fn(f64) -> f64) -> PgResult<Value> {
    if x == 0.0 {
        return Err(PgError::new("2201E", "cannot take logarithm of zero"));
    }
    if x < 0.0 {
        return Err(PgError::new("2201E", "cannot take logarithm of a negative number"));
    }
    Ok(Value::Float8(of(x)))
}

fn trigonometric(x: f64, of: fn(f64) -> f64) -> PgResult<Value> {
    if x.is_infinite() {
        return Err(PgError::new("22003", "input is out of range"));
    }
    Ok(Value::Float8(of(x)))
}

pub(super) fn plan_float_function(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let of_numeric = matches!(name, "exp" | "ln" | "log" | "log10") && call.types.first() == Some(&T::Numeric);
    if of_numeric {
        return Err(
            PgError::unsupported(format!("{name} of numeric is not supported")).with_hint("Cast to double precision.")
        );
    }
    let eval = FLOAT_FUNCTIONS
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, e)| *e)
        .ok_or_else(|| no_function(name, &call.types))?;
    float1(name, call, eval)
}

/// Functions of one double that PostgreSQL has for doubles only: numerics convert.
pub(super) const TRIGONOMETRIC: &[(&str, Eval)] = &[
    ("asin", |_, r| within_one(f(&r[0]), f64::asin)),
    ("acos", |_, r| within_one(f(&r[0]), f64::acos)),
    ("tanh", |_, r| Ok(Value::Float8(f(&r[0]).tanh()))),
];

fn within_one(x: f64, of: fn(f64) -> f64) -> PgResult<Value> {
    if x.is_nan() || (-1.0..=1.0).contains(&x) {
        Ok(Value::Float8(of(x)))
    } else {
        Err(PgError::new("22003", "input is out of range"))
    }
}

pub(super) fn plan_trigonometric(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    match TRIGONOMETRIC.iter().find(|(known, _)| *known == name) {
        Some((_, eval)) => float1(name, call, *eval),
        None => Err(no_function(name, &call.types)),
    }
}

/// `gcd lcm` of integers, `atan2`, `width_bucket` of exact numbers.
pub(super) fn whole_number_functions() -> Vec<Definition> {
    vec![
        strict("atan2", I, |n, c| {
            fixed(n, c, &[T::Float8, T::Float8], T::Float8, |_, r| Ok(Value::Float8(f(&r[0]).atan2(f(&r[1])))))
        }),
        strict("gcd", I, |n, c| plan_divisor(n, c, |_, r| divisor(r, false))),
        strict("lcm", I, |n, c| plan_divisor(n, c, |_, r| divisor(r, true))),
        strict("width_bucket", I, |n, c| {
            let exact = |t: &T| t.is_integer() || *t == T::Numeric;
            match c.types.as_slice() {
                [x, low, high, count]
                    if [x, low, high].into_iter().all(exact) && matches!(count, T::Int2 | T::Int4) =>
                {
                    Ok(Plan::new(DataType::Int32, |_, r| {
                        let (x, low, high) = (to_numeric(&r[0])?, to_numeric(&r[1])?, to_numeric(&r[2])?);
                        bucket(&x, &low, &high, int(&r[3]))
                    }))
                }
                types if types.iter().any(T::is_float) => {
                    Err(PgError::unsupported("width_bucket of double precision is not supported")
                        .with_hint("Cast to numeric."))
                }
                types => Err(no_function(n, types)),
            }
        }),
    ]
}

fn plan_divisor(name: &str, call: &Call<'_>, eval: Eval) -> PgResult<Plan> {
    match call.types.as_slice() {
        [a, b] if a.is_integer() && b.is_integer() => {
            let wide = if *a == T::Int8 || *b == T::Int8 { T::Int8 } else { T::Int4 };
            Ok(Plan::new(wide.arrow(), eval).taking(vec![wide.clone(), wide]))
        }
        types if types.contains(&T::Numeric) => {
            Err(PgError::unsupported(format!("{name} of numeric is not supported")).with_hint("Cast to bigint."))
        }
        types => Err(no_function(name, types)),
    }
}

fn divisor(row: &[Value], is_multiple: bool) -> PgResult<Value> {
    let (a, b) = (i128::from(int(&row[0])), i128::from(int(&row[1])));
    let (mut x, mut y) = (a.abs(), b.abs());
    while y != 0 {
        (x, y) = (y, x % y);
    }
    let result = if !is_multiple {
        x
    } else if x == 0 {
        0
    } else {
        (a / x * b).abs()
    };
    if matches!(row[0], Value::Int8(_)) {
        i64::try_from(result).map(Value::Int8).map_err(|_| PgError::out_of_range("bigint"))
    } else {
        i32::try_from(result).map(Value::Int4).map_err(|_| PgError::out_of_range("integer"))
    }
}

fn bucket(x: &Numeric, low: &Numeric, high: &Numeric, count: i64) -> PgResult<Value> {
    if count <= 0 {
        return Err(PgError::new("2201G", "count must be greater than zero"));
    }
    if low == high {
        return Err(PgError::new("2201G", "lower bound cannot equal upper bound"));
    }
    let (x, low, high) =
        if low < high { (x.clone(), low.clone(), high.clone()) } else { (x.neg(), low.neg(), high.neg()) };
    let bucket = if x < low {
        0
    } else if x >= high {
        count + 1
    } else {
        let part = x.sub(&low).mul(&Numeric::from(count)).div_whole(&high.sub(&low))?;
        part.to_i64_rounded().unwrap_or(0) + 1
    };
    i32::try_from(bucket).map(Value::Int4).map_err(|_| PgError::out_of_range("integer"))
}
