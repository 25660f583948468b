//! The conditions of a tree's joins: each split into equalities, one side each, so that a join can run across sources.

use std::sync::Arc;

use arrow::datatypes::DataType;
use belvedere_model::{MemberRef, SqlTemplate, TemplatePart};
use datafusion_common::{JoinType, NullEquality, ScalarValue};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use crate::bind;
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{cube_of, join_between};
use crate::members::{self, JoinTerm, Marked};
use crate::nodes::fact_leg::MappedTime;

use super::calculated::composed_path;
use super::joined_rows::{JoinedRows, Role, Scope, internal};

impl<'a> JoinedRows<'a> {
    /// The condition of an edge of the tree, over the columns of rollups.
    pub(crate) fn stored_join_condition(&mut self, from: &str, to: &str) -> Result<Condition> {
        self.join_condition(from, to)
    }

    /// The condition of an edge of the tree, over base columns.
    pub(super) fn join_condition(&mut self, from: &str, to: &str) -> Result<Condition> {
        self.joining = self.mapped_by(from, to).cloned().map(|mapped| (mapped, false));
        let condition = self.condition_of_join(from, to);
        match self.joining.take() {
            Some((MappedTime { cube, dimension, .. }, false)) if condition.is_ok() => Err(PlanError::unsupported(format!(
                "the join from \"{from}\" to \"{to}\" does not name \"{cube}.{dimension}\", by which the calendar shifts time"
            ))
            .hint(format!("Write {{{cube}.{dimension}}} in the join's sql."))),
            _ => condition,
        }
    }

    fn condition_of_join(&mut self, from: &str, to: &str) -> Result<Condition> {
        let join = join_between(self.model(), cube_of(from), cube_of(to))
            .ok_or_else(|| PlanError::internal(format!("no join from \"{from}\" to \"{to}\"")))?;
        let from = self.role_at(from)?;
        let dialect = self.dialect(from.cube)?;
        let from = &from;
        let mut condition = Condition { on: Vec::new(), filter: Vec::new() };
        for term in members::join_terms(&join.sql, dialect)? {
            match term {
                JoinTerm::Equal(one, other) => {
                    let (one_cube, one_value) = self.join_side(from, to, &one)?;
                    let (other_cube, other_value) = self.join_side(from, to, &other)?;
                    let (one_value, other_value) = self.same_type(one_value, other_value)?;
                    if one_cube != to && other_cube == to {
                        condition.on.push((one_value, other_value));
                    } else if one_cube == to && other_cube != to {
                        condition.on.push((other_value, one_value));
                    } else {
                        condition.filter.push(one_value.eq(other_value));
                    }
                }
                JoinTerm::Other(template) => {
                    let marked = Marked::new(&template);
                    let value = self.mixed_value(&Scope::Cube(from.clone()), &marked, 0)?;
                    condition.filter.push(value);
                }
            }
        }
        if condition.on.is_empty() && condition.filter.is_empty() {
            return Err(PlanError::internal("a join condition is empty"));
        }
        Ok(condition)
    }

    /// One side of an equality, with the node that it belongs to.
    fn join_side(&mut self, from: &Role<'a>, to: &str, template: &SqlTemplate) -> Result<(String, Expr)> {
        let mut nodes: Vec<Role<'a>> = Vec::new();
        for part in &template.parts {
            let role = match part {
                TemplatePart::ThisCube => from.clone(),
                TemplatePart::Cube(other) => self.joined_role(from, to, std::slice::from_ref(other))?,
                TemplatePart::Member(reference) => self.joined_role(from, to, &reference.path)?,
                TemplatePart::Text(_)
                | TemplatePart::CubeSql(_)
                | TemplatePart::Context(_)
                | TemplatePart::Parameter(_) => continue,
            };
            if !nodes.iter().any(|known| known.node == role.node) {
                nodes.push(role);
            }
        }
        match nodes.as_slice() {
            // All of one cube: rendered as that cube's own SQL, so that anything its source computes may stand there.
            [owner] => {
                let own = owned_by(template, owner.name());
                let dialect = self.dialect(owner.cube)?;
                let node = owner.node.clone();
                if let Some(reference) = members::sole_reference(&own)
                    && let Some(dimension) = owner.cube.dimensions.get(&reference.member)
                {
                    return Ok((node, self.stored_dimension(owner, dimension, 0)?));
                }
                // A mapped time is not what its SQL says.
                let is_mapped = self.joining.as_ref().is_some_and(|(mapped, _)| mapped.cube == owner.name());
                match members::own_sql(self.model(), owner.cube, &own, dialect)?.filter(|_| !is_mapped) {
                    Some(sql) => Ok((node, self.base_column(owner, &sql, false)?)),
                    None => {
                        let marked = Marked::new(&own);
                        Ok((node, self.mixed_value(&Scope::Cube(owner.clone()), &marked, 0)?))
                    }
                }
            }
            [] => {
                // A constant, or a bare column of the declaring cube.
                let dialect = self.dialect(from.cube)?;
                match members::own_sql(self.model(), from.cube, template, dialect)? {
                    Some(sql) => Ok((from.node.clone(), self.base_column(from, &sql, false)?)),
                    None => Err(PlanError::internal("a join side without references is not own SQL")),
                }
            }
            _ => {
                let marked = Marked::new(template);
                let value = self.mixed_value(&Scope::Cube(from.clone()), &marked, 0)?;
                Ok((if nodes.iter().any(|role| role.node == to) { "" } else { from.node.as_str() }.to_owned(), value))
            }
        }
    }

