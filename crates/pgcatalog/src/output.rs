//! Rows of a catalog statement as Arrow arrays.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalUnit, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::casts;
use crate::catalog::Row;
use crate::error::{CatalogError, Result};
use crate::exec::Ctx;
use crate::pg_types::{self as ty, Oid, TypeTable};
use crate::plan::OutputColumn;
use crate::value::Value;

/// Key of the field metadata that names the PostgreSQL type where the Arrow type alone does not. The same key as
/// everywhere in Belvedere.
pub const PG_TYPE: &str = "belvedere.pg_type";

/// Whether a type is shown as an Arrow list; int2vector and oidvector are shown as text, as their own output is.
fn list_element(types: &TypeTable, pg_type: Oid) -> Option<Oid> {
    types.get(pg_type).filter(|ty| ty.name.starts_with('_')).map(|ty| ty.element)
}

fn data_type(types: &TypeTable, pg_type: Oid) -> DataType {
    match pg_type {
        ty::BOOL => DataType::Boolean,
        ty::INT2 => DataType::Int16,
        ty::INT4 => DataType::Int32,
        ty::INT8 | ty::OID | ty::XID | 29 => DataType::Int64,
        ty::FLOAT4 => DataType::Float32,
        ty::FLOAT8 => DataType::Float64,
        ty::NUMERIC => DataType::Decimal128(38, 0),
        ty::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        ty::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ty::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => match list_element(types, pg_type) {
            Some(element) => DataType::List(Arc::new(field(types, "item", element))),
            None => DataType::Utf8,
        },
    }
}

fn field(types: &TypeTable, name: &str, pg_type: Oid) -> Field {
    let field = Field::new(name, data_type(types, pg_type), true);
    let plain = matches!(pg_type, ty::BOOL | ty::INT2 | ty::INT4 | ty::INT8 | ty::FLOAT4 | ty::FLOAT8 | ty::NUMERIC)
        || matches!(pg_type, ty::TEXT | ty::TIMESTAMP | ty::TIMESTAMPTZ | ty::INTERVAL)
        || list_element(types, pg_type).is_some();
    match types.get(pg_type) {
        Some(named) if !plain => field.with_metadata(HashMap::from([(PG_TYPE.to_owned(), named.name.clone())])),
        _ => field,
    }
}

/// The schema of a result.
pub fn schema(types: &TypeTable, columns: &[OutputColumn]) -> SchemaRef {
    let fields: Vec<Field> = columns.iter().map(|column| field(types, &column.name, column.pg_type)).collect();
    Arc::new(Schema::new(fields))
}

/// All rows as one batch.
pub fn batch(ctx: &Ctx<'_>, schema: &SchemaRef, columns: &[OutputColumn], rows: &[Row]) -> Result<RecordBatch> {
    let arrays = columns.iter().enumerate().map(|(at, column)| {
        let values: Vec<&Value> = rows.iter().map(|row| &row[at]).collect();
        array(ctx, column.pg_type, &values)
    });
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options).map_err(internal)
}

fn internal(error: ArrowError) -> CatalogError {
    CatalogError::new("XX000", format!("catalog rows do not have their own types: {error}"))
}

fn array(ctx: &Ctx<'_>, pg_type: Oid, values: &[&Value]) -> Result<ArrayRef> {
    let ints = || values.iter().map(|value| value.as_int());
    let floats = || {
        values.iter().map(|value| match value {
            Value::Float(value) => Some(*value),
            other => other.as_int().map(|int| int as f64),
        })
    };
    let times = || {
        values.iter().map(|value| match value {
            Value::Time(us) => Some(*us),
            _ => None,
        })
    };
    let types = &ctx.catalog.types;
    Ok(match pg_type {
        ty::BOOL => {
            let bools = values.iter().map(|value| match value {
                Value::Bool(value) => Some(*value),
                _ => None,
            });
            Arc::new(bools.collect::<BooleanArray>())
        }
        ty::INT2 => Arc::new(ints().map(|int| int.map(|int| int as i16)).collect::<Int16Array>()),
        ty::INT4 => Arc::new(ints().map(|int| int.map(|int| int as i32)).collect::<Int32Array>()),
        ty::INT8 | ty::OID | ty::XID | 29 => Arc::new(ints().collect::<Int64Array>()),
        ty::FLOAT4 => Arc::new(floats().map(|float| float.map(|float| float as f32)).collect::<Float32Array>()),
        ty::FLOAT8 => Arc::new(floats().collect::<Float64Array>()),
        ty::NUMERIC => {
            let array = ints().map(|int| int.map(i128::from)).collect::<Decimal128Array>();
            Arc::new(array.with_precision_and_scale(38, 0).map_err(internal)?)
        }
        ty::TIMESTAMP => Arc::new(times().collect::<TimestampMicrosecondArray>()),
        ty::TIMESTAMPTZ => Arc::new(times().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        ty::INTERVAL => {
            let intervals = ints().map(|int| int.map(|us| IntervalMonthDayNano::new(0, 0, us * 1000)));
            Arc::new(intervals.collect::<IntervalMonthDayNanoArray>())
        }
        _ => match list_element(types, pg_type) {
            Some(element) => {
                let items: Vec<&Value> = values.iter().flat_map(|value| value.items()).collect();
                let offsets = OffsetBuffer::from_lengths(values.iter().map(|value| value.items().len()));
                let nulls: NullBuffer = values.iter().map(|value| !value.is_null()).collect();
                let field = Arc::new(field(types, "item", element));
                let items = array(ctx, element, &items)?;
                Arc::new(ListArray::try_new(field, offsets, items, Some(nulls)).map_err(internal)?)
            }
            None => {
                let texts = values.iter().map(|value| match value {
                    Value::Null => Ok(None),
                    value => casts::show(ctx, value, pg_type).map(Some),
                });
                Arc::new(texts.collect::<Result<StringArray>>()?)
            }
        },
    })
}
