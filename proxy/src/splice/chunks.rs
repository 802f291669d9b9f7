//! Bodies of unknown length: what a pod sends, in chunks of its own or until its end, flows in; the same data flows out in chunks
//! of one normal form. Called for answers over HTTP/1.1 that turn out to be large.
//!
//! Where much data comes in one piece it goes through a pipe, that of several large chunks as one; small parts are copied, many
//! at a time. What came is passed on before more is awaited, and no more is fetched than the sink has room for.

use super::buffer::Buffer;
use super::pool::PipePool;
use super::relay::RelayError;
use super::room::{room, writable};
use super::sink::Sink;
use super::transfer::{Fetched, Held, Patience, Transfer};
use super::vessel::{Asked, Vessel};
use crate::chunked::{Chunked, Framed, HEADROOM, Malformed, SizeLine, TAILROOM, frame};
use crate::limits::{PIPED_LEAST, TRANSFER_TURN};
use bytes::{Buf, Bytes};
use rustix::net::{SendFlags, send};
use std::io;
use std::ops::Range;
use std::time::Instant;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::yield_now;

/// A body, or what is left of it.
#[derive(Debug)]
pub(crate) struct Unmeasured {
    /// What was read of it already and has not been passed on.
    pub(crate) early: Bytes,
    /// How it goes on after what was passed on.
    pub(crate) coding: Coding,
}

/// How a body ends whose length is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// With its last chunk.
    Chunked(Chunked),
    /// With the connection.
    UntilEnd,
}

/// Passes a body on, and gives the number of bytes that were read beyond it. The sink gets whole chunks, and its last chunk of whoever
/// called, at once: the kernel may wait for it with what comes before. After an error nobody may send it. `moved` hears how much of the
/// data the sink has taken, also where the end is an error.
///
/// # Errors
/// [`RelayError`]; the two sockets are not to be used any more then.
pub(crate) async fn relay_chunks(
    from: &TcpStream,
    to: impl Into<Sink<'_>>,
    body: Unmeasured,
    patience: Patience,
    pipes: &PipePool,
    moved: impl FnMut(u64) + Send,
) -> Result<usize, RelayError> {
    let Unmeasured { early, coding } = body;
    let passing = Passing {
        transfer: Transfer::new(from, to.into(), patience, pipes),
        early,
        coding,
        line: None,
        // A large chunk says that much comes.
        plenty: coding != Coding::UntilEnd,
        unended: false,
        moved,
    };
    passing.run().await
}

struct Passing<'t, M> {
    transfer: Transfer<'t>,
    early: Bytes,
    coding: Coding,
    /// Bytes between the data of the last chunk, which was large, and that of the next one, which is so as well, mostly.
    line: Option<usize>,
    /// There was much in the last lot.
    plenty: bool,
    /// The last chunk for the sink has no end yet, which leaves with what follows.
    unended: bool,
    moved: M,
}

/// What became of a lot.
enum Passed {
    /// So many bytes of data went out.
    Data(u64),
    /// The body is over, and so many bytes followed it.
    Over(usize),
}

