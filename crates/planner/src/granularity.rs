//! Granularities of time dimensions: units, bins of the model, and the SQL by which a calendar defines a unit (reference G1 to G7, K3).
//!
//! What is cut is the wall clock of the session's zone. A dimension whose SQL names a granularity (`{created_at.month}`) is such a
//! wall clock itself, and is not converted a second time.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use belvedere_model::{
    Dimension, DimensionValue, GranularityValue, Interval, Model, SqlParameter, SqlTemplate, TemplatePart,
    dimension_templates,
};
use chrono::{Datelike, NaiveDate};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{Expr, lit};

use crate::bind::operators::pg_error;
use crate::error::{PlanError, Result};
use crate::functions::Functions;
use crate::lower::calculated::composed_path;
use crate::lower::joined_rows::internal;
use crate::members::{REFERENCE_DEPTH_MAX, sole_reference};
use crate::session::SessionFacts;

/// The granularity that a time dimension defines, and the cube that does: for a dimension that is nothing but a reference to
/// another one, that one's. `path` leads to the dimension's cube, the result's to the definition's.
#[must_use]
pub fn granularity_of<'m>(
    model: &'m Model,
    path: &[String],
    dimension: &'m Dimension,
    name: &str,
) -> Option<(Vec<String>, &'m GranularityValue)> {
    let (mut path, mut dimension) = (path.to_vec(), dimension);
    for _ in 0..REFERENCE_DEPTH_MAX {
        let found = dimension.granularities.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some((_, granularity)) = found {
            return Some((path, &granularity.value));
        }
        let DimensionValue::Sql(template) = &dimension.value else { return None };
        let reference = sole_reference(template).filter(|reference| reference.granularity.is_none())?;
        dimension = model.cubes.get(reference.cube())?.dimensions.get(&reference.member)?;
        path = composed_path(model, &path, &reference.path);
    }
    None
}

/// Whether a dimension's SQL names a granularity, itself or through the dimensions that it names.
#[must_use]
pub fn is_wall_clock(model: &Model, dimension: &Dimension) -> bool {
    names_granularity(model, &dimension_templates(dimension), 0)
}

/// As [`is_wall_clock`], of any SQL.
#[must_use]
pub fn names_granularity(model: &Model, templates: &[&SqlTemplate], depth: usize) -> bool {
    depth < REFERENCE_DEPTH_MAX
        && templates.iter().flat_map(|template| &template.parts).any(|part| match part {
            TemplatePart::Member(reference) if reference.granularity.is_some() => true,
            TemplatePart::Member(reference) => model
                .cubes
                .get(reference.cube())
                .and_then(|cube| cube.dimensions.get(&reference.member))
                .is_some_and(|inner| names_granularity(model, &dimension_templates(inner), depth + 1)),
            TemplatePart::Parameter(SqlParameter::LocalTime(_)) => true,
            TemplatePart::Text(_)
            | TemplatePart::ThisCube
            | TemplatePart::Cube(_)
            | TemplatePart::CubeSql(_)
            | TemplatePart::Context(_)
            | TemplatePart::Parameter(SqlParameter::Filters(_) | SqlParameter::Context { .. }) => false,
        })
}

/// The start of the bin that a wall clock lies in.
///
/// # Errors
/// 22007 for an origin that is no timestamp, 22008 for an interval out of range.
pub fn bins(
    (interval, offset, origin): (Interval, Option<Interval>, Option<&str>),
    wall_clock: Expr,
    functions: &Arc<Functions>,
    session: &SessionFacts,
) -> Result<Expr> {
    let origin = origin_of((interval, offset, origin), functions, session)?;
    let bin = functions.needed_scalar("belvedere_bin").map_err(internal)?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(bin, vec![lit(scalar(interval)?), origin, wall_clock])))
}

/// Where the bins of a granularity are counted from: a timestamp without columns.
///
/// # Errors
/// As [`bins`].
pub(crate) fn origin_of(
    (interval, offset, origin): (Interval, Option<Interval>, Option<&str>),
    functions: &Arc<Functions>,
    session: &SessionFacts,
) -> Result<Expr> {
    let origin = match origin {
        Some(text) => belvedere_functions::parse_literal(text, &timestamp(), None, &session.zone)
            .map_err(|error| internal(pg_error(error)))?,
        None => ScalarValue::TimestampMicrosecond(Some(default_origin(interval, session)), None),
    };
    let origin = lit(origin);
    let Some(offset) = offset else { return Ok(origin) };
    let add = functions.needed_scalar("pg_add").map_err(internal)?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(add, vec![origin, lit(scalar(offset)?)])))
}

/// `date_trunc(unit, wall_clock)`.
///
/// # Errors
/// Our own contradiction, when the function is not registered.
pub fn truncated(unit: &str, wall_clock: Expr, functions: &Arc<Functions>) -> Result<Expr> {
    let truncate = functions.needed_scalar("date_trunc").map_err(internal)?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(truncate, vec![lit(unit), wall_clock])))
}

/// A wall clock as a timestamp: a date is its midnight.
///
/// # Errors
/// 0A000 for anything that is no time.
pub fn as_timestamp(value: Expr, data_type: &DataType, shown: &str) -> Result<Expr> {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, None) => Ok(value),
        DataType::Date32 => Ok(datafusion_expr::cast(value, timestamp())),
        other => Err(PlanError::unsupported(format!(
            "{shown} is of type {}, which is no date or timestamp",
            crate::bind::operators::pg_name(other)
        ))),
    }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
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
