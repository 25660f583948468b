//! How the aggregates of a leg come out of what a rollup stores.

use belvedere_model::MeasureKind;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::{Case, Expr};

use crate::members;
use crate::nodes::fact_leg::{LeafKind, LeafOrigin, LegAggregate, LegLeaf};
use crate::nodes::rollup_scan::{Merge, Merged};
use crate::rollups::{StoredLeaf, Stores, Walk, walk_to, walks_of};

use super::super::cover_members::stored_column;
use super::super::refusal::Refusal;
use super::{Answer, Matching, stored_key};

impl Matching<'_, '_, '_> {
    pub(super) fn merged(&mut self, aggregate: &LegAggregate) -> Answer<Merged> {
        match aggregate {
            LegAggregate::Leaf(leaf) => self.merged_leaf(leaf),
            LegAggregate::OverRows(Expr::AggregateFunction(call)) => self.merged_call(call),
            LegAggregate::OverRows(other) => Ok(Err(Refusal::RowsNeeded { aggregate: other.to_string() })),
            LegAggregate::CountRows { .. } => Ok(Err(Refusal::RowsNeeded { aggregate: "COUNT(*)".to_owned() })),
            LegAggregate::HiddenRows(_) => Ok(Err(Refusal::RowFilter { cube: self.leg.tree.root.clone() })),
        }
    }

    fn merged_leaf(&mut self, leaf: &LegLeaf) -> Answer<Merged> {
        let model = &self.planning.catalog.model;
        let tree = &self.leg.tree;
        let node = tree.node_at(model, &leaf.path).unwrap_or(&tree.root);
        let at = walk_to(tree, node);
        let mut within_walks = Vec::new();
        for (path, measure) in &leaf.within {
            let node = tree.node_at(model, path).unwrap_or(&tree.root);
            within_walks.push((walk_to(tree, node), measure.clone()));
        }
        let walks = walks_of(tree);
        let is_same = |stored: &StoredLeaf| {
            stored.measure == leaf.measure && stored.at.last() == at.last() && stored.origin == leaf.origin
        };
        // Distinct rows of a cube, and the distinct keys of its rows, are counted alike.
        let counts_rows = leaf.origin == LeafOrigin::Value
            && members::cube_named(model, leaf.cube())?
                .measures
                .get(&leaf.measure)
                .is_some_and(|measure| measure.kind == MeasureKind::Count && measure.sql.is_none());
        let kinds: &[(LeafKind, Merge)] = match leaf.kind {
            LeafKind::Count | LeafKind::CountDistinct if counts_rows => {
                &[(LeafKind::Count, Merge::Count), (LeafKind::CountDistinct, Merge::Count)]
            }
            LeafKind::Count => &[(LeafKind::Count, Merge::Count)],
            LeafKind::CountDistinct => &[(LeafKind::Set, Merge::Set), (LeafKind::CountDistinct, Merge::Count)],
            LeafKind::CountDistinctApprox => &[(LeafKind::Sketch, Merge::Sketch)],
            LeafKind::Sum => &[(LeafKind::Sum, Merge::Sum)],
            LeafKind::Min => &[(LeafKind::Min, Merge::Min)],
            LeafKind::Max => &[(LeafKind::Max, Merge::Max)],
            LeafKind::Sketch | LeafKind::Set => &[],
        };
        let shown = format!("{}.{}", leaf.cube(), leaf.measure);
        let mut differs = None;
        for (kind, merge) in kinds {
            for column in self.shape.columns {
                let Stores::Leaf(stored) = &column.stores else { continue };
                if !is_same(stored) {
                    continue;
                }
                let fits = stored.kind == *kind
                    && stored.at == at
                    && stored.within == within_walks
                    && walks.is_subset(&stored.walks);
                if !fits {
                    differs = Some(if stored.kind == LeafKind::CountDistinct && leaf.kind == LeafKind::Count {
                        Refusal::Multiplied { measure: shown.clone() }
                    } else {
                        Refusal::MeasureDiffers { measure: shown.clone() }
                    });
                    continue;
                }
                let repeats = stored.is_repeated || (counts_rows && stored.kind == LeafKind::CountDistinct);
                if let Some(key) = self.stored_key(&at).filter(|_| repeats && stored.kind != LeafKind::CountDistinct) {
                    // Each stored row has one of the cube's, so that its rows can be told apart.
                    self.distinct = key;
                    self.keyed.insert(at.clone());
                } else if repeats {
                    if walks != stored.walks {
                        return Ok(Err(Refusal::Multiplied { measure: shown }));
                    }
                    self.needs_one_row.get_or_insert(Refusal::Multiplied { measure: shown });
                } else if stored.kind == LeafKind::CountDistinct {
                    if let Some(value) = self.cover.leaf_value(leaf) {
                        return Ok(Ok(Merged { merge: Merge::CountDistinct, value }));
                    }
                    self.needs_one_row.get_or_insert(Refusal::NotAdditive { measure: shown });
                }
                let mut value = stored_column(&column.name);
                if let Some(filter) = &leaf.filter {
                    value = where_holds(value, or_refuse!(self.cover.covered(filter)?));
                }
                return Ok(Ok(Merged { merge: *merge, value }));
            }
        }
        // What repetition leaves as it is can be computed from stored dimensions.
        let merge = match leaf.kind {
            LeafKind::CountDistinct => Some(Merge::CountDistinct),
            LeafKind::Min => Some(Merge::Min),
            LeafKind::Max => Some(Merge::Max),
            LeafKind::Count | LeafKind::CountDistinctApprox | LeafKind::Sum | LeafKind::Sketch | LeafKind::Set => None,
        };
        let has_one_key = members::cube_named(model, leaf.cube())?.primary_key().count() == 1;
        if let Some(merge) = merge.filter(|_| leaf.origin == LeafOrigin::Value && (has_one_key || !counts_rows))
            && let Some(value) = self.cover.leaf_value(leaf)
        {
            return Ok(Ok(Merged { merge, value }));
        }
        Ok(Err(differs.unwrap_or(Refusal::MeasureMissing { measure: shown })))
    }

    /// The columns of the primary key of the cube at a place, where all of them are stored.
    fn stored_key(&self, at: &Walk) -> Option<Vec<Expr>> {
        stored_key(self.shape.columns, at, &self.planning.catalog.model)
    }

    /// An aggregate over dimensions that repetition leaves as it is.
    fn merged_call(&mut self, call: &AggregateFunction) -> Answer<Merged> {
        let name = call.func.name();
        let merge = match (name, call.params.distinct) {
            ("min", _) => Merge::Min,
            ("max", _) => Merge::Max,
            ("bool_and" | "every", _) => Merge::BoolAnd,
            ("bool_or", _) => Merge::BoolOr,
            ("count", true) => Merge::CountDistinct,
            _ => return Ok(Err(Refusal::RowsNeeded { aggregate: format!("{name}(…)") })),
        };
        let [argument] = call.params.args.as_slice() else {
            return Ok(Err(Refusal::RowsNeeded { aggregate: format!("{name}(…)") }));
        };
        let mut value = or_refuse!(self.cover.covered(argument)?);
        if let Some(filter) = &call.params.filter {
            value = where_holds(value, or_refuse!(self.cover.covered(filter)?));
        }
        Ok(Ok(Merged { merge, value }))
    }
}

/// A value where a condition holds.
fn where_holds(value: Expr, condition: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(value))], None))
}
