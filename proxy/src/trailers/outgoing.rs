//! Trailers that go out: what Pingora writes flows in, and flows out with the trailer fields after the last chunk, where they are
//! known by then. The rest of the bytes is passed on as it is, and nothing is held back.

use super::Section;
use super::framing::Framing;
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// One message that may end with trailers.
#[derive(Debug)]
pub(crate) struct Outgoing {
    framing: Framing,
    fields: Arc<Section>,
    /// Fields that are to be written before anything else.
    due: Bytes,
}

impl Outgoing {
    /// A request, from the first byte of its header on.
    pub(super) fn of_request(fields: Arc<Section>) -> Self {
        Self { framing: Framing::of_request(), fields, due: Bytes::new() }
    }

    /// A response, from the first byte of its header on.
    pub(super) fn of_response(fields: Arc<Section>) -> Self {
        Self { framing: Framing::of_response(), fields, due: Bytes::new() }
    }

    /// Writes to a stream, as [`AsyncWrite::poll_write`].
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: Pin<&mut (impl AsyncWrite + ?Sized)>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_due(cx, stream.as_mut()))?;
        // Without trailers the last chunk need not be taken apart.
        let end = if self.fields.get().is_some() { self.framing.next_end(bytes)? } else { bytes.len() };
        let written = ready!(stream.poll_write(cx, &bytes[..end]))?;
        self.advance(&bytes[..written])?;
        Poll::Ready(Ok(written))
    }

    /// Writes to a stream, as [`AsyncWrite::poll_write_vectored`].
    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: Pin<&mut (impl AsyncWrite + ?Sized)>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.framing.goes_on(parts)? {
            let first = parts.iter().find(|part| !part.is_empty());
            return self.poll_write(cx, stream, first.map_or(&[], |part| part));
        }
        ready!(self.poll_due(cx, stream.as_mut()))?;
        let written = ready!(stream.poll_write_vectored(cx, parts))?;
        let mut left = written;
        for part in parts {
            let taken = left.min(part.len());
            self.advance(&part[..taken])?;
            left -= taken;
        }
        Poll::Ready(Ok(written))
    }

    /// Writes what is due, which is done before a stream is flushed or shut down.
    pub(crate) fn poll_due(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: Pin<&mut (impl AsyncWrite + ?Sized)>,
    ) -> Poll<io::Result<()>> {
        while !self.due.is_empty() {
            let written = ready!(stream.as_mut().poll_write(cx, &self.due))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.due.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = self.framing.advance(bytes)?;
        if self.framing.is_at_trailers() {
            self.framing.leave_trailers();
            // The empty line that ends the section was written already where more than the line of the last chunk was.
            if taken == bytes.len() {
                self.due = self.fields.get().cloned().unwrap_or_default();
            }
        }
        Ok(())
    }
}
