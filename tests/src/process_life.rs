//! The life of the process: it drains when told to end, takes in changed models, and lives with sources that do not answer.

use std::fs;
use std::time::{Duration, Instant};

use belvedere_testkit::PrivatePostgres;
use tokio_postgres::NoTls;

use crate::AnyError;
use crate::server::free_port;
use crate::servers::{Site, http_get, refusal, source};

/// A changed file is seen within this.
const SEEN: Duration = Duration::from_secs(15);

const MODEL: &str = "
cubes:
  - name: things
    sql_table: things
    data_source: pg
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: name, sql: name, type: string }
  - name: slow
    sql: SELECT 1 AS id, pg_sleep(2)::text AS slept
    data_source: pg
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: slept, sql: slept, type: string }
";

const ONE_MORE: &str = "
      - { name: shout, sql: 'upper({CUBE}.name)', type: string }
  - name: slow
";

fn database(postgres: &PrivatePostgres) -> Result<String, AnyError> {
    let url = postgres.fresh_database()?;
    PrivatePostgres::run_sql(
        &url,
        "CREATE TABLE things (id int PRIMARY KEY, name text); INSERT INTO things VALUES (1, 'kettle')",
    )?;
    Ok(url)
}

#[tokio::test]
async fn a_running_statement_finishes_when_the_process_is_told_to_end() -> Result<(), AnyError> {
    let postgres = PrivatePostgres::shared()?;
    let mut site = Site::start(&[source("pg", &database(&postgres)?)], "", MODEL)?;
    let client = site.connect().await?;
    let idle = site.connect().await?;
    let statement = tokio::spawn(async move { client.query("SELECT id FROM slow WHERE slept = ''", &[]).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!statement.is_finished(), "the statement runs");
    site.server.terminate()?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(site.server.login().connect(NoTls).await.is_err(), "nobody new is let in");
    assert_eq!(statement.await??.len(), 1, "the running statement has its row");
    assert!(idle.query("SELECT 1", &[]).await.is_err(), "an idle session is closed");
    let ended = site.server.wait_for_end(Duration::from_secs(10))?;
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", site.server.log());
    Ok(())
}

#[tokio::test]
async fn a_changed_model_is_taken_in_and_a_broken_one_leaves_the_old_one_serving() -> Result<(), AnyError> {
    let postgres = PrivatePostgres::shared()?;
    let site = Site::start(&[source("pg", &database(&postgres)?)], "", MODEL)?;
    let client = site.connect().await?;
    let shout = "SELECT shout FROM things";
    assert_eq!(refusal(client.query(shout, &[]).await)?.0, "42703");
    assert_eq!(model_errors(&site).await?, (200, 0));

    let more = MODEL.replace("\n  - name: slow\n", ONE_MORE);
    fs::write(site.model_file(), &more)?;
    let started = Instant::now();
    // The same session: a statement sees the newest model.
    while client.query(shout, &[]).await.is_err() {
        assert!(started.elapsed() < SEEN, "the new model is not served:\n{}", site.server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.query_one(shout, &[]).await?.try_get::<_, String>(0)?, "KETTLE");

    fs::write(site.model_file(), more.replace("sql_table: things", "sql_tabel: things"))?;
    let started = Instant::now();
    while model_errors(&site).await?.1 == 0 {
        assert!(started.elapsed() < SEEN, "/readyz says nothing of the broken model:\n{}", site.server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.query_one(shout, &[]).await?.try_get::<_, String>(0)?, "KETTLE");
    let (status, page) = http_get(site.http_port, "/readyz").await?;
    assert_eq!(status, 200, "the old model serves: {page}");
    assert!(page.contains("sql_tabel"), "{page}");

    fs::write(site.model_file(), &more)?;
    let started = Instant::now();
    while model_errors(&site).await?.1 > 0 {
        assert!(started.elapsed() < SEEN, "the repaired model is not taken in:\n{}", site.server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The status of `/readyz` and how many errors of the model it shows.
async fn model_errors(site: &Site) -> Result<(u16, usize), AnyError> {
    let (status, page) = http_get(site.http_port, "/readyz").await?;
    let page: serde_json::Value = serde_json::from_str(&page)?;
    Ok((status, page["model_errors"].as_array().ok_or("no model_errors")?.len()))
}

#[tokio::test]
async fn a_source_that_does_not_answer_stops_its_own_cubes_only() -> Result<(), AnyError> {
    let postgres = PrivatePostgres::shared()?;
    let nobody = free_port()?;
    let gone = format!("gone: {{ type: postgres, url: \"postgres://app:secret@127.0.0.1:{nobody}/shop\" }}");
    let model = format!(
        "{MODEL}  - name: far\n    sql_table: far\n    data_source: gone\n    dimensions:\n      - {{ name: id, sql: id, type: number, primary_key: true, public: true }}\n"
    );
    let site = Site::start(&[source("pg", &database(&postgres)?), gone], "", &model)?;
    let client = site.connect().await?;
    assert_eq!(client.query_one("SELECT name FROM things", &[]).await?.try_get::<_, String>(0)?, "kettle");
    let (state, message) = refusal(client.query("SELECT id FROM far", &[]).await)?;
    assert_eq!((state.as_str(), message.as_str()), ("08001", "data source \"gone\" cannot be reached"));
    let (_, page) = http_get(site.http_port, "/readyz").await?;
    assert!(page.contains("gone"), "{page}");
    assert!(
        !page.contains("secret") && !message.contains("secret") && !site.server.log().contains("secret"),
        "no password is shown"
    );
    Ok(())
}

#[tokio::test]
async fn a_statement_sent_again_sees_new_rows_settings_users_and_models() -> Result<(), AnyError> {
    let postgres = PrivatePostgres::shared()?;
    let url = database(&postgres)?;
    PrivatePostgres::run_sql(
        &url,
        "CREATE TABLE moments (id int PRIMARY KEY, at timestamp); INSERT INTO moments VALUES (1, '2026-01-01 23:30:00')",
    )?;
    let model = format!(
        "{MODEL}  - name: moments\n    sql_table: moments\n    data_source: pg\n    dimensions:\n      - {{ name: id, sql: id, type: number, primary_key: true }}\n      - {{ name: at, sql: at, type: time }}\n"
    );
    let site = Site::start(&[source("pg", &url)], "", &model)?;
    let client = site.connect().await?;
    let one = async |sql: &str| -> Result<String, AnyError> {
        let answer = client.simple_query(sql).await?;
        let row = answer.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        row.ok_or_else(|| "no row".into())
    };
    let things = "SELECT name FROM things WHERE id = 1";
    assert_eq!((one(things).await?, one(things).await?), ("kettle".to_owned(), "kettle".to_owned()));
    PrivatePostgres::run_sql(&url, "UPDATE things SET name = 'pan'")?;
    assert_eq!(one(things).await?, "pan");

    let day = "SELECT DATE_TRUNC('day', at) FROM moments";
    assert_eq!(one(day).await?, "2026-01-01 00:00:00");
    client.simple_query("SET timezone = 'Europe/Oslo'").await?;
    assert_eq!(one(day).await?, "2026-01-02 00:00:00");

    let moment = "SELECT now()";
    let first = one(moment).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_ne!(first, one(moment).await?);

    let who = "SELECT current_user";
    assert_eq!(one(who).await?, "tester");
    let mut other = site.server.login();
    other.user("someone");
    let (other, connection) = other.connect(NoTls).await?;
    tokio::spawn(connection);
    assert_eq!(other.query_one(who, &[]).await?.try_get::<_, String>(0)?, "someone");

    fs::write(site.model_file(), model.replace("sql: name,", "sql: 'upper(name)',"))?;
    let started = Instant::now();
    while one(things).await? != "PAN" {
        assert!(started.elapsed() < SEEN, "the new model is not served:\n{}", site.server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
