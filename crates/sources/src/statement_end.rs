//! How a statement at a source may end before its last row.

use std::future::pending;
use std::time::Duration;

use tokio::time::sleep;

use crate::SourceError;
use crate::batch_stream::Abandoned;

/// The server stops a statement by itself at the limit. Later than this after it, we no longer believe that it will.
const GRACE: Duration = Duration::from_secs(1);

/// How a statement ended before its last row.
pub(crate) enum Ended {
    Failed(SourceError),
    Abandoned,
}

impl From<SourceError> for Ended {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

impl From<Abandoned> for Ended {
    fn from(_: Abandoned) -> Self {
        Self::Abandoned
    }
}

/// Lets `work` take as long as a statement of the source may, and a little more.
pub(crate) async fn within_limit<T, E: From<SourceError>>(
    source_name: &str,
    statement_timeout: Option<Duration>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let over = async {
        match statement_timeout {
            Some(limit) => sleep(limit + GRACE).await,
            None => pending().await,
        }
    };
    tokio::select! {
        done = work => done,
        () = over => Err(SourceError::TimedOut {
            source_name: source_name.to_owned(),
            seconds: statement_timeout.map_or(0, |limit| limit.as_secs()),
        }.into()),
    }
}
