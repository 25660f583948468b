//! UNION, INTERSECT and EXCEPT: the branches in PostgreSQL's common types, and ALL that counts equal rows against each other.

use std::sync::Arc;

use arrow::datatypes::DataType;
use belvedere_functions::{CastTarget, pg_cast};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema, JoinType, NullEquality, Result};
use datafusion_expr::expr::{ScalarFunction, WindowFunction};
use datafusion_expr::{
    Distinct, Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder, Projection, Union, WindowFunctionDefinition,
};

use crate::error::PlanError;
use crate::functions::Functions;
use crate::session::SessionFacts;
use crate::types::BARE_NUMERIC;

use super::operators::{fold_number, is_unknown, pg_name, typed_like};

/// Which of several equal rows this is, counted on each side of an ALL.
const COPY: [&str; 2] = ["__copy_left", "__copy_right"];

/// Gives the branches of every set operation their common types, and INTERSECT ALL and EXCEPT ALL their meaning.
///
/// # Errors
/// 42804 where the types of a column do not match, 22P02 and its kin for a literal that is not of the other branch's type.
pub fn resolve_set_operations(plan: LogicalPlan, functions: &Functions, session: &SessionFacts) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        Ok(match node {
            LogicalPlan::Union(union) => {
                let branches = union.inputs.iter().map(|input| input.as_ref().clone()).collect();
                let branches = in_common_types(branches, "UNION", session)?;
                let inputs = branches.into_iter().map(Arc::new).collect();
                Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
            }
            LogicalPlan::Join(join) if is_set_operation(&join) => {
                Transformed::yes(intersected(join, functions, session)?)
            }
            // The types of what is below may have changed.
            other => Transformed::yes(other.recompute_schema()?),
        })
    })
    .data()
}

/// DataFusion plans INTERSECT and EXCEPT as joins that no one else can write: to SQL's joins NULL is not equal to NULL.
fn is_set_operation(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
}

fn intersected(join: Join, functions: &Functions, session: &SessionFacts) -> Result<LogicalPlan> {
    let verb = if join.join_type == JoinType::LeftSemi { "INTERSECT" } else { "EXCEPT" };
    let is_all = !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)));
    let branches = vec![join.left.as_ref().clone(), join.right.as_ref().clone()];
    let mut branches = in_common_types(branches, verb, session)?.into_iter();
    let (Some(left), Some(right)) = (branches.next(), branches.next()) else {
        return Err(PlanError::internal("a set operation has two branches").into());
    };
    // Of rows that are only in one branch once, DISTINCT or not, the join below takes as many as ALL does.
    let columns = left.schema().columns();
    let (left, right) = if is_all {
        (numbered(left, COPY[0], functions)?, numbered(right, COPY[1], functions)?)
    } else {
        (left, right)
    };
    let pairs: (Vec<Column>, Vec<Column>) = left.schema().columns().into_iter().zip(right.schema().columns()).unzip();
    let joined = LogicalPlanBuilder::from(left)
        .join_detailed(right, join.join_type, pairs, None, NullEquality::NullEqualsNull)?
        .build()?;
    if !is_all {
        return Ok(joined);
    }
    LogicalPlanBuilder::from(joined).project(columns.into_iter().map(Expr::Column))?.build()
}

/// The rows with one more column: the how manieth of its equals a row is.
fn numbered(plan: LogicalPlan, name: &str, functions: &Functions) -> Result<LogicalPlan> {
    let row_number = functions
        .window("row_number")
        .ok_or_else(|| PlanError::internal("the window function row_number is not registered"))?;
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let number = Expr::from(WindowFunction::new(WindowFunctionDefinition::WindowUDF(Arc::clone(row_number)), vec![]))
        .partition_by(columns.clone())
        .build()?;
    let shown = number.schema_name().to_string();
    let builder = LogicalPlanBuilder::from(plan).window([number])?;
    let number = Expr::Column(Column::new_unqualified(shown)).alias(name);
    builder.project(columns.into_iter().chain([number]))?.build()
}

