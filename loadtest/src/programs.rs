//! Starts the real programs: a path and arguments in, a running process out whose log goes to a file. Called by the demo and by
//! tests. A program ends with its value; one that ended by itself is told with the tail of its log.

use crate::lab::Place;
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// A program to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// For messages and the log's file name, such as `proxy-n1`.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Environment variables to add.
    pub environment: Vec<(String, String)>,
    /// Where it runs.
    pub place: Place,
}

/// A program that was started. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: String,
    log: PathBuf,
    child: Child,
    place: Place,
}

/// Where the binary `name` of this workspace is: in `NEARSIDE_BIN_DIR` if that is set, else beside the running executable.
///
/// # Errors
/// When it is not there, with the command that builds it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let directory = match std::env::var_os(DIRECTORY) {
        Some(directory) => PathBuf::from(directory),
        None => {
            let own = std::env::current_exe().context("cannot tell where the running executable is")?;
            let parent = own.parent().map(Path::to_path_buf).unwrap_or_default();
            // Tests live one level deeper, in `deps`.
            if parent.ends_with("deps") { parent.parent().map(Path::to_path_buf).unwrap_or_default() } else { parent }
        }
    };
    let path = directory.join(name);
    if !path.is_file() {
        bail!("{} does not exist: build it with `cargo build -p {name}`, or set {DIRECTORY}", path.display());
    }
    Ok(path)
}

impl Launch {
    /// The binary `name` of this workspace at `place`.
    ///
    /// # Errors
    /// See [`binary`].
    pub fn new(binary_name: &str, name: &str, place: &Place, arguments: &[&str]) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            path: binary(binary_name)?,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            // Whoever looks at the programs of the lab is at another place of its network.
            environment: vec![("NEARSIDE_ADMIN_OPEN".to_owned(), "true".to_owned())],
            place: place.clone(),
        })
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts it; its output is appended to `NAME.log` in `directory`.
    ///
    /// # Errors
    /// When the log cannot be written or the program not be started.
    pub fn start(self, directory: &Path) -> Result<Program> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let log = directory.join(format!("{}.log", self.name));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::from(self.place.command(&self.path));
        command
            .args(&self.arguments)
            // The caller's own settings and kubeconfig are not the program's.
            .env_clear()
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Ctrl-C in a terminal is for the lab, which then ends its programs in order.
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("{}: cannot start {}", self.name, self.path.display()))?;
        Ok(Program { name: self.name, log, child, place: self.place })
    }
}

impl Program {
    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last `lines` lines of its log.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// With its exit status and the tail of its log.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}; the end of {}:\n{}", self.name, self.log.display(), self.tail(TAIL));
        }
        Ok(())
    }

    /// Waits until `GET path` at its admin address answers 200.
    ///
    /// # Errors
    /// When it ended, or did not become ready within `patience`.
    pub async fn ready(&mut self, admin: SocketAddr, path: &str, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            self.check()?;
            if let Ok(Ok((200, _))) = timeout(POLL_PATIENCE, get(&self.place, admin, path)).await {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} is not ready (http://{admin}{path}) after {patience:?}; the end of {}:\n{}",
                    self.name,
                    self.log.display(),
                    self.tail(TAIL)
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When it does not end within `patience`; then it is killed.
    pub async fn terminate(mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        match timeout(patience, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "{} did not end within {patience:?} of SIGTERM; the end of its log:\n{}",
                self.name,
                self.tail(TAIL)
            ),
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub async fn ended(&mut self, patience: Duration) -> Result<ExitStatus> {
        match timeout(patience, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} still runs after {patience:?}; the end of its log:\n{}", self.name, self.tail(TAIL)),
        }
    }

    /// Sends SIGKILL and waits for the end: no goodbye to anyone.
    pub async fn kill(mut self) {
        self.kill_group();
        let _ = self.child.wait().await;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // Gone already is what every signal sent here wants in the end.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it with the processes that it has started: those of nginx outlive their master.
    fn kill_group(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// A plain GET of a small page: status and body.
///
/// # Errors
/// When there is no HTTP answer.
pub async fn get(place: &Place, address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let stream = place.tcp_socket(address.ip())?.connect(address).await?;
    exchange(stream, &address.to_string(), path).await
}

/// The same at a Unix socket.
///
/// # Errors
/// When there is no HTTP answer.
pub async fn get_at_socket(socket: &Path, path: &str) -> Result<(u16, String)> {
    exchange(tokio::net::UnixStream::connect(socket).await?, "localhost", path).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, path: &str) -> Result<(u16, String)> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
    Ok((status, body.to_owned()))
}

const DIRECTORY: &str = "NEARSIDE_BIN_DIR";
const TAIL: usize = 20;
const POLL: Duration = Duration::from_millis(50);
const POLL_PATIENCE: Duration = Duration::from_secs(2);
