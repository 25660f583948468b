//! The `belvedere` program as a child process, for tests from the outside.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::AnyError;

/// How long a debug build may take until it listens.
const START: Duration = Duration::from_secs(60);

/// A running server; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Belvedere {
    child: Child,
    port: u16,
    /// What it prints, both streams.
    log: PathBuf,
}

impl Belvedere {
    /// Runs `belvedere serve` with a config that listens on `port` of the loopback, and waits until it accepts connections.
    ///
    /// # Errors
    /// A program that is not there, ends, or does not listen in time; the message has what it printed.
    pub fn start(config: &Path, port: u16) -> Result<Self, AnyError> {
        let program = program()?;
        let log = config.with_extension("log");
        let output = File::create(&log)?;
        let child = Command::new(&program)
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let mut server = Self { child, port, log };
        let deadline = Instant::now() + START;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("belvedere ended with {status}:\n{}", server.log()).into());
            }
            if Instant::now() > deadline {
                return Err(format!("belvedere does not listen after {} s:\n{}", START.as_secs(), server.log()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// How to log in; no users are named in the config, so that any name may.
    #[must_use]
    pub fn login(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("tester").dbname("shop");
        config
    }

    /// The id of the process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as a service manager does.
    ///
    /// # Errors
    /// `kill`'s.
    pub fn terminate(&self) -> Result<(), AnyError> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("kill ended with {status}").into()) }
    }

    /// Waits for its end; `None` when it still runs after `patience`.
    ///
    /// # Errors
    /// A child that cannot be waited for.
    pub fn wait_for_end(&mut self, patience: Duration) -> Result<Option<ExitStatus>, AnyError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(Some(status)),
                None if Instant::now() > deadline => return Ok(None),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The memory it has in RAM now, in bytes.
    ///
    /// # Errors
    /// A process that is gone.
    pub fn resident_bytes(&self) -> Result<u64, AnyError> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Belvedere {
    fn drop(&mut self) {
        // A failure here means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end: whether it went well, and what it wrote to standard output and standard error.
///
/// # Errors
/// A program that is not there.
pub fn run_program(arguments: &[&str]) -> Result<(bool, String, String), AnyError> {
    let output = Command::new(program()?).args(arguments).stdin(Stdio::null()).output()?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

/// Runs the program, and kills it (with signal 9) after a while. Whether it was still running.
///
/// # Errors
/// A program that cannot be started or killed.
pub fn kill_program_after(arguments: &[&str], after: Duration) -> Result<bool, AnyError> {
    let mut child = Command::new(program()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(after);
    let was_running = child.try_wait()?.is_none();
    child.kill()?;
    child.wait()?;
    Ok(was_running)
}

/// A loopback port that is free now. Another process may take it before it is used; then the start fails loudly.
///
/// # Errors
/// No free port.
pub fn free_port() -> Result<u16, AnyError> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The program beside this test's own binary (`target/debug/deps/…` → `target/debug/belvedere`).
fn program() -> Result<PathBuf, AnyError> {
    let own = std::env::current_exe()?;
    let program = own.ancestors().nth(2).ok_or("the test binary has no folder")?.join("belvedere");
    if !program.exists() {
        return Err(
            format!("{} is not there: `cargo build -p belvedere` first, as tests/run does", program.display()).into()
        );
    }
    Ok(program)
}
