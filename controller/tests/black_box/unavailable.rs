//! An API server that is absent, restarted, or does not know a kind.

use crate::objects::{addresses, ingress, route, service, slice};
use crate::process::Cluster;
use nearside_loadtest::api::{ObjectRef, RequestMatch};
use serde_json::{Value, json};

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

#[tokio::test]
async fn a_kind_that_may_not_be_read_withdraws_nothing_and_stops_nothing_else() {
    let cluster = one_host().await;
    let controller = cluster.controller("first").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    assert_eq!(controller.terminate().await, Some(0));
    cluster.api.faults().answer(RequestMatch::any().resource("routes"), 403, None, None);
    cluster.seed([ingress("shop", "site", &[("site.example.com", "/", "web")])]);
    let again = cluster.controller("second").await;
    again.until("the Ingress", addresses(&[1]), || cluster.published("site.example.com")).await;
    // By now it has seen what is published for nobody that it knows of.
    assert_eq!(cluster.published(HOST), addresses(&[1]));
    cluster.api.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web")).unwrap();
    cluster.api.faults().clear();
    again.until("withdrawn", true, || cluster.endpoint(HOST).is_none()).await;
}

#[tokio::test]
async fn what_is_known_from_the_disk_alone_is_shown_and_never_written() {
    let cluster = one_host().await;
    let kept = format!("--snapshot-dir={}", cluster.directory.path().join("kept").display());
    let controller = cluster.controller_with("first", &[&kept]).await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    controller.until("told", false, || cluster.route_status("shop", "web").is_null()).await;
    assert_eq!(controller.terminate().await, Some(0));

    // Leases can be had and everything could be written, but nothing can be read.
    for verb in ["list", "watch"] {
        cluster.api.faults().answer(RequestMatch::any().verb(verb), 503, None, None);
    }
    let route = ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web");
    cluster.api.set_status(route, json!({"ingress": []})).unwrap();
    let before = cluster.writes();
    let mut again = cluster.controller_with("second", &[&kept]).await;
    again.until("leads", true, || again.log().contains("leading")).await;
    let placement: Value = serde_json::from_str(&again.page("/placement").await).unwrap();
    assert!(placement["hosts"].to_string().contains("n1"), "{placement}");
    let sources = again.page("/sources").await;
    assert!(sources.contains("\"stale\""), "{sources}");
    assert_eq!(cluster.writes(), before);
    assert!(cluster.route_status("shop", "web").is_null());
    cluster.api.faults().clear();
    again.until("told again", false, || cluster.route_status("shop", "web").is_null()).await;
}
