//! Time shifts of multi-stage measures (reference MS6, K2): `time + interval` stands in the place of the time dimension.
//!
//! What a calendar maps by SQL moves nothing in the question: the mapped column takes the time's place in the joins to the calendar, so that
//! all its members are those of the day that shows the rows. Rows that no day of the calendar shows are in the group without a day, as
//! rows of days that it does not have always are.
//!
//! Groups and conditions move alike: last year's row lands in this year's bucket, and a range of this year lets it in. It would be wrong to
//! move what is computed from the time elsewhere: a dimension `{created_at} < '2024-03-01'` keeps last year's value, so that it is refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use belvedere_functions::{CastTarget, pg_cast};
use belvedere_model::{
    Dimension, DimensionKind, DimensionValue, Interval, MemberRef, ShiftDirection, TemplatePart, TimeShift,
    ViewMemberValue, dimension_templates,
};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{Expr, lit};

use crate::catalog::MemberColumn;
use crate::error::{PlanError, Result};
use crate::granularity::scalar;
use crate::lower::joined_rows::{JoinedRows, Planning, internal};
use crate::members::{REFERENCE_DEPTH_MAX, sole_reference};
use crate::nodes::fact_leg::{LegScan, MappedTime};
use crate::policy::Restrictions;
use crate::rewrite::CUSTOM_GRANULARITY;

use super::build_legs::Question;
use super::hints::member;

/// A move along a time dimension; with none, along all of them.
#[derive(Debug, Clone)]
pub(crate) struct Shift {
    dimension: Option<Identity>,
    /// What is added to the stored time.
    by: Interval,
    /// As the model has it, for calendars that map it.
    asked: (Interval, ShiftDirection),
    /// A calendar's name for it.
    is_named: bool,
}

/// Cube or view, and member, seen through dimensions that are nothing but another one.
pub(crate) type Identity = (String, String);

/// The member that a column means, seen through dimensions that are nothing but another one.
pub(crate) fn identity_of(planning: Planning<'_>, column: &MemberColumn) -> Identity {
    let owner = column.view.clone().or_else(|| column.path.last().cloned()).unwrap_or_default();
    seen_through(planning, (owner, column.member.clone()))
}

pub(crate) fn identity_of_ref(planning: Planning<'_>, reference: &MemberRef) -> Identity {
    seen_through(planning, (reference.cube().to_owned(), reference.member.clone()))
}

fn seen_through(planning: Planning<'_>, mut found: Identity) -> Identity {
    // Loading refuses cycles.
    for _ in 0..REFERENCE_DEPTH_MAX {
        let Some(dimension) = dimension_of(planning, &found) else { break };
        let DimensionValue::Sql(template) = &dimension.value else { break };
        let Some(next) = sole_reference(template).filter(|next| next.granularity.is_none()) else {
            break;
        };
        found = (next.cube().to_owned(), next.member.clone());
    }
    found
}

fn dimension_of<'a>(planning: Planning<'a>, of: &Identity) -> Option<&'a Dimension> {
    let model = &planning.catalog.model;
    match model.cubes.get(&of.0) {
        Some(cube) => cube.dimensions.get(&of.1),
        None => match &model.views.get(&of.0)?.members.get(&of.1)?.value {
            ViewMemberValue::OwnDimension(dimension) => Some(dimension),
            ViewMemberValue::OwnMeasure(_) | ViewMemberValue::Included { .. } => None,
        },
    }
}

/// Refuses a query that reaches the cube of one of these members in several roles: which of them is meant is not said.
///
/// # Errors
/// 0A000 naming the cube.
pub(crate) fn refuse_roles(
    question: &Question,
    stage: &MemberColumn,
    members: &[Identity],
    planning: Planning<'_>,
) -> Result<()> {
    let mut paths: HashMap<String, &[String]> = HashMap::new();
    for column in question.group.iter().chain(&question.filters).flat_map(Expr::column_refs) {
        let known = member(&question.scans, column)?;
        let (cube, _) = identity_of(planning, known);
        // Seen through another dimension, the path is not that of the cube.
        if known.path.last() != Some(&cube) || !members.iter().any(|(owner, _)| *owner == cube) {
            continue;
        }
        let path = paths.entry(cube.clone()).or_insert(&known.path);
        if *path != known.path.as_slice() {
            return Err(PlanError::unsupported(format!(
                "the query reaches the cube \"{cube}\" in several ways, and \"{}\" does not say which of them it means",
                stage.member
            ))
            .hint("Use the dimensions of one way, or ask in sub-queries of their own."));
        }
    }
    Ok(())
}

