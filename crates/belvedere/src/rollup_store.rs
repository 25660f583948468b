//! The rollup store that the config names: opened for the first model that has rollups, so that nothing is made on disk without any.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use belvedere_engine::rollups::RollupKeeper;
use belvedere_engine::{Engine, Zone};
use belvedere_model::{Diagnostic, Model, ModelFile, Severity};
use belvedere_refresh::{OnDemand, Refresher, ScheduleOptions};
use belvedere_rollup::{S3Access, Store, StoreOptions};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Environment, Refresh};
use crate::model_files::about_file;
use crate::{source_problems, startup};

/// How often a server looks for what other processes have built.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long others believe what this process said that it reads.
const READER_LASTS: Duration = Duration::from_secs(30);

/// Whether a model has anything that would be stored.
pub fn has_rollups(model: &Model) -> bool {
    model.cubes.values().any(|cube| !cube.pre_aggregations.is_empty())
}

/// Opens the store and gives it to the engine, unless it has one.
///
/// # Errors
/// A folder or bucket that cannot be used, by its name.
pub fn open(config: &Config, environment: &Environment, engine: &Engine) -> Result<(), Box<Diagnostic>> {
    if engine.rollup_keeper().is_some() {
        return Ok(());
    }
    let memory = config.limits.memory_bytes;
    let defaults = StoreOptions::default();
    let options = StoreOptions {
        memory_bytes: defaults.memory_bytes.min(u64::try_from(memory / 4).unwrap_or(u64::MAX)),
        sort_bytes: defaults.sort_bytes.min(memory / 8),
        s3: Some(s3_access(environment)),
        ..defaults
    };
    let cannot = |message: String| {
        let help = "`storage` in the config, or BELVEDERE_STORAGE, names a folder that this process may write to, or an s3:// url";
        Box::new(about_file(Path::new(&config.storage), message).with_help(help))
    };
    if !config.storage.contains("://") {
        // A file in the folder's place would be found out only by the first reading.
        std::fs::create_dir_all(&config.storage)
            .map_err(|error| cannot(format!("cannot open a rollup store at {}: {error}", config.storage)))?;
    }
    let store = Store::open_with(&config.storage, options).map_err(|error| cannot(error.to_string()))?;
    let zones = config.refresh.time_zones.iter().map(|zone| Zone::from(*zone)).collect();
    engine.keep_rollups(RollupKeeper::new(store, zones));
    Ok(())
}

/// The variables that Amazon's own tools read.
fn s3_access(environment: &Environment) -> S3Access {
    let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
    let endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
    S3Access {
        region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
        keys: variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY")),
        session_token: variable("AWS_SESSION_TOKEN"),
        // Whoever names a server by http:// means it.
        allow_http: endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")),
        endpoint,
    }
}

/// Different for each process that uses a store.
pub fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}-{}", host.trim(), std::process::id(), since.as_nanos())
}

/// Takes in, again and again, what this or another process has built, until `drained`: no statement reads anything any more.
pub async fn watch(engine: Arc<Engine>, name: String, drained: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut is_registered, mut was_unheard) = (false, false);
    let mut was_away = false;
    loop {
        tokio::select! {
            () = drained.cancelled() => break,
            _ = looks.tick() => {}
        }
        let Some(keeper) = engine.rollup_keeper() else { continue };
        if !is_registered {
            match keeper.store.register_reader(&name, READER_LASTS).await {
                Ok(()) => is_registered = true,
                Err(error) if !was_unheard => {
                    was_unheard = true;
                    tracing::warn!(%error, "cannot tell other processes which rollups this one reads");
                }
                Err(_) => {}
            }
        }
        match engine.see_rollups().await {
            Ok(changed) => {
                was_away = false;
                if changed {
                    tracing::info!("rollups have changed");
                }
            }
            Err(error) if !was_away => {
                was_away = true;
                tracing::warn!(%error, "the rollup store does not answer; what was known of it goes on");
            }
            Err(_) => {}
        }
    }
    if let Some(keeper) = engine.rollup_keeper()
        && let Err(error) = keeper.store.unregister_reader().await
    {
        tracing::debug!(%error, "could not say that this process reads no rollups any more");
    }
}

/// Lets statements of clients build rollups.
pub fn build_on_demand(engine: &Arc<Engine>) {
    engine.build_rollups_by(Box::new(OnDemand {
        engine: Arc::downgrade(engine),
        clock: Arc::new(startup::SystemClock),
        holder: process_name(),
    }));
}

/// Keeps rollups fresh, from the first model on that has some; returns at `shutdown`, or at once where the config says so.
pub async fn refresh(engine: Arc<Engine>, config: Refresh, shutdown: CancellationToken) {
    if !config.enabled {
        return;
    }
    let mut looks = tokio::time::interval(LOOK_EVERY);
    while engine.rollup_keeper().is_none() {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = looks.tick() => {}
        }
    }
    let options = ScheduleOptions {
        every: config.every,
        concurrency: config.concurrency,
        per_source: config.per_source,
        ..ScheduleOptions::default()
    };
    match Refresher::new(engine, Arc::new(startup::SystemClock), process_name()) {
        Ok(refresher) => belvedere_refresh::run(refresher, options, shutdown).await,
        Err(error) => tracing::error!(%error, "rollups are not refreshed"),
    }
}

/// What is wrong with the rollups of a model, at its places.
pub fn problems(model: &Model, files: &[ModelFile]) -> Vec<Diagnostic> {
    belvedere_refresh::diagnose::rollup_problems(model)
        .into_iter()
        .map(|problem| {
            let shown = source_problems::at_place(files, &problem.place, problem.message).with_help(problem.help);
            let severity = if problem.is_warning { Severity::Warning } else { Severity::Error };
            Diagnostic { severity, ..shown }
        })
        .collect()
}
