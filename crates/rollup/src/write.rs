//! Writing a partition: rows to Parquet files that nothing refers to yet, in bounded memory.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::{Accumulator, Expr};
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use datafusion::parquet::arrow::async_writer::AsyncArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, SortingColumn};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::task::yield_now;

use crate::error::is_full;
use crate::files::{Sink, make_folder, not_written, random};
use crate::lease::Lease;
use crate::{PartitionRange, RollupPartition, Store, StoreError, StoredFile, StoredTable};

/// Rows of a batch, here and when it is read.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Zstandard's level: the third gives files a tenth smaller than the first at two thirds of its speed.
const COMPRESSION_LEVEL: i32 = 3;

/// Rows by which the number of different values of columns are compared.
const ROWS_TO_LOOK_AT: usize = 4 * BATCH_ROWS;

/// How rows are written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// The order of the rows, all of them and in copies.
    pub sort: SortOrder,
    /// Copies in another order, or coarser.
    pub indexes: Vec<IndexCopy>,
    /// Rows of a row group; best a multiple of 8192, the rows of a batch.
    pub row_group_rows: usize,
    /// The column whose smallest and largest value is the partition's `time_range`: microseconds without a zone, or dates.
    pub time_column: Option<String>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { sort: SortOrder::default(), indexes: Vec::new(), row_group_rows: 12 * BATCH_ROWS, time_column: None }
    }
}

/// The order in which rows are stored: rising, NULLs last; as they come without columns. It decides how much of a file a query can skip and
/// how small a file is, never what a query answers.
#[derive(Debug, Clone, Default)]
pub struct SortOrder {
    /// First by these columns.
    pub by: Vec<String>,
    /// Then by these, those of few values first, as the first rows show: the longer the runs of equal values, the smaller the file.
    pub then: Vec<String>,
}

/// A copy of a partition for other questions.
#[derive(Debug, Clone)]
pub struct IndexCopy {
    /// The index's name, different from the others'.
    pub name: String,
    /// The columns that it is sorted by, before all others that the rows are sorted by.
    pub columns: Vec<String>,
    /// For a coarser copy: how its rows are made. Without, it has all rows and columns.
    pub aggregate: Option<IndexAggregate>,
}

/// How the rows of a coarser copy are made from the stored rows.
#[derive(Debug, Clone)]
pub struct IndexAggregate {
    /// Over the stored columns, without a table's name.
    pub group_by: Vec<Expr>,
    /// Aggregates over the stored columns, each with an alias: its name in the copy.
    pub aggregates: Vec<Expr>,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteProgress {
    /// Rows that have come in.
    pub rows_read: u64,
    /// Rows of the partition itself that have been written.
    pub rows_written: u64,
    /// Bytes of finished files.
    pub bytes_written: u64,
}

/// Hears of progress after every batch; must be quick.
pub type OnProgress = Arc<dyn Fn(WriteProgress) + Send + Sync>;

/// Files that were written and that nothing refers to yet.
#[derive(Debug, Clone)]
pub struct NewPartition {
    /// How many rows, of the rollup itself.
    pub rows: u64,
    /// The size of all files.
    pub bytes: u64,
    /// The smallest and the largest time that occurs.
    pub time_range: Option<(i64, i64)>,
    /// The files; none if there are no rows.
    pub files: Vec<StoredFile>,
    /// The columns of index copies that have others than the rows themselves.
    pub index_schemas: BTreeMap<String, SchemaRef>,
}

impl NewPartition {
    /// The partition that these files are.
    pub fn into_partition(
        self,
        range: PartitionRange,
        content: impl Into<String>,
        refresh_key: Option<String>,
        built_at: i64,
    ) -> RollupPartition {
        let Self { rows, bytes, time_range, files, index_schemas: _ } = self;
        RollupPartition { range, content: content.into(), refresh_key, built_at, rows, bytes, time_range, files }
    }
}

impl Store {
    /// Writes rows to files, on the disk when this returns, that nothing refers to until they are published.
    ///
    /// Rows are sorted and grouped within the options' memory, the rest goes to disk. If this fails or is dropped, the files are
    /// deleted; what a dead process leaves is deleted by [`Store::collect`].
    ///
    /// # Errors
    /// [`StoreError::Input`] with the source's error; [`StoreError::Full`]; [`StoreError::Unstorable`] for rows that are not of this
    /// schema or that Parquet cannot hold; [`StoreError::Unavailable`].
    pub async fn write_partition(
        &self,
        lease: &Lease,
        schema: SchemaRef,
        options: WriteOptions,
        rows: SendableRecordBatchStream,
        on_progress: OnProgress,
    ) -> Result<NewPartition, StoreError> {
        let build = Build::begin(self, lease, schema, options, on_progress)?;
        let mut written = Vec::new();
        let outcome = build.run(rows, &mut written).await;
        if outcome.is_err() {
            for file in &written {
                if let Err(error) = self.inner.files.delete(&file.path).await {
                    tracing::warn!(%error, path = file.path, "could not delete a file of a failed build");
                }
            }
        }
        outcome
    }

