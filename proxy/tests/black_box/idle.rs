//! Connections between two requests: what they hold, how they go on and how they end.

use super::support::client::{connect_tls, read_until};
use super::support::manifests::on_both_ports;
use super::support::{Manifests, Proxy, echo_pod};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::PodServer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const HOST: &str = "web.example.com";

fn web() -> (PodServer, Proxy, TestCa) {
    let (server, address) = echo_pod("web-1");
    let (objects, ca) = on_both_ports(HOST, address);
    (server, Proxy::of(Manifests::with(&objects), &[]), ca)
}

/// One request whose header comes in these parts, each once the one before is on its way.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), parts: &[&str]) {
    for part in parts {
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let header = read_until(stream, "\r\n\r\n").await;
    assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
    stream.read_exact(&mut [0; 5]).await.unwrap();
}

const WHOLE: &str = "GET /media/5 HTTP/1.1\r\nHost: web.example.com\r\n\r\n";

#[tokio::test]
async fn a_connection_that_waits_for_a_request_holds_no_buffers() {
    let (_pod, proxy, _ca) = web();
    let mut connections = Vec::new();
    let mut held = Vec::new();
    for number in 0..550 {
        if number == 50 {
            held.push(proxy.resident_bytes());
        }
        let mut connection = TcpStream::connect(proxy.http).await.unwrap();
        ask(&mut connection, &[WHOLE]).await;
        connections.push(connection);
    }
    held.push(proxy.resident_bytes());
    let each = held[1].saturating_sub(held[0]) / 500;
    // A build without optimisation holds 4 KB; with the buffers of one session it would be some 50 KB.
    assert!(each < 16 * 1024, "{each} bytes for each idle connection");
    for connection in connections.iter_mut().take(20) {
        ask(connection, &[WHOLE]).await;
    }
}

#[tokio::test]
async fn a_request_may_come_in_parts_after_a_pause() {
    let (_pod, proxy, ca) = web();
    let long = format!("GET /media/5 HTTP/1.1\r\nHost: {HOST}\r\nX-Long: {}\r\n\r\n", "x".repeat(9000));
    let requests: [&[&str]; 4] =
        [&[WHOLE], &["G", "ET /media/5 HT", "TP/1.1\r\nHost: web.example.com\r\n", "\r\n"], &[&long], &[WHOLE]];
    let mut plain = TcpStream::connect(proxy.http).await.unwrap();
    let mut tls = connect_tls(proxy.https, &ca, HOST, &[]).await.unwrap();
    for parts in requests {
        ask(&mut plain, parts).await;
        ask(&mut tls, parts).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_by_the_drain_and_not_before() {
    let (_pod, proxy, _ca) = web();
    let mut idle = TcpStream::connect(proxy.http).await.unwrap();
    ask(&mut idle, &[WHOLE]).await;
    ask(&mut idle, &[WHOLE]).await;
    proxy.terminate();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "closed in order");
    drop(idle);
    assert!(proxy.ended().await.success());
}
