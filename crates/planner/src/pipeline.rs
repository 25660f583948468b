//! The path of one query through the planner, stage by stage; each stage removes one kind of node.
//!
//! | stage | before | after |
//! | --- | --- | --- |
//! | parse, gate, name | text | a syntax tree of allowed constructs, output columns named as PostgreSQL names them |
//! | bind | syntax tree | a DataFusion plan over view tables, every type known |
//! | expand | view tables | [`FactLeg`](crate::nodes::fact_leg::FactLeg)s; view tables that are read row by row |
//! | lower | legs, view tables | base scans, joins, filters, aggregates |
//!
//! What comes after (DataFusion's own rules, push-down) belongs to the engine.

use std::cell::RefCell;
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
use crate::functions::Functions;
use crate::lower::joined_rows::Planning;
use crate::lower::lower;
use crate::session::SessionFacts;

/// A query planned down to base scans.
#[derive(Debug, Clone)]
pub struct Planned {
    pub plan: LogicalPlan,
    /// Sentences for NOTICE.
    pub notices: Vec<String>,
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
    bind::bind(query, catalog, functions, session, declared)
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
    let to_error = |error| errors::plan_error(error, &[]);
    let plan = bind::with_values(bound, values)?;
    let notices = RefCell::new(Vec::new());
    let planning = Planning { catalog, functions, session, mentioned: &bound.mentioned, notices: &notices };
    let plan = build_legs(plan, planning).and_then(|plan| lower(plan, planning)).map_err(to_error)?;
    Ok(Planned { plan, notices: notices.into_inner() })
}
