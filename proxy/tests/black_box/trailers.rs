//! Trailers over HTTP/1 in both directions: which pass, over what, and what becomes of malformed ones. Clients and pods are
//! written by hand where no library sends such bytes.

use super::support::client::{connect_tls, read_until};
use super::support::manifests::{pod, route, service, service_with};
use super::support::{Manifests, PATIENCE, Proxy, Scripted};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use rustls::ServerConfig;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const HOST: &str = "web.example.com";
const SAFE_HOST: &str = "safe.example.com";

/// Either end of a connection.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A message of HTTP/1, taken apart strictly.
#[derive(Debug)]
struct Message {
    header: String,
    body: Vec<u8>,
    /// The trailer section without its empty line.
    trailers: String,
}

impl Message {
    /// The next message; `None` where the connection ends before its end.
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let header = section(stream).await?;
        let (mut body, mut trailers) = (Vec::new(), String::new());
        let lower = header.to_ascii_lowercase();
        if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
            loop {
                let size = usize::from_str_radix(line(stream).await?.trim_end(), 16).unwrap();
                if size == 0 {
                    break;
                }
                let mut chunk = vec![0; size + 2];
                timeout(PATIENCE, stream.read_exact(&mut chunk)).await.unwrap().ok()?;
                assert!(chunk.ends_with(b"\r\n"));
                body.extend_from_slice(&chunk[..size]);
            }
            trailers = section(stream).await?;
        } else if let Some((_, rest)) = lower.split_once("\r\ncontent-length: ") {
            body = vec![0; rest.split("\r\n").next().unwrap().parse().unwrap()];
            timeout(PATIENCE, stream.read_exact(&mut body)).await.unwrap().ok()?;
        }
        Some(Self { header, body, trailers })
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(timeout(PATIENCE, stream.read_u8()).await.expect("something comes").ok()?);
    }
    Some(String::from_utf8(line).unwrap())
}

/// Lines up to an empty one.
async fn section(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut section = String::new();
    loop {
        match line(stream).await? {
            end if end == "\r\n" => return Some(section),
            line => section.push_str(&line),
        }
    }
}

/// What a pod sees: its connections, and the requests that came to an end.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<Message>>,
}

impl Seen {
    fn take(&self) -> Message {
        self.requests.lock().unwrap().pop().expect("the pod was asked")
    }
}

/// A pod that answers each request with a chunked body, twice the same text, and these trailers.
async fn trailing_pod(section: &'static str, tls: Option<TlsAcceptor>) -> (Scripted, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let told = Arc::clone(&seen);
    let pod = Scripted::start(move |stream| {
        let (told, tls) = (Arc::clone(&told), tls.clone());
        async move {
            told.connections.fetch_add(1, Ordering::Relaxed);
            match tls {
                Some(tls) => serve(tls.accept(stream).await.unwrap(), section, &told).await,
                None => serve(stream, section, &told).await,
            }
        }
    })
    .await;
    (pod, seen)
}

