//! A PostgreSQL server for tests, in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ServerError;
use crate::keeper::{Kept, Recipe, find_program, fresh_name, run};

/// A private PostgreSQL. Superuser `postgres`, password `postgres` (SCRAM-SHA-256), loopback only, nothing is synced to disk.
///
/// The default collation is ICU's `en-US`, on purpose not by code point: an `ORDER BY` that forgets `COLLATE "C"` shows.
#[derive(Debug)]
pub struct PrivatePostgres {
    kept: Kept,
}

impl PrivatePostgres {
    /// Starts a server of its own; it stops when the value is dropped.
    ///
    /// # Errors
    /// [`ServerError::NotInstalled`] says which package is missing; the other errors carry the server's own words.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(&[])
    }

    /// As [`PrivatePostgres::start`], with settings such as `max_connections=5`.
    ///
    /// # Errors
    /// See [`PrivatePostgres::start`].
    pub fn start_with(settings: &[&str]) -> Result<Self, ServerError> {
        let settings = settings.iter().map(ToString::to_string).collect();
        Ok(Self { kept: Kept::start(&PostgresRecipe { settings, tls: None })? })
    }

    /// As [`PrivatePostgres::start`], with TLS offered under the given PEM files.
    ///
    /// # Errors
    /// See [`PrivatePostgres::start`]; also when the files cannot be read.
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Result<Self, ServerError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| ServerError::Io {
                attempted: "read",
                path: path.to_path_buf(),
                source,
            })
        };
        let tls = Some((read(certificate)?, read(key)?));
        Ok(Self { kept: Kept::start(&PostgresRecipe { settings: vec!["ssl=on".to_owned()], tls })? })
    }

    /// Takes the server that all tests share; the first of them starts it.
    ///
    /// # Errors
    /// See [`PrivatePostgres::start`].
    pub fn shared() -> Result<Self, ServerError> {
        Ok(Self { kept: Kept::shared(&PostgresRecipe { settings: Vec::new(), tls: None })? })
    }

    /// Creates an empty database that no other test uses and gives its URL.
    ///
    /// # Errors
    /// What psql says.
    pub fn fresh_database(&self) -> Result<String, ServerError> {
        self.create_database("")
    }

    /// As [`PrivatePostgres::fresh_database`], with collation `C`: for reference queries that do not name a collation.
    ///
    /// # Errors
    /// What psql says.
    pub fn fresh_database_by_code_point(&self) -> Result<String, ServerError> {
        self.create_database("LOCALE_PROVIDER libc LC_COLLATE 'C'")
    }

    fn create_database(&self, options: &str) -> Result<String, ServerError> {
        let name = fresh_name();
        Self::run_sql(&self.url("postgres"), &format!("CREATE DATABASE {name} TEMPLATE template0 {options}"))?;
        Ok(self.url(&name))
    }

    /// The URL of one of the server's databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres:postgres@127.0.0.1:{}/{database}", self.port())
    }

    pub fn port(&self) -> u16 {
        self.kept.port()
    }

    /// The id of the postmaster.
    pub fn process_id(&self) -> Option<u32> {
        self.kept.process_id()
    }

    pub fn log(&self) -> String {
        self.kept.log()
    }

    /// Runs a script of statements through psql, which stops at the first error; gives what it printed, unaligned.
    ///
    /// # Errors
    /// What psql says.
    pub fn run_sql(url: &str, script: &str) -> Result<String, ServerError> {
        run(Command::new(find_program("psql", "postgresql", bin_folders())?)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", script])
            .env("PGOPTIONS", "-c client_min_messages=warning"))
    }

    /// As [`PrivatePostgres::run_sql`] for a file, of any length.
    ///
    /// # Errors
    /// What psql says.
    pub fn run_file(url: &str, file: &Path) -> Result<String, ServerError> {
        run(Command::new(find_program("psql", "postgresql", bin_folders())?)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-f"])
            .arg(file)
            .env("PGOPTIONS", "-c client_min_messages=warning"))
    }
}

/// initdb takes the password from a file only; the shell gives it one without leaving it behind. The server takes a key only
/// from a file of its own user.
const INITIALIZE: &str = r#"
umask 077
echo postgres >password && "$@" --pwfile=password
status=$?
rm -f password
if [ -n "${SERVER_KEY:-}" ]; then
    printf '%s' "$SERVER_CERTIFICATE" >data/server.crt
    printf '%s' "$SERVER_KEY" >data/server.key
