//! Whether stored rows stand for a leg's at all, whatever is computed of them: the same joins, and nothing that is hidden from its user.
//!
//! Rows of the root that a policy hides are left out of stored rows as out of the source's, where the policy's members are stored. Hidden rows of a
//! joined cube are another matter: the root's rows stay, without what they were joined to, and no stored row says how those would be grouped.

use std::collections::BTreeSet;

use belvedere_model::Cube;

use crate::catalog::MemberColumn;
use crate::expand::choose_join_tree::cube_of;
use crate::lower::joined_rows::Planning;
use crate::members;
use crate::nodes::fact_leg::{FactLeg, SwitchValue};
use crate::policy::Guard;
use crate::policy::grants::Rows;
use crate::rollups::{Walk, walks_of};

use super::match_rollup::{Answer, Shape};
use super::refusal::Refusal;

/// What must hold of the stored rows beside the conditions of the query, so that they are the leg's joined rows.
pub(super) fn same_rows(leg: &FactLeg, shape: &Shape<'_>, planning: Planning<'_>) -> Answer<Vec<Guard>> {
    if leg.tree.root != shape.root {
        return Ok(Err(Refusal::OtherRoot { wanted: leg.tree.root.clone(), stored: shape.root.to_owned() }));
    }
    let known: BTreeSet<&Walk> = shape.columns.iter().flat_map(|column| column.stores.walks()).collect();
    let has = |walk: &Walk| walk.len() == 1 || known.iter().any(|known| known.starts_with(walk));
    if let Some(walk) = walks_of(&leg.tree).into_iter().find(|walk| !has(walk)) {
        return Ok(Err(Refusal::JoinMissing { cubes: walk }));
    }
    let model = &planning.catalog.model;
    let mut guards = Vec::new();
    let nothing = BTreeSet::new();
    let mut has_sub_query = false;
    let rows_of = |cube: &Cube| {
        let asked = leg.restrictions.asked.get(&cube.naming.name).unwrap_or(&nothing);
        planning.catalog.policies.rows(cube, asked)
    };
    for node in leg.tree.nodes() {
        let cube = members::cube_named(model, cube_of(node))?;
        let refused = || Ok(Err(Refusal::RowFilter { cube: cube.naming.name.clone() }));
        has_sub_query |= cube.dimensions.values().any(|dimension| dimension.details.sub_query);
        if members::reads_context(model, cube) {
            return refused();
        }
        match rows_of(cube)? {
            Rows::All => {}
            Rows::Where(condition) => {
                let is_own = |member: &&MemberColumn| member.view.is_none() && *member.path == [node.to_owned()];
                if *node != leg.tree.root || !condition.members().iter().all(is_own) {
                    return refused();
                }
                guards.push(Guard { condition, zone: planning.catalog.policies.zone(), is_policy: true });
            }
        }
    }
    // A sub-query dimension has rows of other cubes in its value, which was stored for someone who may see them all.
    if has_sub_query {
        for cube in model.cubes.values() {
            if rows_of(cube)? != Rows::All || members::reads_context(model, cube) {
                return Ok(Err(Refusal::RowFilter { cube: cube.naming.name.clone() }));
            }
        }
    }
    guards.extend(leg.restrictions.guards.iter().cloned());
    if let Some(mapped) = leg.mapped.first() {
        return Ok(Err(Refusal::TimeMapped { cube: mapped.cube.clone() }));
    }
    let crossed = leg.switches.iter().find(|switch| matches!(switch.value, SwitchValue::Crossed(_)));
    Ok(match crossed {
        Some(switch) => Err(Refusal::Switch { member: switch.member.clone() }),
        None => Ok(guards),
    })
}
