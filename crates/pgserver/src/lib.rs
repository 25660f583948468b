//! The Postgres wire protocol: from bytes on a socket to calls on an engine [`Session`](belvedere_engine::Session), and back.
//!
//! A connection passes through these modules in this order:
//!
//! 1. [`serve`] accepts sockets, counts them and drains them at shutdown.
//! 2. `startup` negotiates TLS, answers cancel requests and logs the user in (`scram`, `backoff`). Every error there is FATAL.
//! 3. `conversation` runs simple and extended queries. It reads only what `guard` let through.
//! 4. `parameters` turns bound values into Arrow scalars; `encode` turns Arrow arrays into rows on the wire.
//!
//! The loop is ours because pgwire's own cannot be used: it answers queries after a failed login, aborts the process on a
//! large row count, panics on truncated messages and holds whole results in memory. Its message types and its SCRAM are
//! used, behind the frame guard.

mod serve;

mod config;
mod metrics;

mod cancel;
mod transport;

mod backoff;
mod scram;
mod startup;

mod guard;
mod messages;

mod conversation;
mod statements;
mod streaming;

mod calendar;
mod encode;
mod numbers;
mod parameters;
mod zone;

#[doc(hidden)]
pub mod benchmark;

#[cfg(test)]
mod tests;

pub use config::{Limits, ServerConfig};
pub use metrics::Metrics;
pub use scram::{BadPassword, scram_verifier};
#[doc(hidden)]
pub use serve::serve_in_memory;
pub use serve::{Drained, serve};
