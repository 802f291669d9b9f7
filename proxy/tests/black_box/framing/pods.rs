//! Pods that record what they are sent, byte for byte over HTTP/1 and field by field over HTTP/2, and answer each request with the last
//! part of its path.

use crate::support::Scripted;
use crate::support::wire::read_head;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// A whole request as a pod got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// Method and target.
    pub(super) line: String,
    /// Names in small letters, in their order.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What one pod was sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    requests: Arc<Mutex<Vec<Recorded>>>,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Recorded {
    /// All values of a field.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
    }
}

impl Record {
    /// What came since the last time.
    pub(super) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// What could be read in two ways.
    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    fn put(&self, recorded: Recorded) {
        self.requests.lock().unwrap().push(recorded);
    }

    fn fault(&self, what: &str, head: &str) {
        self.faults.lock().unwrap().push(format!("{what}: {head:?}"));
    }
}

/// A pod over HTTP/1, or over HTTP/2 where `http2` says so and, with TLS, its client agrees.
pub(super) async fn recording(http2: bool, tls: Option<Arc<ServerConfig>>) -> (Scripted, Record) {
    let record = Record::default();
    let recording = record.clone();
    let scripted = Scripted::start(move |stream| {
        let (tls, record) = (tls.clone(), recording.clone());
        async move {
            match tls {
                None if http2 => serve_http2(stream, record).await,
                None => serve_http1(stream, &record).await,
                Some(tls) => {
                    let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                    match stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        true => serve_http2(stream, record).await,
                        false => serve_http1(stream, &record).await,
                    }
                }
            }
        }
    })
    .await;
    (scripted, record)
}

async fn serve_http1(mut stream: impl AsyncRead + AsyncWrite + Unpin, record: &Record) {
    let mut read = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut read).await {
        let Some(mut recorded) = parse(&head, record) else { return };
        let Some(body) = body(&mut stream, &mut read, &recorded, record).await else { return };
        recorded.body = body;
        let token = token(&recorded.line).to_owned();
        let is_head = recorded.line.starts_with("HEAD ");
        record.put(recorded);
        let header = format!("HTTP/1.1 200 OK\r\nX-Token: {token}\r\nContent-Length: {}\r\n\r\n", token.len());
        let answer = [header.as_bytes(), if is_head { b"" } else { token.as_bytes() }].concat();
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// Reads a header as strictly as the proxy is to write it.
fn parse(head: &str, record: &Record) -> Option<Recorded> {
    let lines: Vec<&str> = head.strip_suffix("\r\n\r\n")?.split("\r\n").collect();
    let (first, fields) = lines.split_first()?;
    let line = first.strip_suffix(" HTTP/1.1").filter(|line| line.matches(' ').count() == 1);
    let fields: Option<Vec<(String, String)>> = fields
        .iter()
        .map(|field| {
            let (name, value) = field.split_once(':')?;
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let sound = !name.is_empty() && name.bytes().all(token) && !value.contains(['\r', '\n', '\0']);
            sound.then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let (Some(line), Some(fields)) = (line, fields) else {
        record.fault("no header", head);
        return None;
    };
    let recorded = Recorded { line: line.to_owned(), fields, body: Vec::new() };
    let count = |name| recorded.values(name).len();
    let coding = recorded.values("transfer-encoding");
    let length = recorded.values("content-length");
    if count("host") != 1 || count("transfer-encoding") + count("content-length") > 1 {
        record.fault("hosts or framing", head);
    }
    if coding.iter().any(|coding| *coding != "chunked") || length.iter().any(|length| !is_plain_number(length)) {
        record.fault("no normal form", head);
    }
    Some(recorded)
}

fn is_plain_number(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|number| number.to_string() == text)
}

/// Reads a body to its end; `None` where it has none that is whole.
async fn body(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    recorded: &Recorded,
    record: &Record,
) -> Option<Vec<u8>> {
    if recorded.values("transfer-encoding").is_empty() {
        let length = recorded.values("content-length").first().map_or(0, |length| length.parse().unwrap_or(0));
        while read.len() < length {
            stream.read_buf(read).await.ok().filter(|count| *count > 0)?;
        }
        return Some(read.drain(..length).collect());
    }
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(2).position(|end| end == b"\r\n") {
                break end;
            }
            stream.read_buf(read).await.ok().filter(|count| *count > 0)?;
        };
        let line = String::from_utf8_lossy(&read[..end]).into_owned();
        let digits = !line.is_empty() && line.bytes().all(|digit| digit.is_ascii_hexdigit());
        let Some(size) = usize::from_str_radix(&line, 16).ok().filter(|_| digits) else {
            record.fault("a chunk that is in no normal form", &line);
            return None;
        };
        while read.len() < end + 2 + size + 2 {
            stream.read_buf(read).await.ok().filter(|count| *count > 0)?;
        }
        let whole: Vec<u8> = read.drain(..end + 2 + size + 2).collect();
        if !whole.ends_with(b"\r\n") {
            record.fault("a chunk without its end, or trailers", &line);
            return None;
        }
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&whole[end + 2..end + 2 + size]);
    }
}

async fn serve_http2(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, record: Record) {
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let service = service_fn(move |request: Request<Incoming>| {
        let record = record.clone();
        async move {
            let (parts, body) = request.into_parts();
            let target = parts.uri.path_and_query().map_or("*", |target| target.as_str());
            let line = format!("{} {target}", parts.method);
            let host = parts.uri.authority().map(|host| ("host".to_owned(), host.to_string()));
            let fields = parts.headers.iter().map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            });
            let fields = host.into_iter().chain(fields).collect();
            let token = token(&line).to_owned();
            // A body that breaks off is of no request.
            if let Ok(body) = body.collect().await {
                record.put(Recorded { line, fields, body: body.to_bytes().to_vec() });
            }
            let answer = Response::builder().header("x-token", &token).body(Full::new(Bytes::from(token)));
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    // The proxy closes its connections as it likes.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

/// What a pod answers.
pub(super) fn token(line: &str) -> &str {
    line.split('?').next().unwrap_or_default().rsplit(['/', ' ']).next().unwrap_or_default()
}
