//! Stored rows as a DataFusion table: whole columns from memory, batches without matching rows skipped.

use std::borrow::Cow;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, Statistics};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, conjunction};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::access_path;
use crate::hot::FileAt;
use crate::write::BATCH_ROWS;
use crate::zone_map::Zones;
use crate::{Manifest, PartitionRange, Store, StoreError, StoredFile, StoredTable};

/// Rows for which a stream of their own is worth what splitting and joining streams costs.
const ROWS_PER_STREAM: u64 = 200_000;

/// Batches of a file from which on its bounds are looked at: below, reading them all is as fast.
const BATCHES_TO_PRUNE: usize = 4;

/// Batches of a file that does not fit in memory, between the decoder and the query.
const DECODED_AHEAD: usize = 2;

/// Some partitions of one version of a rollup, as a table.
///
/// It holds its version, so that no collection takes the files away. Reading a damaged file ends the query with
/// [`StoreError::Damaged`] (see [`StoreError::find_in`]).
#[derive(Debug, Clone)]
pub struct RollupTable {
    store: Store,
    manifest: Arc<Manifest>,
    table: StoredTable,
    files: Arc<[FileAt]>,
    /// How many partitions were asked for, those without rows included.
    partitions: usize,
    rows: u64,
}

impl RollupTable {
    /// The rows of these partitions of a version, or an index copy of them.
    ///
    /// # Errors
    /// [`StoreError::NotThere`] if the version has no such partition, or one with rows has no such copy.
    pub fn new(
        store: &Store,
        manifest: &Arc<Manifest>,
        partitions: &[PartitionRange],
        table: StoredTable,
    ) -> Result<Self, StoreError> {
        let not_there =
            |what: String| StoreError::NotThere { key: manifest.key.clone(), version: manifest.version, what };
        let mut files = Vec::new();
        for range in partitions {
            let at = manifest.partition_at(range).ok_or_else(|| not_there(format!("partition {range:?}")))?;
            let partition = &manifest.partitions[at];
            let of_table = (0..partition.files.len()).filter(|file| partition.files[*file].table == table);
            let before = files.len();
            files.extend(of_table.map(|file| FileAt { manifest: Arc::clone(manifest), partition: at, file }));
            if files.len() == before && partition.rows > 0 {
                return Err(not_there(format!("{table} of the partition {range:?}")));
            }
        }
        let rows = files.iter().map(|at| at.file().rows).sum();
        let (store, manifest) = (store.clone(), Arc::clone(manifest));
        Ok(Self { store, manifest, table, files: files.into(), partitions: partitions.len(), rows })
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The version that it reads.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The same rows in the order that lets most of them be skipped.
    fn for_filters(&self, filters: &[Expr]) -> Result<Cow<'_, Self>> {
        let Some(first) = self.files.first().filter(|_| self.table == StoredTable::Main && !filters.is_empty()) else {
            return Ok(Cow::Borrowed(self));
        };
        let has_all = |table: &StoredTable| {
            let is_it = |at: &FileAt, file: &StoredFile| file.table == *table && file.rows == at.file().rows;
            self.files.iter().all(|at| at.partition().files.iter().any(|file| is_it(at, file)))
        };
        // The rows themselves are the first; a copy with other columns is coarser.
        let same = first
            .partition()
            .files
            .iter()
            .filter(|file| self.manifest.table_schema(&file.table) == &self.manifest.schema);
        let tables = same.filter(|file| has_all(&file.table)).map(|file| (&file.table, file.sorted_by.as_slice()));
        match access_path::best(tables, filters) {
            None | Some(StoredTable::Main) => Ok(Cow::Borrowed(self)),
            Some(table) => {
                let range = |at: &FileAt| at.partition().range.clone();
                let ranges: Vec<PartitionRange> = self.files.iter().map(range).collect();
                let sorted = Self::new(&self.store, &self.manifest, &ranges, table.clone())?;
                Ok(Cow::Owned(Self { partitions: self.partitions, ..sorted }))
            }
        }
    }

