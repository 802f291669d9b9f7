//! Requests as clients send them: framing, limits, forwarded fields, half-closed and long-lived connections.

use super::support::client::{Reply, exchange, get_h2, raw, read_to_end, read_until, request};
use super::support::manifests::{pod, route, service};
use super::support::pods::read_header;
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get};
use http::Request;
use http_body_util::Full;
use nearside_loadtest::pods::{PodServer, websocket};
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

const HOST: &str = "web.example.com";

fn web(address: std::net::SocketAddr) -> Manifests {
    Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)])
}

fn echoing() -> (PodServer, Proxy, Manifests) {
    let (pod, address) = echo_pod("web-1");
    let manifests = web(address);
    let proxy = Proxy::start(&manifests, &[]);
    (pod, proxy, manifests)
}

#[tokio::test]
async fn an_answer_reaches_its_end_although_bytes_of_the_client_were_never_read() {
    let (_pod, proxy, _manifests) = echoing();
    let length = 60_000;
    // A small window leaves most of the answer in the proxy's socket.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(proxy.http).await.unwrap();
    let request = format!("GET /media/{length} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let header = read_until(&mut stream, "\r\n\r\n").await;
    assert!(header.starts_with("HTTP/1.1 200"), "{header}");
    // Nobody reads this, and a close with unread bytes would send a reset over what is still on its way.
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    eventually("the proxy is done", || async {
        proxy.metric("nearside_response_bytes_total", "route=\"web\"").await.filter(|bytes| *bytes >= f64::from(length))
    })
    .await;
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.unwrap();
    assert_eq!(body.len(), length as usize);
}

#[tokio::test]
async fn a_pod_learns_who_asked_and_not_what_the_client_claims() {
    let (_pod, proxy, _manifests) = echoing();
    let spoofed = Request::get("/")
        .header("host", format!("{HOST}:8080"))
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "bank.example.com")
        .header("x_forwarded_for", "10.0.0.1")
        .header("proxy", "http://evil.example.com")
        .header("x-ssl-client-cn", "root");
    let seen = request(proxy.http, spoofed).await.echo().headers;
    let field = |name: &str| seen.get(name).cloned().unwrap_or_default();
    assert_eq!(field("x-forwarded-for"), ["192.0.2.1", "127.0.0.1"]);
    assert_eq!(field("x-forwarded-proto"), ["http"]);
    assert_eq!(field("x-forwarded-host"), [format!("{HOST}:8080")]);
    assert_eq!(field("x-forwarded-port"), [proxy.http.port().to_string()]);
    assert_eq!(field("forwarded"), [format!("for=127.0.0.1;host=\"{HOST}:8080\";proto=http")]);
    for removed in ["x_forwarded_for", "proxy", "x-ssl-client-cn"] {
        assert!(field(removed).is_empty(), "{removed}");
    }
}

