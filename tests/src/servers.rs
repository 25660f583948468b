//! PostgreSQL and MariaDB with the shop's tables, and `belvedere` over a small config and model of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

use crate::AnyError;
use crate::server::{Belvedere, free_port};
use crate::shop::{IN_MARIADB, Table, mariadb_script, postgres_script, read_tables};

/// The private servers of the run; each database on them is fresh.
pub struct Servers {
    pub postgres: PrivatePostgres,
    pub mariadb: PrivateMariaDb,
}

impl Servers {
    pub fn start() -> Result<Self, AnyError> {
        Ok(Self { postgres: PrivatePostgres::shared()?, mariadb: PrivateMariaDb::shared()? })
    }

    /// The tables where the references run: strings by code point, upper and lower case of all of Unicode.
    pub fn reference_database(&self) -> Result<Config, AnyError> {
        login(&self.by_code_point(&read_tables()?)?)
    }

    pub fn by_code_point(&self, tables: &[Table]) -> Result<String, AnyError> {
        let url = self.postgres.fresh_database_by_code_point()?;
        load(&url, &postgres_script(tables), PrivatePostgres::run_file)?;
        Ok(url)
    }

    /// PostgreSQL as a source: its collation is a language's.
    pub fn source_database(&self) -> Result<String, AnyError> {
        let url = self.postgres.fresh_database()?;
        load(&url, &postgres_script(&read_tables()?), PrivatePostgres::run_file)?;
        Ok(url)
    }

    pub fn mariadb_database(&self) -> Result<String, AnyError> {
        let url = self.mariadb.fresh_database()?;
        let mut tables = read_tables()?;
        tables.retain(|table| IN_MARIADB.contains(&table.name.as_str()));
        load(&url, &mariadb_script(&tables), PrivateMariaDb::run_file)?;
        Ok(url)
    }
}

pub fn load<E: std::error::Error + Send + Sync + 'static>(
    url: &str,
    script: &str,
    run: impl Fn(&str, &Path) -> Result<String, E>,
) -> Result<(), AnyError> {
    let file = tempfile::Builder::new().suffix(".sql").tempfile()?;
    std::fs::write(file.path(), script)?;
    run(url, file.path())?;
    Ok(())
}

pub fn login(url: &str) -> Result<Config, AnyError> {
    Ok(url.parse()?)
}

/// A server over a config and one model file that a test wrote.
#[derive(Debug)]
pub struct Site {
    /// Dropped before the folder, so that nothing is read from a folder that is gone.
    pub server: Belvedere,
    pub http_port: u16,
    pub folder: TempDir,
}

impl Site {
    /// Starts over `model` (the text of a YAML file) and `data_sources` (lines of YAML flow maps: `name: { type: …, url: … }`);
    /// `more` is further config.
    ///
    /// # Errors
    /// [`Belvedere::start`]'s.
    pub fn start(data_sources: &[String], more: &str, model: &str) -> Result<Self, AnyError> {
        Self::start_after(data_sources, more, model, |_| Ok(()))
    }

    /// The same; `before` is done with the config file before the program listens.
    ///
    /// # Errors
    /// [`Belvedere::start`]'s, and those of `before`.
    pub fn start_after(
        data_sources: &[String],
        more: &str,
        model: &str,
        before: impl FnOnce(&Path) -> Result<(), AnyError>,
    ) -> Result<Self, AnyError> {
        let folder = TempDir::new()?;
        let (port, http_port) = (free_port()?, free_port()?);
        fs::create_dir(folder.path().join("models"))?;
        fs::write(folder.path().join("models/model.yml"), model)?;
        let sources: String = data_sources.iter().map(|line| format!("  {line}\n")).collect();
        let config = format!(
            "listen: 127.0.0.1:{port}\nhttp: 127.0.0.1:{http_port}\nmodels: models\n{more}\ndata_sources:\n{sources}"
        );
        let path = folder.path().join("belvedere.yaml");
        fs::write(&path, config)?;
        before(&path)?;
        Ok(Self { server: Belvedere::start(&path, port)?, http_port, folder })
    }

    pub fn model_file(&self) -> PathBuf {
        self.folder.path().join("models/model.yml")
    }

    pub async fn connect(&self) -> Result<Client, AnyError> {
        connect(&self.server.login()).await
    }
}

/// `name: { type: …, url: … }`, a line for [`Site::start`].
pub fn source(name: &str, url: &str) -> String {
    let kind = if url.starts_with("mysql") { "mysql" } else { "postgres" };
    format!("{name}: {{ type: {kind}, url: {url:?} }}")
}

/// Logs in; the connection runs beside the test and ends with the client.
pub async fn connect(login: &Config) -> Result<Client, AnyError> {
    let (client, connection) = login.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The SQLSTATE and message of a statement that must fail.
pub fn refusal<T>(outcome: Result<T, tokio_postgres::Error>) -> Result<(String, String), AnyError> {
    let Err(error) = outcome else { return Err("the statement did not fail".into()) };
    let refused = error.as_db_error().ok_or_else(|| format!("not an answer of the server: {error:?}"))?;
    Ok((refused.code().code().to_owned(), refused.message().to_owned()))
}

/// Compares with `tests/golden/NAME`; with `UPDATE_GOLDEN=1` in the environment the file is rewritten instead.
pub fn assert_golden(name: &str, actual: &str) -> Result<(), AnyError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
        fs::create_dir_all(path.parent().ok_or("a golden file has a folder")?)?;
        fs::write(&path, actual)?;
        return Ok(());
    }
    let expected = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let first = expected.lines().zip(actual.lines()).position(|(expected, actual)| expected != actual);
    let line = first.unwrap_or_else(|| expected.lines().count().min(actual.lines().count())) + 1;
    assert!(
        expected == actual,
        "{} differs from line {line} on (UPDATE_GOLDEN=1 rewrites it)\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    );
    Ok(())
}

/// What psql prints on both streams, as the user `tester`, who has no password.
pub async fn psql(login: &Config, arguments: &[&str]) -> Result<String, AnyError> {
    psql_as(login, "tester", "", arguments).await
}

/// As [`psql`], as another user.
pub async fn psql_as(login: &Config, user: &str, password: &str, arguments: &[&str]) -> Result<String, AnyError> {
    let port = login.get_ports().first().ok_or("no port")?.to_string();
    let output = tokio::process::Command::new("psql")
        .args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", user, "-d", "shop"])
        .args(arguments)
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "10")
        .env("PAGER", "")
        .env("LC_ALL", "C.UTF-8")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    Ok(format!("{}{}", String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

/// A GET of one of the program's own pages: the status and the body.
pub async fn http_get(port: u16, path: &str) -> Result<(u16, String), AnyError> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
    let status = head.split(' ').nth(1).ok_or("an answer without a status")?.parse()?;
    Ok((status, body.to_owned()))
}
