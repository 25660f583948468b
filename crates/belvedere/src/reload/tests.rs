//! When files are read again, and that a broken model leaves the old one serving.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Fingerprint, Loaded, Reloaded, Watch};
use crate::commands::Given;
use crate::config::Flags;
use crate::observe::Observations;
use crate::startup;
use crate::status::{Phase, Status};

const MODEL: &str = "cubes:\n  - name: things\n    sql_table: things\n    dimensions:\n      - { name: id, sql: id, type: number, primary_key: true }\n";

fn fingerprint(sizes: &[(&str, u64)]) -> Fingerprint {
    let time = std::time::SystemTime::UNIX_EPOCH;
    Fingerprint(sizes.iter().map(|(path, size)| (Path::new(path).to_owned(), Some((time, *size)))).collect())
}

#[test]
fn a_change_is_read_once_it_has_settled_and_only_once() {
    let mut watch = Watch::new(fingerprint(&[("a", 1)]));
    assert!(!watch.look(fingerprint(&[("a", 1)])));
    assert!(!watch.look(fingerprint(&[("a", 2)])), "it may still be written");
    assert!(!watch.look(fingerprint(&[("a", 3)])), "it is still written");
    assert!(watch.look(fingerprint(&[("a", 3)])));
    assert!(!watch.look(fingerprint(&[("a", 3)])));
}

#[test]
fn a_change_that_was_undone_is_not_read() {
    let mut watch = Watch::new(fingerprint(&[("a", 1)]));
    assert!(!watch.look(fingerprint(&[("a", 2)])));
    assert!(!watch.look(fingerprint(&[("a", 1)])));
    assert!(!watch.look(fingerprint(&[("a", 1)])));
}

async fn loaded(folder: &Path) -> Loaded {
    let write =
        |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a temporary file can be written");
    std::fs::create_dir_all(folder.join("models")).expect("a folder can be made");
    std::fs::create_dir_all(folder.join("data")).expect("a folder can be made");
    write("belvedere.yaml", "data_sources: { default: { type: files, path: data } }\n");
    write("data/things.csv", "id,name\n1,one\n");
    write("models/things.yml", MODEL);
    let given =
        Given { config_file: folder.join("belvedere.yaml"), environment: BTreeMap::new(), flags: Flags::default() };
    let config = startup::read_config(&given).expect("the config is right");
    let status = Arc::new(Status::default());
    let sources = startup::open_sources(&config, &Observations::new(Arc::clone(&status))).await.expect("files open");
    let engine = startup::engine(&config, sources).expect("an engine starts");
    let read = startup::read_model(&config);
    let model = read.model.expect("the model is right");
    let mut loaded = Loaded { given, config, engine, status: Arc::clone(&status), model: Arc::clone(&model) };
    loaded.take(model, &read.files).await;
    status.enter(Phase::Serving);
    loaded
}

#[tokio::test]
async fn a_broken_model_leaves_the_old_one_serving_and_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut loaded = loaded(folder.path()).await;
    let file = folder.path().join("models/things.yml");
    assert_eq!(loaded.status.ready().1["status"], "ready");

    std::fs::write(&file, MODEL.replace("sql_table", "sql_tabel")).expect("the model can be written");
    assert_eq!(loaded.reload().await, Reloaded::Refused);
    assert_eq!(loaded.engine.snapshot().version, 1);
    let (ready, body) = loaded.status.ready();
    assert!(ready, "the old model still answers");
    assert_eq!(body["status"], "degraded");
    let told = body["model_errors"][0]["message"].as_str().unwrap_or_default();
    assert!(told.contains("sql_tabel"), "{body}");

    std::fs::write(&file, MODEL.replace("things\n", "other\n").replace("sql_table: other", "sql_table: things"))
        .expect("the model can be written");
    assert_eq!(loaded.reload().await, Reloaded::Taken);
    assert_eq!(loaded.engine.snapshot().version, 2);
    assert!(loaded.model.cubes.contains_key("other"));
    assert_eq!(loaded.status.ready().1["status"], "ready");
}

#[tokio::test]
async fn sql_that_the_source_refuses_is_no_model_to_take_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut loaded = loaded(folder.path()).await;
    std::fs::write(folder.path().join("models/things.yml"), MODEL.replace("sql: id", "sql: idd"))
        .expect("the model can be written");
    assert_eq!(loaded.reload().await, Reloaded::Refused);
    assert_eq!(loaded.engine.snapshot().version, 1);
}

#[tokio::test]
async fn a_broken_config_leaves_everything_as_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut loaded = loaded(folder.path()).await;
    std::fs::write(folder.path().join("belvedere.yaml"), "data_source: {}\n").expect("the config can be written");
    assert_eq!(loaded.reload().await, Reloaded::Refused);
    assert_eq!(loaded.engine.snapshot().version, 1);
}
