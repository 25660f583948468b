//! What all commands begin with: the config, the model's files, the data sources, an engine over them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use belvedere_engine::{Clock, Engine, EngineConfig, User};
use belvedere_model::{Diagnostic, Model, ModelFile};
use chrono::{DateTime, Utc};

use crate::commands::Given;
use crate::config::{self, Config};
use crate::model_files::{self, about_file, plain};
use crate::observe::Observations;
use crate::{data_sources, source_problems};

/// Reads the config file.
///
/// # Errors
/// All problems of the file and of what overrides it.
pub fn read_config(given: &Given) -> Result<Config, Vec<Diagnostic>> {
    let text = std::fs::read_to_string(&given.config_file).map_err(|error| {
        let help = "name the file by --config; it is `belvedere.yaml` in the current folder otherwise";
        vec![about_file(&given.config_file, format!("cannot read the config file: {}", plain(&error))).with_help(help)]
    })?;
    config::read(&given.config_file, &text, &given.environment, &given.flags)
}

/// A model as its files say it, before any source was asked.
#[derive(Debug)]
pub struct ReadModel {
    /// `None` where there is any error.
    pub model: Option<Arc<Model>>,
    pub files: Vec<ModelFile>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and checks the files of the model.
pub fn read_model(config: &Config) -> ReadModel {
    let found = model_files::read(&config.models);
    let loaded = belvedere_model::load(&found.files);
    let mut diagnostics = found.diagnostics;
    let complete = !diagnostics.iter().any(Diagnostic::is_error);
    diagnostics.extend(loaded.diagnostics);
    ReadModel { model: loaded.model.filter(|_| complete).map(Arc::new), files: found.files, diagnostics }
}

/// A model whose files have no errors.
#[derive(Debug)]
pub struct CheckedModel {
    pub model: Arc<Model>,
    pub files: Vec<ModelFile>,
    pub warnings: Vec<Diagnostic>,
}

/// Reads the model, to be used with this config.
///
/// # Errors
/// All problems, where one of them is an error.
pub fn read_checked_model(config: &Config) -> Result<CheckedModel, Vec<Diagnostic>> {
    let read = read_model(config);
    let unknown = check_source_names(config, &read);
    let mut diagnostics = read.diagnostics;
    diagnostics.extend(unknown);
    match read.model {
        Some(model) if !diagnostics.iter().any(Diagnostic::is_error) => {
            Ok(CheckedModel { model, files: read.files, warnings: diagnostics })
        }
        _ => Err(diagnostics),
    }
}

/// Errors for data sources that cubes name and the config does not have.
pub fn check_source_names(config: &Config, read: &ReadModel) -> Vec<Diagnostic> {
    let Some(model) = &read.model else { return Vec::new() };
    let known: Vec<&str> = config.data_sources.iter().map(|source| source.name.as_str()).collect();
    let unknown = model.cubes.values().filter(|cube| !known.contains(&cube.data_source.as_str()));
    unknown
        .map(|cube| {
            let message = format!("data source \"{}\" is not configured", cube.data_source);
            let help = match belvedere_model::did_you_mean(&cube.data_source, known.iter().copied()) {
                Some(close) => format!("did you mean \"{close}\"?"),
                None => format!("add it to `data_sources`; there are: {}", known.join(", ")),
            };
            let label = format!("cube \"{}\" reads from it", cube.naming.name);
            source_problems::at_place(&read.files, &cube.naming.place, message).with_label(label).with_help(help)
        })
        .collect()
}

/// Opens the data sources, each counted.
///
/// # Errors
/// A source whose configuration cannot be used, or whose folder cannot be read. Databases are not connected to yet.
pub async fn open_sources(
    config: &Config,
    observations: &Observations,
) -> Result<belvedere_engine::sources::DataSources, Vec<Diagnostic>> {
    let mut sources = HashMap::new();
    let mut problems = Vec::new();
    for source in &config.data_sources {
        match data_sources::open(source, observations).await {
            Ok(opened) => {
                sources.insert(source.name.clone(), opened);
            }
            Err(problem) => problems.push(*problem),
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

/// An engine without a model.
///
/// # Errors
/// A password that cannot be used, or a system without threads.
pub fn engine(
    config: &Config,
    sources: belvedere_engine::sources::DataSources,
) -> Result<Arc<Engine>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut users = Vec::new();
    for user in &config.users {
        match belvedere_pgserver::scram_verifier(&user.password.value) {
            Ok(verifier) => users.push(User {
                name: user.name.clone(),
                verifier,
                groups: user.groups.clone(),
                attributes: user.attributes.clone(),
                time_zone_fixed: user.time_zone_fixed,
                may_build: user.may_build,
            }),
            Err(error) => problems.push(user.password.at.error(format!("user \"{}\": {error}", user.name))),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let engine_config = EngineConfig {
        time_zone: config.time_zone,
        statement_timeout: config.limits.statement_timeout,
        memory_bytes: config.limits.memory_bytes,
        connections_max: config.limits.connections,
        users,
        masks: Arc::new(config.masks.clone()),
        planning_threads: std::thread::available_parallelism().map_or(2, usize::from),
    };
    let engine = Engine::new(engine_config, sources, Arc::new(SystemClock)).map_err(|error| {
        vec![about_file(Path::new("belvedere"), format!("the system gives too little to start: {error}"))]
    })?;
    Ok(Arc::new(engine))
}

/// The system's time.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}
