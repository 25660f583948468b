//! `belvedere.rollups` and `belvedere.rollup_partitions`: what is built, how old it is, and what went wrong.

use std::sync::Arc;

use belvedere_model::PreAggregationKind;
use belvedere_pgcatalog::{OwnRow, OwnTables, OwnValue};
use belvedere_planner::rollups::Rollup;
use belvedere_rollup::{Manifest, PartitionRange, RollupKey};

use crate::engine::Engine;
use crate::rollups::{BuildState, RollupKeeper};

/// The tables as one user sees them: rollups of cubes that an access policy hides are left out, and values of refresh keys and errors of
/// sources are for those who may build.
#[must_use]
pub fn own_tables(
    engine: &Arc<Engine>,
    is_hidden: impl Fn(&str) -> bool + Send + Sync + 'static,
    may_build: bool,
) -> OwnTables {
    let engine = Arc::clone(engine);
    OwnTables(Arc::new(move |table| {
        let rollups: Vec<Arc<Rollup>> =
            engine.rollups().into_iter().filter(|rollup| !is_hidden(&rollup.name.cube)).collect();
        let Some(keeper) = engine.rollup_keeper() else { return Vec::new() };
        let facts = Facts { engine: &engine, keeper, may_build };
        match table {
            "rollups" => rollups.iter().flat_map(|rollup| facts.rollup(rollup)).collect(),
            "rollup_partitions" => rollups.iter().flat_map(|rollup| facts.partitions(rollup)).collect(),
            _ => Vec::new(),
        }
    }))
}

struct Facts<'f> {
    engine: &'f Engine,
    keeper: &'f RollupKeeper,
    may_build: bool,
}

fn text(value: impl Into<String>) -> OwnValue {
    OwnValue::Text(value.into())
}

fn number(value: u64) -> OwnValue {
    OwnValue::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

impl Facts<'_> {
    fn shown(&self, value: Option<&String>) -> OwnValue {
        value.filter(|_| self.may_build).map_or(OwnValue::Null, text)
    }

    fn rollup(&self, rollup: &Rollup) -> Vec<OwnRow> {
        let kind = match rollup.kind {
            PreAggregationKind::Rollup => "rollup",
            PreAggregationKind::OriginalSql => "original_sql",
            PreAggregationKind::RollupJoin => "rollup_join",
            PreAggregationKind::RollupLambda => "rollup_lambda",
        };
        let head = |state: &str| vec![text(&rollup.name.cube), text(&rollup.name.name), text(kind), text(state)];
        if !rollup.kind.stores_rows() {
            let mut row = head("not stored");
            row.resize(11, OwnValue::Null);
            return vec![row];
        }
        let zones = self.keeper.zones.iter();
        zones
            .map(|zone| {
                let key = RollupKeeper::key(&rollup.name, *zone);
                let manifest = self.keeper.newest(&key);
                let report = self.keeper.reported(&key);
                let structure = self.engine.rollup_structure(&rollup.name, *zone);
                let unbuildable = rollup.layout.as_ref().err().map(|error| error.message.clone());
                let is_current = |manifest: &Manifest| Some(&manifest.structure) == structure.as_ref();
                let state = match (&manifest, report.state) {
                    (_, BuildState::Building) => "building",
                    _ if unbuildable.is_some() => "cannot be built",
                    (None, BuildState::Idle) => "not built",
                    (Some(manifest), BuildState::Idle) if !is_current(manifest) => "of an older model",
                    (Some(_), BuildState::Idle) if !self.damaged(&key).is_empty() => "damaged",
                    (Some(_), BuildState::Idle) => "ready",
                };
                let mut row = head(state);
                match &manifest {
                    Some(manifest) => {
                        let partitions = &manifest.partitions;
                        row.push(number(partitions.iter().map(|partition| partition.rows).sum()));
                        row.push(number(partitions.iter().map(|partition| partition.bytes).sum()));
                        row.push(number(partitions.len() as u64));
                        let oldest = partitions.iter().map(|partition| partition.built_at).min();
                        row.push(oldest.map_or(OwnValue::Null, OwnValue::Time));
                        let newest = partitions.iter().max_by_key(|partition| partition.built_at);
                        row.push(self.shown(newest.and_then(|partition| partition.refresh_key.as_ref())));
                    }
                    None => row.resize(9, OwnValue::Null),
                }
                // What the model's author wrote is no secret of a source.
                row.push(match unbuildable {
                    Some(why) => text(why),
                    None => self.shown(report.last_error.as_ref()),
                });
                row.push(text(zone.name()));
                row
            })
            .collect()
    }

    fn partitions(&self, rollup: &Rollup) -> Vec<OwnRow> {
        let mut rows = Vec::new();
        for zone in &self.keeper.zones {
            let key = RollupKeeper::key(&rollup.name, *zone);
            let Some(manifest) = self.keeper.newest(&key) else { continue };
            let damaged = self.damaged(&key);
            for partition in &manifest.partitions {
                let (from, to) = match partition.range {
                    PartitionRange::Whole | PartitionRange::NoTime => (OwnValue::Null, OwnValue::Null),
                    PartitionRange::Between { start, end } => (OwnValue::Time(start), OwnValue::Time(end)),
                };
                let state = if damaged.contains(&partition.range) { "damaged" } else { "ready" };
                rows.push(vec![
                    text(&rollup.name.cube),
                    text(&rollup.name.name),
                    text(zone.name()),
                    from,
                    to,
                    text(state),
                    number(partition.rows),
                    number(partition.bytes),
                    OwnValue::Time(partition.built_at),
                    self.shown(partition.refresh_key.as_ref()),
                ]);
            }
        }
        rows
    }

    fn damaged(&self, key: &RollupKey) -> Vec<PartitionRange> {
        let quarantined = self.keeper.store.quarantined().into_iter();
        quarantined.filter(|bad| bad.key == *key).map(|bad| bad.range).collect()
    }
}
