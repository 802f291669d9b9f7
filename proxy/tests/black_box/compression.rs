//! Compression on the way to clients, where the operator asks for it.

use super::support::client::exchange;
use super::support::manifests::{pod, route, service, service_with};
use super::support::pods::read_header;
use super::support::{Manifests, PATIENCE, Proxy, Scripted, echo_pod};
use bytes::Bytes;
use flate2::write::GzDecoder;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

const HOST: &str = "web.example.com";
const BROWSER: &str = "gzip, deflate, br, zstd";

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut decoder = GzDecoder::new(Vec::new());
    decoder.write_all(bytes).unwrap();
    decoder.finish().unwrap()
}

fn text() -> String {
    (0..5000).map(|number| format!("line {number}\n")).collect()
}

/// A pod that answers each path with this text as the media type that the path names.
async fn typed_pod() -> Scripted {
    Scripted::start(|mut stream| async move {
        let head = read_header(&mut stream).await;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (kind, text) = (path.trim_start_matches('/'), text());
        let body = if head.starts_with("HEAD") { "" } else { &text };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n\
             Connection: close\r\n\r\n{body}",
            text.len()
        );
        drop(stream.write_all(answer.as_bytes()).await);
    })
    .await
}

#[tokio::test]
async fn a_browser_gets_fewer_bytes_of_the_same_content() {
    let pod_server = typed_pod().await;
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", pod_server.address)]);
    let proxy = Proxy::start(&manifests, &["--compression"]);
    let get = async |method: Method, path: &str, accept: &str| {
        let request =
            Request::builder().method(method).uri(path).header("host", HOST).header("accept-encoding", accept);
        let stream = TcpStream::connect(proxy.http).await.unwrap();
        exchange(stream, request.body(Full::default()).unwrap()).await
    };
    let reply = get(Method::GET, "/text/html", BROWSER).await;
    assert_eq!((reply.header("content-encoding"), reply.header("vary")), (Some("gzip"), Some("Accept-Encoding")));
    assert_eq!((reply.header("etag"), reply.header("accept-ranges")), (Some("W/\"a\""), None));
    assert!(reply.body.len() < text().len() / 2 && gunzip(&reply.body) == text().as_bytes());
    assert!(proxy.access_line(HOST).await["sent"].as_u64().unwrap() < text().len() as u64 / 2);

    let head = get(Method::HEAD, "/text/html", BROWSER).await;
    assert_eq!((head.header("content-encoding"), head.header("content-length")), (Some("gzip"), None));

    for accept in ["", "br", "gzip;q=0"] {
        let reply = get(Method::GET, "/text/html", accept).await;
        assert_eq!(
            (reply.header("content-encoding"), reply.header("vary")),
            (None, Some("Accept-Encoding")),
            "{accept}"
        );
        assert!(reply.header("etag") == Some("\"a\"") && reply.text() == text(), "{accept}");
    }
    for kind in ["video/mp4", "application/octet-stream", "application/json"] {
        let reply = get(Method::GET, &format!("/{kind}"), BROWSER).await;
        assert_eq!((reply.header("content-encoding"), reply.header("vary")), (None, None), "{kind}");
        assert!(reply.header("content-length").is_some() && reply.text() == text(), "{kind}");
    }
    drop(proxy);
    for flags in [&[][..], &["--compression", "--compression-types=video/*,application/json"]] {
        let proxy = Proxy::start(&manifests, flags);
        for kind in ["text/html", "video/mp4"] {
            let request = Request::get(format!("/{kind}")).header("host", HOST).header("accept-encoding", BROWSER);
            let reply = super::support::request(proxy.http, request).await;
            assert!(reply.header("content-encoding").is_none() && reply.text() == text(), "{kind} {flags:?}");
        }
    }
}

#[tokio::test]
async fn each_part_is_on_its_way_before_the_next_one_comes() {
    let more = Arc::new(Notify::new());
    let asked = Arc::clone(&more);
    let pod_server = Scripted::start(move |mut stream| {
        let asked = Arc::clone(&asked);
        async move {
            read_header(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            for _ in 0..3 {
                stream.write_all(b"9\r\ndata: x\n\n\r\n").await.unwrap();
                asked.notified().await;
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", pod_server.address)]);
    let proxy = Proxy::start(&manifests, &["--compression", "--compression-types=text/*"]);
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    let request = Request::get("/").header("host", HOST).header("accept-encoding", "gzip");
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut body = response.into_body();
    let mut decoder = GzDecoder::new(Vec::new());
    for number in 1..=3 {
        while decoder.get_ref().len() < number * 9 {
            let frame = timeout(PATIENCE, body.frame()).await.expect("the event comes").unwrap().unwrap();
            decoder.write_all(&frame.into_data().unwrap()).unwrap();
            decoder.flush().unwrap();
        }
        more.notify_one();
    }
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
        decoder.write_all(&frame.unwrap().into_data().unwrap()).unwrap();
    }
    assert_eq!(decoder.finish().unwrap(), b"data: x\n\n".repeat(3));
}

#[tokio::test]
async fn http_2_on_both_sides_is_compressed_alike() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service_with("web", json!({ "appProtocol": "h2c" })),
        pod("web", "web-1", address),
    ]);
    let proxy = Proxy::start(&manifests, &["--compression", "--compression-types=application/json"]);
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    let path = format!("/{}", "a".repeat(2000));
    let request = Request::get(format!("http://{HOST}{path}")).header("accept-encoding", "gzip");
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = timeout(PATIENCE, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
    let echo: nearside_loadtest::pods::Echo = serde_json::from_slice(&gunzip(&body)).unwrap();
    assert_eq!((echo.path, echo.protocol.as_str()), (path, "HTTP/2.0"));
}
