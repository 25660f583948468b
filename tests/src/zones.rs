//! Time zones, each answer compared with what PostgreSQL says of the same stored times: sessions in zones that MariaDB is never asked to know,
//! and data sources whose `timestamp` columns are the wall clock of a zone.

use std::fmt::Write as _;

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::AnyError;
use crate::servers::{Servers, Site, connect, http_get, load, login, refusal, source};

const ZONES: [&str; 7] =
    ["Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "+5.75", "GMT-02:00"];

fn cube(name: &str, source: &str) -> String {
    format!(
        "  - name: {name}\n    sql_table: {name}\n    data_source: {source}\n    dimensions:\n      \
         - {{ name: id, sql: id, type: number, primary_key: true, public: true }}\n      \
         - {{ name: at, sql: at, type: time }}\n      \
         - {{ name: instant, sql: instant, type: time }}\n      \
         - {{ name: day, sql: day, type: time }}\n      \
         - {{ name: city, sql: city, type: string }}\n    measures:\n      \
         - {{ name: n, type: count }}\n      \
         - {{ name: total, sql: v, type: sum }}\n      \
         - {{ name: low, sql: v, type: min }}\n      \
         - {{ name: high, sql: v, type: max }}\n"
    )
}

/// The day of each change of the four zones' clocks in 2024, and of those by half an hour and by a quarter, with the days around it.
const DAYS: [&str; 24] = [
    // America/New_York
    "2024-03-09",
    "2024-03-10",
    "2024-03-11",
    "2024-11-02",
    "2024-11-03",
    "2024-11-04",
    // Europe/Oslo
    "2024-03-30",
    "2024-03-31",
    "2024-04-01",
    "2024-10-26",
    "2024-10-27",
    "2024-10-28",
    // Australia/Lord_Howe, whose clock moves by half an hour; once by an hour, until 1985.
    "2024-04-06",
    "2024-04-07",
    "2024-04-08",
    "2024-10-05",
    "2024-10-06",
    "2024-10-07",
    "1985-10-26",
    "1985-10-27",
    "1985-10-28",
    // Asia/Kathmandu, once by a quarter of an hour.
    "1985-12-31",
    "1986-01-01",
    "1986-01-02",
];

/// Times around the changes of the clocks, a net over seventy years, and local mean time.
fn times() -> Vec<String> {
    let mut times = vec![];
    for day in DAYS {
        for quarter in 0..96 {
            for second in [quarter % 3 * 29, 7, 59] {
                times.push(format!("{day} {:02}:{:02}:{second:02}", quarter / 4, quarter % 4 * 15));
            }
        }
        times.push(format!("{day} 00:59:59.999999"));
        times.push(format!("{day} 01:29:59.999999"));
    }
    for n in 0..600_u32 {
        let (year, month, day) = (1972 + n * 7 % 66, 1 + n * 5 % 12, 1 + n * 11 % 28);
        times.push(format!("{year}-{month:02}-{day:02} {:02}:{:02}:07.5", n * 13 % 24, n * 17 % 60));
    }
    times
}

/// `CREATE TABLE` and its rows; `wall_clock` and `instant` are the types of two of the columns.
fn script(table: &str, wall_clock: &str, instant: &str, zone: &str) -> String {
    let mut script = format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, at {wall_clock} NULL, instant {instant} NULL, day date, city varchar(20), v int);\n"
    );
    let _ = write!(script, "INSERT INTO {table} VALUES (100000, NULL, NULL, NULL, NULL, 5)");
    for (id, time) in times().iter().enumerate() {
        let (day, city, v) = (&time[..10], ["Oslo", "oslo", "Ny"][id / 96 % 3], id * 37 % 1000);
        let _ = write!(script, ",\n({id}, '{time}', '{time}{zone}', '{day}', '{city}', {v})");
    }
    script.push_str(";\n");
    script
}

fn in_postgres(table: &str) -> String {
    script(table, "timestamp", "timestamptz", "+00")
}

fn in_mariadb(table: &str) -> String {
    format!("SET time_zone = '+00:00';\n{}", script(table, "datetime(6)", "timestamp(6)", ""))
}

/// The text of every row.
async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, AnyError> {
    let answer = client.simple_query(sql).await.map_err(|error| format!("{sql}: {error:?}"))?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    Ok(answer.into_iter().filter_map(row).collect())
}

