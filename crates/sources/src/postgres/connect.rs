//! Opens, resets and cancels PostgreSQL connections.

use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::{CancelToken, Client, Config};

use super::tls::RustlsConnector;
use crate::pool::Connector;
use crate::{Address, RemoteConfig, SourceError, TlsMode};

/// Written to `pg_stat_activity`, so that an administrator sees whose statements these are.
const APPLICATION_NAME: &str = "belvedere";

/// What every session is pinned to, whatever the database's or the user's own settings are: values are then written in one way
/// only, and nothing can be changed.
const PINS: &str = "SET default_transaction_read_only = on; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'postgres'; SET standard_conforming_strings = on; SET extra_float_digits = 1; \
    SET bytea_output = 'hex'; SET xmloption = 'content'; SET client_min_messages = warning; \
    SET idle_in_transaction_session_timeout = 0; SET lc_monetary = 'C'";

pub(super) struct PostgresConnector {
    pub(super) source_name: String,
    config: Config,
    tls: RustlsConnector,
    connect_timeout: Duration,
    pub(super) statement_timeout: Option<Duration>,
    /// [`PINS`] and the statement timeout.
    pins: String,
}

impl std::fmt::Debug for PostgresConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresConnector").field("source_name", &self.source_name).finish_non_exhaustive()
    }
}

/// One connection: the client's side, and the task that moves its bytes.
pub(super) struct PostgresConnection {
    pub(super) client: Client,
    moving: JoinHandle<()>,
}

impl std::fmt::Debug for PostgresConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresConnection").field("closed", &self.client.is_closed()).finish_non_exhaustive()
    }
}

impl Drop for PostgresConnection {
    /// Closes the socket at once. Left alone, the task would first read whatever the server still sends.
    fn drop(&mut self) {
        self.moving.abort();
    }
}

impl PostgresConnector {
    pub(super) fn new(source_name: &str, remote: &RemoteConfig) -> Result<Self, SourceError> {
        let wrong = |reason: String| SourceError::Config { source_name: source_name.to_owned(), reason };
        remote.check().map_err(wrong)?;
        let (mut config, tls_of_url, root_cert_of_url) = match &remote.address {
            Address::Url(url) => parse_url(url).map_err(wrong)?,
            Address::Parts { host, port, user, password, database } => {
                let mut config = Config::new();
                config.host(host).port(*port).user(user).password(password).dbname(database);
                (config, None, None)
            }
        };
        let mode = remote.tls.or(tls_of_url).unwrap_or_default();
        config.ssl_mode(match mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyFull => SslMode::Require,
        });
        config.application_name(APPLICATION_NAME);
        config.connect_timeout(remote.connect_timeout);
        config.keepalives(true).keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10));
        let root_cert = remote.tls_root_cert.as_deref().or(root_cert_of_url.as_deref().map(std::path::Path::new));
        let tls = RustlsConnector::new(mode, root_cert).map_err(wrong)?;
        let milliseconds = remote.statement_timeout.map_or(0, |limit| limit.as_millis().clamp(1, i32::MAX as u128));
        Ok(Self {
            source_name: source_name.to_owned(),
            config,
            tls,
            connect_timeout: remote.connect_timeout,
            statement_timeout: remote.statement_timeout,
            pins: format!("{PINS}; SET statement_timeout = {milliseconds}"),
        })
    }

    /// Asks the server, over a connection of its own, to stop what the connection runs.
    pub(super) async fn cancel(&self, token: CancelToken) {
        match timeout(self.connect_timeout, token.cancel_query(self.tls.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(source = self.source_name, %error, "a statement could not be cancelled"),
            Err(_) => tracing::warn!(source = self.source_name, "cancelling a statement took too long"),
        }
    }

    /// What a driver error means to us.
    pub(super) fn error(&self, error: &tokio_postgres::Error) -> SourceError {
        let source_name = self.source_name.clone();
        let Some(server) = error.as_db_error() else {
            return SourceError::Lost { source_name, reason: with_causes(error) };
        };
        let code = server.code();
        // Class 57P: the server stops or ends the session. Not 57P03 and the like at login, which never gets here.
        if code.code().starts_with("57P") || code.code().starts_with("08") {
            return SourceError::Lost { source_name, reason: server.message().to_owned() };
        }
        if *code == SqlState::QUERY_CANCELED
            && let Some(limit) = self.statement_timeout
            && server.message().contains("timeout")
        {
            return SourceError::TimedOut { source_name, seconds: limit.as_secs() };
        }
        let mut message = server.message().to_owned();
        if let Some(hint) = server.hint() {
            message = format!("{message} ({hint})");
        }
        let position = match server.position() {
            Some(ErrorPosition::Original(position)) => Some(*position as usize),
            Some(ErrorPosition::Internal { .. }) | None => None,
        };
        SourceError::Refused { source_name, message, sqlstate: Some(code.code().to_owned()), position }
    }

    fn unreachable(&self, error: &tokio_postgres::Error) -> SourceError {
        let reason = match error.as_db_error() {
            Some(server) => server.message().to_owned(),
            None => with_causes(error),
        };
        SourceError::Unreachable { source_name: self.source_name.clone(), reason }
    }
}

