//! A client's connection over HTTP/1 as Pingora sees it, above TLS: bytes pass through it as they are, and past the
//! connection's [`TrailerWatch`](crate::trailers::TrailerWatch), which takes trailers out and puts trailers in. One of the few
//! modules that name Pingora types.

use crate::connection::{Awaited, Connection};
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection over HTTP/1.
#[derive(Debug)]
pub(super) struct Http1Stream<S> {
    below: S,
    connection: Arc<Connection>,
}

impl<S: IO> Http1Stream<S> {
    /// On top of the client's stream.
    pub(super) fn new(below: S, connection: Arc<Connection>) -> Self {
        Self { below, connection }
    }
}

impl<S: IO> AsyncRead for Http1Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
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
        this.connection.trailers.poll_write(cx, Pin::new(&mut this.below), buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.connection.trailers.poll_write_vectored(cx, Pin::new(&mut this.below), bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.below.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.connection.trailers.poll_due(cx, Pin::new(&mut this.below)))?;
        Pin::new(&mut this.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
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
