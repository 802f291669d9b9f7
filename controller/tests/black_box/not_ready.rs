//! Nodes that the API server calls not Ready: what probes of their routers make of it. The nodes are addresses of the loopback.

use crate::objects::{node, route, router, service, slice};
use crate::process::{Cluster, Controller, targets};
use nearside_loadtest::api::ObjectRef;
use serde_json::{Value, json};
use std::net::TcpListener;

const HOST: &str = "video.example.com";

/// The node with the address `127.0.7.<place>`.
fn local(place: u8, ready: bool) -> Value {
    let mut node = node(place, ready);
    node["status"]["addresses"] = json!([{"type": "InternalIP", "address": format!("127.0.7.{place}")}]);
    node
}

fn addresses(places: &[u8]) -> Vec<String> {
    places.iter().map(|place| format!("127.0.7.{place}")).collect()
}

/// Called not ready by the node controller, while the kubelet has said that its containers are.
fn lost_router(place: u8) -> Value {
    let mut router = router(place, false);
    let conditions = router["status"]["conditions"].as_array_mut().unwrap();
    conditions.push(json!({"type": "ContainersReady", "status": "True"}));
    router
}

/// What the node controller makes of nodes that it has lost: they are not Ready, nor is any of their pods.
fn lose(cluster: &Cluster, places: &[u8]) {
    cluster.seed(places.iter().flat_map(|place| [local(*place, false), lost_router(*place)]));
    let mut lost = slice("shop", "web", &[1, 2, 3]);
    for (at, endpoint) in lost["endpoints"].as_array_mut().unwrap().iter_mut().enumerate() {
        let ready = !places.contains(&u8::try_from(at + 1).unwrap());
        endpoint["conditions"] = json!({"ready": ready, "serving": ready, "terminating": false});
    }
    cluster.seed([lost]);
}

/// Routers that listen on these nodes, all on the first one's port; a host on three nodes; and its controller.
async fn stage(listening: &[u8]) -> (Cluster, Controller, Vec<TcpListener>) {
    let cluster = Cluster::new().await;
    let mut port = 0;
    let listeners = listening.iter().map(|place| {
        let listener = TcpListener::bind((format!("127.0.7.{place}"), port)).unwrap();
        port = listener.local_addr().unwrap().port();
        listener
    });
    let listeners: Vec<TcpListener> = listeners.collect();
    cluster.seed((1..=3).map(|place| local(place, true)));
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1, 2, 3]), route("shop", "web", HOST, "web")]);
    let controller = cluster.controller_with("controller", &["--probe-port", &port.to_string()]).await;
    controller.until("published", addresses(&[1, 2, 3]), || cluster.published(HOST)).await;
    (cluster, controller, listeners)
}

#[tokio::test]
async fn a_node_that_answers_is_kept_until_it_does_not_and_one_that_is_silent_goes_at_once() {
    let (cluster, mut controller, listeners) = stage(&[1]).await;
    lose(&cluster, &[1, 2]);
    controller.until("the silent one goes", addresses(&[1, 3]), || cluster.published(HOST)).await;
    controller.until_metric("nearside_controller_kept_nodes{keeping=\"bounded\"}", 1.0).await;
    let page: Value = serde_json::from_str(&controller.page("/placement").await).unwrap();
    assert_eq!(page["notReadyButKept"], json!({"nodes": ["n1"], "held": false}));
    assert_eq!(cluster.published(HOST), addresses(&[1, 3]));
    drop(listeners);
    controller.until("and the other one", addresses(&[3]), || cluster.published(HOST)).await;
    controller.until_metric("nearside_controller_kept_nodes{keeping=\"bounded\"}", 0.0).await;
}

#[tokio::test]
async fn many_nodes_that_answer_are_held_until_they_recover_or_an_operator_takes_them_out() {
    let (cluster, mut controller, _listeners) = stage(&[1, 2, 3]).await;
    lose(&cluster, &[1, 2, 3]);
    let held = || cluster.condition("shop", "web", "nearside.dev/DNSHeld");
    controller.until("held", (json!("True"), json!("NodesNotReady")), held).await;
    assert_eq!(controller.metric("nearside_controller_kept_nodes{keeping=\"held\"}").await, Some(3.0));
    assert_eq!(cluster.published(HOST), addresses(&[1, 2, 3]));
    let third = ObjectRef::new("v1", "Node", "", "n3");
    cluster.api.patch(third, json!({"metadata": {"annotations": {"nearside.dev/drain": "true"}}})).unwrap();
    controller.until("taken out", addresses(&[1, 2]), || cluster.published(HOST)).await;
    cluster.seed((1..=2).flat_map(|place| [local(place, true), router(place, true)]));
    cluster.seed([slice("shop", "web", &[1, 2, 3])]);
    controller.until("over", (Value::Null, Value::Null), held).await;
    assert_eq!(cluster.published(HOST), addresses(&[1, 2]));
}

#[tokio::test]
async fn five_hundred_hosts_leave_a_dead_node_by_one_change_each() {
    let cluster = Cluster::new().await;
    cluster.seed((1..=3).map(|place| local(place, true)));
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1, 2, 3])]);
    let hosts: Vec<String> = (0..500).map(|number| format!("h{number}.example.com")).collect();
    cluster.seed(hosts.iter().enumerate().map(|(number, host)| route("shop", &format!("r{number}"), host, "web")));
    // Nobody listens there.
    let controller = cluster.controller_with("controller", &["--probe-port", "9"]).await;
    let created = || cluster.api.faults().requests("create", "dnsendpoints");
    controller.until("published", 500, created).await;
    let on = |places: &[u8]| {
        let all = cluster.api.list("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside");
        let host = |object: &Value| object["spec"]["endpoints"][0]["dnsName"].as_str().unwrap().to_owned();
        all.iter().filter(|object| targets(object, &host(object)) == addresses(places)).count()
    };
    assert_eq!(on(&[1, 2, 3]), 500);
    lose(&cluster, &[2]);
    controller.until("all have left", 500, || on(&[1, 3])).await;
    let all = cluster.api.list("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside");
    let changed_once = all.iter().filter(|object| object["metadata"]["generation"] == 2);
    assert_eq!(changed_once.count(), 500, "records are changed once, not step by step");
}
