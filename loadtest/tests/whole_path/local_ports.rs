//! A node without a local port that is free for another connection to a pod: what is connected already serves on, everybody else is told
//! so at once, no pod is blamed for it, and it is over once ports are free again.
//!
//! Connections from the proxy to a pod are not bound to an address, so a port of the range serves each pod once, and `connect` looks for
//! it among those that this pod has not: `IP_BIND_ADDRESS_NO_PORT` would change nothing.

use crate::objects::{edge, route, secure_service, service, with_tls};
use crate::stage::{PATIENCE, PORTS, Stage};
use nearside_loadtest::client::raw;
use nearside_loadtest::pods::Echo;
use nearside_loadtest::programs::get;
use rustls::pki_types::ServerName;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_local_port_kept_connections_serve_on_others_get_503_and_it_ends_with_the_want() {
    let started = Stage::start_linked_node(|stage| {
        let own = |host: &str| stage.ca.identity(&[host]).unwrap();
        let mut reencrypt = edge(&own(REENCRYPT));
        reencrypt["termination"] = json!("reencrypt");
        reencrypt["destinationCACertificate"] = json!(stage.ca.certificate());
        stage.put_all(&[
            service("web"),
            secure_service(),
            route("web", HOST, "web"),
            with_tls(route("passthrough", PASSTHROUGH, "secure"), json!({"termination": "passthrough"})),
            with_tls(route("reencrypt", REENCRYPT, "secure"), reencrypt),
        ]);
        stage.run_pod("web", 1, "n1");
        stage.run_pod("secure", 1, "n1");
    });
    let Some(mut stage) = started.await else { return };
    let node = stage.network.nodes()[0].place().clone();
    node.namespace().unwrap().sysctl("ipv4/ip_local_port_range", RANGE).unwrap();

    let mut held = Vec::new();
    for _ in 1..PORTS_LEFT {
        held.push(websocket(&stage).await.unwrap());
    }
    let mut peers = Vec::new();
    for _ in 0..10 {
        let (status, body) = ask(&stage).await;
        assert_eq!(status, 200, "{body}");
        peers.push(serde_json::from_str::<Echo>(&body).unwrap().remote);
    }
    peers.dedup();
    assert_eq!(peers.len(), 1, "all of them on the one connection that is kept: {peers:?}");
    held.push(websocket(&stage).await.expect("the kept connection serves a WebSocket as well"));
    for _ in 0..6 {
        assert_eq!(ask(&stage).await.0, 503);
    }
    assert!(websocket(&stage).await.is_none());

    // The same where TLS is spoken with the pod, and where it is only passed through.
    let mut through = Vec::new();
    for _ in 0..PORTS_LEFT {
        through.push(connect_tls(&stage, PASSTHROUGH).await.unwrap());
    }
    assert!(connect_tls(&stage, PASSTHROUGH).await.is_none(), "one more is closed");
    for _ in 0..3 {
        assert_eq!(ask_secure(&stage).await, 503);
    }
    let counted = metric(&stage, "nearside_upstream_no_local_port_total").await;
    assert!(counted >= 11.0, "each attempt is counted, not {counted}");
    for (name, what) in [
        ("nearside_upstream_connect_failures_total", "no attempt failed for another reason"),
        ("nearside_endpoint_ejections_total", "no pod is blamed"),
    ] {
        assert_eq!(metric(&stage, name).await, 0.0, "{what}");
    }
    assert!(stage.programs["proxy-n1"].tail(100).contains("no_local_port"), "the access log has the reason");

    // As operators set it who have that many connections; else each port rests for a minute.
    node.namespace().unwrap().sysctl("ipv4/tcp_tw_reuse", "1").unwrap();
    drop((held, through));
    eventually("ports are free again", async || ask(&stage).await.0 == 200).await;
    eventually("ports are free again", async || ask_secure(&stage).await == 200).await;
    eventually("ports are free again", async || connect_tls(&stage, PASSTHROUGH).await.is_some()).await;
    stage.programs.get_mut("proxy-n1").unwrap().check().unwrap();
}

/// One request for the plain host: status and body.
async fn ask(stage: &Stage) -> (u16, String) {
    let address = SocketAddr::new(stage.address("n1"), PORTS.http);
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let answer = raw::exchange(&stage.network.clients()[0], address, request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The status of one request for the host whose pod is spoken to over TLS.
async fn ask_secure(stage: &Stage) -> u16 {
    let Some(mut stream) = connect_tls(stage, REENCRYPT).await else { panic!("TLS ends at the proxy") };
    let request = format!("GET / HTTP/1.1\r\nHost: {REENCRYPT}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut line)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&line[9..]).parse().unwrap()
}

/// An open WebSocket; `None` where there is another answer.
async fn websocket(stage: &Stage) -> Option<TcpStream> {
    let address = SocketAddr::new(stage.address("n1"), PORTS.http);
    let mut stream = raw::connect(&stage.network.clients()[0], address).await.unwrap();
    let upgrade = format!(
        "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut line)).await.expect("an answer").unwrap();
    (&line == b"HTTP/1.1 101").then_some(stream)
}

/// TLS with whoever ends it; `None` where the connection is closed instead.
async fn connect_tls(stage: &Stage, host: &'static str) -> Option<TlsStream<TcpStream>> {
    let address = SocketAddr::new(stage.address("n1"), PORTS.https);
    let stream = raw::connect(&stage.network.clients()[0], address).await.unwrap();
    let connector = TlsConnector::from(stage.ca.client(&[]).unwrap());
    timeout(PATIENCE, connector.connect(ServerName::try_from(host).unwrap(), stream)).await.expect("an answer").ok()
}

/// The sum of the series of this name, asked for from where ports are not short.
async fn metric(stage: &Stage, name: &str) -> f64 {
    let (_, page) = get(&stage.network.clients()[0], stage.admin("proxy-n1"), "/metrics").await.unwrap();
    let values = page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

const HOST: &str = "web.apps.example.com";
const PASSTHROUGH: &str = "passthrough.apps.example.com";
const REENCRYPT: &str = "reencrypt.apps.example.com";
const RANGE: &str = "40000 40003";
const PORTS_LEFT: usize = 4;
