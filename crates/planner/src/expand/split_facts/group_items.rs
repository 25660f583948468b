//! Groups what a question asks for into legs: which conditions restrict which fact, and which items one join tree answers.
//!
//! Where all trees are one, every condition restricts it. Where they differ, a condition restricts the facts that it reaches (reference MF9,
//! MF10), and one that restricts none is an error: it would be wrong to leave it out, or to let it multiply another fact's rows.

use std::collections::{BTreeSet, HashSet};

use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{JoinTree, choose_join_tree, cube_of};
use crate::expand::hints::Hints;

use super::{Group, Item, Splitter};

impl<'a> Splitter<'a> {
    /// `below` has items of other questions, which are asked under the same conditions.
    pub(super) fn groups(&self, items: &[Item<'a>], below: &[Item<'a>]) -> Result<Vec<Group>> {
        let mut filters =
            self.question.filters.iter().map(|filter| self.hints_of(filter)).collect::<Result<Vec<_>>>()?;
        let written = filters.len();
        for guard in &self.restrictions.guards {
            let mut hints = Hints::new(self.model);
            hints.condition(&guard.condition)?;
            filters.push(hints);
        }
        if items.is_empty() && below.is_empty() {
            let tree = self.tree_of_rows(&filters[..written], &filters[written..])?;
            return Ok(vec![Group { tree, filters: (0..filters.len()).collect(), items: vec![] }]);
        }

        let own_trees = items
            .iter()
            .map(|item| {
                choose_join_tree(self.model, &item.hints.and(&self.base).paths)
                    .map_err(|error| self.unreachable_dimension(item, items).unwrap_or(error))
            })
            .collect::<Result<Vec<_>>>()?;
        let trees_below: Vec<(&Item<'a>, JoinTree)> = below
            .iter()
            .filter_map(|item| {
                let tree = choose_join_tree(self.model, &item.hints.and(&self.base).paths);
                tree.ok().map(|tree| (item, tree))
            })
            .collect();
        let trees = own_trees.iter().chain(trees_below.iter().map(|(_, tree)| tree)).collect::<HashSet<_>>();
        let own: BTreeSet<&Vec<String>> = items.iter().chain(below).filter_map(|item| item.fact.as_ref()).collect();
        let facts: BTreeSet<&Vec<String>> = own.iter().copied().chain(&self.question.within.facts).collect();
        let several = trees.len() > 1 || facts.len() > own.len();

        let mut groups: Vec<Group> = Vec::new();
        let mut restricts = vec![false; filters.len()];
        for (index, (item, own_tree)) in items.iter().zip(&own_trees).enumerate() {
            let mut hints = item.hints.and(&self.base);
            let mut applied = Vec::new();
            for (position, filter) in filters.iter().enumerate() {
                if !several || self.reaches(item, own_tree, filter, &facts) {
                    hints = hints.and(filter);
                    applied.push(position);
                    restricts[position] = true;
                } else if position >= written && self.restrictions.guards[position - written].is_policy {
                    return Err(self.unrestricted_fact(item));
                }
            }
            let tree = choose_join_tree(self.model, &hints.paths)?;
            match groups.iter_mut().find(|group| group.tree == tree && group.filters == applied) {
                Some(group) => group.items.push(index),
                None => groups.push(Group { tree, filters: applied, items: vec![index] }),
            }
        }
        for (item, tree) in &trees_below {
            for (position, filter) in filters.iter().enumerate() {
                restricts[position] |= !several || self.reaches(item, tree, filter, &facts);
            }
        }
        // Those of the asking question are checked where that is.
        let inherited = &self.whole.filters[..self.whole.within.inherited];
        let is_own = |position: &usize| match self.question.filters.get(*position) {
            Some(filter) => !inherited.contains(filter),
            None => self.whole.within.depth == 0,
        };
        if let Some(position) = (0..filters.len()).find(|position| !restricts[*position] && is_own(position)) {
            return Err(match position.checked_sub(written) {
                None => self.filter_of_no_fact(position, &filters[position]),
                Some(_) => PlanError::unsupported(
                    "a default filter of the view restricts none of the facts that the query asks for",
                )
                .detail("A fact is restricted by filters on cubes that are joined to it.")
                .hint("Use a condition of your own on the filtered member, which takes the default filter's place."),
            });
        }
        Ok(self.merge(items, groups))
    }

    /// Whether a condition restricts an item's leg (reference MF9, MF10): its cubes are joined to the leg, and none of them is
    /// another fact of which a row of this one may meet several.
    fn reaches(
        &self,
        item: &Item<'a>,
        own_tree: &JoinTree,
        filter: &Hints<'a>,
        facts: &BTreeSet<&Vec<String>>,
    ) -> bool {
        let Ok(tree) = choose_join_tree(self.model, &item.hints.and(&self.base).and(filter).paths) else {
            return false;
        };
        let fact = item.fact_in(self.model, &tree).unwrap_or(&tree.root);
        let determined = tree.determined_by(self.model, fact);
        // A fact's path may begin at a root that this tree has not.
        let place_of = |path: &[String]| {
            let start = path.iter().position(|cube| tree.nodes().any(|node| cube_of(node) == cube))?;
            tree.node_at(self.model, &path[start..])
        };
        let is_fact = |node: &str| facts.iter().any(|path| place_of(path) == Some(node));
        let may_be_joined = |node: &str| determined.contains(node) || node == fact || !is_fact(node);
        (own_tree.contains(&tree.root) || may_be_joined(&tree.root))
            && tree.edges.iter().all(|edge| {
                // Another root may lead to it by other joins; only where a cube has several roles does it matter by which.
                let has_roles = tree.nodes().filter(|node| cube_of(node) == cube_of(&edge.to)).count() > 1;
                let is_own = own_tree.contains(&edge.to)
                    && (!has_roles || own_tree.root == edge.to || own_tree.edges.contains(edge));
                is_own || may_be_joined(&edge.to)
            })
    }

    /// A row filter that leaves a fact as it is would show all of it.
    fn unrestricted_fact(&self, item: &Item<'a>) -> PlanError {
        PlanError::unsupported(format!(
            "the row filter of the view's access policy does not reach all rows of {}",
            item.shown
        ))
        .detail("It is on members of a cube that is not joined to this fact, or of another fact.")
        .hint(
            "Filter the rows in the access policy of the cube, or by members that all facts of the view are joined to.",
        )
    }

    fn filter_of_no_fact(&self, position: usize, hints: &Hints<'_>) -> PlanError {
        let cubes: Vec<String> = hints.cubes().map(|cube| format!("\"{cube}\"")).collect();
        let columns: Vec<String> = self.question.filters[position]
            .column_refs()
            .into_iter()
            .map(|column| format!("\"{}\"", column.name))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        PlanError::unsupported(format!(
            "the condition on {} restricts none of the facts that the query asks for",
            columns.join(", ")
        ))
        .detail(format!(
            "A fact is restricted by conditions on cubes that are joined to it; no fact here reaches all of {}.",
            cubes.join(", ")
        ))
        .hint("Use one condition for each fact, joined by AND, or ask for each fact in a sub-query of its own.")
    }

    /// A fact that cannot be grouped as the others are (reference MF12).
    fn unreachable_dimension(&self, item: &Item<'a>, items: &[Item<'a>]) -> Option<PlanError> {
        let fact = item.fact_cube()?;
        if items.iter().all(|other| other.fact_cube() == Some(fact)) {
            return None;
        }
        for expr in self.question.group.iter().chain(&self.question.joined) {
            let own = self.hints_of(expr).ok()?;
            if choose_join_tree(self.model, &item.hints.and(&own).paths).is_ok() {
                continue;
            }
            let column = expr.column_refs().into_iter().next()?;
            let target = own.paths.first()?.last()?;
            return Some(
                PlanError::unsupported(format!(
                    "the fact \"{fact}\" has no join to \"{target}\", so {} cannot be grouped by \"{}\"",
                    item.shown, column.name
                ))
                .detail("Facts are put side by side on the grouped dimensions, so each must be joined to all of them.")
                .hint(format!(
                    "Declare a join from \"{fact}\" to \"{target}\". Where it has no such key, add \"NULL AS {target}_id\" to its \
                     sql and join on that: its rows then stand in the group without a value.",
                )),
            );
        }
        choose_join_tree(self.model, &item.hints.and(&self.base).paths).err()
    }

    /// Lets a group answer another's items where its tree only adds joins that repeat none of their rows: one scan instead of two.
    fn merge(&self, items: &[Item<'a>], groups: Vec<Group>) -> Vec<Group> {
        let mut merged: Vec<Group> = Vec::new();
        let mut left: Vec<Group> = groups;
        // Larger trees first, in the order of the question among equals.
        left.sort_by_key(|group| std::cmp::Reverse(group.tree.edges.len()));
        for group in left {
            let home = merged.iter_mut().find(|larger| {
                larger.filters == group.filters
                    && group.tree.is_part_of(&larger.tree)
                    && group.items.iter().all(|index| {
                        let item = &items[*index];
                        item.fact_in(self.model, &larger.tree).is_some_and(|fact| {
                            item.immune || item.counts_key || !larger.tree.multiplies(self.model, fact)
                        })
                    })
            });
            match home {
                Some(larger) => larger.items.extend(group.items),
                None => merged.push(group),
            }
        }
        for group in &mut merged {
            group.items.sort_unstable();
        }
        merged.sort_by_key(|group| group.items.first().copied());
        merged
    }
}
