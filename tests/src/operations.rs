//! What operators rely on: metrics, health, signals, TLS, logs without secrets, limits of time, and psql's tab key.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use belvedere_testkit::PrivatePostgres;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::AnyError;
use crate::servers::{Site, http_get, psql, refusal, source};

const MODEL: &str = "
cubes:
  - name: things
    sql_table: things
    data_source: pg
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: name, sql: name, type: string }
      - { name: number, sql: 'CASE WHEN id = 3 THEN name::int END', type: number }
  - name: slow
    sql: SELECT 1 AS id, pg_sleep(4)::text AS slept
    data_source: pg
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: slept, sql: slept, type: string }
";

const THINGS: &str = "CREATE TABLE things (id int PRIMARY KEY, name text); \
    INSERT INTO things VALUES (1, 'kettle'), (2, 'cup'), (3, 'valueofarow')";

fn site(more: &str) -> Result<(PrivatePostgres, Site), AnyError> {
    let postgres = PrivatePostgres::shared()?;
    let url = postgres.fresh_database()?;
    PrivatePostgres::run_sql(&url, THINGS)?;
    Ok((postgres, Site::start(&[source("pg", &url)], more, MODEL)?))
}

/// The samples of `/metrics`, each a number, each of a metric that was declared with a type and a help text.
async fn metrics(site: &Site) -> Result<BTreeMap<String, f64>, AnyError> {
    let (status, page) = http_get(site.http_port, "/metrics").await?;
    assert_eq!(status, 200);
    let (mut declared, mut samples) = (BTreeMap::new(), BTreeMap::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("a TYPE without a type")?;
            assert!(declared.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is declared twice");
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').ok_or_else(|| format!("no sample: {line}"))?;
            let metric = name.split('{').next().unwrap_or_default();
            let known = ["", "_bucket", "_sum", "_count"]
                .iter()
                .any(|ending| metric.strip_suffix(ending).is_some_and(|metric| declared.contains_key(metric)));
            assert!(known, "{metric} was not declared");
            assert!(samples.insert(name.to_owned(), value.parse()?).is_none(), "{name} is there twice");
        }
    }
    Ok(samples)
}

#[tokio::test]
async fn metrics_count_connections_statements_rows_errors_and_each_source() -> Result<(), AnyError> {
    let (_postgres, site) = site("")?;
    let (one, two) = (site.connect().await?, site.connect().await?);
    let before = metrics(&site).await?;
    assert_eq!(one.query("SELECT id FROM things", &[]).await?.len(), 3);
    assert_eq!(two.simple_query("SELECT name FROM things WHERE id = 1").await?.len(), 3);
    assert_eq!(refusal(two.query("SELECT nope FROM things", &[]).await)?.0, "42703");
    assert_eq!(refusal(two.simple_query("SELECT number FROM things").await)?.0, "22P02");
    let after = metrics(&site).await?;
    let value = |name: &str| *after.get(name).unwrap_or(&f64::NAN);
    let counted = |name: &str| value(name) - before.get(name).copied().unwrap_or_default();
    let shown = [
        ("belvedere_connections", value("belvedere_connections"), 2.0),
        ("statements", counted("belvedere_statements_total"), 3.0),
        ("succeeded", counted("belvedere_statements_succeeded_total"), 2.0),
        ("rows", counted("belvedere_rows_sent_total"), 4.0),
        ("unknown columns", counted("belvedere_errors_total{sqlstate=\"42703\"}"), 1.0),
        ("unreadable numbers", counted("belvedere_errors_total{sqlstate=\"22P02\"}"), 1.0),
        ("timed", counted("belvedere_statement_duration_seconds_count"), 3.0),
        ("timed up to any length", counted("belvedere_statement_duration_seconds_bucket{le=\"+Inf\"}"), 3.0),
        ("reachable", value("belvedere_source_reachable{source=\"pg\"}"), 1.0),
        ("sent", counted("belvedere_source_statements_total{source=\"pg\"}"), 3.0),
        ("read", counted("belvedere_source_rows_total{source=\"pg\"}"), 4.0),
        ("failed there", counted("belvedere_source_errors_total{source=\"pg\"}"), 1.0),
        ("timed there", counted("belvedere_source_duration_seconds_count{source=\"pg\"}"), 3.0),
        ("running there", value("belvedere_source_statements_running{source=\"pg\"}"), 0.0),
        ("the model", value("belvedere_model_current"), 1.0),
        ("panics", value("belvedere_panics_total"), 0.0),
    ];
    let wrong: Vec<_> = shown.into_iter().filter(|(_, found, expected)| found != expected).collect();
    assert_eq!(wrong, []);
    Ok(())
}

