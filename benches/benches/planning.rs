//! How long a statement over three joined cubes takes until it could be sent to its source.
//!
//! `bind` is what preparing costs: parse, check, bind. `whole` is all of it up to the physical plan, through EXPLAIN: parse, bind,
//! expand, lower, optimize, push down. The source is a fake that knows the types of its columns and has no rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use async_trait::async_trait;
use belvedere_engine::sources::{DataSource, DataSourceKind};
use belvedere_engine::{Backend, Clock, Engine, EngineBackend, EngineConfig, Login, Outcome, Session, Zone};
use belvedere_model::ModelFile;
use belvedere_sources::{Dialect, RemoteSource, SourceColumn, SourceError, Statement};
use chrono::{DateTime, Utc};
use criterion::{Criterion, criterion_group, criterion_main};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::EmptyRecordBatchStream;
use futures::StreamExt;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const MODEL: &str = "
cubes:
  - name: line_items
    sql_table: line_items
    joins:
      - { name: orders, relationship: many_to_one, sql: '{CUBE}.order_id = {orders}.id' }
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true }
    measures:
      - { name: revenue, sql: amount, type: sum }
      - { name: count, type: count }
  - name: orders
    sql_table: orders
    joins:
      - { name: customers, relationship: many_to_one, sql: '{CUBE}.customer_id = {customers}.id' }
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true }
      - { name: status, sql: status, type: string }
      - { name: created_at, sql: created_at, type: time }
    measures:
      - { name: shipping, sql: shipping_amount, type: sum }
  - name: customers
    sql_table: customers
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true }
      - { name: city, sql: city, type: string }
views:
  - name: sales
    cubes:
      - { join_path: line_items, includes: [revenue, count] }
      - { join_path: line_items.orders, includes: [status, created_at, shipping] }
      - { join_path: line_items.orders.customers, includes: [city] }
";

/// Two measures of different cubes: the second must not be counted once per line.
const QUERY: &str = "SELECT city, DATE_TRUNC('month', created_at) AS month, MEASURE(revenue), MEASURE(shipping) FROM sales \
    WHERE status = 'shipped' AND created_at >= '2026-01-01' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10";

#[derive(Debug)]
struct Fake;

#[async_trait]
impl RemoteSource for Fake {
    fn name(&self) -> &str {
        "default"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    /// Types by the names of the columns in MODEL.
    async fn describe(&self, sql: &str) -> Result<Vec<SourceColumn>, SourceError> {
        let items = sql.split(" FROM ").next().unwrap_or(sql);
        let column = |(index, item): (usize, &str)| {
            let (data_type, native_type) = if item.contains("amount") {
                (DataType::Decimal128(12, 2), "numeric(12,2)")
            } else if item.contains("created_at") {
                (DataType::Timestamp(TimeUnit::Microsecond, None), "timestamp")
            } else if item.contains("status") || item.contains("city") {
                (DataType::Utf8, "text")
            } else {
                (DataType::Int32, "integer")
            };
            let field = Field::new(format!("c{index}"), data_type, true);
            SourceColumn { field, native_type: native_type.to_owned(), compares_by_code_point: true }
        };
        Ok(items.split(", ").enumerate().map(column).collect())
    }

    fn read(self: Arc<Self>, _: Statement, schema: SchemaRef) -> SendableRecordBatchStream {
        Box::pin(EmptyRecordBatchStream::new(schema))
    }
}

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_262_400, 0).expect("the second exists")
    }
}

fn session(runtime: &Runtime) -> Box<dyn Session> {
    let config = EngineConfig {
        time_zone: chrono_tz::Tz::UTC,
        statement_timeout: None,
        memory_bytes: 64 << 20,
        connections_max: 1,
        users: Vec::new(),
        masks: std::sync::Arc::default(),
        planning_threads: 1,
    };
    let sources = HashMap::from([(
        "default".to_owned(),
        DataSource { kind: DataSourceKind::Remote(Arc::new(Fake)), zone: Zone::UTC },
    )]);
    let engine = Engine::new(config, sources, Arc::new(Noon)).expect("the system has threads");
    let file = ModelFile { path: "model.yml".to_owned(), text: MODEL.to_owned() };
    let model = belvedere_model::load(&[file]).model.expect("the model has no mistakes");
    let problems = runtime.block_on(engine.load_model(Arc::new(model)));
    assert!(problems.is_empty(), "the fake knows every column: {problems:?}");
    let login = Login { user: "bench".to_owned(), database: "bench".to_owned(), parameters: Vec::new(), process_id: 1 };
    EngineBackend(Arc::new(engine)).open_session(login).expect("anyone may log in")
}

/// Plans the query wholly; gives the number of lines of the plan.
async fn explain(session: &mut dyn Session, sql: &str) -> usize {
    let cancel = CancellationToken::new();
    let prepared = session.prepare(sql, &[], &cancel).await.expect("the query is sound");
    let outcome = session.execute(&prepared, Vec::new(), cancel).await.expect("the query can be planned");
    let Outcome::Rows { mut rows, .. } = outcome else { panic!("EXPLAIN gives rows") };
    let mut lines = 0;
    while let Some(batch) = rows.next().await {
        lines += batch.expect("a plan is text").num_rows();
    }
    lines
}

fn planning(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("the system has threads");
    let mut session = session(&runtime);
    let cancel = CancellationToken::new();
    let mut group = criterion.benchmark_group("plan a query of three cubes");
    group.sample_size(20);
    group.bench_function("bind", |bencher| {
        // Each time another text: one that was prepared before is only looked up, which `known` measures.
        let mut count = 0_u64;
        bencher.iter(|| {
            count += 1;
            let sql = format!("{QUERY} -- {count}");
            runtime.block_on(session.prepare(&sql, &[], &cancel)).expect("the query is sound")
        });
    });
    group.bench_function("known", |bencher| {
        bencher.iter(|| runtime.block_on(session.prepare(QUERY, &[], &cancel)).expect("the query is sound"));
    });
    let sql = format!("EXPLAIN {QUERY}");
    group.bench_function("whole", |bencher| {
        bencher.iter(|| runtime.block_on(explain(session.as_mut(), &sql)));
    });
    group.finish();
}

criterion_group!(benches, planning);
criterion_main!(benches);
