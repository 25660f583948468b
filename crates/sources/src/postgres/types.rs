//! PostgreSQL's types and the Arrow types that they arrive as.

use std::collections::HashMap;

use belvedere_functions::{PG_TYPE, PG_TYPMOD};
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use tokio_postgres::Column;
use tokio_postgres::types::{Kind, Type};

use crate::SourceColumn;

/// How values of a column look on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    /// None: a bare `numeric`, or one beyond what Arrow's decimals can declare.
    Numeric(Option<Numeric>),
    /// Also enums, and whatever else is the same bytes in text and in binary form.
    Text,
    /// The one-byte type `"char"`.
    Char,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Bit,
    Array(Box<Wire>),
    /// Any other type: read as its text form.
    Other,
}

/// `numeric(precision, scale)` with 0 <= scale <= precision <= 76.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numeric {
    precision: u8,
    scale: u8,
}

/// What a bare `numeric` is read as; every value is checked.
const BARE_NUMERIC: DataType = DataType::Decimal256(76, 20);

pub(super) fn wire_of(of: &Type, type_modifier: i32) -> Wire {
    match *of {
        Type::BOOL => Wire::Bool,
        Type::INT2 => Wire::Int2,
        Type::INT4 => Wire::Int4,
        Type::INT8 => Wire::Int8,
        Type::OID => Wire::Oid,
        Type::FLOAT4 => Wire::Float4,
        Type::FLOAT8 => Wire::Float8,
        Type::NUMERIC => Wire::Numeric(numeric_of(type_modifier)),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => Wire::Text,
        Type::CHAR => Wire::Char,
        Type::BYTEA => Wire::Bytea,
        Type::DATE => Wire::Date,
        Type::TIME => Wire::Time,
        Type::TIMESTAMP => Wire::Timestamp,
        Type::TIMESTAMPTZ => Wire::Timestamptz,
        Type::INTERVAL => Wire::Interval,
        Type::UUID => Wire::Uuid,
        Type::JSON => Wire::Json,
        Type::JSONB => Wire::Jsonb,
        Type::BIT | Type::VARBIT => Wire::Bit,
        _ => match of.kind() {
            Kind::Enum(_) => Wire::Text,
            Kind::Domain(base) => wire_of(base, type_modifier),
            // The extension's type: text whose operators ignore case.
            Kind::Simple if of.name() == "citext" => Wire::Text,
            Kind::Array(element) => match wire_of(element, type_modifier) {
                Wire::Other => Wire::Other,
                element => Wire::Array(Box::new(element)),
            },
            _ => Wire::Other,
        },
    }
}

fn numeric_of(type_modifier: i32) -> Option<Numeric> {
    let packed = type_modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    let precision = (packed >> 16) & 0xffff;
    // Eleven bits with sign.
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    // numeric(3,-2) holds up to 99900; numeric(2,5) holds up to 0.00099.
    let (precision, scale) = if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
    (precision <= 76).then_some(())?;
    Some(Numeric { precision: u8::try_from(precision).ok()?, scale: u8::try_from(scale).ok()? })
}

fn data_type(wire: &Wire, element_metadata: impl Fn(&Wire) -> HashMap<String, String> + Copy) -> DataType {
    match wire {
        Wire::Bool => DataType::Boolean,
        Wire::Int2 => DataType::Int16,
        Wire::Int4 => DataType::Int32,
        Wire::Int8 | Wire::Oid => DataType::Int64,
        Wire::Float4 => DataType::Float32,
        Wire::Float8 => DataType::Float64,
        Wire::Numeric(None) => BARE_NUMERIC,
        Wire::Numeric(Some(Numeric { precision, scale })) if *precision <= 38 => {
            DataType::Decimal128(*precision, *scale as i8)
        }
        Wire::Numeric(Some(Numeric { precision, scale })) => DataType::Decimal256(*precision, *scale as i8),
        Wire::Text | Wire::Char | Wire::Uuid | Wire::Json | Wire::Jsonb | Wire::Bit | Wire::Other => DataType::Utf8,
        Wire::Bytea => DataType::Binary,
        Wire::Date => DataType::Date32,
        Wire::Time => DataType::Time64(TimeUnit::Microsecond),
        Wire::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Wire::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Wire::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        Wire::Array(element) => {
            let item = Field::new_list_field(data_type(element, element_metadata), true);
            DataType::List(item.with_metadata(element_metadata(element)).into())
        }
    }
}