async fn rows_pulled(http_port: u16) -> Result<u64, AnyError> {
    let (_, page) = http_get(http_port, "/metrics").await?;
    let counts = page.lines().filter_map(|line| line.strip_prefix("belvedere_source_rows_total{")?.split_once("} "));
    counts.map(|(_, count)| Ok(count.parse::<u64>()?)).sum()
}

/// How many rows a statement may pull from its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulls {
    /// Groups by hours or less, of which there are fewer than rows.
    Groups,
    /// What it answers.
    Answer,
    Anything,
}

/// Measures as MEASURE; the reference has the aggregates that they are.
const STATEMENTS: [(Pulls, &str); 31] = [
    (
        Pulls::Groups,
        "SELECT DATE_TRUNC('hour', at), MEASURE(n), MEASURE(total), MEASURE(low), MEASURE(high) FROM m GROUP BY 1 ORDER BY 1",
    ),
    (
        Pulls::Groups,
        "SELECT DATE_TRUNC('day', at), MEASURE(n), MEASURE(total), MEASURE(low), MEASURE(high) FROM m GROUP BY 1 ORDER BY 1",
    ),
    (
        Pulls::Groups,
        "SELECT DATE_TRUNC('week', at), MEASURE(n), MEASURE(total), MEASURE(low), MEASURE(high) FROM m GROUP BY 1 ORDER BY 1",
    ),
    (
        Pulls::Groups,
        "SELECT DATE_TRUNC('month', at), MEASURE(n), MEASURE(total), MEASURE(low), MEASURE(high) FROM m GROUP BY 1 ORDER BY 1",
    ),
    (Pulls::Groups, "SELECT DATE_TRUNC('quarter', at), MEASURE(n) FROM m GROUP BY 1 ORDER BY 1"),
    (Pulls::Groups, "SELECT DATE_TRUNC('year', at), MEASURE(n) FROM m GROUP BY 1 HAVING MEASURE(n) > 7 ORDER BY 1"),
    (Pulls::Groups, "SELECT DATE_TRUNC('day', instant), MEASURE(n), MEASURE(total) FROM m GROUP BY 1 ORDER BY 1"),
    (Pulls::Groups, "SELECT CAST(at AS date), MEASURE(n) FROM m GROUP BY 1 ORDER BY 1"),
    (
        Pulls::Groups,
        "SELECT EXTRACT(dow FROM at), EXTRACT(hour FROM at), MEASURE(n) FROM m GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    (
        Pulls::Groups,
        "SELECT DATE_TRUNC('day', at), city, MEASURE(n) FROM m WHERE city <> 'Ny' GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    (
        Pulls::Groups,
        "SELECT DATE_TRUNC('month', at), MEASURE(n) FROM m WHERE at >= '2024-03-31 02:30' AND at < '2024-11-03 01:30' GROUP BY 1 ORDER BY 1",
    ),
    (Pulls::Anything, "SELECT DATE_TRUNC('minute', at), MEASURE(n) FROM m GROUP BY 1 ORDER BY 1"),
    (Pulls::Anything, "SELECT DATE_TRUNC('second', at), MEASURE(n) FROM m GROUP BY 1 ORDER BY 1"),
    (Pulls::Anything, "SELECT at, instant, id FROM m ORDER BY id"),
    (Pulls::Answer, "SELECT id FROM m WHERE at = '2024-10-27 02:30:00' ORDER BY id"),
    (Pulls::Answer, "SELECT id FROM m WHERE at <> '2024-10-27 02:30:00' ORDER BY id"),
    (Pulls::Answer, "SELECT id FROM m WHERE at BETWEEN '2024-11-03 01:15' AND '2024-11-03 01:45' ORDER BY id"),
    (Pulls::Answer, "SELECT id FROM m WHERE at NOT BETWEEN '2024-03-31 02:15' AND '2024-11-03 01:45' ORDER BY id"),
    (Pulls::Answer, "SELECT id FROM m WHERE at <= '2024-04-07 01:45' AND at > '2024-04-06 23:59:59' ORDER BY id"),
    (Pulls::Answer, "SELECT id FROM m WHERE CAST(at AS date) = '2024-03-31' OR instant < '1975-01-01' ORDER BY id"),
    (Pulls::Answer, "SELECT id FROM m WHERE DATE_TRUNC('month', at) = '2024-03-01' ORDER BY id"),
    (
        Pulls::Answer,
        "SELECT id FROM m WHERE DATE_TRUNC('week', at) >= '2024-10-29' AND DATE_TRUNC('day', at) <> '2024-11-03' ORDER BY id",
    ),
    (
        Pulls::Answer,
        "SELECT id FROM m WHERE DATE_TRUNC('hour', at) <= '2024-03-31 02:30' AND DATE_TRUNC('year', at) > '2023-05-05' ORDER BY id",
    ),
    (Pulls::Answer, "SELECT id FROM m WHERE NOT (CAST(at AS date) >= '2024-03-31') ORDER BY id"),
    (
        Pulls::Answer,
        "SELECT MEASURE(n), MEASURE(total) FROM m WHERE instant >= '2024-10-06 02:15' AND instant < '2024-10-27'",
    ),
    (Pulls::Anything, "SELECT day, MEASURE(n) FROM m GROUP BY 1 ORDER BY 1"),
    // Instants and truncated dates beside what has no zone.
    (Pulls::Anything, "SELECT id FROM m WHERE DATE_TRUNC('month', day) = '2024-03-01' ORDER BY id"),
    (
        Pulls::Anything,
        "SELECT id FROM m WHERE at >= DATE_TRUNC('month', DATE '2024-03-31') AND day < DATE_TRUNC('month', DATE '2024-11-04') ORDER BY id",
    ),
    (
        Pulls::Anything,
        "SELECT id FROM m WHERE at BETWEEN DATE_TRUNC('month', DATE '2024-03-31') AND DATE_TRUNC('month', DATE '2024-11-04') ORDER BY id",
    ),
    (
        Pulls::Anything,
        "SELECT id FROM m WHERE at >= TIMESTAMPTZ '2024-03-31 00:45:00+00' AND at < TIMESTAMPTZ '2024-09-15 23:30:00+00' ORDER BY id",
    ),
    (
        Pulls::Anything,
        "SELECT id FROM m WHERE CAST(at AS date) >= CAST(TIMESTAMPTZ '2024-10-05 23:30:00+00' AS date) ORDER BY id",
    ),
];

