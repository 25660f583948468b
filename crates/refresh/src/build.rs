//! Builds one rollup: what is due of it, the newest first, published as it is ready.
//!
//! Rows are read by the engine and written by the store as they come, so that memory does not grow with them. What is published is whole
//! partitions; while they are built, the version before serves. A build that fails publishes what it has finished and leaves the rest.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_engine::rollups::{DefinedRollup, RollupKeeper, stored_range};
use belvedere_engine::{Clock, Engine, SqlError, Zone};
use belvedere_model::TimeUnit;
use belvedere_planner::rollups::{
    Cover, PartitionRange, Rollup, RollupColumn, RollupIndex, RollupLayout, RollupName, Stores,
};
use belvedere_rollup::{
    Change, Digest, IndexAggregate, IndexCopy, Lease, Manifest, PublishError, RollupKey, RollupPartition, SortOrder,
    Store, StoreError, WriteOptions, WriteProgress,
};
use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::partitions::{PartitionError, Wanted, covered_so_far, covers, partitions};
use crate::refresh_key::KeyPlan;

/// How long a lease lasts that nobody prolongs: so long a rollup waits for a builder that died.
const LEASE: Duration = Duration::from_secs(30);
const RENEW_EVERY: Duration = Duration::from_secs(8);
/// A lease that somebody has is asked for again this often.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// A manifest names every partition, so that publishing each of ten thousand by itself would write it ten thousand times.
const PUBLISH_EVERY: Duration = Duration::from_secs(5);

/// Why a rollup was not built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The model has none of this name.
    #[error("there is no rollup \"{0}\"")]
    Unknown(RollupName),
    /// It can never be built as it is defined.
    #[error("the rollup \"{name}\" cannot be built: {message}")]
    Definition { name: RollupName, message: String },
    /// A source, or planning.
    #[error("building the rollup \"{name}\": {error}")]
    Sql { name: RollupName, error: Box<SqlError> },
    #[error("the rollup \"{name}\" cannot be built: {error}")]
    Partitions { name: RollupName, error: PartitionError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The model was replaced while it was built.
    #[error("the definition of the rollup \"{0}\" changed while it was built")]
    Changed(RollupName),
    /// No store is configured.
    #[error("there is no rollup store")]
    NoStore,
}

/// Whether to build what still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Only what is due.
    No,
    /// All partitions.
    All,
}

/// What happens during a build.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildEvent {
    /// Another process builds it; this one waits.
    Waiting,
    /// So many partitions are due, of so many.
    Planned { due: usize, partitions: usize },
    /// Rows that the partition in work has so far.
    Rows(u64),
    /// A partition is written.
    Partition { rows: u64, bytes: u64 },
}

/// Hears of a build; must be quick.
pub type OnBuild = Arc<dyn Fn(BuildEvent) + Send + Sync>;

/// What a build did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Built {
    /// Partitions that were built.
    pub built: usize,
    /// Partitions that there are now.
    pub partitions: usize,
    /// Rows of those that were built.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Builds rollups of an engine.
#[derive(Debug, Clone)]
pub struct Refresher {
    engine: Arc<Engine>,
    keeper: Arc<RollupKeeper>,
    clock: Arc<dyn Clock>,
    /// Different for each process.
    holder: String,
}

/// All that is known of a rollup before anything is built.
struct Job<'j> {
    defined: &'j DefinedRollup,
    layout: &'j RollupLayout,
    key: RollupKey,
    zone: Zone,
    structure: String,
    options: WriteOptions,
    covers: Cover,
    wanted: Vec<Wanted>,
    now: DateTime<Utc>,
}

/// One partition to be built.
struct Due {
    wanted: Wanted,
    content: String,
    refresh_key: String,
}

impl Refresher {
    /// `holder` tells processes apart.
    ///
    /// # Errors
    /// [`BuildError::NoStore`] for an engine without one.
    pub fn new(engine: Arc<Engine>, clock: Arc<dyn Clock>, holder: String) -> Result<Self, BuildError> {
        let keeper = Arc::clone(engine.rollup_keeper().ok_or(BuildError::NoStore)?);
        Ok(Self { engine, keeper, clock, holder })
    }

    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    #[must_use]
    pub fn store(&self) -> &Store {
        &self.keeper.store
    }