    /// Deletes the files of a partition that will not be published.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; a collection deletes them later then.
    pub async fn discard(&self, partition: NewPartition) -> Result<(), StoreError> {
        for file in &partition.files {
            self.inner.files.delete(&file.path).await?;
        }
        Ok(())
    }
}

/// The number of the lease under which a data file was written, by its name.
pub(crate) fn fencing_of(name: &str) -> Option<u64> {
    name.get(..20).filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()))?.parse().ok()
}

/// One call of `write_partition`.
struct Build<'a> {
    store: &'a Store,
    lease: &'a Lease,
    schema: SchemaRef,
    options: WriteOptions,
    ctx: SessionContext,
    spill: Option<SpillFolder>,
    name: String,
    /// Whether an error that stops the build is the source's.
    input_failed: Arc<AtomicBool>,
    on_progress: OnProgress,
    progress: Arc<Mutex<WriteProgress>>,
}

impl<'a> Build<'a> {
    fn begin(
        store: &'a Store,
        lease: &'a Lease,
        schema: SchemaRef,
        options: WriteOptions,
        on_progress: OnProgress,
    ) -> Result<Self, StoreError> {
        let folder = lease.key().folder();
        let random = random();
        let name = format!("data/{folder}/{:020}-{random:016x}", lease.fencing());
        let given = &store.inner.options;
        let spill = match (&given.spill_folder, store.inner.files.folder()) {
            (Some(spill), _) => Some(spill.clone()),
            (None, Some(store)) => Some(store.join("spill")),
            (None, None) => None,
        };
        let spill =
            spill.map(|spill| SpillFolder(spill.join(format!("{folder}.{:020}-{random:016x}", lease.fencing()))));
        let mode = match &spill {
            Some(SpillFolder(spill)) => {
                make_folder(spill).map_err(|error| not_written("spill", error))?;
                DiskManagerMode::Directories(vec![spill.clone()])
            }
            None => DiskManagerMode::OsTmpDirectory,
        };
        let failed = |error: DataFusionError| match is_full(&error) {
            true => StoreError::Full { path: "spill".to_owned(), message: error.to_string() },
            false => crate::files::unavailable("prepare", "spill", std::io::Error::other(error)),
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(given.sort_bytes)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
            .build_arc()
            .map_err(failed)?;
        let mut config = SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS);
        // A share of a small budget, where DataFusion reserves ten megabytes for the merge whatever the budget.
        config.options_mut().execution.sort_spill_reservation_bytes = (given.sort_bytes / 8).min(10 << 20);
        Ok(Self {
            store,
            lease,
            schema,
            options,
            ctx: SessionContext::new_with_config_rt(config, runtime),
            spill,
            name,
            input_failed: Arc::new(AtomicBool::new(false)),
            on_progress,
            progress: Arc::default(),
        })
    }

