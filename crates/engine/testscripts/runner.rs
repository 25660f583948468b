//! Golden scripts of a session: statements as a client sends them, and all that comes back. One table in memory, no server.
//!
//! ```text
//! login user=ada timezone=Europe/Berlin       # a new session with these start-up parameters; prints what it reports
//! > BEGIN; SELECT 1                           # the rest of the line is SQL
//! ```
//!
//! Printed are tags, rows (columns with PostgreSQL's types first), warnings, errors with all their parts, and settings that are reported
//! to the client. The letter in front is the status afterwards, as ReadyForQuery says it: I, T or E. After an error the rest of the line is
//! not run. A script without `login` is that of the user `ada`.
//!
//! After a change: `UPDATE_GOLDENFILES=1 cargo nextest run --workspace --test testscripts`, then read the diff.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use belvedere_engine::sources::{DataSource, DataSourceKind};
use belvedere_engine::{
    Backend, Clock, Column, Effects, Engine, EngineBackend, EngineConfig, Login, Outcome, Session, Severity, SqlError,
    TransactionStatus, User,
};
use belvedere_functions::{PG_TYPMOD, Zone, numeric_typmod};
use belvedere_model::ModelFile;
use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Decimal128Array, Int32Array, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use futures::StreamExt;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const MODEL: &str = "
cubes:
  - name: orders
    sql_table: orders
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: status, sql: status, type: string }
      - { name: amount, sql: amount, type: number }
      - { name: created_at, sql: created_at, type: time }
    measures:
      - { name: count, type: count }
      - { name: revenue, sql: amount, type: sum }
      - { name: average, sql: amount, type: avg }
";

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(1_773_576_000, 0).expect("2026-03-15 12:00 exists")
    }
}

fn orders() -> Result<MemTable> {
    // As a database declares its columns.
    let numeric_10_2 = [(PG_TYPMOD.to_owned(), numeric_typmod(10, 2).to_string())].into();
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("status", DataType::Utf8, true),
        Field::new("amount", DataType::Decimal128(10, 2), true).with_metadata(numeric_10_2),
        Field::new("created_at", timestamp, true),
    ]));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int32Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec![Some("new"), Some("paid"), None])),
            Arc::new(Decimal128Array::from(vec![Some(1050), Some(200), None]).with_precision_and_scale(10, 2)?),
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(1_773_576_000_000_000),
                Some(1_767_225_599_999_999),
                None,
            ])),
        ],
    )?;
    Ok(MemTable::try_new(schema, vec![vec![batch]])?)
}

struct Scripts {
    runtime: Runtime,
    backend: EngineBackend,
    session: Box<dyn Session>,
}

impl Scripts {
    fn new() -> Result<Self> {
        let runtime = Runtime::new()?;
        let fixed = User {
            name: "fixed".to_owned(),
            verifier: String::new(),
            groups: Vec::new(),
            attributes: std::collections::BTreeMap::new(),
            time_zone_fixed: true,
            may_build: false,
        };
        let config = EngineConfig {
            time_zone: chrono_tz::Tz::UTC,
            statement_timeout: Some(std::time::Duration::from_secs(120)),
            memory_bytes: 64 << 20,
            connections_max: 2,
            users: vec![fixed],
            masks: std::sync::Arc::default(),
            planning_threads: 1,
        };
        let files = HashMap::from([("orders".to_owned(), Arc::new(orders()?) as _)]);
        let files = DataSource { kind: DataSourceKind::Files(files), zone: Zone::UTC };
        let sources = HashMap::from([("default".to_owned(), files)]);
        let engine = Engine::new(config, sources, Arc::new(Noon))?;
        let file = ModelFile { path: "model.yml".to_owned(), text: MODEL.to_owned() };
        let model = belvedere_model::load(&[file]).model.ok_or("the model has mistakes")?;
        let problems = runtime.block_on(engine.load_model(Arc::new(model)));
        assert!(problems.is_empty(), "the table has every column: {problems:?}");
        let backend = EngineBackend(Arc::new(engine));
        let session = backend.open_session(login("ada", Vec::new()))?;
        Ok(Self { runtime, backend, session })
    }

