//! Which rule answers: hosts and paths of Routes and Ingresses, each with a near miss.

use super::support::manifests::{ingress, ingress_class, pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use serde_json::json;

#[tokio::test]
async fn a_route_path_matches_on_whole_segments_and_the_longest_wins() {
    let (_all, all) = echo_pod("all-1");
    let (_api, api) = echo_pod("api-1");
    let manifests = Manifests::with(&[
        route("all", "shop.example.com", json!({})),
        route("api", "shop.example.com", json!({ "path": "/api" })),
        service("all"),
        service("api"),
        pod("all", "all-1", all),
        pod("api", "api-1", api),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    for (path, expected) in [
        ("/api", "api-1"),
        ("/api/", "api-1"),
        ("/api/v1?x", "api-1"),
        ("/x/../api/y", "api-1"),
        ("/%61pi", "api-1"),
        ("/apix", "all-1"),
        ("/API", "all-1"),
        ("/", "all-1"),
    ] {
        let reply = get(proxy.http, "shop.example.com", path).await;
        assert_eq!(reply.pod(), Some(expected), "{path}");
        assert_eq!(reply.echo().path, path, "the pod gets the raw path");
    }
    let other = get(proxy.http, "shop.example.org", "/api").await;
    assert_eq!((other.status, other.pod()), (404, None));
    assert_eq!(get(proxy.http, "SHOP.example.com.:80", "/api").await.pod(), Some("api-1"));
}

#[tokio::test]
async fn an_ingress_matches_exact_and_prefix_paths_of_its_class_only() {
    let (_exact, exact) = echo_pod("exact-1");
    let (_tree, tree) = echo_pod("tree-1");
    let foreign =
        ingress("foreign", "other.example.com", &[("Prefix", "/", "tree")], json!({ "ingressClassName": "nginx" }));
    let manifests = Manifests::with(&[
        ingress_class(),
        ingress("web", "web.example.com", &[("Exact", "/one", "exact"), ("Prefix", "/tree/", "tree")], json!({})),
        foreign,
        service("exact"),
        service("tree"),
        pod("exact", "exact-1", exact),
        pod("tree", "tree-1", tree),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    for (path, expected) in [
        ("/one", Some("exact-1")),
        ("/one/", None),
        ("/one/two", None),
        ("/tree", Some("tree-1")),
        ("/tree/leaf", Some("tree-1")),
        ("/trees", None),
        ("/", None),
    ] {
        let reply = get(proxy.http, "web.example.com", path).await;
        assert_eq!(reply.pod(), expected, "{path}");
        assert_eq!(reply.status, if expected.is_some() { 200 } else { 404 }, "{path}");
    }
    assert_eq!(get(proxy.http, "other.example.com", "/").await.status, 404, "another controller's class");
}

#[tokio::test]
async fn a_wildcard_covers_one_label_and_an_exact_host_comes_first() {
    let (_any, any) = echo_pod("any-1");
    let (_own, own) = echo_pod("own-1");
    let manifests = Manifests::with(&[
        route("any", "x.apps.example.com", json!({ "wildcardPolicy": "Subdomain" })),
        route("own", "own.apps.example.com", json!({ "path": "/own" })),
        service("any"),
        service("own"),
        pod("any", "any-1", any),
        pod("own", "own-1", own),
    ]);
    let proxy = Proxy::start(&manifests, &["--allow-wildcard-routes"]);
    assert_eq!(get(proxy.http, "a.apps.example.com", "/").await.pod(), Some("any-1"));
    assert_eq!(get(proxy.http, "own.apps.example.com", "/own").await.pod(), Some("own-1"));
    assert_eq!(get(proxy.http, "own.apps.example.com", "/else").await.pod(), Some("any-1"), "Routes fall through");
    assert_eq!(get(proxy.http, "b.a.apps.example.com", "/").await.status, 404);
    assert_eq!(get(proxy.http, "apps.example.com", "/").await.status, 404);
}

#[tokio::test]
async fn a_claim_passes_on_when_its_winner_is_deleted() {
    let (_old, old) = echo_pod("old-1");
    let (_new, new) = echo_pod("new-1");
    let winner = route("old", "host.example.com", json!({}));
    let mut loser = route("new", "host.example.com", json!({}));
    loser["metadata"]["creationTimestamp"] = json!("2026-02-01T00:00:00Z");
    let manifests = Manifests::with(&[
        winner.clone(),
        loser,
        service("old"),
        service("new"),
        pod("old", "old-1", old),
        pod("new", "new-1", new),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(get(proxy.http, "host.example.com", "/").await.pod(), Some("old-1"));
    let (_, page) = proxy.page("/routes").await;
    assert!(page.contains("HostAlreadyClaimed"), "{page}");
    manifests.remove(&winner);
    eventually("the younger claim is served", || async {
        let reply = get(proxy.http, "host.example.com", "/").await;
        assert_eq!(reply.status, 200, "the host is served all the time");
        (reply.pod() == Some("new-1")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn unmatched_requests_get_503_where_the_operator_wants_it() {
    let manifests = Manifests::with(&[route("web", "web.example.com", json!({}))]);
    let proxy = Proxy::start(&manifests, &["--no-route-status=503"]);
    assert_eq!(get(proxy.http, "nothing.example.com", "/").await.status, 503);
}
