//! What a client's socket has room for: a socket flows in, how much it takes for sure flows out once it takes anything. Asked before
//! each lot of a large answer, so that no more is fetched than leaves at once.

use super::relay::{RelayError, within};
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Waits until the socket has room, and tells how many bytes it takes for sure.
///
/// # Errors
/// It broke, or took nothing for as long as `stall`.
pub(crate) async fn room(to: &TcpStream, stall: Option<Duration>) -> Result<u64, RelayError> {
    loop {
        let ready = to.try_io(Interest::WRITABLE, || {
            let mut polled = [PollFd::new(to, PollFlags::OUT)];
            match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
                0 => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        match ready {
            Ok(()) => return Ok(free(to)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => writable(to, stall).await?,
            Err(error) => return Err(RelayError::Sink(error)),
        }
    }
}

/// Waits until the socket may take something.
pub(super) async fn writable(to: &TcpStream, stall: Option<Duration>) -> Result<(), RelayError> {
    match within(stall, to.writable()).await {
        Ok(ready) => ready.map_err(RelayError::Sink),
        Err(stall) => Err(RelayError::Stalled(stall)),
    }
}

/// What was sent and of which it is not known that it came, as the kernel counts it.
pub(crate) fn unacknowledged(socket: &TcpStream) -> u32 {
    let [_, _, _, _, _, queued, _, _, _] = getsockopt(socket, MemoryInfo).unwrap_or_default();
    queued
}

/// What the kernel would queue, less a quarter for what it counts beside the bytes themselves.
fn free(to: &TcpStream) -> u64 {
    let [.., buffer, _, queued, _, _, _] = getsockopt(to, MemoryInfo).unwrap_or_default();
    (u64::from(buffer.saturating_sub(queued)) / 4 * 3).max(ROOM_LEAST)
}

sockopt_impl!(
    /// What a socket's buffers hold and may hold (`SO_MEMINFO`; the order is that of `linux/sock_diag.h`: received, receive buffer,
    /// sent, send buffer, reserved, queued, options, backlog, drops).
    MemoryInfo,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    [u32; 9]
);

/// What a socket that is ready takes, however small its buffer.
const ROOM_LEAST: u64 = 4 * 1024;
