//! The rows of one answer as comparable text, and the difference of two answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta};
use postgres_types::{FromSql, Type};

use crate::AnyError;

/// How many rows of each kind a difference shows.
const SHOWN_ROWS: usize = 12;

/// A value as text; `None` is NULL.
pub type Value = Option<String>;

#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub names: Vec<String>,
    /// As PostgreSQL names them, without modifiers.
    pub types: Vec<String>,
    /// Normalised by [`normal_form`].
    pub rows: Vec<Vec<Value>>,
}

/// Text in the one form in which equal values are equal: numerics without trailing zeros, floats as the shortest decimal.
#[must_use]
pub fn normal_form(type_name: &str, text: &str) -> String {
    match type_name {
        "numeric" if text.contains('.') => {
            let short = text.trim_end_matches('0').trim_end_matches('.');
            if short == "-0" { "0".to_owned() } else { short.to_owned() }
        }
        "float8" => text.parse::<f64>().map_or_else(|_| text.to_owned(), |number| format!("{number:?}")),
        "float4" => text.parse::<f32>().map_or_else(|_| text.to_owned(), |number| format!("{number:?}")),
        _ => text.to_owned(),
    }
}

/// What to compare beside the values.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    pub names: bool,
    pub types: bool,
    /// Rows by position; else as multisets.
    pub order: bool,
}

/// Says how `ours` differs from `reference`; `None` when it does not.
#[must_use]
pub fn difference(ours: &Answer, reference: &Answer, compared: Compared) -> Option<String> {
    if ours.names.len() != reference.names.len() {
        return Some(format!("columns: ours {:?}, reference {:?}", ours.names, reference.names));
    }
    let mut text = String::new();
    if compared.names && ours.names != reference.names {
        let _ = writeln!(text, "column names: ours {:?}, reference {:?}", ours.names, reference.names);
    }
    if compared.types && ours.types != reference.types {
        let _ = writeln!(text, "column types: ours {:?}, reference {:?}", ours.types, reference.types);
    }
    if ours.rows.len() != reference.rows.len() {
        let _ = writeln!(text, "rows: ours {}, reference {}", ours.rows.len(), reference.rows.len());
    }
    if compared.order {
        ordered_difference(&mut text, ours, reference)
    } else {
        multiset_difference(&mut text, ours, reference)
    }
    (!text.is_empty()).then_some(text)
}

fn ordered_difference(text: &mut String, ours: &Answer, reference: &Answer) {
    let rows = ours.rows.len().max(reference.rows.len());
    let differing: Vec<usize> = (0..rows).filter(|index| ours.rows.get(*index) != reference.rows.get(*index)).collect();
    for index in differing.iter().take(SHOWN_ROWS) {
        let _ = writeln!(text, "row {}:", index + 1);
        for (sign, side) in [('-', reference), ('+', ours)] {
            if let Some(row) = side.rows.get(*index) {
                let _ = writeln!(text, "  {sign} {}", row_text(row));
            }
        }
    }
    say_how_many_more(text, differing.len());
}

fn multiset_difference(text: &mut String, ours: &Answer, reference: &Answer) {
    let mut surplus: BTreeMap<&[Value], i64> = BTreeMap::new();
    for row in &ours.rows {
        *surplus.entry(row).or_default() += 1;
    }
    for row in &reference.rows {
        *surplus.entry(row).or_default() -= 1;
    }
    for (sign, wanted) in [('-', -1), ('+', 1)] {
        let rows: Vec<_> = surplus.iter().filter(|(_, count)| count.signum() == wanted).collect();
        for (row, count) in rows.iter().take(SHOWN_ROWS) {
            let times = if count.abs() > 1 { format!("  ({} times)", count.abs()) } else { String::new() };
            let _ = writeln!(text, "  {sign} {}{times}", row_text(row));
        }
        say_how_many_more(text, rows.len());
    }
}

fn say_how_many_more(text: &mut String, rows: usize) {
    if rows > SHOWN_ROWS {
        let _ = writeln!(text, "  … and {} more", rows - SHOWN_ROWS);
    }
}

fn row_text(row: &[Value]) -> String {
    let values: Vec<String> =
        row.iter().map(|value| value.as_ref().map_or("NULL".to_owned(), |text| format!("{text:?}"))).collect();
    values.join(" | ")
}

/// Any value in PostgreSQL's binary format, shown as PostgreSQL shows it in text (a `timestamptz` in UTC).
///
/// This is a second, independent reading of the binary format: what we send is not decoded by our own encoder's inverse.
#[derive(Debug)]
pub struct BinaryAsText(pub String);

