//! Resolves every name and type of a query: SQL syntax tree → DataFusion plan over view tables.
//!
//! Types follow PostgreSQL: operators are chosen while the plan is built ([`operators`]), literals without a type take the type
//! of what they meet ([`unknown`]), and what is left is coerced by DataFusion's own rule, which then only has exact casts to do.

pub mod context;
pub mod errors;
pub mod granularities;
pub mod measures;
pub mod operators;
pub mod set_operations;
pub mod subqueries;
pub mod unknown;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, ParamValues, ScalarValue};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_optimizer::{Analyzer, AnalyzerRule};
use datafusion_sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, Query, Statement};

use crate::catalog::Catalog;
use crate::error::{PlanError, Result};
use crate::functions::Functions;
use crate::pipeline::{Rule, Tree, Watch};
use crate::rewrite::{self, Casts};
use crate::session::SessionFacts;
use crate::{gate, name, policy};

use context::BindContext;

/// A query whose names and types are resolved; parameters may still be open.
#[derive(Debug, Clone)]
pub struct Bound {
    pub plan: LogicalPlan,
    /// `$1` first.
    pub parameters: Vec<FieldRef>,
    /// Lower-case names that the text mentions: what is not among them came by `*`.
    pub mentioned: Arc<std::collections::HashSet<String>>,
    /// An access policy restricts something that the text names, or that is joined to it: how it is computed is not for everyone.
    pub is_restricted: bool,
}

pub(crate) fn parser_options() -> ParserOptions {
    ParserOptions {
        parse_float_as_decimal: true,
        enable_ident_normalization: true,
        support_varchar_with_length: true,
        map_string_types_to_utf8view: false,
        enable_options_value_normalization: false,
        collect_spans: true,
        default_null_ordering: NullOrdering::NullsMax,
    }
}

/// Binds `query`. `declared` are the parameter types that the client gave; `watch` sees what each rule makes of the query.
///
/// # Errors
/// Everything that PostgreSQL would refuse of a statement's text, and what we do not support, each by name and place.
pub fn bind(
    mut query: Query,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
    declared: &[Option<FieldRef>],
    watch: &mut Watch<'_>,
) -> Result<Bound> {
    gate::gate(&query)?;
    watch(Rule::Gate, Tree::Sql(&query));
    let used = context::used_tables(&query, catalog);
    let spellings = context::spellings(&used);
    let mentioned = Arc::new(context::mentioned_names(&query));
    let parameter_count = context::parameter_count(&query).max(declared.len());
    let columns = used.iter().flat_map(|table| table.columns.keys().cloned()).collect();
    name::name(&mut query, &spellings, &columns)?;
    watch(Rule::Name, Tree::Sql(&query));
    let mut casts = Casts::default();
    rewrite::rewrite(&mut query, session, &mut casts)?;
    watch(Rule::Rewrite, Tree::Sql(&query));

    let context = BindContext::new(catalog, functions, session, casts, declared, &mentioned);
    let planner = SqlToRel::new_with_options(&context, parser_options());
    let mut declared_types: Vec<Option<FieldRef>> = declared.to_vec();
    declared_types.resize(parameter_count, None);
    let mut planner_context = PlannerContext::new().with_prepare_param_data_types(declared_types);
    let plan = planner
        .sql_statement_to_plan_with_context(Statement::Query(Box::new(query)), &mut planner_context)
        .map_err(|error| errors::plan_error(error, &used))?;
    watch(Rule::PlanSql, Tree::Plan(&plan));
    let config = context.config();
    let to_error = |error| errors::plan_error(error, &used);

    let plan = measures::resolve_measures(plan, catalog, functions).map_err(to_error)?;
    watch(Rule::ResolveMeasures, Tree::Plan(&plan));
    let plan = granularities::resolve_granularities(plan, catalog, functions, session).map_err(to_error)?;
    watch(Rule::ResolveGranularities, Tree::Plan(&plan));
    let plan = set_operations::resolve_set_operations(plan, functions, session).map_err(to_error)?;
    let plan = unknown::resolve_unknowns(plan, session).map_err(to_error)?;
    let plan = subqueries::count_subqueries(plan, functions, session).map_err(to_error)?;
    watch(Rule::ResolveUnknowns, Tree::Plan(&plan));
    let parameters = parameter_fields(&plan, declared, parameter_count, &context)?;
    let plan = coerce(plan, &config).map_err(to_error)?;
    watch(Rule::Coerce, Tree::Plan(&plan));
    measures::check_measures(&plan, functions).map_err(to_error)?;
    watch(Rule::CheckMeasures, Tree::Plan(&plan));
    let is_restricted = used.iter().any(|table| policy::restricts(catalog, table));
    Ok(Bound { plan, parameters, mentioned, is_restricted })
}

