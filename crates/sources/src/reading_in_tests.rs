//! Asking a source in its tests.

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::error::DataFusionError;
use futures::StreamExt;

use crate::{RemoteSource, SourceError, Statement};

pub(crate) fn plain(sql: &str) -> Statement {
    Statement { sql: sql.to_owned(), parameters: Vec::new() }
}

pub(crate) fn schema_of(types: &[DataType]) -> SchemaRef {
    Arc::new(Schema::new(
        types.iter().enumerate().map(|(i, of)| Field::new(format!("c{i}"), of.clone(), true)).collect::<Vec<_>>(),
    ))
}

/// The error of the source inside DataFusion's.
pub(crate) fn cause(error: DataFusionError) -> SourceError {
    match error {
        DataFusionError::External(inner) => *inner.downcast::<SourceError>().expect("sources fail with SourceError"),
        other => panic!("not an error of the source: {other}"),
    }
}

pub(crate) async fn read_as(
    source: &Arc<impl RemoteSource>,
    statement: Statement,
    schema: SchemaRef,
) -> Result<Vec<RecordBatch>, SourceError> {
    let mut stream = Arc::clone(source).read(statement, schema);
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch.map_err(cause)?);
    }
    Ok(batches)
}

/// The first column of all rows as text, with the column's type.
pub(crate) async fn values(
    source: &Arc<impl RemoteSource>,
    statement: Statement,
) -> Result<(Field, Vec<String>), SourceError> {
    let described = source.describe(&statement.sql).await?;
    let schema = Arc::new(Schema::new(described.iter().map(|column| column.field.clone()).collect::<Vec<_>>()));
    let mut texts = Vec::new();
    for batch in read_as(source, statement, schema).await? {
        let column = batch.column(0);
        for row in 0..batch.num_rows() {
            texts.push(match column.is_null(row) {
                true => "NULL".to_owned(),
                false => array_value_to_string(column, row).expect("the array's own text form"),
            });
        }
    }
    Ok((described[0].field.clone(), texts))
}
