//! How a database is reached, and how long we wait for it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// Where the server offers it; the certificate is not checked.
    #[default]
    Prefer,
    /// Always; the certificate is not checked.
    Require,
    /// Always; the certificate's chain and host name are checked.
    VerifyFull,
}

/// Where the database is.
#[derive(Clone)]
pub enum Address {
    /// `postgres://user:password@host:port/database` or `mysql://…`, with the driver's own parameters behind `?`.
    Url(String),
    Parts {
        host: String,
        port: u16,
        user: String,
        password: String,
        database: String,
    },
}

/// Everything about a data source that is a PostgreSQL, MySQL or MariaDB server.
#[derive(Clone)]
pub struct RemoteConfig {
    pub address: Address,
    /// How many connections may be open at once.
    pub pool: usize,
    /// How long one attempt to connect may take, handshake and login included.
    pub connect_timeout: Duration,
    /// How long a statement waits for a free connection.
    pub pool_timeout: Duration,
    /// How long one statement may take at the source, reading its rows included. None: no limit.
    pub statement_timeout: Option<Duration>,
    /// None: what the URL says, else [`TlsMode::Prefer`].
    pub tls: Option<TlsMode>,
    /// PEM file of the certificates to trust under [`TlsMode::VerifyFull`]; None: the system's.
    pub tls_root_cert: Option<PathBuf>,
}

impl RemoteConfig {
    /// The defaults around `url`.
    pub fn from_url(url: impl Into<String>) -> Self {
        Self::at(Address::Url(url.into()))
    }

    /// The defaults around `address`: 8 connections, 5 s to connect, 30 s to wait for a connection, statements without limit.
    pub fn at(address: Address) -> Self {
        Self {
            address,
            pool: 8,
            connect_timeout: Duration::from_secs(5),
            pool_timeout: Duration::from_secs(30),
            statement_timeout: None,
            tls: None,
            tls_root_cert: None,
        }
    }

    /// What cannot be used whichever the database is.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.pool == 0 {
            return Err("a pool needs at least one connection".to_owned());
        }
        Ok(())
    }
}

/// Neither the URL nor the password is shown.
impl fmt::Debug for RemoteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteConfig")
            .field("pool", &self.pool)
            .field("connect_timeout", &self.connect_timeout)
            .field("pool_timeout", &self.pool_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
