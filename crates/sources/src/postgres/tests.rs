//! Against a private PostgreSQL: values, sessions, cancel, loss.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_functions::PG_TYPE;
use belvedere_testkit::PrivatePostgres;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, i256};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use tokio::time::sleep;

use super::PostgresSource;
use crate::hostile_strings::hostile_strings;
use crate::reading_in_tests::{cause, plain, read_as, schema_of, values};
use crate::{RemoteConfig, RemoteSource, SourceError, Statement, TlsMode};

type Outcome = Result<(), Box<dyn Error>>;

fn open(url: &str) -> Result<Arc<PostgresSource>, SourceError> {
    open_with(url, |_| ())
}

fn open_with(url: &str, change: impl FnOnce(&mut RemoteConfig)) -> Result<Arc<PostgresSource>, SourceError> {
    let mut config = RemoteConfig::from_url(url);
    change(&mut config);
    PostgresSource::new("shop", &config).map(Arc::new)
}

/// Either form in which a value can be asked: by COPY, and as a row of a statement with parameters.
fn both_forms(expression: &str) -> [Statement; 2] {
    [
        plain(&format!("SELECT {expression} AS v")),
        Statement {
            sql: format!("SELECT {expression} AS v WHERE $1::bool"),
            parameters: vec![ScalarValue::Boolean(Some(true))],
        },
    ]
}

