//! Workers that ask a proxy without a pause, and what it used while they did: a worker and their number come in, what they achieved in
//! a window of time and the processor time of the proxy in the same window come out. The window begins within a bounded time, whatever
//! the proxy does; how far clients and buffers were by then is part of what comes out. Called by the groups that measure closed loops.

use super::backend::Traffic;
use super::client::{Answer, Connection, Sink, Target, Transport};
use super::peers::Running;
use crate::bench::usage::Processor;
use anyhow::{Context as _, Result, bail, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// What one worker counts. It is served from the first byte on.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) bytes: AtomicU64,
    /// What was finished.
    pub(super) done: AtomicU64,
    is_connected: AtomicBool,
    /// Whether workers are to ask.
    gate: watch::Receiver<bool>,
}

/// What happened in a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) bytes: u64,
    pub(super) done: u64,
    pub(super) processor: Duration,
    pub(super) took: Duration,
    /// Clients to which nothing came in the window.
    pub(super) unserved: u32,
    /// What the pod sent in the window to what came to clients: above 1 while buffers on the way fill.
    pub(super) sent: f64,
}

/// What a window must hold to say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Bytes,
    Finished,
}

/// How a load is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load<'a> {
    pub(super) running: &'a Running,
    pub(super) workers: u32,
    pub(super) window: Duration,
    pub(super) counted: Counted,
}

/// The workers of a load and what they have counted.
struct Workers {
    counters: Vec<Arc<Counters>>,
    tasks: JoinSet<Result<()>>,
}

/// Sums up to a moment.
#[derive(Clone, Debug)]
struct Seen {
    bytes: u64,
    done: u64,
    sent: u64,
}

impl Load<'_> {
    /// Lets workers connect, and then run until all are served and the pod sends no more than what comes to clients, or as long as is
    /// allowed, and then measures.
    pub(super) async fn measure<F>(self, worker: impl Fn(Target, Arc<Counters>) -> F) -> Result<Measured>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (go, gate) = watch::channel(false);
        let mut workers = Workers { counters: Vec::new(), tasks: JoinSet::new() };
        for _ in 0..self.workers {
            let counters = Arc::new(Counters::new(gate.clone()));
            workers.tasks.spawn(worker(self.running.target.clone(), Arc::clone(&counters)));
            workers.counters.push(counters);
        }
        let deadline = Instant::now() + MOST_RAMP;
        while Instant::now() < deadline && !workers.are_connected() {
            workers.pause(POLL).await?;
        }
        go.send_replace(true);
        let deadline = Instant::now() + MOST_RAMP;
        while Instant::now() < deadline && workers.unserved(None) > 0 {
            workers.pause(POLL).await?;
        }
        self.settle(&mut workers).await?;
        let before = workers.bytes();
        let (begin, used, first) =
            (Instant::now(), Processor::of(self.running.process)?, workers.seen(&self.running.pod));
        let is_over = |seen: &Seen| {
            let something = match self.counted {
                Counted::Bytes => seen.bytes > first.bytes,
                Counted::Finished => seen.done > first.done,
            };
            begin.elapsed() >= self.window && (something || begin.elapsed() >= PATIENCE)
        };
        let mut last = first.clone();
        while !is_over(&last) && last.bytes - first.bytes < MOST_BYTES {
            workers.pause(POLL.min(self.window)).await?;
            last = workers.seen(&self.running.pod);
        }
        let took = begin.elapsed();
        let processor = Processor::of(self.running.process)?.since(&used);
        let unserved = workers.unserved(Some(&before));
        workers.tasks.shutdown().await;
        // What a proxy does about the clients that have left is over before the next one is measured.
        let deadline = Instant::now() + MOST_DRAIN;
        while Instant::now() < deadline && self.running.pod.under_way() > 0 {
            sleep(POLL).await;
        }
        sleep(SETTLE).await;
        ensure!(!processor.is_zero(), "no processor time was used");
        let bytes = last.bytes - first.bytes;
        Ok(Measured {
            bytes,
            done: last.done - first.done,
            processor,
            took,
            unserved,
            sent: (last.sent - first.sent) as f64 / bytes.max(1) as f64,
        })
    }

    /// Waits for a part of the window, and for more of them while buffers between pod and clients still fill: what a proxy does for
    /// bytes that have come to nobody would otherwise be charged to those that have.
    async fn settle(self, workers: &mut Workers) -> Result<()> {
        for _ in 0..MOST_PARTS {
            let first = workers.seen(&self.running.pod);
            workers.pause(self.window / PART).await?;
            let last = workers.seen(&self.running.pod);
            if (last.sent - first.sent) as f64 <= (last.bytes - first.bytes) as f64 * (1.0 + UNEVEN) {
                break;
            }
        }
        Ok(())
    }
}

