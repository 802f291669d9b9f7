//! Several installations in one cluster, and what enters and leaves the scope of one.

use crate::objects::{addresses, ingress, route, service, slice};
use crate::process::{Cluster, targets};
use nearside_loadtest::api::ObjectRef;
use serde_json::{Value, json};

const HOST: &str = "video.example.com";

fn labelled(mut object: Value, name: &str, value: &str) -> Value {
    object["metadata"]["labels"] = json!({ name: value });
    object
}

fn namespace(name: &str, team: &str) -> Value {
    labelled(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}), "team", team)
}

/// The router names in the status of a Route.
fn routers(cluster: &Cluster, name: &str) -> Vec<String> {
    let route = cluster.api.get(ObjectRef::new("route.openshift.io/v1", "Route", "shop", name)).unwrap_or_default();
    let entries = route["status"]["ingress"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["routerName"].as_str().unwrap().to_owned()).collect()
}

/// The addresses that the DNSEndpoints with this label publish for a host.
fn published_by(cluster: &Cluster, router: Option<&str>, host: &str) -> Vec<String> {
    let all = cluster.api.list("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside");
    let of_router = all.iter().filter(|object| object["metadata"]["labels"]["nearside.dev/router"].as_str() == router);
    of_router.flat_map(|object| targets(object, host)).collect()
}

#[tokio::test]
async fn two_installations_in_one_namespace_leave_each_other_alone() {
    let cluster = Cluster::new().await;
    let mut foreign_class = ingress("shop", "inner", &[("inner.example.com", "/", "web")]);
    foreign_class["spec"]["ingressClassName"] = "inner".into();
    cluster.seed([
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "inner"},
            "spec": {"controller": "nearside.dev/ingress"}}),
        service("shop", "web"),
        slice("shop", "web", &[1]),
        labelled(route("shop", "public", HOST, "web"), "side", "public"),
        labelled(route("shop", "inner", "inside.example.com", "web"), "side", "inner"),
        labelled(ingress("shop", "outer", &[("outer.example.com", "/", "web")]), "side", "public"),
        labelled(foreign_class, "side", "inner"),
    ]);
    let public = cluster.controller_with("public", &["--route-labels=side=public"]).await;
    let flags = ["--router-name=inner", "--ingress-class=inner", "--route-labels=side=inner"];
    let inner = cluster.controller_with("inner", &flags).await;
    let default = |host: &'static str| published_by(&cluster, None, host);
    let other = |host: &'static str| published_by(&cluster, Some("inner"), host);
    public.until("its Route", addresses(&[1]), || default(HOST)).await;
    public.until("its Ingress", addresses(&[1]), || default("outer.example.com")).await;
    inner.until("its Route", addresses(&[1]), || other("inside.example.com")).await;
    inner.until("its Ingress", addresses(&[1]), || other("inner.example.com")).await;
    // Both lead, each by a Lease of its own, and both take part in what follows.
    cluster.seed([slice("shop", "web", &[2])]);
    public.until("moved", addresses(&[2]), || default(HOST)).await;
    inner.until("moved", addresses(&[2]), || other("inside.example.com")).await;
    inner.until("moved", addresses(&[2]), || other("inner.example.com")).await;
    assert_eq!(
        (routers(&cluster, "public"), routers(&cluster, "inner")),
        (vec!["default".into()], vec!["inner".into()])
    );

    // A restart lists what exists; nothing of the other is taken for a leftover.
    assert_eq!(public.terminate().await, Some(0));
    let public = cluster.controller_with("again", &["--route-labels=side=public"]).await;
    cluster.api.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "public")).unwrap();
    public.until("withdrawn", Vec::<String>::new(), || default(HOST)).await;
    assert_eq!(other("inside.example.com"), addresses(&[2]));
    assert_eq!(cluster.api.faults().requests("delete", "dnsendpoints"), 1);
}

#[tokio::test]
async fn labels_of_namespaces_and_routes_bring_hosts_in_and_take_them_out() {
    let cluster = Cluster::new().await;
    cluster.seed([
        namespace("shop", "other"),
        service("shop", "web"),
        slice("shop", "web", &[1]),
        labelled(route("shop", "web", HOST, "web"), "side", "public"),
        labelled(route("shop", "plain", "plain.example.com", "web"), "side", "none"),
    ]);
    let controller =
        cluster.controller_with("controller", &["--namespace-labels=team=web", "--route-labels=side=public"]).await;
    cluster.seed([namespace("shop", "web")]);
    controller.until("the namespace is ours", addresses(&[1]), || cluster.published(HOST)).await;
    controller.until("told", vec!["default".to_owned()], || routers(&cluster, "web")).await;
    assert!(cluster.endpoint("plain.example.com").is_none(), "its label is another");
    let plain = ObjectRef::new("route.openshift.io/v1", "Route", "shop", "plain");
    cluster.api.patch(plain, json!({"metadata": {"labels": {"side": "public"}}})).unwrap();
    controller.until("the label is ours", addresses(&[1]), || cluster.published("plain.example.com")).await;
    controller.until("told", vec!["default".to_owned()], || routers(&cluster, "plain")).await;
    cluster.api.patch(plain, json!({"metadata": {"labels": {"side": "none"}}})).unwrap();
    controller.until("the label is gone", true, || cluster.endpoint("plain.example.com").is_none()).await;
    controller.until("our entry is gone", Vec::<String>::new(), || routers(&cluster, "plain")).await;
    assert_eq!(cluster.published(HOST), addresses(&[1]));
    cluster.seed([namespace("shop", "other")]);
    controller.until("the namespace has left", true, || cluster.endpoint(HOST).is_none()).await;
    controller.until("our entry is gone", Vec::<String>::new(), || routers(&cluster, "web")).await;
}

#[tokio::test]
async fn entries_of_routes_that_left_while_no_controller_ran_are_removed_and_those_of_others_stay() {
    let cluster = Cluster::new().await;
    cluster.seed([
        service("shop", "web"),
        slice("shop", "web", &[1]),
        labelled(route("shop", "stays", HOST, "web"), "side", "public"),
        labelled(route("shop", "leaves", "leaves.example.com", "web"), "side", "inner"),
        labelled(route("shop", "late", HOST, "web"), "side", "inner"),
    ]);
    let first = cluster.controller("first").await;
    for name in ["stays", "leaves", "late"] {
        first.until(name, vec!["default".to_owned()], || routers(&cluster, name)).await;
    }
    first.until("published", addresses(&[1]), || cluster.published("leaves.example.com")).await;
    assert_eq!(first.terminate().await, Some(0));
    // Another router may have the name that is ours by default; what it says has not our conditions.
    let admitted = json!({"type": "Admitted", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let mut foreign = labelled(route("shop", "foreign", "foreign.example.com", "web"), "side", "inner");
    let entry = json!({"host": "foreign.example.com", "routerName": "default", "conditions": [admitted]});
    foreign["status"] = json!({"ingress": [entry]});
    cluster.seed([foreign]);
    let second = cluster.controller_with("second", &["--route-labels=side=public"]).await;
    second.until("records", true, || cluster.endpoint("leaves.example.com").is_none()).await;
    second.until("a Route that was served", Vec::<String>::new(), || routers(&cluster, "leaves")).await;
    second.until("a Route that was refused", Vec::<String>::new(), || routers(&cluster, "late")).await;
    assert_eq!(routers(&cluster, "stays"), ["default"]);
    assert_eq!(routers(&cluster, "foreign"), ["default"]);
}
