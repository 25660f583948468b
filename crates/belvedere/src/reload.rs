//! Takes in changed model files; a model with errors leaves the old one serving.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use belvedere_engine::Engine;
use belvedere_model::Diagnostic;
use belvedere_sources::Address;

use crate::commands::Given;
use crate::config::{Config, DataSourceKind, Placed};
use crate::startup::CheckedModel;
use crate::status::Status;
use crate::{check, model_files, rollup_store, source_problems, startup};

/// What tells that a file changed: its time and its size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint(BTreeMap<PathBuf, Option<(SystemTime, u64)>>);

impl Fingerprint {
    /// Of the config file and of all model files. A folder that cannot be listed counts as empty.
    pub fn of(config_file: &std::path::Path, models: &[Placed<PathBuf>]) -> Self {
        let files = model_files::list(models).unwrap_or_default();
        let all = std::iter::once(config_file.to_owned()).chain(files);
        Self(
            all.map(|path| {
                let metadata = std::fs::metadata(&path).ok();
                let seen = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
                (path, seen)
            })
            .collect(),
        )
    }
}

/// Decides when changed files are read: once they have stopped changing.
#[derive(Debug, Default)]
pub struct Watch {
    /// As last read.
    taken: Fingerprint,
    /// As last seen.
    seen: Fingerprint,
}

impl Watch {
    pub fn new(taken: Fingerprint) -> Self {
        Self { seen: taken.clone(), taken }
    }

    /// Whether to reload now. A change must look the same twice, so that a half-written checkout is not read.
    pub fn look(&mut self, now: Fingerprint) -> bool {
        let settled = now == self.seen;
        let due = settled && now != self.taken;
        if due {
            self.taken = now.clone();
        }
        self.seen = now;
        due
    }
}

/// What the running process was made of, to reload it.
pub struct Loaded {
    pub given: Given,
    pub config: Config,
    pub engine: Arc<Engine>,
    pub status: Arc<Status>,
    pub model: Arc<belvedere_model::Model>,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    Taken,
    /// The old model goes on.
    Refused,
}

impl Loaded {
    /// Reads config and model anew, checks the model at its sources, and takes it in if it has no errors.
    ///
    /// Of the config only `models` counts; all else needs a restart, and the log says so.
    pub async fn reload(&mut self) -> Reloaded {
        let config = match startup::read_config(&self.given) {
            Ok(config) => config,
            Err(problems) => return self.refuse("the config has errors", &problems),
        };
        for key in needs_restart(&self.config, &config) {
            tracing::warn!(key, "the config changed here; this takes effect at the next start");
        }
        let mut next = self.config.clone();
        next.models = config.models;
        let CheckedModel { model, files, warnings: mut diagnostics } = match startup::read_checked_model(&next) {
            Ok(checked) => checked,
            Err(diagnostics) => return self.refuse("the model has errors", &diagnostics),
        };
        let problems = self.engine.check_model(Arc::clone(&model)).await;
        let at_sources = source_problems::diagnostics(&problems, &model, &files, &next);
        if at_sources.iter().any(Diagnostic::is_error) {
            diagnostics.extend(at_sources);
            return self.refuse("data sources refuse the model", &diagnostics);
        }
        check::print(&diagnostics);
        self.config = next;
        self.take(model, &files).await;
        tracing::info!(version = self.status.model_version(), "the model was reloaded");
        Reloaded::Taken
    }

    /// Types the model again, for sources that answer now and did not before.
    pub async fn retype(&mut self) {
        let read = startup::read_model(&self.config);
        let model = Arc::clone(&self.model);
        self.take(model, &read.files).await;
    }

    /// Puts `model` in; what sources say of it is printed, and told at `/readyz`.
    pub async fn take(&mut self, model: Arc<belvedere_model::Model>, files: &[belvedere_model::ModelFile]) {
        if rollup_store::has_rollups(&model)
            && let Err(problem) = rollup_store::open(&self.config, &self.given.environment, &self.engine)
        {
            check::print(&[*problem]);
        }
        let problems = self.engine.load_model(Arc::clone(&model)).await;
        let diagnostics = source_problems::diagnostics(&problems, &model, files, &self.config);
        check::print(&diagnostics);
        for problem in problems.iter().filter(|problem| problem.unreachable) {
            if let Some(cube) = model.cubes.get(&problem.cube) {
                self.status.source_unreachable(&cube.data_source, problem.message.clone());
            }
        }
        self.status.model_taken(self.engine.snapshot().version, &diagnostics);
        self.model = model;
    }

    fn refuse(&self, reason: &'static str, diagnostics: &[Diagnostic]) -> Reloaded {
        check::print(diagnostics);
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
        tracing::error!(reason, errors, "the model was not reloaded; the one before goes on");
        self.status.model_refused(diagnostics);
        Reloaded::Refused
    }
}

/// The keys whose change a reload does not take in.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let addresses =
        |list: &[Placed<String>]| -> Vec<String> { list.iter().map(|listen| listen.value.clone()).collect() };
    let users = |config: &Config| -> Vec<_> {
        let users = config.users.iter();
        users
            .map(|user| {
                let groups = user.groups.clone();
                (user.name.clone(), user.password.value.clone(), groups, user.time_zone_fixed, user.may_build)
            })
            .collect()
    };
    let sources = |config: &Config| -> Vec<_> {
        let sources = config.data_sources.iter();
        sources
            .map(|source| (source.name.clone(), format!("{:?}", source.kind), address(&source.kind), source.zone))
            .collect()
    };
    [
        ("listen", addresses(&old.listen) != addresses(&new.listen)),
        ("http", old.http.as_ref().map(|http| &http.value) != new.http.as_ref().map(|http| &http.value)),
        ("time_zone", old.time_zone != new.time_zone),
        ("users", users(old) != users(new)),
        ("masks", old.masks != new.masks),
        ("data_sources", sources(old) != sources(new)),
        ("limits", old.limits != new.limits),
        ("log", old.log != new.log),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// What the source's `Debug` leaves out, because it holds a password.
fn address(kind: &DataSourceKind) -> Vec<String> {
    match kind {
        DataSourceKind::Postgres(remote) | DataSourceKind::MySql(remote) => match &remote.address {
            Address::Url(url) => vec![url.clone()],
            Address::Parts { host, port, user, password, database } => {
                vec![host.clone(), port.to_string(), user.clone(), password.clone(), database.clone()]
            }
        },
        DataSourceKind::Files(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
