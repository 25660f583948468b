//! MySQL's types and the Arrow types that they arrive as.

use std::collections::HashMap;

use belvedere_functions::{PG_TYPE, PG_TYPMOD, numeric_typmod};
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use mysql_async::Column;
use mysql_async::consts::{ColumnFlags, ColumnType};

use crate::SourceColumn;

/// The character set (and collation) number of byte strings.
const BINARY: u16 = 63;

/// Collations that compare Unicode text by code point and do not ignore trailing blanks: utf8mb4_0900_bin (MySQL 8),
/// utf8mb4_nopad_bin and utf8mb3_nopad_bin (MariaDB). `utf8mb4_bin` is not one: to it, 'a' equals 'a '.
const BY_CODE_POINT: [u16; 3] = [309, 1070, 1107];

/// How values of a column are to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Integer(Integer),
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// A bit string of so many bits.
    Bit(u32),
    Date,
    Time,
    Datetime,
    Timestamp,
    Text,
    Json,
    Binary,
    /// The type of the literal NULL.
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integer {
    Tiny,
    TinyUnsigned,
    Small,
    SmallUnsigned,
    Medium,
    MediumUnsigned,
    Int,
    IntUnsigned,
    Big,
    BigUnsigned,
    Year,
}

pub(super) fn meaning_of(column: &Column) -> Option<Meaning> {
    use ColumnType::*;
    let unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    let integer = |signed, without_sign| Meaning::Integer(if unsigned { without_sign } else { signed });
    Some(match column.column_type() {
        MYSQL_TYPE_TINY => integer(Integer::Tiny, Integer::TinyUnsigned),
        MYSQL_TYPE_SHORT => integer(Integer::Small, Integer::SmallUnsigned),
        MYSQL_TYPE_INT24 => integer(Integer::Medium, Integer::MediumUnsigned),
        MYSQL_TYPE_LONG => integer(Integer::Int, Integer::IntUnsigned),
        MYSQL_TYPE_LONGLONG => integer(Integer::Big, Integer::BigUnsigned),
        MYSQL_TYPE_YEAR => Meaning::Integer(Integer::Year),
        MYSQL_TYPE_FLOAT => Meaning::Float,
        MYSQL_TYPE_DOUBLE => Meaning::Double,
        MYSQL_TYPE_DECIMAL | MYSQL_TYPE_NEWDECIMAL => {
            let scale = column.decimals();
            // The length counts the digits, the point and the sign.
            let marks = u32::from(scale > 0) + u32::from(!unsigned);
            let digits = column.column_length().saturating_sub(marks);
            let precision = u8::try_from(digits).unwrap_or(u8::MAX).clamp(scale.max(1), 76);
            Meaning::Decimal { precision, scale }
        }
        MYSQL_TYPE_BIT => Meaning::Bit(column.column_length()),
        MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE => Meaning::Date,
        MYSQL_TYPE_TIME => Meaning::Time,
        MYSQL_TYPE_DATETIME => Meaning::Datetime,
        MYSQL_TYPE_TIMESTAMP => Meaning::Timestamp,
        MYSQL_TYPE_JSON => Meaning::Json,
        MYSQL_TYPE_ENUM | MYSQL_TYPE_SET => Meaning::Text,
        MYSQL_TYPE_VARCHAR
        | MYSQL_TYPE_VAR_STRING
        | MYSQL_TYPE_STRING
        | MYSQL_TYPE_TINY_BLOB
        | MYSQL_TYPE_MEDIUM_BLOB
        | MYSQL_TYPE_LONG_BLOB
        | MYSQL_TYPE_BLOB => {
            if column.character_set() == BINARY {
                Meaning::Binary
            } else {
                Meaning::Text
            }
        }
        MYSQL_TYPE_GEOMETRY => Meaning::Binary,
        MYSQL_TYPE_NULL => Meaning::Null,
        MYSQL_TYPE_TIMESTAMP2
        | MYSQL_TYPE_DATETIME2
        | MYSQL_TYPE_TIME2
        | MYSQL_TYPE_TYPED_ARRAY
        | MYSQL_TYPE_VECTOR
        | MYSQL_TYPE_UNKNOWN => return None,
    })
}

