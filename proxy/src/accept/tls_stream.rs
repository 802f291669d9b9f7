//! TLS with a client as Pingora sees it: a socket whose ClientHello was read and the configuration of its name flow in, after the
//! handshake a stream of plain bytes flows out. Called by `accept`. One of the few modules that name Pingora types, and rustls.
//!
//! Pingora's own stream gives rustls 64 KiB at a time and each frame of HTTP/2 alone, with a system call for each. Here all that is
//! written at once leaves at once, and frames of HTTP/2 leave together. What the socket does not take waits as records, and nothing more
//! is encrypted until they have left.
//!
//! Where a connection over HTTP/1.1 is to be sealed and nothing is on its way through here, the kernel gets the keys, and this stream is
//! nothing but the socket from then on.

use super::client_stream::ClientStream;
use crate::kernel_tls::{KernelTls, Outcome, TakeoverError};
use crate::limits::GATHERED_RECORDS;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, BufRead, ErrorKind, IoSlice, Write};
use std::mem::replace;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server;

/// A client's connection over TLS.
#[derive(Debug)]
pub(super) struct TlsStream {
    tls: server::TlsStream<ClientStream>,
    digest: Arc<SslDigest>,
    /// HTTP/2, where whoever writes also flushes: what is written may wait for more.
    gathers: bool,
    /// Bytes that were encrypted, and of which some may not be sent yet.
    unsent: usize,
    sealing: Sealing,
}

/// Who encrypts.
#[derive(Debug)]
enum Sealing {
    /// This stream.
    Process,
    /// This stream, and the kernel could, with sessions of that configuration.
    Sealable(KernelTls, Arc<ServerConfig>),
    /// The kernel.
    Kernel,
}

/// Does the handshake.
///
/// # Errors
/// The client and the configuration do not agree, or the connection broke.
pub(super) async fn accept(
    config: Arc<ServerConfig>,
    stream: ClientStream,
    kernel: &KernelTls,
) -> io::Result<TlsStream> {
    // How much is encrypted is bounded by who writes.
    let unlimited = |tls: &mut ServerConnection| tls.set_buffer_limit(None);
    let tls = TlsAcceptor::from(Arc::clone(&config)).accept_with(stream, unlimited).await?;
    let (_, agreed) = tls.get_ref();
    let cipher = agreed.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let version = agreed.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
    let digest = Arc::new(SslDigest::new(cipher, version, None, None, Vec::new()));
    let gathers = agreed.alpn_protocol() == Some(b"h2");
    let sealing = match !gathers && kernel.serves(agreed) {
        true => Sealing::Sealable(kernel.clone(), config),
        false => Sealing::Process,
    };
    Ok(TlsStream { tls, digest, gathers, unsent: 0, sealing })
}

impl TlsStream {
    /// The certificates that the client showed, leaf first.
    pub(super) fn chain(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.get_ref().1.peer_certificates()
    }

    /// The socket below.
    pub(super) fn socket(&self) -> &TcpStream {
        self.tls.get_ref().0.socket()
    }

    /// Whether the socket has not taken everything that was encrypted.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Whether the kernel encrypts.
    pub(super) fn is_sealed(&self) -> bool {
        matches!(self.sealing, Sealing::Kernel)
    }

    /// Whether it could, and does not yet.
    pub(super) fn is_sealable(&self) -> bool {
        matches!(self.sealing, Sealing::Sealable(..))
    }

    /// The socket, where the kernel encrypts.
    fn below(&mut self) -> Option<Pin<&mut ClientStream>> {
        match self.sealing {
            Sealing::Kernel => Some(Pin::new(self.tls.get_mut().0)),
            Sealing::Process | Sealing::Sealable(..) => None,
        }
    }

