//! Gives the largest part of a plan that one source computes with the same meaning to that source, as one SQL statement.
//!
//! Runs last, over a plan that DataFusion has optimized. From the leaves up (`fold`), a node whose inputs are statements of one
//! source joins them in one `SELECT` (`select`, a closed tree) if every expression in it is in the dialect's table (`postgres`,
//! `mysql`; their form is in `rules`); what is not in the table stays above. Text comes from our own constants and from
//! the model's author, values are bind parameters (`fragment`). The schema of every replaced subtree stays exactly as it was.
//!
//! When it would be wrong: a function of the same name with another meaning (so a row names its argument types), text compared
//! by the source's collation (`COLLATE` where it matters), NULLs sorted by the source's habit (always stated).

mod fold;
pub(crate) mod fragment;
mod group_early;
mod group_local;
mod mysql;
mod postgres;
pub(crate) mod rules;
pub(crate) mod select;
mod translate;
mod wall_clock;

pub use wall_clock::ConditionsOnStoredTime;

#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod shape_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod text_tests;

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use crate::remote_table::as_remote;
use crate::{RemoteTable, Statement};

/// Replaces every part of `plan` that one source can compute by a scan of one [`RemoteTable`].
///
/// The result has exactly the schema of `plan`. Sub-queries in expressions are treated on their own.
///
/// # Errors
/// An internal one if a replaced part would have another schema.
pub fn push_down(plan: LogicalPlan) -> Result<LogicalPlan> {
    fold::fold_plan(plan, Grouping::AtSource)
}

/// The same for a plan that reads most rows of its tables and keeps most of its groups, as those that build rollups do.
///
/// # Errors
/// As [`push_down`].
pub fn push_down_to_build(plan: LogicalPlan) -> Result<LogicalPlan> {
    fold::fold_plan(plan, Grouping::WhereFastest)
}

/// Where rows are grouped that one source could group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grouping {
    /// There: few rows come over.
    AtSource,
    /// PostgreSQL's there, those of MySQL and MariaDB here: MariaDB 10.11 takes 14 s to group a million rows into as many groups, in a
    /// temporary table, and reads them in 0.8 s.
    WhereFastest,
}

/// What will be sent, in the order of the plan: the name of the source and the statement.
///
/// # Errors
/// None of our own; the walk's.
pub fn remote_statements(plan: &LogicalPlan) -> Result<Vec<(String, Statement)>> {
    let mut statements = vec![];
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<RemoteTable>()
        {
            let statement = table.statement(scan.projection.as_deref(), scan.fetch);
            statements.push((table.source().name().to_owned(), statement));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(statements)
}

/// The same for a physical plan.
pub fn remote_statements_of_exec(exec: &Arc<dyn ExecutionPlan>) -> Vec<(String, Statement)> {
    let mut statements = vec![];
    if let Some(remote) = as_remote(exec.as_ref()) {
        statements.push((remote.source().name().to_owned(), remote.statement().clone()));
    }
    for child in exec.children() {
        statements.extend(remote_statements_of_exec(child));
    }
    statements
}