impl Counters {
    fn new(gate: watch::Receiver<bool>) -> Self {
        let (bytes, done, is_connected) = Default::default();
        Self { bytes, done, is_connected, gate }
    }

    /// Waits until the others are connected, too, so that none is served while others still make handshakes.
    pub(super) async fn connected(&self) {
        self.is_connected.store(true, Ordering::Relaxed);
        // Whoever opens the gate is there for as long as the workers are.
        drop(self.gate.clone().wait_for(|open| *open).await);
    }
}

impl Workers {
    fn are_connected(&self) -> bool {
        self.counters.iter().all(|counters| counters.is_connected.load(Ordering::Relaxed))
    }

    fn bytes(&self) -> Vec<u64> {
        self.counters.iter().map(|counters| counters.bytes.load(Ordering::Relaxed)).collect()
    }

    fn seen(&self, pod: &Traffic) -> Seen {
        let done = self.counters.iter().map(|counters| counters.done.load(Ordering::Relaxed)).sum();
        Seen { bytes: self.bytes().iter().sum(), done, sent: pod.sent() }
    }

    /// Those to which nothing has come, ever or since they had so much.
    fn unserved(&self, before: Option<&[u64]>) -> u32 {
        let had = |worker: usize| before.and_then(|before| before.get(worker)).copied().unwrap_or_default();
        let nothing = self.bytes().into_iter().enumerate().filter(|(worker, bytes)| *bytes <= had(*worker));
        u32::try_from(nothing.count()).unwrap_or(u32::MAX)
    }

    /// Waits, and fails with the first worker that does.
    async fn pause(&mut self, length: Duration) -> Result<()> {
        match timeout(length, self.tasks.join_next()).await {
            Err(_) => Ok(()),
            Ok(Some(Ok(ended))) => ended.and_then(|()| bail!("a client has ended")),
            Ok(Some(Err(panic))) => Err(panic).context("a client has failed"),
            Ok(None) => bail!("there are no clients"),
        }
    }
}

/// How long one measurement with so many clients takes, mostly.
pub(super) fn expected(window: Duration, workers: u32) -> Duration {
    window + window / PART + SETTLE + SETUP + SETUP_EACH * workers
}

/// A worker that fetches an object again and again over one connection, and connects anew where the proxy has closed it.
pub(super) async fn fetch(target: Target, transport: Transport, bytes: u64, counters: Arc<Counters>) -> Result<()> {
    fetch_of(Arc::new([target]), 0, transport, bytes, counters).await
}

/// The same from one host after the other, beginning with the one at a place.
pub(super) async fn fetch_of(
    targets: Arc<[Target]>,
    first: usize,
    transport: Transport,
    bytes: u64,
    counters: Arc<Counters>,
) -> Result<()> {
    let first = first % targets.len();
    let mut connection = Connection::open(&targets[first], transport).await?;
    counters.connected().await;
    for target in targets.iter().cycle().skip(first) {
        if targets.len() > 1 {
            connection.set_host(&target.host);
        }
        match connection.get(bytes, Sink::Count(&counters.bytes)).await? {
            Answer::Whole => {
                counters.done.fetch_add(1, Ordering::Relaxed);
                // Answers that are always there already would keep the others from their turn.
                tokio::task::consume_budget().await;
            }
            Answer::Closed => connection = Connection::open(target, transport).await?,
        }
    }
    Ok(())
}

const POLL: Duration = Duration::from_millis(10);
const SETTLE: Duration = Duration::from_millis(60);
/// Clients have so long to connect, and as long again to be served; a window begins at the latest [`MOST_PARTS`] parts of its length
/// after that, ...
const MOST_RAMP: Duration = Duration::from_secs(4);
/// ... is so much longer where nothing has come in it, ...
const PATIENCE: Duration = Duration::from_secs(20);
/// ... and ends early when so much has come.
const MOST_BYTES: u64 = 16_000_000_000;
/// The proxy's connections to the pod are waited for at its end.
const MOST_DRAIN: Duration = Duration::from_secs(2);
/// What the beginning and the end take, mostly, and for each client.
const SETUP: Duration = Duration::from_millis(100);
const SETUP_EACH: Duration = Duration::from_millis(5);
/// Of a window.
const PART: u32 = 4;
const MOST_PARTS: u32 = 12;
/// Of what comes to clients.
const UNEVEN: f64 = 0.05;
