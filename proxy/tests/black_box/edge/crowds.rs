//! How many there may be of something: connections in total, of one source, that wait; requests of a route and of all; handshakes.

use super::super::support::canary::Canary;
use super::super::support::client::{Reply, connect_tls, exchange, get_h2, get_tls, read_until};
use super::super::support::manifests::{pod, route, service};
use super::super::support::pods::{echo_pod_with, read_header};
use super::super::support::{Manifests, PATIENCE, Proxy, Scripted, echo_pod, eventually, get};
use super::{HOST, exceeded, met, web};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const ASK: &str = "GET /media/5 HTTP/1.1\r\nHost: web.example.com\r\n\r\n";

/// Connects from another loopback address than everybody else's.
async fn from(client: &str, address: SocketAddr) -> TcpStream {
    connected(client, address).await.unwrap()
}

/// The same for one that may be refused.
async fn connected(client: &str, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{client}:0").parse().unwrap()).unwrap();
    socket.connect(address).await
}

/// Asks on a connection that lives on; `false` where it is closed instead of answered.
async fn ask(stream: &mut TcpStream, first: &str) -> bool {
    if stream.write_all(format!("{first}{ASK}").as_bytes()).await.is_err() {
        return false;
    }
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read_u8()).await.expect("an answer, or an end") {
            Ok(byte) => read.push(byte),
            Err(_) => return false,
        }
    }
    assert!(read.starts_with(b"HTTP/1.1 200 "));
    stream.read_exact(&mut [0; 5]).await.is_ok()
}

#[tokio::test]
async fn a_source_has_so_many_connections_and_others_have_theirs() {
    let (_pod, proxy, _ca) = web(&["--max-connections-per-source=4"]);
    let mut canary = Canary::start(&proxy, HOST);
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = from("127.0.0.2", proxy.http).await;
        assert!(ask(&mut stream, "").await);
        open.push(stream);
    }
    for port in [proxy.http, proxy.https] {
        let end = match connected("127.0.0.2", port).await {
            Ok(mut one_more) => timeout(PATIENCE, one_more.read_u8()).await.expect("it is closed at once").unwrap_err(),
            Err(end) => end,
        };
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    }
    met(&proxy, "connections_per_source", 2).await;
    assert!(ask(&mut open[0], "").await, "those that it has are served on");
    canary.was_served().await;
    open.pop();
    eventually("there is room again", || async {
        // The reset may be as fast as the connection.
        let mut stream = connected("127.0.0.2", proxy.http).await.ok()?;
        ask(&mut stream, "").await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn behind_a_load_balancer_the_source_that_it_tells_counts_and_who_stands_for_many_has_no_limit() {
    let flags = ["--max-connections-per-source=2", "--proxy-protocol-from=127.0.0.2/32", "--trusted-proxies=127.0.0.3"];
    let (_pod, proxy, _ca) = web(&flags);
    let told = |client: &str| format!("PROXY TCP4 {client} 192.0.2.254 1000 80\r\n");
    let mut open = Vec::new();
    for (client, served) in
        [("192.0.2.1", true), ("192.0.2.1", true), ("192.0.2.2", true), ("192.0.2.1", false), ("192.0.2.2", true)]
    {
        let mut stream = from("127.0.0.2", proxy.http).await;
        assert_eq!(ask(&mut stream, &told(client)).await, served, "{client}");
        open.push(stream);
    }
    for _ in 0..5 {
        let mut stream = from("127.0.0.3", proxy.http).await;
        assert!(ask(&mut stream, "").await);
        open.push(stream);
    }
    assert_eq!(exceeded(&proxy, "connections_per_source").await, 1.0);
}

#[tokio::test]
async fn a_crowd_of_idle_connections_makes_room_oldest_first() {
    let (_pod, proxy, ca) = web(&["--max-connections=20"]);
    let mut idle = Vec::new();
    // Far more than there may be, of which none would leave for minutes.
    for number in 0..40 {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        assert!(ask(&mut stream, "").await, "number {number} is served");
        idle.push(stream);
    }
    met(&proxy, "idle_in_crowd", 22).await;
    for (number, stream) in idle.iter_mut().take(20).enumerate() {
        let end = timeout(PATIENCE, stream.read(&mut [0])).await.expect("it is closed");
        assert_eq!(end.unwrap(), 0, "number {number} is closed in order");
    }
    assert!(ask(&mut idle[39], "").await, "whoever came last may ask again");
    assert_eq!(get_tls(proxy.https, &ca, HOST, "/media/5").await.unwrap().status, 200);
}

#[tokio::test]
async fn connections_over_http_2_without_streams_make_room_and_those_with_streams_do_not() {
    let (_pod, proxy, _ca) = web(&["--max-connections=12"]);
    let connect = async || {
        let stream = TcpStream::connect(proxy.http).await.unwrap();
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut client, connection) = builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
        drop(tokio::spawn(connection));
        let request = Request::get(format!("http://{HOST}/media/5")).body(Full::default()).unwrap();
        let answer = timeout(PATIENCE, client.send_request(request)).await.expect("there is room").unwrap();
        assert_eq!(answer.status(), 200);
        client
    };
    let mut busy = connect().await;
    let request = Request::get(format!("http://{HOST}/stream?events=100000")).body(Full::default()).unwrap();
    let stream = busy.send_request(request).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(connect().await);
    }
    met(&proxy, "idle_in_crowd", 8).await;
    let mut body = stream.into_body();
    let part = http_body_util::BodyExt::frame(&mut body);
    assert!(timeout(PATIENCE, part).await.expect("the stream goes on").unwrap().is_ok());
}

