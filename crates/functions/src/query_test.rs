//! Runs every query of `queries_golden.txt` and compares types, rows and SQLSTATE with what PostgreSQL 15 said, in one partition and in three.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_common::Result;

use crate::numeric::Numeric;
use crate::value::{Value, build};
use crate::{
    PgType, Zone, aggregate_functions, format_value, parse_literal, pg_error_of, scalar_functions, window_functions,
};

const ZONE: &str = "America/New_York";

/// The rows of `rows.sql`, three batches.
fn table(partitions: bool) -> Result<MemTable> {
    let columns: [(&str, DataType, [Option<&str>; 7]); 10] = [
        ("k", DataType::Int32, [Some("1"), Some("2"), Some("3"), Some("4"), Some("5"), Some("6"), Some("7")]),
        ("g", DataType::Utf8, [Some("a"), Some("a"), Some("a"), Some("b"), Some("b"), Some("b"), Some("c")]),
        ("i", DataType::Int32, [Some("3"), Some("1"), None, Some("3"), Some("7"), Some("3"), None]),
        ("b", DataType::Int64, [Some("30"), Some("10"), None, Some("30"), Some("70"), Some("31"), None]),
        (
            "n",
            DataType::Decimal128(10, 2),
            [Some("1.50"), Some("2.25"), None, Some("1.50"), Some("100.01"), Some("0.10"), None],
        ),
        ("f", DataType::Float64, [Some("1.5"), Some("2.5"), None, Some("1.5"), Some("-4.25"), Some("1e10"), None]),
        ("s", DataType::Utf8, [Some("x"), Some("y"), None, Some("x"), Some("a,b"), Some("x"), None]),
        (
            "v",
            PgType::Interval.arrow(),
            [
                Some("1 day"),
                Some("36 hours"),
                None,
                Some("1 mon"),
                Some("1 mon 2 days 03:00:00"),
                Some("-1 days"),
                None,
            ],
        ),
        ("p", DataType::Boolean, [Some("t"), Some("f"), None, Some("t"), Some("t"), Some("t"), None]),
        (
            "d",
            DataType::Date32,
            [
                Some("2024-01-01"),
                Some("2024-01-02"),
                None,
                Some("2024-01-01"),
                Some("2024-02-29"),
                Some("2024-01-01"),
                None,
            ],
        ),
    ];
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (name, data_type, texts) in columns {
        let mut values = Vec::new();
        for text in texts {
            values.push(match text {
                None => Value::Null,
                Some(text) => Value::of(&parse_literal(text, &data_type, None, &Zone::UTC)?)?,
            });
        }
        arrays.push(build(&data_type, &values)?);
        fields.push(Field::new(name, data_type, true));
    }
    let schema = Arc::new(Schema::new(fields));
    let all = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    let parts = vec![vec![all.slice(0, 2)], vec![all.slice(2, 3)], vec![all.slice(5, 2)]];
    MemTable::try_new(schema, if partitions { parts } else { vec![vec![all]] })
}

fn session(partitions: bool) -> Result<SessionContext> {
    let mut config = SessionConfig::new().with_target_partitions(if partitions { 3 } else { 1 });
    let options = config.options_mut();
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some(ZONE.to_owned());
    let context = SessionContext::new_with_config(config);
    for function in aggregate_functions() {
        context.register_udaf(function.as_ref().clone());
    }
    for function in window_functions() {
        context.register_udwf(function.as_ref().clone());
    }
    for function in scalar_functions() {
        context.register_udf(function.as_ref().clone());
    }
    context.register_table("t", Arc::new(table(partitions)?))?;
    Ok(context)
}

async fn rows(context: &SessionContext, sql: &str) -> Result<(String, Vec<Vec<Value>>, Vec<PgType>)> {
    let frame = context.sql(sql).await?;
    let types: Vec<PgType> =
        frame.schema().fields().iter().map(|f| PgType::of_field(f).unwrap_or(PgType::Other(f.to_string()))).collect();
    let names: Vec<String> = types.iter().map(PgType::name).collect();
    let mut out = Vec::new();
    for batch in frame.collect().await? {
        for row in 0..batch.num_rows() {
            out.push(batch.columns().iter().map(|c| Value::read(c.as_ref(), row)).collect::<Result<Vec<_>>>()?);
        }
    }
    Ok((names.join(","), out, types))
}

/// Whether a value is the text that PostgreSQL gave; numerics are compared as numbers.
fn same(value: &Value, pg: &PgType, text: &str, zone: &Zone) -> Result<bool> {
    Ok(match value {
        Value::Numeric(n) => Numeric::parse(text).as_ref() == Some(n),
        Value::Bool(b) => text == if *b { "t" } else { "f" },
        other => format_value(other, pg, zone)?.as_deref().unwrap_or("NULL") == text,
    })
}

#[tokio::test]
async fn every_query_gives_what_postgresql_gives() -> Result<()> {
    let zone = Zone::parse(ZONE)?;
    let mut wrong = Vec::new();
    let mut count = 0;
    for partitions in [false, true] {
        let context = session(partitions)?;
        for line in include_str!("queries_golden.txt").lines() {
            let parts: Vec<&str> = line.splitn(3, '\t').collect();
            let [sql, types, expected] = parts[..] else { panic!("a malformed line: {line}") };
            count += 1;
            let (our_types, our_rows, pg) = match rows(&context, sql).await {
                Ok(found) => found,
                Err(error) => {
                    // DataFusion flattens an error of type resolution into its own text.
                    let unknown = error.to_string().contains(") does not exist").then_some("42883");
                    let code = pg_error_of(&error).map(|e| e.sqlstate).or(unknown);
                    if types != "ERROR" || code != Some(expected) {
                        wrong.push(format!("{sql}\n    PostgreSQL {types} {expected}\n    ours {code:?} {error}"));
                    }
                    continue;
                }
            };
            let wanted: Vec<Vec<&str>> = expected.split(" / ").map(|r| r.split('|').collect()).collect();
            let mut equal = our_types == types && wanted.len() == our_rows.len();
            for (row, want) in our_rows.iter().zip(&wanted) {
                for ((value, pg), text) in row.iter().zip(&pg).zip(want) {
                    equal &= same(value, pg, text, &zone)?;
                }
            }
            if !equal {
                let shown: Vec<String> = our_rows
                    .iter()
                    .map(|r| {
                        r.iter()
                            .zip(&pg)
                            .map(|(v, t)| format_value(v, t, &zone).ok().flatten().unwrap_or_else(|| "NULL".into()))
                            .collect::<Vec<_>>()
                            .join("|")
                    })
                    .collect();
                wrong.push(format!(
                    "{sql}\n    PostgreSQL {types}: {expected}\n    ours       {our_types}: {}",
                    shown.join(" / ")
                ));
            }
        }
    }
    assert!(count > 20, "queries_golden.txt is cut off: {count}");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
