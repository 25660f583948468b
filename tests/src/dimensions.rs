//! Dimensions that are more than a column, over one PostgreSQL, one MariaDB, and both: the same rows as plain SQL.

use crate::AnyError;
use crate::facts::{Variant, run_files};

/// `DIMENSIONS=granularities` in the environment runs that file alone.
const FILES: [&str; 7] = [
    "asked_members.slt",
    "granularities.slt",
    "roles.slt",
    "sub_queries.slt",
    "switches.slt",
    "estimates.slt",
    "measures.slt",
];

/// The files of this test have lost statements when there are fewer.
const STATEMENTS_MIN: usize = 75;

async fn run(variant: Variant) -> Result<(), AnyError> {
    let only = std::env::var("DIMENSIONS").ok().filter(|only| !only.is_empty());
    let files: Vec<&str> = FILES
        .into_iter()
        .filter(|file| only.as_deref().is_none_or(|only| file.strip_suffix(".slt") == Some(only)))
        .collect();
    let statements_min = if only.is_some() { 1 } else { STATEMENTS_MIN };
    run_files("dimensions", &files, statements_min, variant).await
}

#[tokio::test]
async fn dimensions_have_the_values_of_plain_sql_over_one_postgresql() -> Result<(), AnyError> {
    run(Variant::Postgres).await
}

#[tokio::test]
async fn dimensions_have_the_values_of_plain_sql_over_one_mariadb() -> Result<(), AnyError> {
    run(Variant::MariaDb).await
}

#[tokio::test]
async fn dimensions_have_the_values_of_plain_sql_over_two_servers() -> Result<(), AnyError> {
    run(Variant::Split).await
}