    fn column_bytes(&self, columns: &[usize]) -> usize {
        let of_file =
            |at: &FileAt| columns.iter().filter_map(|column| at.file().column_bytes.get(*column)).sum::<u64>();
        usize::try_from(self.files.iter().map(of_file).sum::<u64>()).unwrap_or(usize::MAX)
    }

    fn exec(
        &self,
        projection: Vec<usize>,
        pruning: Option<Arc<PruningPredicate>>,
        limit: Option<usize>,
        streams_max: usize,
    ) -> Result<RollupExec> {
        let schema = Arc::new(self.schema().project(&projection)?);
        let streams = split(&self.files, self.rows, streams_max);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(streams.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let mut columns = projection.clone();
        columns.sort_unstable();
        columns.dedup();
        let scan = Scan { table: self.clone(), projection, columns, schema, pruning };
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(RollupExec { scan: Arc::new(scan), streams, limit, properties: Arc::new(properties), metrics })
    }
}

impl Store {
    /// The rows of one partition, or of an index copy of it, whole. For queries there is [`RollupTable`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::NotThere`], [`StoreError::Unavailable`].
    pub async fn read(
        &self,
        manifest: &Arc<Manifest>,
        partition: &PartitionRange,
        table: &StoredTable,
        projection: Option<&[usize]>,
    ) -> Result<Vec<RecordBatch>, StoreError> {
        let table = RollupTable::new(self, manifest, std::slice::from_ref(partition), table.clone())?;
        let all = || (0..manifest.table_schema(&table.table).fields().len()).collect();
        let exec = table.exec(projection.map_or_else(all, <[usize]>::to_vec), None, None, 1);
        let exec = exec.map_err(StoreError::Input)?;
        let stream = exec.rows(0).map_err(|error| match error {
            DataFusionError::External(error) => match error.downcast::<StoreError>() {
                Ok(error) => *error,
                Err(error) => StoreError::Input(DataFusionError::External(error)),
            },
            other => StoreError::Input(other),
        });
        stream.try_collect().await
    }
}

#[async_trait]
impl TableProvider for RollupTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.manifest.table_schema(&self.table))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // They only decide what need not be read.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        let schema = self.schema();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let num_rows = Precision::Exact(usize::try_from(self.rows).unwrap_or(usize::MAX));
        let total_byte_size = Precision::Inexact(self.column_bytes(&all));
        Some(Statistics { num_rows, total_byte_size, ..Statistics::new_unknown(&schema) })
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let projection = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let pruning = pruning(state, &schema, filters)?;
        let limit = limit.filter(|_| filters.is_empty());
        let streams_max = if limit.is_some() { 1 } else { state.config().target_partitions() };
        let table = self.for_filters(filters)?;
        Ok(Arc::new(table.exec(projection, pruning, limit, streams_max)?))
    }
}

/// What the filters say about the bounds of columns; None if nothing.
fn pruning(state: &dyn Session, schema: &SchemaRef, filters: &[Expr]) -> Result<Option<Arc<PruningPredicate>>> {
    if filters.is_empty() {
        return Ok(None);
    }
    let df_schema = DFSchema::try_from(Arc::clone(schema))?;
    // One that cannot be compiled here is still tested above.
    let compiled: Vec<Arc<dyn PhysicalExpr>> =
        filters.iter().filter_map(|filter| state.create_physical_expr(filter.clone(), &df_schema).ok()).collect();
    if compiled.is_empty() {
        return Ok(None);
    }
    let built = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).try_build(conjunction(compiled));
    Ok(built.ok().filter(|predicate| !predicate.always_true()).map(Arc::new))
}

/// A stream's share of a file: its batches whose first row is in the range.
#[derive(Debug, Clone)]
struct Slice {
    /// The place in the table's files.
    file: usize,
    rows: Range<u64>,
}

/// Deals the rows out to at most `streams_max` streams of about the same length, in order.
fn split(files: &[FileAt], rows: u64, streams_max: usize) -> Vec<Vec<Slice>> {
    let count = (rows / ROWS_PER_STREAM).clamp(1, streams_max.max(1) as u64);
    let border = |stream: u64| u64::try_from(u128::from(rows) * u128::from(stream) / u128::from(count)).unwrap_or(rows);
    (0..count)
        .map(|stream| {
            let (from, to) = (border(stream), border(stream + 1));
            let mut slices = Vec::new();
            let mut first = 0;
            for (file, at) in files.iter().enumerate() {
                let last = first + at.file().rows;
                if from < last && first < to {
                    slices.push(Slice { file, rows: from.max(first) - first..to.min(last) - first });
                }
                first = last;
            }
            slices
        })
        .collect()
}

