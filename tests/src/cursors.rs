//! Cursors of SQL over the wire, in the forms that clients send: psql's FETCH_COUNT, psycopg's named cursors, psqlODBC's batches.

use std::time::{Duration, Instant};

use belvedere_testkit::PrivatePostgres;
use tokio_postgres::SimpleQueryMessage;

use crate::AnyError;
use crate::servers::{Site, connect, psql, refusal, source};

const MIB: u64 = 1 << 20;

const MODEL: &str = "
cubes:
  - name: few
    sql: SELECT i AS id, 'row ' || i AS label FROM generate_series(1, 25) AS i
    data_source: pg
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: label, sql: label, type: string }
  - name: big
    sql: SELECT i AS id, repeat('x', 100) AS payload FROM generate_series(1, 1000000) AS i
    data_source: pg
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: payload, sql: payload, type: string }
  - name: slow
    sql: SELECT i AS id, pg_sleep(i * 5)::text AS slept FROM generate_series(0, 1) AS i
    data_source: pg
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: slept, sql: slept, type: string }
";

async fn site() -> Result<(PrivatePostgres, String, Site), AnyError> {
    let postgres = PrivatePostgres::shared()?;
    let url = postgres.fresh_database()?;
    let site = Site::start(&[source("pg", &url)], "", MODEL)?;
    Ok((postgres, url, site))
}

/// Rows as text, and what was done.
async fn told(client: &tokio_postgres::Client, sql: &str) -> Result<(Vec<String>, Vec<u64>), AnyError> {
    let (mut rows, mut done) = (vec![], vec![]);
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::Row(row) => rows.push(row.get(0).unwrap_or("NULL").to_owned()),
            SimpleQueryMessage::CommandComplete(count) => done.push(count),
            _ => {}
        }
    }
    Ok((rows, done))
}

#[tokio::test]
async fn psql_shows_the_same_rows_with_and_without_fetch_count() -> Result<(), AnyError> {
    let (_postgres, _, site) = site().await?;
    let login = site.server.login();
    let sql = "SELECT id, label FROM few ORDER BY id";
    let whole = psql(&login, &["-A", "-t", "-c", sql]).await?;
    assert_eq!(whole.lines().count(), 25);
    for count in ["1", "7", "25", "100"] {
        let set = format!("FETCH_COUNT={count}");
        let folder = site.folder.path().join("script.sql");
        std::fs::write(&folder, format!("{sql};\n"))?;
        let file = folder.to_string_lossy().into_owned();
        assert_eq!(psql(&login, &["-A", "-t", "-v", &set, "-f", &file]).await?, whole, "{set}");
    }
    Ok(())
}

