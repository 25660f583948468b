//! One fact's share of a query: one join tree, one grain, its measures and filters.
//!
//! A leaf without visible expressions: DataFusion's own rules neither prune its columns nor push filters into it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion_common::{DFSchemaRef, Result, TableReference};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::catalog::ViewTable;
use crate::expand::choose_join_tree::JoinTree;
use crate::policy::Restrictions;
use crate::policy::condition::Condition;

/// A view table under the name that the leg's expressions use for it.
#[derive(Debug, Clone)]
pub struct LegScan {
    pub reference: TableReference,
    pub table: Arc<ViewTable>,
    /// See [`ViewTableSource::defaults`](crate::catalog::ViewTableSource::defaults).
    pub defaults: Vec<usize>,
}

/// What a leaf does with its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeafKind {
    Count,
    CountDistinct,
    /// The estimate of a sketch, over the values' keys.
    CountDistinctApprox,
    Sum,
    Min,
    Max,
    /// What a rollup stores of an estimate.
    Sketch,
    /// What a rollup stores of a distinct count that can be added up.
    Set,
}

impl LeafKind {
    /// Whether repeating rows leaves the result as it is.
    #[must_use]
    pub fn ignores_repetition(self) -> bool {
        match self {
            Self::CountDistinct | Self::CountDistinctApprox | Self::Min | Self::Max | Self::Sketch | Self::Set => true,
            Self::Count | Self::Sum => false,
        }
    }

    /// Whether what a rollup stores of it may be merged several times with the same result.
    #[must_use]
    pub fn ignores_repetition_when_merged(self) -> bool {
        match self {
            Self::Min | Self::Max | Self::Sketch | Self::Set => true,
            Self::Count | Self::CountDistinct | Self::CountDistinctApprox | Self::Sum => false,
        }
    }

    /// Whether no rows at all give 0, where the others give NULL.
    #[must_use]
    pub fn counts(self) -> bool {
        match self {
            Self::Count | Self::CountDistinct | Self::CountDistinctApprox => true,
            Self::Sum | Self::Min | Self::Max | Self::Sketch | Self::Set => false,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::CountDistinct => "count distinct",
            Self::CountDistinctApprox => "estimate of distinct",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sketch => "sketch",
            Self::Set => "set",
        }
    }
}

/// Which values of a measure a leaf aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeafOrigin {
    /// The measure's own.
    Value,
    /// Those of the n-th aggregate, from 0, in the SQL of a calculated measure.
    Raw(usize),
    /// Those of the n-th aggregate, from 0, in the SQL of the measure's mask.
    Mask(usize),
}

/// One aggregate over one row expression of one cube: a measure, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct LegLeaf {
    pub kind: LeafKind,
    /// The cubes to walk; the last one owns the measure.
    pub path: Vec<String>,
    pub measure: String,
    pub origin: LeafOrigin,
    /// The condition of `FILTER (WHERE …)`, over columns of the scans.
    pub filter: Option<Expr>,
    /// The calculated measures, by path and name, whose `filters` hold for its rows too.
    pub within: Vec<(Vec<String>, String)>,
}

impl LegLeaf {
    /// The cube that owns the measure: rows of it that a join repeats would count twice.
    #[must_use]
    pub fn cube(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

/// What a leg computes for each group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub enum LegAggregate {
    Leaf(LegLeaf),
    /// An aggregate over dimensions.
    OverRows(Expr),
    /// `COUNT(*)` where the root has no plain count: the joined rows.
    CountRows {
        filter: Option<Expr>,
    },
    /// 1 where one of the aggregated rows of a cube may not be shown unmasked, else NULL.
    HiddenRows(HiddenRows),
}

/// The rows of a cube for which a masked measure is not shown.
#[derive(Debug, Clone)]
pub struct HiddenRows {
    /// The cubes to walk; the rows are the last one's.
    pub path: Vec<String>,
    /// What holds of the rows that are shown.
    pub shown_where: Condition,
    /// The condition of `FILTER (WHERE …)`: other rows are not aggregated.
    pub filter: Option<Expr>,
}

impl HiddenRows {
    fn parts(&self) -> (&Vec<String>, String, &Option<Expr>) {
        (&self.path, self.shown_where.to_string(), &self.filter)
    }
}

impl PartialEq for HiddenRows {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for HiddenRows {}

impl Hash for HiddenRows {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialOrd for HiddenRows {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.parts().partial_cmp(&other.parts())
    }
}

/// A dimension without a column, whose value the question chooses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct Switch {
    pub cube: String,
    pub member: String,
    pub value: SwitchValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub enum SwitchValue {
    /// The same everywhere.
    Pinned(String),
    /// Each row stands there once for each of these.
    Crossed(Vec<String>),
}

impl Switch {
    /// Whether it is the same dimension.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.cube == other.cube && self.member == other.member
    }

