//! The API server restarts, forgets its history, or ends watches while clients fetch: no request fails, and changes arrive afterwards.

use crate::objects::{route, service};
use crate::stage::{Source, Stage};
use nearside_loadtest::api::RequestMatch;
use nearside_loadtest::client::{Call, Record};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_the_api_server_is_away_and_changes_arrive_when_it_is_back() {
    let stage = serving().await;
    let traffic = Traffic::start(&stage);
    let api = stage.objects.api().clone();
    for round in 1..=2 {
        api.faults().refuse_connections().await;
        traffic.next(&stage, 40).await;
        // Made while nobody can hear of it.
        let name = format!("new{round}");
        let host = format!("{name}.{}", crate::stage::ZONE);
        stage.put(&route(&name, &host, "web"));
        traffic.next(&stage, 40).await;
        assert_eq!(stage.ask("n1", &format!("http://{host}/")).await.status, Some(404), "nobody has heard of it");
        api.faults().accept_connections().await.unwrap();
        arrives(&stage, &name).await;
        traffic.next(&stage, 40).await;
    }
    traffic.stop().await;
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_watches_end_and_their_history_is_gone() {
    let stage = serving().await;
    let traffic = Traffic::start(&stage);
    let faults = stage.objects.api().faults().clone();
    let before = faults.requests("list", "services");
    for name in ["new1", "new2"] {
        faults.compact();
        faults.drop_watches(RequestMatch::any());
        stage.put(&route(name, &format!("{name}.{}", crate::stage::ZONE), "web"));
        arrives(&stage, name).await;
        traffic.next(&stage, 40).await;
    }
    // Services were not touched, so every watch of them was behind.
    assert!(faults.requests("list", "services") > before, "nobody listed anew: there was no 410");
    traffic.stop().await;
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_a_change_is_lost_between_two_watches() {
    let stage = serving().await;
    let traffic = Traffic::start(&stage);
    let faults = stage.objects.api().faults().clone();
    let before = faults.requests("list", "routes");
    // While nobody can watch, a change is made and its history is forgotten: what follows is 410.
    faults.answer(RequestMatch::any().verb("watch"), 503, None, None);
    faults.cut_watches(RequestMatch::any());
    stage.put(&route("new", &format!("new.{}", crate::stage::ZONE), "web"));
    faults.compact();
    traffic.next(&stage, 40).await;
    faults.clear();
    arrives(&stage, "new").await;
    assert!(faults.requests("list", "routes") > before, "nobody listed anew: there was no 410");
    traffic.next(&stage, 40).await;
    traffic.stop().await;
    stage.assert_nothing_crossed().await;
}

/// Two nodes that both serve, known to DNS.
async fn serving() -> Stage {
    let stage = Stage::start(Source::Api, 2, |stage| {
        stage.put_all(&[service("web"), route("web", HOST, "web")]);
        stage.run_pod("web", 1, "n1");
        stage.run_pod("web", 2, "n2");
    })
    .await;
    stage.until_published(HOST, &["n1", "n2"]).await;
    stage
}

/// A Route made meanwhile is served by both nodes, published, and has its status.
async fn arrives(stage: &Stage, name: &str) {
    let host = format!("{name}.{}", crate::stage::ZONE);
    for node in ["n1", "n2"] {
        stage.until_served(node, &format!("http://{host}/")).await;
    }
    stage.until_published(&host, &["n1", "n2"]).await;
    stage.until_admitted("shop", name, "True", "").await;
}

/// Clients that fetch at a steady pace; every request must be answered by the node that was asked, at the first try.
struct Traffic {
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<Record>>>,
    clients: JoinSet<()>,
}

impl Traffic {
    fn start(stage: &Stage) -> Self {
        let (count, stop, failures) = (Arc::default(), Arc::default(), Arc::default());
        let mut traffic = Self { count, stop, failures, clients: JoinSet::new() };
        for _ in 0..CLIENTS {
            let (client, count) = (stage.client(), traffic.count.clone());
            let (stop, failures) = (traffic.stop.clone(), traffic.failures.clone());
            traffic.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let record = client.fetch(&Call::get(&format!("http://{HOST}/media/2000"))).await;
                    let perfect = record.status == Some(200)
                        && record.failure.is_none()
                        && record.by_own_node()
                        && record.retries.is_empty()
                        && record.redirects == 0;
                    if !perfect {
                        failures.lock().unwrap().push(record);
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PACE).await;
                }
            });
        }
        traffic
    }

    /// Waits for as many more requests.
    async fn next(&self, stage: &Stage, requests: usize) {
        let wanted = self.count.load(Ordering::Relaxed) + requests;
        let look = async || self.count.load(Ordering::Relaxed);
        stage.until("the clients go on", look, |count| *count >= wanted).await;
    }

    async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        let failures = self.failures.lock().unwrap();
        let count = self.count.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {count} requests: {failures:#?}", failures.len());
    }
}

const HOST: &str = "web.apps.example.com";
const CLIENTS: usize = 4;
const PACE: Duration = Duration::from_millis(20);
