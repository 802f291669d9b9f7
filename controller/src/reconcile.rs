//! The reconciler: desired content and the word whether this process leads flow in, writes flow out. It compares each
//! desired with the one before, writes what differs with bounded concurrency and at a bounded rate, and tries again what
//! failed. A follower keeps the desired up to date and writes nothing.

mod pace;
mod queue;

pub(crate) use queue::Class;

use crate::desired::{Desired, DnsEndpointIntent, Intent, Records, Target};
use crate::limits::{
    CONCURRENT_STATUS_WRITES, CONCURRENT_WRITES, DRAIN, RECORDS_BURST, RECORDS_PER_SECOND, REMEMBER_WITHDRAWN,
    STATUS_BURST, STATUS_PER_SECOND,
};
use crate::metrics::Metrics;
use crate::writer::{WriteError, Writer, Written};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use nearside_admin::Shutdown;
use nearside_routing::placement::dns_endpoint_name;
use nearside_routing::published::DnsRecords;
use nearside_routing::{Kind, ObjectKey};
use nearside_watch::Trust;
use pace::Pace;
use queue::{Lane, Queue};
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
    records_pace: Pace,
    status_pace: Pace,
    in_flight: FuturesUnordered<BoxFuture<'static, (Job, Outcome)>>,
    epoch: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Job {
    /// List what of ours exists.
    Refresh,
    Write(Target),
    /// Look for entries of ours in Routes that are not ours any more.
    Sweep,
}

