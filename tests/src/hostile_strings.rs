//! Strings that break a quoting mistake, there and back through both servers, byte for byte.
//!
//! Ten thousand of them, in batches: as literals, as bind values, in lists, as LIKE patterns, concatenated, as aliases. Every string
//! is stored for three tenants; a filter on one of them must never show another's row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use postgres_types::ToSql;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::AnyError;
use crate::servers::{Servers, Site, source};

const STRINGS: usize = 10_000;
/// Strings a statement.
const BATCH: usize = 100;
const TENANTS: usize = 3;

const MODEL: &str = "
cubes:
  - name: pg_rows
    sql_table: hostile
    data_source: pg
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: tenant, sql: tenant, type: number }
      - { name: k, sql: k, type: string }
  - name: my_rows
    sql_table: hostile
    data_source: my
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: tenant, sql: tenant, type: number }
      - { name: k, sql: k, type: string }
";

const PIECES: [&str; 44] = [
    "'",
    "''",
    "\\",
    "\\\\",
    "\\'",
    "\"",
    "`",
    "--",
    "-- ",
    "*/",
    "/*",
    "$1",
    "$$",
    "?",
    ":k",
    ";",
    "%",
    "_",
    "%%",
    "\\%",
    "\\_",
    "\n",
    "\t",
    "\r\n",
    "\u{b}",
    "\u{1a}",
    "\u{7f}",
    "\u{feff}",
    "\u{2019}",
    "🍐",
    "👩‍🚀",
    "é",
    "e\u{301}",
    "ß",
    "A",
    "a",
    " ",
    "#",
    "E'",
    "' OR 1=1 -- ",
    "'; DROP TABLE hostile; --",
    "x'00'",
    "{CUBE}",
    "\\u0027",
];

/// `count` different strings, the same ones each time; none empty, none with NUL.
fn hostile_strings(count: usize) -> Vec<String> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    // A set keeps them apart; the order of a set of strings is not that of their making, which does not matter.
    let mut strings = BTreeSet::new();
    while strings.len() < count {
        let pieces = 1 + next(6);
        strings.insert((0..pieces).map(|_| PIECES[next(PIECES.len())]).collect::<String>());
    }
    strings.into_iter().collect()
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn escape_literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t"))
}

/// A LIKE pattern that only `text` matches.
fn pattern(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// Row `id` holds the string `id / TENANTS` of tenant `id % TENANTS`.
fn hex_rows(strings: &[String], value: impl Fn(&str) -> String) -> String {
    let mut rows = Vec::with_capacity(strings.len() * TENANTS);
    for (index, text) in strings.iter().enumerate() {
        let hex = text.bytes().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        rows.extend((0..TENANTS).map(|tenant| format!("({}, {tenant}, {})", index * TENANTS + tenant, value(&hex))));
    }
    rows.chunks(5000).map(|rows| format!("INSERT INTO hostile VALUES {};\n", rows.join(", "))).collect()
}

fn start(strings: &[String], servers: &Servers) -> Result<Site, AnyError> {
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("rows.sql");
    let pg = servers.postgres.fresh_database()?;
    let rows = hex_rows(strings, |hex| format!("convert_from('\\x{hex}', 'UTF8')"));
    std::fs::write(&script, format!("CREATE TABLE hostile (id int PRIMARY KEY, tenant int, k text);\n{rows}"))?;
    PrivatePostgres::run_file(&pg, &script)?;
    let my = servers.mariadb.fresh_database()?;
    let rows = hex_rows(strings, |hex| format!("x'{hex}'"));
    let table = "CREATE TABLE hostile (id int PRIMARY KEY, tenant int, k varchar(400) COLLATE utf8mb4_general_ci) CHARACTER SET utf8mb4;";
    std::fs::write(&script, format!("{table}\n{rows}"))?;
    PrivateMariaDb::run_file(&my, &script)?;
    Site::start(&[source("pg", &pg), source("my", &my)], "", MODEL)
}

/// What a statement that filters by tenant 1 and by `batch` must give: the ids and the strings, of that tenant only.
fn expected(batch: &[(usize, &String)]) -> BTreeMap<String, String> {
    batch.iter().map(|(index, text)| ((index * TENANTS + 1).to_string(), (*text).clone())).collect()
}

async fn ask(client: &Client, sql: &str) -> Result<BTreeMap<String, String>, AnyError> {
    let messages = client
        .simple_query(sql)
        .await
        .map_err(|error| format!("{error:?}\n{}", sql.chars().take(600).collect::<String>()))?;
    let mut rows = BTreeMap::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let id = row.get(0).ok_or("an id is NULL")?.to_owned();
            assert_eq!(row.get(1), Some("1"), "another tenant's row: {sql}");
            let twice = rows.insert(id, row.get(2).ok_or("a string is NULL")?.to_owned());
            assert_eq!(twice, None, "a row came twice: {sql}");
        }
    }
    Ok(rows)
}

