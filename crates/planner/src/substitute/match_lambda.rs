//! `rollup_lambda`: several rollups of one shape as one, each for the times that those before it do not hold (reference 4.7).
//!
//! What each holds is a span of time, and they are cut so that none overlaps another. What no one holds comes from the source, as for any
//! rollup: always between them, and above the last with `union_with_source_data`. It would be wrong to ask the source for all that is later
//! than the last build and leave out a gap before it.

use datafusion_expr::{LogicalPlan, LogicalPlanBuilder};

use crate::error::Result;
use crate::lower::joined_rows::{Planning, internal};
use crate::nodes::fact_leg::FactLeg;
use crate::nodes::rollup_scan::RollupScan;
use crate::rollups::{Cover, PartitionRange, Rollup, RollupLayout, RollupName, StoredPartition, StoredRollup, Stores};

use super::UsedRollup;
use super::cover_members::{STORED, stored_column, within};
use super::cover_time::Span;
use super::match_rollup::{Answer, Built, Shape, match_shape, or_refuse, readable};
use super::refusal::Refusal;

/// The scan that answers `leg`, or why there is none.
///
/// # Errors
/// The outer one for our own contradictions.
pub fn match_lambda(leg: &FactLeg, lambda: &Rollup, planning: Planning<'_>) -> Answer<RollupScan> {
    let model = &planning.catalog.model;
    let definition = model.cubes.get(&lambda.name.cube).and_then(|cube| cube.pre_aggregations.get(&lambda.name.name));
    let Some(definition) = definition else { return Ok(Err(Refusal::NotBuilt)) };
    let mut members: Vec<&Rollup> = Vec::new();
    let mut layouts: Vec<&RollupLayout> = Vec::new();
    for reference in &definition.rollups {
        let name = RollupName { cube: reference.cube.clone(), name: reference.name.clone() };
        let Some(member) = planning.catalog.rollups.get(&name) else { return Ok(Err(Refusal::NotBuilt)) };
        match &member.layout {
            Ok(layout) => layouts.push(layout),
            Err(error) => {
                return Ok(Err(Refusal::Unusable { reason: format!("its rollup {name}: {}", error.message) }));
            }
        }
        members.push(member);
    }
    let Some((first, later)) = layouts.split_first() else { return Ok(Err(Refusal::NotBuilt)) };
    for layout in later {
        or_refuse!(same_columns(first, layout));
    }
    let time = first.partitioned_by.as_ref().map(|(position, _)| *position);
    let time = or_refuse!(time.ok_or_else(|| Refusal::Unusable {
        reason: format!("its rollup {} has no partitions, so that it is not known which times it holds", first.name),
    }));
    match_shape(leg, &lambda.name, &Shape::of(first), planning, || {
        Ok(put_together(first, &members, time, definition.union_with_source_data, planning))
    })
}

/// Columns that correspond one to one.
fn same_columns(first: &RollupLayout, other: &RollupLayout) -> std::result::Result<(), Refusal> {
    let short = |layout: &RollupLayout| -> Vec<_> {
        layout
            .columns
            .iter()
            .map(|column| {
                let member = match &column.stores {
                    Stores::Dimension { member, .. } | Stores::Segment { member, .. } => member.clone(),
                    Stores::Time { member, granularity, .. } => format!("{member} by {granularity}"),
                    Stores::Leaf(leaf) => format!("{:?} of {}", leaf.kind, leaf.measure),
                    Stores::Base { sql } => sql.clone(),
                };
                (member, column.field.data_type().clone())
            })
            .collect()
    };
    if short(first) == short(other) {
        return Ok(());
    }
    Err(Refusal::Unusable {
        reason: format!(
            "its rollups {} and {} do not store the same, in the same order and types",
            first.name, other.name
        ),
    })
}

/// One partition of the lambda: whose, which one, and the span that it is read for.
#[derive(Clone, Copy)]
struct Part {
    member: usize,
    partition: usize,
    /// `None` for rows without a time.
    span: Option<Span>,
}

