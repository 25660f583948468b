//! `DATE_TRUNC('<custom>', dimension)`: granularities that the model defines for a time dimension.
//!
//! They are bins of an interval, counted from an origin (reference G2 to G4), over the wall-clock value that the dimension has in the
//! session's zone. It would be wrong to look a granularity up by its name alone: two dimensions may define the same name.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use belvedere_model::{GranularityValue, Interval, MemberKind};
use chrono::{Datelike, NaiveDate};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, Result, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan, lit};

use crate::catalog::Catalog;
use crate::error::PlanError;
use crate::expand::absorb::{Absorbed, absorb};
use crate::functions::Functions;
use crate::rewrite::CUSTOM_GRANULARITY;
use crate::session::SessionFacts;

use super::measures::member_of;

/// Replaces every use of a custom granularity by its bins.
///
/// # Errors
/// 22023 for a granularity that neither PostgreSQL nor the dimension has.
pub fn resolve_granularities(
    plan: LogicalPlan,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let inputs = node.inputs();
        let absorbed = match inputs.as_slice() {
            [only] => absorb(only)?,
            _ => None,
        };
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let saved = names.save(&expr);
            let resolved = expr.transform_up(|inner| match inner {
                Expr::ScalarFunction(call) if call.func.name() == CUSTOM_GRANULARITY => {
                    bins(&call, absorbed.as_ref(), catalog, functions, session).map(Transformed::yes)
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(resolved.update_data(|expr| saved.restore(expr)))
        })
    })
    .data()
}

fn bins(
    call: &ScalarFunction,
    absorbed: Option<&Absorbed>,
    catalog: &Catalog,
    functions: &Arc<Functions>,
    session: &SessionFacts,
) -> Result<Expr> {
    let [Expr::Literal(ScalarValue::Utf8(Some(name)), _), value] = call.args.as_slice() else {
        return Err(PlanError::internal("a granularity without a name").into());
    };
    let unknown = || {
        PlanError::new("22023", format!("unit \"{name}\" not recognized for type timestamp without time zone"))
            .hint("Use one of PostgreSQL's units, or a granularity that the model defines for this very dimension.")
    };
    let Some(absorbed) = absorbed else { return Err(unknown().into()) };
    let resolved = absorbed.resolved(value)?.unalias_nested().data;
    let Expr::Column(column) = &resolved else { return Err(unknown().into()) };
    let granularity = granularity_of(absorbed, column, catalog, name).ok_or_else(unknown)?;
    match granularity {
        GranularityValue::Sql(_) => Err(PlanError::unsupported(format!(
            "the granularity \"{name}\" is defined by SQL, which is not supported yet"
        ))
        .into()),
        GranularityValue::Bins { interval, offset, origin } => {
            let origin = origin_of(*interval, *offset, origin.as_deref(), functions, session)?;
            let bin = functions.needed_scalar("belvedere_bin")?;
            Ok(Expr::ScalarFunction(ScalarFunction::new_udf(bin, vec![lit(scalar(*interval)?), origin, value.clone()])))
        }
    }
}

/// Where the bins of a granularity are counted from: a timestamp without columns.
///
/// # Errors
/// 22007 and its kin for an origin that is no timestamp.
pub(crate) fn origin_of(
    interval: Interval,
    offset: Option<Interval>,
    origin: Option<&str>,
    functions: &Arc<Functions>,
    session: &SessionFacts,
) -> Result<Expr> {
    let origin = match origin {
        Some(text) => belvedere_functions::parse_literal(
            text,
            &DataType::Timestamp(TimeUnit::Microsecond, None),
            None,
            &session.zone,
        )
        .map_err(super::operators::pg_error)?,
        None => ScalarValue::TimestampMicrosecond(Some(default_origin(interval, session)), None),
    };
    let origin = lit(origin);
    let Some(offset) = offset else { return Ok(origin) };
    let add = functions.needed_scalar("pg_add")?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(add, vec![origin, lit(scalar(offset)?)])))
}

fn granularity_of<'a>(
    absorbed: &Absorbed,
    column: &Column,
    catalog: &'a Catalog,
    name: &str,
) -> Option<&'a GranularityValue> {
    let member = member_of(absorbed, column).filter(|member| member.kind == MemberKind::Dimension)?;
    let dimension = member.dimension(&catalog.model)?;
    dimension
        .granularities
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, granularity)| &granularity.value)
}

pub(crate) fn scalar(interval: Interval) -> Result<ScalarValue> {
    let nanoseconds =
        interval.microseconds.checked_mul(1000).ok_or_else(|| PlanError::new("22008", "interval out of range"))?;
    Ok(ScalarValue::new_interval_mdn(interval.months, interval.days, nanoseconds))
}

/// The start of the current year; for intervals of whole weeks the Monday of its first ISO week.
fn default_origin(interval: Interval, session: &SessionFacts) -> i64 {
    let year = session.local_now().year();
    let weeks = interval.months == 0 && interval.microseconds == 0 && interval.days % 7 == 0;
    let day = if weeks {
        NaiveDate::from_isoywd_opt(year, 1, chrono::Weekday::Mon)
    } else {
        NaiveDate::from_ymd_opt(year, 1, 1)
    };
    day.and_then(|day| day.and_hms_opt(0, 0, 0)).map_or(0, |midnight| midnight.and_utc().timestamp_micros())
}
