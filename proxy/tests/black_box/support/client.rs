//! A client: one request over a given kind of connection, and bytes as they are where no client sends such bytes.

use super::PATIENCE;
use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::Echo;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) version: Version,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The request as an echo pod saw it.
    pub(crate) fn echo(&self) -> Echo {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The pod that answered; `None` where the proxy did.
    pub(crate) fn pod(&self) -> Option<&str> {
        self.headers.get("x-nearside-pod").map(|name| name.to_str().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// GET over plain HTTP/1.1 on a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Reply {
    request(address, Request::get(path).header("host", host)).await
}

/// A request without a body over plain HTTP/1.1 on a connection of its own.
pub(crate) async fn request(address: SocketAddr, request: http::request::Builder) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    exchange(stream, request.body(Full::default()).unwrap()).await
}

/// A request over HTTP/1.1 on a given stream, which it uses up.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Reply {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    let reply = collect(response).await;
    driver.abort();
    reply
}

/// GET over HTTP/2 on a given stream, which it uses up.
pub(crate) async fn get_h2(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, url: &str) -> Reply {
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::get(url).version(Version::HTTP_2).body(Full::<Bytes>::default()).unwrap();
    let reply = collect(timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()).await;
    driver.abort();
    reply
}

async fn collect(response: http::Response<hyper::body::Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
    Reply { status: parts.status.as_u16(), headers: parts.headers, version: parts.version, body }
}

/// A TLS connection that asks for `name`.
///
/// # Errors
/// The handshake failed, for example because the certificate is not trusted.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    ca: &TestCa,
    name: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(ca.client(alpn).unwrap());
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    timeout(PATIENCE, connector.connect(name, stream)).await.unwrap()
}

/// GET over TLS and HTTP/1.1 on a connection of its own.
///
/// # Errors
/// The handshake failed.
pub(crate) async fn get_tls(address: SocketAddr, ca: &TestCa, host: &str, path: &str) -> std::io::Result<Reply> {
    let stream = connect_tls(address, ca, host, &["http/1.1"]).await?;
    let request = Request::get(path).header("host", host).body(Full::default()).unwrap();
    Ok(exchange(stream, request).await)
}

/// Sends bytes as they are and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

/// Reads until the other side closes.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A reset is an end too.
    drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the other side closes"));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until `end` was read, and gives everything up to there.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let byte = timeout(PATIENCE, stream.read_u8()).await;
        let byte = byte.unwrap_or_else(|_| panic!("{end:?} never comes: {}", String::from_utf8_lossy(&answer)));
        answer.push(byte.unwrap_or_else(|_| panic!("ended early: {}", String::from_utf8_lossy(&answer))));
    }
    String::from_utf8(answer).unwrap()
}
