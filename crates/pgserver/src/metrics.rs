//! Counters of the wire, for `/metrics`. Plain atomics: the process reads them when it is asked.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

/// All of them only grow, except the two `…_open`.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sockets accepted.
    pub sockets_total: AtomicU64,
    /// Sockets that are not logged in (yet).
    pub sockets_unauthenticated_open: AtomicU64,
    /// Sockets closed at once because a limit was reached.
    pub sockets_refused_total: AtomicU64,
    /// Sessions that logged in.
    pub connections_total: AtomicU64,
    /// Sessions that are logged in now.
    pub connections_open: AtomicU64,
    /// Logins that failed for whatever reason.
    pub logins_failed_total: AtomicU64,
    /// Statements that were handed to the engine to run.
    pub statements_total: AtomicU64,
    /// Statements that did not end in an error.
    pub statements_succeeded_total: AtomicU64,
    pub rows_sent_total: AtomicU64,
    pub bytes_sent_total: AtomicU64,
    pub bytes_received_total: AtomicU64,
    /// Cancel requests whose key was right and that found a statement.
    pub cancels_total: AtomicU64,
    /// Clients that went away while a statement ran.
    pub clients_vanished_total: AtomicU64,
    /// Panics that were caught at the edge of a connection. Each is a bug.
    pub panics_total: AtomicU64,
    errors: DashMap<&'static str, u64>,
}

impl Metrics {
    /// Errors sent to clients, by SQLSTATE, sorted.
    #[must_use]
    pub fn errors_by_sqlstate(&self) -> Vec<(&'static str, u64)> {
        let mut errors: Vec<_> = self.errors.iter().map(|entry| (*entry.key(), *entry.value())).collect();
        errors.sort_unstable();
        errors
    }

    pub(crate) fn count_error(&self, sqlstate: &'static str) {
        *self.errors.entry(sqlstate).or_default() += 1;
    }
}

/// Adds one for as long as it lives.
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(crate) fn raise(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
