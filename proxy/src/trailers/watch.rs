//! The trailers of a client's connection over HTTP/1: the phases of `http` say which request it is about, the client's stream
//! (`accept::http1_stream`) hands over the bytes that pass by. For requests without trailers it costs one look at a flag.

use super::{Incoming, Outgoing, Trailers};
use http::header::{TRANSFER_ENCODING, UPGRADE};
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
    /// What was read while a request header was awaited.
    read: Vec<u8>,
    request: Option<Incoming>,
    response: Option<Outgoing>,
}

impl TrailerWatch {
    /// A part of a request header came in.
    pub(crate) fn header_came(&self, bytes: &[u8]) {
        self.watched().read.extend_from_slice(bytes);
    }

    /// The request header that came, byte for byte.
    pub(crate) fn take_header(&self) -> Vec<u8> {
        std::mem::take(&mut self.watched().read)
    }

    /// A request header is complete, and nothing has come of what follows it. Gives the trailers that the request has to do with.
    ///
    /// A body in chunks is gone over here in any case: what the parser above takes for one another might not.
    pub(crate) fn begin(&self, header: &Parts) -> Option<Arc<Trailers>> {
        let trailers = Trailers::of(header);
        let chunked = header.headers.contains_key(TRANSFER_ENCODING) && !header.headers.contains_key(UPGRADE);
        self.busy.store(trailers.is_some() || chunked, Ordering::Relaxed);
        if trailers.is_some() || chunked {
            let request = trailers.as_ref().and_then(Trailers::request_in);
            let mut watched = self.watched();
            watched.request = request.or_else(|| chunked.then(Incoming::of_any_body));
            watched.response = trailers.as_ref().and_then(Trailers::response_out);
        }
        trailers.map(Arc::new)
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
