//! What the process is told: a YAML file, environment variables and flags, read into one checked [`Config`].
//!
//! Flags override the environment, which overrides the file, which overrides the defaults. The environment comes in as a
//! map, so nothing here touches the world.

mod expand;
mod mask;
mod read;
mod reader;
mod sections;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use belvedere_engine::{DefaultMasks, Zone};
use belvedere_model::{Diagnostic, Place, Severity};
use belvedere_sources::{FilesConfig, RemoteConfig};
use chrono_tz::Tz;

pub use mask::mask_secrets;
pub use read::read;

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// Everything that can be configured, checked, with paths that lead from the current folder.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of each Postgres listener.
    pub listen: Vec<Placed<String>>,
    /// `host:port` of `/livez`, `/readyz` and `/metrics`.
    pub http: Option<Placed<String>>,
    /// Folders and files.
    pub models: Vec<Placed<PathBuf>>,
    /// Where rollups are kept: a folder, or an s3:// url.
    pub storage: String,
    pub time_zone: Tz,
    pub tls: Option<Tls>,
    pub users: Vec<User>,
    /// What masked members show that have no mask of their own.
    pub masks: DefaultMasks,
    pub data_sources: Vec<DataSourceConfig>,
    /// How rollups are refreshed.
    pub refresh: Refresh,
    pub limits: Limits,
    pub log: Log,
}

/// A value and where it was given, for errors that are found later.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    pub value: T,
    pub at: At,
}

/// A place with its line: all that a diagnostic needs.
#[derive(Debug, Clone, PartialEq)]
pub struct At {
    pub place: Place,
    /// Without passwords.
    pub source_line: String,
}

impl At {
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Error, message.into())
    }

    pub fn warning(&self, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Warning, message.into())
    }

    fn diagnostic(&self, severity: Severity, message: String) -> Diagnostic {
        Diagnostic {
            severity,
            message,
            place: self.place.clone(),
            label: String::new(),
            help: None,
            source_line: self.source_line.clone(),
        }
    }
}

/// The certificate that clients see.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    pub cert: Placed<PathBuf>,
    pub key: Placed<PathBuf>,
    /// Clients without TLS are refused.
    pub require: bool,
}

/// A user who may log in.
#[derive(Clone, PartialEq)]
pub struct User {
    pub name: String,
    /// Clear text, or a SCRAM-SHA-256 verifier in PostgreSQL's format.
    pub password: Placed<String>,
    pub groups: Vec<String>,
    /// For access policies; nothing uses them yet.
    pub attributes: BTreeMap<String, String>,
    pub time_zone_fixed: bool,
    /// May have rollups built.
    pub may_build: bool,
}

/// The password is not shown.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("groups", &self.groups).finish_non_exhaustive()
    }
}

/// One entry of `data_sources`.
#[derive(Debug, Clone)]
pub struct DataSourceConfig {
    pub name: String,
    /// Of its name.
    pub at: At,
    pub kind: DataSourceKind,
    /// The zone whose wall clock its `timestamp` columns show.
    pub zone: Zone,
}

#[derive(Debug, Clone)]
pub enum DataSourceKind {
    Postgres(Box<RemoteConfig>),
    MySql(Box<RemoteConfig>),
    Files(FilesConfig),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Refresh {
    pub enabled: bool,
    pub every: Duration,
    /// Builds at once.
    pub concurrency: usize,
    /// Builds at once that read one data source.
    pub per_source: usize,
    pub time_zones: Vec<Tz>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// `None`: no limit.
    pub statement_timeout: Option<Duration>,
    pub memory_bytes: usize,
    pub connections: usize,
    /// How long running statements may go on after SIGTERM.
    pub drain: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What was given on the command line, by the setting's name: `time_zone` for `--time-zone`.
///
/// The same names in capitals behind `BELVEDERE_` are the environment variables.
#[derive(Debug, Clone, Default)]
pub struct Flags(pub BTreeMap<&'static str, String>);

#[cfg(test)]
mod tests;
