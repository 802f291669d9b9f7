//! The trailers of a client's connection over HTTP/1: the phases of `http` say which request it is about, the client's stream
//! (`accept::http1_stream`) hands over the bytes that pass by. For requests without trailers it costs one look at a flag.

use super::{Incoming, Outgoing, Trailers};
use crate::chunked::Malformed;
use crate::limits::TRAILED_HEADER_BYTES;
use http::request::Parts;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// What is watched of a connection; both sides of it are in one task.
#[derive(Debug, Default)]
pub(crate) struct TrailerWatch {
    /// Whether the present request has trailers to carry.
    busy: AtomicBool,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    /// What was read while a request header was awaited: the header, and what came with it of the body.
    read: Vec<u8>,
    request: Option<Incoming>,
    response: Option<Outgoing>,
}

impl TrailerWatch {
    /// A part of a request header came in, perhaps with the start of the body.
    pub(crate) fn header_came(&self, bytes: &[u8]) {
        let read = &mut self.watched().read;
        // What is too long for a header has no trailers.
        if read.len() <= TRAILED_HEADER_BYTES {
            read.extend_from_slice(bytes);
        }
    }

    /// A request header is complete: `raw` as it came. Gives the trailers that the request has to do with.
    ///
    /// # Errors
    /// The body that came with the header is malformed.
    pub(crate) fn begin(&self, header: &Parts, raw: &[u8]) -> Result<Option<Arc<Trailers>>, Malformed> {
        let mut watched = self.watched();
        let Watched { read, .. } = std::mem::take(&mut *watched);
        let trailers = Trailers::of(header);
        self.busy.store(trailers.is_some(), Ordering::Relaxed);
        let Some(trailers) = trailers else { return Ok(None) };
        // Otherwise something was left of the request before.
        let body = read.strip_prefix(raw).filter(|_| read.len() <= TRAILED_HEADER_BYTES);
        watched.request = trailers.request_in().filter(|_| body.is_some());
        watched.response = trailers.response_out();
        if let (Some(request), Some(body)) = (&mut watched.request, body) {
            request.read(body)?;
        }
        Ok(Some(Arc::new(trailers)))
    }

    /// The request and its response are over.
    pub(crate) fn end(&self) {
        if self.busy.swap(false, Ordering::Relaxed) {
            *self.watched() = Watched::default();
        }
    }

    /// A part of a request body came in.
    ///
    /// # Errors
    /// The body is malformed.
    pub(crate) fn body_came(&self, bytes: &[u8]) -> io::Result<()> {
        match self.busy().as_deref_mut().and_then(|watched| watched.request.as_mut()) {
            Some(request) => Ok(request.read(bytes)?),
            None => Ok(()),
        }
    }

    /// As [`AsyncWrite::poll_write`].
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        stream: Pin<&mut impl AsyncWrite>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.busy().as_deref_mut().and_then(|watched| watched.response.as_mut()) {
            Some(response) => response.poll_write(cx, stream, bytes),
            None => stream.poll_write(cx, bytes),
        }
    }

    /// As [`AsyncWrite::poll_write_vectored`].
    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        stream: Pin<&mut impl AsyncWrite>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.busy().as_deref_mut().and_then(|watched| watched.response.as_mut()) {
            Some(response) => response.poll_write_vectored(cx, stream, parts),
            None => stream.poll_write_vectored(cx, parts),
        }
    }

    /// To be ready before the stream is flushed or shut down.
    pub(crate) fn poll_due(&self, cx: &mut Context<'_>, stream: Pin<&mut impl AsyncWrite>) -> Poll<io::Result<()>> {
        match self.busy().as_deref_mut().and_then(|watched| watched.response.as_mut()) {
            Some(response) => response.poll_due(cx, stream),
            None => Poll::Ready(Ok(())),
        }
    }

    fn busy(&self) -> Option<MutexGuard<'_, Watched>> {
        self.busy.load(Ordering::Relaxed).then(|| self.watched())
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
