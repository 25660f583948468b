//! The sample shop in servers: its data files as SQL scripts, and its model over one server, over two, or over the files.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_yaml::Value as Yaml;

use crate::AnyError;

/// `models/shop` of this repository.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shop")
}

/// The tables that the split variant keeps in MariaDB; the others are in PostgreSQL.
pub const IN_MARIADB: [&str; 4] = ["categories", "suppliers", "products", "reviews"];

/// Where the cubes of the model find their tables.
#[derive(Debug, Clone)]
pub enum Variant {
    /// The model as it is in the repository.
    Files,
    /// All cubes over one database.
    Postgres { url: String },
    /// The cubes of [`IN_MARIADB`] over MariaDB, the others over PostgreSQL.
    Split { postgres_url: String, mariadb_url: String },
}

impl Variant {
    /// As `only=` options name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Postgres { .. } => "postgres",
            Self::Split { .. } => "split",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    /// As PostgreSQL names it; the config's `columns` say it.
    pub sql_type: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// Values as text, in the order of the columns; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Reads the tables of the sample: the types from its config, the rows from its files.
///
/// # Errors
/// Names the file that is missing, malformed, or has other columns than the config.
pub fn read_tables() -> Result<Vec<Table>, AnyError> {
    let config_file = folder().join("belvedere.yaml");
    let config: Yaml = serde_yaml::from_str(&fs::read_to_string(&config_file)?)?;
    let tables =
        config["data_sources"]["default"]["columns"].as_mapping().ok_or("belvedere.yaml declares no columns")?;
    let text = |value: &Yaml| value.as_str().map(str::to_owned).ok_or("belvedere.yaml: a name or type is no text");
    let mut result = Vec::new();
    for (name, columns) in tables {
        let columns = columns.as_mapping().ok_or("belvedere.yaml: a table has no columns")?;
        let columns: Vec<Column> = columns
            .iter()
            .map(|(name, sql_type)| Ok(Column { name: text(name)?, sql_type: text(sql_type)? }))
            .collect::<Result<_, &str>>()?;
        let name = text(name)?;
        let rows = read_rows(&name, &columns).map_err(|error| format!("table {name}: {error}"))?;
        result.push(Table { name, columns, rows });
    }
    Ok(result)
}

fn read_rows(table: &str, columns: &[Column]) -> Result<Vec<Vec<Option<String>>>, AnyError> {
    let data = folder().join("data");
    let (csv, ndjson, parquet) = (
        data.join(format!("{table}.csv")),
        data.join(format!("{table}.ndjson")),
        data.join(format!("{table}.parquet")),
    );
    if csv.exists() {
        read_csv(&csv, columns)
    } else if ndjson.exists() {
        read_ndjson(&ndjson, columns)
    } else {
        read_parquet(&parquet, columns)
    }
}

/// An empty field is NULL.
fn read_csv(file: &Path, columns: &[Column]) -> Result<Vec<Vec<Option<String>>>, AnyError> {
    let mut reader = csv::Reader::from_path(file)?;
    if !reader.headers()?.iter().eq(columns.iter().map(|column| column.name.as_str())) {
        return Err("the heading and the config name other columns".into());
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        rows.push(record?.iter().map(|field| (!field.is_empty()).then(|| field.to_owned())).collect());
    }
    Ok(rows)
}

fn read_ndjson(file: &Path, columns: &[Column]) -> Result<Vec<Vec<Option<String>>>, AnyError> {
    let mut rows = Vec::new();
    for line in fs::read_to_string(file)?.lines() {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line)?;
        if !object.keys().eq(columns.iter().map(|column| &column.name)) {
            return Err(format!("other columns than in the config: {line}").into());
        }
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        rows.push(object.values().map(text).collect());
    }
    Ok(rows)
}

fn read_parquet(file: &Path, columns: &[Column]) -> Result<Vec<Vec<Option<String>>>, AnyError> {
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
        let batch = batch?;
        if !batch.schema().fields().iter().map(|field| field.name()).eq(columns.iter().map(|column| &column.name)) {
            return Err("other columns than in the config".into());
        }
        let options = FormatOptions::default();
        let formatters: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let value = |(index, formatter): (usize, &ArrayFormatter<'_>)| {
                batch.column(index).is_valid(row).then(|| formatter.value(row).to_string())
            };
            rows.push(formatters.iter().enumerate().map(value).collect());
        }
    }
    Ok(rows)
}

/// The statements that make and fill the tables in PostgreSQL.
#[must_use]
pub fn postgres_script(tables: &[Table]) -> String {
    let mut script = String::new();
    for table in tables {
        let columns: Vec<String> =
            table.columns.iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect();
        let _ = writeln!(
            script,
            "CREATE TABLE {} ({}, PRIMARY KEY ({}));",
            table.name,
            columns.join(", "),
            key(&table.name)
        );
        write_rows(&mut script, table, |column, text| match column.sql_type.as_str() {
            "text" | "date" | "timestamp" => format!("'{}'", text.replace('\'', "''")),
            // Quoted and cast, so that no digit passes through another numeric type.
            sql_type => format!("'{text}'::{sql_type}"),
        });
    }
    script
}

/// The same for MariaDB. Texts have the collations that shops really have: those that ignore case, accents or trailing blanks.
#[must_use]
pub fn mariadb_script(tables: &[Table]) -> String {
    let mut script = String::new();
    for table in tables {
        let columns: Vec<String> =
            table.columns.iter().map(|column| format!("{} {}", column.name, mariadb_type(table, column))).collect();
        let key = key(&table.name);
        let columns = columns.join(", ");
        let _ = writeln!(script, "CREATE TABLE {} ({columns}, PRIMARY KEY ({key})) CHARACTER SET utf8mb4;", table.name);
        write_rows(&mut script, table, |column, text| match column.sql_type.as_str() {
            "boolean" | "integer" | "bigint" | "smallint" | "double precision" => text.to_owned(),
            _ => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        });
    }
    script
}

