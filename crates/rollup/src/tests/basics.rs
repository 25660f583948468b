//! Write, publish, find, read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};

use super::shop::*;
use crate::{
    IndexAggregate, IndexCopy, PartitionRange, PublishError, RollupTable, SortOrder, Store, StoreError, StoreOptions,
    StoredTable, WriteOptions, WriteProgress,
};

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

async fn text(frame: DataFrame) -> String {
    let batches = frame.collect().await.expect("the query runs");
    pretty_format_batches(&batches).expect("rows print").to_string()
}

#[tokio::test]
async fn what_was_written_is_found_and_read_by_another_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().join("rollups").to_str().expect("a plain path").to_owned();
    let store = Store::open(&location).expect("a store");
    assert!(store.manifests().await.expect("an empty store").manifests.is_empty());
    let lease = lease(&store, "a").await;
    let seen = Arc::new(Mutex::new(Vec::<WriteProgress>::new()));
    let heard = Arc::clone(&seen);
    let on_progress = Arc::new(move |progress| heard.lock().expect("a list").push(progress));
    let new = store.write_partition(&lease, schema(), by_day(), rows(0..7000), on_progress).await.expect("rows");
    assert_eq!((new.rows, new.time_range, new.files.len()), (7000, Some((0, 999 * DAY)), 1));
    let last = *seen.lock().expect("a list").last().expect("progress");
    assert_eq!(last, WriteProgress { rows_read: 7000, rows_written: 7000, bytes_written: new.bytes });

    let partition = new.into_partition(days_of(&(0..7000)), "c1", Some("17".to_owned()), 7);
    let published = store.publish(&key(), change(&lease, vec![partition])).await.expect("published");
    assert_eq!(published.version, 1);

    let other = Store::open(&location).expect("the same store");
    let found = other.manifests().await.expect("manifests");
    assert_eq!(found.problems, []);
    let manifest = found.manifests.first().expect("one rollup");
    assert_eq!(manifest, &published);
    // Metadata of fields included.
    assert_eq!(manifest.schema, schema());
    let batches = other.read(manifest, &days_of(&(0..7000)), &StoredTable::Main, None).await.expect("rows");
    let read = concat_batches(&schema(), &batches).expect("one batch");
    assert_eq!(totals(std::slice::from_ref(&read)), totals(&[batch(0..7000)]));
    // Sorted by day: seven rows a day, NULL countries last.
    assert_eq!(read.slice(0, 7).column(0), batch(0..7).column(0));
    assert!(read.column(1).is_null(6));
}

