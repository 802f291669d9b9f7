//! What the owners of Routes and Ingresses are told.

use crate::objects::{addresses, created, ingress, route, router, service, slice};
use crate::process::Cluster;
use nearside_loadtest::api::{ObjectRef, RequestMatch};
use serde_json::{Value, json};

const HOST: &str = "video.example.com";

fn admitted(cluster: &Cluster, namespace: &str, name: &str) -> (Value, Value) {
    let conditions = cluster.route_status(namespace, name)["conditions"].clone();
    let found = conditions.as_array().cloned().unwrap_or_default();
    let condition = found.iter().find(|condition| condition["type"] == "Admitted").cloned().unwrap_or_default();
    (condition["status"].clone(), condition["reason"].clone())
}

fn events(cluster: &Cluster, name: &str) -> Vec<(String, String)> {
    let all = cluster.api.list("v1", "Event", "");
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let of_object = all.iter().filter(|event| event["involvedObject"]["name"] == name);
    let mut found: Vec<_> = of_object.map(|event| (text(event, "reason"), text(event, "message"))).collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_claim_passes_on_when_the_older_one_is_deleted() {
    let cluster = Cluster::new().await;
    cluster.seed([
        service("old", "web"),
        service("new", "web"),
        slice("old", "web", &[1]),
        slice("new", "web", &[2]),
        created(route("old", "web", HOST, "web"), "2026-01-01T00:00:00Z"),
        created(route("new", "web", HOST, "web"), "2026-01-02T00:00:00Z"),
    ]);
    let controller = cluster.controller("controller").await;
    let wins = (json!("True"), Value::Null);
    controller.until("the older", wins.clone(), || admitted(&cluster, "old", "web")).await;
    let loses = (json!("False"), json!("HostAlreadyClaimed"));
    controller.until("the younger", loses, || admitted(&cluster, "new", "web")).await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    let told = cluster.route_status("new", "web");
    assert_eq!(told["host"], HOST);
    assert!(!told.to_string().contains("old/"), "the winner's namespace is nobody's business: {told}");
    let since = told["conditions"][0]["lastTransitionTime"].as_str().unwrap().to_owned();
    assert_eq!(since.len(), "2026-01-01T00:00:00Z".len());

    cluster.api.delete(ObjectRef::new("route.openshift.io/v1", "Route", "old", "web")).unwrap();
    controller.until("the younger", wins, || admitted(&cluster, "new", "web")).await;
    controller.until("published", addresses(&[2]), || cluster.published(HOST)).await;
    let placed = cluster.route_status("new", "web")["conditions"][1].clone();
    assert_eq!((placed["type"].as_str(), placed["status"].as_str()), (Some("nearside.dev/Placed"), Some("True")));
    assert_eq!(placed["message"], "nodes n2");
}

#[tokio::test]
async fn entries_of_other_routers_stay_and_ours_follows() {
    let cluster = Cluster::new().await;
    let foreign = json!({"host": HOST, "routerName": "public", "routerCanonicalHostname": "router.example.com",
        "conditions": [{"type": "Admitted", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let mut known = route("shop", "web", HOST, "web");
    known["status"] = json!({"ingress": [foreign]});
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), known]);
    let controller = cluster.controller("controller").await;
    controller.until("admitted", (json!("True"), Value::Null), || admitted(&cluster, "shop", "web")).await;
    cluster.seed([slice("shop", "web", &[2])]);
    let message = || cluster.route_status("shop", "web")["conditions"][1]["message"].clone();
    controller.until("moved", json!("nodes n2"), message).await;
    let stored = cluster.api.get(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web")).unwrap();
    let entries = stored["status"]["ingress"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0], foreign);
}

#[tokio::test]
async fn an_ingress_of_another_class_is_left_alone_and_one_that_leaves_is_emptied() {
    let cluster = Cluster::new().await;
    let mut foreign = ingress("shop", "foreign", &[("foreign.example.com", "/", "web")]);
    foreign["spec"]["ingressClassName"] = "other".into();
    foreign["status"] = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}});
    cluster.seed([
        service("shop", "web"),
        slice("shop", "web", &[1, 2]),
        ingress("shop", "ours", &[(HOST, "/", "web")]),
        foreign,
    ]);
    let controller = cluster.controller("controller").await;
    controller.until("ours", addresses(&[1, 2]), || cluster.ingress_addresses("shop", "ours")).await;
    let ours = ObjectRef::new("networking.k8s.io/v1", "Ingress", "shop", "ours");
    cluster.api.patch(ours, json!({"spec": {"ingressClassName": "other"}})).unwrap();
    controller.until("left", Vec::<String>::new(), || cluster.ingress_addresses("shop", "ours")).await;
    controller.until("withdrawn", true, || cluster.endpoint(HOST).is_none()).await;
    assert_eq!(cluster.ingress_addresses("shop", "foreign"), ["203.0.113.9"]);
}

