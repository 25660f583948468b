//! What can go wrong at a source.

use thiserror::Error;

/// `source` is always the name under `data_sources`. Messages of the source itself are for the log and for model checks; clients
/// see a redacted form.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("data source \"{source_name}\" cannot be reached: {reason}")]
    Unreachable { source_name: String, reason: String },

    #[error("data source \"{source_name}\" refused a statement: {message}")]
    Refused {
        source_name: String,
        message: String,
        /// The source's SQLSTATE, where it gave one.
        sqlstate: Option<String>,
        /// Where in the text, in characters, the first is 1.
        position: Option<usize>,
    },

    #[error(
        "column \"{column}\" of data source \"{source_name}\" holds {kind}, which cannot be read exactly as {wanted}"
    )]
    Value { source_name: String, column: String, kind: String, wanted: String },

    #[error("data source \"{source_name}\" did not answer within {seconds} s")]
    TimedOut { source_name: String, seconds: u64 },
}
