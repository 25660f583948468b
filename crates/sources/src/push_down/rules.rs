//! The form that a dialect's table has: types, casts, functions, aggregates, comparisons. What is not in it is not pushed.

use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use super::fragment::Fragment;
use super::mysql::MySql;
use super::postgres::Postgres;
use super::select::OrderKey;
use crate::Dialect;

/// The table of `dialect`.
pub(crate) fn rules(dialect: Dialect) -> &'static dyn Rules {
    match dialect {
        Dialect::Postgres => &Postgres,
        Dialect::MySql => &MySql,
    }
}

/// What a dialect computes with the meaning that we have here. `None` always means: not with the same meaning.
pub(crate) trait Rules: Sync {
    /// NULL, of that type where the source would otherwise choose one.
    fn null(&self, ty: SqlType) -> Option<Fragment>;

    /// A value as a typed bind parameter.
    fn parameter(&self, value: &ScalarValue, ty: SqlType) -> Option<Fragment>;

    fn compare(&self, comparison: Comparison, left: &Term, right: &Term) -> Option<Fragment>;

    /// `tested IN (items)`; all items are literals of the type of `tested`.
    fn in_list(&self, tested: &Term, items: &[ScalarValue], negated: bool) -> Option<Fragment>;

    /// `text LIKE pattern`, case-sensitive, `\` is the escape.
    fn like(&self, text: &Term, pattern: &str, negated: bool) -> Option<Fragment>;

    /// DataFusion's own CAST, for the pairs where it means the same.
    fn cast(&self, term: &Term, to: SqlType) -> Option<Fragment>;

    /// The expression to group by (or make distinct, or count distinct) so that equal means equal by code point.
    fn key(&self, term: &Term) -> Option<Fragment>;

    fn can_order_by(&self, term: &Term) -> bool;

    /// Whether DISTINCT aggregates may stand in a group by such a key.
    fn can_group_distinct_by(&self, term: &Term) -> bool;

    /// The items of ORDER BY for one key.
    fn order_key(&self, key: &OrderKey) -> Vec<Fragment>;

    fn functions(&self) -> &'static [Function];

    fn aggregates(&self) -> &'static [Aggregate];

    /// A sum as exactly the asked type, or an error at the source where it does not fit.
    fn checked_sum(&self, sum: Fragment, to: SqlType) -> Fragment;

    fn has_full_join(&self) -> bool;

    /// `sql`, which is text, so that it is compared by code point.
    fn by_code_point(&self, sql: &Fragment) -> Fragment;

    /// Whether a sub-select may refer to such a column of the outer one.
    fn may_correlate(&self, term: &Term) -> bool;

    /// Whether text that is computed or bound is compared by code point if all its parts are.
    fn computed_text_by_code_point(&self) -> bool;
}

/// An expression that a source computes.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub sql: Fragment,
    pub ty: SqlType,
    /// Whether the source's own comparison of it is by code point; true for what is not text.
    pub code_point: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SqlType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric {
        precision: u8,
        scale: u8,
    },
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    /// Can be read, counted and tested for NULL, nothing else: intervals, arrays, json, uuid, and what is shown as text.
    Other,
}

impl SqlType {
    pub fn of(field: &Field) -> Self {
        if field.metadata().contains_key(belvedere_functions::PG_TYPE) {
            return Self::Other;
        }
        Self::of_arrow(field.data_type())
    }

    pub fn of_arrow(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int16 => Self::Int2,
            DataType::Int32 => Self::Int4,
            DataType::Int64 => Self::Int8,
            DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                match u8::try_from(*scale) {
                    Ok(scale) => Self::Numeric { precision: *precision, scale },
                    Err(_) => Self::Other,
                }
            }
            DataType::Utf8 => Self::Text,
            DataType::Binary => Self::Bytes,
            DataType::Date32 => Self::Date,
            DataType::Time64(TimeUnit::Microsecond) => Self::Time,
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp,
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => Self::Timestamptz,
            _ => Self::Other,
        }
    }

    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8)
    }

    /// Integers and numerics: what is computed without rounding.
    pub fn is_exact(self) -> bool {
        self.is_integer() || matches!(self, Self::Numeric { .. })
    }

    /// Digits before the decimal point that an exact type may have.
    pub fn whole_digits(self) -> Option<u8> {
        match self {
            Self::Int2 => Some(5),
            Self::Int4 => Some(10),
            Self::Int8 => Some(19),
            Self::Numeric { precision, scale } => Some(precision.saturating_sub(scale)),
            Self::Bool
            | Self::Float4
            | Self::Float8
            | Self::Text
            | Self::Bytes
            | Self::Date
            | Self::Time
            | Self::Timestamp
            | Self::Timestamptz
            | Self::Other => None,
        }
    }

    pub fn same_class(self, other: Self) -> bool {
        self == other || (self.is_exact() && other.is_exact())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    DistinctFrom,
    NotDistinctFrom,
}

