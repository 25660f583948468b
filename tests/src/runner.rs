//! Runs a script against us and against PostgreSQL, and reports every statement whose rows differ.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::BytesMut;
use postgres_types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::AnyError;
use crate::rows::{Answer, BinaryAsText, Compared, Value, difference, normal_form};
use crate::script::{Expected, Item, Record, Setting, parse};

/// A statement that takes longer has failed: the shop's tables have a few hundred rows.
const PATIENCE: Duration = Duration::from_secs(60);

/// The two servers of a run.
#[derive(Debug, Clone)]
pub struct Sides {
    pub ours: Config,
    /// PostgreSQL with the shop's tables, its collation by code point.
    pub reference: Config,
    /// The name that `only=` options mean: `postgres`, `split`, `files`, or `reference` in the runner's own test.
    pub variant: String,
    /// Asks `ours` the references instead of the queries. For the runner's own test, in which both sides are PostgreSQL.
    pub asks_references: bool,
}

/// What came of one file.
#[derive(Debug)]
pub struct Report {
    pub file: PathBuf,
    /// Statements whose answers were compared, or whose errors were looked at.
    pub statements: usize,
    /// Statements that are for other variants.
    pub left_out: usize,
    pub failures: Vec<Failure>,
}

/// One statement and what is wrong with it.
#[derive(Debug)]
pub struct Failure {
    pub line: usize,
    /// How it was sent: `simple protocol`, `extended protocol`, `psql`, or `reference`.
    pub way: &'static str,
    pub query: String,
    pub reference: Option<String>,
    pub message: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "{}:{}: {}", self.file.display(), failure.line, failure.way)?;
            writeln!(f, "  query      {}", failure.query.replace('\n', "\n             "))?;
            if let Some(reference) = &failure.reference {
                writeln!(f, "  reference  {}", reference.replace('\n', "\n             "))?;
            }
            for line in failure.message.lines() {
                writeln!(f, "    {line}")?;
            }
        }
        write!(f, "{}: {} statements, {} failures", self.file.display(), self.statements, self.failures.len())?;
        if self.left_out > 0 {
            write!(f, ", {} left out", self.left_out)?;
        }
        Ok(())
    }
}

/// Runs the statements of `file` in order, each side in one session of its own.
///
/// # Errors
/// A file that cannot be read or parsed, a side that cannot be reached, a setting that PostgreSQL refuses. What is wrong with our
/// answers is in the report.
pub async fn run_file(file: &Path, sides: &Sides) -> Result<Report, AnyError> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let items = parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut report = Report { file: file.to_owned(), statements: 0, left_out: 0, failures: Vec::new() };
    let reference = connect(&sides.reference).await?;
    let mut ours = connect(&sides.ours).await?;
    let mut settings: Vec<Setting> = Vec::new();
    for item in items {
        match item {
            Item::Setting(setting) => {
                apply(&reference, &setting).await?;
                apply(&ours, &setting).await?;
                settings.retain(|earlier| earlier.name != setting.name);
                settings.push(setting);
            }
            Item::Record(record) if !record.only.is_empty() && !record.only.contains(&sides.variant) => {
                report.left_out += 1
            }
            Item::Record(record) => {
                let failures_before = report.failures.len();
                let found = check(&record, sides, &ours, &reference, &settings).await;
                report.statements += usize::from(found.is_compared);
                report.failures.extend(found.failures.into_iter().map(|(way, message)| Failure {
                    line: record.line,
                    way,
                    query: record.query.clone(),
                    reference: record.reference.clone(),
                    message,
                }));
                // A session that a failed statement ended or left busy must not fail the statements after it.
                if report.failures.len() > failures_before {
                    ours = connect(&sides.ours).await?;
                    for setting in &settings {
                        apply(&ours, setting).await?;
                    }
                }
            }
        }
    }
    Ok(report)
}

