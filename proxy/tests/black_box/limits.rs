//! Who is served, how much and how fast: address lists, rates, sizes of bodies and the speed of answers.

use super::support::client::{Reply, connect_tls, exchange, get_h2, read_to_end, read_until, request};
use super::support::manifests::{annotated, pod, route, service};
use super::support::pods::echo_pod_with;
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use http::Request;
use http_body_util::Full;
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::media;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

const HOST: &str = "web.example.com";

fn limited(address: SocketAddr, annotations: &[(&str, &str)]) -> Manifests {
    Manifests::with(&[
        annotated(route("web", HOST, json!({})), annotations),
        service("web"),
        pod("web", "web-1", address),
    ])
}

/// GET from another loopback address than everybody else's.
async fn get_from(client: &str, address: SocketAddr, host: &str, path: &str) -> Reply {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{client}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(address).await.unwrap();
    exchange(stream, Request::get(path).header("host", host).body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn only_the_clients_that_a_route_names_are_served() {
    let (_pod, address) = echo_pod("web-1");
    let allow = "haproxy.router.openshift.io/ip_allowlist";
    let lists: [(&str, &str, [u16; 2]); 9] = [
        (allow, "127.0.0.1", [200, 403]),
        (allow, "192.0.2.1 127.0.0.2/31 2001:db8::/32", [403, 200]),
        (allow, " 127.0.0.1 ", [200, 403]),
        (allow, "nonsense 10.0.0.0/99", [403, 403]),
        (allow, "nonsense 127.0.0.1", [200, 403]),
        ("haproxy.router.openshift.io/ip_whitelist", "127.0.0.2", [403, 200]),
        ("nearside.dev/ip-allowlist", "127.0.0.0/8", [200, 200]),
        ("nginx.ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8,127.0.0.2/32", [403, 200]),
        ("nginx.ingress.kubernetes.io/denylist-source-range", "10.0.0.0/8,127.0.0.2/32", [200, 403]),
    ];
    let mut objects = vec![service("web"), pod("web", "web-1", address)];
    for (number, (name, list, _)) in lists.iter().enumerate() {
        let more = json!({ "to": { "kind": "Service", "name": "web" } });
        let one = route(&format!("r{number}"), &format!("r{number}.example.com"), more);
        objects.push(annotated(one, &[(*name, *list)]));
    }
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start(&manifests, &[]);
    for (number, (name, list, expected)) in lists.iter().enumerate() {
        let host = format!("r{number}.example.com");
        let first = get(proxy.http, &host, "/").await.status;
        let second = get_from("127.0.0.2", proxy.http, &host, "/").await.status;
        assert_eq!([first, second], *expected, "{name}: {list:?}");
    }
}

#[tokio::test]
async fn a_passed_through_connection_of_another_client_is_closed() {
    let ca = TestCa::new("test").unwrap();
    let hosts = ["open.example.com", "closed.example.com", "broken.example.com"];
    let (_pod, address) = echo_pod_with("tls-1", Some(ca.identity(&hosts).unwrap().server().unwrap()));
    let tls = json!({ "to": { "kind": "Service", "name": "tls" }, "tls": { "termination": "passthrough" } });
    let list = |host: &str, list: &str| {
        let name = host.split('.').next().unwrap();
        annotated(route(name, host, tls.clone()), &[("haproxy.router.openshift.io/ip_allowlist", list)])
    };
    let manifests = Manifests::with(&[
        list(hosts[0], "127.0.0.1"),
        list(hosts[1], "127.0.0.2"),
        list(hosts[2], "nonsense"),
        service("tls"),
        pod("tls", "tls-1", address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    assert!(connect_tls(proxy.https, &ca, hosts[0], &[]).await.is_ok());
    assert!(connect_tls(proxy.https, &ca, hosts[1], &[]).await.is_err());
    assert!(connect_tls(proxy.https, &ca, hosts[2], &[]).await.is_err(), "a list of nothing lets nobody in");
}

#[tokio::test]
async fn a_client_is_served_as_often_as_the_route_says_and_told_when_to_come_again() {
    let (_pod, address) = echo_pod("web-1");
    let switch = ("haproxy.router.openshift.io/rate-limit-connections", "true");
    let tables: [(&[(&str, &str)], usize); 6] = [
        (&[switch, ("haproxy.router.openshift.io/rate-limit-connections.rate-http", "4")], 4),
        (&[("haproxy.router.openshift.io/rate-limit-connections.rate-http", "4")], 12),
        (&[switch, ("haproxy.router.openshift.io/rate-limit-connections.concurrent-tcp", "0")], 0),
        (&[("nginx.ingress.kubernetes.io/limit-rpm", "1")], 6),
        (
            &[
                ("nginx.ingress.kubernetes.io/limit-rpm", "1"),
                ("nginx.ingress.kubernetes.io/limit-burst-multiplier", "2"),
            ],
            3,
        ),
        (
            &[
                ("nginx.ingress.kubernetes.io/limit-rpm", "1"),
                ("nginx.ingress.kubernetes.io/limit-whitelist", "127.0.0.1"),
            ],
            12,
        ),
    ];
    for (annotations, expected) in tables {
        let manifests = limited(address, annotations);
        let proxy = Proxy::start(&manifests, &[]);
        let mut served = 0;
        for _ in 0..12 {
            let reply = get(proxy.http, HOST, "/").await;
            match reply.status {
                200 => served += 1,
                429 => assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1),
                other => panic!("{other}"),
            }
        }
        assert_eq!(served, expected, "{annotations:?}");
        if expected > 0 {
            assert_eq!(
                get_from("127.0.0.2", proxy.http, HOST, "/").await.status,
                200,
                "{annotations:?}: another client"
            );
        }
    }
}

#[tokio::test]
async fn as_many_requests_run_at_a_time_as_the_route_says() {
    let (_pod, address) = echo_pod("web-1");
    for annotations in [
        &[
            ("haproxy.router.openshift.io/rate-limit-connections", "true"),
            ("haproxy.router.openshift.io/rate-limit-connections.concurrent-tcp", "2"),
        ][..],
        &[("nginx.ingress.kubernetes.io/limit-connections", "2")],
    ] {
        let manifests = limited(address, annotations);
        let proxy = Proxy::start(&manifests, &[]);
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(proxy.http).await.unwrap();
            let upgrade = format!(
                "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            stream.write_all(upgrade.as_bytes()).await.unwrap();
            assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
            held.push(stream);
        }
        assert_eq!(get(proxy.http, HOST, "/").await.status, 429);
        held.pop();
        eventually("there is room again", || async { (get(proxy.http, HOST, "/").await.status == 200).then_some(()) })
            .await;
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_however_it_comes() {
    let (_pod, address) = echo_pod("web-1");
    for annotation in [("nginx.ingress.kubernetes.io/proxy-body-size", "1k"), ("nearside.dev/max-body-size", "1024")] {
        let manifests = limited(address, &[annotation]);
        let proxy = Proxy::start(&manifests, &[]);
        for (size, status) in [(1024, 200), (1025, 413), (200_000, 413)] {
            let body = "x".repeat(size);
            let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
            let by_length = format!("{head}Content-Length: {size}\r\n\r\n{body}");
            let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n");
            for bytes in [by_length, chunked] {
                let mut stream = TcpStream::connect(proxy.http).await.unwrap();
                // The proxy may close before it has read everything.
                drop(stream.write_all(bytes.as_bytes()).await);
                let answer = read_to_end(&mut stream).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{size}: {answer}");
            }
        }
    }
    let manifests = limited(address, &[("nginx.ingress.kubernetes.io/proxy-body-size", "0")]);
    let proxy = Proxy::start(&manifests, &[]);
    let upload = Request::post("/").header("host", HOST).body(Full::from(vec![b'x'; 3_000_000])).unwrap();
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    assert_eq!(exchange(stream, upload).await.status, 200);
}

#[tokio::test]
async fn a_response_with_a_bandwidth_ends_after_one_without() {
    let (_pod, address) = echo_pod("web-1");
    let (slow, fast) = ("slow.example.com", "fast.example.com");
    for annotation in [("nginx.ingress.kubernetes.io/limit-rate", "100"), ("nearside.dev/limit-rate", "100k")] {
        let to_web = |name: &str, host: &str| -> Value {
            route(name, host, json!({ "to": { "kind": "Service", "name": "web" } }))
        };
        let manifests = Manifests::with(&[
            annotated(to_web("slow", slow), &[annotation]),
            to_web("fast", fast),
            service("web"),
            pod("web", "web-1", address),
        ]);
        let proxy = Proxy::start(&manifests, &[]);
        let h1 = get(proxy.http, slow, "/media/200000");
        let h2 = async {
            let stream = TcpStream::connect(proxy.http).await.unwrap();
            get_h2(stream, &format!("http://{slow}/media/200000")).await
        };
        let start = std::time::Instant::now();
        let unlimited = async {
            let reply = get(proxy.http, fast, "/media/2000000").await;
            assert_eq!(reply.body.len(), 2_000_000);
            start.elapsed()
        };
        let limited = async {
            let (h1, h2) = tokio::join!(async { (h1.await, start.elapsed()) }, async { (h2.await, start.elapsed()) });
            for (reply, took) in [h1, h2] {
                assert!(media::verify(0, &reply.body) && reply.body.len() == 200_000, "{}", reply.status);
                // A limit cannot be kept by a slow machine only: no response is ever ahead of its bandwidth.
                assert!(took.as_millis() >= 1_700, "{annotation:?}: 200 kB at 100 KiB/s came in {took:?}");
            }
            start.elapsed()
        };
        let (fast_took, slow_took) = tokio::join!(unlimited, limited);
        assert!(fast_took < slow_took, "{fast_took:?} {slow_took:?}");
    }
    let after = ("nginx.ingress.kubernetes.io/limit-rate-after", "1000");
    let manifests = limited(address, &[("nginx.ingress.kubernetes.io/limit-rate", "1"), after]);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = request(proxy.http, Request::get("/media/900000").header("host", HOST)).await;
    assert_eq!(reply.body.len(), 900_000, "at 1 KiB/s this would take a quarter of an hour");
}

#[tokio::test]
async fn a_burst_beyond_the_rate_of_connections_is_refused() {
    let (_pod, address) = echo_pod("web-1");
    let annotations = [
        ("haproxy.router.openshift.io/rate-limit-connections", "true"),
        ("haproxy.router.openshift.io/rate-limit-connections.rate-tcp", "3"),
    ];
    let manifests = limited(address, &annotations);
    let proxy = Proxy::start(&manifests, &[]);
    for _ in 0..3 {
        assert_eq!(get(proxy.http, HOST, "/").await.status, 200, "as many as may be in three seconds");
    }
    // On a machine that is slow enough the first ones do not count any more, but never for all.
    let reply = eventually("one is too many", || async {
        Some(get(proxy.http, HOST, "/").await).filter(|reply| reply.status == 429)
    })
    .await;
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
}
