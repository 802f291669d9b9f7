//! The reconciler: desired content and the word whether this process leads flow in, writes flow out. It compares each
//! desired with the one before, writes what differs with bounded concurrency, and tries again what failed. A follower
//! keeps the desired up to date and writes nothing.

mod queue;

use crate::desired::{Desired, Intent, Target};
use crate::limits::{CONCURRENT_WRITES, DRAIN, REFRESH, REMEMBER_WITHDRAWN};
use crate::metrics::Metrics;
use crate::writer::{WriteError, Writer, Written};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use nearside_admin::Shutdown;
use queue::Queue;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Counts the times a process has become leader; `None` while it is not.
pub(crate) type Term = Option<u64>;

/// See the module head.
pub(crate) struct Reconciler {
    writer: Arc<Writer>,
    metrics: Metrics,
    desired: Arc<Desired>,
    synced: bool,
    /// What left our scope and has not been withdrawn yet, as it was last and since when.
    withdrawn: BTreeMap<Target, (Arc<Intent>, Instant)>,
    term: Term,
    /// Whether the DNSEndpoints that exist have been listed in this term; before, none is written.
    refreshed: bool,
    queue: Queue<Job>,
    in_flight: FuturesUnordered<BoxFuture<'static, (Job, Outcome)>>,
    epoch: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Job {
    /// List what of ours exists.
    Refresh,
    Write(Target),
}

enum Outcome {
    Refreshed(Result<Vec<Target>, WriteError>),
    Wrote(Result<Written, WriteError>),
}

impl Reconciler {
    pub(crate) fn new(writer: Arc<Writer>, metrics: Metrics) -> Self {
        Self {
            writer,
            metrics,
            desired: Arc::default(),
            synced: false,
            withdrawn: BTreeMap::new(),
            term: None,
            refreshed: false,
            queue: Queue::default(),
            in_flight: FuturesUnordered::new(),
            epoch: Instant::now(),
        }
    }

    /// Runs until the end is asked for, then lets the writes in flight end.
    pub(crate) async fn run(
        mut self,
        mut desired: watch::Receiver<Option<Arc<Desired>>>,
        mut term: watch::Receiver<Term>,
        shutdown: Shutdown,
    ) {
        loop {
            self.dispatch();
            let due = self.queue.next_due().filter(|_| self.term.is_some());
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                Ok(()) = term.changed() => {
                    let term = *term.borrow_and_update();
                    self.begin_term(term);
                }
                Some((job, outcome)) = self.in_flight.next(), if !self.in_flight.is_empty() => self.finish(&job, outcome),
                Ok(()) = desired.changed() => {
                    let next = desired.borrow_and_update().clone();
                    if let Some(next) = next {
                        self.adopt(next);
                    }
                }
                () = tokio::time::sleep_until(self.epoch + due.unwrap_or_default()), if due.is_some() => {}
            }
        }
        let drained = async {
            while let Some((job, outcome)) = self.in_flight.next().await {
                self.finish(&job, outcome);
            }
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("writes were still in flight at the end; the next leader compares and completes them");
        }
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Whatever the former term had in flight is abandoned: another process may lead by now.
    fn begin_term(&mut self, term: Term) {
        self.in_flight.clear();
        self.queue.clear();
        self.refreshed = false;
        self.term = term;
        self.writer.forget();
        if self.synced {
            self.mark_everything();
        }
    }

    fn mark_everything(&mut self) {
        if self.term.is_none() {
            return;
        }
        self.queue.mark(Job::Refresh);
        let desired = Arc::clone(&self.desired);
        let withdrawn: Vec<Target> = self.withdrawn.keys().cloned().collect();
        for target in desired.intents.keys().cloned().chain(withdrawn) {
            self.mark(target);
        }
    }

    fn mark(&mut self, target: Target) {
        let known = self.refreshed || matches!(target, Target::Status(_));
        if self.term.is_some() && known {
            self.queue.mark(Job::Write(target));
        }
    }

    /// Marks what differs between two snapshots. Nothing is withdrawn before a first snapshot that is in sync.
    fn adopt(&mut self, next: Arc<Desired>) {
        let before = std::mem::replace(&mut self.desired, Arc::clone(&next));
        let first = !std::mem::replace(&mut self.synced, true);
        if first {
            self.mark_everything();
            return;
        }
        let now = Instant::now();
        for (target, intent) in &before.intents {
            if !next.intents.contains_key(target) {
                self.withdrawn.insert(target.clone(), (Arc::clone(intent), now));
                self.mark(target.clone());
            }
        }
        for (target, intent) in &next.intents {
            self.withdrawn.remove(target);
            if before.intents.get(target) != Some(intent) {
                self.mark(target.clone());
            }
        }
        if self.term.is_none() {
            self.withdrawn.retain(|_, (_, since)| now.duration_since(*since) < REMEMBER_WITHDRAWN);
        }
    }

    fn dispatch(&mut self) {
        if self.term.is_none() || !self.synced {
            return;
        }
        while self.in_flight.len() < CONCURRENT_WRITES {
            let Some(job) = self.queue.take(self.now()) else { return };
            let work = self.work(job);
            self.in_flight.push(work);
        }
    }

    fn work(&self, job: Job) -> BoxFuture<'static, (Job, Outcome)> {
        let writer = Arc::clone(&self.writer);
        let (intent, previous) = match &job {
            Job::Refresh => (None, None),
            Job::Write(target) => (
                self.desired.intents.get(target).map(Arc::clone),
                self.withdrawn.get(target).map(|(intent, _)| Arc::clone(intent)),
            ),
        };
        Box::pin(async move {
            let outcome = match &job {
                Job::Refresh => Outcome::Refreshed(writer.refresh().await),
                Job::Write(target) => {
                    Outcome::Wrote(writer.write(target, intent.as_deref(), previous.as_deref()).await)
                }
            };
            (job, outcome)
        })
    }

    fn finish(&mut self, job: &Job, outcome: Outcome) {
        match (job, outcome) {
            (Job::Write(target), Outcome::Wrote(Ok(written))) => {
                self.queue.succeeded(job);
                self.metrics.wrote(target.kind(), written.as_str());
                if let Written::Contended(pause) = written {
                    self.queue.mark_at(job.clone(), self.now() + pause);
                    return;
                }
                if !self.desired.intents.contains_key(target) {
                    self.withdrawn.remove(target);
                }
            }
            (_, Outcome::Refreshed(Ok(existing))) => {
                self.queue.succeeded(job);
                self.queue.mark_at(Job::Refresh, self.now() + REFRESH);
                self.refreshed = true;
                let desired = Arc::clone(&self.desired);
                let wanted = desired.intents.keys().filter(|target| matches!(target, Target::DnsEndpoint(_))).cloned();
                for target in wanted.chain(existing) {
                    self.mark(target);
                }
            }
            (Job::Write(target), Outcome::Wrote(Err(error))) => {
                self.metrics.wrote(target.kind(), error.word());
                self.retry(job, &error);
            }
            (_, Outcome::Refreshed(Err(error))) => self.retry(job, &error),
            // A job gives the outcome of its own kind.
            (Job::Refresh, Outcome::Wrote(_)) => {}
        }
    }

    fn retry(&mut self, job: &Job, error: &WriteError) {
        let chance = f64::from((RandomState::new().hash_one(job) >> 32) as u32) / f64::from(u32::MAX);
        let failures = self.queue.failed(job, self.now(), chance);
        // A conflict is everyday life; anything else is told when it begins, and then seldom.
        if !error.is_conflict() && failures.is_power_of_two() {
            tracing::warn!(%error, failures, "not written; trying again");
        }
    }
}
