//! What planning says when it refuses, in PostgreSQL's parts.

use std::fmt;

use datafusion_common::DataFusionError;

/// A place in the statement's text as the SQL tokenizer counts it: line and column, both from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPlace {
    pub line: u64,
    pub column: u64,
}

/// A refusal. `message` is lower case without a full stop; `detail` and `hint` are sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// Five characters, from PostgreSQL's appendix A.
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub place: Option<TextPlace>,
}

impl PlanError {
    #[must_use]
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None, place: None }
    }

    /// 0A000: understood, and not done.
    #[must_use]
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new("0A000", message)
    }

    /// 42601: not SQL that we read.
    #[must_use]
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new("42601", message)
    }

    /// XX000: our own contradiction.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("XX000", message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn at(mut self, place: Option<TextPlace>) -> Self {
        self.place = self.place.or(place);
        self
    }

    /// The place as PostgreSQL reports it: characters from the start of `sql`, the first is 1.
    #[must_use]
    pub fn position_in(&self, sql: &str) -> Option<usize> {
        let place = self.place?;
        let mut before = 0_usize;
        for (index, line) in sql.split('\n').enumerate() {
            if index as u64 + 1 == place.line {
                return Some(before + place.column as usize);
            }
            before += line.chars().count() + 1;
        }
        None
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sqlstate, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, "\nDETAIL: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nHINT: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}

impl From<PlanError> for DataFusionError {
    fn from(error: PlanError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

/// The refusal inside a DataFusion error, where one of our hooks raised it.
#[must_use]
pub fn plan_error_of(error: &DataFusionError) -> Option<&PlanError> {
    match error {
        DataFusionError::External(inner) => inner
            .downcast_ref::<PlanError>()
            .or_else(|| inner.downcast_ref::<DataFusionError>().and_then(plan_error_of)),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => plan_error_of(inner),
        DataFusionError::Shared(inner) => plan_error_of(inner),
        DataFusionError::Collection(all) => all.iter().find_map(plan_error_of),
        _ => None,
    }
}

pub type Result<T, E = PlanError> = std::result::Result<T, E>;
