//! The strict edge: whoever exceeds a limit gets what docs/limits.md says, is counted, and keeps nobody else out. Each test exceeds one
//! while a client like any other is served. The limits on single messages are here; `crowds` has those on how many there may be, and
//! `slow` those on how slow one may be.

mod crowds;
mod slow;

use super::support::canary::Canary;
use super::support::client::{connect_tls, read_to_end};
use super::support::manifests::on_both_ports;
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::PodServer;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HOST: &str = "web.example.com";

/// A pod behind a host, with and without TLS.
fn web(flags: &[&str]) -> (PodServer, Proxy, TestCa) {
    let (server, address) = echo_pod("web-1");
    let (proxy, ca) = before(address, flags);
    (server, proxy, ca)
}

/// A proxy before a pod.
fn before(address: SocketAddr, flags: &[&str]) -> (Proxy, TestCa) {
    let (objects, ca) = on_both_ports(HOST, address);
    (Proxy::of(Manifests::with(&objects), flags), ca)
}

/// How often a limit was met.
async fn exceeded(proxy: &Proxy, limit: &str) -> f64 {
    let labels = format!("limit=\"{limit}\"");
    proxy.metric("nearside_limit_exceeded_total", &labels).await.unwrap_or_else(|| panic!("{limit} has a counter"))
}

/// Waits until a limit was met so often.
async fn met(proxy: &Proxy, limit: &str, times: usize) {
    eventually(limit, || async { (exceeded(proxy, limit).await >= times as f64).then_some(()) }).await;
}

#[tokio::test]
async fn a_request_header_has_a_size_in_bytes_and_fields_and_so_has_its_target() {
    // That takes whatever header it gets.
    let pod = Scripted::repeating(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()).await;
    let (proxy, ca) = before(pod.address, &[]);
    let mut canary = Canary::start(&proxy, HOST);
    canary.was_served().await;
    let fields = |count: usize| "x-a: b\r\n".repeat(count);
    let long = |bytes: usize| "b".repeat(bytes);
    let head = format!("Host: {HOST}\r\nConnection: close\r\n");
    let requests = [
        (format!("GET /media/5 HTTP/1.1\r\n{head}{}\r\n", fields(126)), "200", ""),
        (format!("GET /media/5 HTTP/1.1\r\n{head}{}\r\n", fields(127)), "431", "header_size"),
        (format!("GET /media/5 HTTP/1.1\r\n{head}{}\r\n", fields(300)), "431", "header_size"),
        (format!("GET /media/5 HTTP/1.1\r\n{head}x: {}\r\n\r\n", long(32_600)), "200", ""),
        (format!("GET /media/5 HTTP/1.1\r\n{head}x: {}\r\n\r\n", long(33_000)), "431", "header_size"),
        (format!("GET /media/5 HTTP/1.1\r\n{head}x: {}\r\n\r\n", long(200_000)), "431", "header_size"),
        (format!("GET /media/5?{} HTTP/1.1\r\n{head}\r\n", long(16_300)), "200", ""),
        (format!("GET /media/5?{} HTTP/1.1\r\n{head}\r\n", long(16_400)), "414", "target_size"),
        (format!("GET /media/5?{} HTTP/1.1\r\n{head}\r\n", long(70_000)), "431", "header_size"),
    ];
    let mut counted = std::collections::BTreeMap::new();
    for (request, status, limit) in &requests {
        for secure in [false, true] {
            let answer = if secure {
                let mut stream = connect_tls(proxy.https, &ca, HOST, &[]).await.unwrap();
                drop(stream.write_all(request.as_bytes()).await);
                drop(stream.flush().await);
                read_to_end(&mut stream).await
            } else {
                let mut stream = TcpStream::connect(proxy.http).await.unwrap();
                // The proxy may have heard enough before it has everything.
                drop(stream.write_all(request.as_bytes()).await);
                read_to_end(&mut stream).await
            };
            let shown = format!("{} of {} bytes", &request[..20], request.len());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{secure} {shown}: {answer:.100}");
            *counted.entry(*limit).or_insert(0) += 1;
            if !limit.is_empty() {
                met(&proxy, limit, counted[limit]).await;
                assert_eq!(exceeded(&proxy, limit).await, f64::from(counted[limit] as u32), "{shown}");
            }
        }
    }
    canary.was_served().await;
}

#[tokio::test]
async fn what_is_left_of_a_large_header_is_not_read_for_ever() {
    let (_pod, proxy, _ca) = web(&[]);
    let mut canary = Canary::start(&proxy, HOST);
    let before = proxy.resident_bytes();
    let mut flood = Vec::new();
    for _ in 0..30 {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        flood.push(tokio::spawn(async move {
            let start = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nx: ");
            let part = vec![b'a'; 64 * 1024];
            stream.write_all(start.as_bytes()).await.unwrap();
            let mut sent = 0;
            while stream.write_all(&part).await.is_ok() {
                sent += part.len();
                assert!(sent < 64 * 1024 * 1024, "the proxy goes on and on");
            }
        }));
    }
    for client in flood {
        client.await.unwrap();
    }
    met(&proxy, "header_size", 30).await;
    canary.was_served().await;
    let held = proxy.resident_bytes().saturating_sub(before);
    assert!(held < 64 * 1024 * 1024, "{held} bytes for thirty clients");
}
