//! The clients at work: for every habit one client that keeps its connections and one that does not, at each place for clients; each
//! asks all hosts in turn at a steady rate. Records flow in from the clients, tallies and faults flow out. Started and stopped by
//! `dns_lab`; `script` says which nodes are gone.

use super::objects::{HOSTS, Host};
use super::stage::Stage;
use super::tally::{self, Manner, Tally, Unreachable, fault};
use crate::client::{Call, Client, Habit, Kept, Record, Resolver};
use crate::demo::view::View;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// The running load.
pub(super) struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

struct Shared {
    stop: AtomicBool,
    /// Whose clock all times are on.
    view: Arc<View>,
    state: Mutex<State>,
}

struct State {
    phase: &'static str,
    unreachable: Unreachable,
    tallies: Tallies,
}

/// What was counted.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Tallies {
    pub(super) clients: Vec<(Manner, Tally)>,
    /// The first faults, in words.
    pub(super) faults: Vec<Fault>,
}

/// A request that went wrong.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fault {
    /// When it ended, in seconds on the clock of the events.
    pub(super) at: f64,
    /// What the script was doing when the request ended.
    pub(super) phase: &'static str,
    pub(super) manner: Manner,
    pub(super) what: String,
    pub(super) record: Record,
    /// What the routers have logged of it.
    pub(super) log: Vec<String>,
}

impl Load {
    pub(super) fn start(stage: &Stage, rate: u32, view: Arc<View>) -> Self {
        let habits = [Habit::NoCache, Habit::Ttl, Habit::AtLeast(stage.times.browser), Habit::Forever];
        let manners: Vec<Manner> = habits
            .into_iter()
            .flat_map(|habit| [false, true].map(|keeps_connections| Manner { habit, keeps_connections }))
            .collect();
        let clients = manners.iter().map(|manner| (*manner, Tally::default())).collect();
        let state = State {
            phase: "calm",
            unreachable: Unreachable::default(),
            tallies: Tallies { clients, faults: Vec::new() },
        };
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), view, state: Mutex::new(state) });
        let mut workers = JoinSet::new();
        for place in 0..stage.network.clients().len() {
            for (index, manner) in manners.iter().enumerate() {
                let client = stage.client(place);
                let resolver = Resolver::new(client.place.clone(), stage.dns()).with_habit(manner.habit);
                let kept = manner.keeps_connections.then(|| Arc::new(Kept::default()));
                let client = Client { resolver: Arc::new(resolver), kept, ..client };
                let worker = Worker { name: place * manners.len() + index, manner: index };
                workers.spawn(work(client, shared.clone(), worker, rate));
            }
        }
        Self { shared, workers }
    }

    /// What the script does from now on.
    pub(super) fn phase(&self, name: &'static str) {
        self.shared.lock().phase = name;
    }

    /// From now on, `node` does not answer anybody.
    pub(super) fn node_dies(&self, node: &str) {
        self.shared.lock().unreachable.dead.insert(node.to_owned(), None);
    }

    /// From now on, no router sends anybody to the node that died.
    pub(super) fn death_is_known(&self, node: &str) {
        let now = self.shared.view.elapsed();
        self.shared.lock().unreachable.dead.insert(node.to_owned(), Some(now));
    }

    /// From now on, `node` is on its way out; only those who never ask DNS again may find it gone.
    pub(super) fn node_leaves(&self, node: &str) {
        self.shared.lock().unreachable.left.insert(node.to_owned());
    }

    /// One line about the load so far.
    pub(super) fn status(&self) -> String {
        let state = self.shared.lock();
        let sum = |count: fn(&Tally) -> u64| state.tallies.clients.iter().map(|(_, tally)| count(tally)).sum::<u64>();
        format!(
            "{}: {} requests, {} redirected, {} passed over, {} failed",
            state.phase,
            sum(|tally| tally.requests),
            sum(|tally| tally.redirected),
            sum(|tally| tally.passed_over),
            sum(|tally| tally.failed)
        )
    }

    /// Lets running requests end, and returns the counts.
    pub(super) async fn stop(mut self) -> Tallies {
        self.shared.stop.store(true, Ordering::Relaxed);
        let end = async { while self.workers.join_next().await.is_some() {} };
        // Each request has limits of its own that are shorter.
        let _ = tokio::time::timeout(LAST_REQUESTS, end).await;
        self.shared.lock().tallies.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, index: usize, record: Record) {
        let now = self.view.elapsed();
        let (at, began) = (now.as_secs_f64(), now.saturating_sub(record.duration));
        let mut state = self.lock();
        let phase = state.phase;
        let manner = state.tallies.clients[index].0;
        let fault = fault(manner, &record, began, &state.unreachable);
        state.tallies.clients[index].1.add(&record, fault.as_ref());
        if let Some(tally::Fault::Failed(what)) = fault
            && state.tallies.faults.len() < MOST_FAULTS
        {
            state.tallies.faults.push(Fault { at, phase, manner, what, record, log: Vec::new() });
        }
    }
}

/// One client.
#[derive(Clone, Copy, Debug)]
struct Worker {
    /// No other has it.
    name: usize,
    /// Which of the manners it has.
    manner: usize,
}

async fn work(client: Client, shared: Arc<Shared>, worker: Worker, rate: u32) {
    let asks: Vec<(&Host, &str)> =
        HOSTS.iter().flat_map(|host| host.paths.iter().map(move |path| (host, *path))).collect();
    let mut clock = interval(Duration::from_secs(1) / rate);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Each begins elsewhere, so that no two walk the hosts in step.
    for (number, (host, path)) in asks.iter().cycle().skip(worker.manner * 3).enumerate() {
        clock.tick().await;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        // One look-up, every address of its answer, no second look-up: what a user agent does before it shows an error.
        let url = format!("{}://{}{path}?{}", host.scheme, host.name(), mark(worker.name, number));
        let call = Call { protocol: host.protocol, rounds: 0, ..Call::get(&url) };
        shared.add(worker.manner, client.fetch(&call).await);
    }
}

/// What no other request has in its URL, and no mark is the beginning of another: by it a request is found in the logs of the routers.
fn mark(worker: usize, number: usize) -> String {
    format!("request={worker:02}-{number:06}")
}

const LAST_REQUESTS: Duration = Duration::from_secs(60);
const MOST_FAULTS: usize = 100;
