//! How long things may take: silent pods, slow clients, tunnels, and connections that are only half there. What cannot be
//! seen without waiting is seen beside something that ends sooner.

use super::support::client::{connect_tls, read_to_end, read_until};
use super::support::manifests::{annotated, pod, route, service, service_with};
use super::support::pods::{echo_pod_with, read_header};
use super::support::{Manifests, PATIENCE, Proxy, Scripted, echo_pod, eventually, get};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::websocket;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

const HOST: &str = "web.example.com";

/// A pod that reads everything and never says anything.
async fn silent_pod() -> Scripted {
    Scripted::start(|mut stream| async move {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    })
    .await
}

fn to(name: &str, host: &str, service: &str) -> Value {
    route(name, host, json!({ "to": { "kind": "Service", "name": service } }))
}

#[tokio::test]
async fn a_silent_pod_is_waited_for_as_long_as_the_route_says() {
    let silent = silent_pod().await;
    let spellings = [
        ("haproxy.router.openshift.io/timeout", "200ms"),
        ("nearside.dev/timeout", "200"),
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "1"),
    ];
    let hosts = ["a.example.com", "b.example.com", "c.example.com"];
    let mut objects = vec![service("silent"), pod("silent", "silent-1", silent.address)];
    for (host, annotation) in hosts.iter().zip(spellings) {
        objects.push(annotated(to(&host[..1], host, "silent"), &[annotation]));
    }
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start(&manifests, &["--read-timeout=1h"]);
    for host in hosts {
        assert_eq!(get(proxy.http, host, "/").await.status, 504, "{host}");
        assert_eq!(proxy.access_line(host).await["reason"], "pod_timeout");
    }
}

#[tokio::test]
async fn a_pod_that_answers_late_is_waited_for_where_the_route_says_so() {
    let answer = Arc::new(Notify::new());
    let told = Arc::clone(&answer);
    let late = Scripted::start(move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            read_header(&mut stream).await;
            told.notified().await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let silent = silent_pod().await;
    let manifests = Manifests::with(&[
        annotated(route("web", HOST, json!({})), &[("haproxy.router.openshift.io/timeout", "1h")]),
        service("web"),
        pod("web", "web-1", late.address),
        to("silent", "silent.example.com", "silent"),
        service("silent"),
        pod("silent", "silent-1", silent.address),
    ]);
    let proxy = Proxy::start(&manifests, &["--read-timeout=200ms"]);
    let (reply, ()) = tokio::join!(get(proxy.http, HOST, "/"), async {
        assert_eq!(get(proxy.http, "silent.example.com", "/").await.status, 504);
        answer.notify_one();
    });
    assert_eq!(reply.status, 200);
}

/// A request in two parts: announced, and the rest; by length, by length beyond what is awaited, and in chunks.
fn uploads(host: &str) -> [(String, String); 3] {
    let head = |framing: &str| format!("POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{framing}\r\n\r\n");
    let large = 300_000;
    [
        (head("Content-Length: 10") + "first", "final".to_owned()),
        (head(&format!("Content-Length: {large}")) + "first", "x".repeat(large - 5)),
        (head("Transfer-Encoding: chunked") + "5\r\nfirst\r\n", "5\r\nfinal\r\n0\r\n\r\n".to_owned()),
    ]
}

#[tokio::test]
async fn a_pods_silence_counts_once_it_has_the_whole_request() {
    let (_pod, address) = echo_pod("web-1");
    let (_h2_pod, h2_address) = echo_pod("h2-1");
    let silent = silent_pod().await;
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", address),
        route("h2", "h2.example.com", json!({})),
        service_with("h2", json!({ "appProtocol": "kubernetes.io/h2c" })),
        pod("h2", "h2-1", h2_address),
        to("silent", "silent.example.com", "silent"),
        service("silent"),
        pod("silent", "silent-1", silent.address),
    ]);
    let proxy = Proxy::start(&manifests, &["--read-timeout=300ms", "--client-timeout=1h"]);
    let mut slow = Vec::new();
    for host in [HOST, "h2.example.com"] {
        for (first, rest) in uploads(host) {
            let mut stream = TcpStream::connect(proxy.http).await.unwrap();
            stream.write_all(first.as_bytes()).await.unwrap();
            slow.push((stream, rest, host));
        }
    }
    for (first, rest) in uploads("silent.example.com") {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        stream.write_all(rest.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{first}: {answer}");
    }
    // The others have been silent for longer than that.
    for (mut stream, rest, host) in slow {
        stream.write_all(rest.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host} {}: {answer}", rest.len());
    }
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_its_request_is_told_so() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &["--client-timeout=200ms", "--read-timeout=1h"]);
    for (first, _) in uploads(HOST) {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{first}: {answer}");
        assert_eq!(proxy.access_line(HOST).await["reason"], "client_timeout");
    }
}

