//! `DATE_TRUNC('<custom>', dimension)`: granularities that the model defines for a time dimension.
//!
//! They are bins of an interval, counted from an origin (reference G2 to G4), over the wall-clock value that the dimension has in the
//! session's zone. It would be wrong to look a granularity up by its name alone: two dimensions may define the same name.

use std::sync::Arc;

use arrow::datatypes::DataType;
use belvedere_model::{GranularityValue, MemberKind, Model, PREDEFINED_GRANULARITIES};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, Result, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan, lit};

use crate::catalog::{Catalog, MemberColumn, ViewTableSource};
use crate::error::PlanError;
use crate::expand::absorb::{Absorbed, absorb};
use crate::functions::Functions;
use crate::granularity;
use crate::rewrite::CUSTOM_GRANULARITY;
use crate::session::SessionFacts;

use super::measures::member_of;

/// Replaces every use of a custom granularity by its bins.
///
/// # Errors
/// 22023 for a granularity that neither PostgreSQL nor the dimension has.
pub fn resolve_granularities(
    plan: LogicalPlan,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let inputs = node.inputs();
        let absorbed = match inputs.as_slice() {
            [only] => absorb(only)?,
            _ => None,
        };
        let inputs: Vec<LogicalPlan> = match &absorbed {
            Some(_) => Vec::new(),
            None => inputs.into_iter().cloned().collect(),
        };
        let names = NamePreserver::new(&node);
        let resolve = |expr: Expr| {
            expr.transform_up(|inner| match inner {
                Expr::ScalarFunction(call) if call.func.name() == CUSTOM_GRANULARITY => {
                    bins(&call, absorbed.as_ref(), catalog, functions, session).map(Transformed::yes)
                }
                Expr::ScalarFunction(call) if call.func.name() == "date_trunc" => {
                    let name = of_calendar(&call, absorbed.as_ref(), &inputs, &catalog.model)?;
                    let Some(name) = name else { return Ok(Transformed::no(Expr::ScalarFunction(call))) };
                    let times = call.args.into_iter().skip(1).map(dimension_of_date);
                    let args = std::iter::once(lit(name.as_ref())).chain(times).collect();
                    let kept = functions.needed_scalar(CUSTOM_GRANULARITY)?;
                    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(kept, args))))
                }
                other => Ok(Transformed::no(other)),
            })
        };
        node.map_expressions(|expr| {
            // The keys of grouping sets are columns of their own, each with its name.
            if matches!(expr, Expr::GroupingSet(_)) {
                return expr.map_children(|key| {
                    let name = key.schema_name().to_string();
                    Ok(resolve(key)?
                        .update_data(|key| if key.schema_name().to_string() == name { key } else { key.alias(name) }))
                });
            }
            // Its arguments are told from other keys by what the keys are.
            if matches!(&expr, Expr::AggregateFunction(call) if call.func.name() == "grouping") {
                let saved = names.save(&expr);
                let arguments = expr.map_children(|key| {
                    let name = key.schema_name().to_string();
                    Ok(resolve(key)?
                        .update_data(|key| if key.schema_name().to_string() == name { key } else { key.alias(name) }))
                });
                return Ok(arguments?.update_data(|expr| saved.restore(expr)));
            }
            let saved = names.save(&expr);
            Ok(resolve(expr)?.update_data(|expr| saved.restore(expr)))
        })
    })
    .data()
}

/// The dimension whose day a comparison wants as a timestamp: its granularity is the dimension's.
fn dimension_of_date(time: Expr) -> Expr {
    match time {
        Expr::Cast(cast)
            if matches!(cast.field.data_type(), DataType::Timestamp(_, None))
                && matches!(cast.expr.as_ref(), Expr::Column(_)) =>
        {
            *cast.expr
        }
        other => other,
    }
}

