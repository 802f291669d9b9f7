//! Relaying: what a client gets through another node's proxy, what limits it, and what cannot be had by it.

use super::support::client::{Reply, connect_tls, exchange, read_until};
use super::support::grpc::{Messages, client, grpc_pod, send};
use super::support::manifests::{alias, annotated, pod_on, published_at, route, service, service_with, with_readiness};
use super::support::nodes::{NODES, start, start_each};
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually};
use bytes::Bytes;
use http::Request;
use http::request::Builder;
use http_body_util::Full;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

const HOST: &str = "video.example.com";
const CLIENT: &str = "127.0.0.9";
const RELAY: (&str, &str) = ("nearside.dev/on-miss", "relay");

/// A file with the key of the cluster.
fn key() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789abcdef0123456789abcdef\n").unwrap();
    file
}

fn flag(key: &NamedTempFile) -> String {
    format!("--relay-key-file={}", key.path().display())
}

/// The pod is on n2.
fn on_n2(address: SocketAddr, spec: Value, annotations: &[(&str, &str)]) -> Manifests {
    Manifests::with(&[
        annotated(route("video", HOST, spec), annotations),
        service("video"),
        pod_on("n2", "video", "video-2", address),
        published_at(HOST, &NODES[1..2]),
    ])
}

/// A request of a client at an address of its own.
async fn ask(address: SocketAddr, from: &str, request: Builder, body: &str) -> Reply {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let stream = socket.connect(address).await.unwrap();
    exchange(stream, request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()).await
}

fn to_host(path: &str) -> Builder {
    Request::get(path).header("host", HOST)
}

async fn two(manifests: &Manifests, flags: &[&str]) -> [Proxy; 2] {
    let Ok(proxies) = <[Proxy; 2]>::try_from(start(&[manifests, manifests], flags)) else { panic!("two proxies") };
    proxies
}

#[tokio::test]
async fn a_pod_of_another_node_answers_as_if_it_had_been_asked_there_and_every_byte_is_counted() {
    let (_pod, address) = echo_pod("video-2");
    let key = key();
    let manifests = on_n2(address, json!({}), &[RELAY]);
    let [n1, n2] = two(&manifests, &[&flag(&key)]).await;
    let request = Request::post("/a%2Fb?t=1").header("host", HOST).header("x-forwarded-for", "192.0.2.1");
    let reply = ask(n1.http, CLIENT, request, "hello").await;
    assert_eq!((reply.status, reply.pod()), (200, Some("video-2")));
    let echo = reply.echo();
    assert_eq!((echo.method.as_str(), echo.path.as_str(), echo.host.as_str()), ("POST", "/a%2Fb?t=1", HOST));
    assert_eq!(echo.headers["x-forwarded-for"], ["192.0.2.1", CLIENT], "the relay is no proxy to a pod");
    assert_eq!(echo.headers["x-forwarded-port"], [n1.http.port().to_string()]);
    assert!(!echo.headers.contains_key("nearside-relayed"), "no pod sees the mark");

    let crossed = n1.metric("nearside_cross_node_response_bytes_total", "").await;
    assert_eq!(crossed, Some(reply.body.len() as f64));
    assert_eq!(n2.metric("nearside_cross_node_response_bytes_total", "").await, Some(0.0));
    assert_eq!(n1.metric("nearside_misses_total", "policy=\"relay\"").await, Some(1.0));
    let line = n1.access_line(HOST).await;
    assert_eq!((&line["reason"], &line["address"]), (&json!("relayed"), &json!(n2.http.to_string())));
    assert!(n2.access_line(HOST).await["client"].as_str().unwrap().starts_with(CLIENT), "it is the client's request");
}

#[tokio::test]
async fn nothing_is_relayed_unless_the_object_and_the_operator_want_it() {
    let (_pod, address) = echo_pod("video-2");
    let key = key();
    let manifests = on_n2(address, json!({}), &[RELAY]);
    let [n1, _n2] = two(&manifests, &[]).await;
    assert_eq!(ask(n1.http, CLIENT, to_host("/"), "").await.status, 307, "the operator does not");
    drop((n1, _n2));
    let manifests = on_n2(address, json!({}), &[]);
    let [n1, _n2] = two(&manifests, &[&flag(&key)]).await;
    assert_eq!(ask(n1.http, CLIENT, to_host("/"), "").await.status, 307, "the object does not");
    assert_eq!(n1.metric("nearside_cross_node_response_bytes_total", "").await, Some(0.0));
}