fi
exit $status
"#;

struct PostgresRecipe {
    /// `name=value`, as on the server's command line.
    settings: Vec<String>,
    /// Certificate and key, in PEM.
    tls: Option<(String, String)>,
}

impl Recipe for PostgresRecipe {
    const NAME: &'static str = "postgres";
    const USERS: &'static [&'static str] = &["postgres", "nobody"];
    /// Fast shutdown: open transactions are rolled back.
    const STOP_SIGNAL: &'static str = "INT";

    fn initialize(&self, data: &Path) -> Result<Command, ServerError> {
        let initdb = find_program("initdb", "postgresql", bin_folders())?;
        let mut command = Command::new("sh");
        command.args(["-c", INITIALIZE, "sh"]);
        if let Some((certificate, key)) = &self.tls {
            command.env("SERVER_CERTIFICATE", certificate).env("SERVER_KEY", key);
        }
        command.arg(initdb).arg("-D").arg(data).args([
            "--no-sync",
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--locale-provider=icu",
            "--icu-locale=en-US",
        ]);
        Ok(command)
    }

    fn serve(&self, folder: &Path, port: u16) -> Result<Command, ServerError> {
        let mut command = Command::new(find_program("postgres", "postgresql", bin_folders())?);
        command.arg("-D").arg(folder.join("data")).arg("-p").arg(port.to_string()).arg("-k").arg(folder);
        let fixed = [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "autovacuum=off",
            "shared_buffers=128MB",
            "max_connections=300",
            "max_wal_size=4GB",
        ];
        for setting in fixed.iter().map(ToString::to_string).chain(self.settings.iter().cloned()) {
            command.arg("-c").arg(setting);
        }
        Ok(command)
    }

    fn answers(&self, port: u16) -> bool {
        let Ok(program) = find_program("pg_isready", "postgresql", bin_folders()) else { return false };
        Command::new(program)
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Debian's folders of server programs, the newest version first.
fn bin_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::time::{Duration, Instant};

    use super::PrivatePostgres;

    #[test]
    fn two_fresh_databases_of_the_shared_server_do_not_see_each_other() -> Result<(), Box<dyn Error>> {
        let server = PrivatePostgres::shared()?;
        let (one, other) = (server.fresh_database()?, server.fresh_database()?);
        PrivatePostgres::run_sql(&one, "CREATE TABLE t (a int); INSERT INTO t VALUES (7)")?;
        assert_eq!(PrivatePostgres::run_sql(&one, "SELECT a FROM t")?, "7\n");
        let failed = PrivatePostgres::run_sql(&other, "SELECT a FROM t").expect_err("t is in the other database");
        assert!(failed.to_string().contains("relation \"t\" does not exist"), "{failed}");
        Ok(())
    }

    #[test]
    fn only_the_database_by_code_point_sorts_capitals_first() -> Result<(), Box<dyn Error>> {
        let server = PrivatePostgres::shared()?;
        let script = "SELECT string_agg(a, '' ORDER BY a) FROM (VALUES ('a'), ('B'), ('c')) t(a)";
        assert_eq!(PrivatePostgres::run_sql(&server.fresh_database()?, script)?, "aBc\n");
        assert_eq!(PrivatePostgres::run_sql(&server.fresh_database_by_code_point()?, script)?, "Bac\n");
        Ok(())
    }

    #[test]
    fn a_server_of_its_own_ends_with_its_value() -> Result<(), Box<dyn Error>> {
        let server = PrivatePostgres::start_with(&["max_connections=7"])?;
        let url = server.url("postgres");
        assert_eq!(PrivatePostgres::run_sql(&url, "SHOW max_connections")?, "7\n");
        let process = server.process_id().expect("the keeper wrote the server's id");
        drop(server);
        let started = Instant::now();
        while std::fs::exists(format!("/proc/{process}"))? {
            assert!(started.elapsed() < Duration::from_secs(10), "the server is still there");
            std::thread::sleep(Duration::from_millis(50));
        }
        PrivatePostgres::run_sql(&url, "SELECT 1").expect_err("the server is gone");
        Ok(())
    }
}
