//! Rollups of a running engine: what the store has of them, and the rows that one is built of.
//!
//! A stored version belongs to a definition when its structure is the same: the statements that build it, as sources get them, and the
//! columns. A version of another structure is never read.

use std::collections::HashMap;
use std::sync::Arc;

use belvedere_functions::Zone;
use belvedere_model::{Model, PreAggregation};
use belvedere_planner::error::PlanError;
use belvedere_planner::lower;
use belvedere_planner::planning::{Findings, Planning};
use belvedere_planner::rollups::{
    Cover, PartitionRange, Rollup, RollupColumn, RollupIndex, RollupLayout, RollupName, Rollups, StoredPartition,
    StoredRollup, StoredRows,
};
use belvedere_planner::session::{RollupSettings, RollupUsage, SessionFacts};
use belvedere_rollup::{Manifest, RollupKey, RollupTable, Store, StoreError, StoredTable};
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;

use crate::SqlError;
use crate::engine::{Engine, Snapshot};
use crate::errors::{from_datafusion, from_plan};
use crate::run::statements_of;

/// Which rollups an engine may keep, and where.
#[derive(Debug)]
pub struct RollupKeeper {
    pub store: Store,
    /// The zones whose days, weeks and months are stored.
    pub zones: Vec<Zone>,
    seen: std::sync::Mutex<Vec<(RollupKey, u64)>>,
    reports: std::sync::Mutex<HashMap<RollupKey, BuildReport>>,
    /// As of the last look.
    newest: std::sync::Mutex<HashMap<RollupKey, Arc<Manifest>>>,
}

/// What this process does with a rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildState {
    #[default]
    Idle,
    Building,
}

/// How building a rollup goes in this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildReport {
    pub state: BuildState,
    /// Why the last build failed, if it did.
    pub last_error: Option<String>,
}

impl RollupKeeper {
    #[must_use]
    pub fn new(store: Store, zones: Vec<Zone>) -> Self {
        Self {
            store,
            zones,
            seen: std::sync::Mutex::default(),
            reports: std::sync::Mutex::default(),
            newest: std::sync::Mutex::default(),
        }
    }

    /// Notes what becomes of a rollup; `last_error` where that is known anew.
    pub fn report(&self, key: &RollupKey, state: BuildState, last_error: Option<Option<String>>) {
        let mut reports = self.reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let report = reports.entry(key.clone()).or_default();
        report.state = state;
        if let Some(last_error) = last_error {
            report.last_error = last_error;
        }
    }

    /// The newest version of a rollup as of the last look at the store.
    pub(crate) fn newest(&self, key: &RollupKey) -> Option<Arc<Manifest>> {
        self.newest.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(key).cloned()
    }

    /// What was noted of a rollup.
    #[must_use]
    pub fn reported(&self, key: &RollupKey) -> BuildReport {
        let reports = self.reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        reports.get(key).cloned().unwrap_or_default()
    }

    /// The name that a rollup has in the store.
    #[must_use]
    pub fn key(name: &RollupName, zone: Zone) -> RollupKey {
        RollupKey::new(&name.cube, &name.name, zone.name())
    }

