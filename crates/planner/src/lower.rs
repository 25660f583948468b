//! Turns legs and row reads into scans, joins, filters and aggregates; none of our nodes is left.

pub mod calculated;
mod join_conditions;
pub mod joined_rows;
pub mod lower_leg;
pub mod read_rows;

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::LogicalPlan;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::{Optimizer, OptimizerContext, OptimizerRule};

use joined_rows::Planning;

/// Lowers a whole plan: views that are read row by row, and legs.
///
/// # Errors
/// 0A000 for what is not executed yet, among it every query that would count a measure's rows more than once.
pub fn lower(plan: LogicalPlan, planning: Planning<'_>) -> Result<LogicalPlan> {
    // Views that are read row by row ask only for the columns in use.
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![Arc::new(OptimizeProjections::new())];
    let config = OptimizerContext::new().with_max_passes(1);
    let plan = Optimizer::with_rules(rules).optimize(plan, &config, |_, _| {})?;
    let plan = read_rows::read_rows(plan, planning)?;
    lower_leg::lower_legs(plan, planning)
}
