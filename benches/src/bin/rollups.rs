//! Queries on a rollup of a million rows through the wire, beside the same rows as an indexed PostgreSQL table and as a table of DuckDB; the
//! rates and the memory of builds.
//!
//! `cargo build --release --workspace --bins && cargo run --release --workspace --bin rollups`
//!
//! Each query runs in turns at both databases. DuckDB runs inside `python3`, where its module is installed; without it its column is empty.
#![expect(clippy::print_stdout, reason = "a report for a person at a terminal")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use belvedere_benches::{AnyError, Served, connect, mariadb_client, timed};
use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};

/// One row for each group: the table is what its rollup by day is.
const DAYS: usize = 1200;
const FACTS: &str = "
CREATE TABLE facts (id int PRIMARY KEY, day timestamp, nation text, priority text, flag text, amount numeric(12,2));
INSERT INTO facts SELECT row_number() OVER (), timestamp '2023-01-01' + d * interval '1 day', 'nation ' || n, 'priority ' || p, 'flag ' || f,
    ((d * 7919 + n * 104729 + p * 31 + f) % 1000000) / 100.0
    FROM generate_series(0, 1199) AS d, generate_series(0, 24) AS n, generate_series(1, 5) AS p, generate_series(1, 7) AS f;
CREATE INDEX ON facts (day);
CREATE INDEX ON facts (nation, day);
ANALYZE facts";

const MARIADB_FACTS: &str = "
CREATE TABLE facts (id int PRIMARY KEY, day datetime, nation varchar(20), priority varchar(20), flag varchar(20), amount numeric(12,2))
    CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO facts SELECT seq, timestampadd(day, seq % 1200, '2023-01-01'), concat('nation ', seq DIV 1200 % 25),
    concat('priority ', seq DIV 30000 % 5), concat('flag ', seq DIV 150000 % 7), (seq % 1000000) / 100 FROM seq_0_to_1049999";

/// The facts by `relation` (a line of YAML), their rollup by day, and lines for more.
fn model(relation: &str, extra: &str) -> String {
    format!(
        "cubes:
  - name: facts
    {relation}
    dimensions:
      - {{ name: id, sql: id, type: number, primary_key: true }}
      - {{ name: day, sql: day, type: time }}
      - {{ name: nation, sql: nation, type: string }}
      - {{ name: priority, sql: priority, type: string }}
      - {{ name: flag, sql: flag, type: string }}
    measures:
      - {{ name: count, type: count }}
      - {{ name: amount, sql: amount, type: sum }}
    pre_aggregations:
      - {{ name: daily, measures: [count, amount], dimensions: [nation, priority, flag], time_dimension: day, granularity: day,
          partition_granularity: year }}
{extra}"
    )
}

