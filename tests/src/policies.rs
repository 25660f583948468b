//! Access policies: each user sees the rows of plain SQL on data that was filtered beforehand, and no name, plan or error tells of the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use tokio_postgres::{Client, Config, SimpleQueryMessage};

use crate::AnyError;
use crate::rollups::build;
use crate::runner::{Sides, run_file};
use crate::servers::{Servers, Site, connect, login, psql_as, source};

/// The files of this test have lost statements when there are fewer.
const STATEMENTS_MIN: usize = 70;

const USERS: &str = r#"time_zone: UTC
storage: store
refresh: { enabled: false }
masks: { number: -5 }
users:
  - { name: eu, password: pw, groups: [sales], attributes: { region: EU, city: Oslo } }
  - { name: us, password: pw, groups: [sales], attributes: { region: US } }
  - { name: lost, password: pw, groups: [sales] }
  - { name: auditor, password: pw, groups: [auditors], attributes: { clearance: high } }
  - { name: low, password: pw, groups: [auditors], attributes: { clearance: low } }
  - { name: clerk, password: pw, groups: [clerks] }
  - { name: other, password: pw, groups: [others] }
  - { name: texts, password: pw, groups: [texts] }
  - { name: dates, password: pw, groups: [dates] }
  - { name: cities, password: pw, groups: [cities] }
  - { name: local, password: pw, groups: [locals], attributes: { city: Oslo } }
  - { name: payer, password: pw, groups: [payers] }
  - { name: quiet, password: pw, groups: [quiet] }
  - { name: half, password: pw, groups: [quiet, halves] }
  - { name: stranger, password: pw }
"#;

const FILES: [&str; 14] = [
    "eu", "lost", "auditor", "low", "clerk", "other", "texts", "dates", "cities", "local", "payer", "quiet", "half",
    "stranger",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// Where the model's two data sources are.
enum Variant {
    Postgres,
    MariaDb,
    Split,
}

/// Belvedere with all users, over the tables and what `more_sql` makes of them, and PostgreSQL with the tables.
fn start(variant: &Variant, servers: &Servers, more_sql: &str) -> Result<(Site, Config), AnyError> {
    let tables = folder().join("tables.sql");
    // PostgreSQL's columns are of type text, as views show text of either source.
    let as_text = tempfile::Builder::new().suffix(".sql").tempfile()?;
    fs::write(as_text.path(), fs::read_to_string(&tables)?.replace("varchar(40)", "text"))?;
    let postgres = || -> Result<String, AnyError> {
        let url = servers.postgres.fresh_database()?;
        PrivatePostgres::run_file(&url, as_text.path())?;
        PrivatePostgres::run_sql(&url, more_sql)?;
        Ok(url)
    };
    let mariadb = || -> Result<String, AnyError> {
        let url = servers.mariadb.fresh_database()?;
        PrivateMariaDb::run_file(&url, &tables)?;
        PrivateMariaDb::run_sql(&url, more_sql)?;
        Ok(url)
    };
    let model = fs::read_to_string(folder().join("model.yml"))?;
    let one_source = model.replace("    data_source: two\n", "");
    assert_ne!(one_source, model);
    let (sources, model) = match variant {
        Variant::Postgres => (vec![source("default", &postgres()?)], one_source),
        Variant::MariaDb => (vec![source("default", &mariadb()?)], one_source),
        Variant::Split => (vec![source("default", &postgres()?), source("two", &mariadb()?)], model),
    };
    let site = Site::start(&sources, USERS, &model)?;
    let reference = servers.postgres.fresh_database_by_code_point()?;
    PrivatePostgres::run_file(&reference, as_text.path())?;
    Ok((site, login(&reference)?))
}

fn as_user(site: &Site, user: &str) -> Config {
    let mut config = site.server.login();
    config.user(user).password("pw");
    config
}

async fn run(variant: Variant) -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let (site, reference) = start(&variant, &servers, "")?;
    let name = match variant {
        Variant::Postgres => "postgres",
        Variant::MariaDb => "mariadb",
        Variant::Split => "split",
    };
    // From the sources, and then from rollups where they hold what is asked.
    for has_rollups in [false, true] {
        if has_rollups {
            build_rollups(&site).await?;
        }
        let (mut statements, mut failing) = (0, Vec::new());
        for user in FILES {
            let sides = Sides {
                ours: as_user(&site, user),
                reference: reference.clone(),
                variant: name.to_owned(),
                asks_references: false,
            };
            let report = run_file(&folder().join(format!("{user}.slt")), &sides).await?;
            statements += report.statements;
            if !report.failures.is_empty() {
                failing.push(report.to_string());
            }
        }
        assert!(failing.is_empty(), "with rollups: {has_rollups}\n{}", failing.join("\n\n"));
        assert!(statements >= STATEMENTS_MIN, "only {statements} statements");
    }
    Ok(())
}

