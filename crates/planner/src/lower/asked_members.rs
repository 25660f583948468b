//! `FILTER_PARAMS`, `FILTER_GROUP` and `SQL_UTILS.convertTz` in the SQL of members (reference X1, X3, X6).
//!
//! There they decide of values, where in the SQL of a cube they only spare work. So the condition that stands in the place is the very one that
//! the query has, with the given SQL instead of the member, whatever it is made of; without one it is true. A condition that reaches
//! beyond the named members is no condition on them (X3). It would be wrong to put a weaker one, or to leave out one that cannot be put:
//! that is refused.

use std::collections::HashMap;

use belvedere_functions::Zone;
use belvedere_model::{
    CallPart, DimensionKind, FilterColumn, FilterParameter, MemberKind, Model, SqlParameter, SqlTemplate, TemplatePart,
    dimension_templates, measure_templates,
};
use datafusion_common::ScalarValue;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, Operator, lit};

use crate::bind::operators;
use crate::catalog::MemberColumn;
use crate::error::{PlanError, Result};
use crate::expand::hints::member;
use crate::members::{Marked, REFERENCE_DEPTH_MAX};
use crate::rewrite::CUSTOM_GRANULARITY;

use super::asked_conditions::{AskedCondition, Test};
use super::joined_rows::{JoinedRows, Role, Scope, internal};
use super::sub_queries::Restriction;

/// Whether a column's value depends on the conditions of the query, by its own SQL or that of members that it names.
pub(crate) fn asks_for_conditions(model: &Model, column: &MemberColumn) -> bool {
    let own = match column.kind {
        MemberKind::Dimension => column.dimension(model).map(dimension_templates),
        MemberKind::Measure => column.measure(model).map(measure_templates),
        MemberKind::Segment => {
            let cube = column.path.last().and_then(|cube| model.cubes.get(cube));
            cube.and_then(|cube| cube.segments.get(&column.member)).map(|segment| vec![&segment.sql])
        }
    };
    own.is_some_and(|templates| any_asks(model, &templates, 0))
}

fn any_asks(model: &Model, templates: &[&SqlTemplate], depth: usize) -> bool {
    depth < REFERENCE_DEPTH_MAX
        && templates.iter().flat_map(|template| &template.parts).any(|part| match part {
            TemplatePart::Parameter(SqlParameter::Filters(_)) => true,
            TemplatePart::Member(reference) => {
                let Some(cube) = model.cubes.get(reference.cube()) else { return false };
                let named = &reference.member;
                let dimension = cube.dimensions.get(named).map(dimension_templates);
                let measure = || cube.measures.get(named).map(measure_templates);
                let segment = || cube.segments.get(named).map(|segment| vec![&segment.sql]);
                let inner = dimension.or_else(measure).or_else(segment).unwrap_or_default();
                any_asks(model, &inner, depth + 1)
            }
            TemplatePart::Text(_)
            | TemplatePart::ThisCube
            | TemplatePart::Cube(_)
            | TemplatePart::CubeSql(_)
            | TemplatePart::Context(_)
            | TemplatePart::Parameter(SqlParameter::Context { .. } | SqlParameter::LocalTime(_)) => false,
        })
}

/// SQL of a cube in which `{CUBE}` stands for it.
fn own_template(text: &str, like: &SqlTemplate) -> Result<SqlTemplate> {
    let text = text.replace("${", "{").replace("{TABLE}", "{CUBE}");
    let mut parts = Vec::new();
    for (index, piece) in text.split("{CUBE}").enumerate() {
        if piece.contains(['{', '}']) {
            return Err(PlanError::unsupported(format!(
                "`{text}` in a member's SQL refers to something other than {{CUBE}}"
            )));
        }
        if index > 0 {
            parts.push(TemplatePart::ThisCube);
        }
        if !piece.is_empty() {
            parts.push(TemplatePart::Text(piece.to_owned()));
        }
    }
    Ok(SqlTemplate { parts, ..like.clone() })
}

