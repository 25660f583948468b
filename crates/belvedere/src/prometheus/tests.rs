//! The shape of `/metrics`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use belvedere_pgserver::Metrics;

use super::render;
use crate::observe::Observations;
use crate::status::Status;

#[test]
fn every_sample_belongs_to_the_metric_announced_above_it() {
    let status = Arc::new(Status::default());
    status.name_sources(["od\"d"]);
    let observations = Observations::new(Arc::clone(&status));
    observations.source("od\"d").rows.fetch_add(7, Ordering::Relaxed);
    let page = render(&Metrics::default(), &observations, &status);
    let mut announced = "";
    for line in page.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(metric) => announced = metric.split(' ').next().unwrap_or_default(),
            None if line.starts_with("# HELP ") => {}
            None => assert!(line.starts_with(announced), "{line} stands below {announced}"),
        }
    }
    assert!(page.contains("belvedere_source_rows_total{source=\"od\\\"d\"} 7\n"), "{page}");
}

#[test]
fn buckets_are_cumulative_and_the_last_one_counts_all() {
    let status = Arc::new(Status::default());
    let observations = Observations::new(Arc::clone(&status));
    for milliseconds in [1, 3, 3, 400_000] {
        observations.statements.record(Duration::from_millis(milliseconds));
    }
    let page = render(&Metrics::default(), &observations, &status);
    let of = |rest: &str| {
        page.lines().find_map(|line| line.strip_prefix(&format!("belvedere_statement_duration_seconds{rest} ")))
    };
    assert_eq!(of("_bucket{le=\"0.001\"}"), Some("1"));
    assert_eq!(of("_bucket{le=\"0.005\"}"), Some("3"));
    assert_eq!(of("_bucket{le=\"300\"}"), Some("3"));
    assert_eq!(of("_bucket{le=\"+Inf\"}"), Some("4"));
    assert_eq!(of("_count"), Some("4"));
    assert_eq!(of("_sum"), Some("400.007"));
}
