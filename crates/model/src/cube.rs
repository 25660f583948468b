//! A cube: one relation of one data source, its members, and its joins.

use indexmap::IndexMap;

use crate::{AccessPolicy, Place, PreAggregation, RefreshKey, SqlTemplate, View};

/// Everything that the model files say, checked. Cubes and views share one namespace; order is that of the files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub cubes: IndexMap<String, Cube>,
    pub views: IndexMap<String, View>,
    /// Top-level `view_groups`: metadata only.
    pub view_groups: Vec<crate::ViewGroup>,
}

/// What all named things have.
#[derive(Debug, Clone, PartialEq)]
pub struct Naming {
    pub name: String,
    pub title: Option<String>,
    pub description: Option<String>,
    /// `public` (legacy `shown`, `visible`). False hides it from catalogs and from SQL; other members may still use it.
    pub public: bool,
    pub meta: serde_json::Value,
    pub aliases: Vec<String>,
    /// Of the name.
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cube {
    pub naming: Naming,
    pub relation: Relation,
    pub data_source: String,
    pub sql_alias: Option<String>,
    pub dimensions: IndexMap<String, Dimension>,
    pub measures: IndexMap<String, Measure>,
    pub segments: IndexMap<String, Segment>,
    /// In definition order, own ones before inherited ones; at most one per target.
    pub joins: Vec<Join>,
    pub hierarchies: Vec<Hierarchy>,
    pub pre_aggregations: IndexMap<String, PreAggregation>,
    pub access_policies: Vec<AccessPolicy>,
    pub refresh_key: Option<RefreshKey>,
    /// `calendar: true`.
    pub calendar: bool,
    /// Set where nothing of this cube may be served: a context variable in its `sql`, or the SQL of a cube with access policies.
    pub unsupported: Option<Unsupported>,
}

impl Cube {
    /// The dimensions that identify a row, in definition order; none where the model declares no key.
    pub fn primary_key(&self) -> impl Iterator<Item = &Dimension> {
        self.dimensions.values().filter(|dimension| dimension.primary_key)
    }
}

/// Exactly one of `sql_table` and `sql`.
#[derive(Debug, Clone, PartialEq)]
pub enum Relation {
    /// Any table expression, such as `schema.table`, as written.
    Table(SqlTemplate),
    Query(SqlTemplate),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    pub naming: Naming,
    pub kind: DimensionKind,
    pub value: DimensionValue,
    pub primary_key: bool,
    pub granularities: IndexMap<String, Granularity>,
    pub format: Option<serde_json::Value>,
    /// Set where this dimension, or one that its SQL uses, needs something that is read but not executed yet
    /// (`sub_query`, `multi_stage`, `switch`, …).
    pub unsupported: Option<Unsupported>,
    pub details: crate::DimensionDetails,
}

/// A feature that was read and checked, and whose use is refused by an error that names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsupported {
    /// As the model language calls it: `sub_query`, `rolling_window`, …
    pub feature: String,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DimensionKind {
    String,
    Number,
    Boolean,
    Time,
    Geo,
    Switch,
}

#[derive(Debug, Clone, PartialEq)]
pub enum DimensionValue {
    Sql(SqlTemplate),
    /// `case: {when: [{sql, label}], else: {label}}`, tested in order; no `else` gives NULL.
    Case {
        whens: Vec<(SqlTemplate, CaseLabel)>,
        otherwise: Option<CaseLabel>,
    },
    /// Shown as the text `latitude,longitude`.
    Geo {
        latitude: SqlTemplate,
        longitude: SqlTemplate,
    },
    /// `type: switch`, or `case: {switch: …}`; see the dimension's `unsupported`.
    Switch {
        values: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum CaseLabel {
    Text(String),
    Sql(SqlTemplate),
}

/// A custom granularity of a time dimension (semantics G2 to G6).
#[derive(Debug, Clone, PartialEq)]
pub struct Granularity {
    pub naming: Naming,
    pub value: GranularityValue,
}

#[derive(Debug, Clone, PartialEq)]
pub enum GranularityValue {
    /// Bins of `interval`, counted from `origin`, or from the default origin moved by `offset`.
    Bins { interval: Interval, offset: Option<Interval>, origin: Option<String> },
    /// `sql:` under a predefined name, in calendar cubes.
    Sql(SqlTemplate),
}

/// A sum of terms such as `1 month 2 weeks`; quarters and years are months, weeks are days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub microseconds: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    pub naming: Naming,
    pub kind: MeasureKind,
    /// Absent only for `count` and `running_total`, and where `details` has a `case` or `kind` is `rank`.
    pub sql: Option<SqlTemplate>,
    /// All must hold.
    pub filters: Vec<SqlTemplate>,
    pub format: Option<serde_json::Value>,
    /// Set where this measure, or a member that its SQL uses, needs something that is read but not executed yet
    /// (`rolling_window`, `multi_stage`, `count_distinct_approx`, …).
    pub unsupported: Option<Unsupported>,
    pub details: crate::MeasureDetails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeasureKind {
    Count,
    CountDistinct,
    CountDistinctApprox,
    Sum,
    Avg,
    Min,
    Max,
    /// Calculated, as `String`, `Time` and `Boolean`: SQL over other measures or raw aggregates.
    Number,
    String,
    Time,
    Boolean,
    NumberAgg,
    Rank,
    RunningTotal,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub naming: Naming,
    pub sql: SqlTemplate,
    pub unsupported: Option<Unsupported>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    pub target: String,
    pub relationship: Relationship,
    pub sql: SqlTemplate,
    /// Of the target's name.
    pub place: Place,
    /// Set where the condition has a context variable, or uses a member that is not executed yet.
    pub unsupported: Option<Unsupported>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relationship {
    OneToOne,
    OneToMany,
    ManyToOne,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Hierarchy {
    pub naming: Naming,
    pub levels: Vec<crate::MemberRef>,
}