fn bins(
    call: &ScalarFunction,
    absorbed: Option<&Absorbed>,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
) -> Result<Expr> {
    let [Expr::Literal(ScalarValue::Utf8(Some(name)), _), value] = call.args.as_slice() else {
        return Err(PlanError::internal("a granularity without a name").into());
    };
    let unknown = || {
        PlanError::new("22023", format!("unit \"{name}\" not recognized for type timestamp without time zone"))
            .hint("Use one of PostgreSQL's units, or a granularity that the model defines for this very dimension.")
    };
    let Some(absorbed) = absorbed else { return Err(unknown().into()) };
    let resolved = absorbed.resolved(value)?.unalias_nested().data;
    let Expr::Column(column) = &resolved else { return Err(unknown().into()) };
    match member_of(absorbed, column).and_then(|member| defined(member, &catalog.model, name)).ok_or_else(unknown)? {
        GranularityValue::Sql(_) => Err(unknown().into()),
        GranularityValue::Bins { interval, offset, origin } => {
            Ok(granularity::bins((*interval, *offset, origin.as_deref()), value.clone(), functions, session)?)
        }
    }
}

/// A granularity that the model defines for a time dimension.
fn defined<'m>(member: &MemberColumn, model: &'m Model, name: &str) -> Option<&'m GranularityValue> {
    let dimension = member.dimension(model).filter(|_| member.kind == MemberKind::Dimension)?;
    granularity::granularity_of(model, &member.path, dimension, name).map(|(_, value)| value)
}

/// `DATE_TRUNC('month', date)` of a calendar that defines its own months (reference K3): kept as a call that lowering replaces, for only
/// the dimension's cube can compute it.
///
/// It would be wrong to cut the shown date by PostgreSQL's months because a LIMIT stands in between: that is refused.
fn of_calendar(
    call: &ScalarFunction,
    absorbed: Option<&Absorbed>,
    inputs: &[LogicalPlan],
    model: &Model,
) -> Result<Option<Arc<str>>> {
    let [Expr::Literal(ScalarValue::Utf8(Some(unit)), _), value] = call.args.as_slice() else { return Ok(None) };
    let unit = unit.to_lowercase();
    let name = PREDEFINED_GRANULARITIES.into_iter().find(|name| *name == unit.strip_suffix('s').unwrap_or(&unit));
    let Some(name) = name else { return Ok(None) };
    let by_sql = |member: &MemberColumn| matches!(defined(member, model, name), Some(GranularityValue::Sql(_)));
    // A date is cast to a timestamp before it is cut.
    let mut value = value;
    while let Expr::Cast(cast) = value {
        value = &cast.expr;
    }
    let Expr::Column(column) = value else { return Ok(None) };
    if let Some(absorbed) = absorbed {
        let resolved = absorbed.resolved(value)?.unalias_nested().data;
        let Expr::Column(column) = &resolved else { return Ok(None) };
        return Ok(member_of(absorbed, column).filter(|member| by_sql(member)).map(|_| Arc::from(name)));
    }
    if inputs.iter().any(|input| origin_of(input, column).is_some_and(|member| by_sql(&member))) {
        return Err(PlanError::unsupported(format!(
            "\"{}\" comes from a calendar that defines its own {name}s, and cannot be cut by them here",
            column.name
        ))
        .hint(format!("Call DATE_TRUNC('{name}', …) in the sub-query that reads the view."))
        .into());
    }
    Ok(None)
}

/// The member that a column of any plan shows unchanged.
fn origin_of(plan: &LogicalPlan, column: &Column) -> Option<MemberColumn> {
    let through = |expr: &Expr, input: &LogicalPlan| match expr.clone().unalias_nested().data {
        Expr::Column(inner) => origin_of(input, &inner),
        _ => None,
    };
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<ViewTableSource>()?;
            plan.schema().maybe_index_of_column(column)?;
            source.table.columns.get(&column.name).cloned()
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let index = alias.schema.maybe_index_of_column(column)?;
            origin_of(&alias.input, &alias.input.schema().columns()[index])
        }
        LogicalPlan::Projection(projection) => {
            let index = projection.schema.maybe_index_of_column(column)?;
            through(&projection.expr[index], &projection.input)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let index = aggregate.schema.maybe_index_of_column(column)?;
            through(aggregate.group_expr.get(index)?, &aggregate.input)
        }
        LogicalPlan::Union(union) => {
            let index = union.schema.maybe_index_of_column(column)?;
            union.inputs.iter().find_map(|input| origin_of(input, &input.schema().columns()[index]))
        }
        other => other
            .inputs()
            .into_iter()
            .filter(|input| input.schema().maybe_index_of_column(column).is_some())
            .find_map(|input| origin_of(input, column)),
    }
}