/// Names, and the query here and at PostgreSQL: the same but for the measures.
const QUERIES: [(&str, &str, &str); 4] = [
    (
        "r1, month and nation of a year",
        "SELECT DATE_TRUNC('month', day), nation, MEASURE(amount) FROM facts WHERE day >= '2024-01-01' AND day < '2025-01-01' GROUP BY 1, 2",
        "SELECT DATE_TRUNC('month', day), nation, SUM(amount) FROM facts WHERE day >= '2024-01-01' AND day < '2025-01-01' GROUP BY 1, 2",
    ),
    (
        "r2, month and flag, all rows",
        "SELECT DATE_TRUNC('month', day), flag, MEASURE(amount) FROM facts GROUP BY 1, 2",
        "SELECT DATE_TRUNC('month', day), flag, SUM(amount) FROM facts GROUP BY 1, 2",
    ),
    (
        "r3, a nation's month by priority",
        "SELECT priority, MEASURE(amount) FROM facts WHERE nation = 'nation 7' AND day >= '2024-03-01' AND day < '2024-04-01' GROUP BY 1",
        "SELECT priority, SUM(amount) FROM facts WHERE nation = 'nation 7' AND day >= '2024-03-01' AND day < '2024-04-01' GROUP BY 1",
    ),
    (
        "r4, top five nations of a month",
        "SELECT nation, MEASURE(amount) FROM facts WHERE day >= '2024-03-01' AND day < '2024-04-01' GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
        "SELECT nation, SUM(amount) FROM facts WHERE day >= '2024-03-01' AND day < '2024-04-01' GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
    ),
];

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let postgres = PrivatePostgres::start()?;
    let database = postgres.fresh_database()?;
    PrivatePostgres::run_sql(&database, FACTS)?;
    let source = |database: &str| format!("default: {{ type: postgres, url: {database:?} }}");
    let mut lines = vec![source(&database)];
    let rows = model("sql_table: facts", "");
    let (took, peak, served) = build("PostgreSQL", &lines[0], &rows)?;
    let (_, ours_rows) = built_rows(&served).await?;
    let psql = |sql: &str| timed(Command::new("psql").args(["-X", "-q", "-d", &database, "-c", sql]));
    let clients = [psql("SELECT * FROM facts")?, psql(&groups("DATE_TRUNC('day', day)"))?];
    print_build("build from PostgreSQL", ours_rows, took, peak, clients, "psql");

    let duck = duckdb(&database)?;
    println!(
        "\n{:<34} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "p50 ms, p99 ms at 1 connection", "ours", "", "PG", "", "ratio", "DuckDB"
    );
    for (index, (name, ours, theirs)) in QUERIES.into_iter().enumerate() {
        let check = connect(&served.url()).await?;
        let plan: String = check.query(&format!("EXPLAIN (FORMAT JSON) {ours}"), &[]).await?[0].get(0);
        if !plan.contains("facts.daily") {
            return Err(format!("{name} is not answered by the rollup: {plan}").into());
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            one.extend(latencies(&served.url(), ours, Duration::from_secs(2)).await?);
            other.extend(latencies(&database, theirs, Duration::from_secs(2)).await?);
        }
        let (p50, p99, pg50, pg99) = (
            percentile(&mut one, 50),
            percentile(&mut one, 99),
            percentile(&mut other, 50),
            percentile(&mut other, 99),
        );
        let duckdb = duck.get(index).map_or_else(|| "–".to_owned(), |ms| format!("{ms:.2}"));
        println!("{name:<34} {p50:>9.2} {p99:>9.2} {pg50:>9.2} {pg99:>9.2} {:>9.1} {duckdb:>9}", pg50 / p50);
    }
    println!(
        "\n{:<34} {:>9} {:>9} {:>9} {:>9}",
        "queries/s at 1 and 8 connections", "ours, 1", "ours, 8", "PG, 1", "PG, 8"
    );
    for (name, ours, theirs) in QUERIES {
        let mut line = format!("{name:<34}");
        for (url, sql) in [(served.url(), ours), (database.clone(), theirs)] {
            for connections in [1, 8] {
                let asked = (0..connections).map(|_| latencies(&url, sql, Duration::from_secs(3)));
                let begun = Instant::now();
                let all = futures::future::try_join_all(asked).await?;
                let count: usize = all.iter().map(Vec::len).sum();
                line += &format!(" {:>9.0}", per_second(count, begun.elapsed()));
            }
        }
        println!("{line}");
    }
    drop(served);

    let many: String = (0..999)
        .map(|number| format!("      - {{ name: r{number}, measures: [count], dimensions: [nation, priority] }}\n"))
        .collect();
    let thousand = Served::start(&lines, &model("sql_table: facts", &many))?;
    let one = Served::start(&lines, &rows)?;
    let mut took = Vec::new();
    for served in [&one, &thousand] {
        // Another text each time, so that nothing is known of it.
        let client = connect(&served.url()).await?;
        let mut all = Vec::new();
        for number in 0..200 {
            let sql = format!("EXPLAIN SELECT flag, MEASURE(amount) FROM facts WHERE nation <> 'x{number}' GROUP BY 1");
            let begun = Instant::now();
            client.simple_query(&sql).await?;
            all.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        took.push(percentile(&mut all, 50));
    }
    println!(
        "\nplanning with 1 rollup {:.2} ms, with 1,000 {:.2} ms, of which {:.2} µs for each",
        took[0],
        took[1],
        (took[1] - took[0]) * 1000.0 / 999.0
    );
    drop((one, thousand));

    let mariadb = PrivateMariaDb::start()?;
    let maria = mariadb.fresh_database()?;
    PrivateMariaDb::run_sql(&maria, MARIADB_FACTS)?;
    lines = vec![format!("default: {{ type: mysql, url: {maria:?} }}")];
    let (took, peak, served) = build("MariaDB", &lines[0], &rows)?;
    let (_, ours_rows) = built_rows(&served).await?;
    let client = |sql: &str| timed(&mut mariadb_client(&maria, sql)?);
    let clients = [client("SELECT * FROM facts")?, client(&groups("DATE(day)"))?];
    print_build("build from MariaDB", ours_rows, took, peak, clients, "mariadb");
    drop(served);

    let ten = format!(
        "sql: >\n      SELECT i AS id, timestamp '2023-01-01' + (i % {DAYS}) * interval '1 day' AS day, 'nation ' || i % 25 AS nation, 'priority ' || i % 7 AS priority,\n      'flag ' || i % 11 AS flag, (i % 1000000) / 100.0 AS amount FROM generate_series(1, 10000000) AS i"
    );
    let (took, peak, served) = build("ten million rows", &source(&database), &model(&ten, ""))?;
    let (_, rows) = built_rows(&served).await?;
    println!("build of ten million source rows: {rows} stored, {:.1} s, peak {} MiB", took.as_secs_f64(), peak >> 20);
    Ok(())
}