/// Builds all rollups, and waits until the server reads them.
async fn build_rollups(site: &Site) -> Result<(), AnyError> {
    let (went_well, out, complaints) = build(site, &[])?;
    assert!(went_well, "{out}{complaints}");
    let client = connect(&as_user(site, "auditor")).await?;
    client.batch_execute("SET rollups = 'required'").await?;
    let begun = Instant::now();
    while let Err(error) = client.simple_query("SELECT region, status, MEASURE(total) FROM orders GROUP BY 1, 2").await
    {
        assert!(begun.elapsed() < Duration::from_secs(5), "the server does not read what was built: {error:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Rollups hold the rows of everyone: each user is answered from those of their rows, where what tells them apart is stored.
#[tokio::test]
async fn rollups_answer_each_user_from_the_rows_that_are_granted() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    for variant in [Variant::Postgres, Variant::Split] {
        let (site, _) = start(&variant, &servers, "")?;
        build_rollups(&site).await?;
        let totals = "SELECT status, MEASURE(count), MEASURE(total) FROM orders GROUP BY 1 ORDER BY 1";
        for (user, sql) in [
            ("eu", totals),
            ("us", totals),
            ("lost", totals),
            ("other", totals),
            ("texts", "SELECT MEASURE(count), MIN(amount) FROM orders WHERE status <> 'new'"),
            ("clerk", "SELECT region, MEASURE(count) FROM orders WHERE status = 'paid' GROUP BY 1 ORDER BY 1"),
            ("local", "SELECT initial, MEASURE(count), MEASURE(tiers) FROM customers GROUP BY 1 ORDER BY 1"),
        ] {
            let client = connect(&as_user(&site, user)).await?;
            client.batch_execute("SET rollups = 'required'").await?;
            let from_rollup = all_of(&client, sql).await;
            client.batch_execute("SET rollups = 'off'").await?;
            assert_eq!(from_rollup, all_of(&client, sql).await, "{user}: {sql}");
        }
        // By a time that is not stored, and by what another cube has.
        for user in ["dates", "cities"] {
            let client = connect(&as_user(&site, user)).await?;
            client.batch_execute("SET rollups = 'required'").await?;
            let told = all_of(&client, totals).await;
            assert!(told.contains("an access policy filters the rows of"), "{user}: {told}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_user_sees_the_rows_that_are_granted_over_one_postgresql() -> Result<(), AnyError> {
    run(Variant::Postgres).await
}

#[tokio::test]
async fn each_user_sees_the_rows_that_are_granted_over_one_mariadb() -> Result<(), AnyError> {
    run(Variant::MariaDb).await
}

#[tokio::test]
async fn each_user_sees_the_rows_that_are_granted_over_two_servers() -> Result<(), AnyError> {
    run(Variant::Split).await
}

/// All values of a statement, or its error with every part, as one text.
async fn all_of(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(messages) => messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|index| row.get(index).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
                }
                _ => None,
            })
            .collect::<Vec<_>>()
            .join("\n"),
        Err(error) => match error.as_db_error() {
            Some(error) => format!("{} {:?} {:?}", error.message(), error.detail(), error.hint()),
            None => error.to_string(),
        },
    }
}

/// The names that a clerk may not see anywhere.
const HIDDEN_FROM_CLERK: [&str; 9] =
    ["amount", "created_at", "inverse", "average", "per_order", "people", "secrets", "balance_of_facts", "customer_id"];

#[tokio::test]
async fn no_catalog_plan_or_error_tells_what_is_hidden() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let (site, _) = start(&Variant::Postgres, &servers, "")?;
    let clerk = connect(&as_user(&site, "clerk")).await?;
    let looks = [
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_name IN ('orders', 'people', 'secrets', 'balance_of_facts')",
        "SELECT relname FROM pg_catalog.pg_class WHERE relname NOT LIKE 'pg_%'",
        "SELECT a.attname FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid WHERE c.relname = 'orders'",
        "SELECT 'people'::regclass",
        "SELECT amoun FROM orders",
        "SELECT averag FROM orders",
        "SELECT * FROM peopl",
        "SELECT * FROM secret",
        "SELECT status FROM orders GROUP BY 1 HAVING MEASURE(averge) > 0",
        "EXPLAIN SELECT status, MEASURE(count) FROM orders WHERE region = 'EU' GROUP BY 1",
        "EXPLAIN (FORMAT JSON) SELECT id FROM orders",
        "SELECT o.id, p.label FROM orders AS o CROSS JOIN plain AS p",
    ];
    for sql in looks {
        let shown = all_of(&clerk, sql).await;
        for name in HIDDEN_FROM_CLERK {
            // What the statement itself says is no news.
            let news = shown.replace("amoun\"", "").replace("'people'", "").replace("\"people\"", "");
            assert!(!news.contains(name), "{sql} tells of {name}: {shown}");
        }
    }
    let columns = all_of(
        &clerk,
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders' ORDER BY ordinal_position",
    )
    .await;
    assert_eq!(columns, "id\nregion\nstatus\ncode\ncount\ntotal\npaid");
    let described = psql(&site, "clerk", r"\d orders").await?;
    assert_eq!(
        described.lines().skip(3).map(|line| line.split('|').next().unwrap_or_default().trim()).collect::<Vec<_>>(),
        ["id", "region", "status", "code", "count", "total", "paid", ""]
    );
    assert!(psql(&site, "stranger", r"\d").await?.contains("customers"));
    assert!(!psql(&site, "stranger", r"\d").await?.contains("orders"));
    assert!(psql(&site, "stranger", r"\d orders").await?.contains("Did not find any relation named \"orders\"."));
    let plan = all_of(&clerk, "EXPLAIN SELECT id FROM orders").await;
    assert!(plan.contains("-- not shown: an access policy applies") && !plan.contains("paid"), "{plan}");
    let open = all_of(&clerk, "EXPLAIN SELECT id FROM plain").await;
    assert!(open.contains("FROM plain AS \"plain\""), "{open}");
    Ok(())
}

