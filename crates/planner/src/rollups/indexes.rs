//! Indexes of a rollup: copies of its rows for other questions, in another order or coarser (reference 4.9).
//!
//! A copy in another order has the same rows, and which is read is the store's affair. An index that aggregates is a rollup of the rollup: it
//! keeps the named groups, and all that can be added up over the others. It would be wrong to keep a plain distinct count in it, or a sum of rows that
//! count in several groups.

use belvedere_model::{IndexColumn, IndexKind, IndexValue, PreAggregation};
use datafusion_common::Column;
use datafusion_expr::Expr;

use crate::error::{PlanError, Result};
use crate::functions::Functions;
use crate::lower::calculated::aggregate_call;
use crate::lower::joined_rows::internal;
use crate::nodes::fact_leg::LeafKind;

use super::{RollupColumn, RollupLayout, StoredLeaf, Stores};

/// One index.
#[derive(Debug, Clone)]
pub struct RollupIndex {
    pub name: String,
    /// The stored columns that it is sorted by.
    pub columns: Vec<String>,
    /// What it has, if not all.
    pub coarser: Option<Coarser>,
}

/// The columns of a coarser copy, and how they are made of the stored ones.
#[derive(Debug, Clone)]
pub struct Coarser {
    pub columns: Vec<RollupColumn>,
    /// Over the stored columns, which belong to no relation.
    pub group_by: Vec<Expr>,
    /// Aggregates, named as their columns.
    pub aggregates: Vec<Expr>,
}

/// The indexes that a definition asks for. Those by SQL are for databases, and the store is none.
///
/// # Errors
/// 0A000 for a column that is not stored, and for one that cannot be grouped by.
pub(super) fn indexes(
    layout: &RollupLayout,
    definition: &PreAggregation,
    functions: &Functions,
) -> Result<Vec<RollupIndex>> {
    let mut found = Vec::new();
    for index in &definition.indexes {
        let IndexValue::Columns(wanted) = &index.value else { continue };
        let mut columns: Vec<&RollupColumn> = Vec::new();
        for column in wanted {
            match column_of(layout, column) {
                Some(column) if columns.iter().any(|known| known.name == column.name) => {}
                Some(column) => columns.push(column),
                // A column of the table that no member reads: no query asks for it.
                None if layout.is_base() => {}
                None => {
                    return Err(PlanError::unsupported(format!(
                        "the index \"{}\" of the rollup \"{}\" names a column that it does not store",
                        index.name, layout.name
                    ))
                    .hint("Name members of the rollup."));
                }
            }
        }
        if columns.is_empty() {
            continue;
        }
        let coarser = match index.kind {
            IndexKind::Regular => None,
            IndexKind::Aggregate => {
                let is_group = |column: &&RollupColumn| {
                    !matches!(column.stores, Stores::Leaf(_) | Stores::Base { .. }) && !layout.is_base()
                };
                if !columns.iter().all(is_group) {
                    return Err(PlanError::unsupported(format!(
                        "the index \"{}\" of the rollup \"{}\" aggregates by what is no dimension of it",
                        index.name, layout.name
                    ))
                    .hint("Name dimensions; an index that aggregates has all measures that can be added up."));
                }
                Some(coarser(layout, &columns, functions)?)
            }
        };
        let columns = columns.into_iter().map(|column| column.name.clone()).collect();
        found.push(RollupIndex { name: index.name.clone(), columns, coarser });
    }
    Ok(found)
}

fn coarser(layout: &RollupLayout, groups: &[&RollupColumn], functions: &Functions) -> Result<Coarser> {
    let mut columns: Vec<RollupColumn> = groups.iter().map(|column| (*column).clone()).collect();
    let own = |column: &RollupColumn| Expr::Column(Column::new_unqualified(&column.name));
    let group_by = columns.iter().map(own).collect();
    let mut aggregates = Vec::new();
    for column in &layout.columns {
        if let Stores::Leaf(leaf) = &column.stores
            && let Some(total) = total(leaf, own(column), functions)?
        {
            aggregates.push(total.alias(&column.name));
            columns.push(column.clone());
        }
    }
    Ok(Coarser { columns, group_by, aggregates })
}

/// The values of several groups as one value of the same kind; `None` where there is no such value.
fn total(leaf: &StoredLeaf, value: Expr, functions: &Functions) -> Result<Option<Expr>> {
    if leaf.is_repeated {
        return Ok(None);
    }
    let function = match leaf.kind {
        LeafKind::Count | LeafKind::Sum => belvedere_functions::sum_again(),
        LeafKind::Min => functions.needed_aggregate("min").map_err(internal)?,
        LeafKind::Max => functions.needed_aggregate("max").map_err(internal)?,
        LeafKind::Sketch => belvedere_functions::sketch::sketch_union(),
        LeafKind::Set => belvedere_functions::sets::set_union(),
        LeafKind::CountDistinct | LeafKind::CountDistinctApprox => return Ok(None),
    };
    Ok(Some(aggregate_call(function, value)))
}

/// The stored column that an index names.
fn column_of<'l>(layout: &'l RollupLayout, column: &IndexColumn) -> Option<&'l RollupColumn> {
    let reference = match column {
        IndexColumn::Raw(name) => return layout.columns.iter().find(|column| column.name == *name),
        IndexColumn::Member(reference) => reference,
    };
    layout.columns.iter().find(|column| {
        let (at, member) = match &column.stores {
            Stores::Dimension { at, member } | Stores::Segment { at, member } => (at, member),
            Stores::Time { at, member, granularity, .. } => {
                if reference.granularity.as_ref().is_some_and(|wanted| wanted != granularity) {
                    return false;
                }
                (at, member)
            }
            Stores::Leaf(leaf) => (&leaf.at, &leaf.measure),
            Stores::Base { .. } => return false,
        };
        *member == reference.member && at.last().is_some_and(|cube| cube == reference.cube())
    })
}
