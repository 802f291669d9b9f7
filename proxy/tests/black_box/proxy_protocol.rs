//! The PROXY protocol: load balancers say who their client is, and pods that ask for it are told.

use super::support::client::{connect_tls, exchange, raw, read_to_end, read_until};
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service};
use super::support::pods::{Scripted, read_header};
use super::support::{Manifests, Proxy, echo_pod, eventually};
use http::Request;
use http_body_util::Full;
use nearside_loadtest::certificates::TestCa;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const HOST: &str = "web.example.com";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 8443\r\n";
/// Version 2: IPv6 2001:db8::7 port 5555 to 2001:db8::1 port 8443.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x15\xb3\x20\xfb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const SIGNATURE_BYTES: usize = 12;

/// The answer to a request that follows these bytes; empty where the connection is closed without one.
async fn answer(proxy: SocketAddr, first: &[u8]) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    raw(proxy, &[first, request.as_bytes()].concat()).await
}

#[tokio::test]
async fn load_balancers_say_who_is_connected_and_nobody_else_is_believed() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let served_as = |client: &'static str| move |answer: &str| answer.contains(&format!("\"{client}\""));
    let closed = |answer: &str| answer.is_empty();
    let refused = |answer: &str| answer.starts_with("HTTP/1.1 400 ");
    type Check<'c> = &'c dyn Fn(&str) -> bool;
    let cases: [(&[&str], &[u8], Check<'_>); 11] = [
        (&["--proxy-protocol=required"], V1, &served_as("192.0.2.7")),
        (&["--proxy-protocol=required"], V2, &served_as("2001:db8::7")),
        (&["--proxy-protocol=required"], LOCAL, &served_as("127.0.0.1")),
        (&["--proxy-protocol=required"], b"PROXY UNKNOWN\r\n", &served_as("127.0.0.1")),
        (&["--proxy-protocol=required"], b"", &closed),
        (&["--proxy-protocol=required"], b"PROXY TCP4 192.0.2.7\r\n", &closed),
        (&["--proxy-protocol-from=127.0.0.0/8"], V1, &served_as("192.0.2.7")),
        (&["--proxy-protocol-from=127.0.0.0/8"], b"", &closed),
        (&["--proxy-protocol-from=192.0.2.0/24"], b"", &served_as("127.0.0.1")),
        (&["--proxy-protocol-from=192.0.2.0/24"], V1, &refused),
        (&["--proxy-protocol-from=192.0.2.0/24", "--proxy-protocol=required"], V1, &closed),
    ];
    for (flags, first, expected) in cases {
        let proxy = Proxy::start(&manifests, flags);
        let answer = answer(proxy.http, first).await;
        assert!(expected(&answer), "{flags:?} {:?}: {answer:?}", String::from_utf8_lossy(first));
        if first == V1 && answer.starts_with("HTTP/1.1 200 ") {
            assert!(answer.contains("\"8443\""), "the port that the client asked: {answer}");
            assert_eq!(proxy.access_line(HOST).await["client"], "192.0.2.7:5555");
        }
        if answer.is_empty() {
            eventually("the refusal is counted", || async {
                proxy.metric("nearside_proxy_headers_refused_total", "").await.filter(|count| *count == 1.0)
            })
            .await;
        }
    }
}

#[tokio::test]
async fn the_header_comes_before_tls_and_address_lists_go_by_it() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("test").unwrap();
    let identity = ca.identity(&[HOST]).unwrap();
    let tls = json!({ "tls": { "termination": "edge", "certificate": identity.certificate, "key": identity.key } });
    let listed = annotated(route("web", HOST, tls), &[("haproxy.router.openshift.io/ip_allowlist", "192.0.2.0/24")]);
    let manifests = Manifests::with(&[listed, service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &["--proxy-protocol=required"]);
    for (first, status) in [(V1, 200), (V2, 403)] {
        let mut stream = TcpStream::connect(proxy.https).await.unwrap();
        stream.write_all(first).await.unwrap();
        let connector = TlsConnector::from(ca.client(&["http/1.1"]).unwrap());
        let stream = connector.connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap();
        let request = Request::get("/").header("host", HOST).body(Full::default()).unwrap();
        assert_eq!(exchange(stream, request).await.status, status, "{}", String::from_utf8_lossy(first));
    }
    assert!(connect_tls(proxy.https, &ca, HOST, &[]).await.is_err(), "a ClientHello is no header");
}

#[tokio::test]
async fn a_pod_that_asks_is_told_who_its_client_is_on_each_connection() {
    // Answers each request with the source that its connection began with.
    let pod_server = Scripted::start(|mut stream| async move {
        let mut header = [0; 28];
        if stream.read_exact(&mut header).await.is_err() {
            return;
        }
        assert_eq!(&header[..SIGNATURE_BYTES], &V2[..SIGNATURE_BYTES]);
        let source = std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&header[16..20]).unwrap());
        let body = source.to_string();
        while !read_header(&mut stream).await.is_empty() {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let asking = annotated(route("web", HOST, json!({})), &[("nearside.dev/proxy-protocol", "v2")]);
    let manifests = Manifests::with(&[asking, service("web"), pod("web", "web-1", pod_server.address)]);
    let proxy = Proxy::start(&manifests, &["--proxy-protocol=required"]);
    let ask = |client: &'static str| async move {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        let header = format!("PROXY TCP4 {client} 198.51.100.1 5555 80\r\n");
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        stream.write_all(format!("{header}{request}").as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\n192.0.2.").await;
        let number = stream.read_u8().await.unwrap();
        format!("192.0.2.{}", char::from(number))
    };
    // In turns: a connection that is kept for one client must not carry another's request.
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"] {
        assert_eq!(ask(client).await, client);
    }
}

