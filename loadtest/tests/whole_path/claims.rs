//! A host claimed twice: who is served, what the statuses say, and that the claim passes on when the winner goes.

use crate::objects::{ingress, route, route_in, service, service_in};
use crate::stage::{Source, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_claim_wins_and_passes_on_when_it_is_deleted_from_the_api() {
    the_older_claim_wins(Source::Api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_claim_wins_and_passes_on_when_it_is_deleted_from_manifests() {
    the_older_claim_wins(Source::Manifests).await;
}

async fn the_older_claim_wins(source: Source) {
    let winner = route("winner", HOST, "web");
    let stage = Stage::start(source, 1, |stage| {
        stage.put_all(&[service("web"), service_in("rival", "rival", 80, 8080)]);
        stage.run_pod("web", 1, "n1");
        stage.run_pod_in("rival", "rival", 1, "n1");
    })
    .await;
    stage.put_by_age(&winner, &route_in("rival", "loser", HOST, "rival")).await;
    stage.until_published(HOST, &["n1"]).await;
    let answer = async || stage.ask("n1", URL).await;
    stage.until("the older claim is served", answer, |record| record.pod.as_deref() == Some("web-1")).await;
    stage.until_admitted("shop", "winner", "True", "").await;
    let message = stage.until_admitted("rival", "loser", "False", "HostAlreadyClaimed").await;
    assert!(message.contains("shop/winner") || message.contains(HOST), "{message}");

    stage.delete(&winner);
    stage.until("the claim passes on", answer, |record| record.pod.as_deref() == Some("rival-1")).await;
    stage.until_admitted("rival", "loser", "True", "").await;
    stage.until_published(HOST, &["n1"]).await;

    if source == Source::Manifests {
        // It comes back with its old age, and with it the claim.
        stage.put(&winner);
        stage.until("the claim returns", answer, |record| record.pod.as_deref() == Some("web-1")).await;
        stage.until_admitted("rival", "loser", "False", "HostAlreadyClaimed").await;
    } else {
        // To an API it is new, and so the younger one.
        stage.objects.api().next_second().await;
        stage.put(&winner);
        stage.until_admitted("shop", "winner", "False", "HostAlreadyClaimed").await;
        let record = stage.until_served("n1", URL).await;
        assert_eq!(record.pod.as_deref(), Some("rival-1"), "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_and_an_ingress_compete_in_one_order() {
    let winner = ingress("winner", HOST, &[("/", "Prefix", "old")]);
    let stage = Stage::start(Source::Api, 1, |stage| {
        stage.put_all(&[service("old"), service("new")]);
        stage.run_pod("old", 1, "n1");
        stage.run_pod("new", 1, "n1");
    })
    .await;
    stage.put_by_age(&winner, &route("loser", HOST, "new")).await;
    stage.until_published(HOST, &["n1"]).await;
    assert_eq!(stage.until_served("n1", URL).await.pod.as_deref(), Some("old-1"));
    stage.until_admitted("shop", "loser", "False", "HostAlreadyClaimed").await;
    let message = stage.until_event("Route", "loser", "HostAlreadyClaimed").await;
    assert!(message.contains("spec.host"), "{message}");
    let address =
        async || stage.objects.status("Ingress", "shop", "winner")["loadBalancer"]["ingress"][0]["ip"].clone();
    let n1 = stage.address("n1").to_string();
    stage.until("the Ingress lists its node", address, |ip| *ip == *n1).await;

    stage.delete(&winner);
    let answer = async || stage.ask("n1", URL).await;
    stage.until("the claim passes on", answer, |record| record.pod.as_deref() == Some("new-1")).await;
    stage.until_admitted("shop", "loser", "True", "").await;
}

const HOST: &str = "claimed.apps.example.com";
const URL: &str = "http://claimed.apps.example.com/";
