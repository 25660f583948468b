//! What can go wrong with a catalog statement, as PostgreSQL words it.

use thiserror::Error;

/// An error with its SQLSTATE; the engine turns it into its own error type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct CatalogError {
    /// Five characters, from PostgreSQL's appendix A.
    pub sqlstate: &'static str,
    /// Lower-case primary message without a full stop.
    pub message: String,
    /// A sentence that helps, where there is one.
    pub hint: Option<String>,
}

impl CatalogError {
    /// An error without a hint.
    #[must_use]
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), hint: None }
    }

    /// 0A000: PostgreSQL could do it, catalog statements here cannot.
    pub(crate) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new("0A000", format!("{what} is not supported in statements over the system catalogs"))
    }
}

pub(crate) type Result<T> = std::result::Result<T, CatalogError>;
