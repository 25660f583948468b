//! A rollup scan as plain relational algebra: stored rows and rows of the source in one list, grouped, and their values merged.

use datafusion_common::Column;
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident};

use crate::error::Result;
use crate::expand::combine_legs::or_zero;
use crate::expand::split_facts::{group_name, typed_as};
use crate::nodes::rollup_scan::{Merge, RollupScan};
use crate::nodes::row_barrier::RowBarrier;

use super::calculated::aggregate_call;
use super::joined_rows::{Planning, internal};
use super::lower_leg::lower_leg;

/// Replaces every rollup scan of a plan.
///
/// # Errors
/// As [`lower_leg`], for what comes from the source.
pub fn scan_rollups(plan: LogicalPlan, planning: Planning<'_>) -> datafusion_common::Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<RollupScan>() {
            Some(scan) => Ok(Transformed::yes(scan_rollup(scan, planning)?)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

fn scan_rollup(scan: &RollupScan, planning: Planning<'_>) -> Result<LogicalPlan> {
    let leg = &scan.leg;
    let groups = leg.group.len();
    let value_name = |index: usize| format!("v{index}");
    let mut builder = LogicalPlanBuilder::from(scan.rows.clone());
    for policy in &scan.policies {
        builder = builder.filter(policy.clone()).map_err(internal)?;
    }
    if !scan.policies.is_empty() {
        builder = LogicalPlanBuilder::from(RowBarrier::above(builder.build().map_err(internal)?));
    }
    for filter in &scan.filters {
        builder = builder.filter(filter.clone()).map_err(internal)?;
    }
    let mut columns: Vec<Expr> =
        scan.group.iter().enumerate().map(|(index, expr)| expr.clone().alias(group_name(index))).collect();
    // The same value is one column.
    let mut names = Vec::new();
    let mut values: Vec<(&Expr, String)> = Vec::new();
    for merged in &scan.merged {
        let known = values.iter().find(|(value, _)| *value == &merged.value && scan.live.is_empty());
        let name = known.map_or_else(|| value_name(values.len()), |(_, name)| name.clone());
        if known.is_none() {
            values.push((&merged.value, name.clone()));
            columns.push(merged.value.clone().alias(&name));
        }
        names.push(name);
    }
    for (index, key) in scan.distinct.iter().enumerate() {
        columns.push(key.clone().alias(format!("k{index}")));
    }
    if columns.is_empty() {
        columns.push(datafusion_expr::lit(1_i64).alias("one"));
    }
    builder = builder.project(columns).map_err(internal)?;
    if !scan.distinct.is_empty() {
        builder = builder.distinct().map_err(internal)?;
    }
    for live in &scan.live {
        let rows = planning.completing_a_rollup(|| lower_leg(live, planning))?;
        let mut columns: Vec<Expr> = (0..groups).map(|index| ident(group_name(index))).collect();
        for (index, name) in names.iter().enumerate() {
            columns.push(ident(live.schema.field(groups + index).name()).alias(name));
        }
        if columns.is_empty() {
            columns.push(datafusion_expr::lit(1_i64).alias("one"));
        }
        let typed = columns
            .into_iter()
            .enumerate()
            .map(|(index, column)| typed_as(column, rows.schema(), builder.schema().field(index).data_type()))
            .collect::<Result<Vec<_>>>()?;
        let rows =
            LogicalPlanBuilder::from(rows).project(typed).and_then(LogicalPlanBuilder::build).map_err(internal)?;
        builder = builder.union(rows).map_err(internal)?;
    }
    let keys: Vec<Expr> = (0..groups).map(|index| ident(group_name(index))).collect();
    let mut aggregates: Vec<Expr> = Vec::new();
    let mut outputs: Vec<String> = Vec::new();
    for (merged, name) in scan.merged.iter().zip(&names) {
        let call = merge_call(merged.merge, Expr::Column(Column::new_unqualified(name)), planning)?;
        let known = aggregates.iter().position(|known| match known {
            Expr::Alias(alias) => *alias.expr == call,
            _ => false,
        });
        let position = known.unwrap_or(aggregates.len());
        if known.is_none() {
            aggregates.push(call.alias(format!("a{position}")));
        }
        outputs.push(format!("a{position}"));
    }
    builder = builder.aggregate(keys, aggregates).map_err(internal)?;
    let mut projection = Vec::new();
    for (index, own) in leg.schema.columns().into_iter().enumerate() {
        let value = match index.checked_sub(groups) {
            None => ident(group_name(index)),
            Some(aggregate) => {
                let value = ident(outputs[aggregate].clone());
                match scan.merged[aggregate].merge {
                    Merge::Count => or_zero(value, planning)?,
                    Merge::Sum
                    | Merge::Min
                    | Merge::Max
                    | Merge::Sketch
                    | Merge::Set
                    | Merge::BoolAnd
                    | Merge::BoolOr
                    | Merge::CountDistinct => value,
                }
            }
        };
        let value = typed_as(value, builder.schema(), leg.schema.field(index).data_type())?;
        projection.push(value.alias(own.name));
    }
    builder.project(projection).and_then(LogicalPlanBuilder::build).map_err(internal)
}

fn merge_call(merge: Merge, value: Expr, planning: Planning<'_>) -> Result<Expr> {
    let named = |name: &str| planning.functions.needed_aggregate(name).map_err(internal);
    Ok(match merge {
        Merge::Count | Merge::Sum => aggregate_call(belvedere_functions::sum_again(), value),
        Merge::Min => aggregate_call(named("min")?, value),
        Merge::Max => aggregate_call(named("max")?, value),
        Merge::BoolAnd => aggregate_call(named("bool_and")?, value),
        Merge::BoolOr => aggregate_call(named("bool_or")?, value),
        Merge::Sketch => aggregate_call(belvedere_functions::sketch::sketch_estimate(), value),
        Merge::Set => aggregate_call(belvedere_functions::sets::set_count(), value),
        Merge::CountDistinct => {
            Expr::AggregateFunction(AggregateFunction::new_udf(named("count")?, vec![value], true, None, vec![], None))
        }
    })
}
