//! Prints how Belvedere compares with the databases themselves, all from one run on one machine.
//!
//! `cargo build --release --workspace --bins && cargo run --release --workspace --bin compare`
//!
//! Rounds alternate between the two sides and the best of each counts, so that a busy moment hits neither side alone.
#![expect(clippy::print_stdout, reason = "a report for a person at a terminal")]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_benches::{AnyError, Served, connect, mariadb_client, timed};
use belvedere_sources::{MySqlSource, PostgresSource, RemoteConfig, RemoteSource, Statement};
use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use datafusion::arrow::datatypes::Schema;
use futures::{StreamExt, pin_mut};

const ROWS: usize = 1_000_000;
const ROUNDS: usize = 3;
const COLUMNS: &str = "id, k, t, n, ts";

const POSTGRES_TABLE: &str = "
CREATE TABLE events (id int PRIMARY KEY, k int, t text, n numeric(12,2), ts timestamp);
INSERT INTO events SELECT i, i % 1000, 'event number ' || i, (i % 100000) / 100.0,
    timestamp '2026-01-01' + i * interval '1 second' FROM generate_series(1, 1000000) AS i;
ANALYZE events";

const MARIADB_TABLE: &str = "
CREATE TABLE events (id int PRIMARY KEY, k int, t text, n numeric(12,2), ts datetime);
INSERT INTO events SELECT seq, seq % 1000, concat('event number ', seq), (seq % 100000) / 100,
    timestampadd(second, seq, '2026-01-01') FROM seq_1_to_1000000";

const MODEL: &str = "
cubes:
  - name: events
    sql_table: events
    dimensions: &columns
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: k, sql: k, type: number }
      - { name: t, sql: t, type: string }
      - { name: n, sql: n, type: number }
      - { name: ts, sql: ts, type: time }
";

/// A cube of `rows` rows like those of the table, made as they are read.
fn series(name: &str, rows: usize) -> String {
    format!(
        "  - name: {name}
    sql: >
      SELECT i AS id, i % 1000 AS k, 'event number ' || i AS t, ((i % 100000) / 100.0)::numeric(12,2) AS n,
      timestamp '2026-01-01' + i * interval '1 second' AS ts FROM generate_series(1, {rows}) AS i
    dimensions:
      - {{ name: id, sql: id, type: number, primary_key: true, public: true }}
      - {{ name: k, sql: k, type: number }}
      - {{ name: t, sql: t, type: string }}
      - {{ name: n, sql: n, type: number }}
      - {{ name: ts, sql: ts, type: time }}
"
    )
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let postgres = PrivatePostgres::start()?;
    let database = postgres.fresh_database()?;
    PrivatePostgres::run_sql(&database, POSTGRES_TABLE)?;
    let source = format!("default: {{ type: postgres, url: {database:?} }}");
    let model =
        format!("{}{}{}", MODEL.replace("&columns", ""), series("million", ROWS), series("millions", 10 * ROWS));
    let start = || Served::start(std::slice::from_ref(&source), &model);

    println!("{:<34} {:>14} {:>14} {:>7}  aim", "", "belvedere", "database", "ratio");
    let served = start()?;
    select_one(&served.url(), &database).await?;
    million_to_psql(&served.url(), &database)?;
    drop(served);

    let source = Arc::new(PostgresSource::new("pg", &RemoteConfig::from_url(&database))?);
    ingest("ingest from PostgreSQL, rows/s", source, || psql(&database)).await?;

    peak("peak RSS, 1 million rows", &start()?, "million", ROWS).await?;
    peak("peak RSS, 10 million rows", &start()?, "millions", 10 * ROWS).await?;

    let mariadb = PrivateMariaDb::start()?;
    let database = mariadb.fresh_database()?;
    PrivateMariaDb::run_sql(&database, MARIADB_TABLE)?;
    let source = Arc::new(MySqlSource::new("my", &RemoteConfig::from_url(&database))?);
    ingest("ingest from MariaDB, rows/s", source, || {
        timed(&mut mariadb_client(&database, &format!("SELECT {COLUMNS} FROM events"))?)
    })
    .await
}