    /// The zones that each rollup is built for.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.keeper.zones
    }

    #[must_use]
    pub fn keeper(&self) -> &RollupKeeper {
        &self.keeper
    }

    /// Whether a scheduler keeps a rollup fresh, as all are of which the model does not say otherwise.
    #[must_use]
    pub fn is_scheduled(&self, name: &RollupName) -> bool {
        self.defined(name).is_ok_and(|defined| defined.definition().scheduled_refresh != Some(false))
    }

    /// The data sources that a rollup reads.
    #[must_use]
    pub fn sources_of(&self, rollup: &Rollup) -> BTreeSet<String> {
        let model = self.engine.model();
        let cubes = rollup.layout.iter().flat_map(|layout| &layout.cubes);
        cubes.filter_map(|cube| model.cubes.get(cube)).map(|cube| cube.data_source.clone()).collect()
    }

    /// Whether a version of the right structure is there, and nothing of it is damaged.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_whole(&self, name: &RollupName, zone: Zone) -> Result<bool, StoreError> {
        let key = RollupKeeper::key(name, zone);
        let manifest = self.store().manifest(&key).await?;
        let structure = self.engine.rollup_structure(name, zone);
        Ok(manifest.is_some_and(|manifest| Some(&manifest.structure) == structure.as_ref())
            && self.quarantined(&key).await?.is_empty())
    }

    /// The moment that is now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The rollups that store rows of their own, in the order of definition.
    #[must_use]
    pub fn buildable(&self) -> Vec<Arc<Rollup>> {
        self.engine.rollups().into_iter().filter(|rollup| rollup.kind.stores_rows()).collect()
    }

    /// The definition of a rollup and its refresh key.
    ///
    /// # Errors
    /// [`BuildError::Unknown`] and [`BuildError::Definition`].
    pub fn key_plan(&self, name: &RollupName) -> Result<KeyPlan, BuildError> {
        key_plan_of(&self.defined(name)?)
    }

    fn defined(&self, name: &RollupName) -> Result<DefinedRollup, BuildError> {
        self.engine.rollup(name).ok_or_else(|| BuildError::Unknown(name.clone()))
    }

    /// Builds what is due of a rollup in one zone. Waits while another process builds it.
    ///
    /// # Errors
    /// Why not; what was finished until then is published.
    pub async fn build(
        &self,
        name: &RollupName,
        zone: Zone,
        force: Force,
        on_build: OnBuild,
    ) -> Result<Built, BuildError> {
        let key = RollupKeeper::key(name, zone);
        let mut said = false;
        loop {
            if let Some(lease) = self.store().lease(&key, &self.holder, LEASE, self.store().now()).await? {
                return self.build_under(lease, name, zone, force, &on_build).await;
            }
            if !said {
                on_build(BuildEvent::Waiting);
                said = true;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// As [`Refresher::build`]; `None` if another process builds it.
    ///
    /// # Errors
    /// As [`Refresher::build`].
    pub async fn try_build(
        &self,
        name: &RollupName,
        zone: Zone,
        on_build: OnBuild,
    ) -> Result<Option<Built>, BuildError> {
        let key = RollupKeeper::key(name, zone);
        match self.store().lease(&key, &self.holder, LEASE, self.store().now()).await? {
            Some(lease) => self.build_under(lease, name, zone, Force::No, &on_build).await.map(Some),
            None => Ok(None),
        }
    }

    async fn build_under(
        &self,
        lease: Lease,
        name: &RollupName,
        zone: Zone,
        force: Force,
        on_build: &OnBuild,
    ) -> Result<Built, BuildError> {
        let outcome = {
            tokio::select! {
                outcome = Box::pin(self.build_with(&lease, name, zone, force, on_build)) => outcome,
                () = self.keep(&lease) => Err(PublishError::LeaseExpired { key: lease.key().clone() }.into()),
            }
        };
        if let Err(error) = self.store().release(lease).await {
            tracing::warn!(%error, rollup = %name, "the lease could not be given back and runs out by itself");
        }
        outcome
    }

    /// Prolongs a lease until it is lost.
    async fn keep(&self, lease: &Lease) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.store().renew(lease, LEASE, self.store().now()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, rollup = %lease.key(), "a lease could not be prolonged"),
            }
        }
    }

    async fn build_with(
        &self,
        lease: &Lease,
        name: &RollupName,
        zone: Zone,
        force: Force,
        on_build: &OnBuild,
    ) -> Result<Built, BuildError> {
        let defined = self.defined(name)?;
        for base in self.base_rows_for(&defined.rollup) {
            // Older rows under a new refresh key would pass for new ones.
            Box::pin(self.build(&base, zone, Force::No, Arc::new(|_| ()))).await?;
        }
        let job = Box::pin(self.job(&defined, zone)).await?;
        let plan = key_plan_of(&defined)?;
        let value = plan.value(&self.engine, job.now).await.map_err(|error| sql_error(name, error))?;
        let before = self.store().manifest(&job.key).await?.filter(|manifest| manifest.structure == job.structure);
        let bad: HashSet<belvedere_rollup::PartitionRange> = self.quarantined(&job.key).await?.into_iter().collect();
        let mut due = Vec::new();
        for wanted in &job.wanted {
            let refresh_key = plan.of_partition(&value, wanted, job.now, zone);
            let range = stored_range(wanted.range);
            let content = Digest::of(format!("{}\n{refresh_key}\n{range:?}", job.structure).as_bytes()).to_string();
            let there = before.as_ref().and_then(|manifest| manifest.partition(&range));
            let holds = there.is_some_and(|there| there.content == content) && !bad.contains(&range);
            if force == Force::All || !holds {
                due.push(Due { wanted: *wanted, content, refresh_key });
            }
        }
        on_build(BuildEvent::Planned { due: due.len(), partitions: job.wanted.len() });
        let mut publication = Publication::new(&job, lease, before);
        let mut built = Built { partitions: job.wanted.len(), ..Built::default() };
        for due in due {
            let partition = match self.partition(&job, lease, due, on_build).await {
                Ok(partition) => partition,
                Err(error) => {
                    // What is finished counts.
                    if !publication.ready.is_empty() {
                        self.publish(&mut publication).await?;
                    }
                    return Err(error);
                }
            };
            built.built += 1;
            built.rows += partition.rows;
            built.bytes += partition.bytes;
            on_build(BuildEvent::Partition { rows: partition.rows, bytes: partition.bytes });
            publication.ready.push(partition);
            if publication.last.elapsed() >= PUBLISH_EVERY {
                self.publish(&mut publication).await?;
            }
        }
        if publication.is_due() {
            self.publish(&mut publication).await?;
        }
        Ok(built)
    }

    /// The stored rows of cubes that a rollup says it is built from: the first of each cube.
    fn base_rows_for(&self, rollup: &Rollup) -> Vec<RollupName> {
        if !rollup.reads_base_rows {
            return Vec::new();
        }
        let cubes: BTreeSet<&String> = rollup.layout.iter().flat_map(|layout| &layout.cubes).collect();
        let all = self.engine.rollups();
        let first_of = |cube: &String| {
            all.iter().find(|one| one.name.cube == *cube && one.layout.as_ref().is_ok_and(|layout| layout.is_base()))
        };
        cubes.into_iter().filter_map(first_of).map(|base| base.name.clone()).collect()
    }

    /// The damaged partitions of a rollup.
    async fn quarantined(&self, key: &RollupKey) -> Result<Vec<belvedere_rollup::PartitionRange>, StoreError> {
        self.store().manifests().await?;
        Ok(self.store().quarantined().into_iter().filter(|bad| bad.key == *key).map(|bad| bad.range).collect())
    }

    async fn job<'j>(&self, defined: &'j DefinedRollup, zone: Zone) -> Result<Job<'j>, BuildError> {
        let (name, definition) = (&defined.rollup.name, defined.definition());
        let layout = layout_of(&defined.rollup)?;
        let structure = match defined.structure(zone) {
            Some(structure) => structure.clone(),
            // Reading says why there is none.
            None => match self.engine.rollup_rows(defined, zone, PartitionRange::Whole).await {
                Err(error) => return Err(sql_error(name, error)),
                Ok(_) => return Err(BuildError::Changed(name.clone())),
            },
        };
        let wrong = |error| BuildError::Partitions { name: name.clone(), error };
        let (covers, wanted) = match &layout.partitioned_by {
            None => (Cover::default(), vec![Wanted { range: PartitionRange::Whole, unit_end: None }]),
            Some((column, granularity)) => {
                let contradiction = || BuildError::Definition {
                    name: name.clone(),
                    message: format!("its time cannot be cut into partitions by {granularity}"),
                };
                let unit = TimeUnit::named(granularity).ok_or_else(contradiction)?;
                let bucket = match &layout.columns[*column].stores {
                    Stores::Time { unit: Some(stored), .. } => stored.name.and_then(TimeUnit::named),
                    Stores::Time { unit: None, .. }
                    | Stores::Dimension { .. }
                    | Stores::Segment { .. }
                    | Stores::Leaf(_)
                    | Stores::Base { .. } => None,
                };
                let bucket = bucket.ok_or_else(contradiction)?;
                let mut ends = [None, None];
                for (end, sql) in ends.iter_mut().zip([&definition.build_range_start, &definition.build_range_end]) {
                    if let Some(sql) = sql {
                        let value = self.engine.build_range_value(&name.cube, sql, zone).await;
                        *end = value.map_err(|error| sql_error(name, error))?;
                    }
                }
                let covers = covers(ends[0], ends[1], bucket).map_err(wrong)?;
                let data = if covers.from.is_some() && covers.to.is_some() {
                    None
                } else {
                    let range = self.engine.rollup_time_range(defined, zone).await;
                    range.map_err(|error| sql_error(name, error))?
                };
                (covers, partitions(unit, data, covers).map_err(wrong)?)
            }
        };
        Ok(Job {
            defined,
            layout,
            key: RollupKeeper::key(name, zone),
            zone,
            structure,
            options: write_options(layout),
            covers,
            wanted,
            now: self.clock.now(),
        })
    }

    async fn partition(&self, job: &Job<'_>, lease: &Lease, due: Due, on_build: &OnBuild) -> Result<Ready, BuildError> {
        let name = &job.defined.rollup.name;
        let built_at = self.store().now();
        let (schema, rows) = self
            .engine
            .rollup_rows(job.defined, job.zone, due.wanted.range)
            .await
            .map_err(|error| sql_error(name, error))?;
        let on_rows = Arc::clone(on_build);
        let on_progress = Arc::new(move |progress: WriteProgress| on_rows(BuildEvent::Rows(progress.rows_read)));
        let written =
            self.store().write_partition(lease, schema, job.options.clone(), rows, on_progress).await.map_err(
                |error| {
                    match error {
                        // The source's own words, as a client would read them.
                        StoreError::Input(error) => sql_error(name, belvedere_engine::sql_error_of(&error)),
                        other => other.into(),
                    }
                },
            )?;
        // Another model has other rows.
        if self.engine.rollup_structure(name, job.zone).as_ref() != Some(&job.structure) {
            return Err(BuildError::Changed(name.clone()));
        }
        let index_schemas = written.index_schemas.clone();
        let (rows, bytes) = (written.rows, written.bytes);
        let partition =
            written.into_partition(stored_range(due.wanted.range), due.content, Some(due.refresh_key), built_at);
        Ok(Ready { partition, index_schemas, rows, bytes })
    }

    async fn publish(&self, publication: &mut Publication<'_>) -> Result<(), BuildError> {
        let change = publication.change(self.store().now());
        let manifest = self.store().publish(&publication.job.key, change).await?;
        publication.published(manifest);
        // This process reads it at once; others at their next look.
        self.engine.see_rollups().await?;
        Ok(())
    }
}

