//! Values to the last zero and types with their modifiers, over a table of a test's own, beside plain SQL on the same table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use belvedere_testkit::PrivatePostgres;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::AnyError;
use crate::servers::{Site, connect, source};

const TABLE: &str = "
    CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('sad', 'fair', 'glad');
    CREATE DOMAIN money_like AS numeric(10,3);
    CREATE TABLE lines (id int PRIMARY KEY, price numeric(12,2), rate numeric(6,4), huge numeric(38,10), fee money_like,
        qty int, big bigint, bare numeric, ratio double precision, code character(5), mood mood, tag citext);
    INSERT INTO lines VALUES
        (1, 12.50, 0.1900, 1234567890123456789012345678.0123456789, 1.5, 3, 4000000000, 7, 0.5, 'ab', 'glad', 'Red'),
        (2, 0.10, 0.0700, 0, 0, 0, -1, 7.25, -2, 'AB', 'sad', 'red'),
        (3, -3.00, NULL, -0.0000000001, 2, -7, NULL, 0.5, 1e10, 'b', 'fair', 'blue'),
        (4, NULL, 1.0000, NULL, NULL, NULL, 5, NULL, NULL, NULL, NULL, NULL),
        (5, 9999999999.99, 99.9999, 5, 0.001, 2147483647, 9, 12345678901234567890.12345, 3, 'a', 'sad', 'RED');";

/// Dimensions, then sums of the same expressions.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("price", "price"),
    ("fee", "fee"),
    ("huge", "huge"),
    ("amount", "price * qty"),
    ("taxed", "price * (1 + rate)"),
    ("wide", "price * rate * 0.125"),
    ("sum_of", "{CUBE}.price + rate"),
    ("minus", "-price"),
    ("whole", "big - qty"),
    ("rounded", "round(price * rate, 2)"),
    ("magnitude", "abs(price)"),
    ("cast_to", "(price * rate)::numeric(14,1)"),
    ("either", "CASE WHEN qty > 0 THEN price ELSE -price END"),
    ("first", "COALESCE(price, -1.00)"),
];

fn model() -> String {
    let mut dimensions = String::new();
    let mut measures = String::new();
    for (name, sql) in EXPRESSIONS {
        let _ = writeln!(dimensions, "      - {{ name: {name}, sql: '{sql}', type: number }}");
        let _ = writeln!(measures, "      - {{ name: total_{name}, sql: '{sql}', type: sum }}");
        let _ = writeln!(measures, "      - {{ name: most_{name}, sql: '{sql}', type: max }}");
    }
    format!(
        "
cubes:
  - name: lines
    sql_table: lines
    data_source: pg
    dimensions:
      - {{ name: id, sql: id, type: number, primary_key: true, public: true }}
      - {{ name: code, sql: code, type: string }}
      - {{ name: mood, sql: mood, type: string }}
      - {{ name: tag, sql: tag, type: string }}
      - {{ name: qty, sql: qty, type: number }}
      - {{ name: big, sql: big, type: number }}
      - {{ name: rate, sql: rate, type: number }}
      - {{ name: bare, sql: bare, type: number }}
      - {{ name: ratio, sql: ratio, type: number }}
{dimensions}
    measures:
      - {{ name: count, type: count }}
{measures}"
    )
}

/// Names, types with modifiers, and every value as its text.
async fn answer(client: &Client, sql: &str) -> Result<String, AnyError> {
    let described = client.prepare(sql).await?;
    let mut text = String::new();
    for column in described.columns() {
        let _ = write!(text, "{} {}/{} | ", column.name(), column.type_(), column.type_modifier());
    }
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL")).collect();
            let _ = write!(text, "\n{}", values.join(" | "));
        }
    }
    Ok(text)
}

async fn compare(site: &Site, reference: &Client, pairs: &[(String, String)]) -> Result<(), AnyError> {
    let ours = site.connect().await?;
    let mut differences = String::new();
    for (sql, plain) in pairs {
        let expected = answer(reference, plain).await.map_err(|error| format!("{plain}: {error:?}"))?;
        match answer(&ours, sql).await {
            Ok(got) if got == expected => {}
            Ok(got) => {
                let _ = writeln!(differences, "{sql}\n{got}\n-- PostgreSQL: {plain}\n{expected}\n");
            }
            Err(error) => {
                let _ = writeln!(differences, "{sql}\n{error:?}\n");
            }
        }
    }
    assert!(differences.is_empty(), "{differences}\n{}", site.server.log());
    Ok(())
}

/// What a statement gives, or the SQLSTATE with which it is refused.
async fn outcome(client: &Client, sql: &str) -> Result<String, AnyError> {
    match answer(client, sql).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            match error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::as_db_error) {
                Some(refused) => Ok(format!("{} {}", refused.code().code(), refused.message())),
                None => Err(error),
            }
        }
    }
}

