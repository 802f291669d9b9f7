//! What holds bytes between two sockets: a pipe, or memory where there is none. Bytes of the source flow in, the same bytes flow out
//! to the sink; neither call ever waits. Filled and emptied by `relay` and others, mostly not filled
//! before it is empty.

use super::pool::{Pipe, PipePool};
use crate::limits::TUNNEL_BUFFER;
use bytes::BufMut;
use rustix::net::{SendFlags, send};
use rustix::pipe::{SpliceFlags, splice};
use std::io;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// See the module.
#[derive(Debug)]
pub(super) enum Vessel {
    /// In the kernel.
    Pipe(Pipe),
    /// In memory: what is here, and how much of it the sink has.
    Memory(Vec<u8>, usize),
}

/// Whether a source is asked for bytes that it did not tell of; memory takes what it tells of alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    WhenReady,
    Anyway,
}

impl Vessel {
    /// An empty one.
    fn new(pipes: &PipePool) -> Self {
        pipes.pipe().map_or_else(Self::memory, Self::Pipe)
    }

    /// An empty one that the kernel has no part in.
    fn memory() -> Self {
        Self::Memory(Vec::new(), 0)
    }

    /// One with what the source has, at most so many bytes; `None` where the source has ended. Whoever waits for more holds none.
    /// `unpiped` says that the kernel takes no bytes of such a source into a pipe, and is set where that is found out.
    ///
    /// # Errors
    /// As [`Self::fill`], but for `InvalidInput`.
    pub(super) fn of(
        from: &TcpStream,
        most: usize,
        asked: Asked,
        pipes: &PipePool,
        unpiped: &mut bool,
    ) -> io::Result<Option<Self>> {
        loop {
            let mut vessel = if *unpiped { Self::memory() } else { Self::new(pipes) };
            match vessel.fill(from, most, asked) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(vessel)),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput && !*unpiped => *unpiped = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether it may take more before it is empty.
    pub(super) fn is_pipe(&self) -> bool {
        matches!(self, Self::Pipe(_))
    }

    /// Bytes in it.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Pipe(pipe) => pipe.held,
            Self::Memory(bytes, sent) => bytes.len() - sent,
        }
    }

    /// The most that it takes.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Pipe(pipe) => pipe.capacity(),
            Self::Memory(..) => TUNNEL_BUFFER,
        }
    }

    /// Takes what the source has, at most so many bytes. Memory is to be empty, and a source of more for a pipe that is not is asked
    /// `Anyway`. 0 is the end of the source, or that the pipe is full.
    ///
    /// # Errors
    /// `WouldBlock` where the source has nothing now, and what the kernel says of the source; `InvalidInput` where the kernel cannot
    /// take bytes of such a source into a pipe.
    pub(super) fn fill(&mut self, from: &TcpStream, most: usize, asked: Asked) -> io::Result<usize> {
        let most = most.min(self.capacity() - self.held());
        match self {
            Self::Pipe(pipe) => {
                let entrance = pipe.entrance().ok_or(io::ErrorKind::InvalidInput)?;
                let take = || retried(|| splice(from, None, entrance, None, most, FLAGS));
                let taken = match asked {
                    Asked::WhenReady => from.try_io(Interest::READABLE, take),
                    Asked::Anyway => take(),
                }?;
                pipe.held += taken;
                Ok(taken)
            }
            Self::Memory(bytes, sent) => {
                bytes.clear();
                *sent = 0;
                bytes.reserve_exact(most);
                from.try_read_buf(&mut bytes.limit(most))
            }
        }
    }

    /// Gives the sink what it takes. `more` says that more follows at once.
    ///
    /// # Errors
    /// `WouldBlock` where the sink takes nothing now, and what the kernel says of the sink.
    pub(super) fn empty(&mut self, to: &TcpStream, more: bool) -> io::Result<usize> {
        let held = self.held();
        match self {
            Self::Pipe(pipe) => {
                let flags = if more { FLAGS | SpliceFlags::MORE } else { FLAGS };
                let given = to.try_io(Interest::WRITABLE, || {
                    let exit = pipe.exit().ok_or(io::ErrorKind::InvalidInput)?;
                    retried(|| splice(exit, None, to, None, held, flags))
                })?;
                pipe.held -= given;
                Ok(given)
            }
            Self::Memory(bytes, sent) => {
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                let flags = if more { flags | SendFlags::MORE } else { flags };
                let given = to.try_io(Interest::WRITABLE, || retried(|| send(to, &bytes[*sent..], flags)))?;
                *sent += given;
                Ok(given)
            }
        }
    }
}

fn retried(call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(call)?)
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
