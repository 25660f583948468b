//! Text that a server compares in its own way is compared by code point, there and here: every kind of column, every operation, pushed
//! and not, against PostgreSQL over the same texts under the collation "C".

use std::error::Error;
use std::sync::Arc;

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use datafusion::prelude::SessionContext;
use tokio_postgres::SimpleQueryMessage;

use super::server_tests::{context, run};
use crate::{BaseColumn, MySqlSource, PostgresSource, RemoteConfig, RemoteSource, RemoteTable};

/// A column type, and whether trailing blanks are no part of its values.
struct Kind {
    name: &'static str,
    sql: &'static str,
    is_padded: bool,
    /// Values outside these cannot be stored.
    only_labels: bool,
}

const fn kind(name: &'static str, sql: &'static str) -> Kind {
    Kind { name, sql, is_padded: false, only_labels: false }
}

const POSTGRES: &[Kind] = &[
    kind("text", "text"),
    kind("varchar", "varchar(9)"),
    kind("name", "name"),
    kind("citext", "citext"),
    kind("loose", "text COLLATE loose"),
    kind("german", "varchar(9) COLLATE \"de-x-icu\""),
    Kind { is_padded: true, ..kind("bpchar", "character(5)") },
    Kind { is_padded: true, ..kind("bpchar_domain", "code") },
    Kind { only_labels: true, ..kind("mood", "mood") },
    Kind { only_labels: true, ..kind("mood_domain", "mood_domain") },
];

const MARIADB: &[Kind] = &[
    kind("varchar", "varchar(9)"),
    kind("loose", "varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"),
    kind("padded_bin", "varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
    kind("exact", "varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"),
    kind("latin", "text CHARACTER SET latin1"),
    Kind { is_padded: true, ..kind("char", "char(5) CHARACTER SET utf8mb4") },
    Kind { is_padded: true, only_labels: true, ..kind("enum", "enum('b', 'z', 'a', '')") },
    Kind { is_padded: true, only_labels: true, ..kind("set", "set('b', 'z', 'a')") },
];

/// Inserted as they are; `character(n)`, CHAR and ENUM drop the blanks.
const VALUES: &[Option<&str>] = &[
    Some("b"),
    Some("a"),
    Some("A"),
    Some("a "),
    Some("ä"),
    Some("Ä"),
    None,
    Some(""),
    Some("a"),
    Some("a\t"),
    Some("a%"),
];
const LABELS: &[Option<&str>] = &[Some("b"), Some("a"), Some("z"), None, Some(""), Some("a"), Some("b")];

const QUERIES: &[&str] = &[
    "SELECT id, c FROM {t}",
    "SELECT id FROM {t} WHERE c = 'a'",
    "SELECT id FROM {t} WHERE c = 'a '",
    "SELECT id FROM {t} WHERE c <> 'a'",
    "SELECT id FROM {t} WHERE c IS DISTINCT FROM 'b'",
    "SELECT id FROM {t} WHERE c < 'b'",
    "SELECT id FROM {t} WHERE c >= 'a'",
    "SELECT id FROM {t} WHERE c BETWEEN 'a' AND 'a%'",
    "SELECT id FROM {t} WHERE c IN ('a', 'ä', 'zz')",
    "SELECT id FROM {t} WHERE c IN ('1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'Ä')",
    "SELECT id FROM {t} WHERE c NOT IN ('a', 'b')",
    "SELECT id FROM {t} WHERE c LIKE 'a'",
    "SELECT id FROM {t} WHERE c LIKE 'a%'",
    "SELECT id FROM {t} WHERE c NOT LIKE '_'",
    "SELECT id FROM {t} WHERE c IS NULL",
    "SELECT c, count(*) FROM {t} GROUP BY c",
    "SELECT c, count(DISTINCT id) FROM {t} GROUP BY c",
    "SELECT DISTINCT c FROM {t}",
    "SELECT min(c), max(c), count(c), count(DISTINCT c) FROM {t}",
    "SELECT id, c FROM {t} ORDER BY c, id",
    "SELECT id, c FROM {t} ORDER BY c DESC NULLS LAST, id LIMIT 3",
    "SELECT CASE WHEN c = 'a' THEN 'A' ELSE c END AS k, count(*) FROM {t} GROUP BY 1",
    "SELECT id, char_length(c) FROM {t}",
    "SELECT coalesce(c, 'a') AS k, count(*) FROM {t} GROUP BY 1",
    "SELECT a.id, b.id FROM {t} a JOIN {t} b ON a.c = b.c",
    "SELECT a.id, b.id FROM {t} a JOIN {o} b ON a.c = b.c",
    "SELECT id FROM {t} a WHERE NOT EXISTS (SELECT 1 FROM {o} b WHERE b.c = a.c AND b.c > 'a')",
];

fn inserted(table: &str, values: &[Option<&str>]) -> String {
    let row = |(index, value): (usize, &Option<&str>)| match value {
        Some(value) => format!("({}, '{value}')", index + 1),
        None => format!("({}, NULL)", index + 1),
    };
    let rows: Vec<String> = values.iter().enumerate().map(row).collect();
    format!("INSERT INTO {table} VALUES {};", rows.join(", "))
}

fn values_of(kind: &Kind) -> &'static [Option<&'static str>] {
    if kind.only_labels { LABELS } else { VALUES }
}

