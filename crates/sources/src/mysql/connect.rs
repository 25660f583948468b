//! Opens, resets and kills MySQL connections.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, Opts, OptsBuilder, SslOpts};
use tokio::time::timeout;

use crate::pool::Connector;
use crate::{Address, RemoteConfig, SourceError, TlsMode};

/// Where Debian, and most others, keep the certificates that the system trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// By code point, trailing blanks count.
const MARIADB_COLLATION: &str = "utf8mb4_nopad_bin";
const MYSQL_COLLATION: &str = "utf8mb4_0900_bin";

/// Strings that a session makes (literals, parameters, concatenations) compare by code point and keep their trailing blanks.
/// Only MariaDB reads `/*M!`, only MySQL 8 reads `/*!80017`.
const NAMES: &str = "SET NAMES utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */";

/// What every session is pinned to, whatever the server's own settings are. The limits that cut silently are raised.
const PINS: &str = "SET SESSION time_zone = '+00:00', \
    sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
    group_concat_max_len = 1073741824, sql_select_limit = 18446744073709551615, div_precision_increment = 4, \
    autocommit = 1";

const READ_ONLY: &str = "SET SESSION TRANSACTION READ ONLY";

/// Codes of the server's errors that mean something to us.
mod code {
    /// MySQL: `max_execution_time` is over.
    pub(super) const EXECUTION_TIME_OVER: u16 = 3024;
    /// MariaDB: `max_statement_time` is over.
    pub(super) const STATEMENT_TIME_OVER: u16 = 1969;
    /// The connection is being ended: shutdown, or killed.
    pub(super) const CONNECTION_ENDS: [u16; 4] = [1053, 1927, 3168, 4031];
}

pub(super) struct MySqlConnector {
    pub(super) source_name: String,
    opts: Opts,
    /// For [`TlsMode::Prefer`], once the server said that it has no TLS.
    without_tls: Option<Opts>,
    connect_timeout: Duration,
    pub(super) statement_timeout: Option<Duration>,
    /// Known from the first connection on.
    binary_collation: OnceLock<&'static str>,
}

impl std::fmt::Debug for MySqlConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MySqlConnector").field("source_name", &self.source_name).finish_non_exhaustive()
    }
}

