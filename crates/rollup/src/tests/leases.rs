//! Two workers on one store, and one that slept.

use std::time::Duration;

use super::shop::*;
use crate::{PublishError, Store, StoreOptions};

fn two(clock: &Clock) -> (tempfile::TempDir, Store, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Store::open_with(folder.path().to_str().expect("a plain path"), clock.options()).expect("a store");
    let (a, b) = (open(), open());
    (folder, a, b)
}

async fn contents(store: &Store) -> Vec<String> {
    let found = store.manifests().await.expect("manifests");
    assert_eq!(found.problems, []);
    found
        .manifests
        .iter()
        .flat_map(|manifest| &manifest.partitions)
        .map(|partition| partition.content.clone())
        .collect()
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_is_given_back_or_runs_out() {
    let clock = Clock::new();
    let (_folder, a, b) = two(&clock);
    let first = lease(&a, "a").await;
    assert!(b.lease(&key(), "b", LEASE, b.now()).await.expect("an answer").is_none());
    // Not even a second one for the same holder.
    assert!(a.lease(&key(), "a", LEASE, a.now()).await.expect("an answer").is_none());
    clock.advance(LEASE / 2);
    assert!(a.renew(&first, LEASE, a.now()).await.expect("an answer"));
    clock.advance(LEASE - Duration::from_secs(1));
    assert!(b.lease(&key(), "b", LEASE, b.now()).await.expect("an answer").is_none());
    a.release(first).await.expect("given back");
    let second = lease(&b, "b").await;
    assert_eq!(second.fencing(), 2);
    clock.advance(LEASE);
    assert!(!b.renew(&second, LEASE, b.now()).await.expect("an answer"));
    assert_eq!(lease(&a, "a").await.fencing(), 3);
    assert!(!b.renew(&second, LEASE, 0).await.expect("an answer"), "a clock that was put back");
}

#[tokio::test]
async fn a_holder_that_slept_past_its_lease_cannot_publish() {
    let clock = Clock::new();
    let (_folder, a, b) = two(&clock);
    let slept = lease(&a, "a").await;
    build(&a, &slept, 0..700, "old").await.expect("published");
    let late = write(&a, &slept, 0..700).await.expect("rows").into_partition(days_of(&(0..700)), "late", None, 7);
    clock.advance(LEASE);
    // Nobody has taken over yet.
    let refused = a.publish(&key(), change(&slept, vec![late.clone()])).await;
    assert!(matches!(refused, Err(PublishError::LeaseExpired { .. })), "{refused:?}");
    let next = lease(&b, "b").await;
    // Its clock stands still, so it believes in its lease.
    let stopped = StoreOptions { clock: std::sync::Arc::new(|| 0), ..StoreOptions::default() };
    let asleep = Store::open_with(_folder.path().to_str().expect("a plain path"), stopped).expect("a store");
    let refused = asleep.publish(&key(), change(&slept, vec![late.clone()])).await;
    assert!(matches!(refused, Err(PublishError::Superseded { fencing: 1, newest: 2, .. })), "{refused:?}");
    assert_eq!(contents(&b).await, ["old"]);
    build(&b, &next, 0..700, "new").await.expect("published");
    let refused = asleep.publish(&key(), change(&slept, vec![late])).await;
    assert!(matches!(refused, Err(PublishError::Superseded { .. })), "{refused:?}");
    assert_eq!(contents(&a).await, ["new"]);
}

#[tokio::test]
async fn who_slept_before_the_first_version_cannot_publish_it_either() {
    let clock = Clock::new();
    let (_folder, a, b) = two(&clock);
    let slept = lease(&a, "a").await;
    clock.advance(LEASE);
    let _next = lease(&b, "b").await;
    // A version that only says who may publish is no rollup.
    assert!(a.manifests().await.expect("manifests").manifests.is_empty());
    let stopped = StoreOptions { clock: std::sync::Arc::new(|| 0), ..StoreOptions::default() };
    let asleep = Store::open_with(_folder.path().to_str().expect("a plain path"), stopped).expect("a store");
    let refused = build(&asleep, &slept, 0..700, "late").await;
    assert!(matches!(refused, Err(PublishError::Superseded { .. })), "{refused:?}");
}

/// Sixteen publishers under one lease, each with a partition of its own, in two processes' worth of stores.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_of_different_partitions_all_win() {
    let clock = Clock::new();
    let (_folder, a, b) = two(&clock);
    let lease = std::sync::Arc::new(lease(&a, "a").await);
    let mut running = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (store, lease) = (if n % 2 == 0 { a.clone() } else { b.clone() }, std::sync::Arc::clone(&lease));
        running.spawn(async move { build(&store, &lease, n * 70..n * 70 + 70, &format!("c{n:02}")).await });
    }
    let mut versions: Vec<u64> =
        running.join_all().await.into_iter().map(|published| published.expect("published").version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=16).collect::<Vec<u64>>());
    let expected: Vec<String> = (0..16).map(|n| format!("c{n:02}")).collect();
    assert_eq!(contents(&b).await, expected);
}

/// Two that race for the same lease and then for the same version, many times.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_racing_workers_one_wins_and_the_other_knows() {
    for _ in 0..20 {
        let clock = Clock::new();
        let (_folder, a, b) = two(&clock);
        let race = |store: Store, name: &'static str| async move {
            let lease = store.lease(&key(), name, LEASE, store.now()).await.expect("an answer")?;
            build(&store, &lease, 0..70, name).await.ok().map(|manifest| manifest.partitions[0].content.clone())
        };
        let (first, second) = tokio::join!(tokio::spawn(race(a.clone(), "a")), tokio::spawn(race(b, "b")));
        let winners: Vec<String> =
            [first.expect("no panic"), second.expect("no panic")].into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(contents(&a).await, winners);
    }
}
