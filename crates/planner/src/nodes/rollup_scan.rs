//! A leg that is answered from a rollup: rows of some of its partitions, and rows of the source for what they do not hold.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use datafusion_common::{DFSchemaRef, Result};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::nodes::fact_leg::FactLeg;
use crate::rollups::RollupName;
use crate::substitute::UsedRollup;

/// How the values that a rollup stores become an aggregate's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Merge {
    /// Counts are added up; none is 0.
    Count,
    Sum,
    Min,
    Max,
    Sketch,
    Set,
    BoolAnd,
    BoolOr,
    /// The distinct values of an expression over stored columns.
    CountDistinct,
}

/// One aggregate of the leg over the rollup's columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct Merged {
    pub merge: Merge,
    /// Over the rollup's columns.
    pub value: Expr,
}

#[derive(Clone)]
pub struct RollupScan {
    /// What is answered.
    pub leg: FactLeg,
    pub rollup: RollupName,
    /// The rows of all partitions that are read: [`stored_column`](crate::substitute::cover_members::stored_column)s.
    pub rows: LogicalPlan,
    /// The rollups that hold these rows.
    pub used: Vec<UsedRollup>,
    pub rows_read: u64,
    /// How much time the source is asked for, in microseconds.
    pub live_time: u64,
    /// Over the rollup's columns, as the leg's groups.
    pub group: Vec<Expr>,
    /// Over the rollup's columns; all must hold.
    pub filters: Vec<Expr>,
    /// Row filters of access policies, over the rollup's columns: nothing else is computed of rows for which they do not hold.
    pub policies: Vec<Expr>,
    /// As the leg's aggregates.
    pub merged: Vec<Merged>,
    /// The primary key of the cube whose rows are aggregated, where the stored rows repeat them: each counts once in each group.
    pub distinct: Vec<Expr>,
    /// What the source gives beside: legs whose aggregates are those values that can be merged.
    pub live: Vec<FactLeg>,
}

/// What tells two scans apart.
type Parts<'s> = (
    &'s RollupName,
    &'s Vec<UsedRollup>,
    &'s Vec<Expr>,
    &'s Vec<Expr>,
    &'s Vec<Merged>,
    [&'s Vec<Expr>; 2],
    &'s Vec<FactLeg>,
);

impl RollupScan {
    /// By which rollups are compared: what the source has to give weighs more than any number of stored rows.
    #[must_use]
    pub fn cost(&self) -> (u64, usize, u64) {
        (self.live_time, self.live.len(), self.rows_read)
    }

    fn parts(&self) -> Parts<'_> {
        (
            &self.rollup,
            &self.used,
            &self.group,
            &self.filters,
            &self.merged,
            [&self.distinct, &self.policies],
            &self.live,
        )
    }
}

impl fmt::Debug for RollupScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RollupScan").field(&self.parts()).finish()
    }
}

impl PartialEq for RollupScan {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts() && self.leg == other.leg
    }
}

impl Eq for RollupScan {}

impl Hash for RollupScan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialOrd for RollupScan {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.parts().partial_cmp(&other.parts())
    }
}

fn list(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.merge {
            Merge::Count => "add counts",
            Merge::Sum => "add",
            Merge::Min => "min",
            Merge::Max => "max",
            Merge::Sketch => "estimate of the union",
            Merge::Set => "size of the union",
            Merge::BoolAnd => "and",
            Merge::BoolOr => "or",
            Merge::CountDistinct => "count distinct",
        };
        write!(f, "{word} of {}", self.value)
    }
}

impl UserDefinedLogicalNodeCore for RollupScan {
    fn name(&self) -> &'static str {
        "RollupScan"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.leg.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RollupScan: {}, partitions {}, group=[{}], merged=[{}], filters=[{}]",
            self.rollup,
            list(&self.used),
            list(&self.group),
            list(&self.merged),
            list(&self.filters)
        )?;
        if !self.policies.is_empty() {
            write!(f, ", policies=[{}]", list(&self.policies))?;
        }
        if !self.distinct.is_empty() {
            write!(f, ", distinct by [{}]", list(&self.distinct))?;
        }
        self.live.iter().try_for_each(|leg| {
            let added = &leg.filters[self.leg.filters.len().min(leg.filters.len())..];
            write!(f, ", from the source where [{}]", list(added))
        })
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}
