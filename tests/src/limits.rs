//! Cancels, time limits, size limits, many sessions and slow readers, through the wire and down to the source.

use std::time::{Duration, Instant};

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls};

use crate::AnyError;
use crate::servers::{Site, connect, refusal, source};

/// A cancelled statement is gone from its source within this.
const GONE: Duration = Duration::from_secs(2);
const BIG_ROWS: usize = 1_000_000;
const MIB: u64 = 1 << 20;

const MODEL: &str = "
cubes:
  - name: slow
    sql: SELECT i AS id, pg_sleep(30)::text AS slept FROM generate_series(1, 2) AS i
    data_source: pg
    joins:
      - { name: names, relationship: many_to_one, sql: '{CUBE}.id = {names}.id' }
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: slept, sql: slept, type: string }
  - name: names
    sql_table: names
    data_source: my
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: name, sql: name, type: string }
  - name: slow_there
    sql: SELECT 1 AS id, SLEEP(30) AS slept
    data_source: my
    dimensions:
      - { name: id, sql: id, type: number, primary_key: true, public: true }
      - { name: slept, sql: slept, type: number }
  - name: few
    sql: SELECT i AS id, 'row ' || i AS label FROM generate_series(1, 500) AS i
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
views:
  - name: both
    cubes:
      - { join_path: slow, includes: '*' }
      - { join_path: slow.names, includes: [name] }
";

const SLOW: &str = "SELECT id, slept, name FROM both";

/// The program, and a session at the PostgreSQL behind it.
struct Setting {
    site: Site,
    behind: Client,
    my_url: String,
    /// Held, for a shared server ends when nobody holds it.
    _servers: (PrivatePostgres, PrivateMariaDb),
}

impl Setting {
    async fn start() -> Result<Self, AnyError> {
        let servers = (PrivatePostgres::shared()?, PrivateMariaDb::shared()?);
        let (pg, my) = (servers.0.fresh_database()?, servers.1.fresh_database()?);
        PrivateMariaDb::run_sql(
            &my,
            "CREATE TABLE names (id int PRIMARY KEY, name text); INSERT INTO names VALUES (1, 'one'), (2, 'two')",
        )?;
        let site = Site::start(&[source("pg", &pg), source("my", &my)], "", MODEL)?;
        Ok(Self { site, behind: connect(&pg.parse()?).await?, my_url: my, _servers: servers })
    }

    /// Statements that sleep at the source now.
    async fn sleeping(&self) -> Result<i64, AnyError> {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE state = 'active' AND query LIKE '%pg_sleep(30)%' AND datname = current_database() AND pid <> pg_backend_pid()";
        Ok(self.behind.query_one(sql, &[]).await?.try_get(0)?)
    }