/// A WebSocket, which keeps a request under way.
async fn websocket(address: SocketAddr, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let upgrade = format!(
        "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

#[tokio::test]
async fn a_route_leaves_room_to_others() {
    let ca = TestCa::new("test").unwrap();
    let passed = "passed.example.com";
    let (_pod, address) = echo_pod("web-1");
    let (_tls_pod, tls_address) = echo_pod_with("tls-1", Some(ca.identity(&[passed]).unwrap().server().unwrap()));
    let busy = "busy.example.com";
    let to_web = json!({ "to": { "kind": "Service", "name": "web" } });
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        route("busy", busy, to_web),
        service("web"),
        pod("web", "web-1", address),
        route("tls", passed, json!({ "tls": { "termination": "passthrough" } })),
        service("tls"),
        pod("tls", "tls-1", tls_address),
    ]);
    let proxy = Proxy::start(&manifests, &["--max-requests-per-route=3"]);
    let mut canary = Canary::start(&proxy, HOST);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(websocket(proxy.http, busy).await);
    }
    let refused: Vec<Reply> = vec![
        get(proxy.http, busy, "/").await,
        get_h2(TcpStream::connect(proxy.http).await.unwrap(), &format!("http://{busy}/")).await,
    ];
    for reply in refused {
        assert_eq!(reply.status, 503);
        assert!(reply.header("retry-after").is_some() && reply.pod().is_none());
    }
    assert_eq!(proxy.access_line(busy).await["reason"], "route_busy");
    met(&proxy, "requests_per_route", 2).await;
    let mut through = Vec::new();
    for _ in 0..3 {
        through.push(connect_tls(proxy.https, &ca, passed, &[]).await.unwrap());
    }
    assert!(connect_tls(proxy.https, &ca, passed, &[]).await.is_err(), "a connection more is closed");
    met(&proxy, "requests_per_route", 3).await;
    canary.was_served().await;
    drop((held.pop(), through.pop()));
    eventually("there is room again", || async { (get(proxy.http, busy, "/").await.status == 200).then_some(()) })
        .await;
    eventually("there is room again", || async { connect_tls(proxy.https, &ca, passed, &[]).await.ok() }).await;
}

#[tokio::test]
async fn streams_are_as_few_as_connections() {
    let silent = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let (_pod, address) = echo_pod("web-1");
    let own = "own.example.com";
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", address),
        route("own", own, json!({ "to": { "kind": "Service", "name": "own" } })),
        service("own"),
        pod("own", "own-1", silent.address),
    ]);
    let proxy = Proxy::start(&manifests, &["--max-connections=16", "--max-requests-per-route=off"]);
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let (mut client, connection) = builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    let mut under_way = Vec::new();
    for _ in 0..24 {
        let request = Request::get(format!("http://{own}/")).body(Full::default()).unwrap();
        under_way.push(tokio::spawn(client.send_request(request)));
    }
    // Nobody else asks before that, and has a place.
    met(&proxy, "requests", 8).await;
    let reply = eventually("all places are taken", || async {
        Some(get(proxy.http, HOST, "/").await).filter(|reply| reply.status == 503)
    })
    .await;
    assert!(reply.header("retry-after").is_some());
    assert_eq!(proxy.access_line(HOST).await["reason"], "proxy_busy");
    under_way.drain(..).for_each(|request| request.abort());
    eventually("there is room again", || async { (get(proxy.http, HOST, "/").await.status == 200).then_some(()) })
        .await;
}