/// The metadata of a column, where its Arrow type alone does not say PostgreSQL's.
fn metadata(wire: &Wire, of: &Type) -> HashMap<String, String> {
    let name = match (wire, of.kind()) {
        (Wire::Array(element), Kind::Array(element_type)) => return metadata(element, element_type),
        (_, Kind::Domain(base)) => return metadata(wire, base),
        (Wire::Uuid | Wire::Json | Wire::Jsonb | Wire::Bit | Wire::Oid | Wire::Other, _) => of.name(),
        _ => return HashMap::new(),
    };
    HashMap::from([(PG_TYPE.to_owned(), name.to_owned())])
}

pub(super) fn describe(column: &Column) -> SourceColumn {
    let wire = wire_of(column.type_(), column.type_modifier());
    let of_element = metadata(&wire, column.type_());
    let of_column = match wire {
        Wire::Array(_) => HashMap::new(),
        Wire::Numeric(Some(_)) => HashMap::from([(PG_TYPMOD.to_owned(), column.type_modifier().to_string())]),
        _ => of_element.clone(),
    };
    let arrow = data_type(&wire, |_| of_element.clone());
    SourceColumn {
        // PostgreSQL does not say whether an output column can be NULL.
        field: Field::new(column.name(), arrow, true).with_metadata(of_column),
        native_type: native_name(column.type_(), column.type_modifier()),
        compares_by_code_point: is_compared_as_text(column.type_()),
    }
}

/// Whether a type that is text here is compared as text there, too. Not so: `character(n)` (trailing blanks do not count),
/// `citext` (case does not), enums (ordered as they were declared) and `"char"` (a byte).
fn is_compared_as_text(of: &Type) -> bool {
    match *of {
        Type::BPCHAR | Type::CHAR => false,
        _ => match of.kind() {
            Kind::Enum(_) => false,
            Kind::Domain(base) => is_compared_as_text(base),
            Kind::Simple => of.name() != "citext",
            _ => true,
        },
    }
}

/// The type as PostgreSQL prints it.
fn native_name(of: &Type, type_modifier: i32) -> String {
    let length = type_modifier - 4;
    match *of {
        Type::BOOL => "boolean".to_owned(),
        Type::INT2 => "smallint".to_owned(),
        Type::INT4 => "integer".to_owned(),
        Type::INT8 => "bigint".to_owned(),
        Type::FLOAT4 => "real".to_owned(),
        Type::FLOAT8 => "double precision".to_owned(),
        Type::CHAR => "\"char\"".to_owned(),
        Type::NUMERIC if length >= 0 => {
            format!("numeric({},{})", (length >> 16) & 0xffff, ((length & 0x7ff) ^ 1024) - 1024)
        }
        Type::VARCHAR if length >= 0 => format!("character varying({length})"),
        Type::VARCHAR => "character varying".to_owned(),
        Type::BPCHAR if length >= 0 => format!("character({length})"),
        Type::BPCHAR => "character".to_owned(),
        Type::BIT if type_modifier >= 0 => format!("bit({type_modifier})"),
        Type::VARBIT if type_modifier >= 0 => format!("bit varying({type_modifier})"),
        Type::VARBIT => "bit varying".to_owned(),
        Type::TIME => "time without time zone".to_owned(),
        Type::TIMETZ => "time with time zone".to_owned(),
        Type::TIMESTAMP => "timestamp without time zone".to_owned(),
        Type::TIMESTAMPTZ => "timestamp with time zone".to_owned(),
        _ => match of.kind() {
            Kind::Array(element) => format!("{}[]", native_name(element, type_modifier)),
            _ => of.name().to_owned(),
        },
    }
}
