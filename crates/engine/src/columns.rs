//! Arrow fields to PostgreSQL's types, as clients see them.

use belvedere_functions::PG_TYPE;
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use postgres_types::Type;

use crate::Column;

/// The precision and scale that stand for a numeric without either.
const BARE_NUMERIC: (u8, i8) = (76, 20);

/// The column that a field is to a client; `name` may carry our inner suffix.
#[must_use]
pub fn column_of(field: &Field) -> Column {
    let (pg_type, typmod) = pg_type_of(field);
    Column { name: belvedere_planner::name::shown(field.name()).to_owned(), pg_type, typmod }
}

/// PostgreSQL's type and type modifier.
#[must_use]
pub fn pg_type_of(field: &Field) -> (Type, i32) {
    if let Some(name) = field.metadata().get(PG_TYPE) {
        let named = match name.as_str() {
            "uuid" => Some(Type::UUID),
            "json" => Some(Type::JSON),
            "jsonb" => Some(Type::JSONB),
            "bit" => Some(Type::BIT),
            "varbit" => Some(Type::VARBIT),
            "name" => Some(Type::NAME),
            "oid" => Some(Type::OID),
            "inet" => Some(Type::INET),
            "varchar" => Some(Type::VARCHAR),
            _ => None,
        };
        if let Some(named) = named
            && !matches!(field.data_type(), DataType::List(_))
        {
            return (named, -1);
        }
    }
    let pg_type = match field.data_type() {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => Type::INT2,
        DataType::UInt16 | DataType::Int32 => Type::INT4,
        DataType::UInt32 | DataType::Int64 => Type::INT8,
        DataType::UInt64 => Type::NUMERIC,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            let typmod = if (*precision, *scale) == BARE_NUMERIC || *precision == 38 || *precision > 38 {
                // Results of aggregates and expressions: PostgreSQL gives those no modifier either.
                -1
            } else {
                ((i32::from(*precision) << 16) | i32::from(*scale)) + 4
            };
            return (Type::NUMERIC, typmod);
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Type::BYTEA,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) | DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Interval(IntervalUnit::MonthDayNano) | DataType::Interval(_) | DataType::Duration(_) => {
            Type::INTERVAL
        }
        DataType::List(inner) | DataType::LargeList(inner) => {
            let inner_type = pg_type_of(inner).0;
            array_of(&inner_type)
        }
        _ => Type::TEXT,
    };
    (pg_type, -1)
}

fn array_of(element: &Type) -> Type {
    match *element {
        Type::BOOL => Type::BOOL_ARRAY,
        Type::INT2 => Type::INT2_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::FLOAT4 => Type::FLOAT4_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::NUMERIC => Type::NUMERIC_ARRAY,
        Type::BYTEA => Type::BYTEA_ARRAY,
        Type::DATE => Type::DATE_ARRAY,
        Type::TIME => Type::TIME_ARRAY,
        Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        Type::INTERVAL => Type::INTERVAL_ARRAY,
        Type::UUID => Type::UUID_ARRAY,
        Type::JSON => Type::JSON_ARRAY,
        Type::JSONB => Type::JSONB_ARRAY,
        Type::OID => Type::OID_ARRAY,
        _ => Type::TEXT_ARRAY,
    }
}