    async fn run(
        &self,
        rows: SendableRecordBatchStream,
        written: &mut Vec<StoredFile>,
    ) -> Result<NewPartition, StoreError> {
        let times = self.options.time_column.as_deref().map(|name| Times::of(name, &self.schema)).transpose();
        let mut times = times.map_err(|message| self.unstorable(message))?;
        let (order, rows) = self.order(self.checked(rows)).await?;
        let sorted = if order.is_empty() { rows } else { self.sorted(&order, self.scan(self.once(rows))?)? };
        let schema = Arc::clone(&self.schema);
        let main = self.write_file(0, StoredTable::Main, schema, order.clone(), sorted, times.as_mut()).await?;
        let (path, size, rows) = (main.path.clone(), main.bytes, main.rows);
        written.push(main);
        let mut index_schemas = BTreeMap::new();
        if rows == 0 {
            // Nothing to read, so no file to be damaged; the schema is in the manifest.
            self.store.inner.files.delete(&path).await?;
            written.clear();
        } else {
            for (at, index) in self.options.indexes.iter().enumerate() {
                let again = || Again { schema: Arc::clone(&self.schema), reader: self.reader(&path, size) };
                let exec = match &index.aggregate {
                    None => self.scan(Arc::new(again()))?,
                    Some(aggregate) => self.grouped(aggregate, again()).await?,
                };
                let schema = exec.schema();
                if schema != self.schema {
                    index_schemas.insert(index.name.clone(), Arc::clone(&schema));
                }
                let rest = order.iter().filter(|name| !index.columns.contains(name) && schema.index_of(name).is_ok());
                let order: Vec<String> = index.columns.iter().chain(rest).cloned().collect();
                let sorted = self.sorted(&order, exec)?;
                let table = StoredTable::Index(index.name.clone());
                written.push(self.write_file(at + 1, table, schema, order, sorted, None).await?);
            }
        }
        Ok(NewPartition {
            rows,
            bytes: written.iter().map(|file| file.bytes).sum(),
            time_range: times.as_mut().and_then(Times::range),
            files: written.clone(),
            index_schemas,
        })
    }

