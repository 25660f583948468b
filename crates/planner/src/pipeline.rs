//! The path of one query through the planner, stage by stage; each stage removes one kind of node.
//!
//! | stage | before | after |
//! | --- | --- | --- |
//! | parse, gate, name | text | a syntax tree of allowed constructs, output columns named as PostgreSQL names them |
//! | bind | syntax tree | a DataFusion plan over view tables, every type known |
//! | expand | view tables | [`FactLeg`](crate::nodes::fact_leg::FactLeg)s; view tables that are read row by row |
//! | substitute | legs | legs, and [`RollupScan`](crate::nodes::rollup_scan::RollupScan)s for those that a rollup answers |
//! | lower | legs, rollup scans, view tables | base scans, joins, filters, aggregates |
//!
//! [`Rule`] lists the rules inside the stages. What comes after (DataFusion's own rules, push-down) belongs to the engine.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion_common::ScalarValue;
use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::Query;

use crate::bind::{self, errors};

pub use crate::bind::Bound;
use crate::catalog::Catalog;
use crate::error::Result;
use crate::expand::build_legs::build_legs;
use crate::expand::default_filters::add_default_filters;
use crate::functions::Functions;
use crate::lower::lower_watched;
use crate::planning::Findings;
use crate::policy::hide::{sentence_without_names, without_names};
use crate::session::{RollupUsage, SessionFacts};
use crate::substitute::{Report, check_required, substitute};

/// A query planned down to base scans.
#[derive(Debug, Clone)]
pub struct Planned {
    pub plan: LogicalPlan,
    /// Sentences for NOTICE.
    pub notices: Vec<String>,
    /// Which rollups answer which legs, and why others do not.
    pub rollups: Report,
    /// A date of the model relative to now is in the plan: another moment has another one.
    pub of_moment: bool,
}

/// Binds a query: the first half, which Describe needs.
///
/// # Errors
/// See [`bind::bind`].
pub fn prepare(
    query: Query,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
    declared: &[Option<FieldRef>],
) -> Result<Bound> {
    // What binding says comes from the user's own tables and text; to replace a name there would tell that it exists.
    bind::bind(query, catalog, functions, session, declared, &mut |_, _| {})
}

/// Plans a bound query with the values of its parameters.
///
/// # Errors
/// What the model cannot answer, each with its reason.
pub fn plan(
    bound: &Bound,
    values: Vec<ScalarValue>,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
) -> Result<Planned> {
    let planned = plan_watched(bound, values, catalog, functions, session, &mut |_, _| {})
        .map_err(|error| without_names(error, &catalog.hidden))?;
    let notices = planned.notices.iter().map(|notice| sentence_without_names(notice, &catalog.hidden)).collect();
    Ok(Planned { notices, ..planned })
}

fn plan_watched(
    bound: &Bound,
    values: Vec<ScalarValue>,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
    watch: &mut Watch<'_>,
) -> Result<Planned> {
    let to_error = |error| errors::plan_error(error, &[]);
    let plan = bind::with_values(bound, values)?;
    watch(Rule::PutValues, Tree::Plan(&plan));
    let plan = add_default_filters(plan).map_err(to_error)?;
    watch(Rule::AddDefaultFilters, Tree::Plan(&plan));
    let findings = Findings::of_text(Arc::clone(&bound.mentioned));
    let planning = findings.planning(catalog, functions, session);
    let plan = build_legs(plan, planning).map_err(to_error)?;
    watch(Rule::BuildLegs, Tree::Plan(&plan));
    let plan = substitute(plan, planning).map_err(to_error)?;
    watch(Rule::Substitute, Tree::Plan(&plan));
    let plan = lower_watched(plan, planning, watch).map_err(to_error)?;
    let Findings { mentioned: _, notices, report, of_moment } = findings;
    let rollups = report.into_inner();
    if session.rollups.usage == RollupUsage::Required {
        check_required(&rollups)?;
    }
    Ok(Planned { plan, notices: notices.into_inner(), rollups, of_moment: of_moment.get() })
}

/// Our rules, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// First, so that nothing later meets syntax that it does not know. Changes nothing: it lets through or refuses.
    Gate,
    /// Before casts and operators become calls: PostgreSQL names a column after what was written.
    Name,
    Rewrite,
    /// DataFusion's `SqlToRel`, with our operators: a plan from here on.
    PlanSql,
    /// Before types are resolved: `MEASURE(m)` has the measure's type.
    ResolveMeasures,
    ResolveGranularities,
    ResolveUnknowns,
    /// DataFusion's own coercion, for what is left.
    Coerce,
    /// After coercion, on the plan as it will be. Changes nothing.
    CheckMeasures,
    /// The values of parameters: from here on the statement runs, before it was only described.
    PutValues,
    /// Before legs are built, which each have the default filters of their views.
    AddDefaultFilters,
    BuildLegs,
    /// After all legs are there, before any is taken apart into joins: a leg says what it asks, joins would have to be recognized.
    Substitute,
    /// Before views are read row by row: they read only the columns in use.
    PruneColumns,
    ReadRows,
    /// Before legs are lowered: a rollup scan may have legs for what its rollup does not hold.
    ScanRollups,
    LowerLegs,
}

