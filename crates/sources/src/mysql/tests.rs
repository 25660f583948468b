//! Against a private MariaDB: values, sessions, cancel, loss.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_functions::PG_TYPE;
use belvedere_testkit::PrivateMariaDb;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use tokio::time::sleep;

use super::MySqlSource;
use crate::hostile_strings::hostile_strings;
use crate::reading_in_tests::{cause, plain, read_as, schema_of, values};
use crate::{RemoteConfig, RemoteSource, SourceError, Statement, TlsMode};

type Outcome = Result<(), Box<dyn Error>>;

fn open(url: &str) -> Result<Arc<MySqlSource>, SourceError> {
    open_with(url, |_| ())
}

fn open_with(url: &str, change: impl FnOnce(&mut RemoteConfig)) -> Result<Arc<MySqlSource>, SourceError> {
    let mut config = RemoteConfig::from_url(url);
    change(&mut config);
    MySqlSource::new("crm", &config).map(Arc::new)
}

/// Column type, described as, Arrow type, PostgreSQL type name, (literal, value) of each row.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const TIMESTAMP: &str = "Timestamp(µs)";
const UTC: &str = "Timestamp(µs, \"UTC\")";

#[tokio::test]
async fn every_value_of_every_column_type_arrives_exact() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    let source = open(&url)?;
    #[rustfmt::skip]
    let cases: Vec<Case> = vec![
        ("tinyint", "tinyint", "Int16", "", &[("-128", "-128"), ("127", "127"), ("NULL", "NULL")]),
        ("tinyint(1)", "tinyint(1)", "Int16", "", &[("0", "0"), ("1", "1"), ("true", "1"), ("-5", "-5")]),
        ("tinyint unsigned", "tinyint unsigned", "Int16", "", &[("0", "0"), ("255", "255")]),
        ("smallint", "smallint", "Int16", "", &[("-32768", "-32768"), ("32767", "32767")]),
        ("smallint unsigned", "smallint unsigned", "Int32", "", &[("65535", "65535")]),
        ("mediumint", "mediumint", "Int32", "", &[("-8388608", "-8388608"), ("8388607", "8388607")]),
        ("mediumint unsigned", "mediumint unsigned", "Int32", "", &[("16777215", "16777215")]),
        ("int", "int", "Int32", "", &[("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
        ("int unsigned", "int unsigned", "Int64", "", &[("4294967295", "4294967295")]),
        ("bigint", "bigint", "Int64", "", &[("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")]),
        ("bigint unsigned", "bigint unsigned", "Decimal128(20, 0)", "", &[("0", "0"), ("18446744073709551615", "18446744073709551615")]),
        ("year", "year", "Int16", "", &[("1901", "1901"), ("2155", "2155"), ("0", "0")]),
        ("float", "float", "Float32", "", &[("1.5", "1.5"), ("-0.0e0", "0.0"), ("3.402823e38", "3.402823e38"), ("16777217", "16777216.0")]),
        ("double", "double", "Float64", "", &[("0.1", "0.1"), ("-0.0e0", "0.0"), ("1.7976931348623157e308", "1.7976931348623157e308"), ("5e-324", "5e-324")]),
        ("decimal(12,2)", "decimal(12,2)", "Decimal128(12, 2)", "", &[("-1234567890.12", "-1234567890.12"), ("0", "0.00"), ("0.01", "0.01")]),
        ("decimal(12,2) unsigned", "decimal(12,2)", "Decimal128(12, 2)", "", &[("9999999999.99", "9999999999.99")]),
        ("decimal(5,5)", "decimal(5,5)", "Decimal128(5, 5)", "", &[("-0.99999", "-0.99999")]),
        ("decimal(38,0)", "decimal(38,0)", "Decimal128(38, 0)", "", &[("99999999999999999999999999999999999999", "99999999999999999999999999999999999999")]),
        ("decimal(65,30)", "decimal(65,30)", "Decimal256(65, 30)", "", &[("99999999999999999999999999999999999.999999999999999999999999999999", "99999999999999999999999999999999999.999999999999999999999999999999")]),
        ("bit(1)", "bit(1)", "Utf8", "bit", &[("b'0'", "0"), ("b'1'", "1")]),
        ("bit(10)", "bit(10)", "Utf8", "bit", &[("b'1000000001'", "1000000001"), ("b'11'", "0000000011")]),
        ("bit(64)", "bit(64)", "Utf8", "bit", &[("18446744073709551615", "1111111111111111111111111111111111111111111111111111111111111111")]),
        ("date", "date", "Date32", "", &[("'0001-01-01'", "0001-01-01"), ("'9999-12-31'", "9999-12-31"), ("'1582-10-10'", "1582-10-10"), ("'1969-12-31'", "1969-12-31")]),
        ("time(6)", "time", "Time64(µs)", "", &[("'00:00:00'", "00:00:00"), ("'23:59:59.999999'", "23:59:59.999999")]),
        ("datetime(6)", "datetime", TIMESTAMP, "", &[("'0001-01-01'", "0001-01-01T00:00:00"), ("'9999-12-31 23:59:59.999999'", "9999-12-31T23:59:59.999999"), ("'1969-12-31 23:59:59.999999'", "1969-12-31T23:59:59.999999"), ("'2024-03-31 02:30:00'", "2024-03-31T02:30:00")]),
        ("timestamp(6) NULL", "timestamp", UTC, "", &[("'1970-01-01 00:00:01'", "1970-01-01T00:00:01Z"), ("'2038-01-19 03:14:07.999999'", "2038-01-19T03:14:07.999999Z")]),
        ("varchar(50)", "varchar", "Utf8", "", &[("''", ""), ("'a''b\"c\\\\d%_$1?`'", "a'b\"c\\d%_$1?`"), ("X'011F0A097F'", "\u{1}\u{1f}\n\t\u{7f}"), ("'🦀 👩‍👩‍👧'", "🦀 👩‍👩‍👧"), ("'blank  '", "blank  ")]),
        ("char(5)", "char", "Utf8", "", &[("'ab'", "ab")]),
        ("longtext", "text", "Utf8", "", &[("'e\u{301}\u{feff}'", "e\u{301}\u{feff}")]),
        ("varchar(20) CHARACTER SET latin1", "varchar", "Utf8", "", &[("'naïve €'", "naïve €")]),
        ("varbinary(10)", "varbinary", "Binary", "", &[("X'00FF27'", "00ff27"), ("''", "")]),
        ("binary(3)", "binary", "Binary", "", &[("X'FF'", "ff0000")]),
        ("longblob", "blob", "Binary", "", &[("X'5C0027'", "5c0027")]),
        ("enum('sad','très \"ok\"')", "enum", "Utf8", "", &[("'très \"ok\"'", "très \"ok\""), ("1", "sad")]),
        ("set('a','b','c')", "set", "Utf8", "", &[("'c,a'", "a,c"), ("''", "")]),
        // MariaDB's json is a longtext.
        ("json", "text", "Utf8", "", &[("'{\"b\": 1,  \"a\":[]}'", "{\"b\": 1,  \"a\":[]}")]),
        ("uuid", "char", "Utf8", "", &[("'123e4567-e89b-12d3-a456-426614174000'", "123e4567-e89b-12d3-a456-426614174000")]),
        ("inet6", "char", "Utf8", "", &[("'::1'", "::1")]),
    ];
    for (column_type, native_type, data_type, type_name, rows) in cases {
        let literals: Vec<String> =
            rows.iter().enumerate().map(|(id, (literal, _))| format!("({id}, {literal})")).collect();
        PrivateMariaDb::run_sql(
            &url,
            &format!(
                "CREATE OR REPLACE TABLE t (id int, v {column_type}); INSERT INTO t VALUES {}",
                literals.join(", ")
            ),
        )?;
        for statement in [
            plain("SELECT v FROM t ORDER BY id"),
            Statement {
                sql: "SELECT v FROM t WHERE id >= ? ORDER BY id".to_owned(),
                parameters: vec![ScalarValue::Int64(Some(0))],
            },
        ] {
            let described = source.describe(&statement.sql).await?;
            assert_eq!(described[0].native_type, native_type, "{column_type}");
            let (field, found) = values(&source, statement).await.map_err(|error| format!("{column_type}: {error}"))?;
            assert_eq!(field.data_type().to_string(), data_type, "{column_type}");
            assert_eq!(field.metadata().get(PG_TYPE).map_or("", String::as_str), type_name, "{column_type}");
            assert_eq!(found, rows.iter().map(|(_, value)| (*value).to_owned()).collect::<Vec<_>>(), "{column_type}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_value_that_has_no_exact_form_fails_and_names_column_and_kind() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    let source = open(&url)?;
    let lax = "SET sql_mode = 'ALLOW_INVALID_DATES'";
    for (column_type, literal, kind) in [
        ("date", "'0000-00-00'", "a zero date"),
        ("datetime", "'0000-00-00 00:00:00'", "a zero date"),
        ("timestamp", "'0000-00-00 00:00:00'", "a zero date"),
        ("date", "'2024-00-10'", "a date with a zero month or day"),
        ("datetime", "'2024-10-00 10:00:00'", "a date with a zero month or day"),
        ("date", "'2024-02-31'", "a date that the calendar does not have"),
        ("time", "'-00:00:01'", "a time outside of a day"),
        ("time", "'24:00:00'", "a time outside of a day"),
        ("time", "'838:59:59'", "a time outside of a day"),
    ] {
        PrivateMariaDb::run_sql(
            &url,
            &format!("{lax}; CREATE OR REPLACE TABLE t (v {column_type}); INSERT INTO t VALUES ({literal})"),
        )?;
        let failed = values(&source, plain("SELECT v FROM t")).await.expect_err(literal);
        match failed {
            SourceError::Value { source_name, column, kind: found, .. } => {
                assert_eq!((source_name.as_str(), column.as_str(), found.as_str()), ("crm", "v", kind), "{literal}");
            }
            other => panic!("{literal}: {other}"),
        }
    }
    assert_eq!(values(&source, plain("SELECT 1")).await?.1, ["1"]);
    Ok(())
}

#[tokio::test]
async fn a_schema_may_ask_another_type_as_long_as_each_value_fits() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let source = open(&server.fresh_database()?)?;
    let micro = || DataType::Timestamp(TimeUnit::Microsecond, None);
    for (expression, wanted, expected) in [
        ("1", DataType::Boolean, Ok("true")),
        ("1 = 2", DataType::Boolean, Ok("false")),
        ("NULL = 1", DataType::Boolean, Ok("")),
        ("2", DataType::Boolean, Err("a number other than 0 and 1")),
        ("b'1' + 0", DataType::Boolean, Ok("true")),
        ("count(*)", DataType::Decimal128(20, 0), Ok("1")),
        ("sum(7)", DataType::Int64, Ok("7")),
        ("sum(7.5)", DataType::Int64, Err("a number with too many digits after the decimal point")),
        ("1.5", DataType::Decimal128(38, 4), Ok("1.5000")),
        ("1.55", DataType::Decimal128(38, 1), Err("a number with too many digits after the decimal point")),
        ("18446744073709551615", DataType::Int64, Err("a number outside of the type's range")),
        ("DATE_FORMAT('2024-02-29 13:14:15', '%Y-%m-%d %H:00:00')", micro(), Ok("2024-02-29T13:00:00")),
        ("DATE_FORMAT('2024-02-29', '%Y-%m-01')", micro(), Ok("2024-02-01T00:00:00")),
        ("DATE_FORMAT('2024-02-29', '%Y-%m-01')", DataType::Date32, Ok("2024-02-01")),
        ("'2024-02-30'", micro(), Err("a date that the calendar does not have")),
        ("'soon'", micro(), Err("text that is not a date or timestamp")),
        ("DATE '2024-02-29'", micro(), Ok("2024-02-29T00:00:00")),
        ("'text'", DataType::Int64, Err("values of type varchar")),
    ] {
        let read = read_as(&source, plain(&format!("SELECT {expression}")), schema_of(&[wanted])).await;
        match (read, expected) {
            (Ok(batches), Ok(value)) => {
                assert_eq!(array_value_to_string(batches[0].column(0), 0)?, value, "{expression}");
            }
            (Err(SourceError::Value { kind, .. }), Err(expected)) => assert_eq!(kind, expected, "{expression}"),
            (read, expected) => panic!("{expression}: {read:?}, expected {expected:?}"),
        }
    }
    let failed = read_as(&source, plain("SELECT 1, 2"), schema_of(&[DataType::Int32])).await.expect_err("one too many");
    assert!(matches!(&failed, SourceError::Refused { sqlstate: Some(code), .. } if code == "42804"), "{failed}");
    Ok(())
}

#[tokio::test]
async fn only_binary_collations_without_padding_are_said_to_compare_by_code_point() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    PrivateMariaDb::run_sql(
        &url,
        "CREATE TABLE t (a varchar(9), b varchar(9) COLLATE utf8mb4_bin, c varchar(9) COLLATE utf8mb4_nopad_bin, \
         d varchar(9) CHARACTER SET latin1, e enum('x') COLLATE utf8mb4_nopad_bin, f varbinary(9), g int, \
         h varchar(9) COLLATE utf8mb4_unicode_ci)",
    )?;
    let source = open(&url)?;
    let described = source.describe("SELECT a, b, c, d, e, f, g, h, concat(a, 'x'), 'x' FROM t").await?;
    let found: Vec<bool> = described.iter().map(|column| column.compares_by_code_point).collect();
    assert_eq!(found, [false, false, true, false, false, true, true, false, false, true]);
    Ok(())
}

#[tokio::test]
async fn parameters_of_every_type_come_back_as_they_were() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let source = open(&server.fresh_database()?)?;
    for (value, expression) in [
        (ScalarValue::Int64(Some(i64::MIN)), "CAST(? AS SIGNED)"),
        (ScalarValue::Float64(Some(-0.1)), "CAST(? AS DOUBLE)"),
        (ScalarValue::Decimal128(Some(-12345), 12, 2), "CAST(? AS DECIMAL(12,2))"),
        (ScalarValue::Decimal128(Some(5), 12, 7), "CAST(? AS DECIMAL(12,7))"),
        (ScalarValue::Decimal128(Some(10_i128.pow(38) - 1), 38, 0), "CAST(? AS DECIMAL(38,0))"),
        (ScalarValue::Utf8(Some("'; DROP TABLE x; --\\".to_owned())), "CAST(? AS CHAR)"),
        (ScalarValue::Binary(Some(vec![0, 255, 39])), "CAST(? AS BINARY)"),
        (ScalarValue::Date32(Some(-719_162)), "CAST(? AS DATE)"),
        (ScalarValue::Time64Microsecond(Some(86_399_999_999)), "CAST(? AS TIME(6))"),
        (ScalarValue::TimestampMicrosecond(Some(-1), None), "CAST(? AS DATETIME(6))"),
        (ScalarValue::TimestampMicrosecond(Some(253_402_300_799_999_999), None), "CAST(? AS DATETIME(6))"),
        (ScalarValue::Utf8(None), "CAST(? AS CHAR)"),
    ] {
        let statement = Statement { sql: format!("SELECT {expression}"), parameters: vec![value.clone()] };
        let found = read_as(&source, statement, schema_of(&[value.data_type()])).await;
        let found = found.map_err(|error| format!("{expression} of {value:?}: {error}"))?;
        assert_eq!(ScalarValue::try_from_array(found[0].column(0), 0)?, value, "{expression}");
    }
    let statement = Statement { sql: "SELECT ?".to_owned(), parameters: vec![ScalarValue::Float64(Some(f64::NAN))] };
    let failed = read_as(&source, statement, schema_of(&[DataType::Float64])).await.expect_err("MySQL has no NaN");
    assert!(matches!(&failed, SourceError::Refused { sqlstate: Some(code), .. } if code == "0A000"), "{failed}");
    Ok(())
}

#[tokio::test]
async fn two_thousand_hostile_strings_come_back_byte_for_byte() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let source = open(&server.fresh_database()?)?;
    for (round, sent) in hostile_strings(2_500).chunks(100).enumerate() {
        let columns = vec!["CAST(? AS CHAR)"; sent.len()];
        let statement = Statement {
            sql: format!("SELECT {}", columns.join(", ")),
            parameters: sent.iter().map(|text| ScalarValue::Utf8(Some(text.clone()))).collect(),
        };
        let batches = read_as(&source, statement, schema_of(&vec![DataType::Utf8; sent.len()])).await?;
        for (index, text) in sent.iter().enumerate() {
            assert_eq!(batches[0].column(index).as_string::<i32>().value(0), text, "round {round}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_statement_carries_the_servers_message_and_code() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let source = open(&server.fresh_database()?)?;
    let failed = source.describe("SELECT nme FROM (SELECT 'x' AS name) t").await.expect_err("a typing mistake");
    match failed {
        SourceError::Refused { source_name, message, sqlstate, position } => {
            assert_eq!(source_name, "crm");
            assert_eq!(message, "Unknown column 'nme' in 'SELECT'");
            assert_eq!((sqlstate.as_deref(), position), (Some("42S22"), None));
        }
        other => panic!("{other}"),
    }
    Ok(())
}

#[tokio::test]
async fn nothing_can_be_written() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    PrivateMariaDb::run_sql(
        &url,
        "CREATE TABLE t (a int); CREATE FUNCTION sneak() RETURNS int BEGIN INSERT INTO t VALUES (1); RETURN 1; END",
    )
    .or_else(|_| {
        // The client splits at semicolons unless told otherwise.
        PrivateMariaDb::run_sql(
            &url,
            "CREATE TABLE IF NOT EXISTS t (a int);\ndelimiter //\nCREATE FUNCTION sneak() RETURNS int \
             BEGIN INSERT INTO t VALUES (1); RETURN 1; END//\n",
        )
    })?;
    let source = open(&url)?;
    for statement in [
        plain("SELECT sneak()"),
        plain("INSERT INTO t VALUES (1)"),
        plain("DELETE FROM t"),
        plain("CREATE TABLE u (a int)"),
        Statement { sql: "INSERT INTO t VALUES (?)".to_owned(), parameters: vec![ScalarValue::Int32(Some(1))] },
    ] {
        let failed = read_as(&source, statement.clone(), schema_of(&[DataType::Int32])).await.expect_err("a write");
        assert!(
            matches!(&failed, SourceError::Refused { sqlstate: Some(code), .. } if code == "25006"),
            "{statement:?}: {failed}"
        );
    }
    assert_eq!(PrivateMariaDb::run_sql(&url, "SELECT count(*) FROM t; SHOW TABLES")?, "0\nt\n");
    Ok(())
}

#[tokio::test]
async fn a_session_is_pinned_whatever_the_server_says_and_stays_so_after_a_statement_changed_it() -> Outcome {
    let server = PrivateMariaDb::start_with(&[
        "default-time-zone=+03:30",
        "sql-mode=ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES",
        "group-concat-max-len=16",
        "character-set-server=latin1",
        "collation-server=latin1_swedish_ci",
    ])?;
    let url = server.fresh_database()?;
    let source = open_with(&url, |config| config.pool = 1)?;
    let pins = "SELECT concat_ws(' ', @@time_zone, @@sql_mode, @@group_concat_max_len, @@collation_connection, \
                @@character_set_client, @@character_set_results, connection_id())";
    let (_, before) = values(&source, plain(pins)).await?;
    let expected = "+00:00 STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION 1073741824 \
                    utf8mb4_nopad_bin utf8mb4 utf8mb4 ";
    assert!(before[0].starts_with(expected), "{before:?}");
    // A SET is the only way a statement of ours could change a session; it gives no columns, which is an error, later.
    read_as(&source, plain("SET SESSION time_zone = '+09:00'"), schema_of(&[DataType::Utf8]))
        .await
        .expect_err("no rows");
    let (_, after) = values(&source, plain(pins)).await?;
    assert!(after[0].starts_with(expected), "{after:?}");
    Ok(())
}

/// Statements of this database that run, as another session sees them.
fn running(url: &str) -> Result<usize, Box<dyn Error>> {
    let sql = "SELECT count(*) FROM information_schema.processlist \
               WHERE db = database() AND id <> connection_id() AND command <> 'Sleep'";
    Ok(PrivateMariaDb::run_sql(url, sql)?.trim().parse()?)
}

async fn until_running(url: &str, wanted: usize, within: Duration) -> Outcome {
    let started = Instant::now();
    while running(url)? != wanted {
        if started.elapsed() > within {
            return Err(format!("{} statements run, not {wanted}", running(url)?).into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Rows without end, or so.
const MANY: &str = "SELECT repeat('x', 1000), seq FROM seq_1_to_100000000";

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_stream_stops_the_statement_at_the_server() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    let source = open_with(&url, |config| config.pool = 1)?;
    for (statement, types) in [
        (plain("SELECT sleep(60)"), &[DataType::Int32][..]),
        (
            Statement { sql: "SELECT sleep(?)".to_owned(), parameters: vec![ScalarValue::Int64(Some(60))] },
            &[DataType::Int32],
        ),
        // Rows flow, nobody takes them.
        (plain(MANY), &[DataType::Utf8, DataType::Int64]),
    ] {
        let mut stream = Arc::clone(&source).read(statement, schema_of(types));
        let polled = tokio::time::timeout(Duration::from_millis(500), stream.next()).await;
        assert!(!matches!(polled, Ok(Some(Err(_)))), "{polled:?}");
        until_running(&url, 1, Duration::from_secs(2)).await?;
        drop(stream);
        until_running(&url, 0, Duration::from_secs(2)).await?;
    }
    // The only slot of the pool is free again.
    assert_eq!(values(&source, plain("SELECT 1")).await?.1, ["1"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_at_its_time_limit() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    let source = open_with(&url, |config| config.statement_timeout = Some(Duration::from_secs(1)))?;
    let started = Instant::now();
    let failed = read_as(
        &source,
        plain("SELECT count(*) FROM seq_1_to_10000000 a, seq_1_to_10000000 b"),
        schema_of(&[DataType::Int64]),
    );
    let failed = failed.await.expect_err("too slow");
    assert!(matches!(failed, SourceError::TimedOut { seconds: 1, .. }), "{failed}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    until_running(&url, 0, Duration::from_secs(2)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_never_opens_more_connections_than_it_may_and_says_so_when_all_are_busy() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    let source = open_with(&url, |config| config.pool = 3)?;
    let reads = (0..30).map(|_| values(&source, plain("SELECT connection_id() + sleep(0.05)")));
    let mut connections: Vec<String> = Vec::new();
    for read in futures::future::join_all(reads).await {
        connections.extend(read?.1);
    }
    assert_eq!(connections.len(), 30);
    connections.sort();
    connections.dedup();
    assert!(connections.len() <= 3, "{connections:?}");

    let source = open_with(&url, |config| (config.pool, config.pool_timeout) = (1, Duration::from_secs(1)))?;
    let holder = Arc::clone(&source);
    let holding = tokio::spawn(async move { values(&holder, plain("SELECT sleep(3)")).await.map(|_| ()) });
    until_running(&url, 1, Duration::from_secs(2)).await?;
    let failed = values(&source, plain("SELECT 1")).await.expect_err("the only connection is in use");
    assert!(matches!(failed, SourceError::Busy { connections: 1, seconds: 1, .. }), "{failed}");
    holding.await??;
    assert_eq!(values(&source, plain("SELECT 1")).await?.1, ["1"]);
    Ok(())
}

/// Ends all connections of our source to this database.
fn kill_connections(url: &str) -> Outcome {
    let list = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()";
    for id in PrivateMariaDb::run_sql(url, list)?.lines() {
        // It may have gone by itself.
        let _ = PrivateMariaDb::run_sql(url, &format!("KILL {id}"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_in_mid_stream_is_an_error_after_the_rows_that_came() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    let source = open(&url)?;
    let with_parameter = format!("{MANY} WHERE seq > ?");
    for statement in [plain(MANY), Statement { sql: with_parameter, parameters: vec![ScalarValue::Int64(Some(0))] }] {
        let mut stream = Arc::clone(&source).read(statement, schema_of(&[DataType::Utf8, DataType::Int64]));
        let first = stream.next().await.expect("a batch")?;
        assert_eq!(first.column(1).as_primitive::<Int64Type>().value(0), 1);
        kill_connections(&url)?;
        let mut rows = first.num_rows();
        let failed = loop {
            match stream.next().await {
                Some(Ok(batch)) => rows += batch.num_rows(),
                Some(Err(error)) => break cause(error),
                None => panic!("a short success after {rows} rows"),
            }
        };
        assert!(matches!(failed, SourceError::Lost { .. }), "{failed}");
        assert!(stream.next().await.is_none(), "nothing follows the error");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_in_the_pool_costs_nobody_an_error() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    let source = open(&url)?;
    for _ in 0..20 {
        values(&source, plain("SELECT 1")).await?;
        kill_connections(&url)?;
        assert_eq!(values(&source, plain("SELECT 2")).await?.1, ["2"]);
    }
    Ok(())
}

#[tokio::test]
async fn tls_is_used_where_it_must_be_and_missing_tls_is_said() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.fresh_database()?;
    for mode in [TlsMode::Disable, TlsMode::Prefer] {
        let source = open_with(&url, |config| config.tls = Some(mode))?;
        assert_eq!(values(&source, plain("SELECT 1")).await?.1, ["1"]);
    }
    let source = open_with(&url, |config| config.tls = Some(TlsMode::Require))?;
    let failed = source.describe("SELECT 1").await.expect_err("the server has no TLS");
    assert!(matches!(failed, SourceError::Unreachable { .. }), "{failed}");
    Ok(())
}

#[tokio::test]
async fn tls_verifies_the_certificate_only_where_it_is_asked_to() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Of a server that runs as another user than the tests.
    for file in [folder.path(), &key, &certificate] {
        let open = if file.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(open))?;
    }
    let settings = [format!("ssl-cert={}", certificate.display()), format!("ssl-key={}", key.display())];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = PrivateMariaDb::start_with(&settings)?;
    let by_address = server.url("mysql");
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let encrypted = "SELECT IF(VARIABLE_VALUE = '', 'plain', 'encrypted') FROM information_schema.session_status \
                     WHERE VARIABLE_NAME = 'Ssl_cipher'";
    for (url, mode, root, expected) in [
        (&by_address, Some(TlsMode::Disable), false, Some("plain")),
        (&by_address, Some(TlsMode::Prefer), false, Some("encrypted")),
        (&by_address, None, false, Some("encrypted")),
        (&by_address, Some(TlsMode::Require), false, Some("encrypted")),
        (&by_name, Some(TlsMode::VerifyFull), true, Some("encrypted")),
        // The certificate is nobody's that the system knows; then, it is for another name.
        (&by_name, Some(TlsMode::VerifyFull), false, None),
        (&by_address, Some(TlsMode::VerifyFull), true, None),
        // The driver's own parameters of the URL count where the configuration is silent.
        (
            &format!("{by_address}?require_ssl=true&verify_ca=false&verify_identity=false"),
            None,
            false,
            Some("encrypted"),
        ),
        (&format!("{by_address}?require_ssl=true"), None, false, None),
        (&format!("{by_address}?require_ssl=true"), Some(TlsMode::Disable), false, Some("plain")),
    ] {
        let source = open_with(url, |config| {
            config.tls = mode;
            config.tls_root_cert = root.then(|| certificate.clone());
        })?;
        match (values(&source, plain(encrypted)).await, expected) {
            (Ok((_, found)), Some(expected)) => assert_eq!(found, [expected], "{url} {mode:?}"),
            (Err(SourceError::Unreachable { reason, .. }), None) => {
                assert!(reason.to_lowercase().contains("certificate"), "{url} {mode:?}: {reason}");
            }
            (outcome, expected) => panic!("{url} {mode:?}: {outcome:?}, expected {expected:?}"),
        }
    }
    // A cancel goes over TLS too.
    let source = open_with(&by_address, |config| config.tls = Some(TlsMode::Require))?;
    let mut stream = Arc::clone(&source).read(plain("SELECT SLEEP(60)"), schema_of(&[DataType::Int32]));
    assert!(tokio::time::timeout(Duration::from_millis(500), stream.next()).await.is_err());
    drop(stream);
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(60)%'";
    let started = Instant::now();
    while PrivateMariaDb::run_sql(&by_address, running)?.trim() != "0" {
        assert!(started.elapsed() < Duration::from_secs(5), "the statement goes on");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn wrong_passwords_and_urls_are_named_without_being_shown() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let url = server.url("mysql").replace("tester:tester@", "tester:hunter2@");
    let failed = open(&url)?.describe("SELECT 1").await.expect_err("a wrong password").to_string();
    assert_eq!(
        failed,
        "data source \"crm\" cannot be reached: Access denied for user 'tester'@'127.0.0.1' (using password: YES)"
    );
    for url in ["mysql://u:hunter2@h:notaport/d", "postgres://u:hunter2@h/d", "hunter2"] {
        let failed = MySqlSource::new("crm", &RemoteConfig::from_url(url)).expect_err(url);
        assert!(matches!(failed, SourceError::Config { .. }), "{failed}");
        assert!(!failed.to_string().contains("hunter2"), "{failed}");
    }
    Ok(())
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<usize, Box<dyn Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    Ok(pages.split(' ').nth(1).ok_or("statm has two numbers")?.parse::<usize>()? * 4096)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_stream_through_flat_memory() -> Outcome {
    let server = PrivateMariaDb::shared()?;
    let source = open(&server.fresh_database()?)?;
    let sql = "SELECT seq, concat(repeat('x', 200), seq) FROM seq_1_to_1000000";
    let mut stream = Arc::clone(&source).read(plain(sql), schema_of(&[DataType::Int64, DataType::Utf8]));
    let (mut rows, mut sum, mut base, mut peak) = (0, 0_i64, 0, 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        assert!(batch.num_rows() <= 8192 && batch.get_array_memory_size() < 8 << 20);
        rows += batch.num_rows();
        sum += batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>();
        if rows > 50_000 && base == 0 {
            base = resident()?;
        }
        peak = peak.max(resident()?);
    }
    assert_eq!((rows, sum), (1_000_000, 500_000_500_000));
    assert!(peak - base < 16 << 20, "grew by {} kB over 200 MB of rows", (peak - base) >> 10);
    Ok(())
}