    /// The columns to sort by, and all rows again: some were looked at.
    async fn order(
        &self,
        mut rows: SendableRecordBatchStream,
    ) -> Result<(Vec<String>, SendableRecordBatchStream), StoreError> {
        let SortOrder { by, then } = &self.options.sort;
        let mut rest: Vec<&String> = then.iter().filter(|name| !by.contains(name)).collect();
        if rest.len() > 1 {
            let mut first: Vec<RecordBatch> = Vec::new();
            while first.iter().map(RecordBatch::num_rows).sum::<usize>() < ROWS_TO_LOOK_AT {
                let Some(batch) = rows.next().await else { break };
                first.push(batch.map_err(|error| self.failed("rows", error))?);
            }
            let mut counted = Vec::new();
            for name in rest {
                let at = self.schema.index_of(name).map_err(|error| self.unstorable(error.to_string()))?;
                let columns: Vec<&ArrayRef> = first.iter().map(|batch| batch.column(at)).collect();
                counted.push((values_in(&columns).map_err(|error| self.failed("rows", error))?, name));
            }
            counted.sort_by_key(|(count, _)| *count);
            rest = counted.into_iter().map(|(_, name)| name).collect();
            let all = futures::stream::iter(first.into_iter().map(Ok)).chain(rows);
            rows = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), all));
        }
        Ok((by.iter().chain(rest).cloned().collect(), rows))
    }

    /// The rows as they come, checked against the schema and counted.
    fn checked(&self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let (failed, progress, on_progress) =
            (Arc::clone(&self.input_failed), Arc::clone(&self.progress), Arc::clone(&self.on_progress));
        let key = self.lease.key().clone();
        let checked = rows.map(move |batch| {
            let batch = batch.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            let rows = batch.num_rows() as u64;
            let conforming = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec());
            let conforming = conforming.map_err(|error| {
                let key = key.clone();
                DataFusionError::from(StoreError::Unstorable { key, message: error.to_string() })
            })?;
            on_progress(advanced(&progress, |progress| progress.rows_read += rows));
            Ok(conforming)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), checked))
    }

    fn once(&self, rows: SendableRecordBatchStream) -> Arc<dyn PartitionStream> {
        Arc::new(Once { schema: Arc::clone(&self.schema), rows: Mutex::new(Some(rows)) })
    }

    fn scan(&self, rows: Arc<dyn PartitionStream>) -> Result<Arc<dyn ExecutionPlan>, StoreError> {
        let exec = StreamingTableExec::try_new(Arc::clone(&self.schema), vec![rows], None, None, false, None);
        Ok(Arc::new(exec.map_err(|error| self.failed("rows", error))?))
    }

    fn sorted(
        &self,
        columns: &[String],
        exec: Arc<dyn ExecutionPlan>,
    ) -> Result<SendableRecordBatchStream, StoreError> {
        let schema = exec.schema();
        let mut order = Vec::new();
        for name in columns {
            let column = Column::new_with_schema(name, &schema).map_err(|error| self.unstorable(error.to_string()))?;
            order.push(PhysicalSortExpr::new(Arc::new(column), SortOptions { descending: false, nulls_first: false }));
        }
        let exec = match LexOrdering::new(order) {
            Some(order) => Arc::new(SortExec::new(order, exec)),
            None => exec,
        };
        exec.execute(0, self.ctx.task_ctx()).map_err(|error| self.failed("rows", error))
    }

    async fn grouped(&self, aggregate: &IndexAggregate, rows: Again) -> Result<Arc<dyn ExecutionPlan>, StoreError> {
        let plan = async {
            let table = StreamingTable::try_new(Arc::clone(&self.schema), vec![Arc::new(rows)])?;
            let grouped = self.ctx.read_table(Arc::new(table))?;
            let grouped = grouped.aggregate(aggregate.group_by.clone(), aggregate.aggregates.clone())?;
            grouped.create_physical_plan().await
        };
        let exec = Box::pin(plan).await.map_err(|error| self.failed("an index", error))?;
        Ok(match exec.output_partitioning().partition_count() {
            1 => exec,
            _ => Arc::new(CoalescePartitionsExec::new(exec)),
        })
    }

    fn reader(&self, path: &str, size: u64) -> Ranges {
        Ranges { objects: self.store.inner.files.objects(), path: self.store.inner.files.object_path(path), size }
    }

    async fn write_file(
        &self,
        at: usize,
        table: StoredTable,
        schema: SchemaRef,
        sorted_by: Vec<String>,
        mut rows: SendableRecordBatchStream,
        mut times: Option<&mut Times>,
    ) -> Result<StoredFile, StoreError> {
        let path = format!("{}-{at}.parquet", self.name);
        let properties = self.properties(&schema, &sorted_by);
        let sink = self.store.inner.files.sink(&path).await?;
        let mut writer = AsyncArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties))
            .map_err(|error| self.not_written(&path, error))?;
        let mut column_bytes = vec![0; schema.fields().len()];
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| self.failed(&path, error))?;
            if batch.num_rows() == 0 {
                continue;
            }
            if let Some(times) = times.as_deref_mut() {
                times.see(&batch).map_err(|error| self.failed(&path, error))?;
            }
            for (bytes, column) in column_bytes.iter_mut().zip(batch.columns()) {
                *bytes += memory_of(column);
            }
            writer.write(&batch).await.map_err(|error| self.not_written(&path, error))?;
            count += batch.num_rows() as u64;
            if table == StoredTable::Main {
                (self.on_progress)(advanced(&self.progress, |progress| progress.rows_written = count));
            }
            // Encoding is work: statements that share this thread go first now and then.
            yield_now().await;
        }
        let metadata = writer.finish().await.map_err(|error| self.not_written(&path, error))?;
        let sink: Sink = writer.into_inner();
        let (bytes, digest) = sink.written();
        (self.on_progress)(advanced(&self.progress, |progress| progress.bytes_written += bytes));
        let unpacked_bytes = unpacked_bytes(&metadata);
        Ok(StoredFile { path, bytes, rows: count, digest, table, sorted_by, unpacked_bytes, column_bytes })
    }

    fn properties(&self, schema: &SchemaRef, sorted_by: &[String]) -> WriterProperties {
        let level = ZstdLevel::try_new(COMPRESSION_LEVEL).expect("a level that Zstandard has");
        let sorting = sorted_by
            .iter()
            .filter_map(|name| schema.index_of(name).ok())
            .filter_map(|at| {
                Some(SortingColumn { column_idx: i32::try_from(at).ok()?, descending: false, nulls_first: false })
            })
            .collect();
        WriterProperties::builder()
            .set_created_by(format!("belvedere {}", env!("CARGO_PKG_VERSION")))
            .set_max_row_group_row_count(Some(self.options.row_group_rows.max(1)))
            .set_compression(Compression::ZSTD(level))
            .set_dictionary_enabled(true)
            // Of pages as well: that is the page index.
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_sorting_columns(Some(sorting))
            .build()
    }

    fn unstorable(&self, message: String) -> StoreError {
        StoreError::Unstorable { key: self.lease.key().clone(), message }
    }

    /// Tells the source's errors from those of sorting and of the disk.
    fn failed(&self, path: &str, error: DataFusionError) -> StoreError {
        if self.input_failed.load(Ordering::Relaxed) {
            return StoreError::Input(error);
        }
        if let Some(StoreError::Unstorable { key, message }) = StoreError::find_in(&error) {
            return StoreError::Unstorable { key: key.clone(), message: message.clone() };
        }
        match is_full(&error) {
            true => StoreError::Full { path: path.to_owned(), message: error.to_string() },
            false => StoreError::Input(error),
        }
    }

    fn not_written(&self, path: &str, error: ParquetError) -> StoreError {
        if is_full(&error) {
            return StoreError::Full { path: path.to_owned(), message: error.to_string() };
        }
        match error {
            ParquetError::External(source) => not_written(path, std::io::Error::other(source)),
            other => self.unstorable(other.to_string()),
        }
    }
}