/// A partition that is written.
struct Ready {
    partition: RollupPartition,
    index_schemas: BTreeMap<String, datafusion::arrow::datatypes::SchemaRef>,
    rows: u64,
    bytes: u64,
}

/// What of a build is published, and what waits for it.
struct Publication<'p> {
    job: &'p Job<'p>,
    lease: &'p Lease,
    /// The newest version with the structure that is built.
    manifest: Option<Arc<Manifest>>,
    ready: Vec<Ready>,
    last: Instant,
}

impl<'p> Publication<'p> {
    fn new(job: &'p Job<'p>, lease: &'p Lease, manifest: Option<Arc<Manifest>>) -> Self {
        Self { job, lease, manifest, ready: Vec::new(), last: Instant::now() }
    }

    /// Whether there is anything to publish: partitions, or that some are no more, or that the range that is covered is another.
    fn is_due(&self) -> bool {
        let Some(manifest) = &self.manifest else { return true };
        let covers = as_stored(self.job.covers);
        let is_wanted = |range: &belvedere_rollup::PartitionRange| {
            self.job.wanted.iter().any(|wanted| stored_range(wanted.range) == *range)
        };
        !self.ready.is_empty()
            || manifest.covers != Some(covers)
            || manifest.partitions.iter().any(|partition| !is_wanted(&partition.range))
    }