#[tokio::test]
async fn an_ingress_without_host_names_the_nodes_of_its_pods() {
    let cluster = Cluster::new().await;
    cluster.seed([service("shop", "web"), slice("shop", "web", &[2]), ingress("shop", "any", &[("", "/", "web")])]);
    let controller = cluster.controller("controller").await;
    controller.until("status", addresses(&[2]), || cluster.ingress_addresses("shop", "any")).await;
    cluster.seed([router(2, false)]);
    controller.until("status", addresses(&[1, 3]), || cluster.ingress_addresses("shop", "any")).await;
}

#[tokio::test]
async fn owners_are_told_by_events_once_per_change() {
    let cluster = Cluster::new().await;
    let mut loser = ingress("shop", "loser", &[(HOST, "/", "web")]);
    loser["metadata"]["annotations"] = json!({"nearside.dev/on-miss": "sometimes"});
    cluster.seed([
        service("shop", "web"),
        slice("shop", "web", &[]),
        created(route("shop", "web", HOST, "web"), "2026-01-01T00:00:00Z"),
        created(loser, "2026-01-02T00:00:00Z"),
    ]);
    let controller = cluster.controller("controller").await;
    let reasons = |name: &str| events(&cluster, name).into_iter().map(|(reason, _)| reason).collect::<Vec<_>>();
    let of_loser = vec!["HostAlreadyClaimed".to_owned(), "InvalidAnnotation".to_owned()];
    controller.until("the Ingress", of_loser.clone(), || reasons("loser")).await;
    controller.until("the Route", vec!["NoReadyPods".to_owned()], || reasons("web")).await;
    let messages: Vec<String> = events(&cluster, "loser").into_iter().map(|(_, message)| message).collect();
    assert!(messages[0].contains("spec.rules[0]"), "{messages:?}");
    assert!(messages[1].contains("nearside.dev/on-miss"), "{messages:?}");
    assert!(events(&cluster, "web")[0].1.contains(HOST));
    assert_eq!(controller.terminate().await, Some(0));

    // The next leader knows what was told; what comes back after it was gone is told again.
    let again = cluster.controller("again").await;
    cluster.seed([slice("shop", "web", &[1])]);
    again.until("ready", addresses(&[1]), || cluster.published(HOST)).await;
    let placed = || cluster.route_status("shop", "web")["conditions"][1]["status"].clone();
    again.until("ready", json!("True"), placed).await;
    assert_eq!((reasons("web"), reasons("loser")), (vec!["NoReadyPods".to_owned()], of_loser));
    let times = || {
        let all = cluster.api.list("events.k8s.io/v1", "Event", "shop");
        let of_route = all.iter().find(|event| event["regarding"]["name"] == "web").cloned().unwrap_or_default();
        of_route["series"]["count"].clone()
    };
    assert_eq!(times(), Value::Null);
    cluster.seed([slice("shop", "web", &[])]);
    again.until("told again", json!(2), times).await;
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_is_told_on_the_route_that_names_it() {
    let cluster = Cluster::new().await;
    cluster.api.faults().answer(RequestMatch::any().resource("secrets"), 403, None, None);
    let mut external = route("shop", "web", HOST, "web");
    external["spec"]["tls"] = json!({"termination": "edge", "externalCertificate": {"name": "web-tls"}});
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), external]);
    cluster.seed([route("shop", "plain", "plain.example.com", "web")]);
    let controller = cluster.controller("controller").await;
    let refused = (json!("False"), json!("ExternalCertificateGetFailed"));
    controller.until("refused", refused, || admitted(&cluster, "shop", "web")).await;
    controller.until("others", (json!("True"), Value::Null), || admitted(&cluster, "shop", "plain")).await;
    assert!(controller.log().contains("no permission to watch secrets"), "{}", controller.log());
}

#[tokio::test]
async fn what_is_wrong_with_objects_is_counted_by_reason_until_it_is_put_right() {
    let cluster = Cluster::new().await;
    let annotated = |value: &str| {
        let mut object = ingress("shop", "site", &[(HOST, "/", "web")]);
        object["metadata"]["annotations"] = json!({"nearside.dev/on-miss": value});
        object
    };
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), annotated("sometimes")]);
    let mut controller = cluster.controller("controller").await;
    let annotations = r#"nearside_controller_problems{kind="Ingress",reason="InvalidAnnotation"}"#;
    controller.until_metric(annotations, 1.0).await;
    cluster.seed([annotated("reject")]);
    controller.until_metric(annotations, 0.0).await;
}