    #[must_use]
    pub fn values(&self) -> &[String] {
        match &self.value {
            SwitchValue::Pinned(value) => std::slice::from_ref(value),
            SwitchValue::Crossed(values) => values,
        }
    }
}

/// A time of a calendar that joins to it read as one of its time shifts maps it (reference K2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct MappedTime {
    /// The calendar.
    pub cube: String,
    pub dimension: String,
    /// Position among the dimension's time shifts.
    pub shift: usize,
}

#[derive(Debug, Clone)]
pub struct FactLeg {
    /// What the expressions' columns belong to.
    pub scans: Vec<LegScan>,
    pub tree: JoinTree,
    /// Over dimensions and segments of the scans.
    pub group: Vec<Expr>,
    pub aggregates: Vec<LegAggregate>,
    /// All must hold; over dimensions and segments of the scans.
    pub filters: Vec<Expr>,
    /// All conditions of the question, those among them that do not restrict this leg: what sub-query dimensions follow, so that a
    /// dimension has the same values in every leg.
    pub conditions: Vec<Expr>,
    /// The cube whose rows are aggregated, where the tree repeats them: each counts once in each group (reference MM2).
    pub distinct_rows_of: Option<String>,
    pub switches: Vec<Switch>,
    pub mapped: Vec<MappedTime>,
    pub restrictions: Restrictions,
    /// The groups' columns, then the aggregates'.
    pub schema: DFSchemaRef,
}

type Parts<'a> = (
    Vec<&'a TableReference>,
    &'a JoinTree,
    &'a Vec<Expr>,
    &'a Vec<LegAggregate>,
    [&'a Vec<Expr>; 2],
    &'a Option<String>,
    &'a Vec<Switch>,
    &'a Vec<MappedTime>,
    String,
);

impl FactLeg {
    fn parts(&self) -> Parts<'_> {
        (
            self.scans.iter().map(|scan| &scan.reference).collect(),
            &self.tree,
            &self.group,
            &self.aggregates,
            [&self.filters, &self.conditions],
            &self.distinct_rows_of,
            &self.switches,
            &self.mapped,
            self.restrictions.text(),
        )
    }
}

impl PartialEq for FactLeg {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts() && self.schema == other.schema
    }
}

impl Eq for FactLeg {}

impl Hash for FactLeg {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialOrd for FactLeg {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.parts().partial_cmp(&other.parts())
    }
}

impl fmt::Display for LegAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filter = match self {
            Self::Leaf(leaf) => {
                write!(f, "{} of {}.{}", leaf.kind.word(), leaf.path.join("."), leaf.measure)?;
                match leaf.origin {
                    LeafOrigin::Value => {}
                    LeafOrigin::Raw(index) => write!(f, "#{index}")?,
                    LeafOrigin::Mask(index) => write!(f, "#mask{index}")?,
                }
                for (path, measure) in &leaf.within {
                    write!(f, " within {}.{measure}", path.join("."))?;
                }
                &leaf.filter
            }
            Self::OverRows(expr) => return write!(f, "{expr}"),
            Self::CountRows { filter } => {
                f.write_str("count of rows")?;
                filter
            }
            Self::HiddenRows(HiddenRows { path, shown_where, filter }) => {
                write!(f, "hidden of {} but {shown_where}", path.join("."))?;
                filter
            }
        };
        match filter {
            Some(filter) => write!(f, " WHERE {filter}"),
            None => Ok(()),
        }
    }
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

impl UserDefinedLogicalNodeCore for FactLeg {
    fn name(&self) -> &'static str {
        "FactLeg"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FactLeg: tree=[{}], group=[{}], aggregates=[{}], filters=[{}]",
            self.tree,
            list(self.group.iter()),
            list(self.aggregates.iter()),
            list(self.filters.iter())
        )?;
        if let Some(cube) = &self.distinct_rows_of {
            write!(f, ", distinct rows of {cube}")?;
        }
        for switch in &self.switches {
            match &switch.value {
                SwitchValue::Pinned(value) => write!(f, ", {}.{} is {value}", switch.cube, switch.member)?,
                SwitchValue::Crossed(values) => {
                    write!(f, ", {}.{} crossed with {}", switch.cube, switch.member, values.join(", "))?;
                }
            }
        }
        for MappedTime { cube, dimension, shift } in &self.mapped {
            write!(f, ", joined by shift {shift} of {cube}.{dimension}")?;
        }
        self.restrictions.guards.iter().try_for_each(|guard| {
            write!(f, ", {} {}", if guard.is_policy { "row filter" } else { "default filter" }, guard.condition)
        })
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}
