//! What the process decides about the wire: TLS, limits and deadlines.

use std::sync::Arc;
use std::time::Duration;

use crate::Metrics;

/// How [`serve`](crate::serve) behaves. Everything has a default that is safe on a public network, except that there is no TLS
/// until a certificate is given.
#[derive(Clone)]
pub struct ServerConfig {
    /// The certificate and key to offer; `None` answers `N` to SSLRequest.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Refuse clients that continue without TLS (28000), before anything is asked of them.
    pub tls_required: bool,
    pub limits: Limits,
    /// How long running statements may go on after shutdown was asked for.
    pub drain_deadline: Duration,
    /// Counters that the process may read at any time.
    pub metrics: Arc<Metrics>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            tls: None,
            tls_required: false,
            limits: Limits::default(),
            drain_deadline: Duration::from_secs(30),
            metrics: Arc::new(Metrics::default()),
        }
    }
}

/// Upper bounds on what one client, or all of them, can hold. No allocation is sized by a number that a client sent.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions that are logged in; one more gets 53300.
    pub connections: usize,
    /// Sockets that have not logged in yet; one more is closed at once.
    pub unauthenticated_sockets: usize,
    /// From accept to the end of the login.
    pub authentication_timeout: Duration,
    /// A start-up, cancel or TLS request packet. PostgreSQL's own limit.
    pub startup_bytes: usize,
    /// One message of the password exchange. PostgreSQL's own limit.
    pub auth_message_bytes: usize,
    /// One message after login.
    pub message_bytes: usize,
    /// Named and unnamed prepared statements of one session; one more gets 53000.
    pub prepared_statements: usize,
    /// Text of all prepared statements of one session, plus a fixed cost for each.
    pub prepared_statement_bytes: usize,
    /// Portals of one session.
    pub portals: usize,
    /// Bound parameter values of all portals of one session.
    pub portal_bytes: usize,
    /// Rows are written out when this much has gathered. One row longer than this is still sent whole.
    pub output_buffer_bytes: usize,
    /// A client that takes no byte of its answer for this long is cut off, so that it does not hold a source's connection.
    pub write_stall_timeout: Duration,
    /// How much input is read ahead while a statement runs, so that a vanished client is noticed.
    pub read_ahead_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            unauthenticated_sockets: 256,
            authentication_timeout: Duration::from_secs(10),
            startup_bytes: 10_000,
            auth_message_bytes: 65_535,
            message_bytes: 64 << 20,
            prepared_statements: 1_000,
            prepared_statement_bytes: 16 << 20,
            portals: 1_000,
            portal_bytes: 64 << 20,
            output_buffer_bytes: 64 << 10,
            write_stall_timeout: Duration::from_secs(600),
            read_ahead_bytes: 64 << 10,
        }
    }
}
