//! Bytes that change, files that vanish, a disk that is full.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::shop::*;
use crate::{Damage, ManifestProblem, PartitionRange, RollupTable, Store, StoreError, StoredTable};

fn open(folder: &Path) -> Store {
    Store::open(folder.to_str().expect("a plain path")).expect("a store")
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.pop().expect("one")
}

fn data_folder(folder: &Path) -> PathBuf {
    folder.join("data").join(key().folder())
}

/// A rollup of one version with 35 rows.
async fn small() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let lease = lease(&store, "a").await;
    build(&store, &lease, 0..35, "c1").await.expect("published");
    store.release(lease).await.expect("given back");
    folder
}

#[tokio::test]
async fn every_changed_byte_of_a_file_is_found() {
    let folder = small().await;
    let file = only_file(&data_folder(folder.path()));
    let right = std::fs::read(&file).expect("the file");
    let manifest = open(folder.path()).manifests().await.expect("manifests").manifests.remove(0);
    for (at, bit) in (0..right.len()).map(|at| (at, at % 8)) {
        let mut wrong = right.clone();
        wrong[at] ^= 1 << bit;
        std::fs::write(&file, wrong).expect("written");
        // One that has decoded nothing and knows of no damage.
        let store = Store::over(
            Arc::new(object_store::local::LocalFileSystem::new_with_prefix(folder.path()).expect("a store")),
            Default::default(),
        );
        let read = store.read(&manifest, &days_of(&(0..35)), &StoredTable::Main, None).await;
        assert!(
            matches!(read, Err(StoreError::Damaged { damage: Damage::Digest, .. })),
            "byte {at}, bit {bit}: {read:?}"
        );
    }
    for length in [0, 1, right.len() / 2, right.len() - 1] {
        std::fs::write(&file, &right[..length]).expect("written");
        let read = open(folder.path()).read(&manifest, &days_of(&(0..35)), &StoredTable::Main, Some(&[0])).await;
        assert!(matches!(read, Err(StoreError::Damaged { .. })), "{length} bytes: {read:?}");
    }
    std::fs::write(&file, [right.as_slice(), b"x"].concat()).expect("written");
    let read = open(folder.path()).read(&manifest, &days_of(&(0..35)), &StoredTable::Main, None).await;
    assert!(matches!(read, Err(StoreError::Damaged { .. })), "one byte more: {read:?}");
}

#[tokio::test]
async fn every_changed_byte_of_a_manifest_is_found_and_the_version_before_serves() {
    let folder = small().await;
    let store = open(folder.path());
    let before = only_file(&folder.path().join("manifests"));
    let lease = lease(&store, "a").await;
    let second = build(&store, &lease, 35..70, "c2").await.expect("published");
    let newest = before.with_file_name(format!("{}.{:020}.json", key().folder(), 2));
    let right = std::fs::read(&newest).expect("the second version");
    for (at, bit) in (0..right.len()).map(|at| (at, at % 8)) {
        let mut wrong = right.clone();
        wrong[at] ^= 1 << bit;
        std::fs::write(&newest, wrong).expect("written");
        let found = open(folder.path()).manifests().await.expect("manifests");
        let problem = ManifestProblem::Damaged { folder: key().folder(), version: 2, damage: Damage::Digest };
        assert_eq!(found.problems, [problem], "byte {at}, bit {bit}");
        assert_eq!(found.manifests.iter().map(|manifest| manifest.version).collect::<Vec<_>>(), [1]);
    }
    for length in (0..right.len()).step_by(17) {
        std::fs::write(&newest, &right[..length]).expect("written");
        let found = open(folder.path()).manifests().await.expect("manifests");
        assert_eq!((found.problems.len(), found.manifests.len()), (1, 1), "{length} bytes");
    }
    // The next version is made from the one before, under the next number.
    store.release(lease).await.expect("given back");
    drop((store, second));
    let store = open(folder.path());
    let lease = super::shop::lease(&store, "b").await;
    let third = build(&store, &lease, 70..105, "c3").await.expect("published");
    let contents: Vec<&str> = third.partitions.iter().map(|partition| partition.content.as_str()).collect();
    assert_eq!((third.version, contents), (3, vec!["c1", "c3"]));
    assert_eq!(open(folder.path()).manifests().await.expect("manifests").problems, []);
}

