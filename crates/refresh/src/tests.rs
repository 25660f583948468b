//! Builds over a table in memory, with a clock that the test sets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use belvedere_engine::rollups::{BuildReport, BuildState, RollupKeeper};
use belvedere_engine::sources::{DataSource, DataSourceKind};
use belvedere_engine::{Clock, Engine, EngineConfig, Zone};
use belvedere_model::ModelFile;
use belvedere_planner::rollups::RollupName;
use belvedere_rollup::{PartitionRange, Store};
use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Int32Array, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tokio_util::sync::CancellationToken;

use crate::build::{BuildError, BuildEvent, Built, Force, OnBuild, Refresher};
use crate::diagnose::rollup_problems;
use crate::schedule::ScheduleOptions;

const MODEL: &str = "
cubes:
  - name: orders
    sql_table: orders
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true }
      - { name: status, sql: status, type: string }
      - { name: at, sql: at, type: time }
    measures:
      - { name: count, type: count }
    pre_aggregations:
      - name: daily
        measures: [count]
        dimensions: [status]
        time_dimension: at
        granularity: day
        partition_granularity: month
        refresh_key: { every: 1 hour, incremental: true, update_window: 7 days }
      - name: whole
        measures: [count]
        dimensions: [status]
      - name: asked
        measures: [count]
        time_dimension: at
        granularity: day
        partition_granularity: month
        build_range_start: { sql: SELECT DATE '2024-02-05' }
        build_range_end: { sql: SELECT MAX(at) FROM orders }
        refresh_key: { sql: 'SELECT COUNT(*), MAX(status) FROM orders' }
        scheduled_refresh: false
      - name: rows
        type: original_sql
        scheduled_refresh: false
      - name: from_rows
        measures: [count]
        dimensions: [status]
        use_original_sql_pre_aggregations: true
        scheduled_refresh: false
      - name: by_hand
        measures: [count]
        scheduled_refresh: false
";

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
struct Hands(AtomicI64);

impl Hands {
    fn set(&self, text: &str) {
        let at: DateTime<Utc> = text.parse().expect("a test's time");
        self.0.store(at.timestamp(), Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0.load(Ordering::Relaxed), 0).expect("a test's time")
    }
}

/// Orders that cannot be read while `broken`, and that are a contradiction while `panics`.
#[derive(Debug)]
struct Orders {
    rows: MemTable,
    broken: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

#[async_trait]
impl TableProvider for Orders {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        assert!(!self.panics.load(Ordering::Relaxed), "a contradiction of the source");
        if self.broken.load(Ordering::Relaxed) {
            return Err(DataFusionError::Execution("the table is away".to_owned()));
        }
        self.rows.scan(state, projection, filters, limit).await
    }
}

fn orders(broken: &Arc<AtomicBool>, panics: &Arc<AtomicBool>) -> Result<Orders, AnyError> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("status", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]));
    let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a test's time").timestamp_micros();
    let times = [
        Some(at("2024-01-10T08:00:00Z")),
        Some(at("2024-02-29T23:59:59Z")),
        Some(at("2024-03-01T00:00:00Z")),
        Some(at("2024-03-01T05:00:00Z")),
        None,
    ];
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5])),
            Arc::new(StringArray::from(vec![Some("new"), Some("paid"), None, None, Some("new")])),
            Arc::new(TimestampMicrosecondArray::from(times.to_vec())),
        ],
    )?;
    let rows = MemTable::try_new(schema, vec![vec![batch]])?;
    Ok(Orders { rows, broken: Arc::clone(broken), panics: Arc::clone(panics) })
}

