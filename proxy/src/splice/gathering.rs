//! Fewer and larger lots: how far a transfer is flows in, and the socket of its source is told how much must be there before whoever
//! waits for it is woken. Used by `relay`, for as long as much is still to come; nothing waits longer than [`GATHERING_TIME`] here.

use crate::limits::{GATHERED, GATHERING_LEAST, GATHERING_TIME};
use nix::libc;
use nix::sys::socket::SetSockOpt as _;
use nix::{setsockopt_impl, sockopt_impl};
use std::time::Duration;
use tokio::net::TcpStream;

/// What one source gathers.
#[derive(Debug)]
pub(super) struct Gathering<'t> {
    source: &'t TcpStream,
    /// The source wakes nobody before so much is there.
    on: bool,
    /// The kernel does not know how.
    refused: bool,
}

impl<'t> Gathering<'t> {
    /// Of a source that wakes its reader with the first byte.
    pub(super) fn new(source: &'t TcpStream) -> Self {
        Self { source, on: false, refused: false }
    }

    /// Goes on or off, when the last lot was of `lot` bytes, all of them together of `moved`, and `left` are still to come.
    pub(super) fn settle(&mut self, lot: u64, moved: u64, left: u64) {
        if left < 2 * GATHERED {
            // Never more than what comes.
            self.stop();
        } else if !self.on && !self.refused && moved >= GATHERED && lot >= GATHERING_LEAST {
            self.refused = LowWater.set(self.source, &(GATHERED as usize)).is_err();
            self.on = !self.refused;
        }
    }

    /// From now on the first byte counts.
    pub(super) fn stop(&mut self) {
        if std::mem::take(&mut self.on) {
            // Fails only on a socket that is gone already, and then the next read says so.
            let _gone = LowWater.set(self.source, &1);
        }
    }

    /// How long to wait before what is there is taken, however little it is.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.on.then_some(GATHERING_TIME)
    }
}

sockopt_impl!(
    /// Bytes that must be there before a socket counts as readable (`SO_RCVLOWAT`); its receive buffer grows to hold twice as many.
    LowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    usize
);
