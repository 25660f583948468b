//! `SELECT … FROM view` without grouping: each joined row is its own group (reference AG7).

use std::collections::BTreeSet;

use belvedere_model::MemberKind;
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScan};

use crate::catalog::{JOIN_FIELD, MemberColumn, ViewTableSource};
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{JoinTree, choose_join_tree};
use crate::nodes::fact_leg::LegScan;

use super::joined_rows::{JoinedRows, Planning, internal, missing};
use crate::expand::hints::Hints;

/// Replaces every remaining view table of a plan. A measure that cannot be evaluated on a row is an error when the statement
/// names it, and NULL with a notice when `*` brought it in.
///
/// # Errors
/// 0A000 for what is not executed yet.
pub fn read_rows(plan: LogicalPlan, planning: Planning<'_>) -> datafusion_common::Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::TableScan(scan) => match scan.source.downcast_ref::<ViewTableSource>() {
            Some(source) => Ok(Transformed::yes(read_table(scan, source, planning)?)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

/// Rows of two facts side by side repeat each other: no row would be one row of anything (reference MF19).
///
/// # Errors
/// 0A000 naming both.
pub(crate) fn refuse_several_facts<'a>(
    members: impl IntoIterator<Item = &'a MemberColumn>,
    tree: &JoinTree,
    planning: Planning<'_>,
) -> Result<()> {
    let model = &planning.catalog.model;
    let facts: BTreeSet<&String> = members
        .into_iter()
        .filter(|member| member.kind == MemberKind::Measure)
        .filter_map(|member| member.path.last())
        .collect();
    let repeated: Vec<&&String> = facts.iter().filter(|cube| tree.multiplies(model, cube)).collect();
    match repeated.as_slice() {
        [first, second, ..] => Err(PlanError::unsupported(format!(
            "the rows of \"{first}\" and \"{second}\" cannot be listed side by side"
        ))
        .detail("They are facts of their own: each row of one would be repeated for every row of the other.")
        .hint("Name columns of one fact, or group the query.")),
        _ => Ok(()),
    }
}

fn read_table(scan: &TableScan, source: &ViewTableSource, planning: Planning<'_>) -> Result<LogicalPlan> {
    let model = &planning.catalog.model;
    let leg_scan = LegScan { reference: scan.table_name.clone(), table: std::sync::Arc::clone(&source.table) };
    let columns: Vec<Column> = scan.projected_schema.columns();
    let mut hints = Hints::new(model);
    // Measures' cubes come first, as in a grouped query, so that the same root decides which rows there are.
    for kind in [MemberKind::Measure, MemberKind::Dimension, MemberKind::Segment] {
        for column in &columns {
            if let Some(member) = source.table.columns.get(&column.name)
                && member.kind == kind
            {
                hints.member(member)?;
            }
        }
    }
    if hints.paths.is_empty() {
        hints.default_of(&leg_scan);
    }
    let tree = choose_join_tree(model, &hints.paths)?;
    let asked = columns.iter().filter_map(|column| source.table.columns.get(&column.name));
    refuse_several_facts(asked, &tree, planning)?;
    let mut rows = JoinedRows::new(planning, tree);
    let mut projection = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let wanted = scan.projected_schema.field(index).data_type();
        let value = if column.name == JOIN_FIELD {
            Expr::Literal(ScalarValue::Utf8(None), None)
        } else {
            let member =
                source.table.columns.get(&column.name).ok_or_else(|| missing(&source.table.name, &column.name))?;
            let value = match member.kind {
                MemberKind::Dimension | MemberKind::Segment => rows.row_member(member),
                MemberKind::Measure => rows.measure_of_row(member),
            };
            match value {
                Ok(value) => value,
                Err(error)
                    if error.sqlstate == "0A000" && !planning.mentioned.contains(&column.name.to_lowercase()) =>
                {
                    planning
                        .notices
                        .borrow_mut()
                        .push(format!("column \"{}\" is NULL here: {}", column.name, error.message));
                    Expr::Literal(ScalarValue::try_from(wanted).map_err(internal)?, None)
                }
                Err(error) => return Err(error),
            }
        };
        projection.push(value.alias_qualified(column.relation.clone(), &column.name));
    }
    if projection.is_empty() {
        projection.push(datafusion_expr::lit(1_i64).alias("one"));
    }
    LogicalPlanBuilder::from(rows.build()?).project(projection).and_then(LogicalPlanBuilder::build).map_err(internal)
}
