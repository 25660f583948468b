//! The shop's statements against the real program, and the runner against itself.

use std::path::{Path, PathBuf};

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use tempfile::TempDir;
use tokio_postgres::Config;

use crate::AnyError;
use crate::runner::{Report, Sides, run_file};
use crate::server::{Belvedere, free_port};
use crate::shop::{IN_MARIADB, Table, Variant, mariadb_script, postgres_script, read_tables, write_variant};

/// The suite is not the suite any more when it has fewer.
const STATEMENTS_MIN: usize = 150;

#[tokio::test]
async fn every_reference_runs_on_postgresql_and_equals_itself() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let reference = servers.reference_database()?;
    // The other side has its rows stored backwards: an order with ties, or a float sum that rounds, gives other rows there.
    let mut backwards = read_tables()?;
    backwards.iter_mut().for_each(|table| table.rows.reverse());
    let ours = login(&servers.by_code_point(&backwards)?)?;
    let sides = Sides { ours, reference, variant: "reference".to_owned(), asks_references: true };
    let files = script_files()?;
    let reports = run_files(&files, &sides).await?;
    assert_no_failures(&reports);
    assert_all_ran(&reports);
    // Case as in all of Unicode, not as in ASCII, which the collation `C` alone would give.
    let lower = PrivatePostgres::run_sql(&servers.by_code_point(&[])?, "SELECT lower('ÄPFEL'), 'Z' < 'a'")?;
    assert_eq!(lower.trim(), "äpfel|t");
    Ok(())
}

#[tokio::test]
async fn a_planted_difference_is_found_in_every_way_of_asking() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let reference = servers.by_code_point(&read_tables()?)?;
    let ours = servers.by_code_point(&read_tables()?)?;
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("planted.slt");
    std::fs::write(
        &script,
        "query psql\nSELECT city, count(*) FROM stores GROUP BY 1\nreference\nSELECT city, count(*) FROM stores GROUP BY 1\n\n\
         query\nSELECT id FROM stores ORDER BY id\nreference\nSELECT id FROM stores ORDER BY id\n\n\
         query error 42703 nothing\nSELECT nothing FROM stores\n",
    )?;
    let sides =
        Sides { ours: login(&ours)?, reference: login(&reference)?, variant: "x".to_owned(), asks_references: false };
    assert_no_failures(&[run_file(&script, &sides).await?]);

    PrivatePostgres::run_sql(
        &ours,
        "UPDATE stores SET city = 'oslo' WHERE id = 1; ALTER TABLE stores ADD nothing int",
    )?;
    let report = run_file(&script, &sides).await?;
    let found: Vec<(usize, &str)> = report.failures.iter().map(|failure| (failure.line, failure.way)).collect();
    let expected = [
        (1, "simple protocol"),
        (1, "psql"),
        (1, "extended protocol"),
        (11, "simple protocol"),
        (11, "extended protocol"),
    ];
    assert_eq!(found, expected, "{report}");
    assert_eq!(
        report.failures[0].message,
        "rows: ours 7, reference 6\n  - \"Oslo\" | \"3\"\n  + \"Oslo\" | \"2\"\n  + \"oslo\" | \"1\"\n"
    );
    Ok(())
}

#[tokio::test]
async fn mariadb_holds_the_same_rows_as_the_files() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let url = servers.mariadb_database()?;
    for table in read_tables()?.iter().filter(|table| IN_MARIADB.contains(&table.name.as_str())) {
        let count = PrivateMariaDb::run_sql(&url, &format!("SELECT COUNT(*) FROM {}", table.name))?;
        assert_eq!(count.trim(), table.rows.len().to_string(), "{}", table.name);
    }
    let names = "SELECT HEX(name), margin, sku, active, added_at FROM products WHERE id IN (1, 6, 9, 11) ORDER BY id";
    assert_eq!(
        PrivateMariaDb::run_sql(&url, names)?,
        "4170706C65\t1234567890123456789012345678.0123456789\t9007199254740992\t1\t2023-01-01 00:00:00.000000\n\
         5065617220\t12.5000000000\t4000000000\t0\t1969-12-31 23:59:59.999999\n\
         433A5C74656D705C6E6577\t33.3333333333\t-9\t0\t2023-01-01 00:00:00.000000\n\
         F09F8D90\t1234567890123456789012345678.0123456789\t0\t1\t2023-03-26 01:00:00.000000\n"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "the program does not serve yet"]
async fn the_shop_over_its_files_gives_the_rows_of_plain_sql() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    run_variant(&servers, &Variant::Files).await
}