#[tokio::test]
async fn manifests_of_another_format_or_rollup_or_with_files_elsewhere_are_not_read() {
    let folder = small().await;
    let file = only_file(&folder.path().join("manifests"));
    let text = std::fs::read_to_string(&file).expect("the manifest");
    let body = text.split_once("\"manifest\": ").and_then(|(_, rest)| rest.strip_suffix("}\n")).expect("a body");
    let signed = |body: String| {
        format!("{{\"digest\": \"blake3:{}\",\n\"manifest\": {body}}}\n", crate::Digest::of(body.as_bytes()))
    };
    std::fs::write(&file, signed(body.to_owned())).expect("written");
    assert_eq!(open(folder.path()).manifests().await.expect("manifests").problems, []);
    let data = format!("data/{}/", key().folder());
    let changes = [
        (datafusion::DATAFUSION_VERSION, "54.9.9", "another format: store 1 of DataFusion 54.9.9"),
        ("Sales by day", "sales by day", "another rollup or version"),
        ("\"version\": 1", "\"version\": 2", "another rollup or version"),
        (data.as_str(), "data/other/", "not inside the rollup's own folder"),
        (data.as_str(), "/etc/", "not inside the rollup's own folder"),
        ("-0.parquet", "/../../x.parquet", "not inside the rollup's own folder"),
        ("\"rows\": 35", "\"rows\": 36", "has 36 rows"),
    ];
    for (from, to, expected) in changes {
        assert!(body.contains(from), "{from}");
        std::fs::write(&file, signed(body.replacen(from, to, 1))).expect("written");
        let found = open(folder.path()).manifests().await.expect("manifests");
        assert!(found.manifests.is_empty(), "{to}");
        let problem = found.problems.first().expect("a problem").to_string();
        assert!(problem.contains(expected), "{problem}");
    }
}

/// With a right digest, as by somebody who can write the bucket and not only flip bits.
#[tokio::test]
async fn a_file_of_other_content_with_a_right_digest_is_refused_before_or_while_it_is_decoded() {
    let folder = small().await;
    let store = open(folder.path());
    let manifest = store.manifests().await.expect("manifests").manifests.remove(0);
    let file = only_file(&data_folder(folder.path()));
    let right = std::fs::read(&file).expect("the file");
    let mut detected = 0;
    for at in 0..right.len() {
        let mut wrong = right.clone();
        wrong[at] ^= 0xff;
        let mut forged = (*manifest).clone();
        forged.partitions[0].files[0].digest = crate::Digest::of(&wrong);
        std::fs::write(&file, wrong).expect("written");
        // Whatever it decodes to, the process and the store live on.
        let read = open(folder.path()).read(&Arc::new(forged), &days_of(&(0..35)), &StoredTable::Main, None).await;
        detected += usize::from(matches!(read, Err(StoreError::Damaged { .. })));
    }
    assert!(detected > right.len() / 2, "{detected} of {}", right.len());
}

