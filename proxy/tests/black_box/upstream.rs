//! How pods are asked, and what a client gets when they fail.

use super::support::manifests::{pod, route, service, service_with};
use super::support::pods::read_header;
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HOST: &str = "web.example.com";

fn web(address: std::net::SocketAddr) -> Manifests {
    Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)])
}

#[tokio::test]
async fn a_pod_with_app_protocol_h2c_is_asked_over_http_2() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service_with("web", json!({ "appProtocol": "kubernetes.io/h2c" })),
        pod("web", "web-1", address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let echo = get(proxy.http, HOST, "/x?y").await.echo();
    assert_eq!((echo.protocol.as_str(), echo.host.as_str(), echo.path.as_str()), ("HTTP/2.0", HOST, "/x?y"));
}

#[tokio::test]
async fn a_silent_pod_is_a_gateway_timeout() {
    let silent = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        // Holds the connection until the proxy gives up.
        drop(stream.read_u8().await);
    })
    .await;
    let manifests = web(silent.address);
    let proxy = Proxy::start(&manifests, &["--read-timeout=200ms"]);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 504);
    assert_eq!(proxy.access_line(HOST).await["reason"], "pod_timeout");
}

#[tokio::test]
async fn a_pod_that_breaks_the_protocol_is_a_bad_gateway() {
    for broken in ["", "not http\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
        let pod = Scripted::start(move |mut stream| async move {
            read_header(&mut stream).await;
            drop(stream.write_all(broken.as_bytes()).await);
        })
        .await;
        let manifests = web(pod.address);
        let proxy = Proxy::start(&manifests, &[]);
        let reply = get(proxy.http, HOST, "/").await;
        assert_eq!((reply.status, reply.header("server")), (502, Some("nearside")), "{broken:?}");
    }
}

#[tokio::test]
async fn a_request_is_repeated_only_where_a_pooled_connection_was_dead_and_the_method_allows_it() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    // Each connection answers one request, stays open, and closes as soon as it is asked again.
    let pod = Scripted::start(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            read_header(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            read_header(&mut stream).await;
        }
    })
    .await;
    let manifests = web(pod.address);
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(get(proxy.http, HOST, "/").await.text(), "ok");
    eventually("the first request is over", || async { (proxy.access_log().len() == 1).then_some(()) }).await;
    assert_eq!(get(proxy.http, HOST, "/").await.text(), "ok", "repeated on a new connection");
    assert_eq!(connections.load(Ordering::Relaxed), 2);
    // A client may have its answer before the connection to the pod is in the pool; the log has its line after that.
    eventually("both requests are over", || async { (proxy.access_log().len() == 2).then_some(()) }).await;
    let post = http::Request::post("/").header("host", HOST);
    assert_eq!(super::support::request(proxy.http, post).await.status, 502, "POST is not repeated");
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_servers_name_is_the_pods_where_it_has_one() {
    for (field, expected) in [("Server: pod/1\r\n", "pod/1"), ("", "nearside")] {
        let pod = Scripted::start(move |mut stream| async move {
            read_header(&mut stream).await;
            let answer = format!("HTTP/1.0 200 OK\r\n{field}Content-Length: 2\r\n\r\nok");
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let manifests = web(pod.address);
        let proxy = Proxy::start(&manifests, &[]);
        let reply = get(proxy.http, HOST, "/").await;
        assert_eq!(reply.header("server"), Some(expected));
        assert_eq!(reply.version, http::Version::HTTP_11, "the proxy's version, not the pod's");
    }
}
