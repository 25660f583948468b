//! From an accepted socket to a logged-in session: TLS, cancel requests, the start-up packet and the password.
//!
//! Every error here is FATAL and closes the connection; no path of this module can send ReadyForQuery but its last line.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, GssEncRequest, NegotiateProtocolVersion, SecretKey, SslRequest,
};
use tokio_rustls::TlsAcceptor;

use belvedere_engine::{Backend, Credentials, Login, Session, Severity, SqlError, TransactionStatus};

use crate::ServerConfig;
use crate::backoff::Backoff;
use crate::cancel::{CancelKey, CancelKeys};
use crate::guard::{FrameGuard, Phase, Step, sasl_initial_response, startup_parameters};
use crate::messages::{put, put_error, put_parameter_status, put_ready};
use crate::metrics::add;
use crate::scram::{Exchange, MECHANISM, MockSecret, random};
use crate::transport::{Connection, Transport};

const CANCEL_REQUEST: u32 = 80_877_102;
const PROTOCOL_3_0: i32 = 196_608;
const ALPN: &[u8] = b"postgresql";
/// The first byte of a TLS record that starts a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What all connections of one server share.
pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) config: ServerConfig,
    pub(crate) cancel_keys: Arc<CancelKeys>,
    mock: MockSecret,
    backoff: Backoff,
    tls: Option<TlsAcceptor>,
}

impl Shared {
    pub(crate) fn new(backend: Arc<dyn Backend>, config: ServerConfig) -> Result<Self, SqlError> {
        let tls = config.tls.as_ref().map(|tls| {
            // A client that names a protocol must name ours, so that its bytes cannot be meant for another server (ALPACA).
            let mut tls = rustls::ServerConfig::clone(tls);
            tls.alpn_protocols = vec![ALPN.to_vec()];
            TlsAcceptor::from(Arc::new(tls))
        });
        Ok(Self {
            backend,
            config,
            cancel_keys: Arc::default(),
            mock: MockSecret::new()?,
            backoff: Backoff::default(),
            tls,
        })
    }
}

/// A session that may run statements, and its identity for cancel requests.
pub(crate) struct LoggedIn {
    pub(crate) session: Box<dyn Session>,
    pub(crate) key: CancelKey,
}

/// How a start-up that gave no session ended.
pub(crate) enum Refused {
    /// Close without a word: a cancel request, garbage, or a client that went away.
    Silent,
    /// Tell, then close.
    Fatal(SqlError),
}

impl From<SqlError> for Refused {
    fn from(error: SqlError) -> Self {
        Self::Fatal(error.severity(Severity::Fatal))
    }
}

impl From<std::io::Error> for Refused {
    fn from(_: std::io::Error) -> Self {
        Self::Silent
    }
}

/// Runs the whole start-up. What it has to say lies in the connection's output when it returns.
pub(crate) async fn start(connection: &mut Connection, shared: &Shared) -> Result<LoggedIn, Refused> {
    direct_tls(connection, shared).await?;
    let parameters = startup_packet(connection, shared).await?;
    let login = read_login(parameters)?;
    let user = login.user.clone();
    authenticate(connection, shared, &user).await?;

    let mut secret = [0; 4];
    random(&mut secret)?;
    let key = shared.cancel_keys.register(u32::from_be_bytes(secret));
    let session = shared.backend.open_session(Login { process_id: key.process_id, ..login })?;
    put(&mut connection.output, &Authentication::Ok);
    for (name, value) in session.reported_settings() {
        put_parameter_status(&mut connection.output, &name, &value);
    }
    let secret = SecretKey::I32(key.secret().cast_signed());
    put(&mut connection.output, &BackendKeyData::new(key.process_id, secret));
    put_ready(&mut connection.output, TransactionStatus::Idle);
    Ok(LoggedIn { session, key })
}

/// A TLS handshake as the very first bytes, without an SSLRequest. Such a client must name the protocol.
async fn direct_tls(connection: &mut Connection, shared: &Shared) -> Result<(), Refused> {
    let mut first = [0];
    match &connection.transport {
        Transport::Plain(socket) => {
            if socket.peek(&mut first).await? == 0 || first[0] != TLS_HANDSHAKE {
                return Ok(());
            }
        }
        Transport::Tls(_) | Transport::Memory(_) | Transport::Closed => return Ok(()),
    }
    handshake(connection, shared).await?;
    match &connection.transport {
        Transport::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(ALPN) => Ok(()),
        _ => Err(Refused::Silent),
    }
}

