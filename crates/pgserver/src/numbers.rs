//! Floats and decimals in PostgreSQL's text, and `numeric` in its binary form.

use bytes::{BufMut, BytesMut};
use datafusion::arrow::datatypes::i256;

/// Decimal digits of an unscaled value, most significant first, no leading zeros; `0` has none.
pub(crate) struct Digits {
    buffer: [u8; 80],
    start: usize,
    negative: bool,
}

impl Digits {
    pub(crate) fn of_i128(value: i128) -> Self {
        let mut digits = Self { buffer: [0; 80], start: 80, negative: value < 0 };
        digits.push(value.unsigned_abs());
        digits
    }

    pub(crate) fn of_i256(value: i256) -> Self {
        if let Some(small) = value.to_i128() {
            return Self::of_i128(small);
        }
        const CHUNK: i128 = 10_i128.pow(38);
        let mut digits = Self { buffer: [0; 80], start: 80, negative: value.is_negative() };
        let chunk = i256::from_i128(CHUNK);
        let mut rest = value;
        loop {
            let part = rest.wrapping_rem(chunk).to_i128().unwrap_or(0).unsigned_abs();
            rest = rest.wrapping_div(chunk);
            let end = digits.start;
            digits.push(part);
            if rest == i256::ZERO {
                return digits;
            }
            // A chunk in the middle has its leading zeros.
            digits.start = end.saturating_sub(38);
        }
    }

    /// Writes `value` in front of what is there.
    fn push(&mut self, mut value: u128) {
        // 64-bit division is several times faster, and nearly all values are small.
        while value > u128::from(u64::MAX) {
            self.start -= 1;
            self.buffer[self.start] = (value % 10) as u8;
            value /= 10;
        }
        let mut value = value as u64;
        while value > 0 {
            self.start -= 1;
            self.buffer[self.start] = (value % 10) as u8;
            value /= 10;
        }
    }

    fn all(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The number of digits behind the point that are left when trailing zeros are cut.
    fn scale_without_zeros(&self, scale: usize) -> usize {
        let zeros = self.all().iter().rev().take_while(|digit| **digit == 0).count();
        if self.all().is_empty() { 0 } else { scale.saturating_sub(zeros) }
    }

    /// The digits behind the point that PostgreSQL shows of a quotient: at least 16 significant ones, counted in groups of four,
    /// and every digit that is there. Where the first groups of dividend and divisor are equal PostgreSQL shows four more zeros.
    fn scale_of_quotient(&self, scale: usize) -> usize {
        let shown = match self.all().len() {
            0 => 16,
            length => {
                let leading = length as i64 - 1 - scale as i64;
                (16 - 4 * leading.div_euclid(4)).clamp(0, scale as i64) as usize
            }
        };
        shown.min(scale).max(self.scale_without_zeros(scale))
    }

    fn shown_scale(&self, scale: usize, shown: Scale) -> usize {
        match shown {
            Scale::Declared => scale,
            Scale::Shortest => self.scale_without_zeros(scale),
            Scale::Quotient => self.scale_of_quotient(scale),
        }
    }

    /// The digit that stands for 10^`power` of the unscaled value.
    fn at(&self, power: usize) -> u8 {
        if power < self.all().len() { self.buffer[79 - power] } else { 0 }
    }
}

/// How many digits behind the point are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// As many as the type has.
    Declared,
    /// As many as the value needs: a bare `numeric`.
    Shortest,
    /// As many as PostgreSQL's division and `avg` show.
    Quotient,
}

/// `scale` is the number of digits behind the point; negative scales have that many zeros before it.
pub(crate) fn put_numeric_text(output: &mut BytesMut, digits: &Digits, scale: i8, shown: Scale) {
    let places = usize::try_from(scale).unwrap_or(0);
    let zeros = usize::from(scale.min(0).unsigned_abs());
    let cut = places - digits.shown_scale(places, shown);
    if digits.negative {
        output.put_u8(b'-');
    }
    let length = digits.all().len();
    if length <= places {
        output.put_u8(b'0');
    } else {
        for power in (places..length).rev() {
            output.put_u8(b'0' + digits.at(power));
        }
        output.put_bytes(b'0', zeros);
    }
    if places > cut {
        output.put_u8(b'.');
        for power in (cut..places).rev() {
            output.put_u8(b'0' + digits.at(power));
        }
    }
}

