//! SCRAM-SHA-256: verifiers in PostgreSQL's format, and one login exchange for known and unknown users alike.

use std::panic::{AssertUnwindSafe, catch_unwind};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pgwire::api::auth::sasl::scram::{
    ScramSecret, ScramServerAuth, ScramServerAuthWaitingForClientFinal, gen_salted_password,
};
use pgwire::error::PgWireError;

use belvedere_engine::{Severity, SqlError};

/// PostgreSQL's default, and what a mock exchange shows.
const ITERATIONS: usize = 4096;
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";

#[derive(Debug, thiserror::Error)]
pub enum BadPassword {
    #[error("a password must not be empty")]
    Empty,
    #[error("no random numbers could be had for a salt")]
    NoRandomness,
}

/// The verifier for a password from the configuration, in PostgreSQL's format
/// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>` with 4096 iterations and a new random salt.
/// A password that is a verifier already is given back as it is.
///
/// # Errors
/// An empty password is refused, as PostgreSQL refuses it at login.
pub fn scram_verifier(password: &str) -> Result<String, BadPassword> {
    if password.is_empty() {
        return Err(BadPassword::Empty);
    }
    if parse_verifier(password).is_some() {
        return Ok(password.to_owned());
    }
    let mut salt = [0; SALT_BYTES];
    random(&mut salt).map_err(|_| BadPassword::NoRandomness)?;
    Ok(verifier_with(password, &salt, ITERATIONS))
}

/// The verifier for a given salt; the same input gives the same text.
pub(crate) fn verifier_with(password: &str, salt: &[u8], iterations: usize) -> String {
    let salted = gen_salted_password(password, salt, iterations);
    match ScramSecret::verifier_from_salted_password(salt.to_vec(), salted, iterations) {
        ScramSecret::Verifier { salt, iterations, stored_key, server_key } => format!(
            "{MECHANISM}${iterations}:{}${}:{}",
            STANDARD.encode(salt),
            STANDARD.encode(stored_key),
            STANDARD.encode(server_key)
        ),
        ScramSecret::SaltedPassword { .. } => unreachable!("verifier_from_salted_password gives a verifier"),
    }
}

fn parse_verifier(text: &str) -> Option<ScramSecret> {
    let (iterations, rest) = text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once(':')?;
    let (salt, keys) = rest.split_once('$')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let iterations = iterations.parse().ok().filter(|n: &usize| (1..=10_000_000).contains(n))?;
    let decode = |text: &str| STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty());
    let key = |text: &str| decode(text).filter(|bytes| bytes.len() == KEY_BYTES);
    Some(ScramSecret::Verifier {
        salt: decode(salt)?,
        iterations,
        stored_key: key(stored_key)?,
        server_key: key(server_key)?,
    })
}

/// A secret of this process from which the salts of unknown users are made, so that asking twice shows the same salt.
#[derive(Clone)]
pub(crate) struct MockSecret([u8; KEY_BYTES]);

impl MockSecret {
    pub(crate) fn new() -> Result<Self, SqlError> {
        let mut secret = [0; KEY_BYTES];
        random(&mut secret)?;
        Ok(Self(secret))
    }

    /// A secret that no password opens: its keys are random.
    fn for_user(&self, user: &str) -> Result<ScramSecret, SqlError> {
        // One round of PBKDF2 is an HMAC keyed by the user's name over our secret.
        let mut salt = gen_salted_password(user, &self.0, 1);
        salt.truncate(SALT_BYTES);
        let mut stored_key = vec![0; KEY_BYTES];
        let mut server_key = vec![0; KEY_BYTES];
        random(&mut stored_key)?;
        random(&mut server_key)?;
        Ok(ScramSecret::Verifier { salt, iterations: ITERATIONS, stored_key, server_key })
    }
}

/// An exchange that has answered the client's first message.
pub(crate) struct Exchange {
    waiting: ScramServerAuthWaitingForClientFinal,
    failed: SqlError,
}

impl Exchange {
    /// Answers the client's first message. `verifier` is `None` for a user who does not exist: the exchange looks the same and
    /// fails at its end.
    ///
    /// # Errors
    /// FATAL 08P01 for a message that is not SCRAM's or asks for what we do not offer.
    pub(crate) fn begin(
        user: &str,
        verifier: Option<&str>,
        mock: &MockSecret,
        client_first: &[u8],
    ) -> Result<(Bytes, Self), SqlError> {
        check_client_first(client_first)?;
        let secret = match verifier.and_then(parse_verifier) {
            Some(secret) => secret,
            None => mock.for_user(user)?,
        };
        let (server_first, waiting) =
            caught(|| ScramServerAuth::new().on_client_first_message_with_secret(client_first, secret))?
                .map_err(|_| malformed())?;
        Ok((server_first.into(), Self { waiting, failed: login_failed(user) }))
    }

    /// Checks the client's proof and gives the server's.
    ///
    /// # Errors
    /// FATAL 28P01 for a wrong password, 08P01 for a message that is not SCRAM's.
    pub(crate) fn finish(self, client_final: &[u8]) -> Result<Bytes, SqlError> {
        match caught(|| self.waiting.on_client_final_message(client_final))? {
            Ok(server_final) => Ok(server_final.into()),
            Err(PgWireError::InvalidPassword(_)) => Err(self.failed),
            Err(_) => Err(malformed()),
        }
    }
}

/// What PostgreSQL says for a wrong password and for an unknown user.
pub(crate) fn login_failed(user: &str) -> SqlError {
    SqlError::new("28P01", format!("password authentication failed for user \"{user}\"")).severity(Severity::Fatal)
}

/// Refuses what pgwire's parser would let pass: another identity to act as, mandatory extensions, odd nonces.
fn check_client_first(message: &[u8]) -> Result<(), SqlError> {
    let text = std::str::from_utf8(message).map_err(|_| malformed())?;
    // No channel binding is offered: `n` does not know it, `y` knows it and saw that it is not offered.
    let bare = text.strip_prefix("n,,").or_else(|| text.strip_prefix("y,,")).ok_or_else(malformed)?;
    let mut parts = bare.split(',');
    let user = parts.next().and_then(|part| part.strip_prefix("n="));
    let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
    let printable = |nonce: &str| !nonce.is_empty() && nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if user.is_some() && nonce.is_some_and(printable) && parts.next().is_none() { Ok(()) } else { Err(malformed()) }
}

fn malformed() -> SqlError {
    SqlError::new("08P01", "malformed SCRAM message").severity(Severity::Fatal)
}

/// Runs code of pgwire's that parses what strangers sent. It has panicked before.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, SqlError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        tracing::error!("a login message made the SCRAM parser panic");
        malformed()
    })
}

/// Fills `bytes` with random ones from the operating system.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), SqlError> {
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(bytes)
        .map_err(|_| SqlError::new("XX000", "no random numbers can be had").severity(Severity::Fatal))
}
