//! Clients that say nothing, and clients that stop listening.

use super::support::client::read_to_end;
use super::support::manifests::{pod, route, service};
use super::support::pods::read_header;
use super::support::{Manifests, PATIENCE, Proxy, Scripted, eventually};
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

const HOST: &str = "web.example.com";

#[tokio::test]
async fn a_client_that_has_closed_its_side_is_answered_unless_the_operator_says_otherwise() {
    for aborts in [false, true] {
        let (events, mut seen) = mpsc::channel(4);
        let release = Arc::new(Notify::new());
        let released = Arc::clone(&release);
        let pod_server = Scripted::start(move |mut stream| {
            let (events, released) = (events.clone(), Arc::clone(&released));
            async move {
                read_header(&mut stream).await;
                events.send("asked").await.unwrap();
                tokio::select! {
                    _ = stream.read_u8() => events.send("given up").await.unwrap(),
                    () = released.notified() => {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                    }
                }
            }
        })
        .await;
        let manifests =
            Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", pod_server.address)]);
        let proxy = Proxy::start(&manifests, if aborts { &["--abort-on-close"] } else { &[] });
        let mut client = TcpStream::connect(proxy.http).await.unwrap();
        client.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(timeout(PATIENCE, seen.recv()).await.unwrap(), Some("asked"));
        if aborts {
            assert_eq!(timeout(PATIENCE, seen.recv()).await.unwrap(), Some("given up"));
            assert_eq!(proxy.access_line(HOST).await["reason"], "client_gone");
        } else {
            release.notify_one();
            let answer = read_to_end(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_sends_nothing_is_answered_and_logged_where_the_operator_wants_it() {
    let manifests = Manifests::with(&[]);
    let lines = |proxy: &Proxy| proxy.log().matches("a connection sent nothing").count();

    let proxy =
        Proxy::start(&manifests, &["--header-timeout=200ms", "--empty-requests=respond", "--log-empty-requests=true"]);
    let mut silent = TcpStream::connect(proxy.http).await.unwrap();
    assert!(read_to_end(&mut silent).await.starts_with("HTTP/1.1 408 "));
    for address in [proxy.http, proxy.https] {
        drop(TcpStream::connect(address).await.unwrap());
    }
    eventually("each is told", || async { (lines(&proxy) == 3).then_some(()) }).await;
    drop(proxy);

    let proxy = Proxy::start(&manifests, &["--header-timeout=200ms"]);
    let mut silent = TcpStream::connect(proxy.http).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(lines(&proxy), 0);
}
