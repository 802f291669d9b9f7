//! Many objects at once: what the API server is asked, and in which order.

use crate::objects::{addresses, created, route, service, slice};
use crate::process::Cluster;
use nearside_loadtest::api::{Options, RequestMatch};
use serde_json::json;

#[tokio::test]
async fn a_namespace_with_five_thousand_changes_delays_no_other_and_records_come_before_status() {
    let cluster = Cluster::with(Options::default()).await;
    for place in 0..5000 {
        let name = format!("r{place:04}");
        let object = route("noisy", &name, &format!("{name}.noisy.example.com"), "web");
        cluster.seed([created(object, "2026-01-01T00:00:00Z")]);
    }
    cluster.seed([
        service("noisy", "web"),
        slice("noisy", "web", &[1]),
        service("zoo", "web"),
        slice("zoo", "web", &[1]),
        route("zoo", "web", "zoo.example.com", "web"),
    ]);
    let controller = cluster.controller("controller").await;
    // The namespace comes last in every order but that of turns.
    controller.until("the quiet one", addresses(&[1]), || cluster.published("zoo.example.com")).await;
    let created = || cluster.api.faults().requests("create", "dnsendpoints");
    let patched = || cluster.api.faults().requests("patch", "routes");
    assert!(created() < 500, "{} records were written before those of the quiet namespace", created());
    let told = || cluster.route_status("zoo", "web")["conditions"][1]["status"].clone();
    controller.until("told", json!("True"), told).await;
    assert!(patched() < 500, "{} statuses were written before that of the quiet namespace", patched());
    controller.until("all records", 5001, created).await;
    assert!(patched() < 5001, "records do not wait for status");
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_it() {
    let cluster = Cluster::new().await;
    for place in 0..50 {
        let name = format!("r{place}");
        cluster.seed([route("shop", &name, &format!("{name}.example.com"), "web")]);
    }
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1])]);
    // Whoever does not wait asks many times within the two seconds.
    cluster.api.faults().answer(RequestMatch::any().verb("create").resource("dnsendpoints"), 429, Some(2), Some(9));
    let controller = cluster.controller("controller").await;
    let published = || cluster.api.list("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside").len();
    controller.until("published", 50, published).await;
    assert_eq!(
        cluster.api.faults().requests("create", "dnsendpoints"),
        59,
        "each that was refused was asked for again once"
    );
}
