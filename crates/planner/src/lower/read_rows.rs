//! `SELECT … FROM view` without grouping: each joined row is its own group (reference AG7).

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use belvedere_model::MemberKind;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, TableScan};

use crate::catalog::{JOIN_FIELD, MemberColumn, ViewTableSource};
use crate::error::{PlanError, Result};
use crate::expand::absorb::{Absorbed, absorb, absorb_correlated};
use crate::expand::choose_join_tree::{JoinTree, choose_join_tree};
use crate::expand::hints::{Hints, in_hint_order, member};
use crate::expand::pin_switches::{cross_switches, refuse_hidden_switches};
use crate::nodes::fact_leg::LegScan;
use crate::policy::Restrictions;
use crate::rewrite::CUSTOM_GRANULARITY;

use super::joined_rows::{JoinedRows, Planning, internal, missing};
use super::sub_queries::{Restriction, is_restricted};

/// Replaces every remaining view table of a plan. A measure that cannot be evaluated on a row is an error when the statement
/// names it, and NULL with a notice when `*` brought it in.
///
/// # Errors
/// 0A000 for what is not executed yet.
pub fn read_rows(plan: LogicalPlan, planning: Planning<'_>) -> datafusion_common::Result<LogicalPlan> {
    let plan = read_chains(plan, planning)?;
    let plan = read_joins(plan, planning, Crossed::AsModel)?.data;
    let plan = read_filtered(plan, planning)?;
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::TableScan(scan) => match scan.source.downcast_ref::<ViewTableSource>() {
            Some(source) => Ok(Transformed::yes(read_table(scan, source, &[], planning)?)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

/// Replaces the reads that cut time by a calendar's own SQL, and those of sub-query dimensions that follow the query's conditions: the
/// whole chain above the view becomes base columns at once.
fn read_chains(plan: LogicalPlan, planning: Planning<'_>) -> datafusion_common::Result<LogicalPlan> {
    let plan = plan.transform_down_with_subqueries(|node| read_chain(node, planning)).data()?;
    let mut left = false;
    plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            left |= cuts_by_calendar(&expr)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if left {
        return Err(PlanError::unsupported("a calendar's own units cannot be used in this place")
            .hint("Call DATE_TRUNC in a sub-query that reads the calendar's view, and use its column here.")
            .into());
    }
    Ok(plan)
}

fn read_chain(node: LogicalPlan, planning: Planning<'_>) -> datafusion_common::Result<Transformed<LogicalPlan>> {
    match node {
        // ORDER BY may cut what the list does not: a column for it, dropped again above.
        LogicalPlan::Sort(sort) => {
            let mut extra: Vec<Expr> = Vec::new();
            let mut keys = Vec::with_capacity(sort.expr.len());
            for key in &sort.expr {
                let mut key = key.clone();
                if cuts_by_calendar(&key.expr)? {
                    let name = format!("{}{}", crate::name::UNIQUE_MARK, extra.len());
                    extra.push(key.expr.alias(&name));
                    key.expr = Expr::Column(Column::new_unqualified(name));
                }
                keys.push(key);
            }
            if extra.is_empty() {
                return Ok(Transformed::no(LogicalPlan::Sort(sort)));
            }
            let own: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
            let below = own.iter().cloned().chain(extra);
            LogicalPlanBuilder::from(sort.input.as_ref().clone())
                .project(below)?
                .sort_with_limit(keys, sort.fetch)?
                .project(own)?
                .build()
                .map(Transformed::yes)
        }
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            let Some(absorbed) = absorb(&node)?.filter(|_| !sorts(&node)) else {
                refuse_other_conditions(&node, planning)?;
                return Ok(Transformed::no(node));
            };
            let mut needed = false;
            let mut shown = Vec::new();
            for column in node.schema().columns() {
                let value = absorbed.resolved(&Expr::Column(column))?;
                needed |= cuts_by_calendar(&value)? || follows_conditions(&value, &absorbed, planning)?;
                shown.push(value);
            }
            refuse_hidden_switches(&absorbed.scans, &shown, &absorbed.filters, &planning.catalog.model)?;
            for filter in &absorbed.filters {
                needed |= cuts_by_calendar(filter)? || follows_conditions(filter, &absorbed, planning)?;
            }
            if needed {
                return Ok(Transformed::yes(read_join(&node, &absorbed, planning)?));
            }
            Ok(Transformed::no(node))
        }
        // Conditions above a join of the statement's own are not on the rows of the view alone.
        LogicalPlan::Join(join) => {
            for input in [&join.left, &join.right] {
                let mut input = input.as_ref();
                while let LogicalPlan::SubqueryAlias(alias) = input {
                    input = &alias.input;
                }
                let LogicalPlan::TableScan(scan) = input else { continue };
                let Some(source) = scan.source.downcast_ref::<ViewTableSource>() else { continue };
                let columns = scan.projected_schema.columns();
                let mut members = columns.iter().filter_map(|column| source.table.columns.get(&column.name));
                if let Some(member) = members.find(|member| is_restricted(&planning.catalog.model, member)) {
                    return Err(PlanError::unsupported(format!(
                        "\"{}\" follows the conditions of the query that reads it, and cannot be read beside a join",
                        member.member
                    ))
                    .hint("Read the view in a sub-query in FROM with the conditions that are meant, and join that.")
                    .into());
                }
            }
            Ok(Transformed::no(LogicalPlan::Join(join)))
        }
        node => Ok(Transformed::no(node)),
    }
}

/// Conditions that refer to an outer query, or join tables of the statement, cannot hold inside a sub-query dimension.
fn refuse_other_conditions(node: &LogicalPlan, planning: Planning<'_>) -> datafusion_common::Result<()> {
    let LogicalPlan::Filter(filter) = node else { return Ok(()) };
    let Some(absorbed) = absorb_correlated(&filter.input)? else { return Ok(()) };
    for column in filter.input.schema().columns() {
        if follows_conditions(&absorbed.resolved(&Expr::Column(column))?, &absorbed, planning)? {
            return Err(PlanError::unsupported(
                "a sub-query dimension that follows the query's conditions cannot be read under these conditions",
            )
            .detail("They refer to an outer query or join tables, and cannot hold for the rows of its measure.")
            .hint("Read the view in a sub-query in FROM with the conditions that are meant.")
            .into());
        }
    }
    Ok(())
}

/// Whether a value depends on the conditions of the query: a sub-query dimension that they are passed on to.
fn follows_conditions(expr: &Expr, absorbed: &Absorbed, planning: Planning<'_>) -> datafusion_common::Result<bool> {
    for column in expr.column_refs() {
        if column.name != JOIN_FIELD && is_restricted(&planning.catalog.model, member(&absorbed.scans, column)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A sort in a chain would be lost with it.
fn sorts(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Sort(_)) || plan.inputs().into_iter().any(sorts)
}

fn cuts_by_calendar(expr: &Expr) -> datafusion_common::Result<bool> {
    expr.exists(|node| Ok(matches!(node, Expr::ScalarFunction(call) if call.func.name() == CUSTOM_GRANULARITY)))
}

/// View tables below conditions, which cubes may ask for in their SQL.
fn read_filtered(plan: LogicalPlan, planning: Planning<'_>) -> datafusion_common::Result<LogicalPlan> {
    plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::Filter(_) = &node else { return Ok(Transformed::no(node)) };
        let Some(absorbed) = absorb(&node)?.filter(|absorbed| absorbed.scans.len() == 1) else {
            return Ok(Transformed::no(node));
        };
        node.transform_down(|node| match &node {
            LogicalPlan::TableScan(scan) => match scan.source.downcast_ref::<ViewTableSource>() {
                Some(source) => Ok(Transformed::yes(read_table(scan, source, &absorbed.filters, planning)?)),
                None => Ok(Transformed::no(node)),
            },
            _ => Ok(Transformed::no(node)),
        })
    })
    .data()
}

fn names_join_field(join: &Join) -> bool {
    join.on
        .iter()
        .flat_map(|(left, right)| [left, right])
        .chain(&join.filter)
        .any(|expr| expr.column_refs().iter().any(|column| column.name == JOIN_FIELD))
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
    let facts: BTreeSet<&str> = members
        .into_iter()
        .filter(|member| member.kind == MemberKind::Measure && !member.path.is_empty())
        .filter_map(|member| tree.node_at(model, &member.path))
        .collect();
    let repeated: Vec<&str> = facts.into_iter().filter(|node| tree.multiplies(model, node)).collect();
    match repeated.as_slice() {
        [first, second, ..] => Err(PlanError::unsupported(format!(
            "the rows of \"{first}\" and \"{second}\" cannot be listed side by side"
        ))
        .detail("They are facts of their own: each row of one would be repeated for every row of the other.")
        .hint("Name columns of one fact, or group the query.")),
        _ => Ok(()),
    }
}

/// Each root of a view is a fact of its own, even where a join leads from one to the other (reference MF19).
///
/// # Errors
/// 0A000 naming two of them.
fn refuse_several_roots<'a>(members: impl IntoIterator<Item = &'a MemberColumn>) -> Result<()> {
    let roots: BTreeSet<&String> = members
        .into_iter()
        .filter(|member| member.kind == MemberKind::Measure)
        .filter_map(|member| member.path.first())
        .collect();
    let mut roots = roots.into_iter();
    match (roots.next(), roots.next()) {
        (Some(first), Some(second)) => Err(PlanError::unsupported(format!(
            "the view has several facts, among them \"{first}\" and \"{second}\", whose rows cannot be listed side by side"
        ))
        .hint("Group the query, as in SELECT …, MEASURE(…) … GROUP BY …, or name the measures of one fact.")),
        _ => Ok(()),
    }
}

/// What tables mean that stand side by side without a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crossed {
    /// The model's join, as in a grouped query.
    AsModel,
    /// Every row with every row: the statement joins them itself.
    AsSql,
}

