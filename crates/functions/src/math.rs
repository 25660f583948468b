//! Powers, with PostgreSQL's errors.

use crate::error::{PgError, PgResult};
use crate::numeric::Numeric;

/// `a ^ b` of doubles.
pub(crate) fn power_float(a: f64, b: f64) -> PgResult<f64> {
    if a == 0.0 && b < 0.0 {
        return Err(PgError::new("2201F", "zero raised to a negative power is undefined"));
    }
    if a < 0.0 && b.is_finite() && b.fract() != 0.0 {
        return Err(PgError::new("2201F", "a negative number raised to a non-integer power yields a complex result"));
    }
    let result = a.powf(b);
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(PgError::new("22003", "value out of range: overflow"));
    }
    if result == 0.0 && a != 0.0 && b.is_finite() {
        return Err(PgError::new("22003", "value out of range: underflow"));
    }
    Ok(result)
}

/// `a ^ b` of numerics, for exponents that are whole and not negative; others are refused because their digits were not compared.
pub(crate) fn power_numeric(a: &Numeric, b: &Numeric) -> PgResult<Numeric> {
    if a.signum() < 0 && b.exactly(0).is_err() {
        return Err(PgError::new("2201F", "a negative number raised to a non-integer power yields a complex result"));
    }
    if a.is_zero() && b.signum() < 0 {
        return Err(PgError::new("2201F", "zero raised to a negative power is undefined"));
    }
    let exponent = b.exactly(0).ok().and_then(|e| e.to_i64_rounded()).filter(|e| (0..=200).contains(e));
    let Some(exponent) = exponent else {
        return Err(PgError::unsupported("numeric powers with fractional or negative exponents are not supported")
            .with_hint("Cast to double precision."));
    };
    let mut result = Numeric::one();
    for _ in 0..exponent {
        result = result.mul(a);
        if result.integer_digits() > 76 {
            return Err(PgError::numeric_too_wide());
        }
    }
    // PostgreSQL shows at least 16 significant digits; zeros beyond do not change the value, but digits beyond would be rounded away.
    let shown = 16u32.max(a.scale);
    if result.scale > shown {
        let rounded = result.round(shown);
        if rounded != result {
            return Err(PgError::unsupported("numeric powers that have to be rounded are not supported")
                .with_hint("Cast to double precision."));
        }
        return Ok(rounded);
    }
    Ok(result)
}
