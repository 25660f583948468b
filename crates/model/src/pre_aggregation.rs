//! Rollup definitions and refresh keys, as read from the files. Nothing executes them yet.

use crate::{Interval, MemberRef, Naming, Place, SqlTemplate};

/// A `pre_aggregations` entry of a cube (semantics 4.1).
#[derive(Debug, Clone, PartialEq)]
pub struct PreAggregation {
    pub naming: Naming,
    pub kind: PreAggregationKind,
    pub measures: Vec<MemberRef>,
    pub dimensions: Vec<MemberRef>,
    pub segments: Vec<MemberRef>,
    /// The first one is the one that partitions. Their granularity is in the reference, absent only for `original_sql`.
    pub time_dimensions: Vec<MemberRef>,
    /// `hour` … `year`.
    pub partition_granularity: Option<String>,
    pub refresh_key: Option<PreAggregationRefreshKey>,
    pub build_range_start: Option<SqlTemplate>,
    pub build_range_end: Option<SqlTemplate>,
    pub allow_non_strict_date_range_match: Option<bool>,
    pub external: Option<bool>,
    pub scheduled_refresh: Option<bool>,
    pub indexes: Vec<Index>,
    pub use_original_sql_pre_aggregations: bool,
    pub unique_key_columns: Vec<String>,
    /// Member and the type of its stored column.
    pub output_column_types: Vec<(MemberRef, String)>,
    pub read_only: Option<bool>,
    pub stream_offset: Option<StreamOffset>,
    /// Of `rollup_join` and `rollup_lambda`.
    pub rollups: Vec<RollupRef>,
    pub union_with_source_data: bool,
    /// Distinct counts are stored as exact sets, so that they roll up. Ours; Cube has no such key.
    pub exact_distinct: bool,
    pub sql_alias: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PreAggregationKind {
    Rollup,
    OriginalSql,
    RollupJoin,
    RollupLambda,
}

impl PreAggregationKind {
    /// Whether rows of its own are stored; the others name those that they read.
    #[must_use]
    pub fn stores_rows(self) -> bool {
        match self {
            Self::Rollup | Self::OriginalSql => true,
            Self::RollupJoin | Self::RollupLambda => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamOffset {
    Earliest,
    Latest,
}

/// A rollup of this or another cube.
#[derive(Debug, Clone, PartialEq)]
pub struct RollupRef {
    pub cube: String,
    pub name: String,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    pub name: String,
    pub value: IndexValue,
    pub kind: IndexKind,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub enum IndexValue {
    /// Members, or for `original_sql` raw column names.
    Columns(Vec<IndexColumn>),
    Sql(SqlTemplate),
}

#[derive(Debug, Clone, PartialEq)]
pub enum IndexColumn {
    Member(MemberRef),
    Raw(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexKind {
    Regular,
    Aggregate,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PreAggregationRefreshKey {
    pub key: RefreshKey,
    pub incremental: bool,
    pub update_window: Option<Interval>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RefreshKey {
    Sql {
        sql: SqlTemplate,
        every: Option<String>,
    },
    /// `every` is an interval (`1 hour`) or a cron line.
    Every {
        every: String,
        timezone: Option<String>,
    },
    Immutable,
}
