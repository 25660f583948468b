//! Puts the legs of one question side by side on their groups, and computes the answer above them.
//!
//! The legs become one list of rows, each with NULL for the columns of the others, grouped by the common dimensions: a full join
//! in which NULL keys meet, for any number of legs (reference MF6). It is done here, never at a source: PostgreSQL has no full
//! join on NULL-safe keys and MySQL none at all, and each leg gives no more rows than there are groups. A filter on the groups
//! passes into every leg. It would be wrong to join on plain equality: the groups of NULL would fall apart.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::{AggregateFunction, NullTreatment, ScalarFunction};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};

use crate::error::{PlanError, Result};
use crate::lower::joined_rows::{Planning, internal};
use crate::nodes::fact_leg::FactLeg;

use super::build_legs::Question;
use super::split_facts::{group_name, item_name, leg_plan, typed_as};

/// What the legs are put together to.
pub(crate) struct Answer<'a> {
    pub question: &'a Question,
    /// The items' columns; item `n` is [`item_name`]`(n)` in the leg that has it.
    pub fields: Vec<FieldRef>,
    /// Whether an item is 0 for a group that its leg does not have.
    pub counts: Vec<bool>,
    /// The question's aggregates over the items' columns.
    pub outputs: Vec<Expr>,
}

/// The answer over its legs, with the question's schema.
pub(crate) fn combine_legs(answer: &Answer<'_>, legs: Vec<FactLeg>, planning: Planning<'_>) -> Result<LogicalPlan> {
    let mut legs: Vec<LogicalPlan> = legs.into_iter().map(leg_plan).collect();
    let combined = match (legs.pop(), legs.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            legs.push(last);
            side_by_side(answer, legs, planning)?
        }
        (None, _) => return Err(PlanError::internal("a question without legs")),
    };
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

fn side_by_side(answer: &Answer<'_>, legs: Vec<LogicalPlan>, planning: Planning<'_>) -> Result<LogicalPlan> {
    let groups = answer.question.group.len();
    let mut all: Option<LogicalPlanBuilder> = None;
    for leg in legs {
        let mut columns: Vec<Expr> = (0..groups).map(|index| ident(group_name(index))).collect();
        for (index, field) in answer.fields.iter().enumerate() {
            let name = item_name(index);
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
    for (index, field) in answer.fields.iter().enumerate() {
        values.push(only_value(ident(item_name(index)), field.data_type(), planning)?.alias(item_name(index)));
    }
    let joined = all.aggregate(keys, values).map_err(internal)?;
    let coalesce = planning.functions.needed_scalar("coalesce").map_err(internal)?;
    let mut columns: Vec<Expr> = (0..groups).map(|index| ident(group_name(index))).collect();
    for (index, counts) in answer.counts.iter().enumerate() {
        let value = ident(item_name(index));
        columns.push(if *counts {
            let zero = ScalarFunction::new_udf(Arc::clone(&coalesce), vec![value, lit(0_i64)]);
            Expr::ScalarFunction(zero).alias(item_name(index))
        } else {
            value
        });
    }
    joined.project(columns).and_then(LogicalPlanBuilder::build).map_err(internal)
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
