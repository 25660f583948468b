//! What is deleted, and what is not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::shop::*;
use crate::{CollectOptions, Collected, RollupTable, Store, StoredTable};

const AT_ONCE: CollectOptions = CollectOptions { grace: Duration::ZERO };

fn open(folder: &Path, clock: &Clock) -> Store {
    Store::open_with(folder.to_str().expect("a plain path"), clock.options()).expect("a store")
}

fn data_files(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("data").join(key().folder())).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_version_is_kept_while_a_statement_of_this_process_holds_it() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::new());
    let store = open(folder.path(), &clock);
    let lease = lease(&store, "a").await;
    let first = build(&store, &lease, 0..700, "c1").await.expect("published");
    let table = RollupTable::new(&store, &first, &[days_of(&(0..700))], StoredTable::Main).expect("a table");
    drop(first);
    build(&store, &lease, 0..700, "c2").await.expect("published");
    assert_eq!(store.collect(AT_ONCE).await.expect("collected"), Collected::default());
    assert_eq!(data_files(folder.path()), 2);
    let read = store.read(table.manifest(), &days_of(&(0..700)), &StoredTable::Main, None).await.expect("rows");
    assert_eq!(totals(&read), totals(&[batch(0..700)]));
    drop(table);
    let collected = store.collect(AT_ONCE).await.expect("collected");
    assert_eq!((collected.manifests, collected.files, data_files(folder.path())), (1, 1, 1));
    assert_eq!(std::fs::read_dir(folder.path().join("manifests")).expect("manifests").count(), 1);
    assert_eq!(store.collect(AT_ONCE).await.expect("collected"), Collected::default());
}

#[tokio::test]
async fn a_version_is_kept_while_another_process_says_that_it_reads_it() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::new());
    let (builder, server) = (open(folder.path(), &clock), open(folder.path(), &clock));
    let lease = lease(&builder, "a").await;
    build(&builder, &lease, 0..700, "c1").await.expect("published");
    server.register_reader("server", Duration::from_secs(30)).await.expect("registered");
    let held = server.manifests().await.expect("manifests").manifests.remove(0);
    build(&builder, &lease, 0..700, "c2").await.expect("published");
    builder.release(lease).await.expect("given back");
    assert_eq!(builder.collect(AT_ONCE).await.expect("collected").manifests, 0);
    let read = server.read(&held, &days_of(&(0..700)), &StoredTable::Main, None).await.expect("rows");
    assert_eq!(totals(&read), totals(&[batch(0..700)]));
    // It still holds the old one, and says so again in time.
    clock.advance(Duration::from_secs(20));
    assert_eq!(server.manifests().await.expect("manifests").manifests[0].version, 2);
    clock.advance(Duration::from_secs(20));
    assert_eq!(builder.collect(AT_ONCE).await.expect("collected").manifests, 0);
    drop(held);
    clock.advance(Duration::from_secs(5));
    server.manifests().await.expect("manifests");
    clock.advance(Duration::from_secs(5));
    server.manifests().await.expect("manifests");
    let collected = builder.collect(AT_ONCE).await.expect("collected");
    assert_eq!((collected.manifests, collected.files), (1, 1));
    // One that has died is waited for no longer than it said.
    let held = server.manifests().await.expect("manifests").manifests.remove(0);
    let lease = super::shop::lease(&builder, "a").await;
    build(&builder, &lease, 0..700, "c3").await.expect("published");
    clock.advance(Duration::from_secs(31));
    assert!(builder.collect(AT_ONCE).await.expect("collected").manifests > 0);
    drop(held);
    server.unregister_reader().await.expect("gone");
}

#[tokio::test]
async fn old_versions_live_as_long_as_the_grace() {
    let clock = Clock::new();
    let store = Store::over(Arc::new(object_store::memory::InMemory::new()), clock.options());
    let lease = lease(&store, "a").await;
    build(&store, &lease, 0..700, "c1").await.expect("published");
    build(&store, &lease, 0..700, "c2").await.expect("published");
    store.release(lease).await.expect("given back");
    let grace = CollectOptions { grace: Duration::from_secs(10) };
    assert_eq!(store.collect(grace).await.expect("collected"), Collected::default());
    clock.advance(Duration::from_secs(10));
    let collected = store.collect(grace).await.expect("collected");
    assert_eq!((collected.manifests, collected.files), (1, 1));
}

#[tokio::test]
async fn files_of_a_running_build_stay_and_those_of_a_dead_one_go() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::new());
    let (dead, store) = (open(folder.path(), &clock), open(folder.path(), &clock));
    // A first build: there is no version yet.
    let forgotten = lease(&dead, "dead").await;
    let unpublished = write(&dead, &forgotten, 0..700).await.expect("rows");
    assert_eq!(store.collect(AT_ONCE).await.expect("collected"), Collected::default());
    clock.advance(LEASE);
    let collected = store.collect(AT_ONCE).await.expect("collected");
    assert_eq!((collected.files, data_files(folder.path())), (1, 0));
    assert!(store.manifests().await.expect("manifests").manifests.is_empty());
    // And it can never be published.
    let late = unpublished.into_partition(days_of(&(0..700)), "late", None, 7);
    assert!(dead.publish(&key(), change(&forgotten, vec![late])).await.is_err());
    // A later one, while the rollup has versions.
    let lease = lease(&store, "a").await;
    build(&store, &lease, 0..700, "c1").await.expect("published");
    write(&store, &lease, 0..700).await.expect("rows");
    assert_eq!(store.collect(AT_ONCE).await.expect("collected").files, 0);
    store.release(lease).await.expect("given back");
    assert_eq!(store.collect(AT_ONCE).await.expect("collected").files, 1);
    let found = store.manifests().await.expect("manifests").manifests.remove(0);
    let read = store.read(&found, &days_of(&(0..700)), &StoredTable::Main, None).await.expect("rows");
    assert_eq!(totals(&read), totals(&[batch(0..700)]));
}

#[tokio::test]
async fn a_retired_rollup_leaves_nothing_but_its_last_version() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::new());
    let store = open(folder.path(), &clock);
    let lease = lease(&store, "a").await;
    build(&store, &lease, 0..700, "c1").await.expect("published");
    store.retire(&lease).await.expect("retired");
    store.release(lease).await.expect("given back");
    assert!(store.manifests().await.expect("manifests").manifests.is_empty());
    store.collect(AT_ONCE).await.expect("collected");
    assert_eq!(data_files(folder.path()), 0);
}

#[tokio::test]
async fn nothing_is_deleted_while_the_newest_version_cannot_be_read() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::new());
    let store = open(folder.path(), &clock);
    let lease = lease(&store, "a").await;
    build(&store, &lease, 0..700, "c1").await.expect("published");
    build(&store, &lease, 0..700, "c2").await.expect("published");
    store.release(lease).await.expect("given back");
    drop(store);
    let newest = folder.path().join("manifests").join(format!("{}.{:020}.json", key().folder(), 2));
    std::fs::write(newest, "{}").expect("written");
    let store = open(folder.path(), &clock);
    let collected = store.collect(AT_ONCE).await.expect("collected");
    assert_eq!((collected.manifests, collected.files, data_files(folder.path())), (0, 0, 2));
}
