//! Hosts without a ready pod on this node: redirected to another node by its alias once, or refused.

use super::support::client::{get_tls, raw};
use super::support::manifests::{alias, pod, pod_on, published, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use nearside_loadtest::certificates::TestCa;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

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
