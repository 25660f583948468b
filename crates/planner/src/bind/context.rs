//! What DataFusion's SQL planner asks while it binds: tables, functions, and our operators.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, Ident, ObjectName, Query, Value, Visit, Visitor};

use crate::catalog::{Catalog, JOIN_FIELD, SourceDialect, ViewTable, ViewTableSource};
use crate::error::PlanError;
use crate::functions::Functions;
use crate::policy::Policies;
use crate::policy::hide::without_names;
use crate::rewrite::Casts;
use crate::session::SessionFacts;

use super::operators::Operators;

pub struct BindContext<'a> {
    catalog: &'a Catalog,
    functions: &'a Arc<Functions>,
    casts: Casts,
    options: ConfigOptions,
    planners: Vec<Arc<dyn ExprPlanner>>,
    /// The statement names `__cubeJoinField`.
    join_field: bool,
    /// Tables of one source of type `files`, when its own SQL is bound.
    file_source: Option<String>,
    used: Vec<Arc<ViewTable>>,
}

impl<'a> BindContext<'a> {
    pub fn new(
        catalog: &'a Catalog,
        functions: &'a Arc<Functions>,
        session: &SessionFacts,
        casts: Casts,
        _declared: &[Option<FieldRef>],
        mentioned: &Arc<HashSet<String>>,
    ) -> Self {
        let mut options = ConfigOptions::new();
        options.execution.time_zone = Some(session.zone.name());
        options.sql_parser.parse_float_as_decimal = true;
        Self {
            catalog,
            functions,
            casts,
            options,
            planners: Self::planners(functions, session, SourceDialect::Postgres),
            join_field: mentioned.contains(&JOIN_FIELD.to_lowercase()),
            file_source: None,
            used: Vec::new(),
        }
    }

    fn planners(
        functions: &Arc<Functions>,
        session: &SessionFacts,
        dialect: SourceDialect,
    ) -> Vec<Arc<dyn ExprPlanner>> {
        vec![
            Arc::new(Operators { functions: Arc::clone(functions), session: session.clone(), dialect }),
            Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
        ]
    }

    /// Binds with the operators of another dialect.
    #[must_use]
    pub fn with_dialect(mut self, dialect: SourceDialect) -> Self {
        if let Some(operators) = self.planners.first_mut()
            && dialect == SourceDialect::MySql
        {
            *operators = Arc::new(super::operators::MySqlOperators { functions: Arc::clone(self.functions) });
        }
        self
    }

    /// Binds the SQL of a source of type `files`: its tables are the only ones.
    #[must_use]
    pub fn with_file_source(mut self, data_source: &str) -> Self {
        self.file_source = Some(data_source.to_owned());
        self
    }

    #[must_use]
    pub fn config(&self) -> ConfigOptions {
        self.options.clone()
    }

    #[must_use]
    pub fn used(&self) -> &[Arc<ViewTable>] {
        &self.used
    }
}

impl ContextProvider for BindContext<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if let Some(data_source) = &self.file_source {
            return self.catalog.sources.file_table(data_source, &name).ok_or_else(|| {
                PlanError::new("42P01", format!("data source \"{data_source}\" has no table \"{name}\"")).into()
            });
        }
        if let Some(schema) = name.schema()
            && !schema.eq_ignore_ascii_case("public")
        {
            return Err(
                PlanError::new("42P01", format!("relation \"{schema}.{}\" does not exist", name.table())).into()
            );
        }
        if matches!(*self.catalog.policies, Policies::Unresolved) {
            return Err(PlanError::internal("a query over the catalog of nobody").into());
        }
        let Some(table) = self.catalog.table(name.table()) else {
            let mut error = PlanError::new("42P01", format!("relation \"{}\" does not exist", name.table()));
            if let Some(near) = nearest(name.table(), self.catalog.tables.keys().map(String::as_str)) {
                error = error.hint(format!("Perhaps \"{near}\" is meant."));
            }
            return Err(error.into());
        };
        if let Some(feature) = &table.unsupported {
            let error = format!("\"{}\" uses {feature}, which is not supported yet", table.name);
            return Err(without_names(PlanError::unsupported(error), &self.catalog.hidden).into());
        }
        Ok(Arc::new(if self.join_field {
            ViewTableSource::with_join_field(Arc::clone(table))
        } else {
            ViewTableSource::new(Arc::clone(table))
        }))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        None
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if let Some(target) = self.casts.target(name) {
            return Some(belvedere_functions::pg_cast(target.clone()));
        }
        self.functions.scalar(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar_names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate_names()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window_names()
    }
}

