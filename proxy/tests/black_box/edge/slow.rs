//! How slow a client may be: with its header, its body, and with what it takes of an answer. Time in which its pod is slow is not its own.

use super::super::support::client::{connect_tls, read_to_end, read_until};
use super::super::support::grpc;
use super::super::support::manifests::{pod, route, service, service_with};
use super::super::support::pods::read_header;
use super::super::support::{Manifests, PATIENCE, Proxy, Scripted, get};
use super::{Canary, HOST, exceeded, met, web};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::pods::PodServer;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Sends a byte at a time, slowly, until something comes back, and gives that.
async fn trickle(mut stream: impl AsyncRead + AsyncWrite + Unpin, begin: &[u8], byte: &[u8]) -> String {
    stream.write_all(begin).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    let trickling = async {
        loop {
            tokio::select! {
                biased;
                // A reset is an end, too.
                read = stream.read_buf(&mut answer) => {
                    if read.unwrap_or(0) == 0 {
                        return;
                    }
                }
                () = sleep(Duration::from_millis(30)) => {
                    if stream.write_all(byte).await.is_err() || stream.flush().await.is_err() {
                        drop(stream.read_to_end(&mut answer).await);
                        return;
                    }
                }
            }
        }
    };
    timeout(PATIENCE, trickling).await.expect("the proxy has had enough");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_header_that_trickles_has_as_long_as_one_that_does_not_come() {
    let (_pod, proxy, ca) = web(&["--header-timeout=500ms"]);
    let mut canary = Canary::start(&proxy, HOST);
    let begun = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ");
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (stream, begun) = (TcpStream::connect(proxy.http).await.unwrap(), begun.clone());
        clients.push(tokio::spawn(async move { trickle(stream, begun.as_bytes(), b"a").await }));
    }
    for client in clients {
        let answer = client.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    met(&proxy, "header_time", 20).await;
    let secure = connect_tls(proxy.https, &ca, HOST, &["http/1.1"]).await.unwrap();
    assert_eq!(trickle(secure, begun.as_bytes(), b"a").await, "");
    met(&proxy, "header_time", 21).await;
    let mut silent = TcpStream::connect(proxy.http).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    met(&proxy, "header_time", 22).await;
    canary.was_served().await;
}

/// Bodies must come with a thousand bytes a second.
const RATE: [&str; 4] =
    ["--client-body-rate=1000", "--client-body-grace=700ms", "--client-timeout=1h", "--read-timeout=1h"];

fn head(framing: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{framing}\r\n\r\n")
}

#[tokio::test]
async fn a_body_that_trickles_is_refused_whichever_way_it_takes() {
    // More than is kept to be repeated to another pod: from then on the kernel moves it.
    let begun = "x".repeat(200_000);
    let bodies = [
        (head("Content-Length: 1000"), "a"),
        (head("Content-Length: 1000000"), "a"),
        (head("Content-Length: 1000000") + &begun, "a"),
        (head("Transfer-Encoding: chunked"), "1\r\na\r\n"),
    ];
    let mut refused = 0;
    for way in ["--fast-path=true", "--fast-path=false"] {
        let (pod, proxy, ca) = web(&[&RATE[..], &[way]].concat());
        let mut canary = Canary::start(&proxy, HOST);
        for secure in [false, true] {
            for (begin, byte) in &bodies {
                let answer = if secure {
                    let stream = connect_tls(proxy.https, &ca, HOST, &["http/1.1"]).await.unwrap();
                    trickle(stream, begin.as_bytes(), byte.as_bytes()).await
                } else {
                    trickle(TcpStream::connect(proxy.http).await.unwrap(), begin.as_bytes(), byte.as_bytes()).await
                };
                let shown = format!("{way} {secure} {}", &begin[..begin.len().min(130)]);
                assert!(answer.starts_with("HTTP/1.1 408 "), "{shown}: {answer}");
                refused += 1;
                met(&proxy, "body_rate", refused).await;
            }
        }
        assert_eq!(exceeded(&proxy, "body_rate").await, bodies.len() as f64 * 2.0);
        assert_eq!(exceeded(&proxy, "body_silence").await, 0.0);
        let reasons = proxy.access_log();
        assert!(reasons.iter().filter(|line| line["status"] == 408).all(|line| line["reason"] == "client_rate"));
        canary.was_served().await;
        drop(pod);
        refused = 0;
    }
}

/// Sends a body over HTTP/2 a byte at a time; gives the status.
async fn trickle_h2(proxy: &Proxy) -> u16 {
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let mut client = grpc::client(stream).await;
    let (sender, body) = grpc::frames();
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let mut answer = Box::pin(client.send_request(request));
    let trickling = async {
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.unwrap().status().as_u16(),
                () = sleep(Duration::from_millis(30)) => {
                    drop(sender.try_send(Frame::data(Bytes::from_static(b"a"))));
                }
            }
        }
    };
    timeout(PATIENCE, trickling).await.expect("the proxy has had enough")
}

