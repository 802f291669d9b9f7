//! WebSocket over HTTP/2 (RFC 8441): browsers use it where the connection to the host is HTTP/2 already.

use super::support::client::connect_tls;
use super::support::manifests::{annotated, pod, route, service};
use super::support::pods::{echo_pod_with, read_header};
use super::support::{Manifests, PATIENCE, Proxy, Scripted, echo_pod};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::websocket::{self, Frame};
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const HOST: &str = "web.example.com";
const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

type Client = SendRequest<Empty<Bytes>>;

async fn client(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Client {
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    // The server's settings, which allow an extended CONNECT, come before its first answer.
    let request = Request::get("http://unknown.invalid/").body(Empty::new()).unwrap();
    drop(timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap());
    sender
}

/// An extended CONNECT.
async fn connect(client: &mut Client, url: &str, protocol: Option<&'static str>) -> Response<Incoming> {
    let mut request = Request::builder().method(Method::CONNECT).uri(url).header("sec-websocket-version", "13");
    if let Some(protocol) = protocol {
        request = request.extension(Protocol::from_static(protocol));
    }
    timeout(PATIENCE, client.send_request(request.body(Empty::new()).unwrap())).await.unwrap().unwrap()
}

fn plain(address: SocketAddr) -> Manifests {
    Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)])
}

fn binary(payload: Vec<u8>) -> Frame {
    Frame { fin: true, opcode: 2, payload }
}

#[tokio::test]
async fn frames_pass_both_ways_in_a_stream_of_http_2() {
    let ca = TestCa::new("test").unwrap();
    let identity = ca.identity(&["edge.example.com", "reencrypt.example.com"]).unwrap();
    let (_plain, plain) = echo_pod("plain-1");
    let (_tls, tls) = echo_pod_with("tls-1", Some(identity.server().unwrap()));
    let over_tls = |kind: &str, service: &str| {
        let own = json!({ "termination": kind, "certificate": identity.certificate, "key": identity.key });
        route(kind, &format!("{kind}.example.com"), json!({ "to": { "kind": "Service", "name": service }, "tls": own }))
    };
    let proxy = Proxy::start(
        &Manifests::with(&[
            route("plain", "plain.example.com", json!({})),
            over_tls("edge", "plain"),
            over_tls("reencrypt", "tls"),
            service("plain"),
            pod("plain", "plain-1", plain),
            service("tls"),
            pod("tls", "tls-1", tls),
        ]),
        &[],
    );
    for kind in ["plain", "edge", "reencrypt"] {
        let host = format!("{kind}.example.com");
        let mut client = match kind {
            "plain" => client(TcpStream::connect(proxy.http).await.unwrap()).await,
            _ => client(connect_tls(proxy.https, &ca, &host, &["h2"]).await.unwrap()).await,
        };
        let scheme = if kind == "plain" { "http" } else { "https" };
        let response = connect(&mut client, &format!("{scheme}://{host}/chat?a=b"), Some("websocket")).await;
        assert_eq!(response.status(), 200, "{kind}");
        assert!(!response.headers().contains_key("sec-websocket-accept"), "{kind}");
        assert!(response.headers().contains_key("set-cookie"), "{kind}: the client keeps its pod");
        let stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        let (mut reader, mut writer) = tokio::io::split(stream);
        let payload = |number: u8| (0..60_000_u32).map(|at| at.to_le_bytes()[0] ^ number).collect::<Vec<_>>();
        let sent = async {
            for number in 0..40 {
                websocket::write(&mut writer, &binary(payload(number)), MASK).await.unwrap();
            }
            websocket::write(&mut writer, &Frame { fin: true, opcode: 8, payload: vec![] }, MASK).await.unwrap();
        };
        let received = async {
            for number in 0..40 {
                let frame = timeout(PATIENCE, websocket::read(&mut reader)).await.unwrap().unwrap();
                assert!(frame == Some(binary(payload(number))), "{kind} {number}");
            }
            let close = timeout(PATIENCE, websocket::read(&mut reader)).await.unwrap().unwrap().unwrap();
            assert_eq!(close.opcode, 8, "{kind}");
            let end = timeout(PATIENCE, websocket::read(&mut reader)).await.unwrap().unwrap();
            assert_eq!(end, None, "{kind}: the pod has ended, and so has the stream");
        };
        tokio::join!(sent, received);
        let line = proxy.access_line(&host).await;
        let seen = (line["method"].as_str(), line["protocol"].as_str(), line["status"].as_u64());
        assert_eq!(seen, (Some("GET"), Some("HTTP/2"), Some(200)), "{kind}");
        assert!(line["received"].as_u64().unwrap() > 2_400_000 && line["sent"].as_u64().unwrap() > 2_400_000, "{line}");
        assert_eq!(line["route"], format!("Route shop/{kind}"), "{line}");
    }
}

