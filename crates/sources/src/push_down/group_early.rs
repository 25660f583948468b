//! Groups one side of a join across sources at its source, so that groups travel instead of rows.
//!
//! `Aggregate(keys, sum(l.x), count(*)) over l JOIN r` becomes `Aggregate(keys, sum(s), sum(n)) over (l grouped by its join keys and
//! by its share of the keys) JOIN r`: rows of `l` that agree in these meet the same rows of `r`, so that every partial sum is
//! added as often as each of its rows would have been.
//!
//! When it would be wrong: an aggregate over columns of the other side (`sum(r.y)` needs to know how many rows of `l` there were),
//! DISTINCT, an aggregate that cannot be put together from parts (`avg`), and an outer join that keeps the other side (it would
//! count a row that `l` does not have).

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, TableReference};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, Join, LogicalPlan, Projection, cast, lit, when};

use super::group_local::over_steps;

/// Qualifies the columns of the early groups; also tells that a side is grouped already.
const EARLY: &str = "__early";

/// `node` with one side of the join below it grouped, the best choice first; empty where no side can be.
///
/// Each comes with its grouped side, so that the caller can ask whether that goes down whole.
pub(super) fn group_early(node: &Aggregate) -> Vec<(LogicalPlan, LogicalPlan)> {
    let (projected, input) = below_projections(&node.input);
    let LogicalPlan::Join(join) = input.as_ref() else { return vec![] };
    if join.filter.is_some() || join.on.is_empty() || join.null_aware {
        return vec![];
    }
    let sides: &[Side] = match join.join_type {
        JoinType::Inner => &[Side::Left, Side::Right],
        JoinType::Left => &[Side::Left],
        JoinType::Right => &[Side::Right],
        _ => return vec![],
    };
    let mut found = vec![];
    for by in [By::Keys, By::Steps] {
        found.extend(sides.iter().filter_map(|side| group_side(node, &projected, join, *side, by).ok().flatten()));
    }
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// What the early groups have of keys that are local time; see [`group_local`](super::group_local).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Keys,
    Steps,
}

fn group_side(
    node: &Aggregate,
    projected: &[&Projection],
    join: &Join,
    side: Side,
    by: By,
) -> Result<Option<(LogicalPlan, LogicalPlan)>> {
    let (grouped, other) = match side {
        Side::Left => (&join.left, &join.right),
        Side::Right => (&join.right, &join.left),
    };
    if grouped.schema().iter().any(|(qualifier, _)| is_early(qualifier)) {
        return Ok(None);
    }
    let is_of = |expr: &Expr, schema: &DFSchema| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.into_iter().all(|column| schema.maybe_index_of_column(column).is_some())
    };

    // What the early groups are made of: this side's join keys, then its share of the keys above.
    let mut group = vec![];
    let mut on = vec![];
    for (left, right) in &join.on {
        let (own, others) = if side == Side::Left { (left, right) } else { (right, left) };
        let key = early_key(&mut group, own);
        on.push(if side == Side::Left { (key, others.clone()) } else { (others.clone(), key) });
    }
    let mut keys = vec![];
    let mut is_local = false;
    for key in &node.group_expr {
        if matches!(key, Expr::GroupingSet(_)) {
            return Ok(None);
        }
        let key = inline(key, projected)?.unalias_nested().data;
        if is_of(&key, grouped.schema()) {
            let over = match by {
                By::Keys => None,
                By::Steps => over_steps(&key, grouped.schema(), &mut group)?,
            };
            is_local |= over.is_some();
            keys.push(over.unwrap_or_else(|| early_key(&mut group, &key)));
        } else if is_of(&key, other.schema()) {
            keys.push(key);
        } else {
            return Ok(None);
        }
    }
    if by == By::Steps && !is_local {
        return Ok(None);
    }
    let is_own = |aggregate: &Expr| aggregate.column_refs().is_empty() || is_of(aggregate, grouped.schema());
    let Some(parts) = parts_of(node, projected, is_own)? else { return Ok(None) };
    let below = early_groups(grouped, &group, &parts)?;

    let (left, right) = match side {
        Side::Left => (Arc::new(below.clone()), Arc::clone(other)),
        Side::Right => (Arc::clone(other), Arc::new(below.clone())),
    };
    let joined = Join::try_new(left, right, on, None, join.join_type, join.join_constraint, join.null_equality, false)?;
    Ok(with_totals(node, LogicalPlan::Join(joined), keys, &parts)?.map(|plan| (plan, below)))
}

/// The aggregates of a node in two stages.
pub(super) struct Parts {
    /// Over rows.
    partial: Vec<Expr>,
    /// Over the columns of the early groups; whether it is a count.
    total: Vec<(bool, Expr)>,
}

/// `None` where an aggregate cannot be put together from parts, or is not one of `is_own`.
pub(super) fn parts_of(
    node: &Aggregate,
    projected: &[&Projection],
    is_own: impl Fn(&Expr) -> bool,
) -> Result<Option<Parts>> {
    let mut parts = Parts { partial: vec![], total: vec![] };
    for aggregate in &node.aggr_expr {
        let aggregate = inline(aggregate, projected)?.unalias_nested().data;
        let Expr::AggregateFunction(AggregateFunction { func, params }) = &aggregate else { return Ok(None) };
        let counts = matches!(func.name(), "count" | "pg_count");
        let adds_up = counts || matches!(func.name(), "sum" | "min" | "max" | "pg_sum" | "pg_min" | "pg_max");
        if !adds_up
            || !is_own(&aggregate)
            || params.distinct
            || !params.order_by.is_empty()
            || params.null_treatment.is_some()
        {
            return Ok(None);
        }
        // Two that were different may be the same by now, and a node has no two columns of one name.
        let place = parts.partial.iter().position(|known| *known == aggregate).unwrap_or(parts.partial.len());
        let part = Expr::Column(early_column(&format!("a{place}")));
        let again = if counts { sum_udaf() } else { Arc::clone(func) };
        let total = AggregateFunction::new_udf(again, vec![part], false, None, vec![], None);
        parts.total.push((counts, Expr::AggregateFunction(total)));
        if place == parts.partial.len() {
            parts.partial.push(aggregate);
        }
    }
    Ok(Some(parts))
}

