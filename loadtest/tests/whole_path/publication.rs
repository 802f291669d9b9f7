//! The name server tells the cluster what it publishes, and the controller tells the owners: status flows back along the path.

use crate::objects::{route, service};
use crate::stage::{Source, Stage};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_says_when_the_name_server_has_its_records_and_a_pod_that_ends_leaves_dns_after_that() {
    let stage = Stage::start(Source::Api, 2, |stage| {
        stage.put_all(&[service("web"), route("web", HOST, "web")]);
        stage.run_pod("web", 1, "n1");
    })
    .await;
    stage.until_published(HOST, &["n1"]).await;
    told(&stage).await;
    let cluster = stage.cluster.clone();
    let end = tokio::spawn(async move { cluster.terminate_pod("shop", "web-1", FOREVER, FOREVER).await });
    stage.run_pod("web", 2, "n2");
    stage.until_published(HOST, &["n2"]).await;
    told(&stage).await;
    let written = stage.metric("dns-sync", "nearside_dns_reports_total{result=\"written\"}").await;
    assert!(written.is_some_and(|written| written >= 2.0), "{written:?}");
    end.abort();
    stage.assert_nothing_crossed().await;
}

/// The Route says that its records are taken.
async fn told(stage: &Stage) {
    let published = async || stage.condition("shop", "web", "nearside.dev/DNSPublished");
    stage.until("the Route says so", published, |condition| condition["status"] == "True").await;
}

const HOST: &str = "web.apps.example.com";
const FOREVER: Duration = Duration::from_secs(600);
