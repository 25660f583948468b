//! From a query's text to its last row at a client over TCP: the release program over the sample shop's files.

use belvedere_benches::{Served, connect};
use criterion::{Criterion, criterion_group, criterion_main};

const QUERIES: [(&str, &str); 2] =
    [("SELECT 1", "SELECT 1"), ("lines by status", "SELECT status, MEASURE(count) FROM sales GROUP BY 1 ORDER BY 1")];

fn wire(criterion: &mut Criterion) {
    let served = Served::shop().expect("the release program serves the shop");
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads");
    let client = runtime.block_on(connect(&served.url())).expect("anyone may log in");
    let mut group = criterion.benchmark_group("wire");
    group.sample_size(20);
    for (name, sql) in QUERIES {
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(client.simple_query(sql)).expect("the shop answers it"));
        });
    }
    group.finish();
}

criterion_group!(benches, wire);
criterion_main!(benches);
