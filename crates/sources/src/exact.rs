//! Exact conversions of numbers: a result that means the same, or none.

use datafusion::arrow::datatypes::{ArrowNativeTypeOp, Decimal128Type, Decimal256Type, DecimalType, i256};

use crate::column_reader::BadValue;

/// Decimal types whose unscaled values can be built from small pieces.
pub(crate) trait ExactDecimal: DecimalType {
    fn unscaled_from(value: i128) -> Self::Native;
}

impl ExactDecimal for Decimal128Type {
    fn unscaled_from(value: i128) -> i128 {
        value
    }
}

impl ExactDecimal for Decimal256Type {
    fn unscaled_from(value: i128) -> i256 {
        i256::from_i128(value)
    }
}

pub(crate) fn too_many_digits() -> BadValue {
    BadValue::new("a number with too many digits")
}

pub(crate) fn too_many_decimals() -> BadValue {
    BadValue::new("a number with too many digits after the decimal point")
}

/// `value` as a decimal of `scale`.
pub(crate) fn decimal_from_i128<T: ExactDecimal>(value: i128, precision: u8, scale: i8) -> Result<T::Native, BadValue> {
    let scale = u32::try_from(scale).map_err(|_| too_many_digits())?;
    let factor = power_of_ten::<T>(scale)?;
    within::<T>(T::unscaled_from(value).mul_checked(factor).map_err(|_| too_many_digits())?, precision)
}

/// The decimal that `groups` of four digits make, most significant first; the first group counts 10000^`weight`.
///
/// `groups` are 0..=9999, as PostgreSQL sends them.
pub(crate) fn decimal_from_groups<T: ExactDecimal>(
    groups: impl Iterator<Item = u16>,
    weight: i32,
    negative: bool,
    precision: u8,
    scale: i8,
) -> Result<T::Native, BadValue> {
    let scale = i32::from(scale);
    let (mut unscaled, mut small, mut pending) = (T::unscaled_from(0), 0_i64, 0_u32);
    // The power of ten of the digit before the next group.
    let mut position = 4_i32.saturating_mul(weight + 1);
    for group in groups {
        if group > 9999 {
            return Err(BadValue::malformed());
        }
        // How many of the group's four digits lie within the scale.
        let kept = position.saturating_add(scale).clamp(0, 4) as u32;
        let cut = 10_u16.pow(4 - kept);
        if group % cut != 0 {
            return Err(too_many_decimals());
        }
        // Sixteen digits fit a machine word; the wide number is touched once for all of them.
        small = small * 10_i64.pow(kept) + i64::from(group / cut);
        pending += kept;
        if pending > 12 {
            unscaled = shifted::<T>(unscaled, pending, small)?;
            (small, pending) = (0, 0);
        }
        position -= 4;
    }
    unscaled = shifted::<T>(unscaled, pending, small)?;
    // The last group may have ended before the scale.
    let missing = position.max(-scale) + scale;
    unscaled = shifted::<T>(unscaled, missing.unsigned_abs(), 0)?;
    let signed = if negative { unscaled.neg_wrapping() } else { unscaled };
    within::<T>(signed, precision)
}

/// The decimal that a text such as `-12.340` means.
pub(crate) fn decimal_from_text<T: ExactDecimal>(text: &[u8], precision: u8, scale: i8) -> Result<T::Native, BadValue> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let scale = u32::try_from(scale).map_err(|_| too_many_digits())?;
    let (mut unscaled, mut small) = (T::unscaled_from(0), 0_i64);
    let (mut pending, mut decimals, mut in_fraction, mut any) = (0_u32, 0_u32, false, false);
    for &byte in digits {
        match byte {
            b'.' if !in_fraction => in_fraction = true,
            b'0' if in_fraction && decimals == scale => any = true,
            b'1'..=b'9' if in_fraction && decimals == scale => return Err(too_many_decimals()),
            b'0'..=b'9' => {
                any = true;
                decimals += u32::from(in_fraction);
                // Eighteen digits fit a machine word; the wide number is touched once for all of them.
                small = small * 10 + i64::from(byte - b'0');
                pending += 1;
                if pending == 18 {
                    unscaled = shifted::<T>(unscaled, pending, small)?;
                    (small, pending) = (0, 0);
                }
            }
            _ => return Err(BadValue::malformed()),
        }
    }
    if !any {
        return Err(BadValue::malformed());
    }
    unscaled = shifted::<T>(unscaled, pending, small)?;
    unscaled = shifted::<T>(unscaled, scale - decimals, 0)?;
    let signed = if negative { unscaled.neg_wrapping() } else { unscaled };
    within::<T>(signed, precision)
}

fn shifted<T: ExactDecimal>(unscaled: T::Native, digits: u32, added: i64) -> Result<T::Native, BadValue> {
    let added = T::unscaled_from(i128::from(added));
    if unscaled == T::unscaled_from(0) {
        // 10^77 does not exist as a number, but zero times it does.
        return Ok(added);
    }
    unscaled
        .mul_checked(power_of_ten::<T>(digits)?)
        .and_then(|shifted| shifted.add_checked(added))
        .map_err(|_| too_many_digits())
}

