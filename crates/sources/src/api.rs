//! What the rest of Belvedere sees of a database: describe a statement, read a statement as Arrow.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;

use crate::SourceError;

/// The SQL that a source speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    Postgres,
    /// MySQL and MariaDB; where they differ, the server's version decides when the connection is made.
    MySql,
}

/// One statement for a source: its text with `$1` (PostgreSQL) or `?` (MySQL) where values go, and the values in that order.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub sql: String,
    pub parameters: Vec<ScalarValue>,
}

/// One output column of a statement, as the source describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceColumn {
    /// Name, Arrow type and nullability, with the PostgreSQL type in the metadata where the Arrow type does not say it.
    pub field: Field,
    /// The type in the source's own words, such as `numeric(12,2)` or `bigint unsigned`.
    pub native_type: String,
    /// Whether equality at the source is that of code points: PostgreSQL's text types with a deterministic collation (we add
    /// `COLLATE "C"` for order), MySQL's binary collations that keep trailing blanks. Columns that are not text here are true.
    pub compares_by_code_point: bool,
}

/// A database behind a pool of read-only connections.
#[async_trait]
pub trait RemoteSource: Debug + Send + Sync + 'static {
    /// The name under `data_sources` in the configuration.
    fn name(&self) -> &str;

    fn dialect(&self) -> Dialect;

    /// The collation of a MySQL server that compares by code point and keeps trailing blanks: `utf8mb4_nopad_bin` on MariaDB,
    /// `utf8mb4_0900_bin` on MySQL 8. PostgreSQL's is always `"C"`.
    fn binary_collation(&self) -> &'static str {
        "utf8mb4_nopad_bin"
    }

    /// Prepares `sql` at the source without running it.
    ///
    /// # Errors
    /// What the source says of the text (with the position where it gives one), or that it cannot be reached.
    async fn describe(&self, sql: &str) -> Result<Vec<SourceColumn>, SourceError>;

    /// Runs `statement`; each value is decoded straight into the type that `schema` asks for, or the stream ends with an error
    /// that names the column and the kind of value. Memory is bounded whatever the size of the result. Dropping the stream
    /// cancels the statement at the source.
    fn read(self: Arc<Self>, statement: Statement, schema: SchemaRef) -> SendableRecordBatchStream;
}
