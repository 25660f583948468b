//! Groups by days, weeks or months of local time at a source that does not know the zone: there by steps of stored time, here by what the
//! steps are shown as.
//!
//! `Aggregate(date_trunc('day', to_local(t, 'Europe/Oslo')), sum(x))` becomes `Aggregate(date_trunc('day', to_local(h, …)), sum(s))`
//! over `Aggregate(h: t cut to its hour, s: sum(x))`: all times of an hour of UTC lie in one hour of a zone whose offsets are whole
//! hours; other zones take steps of 30 or 15 minutes. Times for which that is not known (before 1980) are groups of their own.
//!
//! When it would be wrong: parts of local time below the hour, DISTINCT, and aggregates that cannot be put together from parts.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, lit, when};
use datafusion::scalar::ScalarValue;

use super::group_early::{below_projections, early_groups, early_key, inline, is_early, parts_of, with_totals};
use super::rules::text_literal;
use super::wall_clock::{WallClock, dated};

/// `node` over groups of its input by steps of stored time, and those groups, so that the caller can ask whether they go down whole.
pub(super) fn group_local(node: &Aggregate) -> Result<Option<(LogicalPlan, LogicalPlan)>> {
    let (projected, input) = below_projections(&node.input);
    if node.input.schema().iter().chain(input.schema().iter()).any(|(qualifier, _)| is_early(qualifier)) {
        return Ok(None);
    }
    let mut group = vec![];
    let mut keys = vec![];
    let mut is_local = false;
    for key in &node.group_expr {
        if matches!(key, Expr::GroupingSet(_)) {
            return Ok(None);
        }
        let key = inline(key, &projected)?.unalias_nested().data;
        keys.push(match over_steps(&key, input.schema(), &mut group)? {
            Some(over) => {
                is_local = true;
                over
            }
            None => early_key(&mut group, &key),
        });
    }
    if !is_local {
        return Ok(None);
    }
    let Some(parts) = parts_of(node, &projected, |_| true)? else { return Ok(None) };
    let below = early_groups(input, &group, &parts)?;
    Ok(with_totals(node, below.clone(), keys, &parts)?.map(|plan| (plan, below)))
}

/// `key` over early groups by steps of stored time; `None` where it does not ask for hours or more of local time.
pub(super) fn over_steps(key: &Expr, schema: &DFSchema, group: &mut Vec<Expr>) -> Result<Option<Expr>> {
    let mut found = false;
    let over = key.clone().transform_down(|expr| {
        if let Some(position) = shows_hours(&expr, schema)
            && let Some(stepped) = stepped(argument(&expr, position), schema)
        {
            found = true;
            let shown = WallClock::over(argument(&expr, position), early_key(group, &stepped));
            let expr = match expr {
                Expr::ScalarFunction(ScalarFunction { func, mut args }) => {
                    args[position] = shown;
                    Expr::ScalarFunction(ScalarFunction { func, args })
                }
                Expr::Cast(mut cast) => {
                    *cast.expr = shown;
                    Expr::Cast(cast)
                }
                other => other,
            };
            return Ok(Transformed::new(expr, true, TreeNodeRecursion::Jump));
        }
        Ok(match expr {
            column @ Expr::Column(_) => Transformed::new(early_key(group, &column), true, TreeNodeRecursion::Jump),
            other => Transformed::no(other),
        })
    })?;
    Ok(found.then_some(over.data))
}

fn argument(expr: &Expr, position: usize) -> &Expr {
    match expr {
        Expr::ScalarFunction(function) => &function.args[position],
        Expr::Cast(cast) => &cast.expr,
        other => other,
    }
}

/// The position of the argument of which a function shows only hours or more.
fn shows_hours(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    const TRUNCATED: &[&str] = &["hour", "day", "week", "month", "quarter", "year", "decade", "century", "millennium"];
    const EXTRACTED: &[&str] = &["hour", "day", "dow", "isodow", "doy", "week", "month", "quarter", "year", "isoyear"];
    if dated(expr, schema).is_some() {
        return Some(0);
    }
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
    let units = match func.name() {
        "date_trunc" | "pg_date_trunc" => TRUNCATED,
        "date_part" | "extract" => EXTRACTED,
        _ => return None,
    };
    let unit = text_literal(args.first()?)?.to_ascii_lowercase();
    (args.len() == 2 && units.contains(&unit.as_str())).then_some(1)
}

/// The stored time below a wall clock, cut to a step.
fn stepped(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let clock = WallClock::or_plain(expr);
    let step = clock.step()?;
    let datafusion::arrow::datatypes::DataType::Timestamp(_, zone) = clock.inner.get_type(schema).ok()? else {
        return None;
    };
    let at = |time: i64| lit(ScalarValue::TimestampMicrosecond(Some(time), zone.clone()));
    let stored = || clock.inner.clone();
    let floor = belvedere_functions::library::floor_minutes();
    let cut = Expr::ScalarFunction(ScalarFunction::new_udf(floor, vec![lit(step.minutes), stored()]));
    let known = stored().gt_eq(at(step.range.start)).and(stored().lt(at(step.range.end)));
    when(known, cut).otherwise(stored()).ok()
}