fn reference_of(sql: &str) -> String {
    sql.replace("MEASURE(n)", "count(*)")
        .replace("MEASURE(total)", "sum(v)")
        .replace("MEASURE(low)", "min(v)")
        .replace("MEASURE(high)", "max(v)")
}

#[tokio::test]
async fn local_time_over_mariadb_is_postgresqls_and_groups_travel_instead_of_rows() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let my = servers.mariadb.fresh_database()?;
    load(&my, &in_mariadb("m"), PrivateMariaDb::run_file)?;
    // Names of the values of v, in a second source.
    let pg = servers.postgres.fresh_database()?;
    let names = "CREATE TABLE names AS SELECT i AS id, 'name ' || i % 5 AS name FROM generate_series(0, 899) AS i;";
    PrivatePostgres::run_sql(&pg, names)?;
    let truth = servers.by_code_point(&[])?;
    let view = "CREATE VIEW m AS SELECT id, (at AT TIME ZONE 'UTC')::timestamp AS at, instant::timestamp AS instant, day, city, v FROM t;";
    let named = "CREATE VIEW named AS SELECT m.*, name FROM m LEFT JOIN names ON names.id = m.v;";
    load(&truth, &format!("{}{view}{names}{named}", in_postgres("t")), PrivatePostgres::run_file)?;
    let truth = connect(&login(&truth)?).await?;
    let join = "    joins:\n      - { name: names, relationship: many_to_one, sql: '{CUBE}.v = {names}.id' }\n";
    let m = cube("m", "my").replace("    data_source: my\n", &format!("    data_source: my\n{join}"));
    let model = format!(
        "cubes:\n{m}  - name: names\n    sql_table: names\n    data_source: pg\n    dimensions:\n      \
         - {{ name: id, sql: id, type: number, primary_key: true }}\n      \
         - {{ name: name, sql: name, type: string }}\nviews:\n  - name: named\n    cubes:\n      \
         - {{ join_path: m, includes: [at, n, total] }}\n      - {{ join_path: m.names, includes: [name] }}\n"
    );
    let site = Site::start(&[source("my", &my), source("pg", &pg)], "", &model)?;
    let client = site.connect().await?;

    let all = times().len() as u64;
    let mut wrong = String::new();
    for zone in ZONES {
        let set = format!("SET timezone = '{zone}'");
        truth.batch_execute(&set).await?;
        client.batch_execute(&set).await?;
        let joined =
            "SELECT DATE_TRUNC('month', at), name, MEASURE(n), MEASURE(total) FROM named GROUP BY 1, 2 ORDER BY 1, 2";
        for (pulls, sql) in STATEMENTS.into_iter().chain([(Pulls::Anything, joined)]) {
            let expected = rows(&truth, &reference_of(sql)).await?;
            let before = rows_pulled(site.http_port).await?;
            let got = rows(&client, sql).await?;
            let pulled = rows_pulled(site.http_port).await? - before;
            if expected != got {
                let first = expected.iter().zip(&got).find(|(one, other)| one != other);
                let _ = writeln!(wrong, "{zone}: {sql}: {} and {} rows, {first:?}", expected.len(), got.len());
            }
            let allowed = match pulls {
                // The times that come together are a minute apart or a quarter of an hour.
                Pulls::Groups => all * 6 / 10,
                Pulls::Answer => expected.len() as u64,
                Pulls::Anything => u64::MAX,
            };
            if pulled > allowed {
                let _ = writeln!(wrong, "{zone}: {sql}: {pulled} rows pulled for {}", got.len());
            }
        }
    }
    assert_eq!(wrong, "");
    Ok(())
}

