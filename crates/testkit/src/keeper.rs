//! Starts a server in a temporary folder and lets a small shell process keep it: the keeper stops the server, by its id, as soon
//! as no test holds it any more, however the tests ended.
//!
//! A test holds a server by a shared lock on the file `in_use`, which the kernel drops with the process. So a killed test leaves
//! nothing behind, and processes that nextest starts one after the other find the server of the first.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::ServerError;

/// How long a shared server outlives the last test that held it: the pause between two test binaries, not much more.
const SHARED_IDLE_SECONDS: u32 = 20;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Waits until nobody holds the server, then ends it. The lock `starting` keeps a test from taking a server that is about to end.
const KEEPER: &str = r#"
folder=$1; idle=$2; signal=$3; shift 3
"$@" >"$folder/log" 2>&1 </dev/null &
server=$!
echo "$server" >"$folder/pid"
exec 9>>"$folder/starting"
while kill -0 "$server" 2>/dev/null; do
    flock -x "$folder/in_use" true
    sleep "$idle"
    flock -x 9
    if flock -n -x "$folder/in_use" true; then rm -f "$folder/address"; break; fi
    flock -u 9
done
rm -f "$folder/address"
kill -s "$signal" "$server" 2>/dev/null
wait "$server"
rm -rf "$folder/data"
"#;

/// The ordinary user that a server runs as: the first that exists when we are root, ourselves otherwise.
#[derive(Debug, Clone, Copy)]
struct RunAs {
    ids: Option<(u32, u32)>,
}

/// What differs between the servers.
pub(crate) trait Recipe {
    const NAME: &'static str;
    const USERS: &'static [&'static str];
    /// The signal that makes the server stop now and in order.
    const STOP_SIGNAL: &'static str;

    /// Creates the data folder `data` (which does not exist yet).
    fn initialize(&self, data: &Path) -> Result<Command, ServerError>;

    /// The server itself, in the foreground.
    fn serve(&self, folder: &Path, port: u16) -> Result<Command, ServerError>;

    /// Whether the server on `port` answers a statement.
    fn answers(&self, port: u16) -> bool;
}

/// A running server and our hold on it.
#[derive(Debug)]
pub(crate) struct Kept {
    port: u16,
    folder: PathBuf,
    /// Our hold. Closed before `keeper` is waited for.
    in_use: Option<File>,
    /// Only for a server of our own; a shared one may outlive us.
    own: Option<(Child, TempDir)>,
}