#[tokio::test]
async fn every_value_arrives_exact_in_its_type() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    PrivatePostgres::run_sql(
        &url,
        "CREATE TYPE mood AS ENUM ('sad', 'très \"ok\"'); CREATE DOMAIN price AS numeric(12,2); CREATE TYPE pair AS (a int, b text)",
    )?;
    let source = open(&url)?;
    let nines = "9".repeat(38);
    let widest = format!("{}.{}", "9".repeat(56), "9".repeat(20));
    let timestamp = "Timestamp(µs)";
    let utc = "Timestamp(µs, \"UTC\")";
    #[rustfmt::skip]
    let cases: Vec<(String, &str, &str, &str)> = [
        ("true", "Boolean", "true", ""), ("false", "Boolean", "false", ""), ("NULL::bool", "Boolean", "NULL", ""),
        ("(-32768)::int2", "Int16", "-32768", ""), ("32767::int2", "Int16", "32767", ""),
        ("(-2147483648)::int4", "Int32", "-2147483648", ""), ("2147483647", "Int32", "2147483647", ""),
        ("(-9223372036854775808)::int8", "Int64", "-9223372036854775808", ""),
        ("9223372036854775807", "Int64", "9223372036854775807", ""),
        ("4294967295::oid", "Int64", "4294967295", "oid"),
        ("1.5::float4", "Float32", "1.5", ""), ("'-0'::float4", "Float32", "0.0", ""), ("'NaN'::float4", "Float32", "NaN", ""),
        ("'-Infinity'::float4", "Float32", "-inf", ""), ("3.4028235e38::float4", "Float32", "3.4028235e38", ""),
        ("0.1::float8", "Float64", "0.1", ""), ("'-0'::float8", "Float64", "0.0", ""), ("'NaN'::float8", "Float64", "NaN", ""),
        ("'Infinity'::float8", "Float64", "inf", ""), ("1.7976931348623157e308::float8", "Float64", "1.7976931348623157e308", ""),
        ("5e-324::float8", "Float64", "5e-324", ""),
        ("0::numeric(12,2)", "Decimal128(12, 2)", "0.00", ""), ("'-1234567890.12'::numeric(12,2)", "Decimal128(12, 2)", "-1234567890.12", ""),
        ("0.01::numeric(12,2)", "Decimal128(12, 2)", "0.01", ""), ("10000::numeric(12,2)", "Decimal128(12, 2)", "10000.00", ""),
        ("0.00000001::numeric(10,8)", "Decimal128(10, 8)", "0.00000001", ""),
        ("12345::numeric(3,-2)", "Decimal128(5, 0)", "12300", ""), ("0.00012::numeric(2,5)", "Decimal128(5, 5)", "0.00012", ""),
        ("1.5::price", "Decimal128(12, 2)", "1.50", ""),
        ("1::numeric(39,1)", "Decimal256(39, 1)", "1.0", ""),
        ("1.5", "Decimal256(76, 20)", "1.50000000000000000000", ""), ("1e55::numeric", "Decimal256(76, 20)", "10000000000000000000000000000000000000000000000000000000.00000000000000000000", ""),
        ("-0.00000000000000000001", "Decimal256(76, 20)", "-0.00000000000000000001", ""),
        ("sum(v) FROM (VALUES (1.25), (2.5)) t(v)", "Decimal256(76, 20)", "3.75000000000000000000", ""),
        ("'a''b\"c\\d%_$1'", "Utf8", "a'b\"c\\d%_$1", ""), ("E'\\x01\\x1f\\n\\t\\x7f'", "Utf8", "\u{1}\u{1f}\n\t\u{7f}", ""),
        ("'🦀 👩‍👩‍👧 e\u{301} \u{FEFF}'", "Utf8", "🦀 👩‍👩‍👧 e\u{301} \u{FEFF}", ""), ("''", "Utf8", "", ""), ("NULL", "Utf8", "NULL", ""),
        ("'ab'::varchar(5)", "Utf8", "ab", ""), ("'ab'::char(5)", "Utf8", "ab   ", ""), ("'ab'::name", "Utf8", "ab", ""),
        ("'x'::\"char\"", "Utf8", "x", ""), ("'très \"ok\"'::mood", "Utf8", "très \"ok\"", ""),
        ("'\\x00ff27'::bytea", "Binary", "00ff27", ""), ("''::bytea", "Binary", "", ""),
        ("'0001-01-01'::date", "Date32", "0001-01-01", ""), ("'9999-12-31'::date", "Date32", "9999-12-31", ""),
        ("'1969-12-31'::date", "Date32", "1969-12-31", ""), ("'2000-02-29'::date", "Date32", "2000-02-29", ""),
        ("'00:00'::time", "Time64(µs)", "00:00:00", ""), ("'23:59:59.999999'::time", "Time64(µs)", "23:59:59.999999", ""),
        ("'0001-01-01'::timestamp", timestamp, "0001-01-01T00:00:00", ""),
        ("'9999-12-31 23:59:59.999999'::timestamp", timestamp, "9999-12-31T23:59:59.999999", ""),
        ("'1969-12-31 23:59:59.999999'::timestamp", timestamp, "1969-12-31T23:59:59.999999", ""),
        ("'1582-10-10 12:00'::timestamp", timestamp, "1582-10-10T12:00:00", ""),
        ("'2024-03-31 02:30+02'::timestamptz", utc, "2024-03-31T00:30:00Z", ""),
        ("'0001-01-01 00:00Z'::timestamptz", utc, "0001-01-01T00:00:00Z", ""), ("'9999-12-31 23:59:59.999999Z'::timestamptz", utc, "9999-12-31T23:59:59.999999Z", ""),
        ("'1 year 2 mons -3 days 04:05:06.000007'::interval", "Interval(MonthDayNano)", "14 mons -3 days 4 hours 5 mins 6.000007000 secs", ""),
        ("'123e4567-e89b-12d3-a456-426614174000'::uuid", "Utf8", "123e4567-e89b-12d3-a456-426614174000", "uuid"),
        ("'{\"b\": 1,  \"a\":[\"\\u00e9\"]}'::json", "Utf8", "{\"b\": 1,  \"a\":[\"\\u00e9\"]}", "json"),
        ("'{\"b\": 1,  \"a\":[\"\\u00e9\"]}'::jsonb", "Utf8", "{\"a\": [\"é\"], \"b\": 1}", "jsonb"),
        ("B'1'", "Utf8", "1", "bit"), ("B'101010101'::bit(9)", "Utf8", "101010101", "bit"), ("B''::varbit", "Utf8", "", "varbit"),
        ("'192.168.0.1/24'::inet", "Utf8", "192.168.0.1/24", "inet"), ("'12:30+02'::timetz", "Utf8", "12:30:00+02", "timetz"),
        ("'[1,5)'::int4range", "Utf8", "[1,5)", "int4range"), ("ROW(1, 'a b')::pair", "Utf8", "(1,\"a b\")", "pair"),
        ("'12.50'::money", "Utf8", "$12.50", "money"), ("ARRAY['::1'::inet]", "Utf8", "{::1}", "_inet"),
        ("ARRAY[1,NULL,-3]", "List(Int32)", "[1, , -3]", ""), ("'{}'::int8[]", "List(Int64)", "[]", ""),
        ("ARRAY['a,b','\"', NULL, '']", "List(Utf8)", "[a,b, \", , ]", ""), ("NULL::text[]", "List(Utf8)", "NULL", ""),
        ("ARRAY[1.25]::numeric(5,2)[]", "List(Decimal128(5, 2))", "[1.25]", ""),
        ("ARRAY['sad','sad']::mood[]", "List(Utf8)", "[sad, sad]", ""),
    ].into_iter().map(|(sql, of, value, name)| (sql.to_owned(), of, value, name)).chain([
        (format!("{nines}::numeric(38,0)"), "Decimal128(38, 0)", nines.as_str(), ""),
        (format!("'-{nines}'::numeric(38,0)"), "Decimal128(38, 0)", "", ""),
        (widest.clone(), "Decimal256(76, 20)", widest.as_str(), ""),
    ]).collect();
    let minus = format!("-{nines}");
    for (expression, data_type, value, type_name) in cases {
        let value = if expression.starts_with("'-999") { minus.as_str() } else { value };
        for statement in both_forms(&expression) {
            let sql = statement.sql.clone();
            let statement =
                if expression.contains(" FROM ") { plain(&format!("SELECT {expression}")) } else { statement };
            let (field, found) = values(&source, statement).await.map_err(|error| format!("{sql}: {error}"))?;
            assert_eq!(field.data_type().to_string(), data_type, "{sql}");
            assert_eq!(field.metadata().get(PG_TYPE).map_or("", String::as_str), type_name, "{sql}");
            assert_eq!(found, [value], "{sql}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_value_that_has_no_exact_form_fails_and_names_column_and_kind() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    PrivatePostgres::run_sql(&url, "CREATE TABLE raw (b bytea); INSERT INTO raw VALUES ('\\xff')")?;
    let source = open(&url)?;
    for (expression, kind) in [
        ("'NaN'::numeric", "NaN"),
        ("'NaN'::numeric(12,2)", "NaN"),
        ("'Infinity'::numeric", "an infinite number"),
        ("'-Infinity'::numeric", "an infinite number"),
        ("1e56::numeric", "a number with too many digits"),
        ("1e1000::numeric", "a number with too many digits"),
        ("1e-21::numeric", "a number with too many digits after the decimal point"),
        ("'infinity'::date", "an infinite date"),
        ("'-infinity'::date", "an infinite date"),
        ("'5874897-12-31'::date", "a date after the year 262142"),
        ("'infinity'::timestamp", "an infinite timestamp"),
        ("'-infinity'::timestamptz", "an infinite timestamp"),
        ("'294276-12-31'::timestamp", "a timestamp after the year 262142"),
        ("'24:00:00'::time", "the time 24:00:00"),
        ("'2562048 hours'::interval", "an interval with more than 2562047 hours"),
        ("ARRAY[[1,2],[3,4]]", "an array of more than one dimension"),
        ("'[0:1]={1,2}'::int[]", "an array whose first index is not 1"),
        ("ARRAY['NaN'::numeric]", "NaN"),
    ] {
        for statement in both_forms(expression) {
            let failed = values(&source, statement).await.expect_err(expression);
            match failed {
                SourceError::Value { source_name, column, kind: found, .. } => {
                    assert_eq!(
                        (source_name.as_str(), column.as_str(), found.as_str()),
                        ("shop", "v", kind),
                        "{expression}"
                    );
                }
                other => panic!("{expression}: {other}"),
            }
        }
    }
    // After all these failures the source still answers.
    assert_eq!(values(&source, plain("SELECT 1")).await?.1, ["1"]);
    Ok(())
}

#[tokio::test]
async fn a_schema_may_ask_another_type_as_long_as_each_value_fits() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let source = open(&server.fresh_database()?)?;
    for (expression, wanted, expected) in [
        ("1.5::numeric", DataType::Decimal128(38, 2), Ok("1.50")),
        ("1.555::numeric", DataType::Decimal128(38, 2), Err("a number with too many digits after the decimal point")),
        ("7.000::numeric", DataType::Int64, Ok("7")),
        ("7.5::numeric", DataType::Int64, Err("a number with too many digits after the decimal point")),
        ("9223372036854775808::numeric", DataType::Int64, Err("a number outside of the type's range")),
        ("3000000000", DataType::Int32, Err("a number outside of the type's range")),
        ("30", DataType::Int64, Ok("30")),
        ("30", DataType::Decimal128(20, 0), Ok("30")),
        ("9007199254740993", DataType::Float64, Err("a number with too many digits")),
        ("9007199254740992", DataType::Float64, Ok("9007199254740992.0")),
        ("0.5::float8", DataType::Float32, Ok("0.5")),
        ("0.1::float8", DataType::Float32, Err("a number with too many digits")),
        ("1", DataType::Boolean, Ok("true")),
        ("2", DataType::Boolean, Err("a number other than 0 and 1")),
        ("'2024-02-29 00:00'::timestamp", DataType::Date32, Ok("2024-02-29")),
        ("'2024-02-29 00:01'::timestamp", DataType::Date32, Err("a timestamp that is not midnight")),
        ("'text'", DataType::Int64, Err("values of type text")),
        ("1", DataType::Utf8, Err("values of type integer")),
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
    let not_null = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
    let failed = read_as(&source, plain("SELECT NULL::int"), not_null).await.expect_err("NULL in a not null column");
    assert!(matches!(&failed, SourceError::Value { kind, column, .. } if kind == "NULL" && column == "n"), "{failed}");
    let failed = read_as(&source, plain("SELECT 1, 2"), schema_of(&[DataType::Int32])).await.expect_err("one too many");
    assert!(matches!(&failed, SourceError::Refused { sqlstate: Some(code), .. } if code == "42804"), "{failed}");
    Ok(())
}

#[tokio::test]
async fn parameters_of_every_type_come_back_as_they_were() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let source = open(&server.fresh_database()?)?;
    let wide = i256::from_string(&format!("-{}", "7".repeat(70))).expect("seventy digits fit");
    let list = |values: &[ScalarValue], of: &DataType| ScalarValue::List(ScalarValue::new_list(values, of, true));
    for (value, cast) in [
        (ScalarValue::Boolean(Some(true)), "bool"),
        (ScalarValue::Int16(Some(-5)), "int2"),
        (ScalarValue::Int32(Some(i32::MIN)), "int4"),
        (ScalarValue::Int64(Some(i64::MAX)), "int8"),
        (ScalarValue::Float32(Some(f32::MIN_POSITIVE)), "float4"),
        (ScalarValue::Float64(Some(-0.1)), "float8"),
        (ScalarValue::Decimal128(Some(-12345), 12, 2), "numeric(12,2)"),
        (ScalarValue::Decimal128(Some(5), 12, 7), "numeric(12,7)"),
        (ScalarValue::Decimal128(Some(0), 12, 2), "numeric(12,2)"),
        (ScalarValue::Decimal128(Some(10_i128.pow(38) - 1), 38, 0), "numeric(38,0)"),
        (ScalarValue::Decimal256(Some(wide), 76, 20), "numeric"),
        (ScalarValue::Utf8(Some("'; DROP TABLE x; --\\".to_owned())), "text"),
        (ScalarValue::Binary(Some(vec![0, 255, 39])), "bytea"),
        (ScalarValue::Date32(Some(-719_162)), "date"),
        (ScalarValue::Time64Microsecond(Some(86_399_999_999)), "time"),
        (ScalarValue::TimestampMicrosecond(Some(-1), None), "timestamp"),
        (ScalarValue::TimestampMicrosecond(Some(253_402_300_799_999_999), Some("UTC".into())), "timestamptz"),
        (ScalarValue::new_interval_mdn(14, -3, 5_000), "interval"),
        (ScalarValue::Utf8(None), "text"),
        (ScalarValue::Decimal128(None, 12, 2), "numeric(12,2)"),
    ] {
        let sql = format!("SELECT $1::{cast}");
        let statement = Statement { sql: sql.clone(), parameters: vec![value.clone()] };
        let found =
            read_as(&source, statement, schema_of(&[value.data_type()])).await.map_err(|e| format!("{sql}: {e}"))?;
        assert_eq!(ScalarValue::try_from_array(found[0].column(0), 0)?, value, "{sql}");
    }
    // A list is for = ANY.
    let keys =
        list(&[ScalarValue::Int64(Some(2)), ScalarValue::Int64(None), ScalarValue::Int64(Some(4))], &DataType::Int64);
    let sql = "SELECT i::int8 FROM generate_series(1, 5) i WHERE i = ANY($1::int8[]) ORDER BY 1";
    let statement = Statement { sql: sql.to_owned(), parameters: vec![keys] };
    let found = read_as(&source, statement, schema_of(&[DataType::Int64])).await?;
    assert_eq!(found[0].column(0).as_primitive::<Int64Type>().values(), &[2, 4]);
    Ok(())
}

#[tokio::test]
async fn two_thousand_hostile_strings_come_back_byte_for_byte() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let source = open(&server.fresh_database()?)?;
    for (round, sent) in hostile_strings(2_500).chunks(100).enumerate() {
        let columns: Vec<String> = (1..=sent.len()).map(|index| format!("${index}::text")).collect();
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
async fn a_refused_statement_carries_the_servers_message_code_and_place() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let source = open(&server.fresh_database()?)?;
    let failed = source.describe("SELECT nme FROM (SELECT 'x' AS name) t").await.expect_err("a typing mistake");
    match failed {
        SourceError::Refused { source_name, message, sqlstate, position } => {
            assert_eq!(source_name, "shop");
            assert_eq!(
                message,
                "column \"nme\" does not exist (Perhaps you meant to reference the column \"t.name\".)"
            );
            assert_eq!((sqlstate.as_deref(), position), (Some("42703"), Some(8)));
        }
        other => panic!("{other}"),
    }
    let failed =
        read_as(&source, plain("SELECT 1/i FROM generate_series(-1, 1) i"), schema_of(&[DataType::Int32])).await;
    let failed = failed.expect_err("division by zero");
    assert!(matches!(&failed, SourceError::Refused { sqlstate: Some(code), .. } if code == "22012"), "{failed}");
    Ok(())
}

#[tokio::test]
async fn nothing_can_be_written() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    PrivatePostgres::run_sql(
        &url,
        "CREATE TABLE t (a int); CREATE FUNCTION sneak() RETURNS int LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO t VALUES (1); RETURN 1; END $$",
    )?;
    let source = open(&url)?;
    for statement in [
        plain("SELECT sneak()"),
        Statement { sql: "SELECT sneak() WHERE $1".to_owned(), parameters: vec![ScalarValue::Boolean(Some(true))] },
        Statement {
            sql: "INSERT INTO t VALUES ($1) RETURNING a".to_owned(),
            parameters: vec![ScalarValue::Int32(Some(1))],
        },
    ] {
        let failed = read_as(&source, statement.clone(), schema_of(&[DataType::Int32])).await.expect_err("a write");
        assert!(
            matches!(&failed, SourceError::Refused { sqlstate: Some(code), .. } if code == "25006"),
            "{statement:?}: {failed}"
        );
    }
    assert_eq!(PrivatePostgres::run_sql(&url, "SELECT count(*) FROM t")?, "0\n");
    Ok(())
}

