//! What the controller asks of the API server, against what its ClusterRole and Role allow.

use crate::objects::{addresses, ingress, route, service, slice};
use crate::process::Cluster;
use nearside_loadtest::api::ObjectRef;
use serde_json::Value;
use std::collections::BTreeSet;

/// Verbs and resources, a subresource as its resource.
fn allowed() -> BTreeSet<(String, String)> {
    let manifest = include_str!("../../../deploy/manifests/rbac-controller.yaml");
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut allowed = BTreeSet::new();
    for document in manifest.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).unwrap();
        for rule in object["rules"].as_array().into_iter().flatten() {
            for resource in words(&rule["resources"]) {
                let resource = resource.split('/').next().unwrap().to_owned();
                allowed.extend(words(&rule["verbs"]).into_iter().map(|verb| (verb, resource.clone())));
            }
        }
    }
    allowed
}

#[tokio::test]
async fn nothing_is_asked_for_that_the_roles_do_not_allow() {
    const HOST: &str = "video.example.com";
    let cluster = Cluster::new().await;
    let site = ingress("shop", "site", &[("site.example.com", "/", "web")]);
    let second = route("shop", "late", HOST, "web");
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), route("shop", "web", HOST, "web"), site, second]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    cluster.seed([slice("shop", "web", &[2])]);
    controller.until("moved", addresses(&[2]), || cluster.published(HOST)).await;
    controller.until("told", addresses(&[2]), || cluster.ingress_addresses("shop", "site")).await;
    cluster.api.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web")).unwrap();
    cluster.api.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "late")).unwrap();
    controller.until("withdrawn", true, || cluster.endpoint(HOST).is_none()).await;
    assert_eq!(controller.terminate().await, Some(0));

    let asked: BTreeSet<(String, String)> = cluster.api.faults().request_counts().into_keys().collect();
    assert!(
        asked.contains(&("patch".into(), "routes".into())) && asked.contains(&("delete".into(), "dnsendpoints".into()))
    );
    let allowed = allowed();
    let beyond: Vec<_> = asked.difference(&allowed).collect();
    assert!(beyond.is_empty(), "deploy/manifests/rbac-controller.yaml does not allow {beyond:?}");
}