/// Replaces a plain stream by an encrypted one.
async fn handshake(connection: &mut Connection, shared: &Shared) -> Result<(), Refused> {
    let acceptor = shared.tls.as_ref().ok_or(Refused::Silent)?;
    match std::mem::replace(&mut connection.transport, Transport::Closed) {
        Transport::Plain(socket) => {
            let stream = acceptor.accept(socket).await?;
            connection.transport = Transport::Tls(Box::new(stream));
            Ok(())
        }
        Transport::Tls(_) | Transport::Memory(_) | Transport::Closed => Err(Refused::Silent),
    }
}

/// Answers TLS, GSS and cancel requests until the start-up packet comes; gives its parameters.
async fn startup_packet(connection: &mut Connection, shared: &Shared) -> Result<Vec<(String, String)>, Refused> {
    let mut tls_asked = false;
    let mut gss_asked = false;
    loop {
        let mut packet = read_packet(connection, shared.config.limits.startup_bytes).await?;
        match packet.get_u32() {
            code if code == SslRequest::BODY_MAGIC_NUMBER.cast_unsigned() && packet.is_empty() => {
                if std::mem::replace(&mut tls_asked, true) || connection.transport.is_encrypted() {
                    return Err(unsupported_protocol(code).into());
                }
                let offered = shared.tls.is_some() && matches!(connection.transport, Transport::Plain(_));
                // Bytes that came with the request are plaintext that somebody in between may have put there.
                if offered && !connection.input.is_empty() {
                    tracing::warn!("unencrypted data after an SSL request");
                    return Err(Refused::Silent);
                }
                connection.output.extend_from_slice(if offered { b"S" } else { b"N" });
                connection.flush().await?;
                if offered {
                    handshake(connection, shared).await?;
                }
            }
            code if code == GssEncRequest::BODY_MAGIC_NUMBER.cast_unsigned() && packet.is_empty() => {
                if std::mem::replace(&mut gss_asked, true) || connection.transport.is_encrypted() {
                    return Err(unsupported_protocol(code).into());
                }
                connection.output.extend_from_slice(b"N");
                connection.flush().await?;
            }
            CANCEL_REQUEST => {
                // Process and key; any other length is somebody else's protocol. Nothing is ever answered.
                if packet.len() == 8 {
                    let process_id = packet.get_i32();
                    if shared.cancel_keys.cancel(process_id, packet.get_u32()) {
                        add(&shared.config.metrics.cancels_total, 1);
                    }
                }
                return Err(Refused::Silent);
            }
            version if version >> 16 == 3 => {
                if shared.config.tls_required && !connection.transport.is_encrypted() {
                    return Err(SqlError::new("28000", "this server takes encrypted connections only")
                        .hint("Connect with sslmode=require or stronger.")
                        .into());
                }
                let parameters = startup_parameters(&packet)?;
                return Ok(negotiate(connection, version & 0xffff, parameters));
            }
            other => return Err(unsupported_protocol(other).into()),
        }
    }
}

