//! Finds the measures that a query asks for, and refuses measures used as if they were plain values.
//!
//! `MEASURE(m)` and the matching standard aggregate both mean the measure's own definition (reference AG1 to AG3): neither
//! aggregates a second time. It would be wrong to let `SUM(total)` sum a measure's values over joined rows.

use std::sync::Arc;

use belvedere_model::{MeasureKind, MemberKind, Model};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, Result};
use datafusion_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion_expr::{Aggregate, Expr, LogicalPlan};

use crate::catalog::{Catalog, MemberColumn, ViewTableSource};
use crate::error::PlanError;
use crate::expand::absorb::{Absorbed, absorb};
use crate::functions::Functions;

/// The aggregate that stands for a measure's own definition.
pub const MEASURE: &str = "measure";

/// Turns matching standard aggregates over measures into `MEASURE(m)`, and gives the nodes above the measure's type.
///
/// # Errors
/// 42803 for an aggregate that does not match the measure's.
pub fn resolve_measures(plan: LogicalPlan, catalog: &Catalog, functions: &Arc<Functions>) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => {
            let Some(absorbed) = absorb(&aggregate.input)? else {
                return LogicalPlan::Aggregate(aggregate).recompute_schema().map(Transformed::yes);
            };
            let mut aggregates = Vec::with_capacity(aggregate.aggr_expr.len());
            for expr in aggregate.aggr_expr {
                let name = expr.schema_name().to_string();
                let resolved = resolve_aggregate(expr, &absorbed, catalog, functions)?;
                aggregates.push(if resolved.schema_name().to_string() == name {
                    resolved
                } else {
                    resolved.alias(name)
                });
            }
            Aggregate::try_new(aggregate.input, aggregate.group_expr, aggregates)
                .map(LogicalPlan::Aggregate)
                .map(Transformed::yes)
        }
        other => other.recompute_schema().map(Transformed::yes),
    })
    .data()
}

/// A view table's column, by the name that absorbed expressions use.
#[must_use]
pub fn member_of<'a>(absorbed: &'a Absorbed, column: &Column) -> Option<&'a MemberColumn> {
    absorbed
        .scans
        .iter()
        .find(|scan| column.relation.as_ref().is_none_or(|relation| *relation == scan.reference))
        .and_then(|scan| scan.table.columns.get(&column.name))
}

/// The kind of a measure column.
#[must_use]
pub fn measure_kind(model: &Model, member: &MemberColumn) -> Option<MeasureKind> {
    member.measure(model).map(|measure| measure.kind)
}

fn resolve_aggregate(expr: Expr, absorbed: &Absorbed, catalog: &Catalog, functions: &Arc<Functions>) -> Result<Expr> {
    let Expr::AggregateFunction(call) = expr else { return Ok(expr) };
    let name = call.func.name().to_lowercase();
    let [argument] = call.params.args.as_slice() else {
        return check_arguments(call, absorbed);
    };
    let resolved = absorbed.resolved(argument)?.unalias_nested().data;
    let measure = match &resolved {
        Expr::Column(column) => member_of(absorbed, column)
            .filter(|member| member.kind == MemberKind::Measure)
            .map(|member| (column, member)),
        _ => None,
    };
    let Some((column, member)) = measure else {
        if name == MEASURE {
            let what = match &resolved {
                Expr::Column(column) => format!("column \"{}\" is not a measure", column.name),
                _ => "MEASURE needs the plain name of a measure".to_owned(),
            };
            return Err(PlanError::new("42809", what)
                .hint("MEASURE(m) takes a measure of the view; use SUM, MIN, MAX, COUNT over dimensions.")
                .into());
        }
        return check_arguments(call, absorbed);
    };
    if name != MEASURE {
        let Some(kind) = measure_kind(&catalog.model, member) else { return Ok(Expr::AggregateFunction(call)) };
        if !matches_kind(&name, call.params.distinct, kind) {
            return Err(PlanError::new(
                "42803",
                format!(
                    "measure \"{}\" is {}, and {}({}{}) does not match it",
                    column.name,
                    kind_in_words(kind),
                    name.to_uppercase(),
                    if call.params.distinct { "DISTINCT " } else { "" },
                    column.name
                ),
            )
            .hint(format!("MEASURE({}) works for a measure of any type.", column.name))
            .at(argument
                .spans()
                .and_then(|spans| spans.first())
                .map(|span| crate::error::TextPlace { line: span.start.line, column: span.start.column }))
            .into());
        }
    }
    let measure = functions.needed_aggregate(MEASURE)?;
    Ok(Expr::AggregateFunction(AggregateFunction {
        func: measure,
        params: AggregateFunctionParams { distinct: false, order_by: vec![], null_treatment: None, ..call.params },
    }))
}

