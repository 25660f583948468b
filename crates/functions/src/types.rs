//! PostgreSQL's types as this process carries them in Arrow, and PostgreSQL's rules for the common type of several.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, IntervalUnit, TimeUnit};

use crate::PG_TYPE;

/// Fractional digits of a computed numeric whose scale PostgreSQL decides value by value (quotients, averages, roots). The value is
/// rounded exactly as PostgreSQL rounds it and then carried with 44 fractional digits; a value that needs more is an error, not rounded.
pub const QUOTIENT_SCALE: i8 = 44;

/// The carrier of quotients and averages: `Decimal256(76, 44)`.
pub const QUOTIENT: DataType = DataType::Decimal256(DECIMAL256_MAX_PRECISION, QUOTIENT_SCALE);

/// The carrier of a numeric without precision: `Decimal256(76, 20)`.
pub const BARE_NUMERIC: DataType = DataType::Decimal256(DECIMAL256_MAX_PRECISION, 20);

/// The modifier of `numeric(precision, scale)`, as [`PG_TYPMOD`](crate::PG_TYPMOD) has it.
pub fn numeric_typmod(precision: u8, scale: u8) -> i32 {
    ((i32::from(precision) << 16) | i32::from(scale)) + 4
}

/// A PostgreSQL type as far as operators and functions care.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PgType {
    /// An untyped NULL.
    Unknown,
    /// bool
    Bool,
    /// smallint
    Int2,
    /// integer
    Int4,
    /// bigint
    Int8,
    /// real
    Float4,
    /// double precision
    Float8,
    /// numeric of any precision
    Numeric,
    /// text, varchar, char, name, enum
    Text,
    /// bytea
    Bytea,
    /// date
    Date,
    /// time without time zone
    Time,
    /// timestamp without time zone
    Timestamp,
    /// timestamp with time zone
    Timestamptz,
    /// interval
    Interval,
    /// uuid, carried as text
    Uuid,
    /// json, carried as text
    Json,
    /// jsonb, carried as text
    Jsonb,
    /// Any other type that is shown as text, by PostgreSQL's name.
    Other(String),
    /// An array of a type.
    List(Box<PgType>),
}

impl PgType {
    /// The PostgreSQL type of an Arrow type without metadata; `None` for what no PostgreSQL type stands behind.
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Null => Self::Unknown,
            DataType::Boolean => Self::Bool,
            DataType::Int16 => Self::Int2,
            DataType::Int32 => Self::Int4,
            DataType::Int64 => Self::Int8,
            DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal128(_, s) | DataType::Decimal256(_, s) if *s >= 0 => Self::Numeric,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary => Self::Bytea,
            DataType::Date32 => Self::Date,
            DataType::Time64(TimeUnit::Microsecond) => Self::Time,
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Self::Timestamptz,
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval,
            DataType::List(field) => Self::List(Box::new(Self::of_field(field)?)),
            _ => return None,
        })
    }

    /// The PostgreSQL type of a field, its [`PG_TYPE`] metadata included.
    pub fn of_field(field: &Field) -> Option<Self> {
        let plain = Self::of(field.data_type())?;
        if plain != Self::Text {
            return Some(plain);
        }
        Some(match field.metadata().get(PG_TYPE) {
            Some(name) => Self::text_like(name),
            None => Self::Text,
        })
    }

    /// The type that is carried as text and whose PostgreSQL name is `name`.
    pub fn text_like(name: &str) -> Self {
        match name {
            "text" | "varchar" | "bpchar" | "char" | "name" => Self::Text,
            "uuid" => Self::Uuid,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The metadata value a field of this type needs, if its Arrow type alone does not say it.
    pub fn metadata_name(&self) -> Option<&str> {
        match self {
            Self::Uuid => Some("uuid"),
            Self::Json => Some("json"),
            Self::Jsonb => Some("jsonb"),
            Self::Other(name) => Some(name),
            _ => None,
        }
    }

    /// The Arrow type; numeric becomes [`BARE_NUMERIC`].
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Unknown => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric => BARE_NUMERIC,
            Self::Text | Self::Uuid | Self::Json | Self::Jsonb | Self::Other(_) => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::List(element) => DataType::new_list(element.arrow(), true),
        }
    }

    /// PostgreSQL's name, as error messages and `pg_typeof` write it.
    pub fn name(&self) -> String {
        match self {
            Self::Unknown => "unknown".into(),
            Self::Bool => "boolean".into(),
            Self::Int2 => "smallint".into(),
            Self::Int4 => "integer".into(),
            Self::Int8 => "bigint".into(),
            Self::Float4 => "real".into(),
            Self::Float8 => "double precision".into(),
            Self::Numeric => "numeric".into(),
            Self::Text => "text".into(),
            Self::Bytea => "bytea".into(),
            Self::Date => "date".into(),
            Self::Time => "time without time zone".into(),
            Self::Timestamp => "timestamp without time zone".into(),
            Self::Timestamptz => "timestamp with time zone".into(),
            Self::Interval => "interval".into(),
            Self::Uuid => "uuid".into(),
            Self::Json => "json".into(),
            Self::Jsonb => "jsonb".into(),
            Self::Other(name) => name.clone(),
            Self::List(element) => format!("{}[]", element.name()),
        }
    }

    /// smallint, integer or bigint.
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8)
    }

    /// real or double precision.
    pub fn is_float(&self) -> bool {
        matches!(self, Self::Float4 | Self::Float8)
    }

    /// Any number.
    pub fn is_number(&self) -> bool {
        self.is_integer() || self.is_float() || *self == Self::Numeric
    }

    /// Whether the value is a string in Arrow.
    pub fn is_text_carried(&self) -> bool {
        matches!(self, Self::Text | Self::Uuid | Self::Json | Self::Jsonb | Self::Other(_))
    }

    /// Position in the chain of implicit conversions between numbers.
    fn number_rank(&self) -> Option<u8> {
        Some(match self {
            Self::Int2 => 0,
            Self::Int4 => 1,
            Self::Int8 => 2,
            Self::Numeric => 3,
            Self::Float4 => 4,
            Self::Float8 => 5,
            _ => return None,
        })
    }

    /// Position in the chain of implicit conversions between dates.
    fn date_rank(&self) -> Option<u8> {
        Some(match self {
            Self::Date => 0,
            Self::Timestamp => 1,
            Self::Timestamptz => 2,
            _ => return None,
        })
    }

    /// Whether PostgreSQL converts a value of this type to `to` without being asked (for function arguments).
    pub fn converts_implicitly_to(&self, to: &Self) -> bool {
        if self == to || *self == Self::Unknown {
            return true;
        }
        match (self.number_rank(), to.number_rank()) {
            (Some(from), Some(to)) => return from <= to,
            (None, None) => {}
            _ => return false,
        }
        match (self.date_rank(), to.date_rank()) {
            (Some(from), Some(to)) => return from <= to,
            (None, None) => {}
            _ => return false,
        }
        matches!((self, to), (Self::Time, Self::Interval) | (Self::Other(_), Self::Text))
    }
}