struct Site {
    refresher: Refresher,
    clock: Arc<Hands>,
    broken: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

async fn site() -> Result<Site, AnyError> {
    site_of(MODEL).await
}

fn model_of(text: &str) -> Result<Arc<belvedere_model::Model>, AnyError> {
    let loaded = belvedere_model::load(&[ModelFile { path: "model.yml".to_owned(), text: text.to_owned() }]);
    Ok(Arc::new(loaded.model.ok_or_else(|| format!("{:?}", loaded.diagnostics))?))
}

async fn site_of(text: &str) -> Result<Site, AnyError> {
    site_over(text, Store::in_memory()).await
}

async fn site_over(text: &str, store: Store) -> Result<Site, AnyError> {
    let clock = Arc::new(Hands(AtomicI64::new(0)));
    clock.set("2024-03-05T12:00:00Z");
    let config = EngineConfig {
        time_zone: chrono_tz::Tz::UTC,
        statement_timeout: None,
        memory_bytes: 64 << 20,
        connections_max: 2,
        users: Vec::new(),
        masks: Arc::default(),
        planning_threads: 1,
    };
    let (broken, panics) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let files = HashMap::from([("orders".to_owned(), Arc::new(orders(&broken, &panics)?) as _)]);
    let source = DataSource { kind: DataSourceKind::Files(files), zone: Zone::UTC };
    let sources = HashMap::from([("default".to_owned(), source)]);
    let engine =
        Engine::new(config, sources, Arc::clone(&clock) as _)?.with_rollups(RollupKeeper::new(store, vec![Zone::UTC]));
    let problems = engine.load_model(model_of(text)?).await;
    assert!(problems.is_empty(), "{problems:?}");
    let refresher = Refresher::new(Arc::new(engine), Arc::clone(&clock) as _, "test".to_owned())?;
    Ok(Site { refresher, clock, broken, panics })
}

fn named(name: &str) -> RollupName {
    RollupName { cube: "orders".to_owned(), name: name.to_owned() }
}

fn silently() -> OnBuild {
    Arc::new(|_| ())
}

impl Site {
    async fn build(&self, name: &str) -> Result<Built, BuildError> {
        self.refresher.build(&named(name), Zone::UTC, Force::No, silently()).await
    }