impl Comparison {
    pub fn is_ordering(self) -> bool {
        matches!(self, Self::Lt | Self::LtEq | Self::Gt | Self::GtEq)
    }
}

/// One row of a dialect's table of functions.
pub(crate) struct Function {
    /// The name of the function here.
    pub name: &'static str,
    /// The argument types for which the meaning is the same.
    pub takes: fn(&[SqlType]) -> bool,
    pub form: Form,
}

/// What a call becomes.
pub(crate) enum Form {
    /// Two arguments with the operator (and its blanks) between them.
    Infix(&'static str),
    Prefix(&'static str),
    Call(&'static str),
    /// Anything else; also sees the arguments as they were, for literals that select a form.
    Custom(fn(&Call) -> Option<Fragment>),
    /// Known, and left here for this reason.
    Silent(&'static str),
}

pub(crate) struct Call<'a> {
    pub arguments: &'a [Expr],
    pub terms: &'a [Term],
    pub result: SqlType,
}

/// One row of a dialect's table of aggregates.
pub(crate) struct Aggregate {
    /// The name of the aggregate here.
    pub name: &'static str,
    /// Argument type and result type for which value and errors are the same.
    pub takes: fn(SqlType, SqlType) -> bool,
    pub form: AggregateForm,
}

pub(crate) enum AggregateForm {
    /// `count(*)`, `count(x)`, `count(DISTINCT x)`.
    Count,
    /// A sum of whatever the source calls so.
    Plain(&'static str),
    /// MIN and MAX: text by code point.
    Extreme(&'static str),
    Silent(&'static str),
}

// Argument checks, named as they read in a row.

pub(super) fn never(_: &[SqlType]) -> bool {
    false
}

pub(super) fn texts(types: &[SqlType]) -> bool {
    types.iter().all(|ty| *ty == SqlType::Text)
}

/// All integers of any width, or all floats of 8 bytes, or integers and numerics mixed.
pub(super) fn numbers(types: &[SqlType]) -> bool {
    types.iter().all(|ty| ty.is_exact()) || floats(types)
}

pub(super) fn integers_or_floats(types: &[SqlType]) -> bool {
    types.iter().all(|ty| ty.is_integer()) || floats(types)
}

pub(super) fn floats(types: &[SqlType]) -> bool {
    types.iter().all(|ty| *ty == SqlType::Float8)
}

pub(super) fn time_and_zone(types: &[SqlType]) -> bool {
    matches!(types, [SqlType::Timestamp | SqlType::Timestamptz, SqlType::Text])
}

/// All of one type that the source can hand through.
pub(super) fn alike(types: &[SqlType]) -> bool {
    types.iter().all(|ty| *ty != SqlType::Other && *ty == types[0])
}

/// The value of a text literal.
pub(super) fn text_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

/// Whether a value can be a bind parameter at both kinds of sources: no NUL in text, years 0001 to 9999.
pub(crate) fn travels(value: &ScalarValue) -> bool {
    /// 0001-01-01 and 9999-12-31 as days since 1970-01-01.
    const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
    const DAY_US: i64 = 86_400_000_000;
    match value {
        ScalarValue::Utf8(Some(text)) => !text.contains('\0'),
        ScalarValue::Date32(Some(days)) => DAYS.contains(&i64::from(*days)),
        ScalarValue::TimestampMicrosecond(Some(us), _) => DAYS.contains(&us.div_euclid(DAY_US)),
        _ => true,
    }
}
