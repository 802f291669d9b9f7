//! A steady load on a host that two nodes serve, which must not notice anything: a stage flows in, every request that was not
//! answered by the node that was asked, at the first try, fails the test. Tests of faults use it.

use crate::objects::{route, service};
use crate::stage::{Source, Stage};
use nearside_loadtest::client::{Call, Record};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// Two nodes that both serve, known to DNS.
pub(crate) async fn serving() -> Stage {
    serving_on(Stage::lay(Source::Api, 2).await).await
}

/// The same, on a stage of two nodes whose programs do not run yet.
pub(crate) async fn serving_on(mut stage: Stage) -> Stage {
    stage.put_all(&[service("web"), route("web", HOST, "web")]);
    stage.run_pod("web", 1, "n1");
    stage.run_pod("web", 2, "n2");
    stage.start_programs();
    stage.ready().await;
    stage.until_published(HOST, &["n1", "n2"]).await;
    stage
}

/// A Route made meanwhile is served by both nodes, published, and has its status.
pub(crate) async fn arrives(stage: &Stage, name: &str) {
    let host = format!("{name}.{}", crate::stage::ZONE);
    for node in ["n1", "n2"] {
        stage.until_served(node, &format!("http://{host}/")).await;
    }
    stage.until_published(&host, &["n1", "n2"]).await;
    stage.until_admitted("shop", name, "True", "").await;
}

/// Clients that fetch at a steady pace; every request must be answered by the node that was asked, at the first try.
pub(crate) struct Traffic {
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<Record>>>,
    clients: JoinSet<()>,
}

impl Traffic {
    pub(crate) fn start(stage: &Stage) -> Self {
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
    pub(crate) async fn next(&self, stage: &Stage, requests: usize) {
        let wanted = self.count.load(Ordering::Relaxed) + requests;
        let look = async || self.count.load(Ordering::Relaxed);
        stage.until("the clients go on", look, |count| *count >= wanted).await;
    }

    pub(crate) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        let failures = self.failures.lock().unwrap();
        let count = self.count.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {count} requests: {failures:#?}", failures.len());
    }
}

pub(crate) const HOST: &str = "web.apps.example.com";
const CLIENTS: usize = 4;
const PACE: Duration = Duration::from_millis(20);
