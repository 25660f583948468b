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
                // MySQL's 42000 is for syntax too.
                Some(state) if state == "42501" || (state == "42000" && message.contains("denied")) => {
                    Some(SqlError::new(
                        "42501",
                        format!("data source \"{source_name}\" does not let Belvedere's user read this"),
                    ))
                }
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
        SourceError::Busy { source_name, connections, seconds } => {
            SqlError::new("53300", format!("data source \"{source_name}\" is busy"))
                .detail(format!("All {connections} connections of its pool were in use for {seconds} s."))
        }
        SourceError::Lost { source_name, reason } => {
            tracing::warn!(source = source_name.as_str(), reason = reason.as_str(), id, "a data source was lost");
            SqlError::new("08006", format!("the connection to data source \"{source_name}\" was lost"))
                .hint(format!("The log says why, under the id {id}."))
        }
        SourceError::Config { source_name, reason } => {
            tracing::warn!(source = source_name.as_str(), reason = reason.as_str(), id, "a data source cannot be used");
            SqlError::new("58000", format!("data source \"{source_name}\" is configured wrongly"))
                .hint(format!("The log says why, under the id {id}."))
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
    message[..end].trim_end().to_owned()
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

#[cfg(test)]
mod tests {
    use belvedere_planner::error::{PlanError, TextPlace};
    use belvedere_sources::SourceError;
    use datafusion::arrow::error::ArrowError;
    use datafusion::error::DataFusionError;

    use super::{from_datafusion, from_plan, from_source, scrubbed};
    use crate::SqlError;

    fn refused(message: &str, sqlstate: Option<&str>) -> SqlError {
        from_source(&SourceError::Refused {
            source_name: "crm".to_owned(),
            message: message.to_owned(),
            sqlstate: sqlstate.map(str::to_owned),
            position: Some(8),
        })
    }

    /// State and message; the hint has an id that differs each time.
    fn shown(error: &SqlError) -> String {
        format!("{} {}", error.sqlstate, error.message)
    }

    #[test]
    fn a_refusal_of_the_source_is_told_without_its_values() {
        let cases = [
            (refused("division by zero", Some("22012")), "22012 division by zero"),
            (
                refused("invalid input syntax for type integer: \"ada@example.org\"", Some("22P02")),
                "22P02 invalid input syntax for type integer",
            ),
            (
                refused("db error: ERROR: value \"99999999999\" is out of range for type integer", Some("22003")),
                "22003 value out of range",
            ),
            (refused("db error: ERROR: bigint out of range", Some("22003")), "22003 bigint out of range"),
            (
                refused("Incorrect DECIMAL value: 'secret' for column 'x' at row 1", Some("22007")),
                "22007 invalid datetime format",
            ),
            (
                refused("date/time field value out of range: \"2026-99-01\"", Some("22008")),
                "22008 date/time field value out of range",
            ),
            (
                refused("relation \"secret\" does not exist", Some("42P01")),
                "58000 data source \"crm\" refused a statement",
            ),
            (refused("whatever ada wrote", None), "58000 data source \"crm\" refused a statement"),
        ];
        for (error, expected) in cases {
            assert_eq!(shown(&error), expected);
            assert_eq!((error.detail, error.position), (None, None));
            let hint = error.hint.expect("the log has the rest");
            assert!(hint.starts_with("The log has the source's own words, under the id "), "{hint}");
        }
    }

    #[test]
    fn mysql_says_42000_for_syntax_and_for_rights() {
        let rights = "42501 data source \"crm\" does not let Belvedere's user read this";
        assert_eq!(shown(&refused("permission denied for table orders", Some("42501"))), rights);
        assert_eq!(shown(&refused("SELECT command denied to user 'b'@'h' for table 'orders'", Some("42000"))), rights);
        assert_eq!(
            shown(&refused("You have an error in your SQL syntax near 'x'", Some("42000"))),
            "58000 data source \"crm\" refused a statement"
        );
    }

    #[test]
    fn a_source_that_does_not_answer_is_named_and_its_reason_is_not() {
        let name = || "crm".to_owned();
        let reason = || "password authentication failed for user \"secret\" at 10.0.0.7".to_owned();
        let cases = [
            (
                SourceError::Unreachable { source_name: name(), reason: reason() },
                "08001 data source \"crm\" cannot be reached",
            ),
            (
                SourceError::Lost { source_name: name(), reason: reason() },
                "08006 the connection to data source \"crm\" was lost",
            ),
            (
                SourceError::Config { source_name: name(), reason: reason() },
                "58000 data source \"crm\" is configured wrongly",
            ),
            (
                SourceError::Busy { source_name: name(), connections: 8, seconds: 30 },
                "53300 data source \"crm\" is busy",
            ),
            (
                SourceError::TimedOut { source_name: name(), seconds: 5 },
                "57014 data source \"crm\" did not answer within 5 s",
            ),
        ];
        for (error, expected) in cases {
            let told = from_source(&error);
            assert_eq!(shown(&told), expected);
            assert!(!format!("{told:?}").contains("secret"), "{told:?}");
        }
    }

    #[test]
    fn a_source_error_is_found_inside_other_errors() {
        let error = || SourceError::TimedOut { source_name: "crm".to_owned(), seconds: 5 };
        let expected = "57014 data source \"crm\" did not answer within 5 s";
        let plain = DataFusionError::from(error());
        assert_eq!(shown(&from_datafusion(&plain)), expected);
        assert_eq!(shown(&from_datafusion(&plain.context("while joining"))), expected);
        let in_arrow = ArrowError::ExternalError(Box::new(DataFusionError::from(error())));
        assert_eq!(shown(&from_datafusion(&DataFusionError::ArrowError(Box::new(in_arrow), None))), expected);
    }

    #[test]
    fn what_nobody_foresaw_is_an_id_in_the_log() {
        let told = from_datafusion(&DataFusionError::Internal("column secret of row 7".to_owned()));
        let id = told.message.strip_prefix("internal error ").expect("the message is an id").to_owned();
        assert_eq!(told.sqlstate, "XX000");
        assert!(id.len() == 8 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
        assert_eq!(told.hint.as_deref(), Some("The log has the full text under this id. Please report it."));
        assert_eq!(told.detail, None);
    }

    #[test]
    fn memory_that_is_not_there_is_53200() {
        let told = from_datafusion(&DataFusionError::ResourcesExhausted("Failed to allocate 1 MB".to_owned()));
        assert_eq!(shown(&told), "53200 out of memory");
    }

    #[test]
    fn a_refusal_of_the_planner_keeps_its_parts_and_its_place() {
        let error = PlanError::new("42703", "column \"x\" does not exist")
            .detail("Detail.")
            .hint("Hint.")
            .at(Some(TextPlace { line: 2, column: 3 }));
        let told = from_plan(&error, "SELECT ä,\n  x");
        assert_eq!(
            (shown(&told).as_str(), told.detail.as_deref(), told.hint.as_deref(), told.position),
            ("42703 column \"x\" does not exist", Some("Detail."), Some("Hint."), Some(13))
        );
    }

    #[test]
    fn the_log_has_no_values_either() {
        assert_eq!(scrubbed("invalid input syntax for type integer: \"ada\""), "invalid input syntax for type integer");
        assert_eq!(scrubbed("duplicate key\nDETAIL: Key (email)=(ada)"), "duplicate key");
        assert_eq!(scrubbed("Key (email)=(ada) exists"), "Key (email");
        assert_eq!(scrubbed("Incorrect integer value: 'ada' for column"), "Incorrect integer");
        assert_eq!(scrubbed("division by zero"), "division by zero");
    }
}
