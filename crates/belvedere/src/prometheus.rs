//! The text of `/metrics`, in Prometheus' exposition format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use belvedere_pgserver::Metrics;

use crate::observe::{BUCKETS_MS, Histogram, Observations};
use crate::status::Status;

/// All metrics; lines of one metric stand together, as the format demands.
pub fn render(wire: &Metrics, observations: &Observations, status: &Status) -> String {
    let mut page = Page(String::with_capacity(8 << 10));
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    page.metric("belvedere_build_info", "gauge", "The version that runs.");
    page.sample("belvedere_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);

    for (name, kind, help, value) in [
        ("sockets_total", "counter", "Sockets accepted.", get(&wire.sockets_total)),
        (
            "sockets_refused_total",
            "counter",
            "Sockets closed at once because of a limit.",
            get(&wire.sockets_refused_total),
        ),
        ("logins_failed_total", "counter", "Logins that failed.", get(&wire.logins_failed_total)),
        ("connections_total", "counter", "Sessions that logged in.", get(&wire.connections_total)),
        ("connections", "gauge", "Sessions that are logged in.", get(&wire.connections_open)),
        ("statements_total", "counter", "Statements run for clients.", get(&wire.statements_total)),
        (
            "statements_succeeded_total",
            "counter",
            "Statements that did not end in an error.",
            get(&wire.statements_succeeded_total),
        ),
        ("rows_sent_total", "counter", "Rows sent to clients.", get(&wire.rows_sent_total)),
        ("sent_bytes_total", "counter", "Bytes sent to clients.", get(&wire.bytes_sent_total)),
        ("received_bytes_total", "counter", "Bytes received from clients.", get(&wire.bytes_received_total)),
        ("cancels_total", "counter", "Cancel requests that found a statement.", get(&wire.cancels_total)),
        (
            "clients_vanished_total",
            "counter",
            "Clients that left while a statement ran.",
            get(&wire.clients_vanished_total),
        ),
        ("panics_total", "counter", "Panics caught at the edge of a connection.", get(&wire.panics_total)),
        ("model_version", "gauge", "Counts up with every model that is taken in.", status.model_version()),
        (
            "model_current",
            "gauge",
            "1 while the model that serves is the one in the files, 0 while they have errors.",
            u64::from(status.model_is_current()),
        ),
    ] {
        let name = format!("belvedere_{name}");
        page.metric(&name, kind, help);
        page.sample(&name, &[], value);
    }

    page.metric("belvedere_errors_total", "counter", "Errors sent to clients.");
    for (sqlstate, count) in wire.errors_by_sqlstate() {
        page.sample("belvedere_errors_total", &[("sqlstate", sqlstate)], count);
    }
    let name = "belvedere_statement_duration_seconds";
    page.metric(name, "histogram", "From the execution of a client's statement to its last row.");
    page.histogram(name, &[], &observations.statements);

    let sources = observations.sources();
    page.metric("belvedere_source_reachable", "gauge", "Whether the source could last be reached.");
    for (source, reachable) in status.sources() {
        page.sample("belvedere_source_reachable", &[("source", &source)], u64::from(reachable));
    }
    type Read = fn(&crate::observe::SourceCounts) -> &AtomicU64;
    let counters: [(&str, &str, &str, Read); 4] = [
        ("statements_total", "counter", "Statements sent to the source.", |counts| &counts.statements),
        ("statements_running", "gauge", "Statements that run at the source.", |counts| &counts.statements_open),
        ("errors_total", "counter", "Statements that the source failed.", |counts| &counts.errors),
        ("rows_total", "counter", "Rows read from the source.", |counts| &counts.rows),
    ];
    for (name, kind, help, read) in counters {
        let name = format!("belvedere_source_{name}");
        page.metric(&name, kind, help);
        for source in &sources {
            page.sample(&name, &[("source", &source.name)], get(read(source)));
        }
    }
    let name = "belvedere_source_duration_seconds";
    page.metric(name, "histogram", "From sending a statement to a source to its last row.");
    for source in &sources {
        page.histogram(name, &[("source", &source.name)], &source.durations);
    }
    page.0
}

struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let counts = histogram.cumulative();
        let bounds = BUCKETS_MS.iter().map(|bound| format!("{}", *bound as f64 / 1000.0));
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&counts) {
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &labels, count);
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum_seconds());
        self.sample(&format!("{name}_count"), labels, counts.last().copied().unwrap_or_default());
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
