//! The name server tells the cluster what it publishes, and the controller tells the owners: status flows back along the path.

use crate::objects::{route, service};
use crate::stage::{Source, Stage};
use nearside_loadtest::api::ObjectRef;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_says_when_the_name_server_has_its_records_and_a_drained_node_goes_after_that() {
    let stage = Stage::start(Source::Api, 2, |stage| {
        stage.put_all(&[service("web"), route("web", HOST, "web")]);
        stage.run_pod("web", 1, "n1");
    })
    .await;
    stage.until_published(HOST, &["n1"]).await;
    told(&stage).await;
    let drain = json!({"metadata": {"annotations": {"nearside.dev/drain": "true"}}});
    stage.objects.api().patch(ObjectRef::new("v1", "Node", "", "n1"), drain).unwrap();
    stage.run_pod("web", 2, "n2");
    stage.until_published(HOST, &["n2"]).await;
    told(&stage).await;
    stage.until_served("n1", &format!("http://{HOST}/")).await;
    let written = stage.metric("dns-sync", "nearside_dns_reports_total{result=\"written\"}").await;
    assert!(written.is_some_and(|written| written >= 2.0), "{written:?}");
    stage.assert_nothing_crossed().await;
}

/// Everything that stands in DNSEndpoints is taken, and the Route says so.
async fn told(stage: &Stage) {
    let published = async || stage.condition("shop", "web", "nearside.dev/DNSPublished")["status"].clone();
    stage.until("the Route says so", published, |status| status == "True").await;
    let all = async || stage.objects.api().list("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "");
    let taken = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    stage.until("every object is taken", all, |all| !all.is_empty() && all.iter().all(taken)).await;
}

const HOST: &str = "web.apps.example.com";
