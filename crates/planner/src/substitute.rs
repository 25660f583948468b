//! Answers legs from rollups, where one holds all that a leg needs.
//!
//! A leg is one fact's share of a query: one join tree, its groups, its filters and the leaves of its measures. A rollup fits if it stores the
//! leaves over the same joins, and if groups and filters are expressions over what it stores: set inclusion, with the rules of time
//! beside it ([`cover_time`]). It is done on the nodes of the plan, so that a leg in a CTE, a sub-query or a union is like any other.
//!
//! Where a part of the asked range is not in the rollup, or a border cuts through a bucket, that part comes from the source by the
//! same leg under one condition more, and both are put together before anything is finished. It would be wrong to count the whole bucket, or
//! none of it.

pub mod cover_members;
pub mod cover_time;
pub mod match_lambda;
pub mod match_rollup;
pub mod match_rollup_join;
pub mod refusal;
mod same_rows;
pub mod time_hull;

use std::fmt;
use std::sync::Arc;

use belvedere_model::PreAggregationKind;
use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_expr::{Extension, LogicalPlan};

use crate::error::PlanError;
use crate::expand::choose_join_tree::cube_of;
use crate::lower::joined_rows::Planning;
use crate::nodes::fact_leg::FactLeg;
use crate::nodes::rollup_scan::RollupScan;
use crate::rollups::{Rollup, RollupName};
use crate::session::{RollupChoice, RollupUsage};

use match_rollup::match_rollup;
use refusal::Refused;

/// What became of the legs of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub used: Vec<UsedRollup>,
    pub refused: Vec<Refused>,
    /// Scans of cubes at their sources, but for those that complete a rollup.
    pub from_sources: usize,
}

impl Report {
    /// A rollup is read, of which more may be read by now than was known.
    pub(crate) fn note_used(&mut self, used: &UsedRollup) {
        match self.used.iter_mut().find(|known| known.rollup == used.rollup && known.index == used.index) {
            Some(known) => known.partitions_read = known.partitions_read.max(used.partitions_read),
            None => self.used.push(used.clone()),
        }
    }

    /// A rollup was not used. One that one leg uses may still say why another leg could not.
    pub(crate) fn note_refused(&mut self, refused: Refused) {
        if !self.refused.contains(&refused) {
            self.refused.push(refused);
        }
    }
}

/// A rollup that answers a leg.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct UsedRollup {
    pub rollup: RollupName,
    /// Its index whose coarser copy is read.
    pub index: Option<String>,
    pub partitions_read: usize,
    pub partitions: usize,
}

impl fmt::Display for UsedRollup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index.iter().map(|index| format!(" of index {index}")).collect::<String>();
        write!(f, "{} of {}{index}", self.partitions_read, self.partitions)
    }
}

/// Replaces the legs that rollups answer.
///
/// # Errors
/// 0A000 under `rollups = required`, where a leg is left; XX000 for our own contradictions.
pub fn substitute(plan: LogicalPlan, planning: Planning<'_>) -> Result<LogicalPlan> {
    let is_off = match planning.session.rollups.usage {
        RollupUsage::Preferred | RollupUsage::Required => planning.is_trusted,
        RollupUsage::Off | RollupUsage::BaseRows => true,
    };
    if is_off {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<FactLeg>() {
            Some(leg) => Ok(match answer(leg, planning)? {
                Some(scan) => Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(scan) })),
                None => Transformed::no(node),
            }),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

/// The rollup scan that answers a leg; `None` where none does.
fn answer(leg: &FactLeg, planning: Planning<'_>) -> crate::error::Result<Option<RollupScan>> {
    let mut best: Option<RollupScan> = None;
    let mut refused: Vec<Refused> = Vec::new();
    for rollup in candidates(leg, planning) {
        match match_rollup(leg, rollup, planning)? {
            Ok(scan) => {
                let is_better = best.as_ref().is_none_or(|known| {
                    planning.session.rollups.choice == RollupChoice::Smallest && scan.cost() < known.cost()
                });
                if is_better {
                    best = Some(scan);
                }
            }
            Err(reason) => refused.push(Refused { rollup: rollup.name.clone(), reason }),
        }
    }
    if best.is_none() {
        best = match_rollup_join::match_any(leg, planning)?;
    }
    let mut report = planning.report.borrow_mut();
    refused.into_iter().for_each(|refused| report.note_refused(refused));
    best.iter().flat_map(|scan| &scan.used).for_each(|used| report.note_used(used));
    Ok(best)
}

/// The rollups of the cubes that a leg reads, the fact's first (reference PM1).
fn candidates<'a>(leg: &FactLeg, planning: Planning<'a>) -> Vec<&'a Arc<Rollup>> {
    let of_leaves = leg.aggregates.iter().filter_map(|aggregate| match aggregate {
        crate::nodes::fact_leg::LegAggregate::Leaf(leaf) => Some(leaf.cube().to_owned()),
        _ => None,
    });
    let mut cubes: Vec<String> = Vec::new();
    for cube in of_leaves.chain(leg.tree.nodes().map(|node| cube_of(node).to_owned())) {
        if !cubes.contains(&cube) {
            cubes.push(cube);
        }
    }
    let all = cubes.iter().filter_map(|cube| planning.catalog.rollups.of_cubes.get(cube)).flatten();
    // Stored rows of cubes stand for their scans, not for legs.
    all.filter(|rollup| rollup.kind != PreAggregationKind::OriginalSql).collect()
}

/// `rollups = required`: everything must come from rollups.
///
/// # Errors
/// 0A000 with the refusals.
pub fn check_required(report: &Report) -> crate::error::Result<()> {
    if report.from_sources == 0 {
        return Ok(());
    }
    let reasons: Vec<String> =
        report.refused.iter().map(|refused| format!("{}: {}.", refused.rollup, refused.reason)).collect();
    let detail = if reasons.is_empty() {
        "No rollup is defined on the cubes that it reads.".to_owned()
    } else {
        reasons.join("\n")
    };
    Err(PlanError::unsupported("no rollup answers this query, and the setting rollups is \"required\"")
        .detail(detail)
        .hint("Define or build a rollup that fits, or SET rollups = 'preferred'."))
}
