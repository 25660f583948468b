//! Rows to store: sales by day and country, with every kind of value that rollups have.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use datafusion::arrow::array::{
    ArrayRef, Decimal256Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, i256};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::{
    Change, Lease, Manifest, NewPartition, OnProgress, PartitionRange, PublishError, RollupKey, RollupPartition,
    SortOrder, Store, StoreError, StoreOptions, WriteOptions,
};

pub(super) const DAY: i64 = 86_400_000_000;
pub(super) const LEASE: Duration = Duration::from_secs(60);

pub(super) fn key() -> RollupKey {
    RollupKey::new("orders", "Sales by day", "Europe/Berlin")
}

/// `day`, `country` (may be NULL), `count`, `revenue`.
pub(super) fn schema() -> SchemaRef {
    let noted = [("pg_typmod".to_owned(), "655366".to_owned())].into();
    Arc::new(Schema::new(vec![
        Field::new("day", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("country", DataType::Utf8, true),
        Field::new("count", DataType::Int64, false),
        Field::new("revenue", DataType::Decimal256(76, 20), true).with_metadata(noted),
    ]))
}

/// Rows of these numbers: each day has seven countries, every eleventh of which is NULL.
pub(super) fn batch(numbers: Range<i64>) -> RecordBatch {
    let day: TimestampMicrosecondArray = numbers.clone().map(|n| Some(n / 7 % 50_000_000 * DAY)).collect();
    let country: StringArray = numbers
        .clone()
        .map(|n| (n % 11 != 0).then(|| ["DE", "FR", "JP", "PE", "ÅL", "ZA", "US"][(n % 7) as usize]))
        .collect();
    let count: Int64Array = numbers.clone().map(|n| Some(n % 100)).collect();
    let revenue: Decimal256Array = numbers.map(|n| (n % 13 != 0).then(|| i256::from(n * 1_000_003 - 500))).collect();
    let revenue = revenue.with_precision_and_scale(76, 20).expect("digits of the test");
    let columns: Vec<ArrayRef> = vec![Arc::new(day), Arc::new(country), Arc::new(count), Arc::new(revenue)];
    RecordBatch::try_new(schema(), columns).expect("rows of the test")
}

/// Batches of a thousand, the last first, so that sorting has work.
pub(super) fn rows(numbers: Range<i64>) -> SendableRecordBatchStream {
    let starts: Vec<i64> = numbers.clone().step_by(1000).collect();
    let end = numbers.end;
    let batches = starts.into_iter().rev().map(move |start| Ok(batch(start..end.min(start + 1000))));
    Box::pin(RecordBatchStreamAdapter::new(schema(), futures::stream::iter(batches)))
}

pub(super) fn quiet() -> OnProgress {
    Arc::new(|_| {})
}

pub(super) fn by_day() -> WriteOptions {
    WriteOptions {
        sort: SortOrder { by: vec!["day".to_owned(), "country".to_owned()], then: Vec::new() },
        time_column: Some("day".to_owned()),
        ..WriteOptions::default()
    }
}

pub(super) async fn lease(store: &Store, holder: &str) -> Lease {
    let lease = store.lease(&key(), holder, LEASE, store.now()).await.expect("the store is there");
    lease.expect("nobody else has it")
}

pub(super) async fn write(store: &Store, lease: &Lease, numbers: Range<i64>) -> Result<NewPartition, StoreError> {
    store.write_partition(lease, schema(), by_day(), rows(numbers), quiet()).await
}

/// The partition of these numbers, which are whole days.
pub(super) fn days_of(numbers: &Range<i64>) -> PartitionRange {
    PartitionRange::Between { start: numbers.start / 7 * DAY, end: numbers.end / 7 * DAY }
}

pub(super) fn change<'a>(lease: &'a Lease, replace: Vec<RollupPartition>) -> Change<'a> {
    Change {
        structure: "first".to_owned(),
        schema: schema(),
        index_schemas: Default::default(),
        covers: Some((Some(0), None)),
        checked_at: 42,
        replace,
        remove: Vec::new(),
        lease,
    }
}

/// Writes and publishes one partition of these numbers.
pub(super) async fn build(
    store: &Store,
    lease: &Lease,
    numbers: Range<i64>,
    content: &str,
) -> Result<Arc<Manifest>, PublishError> {
    let range = days_of(&numbers);
    let new = write(store, lease, numbers).await?;
    store.publish(&key(), change(lease, vec![new.into_partition(range, content, None, 7)])).await
}

/// A clock that stands until it is told.
#[derive(Debug, Clone)]
pub(super) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_000_000)))
    }

    pub(super) fn options(&self) -> StoreOptions {
        let clock = Arc::clone(&self.0);
        StoreOptions { clock: Arc::new(move || clock.load(Ordering::SeqCst)), ..StoreOptions::default() }
    }

    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }
}

/// The sums of `count` and of the `revenue`, and the rows, of some batches with all columns.
pub(super) fn totals(batches: &[RecordBatch]) -> (i64, i256, usize) {
    let mut totals = (0, i256::ZERO, 0);
    for batch in batches {
        let counts =
            batch.column_by_name("count").and_then(|c| c.as_any().downcast_ref::<Int64Array>()).expect("counts");
        let revenues = batch.column_by_name("revenue").and_then(|c| c.as_any().downcast_ref::<Decimal256Array>());
        totals.0 += counts.iter().flatten().sum::<i64>();
        totals.1 = revenues.expect("revenues").iter().flatten().fold(totals.1, |sum, revenue| sum + revenue);
        totals.2 += batch.num_rows();
    }
    totals
}