fn mariadb_type(table: &Table, column: &Column) -> String {
    match (table.name.as_str(), column.name.as_str(), column.sql_type.as_str()) {
        ("products", "name", _) => "varchar(200) COLLATE utf8mb4_general_ci".to_owned(),
        ("products", "note", _) => "text COLLATE utf8mb4_unicode_ci".to_owned(),
        ("categories", _, "text") => "varchar(100) COLLATE utf8mb4_bin".to_owned(),
        ("suppliers", "company", _) => "varchar(200) COLLATE utf8mb4_unicode_ci".to_owned(),
        (_, _, "text") => "text COLLATE utf8mb4_general_ci".to_owned(),
        (_, _, "boolean") => "tinyint(1)".to_owned(),
        (_, _, "timestamp") => "datetime(6)".to_owned(),
        (_, _, other) => other.replace("numeric", "decimal"),
    }
}

/// The columns of the primary key.
fn key(table: &str) -> &'static str {
    match table {
        "order_items" => "order_id, line_no",
        "loyalty" => "customer_id",
        _ => "id",
    }
}

fn write_rows(script: &mut String, table: &Table, literal: impl Fn(&Column, &str) -> String) {
    let rows: Vec<String> = table
        .rows
        .iter()
        .map(|row| {
            let values = table.columns.iter().zip(row);
            let values: Vec<String> = values
                .map(|(column, value)| value.as_ref().map_or("NULL".to_owned(), |text| literal(column, text)))
                .collect();
            format!("({})", values.join(", "))
        })
        .collect();
    let _ = writeln!(script, "INSERT INTO {} VALUES\n{};", table.name, rows.join(",\n"));
}

/// Writes a config and a model for `variant` into `folder` and gives the config's path. The server is to listen on `port`.
///
/// # Errors
/// Files that cannot be read or written.
pub fn write_variant(variant: &Variant, port: u16, into: &Path) -> Result<PathBuf, AnyError> {
    let mut config: Yaml = serde_yaml::from_str(&fs::read_to_string(folder().join("belvedere.yaml"))?)?;
    config["listen"] = Yaml::from(format!("127.0.0.1:{port}"));
    let server = |kind: &str, url: &str| serde_yaml::from_str::<Yaml>(&format!("{{ type: {kind}, url: {url:?} }}"));
    match variant {
        Variant::Files => {
            let data = fs::canonicalize(folder().join("data"))?;
            config["data_sources"]["default"]["path"] = Yaml::from(data.display().to_string());
        }
        Variant::Postgres { url } => config["data_sources"]["default"] = server("postgres", url)?,
        Variant::Split { postgres_url, mariadb_url } => {
            config["data_sources"]["default"] = server("postgres", postgres_url)?;
            config["data_sources"]["catalog"] = server("mysql", mariadb_url)?;
        }
    }
    for part in ["cubes", "views"] {
        fs::create_dir_all(into.join(part))?;
        for entry in fs::read_dir(folder().join(part))? {
            let file = entry?.path();
            let mut text = fs::read_to_string(&file)?;
            if matches!(variant, Variant::Split { .. }) {
                text = with_mariadb_source(&text);
            }
            fs::write(into.join(part).join(file.file_name().ok_or("a model file without a name")?), text)?;
        }
    }
    let path = into.join("belvedere.yaml");
    fs::write(&path, serde_yaml::to_string(&config)?)?;
    Ok(path)
}

/// Gives the cubes of [`IN_MARIADB`] their data source; nothing else changes.
fn with_mariadb_source(model: &str) -> String {
    IN_MARIADB.iter().fold(model.to_owned(), |text, table| {
        let line = format!("    sql_table: {table}\n");
        text.replace(&line, &format!("{line}    data_source: catalog\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_the_config_has_rows() -> Result<(), AnyError> {
        for table in read_tables()? {
            assert!(table.rows.len() >= 8, "{} has {} rows", table.name, table.rows.len());
            assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "{}", table.name);
        }
        Ok(())
    }

    #[test]
    fn the_split_variant_differs_in_data_sources_only() -> Result<(), AnyError> {
        let into = tempfile::tempdir()?;
        let split =
            Variant::Split { postgres_url: "postgres://a@b/c".to_owned(), mariadb_url: "mysql://a@b/c".to_owned() };
        write_variant(&split, 1, into.path())?;
        let mut changed = 0;
        for part in ["cubes", "views"] {
            for entry in fs::read_dir(folder().join(part))? {
                let file = entry?.path();
                let ours = fs::read_to_string(into.path().join(part).join(file.file_name().ok_or("no name")?))?;
                changed += ours.lines().filter(|line| *line == "    data_source: catalog").count();
                assert_eq!(ours.replace("    data_source: catalog\n", ""), fs::read_to_string(&file)?);
            }
        }
        assert_eq!(changed, IN_MARIADB.len());
        Ok(())
    }

    #[test]
    fn literals_keep_quotes_and_backslashes() {
        let table = Table {
            name: "suppliers".to_owned(),
            columns: vec![Column { name: "company".to_owned(), sql_type: "text".to_owned() }],
            rows: vec![vec![Some("O'Neill \\ Co".to_owned())], vec![None]],
        };
        assert!(postgres_script(std::slice::from_ref(&table)).ends_with("VALUES\n('O''Neill \\ Co'),\n(NULL);\n"));
        assert!(mariadb_script(&[table]).ends_with("VALUES\n('O''Neill \\\\ Co'),\n(NULL);\n"));
    }
}
