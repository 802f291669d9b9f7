//! Which nodes are published for a host, and when they are withdrawn.

use crate::objects::{addresses, ingress, node, route, router, service, slice};
use crate::process::{Cluster, targets};
use nearside_loadtest::api::ObjectRef;
use nearside_routing::NodeId;
use serde_json::json;

const HOST: &str = "video.example.com";

async fn one_host(places: &[u8]) -> Cluster {
    let cluster = Cluster::new().await;
    cluster.seed([service("shop", "web"), slice("shop", "web", places), route("shop", "web", HOST, "web")]);
    cluster
}

#[tokio::test]
async fn the_records_follow_a_pod_from_node_to_node() {
    let cluster = one_host(&[1]).await;
    let mut controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    let first = cluster.endpoint(HOST).unwrap();
    assert_eq!(first["metadata"]["labels"]["nearside.dev/dns"], "managed");
    assert_eq!(first["metadata"]["annotations"]["nearside.dev/gen"], "1");
    assert_eq!(first["metadata"]["annotations"]["nearside.dev/basis"], "AllServices");
    assert_eq!(first["spec"]["endpoints"][0]["recordTTL"], 30);
    let alias = format!("video--{}.example.com", NodeId::of("n1"));
    assert_eq!(targets(&first, &alias), addresses(&[1]));

    cluster.seed([slice("shop", "web", &[1, 2])]);
    controller.until("published", addresses(&[1, 2]), || cluster.published(HOST)).await;
    cluster.seed([slice("shop", "web", &[2])]);
    controller.until("published", addresses(&[2]), || cluster.published(HOST)).await;
    assert_eq!(cluster.endpoint(HOST).unwrap()["metadata"]["annotations"]["nearside.dev/gen"], "3");
    let page = controller.page("/placement").await;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["hosts"][HOST], json!({"nodes": ["n2"], "basis": "AllServices"}));
    assert_eq!(controller.metric("nearside_controller_hosts{basis=\"AllServices\"}").await, Some(1.0));
    assert_eq!(controller.metric("nearside_controller_leader").await, Some(1.0));
}

#[tokio::test]
async fn a_node_that_must_not_be_reached_is_withdrawn_and_comes_back() {
    let cluster = one_host(&[1, 2, 3]).await;
    let controller = cluster.controller("controller").await;
    let all = addresses(&[1, 2, 3]);
    controller.until("at first", all.clone(), || cluster.published(HOST)).await;

    cluster.seed([router(1, false)]);
    controller.until("router unready", addresses(&[2, 3]), || cluster.published(HOST)).await;
    cluster.seed([router(1, true)]);
    controller.until("router ready", all.clone(), || cluster.published(HOST)).await;

    cluster.seed([node(2, false)]);
    controller.until("node not ready", addresses(&[1, 3]), || cluster.published(HOST)).await;
    cluster.seed([node(2, true)]);
    controller.until("node ready", all.clone(), || cluster.published(HOST)).await;

    let third = ObjectRef::new("v1", "Node", "", "n3");
    cluster.api.patch(third, json!({"metadata": {"annotations": {"nearside.dev/drain": "true"}}})).unwrap();
    controller.until("node drained", addresses(&[1, 2]), || cluster.published(HOST)).await;
    let excluded = json!({"metadata": {
        "annotations": {"nearside.dev/drain": null},
        "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""},
    }});
    cluster.api.patch(third, excluded).unwrap();
    // A second host shows that the change has been taken in, since the first stays as it is.
    cluster.seed([route("shop", "more", "more.example.com", "web")]);
    controller.until("node excluded", addresses(&[1, 2]), || cluster.published("more.example.com")).await;
    assert_eq!(cluster.published(HOST), addresses(&[1, 2]));
    cluster.api.delete(third).unwrap();
    cluster.seed([node(3, true)]);
    controller.until("node made anew", all, || cluster.published(HOST)).await;
}

#[tokio::test]
async fn a_host_of_two_services_is_placed_where_both_are() {
    let cluster = Cluster::new().await;
    cluster.seed([
        service("shop", "web"),
        service("shop", "api"),
        slice("shop", "web", &[1, 2]),
        slice("shop", "api", &[2, 3]),
        ingress("shop", "site", &[(HOST, "/", "web"), (HOST, "/api", "api")]),
    ]);
    let controller = cluster.controller("controller").await;
    controller.until("both", addresses(&[2]), || cluster.published(HOST)).await;
    controller.until("status", addresses(&[2]), || cluster.ingress_addresses("shop", "site")).await;
    cluster.seed([slice("shop", "api", &[3])]);
    controller.until("most", addresses(&[1, 2, 3]), || cluster.published(HOST)).await;
    assert_eq!(cluster.endpoint(HOST).unwrap()["metadata"]["annotations"]["nearside.dev/basis"], "MostServices");
}

