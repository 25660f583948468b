//! Rollups from the outside: built by the program, read by a running server, the same rows with and without them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::AnyError;
use crate::server::run_program;
use crate::servers::{Servers, Site, connect, load, refusal, source};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, status text, amount numeric(10,2), at timestamptz, changed timestamptz);
INSERT INTO orders
SELECT n, CASE n % 3 WHEN 0 THEN 'new' WHEN 1 THEN 'paid' END, n * 1.25,
       CASE WHEN n % 50 = 0 THEN NULL ELSE timestamptz '2024-01-01 00:00Z' + n * interval '7 hours 13 minutes' END, now()
FROM generate_series(1, 400) AS n;";

const ITEMS: &str = "CREATE TABLE items (id int PRIMARY KEY, kind varchar(20), price decimal(10,2), day date);
INSERT INTO items VALUES (1,'a',1.50,'2024-01-05'),(2,'b',2.25,'2024-01-05'),(3,'a',3.00,'2024-02-28'),(4,NULL,4.10,NULL),(5,'a',0.10,'2024-02-29');";

const MODEL: &str = "
cubes:
  - name: orders
    sql_table: orders
    data_source: shop
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true }
      - { name: status, sql: status, type: string }
      - { name: at, sql: at, type: time }
    measures:
      - { name: count, type: count }
      - { name: total, type: sum, sql: amount }
      - { name: average, type: avg, sql: amount }
      - { name: largest, type: max, sql: amount }
    pre_aggregations:
      - name: daily
        measures: [count, total, average, largest]
        dimensions: [status]
        time_dimension: at
        granularity: day
        partition_granularity: month
        refresh_key: { sql: 'SELECT count(*), max(changed) FROM orders' }
        indexes:
          - { name: by_status, columns: [status, at] }
          - { name: by_time, columns: [at] }
          - { name: statuses, columns: [status], type: aggregate }
      - name: ranged
        measures: [total]
        time_dimension: at
        granularity: day
        partition_granularity: month
        refresh_key: { every: 1 hour }
        build_range_start: { sql: \"SELECT timestamptz '2024-01-10 11:00Z'\" }
        build_range_end: { sql: \"SELECT timestamptz '2024-03-20 05:00Z'\" }
  - name: items
    sql_table: items
    data_source: stock
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true }
      - { name: kind, sql: kind, type: string }
      - { name: day, sql: day, type: time }
    measures:
      - { name: count, type: count }
      - { name: worth, type: sum, sql: price }
    pre_aggregations:
      - name: by_kind
        measures: [count, worth]
        dimensions: [kind]
        refresh_key: { every: 1 hour }
";

const QUERIES: [(&str, &str); 5] = [
    (
        "SELECT DATE_TRUNC('month', at) AS month, status, MEASURE(count), MEASURE(total), MEASURE(average) FROM orders GROUP BY 1, 2 ORDER BY 1, 2",
        "orders.daily",
    ),
    ("SELECT status, MEASURE(largest) FROM orders GROUP BY 1 ORDER BY 1", "orders.daily"),
    (
        "SELECT MEASURE(total), MEASURE(count) FROM orders WHERE at >= '2024-02-01' AND at < '2024-03-01' AND status = 'paid'",
        "orders.daily",
    ),
    ("SELECT kind, MEASURE(count), MEASURE(worth) FROM items GROUP BY 1 ORDER BY 1", "items.by_kind"),
    ("SELECT MEASURE(worth) FROM items", "items.by_kind"),
];

fn site(servers: &Servers, more: &str) -> Result<(Site, String), AnyError> {
    let shop = servers.postgres.fresh_database()?;
    load(&shop, ORDERS, PrivatePostgres::run_file)?;
    let stock = servers.mariadb.fresh_database()?;
    load(&stock, ITEMS, PrivateMariaDb::run_file)?;
    Ok((Site::start(&[source("shop", &shop), source("stock", &stock)], more, MODEL)?, shop))
}

const BY_HAND: &str = "storage: store\nrefresh: { enabled: false }";

pub fn build(site: &Site, arguments: &[&str]) -> Result<(bool, String, String), AnyError> {
    let config = site.folder.path().join("belvedere.yaml").display().to_string();
    let mut all = vec!["build", "--config", &config];
    all.extend(arguments);
    run_program(&all)
}

/// The rows as text, columns side by side.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, AnyError> {
    let messages = client.simple_query(sql).await?;
    let shown = |row: &tokio_postgres::SimpleQueryRow| {
        let values: Vec<&str> = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL")).collect();
        values.join("|")
    };
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(shown(row)),
            _ => None,
        })
        .collect())
}