    async fn wait_for_sleeping(&self, wanted: i64, patience: Duration) -> Result<(), AnyError> {
        let started = Instant::now();
        while self.sleeping().await? != wanted {
            if started.elapsed() > patience {
                return Err(format!("not {wanted} statements at the source after {patience:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The same at MariaDB.
    async fn wait_for_sleeping_in_mariadb(&self, wanted: &str, patience: Duration) -> Result<(), AnyError> {
        let sql = "SELECT COUNT(*) FROM information_schema.processlist \
                   WHERE info LIKE '%SLEEP(30)%' AND db = DATABASE() AND id <> CONNECTION_ID()";
        let started = Instant::now();
        loop {
            let url = self.my_url.clone();
            let count = tokio::task::spawn_blocking(move || PrivateMariaDb::run_sql(&url, sql)).await??;
            if count.trim() == wanted {
                return Ok(());
            }
            if started.elapsed() > patience {
                return Err(format!("not {wanted} statements at MariaDB after {patience:?}").into());
            }
        }
    }

    async fn assert_alive(&self) -> Result<(), AnyError> {
        let row = self.site.connect().await?.query_one("SELECT name FROM names WHERE id = 2", &[]).await?;
        assert_eq!(row.try_get::<_, String>(0)?, "two");
        Ok(())
    }
}

#[tokio::test]
async fn a_cancelled_query_is_gone_from_its_source_within_two_seconds() -> Result<(), AnyError> {
    let setting = Setting::start().await?;
    let client = setting.site.connect().await?;
    let token = client.cancel_token();
    let cancel = async {
        setting.wait_for_sleeping(1, Duration::from_secs(10)).await?;
        token.cancel_query(NoTls).await?;
        setting.wait_for_sleeping(0, GONE).await
    };
    let (outcome, cancelled) = tokio::join!(client.query(SLOW, &[]), cancel);
    cancelled?;
    assert_eq!(refusal(outcome)?, ("57014".to_owned(), "canceling statement due to user request".to_owned()));
    assert_eq!(client.query("SELECT id FROM names", &[]).await?.len(), 2, "the session goes on");
    Ok(())
}

#[tokio::test]
async fn a_cancelled_query_is_gone_from_mariadb_within_two_seconds() -> Result<(), AnyError> {
    let setting = Setting::start().await?;
    let client = setting.site.connect().await?;
    let token = client.cancel_token();
    let cancel = async {
        setting.wait_for_sleeping_in_mariadb("1", Duration::from_secs(10)).await?;
        token.cancel_query(NoTls).await?;
        setting.wait_for_sleeping_in_mariadb("0", GONE).await
    };
    let (outcome, cancelled) = tokio::join!(client.query("SELECT id, slept FROM slow_there", &[]), cancel);
    cancelled?;
    assert_eq!(refusal(outcome)?.0, "57014");
    setting.assert_alive().await
}

#[tokio::test]
async fn a_statement_timeout_ends_the_statement_at_its_source_too() -> Result<(), AnyError> {
    let setting = Setting::start().await?;
    let client = setting.site.connect().await?;
    client.batch_execute("SET statement_timeout = '1500ms'").await?;
    let started = Instant::now();
    let (outcome, seen) =
        tokio::join!(client.query(SLOW, &[]), setting.wait_for_sleeping(1, Duration::from_millis(1400)));
    seen?;
    assert_eq!(refusal(outcome)?, ("57014".to_owned(), "canceling statement due to statement timeout".to_owned()));
    assert!(started.elapsed() < Duration::from_millis(1500) + GONE, "{:?}", started.elapsed());
    setting.wait_for_sleeping(0, GONE).await?;
    assert_eq!(client.query("SELECT id FROM names", &[]).await?.len(), 2, "the session goes on");
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_statement_with_it() -> Result<(), AnyError> {
    let setting = Setting::start().await?;
    let (client, connection) = setting.site.server.login().connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let statement = tokio::spawn(async move { client.query(SLOW, &[]).await.map(|rows| rows.len()) });
    setting.wait_for_sleeping(1, Duration::from_secs(10)).await?;
    // The socket closes without a Terminate message.
    connection.abort();
    setting.wait_for_sleeping(0, GONE).await?;
    statement.abort();
    setting.assert_alive().await
}

#[tokio::test]
async fn deep_and_long_statements_are_refused_and_the_server_lives() -> Result<(), AnyError> {
    let setting = Setting::start().await?;
    let client = setting.site.connect().await?;
    let sum = |terms: usize| format!("SELECT {}", vec!["1"; terms].join("+"));
    let mut wrong = Vec::new();
    for (what, sql, state) in [
        ("a sum of 10 000 terms", sum(10_000), "54001"),
        ("10 000 parentheses", format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)), "54001"),
        ("10 000 NOTs", format!("SELECT {} true", "NOT ".repeat(10_000)), "54001"),
        ("10 000 nested selects", format!("SELECT {}1{}", "(SELECT ".repeat(10_000), ")".repeat(10_000)), "54001"),
        ("10 000 ANDs", format!("SELECT {}", vec!["true"; 10_000].join(" AND ")), "54001"),
        ("a statement of 1 MiB", format!("SELECT '{}'", "x".repeat(1 << 20)), "54000"),
    ] {
        for way in ["simple", "extended"] {
            let outcome = match way {
                "simple" => client.simple_query(&sql).await.map(|_| ()),
                _ => client.query(&sql, &[]).await.map(|_| ()),
            };
            match refusal(outcome) {
                Ok((got, _)) if got == state => {}
                other => wrong.push(format!("{what}, {way}: expected {state}, got {other:?}")),
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    // Below the limit a sum is a sum.
    assert_eq!(client.query_one(&sum(50), &[]).await?.try_get::<_, i32>(0)?, 50);
    setting.assert_alive().await
}

#[tokio::test]
async fn sixty_four_sessions_at_once_all_get_their_own_rows() -> Result<(), AnyError> {
    let setting = Setting::start().await?;
    let mut sessions = Vec::new();
    for number in 0..64_i32 {
        let client = setting.site.connect().await?;
        sessions.push(tokio::spawn(async move {
            for round in 0..5 {
                let id = number * 5 + round + 1;
                let row = client.query_one(&format!("SELECT id, label FROM few WHERE id = {id}"), &[]).await?;
                assert_eq!((row.try_get::<_, i32>(0)?, row.try_get::<_, String>(1)?), (id, format!("row {id}")));
                let names = client.query("SELECT name FROM names ORDER BY name", &[]).await?;
                assert_eq!(names.len(), 2);
            }
            Ok::<(), AnyError>(())
        }));
    }
    for session in sessions {
        session.await?.map_err(|error| format!("{error:?}\n{}", setting.site.server.log()))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_slow_reader_of_a_million_rows_does_not_make_the_server_grow() -> Result<(), AnyError> {
    let setting = Setting::start().await?;
    let server = &setting.site.server;
    // Both sources, the planner and the encoder are warm before the memory is measured.
    let client = setting.site.connect().await?;
    assert_eq!(client.query("SELECT id, payload FROM big WHERE id <= 20000", &[]).await?.len(), 20_000);
    let before = server.resident_bytes()?;

    let port = *server.login().get_ports().first().ok_or("no port")?;
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut startup = Vec::from(196_608_i32.to_be_bytes());
    startup.extend_from_slice(b"user\0tester\0database\0shop\0\0");
    socket.write_all(&i32::try_from(startup.len() + 4)?.to_be_bytes()).await?;
    socket.write_all(&startup).await?;
    let mut messages = Messages { socket, buffer: Vec::new(), at: 0 };
    while messages.next().await? != b'Z' {}
    let sql = b"SELECT id, payload FROM big\0";
    messages.socket.write_all(b"Q").await?;
    messages.socket.write_all(&i32::try_from(sql.len() + 4)?.to_be_bytes()).await?;
    messages.socket.write_all(sql).await?;

    // Three seconds at a few hundred rows a second, the memory watched; then as fast as can be.
    let mut most = before;
    let mut rows = 0;
    let started = Instant::now();
    loop {
        match messages.next().await? {
            b'D' => rows += 1,
            b'E' => return Err("the server sent an error".into()),
            b'Z' => break,
            _ => {}
        }
        if rows % 100 == 0 && started.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(server.resident_bytes()?);
        }
        if rows % 50_000 == 0 {
            most = most.max(server.resident_bytes()?);
        }
    }
    assert_eq!(rows, BIG_ROWS);
    let grown = most.saturating_sub(before);
    assert!(grown <= 64 * MIB, "grew by {} MiB", grown / MIB);
    Ok(())
}

/// The server's messages, read piece by piece.
struct Messages {
    socket: TcpStream,
    buffer: Vec<u8>,
    at: usize,
}

impl Messages {
    /// The next message's type; its body is thrown away.
    async fn next(&mut self) -> Result<u8, AnyError> {
        loop {
            let rest = &self.buffer[self.at..];
            if let Some((head, body)) = rest.split_at_checked(5) {
                let length = u32::from_be_bytes(head[1..5].try_into()?) as usize - 4;
                if body.len() >= length {
                    let kind = head[0];
                    self.at += 5 + length;
                    return Ok(kind);
                }
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            let mut piece = vec![0; 16 << 10];
            let read = self.socket.read(&mut piece).await?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.buffer.extend_from_slice(&piece[..read]);
        }
    }
}
