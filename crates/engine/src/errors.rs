//! Every error of planning, running and sources, as a client sees it. One place, so that nothing inner leaks.

use belvedere_planner::error::{PlanError, plan_error_of};
use belvedere_sources::SourceError;
use datafusion::error::DataFusionError;

use crate::SqlError;

/// A refusal of the planner; its place becomes a position in `sql`.
#[must_use]
pub fn from_plan(error: &PlanError, sql: &str) -> SqlError {
    let mut own = SqlError::new(error.sqlstate, error.message.clone()).at(error.position_in(sql));
    own.detail.clone_from(&error.detail);
    own.hint.clone_from(&error.hint);
    own
}

/// An error while running.
#[must_use]
pub fn from_datafusion(error: &DataFusionError) -> SqlError {
    if let Some(plan) = plan_error_of(error) {
        return from_plan(plan, "");
    }
    if let Some(pg) = belvedere_functions::pg_error_of(error) {
        let mut own = SqlError::new(pg.sqlstate, pg.message.clone());
        own.hint.clone_from(&pg.hint);
        return own;
    }
    if let Some(source) = source_error_of(error) {
        return from_source(source);
    }
    match error.find_root() {
        DataFusionError::Execution(message) if message.contains("Scalar subquery returned more than one row") => {
            SqlError::new("21000", "more than one row returned by a subquery used as an expression")
        }
        DataFusionError::NotImplemented(message) => SqlError::new(
            "0A000",
            format!("this statement is not supported: {}", message.lines().next().unwrap_or_default()),
        ),
        DataFusionError::ResourcesExhausted(message) => {
            tracing::warn!(%message, "a statement needed more memory than is allowed");
            SqlError::new("53200", "out of memory")
                .detail("The statement needs more memory for joins, sorts or groups than limits.memory allows.")
                .hint("Filter more, or raise limits.memory.")
        }
        other => {
            let id = error_id(&other.to_string());
            tracing::error!(error = %other, id, "a statement failed inside");
            SqlError::new("XX000", format!("internal error {id}"))
                .hint("The log has the full text under this id. Please report it.")
        }
    }
}

/// A source's error in a redacted form: its own words may hold rows of other people.
#[must_use]
pub fn from_source(error: &SourceError) -> SqlError {
    let id = error_id(&error.to_string());
    match error {
        SourceError::Unreachable { source_name, reason } => {
            tracing::warn!(
                source = source_name.as_str(),
                reason = reason.as_str(),
                id,
                "a data source cannot be reached"
            );
            SqlError::new("08001", format!("data source \"{source_name}\" cannot be reached"))
                .hint(format!("The log says why, under the id {id}."))
        }
        SourceError::Refused { source_name, message, sqlstate, .. } => {
            let message = scrubbed(message);
            tracing::warn!(source = source_name.as_str(), message, id, "a data source refused a statement");
            // What the values of a query cause is the query's own error, in PostgreSQL's words.
            let own = match sqlstate.as_deref() {
                Some("22012") => Some(SqlError::new("22012", "division by zero")),
                Some("22003") => Some(SqlError::new("22003", without_value(&message, "value out of range"))),
                Some("22P02") => Some(SqlError::new("22P02", without_value(&message, "invalid input syntax"))),
                Some("22007") => Some(SqlError::new("22007", without_value(&message, "invalid datetime format"))),
                Some("22008") => Some(SqlError::new("22008", without_value(&message, "datetime field overflow"))),
                Some("57014" | "70100") => Some(SqlError::new("57014", "canceling statement due to user request")),
                Some("42501" | "42000") => Some(SqlError::new(
                    "42501",
                    format!("data source \"{source_name}\" does not let Belvedere's user read this"),
                )),
                _ => None,
            };
            own.unwrap_or_else(|| SqlError::new("58000", format!("data source \"{source_name}\" refused a statement")))
                .hint(format!("The log has the source's own words, under the id {id}."))
        }
        SourceError::Value { source_name, column, kind, wanted } => SqlError::new(
            "22003",
            format!(
                "column \"{column}\" of data source \"{source_name}\" holds {kind}, which cannot be read exactly as {wanted}"
            ),
        ),
        SourceError::TimedOut { source_name, seconds } => {
            SqlError::new("57014", format!("data source \"{source_name}\" did not answer within {seconds} s"))
        }
        other => {
            tracing::warn!(error = %other, id, "a data source failed");
            SqlError::new("58000", "a data source failed").hint(format!("The log says why, under the id {id}."))
        }
    }
}

/// A source's words for the log, without the values that they quote: `invalid input syntax for type integer: "…"`.
fn scrubbed(message: &str) -> String {
    let end = [": \"", "\nDETAIL", ")=(", " value '", "value: '"]
        .iter()
        .filter_map(|mark| message.find(mark))
        .min()
        .unwrap_or(message.len());
    message[..end].to_owned()
}

/// PostgreSQL's words up to the value that they quote; other servers' words are not passed on.
fn without_value(message: &str, otherwise: &str) -> String {
    const KNOWN: &[&str] = &[
        "invalid input syntax for type ",
        "numeric field overflow",
        "integer out of range",
        "bigint out of range",
        "smallint out of range",
        "value out of range",
        "timestamp out of range",
        "date out of range",
        "date/time field value out of range",
        "interval out of range",
    ];
    // Drivers put their own words before the server's.
    let start = KNOWN.iter().filter_map(|known| message.find(known)).min();
    match start {
        Some(start) => {
            let text = &message[start..];
            let end = [": \"", " (", "\n"].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
            text[..end].to_owned()
        }
        None => otherwise.to_owned(),
    }
}

fn source_error_of(error: &DataFusionError) -> Option<&SourceError> {
    match error {
        DataFusionError::External(inner) => inner
            .downcast_ref::<SourceError>()
            .or_else(|| inner.downcast_ref::<DataFusionError>().and_then(source_error_of)),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => source_error_of(inner),
        DataFusionError::Shared(inner) => source_error_of(inner),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            datafusion::arrow::error::ArrowError::ExternalError(inner) => inner
                .downcast_ref::<SourceError>()
                .or_else(|| inner.downcast_ref::<DataFusionError>().and_then(source_error_of)),
            _ => None,
        },
        DataFusionError::Collection(all) => all.iter().find_map(source_error_of),
        _ => None,
    }
}

/// Eight characters that find the line in the log again.
fn error_id(text: &str) -> String {
    use std::hash::{Hash, Hasher};
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    text.hash(&mut hasher);
    NUMBER.fetch_add(1, Ordering::Relaxed).hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}