/// Replaces tables that are joined by the model's own join, so that their rows are those of one tree, as in a grouped query.
fn read_joins(
    plan: LogicalPlan,
    planning: Planning<'_>,
    crossed: Crossed,
) -> datafusion_common::Result<Transformed<LogicalPlan>> {
    let below = match &plan {
        LogicalPlan::Join(join) => match absorb(&plan)? {
            Some(absorbed) if absorbed.crossed && crossed == Crossed::AsSql => return Ok(Transformed::no(plan)),
            Some(absorbed) => return Ok(Transformed::yes(read_join(&plan, &absorbed, planning)?)),
            // As plain SQL it would give no row: the field is NULL.
            None if names_join_field(join) => {
                return Err(PlanError::unsupported(
                    "__cubeJoinField joins views and cubes, and nothing else beside it",
                )
                .detail("It means the model's own join, which has conditions of its own.")
                .hint("Join the other tables to a sub-query that has this join alone, or write a join condition.")
                .into());
            }
            None => Crossed::AsSql,
        },
        LogicalPlan::Filter(filter) => match absorb(&filter.input)? {
            Some(inner) if inner.is_joined_by(&filter.predicate)? => Crossed::AsSql,
            Some(_) | None => crossed,
        },
        LogicalPlan::SubqueryAlias(_) => crossed,
        _ => Crossed::AsModel,
    };
    plan.map_children(|child| read_joins(child, planning, below))?
        .transform_data(|plan| plan.map_subqueries(|subquery| read_joins(subquery, planning, Crossed::AsModel)))
}

