//! Turns every aggregate over view tables into [`FactLeg`](crate::nodes::fact_leg::FactLeg)s.
//!
//! Afterwards no `MEASURE` is left in the plan. View tables that remain are read row by row (`SELECT * FROM view`).

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{Column, DFSchemaRef, Result, ScalarValue};
use datafusion_expr::expr::AggregateFunctionParams;
use datafusion_expr::{Aggregate, Expr, LogicalPlan};
use indexmap::IndexSet;

use crate::bind::measures::{MEASURE, measures_in};
use crate::error::PlanError;
use crate::lower::joined_rows::Planning;
use crate::nodes::fact_leg::LegScan;

use super::absorb::{Absorbed, absorb};
use super::guard_fan_trap::guard_fan_trap;
use super::split_facts::split_facts;

/// An aggregate over view tables, with all that lay between seen through.
#[derive(Debug, Clone)]
pub struct Question {
    pub scans: Vec<LegScan>,
    /// Over dimensions and segments of the scans.
    pub group: Vec<Expr>,
    pub aggregates: Vec<Asked>,
    /// All must hold; over dimensions and segments of the scans.
    pub filters: Vec<Expr>,
    /// The columns of the sub-query that `COUNT(*)` counts the rows of; empty where there is none.
    pub listed: Vec<Column>,
    /// The groups' columns, then the aggregates'.
    pub schema: DFSchemaRef,
}

/// What a question asks for each group.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A measure by its own definition, with the extra condition of `FILTER (WHERE …)`.
    Measure { column: Column, filter: Option<Expr> },
    /// An aggregate over dimensions.
    OverRows(Expr),
    /// `COUNT(*)`.
    CountRows { filter: Option<Expr> },
}

/// Builds all legs of a plan.
///
/// # Errors
/// 0A000 for grouping sets over measures, and for what the model cannot answer.
pub fn build_legs(plan: LogicalPlan, planning: Planning<'_>) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => match question_of(&aggregate)? {
            Some(question) => Ok(Transformed::yes(split_facts(&question, planning)?)),
            None => {
                guard_fan_trap(&aggregate, planning)?;
                Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)))
            }
        },
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn question_of(aggregate: &Aggregate) -> Result<Option<Question>> {
    let Some(absorbed) = absorb(&aggregate.input)? else { return Ok(None) };
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return Err(PlanError::unsupported("GROUPING SETS, ROLLUP and CUBE over a view are not supported yet")
            .hint("Write one query for each set and combine them with UNION ALL.")
            .into());
    }
    // `GROUP BY status, 1` may name a column twice; the aggregate's schema, which is the leg's, has it once.
    let group = aggregate
        .group_expr
        .iter()
        .collect::<IndexSet<_>>()
        .into_iter()
        .map(|expr| absorbed.resolved(expr).map(|expr| expr.unalias_nested().data))
        .collect::<Result<Vec<_>>>()?;
    let aggregates = aggregate
        .aggr_expr
        .iter()
        .map(|expr| asked(expr.clone().unalias_nested().data, &absorbed))
        .collect::<Result<Vec<_>>>()?;
    let counts_rows = aggregates.iter().any(|aggregate| matches!(aggregate, Asked::CountRows { .. }));
    Ok(Some(Question {
        listed: if counts_rows { absorbed.listed.clone() } else { Vec::new() },
        scans: absorbed.scans.clone(),
        group,
        aggregates,
        filters: absorbed.filters.clone(),
        schema: Arc::clone(&aggregate.schema),
    }))
}

fn asked(expr: Expr, absorbed: &Absorbed) -> Result<Asked> {
    let Expr::AggregateFunction(call) = expr else {
        return Err(PlanError::internal("an aggregate is not a function call").into());
    };
    let filter = call
        .params
        .filter
        .as_deref()
        .map(|filter| absorbed.resolved(filter).map(|filter| filter.unalias_nested().data))
        .transpose()?;
    if let Some(filter) = &filter
        && let Some(column) = measures_in(filter, absorbed)?.first()
    {
        return Err(
            PlanError::new("42803", format!("measure \"{}\" cannot be in FILTER (WHERE …)", column.name)).into()
        );
    }
    if call.func.name() == MEASURE {
        return match call.params.args.first().map(|argument| absorbed.resolved(argument)).transpose()? {
            Some(resolved) => match resolved.unalias_nested().data {
                Expr::Column(column) => Ok(Asked::Measure { column, filter }),
                other => Err(PlanError::internal(format!("MEASURE over {other}")).into()),
            },
            None => Err(PlanError::internal("MEASURE without argument").into()),
        };
    }
    if call.func.name() == "count" && !call.params.distinct && counts_rows(&call.params) {
        return Ok(Asked::CountRows { filter });
    }
    let resolved = absorbed.resolved(&Expr::AggregateFunction(call))?.unalias_nested().data;
    Ok(Asked::OverRows(resolved))
}

/// `count(*)`, `count(1)`.
fn counts_rows(params: &AggregateFunctionParams) -> bool {
    match params.args.as_slice() {
        [] => true,
        [Expr::Literal(value, _)] => !matches!(value, ScalarValue::Null) && !value.is_null(),
        _ => false,
    }
}
