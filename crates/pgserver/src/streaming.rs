//! Runs the engine's work while the client is watched, and sends rows no faster than the client reads them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use belvedere_engine::{Column, RowStream, Severity, SqlError};

use crate::config::Limits;
use crate::encode::EncodedBatch;
use crate::messages::Format;
use crate::metrics::add;
use crate::serve::{Signals, shutting_down};
use crate::transport::Connection;
use crate::zone::Zone;

/// What lies in the output buffer while a statement is waited for is sent after this long.
const IMPATIENCE: Duration = Duration::from_millis(50);

/// Why a message could not be answered as asked.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Tell, and go on with the session (FATAL ones end it).
    Error(SqlError),
    /// The client is gone; there is nobody to tell.
    Gone,
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

fn cancelled() -> Stop {
    Stop::Error(SqlError::new("57014", "canceling statement due to user request"))
}

/// A panic below is a bug; the session that it came from cannot be trusted any more.
pub(crate) fn panicked(connection: &Connection) -> Stop {
    add(&connection.metrics.panics_total, 1);
    tracing::error!("a statement ended by a panic");
    Stop::Error(SqlError::new("XX000", "internal error").severity(Severity::Fatal))
}

fn gone(connection: &Connection) -> Stop {
    add(&connection.metrics.clients_vanished_total, 1);
    Stop::Gone
}

/// The client's connection and everything that can end a statement from outside.
pub(crate) struct Wire<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) signals: &'a Signals,
    pub(crate) limits: &'a Limits,
}

impl Wire<'_> {
    /// Runs `work` until it is done, cancelled by `token`, or nobody waits for it any more. Stopping drops it.
    pub(crate) async fn run<T>(
        &mut self,
        token: &CancellationToken,
        work: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<T, Stop> {
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        let done = loop {
            let waiting = !self.connection.output.is_empty();
            tokio::select! {
                biased;
                () = token.cancelled() => return Err(cancelled()),
                done = &mut work => break Some(done),
                () = self.signals.kill.cancelled() => return Err(shutting_down().into()),
                () = self.connection.vanished(self.limits.read_ahead_bytes) => break None,
                () = tokio::time::sleep(IMPATIENCE), if waiting => {}
            }
            // Answers to what came before this statement in the same packet.
            self.flush_running(token).await?;
        };
        match done {
            Some(Ok(done)) => Ok(done?),
            Some(Err(_)) => Err(panicked(self.connection)),
            None => {
                token.cancel();
                Err(gone(self.connection))
            }
        }
    }

    /// Sends what there is, without a statement to cancel.
    pub(crate) async fn flush(&mut self) -> Result<(), Stop> {
        if self.connection.output.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.signals.kill.cancelled() => Err(shutting_down().into()),
            flushed = self.connection.flush() => flushed.map_err(|_| Stop::Gone),
        }
    }

    /// Sends what there is; a cancel request does not wait for a slow reader.
    async fn flush_running(&mut self, token: &CancellationToken) -> Result<(), Stop> {
        tokio::select! {
            biased;
            () = token.cancelled() => Err(cancelled()),
            () = self.signals.kill.cancelled() => Err(shutting_down().into()),
            flushed = self.connection.flush() => flushed.map_err(|_| gone(self.connection)),
        }
    }
}

/// A result on its way: the stream, and the batch that is being sent.
pub(crate) struct RunningRows {
    rows: RowStream,
    columns: Vec<Column>,
    formats: Vec<Format>,
    batch: Option<EncodedBatch>,
    next_row: usize,
    pub(crate) tag: String,
}

/// How far [`RunningRows::send`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Finished { rows: u64 },
    Suspended,
}

impl RunningRows {
    pub(crate) fn new(rows: RowStream, columns: Vec<Column>, formats: Vec<Format>, tag: String) -> Self {
        Self { rows, columns, formats, batch: None, next_row: 0, tag }
    }

    /// Sends up to `rows_max` rows, all of them for 0. As in PostgreSQL, a result that ends exactly there is suspended, and its
    /// end is found by the next call.
    pub(crate) async fn send(
        &mut self,
        wire: &mut Wire<'_>,
        token: &CancellationToken,
        zone: &Zone,
        rows_max: usize,
    ) -> Result<Progress, Stop> {
        let mut sent = 0;
        let progress = self.send_counting(wire, token, zone, rows_max, &mut sent).await;
        add(&wire.connection.metrics.rows_sent_total, sent);
        progress
    }

    async fn send_counting(
        &mut self,
        wire: &mut Wire<'_>,
        token: &CancellationToken,
        zone: &Zone,
        rows_max: usize,
        sent: &mut u64,
    ) -> Result<Progress, Stop> {
        let rows_max = if rows_max == 0 { u64::MAX } else { rows_max as u64 };
        loop {
            if let Some(batch) = &self.batch {
                while self.next_row < batch.rows() {
                    if *sent == rows_max {
                        return Ok(Progress::Suspended);
                    }
                    batch.put_row(self.next_row, &mut wire.connection.output)?;
                    self.next_row += 1;
                    *sent += 1;
                    if wire.connection.output.len() >= wire.limits.output_buffer_bytes {
                        wire.flush_running(token).await?;
                    }
                }
                self.batch = None;
            }
            if *sent == rows_max {
                return Ok(Progress::Suspended);
            }
            match self.next_batch(wire, token).await? {
                Some(batch) => {
                    self.batch = Some(EncodedBatch::new(&batch, &self.columns, &self.formats, zone)?);
                    self.next_row = 0;
                }
                None => return Ok(Progress::Finished { rows: *sent }),
            }
        }
    }

    async fn next_batch(
        &mut self,
        wire: &mut Wire<'_>,
        token: &CancellationToken,
    ) -> Result<Option<datafusion::arrow::record_batch::RecordBatch>, Stop> {
        let mut next = pin!(AssertUnwindSafe(self.rows.next()).catch_unwind());
        loop {
            let waiting = !wire.connection.output.is_empty();
            tokio::select! {
                biased;
                () = token.cancelled() => return Err(cancelled()),
                next = &mut next => return match next {
                    Ok(next) => Ok(next.transpose()?),
                    Err(_) => Err(panicked(wire.connection)),
                },
                () = wire.signals.kill.cancelled() => return Err(shutting_down().into()),
                () = wire.connection.vanished(wire.limits.read_ahead_bytes) => {
                    token.cancel();
                    return Err(gone(wire.connection));
                }
                () = tokio::time::sleep(IMPATIENCE), if waiting => {}
            }
            wire.flush_running(token).await?;
        }
    }
}
