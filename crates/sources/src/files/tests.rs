//! Folders of files, read through DataFusion as the engine does.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, LargeStringArray, RecordBatch, TimestampNanosecondArray,
    UInt64Array,
};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::config::SessionConfig;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::SessionContext;
use tempfile::TempDir;

use super::{FilesConfig, FilesSource};
use crate::SourceError;

type Outcome = Result<(), Box<dyn Error>>;

fn config(folder: &Path, columns: &[(&str, &str, &str)]) -> FilesConfig {
    let mut declared: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (table, column, of) in columns {
        declared.entry((*table).to_owned()).or_default().insert((*column).to_owned(), (*of).to_owned());
    }
    FilesConfig { path: folder.to_path_buf(), columns: declared }
}

fn folder(files: &[(&str, &str)]) -> Result<TempDir, std::io::Error> {
    let folder = tempfile::tempdir()?;
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a path below the folder"))?;
        fs::write(path, text)?;
    }
    Ok(folder)
}

async fn open(folder: &TempDir, columns: &[(&str, &str, &str)]) -> Result<FilesSource, SourceError> {
    FilesSource::open("events", &config(folder.path(), columns)).await
}

/// The rows of a query as a table of text.
async fn query(source: &FilesSource, sql: &str) -> Result<String, Box<dyn Error>> {
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    for table in source.tables() {
        ctx.register_table(table, source.table(table).expect("a table of the list"))?;
    }
    Ok(pretty_format_batches(&ctx.sql(sql).await?.collect().await?)?.to_string())
}

/// `name: type` of all columns, and the PostgreSQL type where the field has one.
fn types(source: &FilesSource, table: &str) -> Vec<String> {
    let schema = source.table(table).expect("a table of the folder").schema();
    let fields = schema.fields().iter();
    fields
        .map(|field| {
            format!(
                "{}: {} {}",
                field.name(),
                field.data_type(),
                field.metadata().get(belvedere_functions::PG_TYPE).cloned().unwrap_or_default()
            )
        })
        .collect()
}

#[tokio::test]
async fn declared_types_are_read_to_the_last_digit() -> Outcome {
    let folder = folder(&[(
        "orders.csv",
        "id,amount,tax,at,day,paid,note,ref\n\
         1,1234567890.10,0.1,2024-03-31T02:30:00+02:00,2024-02-29,t,\"a,\"\"b\"\"\",123E4567-e89b-12d3-a456-426614174000\n\
         2,-0.01,1e-3,2024-01-01 00:00:00.000001,0001-01-01,no,,\n",
    )])?;
    let declared = [
        ("orders", "id", "int4"),
        ("orders", "amount", "numeric(12,2)"),
        ("orders", "tax", "float8"),
        ("orders", "at", "timestamp(6) with time zone"),
        ("orders", "paid", "boolean"),
        ("orders", "ref", "uuid"),
    ];
    let source = open(&folder, &declared).await?;
    assert_eq!(source.tables().collect::<Vec<_>>(), ["orders"]);
    assert_eq!(
        types(&source, "orders"),
        [
            "id: Int32 ",
            "amount: Decimal128(12, 2) ",
            "tax: Float64 ",
            "at: Timestamp(µs, \"UTC\") ",
            "day: Date32 ",
            "paid: Boolean ",
            "note: Utf8 ",
            "ref: Utf8 uuid"
        ]
    );
    assert_eq!(
        query(&source, "SELECT * FROM orders ORDER BY id").await?,
        "\
+----+---------------+-------+-----------------------------+------------+-------+-------+--------------------------------------+
| id | amount        | tax   | at                          | day        | paid  | note  | ref                                  |
+----+---------------+-------+-----------------------------+------------+-------+-------+--------------------------------------+
| 1  | 1234567890.10 | 0.1   | 2024-03-31T00:30:00Z        | 2024-02-29 | true  | a,\"b\" | 123e4567-e89b-12d3-a456-426614174000 |
| 2  | -0.01         | 0.001 | 2024-01-01T00:00:00.000001Z | 0001-01-01 | false |       |                                      |
+----+---------------+-------+-----------------------------+------------+-------+-------+--------------------------------------+"
    );
    Ok(())
}