    fn change(&self, now: i64) -> Change<'p> {
        let job = self.job;
        let replace: Vec<RollupPartition> = self.ready.iter().map(|ready| ready.partition.clone()).collect();
        let wanted: HashSet<belvedere_rollup::PartitionRange> =
            job.wanted.iter().map(|wanted| stored_range(wanted.range)).collect();
        let known: Vec<&belvedere_rollup::PartitionRange> =
            self.manifest.iter().flat_map(|manifest| &manifest.partitions).map(|partition| &partition.range).collect();
        let mut there: HashSet<belvedere_rollup::PartitionRange> =
            known.iter().filter(|range| wanted.contains(range)).map(|range| (*range).clone()).collect();
        there.extend(replace.iter().map(|partition| partition.range.clone()));
        let all = wanted.iter().all(|range| there.contains(range));
        // Old ranges give way to those that take their rows; what is not wanted any more goes when all else is there.
        let remove = known
            .into_iter()
            .filter(|range| {
                !wanted.contains(range) && (all || replace.iter().any(|partition| partition.range.overlaps(range)))
            })
            .cloned()
            .collect();
        let covers = covered_so_far(&job.wanted, job.covers, |range| there.contains(&stored_range(*range)));
        let mut index_schemas = BTreeMap::new();
        for ready in &self.ready {
            index_schemas.extend(ready.index_schemas.clone());
        }
        Change {
            structure: job.structure.clone(),
            schema: job.layout.schema(),
            index_schemas,
            covers: Some(as_stored(covers)),
            checked_at: now,
            replace,
            remove,
            lease: self.lease,
        }
    }

    fn published(&mut self, manifest: Arc<Manifest>) {
        self.manifest = Some(manifest);
        self.ready.clear();
        self.last = Instant::now();
    }
}