#[tokio::test]
async fn the_health_pages_tell_a_source_that_goes_away_and_comes_back() -> Result<(), AnyError> {
    let stays = PrivatePostgres::shared()?;
    let url = stays.fresh_database()?;
    PrivatePostgres::run_sql(&url, THINGS)?;
    let goes = PrivatePostgres::start()?;
    let gone = goes.fresh_database()?;
    PrivatePostgres::run_sql(&gone, THINGS)?;
    let model = format!(
        "{MODEL}  - name: far\n    sql_table: things\n    data_source: far\n    dimensions:\n      \
         - {{ name: id, sql: id, type: number, primary_key: true, public: true }}\n"
    );
    let site = Site::start(&[source("pg", &url), source("far", &gone)], "", &model)?;
    let client = site.connect().await?;
    assert_eq!(http_get(site.http_port, "/livez").await?, (200, "alive\n".to_owned()));
    let ready = |page: &str| Ok::<_, AnyError>(serde_json::from_str::<serde_json::Value>(page)?["status"].clone());
    let (status, page) = http_get(site.http_port, "/readyz").await?;
    assert_eq!((status, ready(&page)?), (200, "ready".into()));
    assert_eq!(client.query("SELECT id FROM far", &[]).await?.len(), 3);

    drop(goes);
    assert_eq!(refusal(client.query("SELECT id FROM far", &[]).await)?.0, "08001");
    let (status, page) = http_get(site.http_port, "/readyz").await?;
    assert_eq!((status, ready(&page)?), (200, "degraded".into()), "the others go on: {page}");
    assert!(page.contains("\"source\": \"far\""), "{page}");
    assert!(!page.contains("tester:"), "no password: {page}");
    assert_eq!(metrics(&site).await?.get("belvedere_source_reachable{source=\"far\"}"), Some(&0.0));
    assert_eq!(client.query("SELECT id FROM things", &[]).await?.len(), 3);
    assert_eq!(http_get(site.http_port, "/livez").await?.0, 200);
    assert_eq!(http_get(site.http_port, "/nothing").await?.0, 404);

    // All of them away: nobody should be sent here.
    let goes = PrivatePostgres::start()?;
    let alone = goes.fresh_database()?;
    PrivatePostgres::run_sql(&alone, THINGS)?;
    let site = Site::start(&[source("pg", &alone)], "", MODEL)?;
    drop(goes);
    let client = site.connect().await?;
    assert_eq!(refusal(client.query("SELECT id FROM things", &[]).await)?.0, "08001");
    let (status, page) = http_get(site.http_port, "/readyz").await?;
    assert_eq!((status, ready(&page)?), (503, "unavailable".into()));
    assert_eq!(http_get(site.http_port, "/livez").await?.0, 200);
    Ok(())
}

