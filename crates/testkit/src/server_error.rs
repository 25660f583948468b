//! Why a private server is not there, in words that say what to do.

use std::path::PathBuf;
use std::{io, time::Duration};

use thiserror::Error;

/// A private server could not be started or used.
#[derive(Debug, Error)]
pub enum ServerError {
    #[error(
        "{program} is not installed: run `apt-get install {package}` (tests use private servers from the Debian packages)"
    )]
    NotInstalled { program: &'static str, package: &'static str },

    #[error("tests run as root, the server does not, and none of the users {users:?} exists")]
    NoOrdinaryUser { users: &'static [&'static str] },

    #[error("cannot {attempted} {}: {source}", path.display())]
    Io { attempted: &'static str, path: PathBuf, source: io::Error },

    #[error("`{command}` failed: {output}")]
    CommandFailed { command: String, output: String },

    #[error("the server did not answer within {waited:?}; its log says: {log}")]
    NotReady { waited: Duration, log: String },
}
