//! Sub-query dimensions: the value that a measure has for each row of another cube (reference SQ1 to SQ3).
//!
//! The measures that such dimensions of one cube name are one question, grouped by the cube's primary key, that is split into legs like
//! any other; its rows are left-joined to the cube's base scan on the key, before anything else. So what stands above sees a column, and
//! joining it repeats no row. A row that the question does not have has NULL, a count's too, as in plain SQL: the expression that
//! the dimension makes of it is evaluated on every row.
//!
//! With `propagate_filters_to_sub_query` the conditions on the rows above hold inside too, those on sub-query dimensions excepted. It
//! would be wrong to add them where the dimension does not say so: `WHERE status = 'paid'` would then change what a client spent.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use belvedere_functions::Zone;
use belvedere_model::{Dimension, MemberKind, MemberRef, Model, TemplatePart, dimension_templates};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, TableReference};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use indexmap::IndexMap;

use crate::catalog::{MemberColumn, ViewTable};
use crate::error::{PlanError, Result};
use crate::expand::build_legs::{Asked, Question, Within};
use crate::expand::choose_join_tree::JoinTree;
use crate::expand::hints::member;
use crate::expand::split_facts::split_facts;
use crate::members::REFERENCE_DEPTH_MAX;
use crate::nodes::fact_leg::LegScan;
use crate::policy::Restrictions;

use super::asked_members::asks_for_conditions;
use super::calculated::{Leaves, composed_path};
use super::join_conditions::join_with_keys;
use super::joined_rows::{JoinedRows, Role, Scope, internal, missing};
use super::lower_leg::lower_legs;

/// The measures that one join adds to the rows of one node.
#[derive(Debug, Clone)]
pub(super) struct SubQuery {
    node: String,
    /// The conditions on the rows above hold inside too.
    is_restricted: bool,
    measures: Vec<MeasureOfRow>,
}

#[derive(Debug, Clone)]
struct MeasureOfRow {
    path: Vec<String>,
    measure: String,
    /// Named as the plan refers to it.
    field: Field,
}

/// Conditions on the joined rows, over columns of the scans.
#[derive(Debug, Clone, Default)]
pub(crate) struct Restriction {
    pub scans: Vec<LegScan>,
    pub filters: Vec<Expr>,
    /// The members that default filters of views test.
    pub by_default: Vec<MemberColumn>,
}

impl Restriction {
    pub(crate) fn of(scans: &[LegScan], filters: &[Expr], others: &Restrictions) -> Self {
        let by_default = others.members_by_default().cloned().collect();
        Self { scans: scans.to_vec(), filters: filters.to_vec(), by_default }
    }
}

/// Whether a dimension has values of measures that satisfy `wanted`, itself or through the dimensions that it names.
fn any_sub_query(model: &Model, dimension: &Dimension, wanted: fn(&Dimension) -> bool, depth: usize) -> bool {
    if dimension.details.sub_query && wanted(dimension) {
        return true;
    }
    depth < REFERENCE_DEPTH_MAX
        && dimension_templates(dimension).into_iter().flat_map(|template| &template.parts).any(|part| match part {
            TemplatePart::Member(reference) => model
                .cubes
                .get(reference.cube())
                .and_then(|cube| cube.dimensions.get(&reference.member))
                .is_some_and(|inner| any_sub_query(model, inner, wanted, depth + 1)),
            TemplatePart::Text(_)
            | TemplatePart::ThisCube
            | TemplatePart::Cube(_)
            | TemplatePart::CubeSql(_)
            | TemplatePart::Context(_)
            | TemplatePart::Parameter(_) => false,
        })
}

/// Whether a column's values depend on the conditions of the query.
pub(super) fn is_restricted(model: &Model, column: &MemberColumn) -> bool {
    let propagates = |dimension: &Dimension| dimension.details.propagate_filters_to_sub_query;
    column.dimension(model).is_some_and(|dimension| any_sub_query(model, dimension, propagates, 0))
        || asks_for_conditions(model, column)
}