/// The outcome of one record.
struct Found {
    is_compared: bool,
    failures: Vec<(&'static str, String)>,
}

async fn check(record: &Record, sides: &Sides, ours: &Client, reference: &Client, settings: &[Setting]) -> Found {
    let mut failures = Vec::new();
    let sql = match (&record.reference, sides.asks_references) {
        (Some(reference), true) => reference,
        (None, true) => return Found { is_compared: false, failures },
        (_, false) => &record.query,
    };
    match &record.expected {
        Expected::Error { sqlstates, text } => {
            // PostgreSQL words some errors otherwise; the SQLSTATE must be one of the record's.
            if let Some(plain) = &record.reference
                && let Err(message) =
                    check_error(ask(reference, plain, record, Protocol::Extended).await, sqlstates, "")
            {
                failures.push(("reference", message));
            }
            if !sides.asks_references {
                for protocol in protocols(record) {
                    if let Err(message) = check_error(ask(ours, sql, record, *protocol).await, sqlstates, text) {
                        failures.push((protocol.name(), message));
                    }
                }
            }
        }
        Expected::Rows | Expected::NoRows => {
            let plain = record.reference.as_deref().expect("the parser demands a reference where rows are expected");
            for protocol in protocols(record) {
                // Each protocol is compared with its own kind: binary values are then decoded alike on both sides.
                let expected = match ask(reference, plain, record, *protocol).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        failures.push(("reference", error.to_string()));
                        continue;
                    }
                };
                if expected.rows.is_empty() != (record.expected == Expected::NoRows) {
                    failures.push((
                        "reference",
                        format!("{} rows, which is not what the record says", expected.rows.len()),
                    ));
                }
                match ask(ours, sql, record, *protocol).await {
                    Ok(answer) => {
                        failures.extend(compare(record, &answer, &expected).map(|text| (protocol.name(), text)))
                    }
                    Err(error) => failures.push((protocol.name(), error.to_string())),
                }
                if record.through_psql && *protocol == Protocol::Simple {
                    match ask_psql(&sides.ours, sql, &expected, settings).await {
                        Ok(answer) => failures.extend(compare(record, &answer, &expected).map(|text| ("psql", text))),
                        Err(error) => failures.push(("psql", error.to_string())),
                    }
                }
            }
        }
    }
    Found { is_compared: true, failures }
}

fn compare(record: &Record, ours: &Answer, expected: &Answer) -> Option<String> {
    let compared = Compared { names: record.compares_names, types: record.compares_types, order: record.is_ordered() };
    difference(ours, expected, compared)
}

fn check_error(answer: Result<Answer, StatementError>, sqlstates: &[String], text: &str) -> Result<(), String> {
    let expected = || format!("expected the error {} {text:?}", sqlstates.join(" or "));
    match answer {
        Ok(answer) => Err(format!("{}, got {} rows", expected(), answer.rows.len())),
        Err(StatementError::Refused { sqlstate, message }) => {
            let said = message.to_lowercase().contains(&text.to_lowercase());
            if said && sqlstates.contains(&sqlstate) {
                Ok(())
            } else {
                Err(format!("{}, got {sqlstate}: {message}", expected()))
            }
        }
        Err(other) => Err(format!("{}, got: {other}", expected())),
    }
}

/// A statement that gave no rows that could be read.
#[derive(Debug)]
enum StatementError {
    /// The server's own error; the message has detail and hint below it.
    Refused { sqlstate: String, message: String },
    /// A connection that ended, a value that no type has, time that ran out.
    Broken(String),
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { sqlstate, message } => write!(f, "{sqlstate}: {message}"),
            Self::Broken(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for StatementError {}

impl From<tokio_postgres::Error> for StatementError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            return Self::Broken(format!("{error}{cause}"));
        };
        let parts = [Some(refusal.message()), refusal.detail(), refusal.hint()];
        let message: Vec<&str> = parts.into_iter().flatten().collect();
        Self::Refused { sqlstate: refusal.code().code().to_owned(), message: message.join("\n") }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// One Query message, values as text.
    Simple,
    /// Parse, Describe, Bind, Execute; values in binary.
    Extended,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple protocol",
            Self::Extended => "extended protocol",
        }
    }
}

fn protocols(record: &Record) -> &'static [Protocol] {
    // The simple protocol has no parameters.
    if record.bind.is_empty() { &[Protocol::Simple, Protocol::Extended] } else { &[Protocol::Extended] }
}

async fn ask(client: &Client, sql: &str, record: &Record, protocol: Protocol) -> Result<Answer, StatementError> {
    let answer = async {
        match protocol {
            Protocol::Simple => ask_simple(client, sql).await,
            Protocol::Extended => ask_extended(client, sql, &record.bind).await,
        }
    };
    tokio::time::timeout(PATIENCE, answer)
        .await
        .map_err(|_| StatementError::Broken(format!("no answer within {} s", PATIENCE.as_secs())))?
}

async fn ask_simple(client: &Client, sql: &str) -> Result<Answer, StatementError> {
    let messages = client.simple_query(sql).await?;
    // The simple protocol's row description has types, but the driver does not show them.
    let described = client.prepare(sql).await?;
    let types: Vec<String> = described.columns().iter().map(|column| column.type_().name().to_owned()).collect();
    let mut names = Vec::new();
    let mut rows = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                names = columns.iter().map(|column| column.name().to_owned()).collect();
            }
            SimpleQueryMessage::Row(row) => {
                let value =
                    |(index, type_name): (usize, &String)| row.get(index).map(|text| normal_form(type_name, text));
                rows.push(types.iter().enumerate().map(value).collect::<Vec<Value>>());
            }
            _ => {}
        }
    }
    if names.len() != types.len() {
        return Err(StatementError::Broken(format!("{} columns came, {} were described", names.len(), types.len())));
    }
    Ok(Answer { names, types, rows })
}

