//! A PostgreSQL server as a source: binary COPY and binary rows, decoded straight into Arrow.

mod bind;
mod connect;
mod decode;
mod read;
mod tls;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;

use crate::batch_stream::stream_of;
use crate::pool::{Pool, Prefer};
use crate::{Dialect, RemoteConfig, RemoteSource, SourceColumn, SourceError, Statement};

use connect::PostgresConnector;

/// A PostgreSQL database behind a pool of read-only connections.
#[derive(Debug)]
pub struct PostgresSource {
    name: String,
    pool: Arc<Pool<PostgresConnector>>,
}

impl PostgresSource {
    /// Checks the configuration; nothing is connected before the first statement.
    ///
    /// # Errors
    /// [`SourceError::Config`] when the URL, a certificate file or another setting cannot be used.
    pub fn new(name: &str, config: &RemoteConfig) -> Result<Self, SourceError> {
        let connector = PostgresConnector::new(name, config)?;
        Ok(Self { name: name.to_owned(), pool: Pool::new(name, connector, config.pool, config.pool_timeout) })
    }
}

#[async_trait]
impl RemoteSource for PostgresSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn describe(&self, sql: &str) -> Result<Vec<SourceColumn>, SourceError> {
        let mut prefer = Prefer::Reused;
        loop {
            let connection = self.pool.checkout(prefer).await?;
            match read::describe(&self.pool, &connection, sql).await {
                Ok(columns) => {
                    connection.give_back();
                    return Ok(columns);
                }
                // The server may have closed the connection while it was in the pool.
                Err(SourceError::Lost { .. }) if connection.reused && prefer == Prefer::Reused => prefer = Prefer::New,
                Err(error) => return Err(error),
            }
        }
    }

    fn read(self: Arc<Self>, statement: Statement, schema: SchemaRef) -> SendableRecordBatchStream {
        let pool = Arc::clone(&self.pool);
        stream_of(schema, move |batches| read::read(pool, statement, batches))
    }
}

#[cfg(test)]
mod tests;
