//! `models/broken/`: one file an error, its whole text beside it. `UPDATE_GOLDEN=1` writes the texts anew.

use std::path::{Path, PathBuf};

use crate::{ModelFile, load};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/broken")
}

/// What `belvedere check` would print for this file alone.
fn diagnostics(path: &Path) -> String {
    let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).expect("a broken model can be read");
    let loaded = load(&[ModelFile { path: format!("models/broken/{name}"), text }]);
    assert!(loaded.model.is_none(), "{name} is broken, and a model came out of it");
    let texts: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

#[test]
fn every_broken_model_says_what_its_golden_text_says() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the folder of broken models is there")
        .map(|entry| entry.expect("the folder can be listed").path())
        .collect();
    files.sort();
    let mut failures = String::new();
    let mut count = 0;
    for path in &files {
        let extension = path.extension().unwrap_or_default();
        if extension == "err" {
            if !path.with_extension("yml").exists() {
                failures += &format!("{} has no .yml\n", path.display());
            }
            continue;
        }
        count += 1;
        assert_eq!(extension, "yml", "only .yml and .err files belong here: {}", path.display());
        let found = diagnostics(path);
        let golden = path.with_extension("err");
        if update {
            std::fs::write(&golden, &found).expect("the golden text can be written");
        }
        match std::fs::read_to_string(&golden) {
            Err(_) => failures += &format!("{} has no .err\n", path.display()),
            Ok(wanted) if wanted != found => {
                failures += &format!("{}\n--- wanted\n{wanted}--- found\n{found}\n", path.display());
            }
            Ok(_) => {}
        }
    }
    assert_eq!(failures, "");
    assert!(count >= 50, "only {count} broken models were found");
}
