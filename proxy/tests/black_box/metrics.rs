//! What an operator sees: series, the route table, the listeners, the access log.

use super::support::manifests::{pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use serde_json::{Value, json};

const HOST: &str = "web.example.com";

#[tokio::test]
async fn requests_are_counted_by_route_and_end_with_it() {
    let (_pod, address) = echo_pod("web-1");
    let served = route("web", HOST, json!({}));
    let manifests = Manifests::with(&[served.clone(), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    for path in ["/media/1000", "/media/1000", "/status/503"] {
        get(proxy.http, HOST, path).await;
    }
    get(proxy.http, "nothing.example.com", "/").await;
    let requests = |labels: &'static str| proxy.metric("nearside_http_requests_total", labels);
    eventually("all are counted", || async { requests("").await.filter(|count| *count == 4.0) }).await;
    assert_eq!(
        requests("code=\"200\",kind=\"Route\",method=\"GET\",namespace=\"shop\",route=\"web\"").await,
        Some(2.0)
    );
    assert_eq!(requests("code=\"503\"").await, Some(1.0));
    assert_eq!(requests("code=\"404\",kind=\"\"").await, Some(1.0));
    assert!(proxy.metric("nearside_response_bytes_total", "route=\"web\"").await.unwrap() >= 2000.0);
    assert_eq!(proxy.metric("nearside_http_request_duration_seconds_count", "").await, Some(4.0));
    assert_eq!(proxy.metric("nearside_table_hosts", "").await, Some(1.0));
    // A connection goes back to the pool a moment after its response; a request in between opens another.
    let connects = || async { proxy.metric("nearside_upstream_connect_seconds_count", "").await.unwrap() };
    assert!(connects().await >= 1.0);
    eventually("a connection to the pod is used again", || async {
        let before = connects().await;
        get(proxy.http, HOST, "/").await;
        (connects().await == before).then_some(())
    })
    .await;

    manifests.remove(&served);
    eventually("the route's series end", || async { requests("route=\"web\"").await.is_none().then_some(()) }).await;
    assert_eq!(proxy.metric("nearside_table_hosts", "").await, Some(0.0));
}

#[tokio::test]
async fn the_table_and_the_listeners_are_pages() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[
        route("web", HOST, json!({ "path": "/a" })),
        service("web"),
        pod("web", "web-1", address),
        route("bad", "bad..host", json!({})),
    ]);
    let proxy = Proxy::start(&manifests, &["--router-name=edge"]);
    let (status, page) = proxy.page("/routes").await;
    assert_eq!(status, 200);
    let page: Value = serde_json::from_str(&page).unwrap();
    let rule = &page["hosts"][HOST]["rules"][0];
    assert_eq!((page["node"].as_str(), page["router"].as_str()), (Some("n1"), Some("edge")));
    assert_eq!(rule["path"], "/a");
    assert_eq!(rule["backends"][0]["local_endpoints"][0]["address"], address.to_string());
    assert!(page["problems"].to_string().contains("InvalidHost"), "{page}");
    let listeners: Value = serde_json::from_str(&proxy.page("/listeners").await.1).unwrap();
    assert_eq!(listeners["http"], json!([proxy.http.to_string()]));
    assert_eq!(listeners["https"], json!([proxy.https.to_string()]));
}

#[tokio::test]
async fn each_request_has_a_line() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    get(proxy.http, HOST, "/media/10?x=1").await;
    let line = proxy.access_line(HOST).await;
    for (field, expected) in [
        ("host", json!(HOST)),
        ("path", json!("/media/10?x=1")),
        ("status", json!(200)),
        ("sent", json!(10)),
        ("route", json!("Route shop/web")),
        ("pod", json!("web-1")),
        ("address", json!(address.to_string())),
    ] {
        assert_eq!(line[field], expected, "{line}");
    }
}
