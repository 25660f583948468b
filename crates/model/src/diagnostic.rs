//! Where something stands in a model file, and what is wrong with it.

use std::fmt;
use std::sync::Arc;

/// A stretch of one line of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path as the user knows it, relative to the model's folder's parent where possible.
    pub file: Arc<str>,
    /// First line is 1.
    pub line: u32,
    /// First column is 1, counted in characters.
    pub column: u32,
    /// Characters to underline, at least 1.
    pub length: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

/// One problem in one place, drawn like rustc's by its `Display`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    pub place: Place,
    /// What to say right of the carets; may be empty.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The whole text of the line at `place`.
    pub source_line: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let place = &self.place;
        let line_number = place.line.to_string();
        let margin = " ".repeat(line_number.len());
        let before = " ".repeat(place.column.saturating_sub(1) as usize);
        let carets = "^".repeat(place.length.max(1) as usize);
        writeln!(f, "{kind}: {}", self.message)?;
        writeln!(f, "{margin}--> {}:{}:{}", place.file, place.line, place.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{line_number} | {}", self.source_line)?;
        writeln!(f, "{margin} | {}", format!("{before}{carets} {}", self.label).trim_end())?;
        if let Some(help) = &self.help {
            writeln!(f, "{margin} = help: {help}")?;
        }
        Ok(())
    }
}

impl Diagnostic {
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