impl<M: FnMut(u64) + Send> Passing<'_, M> {
    async fn run(mut self) -> Result<usize, RelayError> {
        let mut turn = 0;
        loop {
            if !self.is_readable() {
                if std::mem::take(&mut self.unended) {
                    self.say(b"\r\n", false).await?;
                }
                self.transfer.uncork();
                self.transfer.readable().await?;
            }
            let passed = match self.pass().await {
                Ok(passed) => passed,
                Err(error) => {
                    self.let_go();
                    return Err(error);
                }
            };
            match passed {
                Passed::Data(data) => turn += data,
                Passed::Over(surplus) => {
                    if self.unended {
                        self.say(b"\r\n", true).await?;
                    }
                    return Ok(surplus);
                }
            }
            if turn >= TRANSFER_TURN {
                turn = 0;
                // Sockets that are always ready never wait, and the other tasks of the thread would.
                yield_now().await;
            }
        }
    }

    /// Before an early end: the record that the last chunk is held back in leaves with the end of that chunk. That of the body, by which
    /// a client would take it for whole, never comes.
    fn let_go(&mut self) {
        if self.transfer.sealed && std::mem::take(&mut self.unended) {
            // What finds no room is lost, as is the rest of the body.
            drop(self.try_send(b"\r\n", false));
        }
    }

    /// Passes on what is there.
    async fn pass(&mut self) -> Result<Passed, RelayError> {
        if self.line.is_some() && self.coding.data() == 0 && self.early.is_empty() {
            self.find_next()?;
            if self.coding.is_over() {
                return Ok(Passed::Over(self.early.len()));
            }
            if self.line.is_some() && self.coding.data() == 0 {
                return Ok(Passed::Data(0));
            }
        }
        if self.plenty && self.early.is_empty() && self.coding.data() >= PIPED_LEAST {
            self.pipe().await
        } else {
            self.copy().await
        }
    }

    /// Moves data that is there through a pipe.
    async fn pipe(&mut self) -> Result<Passed, RelayError> {
        let room = room(self.transfer.to, self.transfer.patience.stall).await?;
        let most = self.coding.data().min(room);
        let Held { mut vessel, .. } = match self.transfer.try_fetch(most, Asked::WhenReady)? {
            Fetched::Lot(held) => held,
            Fetched::Nothing => return Ok(Passed::Data(0)),
            Fetched::End => return self.coding.end(),
        };
        self.line = self.line.or_else(|| Some(SizeLine::of(self.coding.data()).bytes().len() + 2));
        self.coding.skip(vessel.held() as u64);
        // What is in the pipe leaves, whatever comes of the rest.
        let gathered = self.gather(&mut vessel, room);
        let held = vessel.held() as u64;
        self.plenty = held >= PIPED_LEAST;
        let more = held >= room.min(vessel.capacity() as u64) || self.coding.is_over();
        let line = SizeLine::of(held);
        let before: &[u8] = if std::mem::take(&mut self.unended) { b"\r\n" } else { b"" };
        self.say(&[before, line.bytes()].concat(), true).await?;
        while vessel.held() > 0 {
            let given = self.transfer.give(&mut vessel, true).await?;
            (self.moved)(given);
        }
        drop(vessel);
        self.unended = true;
        gathered?;
        if !more {
            self.unended = false;
            self.say(b"\r\n", false).await?;
        }
        Ok(if self.coding.is_over() { Passed::Over(self.early.len()) } else { Passed::Data(held) })
    }

    /// Adds the data of the next chunks, as far as it is there and they are large.
    fn gather(&mut self, vessel: &mut Vessel, room: u64) -> Result<(), RelayError> {
        while self.coding.data() == 0 && self.line.is_some() && vessel.is_pipe() {
            self.find_next()?;
            let left = room.saturating_sub(vessel.held() as u64);
            let most = self.coding.data().min(left);
            if most < PIPED_LEAST || !self.early.is_empty() {
                break;
            }
            match vessel.fill(self.transfer.from, usize::try_from(most).unwrap_or(usize::MAX), Asked::Anyway) {
                // The pipe is full, or the source says once more that it has ended.
                Ok(0) => break,
                Ok(taken) => self.coding.skip(taken as u64),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(RelayError::Source(error)),
            }
        }
        Ok(())
    }

    /// Reads the line of the next chunk, if it is there, and no more than that. Where that fails chunks are not looked for any more.
    fn find_next(&mut self) -> Result<(), RelayError> {
        let Coding::Chunked(coding) = &mut self.coding else { return Ok(()) };
        let (mut line, mut length) = ([0; LINE_MOST], 0);
        let mut wanted = self.line.unwrap_or(LINE_LEAST);
        while length + wanted <= LINE_MOST {
            let count = match read(self.transfer.from, &mut line[length..length + wanted]) {
                Ok(0) => return Err(RelayError::Unended),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(RelayError::Source(error)),
            };
            let read = &line[length..length + count];
            let taken = coding.find_data(read).map_err(RelayError::Malformed)?;
            if taken < count || coding.left() > 0 || coding.is_over() {
                self.early = Bytes::copy_from_slice(&read[taken..]);
                self.line = (taken == count).then_some(length + taken);
                return Ok(());
            }
            length += count;
            // No more than is missing in any case.
            wanted = if read.ends_with(b"\r") { 1 } else { 2 };
        }
        self.line = None;
        Ok(())
    }

    /// Copies what is there.
    async fn copy(&mut self) -> Result<Passed, RelayError> {
        self.line = None;
        let early = !self.early.is_empty();
        let room = room(self.transfer.to, self.transfer.patience.stall).await?;
        let mut buffer = Buffer::new();
        let most = usize::try_from(room).unwrap_or(usize::MAX).min(Buffer::worth()) - FRAMING;
        let count = match self.read(&mut buffer.bytes[HEADROOM..HEADROOM + most]) {
            Ok(0) => return self.coding.end(),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Passed::Data(0)),
            Err(error) => return Err(RelayError::Source(error)),
        };
        let framed = self.coding.frame(&mut buffer.bytes[..HEADROOM + count + TAILROOM]);
        let Framed { wire, data, surplus } = framed.map_err(RelayError::Malformed)?;
        let over = self.coding.is_over();
        // What was read before says nothing about how much comes at once.
        self.plenty = count as u64 >= PIPED_LEAST || (early && self.plenty);
        self.send(buffer, wire, self.transfer.may_hold(count == most) || over).await?;
        Ok(if over { Passed::Over(surplus + self.early.len()) } else { Passed::Data(data as u64) })
    }

    /// Whether there may be something, as far as is known without asking.
    fn is_readable(&self) -> bool {
        !self.early.is_empty() || self.transfer.from.try_io(Interest::READABLE, || Ok(())).is_ok()
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.early.is_empty() {
            return read(self.transfer.from, into);
        }
        let count = self.early.len().min(into.len());
        self.early.copy_to_slice(&mut into[..count]);
        if self.early.is_empty() {
            // Nothing that is done with is kept for as long as the sink takes.
            self.early = Bytes::new();
        }
        Ok(count)
    }

    /// Sends whole chunks. What the sink does not take at once, which is little, waits in memory of its own.
    async fn send(&mut self, buffer: Buffer, wire: Range<usize>, more: bool) -> Result<(), RelayError> {
        if std::mem::take(&mut self.unended) {
            self.say(b"\r\n", true).await?;
        }
        let wire = &buffer.bytes[wire];
        let taken = self.try_send(wire, more)?;
        let mut read = Chunked::START;
        self.heard(&mut read, &wire[..taken]);
        let mut rest = Bytes::copy_from_slice(&wire[taken..]);
        drop(buffer);
        if !rest.is_empty() {
            Buffer::refuse(Instant::now());
        }
        while !rest.is_empty() {
            writable(self.transfer.to, self.transfer.patience.stall).await?;
            let taken = self.try_send(&rest, more)?;
            self.heard(&mut read, &rest.split_to(taken));
        }
        Ok(())
    }

    /// Tells how much data there is in what the sink took.
    fn heard(&mut self, read: &mut Chunked, taken: &[u8]) {
        // What was framed here can be read.
        let data = read.count(taken).unwrap_or_default() as u64;
        self.transfer.pipes.counts().copied.inc_by(data);
        (self.moved)(data);
    }

    /// Sends what is no data.
    async fn say(&mut self, mut bytes: &[u8], more: bool) -> Result<(), RelayError> {
        loop {
            bytes = &bytes[self.try_send(bytes, more)?..];
            if bytes.is_empty() {
                return Ok(());
            }
            writable(self.transfer.to, self.transfer.patience.stall).await?;
        }
    }

    /// Sends what the sink takes at once, which may be nothing.
    fn try_send(&mut self, bytes: &[u8], more: bool) -> Result<usize, RelayError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let flags = if more { flags | SendFlags::MORE } else { flags };
        let to = self.transfer.to;
        let sent = to.try_io(Interest::WRITABLE, || Ok(rustix::io::retry_on_intr(|| send(to, bytes, flags))?));
        match sent {
            Ok(taken) => {
                self.transfer.corked = more;
                Ok(taken)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(RelayError::Sink(error)),
        }
    }
}

