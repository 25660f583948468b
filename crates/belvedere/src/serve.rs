//! `belvedere serve`: from the config to listeners, and to an end without lost statements.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use belvedere_engine::{Backend, EngineBackend};
use belvedere_model::Diagnostic;
use belvedere_pgserver::{Drained, Metrics, ServerConfig};
use belvedere_sources::RemoteSource;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::{Given, answer, complain};
use crate::config::Config;
use crate::http::{self, Answer, Pages};
use crate::observe::{Observations, ObservedBackend};
use crate::reload::{Fingerprint, Loaded, Watch};
use crate::startup::CheckedModel;
use crate::status::{Phase, Status};
use crate::{check, listeners, logging, prometheus, rollup_store, startup, tls};

/// How often files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How often sources that could not be reached are tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);

pub async fn serve(given: Given) -> ExitCode {
    match Box::pin(start_and_run(given)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            check::print(&problems);
            ExitCode::FAILURE
        }
    }
}

async fn start_and_run(given: Given) -> Result<(), Vec<Diagnostic>> {
    let config = startup::read_config(&given)?;
    logging::start(&config.log);
    // Before anything else that takes long: a signal must not kill a process that just starts.
    let shutdown = stop_on_signals();

    let CheckedModel { model, files, warnings } = startup::read_checked_model(&config)?;
    check::print(&warnings);

    let status = Arc::new(Status::default());
    status.name_sources(config.data_sources.iter().map(|source| source.name.as_str()));
    let observations = Arc::new(Observations::new(Arc::clone(&status)));
    let metrics = Arc::new(Metrics::default());
    let server = server_config(&config, &metrics).map_err(|problem| vec![*problem])?;
    let sources = startup::open_sources(&config, &observations).await?;
    let remotes: Vec<Arc<dyn RemoteSource>> = sources
        .values()
        .filter_map(|source| match &source.kind {
            belvedere_engine::sources::DataSourceKind::Remote(remote) => Some(Arc::clone(remote)),
            belvedere_engine::sources::DataSourceKind::Files(_) => None,
        })
        .collect();
    let engine = startup::engine(&config, sources)?;
    if rollup_store::has_rollups(&model) {
        rollup_store::open(&config, &given.environment, &engine).map_err(|problem| vec![*problem])?;
    }

    rollup_store::build_on_demand(&engine);

    let (sql_listeners, warnings) = listeners::bind_all(&config).await.map_err(|problem| vec![*problem])?;
    check::print(&warnings);
    if config.users.is_empty() {
        complain(
            "warning: no `users` are configured: whoever can reach this machine's loopback may log in, by any name\n",
        );
    }
    let http_listener = match &config.http {
        Some(http) => Some(listeners::bind_one(http).await.map_err(|problem| vec![*problem])?),
        None => None,
    };
    let http_address = http_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let http_end = CancellationToken::new();
    let http_task = http_listener.map(|listener| {
        let pages = pages(Arc::clone(&metrics), Arc::clone(&observations), Arc::clone(&status));
        tokio::spawn(http::serve(listener, pages, http_end.clone()))
    });

    let fingerprint = Fingerprint::of(&given.config_file, &config.models);
    let mut loaded = Loaded {
        given,
        config: config.clone(),
        engine: Arc::clone(&engine),
        status: Arc::clone(&status),
        model: Arc::clone(&model),
    };
    tokio::select! {
        () = loaded.take(model, &files) => {}
        () = shutdown.cancelled() => return Ok(()),
    }

    announce(&config, &sql_listeners, http_address);
    status.enter(Phase::Serving);
    let backend: Arc<dyn Backend> =
        Arc::new(ObservedBackend { inner: Arc::new(EngineBackend(engine)), observations: Arc::clone(&observations) });
    let mut servers = JoinSet::new();
    for listener in sql_listeners {
        let server = belvedere_pgserver::serve(listener, Arc::clone(&backend), server.clone(), shutdown.clone());
        servers.spawn(server);
    }
    // Until the last statement has ended, others must know which versions are read here.
    let drained = CancellationToken::new();
    let rollups =
        tokio::spawn(rollup_store::watch(Arc::clone(&loaded.engine), rollup_store::process_name(), drained.clone()));
    let scheduler = tokio::spawn(rollup_store::refresh(
        Arc::clone(&loaded.engine),
        loaded.config.refresh.clone(),
        shutdown.clone(),
    ));
    let watcher = tokio::spawn(watch(loaded, remotes, Watch::new(fingerprint), shutdown.clone()));
    shutdown.cancelled().await;
    status.enter(Phase::Draining);
    tracing::info!("draining: no new connections, running statements go on");
    while let Some(ended) = servers.join_next().await {
        match ended {
            Ok(Ok(Drained::Completely)) => tracing::info!("drained"),
            Ok(Ok(Drained::CutOff(connections))) => {
                tracing::warn!(connections, "statements that still ran at the deadline were cut off");
            }
            Ok(Err(error)) => tracing::error!(%error, "a listener failed"),
            Err(_) => tracing::error!("a listener ended by a panic"),
        }
    }
    watcher.abort();
    drained.cancel();
    for task in [rollups, scheduler] {
        let _ended = task.await;
    }
    http_end.cancel();
    if let Some(task) = http_task {
        let _ = task.await;
    }
    Ok(())
}

