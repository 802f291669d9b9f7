//! The load client: where to ask and what for comes in, requests go out, and what comes back is discarded as cheaply as its transport
//! allows, or compared with what the backend holds. One connection is one value; every group drives them in its own way.

mod http1;
mod http2;

use crate::certificates::TestCa;
use crate::pods::media;
use anyhow::{Context as _, Result, bail, ensure};
use http1::Http1;
use http2::Http2;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How a client speaks with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Transport {
    /// HTTP/1.1 without TLS.
    Plain,
    /// HTTP/1.1 over TLS 1.3.
    Tls,
    /// HTTP/2 over TLS 1.3, one request at a time on a connection.
    Http2,
}

/// A proxy as clients see it; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) host: Arc<str>,
    tls: Tls,
}

/// The TLS sides of clients: one for each protocol that they offer.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

/// What becomes of a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sink<'a> {
    /// Its bytes are counted as they come, and discarded.
    Count(&'a AtomicU64),
    /// Every byte must be the backend's.
    Verify,
}

/// An open connection to a proxy.
#[derive(Debug)]
pub(super) enum Connection {
    Plain(Http1<TcpStream>),
    Tls(Box<Http1<TlsStream<TcpStream>>>),
    Http2(Http2),
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The whole of it was there.
    Whole,
    /// The proxy had closed the kept connection before it saw the request.
    Closed,
}

impl Transport {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Tls, Self::Http2];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "TLS, h1",
            Self::Http2 => "TLS, h2",
        }
    }
}

impl Tls {
    /// Clients that trust `ca`. All offer the same one cipher suite, or the proxies would not do the same work: TLS 1.3 with AES-128-GCM,
    /// the one that every implementation must have (RFC 8446 §9.1), and X25519.
    pub(super) fn new(ca: &TestCa) -> Result<Self> {
        let with = |alpn: &[u8]| -> Result<Arc<ClientConfig>> {
            let mut provider = ring::default_provider();
            provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
            provider.kx_groups = vec![ring::kx_group::X25519];
            let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .with_root_certificates(ca.roots()?)
                .with_no_client_auth();
            config.alpn_protocols = vec![alpn.to_vec()];
            config.resumption = Resumption::disabled();
            Ok(Arc::new(config))
        };
        Ok(Self { http1: with(b"http/1.1")?, http2: with(b"h2")? })
    }

    /// The same clients, but they resume the sessions that they had before.
    pub(super) fn resuming(&self) -> Self {
        let with = |config: &ClientConfig| {
            let mut config = config.clone();
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            Arc::new(config)
        };
        Self { http1: with(&self.http1), http2: with(&self.http2) }
    }
}

impl Target {
    pub(super) fn new(http: SocketAddr, https: SocketAddr, host: &str, tls: Tls) -> Self {
        Self { http, https, host: host.into(), tls }
    }

    /// The same proxy for clients that resume sessions.
    pub(super) fn resuming(&self) -> Self {
        Self { tls: self.tls.resuming(), ..self.clone() }
    }

    /// The same proxy, asked for another host.
    pub(super) fn with_host(&self, host: &str) -> Self {
        Self { host: host.into(), ..self.clone() }
    }
}

impl Sink<'_> {
    fn take(self, offset: u64, chunk: &[u8]) -> Result<()> {
        match self {
            Self::Count(count) => {
                count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                Ok(())
            }
            Self::Verify => {
                ensure!(
                    media::verify(offset, chunk),
                    "wrong bytes between {offset} and {}",
                    offset + chunk.len() as u64
                );
                Ok(())
            }
        }
    }
}

impl Connection {
    /// Connects, with the handshake of TLS where there is one.
    pub(super) async fn open(target: &Target, transport: Transport) -> Result<Self> {
        Self::with_window(target, transport, http2::WIDE).await
    }

    /// The same for one that leaves answers alone, and holds little of them itself: its socket has a small buffer, and with HTTP/2 it
    /// offers the protocol's first window.
    pub(super) async fn open_narrow(target: &Target, transport: Transport) -> Result<Self> {
        Self::with_window(target, transport, http2::NARROW).await
    }

    async fn with_window(target: &Target, transport: Transport, window: u32) -> Result<Self> {
        let address = if transport == Transport::Plain { target.http } else { target.https };
        let socket = TcpSocket::new_v4()?;
        if window == http2::NARROW {
            socket.set_recv_buffer_size(NARROW)?;
        }
        let stream = socket.connect(address).await.with_context(|| format!("connection to {address}"))?;
        stream.set_nodelay(true)?;
        let config = match transport {
            Transport::Plain => return Ok(Self::Plain(Http1::new(stream, &target.host))),
            Transport::Tls => &target.tls.http1,
            Transport::Http2 => &target.tls.http2,
        };
        let name = ServerName::try_from(target.host.to_string())?;
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name, stream).await.with_context(|| format!("TLS handshake with {address}"))?;
        if transport == Transport::Tls {
            return Ok(Self::Tls(Box::new(Http1::new(stream, &target.host))));
        }
        ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "{address} does not speak HTTP/2");
        Ok(Self::Http2(Http2::new(stream, &target.host, window).await?))
    }

    /// Whether the session of TLS was resumed.
    pub(super) fn is_resumed(&self) -> bool {
        match self {
            Self::Tls(connection) => {
                connection.stream().get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
            }
            Self::Plain(_) | Self::Http2(_) => false,
        }
    }

    /// Asks for this host from now on.
    pub(super) fn set_host(&mut self, host: &str) {
        match self {
            Self::Plain(connection) => connection.set_host(host),
            Self::Tls(connection) => connection.set_host(host),
            Self::Http2(connection) => connection.set_host(host),
        }
    }

    /// Asks for an object of `bytes` bytes and takes all of it.
    pub(super) async fn get(&mut self, bytes: u64, sink: Sink<'_>) -> Result<Answer> {
        match self {
            Self::Plain(connection) => connection.get(bytes, sink).await,
            Self::Tls(connection) => connection.get(bytes, sink).await,
            Self::Http2(connection) => connection.get(bytes, sink).await,
        }
    }

    /// Asks for an object and takes nothing but the header of the answer.
    pub(super) async fn begin(&mut self, bytes: u64) -> Result<()> {
        match self {
            Self::Plain(connection) => connection.begin(bytes).await,
            Self::Tls(connection) => connection.begin(bytes).await,
            Self::Http2(connection) => connection.begin(bytes).await,
        }
    }

    /// Makes a WebSocket of the connection (RFC 6455), on which nothing is said.
    pub(super) async fn upgrade(&mut self) -> Result<()> {
        match self {
            Self::Plain(connection) => connection.upgrade().await,
            Self::Tls(connection) => connection.upgrade().await,
            Self::Http2(_) => bail!("a WebSocket here is one of HTTP/1.1"),
        }
    }
}

/// The example of RFC 6455 §1.3: what the client sends as its key ...
pub(super) const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// ... and what the server has to say to it.
pub(super) const WEBSOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Bytes in the socket of a client that leaves answers alone: many such sockets would take all memory that the kernel has for them.
const NARROW: u32 = 128 * 1024;
/// Sessions that clients remember, of one host.
const SESSIONS: usize = 256;
