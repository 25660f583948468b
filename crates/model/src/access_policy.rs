//! Access policies and model-level filters, as read from the files. The planner resolves them for a user.

use crate::Place;

/// One entry of `access_policy` (semantics 1.20). Where a cube or view has some and none matches a user, nothing of it is served.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessPolicy {
    /// Whom it is for; `*` is everyone.
    pub groups: Vec<String>,
    /// The texts of `conditions[].if`, which [`parse_condition`](crate::parse_condition) reads; all must hold.
    pub conditions: Vec<String>,
    pub member_level: Option<MemberSelection>,
    pub member_masking: Option<MemberSelection>,
    pub row_level: Option<RowLevel>,
    pub place: Place,
}

/// `includes: '*'` or a list, less `excludes`.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberSelection {
    pub includes: Selected,
    pub excludes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Selected {
    All,
    Names(Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum RowLevel {
    AllowAll,
    /// All must hold.
    Filters(Vec<ModelFilter>),
}

/// A filter of an access policy, of a view's `default_filters`, or of a multi-stage measure.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFilter {
    pub condition: FilterCondition,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FilterCondition {
    And(Vec<ModelFilter>),
    Or(Vec<ModelFilter>),
    Member {
        /// As written.
        member: String,
        operator: FilterOperator,
        /// Null, or text (numbers and booleans as written); a text may hold `{ security_context… }`, which
        /// [`parse_value`](crate::parse_value) reads.
        values: Vec<Option<String>>,
        /// Members whose own filter switches this one off (`default_filters` only).
        unless: Vec<String>,
    },
}

/// Semantics 1.22.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterOperator {
    Equals,
    NotEquals,
    Contains,
    NotContains,
    StartsWith,
    NotStartsWith,
    EndsWith,
    NotEndsWith,
    Gt,
    Gte,
    Lt,
    Lte,
    Set,
    NotSet,
    InDateRange,
    NotInDateRange,
    OnTheDate,
    BeforeDate,
    BeforeOrOnDate,
    AfterDate,
    AfterOrOnDate,
    MeasureFilter,
}
