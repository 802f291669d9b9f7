//! Nodes, pods and EndpointSlices that nobody sane would write: hosts are placed on what is usable, and others do not wait.

use crate::objects::{address, addresses, node, route, router, service, slice};
use crate::process::Cluster;
use serde_json::{Value, json};

const HOST: &str = "video.example.com";

fn video() -> Vec<Value> {
    vec![service("shop", "web"), route("shop", "web", HOST, "web")]
}

#[tokio::test]
async fn nodes_without_addresses_with_names_only_or_with_doubles_are_published_as_far_as_they_go() {
    let cluster = Cluster::new().await;
    let with = |place: u8, entries: Value| {
        let mut node = node(place, true);
        node["status"]["addresses"] = entries;
        cluster.seed([node, router(place, true)]);
    };
    with(4, json!([]));
    with(5, json!([{"type": "Hostname", "address": "n5"}, {"type": "InternalDNS", "address": "n5.example.com"}]));
    let double = json!({"type": "InternalIP", "address": address(6)});
    with(6, json!([double, double, {"type": "InternalIP", "address": "not an address"}]));
    // Two nodes that claim one address.
    with(7, json!([{"type": "InternalIP", "address": address(6)}]));
    let mut bare = node(8, true);
    bare.as_object_mut().unwrap().remove("status");
    cluster.seed([bare, router(8, true)]);
    cluster.seed(video());
    cluster.seed([slice("shop", "web", &[1, 4, 5, 6, 7, 8])]);
    let nowhere = [
        service("shop", "nowhere"),
        slice("shop", "nowhere", &[4]),
        route("shop", "nowhere", "n.example.com", "nowhere"),
    ];
    cluster.seed(nowhere);
    let mut controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1, 6]), || cluster.published(HOST)).await;
    let page = controller.page("/placement").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["hosts"]["n.example.com"]["held"], "NoAddress", "{page:#}");
    assert!(cluster.endpoint("n.example.com").is_none(), "a host without addresses is not published at all");
}

#[tokio::test]
async fn slices_of_names_of_a_thousand_endpoints_and_with_doubles_place_what_they_can() {
    let cluster = Cluster::new().await;
    cluster.seed(video());
    let mut names = slice("shop", "web", &[]);
    names["metadata"]["name"] = "names".into();
    names["addressType"] = "FQDN".into();
    names["endpoints"] = json!([{"addresses": ["web.example.org"], "nodeName": "n3", "conditions": {"ready": true}}]);
    let mut thousand = slice("shop", "web", &[]);
    thousand["metadata"]["name"] = "thousand".into();
    let endpoint = |number: usize| json!({"addresses": [format!("10.9.{}.{}", number / 250, number % 250 + 1)], "nodeName": "n2", "conditions": {"ready": true}});
    thousand["endpoints"] = (0..1000).map(endpoint).collect::<Vec<Value>>().into();
    let mut doubles = slice("shop", "web", &[1, 1, 1]);
    doubles["metadata"]["name"] = "doubles".into();
    doubles["ports"] = json!([
        {"name": "", "port": 8080, "protocol": "TCP"}, {"name": "again", "port": 8080, "protocol": "TCP"}, {"name": "none"},
    ]);
    let mut empty = slice("shop", "web", &[]);
    empty["metadata"]["name"] = "empty".into();
    empty["ports"] = Value::Null;
    cluster.seed([names, thousand, doubles, empty]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1, 2]), || cluster.published(HOST)).await;
    cluster.seed([
        service("shop", "late"),
        slice("shop", "late", &[3]),
        route("shop", "late", "late.example.com", "late"),
    ]);
    controller.until("the next one", addresses(&[3]), || cluster.published("late.example.com")).await;
}

#[tokio::test]
async fn routers_with_ten_addresses_odd_labels_and_no_node_count_as_far_as_they_run() {
    let cluster = Cluster::new().await;
    let mut crowded = router(2, true);
    crowded["status"]["podIPs"] = (0..10).map(|number| json!({"ip": format!("198.18.2.{number}")})).collect();
    crowded["metadata"]["annotations"] = json!({"example.com/odd": "\u{202e}\u{1f980}ü"});
    let mut floating = router(1, true);
    floating["metadata"]["name"] = "floating".into();
    floating["spec"].as_object_mut().unwrap().remove("nodeName");
    let mut empty = router(3, true);
    empty["metadata"]["name"] = "empty".into();
    empty["spec"]["nodeName"] = "no-such-node".into();
    empty["status"] = json!({});
    cluster.seed([crowded, floating, empty]);
    cluster.seed(video());
    cluster.seed([slice("shop", "web", &[2])]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[2]), || cluster.published(HOST)).await;
}