#[tokio::test]
async fn a_session_is_pinned_whatever_the_database_says_and_stays_so_after_a_statement_changed_it() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    PrivatePostgres::run_sql(
        &url,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kathmandu''', current_database()); \
         EXECUTE format('ALTER DATABASE %I SET datestyle = ''SQL, DMY''', current_database()); \
         EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', current_database()); END $$",
    )?;
    let source = open_with(&url, |config| config.pool = 1)?;
    let pins = "SELECT concat_ws(' ', current_setting('timezone'), current_setting('datestyle'), \
                current_setting('standard_conforming_strings'), current_setting('default_transaction_read_only'), \
                pg_backend_pid())";
    let (_, before) = values(&source, plain(pins)).await?;
    assert!(before[0].starts_with("UTC ISO, YMD on on "), "{before:?}");
    values(&source, plain("SELECT set_config('timezone', 'Asia/Tokyo', false)")).await?;
    assert_eq!(values(&source, plain(pins)).await?.1, before, "the same backend, reset");
    Ok(())
}

/// Statements of this database that run, as another session sees them.
fn running(url: &str) -> Result<String, Box<dyn Error>> {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'belvedere' \
               AND state <> 'idle'";
    Ok(PrivatePostgres::run_sql(url, sql)?.trim().to_owned())
}

