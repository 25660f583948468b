//! Runs one statement by the binary protocol and decodes its rows.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Params, Value};

use super::bind::bound;
use super::connect::MySqlConnector;
use super::decode::{reader, size};
use super::types::{describe as describe_column, meaning_of};
use crate::batch_stream::{BatchBuilder, Batches, column_count_differs, no_reader};
use crate::pool::{Pool, Prefer};
use crate::statement_end::{Ended, within_limit};
use crate::{SourceColumn, SourceError, Statement};

pub(super) async fn describe(
    pool: &Pool<MySqlConnector>,
    connection: &mut Conn,
    sql: &str,
) -> Result<Vec<SourceColumn>, SourceError> {
    let connector = &pool.connector;
    let preparing = async {
        // Without conversion the server names each column's own collation. Undone by the reset when the connection goes back.
        connection.query_drop("SET SESSION character_set_results = NULL").await?;
        connection.prep(sql).await
    };
    let prepared = async { preparing.await.map_err(|error| connector.error(&error)) };
    let prepared = within_limit(&connector.source_name, connector.statement_timeout, prepared).await?;
    let columns = prepared.columns();
    columns.iter().map(|column| describe_column(column).ok_or_else(|| unknown_type(connector, column))).collect()
}

fn unknown_type(connector: &MySqlConnector, column: &mysql_async::Column) -> SourceError {
    SourceError::Value {
        source_name: connector.source_name.clone(),
        column: column.name_str().into_owned(),
        kind: format!("values of type {:?}", column.column_type()),
        wanted: "any type".to_owned(),
    }
}

/// Feeds `batches` until the statement ends, fails, takes too long, or the stream is dropped.
pub(super) async fn read(
    pool: Arc<Pool<MySqlConnector>>,
    statement: Statement,
    batches: Batches,
) -> Result<(), SourceError> {
    let parameters = parameters(&pool.connector, &statement)?;
    let mut prefer = Prefer::Reused;
    loop {
        let mut connection = tokio::select! {
            () = batches.abandoned() => return Ok(()),
            connection = pool.checkout(prefer) => connection?,
        };
        let id = connection.id();
        let mut reading = Reading { connector: &pool.connector, batches: batches.clone_handle(), sent: false };
        let outcome = tokio::select! {
                    biased;
                    () = batches.abandoned() => Err(Ended::Abandoned),
                    outcome = within_limit(
        &pool.connector.source_name, pool.connector.statement_timeout,
                        reading.run(&mut connection, &statement.sql, parameters.clone()),
                    ) => outcome,
                };
        match outcome {
            Ok(()) => {
                connection.give_back();
                return Ok(());
            }
            Err(Ended::Abandoned) => {
                pool.connector.kill(id).await;
                return Ok(());
            }
            // The server closed a connection that lay in the pool; no row has left, so another may try.
            Err(Ended::Failed(SourceError::Lost { .. }))
                if connection.reused && !reading.sent && prefer == Prefer::Reused =>
            {
                prefer = Prefer::New;
            }
            Err(Ended::Failed(error)) => {
                // After these the server may still be sending, and the driver would read on to the end.
                if matches!(error, SourceError::Value { .. } | SourceError::TimedOut { .. }) {
                    pool.connector.kill(id).await;
                }
                return Err(error);
            }
        }
    }
}

fn parameters(connector: &MySqlConnector, statement: &Statement) -> Result<Params, SourceError> {
    if statement.parameters.is_empty() {
        return Ok(Params::Empty);
    }
    let values = statement.parameters.iter().enumerate().map(|(index, value)| {
        bound(value).ok_or_else(|| SourceError::Refused {
            source_name: connector.source_name.clone(),
            message: format!("parameter {} of type {} has no MySQL value", index + 1, value.data_type()),
            sqlstate: Some("0A000".to_owned()),
            position: None,
        })
    });
    Ok(Params::Positional(values.collect::<Result<Vec<Value>, _>>()?))
}

struct Reading<'a> {
    connector: &'a MySqlConnector,
    batches: Batches,
    /// Whether a batch has left; the statement cannot be tried again then.
    sent: bool,
}

impl Reading<'_> {
    async fn run(&mut self, connection: &mut Conn, sql: &str, parameters: Params) -> Result<(), Ended> {
        let connector = self.connector;
        let failed = |error: Error| Ended::Failed(connector.error(&error));
        let mut result = connection.exec_iter(sql, parameters).await.map_err(failed)?;
        let schema = Arc::clone(&self.batches.schema);
        // The columns of this very execution, not of the preparation: nobody can have changed a type in between.
        let columns = result.columns().unwrap_or_default();
        if columns.len() != schema.fields().len() {
            return Err(column_count_differs(&connector.source_name, columns.len(), schema.fields().len()).into());
        }
        let readers = columns.iter().zip(schema.fields()).enumerate().map(|(index, (column, field))| {
            let described = describe_column(column).ok_or_else(|| unknown_type(connector, column))?;
            meaning_of(column)
                .and_then(|meaning| reader(meaning, field.data_type()))
                .ok_or_else(|| no_reader(&connector.source_name, &schema, index, &described))
        });
        let readers = readers.collect::<Result<Vec<_>, SourceError>>()?;
        let mut builder = BatchBuilder::new(&connector.source_name, Arc::clone(&schema), readers);
        while let Some(row) = result.next().await.map_err(failed)? {
            for (column, value) in row.unwrap().iter().enumerate() {
                let value = if matches!(value, Value::NULL) { None } else { Some(value) };
                builder.append(column, value, value.map_or(1, size))?;
            }
            if let Some(batch) = builder.end_row() {
                self.send(batch?).await?;
            }
        }
        if let Some(batch) = builder.end() {
            self.send(batch?).await?;
        }
        Ok(())
    }

    async fn send(&mut self, batch: datafusion::arrow::array::RecordBatch) -> Result<(), Ended> {
        self.sent = true;
        Ok(self.batches.send(batch).await?)
    }
}
