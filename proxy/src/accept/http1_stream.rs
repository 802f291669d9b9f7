//! A client's connection over HTTP/1 as Pingora sees it, above TLS: bytes pass through it as they are, and past the
//! connection's [`TrailerWatch`](crate::trailers::TrailerWatch), which takes trailers out and puts trailers in. One of the few
//! modules that name Pingora types.
//!
//! While the connection's [`Hold`](crate::connection::Hold) is on, small writes wait for what follows: a header and a short body leave in
//! one packet and one TLS record. They leave with a write that is too large to wait, with the flush after the hold, and at the
//! latest when anything is awaited of the client.

use super::client_stream::ClientStream;
use crate::connection::{Awaited, Connection};
use crate::limits::HELD_BYTES;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
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
}

/// The socket of a client over HTTP/1 without TLS, where everything that was written is on its way.
pub(crate) fn plain_socket(stream: &Stream) -> Option<&TcpStream> {
    let stream = (**stream).as_any().downcast_ref::<Http1Stream<ClientStream>>()?;
    stream.held.is_empty().then(|| stream.below.socket())
}

impl<S: IO> Http1Stream<S> {
    /// On top of the client's stream.
    pub(super) fn new(below: S, connection: Arc<Connection>) -> Self {
        Self { below, connection, held: Vec::new() }
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
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.below).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        match this.connection.header.awaited() {
            Awaited::Header | Awaited::NextRequest => this.connection.trailers.header_came(read),
            Awaited::Other => this.connection.trailers.body_came(read)?,
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

#[async_trait]
impl<S: IO> Shutdown for Http1Stream<S> {
    async fn shutdown(&mut self) {
        self.below.shutdown().await;
    }
}

impl<S: IO> UniqueID for Http1Stream<S> {
    fn id(&self) -> UniqueIDType {
        self.below.id()
    }
}

impl<S: IO> Ssl for Http1Stream<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.below.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.below.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.below.selected_alpn_proto()
    }
}

#[async_trait]
impl<S: IO> Peek for Http1Stream<S> {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.below.try_peek(buf).await
    }
}

impl<S: IO> GetTimingDigest for Http1Stream<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.below.get_timing_digest()
    }
}

impl<S: IO> GetProxyDigest for Http1Stream<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.below.get_proxy_digest()
    }
}

impl<S: IO> GetSocketDigest for Http1Stream<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.below.get_socket_digest()
    }
}