    /// What the store has of a model's rollups; `None` where that is what was seen the last time.
    pub(crate) async fn stored(
        &self,
        defined: &Defined,
        always: bool,
    ) -> Result<Option<Vec<(RollupName, StoredRollup)>>, StoreError> {
        if always {
            // Where the store does not answer now, the same versions are news when it does.
            self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        }
        let manifests = self.store.manifests().await?;
        for problem in &manifests.problems {
            tracing::warn!(%problem, "a version of a rollup cannot be read");
        }
        let newest = manifests.manifests.iter().map(|manifest| (manifest.key.clone(), Arc::clone(manifest)));
        *self.newest.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = newest.collect();
        let quarantined = self.store.quarantined();
        let versions: Vec<(RollupKey, u64)> = manifests
            .manifests
            .iter()
            .map(|manifest| (manifest.key.clone(), manifest.version))
            .chain(quarantined.iter().map(|bad| (bad.key.clone(), u64::MAX)))
            .collect();
        {
            let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *seen == versions && !always {
                return Ok(None);
            }
            *seen = versions;
        }
        let mut found = Vec::new();
        for rollup in defined.rollups.iter() {
            let Ok(layout) = &rollup.layout else { continue };
            for zone in &self.zones {
                let key = Self::key(&rollup.name, *zone);
                let structure = defined.structures.get(&(rollup.name.clone(), zone.name()));
                let manifest = manifests.manifests.iter().find(|manifest| manifest.key == key);
                let Some(manifest) = manifest.filter(|manifest| Some(&manifest.structure) == structure) else {
                    continue;
                };
                if manifest.schema != layout.schema() {
                    continue;
                }
                let bad: Vec<&belvedere_rollup::PartitionRange> =
                    quarantined.iter().filter(|bad| bad.key == key).map(|bad| &bad.range).collect();
                found.push((rollup.name.clone(), stored_rollup(&self.store, manifest, layout, *zone, &bad)));
            }
        }
        Ok(Some(found))
    }
}

/// A rollup as one model defines it. The model may be replaced while the rollup is built: then reading its rows fails.
#[derive(Debug, Clone)]
pub struct DefinedRollup {
    pub rollup: Arc<Rollup>,
    pub model: Arc<Model>,
    defined: Arc<Defined>,
}

impl DefinedRollup {
    /// As the model has it.
    #[must_use]
    pub fn definition(&self) -> &PreAggregation {
        let RollupName { cube, name } = &self.rollup.name;
        let cube = self.model.cubes.get(cube).expect("the rollups of a model are those of its cubes");
        cube.pre_aggregations.get(name).expect("the rollups of a model are those of its cubes")
    }

    /// The structure that stored rows must have; `None` where it cannot be planned.
    #[must_use]
    pub fn structure(&self, zone: Zone) -> Option<&String> {
        self.defined.structures.get(&(self.rollup.name.clone(), zone.name()))
    }
}

/// The rollups of a model, and the structures that stored rows of them must have.
#[derive(Debug, Default)]
pub(crate) struct Defined {
    pub rollups: Rollups,
    /// By rollup and zone.
    pub structures: HashMap<(RollupName, String), String>,
}

fn stored_rollup(
    store: &Store,
    manifest: &Arc<Manifest>,
    layout: &RollupLayout,
    zone: Zone,
    quarantined: &[&belvedere_rollup::PartitionRange],
) -> StoredRollup {
    let kept: Vec<&belvedere_rollup::RollupPartition> =
        manifest.partitions.iter().filter(|partition| !quarantined.contains(&&partition.range)).collect();
    let partitions = kept
        .iter()
        .map(|partition| StoredPartition { range: range_of(&partition.range), rows: partition.rows })
        .collect();
    let (from, to) = manifest.covers.unwrap_or((None, None));
    StoredRollup {
        zone,
        built_at: match kept.as_slice() {
            // That there is nothing gets old too.
            [] => Some(manifest.published_at),
            _ => kept.iter().filter(|partition| !is_settled(partition)).map(|partition| partition.built_at).min(),
        },
        partitions,
        covers: Cover { from, to },
        is_whole: kept.len() == manifest.partitions.len(),
        coarser: coarser_copies(manifest, layout, &kept),
        rows: Arc::new(ManifestRows {
            store: store.clone(),
            manifest: Arc::clone(manifest),
            ranges: kept.iter().map(|partition| partition.range.clone()).collect(),
        }),
    }
}

