//! What members may say beyond type and SQL: metadata, and features that are read but not executed yet.

use crate::{Interval, MemberRef, ModelFilter, Place, SqlTemplate};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct DimensionDetails {
    pub sub_query: bool,
    pub propagate_filters_to_sub_query: bool,
    pub multi_stage: Option<MultiStage>,
    pub case_switch: Option<CaseSwitch>,
    /// Of calendar cubes (K2).
    pub time_shifts: Vec<TimeShift>,
    pub mask: Option<Mask>,
    pub links: Vec<Link>,
    /// Another dimension of the cube that identifies the value.
    pub key: Option<MemberRef>,
    pub order: Option<SortDirection>,
    /// ISO 4217, upper case.
    pub currency: Option<String>,
    pub suggest_filter_values: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeasureDetails {
    pub multi_stage: Option<MultiStage>,
    pub rolling_window: Option<RollingWindow>,
    pub case_switch: Option<CaseSwitch>,
    pub drill_members: Vec<MemberRef>,
    pub drill_filters: Vec<SqlTemplate>,
    pub mask: Option<Mask>,
    /// ISO 4217, upper case.
    pub currency: Option<String>,
}

/// `multi_stage: true` and what goes with it (semantics 1.9).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MultiStage {
    /// `group_by`, or `grain.keep_only`.
    pub keep_only: Option<Vec<MemberRef>>,
    /// `reduce_by`, or `grain.exclude`.
    pub exclude: Option<Vec<MemberRef>>,
    /// `add_group_by`, or `grain.include`.
    pub include: Option<Vec<MemberRef>>,
    pub time_shifts: Vec<TimeShift>,
    pub filter: Option<StageFilter>,
    pub order_by: Vec<(SqlTemplate, SortDirection)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StageFilter {
    /// `mode: fixed` starts with none of the query's filters, `relative` with all.
    pub fixed: bool,
    pub exclude: Option<Vec<MemberRef>>,
    pub keep_only: Option<Vec<MemberRef>>,
    pub include: Vec<ModelFilter>,
}

/// One shift: by an interval, or to a mapped column of a calendar.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeShift {
    pub name: Option<String>,
    pub time_dimension: Option<MemberRef>,
    pub interval: Option<Interval>,
    pub direction: Option<ShiftDirection>,
    pub sql: Option<SqlTemplate>,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShiftDirection {
    Prior,
    Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortDirection {
    Ascending,
    Descending,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RollingWindow {
    Fixed { trailing: Option<WindowBound>, leading: Option<WindowBound>, from_start: bool },
    ToDate { granularity: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowBound {
    Unbounded,
    Interval(Interval),
}

/// `case: {switch: …}`: an expression for each value of a switch dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseSwitch {
    pub switch: MemberRef,
    pub whens: Vec<(String, SqlTemplate)>,
    pub otherwise: Option<SqlTemplate>,
}

/// What a masked member shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Mask {
    Sql(SqlTemplate),
    Literal(serde_json::Value),
}

/// A link that a tool may offer on a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    pub name: String,
    pub label: Option<String>,
    pub target: LinkTarget,
    pub icon: Option<String>,
    pub opens_blank: bool,
    pub primary: bool,
    pub params: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LinkTarget {
    Url(String),
    Dashboard(String),
}