/// Anything that bytes go through both ways.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Routes of every kind that a WebSocket may take, to one plain and one TLS pod.
struct Tunnels {
    ca: TestCa,
    objects: Vec<Value>,
    _pods: [nearside_loadtest::pods::PodServer; 2],
}

const KINDS: [&str; 4] = ["plain", "edge", "reencrypt", "passthrough"];

impl Tunnels {
    /// Each kind twice: as `KIND.example.com`, and as `KIND-own.example.com` with these annotations.
    fn new(own: &[(&str, &str)]) -> Self {
        let ca = TestCa::new("test").unwrap();
        let (plain, plain_address) = echo_pod("plain-1");
        let names = KINDS.iter().flat_map(|kind| [format!("{kind}.example.com"), format!("{kind}-own.example.com")]);
        let names: Vec<String> = names.collect();
        let identity = ca.identity(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let (tls, tls_address) = echo_pod_with("tls-1", Some(identity.server().unwrap()));
        let mut objects = vec![service("plain"), pod("plain", "plain-1", plain_address)];
        objects.extend([service("tls"), pod("tls", "tls-1", tls_address)]);
        for kind in KINDS {
            let own_certificate = json!({
                "termination": kind, "certificate": identity.certificate, "key": identity.key
            });
            let (target, tls) = match kind {
                "plain" => ("plain", Value::Null),
                "edge" => ("plain", own_certificate),
                "reencrypt" => ("tls", own_certificate),
                _ => ("tls", json!({ "termination": "passthrough" })),
            };
            let more = json!({ "to": { "kind": "Service", "name": target }, "tls": tls });
            objects.push(route(kind, &format!("{kind}.example.com"), more.clone()));
            objects.push(annotated(route(&format!("{kind}-own"), &format!("{kind}-own.example.com"), more), own));
        }
        Self { ca, objects, _pods: [plain, tls] }
    }

    /// A WebSocket over a route of this kind that has carried a message.
    async fn open(&self, proxy: &Proxy, kind: &str, host: &str) -> Box<dyn Socket> {
        let mut stream: Box<dyn Socket> = if kind == "plain" {
            Box::new(TcpStream::connect(proxy.http).await.unwrap())
        } else {
            Box::new(connect_tls(proxy.https, &self.ca, host, &["http/1.1"]).await.unwrap())
        };
        let bytes = format!(
            "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{host}: {head}");
        echo(&mut stream, host).await;
        stream
    }
}

async fn echo(stream: &mut Box<dyn Socket>, host: &str) {
    let frame = websocket::Frame { fin: true, opcode: 1, payload: "hello".into() };
    websocket::write(stream, &frame, Some([1, 2, 3, 4])).await.unwrap();
    let echoed = timeout(PATIENCE, websocket::read(stream)).await.unwrap().unwrap();
    assert_eq!(echoed.unwrap_or_else(|| panic!("{host} has ended")).payload, "hello".as_bytes(), "{host}");
}

#[tokio::test]
async fn a_tunnel_may_be_silent_for_longer_than_the_router_says_where_its_route_says_so() {
    let tunnels = Tunnels::new(&[("haproxy.router.openshift.io/timeout-tunnel", "1h")]);
    let manifests = Manifests::with(&tunnels.objects);
    let proxy = Proxy::start(&manifests, &["--tunnel-timeout=500ms"]);
    for kind in KINDS {
        let own_host = format!("{kind}-own.example.com");
        let mut own = tunnels.open(&proxy, kind, &own_host).await;
        let mut other = tunnels.open(&proxy, kind, &format!("{kind}.example.com")).await;
        read_to_end(&mut other).await;
        echo(&mut own, &own_host).await;
    }
}

#[tokio::test]
async fn a_tunnel_may_be_silent_for_less_time_than_the_router_says_where_its_route_says_so() {
    for annotation in [
        ("haproxy.router.openshift.io/timeout-tunnel", "300ms"),
        ("nearside.dev/timeout-tunnel", "300"),
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "1"),
    ] {
        let tunnels = Tunnels::new(&[annotation]);
        let manifests = Manifests::with(&tunnels.objects);
        let proxy = Proxy::start(&manifests, &[]);
        for kind in KINDS {
            let mut other = tunnels.open(&proxy, kind, &format!("{kind}.example.com")).await;
            let mut own = tunnels.open(&proxy, kind, &format!("{kind}-own.example.com")).await;
            read_to_end(&mut own).await;
            echo(&mut other, kind).await;
        }
    }
}