#[tokio::test]
async fn one_users_plan_never_serves_another() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let (site, _) = start(&Variant::Postgres, &servers, "")?;
    let (eu, us) = (connect(&as_user(&site, "eu")).await?, connect(&as_user(&site, "us")).await?);
    let auditor = connect(&as_user(&site, "auditor")).await?;
    let sql = "SELECT id FROM orders ORDER BY id";
    for _ in 0..3 {
        assert_eq!(all_of(&eu, sql).await, "1\n2\n5");
        assert_eq!(all_of(&us, sql).await, "3\n4");
        assert_eq!(all_of(&auditor, sql).await, "1\n2\n3\n4\n5\n6\n7");
    }
    // Whatever a session says it is.
    for claim in [
        "SET ROLE auditor",
        "SET SESSION AUTHORIZATION auditor",
        "SET role = 'auditor'",
        "SELECT set_config('role', 'auditor', false)",
        "SELECT set_config('session_authorization', 'auditor', false)",
        "SET application_name = 'auditor'",
        "SET region = 'US'",
        "SET security_context.region = 'US'",
        "RESET ALL",
        "DISCARD ALL",
    ] {
        all_of(&eu, claim).await;
        assert_eq!(all_of(&eu, sql).await, "1\n2\n5", "{claim}");
    }
    // A statement that was prepared keeps its user; a cursor too.
    let prepared = eu.prepare(sql).await?;
    let rows = eu.query(&prepared, &[]).await?;
    assert_eq!(rows.len(), 3);
    all_of(&eu, "BEGIN; DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id").await;
    assert_eq!(all_of(&eu, "FETCH ALL FROM c").await, "1\n2\n5");
    Ok(())
}