fn read_join(join: &LogicalPlan, absorbed: &Absorbed, planning: Planning<'_>) -> Result<LogicalPlan> {
    let model = &planning.catalog.model;
    let scans = &absorbed.scans;
    let columns = join.schema().columns();
    let is_join_field = |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == JOIN_FIELD);
    let values: Vec<Expr> = columns
        .iter()
        .map(|column| absorbed.resolved(&Expr::Column(column.clone())))
        .collect::<datafusion_common::Result<_>>()
        .map_err(internal)?;
    let mut hints = Hints::new(model);
    let mut members = Vec::new();
    let asked = values.iter().chain(&absorbed.filters).filter(|expr| !is_join_field(expr)).flat_map(Expr::column_refs);
    let restrictions = Restrictions::of(scans, asked, planning)?;
    for expr in values.iter().filter(|expr| !is_join_field(expr)).chain(&absorbed.filters) {
        for column in expr.column_refs() {
            members.push(member(scans, column)?);
        }
    }
    for member in in_hint_order(members.iter().copied()) {
        hints.member(member)?;
    }
    // One view alone is read as `read_table` reads it.
    if scans.len() > 1 || hints.paths.is_empty() {
        scans.iter().for_each(|scan| hints.default_of(scan));
    }
    if scans.len() == 1 {
        refuse_several_roots(members.iter().copied())?;
    }
    restrictions.guards.iter().try_for_each(|guard| hints.condition(&guard.condition))?;
    let tree = choose_join_tree(model, &hints.paths)?;
    refuse_several_facts(members.iter().copied(), &tree, planning)?;
    let mut rows = JoinedRows::new(planning, tree);
    rows.switches = Some(cross_switches(members.iter().copied(), model));
    rows.restriction = Restriction::of(scans, &absorbed.filters, &restrictions);
    rows.asks(scans, &absorbed.filters)?;
    let mut projection = Vec::with_capacity(columns.len());
    for (index, (column, value)) in columns.iter().zip(&values).enumerate() {
        let wanted = join.schema().field(index).data_type();
        let value = match value {
            value if is_join_field(value) => Expr::Literal(ScalarValue::Utf8(None), None),
            Expr::Column(inner) => column_value(&mut rows, member(scans, inner)?, &inner.name, wanted, planning)?,
            other => rows.over_rows(scans, other)?,
        };
        projection.push(value.alias_qualified(column.relation.clone(), &column.name));
    }
    let filters = absorbed.filters.iter().map(|filter| rows.over_rows(scans, filter)).collect::<Result<Vec<_>>>()?;
    let mut builder = LogicalPlanBuilder::from(rows.build_guarded(&restrictions)?);
    for filter in filters {
        builder = builder.filter(filter).map_err(internal)?;
    }
    builder.project(projection).and_then(LogicalPlanBuilder::build).map_err(internal)
}

