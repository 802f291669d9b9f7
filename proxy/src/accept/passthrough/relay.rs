//! Bytes both ways: two sockets flow in, the number of bytes each way and who failed flow out. Each side may end its half
//! first; silence both ways ends the connection.

use crate::limits::{TUNNEL_BUFFER, TUNNEL_IDLE, WRITE_STALL};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};

/// Bytes that were moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) to_pod: u64,
    pub(super) to_client: u64,
}

/// Why a relay ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RelayError {
    /// Reading from or writing to the client failed.
    #[error("the client's connection failed")]
    Client,
    /// Reading from or writing to the pod failed.
    #[error("the pod's connection failed")]
    Pod,
    /// Nothing came from either side, or one side took nothing.
    #[error("nothing moved")]
    Idle,
}

impl RelayError {
    /// For the access log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Client => "client_failed",
            Self::Pod => "pod_failed",
            Self::Idle => "idle",
        }
    }
}

/// Relays until both sides have ended.
///
/// # Errors
/// [`RelayError`] says which side is at fault; `moved` counts in either case.
pub(super) async fn relay(mut client: TcpStream, mut pod: TcpStream, moved: &mut Moved) -> Result<(), RelayError> {
    let (client_read, client_write) = client.split();
    let (pod_read, pod_write) = pod.split();
    let clock = Clock { start: Instant::now(), last: AtomicU64::new(0) };
    let (mut to_pod, mut to_client) = (0, 0);
    let up = copy(client_read, pod_write, &clock, &mut to_pod);
    let down = copy(pod_read, client_write, &clock, &mut to_client);
    let result =
        tokio::try_join!(async { up.await.map_err(|end| end.blame(RelayError::Client, RelayError::Pod)) }, async {
            down.await.map_err(|end| end.blame(RelayError::Pod, RelayError::Client))
        },);
    moved.to_pod += to_pod;
    moved.to_client += to_client;
    result.map(|_| ())
}

/// When a byte last moved either way, in milliseconds since the start.
struct Clock {
    start: Instant,
    last: AtomicU64,
}

impl Clock {
    fn touch(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        let last = std::time::Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last) >= TUNNEL_IDLE
    }
}

enum End {
    Read,
    Write,
    Idle,
}

impl End {
    fn blame(self, reader: RelayError, writer: RelayError) -> RelayError {
        match self {
            Self::Read => reader,
            Self::Write => writer,
            Self::Idle => RelayError::Idle,
        }
    }
}

async fn copy(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, clock: &Clock, moved: &mut u64) -> Result<(), End> {
    let mut buffer = vec![0; TUNNEL_BUFFER];
    loop {
        let read = match timeout(TUNNEL_IDLE, from.read(&mut buffer)).await {
            Ok(read) => read.map_err(|_| End::Read)?,
            Err(_) if clock.is_idle() => return Err(End::Idle),
            Err(_) => continue,
        };
        if read == 0 {
            // The other side learns that nothing more comes; it may be gone already.
            return to.shutdown().await.or_else(|error| not_connected(&error).then_some(()).ok_or(End::Write));
        }
        clock.touch();
        let mut left = &buffer[..read];
        while !left.is_empty() {
            let written = match timeout(WRITE_STALL, to.write(left)).await {
                Ok(written) => written.map_err(|_| End::Write)?,
                Err(_) => return Err(End::Idle),
            };
            *moved += written as u64;
            left = &left[written..];
        }
    }
}

fn not_connected(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}