fn as_stored(covers: Cover) -> (Option<i64>, Option<i64>) {
    (covers.from, covers.to)
}

fn layout_of(rollup: &Rollup) -> Result<&RollupLayout, BuildError> {
    match &rollup.layout {
        Ok(layout) => Ok(layout),
        Err(error) => {
            let hint = error.hint.iter().map(|hint| format!(". {hint}"));
            let message = std::iter::once(error.message.clone()).chain(hint).collect();
            Err(BuildError::Definition { name: rollup.name.clone(), message })
        }
    }
}

fn key_plan_of(defined: &DefinedRollup) -> Result<KeyPlan, BuildError> {
    let layout = layout_of(&defined.rollup)?;
    KeyPlan::of(&defined.model, defined.definition(), layout)
        .map_err(|message| BuildError::Definition { name: defined.rollup.name.clone(), message })
}

fn sql_error(name: &RollupName, error: SqlError) -> BuildError {
    BuildError::Sql { name: name.clone(), error: Box::new(error) }
}

/// Sorted by the first index that does not aggregate, then by the times, then by the other groups, those of few values first. Each further index
/// is a copy.
fn write_options(layout: &RollupLayout) -> WriteOptions {
    let mut indexes: Vec<IndexCopy> = Vec::new();
    let mut first: Option<Vec<String>> = None;
    for RollupIndex { name, columns, coarser } in &layout.indexes {
        let aggregate = coarser.as_ref().map(|coarser| IndexAggregate {
            group_by: coarser.group_by.clone(),
            aggregates: coarser.aggregates.clone(),
        });
        if aggregate.is_none() && first.is_none() {
            first = Some(columns.clone());
        } else {
            indexes.push(IndexCopy { name: name.clone(), columns: columns.clone(), aggregate });
        }
    }
    let (times, others): (Vec<&RollupColumn>, Vec<&RollupColumn>) =
        layout.groups().partition(|column| matches!(column.stores, Stores::Time { .. }));
    let mut by = first.unwrap_or_default();
    let times: Vec<String> =
        times.into_iter().filter(|time| !by.contains(&time.name)).map(|time| time.name.clone()).collect();
    by.extend(times);
    WriteOptions {
        sort: SortOrder { by, then: others.into_iter().map(|column| column.name.clone()).collect() },
        indexes,
        time_column: layout.partitioned_by.as_ref().map(|(column, _)| layout.columns[*column].name.clone()),
        ..WriteOptions::default()
    }
}

/// The rollup that a mistyped name may have meant.
#[must_use]
pub fn did_you_mean(given: &str, rollups: &[Arc<Rollup>]) -> Option<String> {
    let names: Vec<String> = rollups.iter().map(|rollup| rollup.name.to_string()).collect();
    belvedere_model::did_you_mean(given, names.iter().map(String::as_str)).map(str::to_owned)
}