fn unsupported_protocol(code: u32) -> SqlError {
    let (major, minor) = (code >> 16, code & 0xffff);
    SqlError::new("0A000", format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"))
}

/// A length and so many bytes, without a type. Garbage closes without an answer.
async fn read_packet(connection: &mut Connection, bytes_max: usize) -> Result<BytesMut, Refused> {
    loop {
        if let Some(mut length) = connection.input.get(..4) {
            let length = length.get_u32() as usize;
            if length < 8 || length > bytes_max {
                return Err(Refused::Silent);
            }
            if connection.input.len() >= length {
                let mut packet = connection.input.split_to(length);
                packet.advance(4);
                return Ok(packet);
            }
        }
        if !connection.fill().await? {
            return Err(Refused::Silent);
        }
    }
}

/// Takes the protocol options out of `parameters`; tells the client when it asked for more than there is.
fn negotiate(connection: &mut Connection, minor: u32, parameters: Vec<(String, String)>) -> Vec<(String, String)> {
    let (options, parameters): (Vec<_>, Vec<_>) =
        parameters.into_iter().partition(|(name, _)| name.starts_with("_pq_."));
    if minor > 0 || !options.is_empty() {
        let names = options.into_iter().map(|(name, _)| name).collect();
        put(&mut connection.output, &NegotiateProtocolVersion::new(PROTOCOL_3_0, names));
    }
    parameters
}

/// Sorts the start-up parameters. The process id is filled in later.
fn read_login(parameters: Vec<(String, String)>) -> Result<Login, SqlError> {
    let mut user = None;
    let mut database = None;
    let mut settings: Vec<(String, String)> = Vec::new();
    let mut options = None;
    let mut replication = None;
    for (name, value) in parameters {
        let place = match name.as_str() {
            "user" => &mut user,
            "database" => &mut database,
            "options" => &mut options,
            "replication" => &mut replication,
            _ => {
                settings.push((name, value));
                continue;
            }
        };
        // Which of two users is meant must not depend on who reads the packet.
        if place.replace(value).is_some() {
            return Err(SqlError::new("08P01", format!("startup parameter \"{name}\" is given twice")));
        }
    }
    let user: String = user
        .filter(|user| !user.is_empty())
        .ok_or_else(|| SqlError::new("28000", "no PostgreSQL user name specified in startup packet"))?;
    let replication = replication.unwrap_or_default().to_ascii_lowercase();
    if !matches!(replication.as_str(), "" | "false" | "off" | "no" | "0") {
        return Err(SqlError::new("0A000", "replication connections are not supported"));
    }
    let mut parameters = split_options(&options.unwrap_or_default())?;
    parameters.append(&mut settings);
    let database = database.filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    Ok(Login { user, database, parameters, process_id: 0 })
}

/// `options` is a command line: words split at blanks, a backslash takes the next character as it is. Only settings are known.
pub(crate) fn split_options(options: &str) -> Result<Vec<(String, String)>, SqlError> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);

    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let unknown = || SqlError::new("42601", format!("invalid command-line argument for server process: {word}"));
        let setting = if word == "-c" {
            words.next().ok_or_else(|| SqlError::new("42601", "-c requires a value"))?
        } else if let Some(setting) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            setting.to_owned()
        } else {
            return Err(unknown());
        };
        let (name, value) = setting
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| SqlError::new("42601", format!("-c {setting} requires a value")))?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

async fn authenticate(connection: &mut Connection, shared: &Shared, user: &str) -> Result<(), Refused> {
    let verifier = match shared.backend.credentials(user) {
        Credentials::Trust => return Ok(()),
        Credentials::Scram(verifier) => Some(verifier),
        Credentials::Unknown => None,
    };
    put(&mut connection.output, &Authentication::SASL(vec![MECHANISM.to_owned()]));
    let first = read_password_message(connection, shared).await?.freeze();
    let (mechanism, client_first) = sasl_initial_response(&first)?;
    if mechanism != MECHANISM {
        return Err(SqlError::new("08P01", "client selected an invalid SASL authentication mechanism").into());
    }
    let (server_first, exchange) = Exchange::begin(user, verifier.as_deref(), &shared.mock, &client_first)?;
    put(&mut connection.output, &Authentication::SASLContinue(server_first));
    let client_final = read_password_message(connection, shared).await?;
    let finished = exchange.finish(&client_final);
    if let Some(address) = connection.transport.peer_address() {
        let delay = match &finished {
            Ok(_) => shared.backoff.succeeded(address, user),
            Err(_) => shared.backoff.failed(address, user),
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
    let server_final = finished?;
    put(&mut connection.output, &Authentication::SASLFinal(server_final));
    Ok(())
}

/// Sends what waits and reads the client's answer.
async fn read_password_message(connection: &mut Connection, shared: &Shared) -> Result<BytesMut, Refused> {
    connection.flush().await?;
    let mut guard = FrameGuard::default();
    loop {
        match guard.next(Phase::Authentication, &shared.config.limits, &mut connection.input)? {
            Step::Frame(frame) => return Ok(frame.body),
            Step::TooLong { error, .. } => return Err(error.into()),
            Step::Incomplete => {}
        }
        if !connection.fill().await? {
            return Err(Refused::Silent);
        }
    }
}

/// Puts the last words of a refused start-up.
pub(crate) fn say(connection: &mut Connection, refused: &Refused) {
    match refused {
        Refused::Silent => {}
        Refused::Fatal(error) => {
            connection.metrics.count_error(error.sqlstate);
            put_error(&mut connection.output, error);
        }
    }
}
