//! Rows per second from Arrow to DataRow messages, as text and in binary, without a socket.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use belvedere_engine::Column;
use belvedere_pgserver::benchmark::encode_rows;
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postgres_types::Type;

/// As many as the engine puts in a batch.
const ROWS: i32 = 8192;

fn encode(criterion: &mut Criterion) {
    let numbers = || 0..ROWS;
    let amounts = Decimal128Array::from_iter_values(numbers().map(|i| i128::from(i) * 37))
        .with_precision_and_scale(12, 2)
        .expect("twelve digits hold every amount");
    let second = |i| 1_767_225_600_000_000 + i64::from(i) * 1_000_000;
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int32Array::from_iter_values(numbers())) as ArrayRef),
        ("k", Arc::new(Int32Array::from_iter_values(numbers().map(|i| i % 1000)))),
        ("t", Arc::new(StringArray::from_iter_values(numbers().map(|i| format!("event number {i}"))))),
        ("n", Arc::new(amounts)),
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(numbers().map(second)))),
    ])
    .expect("all columns are of one length");
    let types = [Type::INT4, Type::INT4, Type::TEXT, Type::NUMERIC, Type::TIMESTAMP];
    let columns: Vec<Column> = batch
        .schema()
        .fields()
        .iter()
        .zip(types)
        .map(|(field, pg_type)| Column { name: field.name().clone(), pg_type, typmod: -1 })
        .collect();
    let mut output = BytesMut::new();
    let mut group = criterion.benchmark_group("encode five columns");
    group.sample_size(20).throughput(Throughput::Elements(ROWS.unsigned_abs().into()));
    for (name, in_binary) in [("text", false), ("binary", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                encode_rows(black_box(&batch), &columns, in_binary, &mut output).expect("every value has a form")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