/// The rows of the copies of indexes that aggregate, of each partition; without those that some partition lacks or that have other columns.
fn coarser_copies(
    manifest: &Manifest,
    layout: &RollupLayout,
    partitions: &[&belvedere_rollup::RollupPartition],
) -> HashMap<String, Vec<u64>> {
    let mut found = HashMap::new();
    for index in &layout.indexes {
        let Some(coarser) = &index.coarser else { continue };
        let table = StoredTable::Index(index.name.clone());
        let rows = |partition: &&belvedere_rollup::RollupPartition| {
            let file = partition.files.iter().find(|file| file.table == table).map(|file| file.rows);
            file.or((partition.rows == 0).then_some(0))
        };
        let Some(rows) = partitions.iter().map(rows).collect::<Option<Vec<u64>>>() else { continue };
        let schema = manifest.table_schema(&table);
        let same = |(field, column): (&Arc<Field>, &RollupColumn)| {
            *field.name() == column.name && field.data_type() == column.field.data_type()
        };
        let has_its_columns =
            schema.fields().len() == coarser.columns.len() && schema.fields().iter().zip(&coarser.columns).all(same);
        // No rows at all have no copy.
        if has_its_columns || rows.iter().sum::<u64>() == 0 {
            found.insert(index.name.clone(), rows);
        }
    }
    found
}

/// The value of a refresh key that says that rows never get old.
pub const IMMUTABLE: &str = "immutable";
/// The value for a partition that an incremental refresh key leaves alone from now on: nothing that a key's value could be.
pub const SETTLED: &str = "settled";

fn is_settled(partition: &belvedere_rollup::RollupPartition) -> bool {
    partition.refresh_key.as_deref().is_some_and(|key| [IMMUTABLE, SETTLED].contains(&key))
}

fn range_of(range: &belvedere_rollup::PartitionRange) -> PartitionRange {
    match *range {
        belvedere_rollup::PartitionRange::Whole => PartitionRange::Whole,
        belvedere_rollup::PartitionRange::Between { start, end } => PartitionRange::Between { start, end },
        belvedere_rollup::PartitionRange::NoTime => PartitionRange::NoTime,
    }
}

/// The store's name for a range.
#[must_use]
pub fn stored_range(range: PartitionRange) -> belvedere_rollup::PartitionRange {
    match range {
        PartitionRange::Whole => belvedere_rollup::PartitionRange::Whole,
        PartitionRange::Between { start, end } => belvedere_rollup::PartitionRange::Between { start, end },
        PartitionRange::NoTime => belvedere_rollup::PartitionRange::NoTime,
    }
}

#[derive(Debug)]
struct ManifestRows {
    store: Store,
    manifest: Arc<Manifest>,
    ranges: Vec<belvedere_rollup::PartitionRange>,
}

impl StoredRows for ManifestRows {
    fn table(&self, partitions: &[usize], index: Option<&str>) -> datafusion::common::Result<Arc<dyn TableSource>> {
        let ranges: Vec<belvedere_rollup::PartitionRange> =
            partitions.iter().map(|index| self.ranges[*index].clone()).collect();
        let table = index.map_or(StoredTable::Main, |index| StoredTable::Index(index.to_owned()));
        let table = RollupTable::new(&self.store, &self.manifest, &ranges, table)
            .map_err(|error| datafusion::error::DataFusionError::External(Box::new(error)))?;
        Ok(provider_as_source(Arc::new(table)))
    }
}

impl Engine {
    /// The session in which rollups of a zone are built: nobody's, and no rollup is read, or stored rows of cubes only.
    pub(crate) fn build_session(&self, zone: Zone, usage: RollupUsage) -> SessionFacts {
        SessionFacts {
            user: String::new(),
            database: String::new(),
            zone,
            now: self.clock().now(),
            rollups: RollupSettings { usage, ..RollupSettings::default() },
        }
    }

