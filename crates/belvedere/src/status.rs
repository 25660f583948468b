//! What `/readyz` tells: whether the process serves, with which model, and which sources do not answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use belvedere_model::{Diagnostic, Severity};
use serde_json::{Value, json};

/// The state of the process, shared by all tasks.
#[derive(Debug, Default)]
pub struct Status(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Of the model that serves; 0 before the first.
    model_version: u64,
    /// Why the newest files of the model do not serve, if they do not.
    model_errors: Vec<Value>,
    /// What sources refuse of the model that serves.
    source_errors: Vec<Value>,
    /// All data sources, with the reason for those that cannot be reached.
    sources: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Starting,
    Serving,
    Draining,
}

impl Status {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, phase: Phase) {
        self.state().phase = phase;
    }

    pub fn name_sources<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut state = self.state();
        for name in names {
            state.sources.entry(name.to_owned()).or_default();
        }
    }

    /// A model serves now; `refused` is what sources say against it.
    pub fn model_taken(&self, version: u64, refused: &[Diagnostic]) {
        let mut state = self.state();
        state.model_version = version;
        state.model_errors.clear();
        state.source_errors = errors(refused);
    }

    /// Newer files have errors; what served before goes on.
    pub fn model_refused(&self, diagnostics: &[Diagnostic]) {
        self.state().model_errors = errors(diagnostics);
    }

    pub fn source_unreachable(&self, name: &str, reason: String) {
        let before = self.state().sources.insert(name.to_owned(), Some(reason.clone()));
        if !matches!(before, Some(Some(_))) {
            tracing::warn!(source = name, reason, "a data source cannot be reached");
        }
    }

    pub fn source_reachable(&self, name: &str) {
        let before = self.state().sources.insert(name.to_owned(), None);
        if matches!(before, Some(Some(_))) {
            tracing::info!(source = name, "the data source answers again");
        }
    }

    pub fn unreachable_sources(&self) -> Vec<String> {
        let state = self.state();
        state.sources.iter().filter(|(_, reason)| reason.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Each source's name, and whether it can be reached as far as is known.
    pub fn sources(&self) -> Vec<(String, bool)> {
        self.state().sources.iter().map(|(name, reason)| (name.clone(), reason.is_none())).collect()
    }

    pub fn model_version(&self) -> u64 {
        self.state().model_version
    }

    pub fn model_is_current(&self) -> bool {
        self.state().model_errors.is_empty()
    }

    /// Whether clients should be sent here, and the answer of `/readyz`.
    ///
    /// Not ready: starting, draining, or no source answers. A model with errors or one source of several that is away leaves the
    /// rest working, so they are told without taking the server out of service.
    pub fn ready(&self) -> (bool, Value) {
        let state = self.state();
        let away = state.sources.values().filter(|reason| reason.is_some()).count();
        let all_away = away > 0 && away == state.sources.len();
        let ready = state.phase == Phase::Serving && state.model_version > 0 && !all_away;
        let whole = ready && away == 0 && state.model_errors.is_empty() && state.source_errors.is_empty();
        let word = match (state.phase, ready, whole) {
            (Phase::Starting, ..) => "starting",
            (Phase::Draining, ..) => "draining",
            (Phase::Serving, true, true) => "ready",
            (Phase::Serving, true, false) => "degraded",
            (Phase::Serving, false, _) => "unavailable",
        };
        let unreachable: Vec<Value> = state
            .sources
            .iter()
            .filter_map(|(name, reason)| Some(json!({ "source": name, "reason": reason.as_ref()? })))
            .collect();
        let body = json!({
            "status": word,
            "model_version": state.model_version,
            "model_errors": state.model_errors,
            "refused_by_sources": state.source_errors,
            "unreachable_sources": unreachable,
        });
        (ready, body)
    }
}

fn errors(diagnostics: &[Diagnostic]) -> Vec<Value> {
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|diagnostic| {
            let place = &diagnostic.place;
            json!({
                "place": format!("{}:{}:{}", place.file, place.line, place.column),
                "message": diagnostic.message,
            })
        })
        .collect()
}
