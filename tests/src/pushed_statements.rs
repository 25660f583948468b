//! What is sent to each source, fixed by a golden file: how many statements, their SQL, and how many rows came back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tempfile::TempDir;
use tokio_postgres::SimpleQueryMessage;

use crate::AnyError;
use crate::server::{Belvedere, free_port};
use crate::servers::{Servers, assert_golden, connect, http_get};
use crate::shop::{Variant, write_variant};

/// Whether one source can answer alone, so that it need not send more rows than the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    OneSource,
    TwoSources,
}

/// Asked by a session in Oslo's time; MariaDB is not asked to know the zone.
const IN_OSLO: [(&str, Asks, &str); 4] = [
    (
        "month of local time in PostgreSQL",
        Asks::OneSource,
        "SELECT DATE_TRUNC('month', created_at) AS m, MEASURE(count) AS n FROM orders_view WHERE created_at >= '2024-03-31 12:00' GROUP BY 1",
    ),
    (
        "month of local time in MariaDB: hours travel, and come together here",
        Asks::TwoSources,
        "SELECT DATE_TRUNC('month', written_at) AS m, MEASURE(count) AS n FROM reviews_view GROUP BY 1",
    ),
    (
        "month of local time in MariaDB, beside a name from PostgreSQL",
        Asks::TwoSources,
        "SELECT DATE_TRUNC('month', written_at) AS m, customer_city, MEASURE(count) AS n FROM reviews_view GROUP BY 1, 2",
    ),
    (
        "local time in a filter on MariaDB",
        Asks::OneSource,
        "SELECT MEASURE(count) AS n FROM reviews_view WHERE written_at >= '2024-03-31 00:00' AND written_at < '2024-10-27 02:30'",
    ),
];

const STATEMENTS: [(&str, Asks, &str); 12] = [
    (
        "group by in one source",
        Asks::OneSource,
        "SELECT status, MEASURE(count) AS n, MEASURE(total) AS t FROM orders_view GROUP BY 1",
    ),
    (
        "filters",
        Asks::OneSource,
        "SELECT channel, MEASURE(count) AS n FROM orders_view WHERE amount > 100 AND paid AND status <> 'cancelled' GROUP BY 1",
    ),
    (
        "join within PostgreSQL",
        Asks::OneSource,
        "SELECT customer_city, MEASURE(total) AS t FROM orders_view GROUP BY 1",
    ),
    (
        "join across sources, filters on both sides",
        Asks::TwoSources,
        "SELECT supplier_company, customers_city, MEASURE(revenue) AS r FROM sales \
         WHERE product_price > 2 AND customers_country = 'NO' GROUP BY 1, 2",
    ),
    (
        "order by and limit",
        Asks::OneSource,
        "SELECT status, MEASURE(total) AS t FROM orders_view GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3",
    ),
    ("distinct count", Asks::OneSource, "SELECT channel, MEASURE(buyers) AS b FROM orders_view GROUP BY 1"),
    (
        "month",
        Asks::OneSource,
        "SELECT DATE_TRUNC('month', created_at) AS m, MEASURE(count) AS n FROM orders_view GROUP BY 1",
    ),
    (
        "list",
        Asks::OneSource,
        "SELECT status, MEASURE(count) AS n FROM orders_view WHERE channel IN ('web', 'shop', 'phone') GROUP BY 1",
    ),
    (
        "like",
        Asks::OneSource,
        "SELECT customer_name, MEASURE(count) AS n FROM orders_view WHERE customer_name LIKE 'A%' GROUP BY 1",
    ),
    (
        "filter on a MariaDB column that ignores case",
        Asks::OneSource,
        "SELECT name, MEASURE(stock_total) AS s FROM catalog WHERE name = 'apple' GROUP BY 1",
    ),
    (
        "having",
        Asks::OneSource,
        "SELECT status, MEASURE(total) AS t FROM orders_view GROUP BY 1 HAVING MEASURE(total) > 1000",
    ),
    (
        "rows with a limit",
        Asks::OneSource,
        "SELECT id, status, amount FROM orders_view WHERE amount > 10 ORDER BY id LIMIT 5",
    ),
];

#[tokio::test]
async fn twelve_statements_send_what_the_golden_file_says() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let split = Variant::Split { postgres_url: servers.source_database()?, mariadb_url: servers.mariadb_database()? };
    let folder = TempDir::new()?;
    let (port, http_port) = (free_port()?, free_port()?);
    let config = write_variant(&split, port, folder.path())?;
    let with_http = format!("{}http: 127.0.0.1:{http_port}\n", std::fs::read_to_string(&config)?);
    std::fs::write(&config, with_http)?;
    let server = Belvedere::start(&config, port)?;
    let client = connect(&server.login()).await?;

    let mut shown = String::new();
    let mut too_many = Vec::new();
    let in_oslo = IN_OSLO.map(|(name, asks, sql)| ("Europe/Oslo", name, asks, sql));
    for (zone, name, asks, sql) in
        STATEMENTS.map(|(name, asks, sql)| ("UTC", name, asks, sql)).into_iter().chain(in_oslo)
    {
        client.batch_execute(&format!("SET timezone = '{zone}'")).await?;
        let _ = writeln!(shown, "## {name}\n\n{sql}\n");
        let answer = client.simple_query(&format!("EXPLAIN (FORMAT JSON) {sql}")).await?;
        let text = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let explained: serde_json::Value = serde_json::from_str(text.ok_or("EXPLAIN gives no row")?)?;
        let sources = explained["sources"].as_array().ok_or("EXPLAIN shows no sources")?;
        let before = counters(http_port).await?;
        let rows = client.query(sql, &[]).await?.len();
        let after = counters(http_port).await?;
        for source in sources {
            let text = |key: &str| source[key].as_str().ok_or_else(|| format!("a source without {key}"));
            let _ = writeln!(shown, "{}: {}", text("source")?, text("sql")?);
        }
        let difference = |counter: &str| {
            let before = before.iter().filter(|(key, _)| key.0 == counter).map(|(_, count)| count).sum::<u64>();
            after.iter().filter(|(key, _)| key.0 == counter).map(|(_, count)| count).sum::<u64>() - before
        };
        let (sent, pulled) = (difference("statements_total"), difference("rows_total"));
        let _ = writeln!(shown, "\n{sent} statements sent, {pulled} rows pulled, {rows} rows answered\n");
        assert_eq!(sent, sources.len() as u64, "EXPLAIN shows what is sent: {name}");
        if asks == Asks::OneSource && pulled > rows as u64 {
            too_many.push(format!("{name}: {pulled} rows pulled for {rows}"));
        }
        assert!(rows > 0, "{name} has rows, so that the counts mean something");
    }
    assert_golden("pushed_statements.txt", &shown)?;
    assert_eq!(too_many, Vec::<String>::new(), "no more rows are pulled than are answered");
    Ok(())
}

/// The sources' counters by name and source.
async fn counters(http_port: u16) -> Result<BTreeMap<(String, String), u64>, AnyError> {
    let (_, page) = http_get(http_port, "/metrics").await?;
    let mut counters = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("belvedere_source_")) {
        let Some((name, rest)) = line.split_once("{source=\"") else { continue };
        let Some((source, value)) = rest.split_once("\"} ") else { continue };
        if name.ends_with("_total") {
            counters.insert((name.to_owned(), source.to_owned()), value.parse()?);
        }
    }
    Ok(counters)
}
