//! What a pod answers: a request and the pod's identity in, a response out. Called by `pods::server` for each request.
//!
//! | path | answer |
//! |---|---|
//! | `/media/BYTES` | that many bytes, with `Range`, `ETag`, `If-None-Match`, HEAD |
//! | `/stream?events=N&interval=MS` | N server-sent events, MS milliseconds apart |
//! | `/status/CODE` | that status, with `Retry-After` on 503 |
//! | `/healthz` | 200 while the pod is ready, else 503 |
//! | with `Upgrade: websocket` | a WebSocket that echoes |
//! | any other | the request as JSON ([`Echo`]) |

use super::media::{self, Selection};
use super::{PodIdentity, websocket};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Every answer names its pod in this header.
pub const POD_HEADER: HeaderName = HeaderName::from_static("x-nearside-pod");
/// Every answer names its node in this header.
pub const NODE_HEADER: HeaderName = HeaderName::from_static("x-nearside-node");

/// The request as the pod saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Echo {
    /// Name of the pod.
    pub pod: String,
    /// Name of its node.
    pub node: String,
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Request method.
    pub method: String,
    /// Request path, raw, with its query.
    pub path: String,
    /// `Host`, or `:authority` in HTTP/2.
    pub host: String,
    /// Header fields, lower-case names, values in order of arrival.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The peer of the connection.
    pub remote: SocketAddr,
    /// Such as `HTTP/1.1`.
    pub protocol: String,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Bytes of the request's body.
    pub body_bytes: u64,
}

/// What the handler knows besides the request.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) identity: PodIdentity,
    pub(super) ready: bool,
    pub(super) remote: SocketAddr,
    pub(super) tls: bool,
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// Answers one request.
pub(super) async fn answer(exchange: Exchange, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let mut response = if request.headers().contains_key(header::UPGRADE) {
        upgrade(request)
    } else if let Some(bytes) = path.strip_prefix("/media/") {
        media(&request, bytes)
    } else if let Some(code) = path.strip_prefix("/status/") {
        status(code)
    } else if path == "/stream" {
        stream(request.uri().query().unwrap_or(""))
    } else if path == "/healthz" {
        plain(if exchange.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "")
    } else {
        echo(&exchange, request).await
    };
    for (name, value) in [(POD_HEADER, &exchange.identity.name), (NODE_HEADER, &exchange.identity.node)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn echo(exchange: &Exchange, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in &parts.headers {
        headers
            .entry(name.as_str().to_owned())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let authority = parts.uri.authority().map(ToString::to_string);
    let host = authority.or_else(|| headers.get("host").and_then(|values| values.first().cloned())).unwrap_or_default();
    let body_bytes = match count(body).await {
        Ok(bytes) => bytes,
        Err(error) => return plain(StatusCode::BAD_REQUEST, &format!("request body: {error}\n")),
    };
    let echo = Echo {
        pod: exchange.identity.name.clone(),
        node: exchange.identity.node.clone(),
        namespace: exchange.identity.namespace.clone(),
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
        host,
        headers,
        remote: exchange.remote,
        protocol: format!("{:?}", parts.version),
        tls: exchange.tls,
        body_bytes,
    };
    let json = serde_json::to_vec(&echo).unwrap_or_default();
    let mut response = Response::new(full(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Reads a body to its end and drops it; a large upload costs no memory.
async fn count(mut body: Incoming) -> Result<u64, hyper::Error> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

fn media<B>(request: &Request<B>, bytes: &str) -> Answer {
    let Ok(total) = bytes.parse::<u64>() else {
        return plain(StatusCode::NOT_FOUND, "after /media/ comes a number of bytes\n");
    };
    let text = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let etag = media::etag(total);
    let mut response = Response::new(full(Vec::new()));
    let fields = response.headers_mut();
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(value) = HeaderValue::from_str(&etag) {
        fields.insert(header::ETAG, value);
    }
    if text(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&etag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    // RFC 9110 §13.1.5: a part only fits the same object.
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|tag| tag == etag));
    let selected = match media::select(range, total) {
        Selection::Whole => 0..total,
        Selection::Part(part) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let value = format!("bytes {}-{}/{total}", part.start, part.end - 1);
            response.headers_mut().insert(header::CONTENT_RANGE, ascii(&value));
            part
        }
        Selection::Unsatisfiable => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            response.headers_mut().insert(header::CONTENT_RANGE, ascii(&format!("bytes */{total}")));
            return response;
        }
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(selected.end - selected.start));
    if request.method() != Method::HEAD {
        *response.body_mut() = media::body(selected);
    }
    response
}

fn status(code: &str) -> Answer {
    let Some(status) =
        code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()).filter(|s| !s.is_informational())
    else {
        return plain(StatusCode::BAD_REQUEST, "after /status/ comes a code from 200 to 999\n");
    };
    let mut response = plain(status, "");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn stream(query: &str) -> Answer {
    let number = |name: &str, default: u64| {
        let found = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
    };
    let (events, interval) = (number("events", 10), Duration::from_millis(number("interval", 100)));
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for event in 0..events {
            // Ends with the client: a closed channel is a gone reader.
            if sender.send(Bytes::from(format!("id: {event}\ndata: event {event}\n\n"))).await.is_err() {
                return;
            }
            tokio::time::sleep(interval).await;
        }
    });
    let mut response = Response::new(Events { receiver }.boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn upgrade(mut request: Request<Incoming>) -> Answer {
    let Some(key) = websocket::accept_key(request.headers()).filter(|_| request.version() == Version::HTTP_11) else {
        return plain(StatusCode::BAD_REQUEST, "only WebSocket version 13 over HTTP/1.1 is spoken here\n");
    };
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(&mut request).await {
            // The peer went away; an echo has nobody to tell.
            let _ = websocket::echo(hyper_util::rt::TokioIo::new(upgraded)).await;
        }
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "");
    let fields = response.headers_mut();
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, ascii(&key));
    response
}

fn plain(status: StatusCode, text: &str) -> Answer {
    let mut response = Response::new(full(text.as_bytes().to_vec()));
    *response.status_mut() = status;
    response
}

fn full(bytes: Vec<u8>) -> BoxBody<Bytes, io::Error> {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed()
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits, letters and punctuation are a header value")
}

struct Events {
    receiver: mpsc::Receiver<Bytes>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.receiver.poll_recv(cx).map(|event| event.map(|data| Ok(Frame::data(data))))
    }
}