    /// Runs one statement; what it gave, or its error.
    fn statement(&mut self, sql: &str) -> Result<String, SqlError> {
        let Self { runtime, session, .. } = self;
        runtime.block_on(async {
            let cancel = CancellationToken::new();
            let prepared = session.prepare(sql, &[], &cancel).await?;
            let mut text = String::new();
            match session.execute(&prepared, Vec::new(), cancel).await? {
                Outcome::Empty => text.push_str("(empty)\n"),
                Outcome::Command { tag, effects } => {
                    shown_effects(&effects, &mut text);
                    let _ = writeln!(text, "{tag}");
                }
                Outcome::Rows { columns, mut rows, tag, effects, .. } => {
                    assert_eq!(prepared.columns.as_ref(), Some(&columns), "Describe promised other columns for {sql}");
                    shown_effects(&effects, &mut text);
                    let _ = writeln!(text, "{tag} {}", columns.iter().map(shown_column).collect::<Vec<_>>().join(", "));
                    while let Some(batch) = rows.next().await {
                        let batch = batch?;
                        for row in 0..batch.num_rows() {
                            let values: Vec<String> = batch
                                .columns()
                                .iter()
                                .map(|column| match column.is_null(row) {
                                    true => "NULL".to_owned(),
                                    false => {
                                        array_value_to_string(column, row).unwrap_or_else(|error| error.to_string())
                                    }
                                })
                                .collect();
                            let _ = writeln!(text, "  {}", values.join(" | "));
                        }
                    }
                }
            }
            Ok(text)
        })
    }

    fn status(&self) -> char {
        match self.session.transaction_status() {
            TransactionStatus::Idle => 'I',
            TransactionStatus::InTransaction => 'T',
            TransactionStatus::Failed => 'E',
        }
    }
}

fn login(user: &str, parameters: Vec<(String, String)>) -> Login {
    Login { user: user.to_owned(), database: "shop".to_owned(), parameters, process_id: 7 }
}

fn shown_column(column: &Column) -> String {
    let name = column.pg_type.name();
    match column.typmod {
        -1 => format!("{} {name}", column.name),
        typmod => format!("{} {name}:{typmod}", column.name),
    }
}

fn shown_effects(effects: &Effects, text: &mut String) {
    for notice in &effects.notices {
        shown_error(notice, text);
    }
    for (name, value) in &effects.changed_settings {
        let _ = writeln!(text, "reports {name}={value}");
    }
    if let Some(deallocate) = &effects.deallocate {
        let _ = writeln!(text, "forget {deallocate:?}");
    }
}

fn shown_error(error: &SqlError, text: &mut String) {
    let severity = match error.severity {
        Severity::Notice => "NOTICE",
        Severity::Warning => "WARNING",
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let _ = writeln!(text, "{severity} {}: {}", error.sqlstate, error.message);
    if let Some(detail) = &error.detail {
        let _ = writeln!(text, "DETAIL: {detail}");
    }
    if let Some(hint) = &error.hint {
        let _ = writeln!(text, "HINT: {hint}");
    }
    if let Some(position) = error.position {
        let _ = writeln!(text, "POSITION: {position}");
    }
}

impl goldenscript::Runner for Scripts {
    fn run(&mut self, command: &goldenscript::Command) -> Result<String> {
        if command.name == "login" {
            let mut arguments = command.consume_args();
            let user = arguments.lookup("user").map_or("ada".to_owned(), |user| user.value.clone());
            let parameters =
                arguments.rest().iter().map(|one| (one.key.clone().unwrap_or_default(), one.value.clone())).collect();
            return Ok(match self.backend.open_session(login(&user, parameters)) {
                Ok(session) => {
                    self.session = session;
                    let reported = self.session.reported_settings();
                    reported.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
                }
                Err(error) => {
                    let mut text = String::new();
                    shown_error(&error, &mut text);
                    text
                }
            });
        }
        let mut text = String::new();
        let statements = match self.session.split(&command.name) {
            Ok(statements) => statements,
            Err(error) => {
                shown_error(&error, &mut text);
                return Ok(text);
            }
        };
        for sql in statements {
            match self.statement(&sql) {
                Ok(shown) => text.push_str(&format!("{} {shown}", self.status())),
                Err(error) => {
                    self.session.statement_failed();
                    let _ = write!(text, "{} ", self.status());
                    shown_error(&error, &mut text);
                    break;
                }
            }
        }
        Ok(text)
    }
}

fn run(script: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts").join(script);
    goldenscript::run(&mut Scripts::new()?, path)?;
    Ok(())
}

#[test]
fn settings_are_set_shown_and_refused_as_postgresql_does() -> Result<()> {
    run("settings")
}

#[test]
fn transactions_keep_and_give_back_settings() -> Result<()> {
    run("transactions")
}

#[test]
fn statements_that_are_no_queries_get_their_tag_or_a_refusal() -> Result<()> {
    run("utility")
}

#[test]
fn explain_takes_its_options_off() -> Result<()> {
    run("explain")
}

#[test]
fn columns_have_postgresqls_names_and_types() -> Result<()> {
    run("columns")
}

#[test]
fn errors_have_postgresqls_parts() -> Result<()> {
    run("errors")
}