impl Coding {
    /// How much of what comes next is nothing but data.
    fn data(&self) -> u64 {
        match self {
            Self::Chunked(coding) => coding.left(),
            Self::UntilEnd => u64::MAX,
        }
    }

    /// So much data went out.
    fn skip(&mut self, data: u64) {
        if let Self::Chunked(coding) = self {
            coding.skip(data);
        }
    }

    fn is_over(&self) -> bool {
        matches!(self, Self::Chunked(coding) if coding.is_over())
    }

    /// What it means that the source has ended.
    fn end(&self) -> Result<Passed, RelayError> {
        match self.data() {
            _ if *self == Self::UntilEnd => Ok(Passed::Over(0)),
            0 => Err(RelayError::Unended),
            missing => Err(RelayError::Truncated { missing }),
        }
    }

    fn frame(&mut self, buffer: &mut [u8]) -> Result<Framed, Malformed> {
        match self {
            Self::Chunked(coding) => coding.frame(buffer),
            Self::UntilEnd => Ok(frame(buffer)),
        }
    }
}

fn read(from: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    let mut read = None;
    let tried = from.try_io(Interest::READABLE, || {
        let count = from.try_read(into)?;
        read = Some(count);
        // Less than there is room for means that nothing is left: the kernel need not be asked to say so.
        if count > 0 && count < into.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    });
    read.map_or(tried, Ok)
}

/// The shortest of what stands between the data of two chunks, and the longest that is read by itself.
const LINE_LEAST: usize = 5;
/// See [`LINE_LEAST`].
const LINE_MOST: usize = 64;
/// What framing adds to bytes that were read at once.
const FRAMING: usize = 2 * HEADROOM;