impl<'a> FromSql<'a> for BinaryAsText {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        let text = match *ty {
            Type::BOOL => (if bool::from_sql(ty, raw)? { "t" } else { "f" }).to_owned(),
            Type::INT2 => i16::from_sql(ty, raw)?.to_string(),
            Type::INT4 => i32::from_sql(ty, raw)?.to_string(),
            Type::INT8 => i64::from_sql(ty, raw)?.to_string(),
            Type::FLOAT4 => f32::from_sql(ty, raw)?.to_string(),
            Type::FLOAT8 => f64::from_sql(ty, raw)?.to_string(),
            Type::NUMERIC => numeric(raw)?,
            Type::DATE => date(i32::from_be_bytes(raw.try_into()?))?.to_string(),
            Type::TIME => time_of_day(i64::from_be_bytes(raw.try_into()?))?,
            Type::TIMESTAMP | Type::TIMESTAMPTZ => timestamp(i64::from_be_bytes(raw.try_into()?))?,
            Type::INTERVAL => interval(raw)?,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
                std::str::from_utf8(raw)?.to_owned()
            }
            _ => return Err(format!("no reading of the binary format of type {ty}").into()),
        };
        Ok(Self(text))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Groups of four decimal digits, with the weight of the first, a sign and the number of digits shown after the point.
fn numeric(raw: &[u8]) -> Result<String, AnyError> {
    let words: Vec<u16> = raw.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let [count, weight, sign, scale, digits @ ..] = words.as_slice() else {
        return Err("numeric: header cut off".into());
    };
    if digits.len() != usize::from(*count) || !raw.len().is_multiple_of(2) {
        return Err(format!("numeric: {count} groups announced, {} bytes sent", raw.len()).into());
    }
    if digits.iter().any(|group| *group > 9999) {
        return Err("numeric: a group above 9999".into());
    }
    let negative = match *sign {
        0 => false,
        0x4000 => true,
        0xC000 => return Ok("NaN".to_owned()),
        0xD000 => return Ok("Infinity".to_owned()),
        0xF000 => return Ok("-Infinity".to_owned()),
        other => return Err(format!("numeric: sign {other:#06x}").into()),
    };
    let weight = i32::from(weight.cast_signed());
    let group =
        |place: i32| usize::try_from(weight - place).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0);
    let mut text = String::from(if negative { "-" } else { "" });
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", group(place))).collect();
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let scale = usize::from(*scale);
    if scale > 0 {
        let places = i32::try_from(scale.div_ceil(4))?;
        let fraction: String = (1..=places).map(|place| format!("{:04}", group(-place))).collect();
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Ok(text)
}

fn date(days_since_2000: i32) -> Result<NaiveDate, AnyError> {
    let epoch = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date that exists");
    let days = Days::new(u64::from(days_since_2000.unsigned_abs()));
    let date = if days_since_2000 < 0 { epoch.checked_sub_days(days) } else { epoch.checked_add_days(days) };
    date.ok_or_else(|| format!("date: {days_since_2000} days from 2000-01-01").into())
}

fn time_of_day(microseconds: i64) -> Result<String, AnyError> {
    let (seconds, rest) = (microseconds.div_euclid(1_000_000), microseconds.rem_euclid(1_000_000));
    let time =
        NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(seconds)?, 0).ok_or("time: a day or more")?;
    Ok(format!("{time}{}", fraction(rest)))
}

fn timestamp(microseconds_since_2000: i64) -> Result<String, AnyError> {
    let epoch = date(0)?.and_time(NaiveTime::MIN);
    let (seconds, rest) =
        (microseconds_since_2000.div_euclid(1_000_000), microseconds_since_2000.rem_euclid(1_000_000));
    let second = epoch.checked_add_signed(TimeDelta::seconds(seconds)).ok_or("timestamp: beyond the calendar")?;
    Ok(format!("{}{}", second.format("%Y-%m-%d %H:%M:%S"), fraction(rest)))
}

fn interval(raw: &[u8]) -> Result<String, AnyError> {
    let raw: [u8; 16] = raw.try_into()?;
    let microseconds = i64::from_be_bytes(raw[0..8].try_into()?);
    let days = i32::from_be_bytes(raw[8..12].try_into()?);
    let months = i32::from_be_bytes(raw[12..16].try_into()?);
    // Not PostgreSQL's text: both sides are decoded by this, so that any injective text will do.
    Ok(format!("{months} months {days} days {microseconds} µs"))
}

