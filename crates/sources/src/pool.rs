//! A bounded pool of connections that prefers a new connection to a doubtful one.
//!
//! A connection goes back only when its statement ended well ([`Pooled::give_back`]), and is reset before anybody else gets it. In
//! every other case (error, cancel, timeout, panic) it is dropped, so that no statement ever sees what another left behind.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::SourceError;

/// Longer than this in the pool, and the connection is asked whether it still lives.
const TRUSTED_FOR: Duration = Duration::from_secs(15);

/// Longer than this in the pool, and the connection is closed.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// How long a connection may take to come back to its first state.
const RESET_WITHIN: Duration = Duration::from_secs(5);

/// What differs between databases.
#[async_trait]
pub(crate) trait Connector: Debug + Send + Sync + 'static {
    type Connection: Debug + Send + 'static;

    /// Opens a connection with all session settings made.
    async fn connect(&self) -> Result<Self::Connection, SourceError>;

    /// Brings a connection back to the state after `connect`; false where that failed. Also the question whether it lives.
    async fn reset(&self, connection: &mut Self::Connection) -> bool;

    /// Whether the connection is known to be broken, without asking the server.
    fn is_closed(&self, connection: &Self::Connection) -> bool;
}

#[derive(Debug)]
pub(crate) struct Pool<C: Connector> {
    source_name: String,
    pub(crate) connector: C,
    idle: Mutex<Vec<Idle<C::Connection>>>,
    permits: Arc<Semaphore>,
    connections: usize,
    wait: Duration,
}

#[derive(Debug)]
struct Idle<T> {
    connection: T,
    since: Instant,
}

/// Whether a statement may run on a connection that has been used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefer {
    Reused,
    New,
}

/// A connection in use. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Pooled<C: Connector> {
    connection: Option<C::Connection>,
    pool: Arc<Pool<C>>,
    permit: OwnedSemaphorePermit,
    /// Whether the connection has been in the pool; it may then have died there.
    pub(crate) reused: bool,
}

impl<C: Connector> Pool<C> {
    pub(crate) fn new(source_name: &str, connector: C, connections: usize, wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            source_name: source_name.to_owned(),
            connector,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(connections)),
            connections,
            wait,
        })
    }

    /// A connection, after at most the pool's waiting time.
    ///
    /// # Errors
    /// [`SourceError::Busy`] when none became free, or what connecting says.
    pub(crate) async fn checkout(self: &Arc<Self>, prefer: Prefer) -> Result<Pooled<C>, SourceError> {
        let permit = match timeout(self.wait, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(permit) => permit.expect("the semaphore of a pool is never closed"),
            Err(_) => {
                return Err(SourceError::Busy {
                    source_name: self.source_name.clone(),
                    connections: self.connections,
                    seconds: self.wait.as_secs(),
                });
            }
        };
        while let Some(Idle { mut connection, since }) = self.take_idle() {
            if prefer == Prefer::New || since.elapsed() > KEPT_FOR || self.connector.is_closed(&connection) {
                continue;
            }
            if since.elapsed() <= TRUSTED_FOR || self.reset(&mut connection).await {
                return Ok(Pooled { connection: Some(connection), pool: Arc::clone(self), permit, reused: true });
            }
        }
        let connection = self.connector.connect().await?;
        Ok(Pooled { connection: Some(connection), pool: Arc::clone(self), permit, reused: false })
    }

    async fn reset(&self, connection: &mut C::Connection) -> bool {
        timeout(RESET_WITHIN, self.connector.reset(connection)).await.unwrap_or(false)
    }

    /// The connection that came back last, so that the others grow old and are closed.
    fn take_idle(&self) -> Option<Idle<C::Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl<C: Connector> Pooled<C> {
    /// Resets the connection in the background and lets others use it. Only after a statement that ended well.
    pub(crate) fn give_back(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let (pool, permit) = (Arc::clone(&self.pool), self.permit);
        tokio::spawn(async move {
            if pool.reset(&mut connection).await {
                let idle = Idle { connection, since: Instant::now() };
                pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
            }
            // Only now: the next in line finds the connection, and there are never more than the pool allows.
            drop(permit);
        });
    }
}

impl<C: Connector> std::ops::Deref for Pooled<C> {
    type Target = C::Connection;

    fn deref(&self) -> &C::Connection {
        self.connection.as_ref().expect("the connection leaves only with the guard")
    }
}

impl<C: Connector> std::ops::DerefMut for Pooled<C> {
    fn deref_mut(&mut self) -> &mut C::Connection {
        self.connection.as_mut().expect("the connection leaves only with the guard")
    }
}