/// Cancelled by SIGTERM or SIGINT; a second one ends the process at once.
fn stop_on_signals() -> CancellationToken {
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("signals cannot be received");
            return;
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(1);
            }
            token.cancel();
        }
    });
    shutdown
}

fn server_config(config: &Config, metrics: &Arc<Metrics>) -> Result<ServerConfig, Box<Diagnostic>> {
    let mut server = ServerConfig { metrics: Arc::clone(metrics), ..ServerConfig::default() };
    server.limits.connections = config.limits.connections;
    server.drain_deadline = config.limits.drain;
    if let Some(configured) = &config.tls {
        server.tls = Some(tls::server_config(configured)?);
        server.tls_required = configured.require;
    }
    Ok(server)
}

fn pages(metrics: Arc<Metrics>, observations: Arc<Observations>, status: Arc<Status>) -> Pages {
    Arc::new(move |path| match path {
        "/livez" => Some(http::text(200, "alive\n")),
        "/readyz" => {
            let (ready, body) = status.ready();
            let code = if ready { 200 } else { 503 };
            Some(Answer { status: code, content_type: "application/json", body: format!("{body:#}\n") })
        }
        "/metrics" => Some(Answer {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: prometheus::render(&metrics, &observations, &status),
        }),
        _ => None,
    })
}

/// Reloads on SIGHUP and when files change, and asks sources again that could not be reached.
async fn watch(mut loaded: Loaded, remotes: Vec<Arc<dyn RemoteSource>>, mut files: Watch, shutdown: CancellationToken) {
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be received");
        return;
    };
    let mut looks = tokio::time::interval(WATCH_EVERY);
    let mut retries = tokio::time::interval(RETRY_EVERY);
    for interval in [&mut looks, &mut retries] {
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = hang_up.recv() => {
                tracing::info!("SIGHUP: the model is read again");
                Box::pin(loaded.reload()).await;
            }
            _ = looks.tick() => {
                let (file, models) = (loaded.given.config_file.clone(), loaded.config.models.clone());
                // A slow disk must not hold up anyone.
                let Ok(now) = tokio::task::spawn_blocking(move || Fingerprint::of(&file, &models)).await else { continue };
                if files.look(now) {
                    Box::pin(loaded.reload()).await;
                }
            }
            _ = retries.tick() => Box::pin(retry(&mut loaded, &remotes)).await,
        }
    }
}

/// One small question to each source that is away; with the first answer the model is typed again.
async fn retry(loaded: &mut Loaded, remotes: &[Arc<dyn RemoteSource>]) {
    // A source may have answered something since, and its cubes still wait for their types.
    let away = [loaded.status.unreachable_sources(), loaded.engine.untyped_sources()].concat();
    let mut back = false;
    for source in remotes.iter().filter(|source| away.iter().any(|name| name == source.name())) {
        // The observer of the source notes whether it answers.
        back |= source.describe("SELECT 1 AS c0").await.is_ok();
    }
    if back {
        loaded.retype().await;
    }
}

/// One line for each listener, and a line to copy.
fn announce(config: &Config, listeners: &[TcpListener], http: Option<SocketAddr>) {
    let mut text = String::new();
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    for address in &addresses {
        text += &format!("listening on {address} for PostgreSQL clients\n");
    }
    if let Some(http) = http {
        text += &format!("listening on {http} for /livez, /readyz and /metrics\n");
    }
    if let Some(first) = addresses.first() {
        let host = if first.ip().is_unspecified() { "localhost".to_owned() } else { first.ip().to_string() };
        let user = config.users.first().map_or("belvedere", |user| user.name.as_str());
        text += &format!("psql -h {host} -p {} -U {user} belvedere\n", first.port());
    }
    if answer(&text).is_err() {
        tracing::debug!("nobody reads standard output");
    }
    for address in addresses {
        tracing::info!(%address, "listening");
    }
}