/// What all streams of one execution share.
#[derive(Debug)]
struct Scan {
    table: RollupTable,
    projection: Vec<usize>,
    /// The projection's columns, rising, each once.
    columns: Vec<usize>,
    /// Of the projection.
    schema: SchemaRef,
    pruning: Option<Arc<PruningPredicate>>,
}

impl Scan {
    async fn read(self: Arc<Self>, slice: Slice, skipped: Count) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        if self.columns.is_empty() {
            return Ok(futures::stream::iter(self.rows_only(slice.rows)).boxed());
        }
        let at = self.table.files[slice.file].clone();
        if self.table.store.is_too_large(&at, &self.columns) {
            return self.stream(at, slice.rows).await;
        }
        let found = self.table.store.columns(&at, &self.columns).await?;
        let columns: Vec<_> = self.columns.iter().copied().zip(found).collect();
        let batches = columns.first().map_or(0, |(_, first)| first.batches.len());
        let kept = self.kept(&columns, batches)?;
        let places: Vec<usize> = self.places();
        let mut row = 0;
        let mut out = Vec::with_capacity(batches);
        for batch in 0..batches {
            let rows = columns[0].1.batches[batch].len();
            if slice.rows.contains(&row) {
                if kept.as_ref().is_none_or(|kept| kept[batch]) {
                    let arrays = places.iter().map(|place| Arc::clone(&columns[*place].1.batches[batch])).collect();
                    out.push(self.batch(arrays, rows));
                } else {
                    skipped.add(1);
                }
            }
            row += rows as u64;
        }
        Ok(futures::stream::iter(out).boxed())
    }

    /// For each batch of a file whether it may have matching rows; None if all may.
    fn kept(&self, columns: &[(usize, Arc<crate::hot::HotColumn>)], batches: usize) -> Result<Option<Vec<bool>>> {
        let Some(pruning) = self.pruning.as_ref().filter(|_| batches >= BATCHES_TO_PRUNE) else { return Ok(None) };
        let schema = self.table.manifest.table_schema(&self.table.table);
        let kept = pruning.prune(&Zones { schema, columns, batches })?;
        Ok((kept.len() == batches).then_some(kept))
    }

    /// Where in `columns` each column of the projection is.
    fn places(&self) -> Vec<usize> {
        let place =
            |column: &usize| self.columns.binary_search(column).expect("the columns are those of the projection");
        self.projection.iter().map(place).collect()
    }

    fn batch(&self, arrays: Vec<datafusion::arrow::array::ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }

    /// No columns, only that there are rows: the manifest knows.
    fn rows_only(&self, rows: Range<u64>) -> Vec<Result<RecordBatch>> {
        let mut left = usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX);
        let mut out = Vec::new();
        while left > 0 {
            let now = left.min(BATCH_ROWS);
            out.push(self.batch(Vec::new(), now));
            left -= now;
        }
        out
    }

    /// A file that does not fit in memory decoded: batch by batch, nothing kept.
    async fn stream(self: Arc<Self>, at: FileAt, rows: Range<u64>) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let verified = self.table.store.verified(&at).await?;
        let (sender, receiver) = tokio::sync::mpsc::channel(DECODED_AHEAD);
        let (file, schema, columns) = (at.file().clone(), Arc::clone(at.schema()), self.columns.clone());
        let decoded = tokio::task::spawn_blocking(move || {
            verified.batches(&file, &schema, &columns, |row, batch| {
                if row >= rows.end {
                    return ControlFlow::Break(());
                }
                // Nobody listens any more: the query is over.
                let wanted = rows.contains(&row);
                if wanted && sender.blocking_send(batch).is_err() {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
        });
        let scan = Arc::clone(&self);
        let places = self.places();
        let batches = receiving(receiver).map(move |batch: RecordBatch| {
            let arrays = places.iter().map(|place| Arc::clone(batch.column(*place))).collect();
            scan.batch(arrays, batch.num_rows())
        });
        let end = futures::stream::once(async move {
            match decoded.await {
                Ok(Ok(())) => None,
                Ok(Err(damage)) => Some(Err(self.table.store.damaged(&at, damage).await.into())),
                Err(error) => Some(Err(DataFusionError::External(Box::new(error)))),
            }
        });
        Ok(batches.chain(end.filter_map(futures::future::ready)).boxed())
    }
}

fn receiving<T>(mut receiver: tokio::sync::mpsc::Receiver<T>) -> impl Stream<Item = T> {
    futures::stream::poll_fn(move |ctx| receiver.poll_recv(ctx))
}

/// Reads stored rows.
#[derive(Debug)]
struct RollupExec {
    scan: Arc<Scan>,
    streams: Vec<Vec<Slice>>,
    /// Rows of each stream that are enough.
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl RollupExec {
    fn rows(&self, stream: usize) -> BoxStream<'static, Result<RecordBatch>> {
        let skipped = MetricBuilder::new(&self.metrics).counter("batches_skipped", stream);
        let slices = self.streams.get(stream).cloned().unwrap_or_default();
        let scan = Arc::clone(&self.scan);
        // One file ahead, so that a cold one is read while the one before it is worked on.
        let files = futures::stream::iter(slices).map(move |slice| Arc::clone(&scan).read(slice, skipped.clone()));
        let rows = files.buffered(2).try_flatten().boxed();
        match self.limit {
            None => rows,
            Some(limit) => limited(rows, limit).boxed(),
        }
    }
}

/// The first rows, and no more read than they need.
fn limited(rows: BoxStream<'static, Result<RecordBatch>>, limit: usize) -> impl Stream<Item = Result<RecordBatch>> {
    futures::stream::unfold((rows, limit), |(mut rows, left)| async move {
        if left == 0 {
            return None;
        }
        let batch = match rows.next().await? {
            Ok(batch) => batch,
            Err(error) => return Some((Err(error), (rows, 0))),
        };
        let now = batch.num_rows().min(left);
        Some((Ok(batch.slice(0, now)), (rows, left - now)))
    })
}

impl DisplayAs for RollupExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RollupTable { manifest, table, files: _, partitions, rows, store: _ } = &self.scan.table;
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "RollupExec: rollup={}, table={table}, partitions={partitions}, rows={rows}", manifest.key)?;
                let names: Vec<&str> = self.scan.schema.fields().iter().map(|field| field.name().as_str()).collect();
                write!(f, ", columns=[{}]", names.join(", "))?;
                if let Some(pruning) = &self.scan.pruning {
                    write!(f, ", skipping={}", pruning.orig_expr())?;
                }
                match self.limit {
                    Some(limit) => write!(f, ", limit={limit}"),
                    None => Ok(()),
                }
            }
            DisplayFormatType::TreeRender => write!(f, "rollup={}", manifest.key),
        }
    }
}

impl ExecutionPlan for RollupExec {
    fn name(&self) -> &str {
        "RollupExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _ctx: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let rows = self.rows(partition).inspect_ok(move |batch| baseline.record_output(batch.num_rows()));
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.scan.schema), rows);
        Ok(Box::pin(cooperative(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let streams = self.streams.len().max(1) as u64;
        let rows = self.scan.table.rows;
        let whole = args.partition().is_none() || streams == 1;
        let share = if whole { rows } else { rows / streams };
        let rows = self.limit.map_or(share, |limit| share.min(limit as u64));
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        // Which batch belongs to which stream is known when they are read; how many are skipped as well.
        let exact = whole && self.scan.pruning.is_none() && self.limit.is_none();
        let num_rows = if exact { Precision::Exact(rows) } else { Precision::Inexact(rows) };
        let total_byte_size = Precision::Inexact(self.scan.table.column_bytes(&self.scan.columns));
        Ok(Arc::new(Statistics { num_rows, total_byte_size, ..Statistics::new_unknown(&self.scan.schema) }))
    }
}
