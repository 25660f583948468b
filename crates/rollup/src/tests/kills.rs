//! A process that is killed at any moment of writing, publishing and collecting leaves the old version or the new one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::shop::*;
use crate::{CollectOptions, PartitionRange, Store, StoreOptions, StoredTable};

/// Where the child works, for the test that is the child.
const FOLDER: &str = "BELVEDERE_KILLS_FOLDER";
/// Which child it is.
const TURN: &str = "BELVEDERE_KILLS_TURN";
/// How many are killed, if not a hundred.
const KILLS: &str = "BELVEDERE_KILLS";

const PARTITIONS: i64 = 3;
const ROWS: i64 = 20_000;

fn range(partition: i64) -> PartitionRange {
    PartitionRange::Between { start: partition * DAY, end: (partition + 1) * DAY }
}

/// The rows of a partition in one of its versions.
fn numbers(partition: i64, version: i64) -> std::ops::Range<i64> {
    let start = (version * PARTITIONS + partition) * ROWS;
    start..start + ROWS
}

/// A store whose clock is hours later with each turn, so that what a killed process held has run out.
fn open(folder: &Path, turn: i64) -> Store {
    let now = StoreOptions::default().clock;
    let clock = std::sync::Arc::new(move || now() + turn * 3_600_000_000);
    let options = StoreOptions { clock, sort_bytes: 3 << 20, ..StoreOptions::default() };
    Store::open_with(folder.to_str().expect("a plain path"), options).expect("a store")
}

/// Not a test: the process that `a_killed_process_leaves_the_old_or_the_new_version` starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is killed by another test"]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let turn: i64 = std::env::var(TURN).expect("a turn").parse().expect("a number");
    let store = open(folder.as_ref(), turn);
    let now_or_never = CollectOptions { grace: Duration::ZERO };
    eprintln!("ready");
    for version in turn * 1000.. {
        let lease =
            store.lease(&key(), "child", Duration::from_secs(600), store.now()).await.expect("the store is there");
        let lease = lease.expect("nobody else is there");
        for partition in 0..PARTITIONS {
            let rows = rows(numbers(partition, version));
            let new = store.write_partition(&lease, schema(), by_day(), rows, quiet()).await.expect("rows");
            let new = new.into_partition(range(partition), version.to_string(), None, 7);
            eprintln!("publishing {partition} {version}");
            store.publish(&key(), change(&lease, vec![new])).await.expect("published");
            eprintln!("published {partition} {version}");
            store.collect(now_or_never).await.expect("collected");
        }
        store.release(lease).await.expect("given back");
        store.collect(now_or_never).await.expect("collected");
    }
}

#[tokio::test]
async fn a_killed_process_leaves_the_old_or_the_new_version() {
    let kills: i64 = std::env::var(KILLS).map_or(100, |kills| kills.parse().expect("a number of kills"));
    let folder = tempfile::tempdir().expect("a folder");
    // By partition: the version that was surely published, and the one that may have been.
    let mut published = [None; PARTITIONS as usize];
    let mut begun = [None; PARTITIONS as usize];
    let mut random: u64 = 0x5eed;
    let mut with_rows = 0;
    for turn in 1..=kills {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "tests::kills::child", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(TURN, turn.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut said = BufReader::new(child.stderr.take().expect("its output"));
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            assert!(said.read_line(&mut line).expect("output") > 0, "the child ended before it began");
        }
        // Splitmix, so that a failure can be repeated.
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        tokio::time::sleep(Duration::from_micros((mixed >> 33) % 400_000)).await;
        child.kill().expect("killed");
        child.wait().expect("dead");
        let lines: Vec<String> = said.lines().map(|line| line.expect("output")).collect();
        for line in &lines {
            let words: Vec<&str> = line.split(' ').collect();
            let [what @ ("publishing" | "published"), partition, version] = words[..] else { panic!("{lines:#?}") };
            let partition: usize = partition.parse().expect("a partition");
            let version: i64 = version.parse().expect("a version");
            let said = if what == "published" { &mut published } else { &mut begun };
            said[partition] = Some(version);
        }
        // What another process finds at once.
        let store = open(folder.path(), turn);
        let found = store.manifests().await.expect("manifests");
        assert_eq!(found.problems, [], "turn {turn}");
        let manifest = found.manifests.first();
        for partition in 0..PARTITIONS {
            let there = manifest.and_then(|manifest| manifest.partition(&range(partition)));
            let version: Option<i64> = there.map(|there| there.content.parse().expect("a version"));
            let (published, begun) = (&mut published[partition as usize], begun[partition as usize]);
            assert!(
                version == *published || version == begun,
                "turn {turn}: {version:?} of {published:?} or {begun:?}"
            );
            *published = version;
            if let (Some(version), Some(manifest)) = (version, manifest) {
                let read =
                    store.read(manifest, &range(partition), &StoredTable::Main, None).await.expect("whole files");
                assert_eq!(totals(&read), totals(&[batch(numbers(partition, version))]), "turn {turn}");
                with_rows += 1;
            }
        }
    }
    assert!(with_rows > kills, "most were killed before they had done anything");
    // Nothing has leaked.
    let store = open(folder.path(), kills + 1);
    store.collect(CollectOptions { grace: Duration::ZERO }).await.expect("collected");
    let manifest = store.manifests().await.expect("manifests").manifests.remove(0);
    store.collect(CollectOptions { grace: Duration::ZERO }).await.expect("collected");
    let names = |of: &str| -> Vec<String> {
        let listed = std::fs::read_dir(folder.path().join(of)).expect("a folder");
        let mut names: Vec<String> = listed
            .map(|entry| format!("{of}/{}", entry.expect("an entry").file_name().to_str().expect("a name")))
            .collect();
        names.sort();
        names
    };
    let mut named: Vec<String> =
        manifest.partitions.iter().flat_map(|partition| &partition.files).map(|file| file.path.clone()).collect();
    named.sort();
    assert_eq!(names(&format!("data/{}", key().folder())), named);
    assert!(names("spill").is_empty());
    // The newest of each, and the one that this test holds.
    assert!(
        names("manifests").len() <= 2 && names("leases").len() == 1,
        "{:?} {:?}",
        names("manifests"),
        names("leases")
    );
}
