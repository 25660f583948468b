//! Puts the legs of one question side by side on their groups, and computes the answer above them.
//!
//! The legs become one list of rows, each with NULL for the columns of the others, grouped by the common dimensions: a full join
//! in which NULL keys meet, for any number of legs (reference MF6). It is done here, never at a source: PostgreSQL has no full
//! join on NULL-safe keys and MySQL none at all, and each leg gives no more rows than there are groups. A filter on the groups
//! passes into every leg. It would be wrong to join on plain equality: the groups of NULL would fall apart.

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{Column, JoinType, NullEquality, ScalarValue};
use datafusion_expr::expr::{AggregateFunction, NullTreatment, ScalarFunction};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};

use crate::error::{PlanError, Result};
use crate::lower::joined_rows::{Planning, internal};

use super::build_legs::Question;
use super::split_facts::{group_name, typed_as};

/// What the legs are put together to.
pub(crate) struct Answer<'a> {
    pub question: &'a Question,
    pub columns: Vec<SideColumn>,
    /// The question's aggregates over these columns, and those of [`Onto`].
    pub outputs: Vec<Expr>,
}

/// A column that one of the sides has.
pub(crate) struct SideColumn {
    pub name: String,
    pub field: FieldRef,
    /// Whether it is 0 for a group that its side does not have.
    pub counts: bool,
}

/// A value for each of some of the groups' columns, which every group with these keys has.
pub(crate) struct Onto {
    pub name: String,
    /// The keys' columns, named as the groups, and the value.
    pub values: LogicalPlan,
    /// Positions of groups.
    pub keys: Vec<usize>,
    pub counts: bool,
}

/// The answer over its sides, legs or stages of the same groups, with the question's schema.
pub(crate) fn combine_legs(
    answer: &Answer<'_>,
    mut sides: Vec<LogicalPlan>,
    onto: Vec<Onto>,
    planning: Planning<'_>,
) -> Result<LogicalPlan> {
    let mut combined = match (sides.pop(), sides.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            sides.push(last);
            side_by_side(answer.question.group.len(), &answer.columns, sides, planning)?
        }
        (None, _) => return Err(PlanError::internal("a question without legs")),
    };
    for (number, onto) in onto.into_iter().enumerate() {
        combined = put_onto(combined, onto, number, planning)?;
    }
    let question = answer.question;
    let mut projection = Vec::new();
    for (index, column) in question.schema.columns().into_iter().enumerate() {
        let value = match index.checked_sub(question.group.len()) {
            None => ident(group_name(index)),
            Some(output) => answer.outputs[output].clone(),
        };
        let value = typed_as(value, combined.schema(), question.schema.field(index).data_type())?;
        projection.push(value.alias_qualified(column.relation, column.name));
    }
    LogicalPlanBuilder::from(combined).project(projection).and_then(LogicalPlanBuilder::build).map_err(internal)
}

/// One list of rows, grouped: the first `groups` columns of each side, and `columns`, each of which one side has.
pub(crate) fn side_by_side(
    groups: usize,
    columns_of_sides: &[SideColumn],
    legs: Vec<LogicalPlan>,
    planning: Planning<'_>,
) -> Result<LogicalPlan> {
    let mut all: Option<LogicalPlanBuilder> = None;
    for leg in legs {
        let mut columns: Vec<Expr> = (0..groups).map(|index| ident(group_name(index))).collect();
        for SideColumn { name, field, .. } in columns_of_sides {
            let name = name.clone();
            columns.push(if leg.schema().has_column_with_unqualified_name(&name) {
                ident(name)
            } else {
                let missing = ScalarValue::try_from(field.data_type()).map_err(internal)?;
                Expr::Literal(missing, None).alias(name)
            });
        }
        let padded =
            LogicalPlanBuilder::from(leg).project(columns).and_then(LogicalPlanBuilder::build).map_err(internal)?;
        all = Some(match all {
            None => LogicalPlanBuilder::from(padded),
            Some(before) => before.union(padded).map_err(internal)?,
        });
    }
    let all = all.ok_or_else(|| PlanError::internal("no legs to combine"))?;
    let keys: Vec<Expr> = (0..groups).map(|index| ident(group_name(index))).collect();
    let mut values = Vec::new();
    for SideColumn { name, field, .. } in columns_of_sides {
        values.push(only_value(ident(name.clone()), field.data_type(), planning)?.alias(name));
    }
    let joined = all.aggregate(keys, values).map_err(internal)?;
    let mut columns: Vec<Expr> = (0..groups).map(|index| ident(group_name(index))).collect();
    for SideColumn { name, counts, .. } in columns_of_sides {
        columns.push(if *counts { or_zero(ident(name.clone()), planning)?.alias(name) } else { ident(name.clone()) });
    }
    joined.project(columns).and_then(LogicalPlanBuilder::build).map_err(internal)
}

/// Gives every group the value of its keys; NULL is a key like any other.
fn put_onto(groups: LogicalPlan, onto: Onto, number: usize, planning: Planning<'_>) -> Result<LogicalPlan> {
    let mut columns: Vec<Expr> = groups.schema().columns().into_iter().map(Expr::Column).collect();
    let key_name = |index: usize| format!("r{number}_{index}");
    let mut values: Vec<Expr> =
        onto.keys.iter().map(|index| ident(group_name(*index)).alias(key_name(*index))).collect();
    values.push(ident(onto.name.clone()));
    let values =
        LogicalPlanBuilder::from(onto.values).project(values).and_then(LogicalPlanBuilder::build).map_err(internal)?;
    let builder = LogicalPlanBuilder::from(groups);
    let joined = if onto.keys.is_empty() {
        // One row: the value of all.
        builder.cross_join(values)
    } else {
        let (left, right): (Vec<Column>, Vec<Column>) = onto
            .keys
            .iter()
            .map(|index| (Column::new_unqualified(group_name(*index)), Column::new_unqualified(key_name(*index))))
            .unzip();
        builder.join_detailed(values, JoinType::Left, (left, right), None, NullEquality::NullEqualsNull)
    }
    .map_err(internal)?;
    let value = ident(onto.name.clone());
    columns.push(if onto.counts { or_zero(value, planning)?.alias(&onto.name) } else { value });
    joined.project(columns).and_then(LogicalPlanBuilder::build).map_err(internal)
}

pub(crate) fn or_zero(value: Expr, planning: Planning<'_>) -> Result<Expr> {
    let coalesce = planning.functions.needed_scalar("coalesce").map_err(internal)?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(coalesce, vec![value, lit(0_i64)])))
}

/// The value of the one leg that has it: all others are NULL.
fn only_value(value: Expr, data_type: &DataType, planning: Planning<'_>) -> Result<Expr> {
    let (function, nulls) = match data_type {
        DataType::Boolean => (planning.functions.needed_aggregate("bool_or").map_err(internal)?, None),
        DataType::List(_) | DataType::Binary => {
            (datafusion_functions_aggregate::first_last::first_value_udaf(), Some(NullTreatment::IgnoreNulls))
        }
        _ => (planning.functions.needed_aggregate("max").map_err(internal)?, None),
    };
    Ok(Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![value], false, None, vec![], nulls)))
}
