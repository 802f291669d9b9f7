//! A client's connection over HTTP/1 as Pingora sees it, above TLS: bytes pass through it as they are, and past the
//! connection's [`TrailerWatch`](crate::trailers::TrailerWatch), which takes trailers out and puts trailers in. One of the few
//! modules that name Pingora types.
//!
//! Requests are kept apart here: Pingora gets no byte after a header until something of its request is awaited, and none after a request
//! that is complete until the next one is. So requests that are sent without waiting for answers (pipelining, RFC 9112 §9.3.2) are
//! served one after another.
//!
//! While the connection's [`Hold`](crate::connection::Hold) is on, small writes wait for what follows: a header and a short body leave in
//! one packet and one TLS record. They leave with a write that is too large to wait, with the flush after the hold, and at the
//! latest when anything is awaited of the client.

use super::below::is_as_below;
use super::client_stream::ClientStream;
use super::tls_stream::TlsStream;
use crate::connection::{Awaited, Connection};
use crate::edge::{Exceeded, Limit};
use crate::limits::{HELD_BYTES, REQUEST_HEAD_BYTES, REQUEST_HEAD_LINES};
use crate::splice::Sink;
use pingora::protocols::{IO, Stream};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection over HTTP/1.
#[derive(Debug)]
pub(super) struct Http1Stream<S> {
    below: S,
    connection: Arc<Connection>,
    /// Written, and not sent yet.
    held: Vec<u8>,
    /// Read, and not awaited yet. Locked only because Pingora lends its streams out shared.
    early: Mutex<Vec<u8>>,
    /// How much of the end of a header was seen last.
    ending: usize,
    head: Head,
    exceeded: Exceeded,
}

/// What came of a request line and header.
#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    lines: usize,
    /// Something else than empty lines came (RFC 9112 §2.2).
    begun: bool,
    /// What comes until the next request is no part of one: the rest of a body that nobody wants.
    complete: bool,
}

/// The socket of a client over HTTP/1 without TLS, where everything that was written is on its way.
pub(crate) fn plain_socket(stream: &Stream) -> Option<&TcpStream> {
    let stream = (**stream).as_any().downcast_ref::<Http1Stream<ClientStream>>()?;
    stream.held.is_empty().then(|| stream.below.socket())
}

/// What a client without TLS has sent after the header of its request, while nothing of it was awaited; it is nobody else's then.
pub(crate) fn take_early(stream: &Stream) -> Vec<u8> {
    let stream = (**stream).as_any().downcast_ref::<Http1Stream<ClientStream>>();
    let early = stream.map(|stream| stream.early.lock().unwrap_or_else(PoisonError::into_inner));
    early.map(|mut early| std::mem::take(&mut *early)).unwrap_or_default()
}

/// Where an answer goes as it is: the socket of a client over HTTP/1 without TLS, or with that of the kernel, where everything that was
/// written is on its way.
pub(crate) fn sink(stream: &Stream) -> Option<Sink<'_>> {
    let sealed = || {
        let stream = (**stream).as_any().downcast_ref::<Http1Stream<TlsStream>>()?;
        (stream.held.is_empty() && stream.below.is_sealed()).then(|| Sink::sealed(stream.below.socket()))
    };
    plain_socket(stream).map(Sink::from).or_else(sealed)
}

/// Whether the kernel could encrypt for a client, and does not yet.
pub(crate) fn is_sealable(stream: &Stream) -> bool {
    (**stream).as_any().downcast_ref::<Http1Stream<TlsStream>>().is_some_and(|stream| stream.below.is_sealable())
}

/// The socket below a client's TLS, to learn what it has room for.
pub(crate) fn secured_socket(stream: &Stream) -> Option<&TcpStream> {
    let stream = (**stream).as_any().downcast_ref::<Http1Stream<TlsStream>>()?;
    Some(stream.below.socket())
}

/// Whether something that was encrypted for a client waits for room in its socket.
pub(crate) fn has_unsent_records(stream: &Stream) -> bool {
    (**stream).as_any().downcast_ref::<Http1Stream<TlsStream>>().is_some_and(|stream| stream.below.has_unsent())
}

impl<S: IO> Http1Stream<S> {
    /// On top of the client's stream.
    pub(super) fn new(below: S, connection: Arc<Connection>, exceeded: Exceeded) -> Self {
        let (early, head) = (Mutex::default(), Head::default());
        Self { below, connection, held: Vec::new(), early, ending: 0, head, exceeded }
    }