#[tokio::test]
async fn a_sources_zone_makes_instants_of_wall_clocks_as_postgresql_does() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let (pg, my) = (servers.postgres.fresh_database()?, servers.mariadb.fresh_database()?);
    load(&pg, &in_postgres("p"), PrivatePostgres::run_file)?;
    load(&my, &in_mariadb("m"), PrivateMariaDb::run_file)?;
    let files = tempfile::TempDir::new()?;
    let mut csv = "id,at,instant,day,city,v\n".to_owned();
    for (id, time) in times().iter().enumerate() {
        let (day, city, v) = (&time[..10], ["Oslo", "oslo", "Ny"][id / 96 % 3], id * 37 % 1000);
        let _ = writeln!(csv, "{id},{time},{time}+00,{day},{city},{v}");
    }
    csv.push_str("100000,,,,,5\n");
    std::fs::write(files.path().join("f.csv"), csv)?;

    let zoned = |line: String, zone: &str| line.replace(" }", &format!(", time_zone: {zone} }}"));
    let types = "columns: { f: { id: int, at: timestamp, instant: timestamptz, day: date, city: text, v: int } }";
    let sources = [
        zoned(source("pg", &pg), "Europe/Oslo"),
        zoned(source("my", &my), "America/New_York"),
        format!("files: {{ type: files, path: {:?}, {types}, time_zone: Australia/Lord_Howe }}", files.path()),
    ];
    let mut model = "cubes:\n".to_owned();
    for (name, source) in [("p", "pg"), ("m", "my"), ("f", "files")] {
        model.push_str(&cube(name, source));
    }
    // Joined where the instants meet, not where the clocks show the same.
    let join = "    joins:\n      - { name: m, relationship: many_to_one, sql: '{CUBE}.at = {m}.at' }\n";
    let model = model.replacen("    data_source: pg\n", &format!("    data_source: pg\n{join}"), 1);
    let model = format!(
        "{model}views:\n  - name: both\n    cubes:\n      - {{ join_path: p, includes: [id, at, n] }}\n      - {{ join_path: p.m, includes: [city] }}\n"
    );
    let site = Site::start(&sources, "", &model)?;
    let client = site.connect().await?;

    let truth = servers.by_code_point(&[])?;
    let mut script = in_postgres("t");
    for (name, zone) in [("p", "Europe/Oslo"), ("m", "America/New_York"), ("f", "Australia/Lord_Howe")] {
        let _ = writeln!(
            script,
            "CREATE VIEW {name} AS SELECT id, (at AT TIME ZONE '{zone}')::timestamp AS at, instant::timestamp AS instant, day, city, v FROM t;"
        );
    }
    // Not by the wall clock of the session: two instants may show the same.
    script.push_str(
        "CREATE VIEW both_ AS SELECT a.id, (a.at AT TIME ZONE 'Europe/Oslo')::timestamp AS at, b.city FROM t a LEFT JOIN t b \
         ON a.at AT TIME ZONE 'Europe/Oslo' = b.at AT TIME ZONE 'America/New_York';",
    );
    load(&truth, &script, PrivatePostgres::run_file)?;
    let truth = connect(&login(&truth)?).await?;

    let mut wrong = String::new();
    for zone in ["UTC", "Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "CET", "-3.5"] {
        let set = format!("SET timezone = '{zone}'");
        truth.batch_execute(&set).await?;
        client.batch_execute(&set).await?;
        for table in ["p", "m", "f"] {
            for (pulls, sql) in STATEMENTS {
                // Text of MariaDB and PostgreSQL is compared elsewhere; here the zones are.
                let sql = sql.replace("FROM m", &format!("FROM {table}"));
                let expected = rows(&truth, &reference_of(&sql)).await?;
                let before = rows_pulled(site.http_port).await?;
                let got = rows(&client, &sql).await?;
                let pulled = rows_pulled(site.http_port).await? - before;
                if expected != got {
                    let first = expected.iter().zip(&got).find(|(one, other)| one != other);
                    let _ = writeln!(wrong, "{zone}: {sql}: {} and {} rows, {first:?}", expected.len(), got.len());
                }
                let answers_alone = table == "p" && pulls != Pulls::Anything || pulls == Pulls::Answer;
                if answers_alone && pulled > expected.len() as u64 {
                    let _ = writeln!(wrong, "{zone}: {sql}: {pulled} rows pulled for {}", got.len());
                }
            }
        }
        let sql = "SELECT id, at, city FROM both ORDER BY 1, 2, 3";
        let expected = rows(&truth, &sql.replace("both", "both_")).await?;
        let got = rows(&client, sql).await?;
        if expected != got {
            let first = expected.iter().zip(&got).find(|(one, other)| one != other);
            let _ = writeln!(wrong, "{zone}: {sql}: {} and {} rows, {first:?}", expected.len(), got.len());
        }
    }
    assert_eq!(wrong, "");
    Ok(())
}

