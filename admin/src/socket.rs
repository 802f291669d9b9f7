//! The admin pages on a Unix socket, and the probe that asks there: a path flows in, a listening socket or the answer of the
//! process behind one flows out. Each process has a path of its own, so that of two on one node each can be asked apart.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixListener;

/// Binds the socket; one that an earlier process of the same place has left is replaced.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process runs.
    Live,
    /// Whether it takes clients.
    Ready,
}

impl Probe {
    /// Asks the process whose admin pages are at `socket`.
    ///
    /// # Errors
    /// [`ProbeFailure`] where it does not answer, or says no.
    pub fn ask(self, socket: &Path) -> Result<(), ProbeFailure> {
        let failed = |source| ProbeFailure::Unreachable { socket: socket.to_owned(), source };
        let answer = self.exchange(socket).map_err(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.starts_with("HTTP/1.1 200 ") {
            return Ok(());
        }
        let said = if body.is_empty() { head } else { body };
        Err(ProbeFailure::Refused(said.trim().to_owned()))
    }

    fn exchange(self, socket: &Path) -> io::Result<String> {
        let path = match self {
            Self::Live => "/healthz",
            Self::Ready => "/healthz/ready",
        };
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PROBE_TIME))?;
        stream.set_write_timeout(Some(PROBE_TIME))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES).read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// Why a probe fails.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    /// Nobody answers there.
    #[error("{} cannot be asked: {source}", socket.display())]
    Unreachable {
        /// Where it was asked.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process says no.
    #[error("{0}")]
    Refused(String),
}

/// For each step of a probe.
const PROBE_TIME: Duration = Duration::from_secs(4);
/// Bytes of an answer that are read.
const ANSWER_BYTES: u64 = 16 * 1024;
