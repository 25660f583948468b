//! The command line: what can be asked of the process, and the exit code it answers with.
// clap shows the comments below as they are, names of environment variables in brackets included.
#![allow(rustdoc::broken_intra_doc_links)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Environment, Flags};
use crate::{build, check, explain, serve};

/// Views of a data model as tables, for every PostgreSQL client.
#[derive(Debug, Parser)]
#[command(name = "belvedere", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load and check the model, listen, answer queries until SIGTERM. SIGHUP or a changed file reloads the model.
    Serve(Settings),
    /// Check config and model, and every member's SQL at its source. Exit code 0: no problem; 1: at least one.
    Check {
        #[command(flatten)]
        settings: Settings,
        /// Ask no data source.
        #[arg(long)]
        offline: bool,
    },
    /// Build the rollups that are due, once. A running server on the same storage sees them. Exit code 1: one could not be built.
    Build {
        /// Such as `orders.daily`; without any, all of the model.
        rollups: Vec<String>,
        /// Build what still holds too.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Print how a query would be answered, as EXPLAIN through the server does.
    Explain {
        /// The query; options such as `(FORMAT JSON)` may stand before it.
        sql: String,
        /// The user of the config whose access policies hold; without, those for everyone
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
}

/// A flag overrides the environment variable named with it, which overrides the config file.
#[derive(Debug, Args)]
struct Settings {
    /// The config file [BELVEDERE_CONFIG] [default: belvedere.yaml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Addresses for PostgreSQL clients, separated by commas [BELVEDERE_LISTEN]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Address of /livez, /readyz and /metrics [BELVEDERE_HTTP]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Folders of model files, separated by commas [BELVEDERE_MODELS]
    #[arg(long, value_name = "PATHS")]
    models: Option<String>,
    /// Where rollups are kept [BELVEDERE_STORAGE]
    #[arg(long, value_name = "FOLDER")]
    storage: Option<String>,
    /// A session's zone until the client sets one [BELVEDERE_TIME_ZONE]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What masked text shows that has no mask of its own [BELVEDERE_MASK_STRING]
    #[arg(long, value_name = "TEXT")]
    mask_string: Option<String>,
    /// What masked numbers show [BELVEDERE_MASK_NUMBER]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    mask_number: Option<String>,
    /// What masked booleans show [BELVEDERE_MASK_BOOLEAN]
    #[arg(long, value_name = "BOOLEAN")]
    mask_boolean: Option<String>,
    /// What masked times show [BELVEDERE_MASK_TIME]
    #[arg(long, value_name = "TIME")]
    mask_time: Option<String>,
    /// How long a statement may run, or `off` [BELVEDERE_STATEMENT_TIMEOUT]
    #[arg(long, value_name = "DURATION")]
    statement_timeout: Option<String>,
    /// For joins, sorts and groups of all statements [BELVEDERE_MEMORY]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Clients at once [BELVEDERE_CONNECTIONS]
    #[arg(long, value_name = "COUNT")]
    connections: Option<String>,
    /// How long running statements may go on after SIGTERM [BELVEDERE_DRAIN]
    #[arg(long, value_name = "DURATION")]
    drain: Option<String>,
    /// error, warn, info, debug or trace [BELVEDERE_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json [BELVEDERE_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Where the config is, and what overrides it.
#[derive(Debug, Clone)]
pub struct Given {
    pub config_file: PathBuf,
    pub environment: Environment,
    pub flags: Flags,
}

impl Settings {
    fn given(self, environment: Environment) -> Given {
        let named = environment.get("BELVEDERE_CONFIG").filter(|file| !file.is_empty()).map(PathBuf::from);
        let config_file = self.config.or(named).unwrap_or_else(|| PathBuf::from("belvedere.yaml"));
        let flags = [
            ("listen", self.listen),
            ("http", self.http),
            ("models", self.models),
            ("storage", self.storage),
            ("time_zone", self.time_zone),
            ("mask_string", self.mask_string),
            ("mask_number", self.mask_number),
            ("mask_boolean", self.mask_boolean),
            ("mask_time", self.mask_time),
            ("statement_timeout", self.statement_timeout),
            ("memory", self.memory),
            ("connections", self.connections),
            ("drain", self.drain),
            ("log_level", self.log_level),
            ("log_format", self.log_format),
        ];
        let flags: BTreeMap<_, _> = flags.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Given { config_file, environment, flags: Flags(flags) }
    }
}

/// Does what the command line asks: 0 if it went well, 1 if not, 2 for a command line that cannot be read.
pub fn run() -> ExitCode {
    let command_line = CommandLine::parse();
    // Names and values that are not Unicode cannot be meant for us.
    let environment: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: the system gives no threads: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match command_line.command {
            Command::Serve(settings) => Box::pin(serve::serve(settings.given(environment))).await,
            Command::Check { settings, offline } => Box::pin(check::check(settings.given(environment), offline)).await,
            Command::Build { rollups, force, settings } => {
                Box::pin(build::build(settings.given(environment), &rollups, force)).await
            }
            Command::Explain { sql, user, settings } => {
                Box::pin(explain::explain(settings.given(environment), &sql, user)).await
            }
        }
    });
    // Blocking reads of a file may hang on a network disk; they do not keep the process.
    runtime.shutdown_background();
    code
}

/// Writes to standard error; where nobody listens there, there is nothing left to do.
pub fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Writes to standard output, for what was asked for.
///
/// # Errors
/// Such as a closed pipe.
pub fn answer(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
