//! Which pods are asked: ready ones of this node, as readiness changes.

use super::support::manifests::{pod, pod_on, route, service, terminating, with_readiness};
use super::support::pods::Refusing;
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const HOST: &str = "web.example.com";

#[tokio::test]
async fn a_pod_is_asked_once_it_is_ready_and_no_longer_when_it_is_not() {
    let (_one, one) = echo_pod("web-1");
    let unready = with_readiness(pod("web", "web-1", one), false);
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), unready.clone()]);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get(proxy.http, HOST, "/").await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some() && reply.header("connection") == Some("close"));

    manifests.put(&with_readiness(unready.clone(), true));
    eventually("the pod gets ready", || async { (get(proxy.http, HOST, "/").await.status == 200).then_some(()) }).await;
    manifests.put(&unready);
    eventually("the pod gets unready", || async { (get(proxy.http, HOST, "/").await.status == 503).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_terminating_pod_answers_until_another_is_ready() {
    let (_old, old) = echo_pod("web-1");
    let (_new, new) = echo_pod("web-2");
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), terminating(pod("web", "web-1", old))]);
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-1"), "better than nothing");
    manifests.put(&pod("web", "web-2", new));
    eventually("the new pod is asked", || async {
        (get(proxy.http, HOST, "/").await.pod() == Some("web-2")).then_some(())
    })
    .await;
    for _ in 0..10 {
        assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-2"));
    }
}

#[tokio::test]
async fn pods_of_other_nodes_are_never_asked() {
    let (_here, here) = echo_pod("web-1");
    let (_there, there) = echo_pod("web-2");
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", here),
        pod_on("n2", "web", "web-2", there),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    for _ in 0..20 {
        assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-1"));
    }
    assert_eq!(proxy.metric("nearside_cross_node_response_bytes_total", "").await, Some(0.0));
}

#[tokio::test]
async fn all_local_pods_share_the_requests_and_weights_count_only_services_with_pods() {
    let (_a1, a1) = echo_pod("a-1");
    let (_a2, a2) = echo_pod("a-2");
    let (_none, none) = echo_pod("none-1");
    let alternates = json!({
        "to": { "kind": "Service", "name": "a", "weight": 1 },
        "alternateBackends": [{ "kind": "Service", "name": "elsewhere", "weight": 200 }, { "kind": "Service", "name": "none", "weight": 0 }]
    });
    let manifests = Manifests::with(&[
        route("a", HOST, alternates),
        service("a"),
        service("elsewhere"),
        service("none"),
        pod("a", "a-1", a1),
        pod("a", "a-2", a2),
        pod("none", "none-1", none),
        pod_on("n2", "elsewhere", "elsewhere-1", none),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut answered = BTreeSet::new();
    for _ in 0..40 {
        answered.insert(get(proxy.http, HOST, "/").await.pod().unwrap().to_owned());
    }
    assert_eq!(answered.into_iter().collect::<Vec<_>>(), ["a-1", "a-2"]);
}

#[tokio::test]
async fn a_request_goes_to_another_pod_when_one_cannot_be_reached() {
    let (_one, one) = echo_pod("web-1");
    let gone = Refusing::new();
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", one),
        pod("web", "web-2", gone.address()),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    for _ in 0..20 {
        assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-1"));
    }
    assert!(proxy.metric("nearside_upstream_connect_failures_total", "").await.unwrap() > 0.0, "none was ever tried");
    let retried = |line: &Value| line["retries"] == 1 && line["status"] == 200 && line["pod"] == "web-1";
    eventually("a retry is logged", || async { proxy.access_log().iter().any(retried).then_some(()) }).await;
}

#[tokio::test]
async fn a_service_whose_pods_cannot_be_reached_is_unavailable() {
    let gone = Refusing::new();
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", gone.address())]);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get(proxy.http, HOST, "/").await;
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
    let line = proxy.access_line(HOST).await;
    assert_eq!((line["reason"].as_str(), line["pod"].as_str()), (Some("connect_failed"), Some("web-1")));
}

#[tokio::test]
async fn endpoints_that_no_pod_may_have_are_refused() {
    let (server, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start_with(&manifests, &["--allow-endpoints=10.0.0.0/8"]);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 503);
    assert!(proxy.log().contains("loopback"), "{}", proxy.log());
    assert_eq!(server.requests(), 0);
}