/// A batch compared with what came; the first string that differs is shown.
fn assert_same(what: &str, got: &BTreeMap<String, String>, expected: &BTreeMap<String, String>) {
    if got != expected {
        let missing: Vec<_> = expected.iter().filter(|(id, text)| got.get(*id) != Some(text)).take(3).collect();
        let surplus: Vec<_> = got.iter().filter(|(id, text)| expected.get(*id) != Some(text)).take(3).collect();
        panic!("{what}: {} rows for {}\n  wanted {missing:?}\n  came {surplus:?}", got.len(), expected.len());
    }
}

#[tokio::test]
async fn ten_thousand_hostile_strings_come_back_from_both_servers_as_they_went() -> Result<(), AnyError> {
    let strings = hostile_strings(STRINGS);
    let servers = Servers::start()?;
    let site = start(&strings, &servers)?;
    let numbered: Vec<(usize, &String)> = strings.iter().enumerate().collect();
    let (pg, my) = tokio::join!(echo(&site, "pg_rows", &numbered), echo(&site, "my_rows", &numbered));
    pg?;
    my?;
    Ok(())
}

async fn echo(site: &Site, table: &str, strings: &[(usize, &String)]) -> Result<(), AnyError> {
    let client = site.connect().await?;
    let head = format!("SELECT id, tenant, k FROM {table} WHERE tenant = 1");
    for (number, batch) in strings.chunks(BATCH).enumerate() {
        let expected = expected(batch);
        let each = |form: &dyn Fn(&str) -> String, between: &str| {
            batch.iter().map(|(_, text)| form(text)).collect::<Vec<String>>().join(between)
        };

        // The two ways to write a literal take turns.
        let list = if number.is_multiple_of(2) { each(&literal, ", ") } else { each(&escape_literal, ", ") };
        assert_same("list", &ask(&client, &format!("{head} AND k IN ({list})")).await?, &expected);

        let places: Vec<String> = (1..=batch.len()).map(|place| format!("${place}")).collect();
        let values: Vec<&(dyn ToSql + Sync)> = batch.iter().map(|(_, text)| *text as &(dyn ToSql + Sync)).collect();
        let mut bound = BTreeMap::new();
        for row in client.query(&format!("{head} AND k IN ({})", places.join(", ")), &values).await? {
            assert_eq!(row.try_get::<_, i32>(1)?, 1, "another tenant's row");
            bound.insert(row.try_get::<_, i32>(0)?.to_string(), row.try_get::<_, String>(2)?);
        }
        assert_same("bind values", &bound, &expected);

        // The range lets the server's index do the work; the patterns decide within it.
        let range = format!("id BETWEEN {} AND {}", batch[0].0 * TENANTS, batch[batch.len() - 1].0 * TENANTS + TENANTS);
        let likes = each(&|text| format!("k LIKE {}", literal(&pattern(text))), " OR ");
        assert_same("LIKE", &ask(&client, &format!("{head} AND {range} AND ({likes})")).await?, &expected);

        let (index, text) = batch[number % batch.len()];
        let one = expected.get_key_value(&(index * TENANTS + 1).to_string()).ok_or("the string is of the batch")?;
        let one = BTreeMap::from([(one.0.clone(), one.1.clone())]);
        assert_same("equality", &ask(&client, &format!("{head} AND k = {}", literal(text))).await?, &one);
        concatenate(&client, table, batch).await?;
    }
    Ok(())
}

/// Every string of `batch` behind a stored one, under itself as alias.
async fn concatenate(client: &Client, table: &str, batch: &[(usize, &String)]) -> Result<(), AnyError> {
    // PostgreSQL cuts longer names off.
    let named: Vec<&String> = batch.iter().map(|(_, text)| *text).filter(|text| text.len() < 64).collect();
    let columns: Vec<String> =
        named.iter().map(|text| format!("k || {} AS \"{}\"", literal(text), text.replace('"', "\"\""))).collect();
    let (index, stored) = batch[0];
    let sql = format!("SELECT {} FROM {table} WHERE id = {}", columns.join(", "), index * TENANTS);
    let rows = client.query(&sql, &[]).await.map_err(|error| format!("{error:?}\n{sql}"))?;
    assert_eq!(rows.len(), 1, "{sql}");
    for (place, text) in named.iter().enumerate() {
        assert_eq!(rows[0].columns()[place].name(), text.as_str());
        assert_eq!(rows[0].try_get::<_, String>(place)?, format!("{stored}{text}"));
    }
    Ok(())
}