/// Base-10000 digits with a weight, the sign and the display scale, each two bytes.
pub(crate) fn put_numeric_binary(output: &mut BytesMut, digits: &Digits, scale: i8, shown: Scale) {
    let places = usize::try_from(scale).unwrap_or(0);
    let zeros = usize::from(scale.min(0).unsigned_abs());
    let display = digits.shown_scale(places, shown);
    // Groups of four are counted from the point, so the unscaled value is shifted until the point lies between groups.
    let shift = (4 - places % 4) % 4 + zeros;
    let fraction_groups = places.div_ceil(4);
    let group = |index: usize| {
        (0..4).rev().fold(0_i16, |group, place| {
            let power = (index * 4 + place).checked_sub(shift);
            group * 10 + power.map_or(0, |power| i16::from(digits.at(power)))
        })
    };
    let total = (digits.all().len() + shift).div_ceil(4);
    let first = (0..total).rev().find(|index| group(*index) != 0);
    let (count, weight, lowest) = match first {
        None => (0, 0, 0),
        Some(first) => {
            let lowest = (0..=first).find(|index| group(*index) != 0).unwrap_or(first);
            (first - lowest + 1, first as i16 - fraction_groups as i16, lowest)
        }
    };
    output.put_i16(count as i16);
    output.put_i16(weight);
    output.put_u16(if digits.negative { 0x4000 } else { 0 });
    output.put_u16(display as u16);
    for index in (lowest..lowest + count).rev() {
        output.put_i16(group(index));
    }
}

pub(crate) fn put_float8(output: &mut BytesMut, value: f64) {
    if value.is_finite() {
        put_shortest(output, ryu::Buffer::new().format_finite(value), 15);
    } else {
        put_special(output, value);
    }
}

pub(crate) fn put_float4(output: &mut BytesMut, value: f32) {
    if value.is_finite() {
        put_shortest(output, ryu::Buffer::new().format_finite(value), 6);
    } else {
        put_special(output, f64::from(value));
    }
}

fn put_special(output: &mut BytesMut, value: f64) {
    output.put_slice(if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    });
}

/// Takes the shortest digits out of ryu's text and writes them as PostgreSQL does: with an exponent below 10⁻⁴ and from
/// 10^`exponent_from` on.
fn put_shortest(output: &mut BytesMut, text: &str, exponent_from: i32) {
    let mut digits = [0_u8; 32];
    let mut length = 0;
    let mut point: Option<usize> = None;
    let mut exponent = 0_i32;
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'-' => output.put_u8(b'-'),
            b'.' => point = Some(length),
            b'e' => {
                exponent = text[i + 1..].parse().unwrap_or(0);
                break;
            }
            digit => {
                digits[length] = digit;
                length += 1;
            }
        }
    }
    // Now the value is 0.DIGITS × 10^scale.
    let mut scale = point.unwrap_or(length) as i32 + exponent;
    let leading = digits[..length].iter().take_while(|digit| **digit == b'0').count();
    scale -= leading as i32;
    let end = digits[..length].iter().rposition(|digit| *digit != b'0').map_or(leading, |last| last + 1);
    let digits = &digits[leading..end.max(leading)];
    if digits.is_empty() {
        output.put_u8(b'0');
        return;
    }
    let exponent = scale - 1;
    if exponent < -4 || exponent >= exponent_from {
        output.put_u8(digits[0]);
        if digits.len() > 1 {
            output.put_u8(b'.');
            output.put_slice(&digits[1..]);
        }
        output.put_slice(if exponent < 0 { b"e-" } else { b"e+" });
        let shown = exponent.unsigned_abs();
        if shown < 10 {
            output.put_u8(b'0');
        }
        output.put_slice(itoa::Buffer::new().format(shown).as_bytes());
    } else if scale <= 0 {
        output.put_slice(b"0.");
        output.put_bytes(b'0', scale.unsigned_abs() as usize);
        output.put_slice(digits);
    } else {
        let whole = scale as usize;
        if digits.len() <= whole {
            output.put_slice(digits);
            output.put_bytes(b'0', whole - digits.len());
        } else {
            output.put_slice(&digits[..whole]);
            output.put_u8(b'.');
            output.put_slice(&digits[whole..]);
        }
    }
}