fn fraction(microseconds: i64) -> String {
    if microseconds == 0 { String::new() } else { format!(".{microseconds:06}").trim_end_matches('0').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Compared = Compared { names: true, types: true, order: false };

    fn answer(rows: &[&[Option<&str>]]) -> Answer {
        Answer {
            names: vec!["a".to_owned(), "b".to_owned()],
            types: vec!["text".to_owned(), "int4".to_owned()],
            rows: rows.iter().map(|row| row.iter().map(|value| value.map(str::to_owned)).collect()).collect(),
        }
    }

    #[test]
    fn numerics_differ_by_value_not_by_scale() {
        assert_eq!(normal_form("numeric", "12.50"), "12.5");
        assert_eq!(normal_form("numeric", "-0.00"), "0");
        assert_eq!(normal_form("numeric", "100"), "100");
        assert_eq!(normal_form("text", "12.50"), "12.50");
    }

    #[test]
    fn floats_are_compared_as_their_shortest_text() {
        assert_eq!(normal_form("float8", "1e+15"), normal_form("float8", "1000000000000000"));
        assert_ne!(normal_form("float8", "0.1"), normal_form("float8", "0.10000000000000002"));
    }

    #[test]
    fn the_same_rows_in_another_order_are_equal_unless_the_order_counts() {
        let one = answer(&[&[Some("x"), Some("1")], &[None, Some("2")]]);
        let other = answer(&[&[None, Some("2")], &[Some("x"), Some("1")]]);
        assert_eq!(difference(&one, &other, EVERYTHING), None);
        let ordered = difference(&one, &other, Compared { order: true, ..EVERYTHING }).expect("the order differs");
        assert_eq!(
            ordered,
            "row 1:\n  - NULL | \"2\"\n  + \"x\" | \"1\"\nrow 2:\n  - \"x\" | \"1\"\n  + NULL | \"2\"\n"
        );
    }

    #[test]
    fn a_repeated_row_is_a_difference() {
        let one = answer(&[&[Some("x"), Some("1")], &[Some("x"), Some("1")]]);
        let other = answer(&[&[Some("x"), Some("1")]]);
        let text = difference(&one, &other, EVERYTHING).expect("one row more");
        assert_eq!(text, "rows: ours 2, reference 1\n  + \"x\" | \"1\"\n");
    }

    #[test]
    fn null_is_not_the_empty_string() {
        let text = difference(&answer(&[&[None, None]]), &answer(&[&[Some(""), None]]), EVERYTHING);
        assert_eq!(text.as_deref(), Some("  - \"\" | NULL\n  + NULL | NULL\n"));
    }

    #[test]
    fn names_and_types_are_differences_of_their_own() {
        let one = answer(&[]);
        let mut other = answer(&[]);
        other.names[1] = "sum".to_owned();
        other.types[1] = "int8".to_owned();
        assert!(difference(&one, &other, EVERYTHING).is_some());
        assert_eq!(difference(&one, &other, Compared { names: false, types: false, order: false }), None);
    }

    #[test]
    fn the_binary_format_is_read_as_postgresql_writes_text() -> Result<(), AnyError> {
        let read = |ty: &Type, raw: &[u8]| BinaryAsText::from_sql(ty, raw).map(|value| value.0);
        // -1234567.0890
        let numeric = [0, 4, 0, 1, 0x40, 0, 0, 4, 0, 123, 0x11, 0xD7, 0x03, 0x7A, 0, 0];
        assert_eq!(read(&Type::NUMERIC, &numeric)?, "-1234567.0890");
        // 0.0007
        assert_eq!(read(&Type::NUMERIC, &[0, 1, 0xFF, 0xFF, 0, 0, 0, 4, 0, 7])?, "0.0007");
        assert_eq!(read(&Type::NUMERIC, &[0, 0, 0, 0, 0, 0, 0, 0])?, "0");
        assert!(read(&Type::NUMERIC, &[0, 2, 0, 0, 0, 0, 0, 0, 0, 1]).is_err());
        assert_eq!(read(&Type::DATE, &(-1_i32).to_be_bytes())?, "1999-12-31");
        assert_eq!(read(&Type::TIMESTAMP, &(-1_i64).to_be_bytes())?, "1999-12-31 23:59:59.999999");
        assert_eq!(read(&Type::TIMESTAMP, &1_500_000_i64.to_be_bytes())?, "2000-01-01 00:00:01.5");
        assert_eq!(read(&Type::BOOL, &[1])?, "t");
        Ok(())
    }
}
