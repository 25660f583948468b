//! Streams that stop: on cancel, on timeout, and with the client's errors in PostgreSQL's words.

use std::time::Duration;

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::errors::from_datafusion;
use crate::{RowStream, SqlError};

/// A statement's permission to go on: ends by the client's cancel, or by the statement timeout.
#[derive(Debug, Clone)]
pub struct Stop {
    token: CancellationToken,
    deadline: Option<Instant>,
}

impl Stop {
    /// The timeout counts from now.
    #[must_use]
    pub fn new(cancel: CancellationToken, timeout: Option<Duration>) -> Self {
        // A timeout beyond what the clock can say is none.
        Self { token: cancel, deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)) }
    }

    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.token.is_cancelled() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Waits until the statement must stop, and says why in PostgreSQL's words (57014).
    pub async fn stopped(&self) -> SqlError {
        let timeout = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.token.cancelled() => SqlError::new("57014", "canceling statement due to user request"),
            () = timeout => SqlError::new("57014", "canceling statement due to statement timeout"),
        }
    }
}

/// The rows of `stream` until it must stop; nothing comes after an error.
#[must_use]
pub fn guarded(stream: SendableRecordBatchStream, stop: Stop) -> RowStream {
    Box::pin(stream::unfold(Some((stream, stop)), |state| async move {
        let (mut stream, stop) = state?;
        tokio::select! {
            biased;
            why = stop.stopped() => Some((Err(why), None)),
            next = stream.next() => match next {
                Some(Ok(batch)) => Some((Ok(batch), Some((stream, stop)))),
                Some(Err(error)) => Some((Err(from_datafusion(&error)), None)),
                None => None,
            },
        }
    }))
}