    /// What a model defines, with the structure of each rollup in each zone.
    pub(crate) fn define_rollups(&self, catalog: &belvedere_planner::catalog::Catalog, zones: &[Zone]) -> Defined {
        let zone = zones.first().copied().unwrap_or(Zone::UTC);
        let rollups = Rollups::of_model(catalog, self.functions(), &self.build_session(zone, RollupUsage::Off));
        let mut structures = HashMap::new();
        for rollup in rollups.iter() {
            let Ok(layout) = &rollup.layout else { continue };
            for zone in zones {
                // What cannot be planned now says why when it is built.
                if let Ok(plan) = self.build_plan(catalog, layout, *zone, PartitionRange::Whole, RollupUsage::Off)
                    && let Ok(structure) = structure(layout, &plan)
                {
                    structures.insert((rollup.name.clone(), zone.name()), structure);
                }
            }
        }
        Defined { rollups, structures }
    }

    pub(crate) fn with_planning<T>(
        &self,
        catalog: &belvedere_planner::catalog::Catalog,
        zone: Zone,
        usage: RollupUsage,
        work: impl FnOnce(Planning<'_>) -> Result<T, PlanError>,
    ) -> Result<T, SqlError> {
        let session = self.build_session(zone, usage);
        let findings = Findings::default();
        // Rows of all users: who may read what is decided when a query is answered.
        let planning = findings.planning(catalog, self.functions(), &session).trusted();
        work(planning).map_err(|error| from_plan(&error, ""))
    }

    /// The optimized plan whose rows are a partition.
    fn build_plan(
        &self,
        catalog: &belvedere_planner::catalog::Catalog,
        layout: &RollupLayout,
        zone: Zone,
        range: PartitionRange,
        usage: RollupUsage,
    ) -> Result<LogicalPlan, SqlError> {
        let plan = self.with_planning(catalog, zone, usage, |planning| {
            let plan = layout.build_plan(range, planning)?;
            lower::lower(plan, planning).map_err(|error| belvedere_planner::bind::errors::plan_error(error, &[]))
        })?;
        let named: Vec<Expr> = plan
            .schema()
            .columns()
            .into_iter()
            .zip(&layout.columns)
            .map(|(column, stored): (Column, _)| Expr::Column(column).alias(&stored.name))
            .collect();
        let plan = LogicalPlanBuilder::from(plan)
            .project(named)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| from_datafusion(&error))?;
        self.runner().logical_to_build(plan, zone).map_err(|error| from_datafusion(&error))
    }

    /// The rollup of a name, as the model has it now.
    #[must_use]
    pub fn rollup(&self, name: &RollupName) -> Option<DefinedRollup> {
        let snapshot = self.snapshot();
        Some(DefinedRollup {
            rollup: Arc::clone(snapshot.defined().rollups.get(name)?),
            model: Arc::clone(&snapshot.catalog().model),
            defined: Arc::clone(snapshot.defined()),
        })
    }

    /// The rollups of the model, in the order of definition.
    #[must_use]
    pub fn rollups(&self) -> Vec<Arc<Rollup>> {
        self.snapshot().catalog().rollups.iter().cloned().collect()
    }

    /// The structure that stored rows of a rollup must have; `None` where it cannot be planned.
    #[must_use]
    pub fn rollup_structure(&self, name: &RollupName, zone: Zone) -> Option<String> {
        self.snapshot().defined().structures.get(&(name.clone(), zone.name())).cloned()
    }

    /// The snapshot to read a rollup's rows under, which gives rows of its structure. It would be wrong to read them under the model that took its
    /// model's place: they would be published as rows of that structure.
    fn snapshot_to_build(&self, defined: &DefinedRollup, zone: Zone) -> Result<Arc<Snapshot>, SqlError> {
        let snapshot = self.snapshot();
        let name = &defined.rollup.name;
        if snapshot.defined().structures.get(&(name.clone(), zone.name())) == defined.structure(zone) {
            return Ok(snapshot);
        }
        Err(SqlError::new("40001", format!("the definition of the rollup \"{name}\" changed while it was built"))
            .hint("Try again."))
    }