/// Builds all rollups by the release program; the time, the most memory in bytes, and a server over them.
fn build(what: &str, source: &str, model: &str) -> Result<(Duration, u64, Served), AnyError> {
    let folder = Served::folder(&[source.to_owned()], model)?;
    let begun = Instant::now();
    let peak = Served::build(folder.path())?;
    let took = begun.elapsed();
    println!("{what}: built in {:.1} s", took.as_secs_f64());
    Ok((took, peak, Served::over(folder)?))
}

/// Partitions and rows that are stored.
async fn built_rows(served: &Served) -> Result<(i64, i64), AnyError> {
    let client = connect(&served.url()).await?;
    let row = client.query_one("SELECT partitions, rows FROM belvedere.rollups", &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// What the build asks for.
fn groups(day: &str) -> String {
    format!("SELECT nation, priority, flag, {day}, COUNT(*), SUM(amount) FROM facts GROUP BY 1, 2, 3, 4")
}

/// `clients` are how long a client of the database takes to read the rows, and to read the groups that are stored.
fn print_build(what: &str, rows: i64, took: Duration, peak: u64, clients: [Duration; 2], beside: &str) {
    let rate = |took: Duration| per_second(usize::try_from(rows).unwrap_or(0), took);
    let ours = rate(took);
    let [reading, grouping] = clients.map(rate);
    println!(
        "{what}: {ours:.0} rows/s stored, peak {} MiB; {beside} reading the rows: {reading:.0} rows/s, ratio {:.2}; grouping them: {grouping:.0} rows/s, ratio {:.2}",
        peak >> 20,
        ours / reading,
        ours / grouping
    );
}

fn per_second(count: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let count = count as f64;
    count / took.as_secs_f64()
}

/// Milliseconds of one query after the other, for a while.
async fn latencies(url: &str, sql: &str, during: Duration) -> Result<Vec<f64>, AnyError> {
    let client = connect(url).await?;
    for _ in 0..3 {
        client.simple_query(sql).await?;
    }
    let begun = Instant::now();
    let mut all = Vec::new();
    while begun.elapsed() < during {
        let one = Instant::now();
        client.simple_query(sql).await?;
        all.push(one.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(all)
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The median milliseconds of each query at a native table of DuckDB, inside its own process; none where it is not installed.
fn duckdb(database: &str) -> Result<Vec<f64>, AnyError> {
    let folder = tempfile::TempDir::new()?;
    let csv = folder.path().join("facts.csv");
    let copy = format!("\\copy (SELECT * FROM facts ORDER BY day, nation) TO '{}' (FORMAT csv, HEADER)", csv.display());
    timed(Command::new("psql").args(["-X", "-q", "-d", database, "-c", &copy]))?;
    let queries: Vec<&str> = QUERIES.iter().map(|(_, _, sql)| *sql).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("duckdb_queries.py");
    let output = Command::new("python3").arg(script).arg(&csv).args(queries).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        println!("DuckDB is left out: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
        return Ok(Vec::new());
    }
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| line.trim().parse::<f64>().map_err(Into::into)).collect()
}
