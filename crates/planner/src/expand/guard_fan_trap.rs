//! Refuses aggregates over a view's rows where joins repeat those rows and no leg makes it right.
//!
//! A sub-query that refers to the outer query is not a leg: its condition differs from row to row, so that its rows are read as they
//! are. `(SELECT SUM(amount) FROM sales WHERE sku = o.sku)` would add an order's amount once for each of its lines.
//!
//! It would be wrong to refuse what nothing repeats, or what repetition leaves as it is (minimum, maximum, distinct counts).

use datafusion_expr::{Aggregate, Expr};

use crate::catalog::JOIN_FIELD;
use crate::error::{PlanError, Result};
use crate::lower::joined_rows::{Planning, internal};
use crate::policy::Restrictions;

use super::absorb::absorb_correlated;
use super::choose_join_tree::{choose_join_tree, cube_of};
use super::hints::{Hints, member};
use super::split_facts::ignores_repetition;

/// Checks an aggregate that is no leg.
///
/// # Errors
/// 0A000 naming the aggregate and the cube whose rows are repeated.
pub(crate) fn guard_fan_trap(aggregate: &Aggregate, planning: Planning<'_>) -> Result<()> {
    let Some(below) = absorb_correlated(&aggregate.input).map_err(internal)? else { return Ok(()) };
    let model = &planning.catalog.model;
    let resolved = |expr: &Expr| below.resolved(expr).map_err(internal);
    let mut hints = Hints::new(model);
    let mut calls = Vec::new();
    for expr in &aggregate.aggr_expr {
        let expr = resolved(&expr.clone().unalias_nested().data)?;
        hints.expr(&below.scans, &expr)?;
        calls.push(expr);
    }
    for expr in &aggregate.group_expr {
        hints.expr(&below.scans, &resolved(expr)?)?;
    }
    for filter in &below.filters {
        for column in filter.column_refs() {
            hints.member(member(&below.scans, column)?)?;
        }
    }
    if hints.paths.is_empty() {
        return Ok(());
    }
    let named =
        calls.iter().chain(&below.filters).flat_map(Expr::column_refs).filter(|column| column.name != JOIN_FIELD);
    let restrictions = Restrictions::of(&below.scans, named, planning)?;
    restrictions.guards.iter().try_for_each(|guard| hints.condition(&guard.condition))?;
    let tree = choose_join_tree(model, &hints.paths)?;
    for expr in &calls {
        let Expr::AggregateFunction(call) = expr else { continue };
        if ignores_repetition(call) {
            continue;
        }
        let mut nodes: Vec<&str> = Vec::new();
        for column in call.params.args.iter().flat_map(Expr::column_refs) {
            let mut own = Hints::new(model);
            own.member(member(&below.scans, column)?)?;
            nodes.extend(own.paths.iter().filter_map(|path| tree.node_at(model, path)));
        }
        // `COUNT(*)` counts the root's rows.
        if nodes.is_empty() {
            nodes.push(&tree.root);
        }
        if let Some(cube) = nodes.into_iter().find(|node| tree.multiplies(model, node)).map(cube_of) {
            return Err(PlanError::unsupported(format!(
                "{}(…) in a sub-query that refers to the outer query would count rows of \"{cube}\" more than once",
                call.func.name()
            ))
            .detail(format!("The sub-query joins \"{cube}\" to cubes with several rows for each of its own."))
            .hint("Group in a sub-query in FROM, and join that to the outer query."));
        }
    }
    Ok(())
}