#[tokio::test]
async fn requests_that_two_parsers_could_read_differently_are_refused() {
    let (pod, proxy, _manifests) = echoing();
    let many = "x-a: b\r\n".repeat(200);
    let long = "b".repeat(40_000);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}, b.example.com\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nHost: user@{HOST}\r\n\r\n"), 400),
        (format!("GET /%00 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400),
        (format!("GET /%zz HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400),
        (format!("GET /a\\b HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400),
        (format!("GET http://other.example.com/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400),
        (format!("TRACE / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 405),
        (format!("CONNECT {HOST}:80 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 405),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nx: {long}\r\n\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 414),
        (format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 400),
        (format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length:\r\n\r\n"), 400),
    ] {
        let answer = raw(proxy.http, request.as_bytes()).await;
        let shown = &request[..request.len().min(80)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
    }
    assert_eq!(pod.requests(), 0, "none of them reached the pod");
    assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
}

#[tokio::test]
async fn the_absolute_form_reaches_the_pod_as_origin_form() {
    let (_pod, proxy, _manifests) = echoing();
    let bytes = format!("GET http://{HOST}/a?b HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let answer = raw(proxy.http, bytes.as_bytes()).await;
    assert!(answer.contains(r#""path":"/a?b""#), "{answer}");
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let (_pod, proxy, _manifests) = echoing();
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let requests = [("/media/5", "200"), ("/media/5", "200"), ("/status/404", "404")];
    for (path, status) in requests {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
    }
    stream.write_all(format!("GET /%00 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 400 "), "and is closed after a bad one");
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let (_pod, proxy, _manifests) = echoing();
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let reply = get_h2(stream, &format!("http://{HOST}/h2")).await;
    assert_eq!(reply.version, http::Version::HTTP_2);
    let echo = reply.echo();
    assert_eq!((echo.protocol.as_str(), echo.host.as_str()), ("HTTP/1.1", HOST));
    assert_eq!(echo.headers["x-forwarded-host"], [HOST]);
}

#[tokio::test]
async fn old_and_headless_clients_are_served() {
    let (_pod, proxy, _manifests) = echoing();
    let old = raw(proxy.http, format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
    assert!(old.contains(" 200 OK\r\n") && old.contains(r#""pod":"web-1""#), "{old}");
    let bytes = format!("HEAD /media/5000 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let head = raw(proxy.http, bytes.as_bytes()).await;
    assert!(head.to_lowercase().contains("content-length: 5000\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let missing = raw(proxy.http, b"HEAD / HTTP/1.1\r\nHost: nothing.example.com\r\nConnection: close\r\n\r\n").await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.ends_with("\r\n\r\n"), "{missing}");
}

#[tokio::test]
async fn bodies_arrive_whole_both_ways() {
    let (_pod, proxy, _manifests) = echoing();
    let body = vec![b'x'; 3_000_000];
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let upload = Request::post("/upload").header("host", HOST).body(Full::from(body)).unwrap();
    assert_eq!(exchange(stream, upload).await.echo().body_bytes, 3_000_000);
    let download: Reply = get(proxy.http, HOST, "/media/3000000").await;
    assert!(nearside_loadtest::pods::media::verify(0, &download.body) && download.body.len() == 3_000_000);
    let part =
        request(proxy.http, Request::get("/media/3000000").header("host", HOST).header("range", "bytes=1000-1999"));
    let part = part.await;
    assert!(part.status == 206 && nearside_loadtest::pods::media::verify(1000, &part.body), "{}", part.status);
}

#[tokio::test]
async fn what_a_pod_has_sent_is_on_its_way_before_it_sends_more() {
    let seen = Arc::new(Notify::new());
    let pod_seen = Arc::clone(&seen);
    let slow = Scripted::start(move |mut stream| {
        let seen = Arc::clone(&pod_seen);
        async move {
            read_header(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await.unwrap();
            seen.notified().await;
            stream.write_all(b"final").await.unwrap();
        }
    })
    .await;
    let manifests = web(slow.address);
    let proxy = Proxy::start(&manifests, &[]);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    read_until(&mut stream, "first").await;
    seen.notify_one();
    assert_eq!(read_to_end(&mut stream).await, "final");
}

#[tokio::test]
async fn a_client_that_has_ended_its_half_gets_the_whole_answer() {
    let half_closed = Arc::new(Notify::new());
    let pod_waits = Arc::clone(&half_closed);
    let slow = Scripted::start(move |mut stream| {
        let half_closed = Arc::clone(&pod_waits);
        async move {
            read_header(&mut stream).await;
            half_closed.notified().await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await.unwrap();
        }
    })
    .await;
    let manifests = web(slow.address);
    let proxy = Proxy::start(&manifests, &[]);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    half_closed.notify_one();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn a_websocket_is_tunnelled() {
    let (_pod, proxy, _manifests) = echoing();
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let bytes = format!(
        "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    for text in ["hello", "again"] {
        let frame = websocket::Frame { fin: true, opcode: 1, payload: text.into() };
        websocket::write(&mut stream, &frame, Some([1, 2, 3, 4])).await.unwrap();
        let echoed = websocket::read(&mut stream).await.unwrap().unwrap();
        assert_eq!(echoed.payload, text.as_bytes());
    }
}

#[tokio::test]
async fn a_websocket_lives_also_where_the_pod_is_faster_than_its_request() {
    let eager = Scripted::start(|mut stream| async move {
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        read_header(&mut stream).await;
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await;
    let manifests = web(eager.address);
    let proxy = Proxy::start(&manifests, &[]);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        let bytes = format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(bytes.as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"echo").await.unwrap();
        read_until(&mut stream, "echo").await;
    }
}
