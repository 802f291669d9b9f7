//! What the operator's flags of admission mean for status and DNS: the controller decides as the proxies do.

use crate::objects::{addresses, created, ingress, route, service, slice};
use crate::process::{Cluster, Controller};
use nearside_loadtest::api::ObjectRef;
use serde_json::{Value, json};

/// `host`, `wildcardPolicy`, and status, reason and message of `Admitted` in our entry.
fn said(cluster: &Cluster, namespace: &str, name: &str) -> [String; 5] {
    let entry = cluster.route_status(namespace, name);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let admitted = &entry["conditions"][0];
    [&entry["host"], &entry["wildcardPolicy"], &admitted["status"], &admitted["reason"], &admitted["message"]].map(text)
}

async fn told(controller: &Controller, cluster: &Cluster, name: &str, wanted: [&str; 5]) {
    let wanted = wanted.map(ToOwned::to_owned);
    controller.until(name, wanted, || said(cluster, "shop", name)).await;
}

fn with(mut route: Value, field: &str, value: Value) -> Value {
    route["spec"][field] = value;
    route
}

#[tokio::test]
async fn the_status_of_a_route_says_what_the_openshift_router_would() {
    let cluster = Cluster::new().await;
    let any = |name: &str, host: &str| created(route("shop", name, host, "web"), "2026-01-02T00:00:00Z");
    let sub = with(any("sub", ""), "subdomain", json!("sub"));
    let mut long = any("long", &format!("{}.example.com", "a".repeat(64)));
    long["metadata"]["annotations"] = json!({"route.openshift.io/allow-non-dns-compliant-host": "true"});
    cluster.seed([
        service("shop", "web"),
        slice("shop", "web", &[1]),
        any("own", "own.example.com"),
        sub,
        with(any("wild", "www.wild.example.com"), "wildcardPolicy", json!("Subdomain")),
        any("denied", "x.internal.example.com"),
        any("mine", "twice.example.com"),
        created(route("shop", "late", "twice.example.com", "web"), "2026-01-03T00:00:00Z"),
        created(route("bank", "elder", "bank.example.com", "web"), "2026-01-01T00:00:00Z"),
        any("foreign", "bank.example.com"),
        long,
    ]);
    let flags = ["--router-domain=apps.example.com", "--denied-domains=internal.example.com"];
    let controller = cluster.controller_with("controller", &flags).await;
    told(&controller, &cluster, "own", ["own.example.com", "None", "True", "", ""]).await;
    told(&controller, &cluster, "sub", ["sub.apps.example.com", "None", "True", "", ""]).await;
    let refused = "spec.wildcardPolicy: wildcard routes are not allowed";
    told(&controller, &cluster, "wild", ["www.wild.example.com", "Subdomain", "False", "RouteNotAdmitted", refused])
        .await;
    let refused = "host in list of denied domains";
    told(&controller, &cluster, "denied", ["x.internal.example.com", "None", "False", "RouteNotAdmitted", refused])
        .await;
    let older = "route mine already exposes twice.example.com and is older";
    told(&controller, &cluster, "late", ["twice.example.com", "None", "False", "HostAlreadyClaimed", older]).await;
    let older = "a route in another namespace holds bank.example.com and is older than foreign";
    told(&controller, &cluster, "foreign", ["bank.example.com", "None", "False", "HostAlreadyClaimed", older]).await;
    controller.until("long", "InvalidHost".to_owned(), || said(&cluster, "shop", "long")[3].clone()).await;
    let message = said(&cluster, "shop", "long")[4].clone();
    assert!(message.starts_with("host name validation errors: spec.host: Invalid value: "), "{message}");
    controller.until("published", addresses(&[1]), || cluster.published("sub.apps.example.com")).await;
    assert!(cluster.endpoint("x.internal.example.com").is_none() && cluster.endpoint("*.wild.example.com").is_none());
    assert_eq!(controller.terminate().await, Some(0));

    let controller = cluster.controller_with("again", &["--allow-wildcard-routes"]).await;
    told(&controller, &cluster, "wild", ["www.wild.example.com", "Subdomain", "True", "", ""]).await;
    let missing = "no host value was defined for the route";
    told(&controller, &cluster, "sub", ["", "None", "False", "NoHostValue", missing]).await;
}

#[tokio::test]
async fn the_entry_names_the_router_and_its_canonical_host() {
    let cluster = Cluster::new().await;
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), route("shop", "web", "a.example.com", "web")]);
    let flags = ["--router-name=edge", "--router-canonical-hostname=router.example.com"];
    let controller = cluster.controller_with("controller", &flags).await;
    let entries = || {
        let route = cluster.api.get(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web")).unwrap();
        let entry = &route["status"]["ingress"][0];
        (entry["routerName"].clone(), entry["routerCanonicalHostname"].clone())
    };
    controller.until("entry", (json!("edge"), json!("router.example.com")), entries).await;
}

#[tokio::test]
async fn no_status_is_written_where_the_operator_does_not_want_it() {
    let cluster = Cluster::new().await;
    cluster.seed([
        service("shop", "web"),
        slice("shop", "web", &[2]),
        route("shop", "web", "a.example.com", "web"),
        ingress("shop", "in", &[("b.example.com", "/", "web")]),
    ]);
    let controller = cluster.controller_with("controller", &["--update-status=false"]).await;
    for host in ["a.example.com", "b.example.com"] {
        controller.until("published", addresses(&[2]), || cluster.published(host)).await;
    }
    cluster.seed([slice("shop", "web", &[3])]);
    for host in ["a.example.com", "b.example.com"] {
        controller.until("moved", addresses(&[3]), || cluster.published(host)).await;
    }
    assert_eq!(cluster.route_status("shop", "web"), Value::Null);
    assert!(cluster.ingress_addresses("shop", "in").is_empty());
}

#[tokio::test]
async fn a_route_that_leaves_the_shard_loses_its_entry_and_its_records() {
    let cluster = Cluster::new().await;
    let namespace = |team: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": team}}});
    let labelled = |tier: &str| {
        let mut route = route("shop", "web", "a.example.com", "web");
        route["metadata"]["labels"] = json!({ "tier": tier });
        route
    };
    cluster.seed([namespace("a"), service("shop", "web"), slice("shop", "web", &[1]), labelled("front")]);
    let flags = ["--namespace-labels=team=a", "--route-labels=tier=front"];
    let controller = cluster.controller_with("controller", &flags).await;
    let published = || cluster.published("a.example.com");
    let host = || cluster.route_status("shop", "web")["host"].clone();
    controller.until("published", addresses(&[1]), published).await;
    controller.until("status", json!("a.example.com"), host).await;
    cluster.seed([labelled("back")]);
    controller.until("withdrawn", addresses(&[]), published).await;
    controller.until("no entry", Value::Null, host).await;
    cluster.seed([labelled("front")]);
    controller.until("published", addresses(&[1]), published).await;
    cluster.seed([namespace("b")]);
    controller.until("withdrawn", addresses(&[]), published).await;
    controller.until("no entry", Value::Null, host).await;
    cluster.seed([namespace("a")]);
    controller.until("published", addresses(&[1]), published).await;
}
