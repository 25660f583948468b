//! Exact decimal arithmetic with PostgreSQL's rules for scales and rounding.

use std::cmp::Ordering;

use arrow::datatypes::i256;
use num_bigint::{BigInt, Sign};
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::error::{PgError, PgResult};

/// A decimal number: `digits / 10^scale`.
#[derive(Debug, Clone)]
pub struct Numeric {
    /// The number without its point.
    pub digits: BigInt,
    /// Digits after the point: what PostgreSQL calls the display scale.
    pub scale: u32,
}

/// 10 to the power of `n`.
pub fn pow10(n: u32) -> BigInt {
    BigInt::from(10u8).pow(n)
}

/// `a / b` rounded half away from zero.
pub fn div_round(a: &BigInt, b: &BigInt) -> BigInt {
    let quotient = a / b;
    let rest = a - &quotient * b;
    if (rest.abs() * 2u8) >= b.abs() {
        if (a.sign() == Sign::Minus) == (b.sign() == Sign::Minus) { quotient + 1u8 } else { quotient - 1u8 }
    } else {
        quotient
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Self {
        Self { digits: BigInt::from(value), scale: 0 }
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Numeric {}
impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        self.at_scale_exact(scale).cmp(&other.at_scale_exact(scale))
    }
}

impl Numeric {
    /// A number from its parts.
    pub fn new(digits: impl Into<BigInt>, scale: u32) -> Self {
        Self { digits: digits.into(), scale }
    }

    /// From a 128-bit decimal value.
    pub fn from_i128(value: i128, scale: i8) -> Self {
        Self { digits: BigInt::from(value), scale: u32::try_from(scale).unwrap_or(0) }
    }

    /// From a 256-bit decimal value.
    pub fn from_i256(value: i256, scale: i8) -> Self {
        Self { digits: BigInt::from_signed_bytes_le(&value.to_le_bytes()), scale: u32::try_from(scale).unwrap_or(0) }
    }

    /// The digits as a 256-bit integer, `None` if they need more.
    pub fn to_i256(&self) -> Option<i256> {
        let bytes = self.digits.to_signed_bytes_le();
        if bytes.len() > 32 {
            return None;
        }
        let fill = if self.digits.is_negative() { 0xff } else { 0 };
        let mut all = [fill; 32];
        all[..bytes.len()].copy_from_slice(&bytes);
        Some(i256::from_le_bytes(all))
    }

    /// The digits with a larger scale.
    fn at_scale_exact(&self, scale: u32) -> BigInt {
        &self.digits * pow10(scale - self.scale)
    }

    /// Rounded half away from zero, or extended with zeros, to `scale` digits after the point.
    #[must_use]
    pub fn round(&self, scale: u32) -> Self {
        let digits = match scale.cmp(&self.scale) {
            Ordering::Equal => self.digits.clone(),
            Ordering::Greater => self.at_scale_exact(scale),
            Ordering::Less => div_round(&self.digits, &pow10(self.scale - scale)),
        };
        Self { digits, scale }
    }

    /// Rounded at a position that may lie before the point: `round(1234, -2)` = 1200.
    #[must_use]
    pub fn round_at(&self, position: i32) -> Self {
        match u32::try_from(position) {
            Ok(scale) => self.round(scale),
            Err(_) => {
                let step = pow10(position.unsigned_abs().min(2000));
                Self { digits: div_round(&self.digits, &(pow10(self.scale) * &step)) * step, scale: 0 }
            }
        }
    }

    /// Cut at a position that may lie before the point.
    #[must_use]
    pub fn trunc_at(&self, position: i32) -> Self {
        match u32::try_from(position) {
            Ok(scale) if scale >= self.scale => self.round(scale),
            Ok(scale) => Self { digits: &self.digits / pow10(self.scale - scale), scale },
            Err(_) => {
                let step = pow10(position.unsigned_abs().min(2000));
                Self { digits: &self.digits / (pow10(self.scale) * &step) * step, scale: 0 }
            }
        }
    }

    /// The largest integer that is not above.
    #[must_use]
    pub fn floor(&self) -> Self {
        let cut = self.trunc_at(0);
        if self.digits.is_negative() && cut != *self { Self::new(cut.digits - 1, 0) } else { cut }
    }

    /// The smallest integer that is not below.
    #[must_use]
    pub fn ceil(&self) -> Self {
        let cut = self.trunc_at(0);
        if self.digits.is_positive() && cut != *self { Self::new(cut.digits + 1, 0) } else { cut }
    }

    /// The exact value at `scale`; an error if digits would be lost.
    ///
    /// # Errors
    /// 22003 where the fraction is longer than `scale`.
    pub fn exactly(&self, scale: u32) -> PgResult<Self> {
        if scale >= self.scale {
            return Ok(self.round(scale));
        }
        let step = pow10(self.scale - scale);
        let digits = &self.digits / &step;
        if &digits * &step != self.digits {
            return Err(PgError::numeric_too_wide());
        }
        Ok(Self { digits, scale })
    }

    /// Number of decimal digits before the point; 0 for a fraction.
    pub fn integer_digits(&self) -> usize {
        let whole = (&self.digits / pow10(self.scale)).abs();
        if whole.is_zero() { 0 } else { whole.to_string().len() }
    }

    /// The value as `numeric(precision, scale)`: rounded, checked.
    ///
    /// # Errors
    /// 22003 `numeric field overflow`.
    pub fn to_precision(&self, precision: u8, scale: i8) -> PgResult<Self> {
        let rounded = self.round_at(i32::from(scale));
        let rounded = if scale >= 0 { rounded.round(u32::try_from(scale).unwrap_or(0)) } else { rounded };
        if rounded.integer_digits() > usize::try_from(i32::from(precision) - i32::from(scale)).unwrap_or(0) {
            return Err(PgError::new("22003", "numeric field overflow"));
        }
        Ok(rounded)
    }

    /// Whether the number is zero.
    pub fn is_zero(&self) -> bool {
        self.digits.is_zero()
    }

    /// Weight (position in base 10000, 0 for 1..9999) and value of the first base-10000 digit, as PostgreSQL stores it. Zero: (0, 0).
    fn weight_and_first_digit(&self) -> (i32, u32) {
        if self.digits.is_zero() {
            return (0, 0);
        }
        let text = self.digits.abs().to_string();
        // Position of the leading decimal digit: 0 for the units.
        let lead = i32::try_from(text.len()).unwrap_or(i32::MAX) - 1 - i32::try_from(self.scale).unwrap_or(i32::MAX);
        let weight = lead.div_euclid(4);
        let take = usize::try_from(lead.rem_euclid(4)).unwrap_or(0) + 1;
        let mut first: String = text.chars().take(take).collect();
        while first.len() < take {
            first.push('0');
        }
        (weight, first.parse().unwrap_or(0))
    }

    /// The scale that PostgreSQL gives to `self / other`: at least 16 significant digits, no fewer than either input shows.
    fn quotient_scale(&self, other: &Self) -> u32 {
        let (w1, d1) = self.weight_and_first_digit();
        let (w2, d2) = other.weight_and_first_digit();
        let mut weight = w1 - w2;
        if d1 <= d2 {
            weight -= 1;
        }
        let scale = 16 - weight * 4;
        let inputs = i32::try_from(self.scale.max(other.scale)).unwrap_or(1000);
        u32::try_from(scale.max(inputs).clamp(0, 1000)).unwrap_or(0)
    }

    /// `self + other`.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let scale = self.scale.max(other.scale);
        Self { digits: self.at_scale_exact(scale) + other.at_scale_exact(scale), scale }
    }

    /// `self - other`.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.neg())
    }

    /// `self * other`, exact.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        Self { digits: &self.digits * &other.digits, scale: self.scale + other.scale }
    }

    /// `self / other` rounded to the scale that PostgreSQL chooses.
    ///
    /// # Errors
    /// 22012.
    pub fn div(&self, other: &Self) -> PgResult<Self> {
        if other.is_zero() {
            return Err(PgError::division_by_zero());
        }
        Ok(self.div_at(other, self.quotient_scale(other)))
    }

    /// `self / other` rounded to `scale`; `other` is not zero.
    pub(crate) fn div_at(&self, other: &Self, scale: u32) -> Self {
        let up = scale + other.scale;
        let digits = if up >= self.scale {
            div_round(&(&self.digits * pow10(up - self.scale)), &other.digits)
        } else {
            div_round(&self.digits, &(&other.digits * pow10(self.scale - up)))
        };
        Self { digits, scale }
    }

    /// The whole part of `self / other`.
    ///
    /// # Errors
    /// 22012.
    pub fn div_whole(&self, other: &Self) -> PgResult<Self> {
        if other.is_zero() {
            return Err(PgError::division_by_zero());
        }
        let scale = self.scale.max(other.scale);
        Ok(Self { digits: self.at_scale_exact(scale) / other.at_scale_exact(scale), scale: 0 })
    }

    /// The rest of the division, with the sign of `self`.
    ///
    /// # Errors
    /// 22012.
    pub fn rem(&self, other: &Self) -> PgResult<Self> {
        if other.is_zero() {
            return Err(PgError::division_by_zero());
        }
        let scale = self.scale.max(other.scale);
        Ok(Self { digits: self.at_scale_exact(scale) % other.at_scale_exact(scale), scale })
    }

    /// `-self`.
    #[must_use]
    pub fn neg(&self) -> Self {
        Self { digits: -&self.digits, scale: self.scale }
    }

    /// The absolute value.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self { digits: self.digits.abs(), scale: self.scale }
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i64 {
        match self.digits.sign() {
            Sign::Minus => -1,
            Sign::NoSign => 0,
            Sign::Plus => 1,
        }
    }

    /// The square root, rounded as PostgreSQL rounds it.
    ///
    /// # Errors
    /// 2201F for a negative number.
    pub fn sqrt(&self) -> PgResult<Self> {
        if self.digits.is_negative() {
            return Err(PgError::new("2201F", "cannot take square root of a negative number"));
        }
        if self.is_zero() {
            return Ok(Self::new(0, self.scale.max(16)));
        }
        // PostgreSQL 15: the weight of the root is half of the input's, rounded towards zero for odd ones.
        let (weight, _) = self.weight_and_first_digit();
        let root_weight = if weight >= 0 { (weight + 1) * 2 - 1 } else { 1 - (1 - weight) * 2 };
        let mut scale = (16 - root_weight).max(i32::try_from(self.scale).unwrap_or(1000)).max(0);
        scale = scale.min(1000);
        Ok(self.sqrt_at(u32::try_from(scale).unwrap_or(0)))
    }

    /// The square root of a number that is not negative, rounded to `scale`.
    pub(crate) fn sqrt_at(&self, scale: u32) -> Self {
        let wide = self.digits.clone() * pow10(2 * (scale + 1) + self.scale % 2);
        // digits * 10^(2k) at an even scale: the root has scale (scale + s)/2 + 1 digits to round away.
        let root = wide.sqrt();
        let root_scale = (self.scale + self.scale % 2) / 2 + scale + 1;
        Self { digits: root, scale: root_scale }.round(scale)
    }

    /// The nearest double.
    pub fn to_f64(&self) -> f64 {
        // Through text: the parser rounds correctly.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The nearest integer, half away from zero.
    pub fn to_i64_rounded(&self) -> Option<i64> {
        self.round(0).digits.to_i64()
    }

    /// The shortest decimal that PostgreSQL makes of a float: `digits` significant digits (15 for double, 6 for real).
    ///
    /// # Errors
    /// 0A000 for NaN and infinity, which numeric columns do not carry here.
    pub fn from_f64(value: f64, digits: usize) -> PgResult<Self> {
        if !value.is_finite() {
            return Err(PgError::unsupported("numeric NaN and infinity are not supported"));
        }
        // As PostgreSQL: %.15g and then the text.
        let text = format!("{value:.*e}", digits - 1);
        let mut number = Self::parse(&text).ok_or_else(PgError::numeric_too_wide)?;
        // %g drops trailing zeros.
        while number.scale > 0 && (&number.digits % 10u8).is_zero() {
            number = Self { digits: number.digits / 10u8, scale: number.scale - 1 };
        }
        Ok(number)
    }

    /// A decimal literal: sign, digits, point, exponent. `None` if it is not one (NaN and infinity included).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
            || exponent.abs() > 2000
            || text.len() > 4000
        {
            return None;
        }
        let mut digits: BigInt = format!("0{whole}{fraction}").parse().ok()?;
        if negative {
            digits = -digits;
        }
        let scale = i32::try_from(fraction.len()).ok()? - exponent;
        Some(match u32::try_from(scale) {
            Ok(scale) => Self { digits, scale },
            Err(_) => Self { digits: digits * pow10(scale.unsigned_abs()), scale: 0 },
        })
    }

    /// One.
    pub fn one() -> Self {
        Self { digits: BigInt::one(), scale: 0 }
    }
}

impl std::fmt::Display for Numeric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.digits.abs().to_string();
        let scale = usize::try_from(self.scale).unwrap_or(0);
        if self.digits.is_negative() {
            f.write_str("-")?;
        }
        if scale == 0 {
            return f.write_str(&text);
        }
        let padded = if text.len() <= scale { format!("{}{text}", "0".repeat(scale + 1 - text.len())) } else { text };
        write!(f, "{}.{}", &padded[..padded.len() - scale], &padded[padded.len() - scale..])
    }
}
