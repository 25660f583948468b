//! Whether stored rows stand for a leg's at all, whatever is computed of them: the same joins, and nothing that is hidden from its user.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::expand::choose_join_tree::cube_of;
use crate::lower::joined_rows::Planning;
use crate::members;
use crate::nodes::fact_leg::{FactLeg, SwitchValue};
use crate::policy::grants::Rows;
use crate::rollups::{Stores, Walk, walks_of};

use super::match_rollup::{Answer, Shape};
use super::refusal::Refusal;

/// Whether the rollup's joined rows are the leg's, and everyone may see them.
pub(super) fn same_rows(leg: &FactLeg, shape: &Shape<'_>, planning: Planning<'_>) -> Answer<()> {
    if leg.tree.root != shape.root {
        return Ok(Err(Refusal::OtherRoot { wanted: leg.tree.root.clone(), stored: shape.root.to_owned() }));
    }
    let known: BTreeSet<&Walk> = shape
        .columns
        .iter()
        .flat_map(|column| match &column.stores {
            Stores::Leaf(leaf) => leaf.walks.iter().collect::<Vec<_>>(),
            Stores::Dimension { at, .. } | Stores::Segment { at, .. } | Stores::Time { at, .. } => vec![at],
            Stores::Base { .. } => Vec::new(),
        })
        .collect();
    let has = |walk: &Walk| walk.len() == 1 || known.iter().any(|known| known.starts_with(walk));
    if let Some(walk) = walks_of(&leg.tree).into_iter().find(|walk| !has(walk)) {
        return Ok(Err(Refusal::JoinMissing { cubes: walk }));
    }
    let model = &planning.catalog.model;
    let mut cubes =
        leg.tree.nodes().map(|node| members::cube_named(model, cube_of(node))).collect::<Result<Vec<_>>>()?;
    // A sub-query dimension has rows of other cubes in its value, which was stored for someone who may see them all.
    if cubes.iter().any(|cube| cube.dimensions.values().any(|dimension| dimension.details.sub_query)) {
        cubes.extend(model.cubes.values());
    }
    let nothing = BTreeSet::new();
    for cube in cubes {
        let asked = leg.restrictions.asked.get(&cube.naming.name).unwrap_or(&nothing);
        let is_filtered = !matches!(planning.catalog.policies.rows(cube, asked)?, Rows::All);
        if is_filtered || members::reads_context(model, cube) {
            return Ok(Err(Refusal::RowFilter { cube: cube.naming.name.clone() }));
        }
    }
    if let Some(guard) = leg.restrictions.guards.first() {
        return Ok(Err(if guard.is_policy {
            let view = leg.scans.first().map(|scan| scan.table.name.clone());
            Refusal::RowFilter { cube: view.unwrap_or_default() }
        } else {
            Refusal::DefaultFilter
        }));
    }
    if let Some(mapped) = leg.mapped.first() {
        return Ok(Err(Refusal::TimeMapped { cube: mapped.cube.clone() }));
    }
    let crossed = leg.switches.iter().find(|switch| matches!(switch.value, SwitchValue::Crossed(_)));
    Ok(match crossed {
        Some(switch) => Err(Refusal::Switch { member: switch.member.clone() }),
        None => Ok(()),
    })
}
