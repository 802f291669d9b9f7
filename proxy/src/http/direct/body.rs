//! The body of an answer, read of a pod without Pingora: what came with the header and what is still in the socket flow in, data flows
//! out, part by part; or what is left, to be read in another way. Made by `small`; one of the few modules that name Pingora types.

use super::answer_head::BodyEnd;
use super::exchange::PodBody;
use super::pod::PodSocket;
use super::small::USUAL_ANSWER;
use crate::chunked::{Chunked, Decoded};
use crate::splice::{Coding, Unmeasured};
use bytes::{Buf, Bytes, BytesMut};
// As Pingora's reader counts: a limit of a millisecond is not the same on one way as on another otherwise.
use pingora::time::timeout;
use pingora::{Error, ErrorType, Result};
use std::ops::Range;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// A body.
#[derive(Debug)]
pub(super) struct Body {
    pod: Box<PodSocket>,
    patience: Duration,
    /// What was read last.
    read: BytesMut,
    /// How much of that was given out or is no data.
    spent: usize,
    /// What is read at once.
    part: usize,
    left: Left,
    serves_on: bool,
}

/// What is still to come from the socket.
#[derive(Debug)]
enum Left {
    /// So many bytes.
    Length(usize),
    /// All until it ends.
    Coded(Coding),
    /// Nothing: the connection has ended.
    Ended,
}

/// The rest of a body of unknown length.
pub(super) struct Rest {
    /// The connection.
    pub(super) pod: Box<PodSocket>,
    /// What is to be read of it.
    pub(super) body: Unmeasured,
    /// How long the pod may be silent.
    pub(super) silence: Duration,
    /// Whether the connection can serve on after that.
    pub(super) serves_on: bool,
}

impl Body {
    /// Of an answer whose header was read, together with bytes of the body.
    pub(super) fn new(pod: Box<PodSocket>, patience: Duration, read: BytesMut, end: BodyEnd, serves_on: bool) -> Self {
        let (left, part) = match end {
            BodyEnd::Length(length) => (Left::Length(length.saturating_sub(read.len())), PART),
            BodyEnd::LastChunk => (Left::Coded(Coding::Chunked(Chunked::START)), USUAL_ANSWER),
            BodyEnd::Connection => (Left::Coded(Coding::UntilEnd), USUAL_ANSWER),
        };
        if !matches!(left, Left::Length(0)) {
            pod.acknowledge();
        }
        let serves_on = serves_on && end != BodyEnd::Connection;
        Self { pod, patience, read, spent: 0, part, left, serves_on }
    }

    /// Whether the pod did not say how long it is.
    pub(super) fn is_unmeasured(&self) -> bool {
        matches!(self.left, Left::Coded(_))
    }

    /// The connection, where it can serve on after the body.
    pub(super) fn into_kept(mut self) -> Option<Box<PodSocket>> {
        // Whoever says more than the answer is not asked again.
        (self.serves_on && self.is_done() && self.is_spent()).then_some(self.pod)
    }

    /// What is left after the parts that were given out; nothing of a body whose length is known.
    pub(super) fn into_rest(mut self) -> Option<Rest> {
        let Left::Coded(coding) = self.left else { return None };
        let early = if self.is_spent() { Bytes::new() } else { self.read.split_off(self.spent).freeze() };
        let body = Unmeasured { early, coding };
        Some(Rest { pod: self.pod, body, silence: self.patience, serves_on: self.serves_on })
    }

    /// Takes the next data out of what was read. `None` is none.
    fn take(&mut self) -> Result<Option<Range<usize>>> {
        if self.is_spent() {
            self.read.clear();
        } else {
            self.read.advance(self.spent);
        }
        self.spent = 0;
        let decoded = match &mut self.left {
            Left::Coded(Coding::Chunked(coding)) => coding
                .decode(&mut self.read)
                .map_err(|malformed| Error::because(ErrorType::ReadError, "reading a body", malformed).into_up())?,
            Left::Length(_) | Left::Coded(Coding::UntilEnd) | Left::Ended => {
                Decoded { data: 0..self.read.len(), taken: self.read.len() }
            }
        };
        self.spent = decoded.taken;
        Ok(Some(decoded.data).filter(|data| !data.is_empty()))
    }

    /// The next data, read first where there is none yet. `None` after the last.
    async fn next_data(&mut self) -> Result<Option<Range<usize>>> {
        loop {
            if let Some(data) = self.take()? {
                return Ok(Some(data));
            }
            if self.is_done() {
                return Ok(None);
            }
            self.read().await?;
        }
    }

    /// Reads more, of which there is some.
    async fn read(&mut self) -> Result<()> {
        // Not more than was announced: what comes beyond it is no part of it.
        let part = match self.left {
            Left::Length(left) => left.min(self.part),
            Left::Coded(_) | Left::Ended => self.part,
        };
        self.read.reserve(part);
        let mut pod = (&mut *self.pod).take(part as u64);
        let read = timeout(self.patience, pod.read_buf(&mut self.read)).await;
        let fault = |kind, word| Error::explain(kind, word).into_up();
        let count = match read.map_err(|_| fault(ErrorType::ReadTimedout, "reading a body"))? {
            Ok(count) => count,
            Err(error) => return Err(Error::because(ErrorType::ReadError, "reading a body", error).into_up()),
        };
        match &mut self.left {
            Left::Coded(Coding::UntilEnd) if count == 0 => self.left = Left::Ended,
            _ if count == 0 => return Err(fault(ErrorType::ConnectionClosed, "a body ends before its end")),
            Left::Length(left) => *left -= count,
            Left::Coded(_) | Left::Ended => {}
        }
        // What is small at first may be an event of many, which are awaited without much memory.
        self.part = if count == part { PART } else { self.part };
        Ok(())
    }
}

impl PodBody for Body {
    fn is_done(&mut self) -> bool {
        match &self.left {
            Left::Length(left) => *left == 0 && self.is_spent(),
            Left::Coded(Coding::Chunked(coding)) => coding.is_over(),
            Left::Coded(Coding::UntilEnd) => false,
            Left::Ended => self.is_spent(),
        }
    }

    fn is_spent(&self) -> bool {
        self.spent == self.read.len()
    }

    async fn next(&mut self) -> Result<Option<&[u8]>> {
        Ok(self.next_data().await?.map(|data| &self.read[data]))
    }

    async fn next_kept(&mut self) -> Result<Option<Bytes>> {
        let Some(data) = self.next_data().await? else { return Ok(None) };
        let read = self.read.split_to(self.spent).freeze();
        self.spent = 0;
        Ok(Some(read.slice(data)))
    }
}

/// What is read of a body at a time.
const PART: usize = 64 * 1024;