fn in_common_types(mut branches: Vec<LogicalPlan>, verb: &str, session: &SessionFacts) -> Result<Vec<LogicalPlan>> {
    let width = branches.first().map_or(0, |branch| branch.schema().fields().len());
    if branches.iter().any(|branch| branch.schema().fields().len() != width) {
        return Err(PlanError::new("42601", format!("each {verb} query must have the same number of columns")).into());
    }
    for index in 0..width {
        let types: Vec<DataType> = branches
            .iter()
            .map(|branch| match open_literal(branch, index) {
                true => DataType::Null,
                false => branch.schema().field(index).data_type().clone(),
            })
            .collect();
        let common = belvedere_functions::common_type(&types).ok_or_else(|| {
            let mut names: Vec<String> = types.iter().filter(|of| !of.is_null()).map(pg_name).collect();
            names.dedup();
            PlanError::new("42804", format!("{verb} types {} cannot be matched", names.join(" and ")))
        })?;
        // Integers beside other numerics show no zeros behind the point: their digits are counted value by value.
        let has_integers = types.iter().any(DataType::is_integer);
        let common = match common {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)
                if has_integers && (1..=20).contains(&scale) =>
            {
                BARE_NUMERIC
            }
            common => common,
        };
        let same_metadata = branches
            .windows(2)
            .all(|pair| pair[0].schema().field(index).metadata() == pair[1].schema().field(index).metadata());
        branches = branches
            .into_iter()
            .zip(&types)
            .map(|(branch, found)| match found {
                DataType::Null => retyped(branch, index, &common, session),
                found if *found == common && same_metadata => Ok(branch),
                _ => cast_column(branch, index, &common),
            })
            .collect::<Result<_>>()?;
    }
    Ok(branches)
}

/// Whether a column is a literal or parameter whose type is still open.
fn open_literal(plan: &LogicalPlan, index: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.get(index).is_some_and(|expr| is_unknown(&expr.clone().unalias()))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => open_literal(input, index),
        LogicalPlan::SubqueryAlias(alias) => open_literal(&alias.input, index),
        LogicalPlan::Sort(sort) => open_literal(&sort.input, index),
        LogicalPlan::Limit(limit) => open_literal(&limit.input, index),
        _ => false,
    }
}

/// The plan with such a literal read as `to`.
fn retyped(plan: LogicalPlan, index: usize, to: &DataType, session: &SessionFacts) -> Result<LogicalPlan> {
    if let LogicalPlan::Projection(mut projection) = plan {
        if let Some(expr) = projection.expr.get_mut(index) {
            let (qualifier, field) = projection.schema.qualified_field(index);
            let literal = typed_like(expr.clone().unalias(), to, session)?;
            *expr = literal.alias_qualified(qualifier.cloned(), field.name());
        }
        return Ok(LogicalPlan::Projection(Projection::try_new(projection.expr, projection.input)?));
    }
    plan.map_children(|child| retyped(child, index, to, session).map(Transformed::yes))?.data.recompute_schema()
}

/// One column cast by PostgreSQL's rules, under its name; a modifier is lost.
fn cast_column(plan: LogicalPlan, index: usize, to: &DataType) -> Result<LogicalPlan> {
    let target = CastTarget::of(to).ok_or_else(|| PlanError::internal(format!("no cast to {to}")))?;
    let schema: Arc<DFSchema> = Arc::clone(plan.schema());
    let columns = schema.columns().into_iter().enumerate().map(|(position, column)| {
        if position != index {
            return Expr::Column(column);
        }
        let (qualifier, field) = schema.qualified_field(position);
        let value = fold_number(Expr::Column(column));
        Expr::ScalarFunction(ScalarFunction::new_udf(pg_cast(target.clone()), vec![value]))
            .alias_qualified(qualifier.cloned(), field.name())
    });
    LogicalPlanBuilder::from(plan).project(columns.collect::<Vec<_>>())?.build()
}