#[tokio::test]
async fn set_timezone_means_and_shows_what_it_does_in_postgresql() -> Result<(), AnyError> {
    let postgres = PrivatePostgres::shared()?;
    let truth = connect(&login(&postgres.fresh_database()?)?).await?;
    let url = postgres.fresh_database()?;
    let site = Site::start(&[source("pg", &url)], "", "cubes: []\n")?;
    let client = site.connect().await?;
    let mut wrong = String::new();
    for set in [
        "SET timezone = '+3'",
        "SET timezone = -3.5",
        "SET TIME ZONE 3",
        "SET TIME ZONE -3",
        "SET TIME ZONE 5.75",
        "SET TIME ZONE INTERVAL '3' HOUR",
        "SET TIME ZONE INTERVAL '-03:30' HOUR TO MINUTE",
        "SET SESSION TIME ZONE INTERVAL '02:00'",
        "SET timezone = 'UTC+3'",
        "SET timezone TO 'GMT-02:00'",
        "SET timezone = '+02:00'",
        "SET timezone = '<+03>-03'",
        "SET timezone = 'EST5EDT'",
        "SET timezone = 'CET'",
        "SET timezone = 'europe/oslo'",
        "SET timezone = 'utc'",
        "SET timezone = 'nonsense'",
        "SET timezone = 'PST'",
        "SET timezone = '+200'",
        "SET timezone = '+0530'",
        "SET timezone = ''",
        "SET TIME ZONE INTERVAL '1 month'",
        "SET TIME ZONE 'Asia/Kathmandu'",
    ] {
        let told = |outcome: Result<(), tokio_postgres::Error>| match outcome {
            Ok(()) => Ok::<_, AnyError>("set".to_owned()),
            Err(error) => Ok(refusal::<()>(Err(error))?.0),
        };
        let expected = told(truth.batch_execute(set).await)?;
        let got = told(client.batch_execute(set).await)?;
        let mut compared = vec![("itself", vec![expected], vec![got])];
        for sql in [
            "SHOW timezone",
            "SELECT TIMESTAMPTZ '2024-07-01 12:00Z', '2024-01-01 12:00'::timestamptz, CAST(TIMESTAMPTZ '2024-07-01 23:30Z' AS date)",
            "SELECT date_trunc('day', TIMESTAMPTZ '2024-07-01 23:30Z'), TIMESTAMPTZ '2024-07-01 12:00Z'::timestamp",
            "SELECT TIMESTAMPTZ '2024-07-01 12:00Z' AT TIME ZONE 'UTC+3', TIMESTAMPTZ '2024-07-01 12:00Z' AT TIME ZONE '+02:00', \
             TIMESTAMPTZ '2024-07-01 12:00Z' AT TIME ZONE 'CET', TIMESTAMPTZ '2024-07-01 12:00Z' AT TIME ZONE '3'",
        ] {
            compared.push((sql, rows(&truth, sql).await?, rows(&client, sql).await?));
        }
        for (what, expected, got) in compared {
            if expected != got {
                let _ = writeln!(wrong, "{set}: {what}: expected {expected:?}, got {got:?}");
            }
        }
    }
    assert_eq!(wrong, "");
    // As pgjdbc sends the zone of a machine at `GMT+02:00`, with the start-up packet.
    let mut login = site.server.login();
    login.options("-c TimeZone=GMT-02:00");
    let client = connect(&login).await?;
    assert_eq!(rows(&client, "SELECT TIMESTAMPTZ '2024-07-01 12:00Z'").await?, ["2024-07-01 14:00:00+02"]);
    Ok(())
}