#[tokio::test]
async fn an_empty_partition_has_no_files_and_no_rows() {
    let store = Store::in_memory();
    let lease = lease(&store, "a").await;
    let manifest = build(&store, &lease, 0..0, "c1").await;
    // [0, 0) is no range.
    assert!(matches!(manifest, Err(PublishError::Invalid { .. })), "{manifest:?}");
    let new = write(&store, &lease, 0..0).await.expect("no rows");
    assert_eq!((new.rows, new.files.len(), new.time_range), (0, 0, None));
    let partition = new.into_partition(PartitionRange::NoTime, "c1", None, 7);
    let manifest = store.publish(&key(), change(&lease, vec![partition])).await.expect("published");
    assert!(store.read(&manifest, &PartitionRange::NoTime, &StoredTable::Main, None).await.expect("none").is_empty());
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_mention() {
    let store = Store::in_memory();
    let lease = lease(&store, "a").await;
    build(&store, &lease, 0..700, "c1").await.expect("published");
    build(&store, &lease, 700..1400, "c1").await.expect("published");
    let third = build(&store, &lease, 0..700, "c2").await.expect("published");
    let contents: Vec<(&str, u64)> =
        third.partitions.iter().map(|partition| (partition.content.as_str(), partition.rows)).collect();
    assert_eq!((third.version, contents), (3, vec![("c2", 700), ("c1", 700)]));
    let removing = crate::Change { remove: vec![days_of(&(700..1400))], ..change(&lease, vec![]) };
    assert_eq!(store.publish(&key(), removing).await.expect("published").partitions.len(), 1);
    // A part of a partition that is there.
    let overlapping = build(&store, &lease, 350..1050, "c3").await;
    assert!(matches!(overlapping, Err(PublishError::Invalid { .. })), "{overlapping:?}");
    // Another structure starts anew.
    let new = write(&store, &lease, 700..1400).await.expect("rows");
    let mut anew = change(&lease, vec![new.into_partition(days_of(&(700..1400)), "c1", None, 7)]);
    anew.structure = "second".to_owned();
    let anew = store.publish(&key(), anew).await.expect("published");
    assert_eq!((anew.partitions.len(), anew.structure.as_str()), (1, "second"));
}

#[tokio::test]
async fn a_table_skips_batches_and_answers_like_the_rows() {
    let store = Store::in_memory();
    let lease = lease(&store, "a").await;
    build(&store, &lease, 0..70_000, "c1").await.expect("published");
    let manifest = build(&store, &lease, 70_000..490_000, "c1").await.expect("published");
    let ranges = [days_of(&(0..70_000)), days_of(&(70_000..490_000))];
    let table = RollupTable::new(&store, &manifest, &ranges, StoredTable::Main).expect("both partitions");
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    ctx.register_table("rollup", Arc::new(table)).expect("a table");
    let plain = datafusion::datasource::MemTable::try_new(schema(), vec![vec![batch(0..490_000)]]).expect("a table");
    ctx.register_table("plain", Arc::new(plain)).expect("a table");
    let day = |day: i64| lit(ScalarValue::TimestampMicrosecond(Some(day * DAY), None));
    let asked = [
        column("day").gt_eq(day(20_000)).and(column("day").lt(day(20_031))),
        column("day").lt(day(3)).or(column("country").is_null()),
        column("country").eq(lit("ÅL")).and(column("day").gt(day(69_990))),
        lit(true),
    ];
    for filter in asked {
        let mut answers = Vec::new();
        for name in ["rollup", "plain"] {
            let table = ctx.table(name).await.expect("a table");
            let answer = table.filter(filter.clone()).and_then(|rows| {
                let groups = vec![column("country")];
                let rows =
                    rows.aggregate(groups, vec![sum(column("count")).alias("c"), max(column("revenue")).alias("r")])?;
                rows.sort(vec![column("country").sort(true, false)])
            });
            answers.push(text(answer.expect("a query")).await);
        }
        assert_eq!(answers[0], answers[1], "{filter}");
    }
    // Seven rows a day, so a month lies in one batch of the sixty.
    let table = ctx.table("rollup").await.expect("a table");
    let month = table.filter(column("day").gt_eq(day(20_000)).and(column("day").lt(day(20_010)))).expect("a query");
    let exec = month.create_physical_plan().await.expect("a plan");
    let rows = collect(Arc::clone(&exec), ctx.task_ctx()).await.expect("rows");
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 70);
    let shown = displayable(exec.as_ref()).indent(false).to_string();
    assert!(
        shown.contains("RollupExec: rollup=orders.Sales by day (Europe/Berlin), table=main, partitions=2, rows=490000"),
        "{shown}"
    );
    let skipped = rollup_exec(&exec).metrics().expect("metrics").sum_by_name("batches_skipped").expect("a counter");
    assert_eq!(skipped.as_usize(), 60);
    // Only counted, so nothing is decoded, and the manifest answers without a scan.
    assert_eq!(ctx.table("rollup").await.expect("a table").count().await.expect("a number"), 490_000);
    let few = ctx.table("rollup").await.expect("a table").limit(3, Some(10_000)).expect("a query");
    assert_eq!(few.count().await.expect("a number"), 10_000);
}

fn rollup_exec(exec: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match exec.children().first() {
        Some(child) => rollup_exec(child),
        None => Arc::clone(exec),
    }
}

