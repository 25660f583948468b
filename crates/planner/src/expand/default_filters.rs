//! Decides which default filters of a view are in force for each place where a statement names the view (reference V10).
//!
//! A default filter is one more condition of the statement, unless the statement has a condition of its own on the same member or on one
//! of those in `unless`. `WHERE`, and `HAVING` on a grouped member, of the query itself or of one around it, is such a condition.
//!
//! It would be wrong to look at the whole statement: in `SELECT … FROM sales WHERE status = 'new' UNION ALL SELECT … FROM sales` the
//! second part says nothing about `status`.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, Result};
use datafusion_expr::{Expr, LogicalPlan, TableScan};

use crate::catalog::ViewTableSource;

/// Writes into every view table which of its default filters are in force.
///
/// # Errors
/// Only DataFusion's, for an expression that cannot be walked.
pub fn add_default_filters(plan: LogicalPlan) -> Result<LogicalPlan> {
    below(plan, &HashSet::new()).data()
}

/// `filtered` are the columns of `plan` that some condition above it tests.
fn below(plan: LogicalPlan, filtered: &HashSet<Column>) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::TableScan(scan) = plan {
        return Ok(of_table(scan, filtered));
    }
    let plan = plan.map_subqueries(|subquery| below(subquery, &HashSet::new()))?;
    plan.transform_data(|plan| {
        let inner = match &plan {
            LogicalPlan::Filter(filter) => {
                filtered.iter().cloned().chain(filter.predicate.column_refs().into_iter().cloned()).collect()
            }
            LogicalPlan::Projection(projection) => {
                through(filtered, projection.schema.columns().iter().zip(&projection.expr))
            }
            LogicalPlan::Aggregate(aggregate) => {
                through(filtered, aggregate.schema.columns().iter().zip(&aggregate.group_expr))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                renamed(filtered, &alias.schema.columns(), &alias.input.schema().columns())
            }
            _ => filtered.clone(),
        };
        let outer = plan.schema().columns();
        let by_position = matches!(plan, LogicalPlan::Union(_));
        plan.map_children(|child| {
            if by_position {
                let inner = renamed(filtered, &outer, &child.schema().columns());
                return below(child, &inner);
            }
            below(child, &inner)
        })
    })
}

/// The columns that the expressions of filtered output columns read.
fn through<'p>(filtered: &HashSet<Column>, outputs: impl Iterator<Item = (&'p Column, &'p Expr)>) -> HashSet<Column> {
    let read = outputs.filter(|(column, _)| filtered.contains(column)).flat_map(|(_, expr)| expr.column_refs());
    read.cloned().collect()
}

fn renamed(filtered: &HashSet<Column>, outer: &[Column], inner: &[Column]) -> HashSet<Column> {
    outer.iter().zip(inner).filter(|(outer, _)| filtered.contains(outer)).map(|(_, inner)| inner.clone()).collect()
}

fn of_table(scan: TableScan, filtered: &HashSet<Column>) -> Transformed<LogicalPlan> {
    let Some(source) = scan.source.downcast_ref::<ViewTableSource>() else {
        return Transformed::no(LogicalPlan::TableScan(scan));
    };
    let own: HashSet<&str> = filtered
        .iter()
        .chain(scan.filters.iter().flat_map(Expr::column_refs))
        .filter(|column| column.relation.as_ref().is_none_or(|relation| *relation == scan.table_name))
        .map(|column| column.name.as_str())
        .collect();
    let is_in_force = |position: &usize| {
        let default = &source.table.default_filters[*position];
        !default.switched_off_by.iter().any(|member| own.contains(member.as_str()))
    };
    let defaults: Vec<usize> = (0..source.table.default_filters.len()).filter(is_in_force).collect();
    if defaults == source.defaults {
        return Transformed::no(LogicalPlan::TableScan(scan));
    }
    let source = source.with_defaults(defaults);
    Transformed::yes(LogicalPlan::TableScan(TableScan { source: Arc::new(source), ..scan }))
}