    /// Leaves encryption to the kernel, if that is wanted and possible. Everything that was encrypted has left.
    fn seal(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.tls.get_ref().0.connection().sealing.is_wanted() {
            return Ok(());
        }
        let (kernel, config) = match replace(&mut self.sealing, Sealing::Process) {
            Sealing::Sealable(kernel, config) => (kernel, config),
            other => {
                self.sealing = other;
                return Ok(());
            }
        };
        if !self.is_idle(cx)? {
            kernel.count(Outcome::Busy);
            self.sealing = Sealing::Sealable(kernel, config);
            return Ok(());
        }
        let (client, session) = self.tls.get_mut();
        // An unused one in its place, which nobody asks any more.
        let taken = kernel.take_over(client.socket(), || Ok(replace(session, ServerConnection::new(config)?)));
        match taken {
            Ok(()) => {
                client.seal();
                self.sealing = Sealing::Kernel;
                kernel.count(Outcome::Moved);
                Ok(())
            }
            Err(error @ TakeoverError::Refused(_)) => {
                tracing::debug!(%error, "TLS goes on in the proxy");
                kernel.count(Outcome::Refused);
                Ok(())
            }
            Err(error @ TakeoverError::Broken(_)) => {
                client.forbid();
                self.sealing = Sealing::Kernel;
                tracing::warn!(%error, "a connection is closed");
                kernel.count(Outcome::Broken);
                Err(io::Error::other(error))
            }
        }
    }

    /// Whether nothing of either side is in the session: no byte for the client, and no part of a record of it.
    fn is_idle(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        // The answer to a new key of the client waits for the next data otherwise.
        self.tls.get_mut().1.writer().write(&[]).map(drop)?;
        if Pin::new(&mut self.tls).poll_flush(cx)?.is_pending() {
            return Ok(false);
        }
        let (client, session) = self.tls.get_mut();
        let unread = session.reader().fill_buf().err().map(|error| error.kind());
        Ok(client.is_between_records() && !session.wants_write() && unread == Some(ErrorKind::WouldBlock))
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent > 0 {
            ready!(Pin::new(&mut self.tls).poll_flush(cx))?;
            self.unsent = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts, once there is room for it, and sends what the socket takes.
    fn poll_encrypt(
        &mut self,
        cx: &mut Context<'_>,
        encrypt: impl FnOnce(&mut ServerConnection) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if !self.gathers || self.unsent >= GATHERED_RECORDS {
            ready!(self.poll_sent(cx))?;
        }
        let taken = encrypt(self.tls.get_mut().1)?;
        self.unsent += taken;
        if !self.gathers
            && let Poll::Ready(sent) = self.poll_sent(cx)
        {
            sent?;
        }
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Over HTTP/1 nobody may write for long, and what is left of the last write is still to be sent.
        if !self.gathers
            && let Poll::Ready(sent) = self.poll_sent(cx)
        {
            sent?;
            self.seal(cx)?;
        }
        if let Some(below) = self.below() {
            return below.poll_read(cx, buf);
        }
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.below() {
            Some(below) => below.poll_write(cx, buf),
            None => self.poll_encrypt(cx, |tls| tls.writer().write(buf)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.below() {
            Some(below) => below.poll_write_vectored(cx, bufs),
            None => self.poll_encrypt(cx, |tls| tls.writer().write_vectored(bufs)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(below) = self.below() {
            return below.poll_flush(cx);
        }
        ready!(Pin::new(&mut self.tls).poll_flush(cx))?;
        self.unsent = 0;
        Poll::Ready(self.seal(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.below() {
            Some(below) => below.poll_shutdown(cx),
            None => Pin::new(&mut self.tls).poll_shutdown(cx),
        }
    }
}

#[async_trait]
impl Shutdown for TlsStream {
    async fn shutdown(&mut self) {
        // A client that is gone needs no goodbye.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

impl UniqueID for TlsStream {
    fn id(&self) -> UniqueIDType {
        self.tls.get_ref().0.id()
    }
}

impl Ssl for TlsStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.digest))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        // Over HTTP/2, and nothing else, frames are gathered.
        Some(if self.gathers { ALPN::H2 } else { ALPN::H1 })
    }
}

impl Peek for TlsStream {}

impl GetTimingDigest for TlsStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for TlsStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.tls.get_ref().0.get_proxy_digest()
    }
}

impl GetSocketDigest for TlsStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.tls.get_ref().0.get_socket_digest()
    }
}