fn power_of_ten<T: ExactDecimal>(exponent: u32) -> Result<T::Native, BadValue> {
    T::unscaled_from(10).pow_checked(exponent).map_err(|_| too_many_digits())
}

fn within<T: ExactDecimal>(unscaled: T::Native, precision: u8) -> Result<T::Native, BadValue> {
    if T::is_valid_decimal_precision(unscaled, precision) { Ok(unscaled) } else { Err(too_many_digits()) }
}

/// One zero and one NaN, so that equal values have equal bits.
pub(crate) fn exact_f64(value: f64) -> f64 {
    if value == 0.0 {
        0.0
    } else if value.is_nan() {
        f64::NAN
    } else {
        value
    }
}

/// The same number in half the bits.
pub(crate) fn exact_f32(value: f64) -> Result<f32, BadValue> {
    if value == 0.0 {
        return Ok(0.0);
    }
    if value.is_nan() {
        return Ok(f32::NAN);
    }
    let narrow = value as f32;
    if f64::from(narrow) == value { Ok(narrow) } else { Err(too_many_digits()) }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Decimal128Type, Decimal256Type, i256};

    use super::{decimal_from_groups, decimal_from_i128, decimal_from_text};

    fn text128(text: &str, precision: u8, scale: i8) -> Result<i128, String> {
        decimal_from_text::<Decimal128Type>(text.as_bytes(), precision, scale).map_err(|bad| bad.kind.into_owned())
    }

    #[test]
    fn decimal_texts_are_read_to_the_last_digit_or_refused() {
        let decimals = Err("a number with too many digits after the decimal point".to_owned());
        let digits = Err("a number with too many digits".to_owned());
        let malformed = Err("a malformed value".to_owned());
        assert_eq!(text128("-12.340", 5, 2), Ok(-1234));
        assert_eq!(text128("12.345", 5, 2), decimals);
        assert_eq!(text128("1000", 5, 2), digits);
        assert_eq!(text128("999.99", 5, 2), Ok(99999));
        assert_eq!(text128("0.000000", 5, 2), Ok(0));
        assert_eq!(text128("+.5", 5, 2), Ok(50));
        assert_eq!(text128("5.", 5, 2), Ok(500));
        assert_eq!(text128("99999999999999999999999999999999999999", 38, 0), Ok(10_i128.pow(38) - 1));
        assert_eq!(text128("100000000000000000000000000000000000000", 38, 0), digits);
        for text in ["", ".", "-", "1e5", "1.2.3", "NaN", " 1", "0x1"] {
            assert_eq!(text128(text, 5, 2), malformed, "{text:?}");
        }
    }

    #[test]
    fn groups_of_four_digits_are_read_at_every_weight_and_scale() {
        let read = |groups: &[u16], weight, precision, scale| {
            decimal_from_groups::<Decimal128Type>(groups.iter().copied(), weight, false, precision, scale)
                .map_err(|bad| bad.kind.into_owned())
        };
        let decimals = Err("a number with too many digits after the decimal point".to_owned());
        assert_eq!(read(&[1, 2345, 6000], 1, 12, 2), Ok(1_234_560));
        assert_eq!(read(&[1], 0, 12, 2), Ok(100));
        assert_eq!(read(&[1], 2, 12, 2), Ok(10_000_000_000));
        assert_eq!(read(&[1000], -1, 12, 2), Ok(10));
        assert_eq!(read(&[100], -1, 12, 2), Ok(1));
        assert_eq!(read(&[10], -1, 12, 2), decimals);
        assert_eq!(read(&[1, 0, 0], -2, 12, 8), Ok(1));
        assert_eq!(read(&[1, 0, 0, 0], 0, 12, 2), Ok(100));
        assert_eq!(read(&[1, 0, 0, 1], 0, 12, 2), decimals);
        assert_eq!(read(&[], 0, 12, 2), Ok(0));
        assert_eq!(read(&[0, 0], 5, 12, 2), Ok(0));
        assert_eq!(read(&[1], 100, 38, 2), Err("a number with too many digits".to_owned()));
        assert_eq!(read(&[10_000], 0, 12, 2), Err("a malformed value".to_owned()));
    }

    #[test]
    fn the_widest_decimal_is_read_whole() {
        let text = format!("{}.{}", "9".repeat(56), "9".repeat(20));
        let expected = i256::from_string(&"9".repeat(76));
        assert_eq!(decimal_from_text::<Decimal256Type>(text.as_bytes(), 76, 20).ok(), expected);
        assert_eq!(decimal_from_i128::<Decimal256Type>(-3, 76, 20).ok(), i256::from_string("-300000000000000000000"));
    }
}
