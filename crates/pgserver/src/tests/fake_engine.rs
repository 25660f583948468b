//! An engine that understands a dozen words: enough to make every case of the wire happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, stream};
use postgres_types::Type;
use tokio_util::sync::CancellationToken;

use belvedere_engine::{
    Backend, Column, Credentials, Deallocate, Effects, Login, Outcome, Prepared, RowStream, Session, Severity,
    SqlError, TransactionStatus,
};

use crate::parameters;
use crate::scram::verifier_with;
use crate::zone::Zone;

/// Users: `anyone` needs no password, `analyst` has `secret`, `closed` may not open a session, nobody else exists.
#[derive(Default)]
pub(crate) struct FakeEngine {
    /// Statements that were executed.
    pub(crate) executed: Arc<AtomicU64>,
    /// Work that was started and not yet dropped.
    pub(crate) working: Arc<AtomicU64>,
    /// Batches that streams have produced.
    pub(crate) batches: Arc<AtomicU64>,
    /// What sessions were opened with.
    pub(crate) logins: std::sync::Mutex<Vec<Login>>,
}

impl Backend for FakeEngine {
    fn credentials(&self, user: &str) -> Credentials {
        match user {
            "anyone" => Credentials::Trust,
            "analyst" | "closed" => Credentials::Scram(verifier_with("secret", b"0123456789abcdef", 4096)),
            "broken" => Credentials::Scram("SCRAM-SHA-256$nonsense".to_owned()),
            _ => Credentials::Unknown,
        }
    }

    fn open_session(&self, login: Login) -> Result<Box<dyn Session>, SqlError> {
        if login.user == "closed" {
            return Err(SqlError::new("28000", "role \"closed\" is not permitted to log in"));
        }
        if let Ok(mut logins) = self.logins.lock() {
            logins.push(login);
        }
        Ok(Box::new(FakeSession {
            status: TransactionStatus::Idle,
            executed: Arc::clone(&self.executed),
            working: Arc::clone(&self.working),
            batches: Arc::clone(&self.batches),
        }))
    }
}

struct FakeSession {
    status: TransactionStatus,
    executed: Arc<AtomicU64>,
    working: Arc<AtomicU64>,
    batches: Arc<AtomicU64>,
}

/// Counts what is under way.
struct Working(Arc<AtomicU64>);

impl Working {
    fn new(counter: &Arc<AtomicU64>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counter))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn column(name: &str, pg_type: Type) -> Column {
    Column { name: name.to_owned(), pg_type, typmod: -1 }
}

fn rows(columns: Vec<Column>, arrays: Vec<ArrayRef>) -> Result<Outcome, SqlError> {
    let fields: Vec<Field> =
        columns.iter().zip(&arrays).map(|(c, array)| Field::new(&c.name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(|error| SqlError::new("XX000", error.to_string()))?;
    let rows: RowStream = Box::pin(stream::iter([Ok(batch)]));
    Ok(Outcome::Rows { columns, schema, rows, tag: "SELECT".to_owned(), effects: Effects::default() })
}

impl FakeSession {
    /// `n` batches of 1 000 rows, each with a number and a text of `width` bytes.
    fn stream(&self, n: u64, width: usize, end: Option<SqlError>) -> RowStream {
        let working = Working::new(&self.working);
        let batches = Arc::clone(&self.batches);
        let text = "x".repeat(width);
        let rows = stream::iter(0..n).map(move |batch| {
            let _ = &working;
            batches.fetch_add(1, Ordering::SeqCst);
            let first = batch as i64 * 1_000;
            let numbers = Int64Array::from_iter_values(first..first + 1_000);
            let texts = StringArray::from_iter_values(std::iter::repeat_n(&text, 1_000));
            RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef), ("t", Arc::new(texts) as ArrayRef)])
                .map_err(|error| SqlError::new("XX000", error.to_string()))
        });
        Box::pin(rows.chain(stream::iter(end.map(Err))))
    }
}