impl Rule {
    /// In order.
    pub const ALL: [Self; 17] = [
        Self::Gate,
        Self::Name,
        Self::Rewrite,
        Self::PlanSql,
        Self::ResolveMeasures,
        Self::ResolveGranularities,
        Self::ResolveUnknowns,
        Self::Coerce,
        Self::CheckMeasures,
        Self::PutValues,
        Self::AddDefaultFilters,
        Self::BuildLegs,
        Self::Substitute,
        Self::PruneColumns,
        Self::ReadRows,
        Self::ScanRollups,
        Self::LowerLegs,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Name => "name",
            Self::Rewrite => "rewrite",
            Self::PlanSql => "plan_sql",
            Self::ResolveMeasures => "resolve_measures",
            Self::ResolveGranularities => "resolve_granularities",
            Self::ResolveUnknowns => "resolve_unknowns",
            Self::Coerce => "coerce",
            Self::CheckMeasures => "check_measures",
            Self::PutValues => "put_values",
            Self::AddDefaultFilters => "add_default_filters",
            Self::BuildLegs => "build_legs",
            Self::Substitute => "substitute",
            Self::PruneColumns => "prune_columns",
            Self::ReadRows => "read_rows",
            Self::ScanRollups => "scan_rollups",
            Self::LowerLegs => "lower_legs",
        }
    }

    #[must_use]
    pub fn stage(self) -> Stage {
        match self {
            Self::Gate => Stage::Gate,
            Self::Name => Stage::Name,
            Self::Rewrite
            | Self::PlanSql
            | Self::ResolveMeasures
            | Self::ResolveGranularities
            | Self::ResolveUnknowns
            | Self::Coerce
            | Self::CheckMeasures
            | Self::PutValues => Stage::Bind,
            Self::AddDefaultFilters | Self::BuildLegs => Stage::Expand,
            Self::Substitute => Stage::Substitute,
            Self::PruneColumns | Self::ReadRows | Self::ScanRollups | Self::LowerLegs => Stage::Lower,
        }
    }
}

/// The stages of the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Gate,
    Name,
    Bind,
    Expand,
    Substitute,
    Lower,
}

impl Stage {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Name => "name",
            Self::Bind => "bind",
            Self::Expand => "expand",
            Self::Substitute => "substitute",
            Self::Lower => "lower",
        }
    }
}

/// A statement between two rules: SQL up to [`Rule::Rewrite`], a plan afterwards.
#[derive(Clone, Copy)]
pub enum Tree<'t> {
    Sql(&'t Query),
    Plan(&'t LogicalPlan),
}

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(query) => write!(f, "{query}"),
            Self::Plan(plan) => write!(f, "{}", plan.display_indent()),
        }
    }
}

/// Sees the statement after each rule that did not refuse it.
pub type Watch<'w> = dyn FnMut(Rule, Tree<'_>) + 'w;

/// What one rule made of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub rule: Rule,
    pub changed: bool,
    /// The statement after the rule, as [`Tree`] shows it.
    pub text: String,
}

/// A query's way through all rules.
#[derive(Debug)]
pub struct Trace {
    /// One for each rule that did not refuse the query, in order.
    pub steps: Vec<Step>,
    pub result: Result<(Bound, Planned)>,
}

impl Trace {
    /// The rule that refused the query.
    #[must_use]
    pub fn refused_by(&self) -> Option<Rule> {
        self.result.is_err().then(|| Rule::ALL.get(self.steps.len()).copied()).flatten()
    }
}

/// Plans a query and keeps what each rule made of it. `values` gives a value for each parameter, by its type.
pub fn trace(
    query: Query,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
    declared: &[Option<FieldRef>],
    values: impl FnOnce(&[FieldRef]) -> Result<Vec<ScalarValue>>,
) -> Trace {
    let mut steps = Vec::new();
    let mut sql = query.to_string();
    let mut plan: Option<LogicalPlan> = None;
    let mut watch = |rule: Rule, tree: Tree<'_>| {
        let text = tree.to_string();
        let changed = match tree {
            Tree::Sql(_) => std::mem::replace(&mut sql, text.clone()) != text,
            Tree::Plan(after) => plan.replace(after.clone()).is_none_or(|before| before != *after),
        };
        steps.push(Step { rule, changed, text });
    };
    let result = bind::bind(query, catalog, functions, session, declared, &mut watch).and_then(|bound| {
        let values = values(&bound.parameters)?;
        let planned = plan_watched(&bound, values, catalog, functions, session, &mut watch)?;
        Ok((bound, planned))
    });
    Trace { steps, result }
}
