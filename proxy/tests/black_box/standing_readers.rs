//! Nobody reads what the proxy writes, to standard output and to standard error: it serves on, lines are lost and counted, and once
//! somebody reads again there are lines again.

use super::support::client::get_h2;
use super::support::manifests::{pod, route, service};
use super::support::{Manifests, PATIENCE, Proxy, echo_pod, eventually, get};
use nearside_loadtest::pods::PodServer;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A proxy that says something of every frame of HTTP/2.
fn start() -> (PodServer, Manifests, Proxy) {
    let (web, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start_in(&[("NEARSIDE_LOG", "debug")], &manifests, &["--allow-endpoints=127.0.0.0/8"]);
    (web, manifests, proxy)
}

/// Clients ask until both kinds of lines are lost; every one is answered.
async fn ask_until_lines_are_lost(proxy: &Proxy) {
    let lost = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..6 {
        let (address, lost) = (proxy.http, Arc::clone(&lost));
        clients.spawn(async move {
            while !lost.load(Ordering::Relaxed) {
                match client {
                    0 => assert_eq!(get(address, HOST, "/").await.status, 200),
                    1 | 2 => ask_many(address).await,
                    _ => {
                        let stream = TcpStream::connect(address).await.unwrap();
                        assert_eq!(get_h2(stream, &format!("http://{UNKNOWN}/")).await.status, 404);
                    }
                }
            }
        });
    }
    let is_lost = async |name: &str| proxy.metric(name, "").await.is_some_and(|count| count > 0.0);
    while !(is_lost("nearside_access_log_dropped_total").await && is_lost("nearside_log_dropped_total").await) {
        if let Ok(Some(ended)) = timeout(LOOK, clients.join_next()).await {
            ended.expect("an answer to every request");
        }
    }
    lost.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("an answer to every request");
    }
}

/// Many requests at once on one connection.
async fn ask_many(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let requests = format!("GET / HTTP/1.1\r\nHost: {UNKNOWN}\r\n\r\n").repeat(20);
    for _ in 0..20 {
        stream.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        while String::from_utf8_lossy(&answers).matches("</html>").count() < 20 {
            let read = timeout(PATIENCE, stream.read_buf(&mut answers)).await.expect("an answer").unwrap();
            assert!(read > 0, "closed: {}", String::from_utf8_lossy(&answers));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_reads_its_logs_the_proxy_serves_on_and_counts_what_it_cannot_say() {
    let (_pod, manifests, proxy) = start();
    let unread = proxy.stop_reading();
    ask_until_lines_are_lost(&proxy).await;
    // Changes are taken up as well, of which others speak than those who serve.
    manifests.put(&route("late", LATE, json!({ "to": { "kind": "Service", "name": "web" } })));
    let served = || async { (get(proxy.http, LATE, "/").await.status == 200).then_some(()) };
    eventually("a change is served", served).await;
    drop(unread);
    // Lines that found room come first.
    let said = || async {
        assert_eq!(get(proxy.http, AGAIN, "/").await.status, 404);
        proxy.access_text().iter().any(|line| line.contains(AGAIN)).then_some(())
    };
    eventually("there are lines again", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_whose_logs_nobody_reads_ends_when_it_is_told_to() {
    let (_pod, _manifests, proxy) = start();
    let unread = proxy.stop_reading();
    ask_until_lines_are_lost(&proxy).await;
    proxy.terminate();
    assert!(proxy.ended().await.success());
    drop(unread);
}

const HOST: &str = "web.example.com";
const UNKNOWN: &str = "unknown.example.com";
const LATE: &str = "late.example.com";
const AGAIN: &str = "again.example.com";
/// Between two looks at what was lost.
const LOOK: Duration = Duration::from_millis(100);