#[tokio::test]
#[ignore = "the program does not serve yet"]
async fn the_shop_over_one_postgresql_gives_the_rows_of_plain_sql() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let url = servers.source_database()?;
    run_variant(&servers, &Variant::Postgres { url }).await
}

#[tokio::test]
#[ignore = "the program does not serve yet"]
async fn the_shop_split_over_two_servers_gives_the_rows_of_plain_sql() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let split = Variant::Split { postgres_url: servers.source_database()?, mariadb_url: servers.mariadb_database()? };
    run_variant(&servers, &split).await
}

async fn run_variant(servers: &Servers, variant: &Variant) -> Result<(), AnyError> {
    let folder = TempDir::new()?;
    let port = free_port()?;
    let config = write_variant(variant, port, folder.path())?;
    let server = Belvedere::start(&config, port)?;
    let reference = servers.reference_database()?;
    let sides = Sides { ours: server.login(), reference, variant: variant.name().to_owned(), asks_references: false };
    let reports = run_files(&script_files()?, &sides).await?;
    assert_no_failures(&reports);
    assert_all_ran(&reports);
    Ok(())
}

/// The private servers of the run; each database on them is fresh.
struct Servers {
    postgres: PrivatePostgres,
    mariadb: PrivateMariaDb,
}

impl Servers {
    fn start() -> Result<Self, AnyError> {
        Ok(Self { postgres: PrivatePostgres::shared()?, mariadb: PrivateMariaDb::shared()? })
    }

    /// The tables where the references run: strings by code point, upper and lower case of all of Unicode.
    fn reference_database(&self) -> Result<Config, AnyError> {
        login(&self.by_code_point(&read_tables()?)?)
    }

    fn by_code_point(&self, tables: &[Table]) -> Result<String, AnyError> {
        let url = self.postgres.fresh_database_by_code_point()?;
        load(&url, &postgres_script(tables), PrivatePostgres::run_file)?;
        Ok(url)
    }

    /// PostgreSQL as a source: its collation is a language's.
    fn source_database(&self) -> Result<String, AnyError> {
        let url = self.postgres.fresh_database()?;
        load(&url, &postgres_script(&read_tables()?), PrivatePostgres::run_file)?;
        Ok(url)
    }

    fn mariadb_database(&self) -> Result<String, AnyError> {
        let url = self.mariadb.fresh_database()?;
        let mut tables = read_tables()?;
        tables.retain(|table| IN_MARIADB.contains(&table.name.as_str()));
        load(&url, &mariadb_script(&tables), PrivateMariaDb::run_file)?;
        Ok(url)
    }
}

fn load<E: std::error::Error + Send + Sync + 'static>(
    url: &str,
    script: &str,
    run: impl Fn(&str, &Path) -> Result<String, E>,
) -> Result<(), AnyError> {
    let file = tempfile::Builder::new().suffix(".sql").tempfile()?;
    std::fs::write(file.path(), script)?;
    run(url, file.path())?;
    Ok(())
}

fn login(url: &str) -> Result<Config, AnyError> {
    Ok(url.parse()?)
}

/// All `.slt` files below `tests/slt`, in order of their names; with `SLT=dates` in the environment, those whose names contain it.
fn script_files() -> Result<Vec<PathBuf>, AnyError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "slt"));
    if let Ok(wanted) = std::env::var("SLT") {
        files.retain(|file| file.file_stem().is_some_and(|name| name.to_string_lossy().contains(&wanted)));
    }
    files.sort();
    Ok(files)
}

async fn run_files(files: &[PathBuf], sides: &Sides) -> Result<Vec<Report>, AnyError> {
    let mut reports = Vec::new();
    for file in files {
        reports.push(run_file(file, sides).await?);
    }
    Ok(reports)
}

/// Prints every report and fails where one has failures.
fn assert_no_failures(reports: &[Report]) {
    let failing: Vec<String> =
        reports.iter().filter(|report| !report.failures.is_empty()).map(ToString::to_string).collect();
    let statements: usize = reports.iter().map(|report| report.statements).sum();
    let failures: usize = reports.iter().map(|report| report.failures.len()).sum();
    assert!(failing.is_empty(), "{}\n\n{statements} statements, {failures} failures", failing.join("\n\n"));
}

/// Fails where the suite has lost statements, unless a part of it was asked for.
fn assert_all_ran(reports: &[Report]) {
    let statements: usize = reports.iter().map(|report| report.statements).sum();
    assert!(statements >= STATEMENTS_MIN || std::env::var("SLT").is_ok(), "only {statements} statements");
}