/// The moves that a measure's `time_shift` means for a question.
///
/// # Errors
/// 0A000 for names that no time of the question has, and where it is not clear what is meant.
pub(crate) fn shifts_of(
    question: &Question,
    stage: &MemberColumn,
    shifts: &[TimeShift],
    rows: &mut JoinedRows<'_>,
    planning: Planning<'_>,
) -> Result<(Vec<Shift>, Vec<MappedTime>)> {
    let mut by_default = question.within.restrictions.iter().flat_map(Restrictions::members_by_default);
    let is_time = |tested: &&MemberColumn| {
        tested.dimension(&planning.catalog.model).is_some_and(|dimension| dimension.kind == DimensionKind::Time)
    };
    if !shifts.is_empty()
        && let Some(time) = by_default.find(is_time)
    {
        return Err(PlanError::unsupported(format!(
            "a default filter of the view restricts the time \"{}\", and \"{}\" is of another time",
            time.member, stage.member
        ))
        .hint("Restrict the time in the query, which takes the default filter's place."));
    }
    let mut found = Vec::new();
    let mut mapped: Vec<MappedTime> = Vec::new();
    for shift in shifts {
        let refused = |what: &str| {
            PlanError::unsupported(format!("the time shift of \"{}\" {what}, which is not supported yet", stage.member))
        };
        if shift.sql.is_some() {
            return Err(refused("has sql of its own"));
        }
        let dimension = match &shift.time_dimension {
            None => None,
            Some(reference) => {
                rows.named_by(stage, reference)?;
                Some(identity_of_ref(planning, reference))
            }
        };
        match (&shift.name, shift.interval, shift.direction) {
            (Some(name), _, _) => {
                let (by_interval, by_join) = named(question, stage, name, dimension, planning)?;
                found.extend(by_interval);
                mapped.extend(by_join);
            }
            (None, Some(interval), Some(direction)) => {
                if dimension.is_none() && shifts.len() > 1 {
                    return Err(refused("names no time dimension beside another shift"));
                }
                refuse_roles(question, stage, dimension.as_slice(), planning)?;
                let shift = Shift::new(dimension, interval, direction, false)?;
                for column in question.group.iter().chain(&question.filters).flat_map(Expr::column_refs) {
                    let moved = member(&question.scans, column)?;
                    let by_join =
                        shift.moves(planning, moved).then(|| shift.mapped(planning, &identity_of(planning, moved)));
                    mapped.extend(by_join.flatten());
                }
                found.push(shift);
            }
            (None, _, _) => return Err(refused("has no interval")),
        }
    }
    mapped.dedup();
    for (index, one) in mapped.iter().enumerate() {
        let calendar = (one.cube.clone(), one.dimension.clone());
        refuse_roles(question, stage, std::slice::from_ref(&calendar), planning)?;
        let others = question.within.mapped.iter().chain(&mapped[..index]);
        if others.into_iter().any(|other| other.cube == one.cube) {
            return Err(PlanError::unsupported(format!(
                "\"{}\" is shifted in time twice by the calendar \"{}\", which maps days by SQL",
                stage.member, one.cube
            )));
        }
    }
    Ok((found, mapped))
}

/// The shift that the calendars of a question call so.
fn named(
    question: &Question,
    stage: &MemberColumn,
    name: &str,
    wanted: Option<Identity>,
    planning: Planning<'_>,
) -> Result<(Vec<Shift>, Vec<MappedTime>)> {
    let mut found: Vec<Shift> = Vec::new();
    let mut mapped: Vec<MappedTime> = Vec::new();
    for column in question.group.iter().chain(&question.filters).flat_map(Expr::column_refs) {
        let identity = identity_of(planning, member(&question.scans, column)?);
        let is_known = found.iter().any(|known| known.dimension.as_ref() == Some(&identity));
        if is_known || wanted.as_ref().is_some_and(|wanted| *wanted != identity) {
            continue;
        }
        let Some(dimension) = dimension_of(planning, &identity) else { continue };
        let position = dimension.details.time_shifts.iter().position(|shift| shift.name.as_deref() == Some(name));
        let Some(position) = position else { continue };
        let shift = &dimension.details.time_shifts[position];
        match (&shift.sql, shift.interval, shift.direction) {
            (None, Some(interval), Some(direction)) => {
                found.push(Shift::new(Some(identity), interval, direction, true)?);
            }
            (Some(_), _, _) => {
                let (cube, dimension) = identity;
                let one = MappedTime { cube, dimension, shift: position };
                if !mapped.contains(&one) {
                    mapped.push(one);
                }
            }
            (None, _, _) => return Err(mapped_by_sql(stage, &identity)),
        }
    }
    if found.is_empty() && mapped.is_empty() {
        return Err(PlanError::unsupported(format!(
            "\"{}\" is shifted in time by \"{name}\", which no time dimension of the query defines",
            stage.member
        ))
        .hint("Group by, or restrict, the time dimension of the calendar that defines it."));
    }
    Ok((found, mapped))
}

fn mapped_by_sql(stage: &MemberColumn, of: &Identity) -> PlanError {
    PlanError::unsupported(format!(
        "the time shift of \"{}\" by its name is one that the calendar \"{}\" also maps by SQL",
        stage.member, of.0
    ))
}