/// How messages call a place.
fn shown(filter: &FilterParameter) -> String {
    format!("FILTER_PARAMS.{}.{}", filter.cube, filter.member)
}

impl<'a> JoinedRows<'a> {
    /// What stands in the place of a parameter of a member's SQL.
    ///
    /// # Errors
    /// 0A000 for a condition of the query that cannot stand there.
    pub(super) fn parameter_value(&mut self, role: &Role<'a>, parameter: &SqlParameter, depth: usize) -> Result<Expr> {
        match parameter {
            SqlParameter::Filters(filters) => self.asked_of_members(role, filters, depth),
            SqlParameter::LocalTime(sql) => {
                let template = self.template_of(role, sql)?;
                let stored = self.row_value(role, &template, false, depth)?;
                let data_type = self.type_of(&stored)?;
                self.local(stored, &data_type, self.planning.session.zone)
            }
            SqlParameter::Context { .. } => {
                Err(PlanError::internal(format!("a member of \"{}\" asks for what is known of the user", role.name())))
            }
        }
    }

    fn template_of(&self, role: &Role<'a>, sql: &str) -> Result<SqlTemplate> {
        let (belvedere_model::Relation::Table(like) | belvedere_model::Relation::Query(like)) = &role.cube.relation;
        own_template(sql, like)
    }

    fn asked_of_members(&mut self, role: &Role<'a>, filters: &[FilterParameter], depth: usize) -> Result<Expr> {
        for filter in filters {
            let named = self.cube(&filter.cube)?.dimensions.get(&filter.member);
            if named.is_none_or(|dimension| dimension.kind == DimensionKind::Switch) {
                return Err(PlanError::unsupported(format!(
                    "{} in the SQL of a member of \"{}\" names no dimension with SQL",
                    shown(filter),
                    role.name()
                )));
            }
        }
        // While only types are asked for: the source is to know the columns.
        if self.switches.is_none() && self.restriction.filters.is_empty() {
            for filter in filters {
                match &filter.column {
                    FilterColumn::Sql(sql) => {
                        let template = self.template_of(role, sql)?;
                        self.row_value(role, &template, false, depth)?;
                    }
                    FilterColumn::Call { arity, parts } => {
                        // Of no type that a comparison would refuse.
                        let values = vec![lit(ScalarValue::Null); *arity];
                        self.called_with(role, parts, &values, depth)?;
                    }
                }
            }
            return Ok(lit(true));
        }
        let Restriction { scans, filters: conditions, by_default } = self.restriction.clone();
        let names = |found: &MemberColumn, filter: &FilterParameter| {
            found.view.is_none() && found.path.last() == Some(&filter.cube) && found.member == filter.member
        };
        if let Some(tested) = by_default.iter().find(|tested| filters.iter().any(|filter| names(tested, filter))) {
            return Err(PlanError::unsupported(format!(
                "the SQL of a member of \"{}\" asks for conditions on \"{}\", which a default filter of the view tests",
                role.name(),
                tested.member
            ))
            .hint("Restrict it in the query, which takes the default filter's place."));
        }
        let mut all: Option<Expr> = None;
        let mut called: Vec<(&FilterParameter, Vec<Expr>)> = Vec::new();
        for condition in conditions.iter().flat_map(split_conjunction) {
            let columns = condition.column_refs();
            let mut tested: Vec<&FilterParameter> = Vec::new();
            for column in &columns {
                let found = member(&scans, column)?;
                tested.extend(filters.iter().find(|filter| names(found, filter)));
            }
            if tested.is_empty() || tested.len() < columns.len() {
                continue;
            }
            let first = tested[0];
            match &first.column {
                FilterColumn::Call { .. } => {
                    if tested.iter().any(|other| !std::ptr::eq(*other, first)) {
                        return Err(cannot_put(first, condition));
                    }
                    match called.iter_mut().find(|(known, _)| std::ptr::eq(*known, first)) {
                        Some((_, known)) => known.push(condition.clone()),
                        None => called.push((first, vec![condition.clone()])),
                    }
                }
                FilterColumn::Sql(_) => {
                    let holds = self.put(role, first, filters, condition, depth)?;
                    all = Some(and(all, holds));
                }
            }
        }
        for (filter, conditions) in called {
            let FilterColumn::Call { arity, parts } = &filter.column else { continue };
            let values = self.values_of(filter, &conditions, *arity)?;
            let holds = self.called_with(role, parts, &values, depth)?;
            all = Some(and(all, holds));
        }
        Ok(all.unwrap_or_else(|| lit(true)))
    }