#[tokio::test]
async fn a_body_that_trickles_over_http_2_is_refused() {
    let (_pod, proxy, _ca) = web(&RATE);
    let mut canary = Canary::start(&proxy, HOST);
    assert_eq!(trickle_h2(&proxy).await, 408);
    met(&proxy, "body_rate", 1).await;
    canary.was_served().await;
}

#[tokio::test]
async fn a_client_that_keeps_the_rate_may_take_longer_than_the_grace() {
    let (_pod, proxy, _ca) = web(&RATE);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(head("Transfer-Encoding: chunked").as_bytes()).await.unwrap();
    let chunk = format!("800\r\n{}\r\n", "x".repeat(0x800));
    // One after another until somebody who is slow has used up as much time.
    let silent = head("Content-Length: 9");
    let slow = trickle(TcpStream::connect(proxy.http).await.unwrap(), silent.as_bytes(), b"");
    let steady = async {
        loop {
            stream.write_all(chunk.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        answer = slow => assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}"),
        _ = steady => {}
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// A pod that reads headers and then does nothing until it is told; then it reads the body to its end, if it has one, and answers.
async fn waiting_pod(answers_first: bool) -> (Scripted, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let told = Arc::clone(&go);
    let pod = Scripted::start(move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            let header = read_header(&mut stream).await;
            let last: &[u8] = if header.to_lowercase().contains("chunked") { b"0\r\n\r\n" } else { b"end" };
            if answers_first {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
            }
            told.notified().await;
            let mut body = Vec::new();
            while !body.ends_with(last) {
                let mut part = [0; 64 * 1024];
                let Ok(read @ 1..) = stream.read(&mut part).await else { return };
                // Only the end is of interest.
                body = [&body[body.len().saturating_sub(8)..], &part[..read]].concat();
            }
            let answer: &[u8] = match answers_first {
                true => b"4\r\nlast\r\n0\r\n\r\n",
                false => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            };
            drop(stream.write_all(answer).await);
        }
    })
    .await;
    (pod, go)
}

/// Routes to a pod of the test and to one that is like any other.
fn beside(scripted: &Scripted, flags: &[&str]) -> (PodServer, Proxy) {
    let (server, address) = super::echo_pod("web-1");
    let to_own = json!({ "to": { "kind": "Service", "name": "own" } });
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", address),
        route("own", OWN, to_own),
        service("own"),
        pod("own", "own-1", scripted.address),
    ]);
    (server, Proxy::of(manifests, flags))
}

const OWN: &str = "own.example.com";

