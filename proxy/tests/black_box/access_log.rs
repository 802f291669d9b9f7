//! The access log as its reader sees it: lines of HAProxy, captures, syslog, and objects that want no line.

use super::support::client::{get_tls, raw};
use super::support::manifests::{annotated, pod, route, service};
use super::support::pods::{echo_pod_with, read_header};
use super::support::{Manifests, PATIENCE, Proxy, Scripted, echo_pod, eventually, get, request};
use http::Request;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;
use tokio::time::timeout;

const HOST: &str = "web.example.com";
const HAPROXY: &str = "--access-log-format=haproxy";

fn web(address: SocketAddr, more: Value) -> Manifests {
    Manifests::with(&[route("web", HOST, more), service("web"), pod("web", "web-1", address)])
}

/// The next datagram, as text.
async fn received(server: &UdpSocket) -> String {
    let mut datagram = vec![0; 64 * 1024];
    let length = timeout(PATIENCE, server.recv(&mut datagram)).await.expect("a line is sent").unwrap();
    datagram.truncate(length);
    String::from_utf8(datagram).unwrap()
}

async fn syslog_server() -> (UdpSocket, String) {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    (server, address)
}

/// The line of the log whose text contains this, once it is written.
async fn text_line(proxy: &Proxy, part: &str) -> String {
    let found = || proxy.access_text().into_iter().find(|line| line.contains(part));
    eventually("the access log's line", || async { found() }).await
}

#[tokio::test]
async fn a_syslog_server_gets_the_lines_of_haproxy() {
    let (_pod, address) = echo_pod("web-1");
    let (server, at) = syslog_server().await;
    let manifests = web(address, json!({}));
    let environment = [
        ("ROUTER_SYSLOG_ADDRESS", &*at),
        ("ROUTER_LOG_FACILITY", "local2"),
        ("ROUTER_LOG_LEVEL", "info"),
        ("ROUTER_CAPTURE_HTTP_REQUEST_HEADERS", "Host:3"),
    ];
    let proxy = Proxy::start_in(&environment, &manifests, &["--allow-endpoints=127.0.0.0/8"]);
    assert_eq!(get(proxy.http, HOST, "/a?b=c").await.status, 200);
    let line = received(&server).await;
    let (header, line) = line.split_once("]: ").unwrap();
    assert!(header.starts_with("<150>") && header.contains(" n1 nearside["), "{header}");
    let words: Vec<&str> = line.split(' ').collect();
    let [
        client,
        date,
        frontend,
        backend,
        timers,
        status,
        bytes,
        request_cookie,
        response_cookie,
        state,
        counts,
        queues,
        ..,
    ] = words[..]
    else {
        panic!("{line}")
    };
    assert!(client.starts_with("127.0.0.1:"), "{line}");
    assert!(date.starts_with('[') && date.ends_with(']') && date.len() == "[27/Nov/2026:04:48:37.655]".len(), "{line}");
    assert_eq!((frontend, backend), ("public", &*format!("be_http:shop:web/pod:web-1:web::{address}")));
    let timers: Vec<i64> = timers.split('/').map(|timer| timer.parse().unwrap()).collect();
    assert!(timers.len() == 5 && timers.iter().all(|timer| *timer >= 0), "{line}");
    assert!(timers[4] >= timers[3], "{line}");
    assert_eq!((status, request_cookie, response_cookie, state), ("200", "-", "-", "--NI"), "{line}");
    assert!(bytes.parse::<u64>().unwrap() > 0, "{line}");
    assert_eq!((counts, queues), ("1/1/1/1/0", "0/0"), "{line}");
    assert!(line.ends_with(" {web} \"GET /a?b=c HTTP/1.1\""), "{line}");
    assert!(proxy.access_text().is_empty(), "nothing on standard output");

    assert_eq!(get(proxy.http, "unknown.example.com", "/").await.status, 404);
    let line = received(&server).await;
    assert!(line.contains(" public openshift_default/<NOSRV> ") && line.contains("/-1/-1/-1/"), "{line}");
    assert!(line.contains(" 404 ") && line.contains(" LR-- "), "{line}");
}

#[tokio::test]
async fn a_syslog_server_that_is_away_loses_lines_and_delays_nobody() {
    let (_pod, address) = echo_pod("web-1");
    let nowhere = tempfile::tempdir().unwrap().path().join("socket");
    let proxy = Proxy::of(web(address, json!({})), &[&format!("--access-log=syslog://{}", nowhere.display())]);
    for _ in 0..3 {
        assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
    }
    eventually("the lines are counted", || async {
        proxy.metric("nearside_access_log_dropped_total", "").await.filter(|count| *count == 3.0)
    })
    .await;
}

#[tokio::test]
async fn at_a_higher_level_only_failures_are_sent() {
    let (_pod, address) = echo_pod("web-1");
    let (server, at) = syslog_server().await;
    let manifests = web(address, json!({}));
    manifests.put(&route("none", "none.example.com", json!({})));
    let proxy = Proxy::of(manifests, &[&format!("--access-log=syslog://{at}"), "--syslog-level=warning"]);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
    assert_eq!(get(proxy.http, "none.example.com", "/").await.status, 503);
    let line = received(&server).await;
    assert!(line.starts_with("<139>") && line.contains("none.example.com"), "{line}");
}

