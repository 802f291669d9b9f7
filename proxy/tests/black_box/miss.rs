//! Hosts without a ready pod on this node: redirected to another node by its alias once, or refused.

use super::support::client::{get_tls, raw, read_until};
use super::support::grpc::{client, send};
use super::support::manifests::{
    alias, annotated, ingress, ingress_class, pod, pod_on, published, route, service, wildcard_published,
};
use super::support::{Manifests, Proxy, echo_pod, eventually, get, request};
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use tokio::io::AsyncWriteExt as _;

const HOST: &str = "video.example.com";

/// Only node n2 has a pod.
fn elsewhere(spec: serde_json::Value) -> Manifests {
    let address = "198.18.1.1:80".parse().unwrap();
    Manifests::with(&[
        route("video", HOST, spec),
        service("video"),
        pod_on("n2", "video", "video-2", address),
        published(HOST, &["n2"]),
    ])
}

#[tokio::test]
async fn a_client_is_redirected_to_a_node_that_has_the_pod_but_only_once() {
    let manifests = elsewhere(json!({}));
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get(proxy.http, &format!("{HOST}:8080"), "/a%2Fb?t=1").await;
    assert_eq!(reply.status, 307);
    let there = alias(HOST, "n2");
    assert_eq!(reply.header("location"), Some(&*format!("http://{there}:8080/a%2Fb?t=1")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));

    let second = get(proxy.http, &alias(HOST, "n1"), "/a").await;
    assert_eq!((second.status, second.header("location")), (503, None), "who came by an alias is not sent on");
    assert_eq!(proxy.metric("nearside_misses_total", "policy=\"redirect\"").await, Some(1.0));
    assert_eq!(proxy.metric("nearside_misses_total", "policy=\"reject\"").await, Some(1.0));
    assert!(proxy.metric("nearside_misses_total", &format!("host=\"{HOST}\"")).await.is_some());
}

#[tokio::test]
async fn records_that_another_installation_or_anybody_else_writes_lead_nobody_away() {
    let manifests = elsewhere(json!({}));
    let mut foreign = published(HOST, &["n2"]);
    manifests.remove(&foreign);
    foreign["metadata"]["namespace"] = "shop".into();
    manifests.put(&foreign);
    let mut other = published(HOST, &["n2"]);
    other["metadata"]["labels"]["nearside.dev/router"] = "inner".into();
    other["metadata"]["name"] = "other".into();
    manifests.put(&other);
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 503);
    let inner = Proxy::start(&manifests, &["--router-name=inner"]);
    assert_eq!(get(inner.http, HOST, "/").await.status, 307, "they are its own");
    let tenant = Proxy::start(&manifests, &["--namespace=shop"]);
    assert_eq!(get(tenant.http, HOST, "/").await.status, 307, "they are in its namespace");
}

