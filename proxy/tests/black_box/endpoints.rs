//! Which pods are asked: ready ones of this node, as readiness changes.

use super::support::manifests::{annotated, pod, pod_on, route, service, terminating, with_readiness};
use super::support::pods::{Refusing, echo_pod_on};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};

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

/// A slice of the Service `web`, which has no selector, with these addresses of one port.
fn slice(name: &str, addresses: &[&str], port: u16) -> Value {
    let endpoint =
        |address: &&str| json!({ "addresses": [address], "nodeName": "n1", "conditions": { "ready": true } });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": "shop", "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "kubernetes.io/service-name": "web" }
        },
        "addressType": "IPv4", "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>()
    })
}

#[tokio::test]
async fn an_endpoint_that_several_slices_name_counts_once() {
    let (one, address) = echo_pod("web-1");
    let two = echo_pod_on(TcpListener::bind(("127.0.0.2", address.port())).unwrap(), "web-2");
    let mut service = service("web");
    service["spec"].as_object_mut().unwrap().remove("selector");
    let port = address.port();
    let manifests = Manifests::with(&[
        annotated(route("web", HOST, json!({})), &[("haproxy.router.openshift.io/balance", "roundrobin")]),
        service,
        slice("first", &["127.0.0.1", "127.0.0.1"], port),
        slice("again", &["127.0.0.1", "127.0.0.2"], port),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut answers = BTreeMap::<String, usize>::new();
    for _ in 0..8 {
        let reply = get(proxy.http, HOST, "/").await;
        *answers.entry(reply.pod().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(answers, BTreeMap::from([("web-1".into(), 4), ("web-2".into(), 4)]));
    drop((one, two));
}

#[tokio::test]
async fn a_pod_with_two_families_is_asked_by_the_first_one_of_its_service() {
    let (six, address) = {
        let listener = TcpListener::bind("[::1]:0").expect("the loopback device has its IPv6 address");
        let address = listener.local_addr().unwrap();
        (echo_pod_on(listener, "web-1"), address)
    };
    let mut pod = pod("web", "web-1", SocketAddr::new("127.0.0.1".parse().unwrap(), address.port()));
    pod["status"]["podIPs"] = json!([{ "ip": "127.0.0.1" }, { "ip": "::1" }]);
    let families = |families: Value| {
        let mut service = service("web");
        service["spec"]["ipFamilies"] = families;
        service
    };
    let manifests = Manifests::with(&[route("web", HOST, json!({})), families(json!(["IPv6", "IPv4"])), pod]);
    let proxy = Proxy::start(&manifests, &["--allow-endpoints=::1/128"]);
    for _ in 0..4 {
        assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-1"));
    }
    manifests.put(&families(json!(["IPv4", "IPv6"])));
    // Nothing listens at the pod's IPv4 address.
    eventually("IPv4 comes first", || async { (get(proxy.http, HOST, "/").await.status == 503).then_some(()) }).await;
    drop(six);
}
