//! Joins that repeat rows and views of several facts, over one PostgreSQL, one MariaDB, and both: the same rows as plain SQL.

use std::fs;
use std::path::{Path, PathBuf};

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};

use crate::AnyError;
use crate::runner::{Sides, run_file};
use crate::servers::{Servers, Site, login, source};

/// The files of this test have lost statements when there are fewer.
const STATEMENTS_MIN: usize = 45;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("facts")
}

/// Where the model's two data sources are.
enum Variant {
    Postgres,
    MariaDb,
    Split,
}

async fn run(variant: Variant) -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let tables = folder().join("tables.sql");
    // PostgreSQL's columns are of type text, as views show text of either source.
    let as_text = tempfile::Builder::new().suffix(".sql").tempfile()?;
    fs::write(as_text.path(), fs::read_to_string(&tables)?.replace("varchar(40)", "text"))?;
    let postgres = || -> Result<String, AnyError> {
        let url = servers.postgres.fresh_database()?;
        PrivatePostgres::run_file(&url, as_text.path())?;
        Ok(url)
    };
    let mariadb = || -> Result<String, AnyError> {
        let url = servers.mariadb.fresh_database()?;
        PrivateMariaDb::run_file(&url, &tables)?;
        Ok(url)
    };
    let model = fs::read_to_string(folder().join("model.yml"))?;
    let one_source = model.replace("    data_source: two\n", "");
    assert_ne!(one_source, model);
    let (name, sources, model) = match variant {
        Variant::Postgres => ("postgres", vec![source("default", &postgres()?)], one_source),
        Variant::MariaDb => ("mariadb", vec![source("default", &mariadb()?)], one_source),
        Variant::Split => ("split", vec![source("default", &postgres()?), source("two", &mariadb()?)], model),
    };
    let site = Site::start(&sources, "", &model)?;
    let reference = servers.postgres.fresh_database_by_code_point()?;
    PrivatePostgres::run_file(&reference, as_text.path())?;
    let sides = Sides {
        ours: site.server.login(),
        reference: login(&reference)?,
        variant: name.to_owned(),
        asks_references: false,
    };
    let (mut statements, mut failing) = (0, Vec::new());
    for file in ["multiplied.slt", "several_facts.slt", "grouping_sets.slt"] {
        let report = run_file(&folder().join(file), &sides).await?;
        statements += report.statements;
        if !report.failures.is_empty() {
            failing.push(report.to_string());
        }
    }
    assert!(failing.is_empty(), "{}", failing.join("\n\n"));
    assert!(statements >= STATEMENTS_MIN, "only {statements} statements");
    Ok(())
}

#[tokio::test]
async fn no_row_counts_twice_over_one_postgresql() -> Result<(), AnyError> {
    run(Variant::Postgres).await
}

#[tokio::test]
async fn no_row_counts_twice_over_one_mariadb() -> Result<(), AnyError> {
    run(Variant::MariaDb).await
}

#[tokio::test]
async fn no_row_counts_twice_over_two_servers() -> Result<(), AnyError> {
    run(Variant::Split).await
}
