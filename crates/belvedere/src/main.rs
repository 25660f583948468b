//! The process: commands, configuration, signals, supervision. The only place that touches the world.
//!
//! `commands` reads the command line; `startup` reads the config and the model and opens the data sources; `serve`, `build`,
//! `check` and `explain` are the commands. `reload` watches files, `status` holds what `http` tells at `/readyz`, `observe` counts
//! what `prometheus` prints at `/metrics`.

mod commands;
mod config;

mod startup;

mod data_sources;
mod model_files;
mod rollup_store;
mod source_problems;

mod build;
mod check;
mod explain;
mod serve;

mod http;
mod listeners;
mod observe;
mod prometheus;
mod reload;
mod status;

mod logging;
mod tls;

use std::process::ExitCode;

/// The system's allocator keeps what a large query once needed; this one gives it back.
#[cfg(all(unix, not(target_env = "musl")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    commands::run()
}