/// Somebody is refused for being slow, so that as much time has passed.
async fn grace_is_over(proxy: &Proxy) {
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let answer = trickle(stream, head("Content-Length: 1000000").as_bytes(), b"").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_pod_that_takes_nothing_is_not_the_clients_fault() {
    for way in ["--fast-path=true", "--fast-path=false"] {
        let (pod, go) = waiting_pod(false).await;
        let (_web, proxy) = beside(&pod, &[&RATE[..], &[way]].concat());
        let size = 64 * 1024 * 1024;
        let framings = [format!("Content-Length: {size}"), "Transfer-Encoding: chunked".to_owned()];
        for framing in framings {
            let mut stream = TcpStream::connect(proxy.http).await.unwrap();
            let request = format!("POST / HTTP/1.1\r\nHost: {OWN}\r\nConnection: close\r\n{framing}\r\n\r\n");
            let chunked = framing.contains("chunked");
            stream.write_all(request.as_bytes()).await.unwrap();
            let (mut reads, mut writes) = stream.into_split();
            let sending = tokio::spawn(async move {
                let part = vec![b'x'; 64 * 1024];
                for _ in 0..size / part.len() - 1 {
                    if chunked {
                        writes.write_all(b"10000\r\n").await.unwrap();
                    }
                    writes.write_all(&part).await.unwrap();
                    if chunked {
                        writes.write_all(b"\r\n").await.unwrap();
                    }
                }
                let last = if chunked { b"0\r\n\r\n".to_vec() } else { [&part[3..], b"end"].concat() };
                writes.write_all(&last).await.unwrap();
                writes
            });
            grace_is_over(&proxy).await;
            grace_is_over(&proxy).await;
            assert!(!sending.is_finished(), "all of it was taken, and nobody had to wait");
            go.notify_one();
            let answer = read_to_end(&mut reads).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{way} {framing}: {answer}");
            drop(sending.await.unwrap());
        }
    }
}

#[tokio::test]
async fn once_the_pod_answers_both_sides_may_take_their_time() {
    for way in ["--fast-path=true", "--fast-path=false"] {
        let (pod, go) = waiting_pod(true).await;
        let (_web, proxy) = beside(&pod, &[&RATE[..], &[way]].concat());
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {OWN}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "first").await;
        grace_is_over(&proxy).await;
        grace_is_over(&proxy).await;
        go.notify_one();
        stream.write_all(b"1\r\na\r\n0\r\n\r\n").await.unwrap();
        let rest = read_to_end(&mut stream).await;
        assert!(rest.contains("last"), "{way}: {rest}");
    }
}

#[tokio::test]
async fn a_stream_of_grpc_may_be_quiet() {
    let server = grpc::grpc_pod(None).await;
    let (_web, address) = super::echo_pod("web-1");
    let to_own = json!({ "to": { "kind": "Service", "name": "own" } });
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", address),
        route("own", OWN, to_own),
        service_with("own", json!({ "appProtocol": "kubernetes.io/h2c" })),
        pod("own", "own-1", server.address),
    ]);
    let proxy = Proxy::start(&manifests, &RATE);
    let mut client = grpc::client(TcpStream::connect(proxy.http).await.unwrap()).await;
    let (messages, answer) = grpc::begin(&mut client, &format!("http://{OWN}/test/Client"));
    messages.send(Frame::data(grpc::message("one"))).await.unwrap();
    grace_is_over(&proxy).await;
    grace_is_over(&proxy).await;
    messages.send(Frame::data(grpc::message("two"))).await.unwrap();
    drop(messages);
    let answer = answer.await;
    let mut read = grpc::Messages::new(answer.into_body());
    read.rest().await;
    assert_eq!(read.trailer("grpc-status"), Some("0"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_left() {
    let large = 50_000_000;
    for way in [&["--fast-path=true"][..], &["--fast-path=false"], &["--splice=false"]] {
        let (_pod, proxy, ca) = web(&[way, &["--client-stall-timeout=500ms"]].concat());
        let mut canary = Canary::start(&proxy, HOST);
        let request = format!("GET /media/{large} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut plain = socket.connect(proxy.http).await.unwrap();
        plain.write_all(request.as_bytes()).await.unwrap();
        met(&proxy, "client_stall", 1).await;
        let mut secure = connect_tls(proxy.https, &ca, HOST, &["http/1.1"]).await.unwrap();
        secure.write_all(request.as_bytes()).await.unwrap();
        secure.flush().await.unwrap();
        met(&proxy, "client_stall", 2).await;
        canary.was_served().await;
        let mut rest = Vec::new();
        drop(timeout(PATIENCE, plain.read_to_end(&mut rest)).await.expect("the connection has ended"));
        assert!(rest.len() < large, "{} bytes", rest.len());
    }
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_reset_and_the_others_go_on() {
    let (_pod, proxy, _ca) = web(&["--client-stall-timeout=500ms"]);
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(20_000).initial_connection_window_size(10_000_000);
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    let ask = |path: &str| Request::get(format!("http://{HOST}{path}")).body(Full::<Bytes>::default()).unwrap();
    let stalled = client.send_request(ask("/media/1000000")).await.unwrap();
    assert_eq!(stalled.status(), 200);
    met(&proxy, "client_stall", 1).await;
    let other = client.send_request(ask("/media/5")).await.unwrap();
    assert_eq!(other.into_body().collect().await.unwrap().to_bytes().len(), 5);
    assert!(stalled.into_body().collect().await.is_err(), "the stream was reset");
    assert_eq!(get(proxy.http, HOST, "/media/5").await.status, 200);
}
