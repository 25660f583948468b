//! Tests of the loader as a whole.

mod broken_models;
mod good_models;
mod hostile_texts;
mod meaning;
mod spellings;
mod yaml_trees;

use crate::{Model, ModelFile, load};

/// The model of one file, which must have no problem at all.
fn model(text: &str) -> Model {
    let loaded = load(&[ModelFile { path: "model.yml".to_owned(), text: text.to_owned() }]);
    let problems: String = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(problems, "");
    loaded.model.expect("a model without problems is there")
}