/// Puts values in the place of parameters.
///
/// # Errors
/// Only DataFusion's: the values were decoded by the types that [`Bound::parameters`] gave.
pub fn with_values(bound: &Bound, values: Vec<ScalarValue>) -> Result<LogicalPlan> {
    if values.is_empty() {
        return Ok(bound.plan.clone());
    }
    let values: Vec<datafusion_common::metadata::ScalarAndMetadata> =
        values.into_iter().map(|value| datafusion_common::metadata::ScalarAndMetadata::new(value, None)).collect();
    bound
        .plan
        .clone()
        .with_param_values(ParamValues::List(values))
        .and_then(unknown::fold_any)
        .map_err(|error| errors::plan_error(error, &[]))
}

/// Binds one expression over `schema`, such as a calculated measure.
///
/// # Errors
/// As [`bind`].
pub fn bind_expr(
    mut expr: SqlExpr,
    schema: &DFSchema,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
    dialect: crate::catalog::SourceDialect,
) -> Result<Expr> {
    let mut casts = Casts::default();
    rewrite::rewrite_expr(&mut expr, session, &mut casts)?;
    let context = BindContext::new(catalog, functions, session, casts, &[], &Arc::default()).with_dialect(dialect);
    let planner = SqlToRel::new_with_options(&context, parser_options());
    let bound = planner
        .sql_to_expr(expr, schema, &mut PlannerContext::new())
        .map_err(|error| errors::plan_error(error, &[]))?;
    let bound = unknown::resolve_in_expr(bound, schema, session).map_err(|error| errors::plan_error(error, &[]))?;
    // Wrapped in a plan of one projection, so that the same coercion rule serves.
    let empty = LogicalPlan::EmptyRelation(datafusion_expr::EmptyRelation {
        produce_one_row: false,
        schema: Arc::new(schema.clone()),
    });
    let plan = datafusion_expr::LogicalPlanBuilder::from(empty)
        .project(vec![bound.alias("value")])
        .and_then(datafusion_expr::LogicalPlanBuilder::build)
        .and_then(|plan| coerce(plan, &context.config()))
        .map_err(|error| errors::plan_error(error, &[]))?;
    match plan {
        LogicalPlan::Projection(projection) => projection
            .expr
            .into_iter()
            .next()
            .map(|expr| expr.unalias())
            .ok_or_else(|| PlanError::internal("the projection of a member expression is empty")),
        _ => Err(PlanError::internal("a member expression was not planned as a projection")),
    }
}

/// DataFusion's own coercion: after ours there are only function arguments, CASE branches and set operations left.
pub(crate) fn coerce(plan: LogicalPlan, config: &ConfigOptions) -> datafusion_common::Result<LogicalPlan> {
    let rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
        vec![Arc::new(ResolveGroupingFunction::new()), Arc::new(TypeCoercion::new())];
    Analyzer::with_rules(rules).execute_and_check(plan, config, |_, _| {})
}

/// What Describe says of each parameter: declared, or inferred from where it stands, or text as PostgreSQL's last resort.
fn parameter_fields(
    plan: &LogicalPlan,
    declared: &[Option<FieldRef>],
    count: usize,
    context: &BindContext<'_>,
) -> Result<Vec<FieldRef>> {
    let inferred: HashMap<String, Option<FieldRef>> =
        plan.get_parameter_fields().map_err(|error| errors::plan_error(error, context.used()))?;
    Ok((0..count)
        .map(|index| {
            if let Some(Some(field)) = declared.get(index) {
                return Arc::clone(field);
            }
            inferred
                .get(&format!("${}", index + 1))
                .cloned()
                .flatten()
                .filter(|field| !field.data_type().is_null())
                .unwrap_or_else(|| Arc::new(Field::new("parameter", arrow::datatypes::DataType::Utf8, true)))
        })
        .collect())
}
