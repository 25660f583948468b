//! A MariaDB server for tests, in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ServerError;
use crate::keeper::{Kept, Recipe, find_program, fresh_name, run};

const USER: &str = "tester";
const PASSWORD: &str = "tester";

/// A private MariaDB. User `tester`, password `tester`, who may do everything; loopback only, nothing is synced to disk.
///
/// The default collation is `utf8mb4_general_ci`, as on many servers: it ignores case, accents and trailing blanks.
#[derive(Debug)]
pub struct PrivateMariaDb {
    kept: Kept,
}

impl PrivateMariaDb {
    /// Starts a server of its own; it stops when the value is dropped.
    ///
    /// # Errors
    /// [`ServerError::NotInstalled`] says which package is missing; the other errors carry the server's own words.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(&[])
    }

    /// As [`PrivateMariaDb::start`], with settings such as `max-connections=5`.
    ///
    /// # Errors
    /// See [`PrivateMariaDb::start`].
    pub fn start_with(settings: &[&str]) -> Result<Self, ServerError> {
        let settings = settings.iter().map(ToString::to_string).collect();
        Ok(Self { kept: Kept::start(&MariaDbRecipe { settings })? })
    }

    /// Takes the server that all tests share; the first of them starts it.
    ///
    /// # Errors
    /// See [`PrivateMariaDb::start`].
    pub fn shared() -> Result<Self, ServerError> {
        Ok(Self { kept: Kept::shared(&MariaDbRecipe { settings: Vec::new() })? })
    }

    /// Creates an empty database that no other test uses and gives its URL.
    ///
    /// # Errors
    /// What the mariadb client says.
    pub fn fresh_database(&self) -> Result<String, ServerError> {
        let name = fresh_name();
        Self::run_sql(&self.url("mysql"), &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// The URL of one of the server's databases.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port())
    }

    pub fn port(&self) -> u16 {
        self.kept.port()
    }

    /// The id of the server's process.
    pub fn process_id(&self) -> Option<u32> {
        self.kept.process_id()
    }

    pub fn log(&self) -> String {
        self.kept.log()
    }

    /// Runs a script of statements through the mariadb client, which stops at the first error; gives what it printed, columns
    /// separated by tabs, without headings.
    ///
    /// # Errors
    /// What the client says.
    pub fn run_sql(url: &str, script: &str) -> Result<String, ServerError> {
        run(client(url)?.args(["--execute", script]))
    }

    /// As [`PrivateMariaDb::run_sql`] for a file, of any length.
    ///
    /// # Errors
    /// What the client says.
    pub fn run_file(url: &str, file: &Path) -> Result<String, ServerError> {
        run(client(url)?.args(["--execute", &format!("source {}", file.display())]))
    }
}

/// The mariadb client on one of our URLs (`fresh_database` made it, so its shape is known).
fn client(url: &str) -> Result<Command, ServerError> {
    let (port, database) = url
        .rsplit_once(':')
        .and_then(|(_, rest)| rest.split_once('/'))
        .expect("the URL is one that PrivateMariaDb gave");
    let mut command = Command::new(find_program("mariadb", "mariadb-client", [])?);
    command.args(["--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"]);
    command.args(["--protocol=tcp", "--host=127.0.0.1", "--port", port, "--user", USER, "--database", database]);
    command.arg(format!("--password={PASSWORD}"));
    Ok(command)
}

struct MariaDbRecipe {
    /// `name=value`, as on the server's command line without the dashes.
    settings: Vec<String>,
}

impl Recipe for MariaDbRecipe {
    const NAME: &'static str = "mariadb";
    const USERS: &'static [&'static str] = &["mysql", "nobody"];
    const STOP_SIGNAL: &'static str = "TERM";

    fn initialize(&self, data: &Path) -> Result<Command, ServerError> {
        let mut command = Command::new(find_program("mariadb-install-db", "mariadb-server", [])?);
        command.arg("--no-defaults").arg(format!("--datadir={}", data.display())).args([
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            "--innodb-flush-method=nosync",
        ]);
        Ok(command)
    }

    fn serve(&self, folder: &Path, port: u16) -> Result<Command, ServerError> {
        let users = folder.join("users.sql");
        let script = format!(
            "CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
        );
        std::fs::write(&users, script).map_err(|source| ServerError::Io {
            attempted: "write",
            path: users.clone(),
            source,
        })?;
        let mut command = Command::new(find_program("mariadbd", "mariadb-server", [PathBuf::from("/usr/sbin")])?);
        command.arg("--no-defaults").arg(format!("--datadir={}", folder.join("data").display()));
        command.arg(format!("--socket={}", folder.join("socket").display())).arg(format!("--port={port}"));
        command.arg(format!("--pid-file={}", folder.join("mariadb.pid").display()));
        command.arg(format!("--init-file={}", users.display()));
        command.args([
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--innodb-flush-method=nosync",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=128M",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_general_ci",
            "--max-connections=300",
        ]);
        command.args(self.settings.iter().map(|setting| format!("--{setting}")));
        Ok(command)
    }

    fn answers(&self, port: u16) -> bool {
        let url = format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{port}/mysql");
        client(&url).is_ok_and(|mut command| {
            command
                .args(["--connect-timeout=2", "--execute", "SELECT 1"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::time::{Duration, Instant};

    use super::PrivateMariaDb;

    #[test]
    fn two_fresh_databases_of_the_shared_server_do_not_see_each_other() -> Result<(), Box<dyn Error>> {
        let server = PrivateMariaDb::shared()?;
        let (one, other) = (server.fresh_database()?, server.fresh_database()?);
        PrivateMariaDb::run_sql(&one, "CREATE TABLE t (a int); INSERT INTO t VALUES (7)")?;
        assert_eq!(PrivateMariaDb::run_sql(&one, "SELECT a FROM t")?, "7\n");
        let failed = PrivateMariaDb::run_sql(&other, "SELECT a FROM t").expect_err("t is in the other database");
        assert!(failed.to_string().contains("doesn't exist"), "{failed}");
        Ok(())
    }

    #[test]
    fn a_server_of_its_own_ends_with_its_value() -> Result<(), Box<dyn Error>> {
        let server = PrivateMariaDb::start_with(&["max-connections=17"])?;
        let url = server.url("mysql");
        assert_eq!(PrivateMariaDb::run_sql(&url, "SELECT @@max_connections")?, "17\n");
        let process = server.process_id().expect("the keeper wrote the server's id");
        drop(server);
        let started = Instant::now();
        while std::fs::exists(format!("/proc/{process}"))? {
            assert!(started.elapsed() < Duration::from_secs(10), "the server is still there");
            std::thread::sleep(Duration::from_millis(50));
        }
        PrivateMariaDb::run_sql(&url, "SELECT 1").expect_err("the server is gone");
        Ok(())
    }
}
