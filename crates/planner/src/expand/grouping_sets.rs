//! `GROUPING SETS`, `ROLLUP` and `CUBE` over views: one question for each set, one after the other.
//!
//! All sets group the same rows, as in PostgreSQL: every question joins the cubes of all grouping expressions, also of those that its
//! own set leaves out. So the totals of ROLLUP add up where no row repeats, and where rows repeat each counts once in every group,
//! also in the total: a total is not the sum of its parts then, and must not be computed from them.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{DFSchema, Result, ScalarValue, TableReference};
use datafusion_expr::expr::GroupingSet;
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, ident};
use indexmap::IndexSet;

use crate::error::PlanError;
use crate::lower::joined_rows::Planning;

use super::absorb::Absorbed;
use super::build_legs::{Asked, Question, asked, resolved};
use super::split_facts::split_facts;

/// Each set is a question with statements of its own at the sources.
const SETS_MAX: usize = 64;

/// The answer to an aggregate by grouping sets, with the aggregate's schema: the grouping expressions, which of them the row's set
/// leaves out, the aggregates.
///
/// # Errors
/// 54001 for more than [`SETS_MAX`] sets; as [`split_facts`].
pub(crate) fn split_sets(
    aggregate: &Aggregate,
    sets: &GroupingSet,
    absorbed: &Absorbed,
    planning: Planning<'_>,
) -> Result<LogicalPlan> {
    let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
    let sets = positions(sets, &keys)?;
    let group = keys.iter().map(|key| resolved(key, absorbed)).collect::<Result<Vec<_>>>()?;
    let aggregates = aggregate.aggr_expr.iter().map(|expr| asked(expr, absorbed)).collect::<Result<Vec<_>>>()?;
    let mut all: Option<LogicalPlanBuilder> = None;
    for set in &sets {
        let answer = answer_to_set(aggregate, set, &group, &aggregates, absorbed, planning)?;
        all = Some(match all {
            None => LogicalPlanBuilder::from(answer),
            Some(before) => before.union(answer)?,
        });
    }
    let all = all.ok_or_else(|| PlanError::internal("grouping sets without a set"))?;
    let columns = aggregate.schema.columns().into_iter().enumerate();
    let projection: Vec<Expr> = columns
        .map(|(index, column)| ident(position_name(index)).alias_qualified(column.relation, column.name))
        .collect();
    all.project(projection)?.build()
}

/// The rows of one set under names that all sets have.
fn answer_to_set(
    aggregate: &Aggregate,
    set: &IndexSet<usize>,
    group: &[Expr],
    aggregates: &[Asked],
    absorbed: &Absorbed,
    planning: Planning<'_>,
) -> Result<LogicalPlan> {
    // The grouping id stands between the keys and the aggregates.
    let id = group.len();
    let fields: Vec<(Option<TableReference>, FieldRef)> = set
        .iter()
        .copied()
        .chain(id + 1..aggregate.schema.fields().len())
        .map(|index| {
            let (relation, field) = aggregate.schema.qualified_field(index);
            (relation.cloned(), Arc::clone(field))
        })
        .collect();
    let question = Question {
        group: set.iter().map(|index| group[*index].clone()).collect(),
        joined: group.to_vec(),
        aggregates: aggregates.to_vec(),
        schema: Arc::new(DFSchema::new_with_metadata(fields, aggregate.schema.metadata().clone())?),
        ..Question::over(absorbed, aggregates)
    };
    let answer = if question.schema.fields().is_empty() {
        // `GROUP BY ()` without an aggregate is one row, whatever there is to group.
        LogicalPlanBuilder::empty(true).build()?
    } else {
        split_facts(&question, planning)?
    };
    let mut projection = Vec::new();
    for (index, column) in aggregate.schema.columns().into_iter().enumerate() {
        let data_type = aggregate.schema.field(index).data_type();
        let value = if index == id {
            Expr::Literal(grouping_id(set, group.len(), data_type)?, None)
        } else if index > id || set.contains(&index) {
            Expr::Column(column)
        } else {
            Expr::Literal(ScalarValue::try_from(data_type)?, None)
        };
        projection.push(value.alias(position_name(index)));
    }
    LogicalPlanBuilder::from(answer).project(projection)?.build()
}

fn position_name(index: usize) -> String {
    format!("s{index}")
}

/// One bit for each key that the set leaves out, that of the last key being the lowest: what `GROUPING(…)` reads.
fn grouping_id(set: &IndexSet<usize>, keys: usize, data_type: &DataType) -> Result<ScalarValue> {
    let bits = (0..keys).fold(0_u64, |bits, key| bits << 1 | u64::from(!set.contains(&key)));
    ScalarValue::UInt64(Some(bits)).cast_to(data_type)
}

/// The sets as positions among the keys; a set that is there twice gives its rows twice, as in PostgreSQL.
fn positions(sets: &GroupingSet, keys: &[&Expr]) -> Result<Vec<IndexSet<usize>>> {
    let position = |expr: &Expr| {
        keys.iter()
            .position(|key| *key == expr)
            .ok_or_else(|| PlanError::internal(format!("{expr} is in a grouping set and is no key")).into())
    };
    let set_of = |exprs: &[Expr]| exprs.iter().map(position).collect::<Result<IndexSet<_>>>();
    let too_many = |count: usize| {
        (count > SETS_MAX).then(|| {
            PlanError::new("54001", format!("{count} grouping sets are more than {SETS_MAX}"))
                .hint("Name the sets that you need in GROUPING SETS (…).")
        })
    };
    match sets {
        GroupingSet::Rollup(exprs) => match too_many(exprs.len() + 1) {
            Some(error) => Err(error.into()),
            None => (0..=exprs.len()).rev().map(|count| set_of(&exprs[..count])).collect(),
        },
        GroupingSet::Cube(exprs) => {
            let count =
                u32::try_from(exprs.len()).ok().and_then(|count| 1_usize.checked_shl(count)).unwrap_or(usize::MAX);
            match too_many(count) {
                Some(error) => Err(error.into()),
                None => (0..count)
                    .map(|mask| {
                        exprs
                            .iter()
                            .enumerate()
                            .filter(|(index, _)| mask >> index & 1 == 0)
                            .map(|(_, expr)| position(expr))
                            .collect()
                    })
                    .collect(),
            }
        }
        GroupingSet::GroupingSets(sets) => match too_many(sets.len()) {
            Some(error) => Err(error.into()),
            None => sets.iter().map(|set| set_of(set)).collect(),
        },
    }
}
