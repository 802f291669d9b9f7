//! The demo's clients at work: several workers per client place ask all hosts in turn, one more downloads large files. Records come
//! in from the clients, tallies per host go out. Started and stopped by `demo`.

use super::hosts::{Ask, Host};
use super::stage::Stage;
use super::view::{View, amount};
use crate::client::{Client, Record};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Running traffic.
pub(super) struct Traffic {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

struct Shared {
    stop: AtomicBool,
    tallies: Mutex<Tallies>,
}

/// What was counted.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Tallies {
    /// By host as the plan names it.
    pub(super) hosts: BTreeMap<String, Tally>,
    /// The first faults, in words.
    pub(super) faults: Vec<Fault>,
    /// Answers of pods by name, over all hosts.
    pub(super) pods: BTreeMap<String, u64>,
    /// The node that died.
    pub(super) killed: Option<String>,
    /// Body bytes of answers whose pod was not on the node that was asked.
    pub(super) foreign_bytes: u64,
}

/// The counts of one host.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) requests: u64,
    /// Answered by a pod of the node that was asked.
    pub(super) own_node: u64,
    /// Went to another node by redirect first.
    pub(super) redirected: u64,
    /// Got no answer from the node that died and one from another.
    pub(super) retried: u64,
    pub(super) failed: u64,
    pub(super) bytes: u64,
}

/// A request that went wrong.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) record: Record,
}

impl Traffic {
    pub(super) fn start(stage: &Stage) -> Self {
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), tallies: Mutex::default() });
        let mut workers = JoinSet::new();
        for (index, client) in stage.clients.iter().enumerate() {
            let hosts = Arc::new(stage.hosts.clone());
            for worker in 0..SMALL_WORKERS {
                // Each begins elsewhere, so that no two walk the hosts in step.
                let first = (index * SMALL_WORKERS + worker) * 5;
                workers.spawn(work(client.clone(), hosts.clone(), shared.clone(), first, false));
            }
            workers.spawn(work(client.clone(), hosts, shared.clone(), index * 3, true));
        }
        Self { shared, workers }
    }

    /// From now on, requests that `node` does not answer count as retried instead of failed.
    pub(super) fn node_dies(&self, node: &str) {
        self.shared.lock().killed = Some(node.to_owned());
    }

    /// One line about the traffic so far.
    pub(super) fn status(&self, crossed: Option<u64>) -> String {
        let tallies = self.shared.lock();
        let total = tallies.total();
        let crossed = crossed.map_or_else(|| amount(tallies.foreign_bytes), amount);
        format!(
            "{} requests: {} own node, {} redirected, {} retried, {} failed; {}, {crossed} between nodes",
            total.requests,
            total.own_node,
            total.redirected,
            total.retried,
            total.failed,
            amount(total.bytes)
        )
    }

    /// Lets running requests end, and returns the counts.
    pub(super) async fn stop(mut self, view: &View) -> Tallies {
        self.shared.stop.store(true, Ordering::Relaxed);
        let end = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_REQUESTS, end).await.is_err() {
            view.event("clients", "some requests did not end and are given up");
            let mut tallies = self.shared.lock();
            let what = format!("a request did not end within {LAST_REQUESTS:?} of the end of the traffic");
            tallies.faults.push(Fault { what, record: Record::default() });
        }
        self.shared.lock().clone()
    }
}

impl Tallies {
    /// All hosts together.
    pub(super) fn total(&self) -> Tally {
        self.hosts.values().fold(Tally::default(), |sum, tally| Tally {
            requests: sum.requests + tally.requests,
            own_node: sum.own_node + tally.own_node,
            redirected: sum.redirected + tally.redirected,
            retried: sum.retried + tally.retried,
            failed: sum.failed + tally.failed,
            bytes: sum.bytes + tally.bytes,
        })
    }

    fn add(&mut self, host: &Host, ask: &Ask, record: Record) {
        let fault = ask.fault(&record, self.killed.as_deref());
        let tally = self.hosts.entry(host.name.clone()).or_default();
        tally.requests += 1;
        tally.own_node += u64::from(record.good() && record.by_own_node());
        tally.redirected += u64::from(record.redirects > 0);
        tally.retried += u64::from(!record.retries.is_empty());
        tally.bytes += record.bytes;
        tally.failed += u64::from(fault.is_some());
        if record.answered.is_some() && !record.by_own_node() {
            self.foreign_bytes += record.bytes;
        }
        if let Some(pod) = &record.pod {
            *self.pods.entry(pod.clone()).or_default() += 1;
        }
        if let Some(what) = fault.filter(|_| self.faults.len() < MOST_FAULTS) {
            self.faults.push(Fault { what, record });
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work(client: Client, hosts: Arc<Vec<Host>>, shared: Arc<Shared>, first: usize, large: bool) {
    let asks: Vec<(&Host, &Ask)> = hosts
        .iter()
        .flat_map(|host| if large { &host.large } else { &host.small }.iter().map(move |ask| (host, ask)))
        .collect();
    for (host, ask) in asks.iter().cycle().skip(first) {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let record = client.fetch(&ask.call).await;
        shared.lock().add(host, ask, record);
        tokio::time::sleep(PAUSE).await;
    }
}

const SMALL_WORKERS: usize = 4;
/// Keeps a small machine from being all client.
const PAUSE: Duration = Duration::from_millis(20);
const LAST_REQUESTS: Duration = Duration::from_secs(60);
const MOST_FAULTS: usize = 50;
