//! One leg as plain relational algebra: join the rows, filter them, group them.
//!
//! Where the tree repeats the rows that are aggregated, each counts once in a group: what is aggregated is first reduced to
//! distinct groups, primary keys and values. The values of a row depend on its key, so that is one row for each key in each group.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder, Subquery, ident, lit};

use crate::error::{PlanError, Result};
use crate::expand::hints::member;
use crate::expand::split_facts::{group_name, typed_as};
use crate::nodes::fact_leg::{FactLeg, LeafKind, LegAggregate, LegLeaf, LegScan};
use crate::rewrite::CUSTOM_GRANULARITY;
use crate::substitute::cover_members::STORED;
use crate::substitute::substitute;

use super::joined_rows::{JoinedRows, Planning, internal};
use super::sub_queries::Restriction;

/// Replaces every leg of a plan.
///
/// # Errors
/// 0A000 for what is not executed yet.
pub fn lower_legs(plan: LogicalPlan, planning: Planning<'_>) -> datafusion_common::Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<FactLeg>() {
            Some(leg) => Ok(Transformed::yes(lower_leg(leg, planning)?)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

impl JoinedRows<'_> {
    /// An expression over view columns, over base columns.
    pub(crate) fn over_rows(&mut self, scans: &[LegScan], expr: &Expr) -> Result<Expr> {
        expr.clone()
            .transform_down(|node| {
                let replaced = match node {
                    Expr::InSubquery(mut within) => {
                        within.subquery = self.lowered(within.subquery)?;
                        return Ok(Transformed::yes(Expr::InSubquery(within)));
                    }
                    Expr::Exists(mut exists) => {
                        exists.subquery = self.lowered(exists.subquery)?;
                        return Ok(Transformed::yes(Expr::Exists(exists)));
                    }
                    Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(self.lowered(subquery)?),
                    Expr::ScalarFunction(call) if call.func.name() == CUSTOM_GRANULARITY => {
                        let (granularity, column) = granularity_call(&call)?;
                        self.column_at_granularity(member(scans, column)?, granularity)?
                    }
                    Expr::Column(column) if column.relation.as_ref().is_some_and(|of| of.table() == STORED) => {
                        Expr::Column(column)
                    }
                    Expr::Column(column) => self.row_member(member(scans, &column)?)?,
                    node => return Ok(Transformed::no(node)),
                };
                // What was put in is over base columns already.
                Ok(Transformed::new(replaced, true, TreeNodeRecursion::Jump))
            })
            .map_err(internal)
            .map(|transformed| transformed.data)
    }

    /// A sub-query inside a leg's filter is hidden from the walk over the plan: it is lowered here.
    fn lowered(&self, subquery: Subquery) -> datafusion_common::Result<Subquery> {
        let plan = substitute(subquery.subquery.as_ref().clone(), self.planning)?;
        let plan = super::lower(plan, self.planning)?;
        Ok(subquery.with_plan(Arc::new(plan)))
    }
}

/// The granularity and the dimension's column of a call that only the dimension's cube can compute.
pub(crate) fn granularity_call(call: &ScalarFunction) -> Result<(&str, &Column)> {
    match call.args.as_slice() {
        [Expr::Literal(ScalarValue::Utf8(Some(granularity)), _), Expr::Column(column)] => Ok((granularity, column)),
        _ => Err(PlanError::internal("a granularity of something that is no dimension")),
    }
}

/// Lowers one leg.
///
/// # Errors
/// As [`lower_legs`].
pub fn lower_leg(leg: &FactLeg, planning: Planning<'_>) -> Result<LogicalPlan> {
    let mut rows = JoinedRows::new(planning, leg.tree.clone());
    rows.switches = Some(leg.switches.clone());
    rows.mapped.clone_from(&leg.mapped);
    rows.restriction = Restriction::of(&leg.scans, &leg.conditions, &leg.restrictions);
    let group = leg.group.iter().map(|expr| rows.over_rows(&leg.scans, expr)).collect::<Result<Vec<_>>>()?;
    let filters = leg.filters.iter().map(|expr| rows.over_rows(&leg.scans, expr)).collect::<Result<Vec<_>>>()?;
    rows.asks(&leg.scans, &leg.filters)?;

    // Inputs of aggregates become columns first: the aggregate itself then reads plain columns, as sources want it.
    let mut inputs: Vec<Expr> = Vec::new();
    for (index, expr) in group.iter().enumerate() {
        inputs.push(expr.clone().alias(group_name(index)));
    }
    let mut aggregates: Vec<Expr> = Vec::new();
    for aggregate in &leg.aggregates {
        let computed = match aggregate {
            LegAggregate::Leaf(leaf) => {
                let value = rows.leg_leaf(leg, leaf)?;
                rows.leaf_aggregate(leaf.kind, input_column(value, group.len(), &mut inputs))?
            }
            LegAggregate::OverRows(expr) => {
                let over = rows.over_rows(&leg.scans, expr)?;
                arguments_as_columns(over, group.len(), &mut inputs)?
            }
            LegAggregate::HiddenRows(hidden) => {
                let filter = hidden.filter.as_ref().map(|filter| rows.over_rows(&leg.scans, filter)).transpose()?;
                let value = rows.hidden_row(hidden, filter)?;
                rows.leaf_aggregate(LeafKind::Max, input_column(value, group.len(), &mut inputs))?
            }
            LegAggregate::CountRows { filter } => {
                let filter = filter.as_ref().map(|filter| rows.over_rows(&leg.scans, filter)).transpose()?;
                let counted = match filter {
                    None => lit(1_i64),
                    Some(filter) => one_where(filter),
                };
                arguments_as_columns(rows.leaf_aggregate(LeafKind::Count, counted)?, group.len(), &mut inputs)?
            }
        };
        aggregates.push(computed);
    }
    if let Some(cube) = &leg.distinct_rows_of {
        for (index, key) in rows.primary_key(cube)?.into_iter().enumerate() {
            inputs.push(key.alias(format!("k{index}")));
        }
    }
    if inputs.is_empty() {
        inputs.push(lit(1_i64).alias("one"));
    }

    let mut builder = LogicalPlanBuilder::from(rows.build_guarded(&leg.restrictions)?);
    for filter in filters {
        builder = builder.filter(filter).map_err(internal)?;
    }
    builder = builder.project(inputs).map_err(internal)?;
    if leg.distinct_rows_of.is_some() {
        builder = builder.distinct().map_err(internal)?;
    }
    let keys: Vec<Expr> = (0..group.len()).map(|index| ident(group_name(index))).collect();
    // The same aggregate is computed once, under its first name: DataFusion refuses two of one name when it drops the aliases.
    let name_of = |index: usize| leg.schema.field(group.len() + index).name().clone();
    let mut computed: Vec<(Expr, String)> = Vec::new();
    let mut names: Vec<String> = (0..group.len()).map(group_name).collect();
    for (index, aggregate) in aggregates.into_iter().enumerate() {
        match computed.iter().find(|(known, _)| *known == aggregate) {
            Some((_, name)) => names.push(name.clone()),
            None => {
                names.push(name_of(index));
                computed.push((aggregate, name_of(index)));
            }
        }
    }
    let aggregates: Vec<Expr> = computed.into_iter().map(|(aggregate, name)| aggregate.alias(name)).collect();
    builder = builder.aggregate(keys, aggregates).map_err(internal)?;
    let mut projection = Vec::new();
    for (index, (own, computed)) in leg.schema.columns().into_iter().zip(names).enumerate() {
        let value = typed_as(ident(computed.clone()), builder.schema(), leg.schema.field(index).data_type())?;
        projection.push(if own.name == computed { value } else { value.alias(own.name) });
    }
    builder.project(projection).and_then(LogicalPlanBuilder::build).map_err(internal)
}

impl JoinedRows<'_> {
    /// The values of a leaf; where distinct rows are counted only whether there is one, which any type can say.
    fn leg_leaf(&mut self, leg: &FactLeg, leaf: &LegLeaf) -> Result<Expr> {
        let extra = leaf.filter.as_ref().map(|filter| self.over_rows(&leg.scans, filter)).transpose()?;
        let value = self.leaf_value(leaf, extra)?;
        Ok(match leaf.kind {
            LeafKind::Count if leg.distinct_rows_of.is_some() => one_where(Expr::IsNotNull(Box::new(value))),
            LeafKind::Count
            | LeafKind::CountDistinct
            | LeafKind::CountDistinctApprox
            | LeafKind::Sketch
            | LeafKind::Set
            | LeafKind::Sum
            | LeafKind::Min
            | LeafKind::Max => value,
        })
    }

    /// The columns of the primary key of the cube at a node, as stored.
    pub(super) fn primary_key(&mut self, node: &str) -> Result<Vec<Expr>> {
        let role = self.role_at(node)?;
        let keys =
            role.cube.primary_key().map(|key| self.stored_dimension(&role, key, 0)).collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(PlanError::internal(format!("cube \"{}\" has no primary key", role.name())));
        }
        Ok(keys)
    }
}