/// The same length the other way.
pub(crate) fn negated(interval: Interval) -> Option<Interval> {
    Some(Interval {
        months: interval.months.checked_neg()?,
        days: interval.days.checked_neg()?,
        microseconds: interval.microseconds.checked_neg()?,
    })
}

impl Shift {
    fn new(dimension: Option<Identity>, interval: Interval, direction: ShiftDirection, is_named: bool) -> Result<Self> {
        let by = match direction {
            ShiftDirection::Prior => Some(interval),
            ShiftDirection::Next => negated(interval),
        };
        let by = by.ok_or_else(|| PlanError::new("22008", "interval out of range"))?;
        Ok(Self { dimension, by, asked: (interval, direction), is_named })
    }

    /// A calendar may map the same shift to other days than arithmetic does.
    fn mapped(&self, planning: Planning<'_>, of: &Identity) -> Option<MappedTime> {
        let is_same =
            |shift: &TimeShift| shift.sql.is_some() && shift.interval.zip(shift.direction) == Some(self.asked);
        let shift = dimension_of(planning, of)?.details.time_shifts.iter().position(is_same)?;
        Some(MappedTime { cube: of.0.clone(), dimension: of.1.clone(), shift })
    }

    fn moves(&self, planning: Planning<'_>, column: &MemberColumn) -> bool {
        let is_time =
            column.dimension(&planning.catalog.model).is_some_and(|dimension| dimension.kind == DimensionKind::Time);
        is_time && self.dimension.as_ref().is_none_or(|wanted| *wanted == identity_of(planning, column))
    }

    /// Whether a dimension's SQL reads one that is moved: its own value would stay where it was.
    fn is_read_by(&self, planning: Planning<'_>, of: &Identity, depth: usize) -> bool {
        let Some(dimension) = dimension_of(planning, of) else { return false };
        if depth > REFERENCE_DEPTH_MAX {
            return true;
        }
        dimension_templates(dimension).into_iter().flat_map(|template| &template.parts).any(|part| {
            let TemplatePart::Member(reference) = part else { return false };
            let next = (reference.cube().to_owned(), reference.member.clone());
            let is_time = dimension_of(planning, &next).is_some_and(|next| next.kind == DimensionKind::Time);
            let through = seen_through(planning, next.clone());
            // What a join moves moves all that is made of it.
            let is_moved = is_time
                && self.dimension.as_ref().is_none_or(|wanted| *wanted == through)
                && self.mapped(planning, &through).is_none();
            is_moved || self.is_read_by(planning, &next, depth + 1)
        })
    }

    /// An expression of the question with the moved time in it.
    ///
    /// # Errors
    /// 0A000 where a part of it would not move.
    pub(crate) fn applied(
        &self,
        expr: &Expr,
        scans: &[LegScan],
        stage: &MemberColumn,
        planning: Planning<'_>,
    ) -> Result<Expr> {
        let add = planning.functions.needed_scalar("pg_add").map_err(internal)?;
        let by = lit(scalar(self.by)?);
        let (mut failure, mut mapped) = (None, None);
        let moved = expr
            .clone()
            .transform_up(|node| {
                if let Expr::ScalarFunction(call) = &node
                    && call.func.name() == CUSTOM_GRANULARITY
                    && call.args.iter().any(|arg| !matches!(arg, Expr::Column(_) | Expr::Literal(..)))
                {
                    failure = Some("a calendar's own unit".to_owned());
                }
                let Expr::Column(column) = &node else { return Ok(Transformed::no(node)) };
                let Ok(known) = member(scans, column) else { return Ok(Transformed::no(node)) };
                // A time that is cut from another one does not move with it either: a month's start and a day is no month's start.
                if self.is_read_by(planning, &identity_of(planning, known), 0) {
                    failure = Some(known.member.clone());
                }
                if failure.is_some() || !self.moves(planning, known) {
                    return Ok(Transformed::no(node));
                }
                let identity = identity_of(planning, known);
                if self.mapped(planning, &identity).is_some() {
                    if self.is_named {
                        mapped = Some(mapped_by_sql(stage, &identity));
                    }
                    return Ok(Transformed::no(node));
                }
                let is_date = known.field.data_type() == &DataType::Date32;
                let sum = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&add), vec![node, by.clone()]));
                Ok(Transformed::yes(if is_date { to_date(sum) } else { sum }))
            })
            .map_err(internal)?
            .data;
        if let Some(error) = mapped {
            return Err(error);
        }
        match failure {
            None => Ok(moved),
            Some(dimension) => Err(PlanError::unsupported(format!(
                "the query uses \"{dimension}\", which is made of a time that \"{}\" shifts",
                stage.member
            ))
            .hint("Use the time dimension itself, with DATE_TRUNC.")),
        }
    }
}

/// `CAST(x AS date)`.
pub(crate) fn to_date(expr: Expr) -> Expr {
    let target = CastTarget::from_type(belvedere_functions::PgType::Date);
    Expr::ScalarFunction(ScalarFunction::new_udf(pg_cast(target), vec![expr]))
}