/// The closest of `known` to a mistyped name.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The view tables that a query names, each once.
#[must_use]
pub fn used_tables(query: &Query, catalog: &Catalog) -> Vec<Arc<ViewTable>> {
    struct Relations<'a> {
        catalog: &'a Catalog,
        used: Vec<Arc<ViewTable>>,
    }
    impl Visitor for Relations<'_> {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            if let Some(name) = relation.0.last().and_then(|part| part.as_ident())
                && let Some(table) = self.catalog.table(&match name.quote_style {
                    Some(_) => name.value.clone(),
                    None => name.value.to_lowercase(),
                })
                && !self.used.iter().any(|known| known.name == table.name)
            {
                self.used.push(Arc::clone(table));
            }
            ControlFlow::Continue(())
        }
    }
    let mut relations = Relations { catalog, used: Vec::new() };
    let _: ControlFlow<()> = query.visit(&mut relations);
    relations.used
}

/// Lower-case names whose spelling in the model has capitals, where all used tables agree on it.
#[must_use]
pub fn spellings(used: &[Arc<ViewTable>]) -> HashMap<String, String> {
    let mut spellings: HashMap<String, Option<String>> = HashMap::new();
    for column in used.iter().flat_map(|table| table.columns.keys()).map(String::as_str).chain([JOIN_FIELD]) {
        spellings
            .entry(column.to_lowercase())
            .and_modify(|known| {
                if known.as_deref() != Some(column) {
                    *known = None;
                }
            })
            .or_insert_with(|| Some(column.to_owned()));
    }
    spellings
        .into_iter()
        .filter_map(|(lower, spelling)| {
            spelling.filter(|spelling| *spelling != lower).map(|spelling| (lower, spelling))
        })
        .collect()
}

/// Every identifier of the text, in lower case.
#[must_use]
pub fn mentioned_names(query: &Query) -> HashSet<String> {
    struct Names(HashSet<String>);
    impl Names {
        fn add(&mut self, ident: &Ident) {
            self.0.insert(ident.value.to_lowercase());
        }
    }
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<()> {
            match expr {
                SqlExpr::Identifier(ident) => self.add(ident),
                SqlExpr::CompoundIdentifier(idents) => idents.iter().for_each(|ident| self.add(ident)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_select(&mut self, select: &datafusion_sql::sqlparser::ast::Select) -> ControlFlow<()> {
            for from in &select.from {
                for join in &from.joins {
                    use datafusion_sql::sqlparser::ast::{JoinConstraint, JoinOperator};
                    if let JoinOperator::Join(JoinConstraint::Using(columns))
                    | JoinOperator::Inner(JoinConstraint::Using(columns))
                    | JoinOperator::Left(JoinConstraint::Using(columns)) = &join.join_operator
                    {
                        for column in columns {
                            if let Some(ident) = column.0.last().and_then(|part| part.as_ident()) {
                                self.add(ident);
                            }
                        }
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(HashSet::new());
    let _: ControlFlow<()> = query.visit(&mut names);
    names.0
}

/// The highest `$n` of a query.
#[must_use]
pub fn parameter_count(query: &Query) -> usize {
    struct Highest(usize);
    impl Visitor for Highest {
        type Break = ();
        fn pre_visit_value(&mut self, value: &datafusion_sql::sqlparser::ast::ValueWithSpan) -> ControlFlow<()> {
            if let Value::Placeholder(name) = &value.value
                && let Some(number) = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok())
            {
                self.0 = self.0.max(number);
            }
            ControlFlow::Continue(())
        }
    }
    let mut highest = Highest(0);
    let _: ControlFlow<()> = query.visit(&mut highest);
    highest.0
}