fn put_together<'r>(
    first: &'r RollupLayout,
    members: &[&'r Rollup],
    time: usize,
    with_source: bool,
    planning: Planning<'_>,
) -> std::result::Result<Built<'r>, Refusal> {
    let mut stored: Vec<&'r StoredRollup> = Vec::new();
    let mut zone_refusal = None;
    for member in members {
        let (rows, other_zone) = readable(member, planning)?;
        if stored.first().is_some_and(|before| before.zone != rows.zone) {
            return Err(Refusal::NotBuilt);
        }
        zone_refusal = zone_refusal.or(other_zone);
        stored.push(rows);
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut partitions: Vec<StoredPartition> = Vec::new();
    let mut end: Option<i64> = None;
    for (member, rows) in stored.iter().enumerate() {
        let covers = Span { from: rows.covers.from, to: rows.covers.to };
        let after = Span { from: end, to: None };
        for (partition, known) in rows.partitions.iter().enumerate() {
            match known.range {
                PartitionRange::Between { start, end: until } => {
                    let span = Span::new(start, until).and(&covers).and(&after);
                    let (Some(start), Some(until)) = (span.from, span.to) else { continue };
                    if span.is_empty() {
                        continue;
                    }
                    end = end.max(Some(until));
                    parts.push(Part { member, partition, span: Some(span) });
                    let range = PartitionRange::Between { start, end: until };
                    partitions.push(StoredPartition { range, rows: known.rows });
                }
                PartitionRange::NoTime if member == 0 => {
                    parts.push(Part { member, partition, span: None });
                    partitions.push(known.clone());
                }
                PartitionRange::NoTime => {}
                PartitionRange::Whole => return Err(Refusal::NotBuilt),
            }
        }
    }
    let covers = Cover {
        from: stored.first().and_then(|rows| rows.covers.from),
        // Nothing was after the last partition when it was built; with the source's rows that is asked again.
        to: if with_source { end } else { stored.last().and_then(|rows| rows.covers.to) },
    };
    let names: Vec<RollupName> = members.iter().map(|member| member.name.clone()).collect();
    let counts: Vec<usize> = stored.iter().map(|rows| rows.partitions.len()).collect();
    let is_whole = stored.iter().all(|rows| rows.is_whole);
    let of_used = parts.clone();
    Ok(Built {
        partitions,
        covers,
        is_whole,
        rows: Box::new(move |read, _| union_of(first, &stored, &parts, time, read)),
        used: Box::new(move |read| {
            let of_member = |member: usize| read.iter().filter(|part| of_used[**part].member == member).count();
            let used = names.iter().zip(&counts).enumerate();
            used.map(|(member, (rollup, partitions))| UsedRollup {
                index: None,
                rollup: rollup.clone(),
                partitions_read: of_member(member),
                partitions: *partitions,
            })
            .filter(|used| used.partitions_read > 0)
            .collect()
        }),
        other_zone: zone_refusal,
    })
}

/// The rows of some parts, under the columns of the first rollup.
fn union_of(
    first: &RollupLayout,
    stored: &[&StoredRollup],
    parts: &[Part],
    time: usize,
    read: &[usize],
) -> Result<LogicalPlan> {
    let mut all: Option<LogicalPlanBuilder> = None;
    for (member, rows) in stored.iter().enumerate() {
        let own: Vec<&Part> = read.iter().map(|part| &parts[*part]).filter(|part| part.member == member).collect();
        if own.is_empty() && (all.is_some() || member + 1 < stored.len()) {
            continue;
        }
        let partitions: Vec<usize> = own.iter().map(|part| part.partition).collect();
        let scan = rows.rows.table(&partitions, None).map_err(internal)?;
        let columns: Vec<String> = scan.schema().fields().iter().map(|field| field.name().clone()).collect();
        let scan = super::match_rollup::scan_of(rows, &partitions, None)?;
        let mut builder = LogicalPlanBuilder::from(scan);
        // What an earlier rollup holds too is not read here.
        let spans: Vec<Span> = own.iter().filter_map(|part| part.span).collect();
        let from = spans.iter().filter_map(|span| span.from).min();
        let to = spans.iter().filter_map(|span| span.to).max();
        if !spans.is_empty() {
            let column = stored_column(&columns[time]);
            let inside = within(&column, Span { from, to });
            let has_null = own.iter().any(|part| part.span.is_none());
            let kept = if has_null { inside.or(datafusion_expr::Expr::IsNull(Box::new(column))) } else { inside };
            builder = builder.filter(kept).map_err(internal)?;
        }
        let named = columns
            .iter()
            .zip(&first.columns)
            .map(|(column, wanted)| stored_column(column).alias_qualified(Some(STORED), &wanted.name));
        let plan = builder.project(named).and_then(LogicalPlanBuilder::build).map_err(internal)?;
        all = Some(match all {
            None => LogicalPlanBuilder::from(plan),
            Some(before) => before.union(plan).map_err(internal)?,
        });
    }
    let all = all.ok_or_else(|| crate::error::PlanError::internal("a lambda of nothing"))?.build().map_err(internal)?;
    // A union's columns belong to no relation.
    let named = all
        .schema()
        .columns()
        .into_iter()
        .zip(&first.columns)
        .map(|(column, wanted)| datafusion_expr::Expr::Column(column).alias_qualified(Some(STORED), &wanted.name))
        .collect::<Vec<_>>();
    LogicalPlanBuilder::from(all).project(named).and_then(LogicalPlanBuilder::build).map_err(internal)
}
