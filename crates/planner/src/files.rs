//! Base scans of cubes over files: their SQL is ours, so it is bound by the same rules as users' SQL.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use belvedere_model::Cube;
use datafusion_common::{ExprSchema, TableReference};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::Statement;

use crate::bind::context::BindContext;
use crate::bind::{self, errors, unknown};
use crate::catalog::BaseColumn;
use crate::error::{PlanError, Result};
use crate::lower::joined_rows::Planning;
use crate::rewrite::{self, Casts};
use crate::{gate, parse};

/// `SELECT columns FROM relation AS alias`, bound; the result's columns are `name.c0`, `name.c1`, ….
///
/// # Errors
/// What binding says of the member's SQL.
pub fn base_plan(
    planning: Planning<'_>,
    cube: &Cube,
    relation: &str,
    alias: &str,
    columns: &[BaseColumn],
    name: &TableReference,
) -> Result<LogicalPlan> {
    let items: Vec<String> =
        columns.iter().enumerate().map(|(index, column)| format!("({}) AS c{index}", column.sql)).collect();
    let text = format!("SELECT {} FROM {relation} AS \"{}\"", items.join(", "), alias.replace('"', "\"\""));
    let plan = bind_text(planning, cube, &text)?;
    let projected: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .zip(columns)
        .map(|(column, wanted)| {
            let found = plan.schema().field_from_column(&column).map(|field| field.data_type().clone());
            let expr = Expr::Column(column);
            let expr = match found {
                Ok(found) if found != *wanted.field.data_type() => cast(expr, wanted.field.data_type().clone()),
                _ => expr,
            };
            expr.alias_qualified(Some(name.clone()), wanted.field.name())
        })
        .collect();
    LogicalPlanBuilder::from(plan)
        .project(projected)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| errors::plan_error(error, &[]))
}

/// Binds a query over the tables of the cube's data source. Also how the types of file cubes are found.
///
/// # Errors
/// What binding says of the text.
pub fn bind_text(planning: Planning<'_>, cube: &Cube, text: &str) -> Result<LogicalPlan> {
    let Statement::Query(mut query) = parse::parse_one(text)? else {
        return Err(PlanError::syntax(format!("the SQL of cube \"{}\" is not a query", cube.naming.name)));
    };
    gate::gate(&query)?;
    let mut casts = Casts::default();
    crate::name::name(&mut query, &HashMap::new(), &HashSet::new())?;
    rewrite::rewrite(&mut query, planning.session, &mut casts)?;
    let context = BindContext::new(planning.catalog, planning.functions, planning.session, casts, &[], &Arc::default())
        .with_file_source(&cube.data_source);
    let planner = SqlToRel::new_with_options(&context, bind::parser_options());
    planner
        .sql_statement_to_plan_with_context(Statement::Query(query), &mut PlannerContext::new())
        .and_then(|plan| unknown::resolve_unknowns(plan, planning.session))
        .and_then(|plan| bind::coerce(plan, &context.config()))
        .map_err(|error| errors::plan_error(error, &[]))
}
