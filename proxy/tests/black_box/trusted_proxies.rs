//! Proxies in front of this one: whose word on clients and TLS counts.

use super::support::client::{Reply, exchange};
use super::support::manifests::{annotated, pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, request};
use http::Request;
use http_body_util::Full;
use serde_json::json;
use std::net::SocketAddr;
use tokio::net::TcpSocket;

const HOST: &str = "web.example.com";
const TRUSTED: &str = "--trusted-proxies=127.0.0.1,10.0.0.0/8";

fn ask(headers: &[(&str, &str)]) -> http::request::Builder {
    headers.iter().fold(Request::get("/").header("host", HOST), |builder, (name, value)| builder.header(*name, *value))
}

/// From an address that nobody trusts.
async fn from_elsewhere(proxy: SocketAddr, headers: &[(&str, &str)]) -> Reply {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = socket.connect(proxy).await.unwrap();
    exchange(stream, ask(headers).body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn the_client_is_who_a_trusted_proxy_says_and_nobody_else_can_say_so() {
    let (_pod, address) = echo_pod("web-1");
    let allow = [("haproxy.router.openshift.io/ip_allowlist", "192.0.2.1")];
    let web = annotated(route("web", HOST, json!({})), &allow);
    let manifests = Manifests::with(&[web, service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[TRUSTED]);
    for (list, expected) in [
        ("192.0.2.1", 200),
        ("203.0.113.9, 192.0.2.1, 10.1.2.3", 200),
        ("192.0.2.1, 203.0.113.9", 403),
        ("192.0.2.1, unknown", 403),
        ("192.0.2.1,", 403),
        ("", 403),
    ] {
        assert_eq!(request(proxy.http, ask(&[("x-forwarded-for", list)])).await.status, expected, "{list}");
    }
    assert_eq!(from_elsewhere(proxy.http, &[("x-forwarded-for", "192.0.2.1")]).await.status, 403);
    let proxy = Proxy::start(&manifests, &[TRUSTED]);
    let seen = request(proxy.http, ask(&[("x-forwarded-for", "192.0.2.1")])).await.echo().headers;
    assert_eq!(seen["x-forwarded-for"], ["192.0.2.1", "127.0.0.1"], "each proxy adds whom it saw");
    assert_eq!(proxy.access_line(HOST).await["client"], "192.0.2.1");
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(request(proxy.http, ask(&[("x-forwarded-for", "192.0.2.1")])).await.status, 403, "nobody is trusted");
}

#[tokio::test]
async fn what_came_over_tls_to_a_trusted_proxy_is_not_sent_to_https_again() {
    let (_pod, address) = echo_pod("web-1");
    for tls in [json!({ "termination": "edge", "insecureEdgeTerminationPolicy": "Redirect" }), json!(null)] {
        let secured = !tls.is_null();
        let web = route("web", HOST, if secured { json!({ "tls": tls }) } else { json!({}) });
        let manifests = Manifests::with(&[web, service("web"), pod("web", "web-1", address)]);
        let proxy = Proxy::start(&manifests, &[TRUSTED]);
        let seen = request(proxy.http, ask(&[("x-forwarded-proto", "https")])).await.echo().headers;
        for (name, value) in [("x-forwarded-proto", "https"), ("x-forwarded-port", "443")] {
            assert_eq!(seen[name], [value], "{name}");
        }
        let plain = if secured { 302 } else { 200 };
        for word in ["http", "https, http", "httpss"] {
            assert_eq!(request(proxy.http, ask(&[("x-forwarded-proto", word)])).await.status, plain, "{word}");
        }
        assert_eq!(from_elsewhere(proxy.http, &[("x-forwarded-proto", "https")]).await.status, plain);
    }
}