async fn serve(mut stream: impl Wire, section: &str, seen: &Seen) {
    while let Some(request) = Message::read(&mut stream).await {
        seen.requests.lock().unwrap().push(request);
        let size = LOOKS_LIKE_THE_END.len();
        let answer = format!(
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n\
             {size:x}\r\n{LOOKS_LIKE_THE_END}\r\n{size:x};name=\"0\"\r\n{LOOKS_LIKE_THE_END}\r\n0\r\n{section}"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Bytes in a body that a search for its end would find.
const LOOKS_LIKE_THE_END: &str = "0\r\n\r\n0\r\nx-forged: yes\r\n\r\n";

fn upload(host: &str, section: &str) -> String {
    format!(
        "POST /in HTTP/1.1\r\nHost: {host}\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Sum, Content-Length\r\n\r\n{:x}\r\n{LOOKS_LIKE_THE_END}\r\n1\r\nx\r\n0\r\n{section}",
        LOOKS_LIKE_THE_END.len()
    )
}

fn edge(ca: &TestCa, host: &str, more: &[(&str, Value)]) -> Value {
    let identity = ca.identity(&[host]).unwrap();
    let mut tls = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key,
                          "insecureEdgeTerminationPolicy": "Allow" });
    for (name, value) in more {
        tls[*name] = value.clone();
    }
    json!({ "tls": tls })
}

#[tokio::test]
async fn trailers_pass_both_ways_with_and_without_tls_on_either_side_and_the_connection_is_kept() {
    let ca = TestCa::new("test").unwrap();
    let section = "X-Checksum: abc\r\nContent-Length: 1\r\nSet-Cookie: a=b\r\nX-Checksum: def\r\n\r\n";
    let mut tls = ServerConfig::clone(&ca.identity(&["safe.shop.svc"]).unwrap().server().unwrap());
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(tls));
    let (plain, plain_seen) = trailing_pod(section, None).await;
    let (safe, safe_seen) = trailing_pod(section, Some(tls)).await;
    let reencrypt = [("termination", json!("reencrypt")), ("destinationCACertificate", json!(ca.certificate()))];
    let manifests = Manifests::with(&[
        route("web", HOST, edge(&ca, HOST, &[])),
        route("safe", SAFE_HOST, edge(&ca, SAFE_HOST, &reencrypt)),
        service("web"),
        service("safe"),
        pod("web", "web-1", plain.address),
        pod("safe", "safe-1", safe.address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    for (host, seen) in [(HOST, plain_seen), (SAFE_HOST, safe_seen)] {
        for over_tls in [false, true] {
            let mut client: Box<dyn Wire> = match over_tls {
                true => Box::new(connect_tls(proxy.https, &ca, host, &["http/1.1"]).await.unwrap()),
                false => Box::new(TcpStream::connect(proxy.http).await.unwrap()),
            };
            let sent = "X-Sum: 1\r\nx-other: \t2 \r\nHost: evil\r\nX-Forwarded-For: 192.0.2.1\r\nX-Sum: 3\r\n\r\n";
            for attempt in 0..2 {
                let context = format!("{host} {over_tls} {attempt}");
                if attempt == 0 {
                    client.write_all(upload(host, sent).as_bytes()).await.unwrap();
                } else {
                    for byte in upload(host, sent).as_bytes() {
                        client.write_u8(*byte).await.unwrap();
                        client.flush().await.unwrap();
                    }
                }
                let hints = Message::read(&mut client).await.unwrap();
                assert!(hints.header.starts_with("HTTP/1.1 103 "), "{context} {hints:?}");
                let answer = Message::read(&mut client).await.unwrap();
                assert_eq!(answer.text(), LOOKS_LIKE_THE_END.repeat(2), "{context}");
                assert_eq!(answer.trailers, "x-checksum: abc\r\nx-checksum: def\r\n", "{context}");
                let asked = seen.take();
                assert_eq!(asked.text(), format!("{LOOKS_LIKE_THE_END}x"), "{context}");
                assert_eq!(asked.trailers, "x-sum: 1\r\nx-sum: 3\r\nx-other: 2\r\n", "{context}");
                let header = asked.header.to_ascii_lowercase();
                for told in ["\r\nte: trailers\r\n", "\r\nconnection: te\r\n", "\r\ntrailer: x-sum\r\n"] {
                    assert!(header.contains(told), "{context} {header}");
                }
            }
            client.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
            Message::read(&mut client).await.unwrap();
            let answer = Message::read(&mut client).await.unwrap();
            assert_eq!((answer.text(), &*answer.trailers), (LOOKS_LIKE_THE_END.repeat(2), ""), "who asks for none");
            assert!(!seen.take().header.to_ascii_lowercase().contains("\r\nte:"));
        }
    }
}

#[tokio::test]
async fn a_pod_that_cannot_be_verified_is_asked_nothing_with_trailers_either() {
    let (ca, other) = (TestCa::new("test").unwrap(), TestCa::new("other").unwrap());
    let tls = TlsAcceptor::from(ca.identity(&["safe.shop.svc"]).unwrap().server().unwrap());
    let tls_pod = Scripted::start(move |stream| {
        let tls = tls.clone();
        async move { assert!(tls.accept(stream).await.is_err(), "the proxy does not trust this pod") }
    })
    .await;
    let reencrypt = [("termination", json!("reencrypt")), ("destinationCACertificate", json!(other.certificate()))];
    let manifests = Manifests::with(&[
        route("safe", SAFE_HOST, edge(&ca, SAFE_HOST, &reencrypt)),
        service("safe"),
        pod("safe", "safe-1", tls_pod.address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    client.write_all(format!("GET / HTTP/1.1\r\nHost: {SAFE_HOST}\r\nTE: trailers\r\n\r\n").as_bytes()).await.unwrap();
    let answer = Message::read(&mut client).await.unwrap();
    assert!(answer.header.starts_with("HTTP/1.1 503 "), "{}", answer.header);
    assert_eq!(proxy.access_line(SAFE_HOST).await["reason"], "pod_tls");
}

#[tokio::test]
async fn requests_without_trailers_share_connections_to_pods() {
    let (trailing, seen) = trailing_pod("X-Checksum: abc\r\n\r\n", None).await;
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", trailing.address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    for (te, connections) in [("", 1), ("TE: gzip\r\n", 1), ("TE: trailers\r\n", 2), ("", 2), ("TE: trailers\r\n", 3)] {
        client.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{te}\r\n").as_bytes()).await.unwrap();
        Message::read(&mut client).await.unwrap();
        let answer = Message::read(&mut client).await.unwrap();
        let expected = if te.contains("trailers") { "x-checksum: abc\r\n" } else { "" };
        assert_eq!((answer.text(), &*answer.trailers), (LOOKS_LIKE_THE_END.repeat(2), expected));
        assert_eq!(seen.connections.load(Ordering::Relaxed), connections, "{te}");
    }
}

#[tokio::test]
async fn malformed_trailers_of_a_client_never_reach_a_pod_and_end_the_connection() {
    let (trailing, seen) = trailing_pod("\r\n", None).await;
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", trailing.address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let large = format!("x-sum: {}\r\n\r\n", "y".repeat(9 * 1024));
    let many = "x-sum: 1\r\n".repeat(65) + "\r\n";
    for section in [
        "x-sum: 1\nx-forged: 2\r\n\r\n",
        "x-sum: 1\r\n x-forged: 2\r\n\r\n",
        "x-sum : 1\r\n\r\n",
        "x-sum: 1\r\nno colon\r\n\r\n",
        "x-sum: \0\r\n\r\n",
        "x-sum: 1\rx\r\n\r\n",
        ": 1\r\n\r\n",
        &large,
        &many,
    ] {
        for whole in [true, false] {
            let mut client = TcpStream::connect(proxy.http).await.unwrap();
            let request = upload(HOST, section) + &format!("GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            let (first, second) =
                request.split_at(if whole { request.len() } else { request.len() - section.len() - 60 });
            client.write_all(first.as_bytes()).await.unwrap();
            // The proxy may have heard enough already.
            drop(client.write_all(second.as_bytes()).await);
            let mut answer = Vec::new();
            drop(timeout(PATIENCE, client.read_to_end(&mut answer)).await.expect("the proxy closes"));
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{section:.40?} {answer}");
            assert_eq!(seen.requests.lock().unwrap().len(), 0, "{section:.40?}");
        }
    }
}

#[tokio::test]
async fn malformed_trailers_of_a_pod_end_the_response_before_its_end() {
    for section in
        ["x: 1\nx-forged: 2\r\n\r\n", "x: 1\r\n x\r\n\r\n", "x : 1\r\n\r\n", "no colon\r\n\r\n", "x: \0\r\n\r\n"]
    {
        let (trailing, _seen) = trailing_pod(section, None).await;
        let manifests =
            Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", trailing.address)]);
        let proxy = Proxy::start(&manifests, &[]);
        let mut client = TcpStream::connect(proxy.http).await.unwrap();
        client.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\n\r\n").as_bytes()).await.unwrap();
        let mut complete = Message::read(&mut client).await;
        if complete.as_ref().is_some_and(|message| message.header.starts_with("HTTP/1.1 103 ")) {
            complete = Message::read(&mut client).await;
        }
        let served = complete.filter(|message| !message.header.starts_with("HTTP/1.1 502 "));
        assert!(served.is_none(), "{section:?} {served:?}");
    }
}

/// A body of unknown length.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

#[tokio::test]
async fn trailers_of_an_http_2_pod_reach_a_client_over_http_1() {
    let pod_h2 = Scripted::start(|stream| async move {
        let answer = service_fn(|request: http::Request<Incoming>| async move {
            let told = request.headers().get("te").cloned();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-checksum", HeaderValue::from_static("abc"));
            trailers.insert("set-cookie", HeaderValue::from_static("a=b"));
            let frames = [Frame::data(Bytes::from_static(b"0\r\n\r\n")), Frame::trailers(trailers)];
            let mut response = Response::new(Frames(frames.into()));
            response.headers_mut().extend(told.map(|told| (http::HeaderName::from_static("x-te"), told)));
            Ok::<_, Infallible>(response)
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(server.serve_connection(TokioIo::new(stream), answer).await);
    })
    .await;
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service_with("web", json!({ "appProtocol": "kubernetes.io/h2c" })),
        pod("web", "web-1", pod_h2.address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    for te in [true, false, true] {
        let field = if te { "TE: trailers\r\n" } else { "" };
        client.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{field}\r\n").as_bytes()).await.unwrap();
        let answer = Message::read(&mut client).await.unwrap();
        assert_eq!(answer.text(), "0\r\n\r\n");
        assert_eq!(answer.trailers, if te { "x-checksum: abc\r\n" } else { "" });
        assert_eq!(answer.header.contains("x-te: trailers\r\n"), te, "{}", answer.header);
    }
}

#[tokio::test]
async fn a_head_response_that_says_chunked_is_followed_by_the_next_response() {
    let pod_head = Scripted::start(|mut stream| async move {
        while let Some(request) = section(&mut stream).await {
            let body = if request.starts_with("HEAD ") { "" } else { "2\r\nok\r\n0\r\nx: y\r\n\r\n" };
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", pod_head.address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    for _ in 0..2 {
        client.write_all(format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\n\r\n").as_bytes()).await.unwrap();
        let header = read_until(&mut client, "\r\n\r\n").await;
        assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
        client.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\n\r\n").as_bytes()).await.unwrap();
        let answer = Message::read(&mut client).await.unwrap();
        assert_eq!((answer.text(), &*answer.trailers), ("ok".into(), "x: y\r\n"));
    }
}
