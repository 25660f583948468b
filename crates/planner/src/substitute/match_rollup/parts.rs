//! Which partitions of a rollup a leg reads, and what the source gives beside.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{DFSchema, TableReference};
use datafusion_expr::Expr;
use indexmap::IndexMap;

use crate::catalog::{MemberColumn, ViewTable};
use crate::error::{PlanError, Result};
use crate::expand::time_range::Core;
use crate::lower::joined_rows::internal;
use crate::members;
use crate::nodes::fact_leg::{FactLeg, LeafKind, LegAggregate, LegScan};
use crate::rollups::{Cover as RangeCover, PartitionRange, Stores, walk_to};

use super::super::cover_members::within;
use super::super::cover_time::{Span, whole_buckets};
use super::super::refusal::Refusal;
use super::{Answer, Built, Matching};

/// The scan that is added to a leg for the time that partitions, and its column.
const LIVE_SCAN: &str = "rollup:live";
const LIVE_TIME: &str = "time";

/// What is read: partitions, and conditions on what the source gives beside.
pub(super) struct Reads {
    pub partitions: Vec<usize>,
    pub rows_read: u64,
    pub live_time: u64,
    pub live: Vec<Expr>,
}

impl Matching<'_, '_, '_> {
    /// The conditions that keep out the buckets that a range cuts through.
    pub(super) fn whole_spans(&self) -> Result<Vec<Expr>> {
        let mut conditions = Vec::new();
        for (time, _) in &self.edges {
            let stored = &self.cover.times[*time];
            if let Some(unit) = &stored.unit {
                let whole = whole_buckets(self.asked(*time), unit, self.planning)?;
                conditions.push(within(&stored.column, whole));
            }
        }
        Ok(conditions)
    }

    pub(super) fn reads(&self, stored_rollup: &Built<'_>) -> Answer<Reads> {
        let partitioned = self.shape.partitioned_by;
        let cut = self.edges.first();
        let of_partitions =
            partitioned.and_then(|position| self.cover.times.iter().position(|time| time.position == position));
        // Whole buckets of the cut time, and all of it.
        let cut_spans = match cut {
            None => None,
            Some((time, _)) => {
                let asked = self.asked(*time);
                let stored = &self.cover.times[*time];
                let Some(unit) = &stored.unit else { return Ok(Err(self.too_coarse(*time))) };
                let whole = whole_buckets(asked, unit, self.planning)?;
                if whole.is_empty() {
                    let Refusal::TooCoarse { member, stored } = self.too_coarse(*time) else {
                        return Err(PlanError::internal("a time that is too coarse for another reason"));
                    };
                    return Ok(Err(Refusal::NoWholeBucket { member, stored }));
                }
                Some((asked, whole))
            }
        };
        let Some(position) = partitioned else {
            let (live, live_time) = match (cut, cut_spans) {
                (Some((_, core)), Some((asked, whole))) => live_conditions(core, asked, whole),
                _ => (Vec::new(), 0),
            };
            return Ok(Ok(Reads {
                partitions: (0..stored_rollup.partitions.len()).collect(),
                rows_read: stored_rollup.partitions.iter().map(|partition| partition.rows).sum(),
                live_time,
                live,
            }));
        };
        let is_same_time = |one: usize, other: usize| {
            let key = |time: usize| match &self.shape.columns[self.cover.times[time].position].stores {
                Stores::Time { at, member, .. } => Some((at.clone(), member.clone())),
                _ => None,
            };
            key(one) == key(other)
        };
        let (asked, wanted) = match (of_partitions, cut, cut_spans) {
            (Some(time), Some((cut, _)), Some((asked, whole))) if is_same_time(time, *cut) => (asked, whole),
            (Some(time), _, _) => (self.asked(time), self.asked(time)),
            (None, _, _) => (Span::ALL, Span::ALL),
        };
        let may_be_null = asked == Span::ALL;
        let held = Self::held(stored_rollup, of_partitions.map_or(Span::ALL, |time| self.borders(time)));
        let read: Vec<Span> = held.iter().map(|span| span.and(&wanted)).filter(|span| !span.is_empty()).collect();
        let mut partitions = Vec::new();
        let mut has_null = false;
        for (index, partition) in stored_rollup.partitions.iter().enumerate() {
            let reads = match partition.range {
                PartitionRange::Whole => true,
                PartitionRange::Between { start, end } => !Span::new(start, end).and(&wanted).is_empty(),
                PartitionRange::NoTime => {
                    has_null = true;
                    may_be_null
                }
            };
            if reads {
                partitions.push(index);
            }
        }
        let mut missing = asked.minus(&read);
        let other_cut = cut.filter(|(cut, _)| of_partitions.is_none_or(|time| !is_same_time(time, *cut)));
        if let Some((_, core)) = other_cut {
            if !missing.is_empty() || (may_be_null && !has_null) {
                return Ok(Err(Refusal::RangeNotBuilt));
            }
            let Some((asked, whole)) = cut_spans else { return Err(PlanError::internal("a cut without a span")) };
            let (live, live_time) = live_conditions(core, asked, whole);
            return Ok(Ok(with_rows(stored_rollup, partitions, live, live_time)));
        }
        if read.is_empty() && !missing.is_empty() {
            return Ok(Err(Refusal::RangeNotBuilt));
        }
        missing.retain(|span| !span.is_empty());
        let mut live = Vec::new();
        let live_time = missing.iter().fold(0_u64, |sum, span| sum.saturating_add(span.length()));
        if !missing.is_empty() || (may_be_null && !has_null) {
            let Some(time) = self.live_time(position) else { return Ok(Err(Refusal::RangeNotBuilt)) };
            live.extend(missing.into_iter().map(|span| within(&time, span)));
            if may_be_null && !has_null {
                live.push(Expr::IsNull(Box::new(time)));
            }
        }
        Ok(Ok(with_rows(stored_rollup, partitions, live, live_time)))
    }

    /// The spans that partitions hold. Where the build had no border of its own, nothing was before its first partition and after its last one,
    /// which is as good as held for a query without a border there.
    fn held(stored: &Built<'_>, asked: Span) -> Vec<Span> {
        let mut held: Vec<Span> = stored
            .partitions
            .iter()
            .filter_map(|partition| match partition.range {
                PartitionRange::Whole => Some(Span::ALL),
                // What the build left out of its first and last partition is not there.
                PartitionRange::Between { start, end } => {
                    Some(Span::new(start, end).and(&Span { from: stored.covers.from, to: stored.covers.to }))
                }
                PartitionRange::NoTime => None,
            })
            .filter(|span| !span.is_empty())
            .collect();
        held.sort_by_key(|span| span.from);
        if !stored.is_whole {
            return held;
        }
        if held.is_empty() && stored.covers == RangeCover::default() && !stored.partitions.is_empty() {
            // There was no time at all.
            return vec![Span::ALL];
        }
        if asked.from.is_none()
            && stored.covers.from.is_none()
            && let Some(first) = held.first_mut()
        {
            first.from = None;
        }
        if asked.to.is_none()
            && stored.covers.to.is_none()
            && let Some(last) = held.iter_mut().max_by_key(|span| span.to)
        {
            last.to = None;
        }
        held
    }

    /// The time that partitions, as a column of a scan that is added to the leg; `None` where the leg has no such place.
    fn live_time(&self, position: usize) -> Option<Expr> {
        let scan = self.live_scan(position)?;
        let column = scan.table.columns.values().next()?;
        let time = Expr::Column(datafusion_common::Column::new(Some(scan.reference.clone()), LIVE_TIME));
        Some(if column.field.data_type() == &DataType::Date32 {
            datafusion_expr::cast(time, DataType::Timestamp(TimeUnit::Microsecond, None))
        } else {
            time
        })
    }

    fn live_scan(&self, position: usize) -> Option<LegScan> {
        let Stores::Time { at, member, .. } = &self.shape.columns[position].stores else { return None };
        let tree = &self.leg.tree;
        tree.nodes().find(|node| walk_to(tree, node) == *at)?;
        let cube = members::cube_named(&self.planning.catalog.model, at.last()?).ok()?;
        let kind = belvedere_model::MemberKind::Dimension;
        let column: MemberColumn = crate::tables::column(self.planning, cube, kind, at.clone(), member);
        let mut columns = IndexMap::new();
        columns.insert(LIVE_TIME.to_owned(), column);
        let table = ViewTable::new(LIVE_SCAN.to_owned(), columns, None);
        Some(LegScan { reference: TableReference::bare(LIVE_SCAN), table: Arc::new(table), defaults: Vec::new() })
    }

    /// The leg under one condition more, with values that can be merged.
    pub(super) fn live_leg(&self, condition: Expr) -> Answer<FactLeg> {
        let mut leg = self.leg.clone();
        let names_live_time = condition
            .column_refs()
            .iter()
            .any(|column| column.relation.as_ref().is_some_and(|relation| relation.table() == LIVE_SCAN));
        if names_live_time {
            let position = self.shape.partitioned_by.unwrap_or_default();
            leg.scans.extend(self.live_scan(position));
        }
        leg.filters.push(condition);
        let mut fields: Vec<Field> = leg.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (index, aggregate) in leg.aggregates.iter_mut().enumerate() {
            let field = &mut fields[self.leg.group.len() + index];
            match aggregate {
                LegAggregate::Leaf(leaf) => match leaf.kind {
                    LeafKind::Count | LeafKind::Sum | LeafKind::Min | LeafKind::Max => {}
                    LeafKind::CountDistinctApprox => {
                        leaf.kind = LeafKind::Sketch;
                        *field = field.clone().with_data_type(DataType::Binary);
                    }
                    LeafKind::CountDistinct => {
                        let set = self.shape.columns.iter().find_map(|column| match &column.stores {
                            Stores::Leaf(stored) if stored.kind == LeafKind::Set && stored.measure == leaf.measure => {
                                Some(column.field.data_type().clone())
                            }
                            _ => None,
                        });
                        let Some(set) = set else {
                            return Ok(Err(Refusal::CannotCombine {
                                aggregate: format!("measure \"{}\"", leaf.measure),
                            }));
                        };
                        leaf.kind = LeafKind::Set;
                        *field = field.clone().with_data_type(set);
                    }
                    LeafKind::Sketch | LeafKind::Set => {
                        return Err(PlanError::internal("a query asks for what only rollups store"));
                    }
                },
                LegAggregate::OverRows(Expr::AggregateFunction(call)) if call.func.name() != "count" => {}
                LegAggregate::OverRows(other) => {
                    return Ok(Err(Refusal::CannotCombine { aggregate: other.to_string() }));
                }
                LegAggregate::CountRows { .. } | LegAggregate::HiddenRows(_) => {
                    return Ok(Err(Refusal::CannotCombine { aggregate: "COUNT(*)".to_owned() }));
                }
            }
        }
        let schema = DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(internal)?;
        leg.schema = Arc::new(schema);
        Ok(Ok(leg))
    }
}

fn with_rows(stored: &Built<'_>, partitions: Vec<usize>, live: Vec<Expr>, live_time: u64) -> Reads {
    let rows_read = partitions.iter().map(|index| stored.partitions[*index].rows).sum();
    Reads { partitions, rows_read, live_time, live }
}

/// The conditions for the edges of a range, and how long they are.
fn live_conditions(core: &Core, asked: Span, whole: Span) -> (Vec<Expr>, u64) {
    let edges = asked.minus(&[whole]);
    let length = edges.iter().fold(0_u64, |sum, span| sum.saturating_add(span.length()));
    (edges.into_iter().map(|span| live_condition(core, span)).collect(), length)
}

/// The condition that a leg's own time lies in a span.
fn live_condition(core: &Core, span: Span) -> Expr {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
    let time = match &core.expr {
        Expr::Column(_) if core.is_date => datafusion_expr::cast(core.expr.clone(), timestamp),
        other => other.clone(),
    };
    within(&time, span)
}
