//! Durations and sizes as people write them: `30s`, `4GiB`.

use std::time::Duration;

/// A whole or decimal number with `ms`, `s`, `m`, `min`, `h` or `d`, or several of them (`1h30m`).
///
/// `None` for anything else, a number without unit included: nobody knows whether it means seconds or milliseconds.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let unit_length = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let seconds = match &after[..unit_length] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after[unit_length..].trim_start();
    }
    Some(total)
}

/// Bytes: a number with `B`, `kB`, `MB`, `GB`, `TB` (thousands) or `KiB`, `MiB`, `GiB`, `TiB` (1024).
pub fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = split_number(text.trim())?;
    let factor: f64 = match unit.trim() {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * factor;
    // Above this, floats skip whole numbers, and no machine has as much.
    (bytes <= 9e15).then_some(bytes as usize)
}

fn split_number(text: &str) -> Option<(f64, &str)> {
    let length = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..length].parse().ok()?;
    Some((number, text[length..].trim_start()))
}