/// The Arrow field of a parameter that a client declared; `None` leaves it to inference.
#[must_use]
pub fn field_of(pg_type: &Type) -> Option<Field> {
    let simple = |data_type: DataType| Some(Field::new("parameter", data_type, true));
    let named = |name: &str| {
        Some(
            Field::new("parameter", DataType::Utf8, true).with_metadata([(PG_TYPE.to_owned(), name.to_owned())].into()),
        )
    };
    let list = |element: Type| {
        field_of(&element).map(|inner| Field::new("parameter", DataType::List(inner.with_name("item").into()), true))
    };
    match *pg_type {
        Type::BOOL => simple(DataType::Boolean),
        Type::INT2 => simple(DataType::Int16),
        Type::INT4 => simple(DataType::Int32),
        Type::INT8 => simple(DataType::Int64),
        Type::FLOAT4 => simple(DataType::Float32),
        Type::FLOAT8 => simple(DataType::Float64),
        Type::NUMERIC => simple(belvedere_planner::types::BARE_NUMERIC),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => simple(DataType::Utf8),
        Type::BYTEA => simple(DataType::Binary),
        Type::DATE => simple(DataType::Date32),
        Type::TIME => simple(DataType::Time64(TimeUnit::Microsecond)),
        Type::TIMESTAMP => simple(belvedere_planner::types::timestamp()),
        Type::TIMESTAMPTZ => simple(belvedere_planner::types::timestamptz()),
        Type::INTERVAL => simple(DataType::Interval(IntervalUnit::MonthDayNano)),
        Type::UUID => named("uuid"),
        Type::JSON => named("json"),
        Type::JSONB => named("jsonb"),
        Type::BOOL_ARRAY => list(Type::BOOL),
        Type::INT2_ARRAY => list(Type::INT2),
        Type::INT4_ARRAY => list(Type::INT4),
        Type::INT8_ARRAY => list(Type::INT8),
        Type::FLOAT8_ARRAY => list(Type::FLOAT8),
        Type::NUMERIC_ARRAY => list(Type::NUMERIC),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => list(Type::TEXT),
        Type::DATE_ARRAY => list(Type::DATE),
        Type::TIMESTAMP_ARRAY => list(Type::TIMESTAMP),
        Type::TIMESTAMPTZ_ARRAY => list(Type::TIMESTAMPTZ),
        Type::UUID_ARRAY => list(Type::UUID),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use belvedere_functions::PG_TYPE;
    use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
    use postgres_types::Type;

    use super::{column_of, field_of, pg_type_of};

    fn typed(data_type: DataType) -> (Type, i32) {
        pg_type_of(&Field::new("x", data_type, true))
    }

    #[test]
    fn a_numeric_of_a_column_has_its_modifier_and_that_of_an_expression_has_none() {
        assert_eq!(typed(DataType::Decimal128(10, 2)), (Type::NUMERIC, (10 << 16) + 2 + 4));
        assert_eq!(typed(DataType::Decimal128(38, 2)), (Type::NUMERIC, -1));
        assert_eq!(typed(belvedere_planner::types::BARE_NUMERIC), (Type::NUMERIC, -1));
        assert_eq!(typed(DataType::Decimal256(76, 44)), (Type::NUMERIC, -1));
    }

    #[test]
    fn times_and_lists_have_postgresqls_types() {
        assert_eq!(typed(DataType::Timestamp(TimeUnit::Microsecond, None)), (Type::TIMESTAMP, -1));
        assert_eq!(typed(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))), (Type::TIMESTAMPTZ, -1));
        assert_eq!(typed(DataType::Interval(IntervalUnit::MonthDayNano)), (Type::INTERVAL, -1));
        let item = |data_type| DataType::List(Field::new("item", data_type, true).into());
        assert_eq!(typed(item(DataType::Int64)), (Type::INT8_ARRAY, -1));
        assert_eq!(typed(item(DataType::Utf8)), (Type::TEXT_ARRAY, -1));
        assert_eq!(typed(DataType::Null), (Type::TEXT, -1));
    }

    #[test]
    fn the_name_is_shown_without_what_keeps_equal_names_apart() {
        let uuid = HashMap::from([(PG_TYPE.to_owned(), "uuid".to_owned())]);
        let name = format!("token{}2", belvedere_planner::name::UNIQUE_MARK);
        let column = column_of(&Field::new(name, DataType::Utf8, true).with_metadata(uuid));
        assert_eq!((column.name.as_str(), column.pg_type, column.typmod), ("token", Type::UUID, -1));
    }

    #[test]
    fn a_declared_parameter_comes_back_as_the_type_that_it_was_declared_as() {
        for pg_type in [
            Type::BOOL,
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::FLOAT4,
            Type::FLOAT8,
            Type::NUMERIC,
            Type::TEXT,
            Type::BYTEA,
            Type::DATE,
            Type::TIME,
            Type::TIMESTAMP,
            Type::TIMESTAMPTZ,
            Type::INTERVAL,
            Type::UUID,
            Type::JSONB,
            Type::INT4_ARRAY,
            Type::TEXT_ARRAY,
            Type::TIMESTAMPTZ_ARRAY,
        ] {
            let field = field_of(&pg_type).expect("the type is one of ours");
            assert_eq!(pg_type_of(&field).0, pg_type);
        }
        assert_eq!(field_of(&Type::POINT), None);
    }
}