    /// The condition with the given SQL in the place of the members.
    fn put(
        &mut self,
        role: &Role<'a>,
        first: &FilterParameter,
        filters: &[FilterParameter],
        condition: &Expr,
        depth: usize,
    ) -> Result<Expr> {
        let is_own = condition.exists(|node| {
            Ok(match node {
                Expr::ScalarFunction(call) => call.func.name() == CUSTOM_GRANULARITY,
                Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) => true,
                _ => false,
            })
        });
        if is_own.map_err(internal)? {
            return Err(cannot_put(first, condition));
        }
        let scans = self.restriction.scans.clone();
        let mut failure = None;
        let put = condition.clone().transform_up(|node| {
            let Expr::Column(column) = &node else { return Ok(Transformed::no(node)) };
            let found = member(&scans, column)?;
            let filter = filters
                .iter()
                .find(|filter| found.path.last() == Some(&filter.cube) && found.member == filter.member)
                .unwrap_or(first);
            match self.in_place_of(role, filter, found, depth) {
                Ok(value) => Ok(Transformed::yes(value)),
                Err(error) => {
                    failure = failure.take().or(Some(error));
                    Ok(Transformed::no(node))
                }
            }
        });
        let put = put.map_err(internal)?.data;
        failure.map_or(Ok(put), Err)
    }

    /// The SQL that is given for a member, as a value of the member's type.
    fn in_place_of(
        &mut self,
        role: &Role<'a>,
        filter: &FilterParameter,
        found: &MemberColumn,
        depth: usize,
    ) -> Result<Expr> {
        let (FilterColumn::Sql(sql), Some(dimension), None) =
            (&filter.column, found.dimension(self.model()), &found.mask)
        else {
            return Err(PlanError::unsupported(format!(
                "the condition on \"{}\" cannot be put where a member's SQL asks for it by {}",
                found.member,
                shown(filter)
            ))
            .detail("Only conditions on dimensions that are not masked can be."));
        };
        if self.has_roles(&filter.cube) {
            return Err(PlanError::unsupported(format!(
                "{} in the SQL of a member does not say which join to \"{}\" it means",
                shown(filter),
                filter.cube
            )));
        }
        let template = self.template_of(role, sql)?;
        let value = self.row_value(role, &template, dimension.kind == DimensionKind::Boolean, depth)?;
        let value = self.shown(dimension, value)?;
        let (is, wanted) = (self.type_of(&value)?, found.field.data_type());
        if is == *wanted {
            return Ok(value);
        }
        // A whole number is exactly one with digits; any other numbers might be rounded.
        let is_exact = is.is_integer() && wanted.is_decimal();
        if !is_exact && belvedere_functions::comparison_type(&is, wanted).is_none_or(|common| common != *wanted) {
            return Err(PlanError::unsupported(format!(
                "the SQL that is given for {} is of type {}, and the member is of type {}",
                shown(filter),
                operators::pg_name(&is),
                operators::pg_name(wanted)
            ))
            .hint("Cast it."));
        }
        operators::cast_exactly(value, &is, wanted, &self.planning.session.in_utc()).map_err(internal)
    }

    /// The values that all conditions on a member together give to a function: the ends of a range, or those that it may equal.
    fn values_of(&self, filter: &FilterParameter, conditions: &[Expr], arity: usize) -> Result<Vec<Expr>> {
        let refused = || cannot_put(filter, &conditions[0]);
        let scans = &self.restriction.scans;
        let mut tests: Vec<Test> = Vec::new();
        for condition in conditions {
            let mut todo = vec![self.asked(scans, condition)?.ok_or_else(refused)?];
            while let Some(condition) = todo.pop() {
                match condition {
                    AskedCondition::And(inner) => todo.extend(inner),
                    AskedCondition::Or(_) => return Err(refused()),
                    AskedCondition::Test { is_time, test, .. } => {
                        let source = self.planning.catalog.sources.zone(&self.cube(&filter.cube)?.data_source);
                        if is_time && (self.planning.session.zone != Zone::UTC || source != Zone::UTC) {
                            return Err(refused().hint(
                                "A function of times is called in UTC only: give SQL, as in .filter('created_at'), or SET timezone = 'UTC'.",
                            ));
                        }
                        tests.push(test);
                    }
                }
            }
        }
        let (mut from, mut to, mut equal): (Vec<ScalarValue>, Vec<ScalarValue>, Vec<Vec<ScalarValue>>) =
            (Vec::new(), Vec::new(), Vec::new());
        for test in tests {
            match test {
                Test::Compare(Operator::Eq, value) => equal.push(vec![value]),
                Test::In(values) => equal.push(values),
                Test::Compare(Operator::GtEq, value) => from.push(value),
                Test::Compare(Operator::LtEq, value) => to.push(value),
                Test::Compare(Operator::Gt, value) => from.push(beside(&value, 1).ok_or_else(refused)?),
                Test::Compare(Operator::Lt, value) => to.push(beside(&value, -1).ok_or_else(refused)?),
                Test::Compare(..) | Test::IsNull | Test::IsNotNull => return Err(refused()),
            }
        }
        let values = match (from.as_slice(), to.as_slice(), equal.as_slice()) {
            ([from], [to], []) if arity == 2 => vec![from.clone(), to.clone()],
            ([], [], [values]) if values.len() == arity => values.clone(),
            _ => return Err(refused()),
        };
        Ok(values.into_iter().map(lit).collect())
    }

    /// The SQL of a function with values in it.
    fn called_with(&mut self, role: &Role<'a>, parts: &[CallPart], values: &[Expr], depth: usize) -> Result<Expr> {
        let given: HashMap<String, Expr> =
            values.iter().enumerate().map(|(index, value)| (format!("__given{index}"), value.clone())).collect();
        let text: String = parts
            .iter()
            .map(|part| match part {
                CallPart::Text(sql) => sql.clone(),
                CallPart::Value(index) => format!("__given{index}"),
            })
            .collect();
        let marked = Marked::new(&self.template_of(role, &text)?);
        self.mixed_value_with(&Scope::Cube(role.clone()), &marked, &given, depth)
    }
}

