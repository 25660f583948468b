//! The values that catalog tables hold and catalog expressions compute.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// One value. Its PostgreSQL type is known where it is used, not here: an `Int` may be an int2, an oid or a regclass.
#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Bool(bool),
    /// Every integer type, oid, xid, and the reg* types (their oid).
    Int(i64),
    Float(f64),
    /// text, name, "char", json and every type that is only passed through as text.
    Text(Arc<str>),
    Array(Arc<ArrayValue>),
    Record(Arc<[Value]>),
    /// timestamp or timestamptz, microseconds since 1970-01-01 UTC.
    Time(i64),
}

/// A one-dimensional array. int2vector and oidvector are arrays that start at 0.
#[derive(Debug, Clone)]
pub struct ArrayValue {
    pub lower: i64,
    pub items: Vec<Value>,
}

impl Value {
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    pub fn array(items: Vec<Value>) -> Self {
        Self::Array(Arc::new(ArrayValue { lower: 1, items }))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Float(float) => Some(*float as i64),
            _ => None,
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// The items of an array, none for everything else.
    pub fn items(&self) -> &[Value] {
        match self {
            Self::Array(array) => &array.items,
            _ => &[],
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Float(_) => 1,
            Self::Time(_) => 2,
            Self::Text(_) => 3,
            Self::Array(_) => 4,
            Self::Record(_) => 5,
            Self::Null => 6,
        }
    }
}

/// The total order that sorting, grouping and joining use: NULL is equal to NULL and last, text goes by code point.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) | (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Int(a), Self::Float(b)) => (*a as f64).total_cmp(b),
            (Self::Float(a), Self::Int(b)) => a.total_cmp(&(*b as f64)),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Array(a), Self::Array(b)) => a.items.cmp(&b.items),
            (Self::Record(a), Self::Record(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Null => state.write_u8(6),
            Self::Bool(value) => value.hash(state),
            // As a float, because an Int equals the Float of the same number.
            Self::Int(value) => (*value as f64).to_bits().hash(state),
            Self::Float(value) => value.to_bits().hash(state),
            Self::Time(value) => value.hash(state),
            Self::Text(value) => value.hash(state),
            Self::Array(value) => value.items.hash(state),
            Self::Record(value) => value.hash(state),
        }
    }
}

/// Splits the text form of an array, `{a,"b c",NULL}`, into its items; `None` for text that is not one.
pub fn parse_array(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inner.chars();
    let (mut item, mut quoted, mut inside) = (String::new(), false, false);
    loop {
        match chars.next() {
            Some('\\') => item.push(chars.next()?),
            Some('"') => {
                quoted = true;
                inside = !inside;
            }
            Some('{' | '}') if !inside => return None,
            next @ (Some(',') | None) if !inside || next.is_none() => {
                if inside {
                    return None;
                }
                let plain = item.trim();
                items.push(match quoted {
                    true => Some(std::mem::take(&mut item)),
                    false if plain.eq_ignore_ascii_case("null") => None,
                    false => Some(plain.to_owned()),
                });
                item.clear();
                quoted = false;
                if next.is_none() {
                    return Some(items);
                }
            }
            Some(other) => item.push(other),
            None => return None,
        }
    }
}

/// Writes items as the text form of an array.
pub fn write_array(items: impl Iterator<Item = Option<String>>) -> String {
    let mut out = String::from("{");
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        match item {
            None => out.push_str("NULL"),
            Some(item) => {
                let special = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ',' | '"' | '\\');
                if item.is_empty() || item.eq_ignore_ascii_case("null") || item.contains(special) {
                    out.push('"');
                    for c in item.chars() {
                        if matches!(c, '"' | '\\') {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                    out.push('"');
                } else {
                    out.push_str(&item);
                }
            }
        }
    }
    out.push('}');
    out
}

/// Writes microseconds since 1970-01-01 as `YYYY-MM-DD HH:MM:SS[.ffffff]`.
pub fn write_time(us: i64) -> String {
    let (days, in_day) = (us.div_euclid(86_400_000_000), us.rem_euclid(86_400_000_000));
    // Days to a civil date, counting eras of 400 years from 0000-03-01.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, fraction) = (in_day / 1_000_000, in_day % 1_000_000);
    let mut out =
        format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        out.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    out
}
