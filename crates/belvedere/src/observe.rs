//! Counts statements, durations and rows, of clients and of each data source, around the engine and without its help.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use belvedere_engine::{
    Backend, Credentials, Login, Outcome, Prepared, RowStream, Session, SqlError, TransactionStatus,
};
use belvedere_sources::{Dialect, RemoteSource, SourceColumn, SourceError, Statement};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::Stream;
use postgres_types::Type;
use tokio_util::sync::CancellationToken;

use crate::status::Status;

/// Upper bounds of the histogram's buckets, in milliseconds.
pub const BUCKETS_MS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 60_000, 300_000];

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each of [`BUCKETS_MS`], and one for all beyond; not cumulative.
    counts: [AtomicU64; BUCKETS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub fn record(&self, duration: Duration) {
        let bucket = BUCKETS_MS.iter().position(|bound| duration <= Duration::from_millis(*bound));
        self.counts[bucket.unwrap_or(BUCKETS_MS.len())].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Cumulative counts, the last one of all.
    pub fn cumulative(&self) -> Vec<u64> {
        let mut total = 0;
        let add = |count: &AtomicU64| {
            total += count.load(Ordering::Relaxed);
            total
        };
        self.counts.iter().map(add).collect()
    }

    pub fn sum_seconds(&self) -> f64 {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// What one data source was asked, and how it answered.
#[derive(Debug)]
pub struct SourceCounts {
    pub name: String,
    pub statements: AtomicU64,
    pub statements_open: AtomicU64,
    pub errors: AtomicU64,
    pub rows: AtomicU64,
    pub durations: Histogram,
    status: Arc<Status>,
}

impl SourceCounts {
    /// Counts an error, and remembers that a source cannot be reached.
    fn failed(&self, error: &SourceError) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        if matches!(error, SourceError::Unreachable { .. }) {
            self.status.source_unreachable(&self.name, error.to_string());
        }
    }
}

/// All counts of the process beside those of the wire.
#[derive(Debug)]
pub struct Observations {
    /// From execution to the last row, of what clients run.
    pub statements: Histogram,
    sources: std::sync::Mutex<Vec<Arc<SourceCounts>>>,
    status: Arc<Status>,
}

impl Observations {
    pub fn new(status: Arc<Status>) -> Self {
        Self { statements: Histogram::default(), sources: std::sync::Mutex::default(), status }
    }

    /// The counts of a source, made at the first call.
    pub fn source(&self, name: &str) -> Arc<SourceCounts> {
        let mut sources = self.sources.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = sources.iter().find(|source| source.name == name) {
            return Arc::clone(known);
        }
        let counts = Arc::new(SourceCounts {
            name: name.to_owned(),
            statements: AtomicU64::new(0),
            statements_open: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            durations: Histogram::default(),
            status: Arc::clone(&self.status),
        });
        sources.push(Arc::clone(&counts));
        counts
    }

    pub fn sources(&self) -> Vec<Arc<SourceCounts>> {
        self.sources.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// A data source that is counted.
#[derive(Debug)]
pub struct ObservedSource {
    inner: Arc<dyn RemoteSource>,
    counts: Arc<SourceCounts>,
}

impl ObservedSource {
    pub fn new(inner: Arc<dyn RemoteSource>, counts: Arc<SourceCounts>) -> Self {
        Self { inner, counts }
    }
}

#[async_trait]
impl RemoteSource for ObservedSource {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn binary_collation(&self) -> &'static str {
        self.inner.binary_collation()
    }

    async fn describe(&self, sql: &str) -> Result<Vec<SourceColumn>, SourceError> {
        let described = self.inner.describe(sql).await;
        match &described {
            // A refused text is an answer to a question about the model, not a failure of the source.
            Ok(_) | Err(SourceError::Refused { .. }) => self.counts.status.source_reachable(&self.counts.name),
            Err(error) => self.counts.failed(error),
        }
        described
    }

    fn read(self: Arc<Self>, statement: Statement, schema: SchemaRef) -> SendableRecordBatchStream {
        self.counts.statements.fetch_add(1, Ordering::Relaxed);
        self.counts.statements_open.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::clone(&self.inner).read(statement, schema);
        let schema = stream.schema();
        let counted = CountedRead { stream, counts: Arc::clone(&self.counts), started: Instant::now() };
        Box::pin(RecordBatchStreamAdapter::new(schema, counted))
    }
}

struct CountedRead {
    stream: SendableRecordBatchStream,
    counts: Arc<SourceCounts>,
    started: Instant,
}

impl Stream for CountedRead {
    type Item = datafusion::error::Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.stream.as_mut().poll_next(context);
        match &next {
            Poll::Ready(Some(Ok(batch))) => {
                self.counts.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            }
            Poll::Ready(Some(Err(error))) => match source_error(error) {
                Some(error) => self.counts.failed(error),
                None => {
                    self.counts.errors.fetch_add(1, Ordering::Relaxed);
                }
            },
            Poll::Ready(None) | Poll::Pending => {}
        }
        next
    }
}

fn source_error(error: &datafusion::error::DataFusionError) -> Option<&SourceError> {
    match error.find_root() {
        datafusion::error::DataFusionError::External(inner) => inner.downcast_ref(),
        _ => None,
    }
}

impl Drop for CountedRead {
    fn drop(&mut self) {
        self.counts.durations.record(self.started.elapsed());
        self.counts.statements_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A back end whose statements are timed.
pub struct ObservedBackend {
    pub inner: Arc<dyn Backend>,
    pub observations: Arc<Observations>,
}

impl Backend for ObservedBackend {
    fn credentials(&self, user: &str) -> Credentials {
        self.inner.credentials(user)
    }

    fn open_session(&self, login: Login) -> Result<Box<dyn Session>, SqlError> {
        let inner = self.inner.open_session(login)?;
        Ok(Box::new(ObservedSession { inner, observations: Arc::clone(&self.observations) }))
    }
}

struct ObservedSession {
    inner: Box<dyn Session>,
    observations: Arc<Observations>,
}

#[async_trait]
impl Session for ObservedSession {
    fn reported_settings(&self) -> Vec<(String, String)> {
        self.inner.reported_settings()
    }

    fn split(&self, sql: &str) -> Result<Vec<String>, SqlError> {
        self.inner.split(sql)
    }

    async fn prepare(
        &mut self,
        sql: &str,
        declared: &[Option<Type>],
        cancel: &CancellationToken,
    ) -> Result<Arc<Prepared>, SqlError> {
        self.inner.prepare(sql, declared, cancel).await
    }

    async fn execute(
        &mut self,
        statement: &Prepared,
        parameters: Vec<ScalarValue>,
        cancel: CancellationToken,
    ) -> Result<Outcome, SqlError> {
        // Recorded when it is dropped: at once for commands, with the last row for queries, on every way out.
        let timer = Timer { observations: Arc::clone(&self.observations), started: Instant::now() };
        let outcome = self.inner.execute(statement, parameters, cancel).await?;
        Ok(match outcome {
            Outcome::Rows { columns, schema, rows, tag, effects } => {
                let rows: RowStream = Box::pin(TimedRows { rows, _timer: timer });
                Outcome::Rows { columns, schema, rows, tag, effects }
            }
            other @ (Outcome::Empty | Outcome::Command { .. }) => other,
        })
    }

    fn statement_failed(&mut self) {
        self.inner.statement_failed();
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.inner.transaction_status()
    }
}

struct Timer {
    observations: Arc<Observations>,
    started: Instant,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.observations.statements.record(self.started.elapsed());
    }
}

struct TimedRows {
    rows: RowStream,
    _timer: Timer,
}

impl Stream for TimedRows {
    type Item = Result<RecordBatch, SqlError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.rows.as_mut().poll_next(context)
    }
}
