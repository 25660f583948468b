//! Makes the legs of a group: one over the joined rows, and one over distinct rows for each cube whose rows the joins repeat
//! (reference MM3, MM5).
//!
//! It would be wrong to sum in place there: an order that is joined to three of its items would count three times.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::DFSchema;

use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{JoinTree, cube_of};
use crate::lower::joined_rows::internal;
use crate::lower::read_rows::refuse_several_facts;
use crate::members;
use crate::nodes::fact_leg::{FactLeg, LeafKind, LegAggregate, LegLeaf};
use crate::policy::Restrictions;

use super::{Group, Item, Splitter, group_name, item_name};

impl<'a> Splitter<'a> {
    /// An item's condition as text, where it differs among the repetitions of one row of `fact`.
    fn varying_condition(&self, item: &Item<'a>, fact: &str, tree: &JoinTree) -> Result<Option<String>> {
        let Some(condition) = &item.condition else { return Ok(None) };
        let determined = tree.determined_by(self.model, fact);
        let hints = self.hints_of(condition)?;
        let varies =
            hints.paths.iter().any(|path| tree.node_at(self.model, path).is_none_or(|node| !determined.contains(node)));
        Ok(varies.then(|| condition.to_string()))
    }

    /// One leg over the joined rows, and one for each cube whose rows they repeat.
    pub(super) fn legs(&self, items: &[Item<'a>], group: &Group) -> Result<Vec<FactLeg>> {
        let mut in_place: Vec<usize> = Vec::new();
        // By fact, and by the condition that holds on some of the repetitions of a row only: beside it, every other value of the row
        // would be there twice, once with the condition and once without.
        let mut distinct: BTreeMap<(&str, Option<String>), Vec<usize>> = BTreeMap::new();
        for index in &group.items {
            let item = &items[*index];
            self.check_repetition(item, &group.tree)?;
            match item.fact_in(self.model, &group.tree) {
                Some(fact) if !item.immune && !item.counts_key && group.tree.multiplies(self.model, fact) => {
                    let condition = self.varying_condition(item, fact, &group.tree)?;
                    distinct.entry((fact, condition)).or_default().push(*index);
                }
                _ => in_place.push(*index),
            }
        }
        // What may stand in either goes where its cube's rows are read anyway.
        in_place.retain(|index| {
            let item = &items[*index];
            let Some(fact) = item.fact_in(self.model, &group.tree) else { return true };
            let Some(keyed) = distinct.get_mut(&(fact, None)) else { return true };
            // Its condition would tell repetitions apart, see above.
            if item.condition.is_some() {
                return true;
            }
            if item.reads_several_of(self.model, fact, &group.tree).is_some() {
                return true;
            }
            keyed.push(*index);
            false
        });

        let mut legs = Vec::new();
        if !in_place.is_empty() || distinct.is_empty() {
            legs.push(self.leg(items, group, &in_place, None)?);
        }
        for ((fact, _), mut indexes) in distinct {
            indexes.sort_unstable();
            let cube = members::cube_named(self.model, cube_of(fact))?;
            if cube.primary_key().next().is_none() {
                let fact = &cube.naming.name;
                let shown = &items[indexes[0]].shown;
                return Err(PlanError::unsupported(format!(
                    "{shown} would count rows of \"{fact}\" more than once, and \"{fact}\" has no primary key to tell them apart"
                ))
                .detail(format!(
                    "The query joins \"{fact}\" to cubes with several rows for each of its own, so each row is repeated."
                ))
                .hint(format!("Mark the dimension that identifies a row of \"{fact}\" with `primary_key: true`.")));
            }
            legs.push(self.leg(items, group, &indexes, Some(fact))?);
        }
        Ok(legs)
    }

    /// What even distinct rows cannot make right.
    fn check_repetition(&self, item: &Item<'a>, tree: &JoinTree) -> Result<()> {
        if item.immune {
            return Ok(());
        }
        match (&item.aggregate, item.fact_in(self.model, tree)) {
            (LegAggregate::CountRows { .. }, _) => {
                if self.question.listed.is_empty() {
                    return Ok(());
                }
                refuse_several_facts(self.listed_in_order(), tree, self.planning)
            }
            (_, Some(fact)) => {
                // A distinct count of the key is right whatever the condition reads.
                if item.counts_key || !tree.multiplies(self.model, fact) {
                    return Ok(());
                }
                let several = item.reads_several_of(self.model, fact, tree);
                let fact = cube_of(fact);
                match several {
                    None => Ok(()),
                    Some(other) => Err(PlanError::unsupported(format!(
                        "{} reads \"{other}\", of which a row of \"{fact}\" has several",
                        item.shown
                    ))
                    .detail(format!(
                        "Each row of \"{fact}\" would count once for every row of \"{other}\" that it meets."
                    ))
                    .hint(format!(
                        "Define the measure in \"{other}\", or compare with a sub-query dimension of \"{fact}\"."
                    ))),
                }
            }
            (_, None) => match item
                .reads
                .iter()
                .filter_map(|path| tree.node_at(self.model, path))
                .find(|node| tree.multiplies(self.model, node))
                .map(cube_of)
            {
                None => Ok(()),
                Some(cube) => Err(PlanError::unsupported(format!(
                    "{} over dimensions of several cubes would count rows of \"{cube}\" more than once",
                    item.shown
                ))
                .detail(format!("The query joins \"{cube}\" to cubes with several rows for each of its own."))
                .hint("Aggregate dimensions of one cube, or leave out the members of the other cubes.")),
            },
        }
    }

    fn leg(
        &self,
        items: &[Item<'a>],
        group: &Group,
        indexes: &[usize],
        distinct_rows_of: Option<&str>,
    ) -> Result<FactLeg> {
        let mut fields: Vec<Field> = Vec::new();
        for index in 0..self.question.group.len() {
            fields.push(
                self.question.schema.field(index).as_ref().clone().with_name(group_name(index)).with_nullable(true),
            );
        }
        let mut aggregates = Vec::new();
        for index in indexes {
            let item = &items[*index];
            fields.push(item.field.as_ref().clone().with_name(item_name(*index)).with_nullable(true));
            aggregates.push(match &item.aggregate {
                LegAggregate::Leaf(leaf) if self.counts_distinct_keys(item, &group.tree, distinct_rows_of) => {
                    LegAggregate::Leaf(LegLeaf { kind: LeafKind::CountDistinct, ..leaf.clone() })
                }
                other => other.clone(),
            });
        }
        let schema = DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(internal)?;
        Ok(FactLeg {
            scans: self.question.scans.clone(),
            tree: group.tree.clone(),
            group: self.question.group.clone(),
            aggregates,
            filters: group
                .filters
                .iter()
                .filter_map(|position| self.question.filters.get(*position).cloned())
                .collect(),
            conditions: self.question.filters.clone(),
            restrictions: self.restrictions_of(group),
            distinct_rows_of: distinct_rows_of.map(str::to_owned),
            switches: self.switches.clone(),
            mapped: self.question.within.mapped.clone(),
            schema: Arc::new(schema),
        })
    }

    fn restrictions_of(&self, group: &Group) -> Restrictions {
        let written = self.question.filters.len();
        let guard = |position: &usize| self.restrictions.guards.get(position.checked_sub(written)?).cloned();
        Restrictions {
            asked: Arc::clone(&self.restrictions.asked),
            guards: group.filters.iter().filter_map(guard).collect(),
        }
    }

    fn counts_distinct_keys(&self, item: &Item<'a>, tree: &JoinTree, distinct_rows_of: Option<&str>) -> bool {
        item.counts_key
            && distinct_rows_of.is_none()
            && item.fact_in(self.model, tree).is_some_and(|fact| tree.multiplies(self.model, fact))
    }
}
