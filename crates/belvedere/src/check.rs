//! `belvedere check`: every problem of config, model and sources, and whether there is any.

use std::process::ExitCode;
use std::sync::Arc;

use belvedere_model::Diagnostic;

use crate::commands::{Given, answer, complain};
use crate::observe::Observations;
use crate::status::Status;
use crate::{rollup_store, source_problems, startup};

/// Prints all problems on standard error, and a last line on standard output.
///
/// A source that cannot be asked is a problem too: what was to be checked is not known. `offline` asks none.
pub async fn check(given: Given, offline: bool) -> ExitCode {
    let config = match startup::read_config(&given) {
        Ok(config) => config,
        Err(problems) => return finish(&problems, "the config"),
    };
    let read = startup::read_model(&config);
    let mut diagnostics = read.diagnostics.clone();
    diagnostics.extend(startup::check_source_names(&config, &read));
    let Some(model) = &read.model else { return finish(&diagnostics, "the model") };
    diagnostics.extend(rollup_store::problems(model, &read.files));
    let what = format!(
        "{} cubes and {} views in {} files{}",
        model.cubes.len(),
        model.views.len(),
        read.files.len(),
        if offline { ", without asking the data sources" } else { "" },
    );
    let has_errors = diagnostics.iter().any(Diagnostic::is_error);
    if !offline && !has_errors {
        let observations = Observations::new(Arc::new(Status::default()));
        let opened = match startup::open_sources(&config, &observations).await {
            Ok(sources) => startup::engine(&config, sources),
            Err(problems) => Err(problems),
        };
        match opened {
            Ok(engine) => {
                let problems = engine.check_model(Arc::clone(model)).await;
                diagnostics.extend(source_problems::diagnostics(&problems, model, &read.files, &config));
                let unreachable = problems.iter().any(|problem| problem.unreachable);
                let code = finish(&diagnostics, &what);
                return if unreachable { ExitCode::FAILURE } else { code };
            }
            Err(problems) => diagnostics.extend(problems),
        }
    }
    finish(&diagnostics, &what)
}

fn finish(diagnostics: &[Diagnostic], what: &str) -> ExitCode {
    print(diagnostics);
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let count = |number: usize, word: &str| match number {
        0 => format!("no {word}s"),
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    };
    let line = format!("checked {what}: {}, {}\n", count(errors, "error"), count(warnings, "warning"));
    let answered = answer(&line).is_ok();
    if errors == 0 && answered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each diagnostic as it draws itself, an empty line between them.
pub fn print(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        complain(&format!("{diagnostic}\n"));
    }
}