/// `values_and_types.txt` has a statement a line that means the same to both, with the same outcome to the last zero, or to the
/// SQLSTATE. A line that begins with `#` is a comment.
#[tokio::test]
async fn statements_give_what_postgres_gives() -> Result<(), AnyError> {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database_by_code_point()?;
    PrivatePostgres::run_sql(&url, TABLE)?;
    let site = Site::start(&[source("pg", &url)], "", &model())?;
    let (ours, reference) = (site.connect().await?, connect(&url.parse()?).await?);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/values_and_types.txt");
    let mut differences = String::new();
    let text = fs::read_to_string(file)?;
    for sql in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (got, expected) = (outcome(&ours, sql).await?, outcome(&reference, sql).await?);
        let same = match expected.split_at_checked(6) {
            // Of a refusal only the SQLSTATE.
            Some((state, _)) if state.ends_with(' ') && !expected.contains('/') => got.starts_with(state),
            _ => got == expected,
        };
        if !same {
            let _ = writeln!(differences, "{sql}\n{got}\n-- PostgreSQL:\n{expected}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
    Ok(())
}

#[tokio::test]
async fn numerics_show_the_digits_and_modifiers_of_plain_sql() -> Result<(), AnyError> {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    PrivatePostgres::run_sql(&url, TABLE)?;
    let site = Site::start(&[source("pg", &url)], "", &model())?;
    let reference = connect(&url.parse()?).await?;
    let mut pairs = Vec::new();
    for (name, sql) in EXPRESSIONS {
        let plain = sql.replace("{CUBE}", "lines");
        pairs.push((
            format!("SELECT id, {name} FROM lines ORDER BY id"),
            format!("SELECT id, {plain} AS {name} FROM lines ORDER BY id"),
        ));
        pairs.push((
            format!("SELECT MEASURE(total_{name}) AS t, MEASURE(most_{name}) AS m FROM lines"),
            format!("SELECT sum({plain}) AS t, max({plain}) AS m FROM lines"),
        ));
        pairs.push((
            format!("SELECT code, MEASURE(total_{name}) AS t FROM lines GROUP BY 1 ORDER BY 1"),
            format!(
                "SELECT rtrim(code) AS code, sum({plain}) AS t FROM lines GROUP BY code ORDER BY code COLLATE \"C\""
            ),
        ));
    }
    compare(&site, &reference, &pairs).await
}

/// What would need PostgreSQL's own order or equality of a type is refused.
#[tokio::test]
async fn values_whose_text_says_nothing_of_their_order_are_not_compared() -> Result<(), AnyError> {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    PrivatePostgres::run_sql(
        &url,
        "CREATE TABLE odd (id int PRIMARY KEY, cost money, address inet, note jsonb, token uuid, span interval);
         INSERT INTO odd VALUES
            (1, '9.50', '10.0.0.1', '{}', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '1 month'),
            (2, '10.00', '9.0.0.1', NULL, NULL, '30 days')",
    )?;
    let model = "
cubes:
  - name: odd
    sql_table: odd
    data_source: pg
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: cost, sql: cost, type: string }
      - { name: address, sql: address, type: string }
      - { name: note, sql: note, type: string }
      - { name: token, sql: token, type: string }
      - { name: span, sql: span, type: string }
    measures:
      - { name: count, type: count }
      - { name: least, sql: cost, type: min }
";
    let site = Site::start(&[source("pg", &url)], "", model)?;
    let ours = site.connect().await?;
    for (sql, expected) in [
        ("SELECT id FROM odd WHERE cost < '$10.00'", "0A000"),
        ("SELECT id FROM odd WHERE address = '9.0.0.1'", "0A000"),
        ("SELECT id FROM odd WHERE note IN ('{}')", "0A000"),
        ("SELECT id FROM odd ORDER BY cost", "0A000"),
        ("SELECT min(address) FROM odd", "0A000"),
        ("SELECT MEASURE(least) FROM odd", "0A000"),
        ("SELECT max(token) FROM odd", "42883"),
        ("SELECT span, count(*) FROM odd GROUP BY 1", "0A000"),
        ("SELECT count(DISTINCT span) FROM odd", "0A000"),
        ("SELECT DISTINCT span FROM odd", "0A000"),
        ("SELECT row_number() OVER (ORDER BY span) FROM odd", "0A000"),
        ("SELECT id FROM odd WHERE token = 'no uuid'", "22P02"),
        (
            "SELECT id, cost FROM odd WHERE token = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            "id int4/-1 | cost text/-1 | \n1 | $9.50",
        ),
        ("SELECT id FROM odd WHERE token IN ('{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}')", "id int4/-1 | \n1"),
        ("SELECT count(*) FROM odd WHERE span = '1 month' AND cost IS NOT NULL", "count int8/-1 | \n2"),
    ] {
        let got = outcome(&ours, sql).await?;
        assert!(got.starts_with(expected), "{sql}\n{got}");
    }
    Ok(())
}
