//! gRPC as its wire has it, without its libraries: a pod that knows each kind of call, and a client.

use super::PATIENCE;
use super::pods::Scripted;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Frames that a test sends one by one.
pub(crate) struct Frames(Receiver<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

/// A pod with the methods `Unary`, `Server` (three messages), `Client` (counts messages), `Bidi` (echoes each at once), `Fail`
/// (an error without a message) and `Silent` (nothing at all). Each but the last says in `x-te` what it was told in `te`.
pub(crate) async fn grpc_pod(tls: Option<Arc<ServerConfig>>) -> Scripted {
    Scripted::start(move |stream| {
        let tls = tls.clone();
        async move {
            match tls {
                None => serve(stream).await,
                Some(tls) => {
                    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                        serve(stream).await;
                    }
                }
            }
        }
    })
    .await
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    // The proxy closes its connections as it likes.
    drop(builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await);
}

async fn answer(request: Request<Incoming>) -> Result<Response<Frames>, Infallible> {
    let (sender, receiver) = channel(1);
    let mut response = Response::new(Frames(receiver));
    let te = request.headers().get("te").cloned().unwrap_or(HeaderValue::from_static("-"));
    response.headers_mut().insert("x-te", te);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    match request.uri().path() {
        "/test/Fail" => {
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
            response.headers_mut().insert("grpc-message", HeaderValue::from_static("nothing here"));
        }
        "/test/Silent" => std::future::pending().await,
        method => drop(tokio::spawn(call(method.to_owned(), Messages::new(request.into_body()), sender))),
    }
    Ok(response)
}

async fn call(method: String, mut messages: Messages, sender: Sender<Frame<Bytes>>) {
    let mut count = 0;
    let mut last = String::new();
    while let Some(text) = messages.next().await {
        count += 1;
        if method == "/test/Bidi" {
            drop(sender.send(Frame::data(message(&text))).await);
        }
        last = text;
    }
    let answers = match &*method {
        "/test/Unary" => vec![format!("hello {last}")],
        "/test/Server" => (1..=3).map(|number| format!("{last} {number}")).collect(),
        "/test/Client" => vec![format!("{count} messages")],
        _ => Vec::new(),
    };
    for text in answers {
        drop(sender.send(Frame::data(message(&text))).await);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-count", HeaderValue::from(count));
    drop(sender.send(Frame::trailers(trailers)).await);
}

/// A message with its prefix: not compressed, and its length.
pub(crate) fn message(text: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(text.len()).unwrap());
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}

/// The messages of a body, whatever frames they came in.
pub(crate) struct Messages {
    body: Incoming,
    read: BytesMut,
    /// Once they have come.
    pub(crate) trailers: Option<HeaderMap>,
}

impl Messages {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, read: BytesMut::new(), trailers: None }
    }

    /// The next one; `None` at the end, after which the trailers are known.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(head) = self.read.get(1..5) {
                let length = u32::from_be_bytes(head.try_into().unwrap()) as usize;
                if self.read.len() >= 5 + length {
                    self.read.advance(5);
                    return Some(String::from_utf8(self.read.split_to(length).to_vec()).unwrap());
                }
            }
            match timeout(PATIENCE, self.body.frame()).await.expect("a frame comes")?.unwrap().into_data() {
                Ok(data) => self.read.extend_from_slice(&data),
                Err(other) => self.trailers = other.into_trailers().ok(),
            }
        }
    }

    /// All that are left.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(text) = self.next().await {
            all.push(text);
        }
        all
    }

    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Where frames of a body go, and the body.
pub(crate) fn frames() -> (Sender<Frame<Bytes>>, Frames) {
    let (sender, receiver) = channel(1);
    (sender, Frames(receiver))
}

/// A client's connection.
pub(crate) async fn client(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> SendRequest<Frames> {
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    sender
}

/// A call of which nothing but the header is sent: where its messages go, and the answer to come.
pub(crate) fn begin(
    client: &mut SendRequest<Frames>,
    url: &str,
) -> (Sender<Frame<Bytes>>, impl Future<Output = Response<Incoming>> + use<>) {
    let (sender, receiver) = channel(1);
    let request = Request::post(url).header("te", "trailers").header("content-type", "application/grpc+test");
    let response = client.send_request(request.body(Frames(receiver)).unwrap());
    (sender, async { timeout(PATIENCE, response).await.expect("an answer comes").unwrap() })
}

/// A call with these messages.
pub(crate) async fn send(client: &mut SendRequest<Frames>, url: &str, messages: &[&str]) -> Response<Incoming> {
    let (sender, response) = begin(client, url);
    let sent = async {
        for text in messages {
            drop(sender.send(Frame::data(message(text))).await);
        }
        drop(sender);
    };
    tokio::join!(sent, response).1
}
