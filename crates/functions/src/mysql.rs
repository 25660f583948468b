//! MySQL's meaning of operators, for calculated measures of MySQL cubes: division of exact numbers has the dividend's scale plus four and gives
//! NULL for a zero divisor.

use arrow::datatypes::DataType;
use datafusion_expr::Volatility;

use crate::cast::to_numeric;
use crate::error::PgResult;
use crate::function::{Call, Definition, Plan, no_function};
use crate::types::{PgType, decimal_parts, decimal_type};
use crate::value::Value;

pub(crate) fn definitions() -> Vec<Definition> {
    let of = |name, plan| Definition { name, volatility: Volatility::Immutable, strict: true, plan };
    vec![of("my_div", plan_div), of("my_mod", plan_mod)]
}

fn exact(name: &str, call: &Call<'_>) -> PgResult<((u8, i8), (u8, i8))> {
    let parts = |i: usize| call.data.get(i).and_then(decimal_parts);
    match (parts(0), parts(1)) {
        (Some(a), Some(b))
            if call.types.len() == 2
                && call.types.iter().all(|t| t.is_integer() || matches!(t, PgType::Numeric | PgType::Unknown)) =>
        {
            Ok((a, b))
        }
        _ => Err(no_function(name, &call.types)),
    }
}

/// `a / b` rounded half away from zero after the dividend's scale plus four, at most 30 digits; NULL for b = 0.
fn plan_div(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let ((p1, s1), (_, s2)) = exact(name, call)?;
    let scale = (i32::from(s1) + 4).min(30);
    Ok(Plan::new(decimal_type(i32::from(p1) - i32::from(s1) + i32::from(s2), scale), |c, r| {
        let (a, b) = (to_numeric(&r[0])?, to_numeric(&r[1])?);
        if b.is_zero() {
            return Ok(Value::Null);
        }
        let scale = match c.ret.data_type() {
            DataType::Decimal128(_, s) | DataType::Decimal256(_, s) => u32::try_from(*s).unwrap_or(0),
            _ => 4,
        };
        Ok(Value::Numeric(a.div_at(&b, scale)))
    })
    .makes_null())
}

fn plan_mod(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let ((p1, s1), (p2, s2)) = exact(name, call)?;
    let ret = if call.types.iter().all(PgType::is_integer) {
        DataType::Int64
    } else {
        let digits = (i32::from(p1) - i32::from(s1)).max(i32::from(p2) - i32::from(s2));
        decimal_type(digits, i32::from(s1.max(s2)))
    };
    Ok(Plan::new(ret, |c, r| {
        let (a, b) = (to_numeric(&r[0])?, to_numeric(&r[1])?);
        if b.is_zero() {
            return Ok(Value::Null);
        }
        let rest = a.rem(&b)?;
        Ok(if *c.ret.data_type() == DataType::Int64 {
            Value::Int8(rest.to_i64_rounded().unwrap_or(0))
        } else {
            Value::Numeric(rest)
        })
    })
    .makes_null())
}
