//! A client's connection over HTTP/2 as Pingora sees it, above TLS: bytes pass through it as they are, and past a
//! [`Conduct`], which looks for floods. A client that floods is sent away (GOAWAY), and its connection ended. One of the few modules that
//! name Pingora types.

use super::below::is_as_below;
use crate::deadline::Deadline;
use crate::http2_abuse::{Abuse, Conduct, goaway};
use pingora::protocols::IO;
use prometheus::IntCounterVec;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection over HTTP/2.
#[derive(Debug)]
pub(super) struct Http2Stream<S> {
    below: S,
    began: Instant,
    conduct: Conduct,
    /// For the whole of a header that has begun.
    header_time: Duration,
    header: Deadline,
    counted: IntCounterVec,
    /// What is left to be sent before the connection ends, once it is to.
    farewell: Option<Farewell>,
}

/// The last frame.
#[derive(Debug)]
struct Farewell {
    frame: [u8; 17],
    sent: usize,
}

impl<S: IO> Http2Stream<S> {
    /// On top of the client's stream, before its first byte. What is found is counted by kind.
    pub(super) fn new(below: S, header_time: Duration, counted: IntCounterVec) -> Self {
        Self {
            below,
            began: Instant::now(),
            conduct: Conduct::new(),
            header_time,
            header: Deadline::default(),
            counted,
            farewell: None,
        }
    }

    fn send_away(&mut self, abuse: Abuse) {
        if self.farewell.is_none() {
            self.counted.with_label_values(&[abuse.name()]).inc();
            let frame = goaway(self.conduct.last_stream());
            // Within another frame it would not be understood.
            let sent = if self.conduct.may_send_frame() { 0 } else { frame.len() };
            self.farewell = Some(Farewell { frame, sent });
        }
    }

    /// Sends the last frame; the error ends the connection.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(farewell) = &mut self.farewell {
            while farewell.sent < farewell.frame.len() {
                let left = &farewell.frame[farewell.sent..];
                let written = ready!(Pin::new(&mut self.below).poll_write(cx, left))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                farewell.sent += written;
            }
        }
        ready!(Pin::new(&mut self.below).poll_flush(cx))?;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client floods the connection")))
    }

    /// Notes what was written. Whoever writes reads soon; then the connection ends.
    fn wrote(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        if let Some(abuse) = self.conduct.sent(bytes, self.began.elapsed()) {
            self.send_away(abuse);
            cx.waker().wake_by_ref();
        }
    }
}

impl<S: IO> AsyncRead for Http2Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_some() {
            return this.poll_farewell(cx);
        }
        let before = buf.filled().len();
        let abuse = match Pin::new(&mut this.below).poll_read(cx, buf) {
            Poll::Ready(read) => {
                read?;
                this.conduct.received(&buf.filled()[before..], this.began.elapsed())
            }
            Poll::Pending => {
                ready!(this.header.poll(cx));
                Some(Abuse::SlowHeader)
            }
        };
        match (this.conduct.is_in_header(), this.header.is_set()) {
            (true, false) => this.header.set(this.header_time),
            (false, true) => this.header.clear(),
            _ => {}
        }
        match abuse {
            None => Poll::Ready(Ok(())),
            Some(abuse) => {
                buf.set_filled(before);
                this.send_away(abuse);
                this.poll_farewell(cx)
            }
        }
    }
}

impl<S: IO> AsyncWrite for Http2Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.farewell.is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = ready!(Pin::new(&mut this.below).poll_write(cx, buf))?;
        this.wrote(cx, &buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.farewell.is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = ready!(Pin::new(&mut this.below).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for part in bufs {
            let here = part.len().min(left);
            this.wrote(cx, &part[..here]);
            left -= here;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.below.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_shutdown(cx)
    }
}

is_as_below!(Http2Stream);
