//! The error that a PostgreSQL function gives: its SQLSTATE and PostgreSQL's own words, carried through DataFusion unchanged.

use std::error::Error;

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;

/// An error as PostgreSQL would report it. It travels inside [`DataFusionError::External`]; [`pg_error_of`] finds it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PgError {
    /// Five characters, as in PostgreSQL's appendix A.
    pub sqlstate: &'static str,
    /// The primary message, lower case, without SQLSTATE.
    pub message: String,
    /// A sentence that says what to do, if there is one.
    pub hint: Option<String>,
}

impl PgError {
    /// An error without a hint.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), hint: None }
    }

    /// The same error with a hint sentence.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// 22012, for every type.
    pub fn division_by_zero() -> Self {
        Self::new("22012", "division by zero")
    }

    /// 22003: `{type} out of range`.
    pub fn out_of_range(type_name: &str) -> Self {
        Self::new("22003", format!("{type_name} out of range"))
    }

    /// 22003 for a numeric that does not fit into 76 digits: PostgreSQL computes further, this process does not.
    pub fn numeric_too_wide() -> Self {
        Self::new("22003", "value overflows numeric format").with_hint(
            "Numeric values here have at most 76 digits, at most 44 of them after the decimal point where they are computed; round() or cast a factor.",
        )
    }

    /// 22P02: `invalid input syntax for type T: "x"`.
    pub fn invalid_text(type_name: &str, text: &str) -> Self {
        Self::new("22P02", format!("invalid input syntax for type {type_name}: \"{text}\""))
    }

    /// 22007, the same words for dates and times.
    pub fn invalid_datetime(type_name: &str, text: &str) -> Self {
        Self::new("22007", format!("invalid input syntax for type {type_name}: \"{text}\""))
    }

    /// 22008.
    pub fn datetime_overflow(message: impl Into<String>) -> Self {
        Self::new("22008", message)
    }

    /// 0A000: PostgreSQL has it, this process does not.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new("0A000", message)
    }
}

impl From<PgError> for DataFusionError {
    fn from(error: PgError) -> Self {
        Self::External(Box::new(error))
    }
}

/// The PostgreSQL error inside a DataFusion error, looked for through Context, Diagnostic, Shared, Collection, Arrow and External wrappers.
pub fn pg_error_of(error: &DataFusionError) -> Option<&PgError> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    // A chain of wrappers is short; the bound only guards against a cycle in foreign code.
    for _ in 0..64 {
        let current = next?;
        if let Some(found) = current.downcast_ref::<PgError>() {
            return Some(found);
        }
        next = if let Some(df) = current.downcast_ref::<DataFusionError>() {
            match df {
                DataFusionError::External(inner) => Some(inner.as_ref()),
                DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Some(inner.as_ref()),
                DataFusionError::Shared(inner) => Some(inner.as_ref()),
                DataFusionError::ArrowError(inner, _) => Some(inner.as_ref()),
                DataFusionError::Collection(all) => return all.iter().find_map(pg_error_of),
                _ => current.source(),
            }
        } else if let Some(ArrowError::ExternalError(inner)) = current.downcast_ref::<ArrowError>() {
            Some(inner.as_ref())
        } else if let Some(shared) = current.downcast_ref::<std::sync::Arc<DataFusionError>>() {
            Some(shared.as_ref())
        } else {
            current.source()
        };
    }
    None
}

/// What every pure function of this crate returns.
pub type PgResult<T> = Result<T, PgError>;