#[tokio::test]
async fn rows_are_fetched_in_parts_moved_over_and_ended() -> Result<(), AnyError> {
    let (_postgres, _, site) = site().await?;
    let client = site.connect().await?;
    // psqlODBC sends all of it in one message.
    let sql = "BEGIN;declare \"SQL_CUR1\" cursor with hold for SELECT id FROM few ORDER BY id;fetch 2 in \"SQL_CUR1\"";
    assert_eq!(told(&client, sql).await?.0, ["1", "2"]);
    assert_eq!(told(&client, "MOVE FORWARD 3 FROM \"SQL_CUR1\"").await?, (vec![], vec![3]));
    assert_eq!(told(&client, "COMMIT; FETCH \"SQL_CUR1\"").await?.0, ["6"], "it is held");
    assert_eq!(told(&client, "FETCH ALL FROM \"SQL_CUR1\"").await?.0.len(), 19);
    assert_eq!(told(&client, "FETCH 5 FROM \"SQL_CUR1\"").await?, (vec![], vec![0]));
    client.batch_execute("CLOSE \"SQL_CUR1\"").await?;

    client.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT id FROM few ORDER BY id; COMMIT").await?;
    assert_eq!(refusal(client.batch_execute("FETCH c").await)?, ("34000".into(), "cursor \"c\" does not exist".into()));
    client.batch_execute("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT id FROM few; ROLLBACK").await?;
    assert_eq!(refusal(client.batch_execute("FETCH c").await)?.0, "34000", "a new one is not held over a ROLLBACK");
    let outside = refusal(client.batch_execute("DECLARE c CURSOR FOR SELECT id FROM few").await)?;
    assert_eq!(outside, ("25P01".into(), "DECLARE CURSOR can only be used in transaction blocks".into()));
    client.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT id FROM few").await?;
    assert_eq!(refusal(client.batch_execute("DECLARE c CURSOR FOR SELECT id FROM few").await)?.0, "42P03");
    client.batch_execute("ROLLBACK; BEGIN; DECLARE c CURSOR FOR SELECT oid FROM pg_class").await?;
    assert_eq!(told(&client, "FETCH 3 FROM c").await?.0.len(), 3, "the catalog too");
    assert_eq!(refusal(client.batch_execute("FETCH BACKWARD 1 FROM c").await)?.0, "55000");
    client.batch_execute("ROLLBACK").await?;
    let nothing = refusal(client.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT nope FROM few").await)?;
    assert_eq!(nothing.0, "42703");
    Ok(())
}

#[tokio::test]
async fn a_named_cursor_of_psycopg_takes_parameters_and_is_described() -> Result<(), AnyError> {
    let (_postgres, _, site) = site().await?;
    let mut client = site.connect().await?;
    let transaction = client.transaction().await?;
    let declare = "DECLARE \"named\" CURSOR FOR SELECT id, label FROM few WHERE id > $1 AND label <> $2 ORDER BY id";
    transaction.execute(declare, &[&10_i32, &"row 12"]).await?;
    let fetch = transaction.prepare("FETCH FORWARD 3 FROM \"named\"").await?;
    assert_eq!(fetch.columns().iter().map(tokio_postgres::Column::name).collect::<Vec<_>>(), ["id", "label"]);
    for expected in [[11, 13, 14], [15, 16, 17]] {
        let rows = transaction.query(&fetch, &[]).await?;
        assert_eq!(rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i32>, _>>()?, expected);
    }
    transaction.commit().await?;
    Ok(())
}

#[tokio::test]
async fn an_open_cursor_over_a_million_rows_holds_no_more_than_a_batch() -> Result<(), AnyError> {
    let (_postgres, url, site) = site().await?;
    let client = site.connect().await?;
    client
        .batch_execute("BEGIN; DECLARE warm CURSOR FOR SELECT id, payload FROM big; FETCH 20000 FROM warm; CLOSE warm")
        .await?;
    let before = site.server.resident_bytes()?;
    client.batch_execute("DECLARE c CURSOR FOR SELECT id, payload FROM big").await?;
    let mut rows = 0;
    let mut most = before;
    for _ in 0..20 {
        rows += told(&client, "FETCH FORWARD 1000 FROM c").await?.0.len();
        most = most.max(site.server.resident_bytes()?);
    }
    assert_eq!(told(&client, "MOVE 900000 FROM c").await?.1, [900_000]);
    most = most.max(site.server.resident_bytes()?);
    rows += told(&client, "FETCH ALL FROM c").await?.0.len();
    assert_eq!(rows, 100_000);
    assert!(most - before <= 48 * MIB, "grew by {} MiB", (most - before) / MIB);
    // Closed halfway, the statement ends at the source.
    client.batch_execute("DECLARE d CURSOR FOR SELECT id, payload FROM big; FETCH d; CLOSE d; COMMIT").await?;
    let behind = connect(&url.parse()?).await?;
    let started = Instant::now();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series%' \
                   AND datname = current_database() AND pid <> pg_backend_pid()";
    while behind.query_one(running, &[]).await?.try_get::<_, i64>(0)? > 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "the statement goes on at the source");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn the_timeout_counts_for_each_fetch_and_a_cut_off_cursor_does_not_go_on() -> Result<(), AnyError> {
    let (_postgres, _, site) = site().await?;
    let client = site.connect().await?;
    client
        .batch_execute(
            "SET statement_timeout = '1s'; BEGIN; DECLARE c CURSOR FOR SELECT id, label FROM few ORDER BY id",
        )
        .await?;
    for at in ["1", "2"] {
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(told(&client, "FETCH c").await?.0, [at], "the cursor outlives its statement's timeout");
    }
    client.batch_execute("DECLARE s CURSOR FOR SELECT id, slept FROM slow; SAVEPOINT before").await?;
    let cut_off = refusal(client.batch_execute("FETCH ALL FROM s").await)?;
    assert_eq!(cut_off, ("57014".into(), "canceling statement due to statement timeout".into()));
    client.batch_execute("ROLLBACK TO SAVEPOINT before").await?;
    assert_eq!(refusal(client.batch_execute("FETCH ALL FROM s").await)?.0, "55000");
    client.batch_execute("ROLLBACK TO SAVEPOINT before").await?;
    assert_eq!(told(&client, "FETCH c").await?.0, ["3"], "others go on");
    // A cursor that is younger than the savepoint goes with it.
    client.batch_execute("DECLARE young CURSOR FOR SELECT id FROM few; ROLLBACK TO SAVEPOINT before").await?;
    assert_eq!(refusal(client.batch_execute("FETCH young").await)?.0, "34000");
    Ok(())
}
