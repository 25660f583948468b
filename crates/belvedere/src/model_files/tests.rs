//! Which files are a model's, and what is said of the others.

use std::path::Path;

use super::read;
use crate::config::{At, Placed};

fn read_below(folder: &Path) -> super::ModelFiles {
    let at =
        At { place: super::about_file(Path::new("belvedere.yaml"), String::new()).place, source_line: String::new() };
    read(&[Placed { value: folder.to_owned(), at }])
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder can be made");
    std::fs::write(path, bytes).expect("a temporary file can be written");
}

#[test]
fn yaml_files_of_all_folders_are_read_in_order_and_hidden_ones_are_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["b.yml", "a/deep/c.YAML", ".git/d.yml", "README.md", "data.csv"] {
        write(folder.path(), name, b"cubes: []\n");
    }
    let found = read_below(folder.path());
    assert_eq!(found.diagnostics, []);
    let names: Vec<_> =
        found.files.iter().map(|file| file.path.strip_prefix(&folder.path().display().to_string())).collect();
    assert_eq!(names, [Some("/a/deep/c.YAML"), Some("/b.yml")]);
}

#[test]
fn models_in_other_languages_are_errors_that_name_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["a.yml", "b.js", "c.py", "d.yml.jinja"] {
        write(folder.path(), name, b"");
    }
    let messages: Vec<_> = read_below(folder.path()).diagnostics.into_iter().map(|found| found.message).collect();
    assert_eq!(
        messages,
        ["JavaScript models are not read yet", "Python models are not read yet", "Jinja models are not read yet"]
    );
}

#[test]
fn a_missing_an_empty_and_a_binary_model_are_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = |folder: &Path| read_below(folder).diagnostics.first().map(|found| found.message.clone());
    let empty = format!("there is no model file below {}", folder.path().display());
    assert_eq!(first(folder.path()), Some(empty));
    let missing = folder.path().join("missing");
    assert_eq!(first(&missing), Some(format!("cannot read {}: no such file or directory", missing.display())));
    write(folder.path(), "a.yml", b"x: 1\ny: \xff\n");
    assert_eq!(first(folder.path()).as_deref(), Some("this file is not UTF-8, first on line 2"));
}