#[async_trait]
impl Connector for PostgresConnector {
    type Connection = PostgresConnection;

    async fn connect(&self) -> Result<PostgresConnection, SourceError> {
        let connecting = async {
            let (client, connection) =
                self.config.connect(self.tls.clone()).await.map_err(|error| self.unreachable(&error))?;
            let moving = tokio::spawn(async move {
                // Statements in flight get the error; there is nobody else to tell.
                let _ = connection.await;
            });
            let connection = PostgresConnection { client, moving };
            connection.client.batch_execute(&self.pins).await.map_err(|error| self.unreachable(&error))?;
            Ok(connection)
        };
        timeout(self.connect_timeout, connecting).await.unwrap_or_else(|_| {
            Err(SourceError::Unreachable {
                source_name: self.source_name.clone(),
                reason: format!("connecting took longer than {} s", self.connect_timeout.as_secs_f32()),
            })
        })
    }

    async fn reset(&self, connection: &mut PostgresConnection) -> bool {
        // Ends the transaction of the last statement, and takes back what a function of the database may have set.
        let script = format!("ROLLBACK; RESET ALL; {}", self.pins);
        connection.client.batch_execute(&script).await.is_ok()
    }

    fn is_closed(&self, connection: &PostgresConnection) -> bool {
        connection.client.is_closed()
    }
}

/// Takes the parameters out of a URL that the driver does not know: `sslmode=verify-full` and `sslrootcert`.
fn parse_url(url: &str) -> Result<(Config, Option<TlsMode>, Option<String>), String> {
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut root_cert, mut others) = (None, None, Vec::new());
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => {
                mode = Some(match value {
                    "disable" => TlsMode::Disable,
                    "allow" | "prefer" => TlsMode::Prefer,
                    "require" => TlsMode::Require,
                    "verify-full" => TlsMode::VerifyFull,
                    other => {
                        return Err(format!("sslmode \"{other}\" is not one of disable, prefer, require, verify-full"));
                    }
                });
            }
            Some(("sslrootcert", value)) => root_cert = Some(value.to_owned()),
            _ => others.push(parameter),
        }
    }
    let rest = if others.is_empty() { address.to_owned() } else { format!("{address}?{}", others.join("&")) };
    // The driver's own message may show the URL with its password.
    let config = rest.parse::<Config>().map_err(|error| match error.to_string() {
        text if text.contains('@') => "the url cannot be read".to_owned(),
        text => format!("the url cannot be read: {text}"),
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("the url names no host".to_owned());
    }
    Ok((config, mode, root_cert))
}

/// An error and all its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