fn is_over_sub_query(model: &Model, column: &MemberColumn) -> bool {
    column.dimension(model).is_some_and(|dimension| any_sub_query(model, dimension, |_| true, 0))
}

impl<'a> JoinedRows<'a> {
    /// A measure on each row of a cube, where one of its sub-query dimensions names it.
    pub(super) fn measure_of_owner(
        &mut self,
        owner: &Role<'a>,
        reference: &MemberRef,
        is_restricted: bool,
        depth: usize,
    ) -> Result<Expr> {
        let path = composed_path(self.model(), std::slice::from_ref(&owner.cube.naming.name), &reference.path);
        let relation = format!("{}:{}", owner.node, if is_restricted { "restricted" } else { "measures" });
        let known = self.sub_queries.get(&relation).and_then(|sub_query| {
            sub_query.measures.iter().find(|known| known.path == path && known.measure == reference.member)
        });
        let name = match known {
            Some(known) => known.field.name().clone(),
            None => {
                let data_type = self.measure_type_of_owner(owner, &path, &reference.member, depth)?;
                let name = format!("q{}", self.sub_queries.values().map(|known| known.measures.len()).sum::<usize>());
                let field = Field::new(&name, data_type, true);
                let new = SubQuery { node: owner.node.clone(), is_restricted, measures: Vec::new() };
                let measures = &mut self.sub_queries.entry(relation.clone()).or_insert(new).measures;
                measures.push(MeasureOfRow { path, measure: reference.member.clone(), field });
                name
            }
        };
        Ok(Expr::Column(Column::new(Some(TableReference::bare(relation)), name)))
    }

    fn measure_type_of_owner(
        &self,
        owner: &Role<'a>,
        path: &[String],
        measure: &str,
        depth: usize,
    ) -> Result<DataType> {
        let mut inner = JoinedRows::new(self.planning.deeper()?, JoinTree::of(owner.name()));
        let role = inner.role(path)?;
        let measure = role.cube.measures.get(measure).ok_or_else(|| missing(role.name(), measure))?;
        let mut leaves = Leaves::default();
        let value = inner.measure(&Scope::Cube(role), measure, None, &mut leaves, depth + 1)?;
        inner.measure_type(&value, &leaves)
    }

    /// The columns that sub-queries add to the rows.
    pub(super) fn sub_query_fields(&self) -> impl Iterator<Item = (Option<TableReference>, Arc<Field>)> {
        self.sub_queries.iter().flat_map(|(relation, sub_query)| {
            let qualifier = Some(TableReference::bare(relation.clone()));
            sub_query.measures.iter().map(move |measure| (qualifier.clone(), Arc::new(measure.field.clone())))
        })
    }

    /// The key that the sub-queries of a node are joined on; empty where it has none.
    pub(super) fn sub_query_key(&mut self, node: &str) -> Result<Vec<Expr>> {
        if !self.sub_queries.values().any(|sub_query| sub_query.node == node) {
            return Ok(Vec::new());
        }
        let role = self.role_at(node)?;
        let unusable = |why: &str| {
            PlanError::unsupported(format!("the primary key of \"{}\" {why}", role.name()))
                .detail("Sub-query dimensions are joined to the rows of their cube on it.")
        };
        if role.cube.primary_key().any(|key| any_sub_query(self.model(), key, |_| true, 0)) {
            return Err(unusable("is computed by a sub-query"));
        }
        let keys = self.primary_key(node)?;
        for key in &keys {
            // What a question shows of it is the wall clock, which one hour a year has twice.
            if matches!(self.type_of(key)?, DataType::Timestamp(..)) && self.planning.session.zone != Zone::UTC {
                return Err(unusable("is a time, which is no key outside of UTC").hint("SET timezone = 'UTC'."));
            }
        }
        Ok(keys)
    }

