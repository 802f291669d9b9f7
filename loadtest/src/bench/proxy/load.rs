//! Workers that ask a proxy without a pause, and what it used while they did: a worker and their number come in, what they achieved in
//! a window of time and the processor time of the proxy in the same window come out. Called by the groups that measure closed loops.

use super::client::{Answer, Connection, Sink, Target, Transport};
use super::peers::Running;
use crate::bench::usage::Processor;
use anyhow::{Context as _, Result, bail, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// What workers count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Workers that have something under way.
    pub(super) ready: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// What was finished.
    pub(super) done: AtomicU64,
}

/// What happened in a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) bytes: u64,
    pub(super) done: u64,
    pub(super) processor: Duration,
    pub(super) took: Duration,
}

/// Lets workers run until all are under way and a moment longer, and then measures.
pub(super) async fn measure<F>(
    running: &Running,
    workers: u32,
    window: Duration,
    worker: impl Fn(Target, Arc<Counters>) -> F,
) -> Result<Measured>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let counters = Arc::new(Counters::default());
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        tasks.spawn(worker(running.target.clone(), Arc::clone(&counters)));
    }
    let deadline = Instant::now() + PATIENCE;
    while counters.ready.load(Ordering::Relaxed) < u64::from(workers) {
        ensure!(Instant::now() < deadline, "not every client is served after {PATIENCE:?}");
        pause(&mut tasks, POLL).await?;
    }
    pause(&mut tasks, window / 4).await?;
    let read = || (counters.bytes.load(Ordering::Relaxed), counters.done.load(Ordering::Relaxed));
    let (begin, used, (bytes, done)) = (Instant::now(), Processor::of(running.process)?, read());
    // A window in which nothing was finished says nothing, so it ends with the first that is.
    let is_over = || begin.elapsed() >= window && (read().1 > done || begin.elapsed() >= PATIENCE);
    while !is_over() && read().0 - bytes < MOST_BYTES {
        pause(&mut tasks, POLL.min(window)).await?;
    }
    let (took, (bytes_then, done_then)) = (begin.elapsed(), read());
    let processor = Processor::of(running.process)?.since(&used);
    tasks.shutdown().await;
    // What a proxy does about the clients that have left is over before the next one is measured.
    sleep(SETTLE).await;
    ensure!(!processor.is_zero(), "no processor time was used");
    Ok(Measured { bytes: bytes_then - bytes, done: done_then - done, processor, took })
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
    counters.ready.fetch_add(1, Ordering::Relaxed);
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

/// Waits, and fails with the first worker that does.
async fn pause(tasks: &mut JoinSet<Result<()>>, length: Duration) -> Result<()> {
    match timeout(length, tasks.join_next()).await {
        Err(_) => Ok(()),
        Ok(Some(Ok(ended))) => ended.and_then(|()| bail!("a client has ended")),
        Ok(Some(Err(panic))) => Err(panic).context("a client has failed"),
        Ok(None) => bail!("there are no clients"),
    }
}

const POLL: Duration = Duration::from_millis(10);
const SETTLE: Duration = Duration::from_millis(60);
const PATIENCE: Duration = Duration::from_secs(60);
/// A window ends early when so much has come.
const MOST_BYTES: u64 = 16_000_000_000;