#[tokio::test]
async fn undeclared_types_follow_the_cells() -> Outcome {
    let folder = folder(&[(
        "t.csv",
        "whole,code,price,flag,day,at,zoned,text,nothing\n\
         -5,007,1.10,true,2024-01-01,2024-01-01 10:00:00,2024-01-01T10:00:00Z,x,\n\
         9223372036854775807,12,-3,false,2024-12-31,2024-01-01,2024-01-01 10:00:00+05:30,1,\n",
    )])?;
    let source = open(&folder, &[]).await?;
    assert_eq!(
        types(&source, "t"),
        [
            "whole: Int64 ",
            "code: Utf8 ",
            "price: Decimal256(76, 20) ",
            "flag: Boolean ",
            "day: Date32 ",
            "at: Timestamp(µs) ",
            "zoned: Timestamp(µs, \"UTC\") ",
            "text: Utf8 ",
            "nothing: Utf8 "
        ]
    );
    assert_eq!(
        query(&source, "SELECT count(*) AS n FROM t WHERE nothing IS NULL AND zoned = '2024-01-01T04:30:00Z'").await?,
        "+---+\n| n |\n+---+\n| 1 |\n+---+"
    );
    Ok(())
}

#[tokio::test]
async fn a_bad_cell_names_table_column_file_and_line() -> Outcome {
    for (cell, of, kind, wanted) in [
        ("1.005", "numeric(12,2)", "a number with too many digits after the decimal point", "Decimal128(12, 2)"),
        ("12345678901", "numeric(12,2)", "a number with too many digits", "Decimal128(12, 2)"),
        ("1e3", "numeric(12,2)", "text that is not a number", "Decimal128(12, 2)"),
        ("NaN", "numeric", "text that is not a number", "Decimal256(76, 20)"),
        ("3000000000", "integer", "a number outside of the type's range", "Int32"),
        ("1.5", "bigint", "a number with too many digits after the decimal point", "Int64"),
        ("1e999", "float8", "a number outside of the type's range", "Float64"),
        ("2024-02-30", "date", "a date that the calendar does not have", "Date32"),
        ("yesterday", "timestamp", "text that is not a date or timestamp", "Timestamp(µs)"),
        ("24:00:00", "time", "text that is not a time", "Time64(µs)"),
        ("maybe", "boolean", "text that is not a boolean", "Boolean"),
        ("{a}", "json", "text that is not json", "Utf8"),
        ("123", "uuid", "text that is not a uuid", "Utf8"),
        ("xyz", "bytea", "text that is not a bytea", "bytea"),
    ] {
        let folder = folder(&[("orders.csv", &format!("id,amount\n1,\n\"2\n\",{cell}\n"))])?;
        let source = open(&folder, &[("orders", "amount", of)]).await?;
        let failed = query(&source, "SELECT * FROM orders").await.expect_err(cell).to_string();
        let file = folder.path().join("orders.csv");
        let expected = format!(
            "column \"orders.amount\" of data source \"events\" holds {kind} (line 3 of {}), which cannot be read exactly as {wanted}",
            file.display()
        );
        assert!(failed.ends_with(&expected), "{failed}\n{expected}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cell_that_contradicts_the_sample_is_an_error_not_a_null() -> Outcome {
    let text = format!("n\n{}late\n", "1\n".repeat(20_001));
    let folder = folder(&[("t.csv", &text)])?;
    let source = open(&folder, &[]).await?;
    assert_eq!(types(&source, "t"), ["n: Int64 "]);
    let failed = query(&source, "SELECT count(n) FROM t").await.expect_err("the last cell is no number").to_string();
    assert!(failed.contains("text that is not a number (line 20003 of "), "{failed}");
    Ok(())
}

#[tokio::test]
async fn a_folder_of_files_is_one_table_with_columns_by_name() -> Outcome {
    let files =
        [("t/b.csv", "y,x\n3,4\n"), ("t/a.csv", "x,y\n1,2\n"), ("t/_ignored.csv", "z\n"), ("readme.txt", "no table")];
    let source = open(&folder(&files)?, &[]).await;
    // The folder is gone with its guard, the schema is not.
    assert_eq!(types(&source?, "t"), ["x: Int64 ", "y: Int64 "]);
    let kept = folder(&files)?;
    let source = open(&kept, &[]).await?;
    assert_eq!(
        query(&source, "SELECT x, y FROM t ORDER BY x").await?,
        "+---+---+\n| x | y |\n+---+---+\n| 1 | 2 |\n| 4 | 3 |\n+---+---+"
    );

    let other = folder(&[("t/a.csv", "x\n1\n"), ("t/b.csv", "y\n1\n")])?;
    let failed = open(&other, &[]).await.expect_err("different columns").to_string();
    assert!(failed.ends_with("its columns are [\"y\"], those of the table are [\"x\"]"), "{failed}");
    let other = folder(&[("t/a.csv", "x\n1\n"), ("t/b.json", "{}\n")])?;
    let failed = open(&other, &[]).await.expect_err("different formats").to_string();
    assert!(failed.contains("the files of a folder have different formats"), "{failed}");
    Ok(())
}

#[tokio::test]
async fn records_that_do_not_fit_the_header_are_refused() -> Outcome {
    let folder = folder(&[("t.csv", "a,b\n1,2\n3\n")])?;
    let source = open(&folder, &[]).await?;
    let failed = query(&source, "SELECT a FROM t").await.expect_err("a cell too few").to_string();
    assert!(failed.ends_with("line 3 has 1 cells where the header has 2"), "{failed}");
    Ok(())
}

#[tokio::test]
async fn wrong_declarations_are_said_at_once() -> Outcome {
    let folder = folder(&[("t.csv", "a\n1\n")])?;
    for (declared, expected) in [
        (("t", "a", "numbr"), "table \"t\": column \"a\" is declared as \"numbr\", which is not a type"),
        (
            ("t", "a", "numeric(77,2)"),
            "table \"t\": column \"a\" is declared as \"numeric(77,2)\", which is not a type",
        ),
        (("t", "b", "text"), "table \"t\": column \"b\" is declared, but the files do not have it"),
        (("u", "a", "text"), "columns of table \"u\" are declared, but there is no such table"),
    ] {
        let failed = open(&folder, &[declared]).await.expect_err(expected).to_string();
        assert_eq!(failed, format!("data source \"events\" is configured wrongly: {expected}"));
    }
    let failed = FilesSource::open("events", &config(&folder.path().join("gone"), &[])).await.expect_err("no folder");
    assert!(matches!(failed, SourceError::Unreachable { .. }), "{failed}");
    Ok(())
}

#[tokio::test]
async fn json_numbers_keep_their_digits_and_members_may_be_missing() -> Outcome {
    let folder = folder(&[(
        "t.ndjson",
        "{\"id\":1,\"amount\":0.10000000000000000555,\"tags\":[\"a\"],\"name\":\"x\\ny\",\"at\":\"2024-01-01T10:00:00\",\"code\":\"7\"}\n\
         {\"id\":2,\"tags\":null,\"amount\":12345678901234567890123456789}\n",
    )])?;
    let source = open(&folder, &[]).await?;
    assert_eq!(
        types(&source, "t"),
        [
            "id: Int64 ",
            "amount: Decimal256(76, 20) ",
            "tags: Utf8 json",
            "name: Utf8 ",
            "at: Timestamp(µs) ",
            "code: Utf8 "
        ]
    );
    assert_eq!(
        query(&source, "SELECT id, amount, tags, name IS NULL AS n FROM t ORDER BY id").await?,
        "\
+----+----------------------------------------------------+-------+-------+
| id | amount                                             | tags  | n     |
+----+----------------------------------------------------+-------+-------+
| 1  | 0.10000000000000000555                             | [\"a\"] | false |
| 2  | 12345678901234567890123456789.00000000000000000000 |       | true  |
+----+----------------------------------------------------+-------+-------+"
    );
    Ok(())
}

#[tokio::test]
async fn json_that_the_table_cannot_hold_is_refused() -> Outcome {
    for (line, expected) in [
        ("{\"a\":1,\"a\":2}", "line 20001 has the member \"a\" twice"),
        ("{\"b\":1}", "line 20001 has a member \"b\" that the table's first lines do not have; declare its type"),
        ("[1]", "line 20001 has a line that is not a json object"),
        ("{\"a\":\"one\"}", "holds text that is not a number (line 20001 of"),
    ] {
        let folder = folder(&[("t.json", &format!("{}{line}\n", "{\"a\":1}\n".repeat(20_000)))])?;
        let source = open(&folder, &[]).await?;
        let failed = query(&source, "SELECT * FROM t").await.expect_err(line).to_string();
        assert!(failed.contains(expected), "{failed}");
    }
    Ok(())
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) -> Outcome {
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

#[tokio::test]
async fn parquet_types_become_ours_exactly_or_not_at_all() -> Outcome {
    let folder = tempfile::tempdir()?;
    let nanoseconds = |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(values)) };
    write_parquet(
        &folder.path().join("t.parquet"),
        vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2]))),
            ("big", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
            ("name", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
            ("at", nanoseconds(vec![1_000, -1_000])),
            ("amount", Arc::new(Decimal128Array::from(vec![150, 275]).with_precision_and_scale(12, 2)?)),
            ("ratio", Arc::new(Float64Array::from(vec![-0.0, f64::NAN]))),
        ],
    )?;
    write_parquet(&folder.path().join("fine.parquet"), vec![("at", nanoseconds(vec![1_001]))])?;
    let source = open(&folder, &[("t", "id", "numeric(5,1)")]).await?;
    assert_eq!(
        types(&source, "t"),
        [
            "id: Decimal128(5, 1) ",
            "big: Decimal128(20, 0) ",
            "name: Utf8 ",
            "at: Timestamp(µs) ",
            "amount: Decimal128(12, 2) ",
            "ratio: Float64 "
        ]
    );
    assert_eq!(
        query(&source, "SELECT * FROM t WHERE amount < 2 AND name = 'a' AND id = 1").await?,
        "\
+-----+----------------------+------+----------------------------+--------+-------+
| id  | big                  | name | at                         | amount | ratio |
+-----+----------------------+------+----------------------------+--------+-------+
| 1.0 | 18446744073709551615 | a    | 1970-01-01T00:00:00.000001 | 1.50   | 0.0   |
+-----+----------------------+------+----------------------------+--------+-------+"
    );
    assert_eq!(query(&source, "SELECT count(*) AS n FROM t").await?, "+---+\n| n |\n+---+\n| 2 |\n+---+");
    let failed = query(&source, "SELECT at FROM fine").await.expect_err("a nanosecond").to_string();
    assert!(
        failed.contains(
            "column \"fine.at\" of data source \"events\" holds a value of type Timestamp(ns) that would be rounded"
        ),
        "{failed}"
    );
    Ok(())
}

#[tokio::test]
async fn a_damaged_parquet_file_is_an_error() -> Outcome {
    let folder = folder(&[("t.parquet", "PAR1 no")])?;
    let failed = open(&folder, &[]).await.expect_err("not a Parquet file");
    assert!(matches!(failed, SourceError::Unreachable { .. }), "{failed}");
    Ok(())
}
