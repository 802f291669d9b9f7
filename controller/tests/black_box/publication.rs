//! What is said of the publication of records, and what happens when somebody else changes them.

use crate::objects::{addresses, ingress, route, service, slice};
use crate::process::Cluster;
use nearside_loadtest::api::ObjectRef;
use nearside_routing::HostPattern;
use nearside_routing::placement::dns_endpoint_name;
use serde_json::{Value, json};

const HOST: &str = "video.example.com";

fn reasons(cluster: &Cluster, name: &str) -> Vec<(String, String)> {
    let all = cluster.api.list("events.k8s.io/v1", "Event", "shop");
    let of_object = all.iter().filter(|event| event["regarding"]["name"] == name);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = of_object.map(|event| (text(&event["type"]), text(&event["reason"]))).collect();
    found.sort();
    found
}

fn told(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(kind, reason)| ((*kind).to_owned(), (*reason).to_owned())).collect()
}

#[tokio::test]
async fn what_keeps_records_from_being_found_is_told_to_the_owner_of_the_host() {
    let cluster = Cluster::new().await;
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), route("shop", "web", HOST, "web")]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    let pattern = HostPattern::parse(HOST).unwrap();
    let name = dns_endpoint_name(&pattern);
    let endpoint = ObjectRef::new("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside", &name);
    let says = |status: &str, reason: &str, message: &str| {
        json!({"conditions": [{"type": "Applied", "status": status, "observedGeneration": 1, "reason": reason,
            "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
    };
    cluster.api.patch_status(endpoint, says("False", "Conflict", "the name belongs to external-dns")).unwrap();
    let condition = || cluster.condition("shop", "web", "nearside.dev/DNSPublished");
    controller.until("conflict", (json!("False"), json!("Conflict")), condition).await;
    controller.until("Event", told(&[("Warning", "DNSNotPublished")]), || reasons(&cluster, "web")).await;
    let message = cluster.route_status("shop", "web")["conditions"][2]["message"].clone();
    assert_eq!(message, "the name belongs to external-dns");
    let mut taken = says("True", "Applied", "");
    taken["observedGeneration"] = 1.into();
    cluster.api.patch_status(endpoint, taken).unwrap();
    controller.until("taken", (json!("True"), json!("Observed")), condition).await;
}

#[tokio::test]
async fn owners_learn_when_their_hosts_are_published_and_when_they_leave_and_nothing_twice() {
    let cluster = Cluster::new().await;
    let mut nobody = route("shop", "nobody", "nobody.example.com", "none");
    nobody["metadata"]["labels"] = json!({"side": "public"});
    let mut web = route("shop", "web", HOST, "web");
    web["metadata"]["labels"] = json!({"side": "public"});
    let mut site = ingress("shop", "site", &[("site.example.com", "/", "web")]);
    site["metadata"]["labels"] = json!({"side": "public"});
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), web, nobody, site]);
    let flags = ["--route-labels=side=public"];
    let controller = cluster.controller_with("first", &flags).await;
    controller.until("Ingress", told(&[("Normal", "Published")]), || reasons(&cluster, "site")).await;
    controller.until("no pods", told(&[("Warning", "NoReadyPods")]), || reasons(&cluster, "nobody")).await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    cluster.take_records();
    controller.until("Route", told(&[("Normal", "Published")]), || reasons(&cluster, "web")).await;
    // A move is no news, and neither is a new leader.
    cluster.seed([slice("shop", "web", &[2])]);
    let condition = |status: &str| {
        let wanted = json!(status);
        let seen = || cluster.condition("shop", "web", "nearside.dev/DNSPublished").0;
        (wanted, seen)
    };
    let (wanted, seen) = condition("False");
    controller.until("moved", wanted, seen).await;
    controller.until("moved", addresses(&[2]), || cluster.published(HOST)).await;
    cluster.take_records();
    let (wanted, seen) = condition("True");
    controller.until("taken", wanted, seen).await;
    controller.until("Ingress", addresses(&[2]), || cluster.ingress_addresses("shop", "site")).await;
    let before = cluster.writes();
    assert_eq!(controller.terminate().await, Some(0));
    let mut again = cluster.controller_with("second", &flags).await;
    again.until_metric(r#"nearside_controller_writes_total{kind="Route",result="unchanged"}"#, 2.0).await;
    again.until_metric(r#"nearside_controller_writes_total{kind="Ingress",result="unchanged"}"#, 1.0).await;
    assert_eq!(cluster.writes(), before, "a restart compares and writes nothing");
    let both = told(&[("Normal", "Published"), ("Normal", "Withdrawn")]);
    for (kind, name) in [("Route", "web"), ("Ingress", "site")] {
        let version = if kind == "Route" { "route.openshift.io/v1" } else { "networking.k8s.io/v1" };
        let object = ObjectRef::new(version, kind, "shop", name);
        cluster.api.patch(object, json!({"metadata": {"labels": {"side": "none"}}})).unwrap();
        again.until(name, both.clone(), || reasons(&cluster, name)).await;
    }
}

#[tokio::test]
async fn records_that_somebody_else_changes_or_deletes_are_put_right_at_once() {
    let cluster = Cluster::new().await;
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), route("shop", "web", HOST, "web")]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    let name = dns_endpoint_name(&HostPattern::parse(HOST).unwrap()).to_string();
    let object = ObjectRef::new("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside", &name);
    let lists = cluster.api.faults().requests("list", "dnsendpoints");
    let stale = json!({"spec": {"endpoints": [
        {"dnsName": HOST, "recordType": "A", "recordTTL": 30, "targets": ["198.18.0.9"]},
    ]}});
    cluster.api.patch(object, stale).unwrap();
    controller.until("put right", addresses(&[1]), || cluster.published(HOST)).await;
    cluster.api.delete(object).unwrap();
    controller.until("made again", addresses(&[1]), || cluster.published(HOST)).await;
    // What a former leader writes late for a host that is gone meanwhile.
    let late = cluster.endpoint(HOST).unwrap();
    cluster.api.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web")).unwrap();
    controller.until("withdrawn", true, || cluster.endpoint(HOST).is_none()).await;
    let metadata = json!({"namespace": "nearside", "name": name, "labels": late["metadata"]["labels"],
        "annotations": late["metadata"]["annotations"]});
    cluster.seed([
        json!({"apiVersion": late["apiVersion"], "kind": late["kind"], "metadata": metadata, "spec": late["spec"]}),
    ]);
    controller.until("withdrawn again", true, || cluster.endpoint(HOST).is_none()).await;
    assert_eq!(cluster.api.faults().requests("list", "dnsendpoints"), lists, "the watch told, not the next list");
}

#[tokio::test]
async fn a_node_of_two_families_is_published_and_told_under_both() {
    let cluster = Cluster::new().await;
    let mut dual = crate::objects::node(1, true);
    let second = json!({"type": "InternalIP", "address": "2001:db8::1"});
    dual["status"]["addresses"].as_array_mut().unwrap().push(second);
    cluster.seed([
        dual,
        service("shop", "web"),
        slice("shop", "web", &[1]),
        ingress("shop", "site", &[("site.example.com", "/", "web")]),
    ]);
    let controller = cluster.controller("controller").await;
    let both = vec!["198.18.0.1".to_owned(), "2001:db8::1".to_owned()];
    controller.until("records", both.clone(), || cluster.published("site.example.com")).await;
    controller.until("status", both, || cluster.ingress_addresses("shop", "site")).await;
}