#[tokio::test]
async fn an_alias_is_answered_by_the_local_pod() {
    let (_pod, address) = echo_pod("video-1");
    let manifests =
        Manifests::with(&[route("video", HOST, json!({})), service("video"), pod("video", "video-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get(proxy.http, &alias(HOST, "n1"), "/").await;
    assert_eq!(reply.pod(), Some("video-1"));
    assert_eq!(reply.echo().host, alias(HOST, "n1"));
}

#[tokio::test]
async fn nobody_is_redirected_where_the_route_or_the_operator_says_so() {
    let manifests = elsewhere(json!({}));
    let mut rejecting = route("video", HOST, json!({}));
    rejecting["metadata"]["annotations"] = json!({ "nearside.dev/on-miss": "reject" });
    let proxy = Proxy::start(&manifests, &["--on-miss=reject"]);
    let refused = raw(proxy.http, format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    drop(proxy);
    manifests.put(&rejecting);
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 503, "the annotation decides");
    rejecting["metadata"]["annotations"]["nearside.dev/on-miss"] = json!("redirect");
    manifests.put(&rejecting);
    eventually("the new policy holds", || async { (get(proxy.http, HOST, "/").await.status == 307).then_some(()) })
        .await;
}

#[tokio::test]
async fn over_tls_a_client_is_redirected_only_to_a_name_that_the_certificate_covers() {
    let ca = TestCa::new("test").unwrap();
    let tls = |names: &[&str]| {
        let identity = ca.identity(names).unwrap();
        json!({ "tls": { "termination": "edge", "certificate": identity.certificate, "key": identity.key } })
    };
    let manifests = elsewhere(tls(&[HOST]));
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(get_tls(proxy.https, &ca, HOST, "/").await.unwrap().status, 503, "the alias would not be trusted");
    manifests.put(&route("video", HOST, tls(&["*.example.com"])));
    let reply = eventually("the wildcard certificate is served", || async {
        let reply = get_tls(proxy.https, &ca, HOST, "/x").await.unwrap();
        (reply.status == 307).then_some(reply)
    })
    .await;
    assert_eq!(reply.header("location"), Some(&*format!("https://{}/x", alias(HOST, "n2"))));
}

#[tokio::test]
async fn nothing_published_elsewhere_means_unavailable() {
    let manifests = elsewhere(json!({}));
    manifests.put(&published(HOST, &["n1"]));
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 503);
}

#[tokio::test]
async fn a_client_is_redirected_where_the_pods_of_this_node_cannot_be_reached() {
    // As a pod that ends: it takes no more connections, and the API has not said so yet.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let nobody = bound.local_addr().unwrap().as_socket().unwrap();
    let manifests = Manifests::with(&[
        route("video", HOST, json!({})),
        service("video"),
        pod("video", "video-1", nobody),
        published(HOST, &["n1", "n2"]),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get(proxy.http, HOST, "/a?t=1").await;
    assert_eq!(reply.status, 307);
    assert_eq!(reply.header("location"), Some(&*format!("http://{}/a?t=1", alias(HOST, "n2"))));
    let second = get(proxy.http, &alias(HOST, "n1"), "/a").await;
    assert_eq!((second.status, second.header("location")), (503, None), "who came by an alias is not sent on");
    let mut posted = TcpStream::connect(proxy.http).unwrap();
    write!(posted, "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").unwrap();
    let mut answer = String::new();
    posted.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
}

#[tokio::test]
async fn every_method_of_both_kinds_is_redirected_as_it_is() {
    let at_n2 = |kind: &str| alias(&format!("{kind}.example.com"), "n2");
    let mut published_ingress = published("shop.example.com", &["n2"]);
    published_ingress["metadata"]["name"] = json!("shop");
    let manifests = elsewhere(json!({}));
    for object in [
        ingress_class(),
        ingress("shop", "shop.example.com", &[("Prefix", "/", "video")], json!({})),
        published_ingress,
    ] {
        manifests.put(&object);
    }
    let proxy = Proxy::start(&manifests, &[]);
    for kind in ["video", "shop"] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            let host = format!("{kind}.example.com");
            let reply = request(proxy.http, Request::builder().method(method).uri("/a?t=1").header("host", host)).await;
            assert_eq!(reply.status, 307, "{method} {kind}");
            assert_eq!(reply.header("location"), Some(&*format!("http://{}/a?t=1", at_n2(kind))), "{method}");
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
        let upgrade = Request::get("/ws").header("host", format!("{kind}.example.com"));
        let upgrade = upgrade.header("connection", "upgrade").header("upgrade", "websocket");
        let upgrade =
            upgrade.header("sec-websocket-version", "13").header("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEA==");
        let reply = request(proxy.http, upgrade).await;
        assert_eq!(reply.status, 307, "clients of WebSocket may follow, and browsers fail as with any other answer");
    }
}

#[tokio::test]
async fn no_byte_of_a_body_is_taken_for_the_next_request() {
    let proxy = Proxy::of(elsewhere(json!({})), &[]);
    let mut kept = tokio::net::TcpStream::connect(proxy.http).await.unwrap();
    for path in ["/one", "/two"] {
        let length = 100_000;
        let head = format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n");
        kept.write_all(head.as_bytes()).await.unwrap();
        kept.write_all("GET /leak HTTP/1.1\r\n".repeat(length).as_bytes()[..length].as_ref()).await.unwrap();
        let answer = read_until(&mut kept, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 307 ") && answer.contains(path), "{answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    for framing in
        ["Content-Length: 5\r\nExpect: 100-continue", "Transfer-Encoding: chunked", "Content-Length: 900000000"]
    {
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{framing}\r\n\r\n");
        let answer = raw(proxy.http, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 307 ") && !answer.contains("100 Continue"), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{framing}: {answer}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_read_the_redirect_where_the_object_lets_them() {
    let manifests = Manifests::with(&[
        ingress_class(),
        annotated(
            ingress("video", HOST, &[("Prefix", "/", "video")], json!({})),
            &[
                ("nginx.ingress.kubernetes.io/enable-cors", "true"),
                ("nginx.ingress.kubernetes.io/cors-allow-origin", "https://app.example.org"),
            ],
        ),
        service("video"),
        published(HOST, &["n2"]),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let asked = |method: &str| {
        let request = Request::builder().method(method).uri("/").header("host", HOST);
        request.header("origin", "https://app.example.org").header("access-control-request-method", "PUT")
    };
    let preflight = request(proxy.http, asked("OPTIONS")).await;
    assert_eq!(preflight.status, 204, "browsers take no redirect for an answer to a preflight");
    let reply = request(proxy.http, asked("GET")).await;
    assert_eq!(reply.status, 307);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example.org"));
    assert_eq!(reply.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn clients_of_grpc_are_told_to_try_again_for_they_follow_no_redirect() {
    let proxy = Proxy::of(elsewhere(json!({})), &[]);
    let mut client = client(tokio::net::TcpStream::connect(proxy.http).await.unwrap()).await;
    let response = send(&mut client, &format!("http://{HOST}/test/Unary"), &["you"]).await;
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!((response.status().as_u16(), header("grpc-status"), header("location")), (200, Some("14"), None));
    assert_eq!(proxy.metric("nearside_misses_total", "policy=\"reject\"").await, Some(1.0));
}

#[tokio::test]
async fn a_host_of_a_wildcard_is_redirected_to_its_own_alias() {
    let manifests = Manifests::with(&[
        route(
            "any",
            "www.example.com",
            json!({ "wildcardPolicy": "Subdomain", "to": { "kind": "Service", "name": "video" } }),
        ),
        service("video"),
        wildcard_published("example.com", &["n2"]),
    ]);
    let proxy = Proxy::start(&manifests, &["--allow-wildcard-routes"]);
    for host in ["some.example.com", "other.example.com"] {
        let reply = get(proxy.http, host, "/x").await;
        assert_eq!((reply.status, reply.header("location")), (307, Some(&*format!("http://{}/x", alias(host, "n2")))));
        assert_eq!(get(proxy.http, &alias(host, "n1"), "/x").await.status, 503);
    }
}

#[tokio::test]
async fn nobody_is_sent_to_an_alias_that_is_a_host_of_its_own() {
    let wildcard = json!({ "wildcardPolicy": "Subdomain", "to": { "kind": "Service", "name": "video" } });
    let own = alias("some.example.com", "n2");
    let manifests = Manifests::with(&[
        route("any", "www.example.com", wildcard),
        service("video"),
        route("own", &own, json!({ "to": { "kind": "Service", "name": "video" } })),
        wildcard_published("example.com", &["n2", "n3"]),
    ]);
    let proxy = Proxy::start(&manifests, &["--allow-wildcard-routes"]);
    let there = format!("http://{}/", alias("some.example.com", "n3"));
    for _ in 0..8 {
        let reply = get(proxy.http, "some.example.com", "/").await;
        assert_eq!((reply.status, reply.header("location")), (307, Some(&*there)));
    }
    manifests.put(&wildcard_published("example.com", &["n2"]));
    eventually("there is no other", || async {
        (get(proxy.http, "some.example.com", "/").await.status == 503).then_some(())
    })
    .await;
    let reply = get(proxy.http, "other.example.com", "/").await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (307, Some(&*format!("http://{}/", alias("other.example.com", "n2"))))
    );
}

#[tokio::test]
async fn over_http_2_a_refused_client_is_asked_for_another_connection_and_gets_what_it_has_begun() {
    let (_pod, address) = echo_pod("here-1");
    let manifests = elsewhere(json!({}));
    for object in [route("here", "here.example.com", json!({})), service("here"), pod("here", "here-1", address)] {
        manifests.put(&object);
    }
    let proxy = Proxy::start(&manifests, &["--on-miss=reject"]);
    let stream = tokio::net::TcpStream::connect(proxy.http).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = |url: &str| {
        let request = Request::get(url).body(Full::<Bytes>::default()).unwrap();
        let response = sender.send_request(request);
        async move { response.await.unwrap() }
    };
    let length = 5_000_000;
    let begun = ask(&format!("http://here.example.com/media/{length}")).await;
    let refused = ask(&format!("http://{HOST}/")).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &HeaderValue::from_static("2")));
    drop(refused);
    assert_eq!(begun.into_body().collect().await.unwrap().to_bytes().len(), length);
    // While `sender` lives, only the proxy ends the connection, and without an error.
    connection.await.unwrap().unwrap();
    drop(sender);
}

#[tokio::test]
async fn nodes_that_dns_has_taken_are_chosen_before_new_ones() {
    let mut old = published(HOST, &["n2"]);
    old["metadata"]["generation"] = json!(3);
    old["status"] = json!({ "observedGeneration": 3 });
    // As an operator has it who splits the records of a host: the newer object is not in DNS yet.
    let mut new = published(HOST, &["n3"]);
    new["metadata"]["name"] = json!("new");
    new["metadata"]["generation"] = json!(2);
    let manifests = elsewhere(json!({}));
    manifests.put(&old);
    manifests.put(&new);
    let proxy = Proxy::start(&manifests, &[]);
    for _ in 0..8 {
        let reply = get(proxy.http, HOST, "/").await;
        assert_eq!(reply.header("location"), Some(&*format!("http://{}/", alias(HOST, "n2"))));
    }
    manifests.remove(&old);
    let there = format!("http://{}/", alias(HOST, "n3"));
    eventually("the new one is better than none", || async {
        (get(proxy.http, HOST, "/").await.header("location") == Some(&*there)).then_some(())
    })
    .await;
}