    /// The rows of a node with the values of its measures.
    pub(super) fn with_measures(&self, rows: LogicalPlan, node: &str, keys: &[Expr]) -> Result<LogicalPlan> {
        let mut rows = rows;
        for (relation, sub_query) in self.sub_queries.iter().filter(|(_, sub_query)| sub_query.node == node) {
            let question = self.question_of(relation, sub_query, keys)?;
            let planning = self.planning.deeper()?;
            let answer = lower_legs(split_facts(&question, planning)?, planning).map_err(internal)?;
            let right = question.schema.columns().into_iter().take(keys.len()).map(Expr::Column).collect();
            let builder = LogicalPlanBuilder::from(rows);
            let joined = join_with_keys(builder, answer, keys.to_vec(), right, Vec::new());
            rows = joined.and_then(LogicalPlanBuilder::build).map_err(internal)?;
        }
        Ok(rows)
    }

    fn question_of(&self, relation: &str, sub_query: &SubQuery, keys: &[Expr]) -> Result<Question> {
        let role = self.role_at(&sub_query.node)?;
        let reference = TableReference::bare(relation);
        let unique = sub_query.measures.first().map_or("", |measure| measure.field.name());
        let mut columns: IndexMap<String, MemberColumn> = IndexMap::new();
        let mut group = Vec::new();
        for (index, (key, value)) in role.cube.primary_key().zip(keys).enumerate() {
            let name = format!("k{index}{unique}");
            let field = Field::new(&name, self.type_of(value)?, true);
            let path = vec![role.name().to_owned()];
            let member = key.naming.name.clone();
            let column = MemberColumn {
                kind: MemberKind::Dimension,
                path,
                member,
                view: None,
                values_of: None,
                field,
                mask: None,
            };
            columns.insert(name.clone(), column);
            group.push(Expr::Column(Column::new(Some(reference.clone()), name)));
        }
        let mut aggregates = Vec::new();
        for measure in &sub_query.measures {
            let name = measure.field.name().clone();
            let column = MemberColumn {
                kind: MemberKind::Measure,
                path: measure.path.clone(),
                member: measure.measure.clone(),
                view: None,
                values_of: None,
                field: measure.field.clone(),
                mask: None,
            };
            columns.insert(name.clone(), column);
            aggregates.push(Asked::Measure { column: Column::new(Some(reference.clone()), name), filter: None });
        }
        let shown = columns.values().map(|column| (Some(reference.clone()), Arc::new(column.field.clone()))).collect();
        let schema = DFSchema::new_with_metadata(shown, HashMap::new()).map_err(internal)?;
        let filters = if sub_query.is_restricted { self.propagated(&reference, &mut columns)? } else { Vec::new() };
        let table = Arc::new(ViewTable::new(relation.to_owned(), columns, None));
        Ok(Question {
            within: Within::default(),
            scans: vec![LegScan { reference, table, defaults: Vec::new() }],
            group,
            joined: Vec::new(),
            aggregates,
            filters,
            listed: Vec::new(),
            schema: Arc::new(schema),
        })
    }

    /// The conditions on the rows above, over columns of the sub-query's own table, to which they are added.
    fn propagated(
        &self,
        reference: &TableReference,
        columns: &mut IndexMap<String, MemberColumn>,
    ) -> Result<Vec<Expr>> {
        let Restriction { scans, filters, .. } = &self.restriction;
        let mut found = Vec::new();
        for filter in filters {
            let mut is_over = false;
            for column in filter.column_refs() {
                is_over |= is_over_sub_query(self.model(), member(scans, column)?);
            }
            if is_over {
                continue;
            }
            let inner = filter.clone().transform_up(|node| {
                let Expr::Column(column) = &node else { return Ok(Transformed::no(node)) };
                let member = member(scans, column)?;
                let known = columns.iter().find(|(name, known)| name.starts_with('f') && *known == member);
                let name = match known {
                    Some((name, _)) => name.clone(),
                    None => {
                        let name = format!("f{}", columns.len());
                        columns.insert(name.clone(), member.clone());
                        name
                    }
                };
                Ok(Transformed::yes(Expr::Column(Column::new(Some(reference.clone()), name))))
            });
            found.push(inner.map_err(internal)?.data);
        }
        Ok(found)
    }
}
