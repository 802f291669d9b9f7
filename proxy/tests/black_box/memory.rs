//! A proxy at the limit of its memory: it cuts down what it serves in the order that is documented, and never stops.

use super::support::client::{read_to_end, read_until};
use super::support::manifests::{pod, route, service};
use super::support::pods::read_header;
use super::support::{Manifests, Proxy, Scripted, eventually};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const HOST: &str = "web.example.com";
/// Client connections that are accepted in any case, but for the places that the two listeners hold.
const ALWAYS: usize = 256 - 2;

/// A pod whose answers are worth compressing, and a proxy that may take this much memory.
async fn web(limit: &str) -> (Scripted, Proxy) {
    let server = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        let body = "line\n".repeat(1000);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        drop(stream.write_all(answer.as_bytes()).await);
    })
    .await;
    let objects = [route("web", HOST, json!({})), service("web"), pod("web", "web-1", server.address)];
    let limit = format!("--memory-limit={limit}");
    (server, Proxy::of(Manifests::with(&objects), &["--compression", "--header-timeout=60s", &limit]))
}

/// Asks, and gives the header of the answer once the rest of it is read, too.
async fn ask(stream: &mut TcpStream) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: gzip\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let header = read_until(stream, "\r\n\r\n").await.to_lowercase();
    assert!(header.starts_with("http/1.1 200 "), "{header}");
    let length = header.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    match length {
        Some(length) => drop(stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap()),
        None => {
            let mut body = Vec::new();
            while !body.ends_with(b"\r\n0\r\n\r\n") {
                body.push(stream.read_u8().await.unwrap());
            }
        }
    }
    header
}

#[tokio::test]
async fn a_proxy_with_room_cuts_nothing_down() {
    let (_pod, proxy) = web("1099511627776").await;
    assert!(ask(&mut TcpStream::connect(proxy.http).await.unwrap()).await.contains("content-encoding: gzip"));
    assert_eq!(proxy.metric("nearside_memory_pressure", "").await, Some(0.0));
    assert_eq!(proxy.metric("nearside_memory_shed_total", "").await, None);
    assert!(proxy.metric("nearside_memory_bytes", "").await.unwrap() > 1_000_000.0);
}

#[tokio::test]
async fn at_the_limit_answers_are_plain_idle_connections_end_and_all_but_a_few_new_ones_wait() {
    let (_pod, proxy) = web("1000000").await;
    assert_eq!(proxy.metric("nearside_memory_pressure", "").await, Some(3.0));
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    let header = ask(&mut client).await;
    assert!(!header.contains("content-encoding") && header.contains("vary: accept-encoding"), "{header}");
    assert_eq!(read_to_end(&mut client).await, "", "closed without a request, long before its time");
    let shed = async |what: &str| proxy.metric("nearside_memory_shed_total", what).await;
    for what in ["compression", "buffers", "idle"] {
        assert!(shed(what).await.unwrap() > 0.0, "{what}");
    }
    assert_eq!(shed("connection").await, None);
    // Those that have not asked for anything yet are not idle.
    let mut silent = Vec::new();
    for _ in 0..=ALWAYS {
        silent.push(TcpStream::connect(proxy.http).await.unwrap());
    }
    eventually("the proxy is full", || async { shed("connection").await }).await;
    let mut waiting = TcpStream::connect(proxy.http).await.unwrap();
    waiting.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    assert!(timeout(Duration::from_millis(300), waiting.read_u8()).await.is_err(), "there is no room");
    drop(silent);
    assert!(read_until(&mut waiting, "\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
}
