//! Two controllers: one writes, the other takes over.

use crate::objects::{addresses, route, service, slice};
use crate::process::{Cluster, Controller};
use nearside_loadtest::api::{ObjectRef, RequestMatch};
use serde_json::Value;

const HOST: &str = "video.example.com";

async fn one_host() -> Cluster {
    let cluster = Cluster::new().await;
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), route("shop", "web", HOST, "web")]);
    cluster
}

fn lease(cluster: &Cluster) -> Value {
    let lease = ObjectRef::new("coordination.k8s.io/v1", "Lease", "nearside", "nearside-controller");
    cluster.api.get(lease).unwrap_or_default()
}

async fn leads(controller: &mut Controller) -> bool {
    controller.metric("nearside_controller_leader").await == Some(1.0)
}

#[tokio::test]
async fn a_follower_takes_over_from_a_leader_that_was_killed() {
    let cluster = one_host().await;
    let mut first = cluster.controller("first").await;
    first.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    let mut second = cluster.controller("second").await;
    assert!(leads(&mut first).await);
    cluster.seed([slice("shop", "web", &[2])]);
    first.until("published", addresses(&[2]), || cluster.published(HOST)).await;
    assert!(!leads(&mut second).await);
    assert_eq!(second.metric("nearside_controller_writes_total{kind=\"DNSEndpoint\",result=\"created\"}").await, None);
    first.kill().await;
    cluster.seed([slice("shop", "web", &[3])]);
    second.until("published", addresses(&[3]), || cluster.published(HOST)).await;
    assert!(leads(&mut second).await);
    assert_eq!(lease(&cluster)["spec"]["leaseTransitions"], 1);
}

#[tokio::test]
async fn a_leader_that_ends_in_order_gives_the_lease_back() {
    let cluster = one_host().await;
    let first = cluster.controller("first").await;
    first.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    assert_eq!(lease(&cluster)["spec"]["leaseDurationSeconds"], 15);
    assert_eq!(first.terminate().await, Some(0));
    assert_eq!(lease(&cluster)["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
    let second = cluster.controller("second").await;
    cluster.seed([slice("shop", "web", &[2])]);
    second.until("published", addresses(&[2]), || cluster.published(HOST)).await;
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_writing_and_stays_in_sync() {
    let cluster = one_host().await;
    let mut controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    cluster.api.faults().answer(RequestMatch::any().verb("update").resource("leases"), 503, None, None);
    controller.until_metric("nearside_controller_leader", 0.0).await;
    let before = cluster.writes();
    // The new placement is known before it is written; the gauge says which snapshot was placed.
    let generation = controller.metric("nearside_controller_generation").await.unwrap();
    cluster.seed([slice("shop", "web", &[2])]);
    controller.until_metric("nearside_controller_generation", generation + 1.0).await;
    assert_eq!(cluster.writes(), before);
    cluster.api.faults().clear();
    controller.until("published", addresses(&[2]), || cluster.published(HOST)).await;
}

#[tokio::test]
async fn a_leader_that_was_stopped_past_its_lease_writes_nothing_stale_when_it_goes_on() {
    let cluster = one_host().await;
    let mut first = cluster.controller("first").await;
    first.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    // What it wants to write is refused, so that it stops with a write that is due and will be wrong.
    cluster.api.faults().answer(RequestMatch::any().verb("update").resource("dnsendpoints"), 500, None, None);
    let before = cluster.api.faults().requests("update", "dnsendpoints");
    cluster.seed([slice("shop", "web", &[2])]);
    first.until("tried", true, || cluster.api.faults().requests("update", "dnsendpoints") > before).await;
    first.stop();
    cluster.api.faults().clear();
    cluster.seed([slice("shop", "web", &[3])]);
    let mut second = cluster.controller("second").await;
    second.until("taken over", addresses(&[3]), || cluster.published(HOST)).await;
    let status = || cluster.route_status("shop", "web")["conditions"][1]["message"].clone();
    second.until("told", Value::from("nodes n3"), status).await;
    let after = cluster.writes();
    first.go_on();
    first.until_metric("nearside_controller_leader", 0.0).await;
    assert!(leads(&mut second).await);
    assert_eq!(cluster.writes(), after, "not even a request that would be refused");
    cluster.seed([slice("shop", "web", &[1])]);
    second.until("the leader writes", addresses(&[1]), || cluster.published(HOST)).await;
    let generation = cluster.endpoint(HOST).unwrap()["metadata"]["annotations"]["nearside.dev/gen"].clone();
    assert_eq!(generation, "3", "one for each place where the pod was when somebody led");
}
