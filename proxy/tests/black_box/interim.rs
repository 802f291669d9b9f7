//! Responses that come in pieces: interim ones, events and bodies that trickle, HEAD and ranges. A pod sends the next piece
//! when the client has the one before, so that a piece that is held back anywhere holds up everything.

use super::support::client::{connect_tls, exchange, read_until};
use super::support::manifests::{pod, route, service};
use super::support::pods::{Scripted, read_header};
use super::support::{Manifests, PATIENCE, Proxy, echo_pod, request};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::media;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

const HOST: &str = "web.example.com";

/// A Route that is served with and without TLS.
fn both(ca: &TestCa) -> Value {
    let identity = ca.identity(&[HOST]).unwrap();
    let tls = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key,
                      "insecureEdgeTerminationPolicy": "Allow" });
    route("web", HOST, json!({ "tls": tls }))
}

#[tokio::test]
async fn interim_responses_reach_the_client_when_the_pod_sends_them() {
    let scripted = Scripted::start(|mut stream| async move {
        let header = read_header(&mut stream).await;
        assert!(header.to_ascii_lowercase().contains("expect: 100-continue\r\n"), "{header}");
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
        stream.write_all(hints).await.unwrap();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </late.css>\r\n\r\n").await.unwrap();
        let answer = [&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..], &body].concat();
        stream.write_all(&answer).await.unwrap();
    })
    .await;
    let ca = TestCa::new("test").unwrap();
    let manifests = Manifests::with(&[both(&ca), service("web"), pod("web", "web-1", scripted.address)]);
    let proxy = Proxy::start(&manifests, &[]);
    for over_tls in [false, true] {
        let mut client: Box<dyn Wire> = match over_tls {
            true => Box::new(connect_tls(proxy.https, &ca, HOST, &["http/1.1"]).await.unwrap()),
            false => Box::new(TcpStream::connect(proxy.http).await.unwrap()),
        };
        let header = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        client.write_all(header.as_bytes()).await.unwrap();
        let hints = read_until(&mut client, "\r\n\r\n").await;
        assert!(hints.starts_with("HTTP/1.1 103 "), "{hints}");
        assert!(hints.to_ascii_lowercase().contains("link: </style.css>; rel=preload\r\n"), "{hints}");
        assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 100 Continue\r\n"));
        client.write_all(b"hello").await.unwrap();
        let late = read_until(&mut client, "\r\n\r\n").await;
        assert!(late.starts_with("HTTP/1.1 103 ") && late.contains("</late.css>"), "{late}");
        assert!(read_until(&mut client, "hello").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

/// Either end of a connection.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Http1,
    Http1Tls,
    Http2Tls,
    Http2Plain,
}

/// The response to a GET, whose body is yet to be read.
async fn begin(proxy: &Proxy, ca: &TestCa, over: Over, path: &str) -> http::Response<Incoming> {
    let stream: Box<dyn Wire> = match over {
        Over::Http1 | Over::Http2Plain => Box::new(TcpStream::connect(proxy.http).await.unwrap()),
        Over::Http1Tls => Box::new(connect_tls(proxy.https, ca, HOST, &["http/1.1"]).await.unwrap()),
        Over::Http2Tls => Box::new(connect_tls(proxy.https, ca, HOST, &["h2"]).await.unwrap()),
    };
    let stream = TokioIo::new(stream);
    let response = match over {
        Over::Http1 | Over::Http1Tls => {
            let (mut sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let request = Request::get(path).header("host", HOST).body(Empty::<Bytes>::new()).unwrap();
            timeout(PATIENCE, sender.send_request(request)).await
        }
        Over::Http2Tls | Over::Http2Plain => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            let scheme = if over == Over::Http2Tls { "https" } else { "http" };
            let url = format!("{scheme}://{HOST}{path}");
            let request = Request::get(url).version(Version::HTTP_2).body(Empty::<Bytes>::new()).unwrap();
            timeout(PATIENCE, sender.send_request(request)).await
        }
    };
    response.expect("the header is not held back").unwrap()
}

/// Reads until this text is there.
async fn await_text(body: &mut Incoming, expected: &str) {
    let mut read = Vec::new();
    while read.len() < expected.len() {
        let frame = timeout(PATIENCE, body.frame()).await.unwrap_or_else(|_| panic!("{expected:?} is held back"));
        read.extend_from_slice(frame.unwrap().unwrap().data_ref().unwrap());
    }
    assert_eq!(read, expected.as_bytes());
}

#[tokio::test]
async fn each_event_and_each_byte_arrives_before_the_next_is_sent() {
    let (told, heard) = mpsc::unbounded_channel::<()>();
    let heard = Arc::new(Mutex::new(heard));
    let scripted = Scripted::start(move |mut stream| {
        let heard = Arc::clone(&heard);
        async move {
            let header = read_header(&mut stream).await;
            let events = header.starts_with("GET /events ");
            let framing = if events { "Transfer-Encoding: chunked" } else { "Content-Length: 8" };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut heard = heard.lock().await;
            for number in 0..8 {
                heard.recv().await.unwrap();
                let text = piece(events, number);
                let sent = if events { format!("{:x}\r\n{text}\r\n", text.len()) } else { text };
                stream.write_all(sent.as_bytes()).await.unwrap();
            }
            if events {
                heard.recv().await.unwrap();
                stream.write_all(b"0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let ca = TestCa::new("test").unwrap();
    let manifests = Manifests::with(&[both(&ca), service("web"), pod("web", "web-1", scripted.address)]);
    let proxy = Proxy::start(&manifests, &[]);
    for over in [Over::Http1, Over::Http1Tls, Over::Http2Tls, Over::Http2Plain] {
        for events in [true, false] {
            let path = if events { "/events" } else { "/length" };
            // The header arrives though nothing of the body was sent.
            let response = begin(&proxy, &ca, over, path).await;
            assert_eq!(response.status(), 200, "{over:?}");
            let mut body = response.into_body();
            for number in 0..8 {
                told.send(()).unwrap();
                await_text(&mut body, &piece(events, number)).await;
            }
            if events {
                told.send(()).unwrap();
            }
            let end = timeout(PATIENCE, body.collect()).await.expect("the end arrives").unwrap();
            assert_eq!(end.to_bytes(), Bytes::new(), "{over:?} {path}");
        }
    }
}

/// An event, or one byte.
fn piece(events: bool, number: usize) -> String {
    if events { format!("data: {number}\n\n") } else { number.to_string() }
}

#[tokio::test]
async fn a_head_response_has_the_fields_of_get_and_no_body_and_the_connection_goes_on() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("test").unwrap();
    let manifests = Manifests::with(&[both(&ca), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    for _ in 0..2 {
        let request = format!("HEAD /media/1000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let header = read_until(&mut client, "\r\n\r\n").await;
        assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
        let lower = header.to_ascii_lowercase();
        assert!(lower.contains("content-length: 1000\r\n") && lower.contains("etag: \"media-1000\""), "{header}");
        // A body would be taken for the start of this response.
        client.write_all(format!("GET /media/5 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        let header = read_until(&mut client, "\r\n\r\n").await;
        assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
        let mut body = [0; 5];
        client.read_exact(&mut body).await.unwrap();
        assert!(media::verify(0, &body));
    }
    let stream = connect_tls(proxy.https, &ca, HOST, &["h2"]).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let head = Request::head(format!("https://{HOST}/media/1000")).body(Empty::<Bytes>::new()).unwrap();
    let response = timeout(PATIENCE, sender.send_request(head)).await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["content-length"]), (200, &"1000".parse().unwrap()));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), Bytes::new());
}

#[tokio::test]
async fn ranges_are_asked_of_the_pod_and_arrive_byte_for_byte() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("test").unwrap();
    let manifests = Manifests::with(&[both(&ca), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    for (range, status, start, length, content_range) in [
        ("bytes=0-0", 206, 0, 1, Some("bytes 0-0/100000")),
        ("bytes=1000-70999", 206, 1000, 70_000, Some("bytes 1000-70999/100000")),
        ("bytes=99990-", 206, 99_990, 10, Some("bytes 99990-99999/100000")),
        ("bytes=-7", 206, 99_993, 7, Some("bytes 99993-99999/100000")),
        ("bytes=100000-", 416, 0, 0, Some("bytes */100000")),
        ("lines=1-2", 200, 0, 100_000, None),
    ] {
        let ask = || Request::get("/media/100000").header("host", HOST).header("range", range);
        let plain = request(proxy.http, ask()).await;
        let stream = connect_tls(proxy.https, &ca, HOST, &["http/1.1"]).await.unwrap();
        let secure = exchange(stream, ask().body(Full::default()).unwrap()).await;
        for reply in [plain, secure] {
            assert_eq!((reply.status, reply.body.len()), (status, length), "{range}");
            assert!(media::verify(start, &reply.body), "{range}");
            assert_eq!(reply.header("content-range"), content_range, "{range}");
        }
    }
    for (tag, status) in [("\"media-100000\"", 206), ("\"media-1\"", 200)] {
        let ask =
            Request::get("/media/100000").header("host", HOST).header("range", "bytes=5-9").header("if-range", tag);
        assert_eq!(request(proxy.http, ask).await.status, status, "{tag}");
    }
    // The fields that make a range conditional are the pod's to judge.
    let conditional =
        Request::get("/any").header("host", HOST).header("range", "bytes=0-1").header("if-range", "\"media-1\"");
    let echo = request(proxy.http, conditional).await.echo();
    assert_eq!(
        (&echo.headers["range"][..], &echo.headers["if-range"][..]),
        (&["bytes=0-1".into()][..], &["\"media-1\"".into()][..])
    );
}