fn script(kinds: &[Kind]) -> String {
    let table = |kind: &Kind| {
        let table = format!("t_{}", kind.name);
        format!("CREATE TABLE {table} (id int, c {}); {}", kind.sql, inserted(&table, values_of(kind)))
    };
    kinds.iter().map(table).collect::<Vec<_>>().join("\n")
}

/// The same texts as PostgreSQL's `text`, compared by code point.
fn reference_script(kinds: &[Kind], prefix: &str) -> String {
    let table = |kind: &Kind| {
        let table = format!("{prefix}{}", kind.name);
        let update = if kind.is_padded { format!("UPDATE {table} SET c = rtrim(c, ' ');") } else { String::new() };
        let inserted = inserted(&table, values_of(kind));
        format!("CREATE TABLE {table} (id int, c text COLLATE \"C\"); {inserted} {update}")
    };
    kinds.iter().map(table).collect::<Vec<_>>().join("\n")
}

/// Registers each kind's table as the engine would: described by its source.
async fn register(
    context: &SessionContext,
    prefix: &str,
    source: &Arc<dyn RemoteSource>,
    kinds: &[Kind],
) -> Result<(), Box<dyn Error>> {
    for kind in kinds {
        let relation = format!("t_{}", kind.name);
        let described = source.describe(&format!("SELECT t.id AS c0, t.c AS c1 FROM {relation} AS t")).await?;
        let columns = described.into_iter().zip(["id", "c"]).map(|(column, name)| BaseColumn {
            sql: format!("t.{name}"),
            compares_by_code_point: column.compares_by_code_point,
            field: column.field.with_name(name),
        });
        let table = RemoteTable::base(Arc::clone(source), relation, columns.collect(), "t".to_owned());
        context.register_table(format!("{prefix}{}", kind.name), Arc::new(table))?;
    }
    Ok(())
}

async fn reference(client: &tokio_postgres::Client, sql: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut rows = vec![];
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<String> = (0..row.len())
                .map(|column| row.get(column).map_or("NULL".to_owned(), |value| format!("{value:?}")))
                .collect();
            rows.push(values.join(" "));
        }
    }
    if !sql.contains("ORDER BY") {
        rows.sort();
    }
    Ok(rows)
}

#[tokio::test]
async fn text_of_every_kind_is_compared_by_code_point() -> Result<(), Box<dyn Error>> {
    let postgres = PrivatePostgres::shared()?;
    let postgres_url = postgres.fresh_database()?;
    let types = "CREATE EXTENSION citext;
        CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE DOMAIN code AS character(5);
        CREATE TYPE mood AS ENUM ('b', 'z', 'a', '');
        CREATE DOMAIN mood_domain AS mood;";
    let references = [reference_script(POSTGRES, "pg_"), reference_script(MARIADB, "my_")].join("\n");
    PrivatePostgres::run_sql(&postgres_url, &[types, &script(POSTGRES), &references].join("\n"))?;
    let mariadb = PrivateMariaDb::shared()?;
    let mariadb_url = mariadb.fresh_database()?;
    PrivateMariaDb::run_sql(&mariadb_url, &script(MARIADB).replace('\t', "\\t"))?;

    let context = context();
    let source: Arc<dyn RemoteSource> = Arc::new(PostgresSource::new("pg", &RemoteConfig::from_url(&postgres_url))?);
    register(&context, "pg_", &source, POSTGRES).await?;
    let source: Arc<dyn RemoteSource> = Arc::new(MySqlSource::new("my", &RemoteConfig::from_url(&mariadb_url))?);
    register(&context, "my_", &source, MARIADB).await?;
    let (client, connection) = tokio_postgres::connect(&postgres_url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);

    let mut differences = String::new();
    let all = POSTGRES.iter().map(|kind| ("pg_", kind)).chain(MARIADB.iter().map(|kind| ("my_", kind)));
    for (prefix, kind) in all {
        let table = format!("{prefix}{}", kind.name);
        for template in QUERIES {
            // The other side of a join: each time at the other source, and in its own collation.
            let other = if prefix == "pg_" { "my_loose" } else { "pg_bpchar" };
            let sql = template.replace("{t}", &table).replace("{o}", other);
            let expected = reference(&client, &sql).await.map_err(|error| format!("{sql}: {error:?}"))?;
            for pushed in [false, true] {
                match run(&context, &sql, pushed).await {
                    Ok((got, _)) if got == expected => {}
                    Ok((got, _)) => differences
                        .push_str(&format!("{sql} (pushed: {pushed})\n  expected {expected:?}\n  got      {got:?}\n")),
                    Err(error) => differences.push_str(&format!("{sql} (pushed: {pushed}): {error}\n")),
                }
            }
        }
    }
    connection.abort();
    assert!(differences.is_empty(), "{differences}");
    Ok(())
}