/// No aggregate over an expression that has a measure inside.
fn check_arguments(call: AggregateFunction, absorbed: &Absorbed) -> Result<Expr> {
    for argument in &call.params.args {
        let resolved = absorbed.resolved(argument)?;
        if let Some(column) = measures_in(&resolved, absorbed)?.into_iter().next() {
            return Err(PlanError::new(
                "42803",
                format!(
                    "measure \"{}\" cannot be part of an expression inside {}(…)",
                    column.name,
                    call.func.name().to_uppercase()
                ),
            )
            .detail("A measure is an aggregate already; its values on single rows cannot be aggregated again.")
            .hint(format!(
                "Compute with the aggregate, as in MEASURE({}) * 2, or filter it by MEASURE({}) FILTER (WHERE …).",
                column.name, column.name
            ))
            .into());
        }
    }
    Ok(Expr::AggregateFunction(call))
}

/// The measure columns of an absorbed expression.
///
/// # Errors
/// Only DataFusion's, for an expression that cannot be walked.
pub fn measures_in(expr: &Expr, absorbed: &Absorbed) -> Result<Vec<Column>> {
    let mut found = Vec::new();
    expr.apply(|node| {
        if let Expr::Column(column) = node
            && member_of(absorbed, column).is_some_and(|member| member.kind == MemberKind::Measure)
        {
            found.push(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn matches_kind(aggregate: &str, distinct: bool, kind: MeasureKind) -> bool {
    use MeasureKind as K;
    match (aggregate, distinct) {
        ("sum", false) => matches!(kind, K::Sum | K::Count | K::Number | K::RunningTotal),
        ("avg", false) => matches!(kind, K::Avg | K::Number),
        ("min", _) => matches!(kind, K::Min | K::Number | K::String | K::Time | K::Boolean),
        ("max", _) => matches!(kind, K::Max | K::Number | K::String | K::Time | K::Boolean),
        ("count", false) => matches!(kind, K::Count | K::Number),
        ("count", true) => matches!(kind, K::CountDistinct | K::CountDistinctApprox | K::Number),
        ("string_agg", _) => kind == K::String,
        _ => false,
    }
}

fn kind_in_words(kind: MeasureKind) -> &'static str {
    match kind {
        MeasureKind::Count => "a count",
        MeasureKind::CountDistinct => "a distinct count",
        MeasureKind::CountDistinctApprox => "an approximate distinct count",
        MeasureKind::Sum => "a sum",
        MeasureKind::Avg => "an average",
        MeasureKind::Min => "a minimum",
        MeasureKind::Max => "a maximum",
        MeasureKind::Number | MeasureKind::NumberAgg => "a calculated number",
        MeasureKind::String => "a calculated string",
        MeasureKind::Time => "a calculated time",
        MeasureKind::Boolean => "a calculated boolean",
        MeasureKind::Rank => "a rank",
        MeasureKind::RunningTotal => "a running total",
    }
}

/// Refuses measures in WHERE and GROUP BY of a grouped query, and `MEASURE` where no view is below.
///
/// # Errors
/// 42803 with the way to write it.
pub fn check_measures(plan: &LogicalPlan, _functions: &Arc<Functions>) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Window(window) = node {
            for expr in &window.window_expr {
                refuse_raw_measures(expr, &window.input)?;
            }
        }
        if let LogicalPlan::Filter(filter) = node
            && let Some(absorbed) = absorb(&filter.input)?
            && let Some(column) = measures_in(&absorbed.resolved(&filter.predicate)?, &absorbed)?.into_iter().next()
        {
            return Err(measure_in_where(&column).into());
        }
        if let LogicalPlan::Aggregate(aggregate) = node {
            match absorb(&aggregate.input)? {
                Some(absorbed) => {
                    for filter in &absorbed.filters {
                        if let Some(column) = measures_in(filter, &absorbed)?.into_iter().next() {
                            return Err(measure_in_where(&column).into());
                        }
                    }
                    for group in &aggregate.group_expr {
                        let resolved = absorbed.resolved(group)?;
                        if let Some(column) = measures_in(&resolved, &absorbed)?.into_iter().next() {
                            return Err(PlanError::new(
                                "42803",
                                format!("measure \"{}\" cannot be in GROUP BY", column.name),
                            )
                            .hint(format!("Select it as MEASURE({}), or leave GROUP BY out.", column.name))
                            .into());
                        }
                    }
                }
                None => {
                    for expr in &aggregate.aggr_expr {
                        refuse_raw_measures(expr, &aggregate.input)?;
                    }
                    for expr in &aggregate.aggr_expr {
                        if let Expr::AggregateFunction(call) = expr.clone().unalias()
                            && call.func.name() == MEASURE
                        {
                            return Err(PlanError::new("42803", "MEASURE needs a view or cube below it")
                                .detail(
                                    "Between MEASURE(m) and the view there may be filters, columns and aliases, but no \
                                         LIMIT, DISTINCT, window, join or correlated sub-query.",
                                )
                                .hint("Aggregate in a sub-query of its own, then join the results.")
                                .into());
                        }
                    }
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Values of a measure on single rows are not aggregated: a join may have repeated the rows.
fn refuse_raw_measures(expr: &Expr, input: &LogicalPlan) -> Result<()> {
    let mut arguments: Vec<&Expr> = Vec::new();
    expr.apply(|node| {
        match node {
            Expr::AggregateFunction(call) if call.func.name() != MEASURE => arguments.extend(&call.params.args),
            Expr::WindowFunction(call) => {
                if matches!(call.fun, datafusion_expr::WindowFunctionDefinition::AggregateUDF(_)) {
                    arguments.extend(&call.params.args);
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    for column in arguments.into_iter().flat_map(Expr::column_refs) {
        if let Some(name) = raw_measure(input, column) {
            return Err(PlanError::new("42803", format!("values of the measure \"{name}\" on single rows cannot be aggregated"))
                .detail("A measure is an aggregate already, and a join, DISTINCT, LIMIT or window below may repeat or drop its rows.")
                .hint(format!("Aggregate first, as in SELECT …, MEASURE({name}) … GROUP BY …, in a sub-query of its own."))
                .into());
        }
    }
    Ok(())
}

/// The measure that a column of `plan` passes through unchanged, or as part of an expression, from a view below.
fn raw_measure(plan: &LogicalPlan, column: &Column) -> Option<String> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<ViewTableSource>()?;
            let member = source.table.columns.get(&column.name)?;
            (member.kind == MemberKind::Measure).then(|| column.name.clone())
        }
        LogicalPlan::Projection(projection) => {
            let index = projection.schema.maybe_index_of_column(column)?;
            projection.expr[index].column_refs().into_iter().find_map(|inner| raw_measure(&projection.input, inner))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let index = alias.schema.maybe_index_of_column(column)?;
            let inner: Column = alias.input.schema().columns().into_iter().nth(index)?;
            raw_measure(&alias.input, &inner)
        }
        LogicalPlan::Union(union) => {
            let index = union.schema.maybe_index_of_column(column)?;
            union.inputs.iter().find_map(|input| raw_measure(input, &input.schema().columns().into_iter().nth(index)?))
        }
        // What an aggregate gives is a number of its own.
        LogicalPlan::Aggregate(_) => None,
        other => other
            .inputs()
            .into_iter()
            .filter(|input| input.schema().has_column(column))
            .find_map(|input| raw_measure(input, column)),
    }
}

fn measure_in_where(column: &Column) -> PlanError {
    PlanError::new("42803", format!("measure \"{}\" cannot be in WHERE", column.name))
        .hint(format!("Use HAVING MEASURE({}) …, which filters groups after they are computed.", column.name))
        .at(column
            .spans()
            .first()
            .map(|span| crate::error::TextPlace { line: span.start.line, column: span.start.column }))
}