    /// What a join's SQL refers to: the two that it joins by their names, others from the left one on.
    fn joined_role(&self, from: &Role<'a>, to: &str, path: &[String]) -> Result<Role<'a>> {
        match path {
            [only] if only == from.name() => Ok(from.clone()),
            [only] if only == cube_of(to) => self.role_at(to),
            path => self.role(&composed_path(self.model(), &from.path, path)),
        }
    }

    fn same_type(&self, one: Expr, other: Expr) -> Result<(Expr, Expr)> {
        let (one_type, other_type) = (self.type_of(&one)?, self.type_of(&other)?);
        if one_type == other_type {
            return Ok((one, other));
        }
        // `NULL AS customer_id`, the key of a fact that has none, gets a type of the source's choice.
        if self.is_bare_null(&one) {
            return Ok((null_of(&other_type)?, other));
        }
        if self.is_bare_null(&other) {
            let null = null_of(&one_type)?;
            return Ok((one, null));
        }
        let common = belvedere_functions::comparison_type(&one_type, &other_type).ok_or_else(|| {
            PlanError::new(
                "42883",
                format!(
                    "a join compares {} with {}",
                    bind::operators::pg_name(&one_type),
                    bind::operators::pg_name(&other_type)
                ),
            )
            .hint("Cast one side in the join's sql.")
        })?;
        // Stored values, which are UTC whoever asks.
        let session = &self.planning.session.in_utc();
        let one = bind::operators::cast_exactly(one, &one_type, &common, session).map_err(internal)?;
        let other = bind::operators::cast_exactly(other, &other_type, &common, session).map_err(internal)?;
        Ok((one, other))
    }
}

fn null_of(data_type: &DataType) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::try_from(data_type).map_err(internal)?, None))
}

#[derive(Clone)]
pub(crate) struct Condition {
    /// Equalities: the left side's expression, the right side's.
    pub(crate) on: Vec<(Expr, Expr)>,
    pub(crate) filter: Vec<Expr>,
}

/// One edge of the tree with its condition.
pub(super) struct TreeJoin {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) condition: Condition,
}

impl TreeJoin {
    /// Whether the right side may be joined with what hangs below it first.
    pub(super) fn can_nest(&self) -> bool {
        let own = |expr: &Expr, cubes: &[&str]| {
            expr.column_refs()
                .iter()
                .all(|column| column.relation.as_ref().is_some_and(|relation| cubes.contains(&relation.table())))
        };
        let both = [self.from.as_str(), self.to.as_str()];
        // A key that no NULL equals must read the left cube itself.
        let rejects_nulls =
            self.condition.on.iter().any(|(left, _)| matches!(left, Expr::Column(_)) && own(left, &both[..1]));
        rejects_nulls
            && self.condition.on.iter().all(|(left, right)| own(left, &both[..1]) && own(right, &both[1..]))
            && self.condition.filter.iter().all(|filter| own(filter, &both))
    }
}

pub(crate) fn left_join(left: LogicalPlan, right: LogicalPlan, condition: Condition) -> Result<LogicalPlan> {
    let builder = LogicalPlanBuilder::from(left);
    let joined = if condition.on.is_empty() {
        builder.join_on(right, JoinType::Left, condition.filter)
    } else {
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = condition.on.into_iter().unzip();
        join_with_keys(builder, right, left_keys, right_keys, condition.filter)
    };
    joined.and_then(LogicalPlanBuilder::build).map_err(|error| bind::errors::plan_error(error, &[]))
}

/// LEFT JOIN on expressions of each side.
pub(super) fn join_with_keys(
    builder: LogicalPlanBuilder,
    right: LogicalPlan,
    left_keys: Vec<Expr>,
    right_keys: Vec<Expr>,
    filter: Vec<Expr>,
) -> datafusion_common::Result<LogicalPlanBuilder> {
    let left = builder.build()?;
    let on = left_keys.into_iter().zip(right_keys).collect();
    let filter = datafusion_expr::utils::conjunction(filter);
    let join = datafusion_expr::Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        filter,
        JoinType::Left,
        datafusion_expr::JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    Ok(LogicalPlanBuilder::from(LogicalPlan::Join(join)))
}

/// The template as if `cube` had written it: its own alias and members.
fn owned_by(template: &SqlTemplate, cube: &str) -> SqlTemplate {
    let parts = template
        .parts
        .iter()
        .map(|part| match part {
            TemplatePart::Cube(other) if other == cube => TemplatePart::ThisCube,
            TemplatePart::Member(reference) => {
                TemplatePart::Member(MemberRef { path: vec![cube.to_owned()], ..reference.clone() })
            }
            other => other.clone(),
        })
        .collect();
    SqlTemplate { parts, ..template.clone() }
}