#[async_trait]
impl Session for FakeSession {
    fn reported_settings(&self) -> Vec<(String, String)> {
        [("server_version", "15.0"), ("client_encoding", "UTF8"), ("TimeZone", "UTC"), ("DateStyle", "ISO, MDY")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    fn split(&self, sql: &str) -> Result<Vec<String>, SqlError> {
        assert!(!sql.contains("panic_split"), "asked to panic");
        Ok(sql.split(';').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
    }

    async fn prepare(
        &mut self,
        sql: &str,
        declared: &[Option<Type>],
        _cancel: &CancellationToken,
    ) -> Result<Arc<Prepared>, SqlError> {
        let word = sql.split_whitespace().next().unwrap_or_default();
        if self.status == TransactionStatus::Failed && !matches!(word, "rollback" | "commit") {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(SqlError::new("25P02", message));
        }
        let mut types = Vec::new();
        let columns = match word {
            "one" | "stuck" | "silent" => Some(vec![column("?column?", Type::INT4)]),
            "sleep" | "panic" | "wrong" => Some(vec![column("n", Type::INT8)]),
            "rows" | "fail_after" => Some(vec![column("n", Type::INT8), column("t", Type::TEXT)]),
            "echo" => {
                let n = sql.matches('$').count().max(declared.len());
                types = (0..n).map(|i| declared.get(i).cloned().flatten().unwrap_or(Type::TEXT)).collect();
                Some(types.iter().enumerate().map(|(i, t)| column(&format!("c{i}"), t.clone())).collect())
            }
            "changing" => Some(vec![column("?column?", Type::TEXT)]),
            "plan_forever" => {
                let _working = Working::new(&self.working);
                std::future::pending::<()>().await;
                None
            }
            "plan_panic" => panic!("asked to panic"),
            "" | "begin" | "commit" | "rollback" | "set_zone" | "notice" | "deallocate" | "deallocate_all"
            | "fatal" | "nul" => None,
            other => {
                let error = SqlError::new("42601", format!("syntax error at or near \"{other}\""));
                return Err(error.at(Some(1)).hint("Use another word.").detail("The fake engine knows few words."));
            }
        };
        Ok(Arc::new(Prepared { sql: sql.to_owned(), parameters: types, columns, plan: Box::new(()) }))
    }

    async fn execute(
        &mut self,
        statement: &Prepared,
        parameters: Vec<ScalarValue>,
        _cancel: CancellationToken,
    ) -> Result<Outcome, SqlError> {
        self.executed.fetch_add(1, Ordering::SeqCst);
        let mut words = statement.sql.split_whitespace();
        let word = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.clone().filter_map(|word| word.parse().ok()).collect();
        let argument = words.next().unwrap_or_default();
        let number = |i: usize| numbers.get(i).copied().unwrap_or(1);
        let columns = statement.columns.clone().unwrap_or_default();
        let command = |tag: &str, effects: Effects| Ok(Outcome::Command { tag: tag.to_owned(), effects });
        let streamed = |rows: RowStream, tag: &str| {
            Ok(Outcome::Rows {
                columns: columns.clone(),
                schema: Arc::new(Schema::empty()),
                rows,
                tag: tag.to_owned(),
                effects: Effects::default(),
            })
        };
        match word {
            "" => Ok(Outcome::Empty),
            "one" => rows(columns, vec![Arc::new(datafusion::arrow::array::Int32Array::from(vec![1]))]),
            "wrong" => rows(columns, vec![Arc::new(StringArray::from(vec!["not a number"]))]),
            "changing" => rows(
                vec![column("?column?", Type::INT4)],
                vec![Arc::new(datafusion::arrow::array::Int32Array::from(vec![1]))],
            ),
            "echo" => {
                let arrays: Result<Vec<ArrayRef>, _> =
                    parameters.iter().map(|value| value.to_array_of_size(1)).collect();
                rows(columns, arrays.map_err(|error| SqlError::new("XX000", error.to_string()))?)
            }
            // Hangs before any row, and after the first.
            "stuck" => {
                let _working = Working::new(&self.working);
                std::future::pending().await
            }
            "silent" => {
                let working = Working::new(&self.working);
                streamed(
                    Box::pin(stream::pending().map(move |batch| {
                        let _ = &working;
                        batch
                    })),
                    "SELECT",
                )
            }
            // A row every 100 ms.
            "sleep" => {
                let working = Working::new(&self.working);
                let rows = stream::iter(0..number(0)).then(move |n| {
                    let _ = &working;
                    async move {
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![n as i64]));
                        RecordBatch::try_from_iter([("n", numbers)])
                            .map_err(|error| SqlError::new("XX000", error.to_string()))
                    }
                });
                streamed(Box::pin(rows), "SELECT")
            }
            "rows" => streamed(self.stream(number(0), number(1) as usize, None), "SELECT"),
            "fail_after" => {
                let error = SqlError::new("22012", "division by zero");
                streamed(self.stream(number(0), 1, Some(error)), "SELECT")
            }
            "panic" => streamed(Box::pin(stream::once(async { panic!("asked to panic") })), "SELECT"),
            "begin" => {
                self.status = TransactionStatus::InTransaction;
                command("BEGIN", Effects::default())
            }
            "commit" | "rollback" => {
                self.status = TransactionStatus::Idle;
                command(&word.to_uppercase(), Effects::default())
            }
            "set_zone" => {
                let changed_settings = vec![("TimeZone".to_owned(), argument.to_owned())];
                command("SET", Effects { changed_settings, ..Effects::default() })
            }
            "notice" => {
                let notice = SqlError::new("00000", "mind the gap").severity(Severity::Notice);
                command("DO", Effects { notices: vec![notice], ..Effects::default() })
            }
            "deallocate" => {
                let deallocate = Some(Deallocate::One(argument.to_owned()));
                command("DEALLOCATE", Effects { deallocate, ..Effects::default() })
            }
            "deallocate_all" => {
                command("DEALLOCATE ALL", Effects { deallocate: Some(Deallocate::All), ..Effects::default() })
            }
            "nul" => Err(SqlError::new("XX000", "a\0b").detail("c\0d").hint("e\0f")),
            "fatal" => Err(SqlError::new("XX000", "the end").severity(Severity::Fatal)),
            other => Err(SqlError::new("XX000", format!("{other} was prepared and cannot be executed"))),
        }
    }

    fn statement_failed(&mut self) {
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }
}

/// The one value that `text` stands for as a parameter.
pub(crate) fn scalar(text: &str, pg_type: &Type) -> Result<ScalarValue, SqlError> {
    parameters::decode(Some(text.as_bytes()), crate::messages::Format::Text, pg_type, &Zone::Utc)
}
