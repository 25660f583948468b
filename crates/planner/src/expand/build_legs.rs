//! Turns every aggregate over view tables into [`FactLeg`](crate::nodes::fact_leg::FactLeg)s.
//!
//! Afterwards no `MEASURE` is left in the plan. View tables that remain are read row by row (`SELECT * FROM view`).

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{Column, DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion_expr::expr::AggregateFunctionParams;
use datafusion_expr::{Aggregate, Distinct, Expr, LogicalPlan};
use indexmap::IndexSet;

use crate::bind::measures::{MEASURE, measures_in};
use crate::error::PlanError;
use crate::lower::joined_rows::Planning;
use crate::nodes::fact_leg::{LegLeaf, LegScan, MappedTime};
use crate::policy::Restrictions;

use super::absorb::{Absorbed, absorb};
use super::grouping_sets::split_sets;
use super::guard_fan_trap::guard_fan_trap;
use super::split_facts::split_facts;

/// An aggregate over view tables, with all that lay between seen through.
#[derive(Debug, Clone)]
pub struct Question {
    pub scans: Vec<LegScan>,
    /// Over dimensions and segments of the scans.
    pub group: Vec<Expr>,
    /// Their cubes are joined too, whether grouped by or not: the keys of all grouping sets.
    pub joined: Vec<Expr>,
    pub aggregates: Vec<Asked>,
    /// All must hold; over dimensions and segments of the scans.
    pub filters: Vec<Expr>,
    /// The columns of the sub-query that `COUNT(*)` counts the rows of; empty where there is none.
    pub listed: Vec<Column>,
    /// The groups' columns, then the aggregates'.
    pub schema: DFSchemaRef,
    pub within: Within,
}

/// What a question is a part of.
#[derive(Debug, Clone, Default)]
pub struct Within {
    /// How many questions ask it.
    pub depth: usize,
    /// The facts of all of them, by the path that leads to each: a condition on one of these does not restrict another one here either.
    pub facts: BTreeSet<Vec<String>>,
    /// Its first filters are theirs, and may be for other facts alone.
    pub inherited: usize,
    /// What policies and default filters make of the first of them, which names the members that the user asks for. It holds in all of
    /// them; `None` in the first itself, and for questions of sub-query dimensions, which no view restricts.
    pub restrictions: Option<Restrictions>,
    /// The calendars whose joins are those of another time.
    pub mapped: Vec<MappedTime>,
}

impl Question {
    /// A question about what was seen through, without groups.
    pub(crate) fn over(absorbed: &Absorbed, aggregates: &[Asked]) -> Self {
        let counts_rows = aggregates.iter().any(|aggregate| matches!(aggregate, Asked::CountRows { .. }));
        Self {
            listed: if counts_rows { absorbed.listed.clone() } else { Vec::new() },
            scans: absorbed.scans.clone(),
            group: Vec::new(),
            joined: Vec::new(),
            aggregates: Vec::new(),
            filters: absorbed.filters.clone(),
            schema: Arc::new(DFSchema::empty()),
            within: Within::default(),
        }
    }
}

/// What a question asks for each group.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A measure by its own definition, with the extra condition of `FILTER (WHERE …)`.
    Measure { column: Column, filter: Option<Expr> },
    /// A part of a measure, for a question that puts the parts together itself.
    Leaf(LegLeaf),
    /// An aggregate over dimensions.
    OverRows(Expr),
    /// `COUNT(*)`.
    CountRows { filter: Option<Expr> },
}

/// Builds all legs of a plan.
///
/// # Errors
/// 0A000 for what the model cannot answer, each with its reason.
pub fn build_legs(plan: LogicalPlan, planning: Planning<'_>) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => match absorb(&aggregate.input)? {
            Some(absorbed) => Ok(Transformed::yes(answer(&aggregate, &absorbed, planning)?)),
            None => {
                guard_fan_trap(&aggregate, planning)?;
                Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)))
            }
        },
        LogicalPlan::Distinct(Distinct::All(input)) => match distinct_dimensions(&input, planning)? {
            Some(answer) => Ok(Transformed::yes(answer)),
            None => Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input)))),
        },
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// `SELECT DISTINCT` of dimensions is their groups: as a leg, so that a rollup may have them.
fn distinct_dimensions(input: &Arc<LogicalPlan>, planning: Planning<'_>) -> Result<Option<LogicalPlan>> {
    let Some(absorbed) = absorb(input)? else { return Ok(None) };
    let keys: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    for key in &keys {
        let resolved = resolved(key, &absorbed)?;
        if !measures_in(&resolved, &absorbed)?.is_empty() || resolved.column_refs().is_empty() {
            return Ok(None);
        }
    }
    let aggregate = Aggregate::try_new(Arc::clone(input), keys, Vec::new())?;
    answer(&aggregate, &absorbed, planning).map(Some)
}

fn answer(aggregate: &Aggregate, absorbed: &Absorbed, planning: Planning<'_>) -> Result<LogicalPlan> {
    if let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() {
        return split_sets(aggregate, sets, absorbed, planning);
    }
    // `GROUP BY status, 1` may name a column twice; the aggregate's schema, which is the leg's, has it once.
    let keys: IndexSet<&Expr> = aggregate.group_expr.iter().collect();
    let aggregates = aggregate.aggr_expr.iter().map(|expr| asked(expr, absorbed)).collect::<Result<Vec<_>>>()?;
    let question = Question {
        group: keys.into_iter().map(|key| resolved(key, absorbed)).collect::<Result<Vec<_>>>()?,
        schema: Arc::clone(&aggregate.schema),
        ..Question::over(absorbed, &aggregates)
    };
    Ok(split_facts(&Question { aggregates, ..question }, planning)?)
}

/// An expression of the aggregate over the scans' columns.
pub(crate) fn resolved(expr: &Expr, absorbed: &Absorbed) -> Result<Expr> {
    absorbed.resolved(expr).map(|expr| expr.unalias_nested().data)
}

/// An aggregate of the statement as what it asks.
pub(crate) fn asked(expr: &Expr, absorbed: &Absorbed) -> Result<Asked> {
    let Expr::AggregateFunction(call) = expr.clone().unalias_nested().data else {
        return Err(PlanError::internal("an aggregate is not a function call").into());
    };
    let filter = call.params.filter.as_deref().map(|filter| resolved(filter, absorbed)).transpose()?;
    if let Some(filter) = &filter
        && let Some(column) = measures_in(filter, absorbed)?.first()
    {
        return Err(
            PlanError::new("42803", format!("measure \"{}\" cannot be in FILTER (WHERE …)", column.name)).into()
        );
    }
    if call.func.name() == MEASURE {
        return match call.params.args.first().map(|argument| resolved(argument, absorbed)).transpose()? {
            Some(Expr::Column(column)) => Ok(Asked::Measure { column, filter }),
            Some(other) => Err(PlanError::internal(format!("MEASURE over {other}")).into()),
            None => Err(PlanError::internal("MEASURE without argument").into()),
        };
    }
    if call.func.name() == "count" && !call.params.distinct && counts_rows(&call.params) {
        return Ok(Asked::CountRows { filter });
    }
    Ok(Asked::OverRows(resolved(&Expr::AggregateFunction(call), absorbed)?))
}

/// `count(*)`, `count(1)`.
fn counts_rows(params: &AggregateFunctionParams) -> bool {
    match params.args.as_slice() {
        [] => true,
        [Expr::Literal(value, _)] => !matches!(value, ScalarValue::Null) && !value.is_null(),
        _ => false,
    }
}