impl Kept {
    /// Starts a server that nobody else uses; it ends when the value is dropped.
    pub(crate) fn start(recipe: &impl Recipe) -> Result<Self, ServerError> {
        let folder = tempfile::Builder::new().prefix("belvedere-").tempdir().map_err(|source| ServerError::Io {
            attempted: "create a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let (keeper, port, in_use) = launch(recipe, folder.path(), 0)?;
        Ok(Self { port, folder: folder.path().to_path_buf(), in_use: Some(in_use), own: Some((keeper, folder)) })
    }

    /// Takes the server that all tests of this working tree share, and starts it where none runs.
    pub(crate) fn shared<R: Recipe>(recipe: &R) -> Result<Self, ServerError> {
        let folder = std::env::temp_dir().join(format!(
            "belvedere-shared-{}-{:016x}",
            R::NAME,
            fingerprint(&format!("{} {}", env!("CARGO_MANIFEST_DIR"), effective_user()?))
        ));
        std::fs::create_dir_all(&folder)
            .and_then(|()| give_to(run_as(R::USERS).map_err(io::Error::other)?, &folder))
            .map_err(|source| ServerError::Io { attempted: "create", path: folder.clone(), source })?;
        let starting = open_lock(&folder.join("starting"))?;
        starting.lock().map_err(|source| ServerError::Io {
            attempted: "lock",
            path: folder.join("starting"),
            source,
        })?;
        if let Some(port) = std::fs::read_to_string(folder.join("address")).ok().and_then(|port| port.parse().ok())
            && TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(2))
                .is_ok()
        {
            let in_use = hold(&folder)?;
            return Ok(Self { port, folder, in_use: Some(in_use), own: None });
        }
        let _ = std::fs::remove_dir_all(folder.join("data"));
        let (_, port, in_use) = launch(recipe, &folder, SHARED_IDLE_SECONDS)?;
        let address = folder.join("address");
        std::fs::write(&address, port.to_string()).map_err(|source| ServerError::Io {
            attempted: "write",
            path: address,
            source,
        })?;
        Ok(Self { port, folder, in_use: Some(in_use), own: None })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The id of the server's process, for tests that stop or kill it.
    pub(crate) fn process_id(&self) -> Option<u32> {
        std::fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()
    }

    /// What the server wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.in_use = None;
        if let Some((mut keeper, _folder)) = self.own.take() {
            // The keeper ends with its server; its own status says nothing more.
            let _ = keeper.wait();
        }
    }
}

/// Initializes the data folder and starts the server under a keeper; gives the keeper, the port and our hold.
fn launch<R: Recipe>(recipe: &R, folder: &Path, idle_seconds: u32) -> Result<(Child, u16, File), ServerError> {
    let user = run_as(R::USERS)?;
    give_to(user, folder).map_err(|source| ServerError::Io {
        attempted: "change the owner of",
        path: folder.to_path_buf(),
        source,
    })?;
    let data = folder.join("data");
    run(as_user(&mut recipe.initialize(&data)?, user).current_dir(folder))?;
    for name in ["in_use", "starting"] {
        let path = folder.join(name);
        open_lock(&path)?;
        give_to(user, &path).map_err(|source| ServerError::Io { attempted: "change the owner of", path, source })?;
    }
    // Held before the keeper looks for the first time.
    let in_use = hold(folder)?;

    let port = free_port().map_err(|source| ServerError::Io {
        attempted: "find a free port for",
        path: folder.to_path_buf(),
        source,
    })?;
    let server = recipe.serve(folder, port)?;
    let mut keeper = Command::new("sh");
    keeper.arg("-c").arg(KEEPER).arg("keeper").arg(folder).arg(idle_seconds.to_string()).arg(R::STOP_SIGNAL);
    keeper.arg(server.get_program()).args(server.get_args());
    // A group of its own and no handle of ours: neither Ctrl-C in the terminal nor a test runner that waits for the end of a
    // test's output sees the keeper.
    keeper.current_dir(folder).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut keeper = as_user(&mut keeper, user).spawn().map_err(|source| ServerError::Io {
        attempted: "start a server in",
        path: folder.to_path_buf(),
        source,
    })?;

    let started = Instant::now();
    while !recipe.answers(port) {
        let ended = keeper.try_wait().ok().flatten().is_some();
        if ended || started.elapsed() > READY_WITHIN {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            return Err(ServerError::NotReady { waited: started.elapsed(), log });
        }
        sleep(Duration::from_millis(50));
    }
    Ok((keeper, port, in_use))
}

/// Runs `command` to its end.
///
/// # Errors
/// [`ServerError::CommandFailed`] with what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String, ServerError> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ServerError::CommandFailed { command: shown.clone(), output: source.to_string() })?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let output = format!("{}{printed}", String::from_utf8_lossy(&output.stderr));
    Err(ServerError::CommandFailed { command: shown, output })
}

/// The first of `places` that holds `program`.
pub(crate) fn find_program(
    program: &'static str,
    package: &'static str,
    places: impl IntoIterator<Item = PathBuf>,
) -> Result<PathBuf, ServerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    places
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|place| place.join(program))
        .find(|file| file.is_file())
        .ok_or(ServerError::NotInstalled { program, package })
}

/// A name that no other test uses: process, clock and a counter.
pub(crate) fn fresh_name() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let nanoseconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.subsec_nanos());
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("test_{}_{nanoseconds}_{next}", std::process::id())
}

fn hold(folder: &Path) -> Result<File, ServerError> {
    let path = folder.join("in_use");
    let file = open_lock(&path)?;
    file.lock_shared().map_err(|source| ServerError::Io { attempted: "lock", path, source })?;
    Ok(file)
}

fn open_lock(path: &Path) -> Result<File, ServerError> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|source| ServerError::Io {
        attempted: "open",
        path: path.to_path_buf(),
        source,
    })
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn effective_user() -> Result<u32, ServerError> {
    let path = Path::new("/proc/self");
    std::fs::metadata(path).map(|found| found.uid()).map_err(|source| ServerError::Io {
        attempted: "read",
        path: path.to_path_buf(),
        source,
    })
}

fn run_as(users: &'static [&'static str]) -> Result<RunAs, ServerError> {
    if effective_user()? != 0 {
        return Ok(RunAs { ids: None });
    }
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = users.iter().find_map(|user| {
        known.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields.as_slice() {
                [name, _, uid, gid, ..] if name == user => Some((uid.parse().ok()?, gid.parse().ok()?)),
                _ => None,
            }
        })
    });
    ids.map(|ids| RunAs { ids: Some(ids) }).ok_or(ServerError::NoOrdinaryUser { users })
}

fn as_user(command: &mut Command, user: RunAs) -> &mut Command {
    if let Some((uid, gid)) = user.ids {
        command.uid(uid).gid(gid);
    }
    command
}

fn give_to(user: RunAs, path: &Path) -> io::Result<()> {
    match user.ids {
        Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// FNV-1a; only a folder's name depends on it.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