#[tokio::test]
async fn the_timeout_of_a_passthrough_route_counts_for_its_tunnel() {
    let tunnels = Tunnels::new(&[("haproxy.router.openshift.io/timeout", "300ms")]);
    let manifests = Manifests::with(&tunnels.objects);
    let proxy = Proxy::start(&manifests, &[]);
    let mut passed = tunnels.open(&proxy, "passthrough", "passthrough-own.example.com").await;
    let mut ended = tunnels.open(&proxy, "edge", "edge-own.example.com").await;
    read_to_end(&mut passed).await;
    echo(&mut ended, "edge: the timeout is that of an answer").await;
}

#[tokio::test]
async fn a_passed_through_connection_that_the_client_has_ended_is_not_kept_for_a_silent_pod() {
    let silent = Scripted::start(|mut stream| async move {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        // The client has ended its side, and this one stays open.
        std::future::pending::<()>().await;
    })
    .await;
    let manifests = Manifests::with(&[
        route("web", HOST, json!({ "tls": { "termination": "passthrough" } })),
        service("web"),
        pod("web", "web-1", silent.address),
    ]);
    let proxy = Proxy::start(&manifests, &["--server-fin-timeout=200ms"]);
    let (client, server) = tokio::io::duplex(16 * 1024);
    let ca = TestCa::new("test").unwrap();
    let handshake = tokio::spawn(hello_into(client, ca));
    let mut hello = vec![0; 16 * 1024];
    let mut server = server;
    let length = server.read(&mut hello).await.unwrap();
    let mut stream = TcpStream::connect(proxy.https).await.unwrap();
    stream.write_all(&hello[..length]).await.unwrap();
    stream.shutdown().await.unwrap();
    read_to_end(&mut stream).await;
    let line = eventually("the line of the connection", || async { proxy.access_log().pop() }).await;
    assert_eq!(line["reason"], "idle", "{line}");
    handshake.abort();
}

/// A TLS client that gets no answer.
async fn hello_into(stream: tokio::io::DuplexStream, ca: TestCa) {
    let connector = tokio_rustls::TlsConnector::from(ca.client(&[]).unwrap());
    drop(connector.connect(HOST.try_into().unwrap(), stream).await);
}

#[tokio::test]
async fn a_request_header_that_does_not_come_is_not_waited_for() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &["--header-timeout=300ms"]);
    for (bytes, expected) in [("", ""), ("GET / HTTP/1.1\r\nHost: web", "HTTP/1.1 408 ")] {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with(expected) && answer.is_empty() == expected.is_empty(), "{bytes:?}: {answer}");
    }
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_a_while() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &["--keep-alive-timeout=1s"]);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(format!("GET /media/5 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn further_connections_wait_until_there_is_room() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &["--max-connections=8"]);
    let ask = |address: SocketAddr| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let upgrade = format!(
            "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        stream
    };
    // The listener for TLS holds a place as well. Connections that wait for a request would make room.
    let mut served = Vec::new();
    for _ in 0..7 {
        let mut stream = ask(proxy.http).await;
        read_until(&mut stream, "\r\n\r\n").await;
        served.push(stream);
    }
    let mut waiting = ask(proxy.http).await;
    assert!(timeout(Duration::from_millis(300), waiting.read_u8()).await.is_err(), "there is no room");
    assert!(proxy.metric("nearside_limit_exceeded_total", "limit=\"connections\"").await.unwrap() >= 1.0);
    served.pop();
    assert!(read_until(&mut waiting, "\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
}