impl MySqlConnector {
    pub(super) fn new(source_name: &str, remote: &RemoteConfig) -> Result<Self, SourceError> {
        let wrong = |reason: String| SourceError::Config { source_name: source_name.to_owned(), reason };
        remote.check().map_err(wrong)?;
        let builder = match &remote.address {
            Address::Url(url) => {
                // The driver's own message may show the URL with its password.
                let opts = Opts::from_url(url).map_err(|_| wrong("the url cannot be read".to_owned()))?;
                OptsBuilder::from_opts(opts)
            }
            Address::Parts { host, port, user, password, database } => OptsBuilder::default()
                .ip_or_hostname(host)
                .tcp_port(*port)
                .user(Some(user))
                .pass(Some(password))
                .db_name(Some(database)),
        };
        let mut setup = vec![NAMES.to_owned(), PINS.to_owned(), READ_ONLY.to_owned()];
        if let Some(limit) = remote.statement_timeout {
            let milliseconds = limit.as_millis().clamp(1, u32::MAX.into());
            // MariaDB counts in seconds.
            setup.push(format!(
                "SET /*M! SESSION max_statement_time = {}.{:03} */ /*!80000 SESSION max_execution_time = {milliseconds} */",
                milliseconds / 1000,
                milliseconds % 1000,
            ));
        }
        let builder = builder
            .setup(setup)
            // The socket of the server's machine would pass TLS by.
            .prefer_socket(false)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(30)))
            .enable_cleartext_plugin(false);
        let without_tls = Opts::from(builder.clone().ssl_opts(None));
        let (opts, without_tls) = match remote.tls {
            Some(TlsMode::Disable) => (without_tls, None),
            None if Opts::from(builder.clone()).ssl_opts().is_some() => (Opts::from(builder), None),
            None | Some(TlsMode::Prefer) => (Opts::from(builder.ssl_opts(Some(unchecked()))), Some(without_tls)),
            Some(TlsMode::Require) => (Opts::from(builder.ssl_opts(Some(unchecked()))), None),
            Some(TlsMode::VerifyFull) => {
                let ssl = checked(remote.tls_root_cert.as_deref()).map_err(wrong)?;
                (Opts::from(builder.ssl_opts(Some(ssl))), None)
            }
        };
        // The driver takes rustls' process-wide provider; a second call changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Ok(Self {
            source_name: source_name.to_owned(),
            opts,
            without_tls,
            connect_timeout: remote.connect_timeout,
            statement_timeout: remote.statement_timeout,
            binary_collation: OnceLock::new(),
        })
    }

    async fn open(&self) -> Result<Conn, Error> {
        match (Conn::new(self.opts.clone()).await, &self.without_tls) {
            (Err(Error::Driver(DriverError::NoClientSslFlagFromServer)), Some(opts)) => Conn::new(opts.clone()).await,
            (opened, _) => opened,
        }
    }

    /// See [`RemoteSource::binary_collation`](crate::RemoteSource::binary_collation); MariaDB's until the server was asked.
    pub(super) fn binary_collation(&self) -> &'static str {
        self.binary_collation.get().copied().unwrap_or(MARIADB_COLLATION)
    }

    /// Each of the two knows only its own name for it.
    async fn learn_collation(&self, conn: &mut Conn) -> Result<(), Error> {
        if self.binary_collation.get().is_none() {
            let version: Option<String> = conn.query_first("SELECT VERSION()").await?;
            let is_mariadb = version.is_none_or(|version| version.contains("MariaDB"));
            // Another connection may have been first with the same answer.
            self.binary_collation.get_or_init(|| if is_mariadb { MARIADB_COLLATION } else { MYSQL_COLLATION });
        }
        Ok(())
    }

    /// Ends a connection and what it runs, over a connection of its own.
    pub(super) async fn kill(&self, connection_id: u32) {
        let killing = async {
            let mut conn = self.open().await?;
            conn.query_drop(format!("KILL {connection_id}")).await?;
            conn.disconnect().await
        };
        match timeout(self.connect_timeout, killing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(source = self.source_name, %error, "a statement could not be cancelled"),
            Err(_) => tracing::warn!(source = self.source_name, "cancelling a statement took too long"),
        }
    }

    /// What a driver error means to us.
    pub(super) fn error(&self, error: &Error) -> SourceError {
        let source_name = self.source_name.clone();
        match error {
            Error::Server(server) if [code::EXECUTION_TIME_OVER, code::STATEMENT_TIME_OVER].contains(&server.code) => {
                let seconds = self.statement_timeout.map_or(0, |limit| limit.as_secs());
                SourceError::TimedOut { source_name, seconds }
            }
            Error::Server(server) if code::CONNECTION_ENDS.contains(&server.code) => {
                SourceError::Lost { source_name, reason: server.message.clone() }
            }
            Error::Server(server) => SourceError::Refused {
                source_name,
                message: server.message.clone(),
                sqlstate: Some(server.state.clone()),
                position: None,
            },
            Error::Driver(DriverError::StmtParamsMismatch { required, supplied }) => SourceError::Refused {
                source_name,
                message: format!("the statement takes {required} parameters, {supplied} are given"),
                sqlstate: Some("08P01".to_owned()),
                position: None,
            },
            Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => {
                SourceError::Lost { source_name, reason: error.to_string() }
            }
        }
    }
}

#[async_trait]
impl Connector for MySqlConnector {
    type Connection = Conn;

    async fn connect(&self) -> Result<Conn, SourceError> {
        let unreachable = |reason: String| SourceError::Unreachable { source_name: self.source_name.clone(), reason };
        let opening = async {
            let mut conn = self.open().await?;
            self.learn_collation(&mut conn).await?;
            Ok(conn)
        };
        match timeout(self.connect_timeout, opening).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(Error::Server(server))) => Err(unreachable(server.message)),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("connecting took longer than {} s", self.connect_timeout.as_secs_f32()))),
        }
    }

    async fn reset(&self, connection: &mut Conn) -> bool {
        // Runs the set-up statements again.
        matches!(connection.reset().await, Ok(true))
    }

    fn is_closed(&self, connection: &Conn) -> bool {
        connection.is_disconnected()
    }
}

/// Encrypted, with whom is not known.
fn unchecked() -> SslOpts {
    SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true)
}

fn checked(root_cert: Option<&Path>) -> Result<SslOpts, String> {
    let path: PathBuf = root_cert.unwrap_or(Path::new(SYSTEM_ROOTS)).to_path_buf();
    // Said now, not at the first connection.
    std::fs::metadata(&path).map_err(|error| format!("cannot read certificates from {}: {error}", path.display()))?;
    Ok(SslOpts::default().with_root_certs(vec![path.into()]).with_disable_built_in_roots(true))
}