#[tokio::test]
async fn the_pod_sees_an_upgrade_and_the_end_of_its_client() {
    let (seen, mut told) = tokio::sync::mpsc::channel(4);
    let pod = Scripted::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            let head = read_header(&mut stream).await;
            let key = head.lines().find_map(|line| {
                line.strip_prefix("sec-websocket-key: ").or_else(|| line.strip_prefix("Sec-WebSocket-Key: "))
            });
            let fields =
                [("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", key.unwrap())];
            let mut map = http::HeaderMap::new();
            for (name, value) in fields {
                map.insert(name, value.parse().unwrap());
            }
            let accept = websocket::accept_key(&map).unwrap();
            // The first frame comes along with the header.
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nX-Pod: web-1\r\n\r\nearly"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut all = Vec::new();
            drop(stream.read_to_end(&mut all).await);
            drop(stream.write_all(b"late").await);
            seen.send((head, all)).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::of(plain(pod.address), &["--server-fin-timeout=10s"]);
    let mut client = client(TcpStream::connect(proxy.http).await.unwrap()).await;
    let response = connect(&mut client, &format!("http://{HOST}/chat?a=b"), Some("websocket")).await;
    assert_eq!(response.headers()["x-pod"], "web-1");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut early = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut early)).await.unwrap().unwrap();
    assert_eq!(&early, b"early");
    stream.write_all(b"as it is").await.unwrap();
    stream.shutdown().await.unwrap();
    let (head, all) = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    assert_eq!(all, b"as it is");
    let head = head.to_lowercase();
    assert!(head.starts_with("get /chat?a=b http/1.1\r\n"), "{head}");
    for field in ["host: web.example.com", "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"] {
        assert!(head.contains(&format!("{field}\r\n")), "{field}: {head}");
    }
    assert_eq!(head.lines().filter(|line| line.starts_with("sec-websocket-key: ")).count(), 1);
    let mut late = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut late)).await.unwrap().unwrap();
    assert_eq!(late, b"late", "the pod may finish what it has to say");
}

#[tokio::test]
async fn what_is_no_agreement_is_no_tunnel() {
    for (said, expected, body) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nkeep", 403, Some("keep")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 502, None),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502, None),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            502,
            None,
        ),
        ("", 502, None),
    ] {
        let pod = Scripted::start(move |mut stream| async move {
            read_header(&mut stream).await;
            drop(stream.write_all(said.as_bytes()).await);
        })
        .await;
        let proxy = Proxy::of(plain(pod.address), &[]);
        let mut client = client(TcpStream::connect(proxy.http).await.unwrap()).await;
        let response = connect(&mut client, &format!("http://{HOST}/"), Some("websocket")).await;
        assert_eq!(response.status(), expected, "{said}");
        let text = timeout(PATIENCE, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
        if let Some(body) = body {
            assert_eq!(text, body);
        }
    }
}

#[tokio::test]
async fn routes_and_refusals_are_those_of_any_request() {
    let (_pod, address) = echo_pod("web-1");
    let to = json!({ "to": { "kind": "Service", "name": "web" } });
    let closed = route("closed", "closed.example.com", to);
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        annotated(closed, &[("haproxy.router.openshift.io/ip_allowlist", "192.0.2.1")]),
        route("none", "none.example.com", json!({})),
        service("none"),
        service("web"),
        pod("web", "web-1", address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    for (url, protocol, expected) in [
        ("http://unknown.example.com/", Some("websocket"), 404),
        ("http://closed.example.com/", Some("websocket"), 403),
        ("http://none.example.com/", Some("websocket"), 503),
        ("http://web.example.com/", Some("connect-udp"), 405),
        ("web.example.com:443", None, 405),
        ("http://web.example.com/", Some("websocket"), 200),
    ] {
        // Where no pod is left the connection ends with the answer.
        let mut client = client(TcpStream::connect(proxy.http).await.unwrap()).await;
        assert_eq!(connect(&mut client, url, protocol).await.status(), expected, "{url} {protocol:?}");
    }
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_ends() {
    let (_pod, address) = echo_pod("web-1");
    let proxy = Proxy::of(plain(address), &["--tunnel-timeout=300ms"]);
    let mut client = client(TcpStream::connect(proxy.http).await.unwrap()).await;
    let response = connect(&mut client, &format!("http://{HOST}/"), Some("websocket")).await;
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut all = Vec::new();
    // A reset or an end.
    drop(timeout(PATIENCE, stream.read_to_end(&mut all)).await.unwrap());
    assert!(all.is_empty());
    assert_eq!(proxy.access_line(HOST).await["reason"], "idle");
}
