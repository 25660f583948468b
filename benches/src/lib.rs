//! What the benchmarks share: the release program as a child process over a configuration of their own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

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
        let folder = TempDir::new()?;
        fs::create_dir(folder.path().join("models"))?;
        fs::write(folder.path().join("models/model.yml"), model)?;
        let sources: String = data_sources.iter().map(|line| format!("  {line}\n")).collect();
        Self::serve(folder, &format!("models: models\ndata_sources:\n{sources}"))
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
        Self::serve(TempDir::new()?, &config)
    }

    fn serve(folder: TempDir, config: &str) -> Result<Self, AnyError> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config_file = folder.path().join("belvedere.yaml");
        fs::write(&config_file, format!("listen: 127.0.0.1:{port}\n{config}"))?;
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
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
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
