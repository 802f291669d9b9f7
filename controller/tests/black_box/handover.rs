//! Make before break: which node is in DNS while hosts move from one to another.

use crate::objects::{addresses, node, route, router, service, slice};
use crate::process::{Cluster, Controller};
use nearside_loadtest::api::{ObjectRef, Options};
use serde_json::{Value, json};

const HOST: &str = "video.example.com";

/// The endpoints of a Service, of which some end but still answer.
fn with_ending(ready: &[u8], ending: &[u8]) -> Value {
    let mut object = slice("shop", "web", &[ready, ending].concat());
    for endpoint in &mut object["endpoints"].as_array_mut().unwrap()[ready.len()..] {
        endpoint["conditions"] = json!({"ready": false, "serving": true, "terminating": true});
    }
    object
}

/// A cluster with a publisher that is played by the test, and a host that is published on these nodes.
async fn published_on(places: &[u8]) -> (Cluster, Controller) {
    let cluster = Cluster::with(Options { graceful_pod_deletion: true, ..Options::default() }).await;
    cluster.seed([service("shop", "web"), slice("shop", "web", places), route("shop", "web", HOST, "web")]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(places), || cluster.published(HOST)).await;
    seen(&cluster, &controller).await;
    (cluster, controller)
}

/// What stands in the DNSEndpoints is taken, and the controller knows.
async fn seen(cluster: &Cluster, controller: &Controller) {
    cluster.take_records();
    let condition = || cluster.condition("shop", "web", "nearside.dev/DNSPublished");
    controller.until("seen", (json!("True"), json!("Observed")), condition).await;
}

#[tokio::test]
async fn a_pod_that_ends_is_published_until_the_one_that_replaces_it_is_seen() {
    let (cluster, controller) = published_on(&[1]).await;
    cluster.seed([with_ending(&[2], &[1])]);
    controller.until("both", addresses(&[1, 2]), || cluster.published(HOST)).await;
    let waiting = (json!("False"), json!("Waiting"));
    let condition = || cluster.condition("shop", "web", "nearside.dev/DNSPublished");
    controller.until("waiting", waiting, condition).await;
    assert_eq!(cluster.published(HOST), addresses(&[1, 2]));
    cluster.take_records();
    controller.until("the new one", addresses(&[2]), || cluster.published(HOST)).await;
    let generation = cluster.endpoint(HOST).unwrap()["metadata"]["annotations"]["nearside.dev/gen"].clone();
    assert_eq!(generation, "3", "nothing was in between");
}

#[tokio::test]
async fn a_node_that_cannot_answer_goes_at_once_also_in_the_middle() {
    let (cluster, controller) = published_on(&[1]).await;
    cluster.seed([with_ending(&[2], &[1])]);
    controller.until("both", addresses(&[1, 2]), || cluster.published(HOST)).await;
    cluster.seed([node(1, false)]);
    controller.until("not ready", addresses(&[2]), || cluster.published(HOST)).await;
    seen(&cluster, &controller).await;
    let mut dead = node(2, true);
    dead["spec"]["taints"] = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
    cluster.seed([with_ending(&[3], &[2])]);
    controller.until("both", addresses(&[2, 3]), || cluster.published(HOST)).await;
    cluster.seed([dead]);
    controller.until("out of service", addresses(&[3]), || cluster.published(HOST)).await;
}

#[tokio::test]
async fn a_drained_node_and_one_whose_router_ends_stay_until_others_are_seen() {
    let (cluster, mut controller) = published_on(&[1]).await;
    let first = ObjectRef::new("v1", "Node", "", "n1");
    let drain = |value: Value| json!({"metadata": {"annotations": {"nearside.dev/drain": value}}});
    cluster.api.patch(first, drain(json!("true"))).unwrap();
    let placed = || cluster.condition("shop", "web", "nearside.dev/Placed").1;
    controller.until("nobody else", json!("NoReadyPods"), placed).await;
    assert_eq!(cluster.published(HOST), addresses(&[1]), "the only one that answers");
    let basis = || cluster.endpoint(HOST).unwrap()["metadata"]["annotations"]["nearside.dev/basis"].clone();
    // By it the proxies of other nodes go on sending clients there.
    controller.until("its pods are told", json!("Terminating"), basis).await;
    cluster.seed([slice("shop", "web", &[1, 2])]);
    controller.until("both", addresses(&[1, 2]), || cluster.published(HOST)).await;
    cluster.take_records();
    controller.until("drained", addresses(&[2]), || cluster.published(HOST)).await;
    let letting = |word: &str| format!("nearside_controller_withdrawn_nodes{{dns=\"{word}\"}}");
    assert_eq!(controller.metric(&letting("named")).await, Some(1.0), "the name servers have not taken it yet");
    seen(&cluster, &controller).await;
    controller.until_metric(&letting("settling"), 1.0).await;

    cluster.api.delete_with_grace(ObjectRef::new("v1", "Pod", "nearside", "router-2"), 600).unwrap();
    controller.until("nobody else", json!("NoReadyPods"), placed).await;
    assert_eq!(cluster.published(HOST), addresses(&[2]), "its router still answers");
    cluster.seed([slice("shop", "web", &[2, 3])]);
    controller.until("both", addresses(&[2, 3]), || cluster.published(HOST)).await;
    cluster.take_records();
    controller.until("the router may end", addresses(&[3]), || cluster.published(HOST)).await;

    // The Node is gone while a pod of its router remains, and comes back under its name.
    cluster.seed([slice("shop", "web", &[3, 1])]);
    cluster.api.patch(first, drain(Value::Null)).unwrap();
    controller.until("back", addresses(&[1, 3]), || cluster.published(HOST)).await;
    cluster.api.delete(ObjectRef::new("v1", "Node", "", "n3")).unwrap();
    controller.until("the Node is gone", addresses(&[1]), || cluster.published(HOST)).await;
    cluster.seed([node(3, true), router(3, true)]);
    controller.until("made anew", addresses(&[1, 3]), || cluster.published(HOST)).await;
    let mut moved = node(3, true);
    moved["status"]["addresses"] = json!([{"type": "InternalIP", "address": "198.18.0.33"}]);
    cluster.seed([moved]);
    let wanted = vec!["198.18.0.1".to_owned(), "198.18.0.33".to_owned()];
    controller.until("another address", wanted, || cluster.published(HOST)).await;
}

#[tokio::test]
async fn where_no_publisher_tells_anything_the_wait_is_short() {
    let cluster = Cluster::new().await;
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), route("shop", "web", HOST, "web")]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    let condition = || cluster.condition("shop", "web", "nearside.dev/DNSPublished");
    controller.until("nobody tells", (json!("Unknown"), json!("NotReported")), condition).await;
    cluster.seed([with_ending(&[2], &[1])]);
    controller.until("both", addresses(&[1, 2]), || cluster.published(HOST)).await;
    controller.until("the new one", addresses(&[2]), || cluster.published(HOST)).await;
}