/// A column on each row; NULL with a notice where `*` brought in a measure that no row has.
fn column_value(
    rows: &mut JoinedRows<'_>,
    member: &MemberColumn,
    name: &str,
    wanted: &DataType,
    planning: Planning<'_>,
) -> Result<Expr> {
    let value = match member.kind {
        MemberKind::Dimension | MemberKind::Segment => rows.row_member(member),
        MemberKind::Measure => match &member.mask {
            Some(mask) => rows.masked_measure_of_row(member, mask.shown_where.as_ref()),
            None => rows.measure_of_row(member),
        },
    };
    match value {
        Err(error) if error.sqlstate == "0A000" && !planning.mentioned.contains(&name.to_lowercase()) => {
            planning.notices.borrow_mut().push(format!("column \"{name}\" is NULL here: {}", error.message));
            Ok(Expr::Literal(ScalarValue::try_from(wanted).map_err(internal)?, None))
        }
        value => value,
    }
}

/// `conditions` stand above the table.
fn read_table(
    scan: &TableScan,
    source: &ViewTableSource,
    conditions: &[Expr],
    planning: Planning<'_>,
) -> Result<LogicalPlan> {
    let model = &planning.catalog.model;
    let leg_scan = LegScan {
        reference: scan.table_name.clone(),
        table: std::sync::Arc::clone(&source.table),
        defaults: source.defaults.clone(),
    };
    let columns: Vec<Column> = scan.projected_schema.columns();
    let mut hints = Hints::new(model);
    // Measures' cubes come first, as in a grouped query, so that the same root decides which rows there are.
    for member in in_hint_order(columns.iter().filter_map(|column| source.table.columns.get(&column.name))) {
        hints.member(member)?;
    }
    if hints.paths.is_empty() {
        hints.default_of(&leg_scan);
    }
    let named: Vec<&Column> = columns.iter().filter(|column| column.name != JOIN_FIELD).collect();
    let restrictions = Restrictions::of(std::slice::from_ref(&leg_scan), named, planning)?;
    restrictions.guards.iter().try_for_each(|guard| hints.condition(&guard.condition))?;
    let tree = choose_join_tree(model, &hints.paths)?;
    let asked = columns.iter().filter_map(|column| source.table.columns.get(&column.name));
    refuse_several_roots(asked.clone())?;
    refuse_several_facts(asked, &tree, planning)?;
    let mut rows = JoinedRows::new(planning, tree);
    let named = columns.iter().filter_map(|column| source.table.columns.get(&column.name));
    rows.switches = Some(cross_switches(named, model));
    rows.asks(std::slice::from_ref(&leg_scan), conditions)?;
    let mut projection = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let wanted = scan.projected_schema.field(index).data_type();
        let value = if column.name == JOIN_FIELD {
            Expr::Literal(ScalarValue::Utf8(None), None)
        } else {
            let member =
                source.table.columns.get(&column.name).ok_or_else(|| missing(&source.table.name, &column.name))?;
            column_value(&mut rows, member, &column.name, wanted, planning)?
        };
        projection.push(value.alias_qualified(column.relation.clone(), &column.name));
    }
    if projection.is_empty() {
        projection.push(datafusion_expr::lit(1_i64).alias("one"));
    }
    LogicalPlanBuilder::from(rows.build_guarded(&restrictions)?)
        .project(projection)
        .and_then(LogicalPlanBuilder::build)
        .map_err(internal)
}