#[tokio::test]
async fn a_mark_gains_a_client_nothing() {
    let (_pod, address) = echo_pod("video-2");
    let key = key();
    let annotations = [RELAY, ("haproxy.router.openshift.io/ip_whitelist", CLIENT)];
    let manifests = on_n2(address, json!({}), &annotations);
    let [n1, n2] = two(&manifests, &[&flag(&key)]).await;
    assert_eq!(ask(n1.http, CLIENT, to_host("/"), "").await.status, 200, "the client itself is let in on both nodes");
    assert_eq!(ask(n1.http, "127.0.0.8", to_host("/"), "").await.status, 403);
    for mark in ["1", "1;1800000000;127.0.0.9;127.0.0.9;http;80;00", ""] {
        let forged = to_host("/").header("nearside-relayed", mark);
        assert_eq!(ask(n2.http, "127.0.0.8", forged, "").await.status, 403, "{mark}");
        let moved = to_host("/").header("nearside-relayed", mark);
        let moved = ask(n1.http, CLIENT, moved, "").await;
        assert_eq!((moved.status, moved.header("location")), (503, None), "who says to have been moved is not moved");
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_or_has_lost_its_pod_is_no_loop() {
    let (_pod, address) = echo_pod("video-2");
    let key = key();
    let manifests = on_n2(address, json!({}), &[RELAY]);
    manifests.put(&published_at(HOST, &[("n2", "127.0.0.77")]));
    let [n1, n2] = two(&manifests, &[&flag(&key)]).await;
    let away = ask(n1.http, CLIENT, Request::post("/x").header("host", HOST), "body").await;
    assert_eq!(away.status, 307, "nobody was asked, so the client may ask itself");
    assert_eq!(away.header("location"), Some(&*format!("http://{}/x", alias(HOST, "n2"))));
    manifests.put(&with_readiness(pod_on("n2", "video", "video-2", address), false));
    manifests.put(&published_at(HOST, &NODES[1..2]));
    eventually("the other node has no pod any more", || async {
        (ask(n2.http, CLIENT, to_host("/"), "").await.status == 503).then_some(())
    })
    .await;
    let lost = eventually("it is asked", || async {
        let reply = ask(n1.http, CLIENT, to_host("/"), "").await;
        (reply.header("location").is_none()).then_some(reply)
    })
    .await;
    assert_eq!(lost.status, 503);
    assert!(lost.header("retry-after").is_some());
}

#[tokio::test]
async fn over_tls_only_a_node_with_the_very_certificate_is_asked() {
    let (_pod, address) = echo_pod("video-2");
    let (key, ca) = (key(), TestCa::new("test").unwrap());
    let spec = || {
        let identity = ca.identity(&["*.example.com"]).unwrap();
        json!({ "tls": { "termination": "edge", "certificate": identity.certificate, "key": identity.key } })
    };
    let manifests = on_n2(address, spec(), &[RELAY]);
    let [n1, _n2] = two(&manifests, &[&flag(&key)]).await;
    let ask = |proxy: SocketAddr| {
        let ca = &ca;
        async move {
            let stream = connect_tls(proxy, ca, HOST, &["http/1.1"]).await.unwrap();
            exchange(stream, to_host("/").body(Full::default()).unwrap()).await
        }
    };
    let reply = ask(n1.https).await;
    assert_eq!((reply.status, reply.pod()), (200, Some("video-2")));
    assert_eq!(reply.echo().headers["x-forwarded-proto"], ["https"]);
    assert_eq!(reply.header("alt-svc").map(|field| field.starts_with("h2=")), Some(true), "the next one may go there");
    drop((n1, _n2));
    // Valid for the same names, of the same CA, and yet another key.
    let (one, two) = (on_n2(address, spec(), &[RELAY]), on_n2(address, spec(), &[RELAY]));
    let proxies = start(&[&one, &two], &[&flag(&key)]);
    assert_eq!(ask(proxies[0].https).await.status, 307);
    assert_eq!(proxies[0].metric("nearside_cross_node_response_bytes_total", "").await, Some(0.0));
    assert_eq!(proxies[1].access_log().len(), 0, "not a byte of the request was sent");
}

#[tokio::test]
async fn too_long_responses_and_too_many_are_redirected_or_cut() {
    let pod = Scripted::start(|mut stream| async move {
        loop {
            let header = super::support::pods::read_header(&mut stream).await;
            if header.is_empty() {
                return;
            }
            let answer = if header.contains("/long") {
                format!("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n{}", "x".repeat(2000))
            } else if header.contains("/endless") {
                let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(100))
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let key = key();
    let manifests = on_n2(pod.address, json!({}), &[RELAY]);
    let [n1, _n2] = two(&manifests, &[&flag(&key), "--relay-response-bytes=1500", "--relay-share=1"]).await;
    let long = ask(n1.http, CLIENT, to_host("/long"), "").await;
    assert_eq!((long.status, long.body.len()), (307, 0), "it says so in time");
    let posted = ask(n1.http, CLIENT, Request::post("/long").header("host", HOST), "x").await;
    assert_eq!(posted.status, 503, "what has been done once is not to be done again");
    let mut stream = TcpStream::connect(n1.http).await.unwrap();
    stream.write_all(format!("GET /endless HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let cut = super::support::client::read_to_end(&mut stream).await;
    assert!(cut.len() < 4000 && !cut.ends_with("0\r\n\r\n"), "{} bytes", cut.len());
    let asked = (0..60).map(|_| tokio::spawn(ask(n1.http, CLIENT, to_host("/"), "")));
    let mut statuses = [0; 2];
    for asked in asked.collect::<Vec<_>>() {
        let status = asked.await.unwrap().status;
        assert!([200, 307].contains(&status), "{status}");
        statuses[usize::from(status == 307)] += 1;
    }
    assert!(statuses[0] > 0 && statuses[1] > 0, "a few are relayed in any case, the rest but for one of a hundred not");
}

#[tokio::test]
async fn a_key_file_that_changes_is_read_again_and_one_that_is_broken_changes_nothing() {
    let (_pod, address) = echo_pod("video-2");
    // Only whose word of the client is believed gets past the list of the other node.
    let manifests = on_n2(address, json!({}), &[RELAY, ("haproxy.router.openshift.io/ip_whitelist", CLIENT)]);
    let (ours, theirs) = (key(), key());
    std::fs::write(theirs.path(), "another key of at least 32 characters").unwrap();
    let [our_flag, their_flag] = [flag(&ours), flag(&theirs)];
    // The test asks until the file is read, and no limit is to come in between.
    let proxies = start_each(&[(&manifests, &[&our_flag, "--relay-share=100"]), (&manifests, &[&their_flag])]);
    let ask = || ask(proxies[0].http, CLIENT, to_host("/"), "");
    assert_eq!(ask().await.status, 403, "they have different keys");
    let both = format!("another key of at least 32 characters\n{}", std::fs::read_to_string(ours.path()).unwrap());
    std::fs::write(theirs.path(), both).unwrap();
    eventually("the other node believes both keys", || async { (ask().await.status == 200).then_some(()) }).await;
    std::fs::write(theirs.path(), "short").unwrap();
    eventually("the log says so", || async { proxies[1].log().contains("the last good ones hold").then_some(()) })
        .await;
    assert_eq!(ask().await.status, 200, "the last good keys hold");
}

#[tokio::test]
async fn calls_and_tunnels_are_relayed_as_they_are() {
    let pod = grpc_pod(None).await;
    let key = key();
    let tunnel = Scripted::start(|mut stream| async move {
        let header = super::support::pods::read_header(&mut stream).await;
        if header.is_empty() {
            return;
        }
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        if stream.write_all(switch.as_bytes()).await.is_ok() {
            let (mut read, mut write) = stream.split();
            drop(tokio::io::copy(&mut read, &mut write).await);
        }
    })
    .await;
    let mut chat = published_at("chat.example.com", &NODES[1..2]);
    chat["metadata"]["name"] = json!("chat");
    let manifests = Manifests::with(&[
        annotated(route("video", HOST, json!({})), &[RELAY]),
        service_with("video", json!({ "appProtocol": "kubernetes.io/h2c" })),
        pod_on("n2", "video", "video-2", pod.address),
        published_at(HOST, &NODES[1..2]),
        annotated(route("chat", "chat.example.com", json!({})), &[RELAY]),
        service("chat"),
        pod_on("n2", "chat", "chat-2", tunnel.address),
        chat,
    ]);
    let [n1, _n2] = two(&manifests, &[&flag(&key)]).await;
    let mut client = client(TcpStream::connect(n1.http).await.unwrap()).await;
    let mut messages =
        Messages::new(send(&mut client, &format!("http://{HOST}/test/Server"), &["part"]).await.into_body());
    assert_eq!(messages.rest().await, ["part 1", "part 2", "part 3"]);
    assert_eq!(messages.trailer("grpc-status"), Some("0"));

    let mut stream = TcpStream::connect(n1.http).await.unwrap();
    let upgrade = "GET /ws HTTP/1.1\r\nHost: chat.example.com\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    for word in ["ping", "pong"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut stream, word).await, word);
    }
}