/// The column of an aggregate's input: one that is there already, or a new one. Groups have columns of their own.
fn input_column(value: Expr, groups: usize, inputs: &mut Vec<Expr>) -> Expr {
    let known = inputs[groups..].iter().find_map(|input| match input {
        Expr::Alias(alias) if *alias.expr == value => Some(alias.name.clone()),
        _ => None,
    });
    ident(known.unwrap_or_else(|| {
        let name = format!("i{}", inputs.len() - groups);
        inputs.push(value.alias(&name));
        name
    }))
}

/// 1 where `condition` holds, else NULL.
fn one_where(condition: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(lit(1_i64)))], None))
}

/// `sum(a + b)` as `sum(x)` over a column `x`. The same expression is the same column: `string_agg(DISTINCT x, ', ' ORDER BY x)`
/// asks for that.
fn arguments_as_columns(aggregate: Expr, groups: usize, inputs: &mut Vec<Expr>) -> Result<Expr> {
    let Expr::AggregateFunction(mut call) = aggregate else {
        return Err(PlanError::internal("an aggregate over rows is not a function call"));
    };
    let mut column_for = |expr: Expr| match expr {
        literal @ Expr::Literal(..) => literal,
        expr => input_column(expr, groups, inputs),
    };
    call.params.args = call.params.args.into_iter().map(&mut column_for).collect();
    call.params.filter = call.params.filter.map(|filter| Box::new(column_for(*filter)));
    for sort in &mut call.params.order_by {
        sort.expr = column_for(sort.expr.clone());
    }
    Ok(Expr::AggregateFunction(call))
}