#[tokio::test]
async fn columns_are_kept_within_the_budget_and_read_all_the_same_without() {
    let store = Store::in_memory();
    let lease = lease(&store, "a").await;
    let manifest = build(&store, &lease, 0..70_000, "c1").await.expect("published");
    let range = days_of(&(0..70_000));
    let expected = totals(&[batch(0..70_000)]);
    for budget in [u64::MAX, 4 << 20, 1 << 20, 0] {
        let store = store.clone().with_memory_budget(budget);
        for _ in 0..2 {
            let batches = store.read(&manifest, &range, &StoredTable::Main, None).await.expect("rows");
            assert_eq!(totals(&batches), expected, "{budget}");
            // Backwards and one of them twice.
            let some = store.read(&manifest, &range, &StoredTable::Main, Some(&[3, 0, 3])).await.expect("rows");
            assert_eq!(some[0].schema().field(0).name(), "revenue");
            assert_eq!(some[0].column(0), some[0].column(2));
        }
        assert!(store.memory_used() <= budget);
        assert_eq!(store.memory_used() > 0, budget >= 4 << 20, "{budget}");
    }
}

#[tokio::test]
async fn index_copies_are_sorted_or_coarser() {
    let store = Store::in_memory();
    let lease = lease(&store, "a").await;
    let coarser = IndexAggregate {
        group_by: vec![column("country")],
        aggregates: vec![sum(column("count")).alias("count"), sum(column("revenue")).alias("revenue")],
    };
    let options = WriteOptions {
        indexes: vec![
            IndexCopy { name: "By country".to_owned(), columns: vec!["country".to_owned()], aggregate: None },
            IndexCopy { name: "totals".to_owned(), columns: vec!["country".to_owned()], aggregate: Some(coarser) },
        ],
        ..by_day()
    };
    let new = store.write_partition(&lease, schema(), options, rows(0..7000), quiet()).await.expect("rows");
    assert_eq!(new.index_schemas.keys().collect::<Vec<_>>(), ["totals"]);
    let index_schemas = new.index_schemas.clone();
    let partition = new.into_partition(PartitionRange::Whole, "c1", None, 7);
    let publish = crate::Change { index_schemas, ..change(&lease, vec![partition]) };
    let manifest = store.publish(&key(), publish).await.expect("published");
    let sorted = StoredTable::Index("By country".to_owned());
    let sorted = store.read(&manifest, &PartitionRange::Whole, &sorted, None).await.expect("rows");
    assert_eq!(totals(&sorted), totals(&[batch(0..7000)]));
    let first = pretty_format_batches(&[sorted[0].slice(0, 1).project(&[1]).expect("a column")]).expect("rows print");
    assert!(first.to_string().contains("DE"), "{first}");
    let totals_table = StoredTable::Index("totals".to_owned());
    let coarse = store.read(&manifest, &PartitionRange::Whole, &totals_table, None).await.expect("rows");
    assert_eq!(coarse.iter().map(|batch| batch.num_rows()).sum::<usize>(), 8);
    assert_eq!(coarse[0].schema().field(1).name(), "count");
    // Read by what is asked: the copy whose first column is set equal to a value.
    let table = RollupTable::new(&store, &manifest, &[PartitionRange::Whole], StoredTable::Main).expect("a table");
    let ctx = SessionContext::new();
    let ordered = ctx.read_table(Arc::new(table)).expect("a table");
    for (condition, read) in [
        (column("country").eq(lit("DE")), "table=index By country"),
        (column("country").not_eq(lit("DE")), "table=main"),
        (column("count").gt(lit(3_i64)), "table=main"),
    ] {
        let asked = ordered.clone().filter(condition.clone()).expect("a plan");
        let plan = asked.clone().create_physical_plan().await.expect("a plan");
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        assert!(shown.contains(read), "{condition}: {shown}");
        let kept = MemTable::try_new(schema(), vec![vec![batch(0..7000)]]).expect("a table");
        let plain = ctx.read_table(Arc::new(kept)).expect("a table").filter(condition).expect("a plan");
        assert_eq!(totals(&asked.collect().await.expect("rows")), totals(&plain.collect().await.expect("rows")));
    }
    let missing = StoredTable::Index("none".to_owned());
    let missing = store.read(&manifest, &PartitionRange::Whole, &missing, None).await;
    assert!(matches!(missing, Err(StoreError::NotThere { .. })), "{missing:?}");
}