/// Precision and scale as a numeric, for numbers that are exact: `int4` has 10 digits and no fraction.
pub fn decimal_parts(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => (*p, *s),
        DataType::Null => (1, 0),
        _ => return None,
    })
}

/// The Arrow type for `integer_digits` before and `scale` digits after the point, as wide as it has to be and no wider than 76 digits.
pub fn decimal_type(integer_digits: i32, scale: i32) -> DataType {
    let scale = scale.clamp(0, i32::from(DECIMAL256_MAX_PRECISION));
    let precision = (integer_digits.max(0) + scale).clamp(1, i32::from(DECIMAL256_MAX_PRECISION));
    let precision = u8::try_from(precision).expect("clamped to 76");
    let scale = i8::try_from(scale).expect("clamped to 76");
    if precision <= DECIMAL128_MAX_PRECISION {
        DataType::Decimal128(precision, scale)
    } else {
        DataType::Decimal256(precision, scale)
    }
}

fn numeric_union(types: &[&DataType]) -> Option<DataType> {
    let mut integer_digits = 0;
    let mut scale = 0;
    for data_type in types {
        let (p, s) = decimal_parts(data_type)?;
        integer_digits = integer_digits.max(i32::from(p) - i32::from(s));
        scale = scale.max(i32::from(s));
    }
    Some(decimal_type(integer_digits, scale))
}

/// PostgreSQL's type for CASE, COALESCE, UNION, VALUES, GREATEST, ARRAY over these types; `Null` stands for an unknown literal, and
/// `Null` alone gives text. `None`: the types do not match (42804).
///
/// Numerics get as many digits before and after the point as any of them needs.
pub fn common_type(types: &[DataType]) -> Option<DataType> {
    let known: Vec<&DataType> = types.iter().filter(|t| **t != DataType::Null).collect();
    let Some(first) = known.first() else {
        return Some(DataType::Utf8);
    };
    let mut best = PgType::of(first)?;
    for data_type in &known[1..] {
        let next = PgType::of(data_type)?;
        if next == best || next.converts_implicitly_to(&best) {
            continue;
        }
        if !best.converts_implicitly_to(&next) {
            return None;
        }
        best = next;
    }
    match best {
        PgType::Numeric => numeric_union(&known),
        PgType::List(_) => known.iter().all(|t| *t == *first).then(|| (*first).clone()),
        other => Some(other.arrow()),
    }
}

/// The type in which PostgreSQL compares two values, `None` where it has no operator (42883).
///
/// What DataFusion's own coercion gets wrong, and this does not: int8 with numeric(p,s) (it may narrow the integer digits), numeric with
/// float8 (PostgreSQL compares as float8), integers with real (PostgreSQL: float8), date with timestamp (DataFusion: nanoseconds, which end
/// in 2262), date or timestamp with timestamptz (needs the session's zone: cast by `pg_cast`), text with anything else (DataFusion converts,
/// PostgreSQL has no such operator).
pub fn comparison_type(left: &DataType, right: &DataType) -> Option<DataType> {
    let (l, r) = (PgType::of(left)?, PgType::of(right)?);
    if l.is_number() && r.is_number() && l != r && (l.is_float() || r.is_float()) {
        return Some(DataType::Float64);
    }
    common_type(&[left.clone(), right.clone()])
}
