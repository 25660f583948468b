//! Decides what each switch is in a question: pinned to one value by a condition, or crossed with its values where it is grouped by
//! (reference DT6).
//!
//! A switch has no column. `GROUP BY currency` gives each row once for each value; `WHERE currency = 'USD'` makes it that value everywhere.
//!
//! It would be wrong to cross where the switch is not grouped by, or grouped by in an expression that several values share: each row
//! would count once for each of them. A switch that is neither pinned nor grouped by is refused where something depends on it.

use std::sync::Arc;

use belvedere_model::{DimensionValue, MemberKind, Model};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, ScalarValue};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr, lit};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;

use crate::catalog::{JOIN_FIELD, MemberColumn};
use crate::error::{PlanError, Result};
use crate::lower::joined_rows::internal;
use crate::nodes::fact_leg::{LegScan, Switch, SwitchValue};

use super::build_legs::Question;
use super::hints::member;

/// A question's conditions without those that pin a switch, and the switches.
pub(crate) struct Pinned {
    pub filters: Vec<Expr>,
    pub switches: Vec<Switch>,
}

/// # Errors
/// 0A000 where rows would count once for each of several values.
pub(crate) fn pin_switches(question: &Question, model: &Model) -> Result<Pinned> {
    let scans = &question.scans;
    let mut switches: Vec<Switch> = Vec::new();
    let mut filters = question.filters.clone();
    // A total of ROLLUP would count each row once for each value of the keys that it leaves out.
    let asked = question.group.iter().chain(&question.joined).chain(&question.filters);
    let columns = asked.flat_map(Expr::column_refs).chain(&question.listed);
    for column in columns {
        let Some(found) = switch_of(scans, column, model)? else { continue };
        if switches.iter().any(|known| known.cube == found.cube && known.member == found.member) {
            continue;
        }
        let (values, rest) = values_left(&found, filters, scans, model)?;
        filters = rest;
        let is_grouped = |expr: &Expr| match expr {
            Expr::Column(column) => {
                Ok::<bool, PlanError>(switch_of(scans, column, model)?.is_some_and(|s| s.is(&found)))
            }
            _ => Ok(false),
        };
        let mut crossed = false;
        for expr in &question.group {
            crossed |= is_grouped(expr)?;
        }
        let value = match values.as_slice() {
            _ if crossed => SwitchValue::Crossed(values),
            [only] => SwitchValue::Pinned(only.clone()),
            // No value satisfies the conditions: no row does.
            [] => {
                filters.push(lit(false));
                SwitchValue::Pinned(found.values().first().cloned().unwrap_or_default())
            }
            _ => {
                return Err(several_values(&column.name, &values));
            }
        };
        switches.push(Switch { value, ..found });
    }
    Ok(Pinned { filters, switches })
}

/// Refuses rows that would stand there once for each of several values of a switch that they do not show.
///
/// # Errors
/// 0A000 naming the switch.
pub(crate) fn refuse_hidden_switches(scans: &[LegScan], shown: &[Expr], filters: &[Expr], model: &Model) -> Result<()> {
    for column in filters.iter().flat_map(Expr::column_refs) {
        let Some(switch) = as_column_switch(scans, column, model)? else { continue };
        let mut is_shown = false;
        for other in shown.iter().flat_map(Expr::column_refs) {
            is_shown |= as_column_switch(scans, other, model)?.is_some_and(|other| other.is(&switch));
        }
        let (values, _) = values_left(&switch, filters.to_vec(), scans, model)?;
        if !is_shown && values.len() > 1 {
            return Err(several_values(&column.name, &values));
        }
    }
    Ok(())
}

fn several_values(name: &str, values: &[String]) -> PlanError {
    PlanError::unsupported(format!(
        "the switch \"{name}\" has {} values here, and each row would count once for each of them",
        values.len()
    ))
    .hint(format!("Ask for \"{name}\" itself, or pin it by {name} = '{}'.", values.first().map_or("", String::as_str)))
}

/// As [`switch_of`]; the field of the model's own join is no column of a view.
fn as_column_switch(scans: &[LegScan], column: &Column, model: &Model) -> Result<Option<Switch>> {
    if column.name == JOIN_FIELD { Ok(None) } else { switch_of(scans, column, model) }
}

/// The switches among columns that are read row by row: each row stands there once for each value.
pub(crate) fn cross_switches<'m>(members: impl IntoIterator<Item = &'m MemberColumn>, model: &Model) -> Vec<Switch> {
    let mut switches: Vec<Switch> = Vec::new();
    for found in members.into_iter().filter_map(|member| as_switch(member, model)) {
        if !switches.contains(&found) {
            switches.push(found);
        }
    }
    switches
}

fn switch_of(scans: &[LegScan], column: &Column, model: &Model) -> Result<Option<Switch>> {
    Ok(as_switch(member(scans, column)?, model))
}

/// A column that is a switch itself, with all its values.
pub(crate) fn as_switch(member: &MemberColumn, model: &Model) -> Option<Switch> {
    let dimension = member.dimension(model).filter(|_| member.kind == MemberKind::Dimension)?;
    let DimensionValue::Switch { values } = &dimension.value else { return None };
    if dimension.details.case_switch.is_some() {
        return None;
    }
    let cube = member.path.last()?.clone();
    Some(Switch { cube, member: member.member.clone(), value: SwitchValue::Crossed(values.clone()) })
}

/// The values for which the conditions on a switch alone hold, and the other conditions.
fn values_left(
    switch: &Switch,
    filters: Vec<Expr>,
    scans: &[LegScan],
    model: &Model,
) -> Result<(Vec<String>, Vec<Expr>)> {
    let mut values = switch.values().to_vec();
    let mut rest = Vec::new();
    for filter in filters {
        let columns = filter.column_refs();
        let mut is_alone = !columns.is_empty();
        for column in columns {
            is_alone &= switch_of(scans, column, model)?.is_some_and(|other| other.is(switch));
        }
        let holds = if is_alone {
            values.iter().map(|value| holds_for(&filter, value)).collect::<Result<Option<Vec<bool>>>>()?
        } else {
            None
        };
        match holds {
            None => rest.push(filter),
            Some(holds) => {
                let mut holds = holds.into_iter();
                values.retain(|_| holds.next().unwrap_or(false));
            }
        }
    }
    Ok((values, rest))
}

/// Whether a condition holds with a value in the place of its columns; `None` where that cannot be said before it runs.
fn holds_for(filter: &Expr, value: &str) -> Result<Option<bool>> {
    let with_value = filter
        .clone()
        .transform_up(|node| {
            Ok(match node {
                Expr::Column(_) => Transformed::yes(lit(value)),
                other => Transformed::no(other),
            })
        })
        .map_err(internal)?
        .data;
    let context = SimplifyContext::builder().with_schema(Arc::new(DFSchema::empty())).build();
    Ok(match ExprSimplifier::new(context).simplify(with_value).map_err(internal)? {
        Expr::Literal(ScalarValue::Boolean(holds), _) => Some(holds.unwrap_or(false)),
        _ => None,
    })
}