async fn until_running(url: &str, wanted: &str, within: Duration) -> Outcome {
    let started = Instant::now();
    while running(url)? != wanted {
        if started.elapsed() > within {
            return Err(format!("{} statements run, not {wanted}", running(url)?).into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_stream_stops_the_statement_at_the_server() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    let source = open_with(&url, |config| config.pool = 1)?;
    let parameter = vec![ScalarValue::Float64(Some(60.0))];
    for statement in [
        plain("SELECT pg_sleep(60)::text"),
        Statement { sql: "SELECT pg_sleep($1)::text".to_owned(), parameters: parameter },
        // Rows flow, nobody takes them.
        plain("SELECT repeat('x', 1000 + generate_series(1, 100000000) % 2)"),
    ] {
        let mut stream = Arc::clone(&source).read(statement, schema_of(&[DataType::Utf8]));
        let polled = tokio::time::timeout(Duration::from_millis(500), stream.next()).await;
        assert!(!matches!(polled, Ok(Some(Err(_)))), "{polled:?}");
        until_running(&url, "1", Duration::from_secs(2)).await?;
        drop(stream);
        until_running(&url, "0", Duration::from_secs(2)).await?;
    }
    // The only slot of the pool is free again.
    assert_eq!(values(&source, plain("SELECT 1")).await?.1, ["1"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_at_its_time_limit() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    let source = open_with(&url, |config| config.statement_timeout = Some(Duration::from_secs(1)))?;
    let started = Instant::now();
    let failed = values(&source, plain("SELECT pg_sleep(30)::text")).await.expect_err("too slow");
    assert!(matches!(failed, SourceError::TimedOut { seconds: 1, .. }), "{failed}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    until_running(&url, "0", Duration::from_secs(2)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_never_opens_more_connections_than_it_may_and_says_so_when_all_are_busy() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    let source = open_with(&url, |config| (config.pool, config.pool_timeout) = (3, Duration::from_secs(10)))?;
    let sql = "SELECT pg_backend_pid() FROM pg_sleep(0.05)";
    let reads = (0..30).map(|_| values(&source, plain(sql)));
    let mut backends: Vec<String> = Vec::new();
    for read in futures::future::join_all(reads).await {
        backends.extend(read?.1);
    }
    assert_eq!(backends.len(), 30);
    backends.sort();
    backends.dedup();
    assert!(backends.len() <= 3, "{backends:?}");

    let source = open_with(&url, |config| (config.pool, config.pool_timeout) = (1, Duration::from_secs(1)))?;
    let holder = Arc::clone(&source);
    let holding = tokio::spawn(async move { values(&holder, plain("SELECT pg_sleep(3)::text")).await.map(|_| ()) });
    until_running(&url, "1", Duration::from_secs(2)).await?;
    let failed = values(&source, plain("SELECT 1")).await.expect_err("the only connection is in use");
    assert!(matches!(failed, SourceError::Busy { connections: 1, seconds: 1, .. }), "{failed}");
    holding.await??;
    assert_eq!(values(&source, plain("SELECT 1")).await?.1, ["1"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_in_mid_stream_is_an_error_after_the_rows_that_came() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    let source = open(&url)?;
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND application_name = 'belvedere'";
    for parameters in [vec![], vec![ScalarValue::Int32(Some(100_000_000))]] {
        let last = if parameters.is_empty() { "100000000" } else { "$1" };
        let statement = Statement { sql: format!("SELECT generate_series(1, {last})"), parameters };
        let mut stream = Arc::clone(&source).read(statement, schema_of(&[DataType::Int32]));
        let first = stream.next().await.expect("a batch")?;
        assert_eq!(first.column(0).as_primitive::<Int32Type>().value(0), 1);
        PrivatePostgres::run_sql(&url, terminate)?;
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
    let server = PrivatePostgres::shared()?;
    let url = server.fresh_database()?;
    let source = open(&url)?;
    for _ in 0..20 {
        values(&source, plain("SELECT 1")).await?;
        PrivatePostgres::run_sql(
            &url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'belvedere'",
        )?;
        assert_eq!(values(&source, plain("SELECT 2")).await?.1, ["2"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_unreachable() -> Outcome {
    let server = PrivatePostgres::start()?;
    let url = server.url("postgres");
    drop(server);
    let failed = open(&url)?.describe("SELECT 1").await.expect_err("the server is gone");
    assert!(matches!(&failed, SourceError::Unreachable { reason, .. } if reason.contains("refused")), "{failed}");
    Ok(())
}

#[tokio::test]
async fn wrong_passwords_and_urls_are_named_without_being_shown() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let url = server.url("postgres").replace("postgres:postgres@", "postgres:hunter2@");
    let failed = open(&url)?.describe("SELECT 1").await.expect_err("a wrong password").to_string();
    assert_eq!(failed, "data source \"shop\" cannot be reached: password authentication failed for user \"postgres\"");
    for url in [
        "postgres://u:hunter2@h:notaport/d",
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@h/d?sslmode=maybe",
        "hunter2",
    ] {
        let failed = PostgresSource::new("shop", &RemoteConfig::from_url(url)).expect_err(url);
        assert!(matches!(failed, SourceError::Config { .. }), "{failed}");
        assert!(!failed.to_string().contains("hunter2"), "{failed}");
        assert!(!format!("{:?}", RemoteConfig::from_url(url)).contains("hunter2"));
    }
    Ok(())
}

#[tokio::test]
async fn tls_verifies_the_certificate_only_where_it_is_asked_to() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    // ssl-cert, which Debian's postgresql depends on, brings openssl.
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = PrivatePostgres::start_with_tls(&certificate, &key)?;
    let by_name = server.url("postgres").replace("127.0.0.1", "localhost");
    let by_address = server.url("postgres");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (url, mode, root, expected) in [
        (&by_address, TlsMode::Disable, false, Some("false")),
        (&by_address, TlsMode::Prefer, false, Some("true")),
        (&by_address, TlsMode::Require, false, Some("true")),
        (&by_name, TlsMode::VerifyFull, true, Some("true")),
        // The certificate is nobody's that the system knows; then, it is for another name.
        (&by_name, TlsMode::VerifyFull, false, None),
        (&by_address, TlsMode::VerifyFull, true, None),
    ] {
        let source = open_with(url, |config| {
            config.tls = Some(mode);
            config.tls_root_cert = root.then(|| certificate.clone());
        })?;
        match (values(&source, plain(encrypted)).await, expected) {
            (Ok((_, found)), Some(expected)) => assert_eq!(found, [expected], "{mode:?}"),
            (Err(SourceError::Unreachable { reason, .. }), None) => assert!(reason.contains("certificate"), "{reason}"),
            (outcome, expected) => panic!("{mode:?}: {outcome:?}, expected {expected:?}"),
        }
    }
    // A cancel goes over TLS too.
    let source = open_with(&by_address, |config| config.tls = Some(TlsMode::Require))?;
    let mut stream = Arc::clone(&source).read(plain("SELECT pg_sleep(60)::text"), schema_of(&[DataType::Utf8]));
    assert!(tokio::time::timeout(Duration::from_millis(500), stream.next()).await.is_err());
    drop(stream);
    until_running(&by_address, "0", Duration::from_secs(2)).await
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<usize, Box<dyn Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    Ok(pages.split(' ').nth(1).ok_or("statm has two numbers")?.parse::<usize>()? * 4096)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_stream_through_flat_memory() -> Outcome {
    let server = PrivatePostgres::shared()?;
    let source = open(&server.fresh_database()?)?;
    let sql = "SELECT i, repeat('x', 200) || i FROM generate_series(1, 1000000) i";
    let mut stream = Arc::clone(&source).read(plain(sql), schema_of(&[DataType::Int32, DataType::Utf8]));
    let (mut rows, mut sum, mut base, mut peak) = (0, 0_i64, 0, 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        assert!(batch.num_rows() <= 8192 && batch.get_array_memory_size() < 8 << 20);
        rows += batch.num_rows();
        sum += batch.column(0).as_primitive::<Int32Type>().values().iter().map(|value| i64::from(*value)).sum::<i64>();
        if rows > 50_000 && base == 0 {
            base = resident()?;
        }
        peak = peak.max(resident()?);
    }
    assert_eq!((rows, sum), (1_000_000, 500_000_500_000));
    assert!(peak - base < 16 << 20, "grew by {} kB over 200 MB of rows", (peak - base) >> 10);
    Ok(())
}
