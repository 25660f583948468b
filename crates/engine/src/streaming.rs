//! Streams that stop: on cancel, on timeout, and with the client's errors in PostgreSQL's words.

use std::time::Duration;

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream;
use tokio_util::sync::CancellationToken;

use crate::errors::from_datafusion;
use crate::{RowStream, SqlError};

/// A statement's permission to go on: ends by the client's cancel, or by the statement timeout.
#[derive(Debug, Clone)]
pub struct Stop {
    token: CancellationToken,
    timed_out: CancellationToken,
}

impl Stop {
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(cancel: CancellationToken, timeout: Option<Duration>) -> Self {
        let stop = Self { token: cancel, timed_out: CancellationToken::new() };
        if let Some(timeout) = timeout {
            let (token, timed_out) = (stop.token.clone(), stop.timed_out.clone());
            // Ends by itself: at the timeout, when the statement is cancelled, or when it is over and drops its guard.
            tokio::spawn(async move {
                tokio::select! {
                    () = token.cancelled() => {}
                    () = timed_out.cancelled() => {}
                    () = tokio::time::sleep(timeout) => timed_out.cancel(),
                }
            });
        }
        stop
    }

    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.token.is_cancelled() || self.timed_out.is_cancelled()
    }

    /// Waits until the statement must stop, and says why in PostgreSQL's words (57014).
    pub async fn stopped(&self) -> SqlError {
        tokio::select! {
            biased;
            () = self.token.cancelled() => SqlError::new("57014", "canceling statement due to user request"),
            () = self.timed_out.cancelled() => {
                SqlError::new("57014", "canceling statement due to statement timeout")
            }
        }
    }
}

/// Ends the timer of a [`Stop`] when the statement is over.
#[derive(Debug)]
pub struct TimerGuard(Stop);

impl TimerGuard {
    #[must_use]
    pub fn new(stop: Stop) -> Self {
        Self(stop)
    }

    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.0
    }
}

impl Drop for TimerGuard {
    fn drop(&mut self) {
        self.0.timed_out.cancel();
    }
}

/// The rows of `stream` until it must stop; nothing comes after an error.
#[must_use]
pub fn guarded(stream: SendableRecordBatchStream, guard: TimerGuard) -> RowStream {
    Box::pin(stream::unfold(Some((stream, guard)), |state| async move {
        let (mut stream, guard) = state?;
        tokio::select! {
            biased;
            why = guard.stop().stopped() => Some((Err(why), None)),
            next = stream.next() => match next {
                Some(Ok(batch)) => Some((Ok(batch), Some((stream, guard)))),
                Some(Err(error)) => Some((Err(from_datafusion(&error)), None)),
                None => None,
            },
        }
    }))
}