/// The next value of a type that has one.
fn beside(value: &ScalarValue, step: i8) -> Option<ScalarValue> {
    Some(match value {
        ScalarValue::TimestampMicrosecond(Some(time), None) => {
            ScalarValue::TimestampMicrosecond(Some(time.checked_add(step.into())?), None)
        }
        ScalarValue::Date32(Some(day)) => ScalarValue::Date32(Some(day.checked_add(step.into())?)),
        ScalarValue::Int64(Some(number)) => ScalarValue::Int64(Some(number.checked_add(step.into())?)),
        ScalarValue::Int32(Some(number)) => ScalarValue::Int32(Some(number.checked_add(step.into())?)),
        _ => return None,
    })
}

fn and(before: Option<Expr>, holds: Expr) -> Expr {
    match before {
        None => holds,
        Some(before) => before.and(holds),
    }
}

fn cannot_put(filter: &FilterParameter, condition: &Expr) -> PlanError {
    let columns: Vec<String> =
        condition.column_refs().into_iter().map(|column| format!("\"{}\"", column.name)).collect();
    PlanError::unsupported(format!(
        "a condition on {} cannot be put where a member's SQL asks for it by {}",
        columns.join(", "),
        shown(filter)
    ))
    .detail("A function takes a range with both ends, or as many values as it has arguments; SQL takes conditions without sub-queries.")
}
