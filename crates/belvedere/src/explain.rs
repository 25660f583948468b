//! `belvedere explain "SQL"`: what EXPLAIN prints through the server.

use std::process::ExitCode;
use std::sync::Arc;

use belvedere_engine::{EngineBackend, Login, Outcome, SqlError};
use belvedere_model::Diagnostic;
use datafusion::arrow::array::AsArray;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::commands::{Given, answer, complain};
use crate::observe::Observations;
use crate::status::Status;
use crate::{check, rollup_store, source_problems, startup};

/// `user` is the one of the config whose access policies hold; without, those for everyone do.
pub async fn explain(given: Given, sql: &str, user: Option<String>) -> ExitCode {
    let lines = match Box::pin(lines(&given, sql, user)).await {
        Ok(lines) => lines,
        Err(Failure::Diagnostics(diagnostics)) => {
            check::print(&diagnostics);
            return ExitCode::FAILURE;
        }
        Err(Failure::Sql(error)) => {
            complain(&draw(&error, sql));
            return ExitCode::FAILURE;
        }
    };
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    if answer(&text).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

enum Failure {
    Diagnostics(Vec<Diagnostic>),
    Sql(SqlError),
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Diagnostics(diagnostics)
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

async fn lines(given: &Given, sql: &str, user: Option<String>) -> Result<Vec<String>, Failure> {
    let config = startup::read_config(given)?;
    let read = startup::read_model(&config);
    let Some(model) = read.model.clone() else { return Err(read.diagnostics.into()) };
    let observations = Observations::new(Arc::new(Status::default()));
    let sources = startup::open_sources(&config, &observations).await?;
    let engine = startup::engine(&config, sources)?;
    if rollup_store::has_rollups(&model) {
        rollup_store::open(&config, &given.environment, &engine).map_err(|problem| vec![*problem])?;
    }
    let problems = engine.load_model(Arc::clone(&model)).await;
    check::print(&source_problems::diagnostics(&problems, &model, &read.files, &config));
    if let Some(user) = &user
        && !config.users.iter().any(|known| known.name == *user)
    {
        return Err(SqlError::new("28000", format!("the config has no user \"{user}\"")).into());
    }
    let user = user.unwrap_or_else(|| "belvedere".to_owned());
    let login = Login { user, database: "belvedere".to_owned(), parameters: Vec::new(), process_id: 0 };
    let mut session = EngineBackend(engine).open_operator_session(login)?;
    let cancel = CancellationToken::new();
    let first = sql.split_whitespace().next().unwrap_or_default();
    let text = if first.eq_ignore_ascii_case("explain") { sql.to_owned() } else { format!("EXPLAIN {sql}") };
    let prepared = session.prepare(&text, &[], &cancel).await?;
    let outcome = session.execute(&prepared, Vec::new(), cancel).await?;
    let Outcome::Rows { mut rows, .. } = outcome else { return Ok(Vec::new()) };
    let mut lines = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if let Some(column) = batch.column(0).as_string_opt::<i32>() {
            lines.extend(column.iter().map(|line| line.unwrap_or_default().to_owned()));
        }
    }
    Ok(lines)
}

/// As psql shows it; positions count from the start of the query, behind EXPLAIN and its options.
fn draw(error: &SqlError, sql: &str) -> String {
    let mut text = format!("ERROR:  {}: {}\n", error.sqlstate, error.message);
    let first = sql.split_whitespace().next().unwrap_or_default();
    let is_query_alone = !first.starts_with('(') && !first.eq_ignore_ascii_case("explain");
    if let Some(position) = error.position.filter(|_| is_query_alone) {
        let before: String = sql.chars().take(position.saturating_sub(1)).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let label = format!("LINE {line}: ");
        let shown = sql.lines().nth(line - 1).unwrap_or_default();
        text += &format!("{label}{shown}\n{}^\n", " ".repeat(label.len() + column));
    }
    for (word, sentence) in [("DETAIL", &error.detail), ("HINT", &error.hint)] {
        if let Some(sentence) = sentence {
            text += &format!("{word}:  {sentence}\n");
        }
    }
    text
}
