//! All files in, one checked model or all their problems out.

use std::collections::HashMap;

use crate::check::{self, Checked};
use crate::definitions::{Definition, DefinitionKind};
use crate::problems::Problems;
use crate::read::fields::{Fields, Vocabulary};
use crate::read::{cube::cube, view::view, view_group::view_group};
use crate::source_text::SourceText;
use crate::symbols::Symbols;
use crate::yaml::{self, Node};
use crate::{Diagnostic, Model, Place, extends, unsupported};

/// The text of one model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// As diagnostics show it.
    pub path: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// `None` when there is any error; warnings do no harm.
    pub model: Option<Model>,
    /// By file, line and column.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and checks all files of a model together.
///
/// Never panics, whatever the texts; every diagnostic points at a line that exists.
#[must_use]
pub fn load(files: &[ModelFile]) -> Loaded {
    let mut problems = Problems::default();
    let documents: Vec<Node> = files.iter().filter_map(|file| parse(file, &mut problems)).collect();
    let mut nodes = Vec::new();
    let mut groups = Vec::new();
    for document in &documents {
        top_level(document, &mut nodes, &mut groups, &mut problems);
    }
    let mut definitions: Vec<Definition<'_>> =
        nodes.into_iter().filter_map(|(node, kind)| Definition::read(node, kind, &mut problems)).collect();
    check_names(&mut definitions, &mut problems);
    extends::resolve(&mut definitions, &mut problems);
    let symbols = Symbols::of(&definitions);

    let mut model = Model::default();
    for definition in definitions.iter().filter(|definition| definition.kind == DefinitionKind::Cube) {
        let cube = cube(definition, &symbols, &mut problems);
        model.cubes.insert(definition.name.clone(), cube);
    }
    check::check(&model, &Checked::new(&definitions, &symbols), &mut problems);
    let mut split_views: Vec<(String, Place)> = Vec::new();
    for definition in definitions.iter().filter(|definition| definition.kind == DefinitionKind::View) {
        for (index, view) in view(definition, &model.cubes, &symbols, &mut problems).into_iter().enumerate() {
            if index > 0 {
                split_views.push((view.naming.name.clone(), definition.place.clone()));
            }
            model.views.entry(view.naming.name.clone()).or_insert(view);
        }
    }
    check_split_names(&definitions, &split_views, &mut problems);
    model.view_groups = groups.into_iter().filter_map(|node| view_group(node, &symbols, &mut problems)).collect();
    unsupported::spread(&mut model);
    let model = (!problems.has_errors()).then_some(model);
    Loaded { model, diagnostics: problems.into_sorted() }
}

fn parse(file: &ModelFile, problems: &mut Problems) -> Option<Node> {
    let source = SourceText::new(&file.path, &file.text);
    let parsed = yaml::parse_source(&source, &file.text);
    problems.add_source(source);
    parsed.map_err(|problem| problems.add(*problem)).ok()
}

/// F2: a file is a map of `cubes`, `views`, `view_groups`; an empty one is fine.
fn top_level<'n>(
    document: &'n Node,
    nodes: &mut Vec<(&'n Node, DefinitionKind)>,
    groups: &mut Vec<&'n Node>,
    problems: &mut Problems,
) {
    const FILE: Vocabulary = Vocabulary { keys: &["cubes", "views", "view_groups"], legacy: &[] };
    if document.is_null() {
        return;
    }
    let Some(fields) = Fields::read(document, "a model file", FILE, problems) else { return };
    nodes.extend(fields.list("cubes", problems).iter().map(|node| (node, DefinitionKind::Cube)));
    nodes.extend(fields.list("views", problems).iter().map(|node| (node, DefinitionKind::View)));
    groups.extend(fields.list("view_groups", problems));
}

/// Cubes and views share one set of names; of several, the first stays.
fn check_names(definitions: &mut Vec<Definition<'_>>, problems: &mut Problems) {
    let mut seen: HashMap<String, (String, Place)> = HashMap::new();
    definitions.retain(|definition| {
        if let Some((first, place)) = seen.get(&definition.name) {
            problems.error(
                &definition.place,
                format!("{} is defined more than once", definition.what()),
                format!("the first is a {first} at {}:{}", place.file, place.line),
                "cubes and views of all files share one set of names: rename one",
            );
            return false;
        }
        seen.insert(definition.name.clone(), (definition.kind.word().to_owned(), definition.place.clone()));
        true
    });
}

fn check_split_names(definitions: &[Definition<'_>], split: &[(String, Place)], problems: &mut Problems) {
    for (index, (name, place)) in split.iter().enumerate() {
        let taken = definitions.iter().any(|definition| definition.name == *name)
            || split[..index].iter().any(|(other, _)| other == name);
        if taken {
            problems.error(
                place,
                format!("`split: true` makes a view \"{name}\", and there is one already"),
                "",
                "rename one, or use `prefix: true`",
            );
        }
    }
}