#[tokio::test]
async fn a_damaged_partition_stops_a_query_and_stays_in_quarantine_until_it_is_built_again() {
    let folder = small().await;
    let store = open(folder.path());
    let manifest = store.manifests().await.expect("manifests").manifests.remove(0);
    let file = only_file(&data_folder(folder.path()));
    let right = std::fs::read(&file).expect("the file");
    std::fs::write(&file, b"PAR1 no more").expect("written");
    let table = RollupTable::new(&store, &manifest, &[days_of(&(0..35))], StoredTable::Main).expect("a table");
    let failed = SessionContext::new().read_table(Arc::new(table)).expect("a table").collect().await;
    let failed: DataFusionError = failed.expect_err("the file is damaged");
    let Some(StoreError::Damaged { key: of, partition, .. }) = StoreError::find_in(&failed) else {
        panic!("{failed:?}")
    };
    assert_eq!((&**of, partition), (&key(), &days_of(&(0..35))));
    // Not tried again, although it is right now: the engine builds it anew.
    std::fs::write(&file, right).expect("written");
    let again = store.read(&manifest, &days_of(&(0..35)), &StoredTable::Main, None).await;
    assert!(matches!(again, Err(StoreError::Damaged { damage: Damage::Quarantined, .. })), "{again:?}");
    let other = open(folder.path());
    other.manifests().await.expect("manifests");
    for store in [&store, &other] {
        let listed: Vec<PartitionRange> = store.quarantined().into_iter().map(|found| found.range).collect();
        assert_eq!(listed, [days_of(&(0..35))]);
    }
    let lease = lease(&other, "b").await;
    let second = build(&other, &lease, 0..35, "c2").await.expect("published");
    store.manifests().await.expect("manifests");
    for store in [&store, &other] {
        assert_eq!(store.quarantined(), []);
        let read = store.read(&second, &days_of(&(0..35)), &StoredTable::Main, None).await.expect("rows");
        assert_eq!(totals(&read), totals(&[batch(0..35)]));
    }
    std::fs::remove_file(folder.path().join(&second.partitions[0].files[0].path)).expect("deleted");
    let gone = open(folder.path()).read(&second, &days_of(&(0..35)), &StoredTable::Main, None).await;
    assert!(matches!(gone, Err(StoreError::Damaged { damage: Damage::Missing, .. })), "{gone:?}");
}

#[tokio::test]
async fn an_old_state_that_was_put_back_is_told() {
    let folder = small().await;
    let store = open(folder.path());
    let lease = lease(&store, "a").await;
    build(&store, &lease, 35..70, "c2").await.expect("published");
    assert_eq!(store.manifests().await.expect("manifests").problems, []);
    std::fs::remove_file(folder.path().join("manifests").join(format!("{}.{:020}.json", key().folder(), 2)))
        .expect("deleted");
    let found = store.manifests().await.expect("manifests");
    assert_eq!(found.problems, [ManifestProblem::RolledBack { folder: key().folder(), seen: 2, found: Some(1) }]);
    assert_eq!(found.manifests[0].version, 1);
    // A number means one version for ever.
    assert_eq!(build(&store, &lease, 70..105, "c3").await.expect("published").version, 3);
}

/// A file system of two megabytes, which only root can make.
#[tokio::test]
async fn a_full_disk_fails_the_build_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a small file system cannot be mounted here");
        return;
    }
    let outcome = tokio::spawn(fill(folder.path().to_owned())).await;
    let unmounted = std::process::Command::new("umount").arg(folder.path()).status();
    outcome.expect("no panic");
    assert!(unmounted.is_ok_and(|status| status.success()));
}

async fn fill(folder: PathBuf) {
    let store = open(&folder);
    let lease = lease(&store, "a").await;
    let manifest = build(&store, &lease, 0..7000, "c1").await.expect("published");
    let files = || std::fs::read_dir(data_folder(&folder)).expect("a folder").count();
    let before = files();
    // While writing rows, and while sorting them.
    for options in [crate::WriteOptions::default(), by_day()] {
        let failed = store.write_partition(&lease, schema(), options, rows(0..2_000_000), quiet()).await;
        assert!(matches!(failed, Err(StoreError::Full { .. })), "{failed:?}");
        assert_eq!(files(), before);
    }
    // Not a byte is left, and there still are the rows.
    let filler = folder.join("filler");
    let mut size = 2 << 20;
    while size > 0 {
        if std::fs::write(&filler, vec![1; size]).is_ok() {
            break;
        }
        size -= 4096;
    }
    let partition = manifest.partitions[0].clone();
    let failed = store.publish(&key(), change(&lease, vec![partition])).await;
    assert!(matches!(failed, Err(crate::PublishError::Store(StoreError::Full { .. }))), "{failed:?}");
    let fresh = open(&folder);
    let found = fresh.manifests().await.expect("manifests");
    assert_eq!((found.problems.len(), found.manifests.len()), (0, 1));
    let read = fresh.read(&found.manifests[0], &days_of(&(0..7000)), &StoredTable::Main, None).await.expect("rows");
    assert_eq!(totals(&read), totals(&[batch(0..7000)]));
    std::fs::remove_file(filler).expect("deleted");
    build(&store, &lease, 0..7000, "c2").await.expect("published, as there is space again");
}