/// `1 / 0` and casts on hidden rows: what a user is told, rows or errors, is what is told where those rows do not exist.
#[tokio::test]
async fn hidden_rows_change_no_answer_and_no_error() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    for variant in [Variant::Postgres, Variant::MariaDb, Variant::Split] {
        let (site, _) = start(&variant, &servers, "")?;
        let (twin, _) = start(&variant, &servers, "DELETE FROM orders WHERE id NOT IN (1, 2, 5);")?;
        build_rollups(&site).await?;
        build_rollups(&twin).await?;
        let (eu, eu_alone) = (connect(&as_user(&site, "eu")).await?, connect(&as_user(&twin, "eu")).await?);
        let auditor = connect(&as_user(&site, "auditor")).await?;
        let mut told = 0;
        for expression in
            ["1 / (amount - 7)", "CAST(code AS integer)", "1 / (amount - 10)", "CAST(region AS date)", "inverse"]
        {
            for sql in [
                "SELECT COUNT(*) FROM orders WHERE {} IS NULL AND region = 'US'",
                "SELECT COUNT(*) FROM orders WHERE region = 'US' AND {} IS NULL",
                "SELECT COUNT(*) FROM orders WHERE {} IS NOT NULL OR status = 'open'",
                "SELECT COUNT(*) FROM orders WHERE CASE WHEN region = 'EU' THEN true ELSE {} IS NULL END",
                "SELECT COUNT(*) FROM sales WHERE customers_city = 'Boston' AND {} IS NULL",
                "SELECT COUNT(*) FROM (SELECT region AS r, {} AS x FROM orders WHERE region = 'US') AS q WHERE x IS NULL",
                "SELECT COUNT(*) FROM plain WHERE EXISTS (SELECT 1 FROM orders WHERE orders.id = plain.id + 2 AND {} IS NULL)",
                "SELECT MIN({}) FROM orders WHERE region = 'US'",
                "SELECT COUNT(*) FILTER (WHERE {} IS NULL) FROM orders WHERE region = 'US'",
                "SELECT COUNT(*) FROM orders WHERE amount IN (SELECT amount FROM orders WHERE {} IS NULL)",
                "SELECT id FROM orders ORDER BY {}, id",
                "SELECT {} AS x, COUNT(*) FROM orders GROUP BY 1 ORDER BY 1",
            ] {
                let sql = sql.replace("{}", expression);
                let (ours, alone) = (without_id(all_of(&eu, &sql).await), without_id(all_of(&eu_alone, &sql).await));
                assert_eq!(ours, alone, "{sql}");
                told += usize::from(without_id(all_of(&auditor, &sql).await) != ours);
            }
        }
        assert!(told > 30, "only {told} statements would tell of the hidden rows");
    }
    Ok(())
}

/// What a cube's SQL asks for goes into it, with bound values.
#[tokio::test]
async fn conditions_stand_where_the_sql_of_a_cube_asks_for_them() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let url = servers.postgres.fresh_database()?;
    PrivatePostgres::run_file(&url, &folder().join("tables.sql"))?;
    // Without a policy, and without a join to a cube that has one, EXPLAIN shows all.
    let model = fs::read_to_string(folder().join("model.yml"))?;
    let (_, asked) = model.split_once("  - name: asked\n").ok_or("the model has the cube")?;
    let (asked, _) = asked.split_once("  # The oldest way").ok_or("and another behind it")?;
    let (before, behind) = asked.split_once("    joins:\n").ok_or("it has a join")?;
    let (_, behind) = behind.split_once('\n').ok_or("of one line")?;
    let view = "views:\n  - name: asked_of\n    cubes:\n      - {join_path: asked, includes: [id, {name: region, alias: area}, status, amount, created_at]}\n";
    let model = format!("cubes:\n  - name: asked\n{before}{behind}{view}").replace("    data_source: two\n", "");
    let site = Site::start(&[source("default", &url)], "", &model)?;
    let eu = site.connect().await?;
    let sent = |plan: String| {
        plan.lines().skip_while(|line| !line.starts_with("Source")).nth(1).unwrap_or_default().to_owned()
    };
    let of = |asked: &str| format!("EXPLAIN SELECT id FROM asked_of WHERE {asked}");
    let plan = sent(all_of(&eu, &of("area = 'US' AND created_at >= '2024-02-01' AND created_at < '2024-03-01'")).await);
    assert!(plan.contains("WHERE ((region) = $1::text) AND ((created_at >= $2::timestamp AND"), "{plan}");
    assert!(plan.contains(" AND (1 = 1)"), "{plan}");
    let plan = sent(all_of(&eu, &of("status = 'paid' OR amount > 3")).await);
    assert!(plan.contains("WHERE (1 = 1) AND (1 = 1) AND (((status) = $1::text OR (amount) > "), "{plan}");
    let plan = sent(all_of(&eu, &of("status = 'paid' OR area = 'US'")).await);
    assert!(plan.contains("WHERE (1 = 1) AND (1 = 1) AND (1 = 1)"), "{plan}");
    Ok(())
}

/// A source's error has an id of its own each time, by which the log has it.
fn without_id(text: String) -> String {
    match text.split_once("under the id ") {
        Some((before, behind)) => format!("{before}{}", behind.trim_start_matches(|c: char| c.is_ascii_hexdigit())),
        None => text,
    }
}

async fn psql(site: &Site, user: &str, command: &str) -> Result<String, AnyError> {
    psql_as(&site.server.login(), user, "pw", &["-c", command]).await
}
