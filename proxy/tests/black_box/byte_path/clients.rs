//! Clients that ask for bodies and send them, over each protocol: paths and bodies flow in, the bodies of the answers flow out.

use super::HOST;
use crate::support::client::connect_tls;
use crate::support::wire::{ask, upload};
use crate::support::{PATIENCE, Proxy};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

pub(crate) async fn connect(proxy: &Proxy, ca: &TestCa, over_tls: bool) -> Box<dyn Wire> {
    match over_tls {
        true => Box::new(connect_tls(proxy.https, ca, HOST, &["http/1.1"]).await.unwrap()),
        false => Box::new(TcpStream::connect(proxy.http).await.unwrap()),
    }
}

/// How a client reaches the proxy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Transport {
    Plain,
    Tls,
    H2,
}

impl Transport {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Tls, Self::H2];
}

/// A client whose connection lives on.
pub(super) enum Client {
    H1(Box<dyn Wire>),
    H2(SendRequest<Parts>),
}

impl Client {
    pub(super) async fn connect(proxy: &Proxy, ca: &TestCa, transport: Transport) -> Self {
        match transport {
            Transport::Plain => Self::H1(connect(proxy, ca, false).await),
            Transport::Tls => Self::H1(connect(proxy, ca, true).await),
            Transport::H2 => {
                let stream = connect_tls(proxy.https, ca, HOST, &["h2"]).await.unwrap();
                let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
                let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                Self::H2(sender)
            }
        }
    }

    pub(super) async fn download(&mut self, path: &str) -> Vec<u8> {
        match self {
            Self::H1(stream) => ask(stream, format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.1,
            Self::H2(sender) => {
                let request = Request::get(format!("https://{HOST}{path}")).body(Parts::default()).unwrap();
                exchanged(sender, request).await
            }
        }
    }

    /// Sends a body in chunks of a size, or with its length.
    pub(super) async fn upload(&mut self, body: Vec<u8>, chunk: Option<usize>) -> Vec<u8> {
        match self {
            Self::H1(stream) => ask(stream, &upload(HOST, &body, chunk)).await.1,
            Self::H2(sender) => {
                let parts = Parts::of(&body, chunk);
                exchanged(sender, Request::post(format!("https://{HOST}/")).body(parts).unwrap()).await
            }
        }
    }
}

async fn exchanged(sender: &mut SendRequest<Parts>, request: Request<Parts>) -> Vec<u8> {
    let exchange = async { sender.send_request(request).await.unwrap().into_body().collect().await.unwrap() };
    timeout(PATIENCE, exchange).await.expect("an answer comes").to_bytes().to_vec()
}

/// A body that is sent in parts, whose length is said where it is known.
#[derive(Default)]
pub(super) struct Parts {
    left: VecDeque<Bytes>,
    length: Option<u64>,
}

impl Parts {
    fn of(body: &[u8], part: Option<usize>) -> Self {
        let length = part.is_none().then_some(body.len() as u64);
        let left = body.chunks(part.unwrap_or(body.len()).max(1)).map(Bytes::copy_from_slice).collect();
        Self { left, length }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.left.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
