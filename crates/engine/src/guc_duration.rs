//! Durations as PostgreSQL's settings read and show them: whole milliseconds, `us ms s min h d`.

/// Largest first: a value is shown in the first unit that divides it.
const UNITS: [(&str, f64); 6] =
    [("d", 86_400_000.0), ("h", 3_600_000.0), ("min", 60_000.0), ("s", 1_000.0), ("ms", 1.0), ("us", 0.001)];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalid {
    NoNumber,
    UnknownUnit,
    /// Beyond what an int4 holds.
    TooLarge,
    Negative {
        milliseconds: i64,
    },
}

/// Milliseconds of a text such as `1.5s`, `90 min`, `0x10` or `250`; parts of one are rounded, halves to the even.
///
/// # Errors
/// [`Invalid`]; units are written as here, in lower case.
pub fn parse(text: &str) -> Result<i32, Invalid> {
    let text = text.trim_start();
    let (number, rest) = leading_number(text).ok_or(Invalid::NoNumber)?;
    let unit = rest.trim();
    let factor = match unit {
        "" => 1.0,
        unit => UNITS.iter().find(|(name, _)| *name == unit).ok_or(Invalid::UnknownUnit)?.1,
    };
    let milliseconds = (number * factor).round_ties_even();
    if milliseconds > f64::from(i32::MAX) || milliseconds < f64::from(i32::MIN) {
        return Err(Invalid::TooLarge);
    }
    let milliseconds = milliseconds as i32;
    if milliseconds < 0 {
        return Err(Invalid::Negative { milliseconds: i64::from(milliseconds) });
    }
    Ok(milliseconds)
}

/// The number that a text begins with, and what follows.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        return Some((i64::from_str_radix(&hex[..end], 16).ok()? as f64, &hex[end..]));
    }
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = |from: usize| text[from..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| from + at);
    let mut end = digits(sign);
    if text[end..].starts_with('.') {
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let exponent = end + 1 + usize::from(text[end + 1..].starts_with(['+', '-']));
        if digits(exponent) > exponent {
            end = digits(exponent);
        }
    }
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// As SHOW prints it: `0`, `1500ms`, `2min`.
#[must_use]
pub fn shown(milliseconds: i32) -> String {
    let whole = f64::from(milliseconds);
    match UNITS.iter().find(|(_, factor)| milliseconds != 0 && whole % factor == 0.0) {
        Some((unit, factor)) => format!("{}{unit}", (whole / factor) as i64),
        None => milliseconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Invalid, parse, shown};

    /// What PostgreSQL 15 shows after SET statement_timeout.
    #[test]
    fn durations_are_read_and_shown_as_postgresql_does() {
        let cases = [
            ("60000", "1min"),
            ("1500ms", "1500ms"),
            ("1.5s", "1500ms"),
            ("2min", "2min"),
            ("120000", "2min"),
            ("1h", "1h"),
            ("25h", "25h"),
            ("1d", "1d"),
            ("90 min", "90min"),
            ("1500us", "2ms"),
            ("2500us", "2ms"),
            ("1e3", "1s"),
            ("0x10", "16ms"),
            ("0.4ms", "0"),
            (".5min", "30s"),
            (" 3s ", "3s"),
            ("0", "0"),
            ("2147483647", "2147483647ms"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(shown), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_postgresql_refuses_is_refused() {
        assert_eq!(parse("5m"), Err(Invalid::UnknownUnit));
        assert_eq!(parse("1 S"), Err(Invalid::UnknownUnit));
        assert_eq!(parse("1s s"), Err(Invalid::UnknownUnit));
        assert_eq!(parse(""), Err(Invalid::NoNumber));
        assert_eq!(parse("abc"), Err(Invalid::NoNumber));
        assert_eq!(parse("-1"), Err(Invalid::Negative { milliseconds: -1 }));
        assert_eq!(parse("100d"), Err(Invalid::TooLarge));
        assert_eq!(parse("2147483648"), Err(Invalid::TooLarge));
    }
}