/// A pod that notes the PROXY header of each connection, of version 2 and IPv4, and the port of the client in it; then
/// answers each request.
async fn noting_pod(noted: Arc<Mutex<Vec<SocketAddr>>>) -> Scripted {
    Scripted::start(move |mut stream| {
        let noted = Arc::clone(&noted);
        async move {
            let mut header = [0; 28];
            stream.read_exact(&mut header).await.unwrap();
            assert_eq!(&header[..SIGNATURE_BYTES], &V2[..SIGNATURE_BYTES]);
            let ip: [u8; 4] = header[16..20].try_into().unwrap();
            noted.lock().unwrap().push((ip, u16::from_be_bytes([header[24], header[25]])).into());
            while read_header(&mut stream).await.ends_with("\r\n\r\n") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await
}

fn told(object: Value) -> Value {
    annotated(object, &[("nearside.dev/proxy-protocol", "v2")])
}

#[tokio::test]
async fn the_requests_of_one_client_share_a_connection_except_those_that_need_one_of_their_own() {
    let noted = Arc::<Mutex<Vec<SocketAddr>>>::default();
    let pod_server = noting_pod(Arc::clone(&noted)).await;
    let ingress_host = "ingress.example.com";
    let manifests = Manifests::with(&[
        ingress_class(),
        told(route("web", HOST, json!({}))),
        told(ingress("other", ingress_host, &[("Prefix", "/", "web")], json!({}))),
        service("web"),
        pod("web", "web-1", pod_server.address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut expected = Vec::new();
    for host in [HOST, ingress_host, HOST] {
        let mut client = TcpStream::connect(proxy.http).await.unwrap();
        expected.push(client.local_addr().unwrap());
        for _ in 0..2 {
            client.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
            assert!(read_until(&mut client, "\r\n\r\nok").await.starts_with("HTTP/1.1 200"));
        }
        // An upload whose end is still to come has a connection of its own, and that is announced as well.
        client
            .write_all(format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000\r\n\r\n").as_bytes())
            .await
            .unwrap();
        expected.push(client.local_addr().unwrap());
        assert!(read_until(&mut client, "\r\n\r\nok").await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(*noted.lock().unwrap(), expected, "one connection for the requests of each client");
}

#[tokio::test]
async fn a_pod_behind_passthrough_is_told_who_is_connected() {
    let ca = TestCa::new("pod").unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(ca.identity(&[HOST]).unwrap().server().unwrap());
    let noted = Arc::<Mutex<Vec<SocketAddr>>>::default();
    let seen = Arc::clone(&noted);
    let pod_server = Scripted::start(move |mut stream| {
        let (seen, acceptor) = (Arc::clone(&seen), acceptor.clone());
        async move {
            let mut header = [0; 28];
            stream.read_exact(&mut header).await.unwrap();
            let ip: [u8; 4] = header[16..20].try_into().unwrap();
            seen.lock().unwrap().push((ip, u16::from_be_bytes([header[24], header[25]])).into());
            let mut tls = acceptor.accept(stream).await.unwrap();
            tls.write_all(b"hello").await.unwrap();
            tls.shutdown().await.unwrap();
        }
    })
    .await;
    let manifests = Manifests::with(&[
        told(route("web", HOST, json!({ "tls": { "termination": "passthrough" } }))),
        service("web"),
        pod("web", "web-1", pod_server.address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut client = connect_tls(proxy.https, &ca, HOST, &[]).await.unwrap();
    let own = client.get_ref().0.local_addr().unwrap();
    assert_eq!(read_to_end(&mut client).await, "hello");
    assert_eq!(*noted.lock().unwrap(), [own]);
}

#[tokio::test]
async fn pods_that_want_to_be_told_are_checked_by_a_connection_alone() {
    let pods = [silent_pod().await, silent_pod().await];
    let object = annotated(
        route("web", HOST, json!({})),
        &[("nearside.dev/proxy-protocol", "v2"), ("nearside.dev/health-check-path", "/healthz")],
    );
    let mut objects = vec![object, service("web")];
    objects.extend(pods.iter().zip(["web-1", "web-2"]).map(|(server, name)| pod("web", name, server.address)));
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start(&manifests, &["--check-interval=100ms"]);
    eventually("each pod passes several checks", || async {
        let passed = proxy.metric("nearside_endpoint_checks_total", "check=\"tcp\",result=\"passed\"").await;
        passed.filter(|count| *count >= 6.0)
    })
    .await;
    assert_eq!(proxy.metric("nearside_endpoint_checks_total", "check=\"http\"").await.unwrap_or(0.0), 0.0);
}

/// A pod that takes connections and answers nothing.
async fn silent_pod() -> Scripted {
    Scripted::start(|mut stream| async move {
        let mut buffer = [0; 64];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    })
    .await
}