fn signal(site: &Site, name: &str) -> Result<(), AnyError> {
    let status = Command::new("kill").args([name, &site.server.process_id().to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(format!("kill ended with {status}").into()) }
}

async fn until(site: &Site, what: &str) -> Result<(), AnyError> {
    let started = Instant::now();
    while !site.server.log().contains(what) {
        if started.elapsed() > Duration::from_secs(15) {
            return Err(format!("the log does not say {what:?}:\n{}", site.server.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_hang_up_reads_the_model_again_and_mistakes_keep_the_old_one() -> Result<(), AnyError> {
    let (_postgres, site) = site("")?;
    let client = site.connect().await?;
    fs::write(site.model_file(), MODEL.replace("name: name, sql: name", "name: label, sql: name"))?;
    signal(&site, "-HUP")?;
    until(&site, "SIGHUP: the model is read again").await?;
    let started = Instant::now();
    while client.query("SELECT label FROM things", &[]).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(15), "{}", site.server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(refusal(client.query("SELECT name FROM things", &[]).await)?.0, "42703");

    fs::write(site.model_file(), "cubes:\n  - name: things\n    sql_tabel: things\n")?;
    signal(&site, "-HUP")?;
    until(&site, "the model was not reloaded").await?;
    assert_eq!(client.query("SELECT label FROM things", &[]).await?.len(), 3, "the old one serves");
    assert_eq!(metrics(&site).await?.get("belvedere_model_current"), Some(&0.0));
    // A broken config is no reason to stop either.
    let config = site.folder.path().join("belvedere.yaml");
    fs::write(&config, "listne: 127.0.0.1:1\n")?;
    signal(&site, "-HUP")?;
    until(&site, "listne").await?;
    assert_eq!(client.query("SELECT label FROM things", &[]).await?.len(), 3);
    Ok(())
}

/// A key and a certificate for `localhost` that signs itself.
fn certificate(folder: &std::path::Path) -> Result<(), AnyError> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .arg("-keyout")
        .arg(folder.join("server.key"))
        .arg("-out")
        .arg(folder.join("server.crt"))
        .output()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

#[tokio::test]
async fn tls_is_spoken_verified_and_where_required_nothing_else_is() -> Result<(), AnyError> {
    let files = tempfile::TempDir::new()?;
    certificate(files.path())?;
    let (crt, key) = (files.path().join("server.crt"), files.path().join("server.key"));
    let tls = |require: bool| format!("tls: {{ cert: {crt:?}, key: {key:?}, require: {require} }}");
    for require in [false, true] {
        let (_postgres, site) = site(&tls(require))?;
        let port = *site.server.login().get_ports().first().ok_or("no port")?;
        let shown = async |host: &str, rest: &str| {
            let target = format!("host={host} port={port} user=tester dbname=shop {rest}");
            let outcome = tokio::process::Command::new("psql")
                .args([
                    "-X",
                    "-A",
                    "-t",
                    "-d",
                    &target,
                    "-c",
                    "SELECT name FROM things WHERE id = 1",
                    "-c",
                    r"\conninfo",
                ])
                .env("HOME", files.path())
                .stdin(std::process::Stdio::null())
                .kill_on_drop(true)
                .output()
                .await?;
            Ok::<_, AnyError>(String::from_utf8(outcome.stdout)? + &String::from_utf8(outcome.stderr)?)
        };
        let encrypted = shown("127.0.0.1", "sslmode=require").await?;
        assert!(
            encrypted.starts_with("kettle\n") && encrypted.contains("SSL connection (protocol: TLSv1.3"),
            "{encrypted}"
        );
        let root = format!("sslmode=verify-full sslrootcert={}", crt.display());
        assert!(shown("localhost", &root).await?.starts_with("kettle\n"));
        let other_name = shown("127.0.0.1", &root).await?;
        assert!(!other_name.contains("kettle"), "{other_name}");
        let plain = shown("127.0.0.1", "sslmode=disable").await?;
        if require {
            assert!(plain.contains("FATAL") && !plain.contains("kettle"), "{plain}");
        } else {
            assert!(plain.starts_with("kettle\n"), "{plain}");
        }

        // A start-up packet put in behind the request, in plain text, before the handshake.
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let mut bytes = vec![0, 0, 0, 8, 4, 210, 22, 47];
        let body = b"\x00\x03\x00\x00user\0tester\0database\0shop\0\0";
        bytes.extend(u32::try_from(body.len() + 4)?.to_be_bytes());
        bytes.extend(body);
        socket.write_all(&bytes).await?;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await?;
        // A reset is an end as well.
        let _ = read;
        assert!(!answer.contains(&b'R') && !answer.contains(&b'Z'), "nobody was logged in: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn no_line_of_the_log_has_a_secret_or_a_value() -> Result<(), AnyError> {
    let users = "users:\n  - { name: tester, password: hunter2secret }\nlog: { format: json, level: trace }";
    let (_postgres, site) = site(users)?;
    let mut login = site.server.login();
    assert!(login.connect(tokio_postgres::NoTls).await.is_err(), "a password is asked for");
    login.password("wrongsecret");
    assert!(login.connect(tokio_postgres::NoTls).await.is_err());
    login.password("hunter2secret");
    let client = crate::servers::connect(&login).await?;
    for sql in [
        "SELECT name FROM things WHERE name = 'literalsecret'",
        "SELECT name FROM things WHERE lower(name) LIKE '%literalsecret%' OR name ~ 'literalsecret'",
        "SELECT 'literalsecret'::int",
        "SELECT CAST(name || 'literalsecret' AS int) FROM things",
        "SELECT number FROM things",
        "SELECT nope FROM things WHERE name = 'literalsecret'",
        "SELECT name FROM things WHERE name = 'literalsecret",
        "SET application_name = 'literalsecret'",
        "SET timezone = 'literalsecret'",
        "INSERT INTO things VALUES (4, 'literalsecret')",
        "SELECT 1/0, 'literalsecret'",
        "SELECT name FROM things t WHERE (SELECT name FROM things) = 'literalsecret'",
        "SELECT * FROM pg_class WHERE relname = 'literalsecret'",
    ] {
        // Whether it fails does not matter here.
        let _ = client.simple_query(sql).await;
    }
    let _ = client.query("SELECT name FROM things WHERE name = $1", &[&"literalsecret"]).await;
    assert_eq!(client.query("SELECT name FROM things", &[]).await?.len(), 3);
    drop(client);
    fs::write(site.model_file(), MODEL.replace("sql_table: things", "sql_table: nothings"))?;
    signal(&site, "-HUP")?;
    until(&site, "SIGHUP").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    signal(&site, "-TERM")?;
    until(&site, "drained").await?;
    let log = site.server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with('{')).collect();
    assert!(lines.len() > 5, "{log}");
    for line in &lines {
        let parsed: serde_json::Value = serde_json::from_str(line)?;
        assert!(parsed["timestamp"].is_string() && parsed["level"].is_string(), "{line}");
    }
    for secret in ["literalsecret", "hunter2secret", "wrongsecret", "valueofarow", "kettle", "tester:tester"] {
        let found: Vec<&str> = log.lines().filter(|line| line.contains(secret)).collect();
        assert_eq!(found, Vec::<&str>::new(), "{secret}");
    }
    Ok(())
}

#[tokio::test]
async fn the_drain_deadline_cuts_off_what_still_runs() -> Result<(), AnyError> {
    let (_postgres, mut site) = site("limits: { drain: 1s }")?;
    let client = site.connect().await?;
    let statement = tokio::spawn(async move { client.query("SELECT id FROM slow WHERE slept = ''", &[]).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    site.server.terminate()?;
    let started = Instant::now();
    assert_eq!(refusal(statement.await?)?.0, "57P01");
    let ended = site.server.wait_for_end(Duration::from_secs(10))?;
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", site.server.log());
    assert!(started.elapsed() < Duration::from_millis(3500), "{:?}", started.elapsed());
    assert!(site.server.log().contains("cut off"), "{}", site.server.log());
    Ok(())
}

#[tokio::test]
async fn the_time_limit_of_the_config_counts_until_a_session_sets_its_own() -> Result<(), AnyError> {
    let (_postgres, site) = site("limits: { statement_timeout: 1s }")?;
    let client = site.connect().await?;
    let sql = "SELECT id FROM slow WHERE slept = ''";
    let timed_out = ("57014".to_owned(), "canceling statement due to statement timeout".to_owned());
    assert_eq!(refusal(client.query(sql, &[]).await)?, timed_out);
    client.batch_execute("SET statement_timeout = 0").await?;
    assert_eq!(client.query(sql, &[]).await?.len(), 1);
    client.batch_execute("RESET statement_timeout").await?;
    assert_eq!(refusal(client.query(sql, &[]).await)?, timed_out);
    let mut login = site.server.login();
    login.options("-c statement_timeout=200ms");
    let client = crate::servers::connect(&login).await?;
    let started = Instant::now();
    assert_eq!(refusal(client.query(sql, &[]).await)?, timed_out);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    Ok(())
}

/// Every statement that psql 15 sends when the tab key is pressed behind 90 beginnings of statements and commands, as PostgreSQL
/// logged them.
const TAB_COMPLETION: &str = include_str!("../golden/psql_tab_completion.sql");

#[tokio::test]
async fn the_tab_key_of_psql_is_answered() -> Result<(), AnyError> {
    let (_postgres, site) = site("")?;
    let client = site.connect().await?;
    let mut refused = Vec::new();
    let statements: Vec<&str> = TAB_COMPLETION.split("\n;;\n").collect();
    assert!(statements.len() > 50);
    for sql in statements {
        if let Err(error) = client.simple_query(sql).await {
            refused.push(format!("{sql}\n{error:?}"));
        }
    }
    assert_eq!(refused, Vec::<String>::new());
    // What is typed is found: the statement behind `SELECT * FROM th`.
    let first = TAB_COMPLETION.split("\n;;\n").next().unwrap_or_default().replace("LIKE '%'", "LIKE 'th%'");
    let shown = psql(&site.server.login(), &["-A", "-t", "-F", " ", "-c", &first]).await?;
    assert_eq!(shown.trim(), "things");
    Ok(())
}