async fn ask_extended(client: &Client, sql: &str, bind: &[Option<String>]) -> Result<Answer, StatementError> {
    let statement = client.prepare(sql).await?;
    if statement.params().len() != bind.len() {
        let message = format!("{} values given for {} parameters", bind.len(), statement.params().len());
        return Err(StatementError::Broken(message));
    }
    let values: Vec<TextParameter> = bind.iter().cloned().map(TextParameter).collect();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    let names = statement.columns().iter().map(|column| column.name().to_owned()).collect();
    let types: Vec<String> = statement.columns().iter().map(|column| column.type_().name().to_owned()).collect();
    let mut rows = Vec::new();
    for row in client.query(&statement, &values).await? {
        let mut values = Vec::with_capacity(types.len());
        for (index, type_name) in types.iter().enumerate() {
            let value: Option<BinaryAsText> = row.try_get(index)?;
            values.push(value.map(|text| normal_form(type_name, &text.0)));
        }
        rows.push(values);
    }
    Ok(Answer { names, types, rows })
}

/// A value that travels as text, so that the server's own reading of it is what is tested.
#[derive(Debug)]
struct TextParameter(Option<String>);

impl ToSql for TextParameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, AnyError> {
        Ok(match &self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// Separators and a NULL that no value of the shop contains.
const FIELD_END: &str = "\u{1f}";
const ROW_END: &str = "\u{1e}";
const NULL_TEXT: &str = "\u{15}";

/// Runs a statement in psql; the types are taken from `expected`, because psql does not print them.
async fn ask_psql(server: &Config, sql: &str, expected: &Answer, settings: &[Setting]) -> Result<Answer, AnyError> {
    let host = match server.get_hosts() {
        [tokio_postgres::config::Host::Tcp(host), ..] => host.clone(),
        _ => return Err("psql: the side has no host name".into()),
    };
    let port = server.get_ports().first().copied().unwrap_or(5432);
    let mut command = tokio::process::Command::new("psql");
    command
        .args(["--no-psqlrc", "--quiet", "--no-align", "--no-password", "--set=ON_ERROR_STOP=1"])
        .args([
            "--pset=footer=off",
            &format!("--field-separator={FIELD_END}"),
            &format!("--record-separator={ROW_END}"),
        ])
        .args([&format!("--pset=null={NULL_TEXT}"), "--host", &host, "--port", &port.to_string(), "--command", sql])
        .env("PGUSER", server.get_user().unwrap_or("postgres"))
        .env("PGDATABASE", server.get_dbname().unwrap_or("postgres"))
        .env("PGCLIENTENCODING", "UTF8")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    if let Some(password) = server.get_password() {
        command.env("PGPASSWORD", std::str::from_utf8(password)?);
    }
    // libpq sends it with the startup message, as JDBC does.
    if let Some(zone) =
        settings.iter().find(|setting| setting.name == "timezone").and_then(|setting| setting.value.as_deref())
    {
        command.env("PGTZ", zone);
    }
    let output = tokio::time::timeout(PATIENCE, command.output()).await??;
    if !output.status.success() {
        return Err(format!("psql: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.strip_suffix('\n').unwrap_or(&text).split(ROW_END);
    let names = lines.next().unwrap_or_default().split(FIELD_END).map(str::to_owned).collect();
    let value = |(type_name, text): (&String, &str)| (text != NULL_TEXT).then(|| normal_form(type_name, text));
    let rows = lines.map(|line| expected.types.iter().zip(line.split(FIELD_END)).map(value).collect()).collect();
    Ok(Answer { names, types: expected.types.clone(), rows })
}

async fn connect(server: &Config) -> Result<Client, AnyError> {
    let (client, connection) =
        server.connect(NoTls).await.map_err(|error| format!("cannot connect to {server:?}: {error:?}"))?;
    // Ends with the client; what went wrong on it shows in the client's statements.
    tokio::spawn(connection);
    Ok(client)
}

async fn apply(client: &Client, setting: &Setting) -> Result<(), AnyError> {
    let sql = match &setting.value {
        Some(value) => format!("SET {} = '{}'", setting.name, value.replace('\'', "''")),
        None => format!("RESET {}", setting.name),
    };
    client.batch_execute(&sql).await.map_err(|error| format!("{sql}: {error:?}").into())
}