#[tokio::test]
async fn a_format_that_cannot_be_used_leaves_the_default_and_is_told() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = web(address, json!({}));
    for (format, expected) in
        [("\"%ci \\\"%HM\\\" %ST\"", "127.0.0.1 \"GET\" 200"), ("%ci %nothing", "\"GET / HTTP/1.1\"")]
    {
        let (server, at) = syslog_server().await;
        let environment = [("ROUTER_SYSLOG_ADDRESS", &*at), ("ROUTER_SYSLOG_FORMAT", format)];
        let proxy = Proxy::start_in(&environment, &manifests, &["--allow-endpoints=127.0.0.0/8"]);
        assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
        let line = received(&server).await;
        assert!(line.ends_with(expected), "{line}");
        let told = proxy.log().lines().any(|line| line.contains("ROUTER_SYSLOG_FORMAT") && line.contains("%nothing"));
        assert_eq!(told, format.contains("nothing"), "{}", proxy.log());
    }
}

#[tokio::test]
async fn a_passed_through_connection_has_the_line_of_tcplog() {
    let ca = TestCa::new("pods").unwrap();
    let identity = ca.identity(&[HOST]).unwrap();
    let (_pod, address) = echo_pod_with("web-1", Some(identity.server().unwrap()));
    let proxy = Proxy::of(web(address, json!({ "tls": { "termination": "passthrough" } })), &[HAPROXY]);
    assert_eq!(get_tls(proxy.https, &ca, HOST, "/").await.unwrap().status, 200);
    let line = text_line(&proxy, "be_tcp:shop:web/pod:web-1:web::").await;
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words.len(), words[2]), (9, "public_ssl"), "{line}");
    let timers: Vec<i64> = words[4].split('/').map(|timer| timer.parse().unwrap()).collect();
    assert!(timers.len() == 3 && timers.iter().all(|timer| *timer >= 0), "{line}");
    assert!(words[5].parse::<u64>().unwrap() > 0, "{line}");
    assert_eq!(&words[6..], ["--", "1/1/1/1/0", "0/0"], "{line}");
}

#[tokio::test]
async fn captures_show_what_was_sent_before_any_action() {
    let pod = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        let answer =
            b"HTTP/1.1 200 OK\r\nx-b: from the pod\r\nset-cookie: session=2; Path=/\r\ncontent-length: 0\r\n\r\n";
        drop(stream.write_all(answer).await);
    })
    .await;
    let changes = [("nearside.dev/request-headers", "X-A: changed"), ("nearside.dev/response-headers", "X-B: changed")];
    let manifests = Manifests::with(&[
        annotated(route("web", HOST, json!({})), &changes),
        service("web"),
        super::support::manifests::pod("web", "web-1", pod.address),
    ]);
    let captures = [
        "--capture-request-headers=X-A:8,X-None:8",
        "--capture-response-headers=X-B:64",
        "--capture-cookie=session=:10",
    ];
    let ask = async |proxy: &Proxy| {
        let asked =
            Request::get("/").header("host", HOST).header("x-a", "from the client").header("cookie", "session=1");
        let reply = request(proxy.http, asked).await;
        assert_eq!(reply.header("x-b"), Some("changed"));
    };
    let proxy = Proxy::start(&manifests, &captures);
    ask(&proxy).await;
    let line = proxy.access_line(HOST).await;
    assert_eq!(line["request_headers"], json!({ "x-a": "from the" }));
    assert_eq!(line["response_headers"], json!({ "x-b": "from the pod" }));
    assert_eq!((&line["request_cookie"], &line["response_cookie"]), (&json!("session=1"), &json!("session=2")));

    let proxy = Proxy::start(&manifests, &[&captures[..], &[HAPROXY]].concat());
    ask(&proxy).await;
    let line = text_line(&proxy, "be_http:shop:web").await;
    assert!(line.contains(" session=1 session=2 ") && line.contains(" {from the|} {from the pod} \"GET"), "{line}");
    let proxy = Proxy::start(&manifests, &[&captures[..], &["--access-log-format=text"]].concat());
    ask(&proxy).await;
    let line = text_line(&proxy, HOST).await;
    assert!(
        line.contains("request.x-a=\"from the\" response.x-b=\"from the pod\" request.cookie=\"session=1\""),
        "{line}"
    );
}

#[tokio::test]
async fn hostile_requests_have_one_line_each() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = web(address, json!({}));
    let hostile = b"GET /\xe2\x80\xa8\"#{|} HTTP/1.1\r\nhost: web.example.com\r\nx-a: \xff\"}|{#\t\\ end\r\n\
                    connection: close\r\n\r\n";
    for format in ["text", "json", "haproxy", "%hr %r %[capture.req.hdr(0)]"] {
        let format = format!("--access-log-format={format}");
        let proxy = Proxy::start(&manifests, &[&format, "--capture-request-headers=X-A:64"]);
        raw(proxy.http, hostile).await;
        assert_eq!(get(proxy.http, HOST, "/after").await.status, 200);
        text_line(&proxy, "/after").await;
        let lines = proxy.access_text();
        assert_eq!(lines.len(), 2, "{lines:?}");
        let printable = lines[0].bytes().all(|byte| (32..127).contains(&byte));
        assert!(printable || format.ends_with("json"), "{lines:?}");
    }
}

#[tokio::test]
async fn an_object_may_have_no_lines() {
    let (_pod, address) = echo_pod("web-1");
    let silent = [("nginx.ingress.kubernetes.io/enable-access-log", "false")];
    let manifests = web(address, json!({}));
    let quiet = json!({ "to": { "kind": "Service", "name": "web" } });
    manifests.put(&annotated(route("quiet", "quiet.example.com", quiet), &silent));
    let proxy = Proxy::of(manifests, &[]);
    assert_eq!(get(proxy.http, "quiet.example.com", "/").await.status, 200);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
    let line = proxy.access_line(HOST).await;
    assert!(line["connect_ms"].is_number() && line["response_ms"].is_number(), "{line}");
    assert_eq!(proxy.access_log().len(), 1, "{:?}", proxy.access_log());
}