#[tokio::test]
async fn columns_of_few_values_are_sorted_by_first() {
    let store = Store::in_memory();
    let lease = lease(&store, "a").await;
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let sort = SortOrder { by: Vec::new(), then: named(&["day", "country"]) };
    let indexes = vec![IndexCopy { name: "by day".to_owned(), columns: named(&["day"]), aggregate: None }];
    let options = WriteOptions { sort, indexes, ..by_day() };
    let new = store.write_partition(&lease, schema(), options, rows(0..7000), quiet()).await.expect("rows");
    assert_eq!(new.rows, 7000);
    let orders: Vec<&Vec<String>> = new.files.iter().map(|file| &file.sorted_by).collect();
    assert_eq!(orders, [&named(&["country", "day"]), &named(&["day", "country"])]);
}

#[tokio::test]
async fn sorting_more_than_memory_goes_to_disk_and_leaves_nothing_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StoreOptions { sort_bytes: 8 << 20, ..StoreOptions::default() };
    let store = Store::open_with(folder.path().to_str().expect("a plain path"), options).expect("a store");
    let lease = lease(&store, "a").await;
    // Forty megabytes.
    let spilled = Arc::new(AtomicUsize::new(0));
    let (seen, spill) = (Arc::clone(&spilled), folder.path().join("spill"));
    let on_progress = Arc::new(move |_| {
        let files = std::fs::read_dir(&spill).into_iter().flatten().flatten();
        let files = files.flat_map(|entry| std::fs::read_dir(entry.path()).into_iter().flatten().flatten());
        let files = files.flat_map(|entry| std::fs::read_dir(entry.path()).into_iter().flatten().flatten());
        seen.fetch_max(files.count(), Ordering::Relaxed);
    });
    let new = store.write_partition(&lease, schema(), by_day(), rows(0..700_000), on_progress).await.expect("rows");
    assert_eq!(new.rows, 700_000);
    assert!(spilled.load(Ordering::Relaxed) > 0, "it fitted in memory");
    assert_eq!(std::fs::read_dir(folder.path().join("spill")).expect("a folder").count(), 0);
    let partition = new.into_partition(PartitionRange::Whole, "c1", None, 7);
    let manifest = store.publish(&key(), change(&lease, vec![partition])).await.expect("published");
    let batches = store.read(&manifest, &PartitionRange::Whole, &StoredTable::Main, None).await.expect("rows");
    assert_eq!(totals(&batches), totals(&[batch(0..700_000)]));
}

#[tokio::test]
async fn a_source_that_fails_fails_the_build_and_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path().to_str().expect("a plain path")).expect("a store");
    let lease = lease(&store, "a").await;
    let then = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for sort in [
        SortOrder::default(),
        SortOrder { by: vec!["day".to_owned()], then: Vec::new() },
        SortOrder { by: Vec::new(), then: then(&["day", "country"]) },
    ] {
        let broken = DataFusionError::Execution("the source has gone".to_owned());
        let batches = futures::stream::iter([Ok(batch(0..1000)), Err(broken)]);
        let stream = Box::pin(RecordBatchStreamAdapter::new(schema(), batches));
        let options = WriteOptions { sort, ..by_day() };
        let failed = store.write_partition(&lease, schema(), options, stream, quiet()).await;
        assert!(
            matches!(&failed, Err(StoreError::Input(error)) if error.to_string().contains("has gone")),
            "{failed:?}"
        );
        let data = folder.path().join("data").join(key().folder());
        assert_eq!(std::fs::read_dir(data).expect("the rollup's folder").count(), 0);
    }
    // Columns that are not the declared ones.
    let other = batch(0..10).project(&[0, 1]).expect("two columns");
    let stream = RecordBatchStreamAdapter::new(other.schema(), futures::stream::iter([Ok(other)]));
    let failed = store.write_partition(&lease, schema(), by_day(), Box::pin(stream), quiet()).await;
    assert!(matches!(failed, Err(StoreError::Unstorable { .. })), "{failed:?}");
}