enum Outcome {
    Refreshed(Result<Vec<Target>, WriteError>),
    Swept(Result<Vec<ObjectKey>, WriteError>),
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
            records_pace: Pace::new(RECORDS_PER_SECOND, RECORDS_BURST),
            status_pace: Pace::new(STATUS_PER_SECOND, STATUS_BURST),
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
            let due = self.next_due();
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
        self.queue.mark(Job::Refresh, of_everything(Class::Records));
        self.queue.mark(Job::Sweep, of_everything(Class::Status));
        let desired = Arc::clone(&self.desired);
        let withdrawn: Vec<Target> = self.withdrawn.keys().cloned().collect();
        for target in desired.intents.keys().cloned().chain(withdrawn) {
            self.mark(target);
        }
    }

    fn mark(&mut self, target: Target) {
        let known = self.refreshed || matches!(target, Target::Status(_));
        // What is absent may exist where a kind cannot be read.
        let may = self.desired.trust == Trust::Live || self.desired.intents.contains_key(&target);
        if self.term.is_some() && known && may {
            let lane = self.lane(&target);
            self.queue.mark(Job::Write(target), lane);
        }
    }

    /// Marks what differs between two snapshots. Nothing is withdrawn before a first snapshot that is in sync.
    fn adopt(&mut self, next: Arc<Desired>) {
        // Of the past: it is shown and served, never written.
        if next.trust == Trust::Stale {
            return;
        }
        let before = std::mem::replace(&mut self.desired, Arc::clone(&next));
        let first = !std::mem::replace(&mut self.synced, true);
        if first {
            self.mark_everything();
            return;
        }
        if before.trust != next.trust {
            self.mark_everything();
        }
        let now = Instant::now();
        for changed in next.intents.changes_since(&before.intents) {
            match changed.before.filter(|_| changed.after.is_none()) {
                Some(intent) => drop(self.withdrawn.insert(changed.key.clone(), (Arc::clone(intent), now))),
                None => drop(self.withdrawn.remove(changed.key)),
            }
            self.mark(changed.key.clone());
        }
        self.repair(&before, &next);
        if self.term.is_none() {
            self.withdrawn.retain(|_, (_, since)| now.duration_since(*since) < REMEMBER_WITHDRAWN);
        }
    }

    /// Marks the DNSEndpoints that have become other than they should be: somebody else has written or deleted them, or a
    /// former leader, late.
    fn repair(&mut self, before: &Desired, next: &Desired) {
        if self.term.is_none() {
            return;
        }
        for changed in next.dns.hosts.changes_since(&before.dns.hosts) {
            let target = Target::DnsEndpoint(dns_endpoint_name(changed.key));
            let stands = changed.after.map(|records| &records.spec);
            let is_right = match next.intents.get(&target).map(AsRef::as_ref) {
                Some(Intent::DnsEndpoint(DnsEndpointIntent { records: Records::Publish { spec, .. }, .. })) => {
                    stands == Some(spec)
                }
                Some(_) => true,
                None => stands.is_none(),
            };
            // A publisher that tells what it has taken, or why not, makes a new version of the object: a write that is based on the one
            // before would be refused.
            let told = |records: &Arc<DnsRecords>| (records.observed, records.conditions.clone());
            let told = changed.before.map(told) != changed.after.map(told);
            if told || !is_right {
                self.writer.distrust(&target);
            }
            if !is_right {
                self.mark(target);
            }
        }
    }

    /// Whose turn a write takes.
    fn lane(&self, target: &Target) -> Lane {
        let intent =
            || self.desired.intents.get(target).or_else(|| self.withdrawn.get(target).map(|(intent, _)| intent));
        match target {
            Target::DnsEndpoint(_) => {
                let owner = intent().and_then(|intent| intent.owner());
                Lane { class: Class::Records, namespace: owner.unwrap_or_default() }
            }
            Target::Status(key) => Lane { class: Class::Status, namespace: (&*key.namespace).into() },
        }
    }

    /// When there is something to do that nothing else announces.
    fn next_due(&self) -> Option<Duration> {
        self.term?;
        let paces = [(Class::Records, &self.records_pace), (Class::Status, &self.status_pace)];
        let closed =
            paces.into_iter().filter(|(class, _)| self.queue.has_ready(*class)).map(|(_, pace)| pace.opens_at());
        // With all places taken the end of a write comes first.
        let closed = closed.min().filter(|_| self.in_flight.len() < CONCURRENT_WRITES);
        self.queue.next_due().into_iter().chain(closed).min()
    }

    fn dispatch(&mut self) {
        if self.term.is_none() || !self.synced {
            return;
        }
        let now = self.now();
        while self.in_flight.len() < CONCURRENT_WRITES {
            let records = self.records_pace.is_open(now);
            let status =
                self.status_pace.is_open(now) && self.queue.in_flight(Class::Status) < CONCURRENT_STATUS_WRITES;
            let open = |class| match class {
                Class::Records => records,
                Class::Status => status,
            };
            let Some(job) = self.queue.take(now, open) else { return };
            let work = self.work(job);
            self.in_flight.push(work);
        }
    }

    fn work(&self, job: Job) -> BoxFuture<'static, (Job, Outcome)> {
        let writer = Arc::clone(&self.writer);
        let (intent, previous) = match &job {
            Job::Refresh | Job::Sweep => (None, None),
            Job::Write(target) => (
                self.desired.intents.get(target).map(Arc::clone),
                self.withdrawn.get(target).map(|(intent, _)| Arc::clone(intent)),
            ),
        };
        Box::pin(async move {
            let outcome = match &job {
                Job::Refresh => Outcome::Refreshed(writer.refresh().await),
                Job::Sweep => Outcome::Swept(writer.stale().await),
                Job::Write(target) => {
                    Outcome::Wrote(writer.write(target, intent.as_deref(), previous.as_deref()).await)
                }
            };
            (job, outcome)
        })
    }

    fn finish(&mut self, job: &Job, outcome: Outcome) {
        let now = self.now();
        self.records_pace.spend(self.writer.take_sent(Class::Records), now);
        self.status_pace.spend(self.writer.take_sent(Class::Status), now);
        let error = match outcome {
            Outcome::Wrote(Err(error)) | Outcome::Refreshed(Err(error)) | Outcome::Swept(Err(error)) => error,
            Outcome::Wrote(Ok(written)) => return self.wrote(job, written),
            Outcome::Refreshed(Ok(existing)) => {
                self.queue.succeeded(job);
                self.queue.mark_at(Job::Refresh, of_everything(Class::Records), now + self.writer.refresh_period());
                self.refreshed = true;
                let desired = Arc::clone(&self.desired);
                let wanted = desired.intents.keys().filter(|target| matches!(target, Target::DnsEndpoint(_))).cloned();
                for target in wanted.chain(existing) {
                    self.mark(target);
                }
                return;
            }
            Outcome::Swept(Ok(signed)) => {
                self.queue.succeeded(job);
                return self.withdraw_stale(signed);
            }
        };
        if let Job::Write(target) = job {
            self.metrics.wrote(target.kind(), error.word());
        }
        self.retry(job, &error);
    }

    fn wrote(&mut self, job: &Job, written: Written) {
        let lane = self.queue.succeeded(job);
        let Job::Write(target) = job else { return };
        self.metrics.wrote(target.kind(), written.as_str());
        if let Written::Contended(pause) = written {
            let lane = lane.unwrap_or_else(|| self.lane(target));
            self.queue.mark_at(job.clone(), lane, self.now() + pause);
        } else if !self.desired.intents.contains_key(target) {
            self.withdrawn.remove(target);
        }
    }

    /// Takes our entry from Routes that are not ours. Where not a single Route is, it is more likely that they cannot be read
    /// than that all of them have left.
    fn withdraw_stale(&mut self, signed: Vec<ObjectKey>) {
        let is_route = |target: &Target| matches!(target, Target::Status(key) if key.kind == Kind::Route);
        let targets: Vec<Target> = signed.into_iter().map(Target::Status).collect();
        let stale = |target: &&Target| !self.desired.intents.contains_key(*target);
        let stale: Vec<Target> = targets.iter().filter(stale).cloned().collect();
        if stale.is_empty() {
            return;
        }
        if !self.desired.intents.keys().any(is_route) {
            tracing::warn!(
                routes = stale.len(),
                "Routes have an entry of this router although none is in its scope; the entries stay"
            );
            return;
        }
        tracing::info!(routes = stale.len(), "removing our entry from Routes that have left the scope of this router");
        stale.into_iter().for_each(|target| self.mark(target));
    }

    fn retry(&mut self, job: &Job, error: &WriteError) {
        let chance = f64::from((RandomState::new().hash_one(job) >> 32) as u32) / f64::from(u32::MAX);
        let now = self.now();
        let earliest = error.pause().map_or(now, |pause| now + pause);
        match job {
            Job::Refresh | Job::Write(Target::DnsEndpoint(_)) => self.records_pace.close_until(earliest),
            Job::Sweep | Job::Write(Target::Status(_)) => self.status_pace.close_until(earliest),
        }
        let failures = self.queue.failed(job, now, earliest, chance);
        // A conflict is everyday life; anything else is told when it begins, and then seldom.
        if !error.is_conflict() && failures.is_power_of_two() {
            tracing::warn!(%error, failures, "not written; trying again");
        }
    }
}

fn of_everything(class: Class) -> Lane {
    Lane { class, namespace: Arc::default() }
}
