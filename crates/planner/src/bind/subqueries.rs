//! EXISTS and IN (SELECT …) as values: in a select list, in CASE.
//!
//! DataFusion turns them into joins where they are conditions of WHERE, and cannot run them elsewhere. As values they become counts:
//! EXISTS is a count above zero, and IN follows PostgreSQL's three values: true where an equal is found, else NULL where a NULL could
//! have been one, else false. Sub-queries of one value DataFusion knows everywhere.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, ExprSchema, Result, ScalarValue, Spans};
use datafusion_expr::expr::{AggregateFunction, Exists, InSubquery};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{
    Case, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit,
};

use crate::error::PlanError;
use crate::functions::Functions;
use crate::session::SessionFacts;

use super::operators::compare;
use super::unknown::input_schema;

/// What the rows of IN are called, where its left side may be of a table of the same name.
const WITHIN: &str = "__within";

/// Replaces EXISTS and IN (SELECT …) in every select list by what they count.
///
/// # Errors
/// 42883 where the types of IN do not compare.
pub fn count_subqueries(plan: LogicalPlan, functions: &Functions, session: &SessionFacts) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        if !matches!(node, LogicalPlan::Projection(_)) {
            return Ok(Transformed::no(node));
        }
        let schema = input_schema(&node);
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let saved = names.save(&expr);
            let counted = expr.transform_up(|inner| {
                Ok(match inner {
                    Expr::Exists(exists) => Transformed::yes(exists_as_count(exists, functions)?),
                    Expr::InSubquery(within) => Transformed::yes(in_as_counts(within, &schema, functions, session)?),
                    other => Transformed::no(other),
                })
            })?;
            Ok(counted.update_data(|expr| saved.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })
    .data()
}

/// In words, why a plan could not be optimized that has a correlated sub-query of one value: DataFusion joins the aggregated rows to the
/// outer ones, which goes by equal columns alone.
#[must_use]
pub fn refused_correlation(plan: &LogicalPlan) -> Option<PlanError> {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                if let Expr::ScalarSubquery(subquery) = inner {
                    found |= !subquery.outer_ref_columns.is_empty() && compares_unequally(&subquery.subquery)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    if walked.is_err() || !found {
        return None;
    }
    Some(
        PlanError::unsupported(
            "a sub-query of one value compares with the outer query otherwise than by = with a column",
        )
        .detail("It is joined to the outer rows after it is aggregated, which goes by equal columns alone.")
        .hint("Join the tables on the condition, and aggregate by the columns of the outer one."),
    )
}

/// Whether an outer column stands in a condition that is no equality.
fn compares_unequally(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| {
        // A scan may have taken a filter in.
        let conditions = node.expressions();
        Ok(conditions.iter().flat_map(split_conjunction).any(|condition| {
            let is_equality = matches!(condition, Expr::BinaryExpr(binary) if binary.op == Operator::Eq);
            condition.contains_outer() && !is_equality
        }))
    })
}

fn exists_as_count(exists: Exists, functions: &Functions) -> Result<Expr> {
    let Exists { subquery, negated } = exists;
    let mut rows = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
    if subquery.outer_ref_columns.is_empty() {
        // One row says as much as all.
        rows = rows.limit(0, Some(1))?;
    }
    let count = count_of(rows.build()?, functions)?;
    let found = binary_expr(count, Operator::Gt, lit(0_i64));
    Ok(if negated { Expr::Not(Box::new(found)) } else { found })
}

fn in_as_counts(within: InSubquery, schema: &DFSchema, functions: &Functions, session: &SessionFacts) -> Result<Expr> {
    let InSubquery { expr, subquery, negated } = within;
    // Under a name of its own: `id IN (SELECT id FROM t)` over t compares two columns, not one with itself.
    let plan = &LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).alias(WITHIN)?.build()?;
    let [column] =
        plan.schema().columns().try_into().map_err(|_| PlanError::new("42601", "subquery has too many columns"))?;
    let value = Expr::Column(column);
    let filtered = |condition: Expr| LogicalPlanBuilder::from(plan.clone()).filter(condition)?.build();

    // The left side, seen from inside.
    let outer = expr.as_ref().clone().transform_up(|node| {
        Ok(match node {
            Expr::Column(column) => {
                let field = schema.field_from_column(&column).map(Arc::clone)?;
                Transformed::yes(Expr::OuterReferenceColumn(field, column))
            }
            other => Transformed::no(other),
        })
    })?;
    let equal = compare(Operator::Eq, outer.data, value.clone(), plan.schema(), session)?;
    let found = binary_expr(count_of(filtered(equal)?, functions)?, Operator::Gt, lit(0_i64));
    let left_nullable = expr.nullable(schema)?;
    let right_nullable = value.nullable(plan.schema().as_ref())?;
    let found = if left_nullable || right_nullable {
        let mut branches = vec![(Box::new(found), Box::new(lit(true)))];
        let rows = count_of(plan.clone(), functions)?;
        branches.push((Box::new(binary_expr(rows, Operator::Eq, lit(0_i64))), Box::new(lit(false))));
        if left_nullable {
            branches.push((Box::new(expr.is_null()), Box::new(lit(ScalarValue::Boolean(None)))));
        }
        if right_nullable {
            let nulls = count_of(filtered(value.is_null())?, functions)?;
            let nulls = binary_expr(nulls, Operator::Gt, lit(0_i64));
            branches.push((Box::new(nulls), Box::new(lit(ScalarValue::Boolean(None)))));
        }
        Expr::Case(Case::new(None, branches, Some(Box::new(lit(false)))))
    } else {
        found
    };
    Ok(if negated { Expr::Not(Box::new(found)) } else { found })
}

/// `(SELECT count(*) FROM rows)`.
fn count_of(rows: LogicalPlan, functions: &Functions) -> Result<Expr> {
    let count = functions.needed_aggregate("count")?;
    let count = Expr::AggregateFunction(AggregateFunction::new_udf(count, vec![lit(1_i64)], false, None, vec![], None));
    let counted = LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), vec![count])?.build()?;
    let mut outer_ref_columns = Vec::new();
    for expr in counted.all_out_ref_exprs() {
        if !outer_ref_columns.contains(&expr) {
            outer_ref_columns.push(expr);
        }
    }
    Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(counted), outer_ref_columns, spans: Spans::new() }))
}