    fn early(&mut self) -> &mut Vec<u8> {
        self.early.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self, more: usize) -> bool {
        self.connection.hold.is_on() && self.held.len() + more <= HELD_BYTES
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let below = Pin::new(&mut self.below);
            let written = ready!(self.connection.trailers.poll_write(cx, below, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.left(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Gives what came too early.
    fn take_early(&mut self, buf: &mut ReadBuf<'_>, awaited: Awaited) {
        let early = self.early();
        let count = early.len().min(buf.remaining());
        buf.put_slice(&early[..count]);
        if count == early.len() {
            *early = Vec::new();
        } else {
            early.drain(..count);
        }
        if awaited == Awaited::NextRequest {
            self.connection.arrival.begin();
            self.connection.header.set(Awaited::Header);
        }
    }

    /// Tells the client that its header is too large, and reads no more of it.
    fn refuse_head(&mut self, cx: &mut Context<'_>) -> io::Error {
        self.exceeded.count(Limit::HeaderSize);
        // What finds no room finds no reader either.
        let _ = Pin::new(&mut self.below).poll_write(cx, HEADER_TOO_LARGE);
        let _ = Pin::new(&mut self.below).poll_flush(cx);
        io::Error::new(io::ErrorKind::InvalidData, "the request header is too large")
    }

    /// So many bytes are sent.
    fn left(&mut self, bytes: usize) {
        if bytes == self.held.len() {
            // An idle connection holds no buffer.
            self.held = Vec::new();
        } else {
            self.held.drain(..bytes);
        }
    }
}

impl<S: IO> AsyncRead for Http1Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.held.is_empty() {
            this.connection.hold.end();
            if let Poll::Ready(sent) = this.poll_held(cx) {
                sent?;
            }
        }
        let (before, awaited) = (buf.filled().len(), this.connection.header.awaited());
        if awaited == Awaited::Nothing && !this.early().is_empty() {
            // Whoever wants to know whether the client is there is told that it is. What TLS has not sent yet goes out meanwhile.
            if let Poll::Ready(sent) = Pin::new(&mut this.below).poll_flush(cx) {
                sent?;
            }
            return Poll::Pending;
        }
        if this.early().is_empty() {
            ready!(Pin::new(&mut this.below).poll_read(cx, buf))?;
        } else {
            this.take_early(buf, awaited);
        }
        match awaited {
            Awaited::Nothing if buf.filled().len() > before => {
                this.early().extend_from_slice(&buf.filled()[before..]);
                buf.set_filled(before);
                return Poll::Pending;
            }
            Awaited::Nothing => {}
            Awaited::Header | Awaited::NextRequest => {
                if awaited == Awaited::NextRequest {
                    (this.ending, this.head) = (0, Head::default());
                }
                let read = &buf.filled()[before..];
                let of_header = !this.head.complete;
                let end = end_of_header(&mut this.ending, read);
                if this.head.came(&read[..end.unwrap_or(read.len())], end.is_some()) {
                    return Poll::Ready(Err(this.refuse_head(cx)));
                }
                if let Some(end) = end {
                    // What could not be taken before comes after it.
                    this.early().splice(..0, read[end..].iter().copied());
                    buf.set_filled(before + end);
                }
                if of_header {
                    this.connection.trailers.header_came(&buf.filled()[before..]);
                }
            }
            Awaited::Other => {
                this.ending = 0;
                this.connection.trailers.body_came(&buf.filled()[before..])?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: IO> AsyncWrite for Http1Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.holds(buf.len()) {
            this.held.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        while !this.held.is_empty() && this.below.is_write_vectored() {
            let parts = [IoSlice::new(&this.held), IoSlice::new(buf)];
            let below = Pin::new(&mut this.below);
            let written = ready!(this.connection.trailers.poll_write_vectored(cx, below, &parts))?;
            let of_held = written.min(this.held.len());
            this.left(of_held);
            if written > of_held {
                return Poll::Ready(Ok(written - of_held));
            }
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        ready!(this.poll_held(cx))?;
        this.connection.trailers.poll_write(cx, Pin::new(&mut this.below), buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let bytes = bufs.iter().map(|part| part.len()).sum();
        if this.holds(bytes) {
            bufs.iter().for_each(|part| this.held.extend_from_slice(part));
            return Poll::Ready(Ok(bytes));
        }
        ready!(this.poll_held(cx))?;
        this.connection.trailers.poll_write_vectored(cx, Pin::new(&mut this.below), bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.below.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.connection.hold.is_on() {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_held(cx))?;
        ready!(this.connection.trailers.poll_due(cx, Pin::new(&mut this.below)))?;
        Pin::new(&mut this.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_held(cx))?;
        ready!(this.connection.trailers.poll_due(cx, Pin::new(&mut this.below)))?;
        Pin::new(&mut this.below).poll_shutdown(cx)
    }
}

is_as_below!(Http1Stream);

impl Head {
    /// More of it came, and it is `complete` with that or not. Whether that is too much.
    fn came(&mut self, bytes: &[u8], complete: bool) -> bool {
        if self.complete {
            return false;
        }
        self.bytes += bytes.len();
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        self.begun |= bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        self.complete = complete && self.begun;
        self.bytes > REQUEST_HEAD_BYTES || self.lines > REQUEST_HEAD_LINES
    }
}

/// RFC 6585 §5.
const HEADER_TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Where the header ends that `bytes` are the next part of. `seen` is how much of its end came just before.
pub(super) fn end_of_header(seen: &mut usize, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        if *seen == 0 {
            at += bytes.get(at..)?.iter().position(|byte| *byte == b'\r')?;
        }
        *seen = match bytes.get(at)? {
            b'\r' if *seen == 2 => 3,
            b'\r' => 1,
            b'\n' if *seen == 1 || *seen == 3 => *seen + 1,
            _ => 0,
        };
        at += 1;
        if *seen == 4 {
            *seen = 0;
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However a header is cut into parts, it ends where its empty line does.
        #[test]
        fn a_header_ends_after_its_empty_line_in_whatever_parts_it_comes(
            text in "[\r\na]{0,40}",
            cuts in proptest::collection::vec(0_usize..40, 0..5),
        ) {
            let expected = text.find("\r\n\r\n").map(|at| at + 4);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let mut seen = 0;
            let found = cuts.windows(2).find_map(|cut| {
                Some(cut[0] + end_of_header(&mut seen, &text.as_bytes()[cut[0]..cut[1]])?)
            });
            prop_assert_eq!(found, expected);
        }
    }
}
