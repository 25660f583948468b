//! What the benchmarks share: the release program as a child process over a configuration of their own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

const CONFIG: &str = "belvedere.yaml";

/// A `belvedere serve`; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Served {
    child: Child,
    port: u16,
    /// The config, its models and what the program prints.
    _folder: TempDir,
}

impl Served {
    /// Serves `model` (the text of a YAML file) over `data_sources` (lines of YAML flow maps, `name: { type: …, … }`).
    ///
    /// # Errors
    /// A program that is not built, ends, or does not listen within a minute; the message has what it printed.
    pub fn start(data_sources: &[String], model: &str) -> Result<Self, AnyError> {
        Self::over(Self::folder(data_sources, model)?)
    }

    /// A folder with the configuration and the model of [`Served::start`]; rollups are kept in it, and built by nobody.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub fn folder(data_sources: &[String], model: &str) -> Result<TempDir, AnyError> {
        let folder = TempDir::new()?;
        fs::create_dir(folder.path().join("models"))?;
        fs::write(folder.path().join("models/model.yml"), model)?;
        let sources: String = data_sources.iter().map(|line| format!("  {line}\n")).collect();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = format!(
            "listen: 127.0.0.1:{port}\nmodels: models\nrefresh: {{ enabled: false }}\ndata_sources:\n{sources}"
        );
        fs::write(folder.path().join(CONFIG), config)?;
        Ok(folder)
    }

    /// Builds all rollups of such a folder; the most memory that it took, in bytes, as looked at every 20 ms.
    ///
    /// # Errors
    /// A build that fails, with what it said.
    pub fn build(folder: &Path) -> Result<u64, AnyError> {
        let log = folder.join("build.log");
        let output = File::create(&log)?;
        let mut child = Command::new(program()?)
            .args(["build", "--config"])
            .arg(folder.join(CONFIG))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut peak = 0;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            peak = peak.max(peak_bytes(child.id()).unwrap_or_default());
            std::thread::sleep(Duration::from_millis(20));
        };
        if status.success() { Ok(peak) } else { Err(fs::read_to_string(&log)?.into()) }
    }

    /// Serves what a folder says.
    ///
    /// # Errors
    /// As [`Served::start`].
    pub fn over(folder: TempDir) -> Result<Self, AnyError> {
        let config = fs::read_to_string(folder.path().join(CONFIG))?;
        let listen = config.lines().find_map(|line| line.strip_prefix("listen: 127.0.0.1:"));
        let port = listen.ok_or("the config does not say where to listen")?.parse()?;
        Self::serve(folder, port)
    }

    /// Serves the sample shop from its files.
    ///
    /// # Errors
    /// As [`Served::start`].
    pub fn shop() -> Result<Self, AnyError> {
        let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shop").canonicalize()?;
        let config = fs::read_to_string(shop.join("belvedere.yaml"))?
            .lines()
            .filter(|line| !line.starts_with("listen:"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
            .replace("[cubes, views]", &format!("[{0}/cubes, {0}/views]", shop.display()))
            .replace("path: data/", &format!("path: {}/data/", shop.display()));
        let folder = TempDir::new()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        fs::write(folder.path().join(CONFIG), format!("listen: 127.0.0.1:{port}\n{config}"))?;
        Self::serve(folder, port)
    }

    fn serve(folder: TempDir, port: u16) -> Result<Self, AnyError> {
        let config_file = folder.path().join(CONFIG);
        let log = folder.path().join("belvedere.log");
        let output = File::create(&log)?;
        let program = program()?;
        let child = Command::new(&program)
            .args(["serve", "--config"])
            .arg(&config_file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let mut served = Self { child, port, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = served.child.try_wait()? {
                return Err(format!("belvedere ended with {status}:\n{}", said()).into());
            }
            if Instant::now() > deadline {
                return Err(format!("belvedere does not listen after a minute:\n{}", said()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(served)
    }

    /// As psql and tokio-postgres take it; no users are configured, so any name may log in.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://bench@127.0.0.1:{}/bench", self.port)
    }

    /// The most memory that the process ever had in RAM, in bytes.
    ///
    /// # Errors
    /// A process that is gone, a system without `/proc`.
    pub fn peak_bytes(&self) -> Result<u64, AnyError> {
        peak_bytes(self.child.id())
    }
}

fn peak_bytes(process: u32) -> Result<u64, AnyError> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// How long a client runs whose output nobody reads.
///
/// # Errors
/// One that cannot be started, or that fails.
pub fn timed(client: &mut Command) -> Result<Duration, AnyError> {
    let begin = Instant::now();
    let status = client.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(begin.elapsed()) } else { Err(format!("the client ended with {status}").into()) }
}

/// MariaDB's client over a URL of the test kit, one statement, rows as they come.
///
/// # Errors
/// Another kind of URL.
pub fn mariadb_client(url: &str, sql: &str) -> Result<Command, AnyError> {
    let rest = url.strip_prefix("mysql://").ok_or("the test kit gives mysql:// URLs")?;
    let (login, place) = rest.split_once('@').ok_or("a URL without a login")?;
    let (user, password) = login.split_once(':').ok_or("a login without a password")?;
    let (address, database) = place.split_once('/').ok_or("a URL without a database")?;
    let (host, port) = address.split_once(':').ok_or("a URL without a port")?;
    let mut command = Command::new("mariadb");
    command
        .args(["--no-defaults", "--batch", "--quick", "--protocol=tcp", "--host", host, "--port", port])
        .args(["--user", user, &format!("--password={password}"), "--database", database])
        .args(["--execute", sql]);
    Ok(command)
}

impl Drop for Served {
    fn drop(&mut self) {
        // A failure here means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Logs in at a PostgreSQL or a Belvedere; the connection runs beside the caller and ends with the client.
///
/// # Errors
/// The driver's.
pub async fn connect(url: &str) -> Result<Client, AnyError> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The release program of the same target folder: `release/compare` and `release/deps/wire-…` find `release/belvedere`.
fn program() -> Result<PathBuf, AnyError> {
    let own = std::env::current_exe()?;
    own.ancestors().skip(1).take(2).map(|folder| folder.join("belvedere")).find(|program| program.is_file()).ok_or_else(
        || "the program is not built: `cargo build --release -p belvedere` first, with the same target folder".into(),
    )
}