    async fn manifest(&self, name: &str) -> Result<Option<Arc<belvedere_rollup::Manifest>>, AnyError> {
        let key = RollupKeeper::key(&named(name), Zone::UTC);
        Ok(self.refresher.store().manifest(&key).await?)
    }
}

#[tokio::test]
async fn files_answer_the_sql_of_keys_and_build_ranges() -> Result<(), AnyError> {
    let site = site().await?;
    let first = site.build("asked").await?;
    assert_eq!((first.built, first.partitions), (2, 2));
    let manifest = site.manifest("asked").await?.ok_or("nothing is built")?;
    let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a test's time").timestamp_micros();
    // The last day ends where the newest order is: whole days only.
    assert_eq!(manifest.covers, Some((Some(at("2024-02-05T00:00:00Z")), Some(at("2024-03-01T00:00:00Z")))));
    assert_eq!(manifest.partitions[0].refresh_key.as_deref(), Some("sql: 5,paid"));
    assert_eq!(site.build("asked").await?.built, 0);
    Ok(())
}

#[tokio::test]
async fn a_rollup_that_reads_stored_rows_has_them_built_first() -> Result<(), AnyError> {
    let site = site().await?;
    let built = site.build("from_rows").await?;
    assert_eq!((built.built, built.rows), (1, 3));
    let rows = site.manifest("rows").await?.ok_or("the rows are not stored")?;
    assert_eq!(rows.partitions.iter().map(|partition| partition.rows).sum::<u64>(), 5);
    // Both are there: the source is not asked any more, broken as it is.
    site.broken.store(true, Ordering::Relaxed);
    site.refresher.build(&named("from_rows"), Zone::UTC, Force::All, silently()).await?;
    Ok(())
}

#[tokio::test]
async fn an_incremental_rollup_builds_what_its_key_and_window_say() -> Result<(), AnyError> {
    let site = site().await?;
    let first = site.build("daily").await?;
    assert_eq!((first.built, first.partitions, first.rows), (4, 4, 4));
    let manifest = site.manifest("daily").await?.ok_or("nothing is built")?;
    assert_eq!(manifest.covers, Some((None, None)));
    assert!(manifest.partitions.iter().any(|partition| partition.range == PartitionRange::NoTime));
    for (now, built) in [
        ("2024-03-05T12:59:59Z", 0),
        // March, February (which ended less than seven days ago), and rows without a time.
        ("2024-03-05T13:00:00Z", 3),
        // February settles.
        ("2024-03-08T00:00:00Z", 3),
        ("2024-03-08T01:00:00Z", 2),
    ] {
        site.clock.set(now);
        assert_eq!(site.build("daily").await?.built, built, "{now}");
        assert_eq!(site.build("daily").await?.built, 0, "{now}, again");
    }
    // The age of a rollup is that of the oldest partition that is still built anew.
    let manifest = site.manifest("daily").await?.ok_or("nothing is built")?;
    let changing = manifest.partitions.iter().filter(|partition| partition.refresh_key.as_deref() != Some("settled"));
    let ages: Vec<i64> = changing.map(|partition| partition.built_at).collect();
    assert_eq!(ages.len(), 2);
    let rollups = site.refresher.engine().rollups();
    let daily = rollups.iter().find(|rollup| rollup.name == named("daily")).ok_or("no such rollup")?;
    assert_eq!(daily.stored[0].built_at, ages.into_iter().min());
    let all = site.refresher.build(&named("daily"), Zone::UTC, Force::All, silently()).await?;
    assert_eq!(all.built, 4);
    Ok(())
}

#[tokio::test]
async fn the_newest_partition_comes_first_and_rows_without_a_time_last() -> Result<(), AnyError> {
    let site = site().await?;
    let seen: Arc<Mutex<Vec<BuildEvent>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let on_build: OnBuild = Arc::new(move |event| {
        if !matches!(event, BuildEvent::Rows(_)) {
            sink.lock().expect("no test panics here").push(event);
        }
    });
    site.refresher.build(&named("daily"), Zone::UTC, Force::No, on_build).await?;
    let seen = std::mem::take(&mut *seen.lock().expect("no test panics here"));
    let rows: Vec<u64> = seen
        .iter()
        .filter_map(|event| match event {
            BuildEvent::Partition { rows, .. } => Some(*rows),
            BuildEvent::Waiting | BuildEvent::Planned { .. } | BuildEvent::Rows(_) => None,
        })
        .collect();
    assert_eq!(seen[0], BuildEvent::Planned { due: 4, partitions: 4 });
    assert_eq!(rows.len(), 4);
    let manifest = site.manifest("daily").await?.ok_or("nothing is built")?;
    let oldest = manifest.partitions.iter().filter(|partition| partition.range != PartitionRange::NoTime);
    let begun: Vec<i64> = oldest.map(|partition| partition.built_at).collect();
    assert!(begun.is_sorted_by(|before, after| before >= after), "later months are read first: {begun:?}");
    Ok(())
}

#[tokio::test]
async fn a_build_that_fails_leaves_the_version_before() -> Result<(), AnyError> {
    let site = site().await?;
    site.build("whole").await?;
    let before = site.manifest("whole").await?;
    site.broken.store(true, Ordering::Relaxed);
    site.clock.set("2024-03-05T14:00:00Z");
    let error = site.build("whole").await.expect_err("the table is away");
    assert!(error.to_string().contains("building the rollup \"orders.whole\""), "{error}");
    assert_eq!(site.manifest("whole").await?, before);
    site.broken.store(false, Ordering::Relaxed);
    assert_eq!(site.build("whole").await?.built, 1, "the lease was given back");
    Ok(())
}

#[tokio::test]
async fn two_builders_at_once_build_once() -> Result<(), AnyError> {
    let site = site().await?;
    let other = site.refresher.clone();
    let name = named("daily");
    let (one, two) = tokio::join!(
        site.refresher.build(&name, Zone::UTC, Force::No, silently()),
        other.build(&name, Zone::UTC, Force::No, silently())
    );
    let mut built = [one?.built, two?.built];
    built.sort_unstable();
    assert_eq!(built, [0, 4]);
    Ok(())
}

async fn until<F: Future<Output = Result<bool, AnyError>>>(what: &str, holds: impl Fn() -> F) -> Result<(), AnyError> {
    for _ in 0..500 {
        if holds().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("{what} did not happen").into())
}

#[tokio::test]
async fn the_scheduler_builds_what_becomes_due_and_says_what_failed() -> Result<(), AnyError> {
    let site = site().await?;
    let stop = CancellationToken::new();
    let options = ScheduleOptions { tick: Duration::from_millis(10), ..ScheduleOptions::default() };
    let scheduler = tokio::spawn(crate::run(site.refresher.clone(), options, stop.clone()));
    let version =
        async |name: &str| Ok::<_, AnyError>(site.manifest(name).await?.map_or(0, |manifest| manifest.version));
    until("the first build", || async { Ok(version("whole").await? == 1 && version("daily").await? >= 1) }).await?;
    assert_eq!(version("by_hand").await?, 0, "this one is not scheduled");

    site.broken.store(true, Ordering::Relaxed);
    site.clock.set("2024-03-05T13:30:00Z");
    let key = RollupKeeper::key(&named("whole"), Zone::UTC);
    let last_error = || site.refresher.keeper().reported(&key).last_error;
    until("a failure", || async { Ok(last_error().is_some()) }).await?;
    assert_eq!(version("whole").await?, 1);

    site.broken.store(false, Ordering::Relaxed);
    site.clock.set("2024-03-05T13:31:00Z");
    until("the second build", || async { Ok(version("whole").await? == 2) }).await?;
    until("that the error is forgotten", || async { Ok(last_error().is_none()) }).await?;
    stop.cancel();
    scheduler.await?;
    Ok(())
}

#[tokio::test]
async fn a_build_that_panics_is_a_failed_one_and_leaves_the_others_alone() -> Result<(), AnyError> {
    let site = site().await?;
    site.panics.store(true, Ordering::Relaxed);
    let stop = CancellationToken::new();
    let options = ScheduleOptions { tick: Duration::from_millis(10), ..ScheduleOptions::default() };
    let scheduler = tokio::spawn(crate::run(site.refresher.clone(), options, stop.clone()));
    for name in ["whole", "daily"] {
        let key = RollupKeeper::key(&named(name), Zone::UTC);
        let failed = BuildReport { state: BuildState::Idle, last_error: Some("its build panicked".to_owned()) };
        until("that the panic is told", || async { Ok(site.refresher.keeper().reported(&key) == failed) }).await?;
    }
    stop.cancel();
    scheduler.await?;
    Ok(())
}

#[tokio::test]
async fn rows_are_not_read_under_the_model_that_took_the_place_of_their_own() -> Result<(), AnyError> {
    let site = site().await?;
    let engine = site.refresher.engine();
    let before = engine.rollup(&named("daily")).ok_or("the model has it")?;
    let whole = belvedere_planner::rollups::PartitionRange::Whole;
    let filtered = "{ name: count, type: count, filters: [{ sql: 'id > 1' }] }";
    engine.load_model(model_of(&MODEL.replace("{ name: count, type: count }", filtered))?).await;
    let changed = "the definition of the rollup \"orders.daily\" changed while it was built";
    let rows = engine.rollup_rows(&before, Zone::UTC, whole).await;
    assert_eq!(rows.err().map(|error| (error.sqlstate, error.message)), Some(("40001", changed.to_owned())));
    let range = engine.rollup_time_range(&before, Zone::UTC).await;
    assert_eq!(range.err().map(|error| error.message).as_deref(), Some(changed));
    let now = engine.rollup(&named("daily")).ok_or("the model has it")?;
    assert_ne!(before.structure(Zone::UTC), now.structure(Zone::UTC));
    assert!(engine.rollup_rows(&now, Zone::UTC, whole).await.is_ok());
    // As it was: what was begun may go on.
    engine.load_model(model_of(MODEL)?).await;
    assert!(engine.rollup_rows(&before, Zone::UTC, whole).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn rollups_are_read_again_when_a_store_answers_that_was_away_as_the_model_was_loaded() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let site = site_over(MODEL, Store::open(&folder.path().to_string_lossy())?).await?;
    let engine = site.refresher.engine();
    site.build("whole").await?;
    let is_read = || engine.rollups().iter().any(|rollup| !rollup.stored.is_empty());
    assert!(is_read());
    let (manifests, away) = (folder.path().join("manifests"), folder.path().join("away"));
    std::fs::rename(&manifests, &away)?;
    std::fs::write(&manifests, "no folder")?;
    engine.load_model(model_of(MODEL)?).await;
    assert!(!is_read() && engine.see_rollups().await.is_err());
    std::fs::remove_file(&manifests)?;
    std::fs::rename(&away, &manifests)?;
    assert!(engine.see_rollups().await?);
    assert!(is_read());
    Ok(())
}

#[tokio::test]
async fn a_member_that_is_named_twice_is_stored_once_and_bins_must_stay_where_they_are() -> Result<(), AnyError> {
    let text = MODEL
        .replace(
            "{ name: at, sql: at, type: time }",
            "{ name: at, sql: at, type: time, granularities: [{ name: two_years, interval: 2 years }, \
             { name: from_2000, interval: 2 years, origin: '2000-01-01' }] }",
        )
        .replace(
            "      - name: whole\n        measures: [count]\n        dimensions: [status]\n",
            "      - name: whole\n        measures: [count]\n        dimensions: [status, status]\n",
        )
        + "      - { name: floating, measures: [count], time_dimension: at, granularity: two_years }
      - { name: fixed, measures: [count], time_dimension: at, granularity: from_2000 }
";
    let site = site_of(&text).await?;
    site.build("whole").await?;
    let manifest = site.manifest("whole").await?.ok_or("nothing is built")?;
    let columns: Vec<&String> = manifest.schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(columns, ["orders__status", "orders__count__count"]);
    assert_eq!(site.build("fixed").await?.rows, 2);
    let error = site.build("floating").await.expect_err("its bins move with the year");
    assert_eq!(
        error.to_string(),
        "the rollup \"orders.floating\" cannot be built: the granularity \"two_years\" of \"at\" is counted from the current year, so that \
         next year its bins are others than those that are stored. Give the granularity an `origin`."
    );
    Ok(())
}

#[test]
fn what_can_never_be_built_is_found_without_asking_anyone() {
    let text = MODEL.replace(
        "        measures: [count]\n        dimensions: [status]\n        time",
        "        indexes: [{ name: quick, sql: CREATE INDEX quick ON daily (status) }]\n        measures: [count]\n        dimensions: [status]\n        time",
    );
    let text = text.replace(
        "by_hand\n        measures: [count]\n        scheduled_refresh: false",
        "by_hand\n        measures: [count]\n        refresh_key: { every: 61 * * * * }",
    );
    let loaded = belvedere_model::load(&[ModelFile { path: "model.yml".to_owned(), text }]);
    let model = loaded.model.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    let messages: Vec<String> = rollup_problems(&model).into_iter().map(|problem| problem.message).collect();
    assert_eq!(
        messages,
        [
            "the index \"quick\" of \"orders.daily\" is SQL for a database, and is left out: rollups are kept as files",
            "the refresh key of \"orders.by_hand\" cannot be used: 61 is not from 0 to 59"
        ]
    );
}