/// A zone that outlives its transaction here and not there would shift every later answer.
#[tokio::test]
async fn set_local_and_rolled_back_zones_end_when_they_do_in_postgresql() -> Result<(), AnyError> {
    let postgres = PrivatePostgres::shared()?;
    let url = postgres.fresh_database()?;
    let truth = connect(&login(&url)?).await?;
    let site = Site::start(&[source("pg", &url)], "", "cubes: []\n")?;
    let client = site.connect().await?;
    for start in [&truth, &client] {
        start.batch_execute("SET timezone = 'UTC'").await?;
    }
    let mut wrong = String::new();
    for script in [
        "BEGIN; SET LOCAL timezone = 'Europe/Oslo'",
        "COMMIT",
        "BEGIN; SET timezone = 'Asia/Kathmandu'; SET LOCAL timezone = 'Europe/Oslo'",
        "COMMIT",
        "BEGIN; SET LOCAL timezone = 'Europe/Oslo'; SET timezone = '+3'; COMMIT",
        "BEGIN; SET LOCAL TIME ZONE 'Europe/Oslo'; ROLLBACK",
        "BEGIN; SET LOCAL timezone = 'CET'; RESET timezone; COMMIT",
        "BEGIN; SET timezone = 'Europe/Oslo'; SAVEPOINT a; SET timezone = 'America/New_York'; SAVEPOINT b",
        "SET LOCAL timezone = 'UTC'; ROLLBACK TO a",
        "COMMIT",
        "BEGIN; SAVEPOINT a; SET LOCAL timezone = 'UTC'; RELEASE a",
        "COMMIT",
        "BEGIN; SAVEPOINT a; ROLLBACK TO SAVEPOINT b",
        "ROLLBACK",
        "BEGIN; SAVEPOINT a; RELEASE a; RELEASE a",
        "ROLLBACK",
        "BEGIN; SET my.own = 'x'; SET LOCAL my.own = 'y'; SET LOCAL statement_timeout = '5s'; COMMIT; SHOW my.own",
        "SHOW statement_timeout",
        "SET LOCAL timezone = 'Asia/Tokyo'",
    ] {
        let told = |outcome: Result<(), tokio_postgres::Error>| match outcome {
            Ok(()) => Ok::<_, AnyError>("done".to_owned()),
            Err(error) => Ok(refusal::<()>(Err(error))?.0),
        };
        let answers = (told(truth.batch_execute(script).await)?, told(client.batch_execute(script).await)?);
        let sql = "SHOW timezone";
        let told = (truth.simple_query(sql).await, client.simple_query(sql).await);
        let shown = |told: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>| {
            let row = told.ok()?.into_iter().find_map(|message| match message {
                // What RESET goes back to is each server's own default, UTC by two names.
                SimpleQueryMessage::Row(row) => row.get(0).map(|zone| zone.replace("Etc/UTC", "UTC")),
                _ => None,
            });
            Some(row)
        };
        let zones = (shown(told.0), shown(told.1));
        if answers.0 != answers.1 || zones.0 != zones.1 {
            let _ = writeln!(wrong, "{script}: {answers:?}, {zones:?}");
        }
    }
    assert_eq!(wrong, "");
    Ok(())
}
