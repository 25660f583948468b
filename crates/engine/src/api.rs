//! What a front end (the wire server, the command line, a test) needs of the engine: open a session, prepare a statement,
//! run it, stop it.
//!
//! Nothing here knows bytes or sockets. Values are Arrow scalars, types are PostgreSQL's.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::scalar::ScalarValue;
use futures::Stream;
use postgres_types::Type;
use tokio_util::sync::CancellationToken;

use crate::SqlError;

/// Where front ends get their sessions. The engine implements it; tests of the wire use a fake.
pub trait Backend: Send + Sync + 'static {
    /// What a login as `user` must prove; see [`Credentials`].
    fn credentials(&self, user: &str) -> Credentials;

    /// Opens a session for a user who has proved who they are.
    ///
    /// # Errors
    /// A start-up parameter that PostgreSQL would refuse (22023), a disabled user (28000), too many connections (53300).
    fn open_session(&self, login: Login) -> Result<Box<dyn Session>, SqlError>;
}

/// How a user proves who they are.
#[derive(Clone)]
pub enum Credentials {
    /// No users are configured and only loopback is served: anyone may log in.
    Trust,
    /// A SCRAM-SHA-256 verifier in PostgreSQL's own format, `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
    Scram(String),
    /// There is no such user. The front end runs a mock exchange, so that this cannot be told from a wrong password.
    Unknown,
}

#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub database: String,
    /// The other start-up parameters, `options` already split into single settings; names as sent.
    pub parameters: Vec<(String, String)>,
    /// For `pg_backend_pid()` and cancel.
    pub process_id: i32,
}

/// One client's state: settings, transaction, and the statements it runs. Used by one task at a time.
#[async_trait]
pub trait Session: Send {
    /// Settings to report after login as ParameterStatus: `server_version`, `client_encoding`, `DateStyle`, `TimeZone`, ….
    fn reported_settings(&self) -> Vec<(String, String)>;

    /// Splits the text of a simple query into its statements; an empty result means an empty query.
    ///
    /// # Errors
    /// 42601 for text that cannot be read, 54000 and 54001 beyond the limits of size and depth.
    fn split(&self, sql: &str) -> Result<Vec<String>, SqlError>;

    /// Plans one statement. `declared` holds the parameter types that the client gave; `None` and missing ones are inferred.
    /// An empty `sql` prepares the empty statement.
    async fn prepare(
        &mut self,
        sql: &str,
        declared: &[Option<Type>],
        cancel: &CancellationToken,
    ) -> Result<Arc<Prepared>, SqlError>;

    /// Starts a prepared statement. `parameters` has one value for each of [`Prepared::parameters`].
    ///
    /// `cancel` stops planning, running and streaming; the session's statement timeout does the same with 57014.
    async fn execute(
        &mut self,
        statement: &Prepared,
        parameters: Vec<ScalarValue>,
        cancel: CancellationToken,
    ) -> Result<Outcome, SqlError>;

    /// Tells the session that the current statement, or the stream it gave, failed: an open transaction is now aborted.
    fn statement_failed(&mut self);

    fn transaction_status(&self) -> TransactionStatus;
}

/// A statement that was planned. What it promises about parameters and columns is what comes.
pub struct Prepared {
    pub sql: String,
    pub parameters: Vec<Type>,
    /// `None` for statements without rows.
    pub columns: Option<Vec<Column>>,
    /// The engine's own plan; front ends pass it back untouched.
    pub plan: Box<dyn std::any::Any + Send + Sync>,
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub pg_type: Type,
    /// PostgreSQL's type modifier, -1 for none.
    pub typmod: i32,
}

/// What a statement gave.
pub enum Outcome {
    /// The empty query string.
    Empty,
    /// A statement without rows.
    Command { tag: String, effects: Effects },
    /// Rows, as they come. Columns match [`Prepared::columns`] by position. `tag` is `SELECT`, `SHOW`, `FETCH`, `EXPLAIN`; the
    /// front end adds the row count where PostgreSQL does (SELECT and FETCH).
    Rows { columns: Vec<Column>, schema: SchemaRef, rows: RowStream, tag: String, effects: Effects },
}

/// What a statement did beside its rows.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    pub notices: Vec<SqlError>,
    /// Settings to report as ParameterStatus.
    pub changed_settings: Vec<(String, String)>,
    /// `DEALLOCATE name`, `DEALLOCATE ALL`, `DISCARD ALL`: prepared statements that the front end must forget.
    pub deallocate: Option<Deallocate>,
}

#[derive(Debug, Clone)]
pub enum Deallocate {
    One(String),
    All,
}

/// Batches of rows, or the error that ends them. Dropping it stops the work, at the sources too.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, SqlError>> + Send>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}
