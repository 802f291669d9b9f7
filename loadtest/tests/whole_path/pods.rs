//! A pod becomes ready, unready and ends: what clients get from its node, and how DNS follows.

use crate::objects::{route, service};
use crate::stage::{Source, Stage};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_decides_what_is_served_and_published_from_the_api() {
    readiness_decides(Source::Api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_decides_what_is_served_and_published_from_manifests() {
    readiness_decides(Source::Manifests).await;
}

async fn readiness_decides(source: Source) {
    let stage = Stage::start(source, 2, |stage| {
        stage.put_all(&[service("web"), route("web", HOST, "web")]);
    })
    .await;
    // Nothing is ready anywhere: the host lives on, and every node says so.
    stage.until_published(HOST, &["n1", "n2"]).await;
    let none = stage.until_status("n1", URL, 503).await;
    assert!(none.headers.contains_key("retry-after"), "{none:?}");

    stage.run_pod("web", 1, "n1");
    stage.until_served("n1", URL).await;
    stage.until_published(HOST, &["n1"]).await;
    stage.until_status("n2", URL, 307).await;

    stage.run_pod("web", 2, "n2");
    stage.until_served("n2", URL).await;
    stage.until_published(HOST, &["n1", "n2"]).await;

    stage.cluster.set_ready("shop", "web-1", false).unwrap();
    stage.until_status("n1", URL, 307).await;
    stage.until_published(HOST, &["n2"]).await;
    let fetched = stage.fetch(URL).await;
    assert_eq!(
        (fetched.status, fetched.pod.as_deref(), fetched.redirects),
        (Some(200), Some("web-2"), 0),
        "{fetched:?}"
    );

    stage.cluster.set_ready("shop", "web-2", false).unwrap();
    stage.until_published(HOST, &["n1", "n2"]).await;
    for node in ["n1", "n2"] {
        // A proxy sends clients on until it hears that nobody else holds the host.
        let none = stage.until_status(node, URL, 503).await;
        assert!(none.headers.contains_key("retry-after") && none.answered.is_none(), "{none:?}");
    }

    stage.cluster.set_ready("shop", "web-1", true).unwrap();
    stage.until_served("n1", URL).await;
    stage.until_published(HOST, &["n1"]).await;
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminating_pod_gets_no_new_requests_while_another_is_ready() {
    let stage = Stage::start(Source::Api, 2, |stage| {
        stage.put_all(&[service("web"), route("web", HOST, "web")]);
        stage.run_pod("web", 1, "n1");
        stage.run_pod("web", 2, "n1");
        stage.run_pod("web", 3, "n2");
    })
    .await;
    stage.until_published(HOST, &["n1", "n2"]).await;
    let who = async || stage.ask("n1", URL).await.pod.unwrap_or_default();
    stage.until("web-1 takes its share", who, |pod| pod == "web-1").await;

    let cluster = stage.cluster.clone();
    // It goes on listening for as long as the test runs: only the router keeps requests from it.
    let end = tokio::spawn(async move { cluster.terminate_pod("shop", "web-1", FOREVER, FOREVER).await });
    let share = async || {
        let mut pods = Vec::new();
        for _ in 0..20 {
            pods.push(who().await);
        }
        pods
    };
    stage.until("n1 asks web-2 alone", share, |pods| pods.iter().all(|pod| pod == "web-2")).await;
    assert_eq!(stage.published(HOST).await.len(), 2, "n1 holds a ready pod still");

    let cluster = stage.cluster.clone();
    let second = tokio::spawn(async move { cluster.terminate_pod("shop", "web-2", FOREVER, FOREVER).await });
    stage.until_published(HOST, &["n2"]).await;
    stage.assert_nothing_crossed().await;
    end.abort();
    second.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_pod_serves_until_it_is_gone() {
    let stage = Stage::start(Source::Api, 2, |stage| {
        stage.put_all(&[service("web"), route("web", HOST, "web")]);
        stage.run_pod("web", 1, "n1");
    })
    .await;
    stage.until_published(HOST, &["n1"]).await;
    stage.until_served("n1", URL).await;
    let cluster = stage.cluster.clone();
    let end = tokio::spawn(async move { cluster.terminate_pod("shop", "web-1", FOREVER, FOREVER).await });
    let placed = async || stage.condition("shop", "web", "nearside.dev/Placed");
    stage.until("the pod's end is seen", placed, |condition| condition["reason"] == "Terminating").await;
    let last = stage.fetch(URL).await;
    assert_eq!((last.status, last.pod.as_deref()), (Some(200), Some("web-1")), "{last:?}");
    end.abort();
    stage.cluster.kill_pod("shop", "web-1").unwrap();
    stage.until_status("n1", URL, 503).await;
}

const HOST: &str = "web.apps.example.com";
const URL: &str = "http://web.apps.example.com/";
const FOREVER: Duration = Duration::from_secs(600);