/// Prints a line; both figures are per second, more is better.
fn print(what: &str, ours: f64, theirs: f64, aim: &str) {
    println!("{what:<34} {ours:>14.0} {theirs:>14.0} {:>7.2}  {aim}", ours / theirs);
}

/// `SELECT 1` after `SELECT 1` on one connection, as simple and as prepared extended queries.
async fn select_one(ours: &str, theirs: &str) -> Result<(), AnyError> {
    let (ours, theirs) = (connect(ours).await?, connect(theirs).await?);
    let mut best = [[0_f64; 2]; 2];
    for _ in 0..ROUNDS {
        for (side, client) in [&ours, &theirs].into_iter().enumerate() {
            let statement = client.prepare("SELECT 1").await?;
            for (protocol, best) in best.iter_mut().enumerate() {
                let (begin, mut count) = (Instant::now(), 0_u32);
                while begin.elapsed() < Duration::from_secs(2) {
                    if protocol == 0 {
                        client.simple_query("SELECT 1").await?;
                    } else {
                        client.query(&statement, &[]).await?;
                    }
                    count += 1;
                }
                best[side] = best[side].max(f64::from(count) / begin.elapsed().as_secs_f64());
            }
        }
    }
    print("SELECT 1, simple, per s", best[0][0], best[0][1], "0.5");
    print("SELECT 1, prepared, per s", best[1][0], best[1][1], "0.5");
    Ok(())
}

/// The table to psql as text, which drops it: rows per second.
fn million_to_psql(ours: &str, theirs: &str) -> Result<(), AnyError> {
    let mut best = [0_f64; 2];
    for _ in 0..ROUNDS {
        for (best, url) in best.iter_mut().zip([ours, theirs]) {
            *best = best.max(per_second(psql(url)?));
        }
    }
    print("a million rows to psql, rows/s", best[0], best[1], "1");
    Ok(())
}

/// The table through a source's reader, rows counted and dropped, against the database's own client.
async fn ingest(
    what: &str,
    source: Arc<dyn RemoteSource>,
    client: impl Fn() -> Result<Duration, AnyError>,
) -> Result<(), AnyError> {
    let sql = format!("SELECT {COLUMNS} FROM events");
    let fields: Vec<_> = source.describe(&sql).await?.into_iter().map(|column| column.field).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut best = [0_f64; 2];
    for _ in 0..ROUNDS {
        let (begin, mut rows) = (Instant::now(), 0);
        let statement = Statement { sql: sql.clone(), parameters: Vec::new() };
        let mut batches = Arc::clone(&source).read(statement, Arc::clone(&schema));
        while let Some(batch) = batches.next().await {
            rows += batch?.num_rows();
        }
        expect_rows(rows, ROWS)?;
        best[0] = best[0].max(per_second(begin.elapsed()));
        best[1] = best[1].max(per_second(client()?));
    }
    print(what, best[0], best[1], "0.8");
    Ok(())
}

/// Streams a cube to a client that keeps nothing, from a server that did nothing before, and prints the server's peak.
async fn peak(what: &str, served: &Served, cube: &str, expected: usize) -> Result<(), AnyError> {
    let client = connect(&served.url()).await?;
    let begin = Instant::now();
    let stream = client.query_raw(&format!("SELECT {COLUMNS} FROM {cube}"), std::iter::empty::<i32>()).await?;
    pin_mut!(stream);
    let mut rows = 0;
    while let Some(row) = stream.next().await {
        row?;
        rows += 1;
    }
    expect_rows(rows, expected)?;
    let mebibytes = served.peak_bytes()? >> 20;
    println!("{what:<34} {mebibytes:>10} MiB {:>13.1}s {:>7}  200 MiB", begin.elapsed().as_secs_f64(), "");
    Ok(())
}

fn psql(url: &str) -> Result<Duration, AnyError> {
    let sql = format!("SELECT {COLUMNS} FROM events");
    timed(Command::new("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", &sql]))
}

/// A million rows in this time, per second.
fn per_second(duration: Duration) -> f64 {
    1e6 / duration.as_secs_f64()
}

fn expect_rows(rows: usize, expected: usize) -> Result<(), AnyError> {
    if rows == expected { Ok(()) } else { Err(format!("{rows} rows came instead of {expected}").into()) }
}