#[tokio::test]
async fn without_descriptors_connections_wait_and_are_served_once_there_are_some() {
    let (_pod, proxy, _ca) = web(&[]);
    let mut kept = TcpStream::connect(proxy.http).await.unwrap();
    assert!(ask(&mut kept, "").await);
    let process = Pid::from_raw(i32::try_from(proxy.process()).unwrap());
    let open = std::fs::read_dir(format!("/proc/{}/fd", proxy.process())).unwrap().count() as u64;
    let limit = |current| {
        let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
        prlimit(process, Resource::Nofile, Rlimit { current, maximum }).unwrap().current
    };
    let before = limit(Some(open + 4));
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(ASK.as_bytes()).await.unwrap();
        clients.push(stream);
    }
    eventually("none is left", || async { proxy.log().contains("accept failed").then_some(()) }).await;
    assert!(ask(&mut kept, "").await, "whoever is there is served");
    limit(before);
    let last = clients.last_mut().unwrap();
    assert!(read_until(last, "\r\n\r\n").await.starts_with("HTTP/1.1 200 "), "whoever waited is served");
    assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
    assert_eq!(proxy.metric("nearside_panics_total", "").await, Some(0.0));
}

/// What a TLS client says first.
fn hello(ca: &TestCa, host: &'static str) -> Vec<u8> {
    let mut hello = Vec::new();
    let name = ServerName::try_from(host).unwrap();
    ClientConnection::new(ca.client(&[]).unwrap(), name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn handshakes_wait_for_their_turn_and_too_many_are_closed() {
    let (_pod, proxy, ca) = web(&["--threads=1", "--handshakes-per-thread=1", "--handshakes-waiting=8"]);
    let hello = hello(&ca, HOST);
    let process = Pid::from_raw(i32::try_from(proxy.process()).unwrap()).unwrap();
    // While it stands still, more come than can wait.
    kill_process(process, Signal::STOP).unwrap();
    let mut clients = Vec::new();
    for _ in 0..80 {
        let mut stream = TcpStream::connect(proxy.https).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        clients.push(stream);
    }
    kill_process(process, Signal::CONT).unwrap();
    let (mut answered, mut closed) = (Vec::new(), 0);
    for mut stream in clients {
        match timeout(PATIENCE, stream.read_u8()).await.expect("an answer, or an end") {
            Ok(22) => answered.push(stream),
            Ok(other) => panic!("{other} is no handshake"),
            Err(_) => closed += 1,
        }
    }
    assert!(answered.len() > 8 && closed > 8, "{} answered, {closed} closed", answered.len());
    let failed = proxy.metric("nearside_tls_failures_total", "busy").await;
    assert_eq!(failed, Some(f64::from(closed)));
    // Those that were answered say nothing more, and take no turn from anybody.
    let mut canary = Canary::start_tls(proxy.https, ca, HOST);
    canary.was_served().await;
}

#[tokio::test]
async fn half_open_connections_take_no_turn_of_a_handshake() {
    let (_pod, proxy, ca) = web(&["--handshakes-per-thread=1", "--handshakes-waiting=0"]);
    let hello = hello(&ca, HOST);
    let mut half_open = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(proxy.https).await.unwrap();
        let part = [&[][..], &hello[..1], &hello[..hello.len() - 1], &hello[..]][number % 4];
        stream.write_all(part).await.unwrap();
        half_open.push(stream);
    }
    let complete = |at: &usize| at % 4 == 3;
    for at in (0..half_open.len()).filter(complete) {
        // Where two came at once, one of them had no turn.
        drop(timeout(PATIENCE, half_open[at].read_u8()).await.expect("an answer, or an end"));
    }
    let connected = eventually("a client like any other gets through", || async {
        connect_tls(proxy.https, &ca, HOST, &["http/1.1"]).await.ok()
    })
    .await;
    let reply = exchange(connected, Request::get("/").header("host", HOST).body(Full::default()).unwrap()).await;
    assert_eq!(reply.status, 200);
}
