//! One connection to one address: TCP from the client's place, TLS where the scheme wants it, and the HTTP handshake. Called by
//! `fetch`.

use super::Client;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    Http2,
}

/// A connection ready for one request.
#[derive(Debug)]
pub(super) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Connects to `address`; with a `server_name` over TLS.
    pub(super) async fn open(
        client: &Client,
        address: SocketAddr,
        server_name: Option<&str>,
        protocol: Protocol,
    ) -> Result<Self> {
        let stream = connect(client, address).await?;
        let Some(name) = server_name else { return Self::handshake(stream, protocol).await };
        let mut config = (*client.tls).clone();
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        let name =
            ServerName::try_from(name.to_owned()).with_context(|| format!("{name} cannot be asked for by TLS"))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = timeout(HANDSHAKE, connector.connect(name, stream)).await.context("TLS handshake: no answer")?;
        let stream = stream.context("TLS handshake")?;
        if protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            bail!("TLS handshake: the server did not choose h2");
        }
        Self::handshake(stream, protocol).await
    }

    async fn handshake(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        protocol: Protocol,
    ) -> Result<Self> {
        let io = TokioIo::new(stream);
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection.with_upgrades());
                Self::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(WINDOW)
                    .initial_connection_window_size(WINDOW)
                    .handshake(io)
                    .await?;
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        })
    }

    /// Sends the one request and waits for the response's head.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let response = match self {
            Self::Http1(sender) => timeout(RESPONSE, sender.send_request(request)).await,
            Self::Http2(sender) => timeout(RESPONSE, sender.send_request(request)).await,
        };
        Ok(response.context("no response within the time limit")??)
    }

    /// Whether it can take a request now, as far as is known here.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }

    /// Whether it can take another request after the one that has ended: not after `Connection: close` or GOAWAY.
    pub(super) async fn rests(&mut self) -> bool {
        let ready = async {
            match self {
                Self::Http1(sender) => sender.ready().await.is_ok(),
                Self::Http2(sender) => sender.ready().await.is_ok(),
            }
        };
        timeout(REST, ready).await.unwrap_or(false)
    }
}

/// A TCP connection from the client's place.
pub(super) async fn connect(client: &Client, address: SocketAddr) -> Result<TcpStream> {
    let socket = client.place.tcp_socket(address.ip())?;
    let stream = timeout(CONNECT, socket.connect(address)).await.context("connect: no answer")?;
    let stream = stream.context("connect")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A node that does not answer a SYN in this time is as good as dead to a client that has other addresses.
const CONNECT: Duration = Duration::from_millis(1500);
const HANDSHAKE: Duration = Duration::from_secs(10);
const RESPONSE: Duration = Duration::from_secs(15);
const REST: Duration = Duration::from_millis(100);
const WINDOW: u32 = 1 << 20;