#[tokio::test]
async fn a_live_host_never_loses_its_last_record() {
    let cluster = one_host(&[1]).await;
    let mut controller = cluster.controller("controller").await;
    controller.until("ready pods", addresses(&[1]), || cluster.published(HOST)).await;
    let mut ending = slice("shop", "web", &[2]);
    ending["endpoints"][0]["conditions"] = json!({"ready": false, "serving": true, "terminating": true});
    cluster.seed([ending]);
    controller.until("ending pods", addresses(&[2]), || cluster.published(HOST)).await;
    cluster.seed([slice("shop", "web", &[])]);
    controller.until("no pods", addresses(&[1, 2, 3]), || cluster.published(HOST)).await;
    cluster.seed([router(1, false), router(2, false)]);
    controller.until("one router", addresses(&[3]), || cluster.published(HOST)).await;
    cluster.seed([router(3, false)]);
    let held = || cluster.route_status("shop", "web")["conditions"][1]["reason"].clone();
    controller.until("no router", json!("NoReadyRouter"), held).await;
    assert_eq!(cluster.published(HOST), addresses(&[3]));
    assert_eq!(controller.metric("nearside_controller_held_hosts").await, Some(1.0));
    let endpoint = cluster.endpoint(HOST).unwrap();
    assert!(endpoint["spec"]["endpoints"].as_array().unwrap().iter().all(|set| set["targets"] != json!([])));
    cluster.seed([router(2, true)]);
    controller.until("a router again", addresses(&[2]), || cluster.published(HOST)).await;
}

#[tokio::test]
async fn records_go_with_the_last_claim_and_not_before() {
    let cluster = one_host(&[1]).await;
    cluster.seed([route("shop", "other", "other.example.com", "web")]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    // The Route is not served any more, but it still claims its host.
    let mut broken = route("shop", "web", HOST, "web");
    broken["spec"]["tls"] = json!({"termination": "edge", "certificate": "none", "key": "none"});
    cluster.seed([broken]);
    let admitted = || cluster.route_status("shop", "web")["conditions"][0]["reason"].clone();
    controller.until("rejected", json!("ExtendedValidationFailed"), admitted).await;
    assert_eq!(cluster.published(HOST), addresses(&[1]));
    cluster.api.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web")).unwrap();
    controller.until("deleted", true, || cluster.endpoint(HOST).is_none()).await;
    assert_eq!(cluster.published("other.example.com"), addresses(&[1]));
}

#[tokio::test]
async fn weights_follow_the_pods_without_a_new_generation() {
    let with_pods = |counts: &[(u8, u8)]| {
        let places: Vec<u8> = counts.iter().flat_map(|(place, count)| vec![*place; usize::from(*count)]).collect();
        let mut object = slice("shop", "web", &places);
        for (number, endpoint) in object["endpoints"].as_array_mut().unwrap().iter_mut().enumerate() {
            endpoint["addresses"] = json!([format!("10.0.9.{}", number + 1)]);
        }
        object
    };
    let cluster = one_host(&[1, 2]).await;
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1, 2]), || cluster.published(HOST)).await;
    let weights = || cluster.endpoint(HOST).unwrap()["metadata"]["annotations"]["nearside.dev/weights"].clone();
    assert_eq!(weights(), serde_json::Value::Null);
    cluster.seed([with_pods(&[(1, 4), (2, 2)])]);
    controller.until("weighed", json!("{\"198.18.0.1\":2,\"198.18.0.2\":1}"), weights).await;
    let metadata = cluster.endpoint(HOST).unwrap()["metadata"].clone();
    assert_eq!((&metadata["generation"], &metadata["annotations"]["nearside.dev/gen"]), (&json!(1), &json!("1")));
    cluster.seed([with_pods(&[(1, 4), (2, 4)])]);
    controller.until("equal again", serde_json::Value::Null, weights).await;
}

#[tokio::test]
async fn a_wildcard_host_is_published_as_one() {
    let cluster = Cluster::new().await;
    let mut wildcard = route("shop", "web", "www.example.com", "web");
    wildcard["spec"]["wildcardPolicy"] = "Subdomain".into();
    cluster.seed([service("shop", "web"), slice("shop", "web", &[3]), wildcard]);
    let flags = ["--allow-wildcard-routes", "--wildcard-aliases"];
    let controller = cluster.controller_with("controller", &flags).await;
    controller.until("published", addresses(&[3]), || cluster.published("*.example.com")).await;
    let alias = format!("*--{}.example.com", NodeId::of("n3"));
    assert_eq!(targets(&cluster.endpoint("*.example.com").unwrap(), &alias), addresses(&[3]));
    let policy = || cluster.route_status("shop", "web")["wildcardPolicy"].clone();
    controller.until("status", json!("Subdomain"), policy).await;
}
