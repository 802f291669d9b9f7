//! Other writers: conflicts are solved by reading again, what is right is not written, what is foreign is not touched.

use crate::objects::{addresses, ingress, route, service, slice};
use crate::process::Cluster;
use nearside_loadtest::api::{ObjectRef, RequestMatch};
use nearside_routing::HostPattern;
use nearside_routing::placement::dns_endpoint_name;
use serde_json::json;

const HOST: &str = "video.example.com";

async fn one_host() -> Cluster {
    let cluster = Cluster::new().await;
    cluster.seed([
        service("shop", "web"),
        slice("shop", "web", &[1]),
        route("shop", "web", HOST, "web"),
        ingress("shop", "site", &[("site.example.com", "/", "web")]),
    ]);
    cluster
}

fn name(host: &str) -> String {
    dns_endpoint_name(&HostPattern::parse(host).unwrap()).to_string()
}

#[tokio::test]
async fn a_change_by_someone_else_costs_a_second_attempt_and_stays() {
    let cluster = one_host().await;
    let mut controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    let name = name(HOST);
    let object = ObjectRef::new("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside", &name);
    cluster.api.patch(object, json!({"metadata": {"annotations": {"example.com/note": "keep"}}})).unwrap();
    cluster.api.faults().answer(RequestMatch::any().verb("patch").resource("routes"), 409, None, Some(2));
    // The controller may have seen that change in time, so that it would meet no conflict by itself.
    cluster.api.faults().answer(RequestMatch::any().verb("update").resource("dnsendpoints"), 409, None, Some(1));
    cluster.seed([slice("shop", "web", &[2])]);
    controller.until("published", addresses(&[2]), || cluster.published(HOST)).await;
    let message = || cluster.route_status("shop", "web")["conditions"][1]["message"].clone();
    controller.until("status", json!("nodes n2"), message).await;
    assert_eq!(cluster.endpoint(HOST).unwrap()["metadata"]["annotations"]["example.com/note"], "keep");
    let conflicts = "nearside_controller_writes_total{kind=\"DNSEndpoint\",result=\"conflict\"}";
    assert!(controller.metric(conflicts).await.is_some_and(|conflicts| conflicts >= 1.0));
}

#[tokio::test]
async fn nothing_is_written_where_nothing_changes() {
    let cluster = one_host().await;
    let controller = cluster.controller("first").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    controller.until("published", addresses(&[1]), || cluster.published("site.example.com")).await;
    controller
        .until("Route", json!("True"), || cluster.route_status("shop", "web")["conditions"][1]["status"].clone())
        .await;
    controller.until("Ingress", addresses(&[1]), || cluster.ingress_addresses("shop", "site")).await;
    controller.until("its owner is told", 1, || cluster.api.faults().requests("create", "events")).await;
    // Nothing about placement is in these changes; the new host shows that they have been taken in.
    let note = json!({"metadata": {"annotations": {"example.com/note": "new"}}});
    for object in [
        ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web"),
        ObjectRef::new("networking.k8s.io/v1", "Ingress", "shop", "site"),
        ObjectRef::new("v1", "Service", "shop", "web"),
        ObjectRef::new("v1", "Node", "", "n1"),
    ] {
        cluster.api.patch(object, note.clone()).unwrap();
    }
    let before = cluster.writes();
    cluster.seed([route("shop", "more", "more.example.com", "web")]);
    controller.until("taken in", addresses(&[1]), || cluster.published("more.example.com")).await;
    controller
        .until("taken in", json!("True"), || cluster.route_status("shop", "more")["conditions"][1]["status"].clone())
        .await;
    let mut expected = before;
    *expected.entry(("create".into(), "dnsendpoints".into())).or_insert(0) += 1;
    *expected.entry(("patch".into(), "routes".into())).or_insert(0) += 1;
    assert_eq!(cluster.writes(), expected);

    // A restart compares and writes nothing.
    assert_eq!(controller.terminate().await, Some(0));
    let mut again = cluster.controller("second").await;
    let settled = "nearside_controller_writes_total{kind=\"Ingress\",result=\"unchanged\"}";
    again.until_metric(settled, 1.0).await;
    cluster.seed([slice("shop", "web", &[1, 3])]);
    again.until("moved", addresses(&[1, 3]), || cluster.published("more.example.com")).await;
    again.until("moved", addresses(&[1, 3]), || cluster.published(HOST)).await;
    assert_eq!(cluster.endpoint(HOST).unwrap()["metadata"]["annotations"]["nearside.dev/gen"], "2");
    let created = |plural: &str| cluster.api.faults().requests("create", plural);
    assert_eq!(created("dnsendpoints"), 3, "one per host, ever");
}

#[tokio::test]
async fn an_object_of_someone_else_under_our_name_is_left_alone() {
    let cluster = one_host().await;
    let name = name(HOST);
    cluster.seed([json!({
        "apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint",
        "metadata": {"namespace": "nearside", "name": name},
        "spec": {"endpoints": [{"dnsName": "mail.example.com", "recordType": "A", "targets": ["203.0.113.9"]}]},
    })]);
    let controller = cluster.controller("controller").await;
    controller.until("the other host", addresses(&[1]), || cluster.published("site.example.com")).await;
    controller.until("told", true, || controller.log().contains("was not written by Nearside")).await;
    let object = ObjectRef::new("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside", &name);
    assert_eq!(cluster.api.get(object).unwrap()["spec"]["endpoints"][0]["dnsName"], "mail.example.com");
    cluster.api.delete(object).unwrap();
    controller.until("after its deletion", addresses(&[1]), || cluster.published(HOST)).await;
}

#[tokio::test]
async fn an_entry_that_somebody_else_changes_is_left_alone_and_too_many_stop_every_write() {
    let cluster = Cluster::new().await;
    let names: Vec<String> = (0..8).map(|number| format!("web{number}")).collect();
    let host = |name: &str| format!("{name}.example.com");
    for name in &names {
        cluster.seed([service("shop", name), slice("shop", name, &[1]), route("shop", name, &host(name), name)]);
    }
    let mut controller = cluster.controller("controller").await;
    let placed = |name: &str| cluster.route_status("shop", name)["conditions"][1]["message"].clone();
    for name in &names {
        controller.until(name, json!("nodes n1"), || placed(name)).await;
    }
    let change = |name: &str| {
        let entry = json!({"host": "foreign.example.com", "routerName": "default", "conditions": []});
        let object = ObjectRef::new("route.openshift.io/v1", "Route", "shop", name);
        cluster.api.patch_status(object, json!({"ingress": [entry]})).unwrap();
    };
    let contended = "nearside_controller_writes_total{kind=\"Route\",result=\"contended\"}";
    change(&names[0]);
    cluster.seed([slice("shop", &names[0], &[2]), slice("shop", &names[7], &[2])]);
    controller.until_metric(contended, 1.0).await;
    controller.until("one that nobody changes", json!("nodes n2"), || placed(&names[7])).await;
    assert_eq!(cluster.route_status("shop", &names[0])["host"], "foreign.example.com");
    for name in &names[1..=5] {
        change(name);
        cluster.seed([slice("shop", name, &[2])]);
    }
    controller.until_metric(contended, 6.0).await;
    assert!(controller.log().contains("no status of Routes is written"), "{}", controller.log());
    cluster.seed([slice("shop", &names[7], &[3])]);
    controller.until("records are", addresses(&[3]), || cluster.published(&host(&names[7]))).await;
    controller.until_metric(contended, 7.0).await;
    assert_eq!(placed(&names[7]), "nodes n2", "not even one that nobody changes");
}