    /// Reads the rows of a partition from the sources. Dropping the stream cancels there.
    ///
    /// # Errors
    /// What planning or a source says; 40001 where another model defines the rollup otherwise meanwhile.
    pub async fn rollup_rows(
        &self,
        defined: &DefinedRollup,
        zone: Zone,
        range: PartitionRange,
    ) -> Result<(SchemaRef, SendableRecordBatchStream), SqlError> {
        let rollup = &defined.rollup;
        let layout = rollup.layout.as_ref().map_err(|error| from_plan(error, ""))?;
        let snapshot = self.snapshot_to_build(defined, zone)?;
        let plan = self.build_plan(snapshot.catalog(), layout, zone, range, usage_for(rollup))?;
        let physical = self.runner().physical(&plan, zone).await.map_err(|error| from_datafusion(&error))?;
        let rows = self.runner().start(physical).map_err(|error| from_datafusion(&error))?;
        Ok((layout.schema(), rows))
    }

    /// The first and the last time of the rows of a rollup with partitions, wall clock of `zone` in microseconds; `None` without any.
    ///
    /// # Errors
    /// As [`Engine::rollup_rows`].
    pub async fn rollup_time_range(&self, defined: &DefinedRollup, zone: Zone) -> Result<Option<(i64, i64)>, SqlError> {
        let rollup = &defined.rollup;
        let layout = rollup.layout.as_ref().map_err(|error| from_plan(error, ""))?;
        let snapshot = self.snapshot_to_build(defined, zone)?;
        let plan = self.with_planning(snapshot.catalog(), zone, usage_for(rollup), |planning| {
            let Some(plan) = layout.range_plan(planning)? else { return Ok(None) };
            lower::lower(plan, planning)
                .map(Some)
                .map_err(|error| belvedere_planner::bind::errors::plan_error(error, &[]))
        })?;
        let Some(plan) = plan else { return Ok(None) };
        let values = self.first_row(plan, zone).await?;
        let moment = |value: Option<&ScalarValue>| match value {
            Some(ScalarValue::TimestampMicrosecond(at, _)) => *at,
            _ => None,
        };
        Ok(moment(values.first()).zip(moment(values.get(1))))
    }

    /// The values of a plan's first row; none without rows.
    pub(crate) async fn first_row(&self, plan: LogicalPlan, zone: Zone) -> Result<Vec<ScalarValue>, SqlError> {
        let plan = self.runner().logical(plan, zone).map_err(|error| from_datafusion(&error))?;
        let physical = self.runner().physical(&plan, zone).await.map_err(|error| from_datafusion(&error))?;
        let mut rows = self.runner().start(physical).map_err(|error| from_datafusion(&error))?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| from_datafusion(&error))?;
            if batch.num_rows() > 0 {
                let values = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, 0));
                return values.collect::<Result<Vec<_>, _>>().map_err(|error| from_datafusion(&error));
            }
        }
        Ok(Vec::new())
    }
}

/// What the build of a rollup reads.
fn usage_for(rollup: &Rollup) -> RollupUsage {
    if rollup.reads_base_rows { RollupUsage::BaseRows } else { RollupUsage::Off }
}

/// All that decides what stored rows mean: the plan that reads them, the statements for sources in it, and the columns.
fn structure(layout: &RollupLayout, plan: &LogicalPlan) -> datafusion::common::Result<String> {
    let mut text = format!("{}\n{}\n", layout.name, plan.display_indent_schema());
    for (source, statement) in statements_of(plan)? {
        text.push_str(&format!("{source}: {}\n{:?}\n", statement.sql, statement.parameters));
    }
    for column in &layout.columns {
        text.push_str(&format!("{} {:?}\n", column.name, column.field.data_type()));
    }
    text.push_str(&format!("{:?}", layout.partitioned_by));
    for RollupIndex { name, columns, coarser } in &layout.indexes {
        text.push_str(&format!("\n{name} {columns:?}"));
        for aggregate in coarser.iter().flat_map(|coarser| &coarser.aggregates) {
            text.push_str(&format!(" {aggregate}"));
        }
    }
    Ok(belvedere_rollup::Digest::of(text.as_bytes()).to_string())
}
