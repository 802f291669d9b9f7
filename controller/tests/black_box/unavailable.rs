//! An API server that is absent, restarted, or does not know a kind.

use crate::objects::{addresses, ingress, route, service, slice};
use crate::process::Cluster;
use nearside_loadtest::api::ObjectRef;

const HOST: &str = "video.example.com";

async fn one_host() -> Cluster {
    let cluster = Cluster::new().await;
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), route("shop", "web", HOST, "web")]);
    cluster
}

#[tokio::test]
async fn changes_during_an_outage_are_caught_up_with() {
    let cluster = one_host().await;
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    cluster.api.faults().refuse_connections().await;
    cluster.seed([slice("shop", "web", &[2]), route("shop", "more", "more.example.com", "web")]);
    cluster.api.faults().compact();
    assert_eq!(cluster.published(HOST), addresses(&[1]));
    cluster.api.faults().accept_connections().await.unwrap();
    controller.until("published", addresses(&[2]), || cluster.published(HOST)).await;
    controller.until("published", addresses(&[2]), || cluster.published("more.example.com")).await;
}

#[tokio::test]
async fn an_api_server_that_is_absent_at_start_is_waited_for() {
    let cluster = one_host().await;
    cluster.api.faults().refuse_connections().await;
    let mut controller = cluster.unready_controller("controller");
    let page = controller.page("/healthz/ready").await;
    assert!(page.contains("first sync"), "{page}");
    cluster.api.faults().accept_connections().await.unwrap();
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
}

#[tokio::test]
async fn what_nobody_claims_any_more_is_withdrawn_after_a_restart() {
    let cluster = one_host().await;
    let controller = cluster.controller("first").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    assert_eq!(controller.terminate().await, Some(0));
    cluster.api.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web")).unwrap();
    let again = cluster.controller("second").await;
    again.until("withdrawn", true, || cluster.endpoint(HOST).is_none()).await;
}

#[tokio::test]
async fn a_missing_definition_is_told_and_healed_when_it_comes() {
    let cluster = one_host().await;
    cluster.api.faults().disable_kind("dnsendpoints");
    let controller = cluster.unready_controller("controller");
    controller.until("told", true, || controller.log().contains("dnsendpoints.externaldns.k8s.io")).await;
    cluster.api.faults().enable_kind("dnsendpoints");
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
}

#[tokio::test]
async fn a_cluster_without_routes_has_its_ingresses_served() {
    let cluster = Cluster::new().await;
    cluster.api.faults().disable_kind("routes");
    let site = ingress("shop", "site", &[(HOST, "/", "web")]);
    cluster.seed([service("shop", "web"), slice("shop", "web", &[2]), site]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[2]), || cluster.published(HOST)).await;
    controller.until("status", addresses(&[2]), || cluster.ingress_addresses("shop", "site")).await;
    cluster.api.faults().enable_kind("routes");
    cluster.seed([route("shop", "web", "late.example.com", "web")]);
    controller.until("the Route", addresses(&[2]), || cluster.published("late.example.com")).await;
}
