//! Accepts sockets, gives each a task, keeps their number within limits and ends them at shutdown.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use belvedere_engine::{Backend, Severity, SqlError};

use crate::ServerConfig;
use crate::conversation::Conversation;
use crate::messages::put_error;
use crate::metrics::{Gauge, Metrics, add};
use crate::startup::{LoggedIn, Refused, Shared, say, start};
use crate::transport::{Connection, Transport};

/// How a server that was told to stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every statement ran to its end.
    Completely,
    /// At the deadline so many connections were still busy and were cut off.
    CutOff(usize),
}

/// The two stages of a shutdown.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    /// Stop when idle.
    pub(crate) drain: CancellationToken,
    /// Stop now.
    pub(crate) kill: CancellationToken,
}

/// Serves clients until `shutdown` is cancelled, then drains: no new sockets, idle sessions end with 57P01, running statements
/// may go on until [`ServerConfig::drain_deadline`].
///
/// # Errors
/// Only if the operating system gives no random numbers at the start. A socket that fails ends its own connection and nothing
/// else; when the process is out of file descriptors, accepting waits and tries again.
pub async fn serve(
    listener: TcpListener,
    backend: Arc<dyn Backend>,
    config: ServerConfig,
    shutdown: CancellationToken,
) -> io::Result<Drained> {
    let shared = Arc::new(Shared::new(backend, config).map_err(|error| io::Error::other(error.to_string()))?);
    let places = Places::new(&shared.config);
    let signals = Signals { drain: shutdown, kill: CancellationToken::new() };
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = signals.drain.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let task = serve_socket(socket, Arc::clone(&shared), places.clone(), signals.clone());
                tasks.spawn(task);
            }
            Err(error) if is_about_one_client(&error) => {}
            Err(error) => {
                // Most likely out of file descriptors: spinning would take the processor from those who could free some.
                tracing::warn!(%error, "no socket can be accepted for now");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    if timeout(shared.config.drain_deadline, tasks.wait()).await.is_ok() {
        return Ok(Drained::Completely);
    }
    let cut_off = tasks.len();
    signals.kill.cancel();
    // Each needs a moment to say goodbye; one that cannot is dropped with the runtime.
    let _ = timeout(Duration::from_secs(2), tasks.wait()).await;
    Ok(Drained::CutOff(cut_off))
}

/// Serves one client over a pipe in memory, for tests and fuzzing. TLS is never offered there.
#[doc(hidden)]
pub async fn serve_in_memory(
    stream: DuplexStream,
    backend: Arc<dyn Backend>,
    config: ServerConfig,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let shared = Arc::new(Shared::new(backend, config).map_err(|error| io::Error::other(error.to_string()))?);
    let places = Places::new(&shared.config);
    let signals = Signals { drain: shutdown, kill: CancellationToken::new() };
    serve_transport(Transport::Memory(stream), shared, places, signals).await;
    Ok(())
}

fn is_about_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// How many more clients there may be.
#[derive(Clone)]
struct Places {
    unauthenticated: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
}

impl Places {
    fn new(config: &ServerConfig) -> Self {
        let semaphore = |n: usize| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)));
        Self {
            unauthenticated: semaphore(config.limits.unauthenticated_sockets),
            sessions: semaphore(config.limits.connections),
        }
    }
}

async fn serve_socket(socket: TcpStream, shared: Arc<Shared>, places: Places, signals: Signals) {
    // A small answer must not wait for more to come; a peer that lost its network must not stay forever.
    let keep_alive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));
    if let Err(error) = socket.set_nodelay(true).and_then(|()| SockRef::from(&socket).set_tcp_keepalive(&keep_alive)) {
        tracing::debug!(%error, "a socket's options could not be set");
    }
    serve_transport(Transport::Plain(socket), shared, places, signals).await;
}

async fn serve_transport(transport: Transport, shared: Arc<Shared>, places: Places, signals: Signals) {
    let metrics = Arc::clone(&shared.config.metrics);
    add(&metrics.sockets_total, 1);
    // The belt: whatever panics ends this one connection.
    let life = Box::pin(live(transport, &shared, &places, &signals));
    if AssertUnwindSafe(life).catch_unwind().await.is_err() {
        add(&metrics.panics_total, 1);
        tracing::error!("a connection ended by a panic");
    }
}

/// One connection from accept to close.
async fn live(transport: Transport, shared: &Shared, places: &Places, signals: &Signals) {
    let metrics: &Metrics = &shared.config.metrics;
    let mut connection = Connection::new(transport, &shared.config);
    let Ok(unauthenticated) = places.unauthenticated.try_acquire() else {
        add(&metrics.sockets_refused_total, 1);
        return;
    };
    let gauge = Gauge::raise(&metrics.sockets_unauthenticated_open);
    let login = async {
        tokio::select! {
            biased;
            // Nothing of value is lost here, so draining does not wait for a login.
            () = signals.drain.cancelled() => Err(Refused::Fatal(shutting_down())),
            login = timeout(shared.config.limits.authentication_timeout, start(&mut connection, shared)) => {
                login.unwrap_or(Err(Refused::Silent))
            }
        }
    };
    let login = login.await.and_then(|login| match places.sessions.try_acquire() {
        Ok(place) => Ok((login, place)),
        Err(_) => {
            add(&metrics.sockets_refused_total, 1);
            Err(Refused::Fatal(SqlError::new("53300", "sorry, too many clients already").severity(Severity::Fatal)))
        }
    });
    match login {
        Ok((LoggedIn { session, key }, _place)) => {
            drop((unauthenticated, gauge));
            add(&metrics.connections_total, 1);
            let _open = Gauge::raise(&metrics.connections_open);
            let end = Conversation::new(&mut connection, session, &key, &shared.config, signals).run().await;
            drop(key);
            if let Some(error) = end {
                metrics.count_error(error.sqlstate);
                put_error(&mut connection.output, &error);
            }
        }
        Err(refused) => {
            if matches!(refused, Refused::Fatal(_)) {
                add(&metrics.logins_failed_total, 1);
                // The refusal of a session that was just opened must not follow its ReadyForQuery.
                connection.output.clear();
            }
            say(&mut connection, &refused);
        }
    }
    connection.close().await;
}

/// What a session hears that ends because the server does.
pub(crate) fn shutting_down() -> SqlError {
    SqlError::new("57P01", "terminating connection due to administrator command").severity(Severity::Fatal)
}
