//! Rollup definitions and refresh keys, as read from the files. Nothing executes them yet.

use crate::{Naming, SqlTemplate};

#[derive(Debug, Clone, PartialEq)]
pub struct PreAggregation {
    pub naming: Naming,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RefreshKey {
    Sql { sql: SqlTemplate, every: Option<String> },
    Every { every: String, timezone: Option<String> },
    Immutable,
}
