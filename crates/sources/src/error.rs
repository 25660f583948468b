//! What can go wrong at a source.

use datafusion::error::DataFusionError;
use thiserror::Error;

/// `source_name` is always the name under `data_sources`. Messages of the source itself are for the log and for model checks;
/// clients see a redacted form.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The configuration of the source cannot be used as it stands.
    #[error("data source \"{source_name}\" is configured wrongly: {reason}")]
    Config { source_name: String, reason: String },

    #[error("data source \"{source_name}\" cannot be reached: {reason}")]
    Unreachable { source_name: String, reason: String },

    /// All connections of the pool stayed in use for as long as a statement may wait for one.
    #[error("data source \"{source_name}\" is busy: all {connections} connections were in use for {seconds} s")]
    Busy { source_name: String, connections: usize, seconds: u64 },

    /// The connection broke while a statement ran. Rows that already left are incomplete.
    #[error("the connection to data source \"{source_name}\" was lost: {reason}")]
    Lost { source_name: String, reason: String },

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

impl From<SourceError> for DataFusionError {
    fn from(error: SourceError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}