impl fmt::Debug for Build<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Build").field("name", &self.name).field("spill", &self.spill).finish_non_exhaustive()
    }
}

/// Where one build sorts; deleted with it.
#[derive(Debug)]
struct SpillFolder(PathBuf);

impl Drop for SpillFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A stream as a table that is read once.
struct Once {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).take().expect("a sort reads its input once")
    }
}

/// The partition's own file, read again for its index copies.
struct Again {
    schema: SchemaRef,
    reader: Ranges,
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Again")
    }
}

impl PartitionStream for Again {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let reader = self.reader.clone();
        let batches = async move {
            let stream = ParquetRecordBatchStreamBuilder::new(reader).await?.with_batch_size(BATCH_ROWS).build()?;
            Ok::<_, ParquetError>(stream)
        };
        let schema = Arc::clone(&self.schema);
        let batches = futures::stream::once(batches).try_flatten().map(move |batch| {
            // Parquet's key-value metadata is the file's, not the rollup's.
            Ok(batch?.with_schema(Arc::clone(&schema))?)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// Pieces of a file of the store.
#[derive(Debug, Clone)]
struct Ranges {
    objects: Arc<dyn ObjectStore>,
    path: ObjectPath,
    size: u64,
}

impl AsyncFileReader for Ranges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let read = async move { self.objects.get_range(&self.path, range).await };
        read.map_err(|error| ParquetError::External(Box::new(error))).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let size = self.size;
        async move {
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

/// The smallest and the largest time of a partition.
struct Times {
    column: usize,
    smallest: MinAccumulator,
    largest: MaxAccumulator,
}

impl Times {
    fn of(name: &str, schema: &SchemaRef) -> Result<Self, String> {
        let column = schema.index_of(name).map_err(|error| error.to_string())?;
        let data_type = schema.field(column).data_type();
        let accumulators = match data_type {
            DataType::Timestamp(TimeUnit::Microsecond, None) | DataType::Date32 => {
                MinAccumulator::try_new(data_type).and_then(|min| Ok((min, MaxAccumulator::try_new(data_type)?)))
            }
            other => {
                return Err(format!("the time {name} is a {other}, neither microseconds without a zone nor a date"));
            }
        };
        let (smallest, largest) = accumulators.map_err(|error| error.to_string())?;
        Ok(Self { column, smallest, largest })
    }

    fn see(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let times = [Arc::clone(batch.column(self.column))];
        self.smallest.update_batch(&times)?;
        self.largest.update_batch(&times)
    }

    fn range(&mut self) -> Option<(i64, i64)> {
        let micros = |value: Result<ScalarValue, DataFusionError>| match value {
            Ok(ScalarValue::TimestampMicrosecond(value, _)) => value,
            Ok(ScalarValue::Date32(days)) => days.map(|days| i64::from(days) * 86_400_000_000),
            Ok(_) | Err(_) => None,
        };
        Some((micros(self.smallest.evaluate())?, micros(self.largest.evaluate())?))
    }
}

fn advanced(progress: &Mutex<WriteProgress>, change: impl FnOnce(&mut WriteProgress)) -> WriteProgress {
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut progress);
    *progress
}

/// How many different values there are, NULL one of them.
fn values_in(columns: &[&ArrayRef]) -> Result<usize, DataFusionError> {
    let state = RandomState::with_seed(0);
    let mut seen = HashSet::new();
    for column in columns {
        let mut hashes = vec![0; column.len()];
        create_hashes([*column], &state, &mut hashes)?;
        seen.extend(hashes);
    }
    Ok(seen.len())
}

/// What the rows of an array take in memory, without what it shares with others.
pub(crate) fn memory_of(array: &ArrayRef) -> u64 {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size()) as u64
}

/// The sizes of a file's column chunks before compression.
pub(crate) fn unpacked_bytes(metadata: &ParquetMetaData) -> u64 {
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    chunks.map(|chunk| u64::try_from(chunk.uncompressed_size()).unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
}
