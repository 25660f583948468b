//! Turns legs and row reads into scans, joins, filters and aggregates; none of our nodes is left.

mod asked_conditions;
pub(crate) mod asked_members;
pub mod calculated;
mod guarded_rows;
pub(crate) mod join_conditions;
pub mod joined_rows;
pub mod lower_leg;
mod mapped_times;
pub(crate) mod member_sql;
pub mod read_rows;
mod relative_dates;
mod row_conditions;
pub mod scan_rollup;
pub mod stage_sql;
mod sub_queries;

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_expr::LogicalPlan;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::{Optimizer, OptimizerContext, OptimizerRule};

use crate::pipeline::{Rule, Tree, Watch};

use joined_rows::Planning;

/// Lowers a whole plan: views that are read row by row, and legs.
///
/// # Errors
/// 0A000 for what is not executed yet, among it every query that would count a measure's rows more than once.
pub fn lower(plan: LogicalPlan, planning: Planning<'_>) -> Result<LogicalPlan> {
    lower_watched(plan, planning, &mut |_, _| {})
}

/// As [`lower`]; `watch` sees what each rule makes of the plan.
pub(crate) fn lower_watched(plan: LogicalPlan, planning: Planning<'_>, watch: &mut Watch<'_>) -> Result<LogicalPlan> {
    let plan = prune_columns(plan)?;
    watch(Rule::PruneColumns, Tree::Plan(&plan));
    let plan = read_rows::read_rows(plan, planning)?;
    watch(Rule::ReadRows, Tree::Plan(&plan));
    let plan = scan_rollup::scan_rollups(plan, planning)?;
    watch(Rule::ScanRollups, Tree::Plan(&plan));
    let plan = lower_leg::lower_legs(plan, planning)?;
    watch(Rule::LowerLegs, Tree::Plan(&plan));
    Ok(plan)
}

/// Views that are read row by row ask only for the columns in use, those inside sub-queries too: a column more may be a join more,
/// and that other rows.
fn prune_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan
        .transform_down_with_subqueries(|node| match node {
            LogicalPlan::Subquery(subquery) => {
                let pruned = prune_one(subquery.subquery.as_ref().clone())?;
                Ok(Transformed::yes(LogicalPlan::Subquery(subquery.with_plan(Arc::new(pruned)))))
            }
            other => Ok(Transformed::no(other)),
        })
        .data()?;
    prune_one(plan)
}

/// All of a plan but its sub-queries.
fn prune_one(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![Arc::new(OptimizeProjections::new())];
    let config = OptimizerContext::new().with_max_passes(1);
    Optimizer::with_rules(rules).optimize(plan, &config, |_, _| {})
}
