//! Clients whose cookie names a pod of another node: they stay, or are sent back where the object asks for it.

use super::support::client::Reply;
use super::support::manifests::{alias, annotated, pod, published, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually};
use http::Request;
use nearside_routing::NodeId;
use serde_json::json;

const HOST: &str = "web.example.com";
/// Nobody's pod.
const DIGEST: &str = "0123456789abcdef0123456789abcdef";

/// A proxy with one pod whose host is published on n1 and n2.
fn stage(address: std::net::SocketAddr, annotations: &[(&str, &str)], flags: &[&str]) -> (Proxy, Manifests) {
    let annotations = [&[("nearside.dev/cookie-name", "pin")], annotations].concat();
    let manifests = Manifests::with(&[
        annotated(route("web", HOST, json!({})), &annotations),
        service("web"),
        pod("web", "web-1", address),
        published(HOST, &["n1", "n2"]),
    ]);
    (Proxy::start(&manifests, flags), manifests)
}

async fn ask(proxy: &Proxy, host: &str, cookie: Option<&str>, fields: &[(&str, &str)]) -> Reply {
    let mut request = Request::get("/cart?x=1").header("host", host);
    for (name, value) in cookie.map(|value| ("cookie", value)).iter().chain(fields) {
        request = request.header(*name, *value);
    }
    super::support::request(proxy.http, request).await
}

fn pin(value: &str, node: &str) -> String {
    format!("pin={value}-{}", NodeId::of(node))
}

/// The pair of the one cookie that a reply sets, and its attributes.
fn cookie(reply: &Reply) -> (String, String) {
    let (pair, attributes) = reply.header("set-cookie").unwrap().split_once("; ").unwrap();
    (pair.to_owned(), attributes.to_owned())
}

const RETURN: (&str, &str) = ("nearside.dev/sticky", "return");

#[tokio::test]
async fn a_client_goes_back_to_the_node_of_its_pod_once() {
    let (_pod, address) = echo_pod("web-1");
    let (proxy, _manifests) = stage(address, &[RETURN], &[]);
    let elsewhere = pin(DIGEST, "n2");
    let sent = ask(&proxy, HOST, Some(&elsewhere), &[]).await;
    assert_eq!(sent.status, 307);
    assert_eq!(sent.header("location"), Some(&*format!("http://{}/cart?x=1", alias(HOST, "n2"))));
    assert_eq!((sent.header("cache-control"), sent.header("set-cookie")), (Some("no-store"), None));
    assert_eq!(proxy.metric("nearside_sticky_redirects_total", "").await, Some(1.0));
    assert_eq!(proxy.metric("nearside_misses_total", "").await, None, "a pod was here");

    let moved = ask(&proxy, &alias(HOST, "n1"), Some(&elsewhere), &[]).await;
    assert_eq!((moved.status, moved.pod()), (200, Some("web-1")), "one hop only");
    let (pair, _) = cookie(&moved);
    assert!(pair.ends_with(&format!("-{}", NodeId::of("n1"))), "{pair}");
    let kept = ask(&proxy, HOST, Some(&pair), &[]).await;
    assert_eq!((kept.status, kept.header("set-cookie")), (200, None));
    let old = pair.rsplit_once('-').unwrap().0;
    let kept = ask(&proxy, HOST, Some(old), &[]).await;
    assert_eq!((kept.status, kept.header("set-cookie")), (200, None), "a cookie from before names its pod as well");
}

#[tokio::test]
async fn a_client_stays_where_it_could_not_follow_or_its_node_is_gone() {
    let (_pod, address) = echo_pod("web-1");
    let (proxy, _manifests) = stage(address, &[RETURN], &[]);
    for (node, fields) in [
        ("n3", &[][..]),
        ("n1", &[]),
        ("n2", &[("sec-fetch-mode", "cors")]),
        ("n2", &[("sec-fetch-mode", "same-origin")]),
    ] {
        let reply = ask(&proxy, HOST, Some(&pin(DIGEST, node)), fields).await;
        assert_eq!((reply.status, reply.pod()), (200, Some("web-1")), "{node} {fields:?}");
        assert!(reply.header("set-cookie").is_some(), "it has another pod from now on");
    }
    let link = ask(&proxy, HOST, Some(&pin(DIGEST, "n2")), &[("sec-fetch-mode", "navigate")]).await;
    assert_eq!(link.status, 307);
}

#[tokio::test]
async fn clients_stay_unless_the_object_or_the_operator_wants_them_back() {
    let (_pod, address) = echo_pod("web-1");
    let elsewhere = pin(DIGEST, "n2");
    let (proxy, manifests) = stage(address, &[], &[]);
    let stays = ask(&proxy, HOST, Some(&elsewhere), &[]).await;
    assert_eq!(stays.status, 200);
    assert_eq!(cookie(&stays).0.len(), "pin=".len() + 32, "the value is that of the OpenShift router");
    drop(proxy);
    let proxy = Proxy::start(&manifests, &["--sticky=return"]);
    assert_eq!(ask(&proxy, HOST, Some(&elsewhere), &[]).await.status, 307);
    let stay = [("nearside.dev/cookie-name", "pin"), ("nearside.dev/sticky", "stay")];
    let refuse = [("nearside.dev/cookie-name", "pin"), ("nearside.dev/on-miss", "reject")];
    for annotations in [stay, refuse] {
        manifests.put(&annotated(route("web", HOST, json!({})), &[]));
        eventually("the change", || async {
            (ask(&proxy, HOST, Some(&elsewhere), &[]).await.status == 200).then_some(())
        })
        .await;
        manifests.put(&annotated(route("web", HOST, json!({})), &[("nearside.dev/cookie-name", "pin")]));
        eventually("back", || async { (ask(&proxy, HOST, Some(&elsewhere), &[]).await.status == 307).then_some(()) })
            .await;
        manifests.put(&annotated(route("web", HOST, json!({})), &annotations));
        eventually("it stays", || async {
            (ask(&proxy, HOST, Some(&elsewhere), &[]).await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn with_a_domain_the_cookie_reaches_the_alias_and_names_the_very_pod() {
    let (_one, one) = echo_pod("web-1");
    let (_two, two) = echo_pod("web-2");
    let (proxy, manifests) = stage(one, &[RETURN, ("nearside.dev/cookie-domain", "example.com")], &[]);
    let first = ask(&proxy, HOST, None, &[]).await;
    let (pair, attributes) = cookie(&first);
    assert_eq!(attributes, "path=/; HttpOnly; Domain=example.com");
    manifests.put(&pod("web", "web-2", two));
    let other = eventually("the second pod", || async {
        let reply = ask(&proxy, HOST, None, &[]).await;
        (reply.pod() == Some("web-2")).then(|| cookie(&reply).0)
    })
    .await;
    for (pair, expected) in [(&pair, "web-1"), (&other, "web-2"), (&pair, "web-1")] {
        assert_eq!(ask(&proxy, &alias(HOST, "n1"), Some(pair), &[]).await.pod(), Some(expected));
    }
}
