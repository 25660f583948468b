//! A MySQL or MariaDB server as a source: the binary protocol, decoded into Arrow.

mod bind;
mod connect;
mod decode;
mod read;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;

use crate::batch_stream::stream_of;
use crate::pool::{Pool, Prefer};
use crate::{Dialect, RemoteConfig, RemoteSource, SourceColumn, SourceError, Statement};

use connect::MySqlConnector;

/// A MySQL or MariaDB database behind a pool of read-only connections.
#[derive(Debug)]
pub struct MySqlSource {
    name: String,
    pool: Arc<Pool<MySqlConnector>>,
}

impl MySqlSource {
    /// Checks the configuration; nothing is connected before the first statement.
    ///
    /// # Errors
    /// [`SourceError::Config`] when the URL, a certificate file or another setting cannot be used.
    pub fn new(name: &str, config: &RemoteConfig) -> Result<Self, SourceError> {
        let connector = MySqlConnector::new(name, config)?;
        Ok(Self { name: name.to_owned(), pool: Pool::new(name, connector, config.pool, config.pool_timeout) })
    }
}

#[async_trait]
impl RemoteSource for MySqlSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }

    fn binary_collation(&self) -> &'static str {
        self.pool.connector.binary_collation()
    }

    async fn describe(&self, sql: &str) -> Result<Vec<SourceColumn>, SourceError> {
        let mut prefer = Prefer::Reused;
        loop {
            let mut connection = self.pool.checkout(prefer).await?;
            match read::describe(&self.pool, &mut connection, sql).await {
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