/// `input` grouped, its columns named as the early groups are.
pub(super) fn early_groups(input: &Arc<LogicalPlan>, group: &[Expr], parts: &Parts) -> Result<LogicalPlan> {
    let below = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(input), group.to_vec(), parts.partial.clone())?);
    let names = (0..group.len())
        .map(|index| format!("g{index}"))
        .chain((0..parts.partial.len()).map(|index| format!("a{index}")));
    let columns = below
        .schema()
        .columns()
        .into_iter()
        .zip(names)
        .map(|(column, name)| Expr::Column(column).alias_qualified(Some(TableReference::bare(EARLY)), name));
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(below))?))
}

/// The totals over `input`, which has the early groups, as the columns of `node`; `None` where their types would be others.
pub(super) fn with_totals(
    node: &Aggregate,
    input: LogicalPlan,
    keys: Vec<Expr>,
    parts: &Parts,
) -> Result<Option<LogicalPlan>> {
    let mut totals: Vec<Expr> = vec![];
    // Where the columns of `node` are above.
    let mut places: Vec<usize> = (0..keys.len()).collect();
    for (_, total) in &parts.total {
        let known = totals.iter().position(|known| known == total);
        places.push(keys.len() + known.unwrap_or(totals.len()));
        if known.is_none() {
            totals.push(total.clone());
        }
    }
    let expected = keys.len() + totals.len();
    let above = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), keys, totals)?);
    let given_columns = above.schema().columns();
    // Equal keys are one column.
    if given_columns.len() != expected {
        return Ok(None);
    }
    let mut columns = vec![];
    for (index, place) in places.into_iter().enumerate() {
        let (qualifier, field) = node.schema.qualified_field(index);
        let value = Expr::Column(given_columns[place].clone());
        let counts = index.checked_sub(node.group_expr.len()).is_some_and(|index| parts.total[index].0);
        let given = value.get_type(above.schema())?;
        let value = match (&given, field.data_type()) {
            (given, wanted) if given == wanted => value,
            // A sum of sums has more digits or is wider; narrowing it fails where it does not fit.
            (
                DataType::Decimal128(_, s) | DataType::Decimal256(_, s),
                DataType::Decimal128(_, wanted) | DataType::Decimal256(_, wanted),
            ) if s == wanted => cast(value, field.data_type().clone()),
            (DataType::Decimal128(_, 0) | DataType::Decimal256(_, 0), DataType::Int64) => cast(value, DataType::Int64),
            _ => return Ok(None),
        };
        // No rows: a count is 0, a sum of no counts is NULL. Not COALESCE, which only runs after DataFusion's simplifier.
        let value = if counts { when(value.clone().is_not_null(), value).otherwise(lit(0_i64))? } else { value };
        columns.push(value.alias_qualified(qualifier.cloned(), field.name()));
    }
    let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(above))?);
    let same = plan.schema().iter().eq(node.schema.iter());
    Ok(same.then_some(plan))
}

/// Whether a column is one of early groups.
pub(super) fn is_early(qualifier: Option<&TableReference>) -> bool {
    qualifier.is_some_and(|name| name.table() == EARLY)
}

/// The column of the early groups that holds `key`, which is added to them if it is new.
pub(super) fn early_key(group: &mut Vec<Expr>, key: &Expr) -> Expr {
    let index = group.iter().position(|known| known == key).unwrap_or_else(|| {
        group.push(key.clone());
        group.len() - 1
    });
    Expr::Column(early_column(&format!("g{index}")))
}

fn early_column(name: &str) -> Column {
    Column::new(Some(TableReference::bare(EARLY)), name)
}

/// The projections at the top of `plan`, the uppermost first, and what is below them.
pub(super) fn below_projections(plan: &Arc<LogicalPlan>) -> (Vec<&Projection>, &Arc<LogicalPlan>) {
    let (mut projections, mut below) = (vec![], plan);
    while let LogicalPlan::Projection(projection) = below.as_ref() {
        projections.push(projection);
        below = &projection.input;
    }
    (projections, below)
}

/// `expr` over what is below the projections instead of over the uppermost.
pub(super) fn inline(expr: &Expr, projected: &[&Projection]) -> Result<Expr> {
    let mut inlined = expr.clone();
    for projection in projected {
        let meaning: HashMap<Column, &Expr> = projection.schema.columns().into_iter().zip(&projection.expr).collect();
        inlined = inlined
            .transform_down(|expr| match &expr {
                Expr::Column(column) => match meaning.get(column) {
                    Some(meaning) => {
                        let meaning = (*meaning).clone().unalias_nested().data;
                        // What a column means is not looked at again: it speaks of the columns below.
                        Ok(Transformed::new(meaning, true, TreeNodeRecursion::Jump))
                    }
                    None => Ok(Transformed::no(expr)),
                },
                _ => Ok(Transformed::no(expr)),
            })?
            .data;
    }
    Ok(inlined)
}