fn data_type(meaning: Meaning) -> DataType {
    match meaning {
        Meaning::Integer(integer) => match integer {
            Integer::Tiny | Integer::TinyUnsigned | Integer::Small | Integer::Year => DataType::Int16,
            Integer::SmallUnsigned | Integer::Medium | Integer::MediumUnsigned | Integer::Int => DataType::Int32,
            Integer::IntUnsigned | Integer::Big => DataType::Int64,
            Integer::BigUnsigned => DataType::Decimal128(20, 0),
        },
        Meaning::Float => DataType::Float32,
        Meaning::Double => DataType::Float64,
        Meaning::Decimal { precision, scale } if precision <= 38 => DataType::Decimal128(precision, scale as i8),
        Meaning::Decimal { precision, scale } => DataType::Decimal256(precision, scale as i8),
        Meaning::Bit(_) | Meaning::Text | Meaning::Json | Meaning::Null => DataType::Utf8,
        Meaning::Date => DataType::Date32,
        Meaning::Time => DataType::Time64(TimeUnit::Microsecond),
        Meaning::Datetime => DataType::Timestamp(TimeUnit::Microsecond, None),
        Meaning::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Meaning::Binary => DataType::Binary,
    }
}

/// What a column of a prepared statement is; None for types that cannot be read. The session must not convert results
/// (`character_set_results` NULL), or the server names the session's collation in place of the column's.
pub(super) fn describe(column: &Column) -> Option<SourceColumn> {
    let meaning = meaning_of(column)?;
    let type_name = match meaning {
        Meaning::Bit(_) => Some("bit"),
        Meaning::Json => Some("json"),
        _ => None,
    };
    let mut metadata: HashMap<String, String> =
        type_name.map(|name| (PG_TYPE.to_owned(), name.to_owned())).into_iter().collect();
    // What is computed has digits of its own, which PostgreSQL would not show as a modifier.
    if let Meaning::Decimal { precision, scale } = meaning
        && !column.org_name_ref().is_empty()
    {
        metadata.insert(PG_TYPMOD.to_owned(), numeric_typmod(precision, scale).to_string());
    }
    let enumerated = is_enumerated(column);
    // A column on the inner side of an outer join keeps its NOT NULL here and there; nothing is promised.
    Some(SourceColumn {
        field: Field::new(column.name_str(), data_type(meaning), true).with_metadata(metadata),
        native_type: native_name(column, meaning),
        compares_by_code_point: meaning != Meaning::Text
            || (!enumerated && BY_CODE_POINT.contains(&column.character_set())),
    })
}

/// Whether the column is an enum or a set, which compare as numbers.
fn is_enumerated(column: &Column) -> bool {
    column.flags().intersects(ColumnFlags::ENUM_FLAG | ColumnFlags::SET_FLAG)
        || matches!(column.column_type(), ColumnType::MYSQL_TYPE_ENUM | ColumnType::MYSQL_TYPE_SET)
}

/// The type as MySQL writes it.
fn native_name(column: &Column, meaning: Meaning) -> String {
    let name = match meaning {
        // The width that says "this is a boolean".
        Meaning::Integer(Integer::Tiny) if column.column_length() == 1 => "tinyint(1)",
        Meaning::Integer(Integer::Tiny) => "tinyint",
        Meaning::Integer(Integer::TinyUnsigned) => "tinyint unsigned",
        Meaning::Integer(Integer::Small) => "smallint",
        Meaning::Integer(Integer::SmallUnsigned) => "smallint unsigned",
        Meaning::Integer(Integer::Medium) => "mediumint",
        Meaning::Integer(Integer::MediumUnsigned) => "mediumint unsigned",
        Meaning::Integer(Integer::Int) => "int",
        Meaning::Integer(Integer::IntUnsigned) => "int unsigned",
        Meaning::Integer(Integer::Big) => "bigint",
        Meaning::Integer(Integer::BigUnsigned) => "bigint unsigned",
        Meaning::Integer(Integer::Year) => "year",
        Meaning::Float => "float",
        Meaning::Double => "double",
        Meaning::Decimal { precision, scale } => return format!("decimal({precision},{scale})"),
        Meaning::Bit(bits) => return format!("bit({bits})"),
        Meaning::Date => "date",
        Meaning::Time => "time",
        Meaning::Datetime => "datetime",
        Meaning::Timestamp => "timestamp",
        Meaning::Json => "json",
        Meaning::Null => "null",
        Meaning::Text if column.flags().contains(ColumnFlags::ENUM_FLAG) => "enum",
        Meaning::Text if column.flags().contains(ColumnFlags::SET_FLAG) => "set",
        Meaning::Text => match column.column_type() {
            ColumnType::MYSQL_TYPE_STRING => "char",
            ColumnType::MYSQL_TYPE_BLOB
            | ColumnType::MYSQL_TYPE_TINY_BLOB
            | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
            | ColumnType::MYSQL_TYPE_LONG_BLOB => "text",
            _ => "varchar",
        },
        Meaning::Binary => match column.column_type() {
            ColumnType::MYSQL_TYPE_GEOMETRY => "geometry",
            ColumnType::MYSQL_TYPE_STRING => "binary",
            ColumnType::MYSQL_TYPE_VAR_STRING | ColumnType::MYSQL_TYPE_VARCHAR => "varbinary",
            _ => "blob",
        },
    };
    name.to_owned()
}