async fn rollups_of(client: &Client, sql: &str) -> Result<Vec<String>, AnyError> {
    let text = rows(client, &format!("EXPLAIN (FORMAT JSON) {sql}")).await?.concat();
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    let used = answer["rollups"].as_array().ok_or("EXPLAIN has no rollups")?;
    Ok(used.iter().filter_map(|used| used["rollup"].as_str().map(str::to_owned)).collect())
}

/// Waits until the server answers `sql` from `rollup`, five seconds at most.
async fn until_answered_by(client: &Client, sql: &str, rollup: &str) -> Result<(), AnyError> {
    let begun = Instant::now();
    while rollups_of(client, sql).await? != [rollup] {
        let explained = rows(client, &format!("EXPLAIN {sql}")).await?.join("\n");
        assert!(begun.elapsed() < Duration::from_secs(5), "{sql} is not answered by {rollup}:\n{explained}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The same rows with rollups on and off, and on from the rollup.
async fn all_agree(client: &Client) -> Result<(), AnyError> {
    for (sql, rollup) in QUERIES {
        until_answered_by(client, sql, rollup).await?;
        let from_rollup = rows(client, sql).await?;
        client.batch_execute("SET rollups = 'off'").await?;
        let from_source = rows(client, sql).await?;
        client.batch_execute("RESET rollups").await?;
        assert!(!from_source.is_empty());
        assert_eq!(from_rollup, from_source, "{sql}");
    }
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, AnyError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files_below(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[tokio::test]
async fn a_running_server_answers_from_what_build_has_built() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let (site, shop) = site(&servers, BY_HAND)?;
    let client = site.connect().await?;
    let (sql, _) = QUERIES[0];
    assert!(rollups_of(&client, sql).await?.is_empty());
    client.batch_execute("SET rollups = 'required'").await?;
    let (_, message) = refusal(client.simple_query(sql).await)?;
    assert!(message.contains("rollup"), "{message}");
    client.batch_execute("RESET rollups").await?;

    let (went_well, out, complaints) = build(&site, &[])?;
    assert!(went_well, "{out}{complaints}");
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert!(lines[0].starts_with("items.by_kind: built 1 of 1 partition, 3 rows, "), "{out}");
    assert!(lines[1].starts_with("orders.daily: built 5 of 5 partitions, "), "{out}");
    assert!(lines[2].starts_with("orders.ranged: built 4 of 4 partitions, "), "{out}");
    all_agree(&client).await?;
    client.batch_execute("SET rollups = 'required'").await?;
    assert!(!rows(&client, sql).await?.is_empty());
    client.batch_execute("RESET rollups").await?;
    // A coarser copy where it has all that is asked.
    for (sql, index) in [
        ("SELECT status, MEASURE(average) FROM orders GROUP BY 1", Some("statuses")),
        ("SELECT DATE_TRUNC('day', at), MEASURE(total) FROM orders WHERE status = 'paid' GROUP BY 1", None),
    ] {
        let text = rows(&client, &format!("EXPLAIN (FORMAT JSON) {sql}")).await?.concat();
        let answer: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!(answer["rollups"][0]["index"].as_str(), index, "{sql}: {text}");
    }

    // Nothing has changed, then one row of the key.
    let (_, out, _) = build(&site, &["orders.daily"])?;
    assert_eq!(out, "orders.daily: up to date, 5 partitions\n");
    let before = rows(&client, sql).await?;
    load(&shop, "INSERT INTO orders VALUES (1001, 'late', 5, '2024-06-01 10:00Z', now());", PrivatePostgres::run_file)?;
    assert_eq!(rows(&client, sql).await?, before, "answered by the rollup until it is built");
    let (went_well, out, _) = build(&site, &["orders.daily"])?;
    assert!(went_well && out.starts_with("orders.daily: built 7 of 7 partitions, "), "{out}");
    let begun = Instant::now();
    while rows(&client, sql).await?.len() != before.len() + 1 {
        assert!(begun.elapsed() < Duration::from_secs(5), "the server does not see the new version");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    all_agree(&client).await?;

    let (went_well, _, complaints) = build(&site, &["orders.dayly"])?;
    assert!(!went_well && complaints.contains("did you mean \"orders.daily\"?"), "{complaints}");
    Ok(())
}

#[tokio::test]
async fn a_damaged_partition_is_answered_from_the_source_and_built_again() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let (site, _) = site(&servers, BY_HAND)?;
    let (went_well, out, complaints) = build(&site, &["orders.daily"])?;
    assert!(went_well, "{out}{complaints}");
    for file in files_below(&site.folder.path().join("store/data"))? {
        let mut bytes = fs::read(&file)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes)?;
    }
    let client = site.connect().await?;
    let (sql, rollup) = QUERIES[0];
    until_answered_by(&client, sql, rollup).await?;
    client.batch_execute("SET rollups = 'off'").await?;
    let right = rows(&client, sql).await?;
    client.batch_execute("RESET rollups").await?;
    assert_eq!(rows(&client, sql).await?, right);
    let (went_well, out, complaints) = build(&site, &["orders.daily"])?;
    assert!(went_well && out.starts_with("orders.daily: built "), "{out}{complaints}");
    until_answered_by(&client, sql, rollup).await?;
    assert_eq!(rows(&client, sql).await?, right);
    Ok(())
}

#[tokio::test]
async fn a_build_range_leaves_the_rest_to_the_source() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let (site, _) = site(&servers, BY_HAND)?;
    let (went_well, out, complaints) = build(&site, &["orders.ranged"])?;
    assert!(went_well, "{out}{complaints}");
    let client = site.connect().await?;
    for range in [
        "at >= '2024-02-01' AND at < '2024-03-01'",
        "at >= '2024-01-01' AND at < '2024-02-01'",
        "at >= '2024-01-10' AND at < '2024-03-20'",
        "at >= '2024-03-19' AND at < '2024-03-21'",
    ] {
        let sql =
            format!("SELECT DATE_TRUNC('day', at), MEASURE(total) FROM orders WHERE {range} GROUP BY 1 ORDER BY 1");
        until_answered_by(&client, &sql, "orders.ranged").await?;
        let from_rollup = rows(&client, &sql).await?;
        client.batch_execute("SET rollups = 'off'").await?;
        assert_eq!(from_rollup, rows(&client, &sql).await?, "{range}");
        client.batch_execute("RESET rollups").await?;
    }
    Ok(())
}

/// Waits until a statement gives these rows, for as long as a server may take to build.
async fn until_rows(client: &Client, sql: &str, wanted: &[&str]) -> Result<(), AnyError> {
    let begun = Instant::now();
    loop {
        let found = rows(client, sql).await?;
        if found == wanted {
            return Ok(());
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{sql}: {found:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_server_builds_by_itself_and_on_demand() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let users = "storage: store\nusers:\n  - { name: tester, password: secret }\n  - { name: builder, password: secret, build: true }";
    let (site, shop) = site(&servers, users)?;
    let mut login = site.server.login();
    let tester = connect(login.password("secret")).await?;
    let builder = connect(login.user("builder")).await?;
    let states = "SELECT name, state, partitions FROM belvedere.rollups ORDER BY name";
    until_rows(&builder, states, &["by_kind|ready|1", "daily|ready|5", "ranged|ready|4"]).await?;
    all_agree(&tester).await?;
    assert_eq!(rows(&builder, "TABLE belvedere.rollup_partitions").await?.len(), 10);

    let refresh = "REFRESH MATERIALIZED VIEW \"items.by_kind\"";
    let (state, message) = refusal(tester.batch_execute(refresh).await)?;
    assert_eq!((state.as_str(), message.contains("items.by_kind")), ("42501", true), "{message}");
    let built_at = "SELECT built_at FROM belvedere.rollups WHERE name = 'by_kind'";
    let before = rows(&builder, built_at).await?;
    builder.batch_execute(refresh).await?;
    assert_ne!(rows(&builder, built_at).await?, before);
    let (state, _) = refusal(builder.batch_execute("REFRESH MATERIALIZED VIEW \"items.by_kinds\"").await)?;
    assert_eq!(state, "42P01");

    load(&shop, "ALTER TABLE orders RENAME TO gone;", PrivatePostgres::run_file)?;
    let (state, _) = refusal(builder.batch_execute("REFRESH MATERIALIZED VIEW \"orders.ranged\"").await)?;
    assert_eq!(state, "58000");
    let (sql, rollup) = QUERIES[0];
    until_answered_by(&tester, sql, rollup).await?;
    assert!(!rows(&tester, sql).await?.is_empty(), "the version before goes on");
    let errors = "SELECT last_error IS NOT NULL FROM belvedere.rollups WHERE name = 'ranged'";
    assert_eq!(rows(&builder, errors).await?, ["t"]);
    assert_eq!(rows(&tester, errors).await?, ["f"], "what sources say is for those who may build");
    Ok(())
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_named() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let (site, _) = site(&servers, BY_HAND)?;
    fs::remove_dir_all(site.folder.path().join("store"))?;
    fs::write(site.folder.path().join("store"), "no folder")?;
    let (went_well, _, complaints) = build(&site, &[])?;
    assert!(
        !went_well && complaints.contains("cannot open a rollup store at") && complaints.contains("store"),
        "{complaints}"
    );
    Ok(())
}
