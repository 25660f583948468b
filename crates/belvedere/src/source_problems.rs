//! Draws what data sources say of the model as diagnostics at the place in the model.

use std::collections::HashSet;

use belvedere_engine::load::SourceProblem;
use belvedere_model::Model;
use belvedere_model::{Diagnostic, ModelFile, Place, Severity, SourceText};

use crate::config::{Config, DataSourceKind};

/// One diagnostic for each problem; a source that cannot be reached is said once, at its place in the config, as a warning.
pub fn diagnostics(problems: &[SourceProblem], model: &Model, files: &[ModelFile], config: &Config) -> Vec<Diagnostic> {
    let mut said = HashSet::new();
    let mut diagnostics = Vec::new();
    for problem in problems {
        let source_name = model.cubes.get(&problem.cube).map_or("", |cube| cube.data_source.as_str());
        if problem.unreachable {
            if said.insert(source_name) {
                diagnostics.push(unreachable(source_name, problem, files, config));
            }
            continue;
        }
        let subject = if problem.member.is_empty() {
            format!("cube \"{}\"", problem.cube)
        } else {
            format!("{} of cube \"{}\"", problem.member, problem.cube)
        };
        let message = format!("data source \"{source_name}\" refuses the SQL of {subject}");
        let mut diagnostic = at_place(files, &problem.place, message).with_label(first_line(&problem.message));
        let advice = config
            .data_sources
            .iter()
            .find(|source| source.name == source_name)
            .and_then(|source| privilege_advice(&source.kind, &problem.message));
        diagnostic.help = Some(advice.unwrap_or_else(|| {
            "correct the SQL; it is in the source's own dialect, and must work in a SELECT there".to_owned()
        }));
        diagnostics.push(diagnostic);
    }
    diagnostics
}

fn unreachable(source_name: &str, problem: &SourceProblem, files: &[ModelFile], config: &Config) -> Diagnostic {
    let message = first_line(&problem.message);
    let Some(source) = config.data_sources.iter().find(|source| source.name == source_name) else {
        let mut diagnostic = at_place(files, &problem.place, message);
        diagnostic.severity = Severity::Warning;
        return diagnostic;
    };
    source
        .at
        .warning(message)
        .with_label("its cubes cannot be queried until it answers")
        .with_help(what_to_do(&source.kind))
}

/// What a source needs, in one sentence with the statements to run there.
pub fn what_to_do(kind: &DataSourceKind) -> String {
    match kind {
        DataSourceKind::Postgres(_) => {
            "check address, port, user and password; the user needs no more than GRANT CONNECT ON DATABASE …, \
             GRANT USAGE ON SCHEMA … and GRANT SELECT ON ALL TABLES IN SCHEMA …"
                .to_owned()
        }
        DataSourceKind::MySql(_) => {
            "check address, port, user and password; the user needs no more than GRANT SELECT ON database.* TO user"
                .to_owned()
        }
        DataSourceKind::Files(_) => "check the path, and that the server's user may read it".to_owned(),
    }
}

/// Where the source says that a privilege is missing.
fn privilege_advice(kind: &DataSourceKind, message: &str) -> Option<String> {
    let lower = message.to_lowercase();
    let denied = ["permission denied", "command denied", "access denied"].iter().any(|words| lower.contains(words));
    denied.then(|| what_to_do(kind))
}

/// An error at a place in a model file.
pub fn at_place(files: &[ModelFile], place: &Place, message: String) -> Diagnostic {
    match files.iter().find(|file| file.path == *place.file) {
        Some(file) => SourceText::new(&file.path, &file.text).error(place.clone(), message),
        None => SourceText::new(&place.file, "").error(place.clone(), message),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}
