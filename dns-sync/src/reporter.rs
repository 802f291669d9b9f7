//! Writes to the cluster what became of records: due reports flow in from [`report`](crate::report), a status of a
//! DNSEndpoint flows out for each. Started by `main` where the objects come from a cluster.

use crate::chance::chance;
use crate::desired::ObjectKey;
use crate::limits::CONCURRENT_REPORTS;
use crate::report::{Ended, Report, Reports, Statement};
use nearside_watch::object::DnsEndpointStatus;
use nearside_watch::{Kind, Observations, ObserveError};
use prometheus::IntCounterVec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

/// The reports of this process; who feeds it and who writes share one.
#[derive(Clone, Debug)]
pub struct SharedReports {
    reports: Arc<Mutex<Reports>>,
    changed: Arc<Notify>,
    epoch: Instant,
}

impl Default for SharedReports {
    fn default() -> Self {
        Self { reports: Arc::default(), changed: Arc::default(), epoch: Instant::now() }
    }
}

impl SharedReports {
    /// Reports that note which generations there are; see [`Reports::noted`].
    pub fn noting() -> Self {
        Self { reports: Arc::new(Mutex::new(Reports::noting())), ..Self::default() }
    }

    /// See [`Reports::noted`].
    pub(crate) fn noted(&self) -> BTreeMap<ObjectKey, Option<i64>> {
        self.lock().noted()
    }

    /// An object stands there; see [`Reports::saw`].
    pub(crate) fn saw(&self, key: ObjectKey, generation: i64, status: &DnsEndpointStatus) {
        self.lock().saw(key, generation, status);
        self.changed.notify_one();
    }

    /// An object is gone.
    pub(crate) fn gone(&self, key: &ObjectKey) {
        self.lock().gone(key);
    }

    /// These are all objects there are.
    pub(crate) fn reset(&self, keys: &BTreeSet<ObjectKey>) {
        self.lock().reset(keys);
    }

    /// What is to be said of every object: a function of its key and `metadata.generation`.
    pub(crate) fn statements(
        &self,
        statement: impl Fn(&ObjectKey, i64) -> Option<Statement>,
    ) -> BTreeMap<ObjectKey, Option<Statement>> {
        self.lock().generations().map(|(key, generation)| (key.clone(), statement(key, generation))).collect()
    }

    /// Says what is to be said of these objects.
    pub(crate) fn tell(&self, statements: BTreeMap<ObjectKey, Option<Statement>>) {
        let mut reports = self.lock();
        statements.into_iter().for_each(|(key, statement)| reports.tell(&key, statement));
        drop(reports);
        self.changed.notify_one();
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes for ever.
pub async fn run(shared: SharedReports, observations: Observations, written: IntCounterVec) {
    let mut writes: JoinSet<(Report, Result<DnsEndpointStatus, ObserveError>)> = JoinSet::new();
    let mut failures = 0_u32;
    loop {
        shared.lock().consider(shared.now(), chance);
        while writes.len() < CONCURRENT_REPORTS {
            let Some(report) = shared.lock().take(shared.now()) else { break };
            let observations = observations.clone();
            writes.spawn(async move {
                let key = nearside_watch::ObjectKey::new(Kind::DnsEndpoint, &report.key.namespace, &report.key.name);
                let outcome = observations.record(&key, &report.observation).await;
                (report, outcome)
            });
        }
        let next = if writes.len() < CONCURRENT_REPORTS { shared.lock().next(shared.now()) } else { None };
        tokio::select! {
            () = shared.changed.notified() => {}
            Some(Ok((report, outcome))) = writes.join_next(), if !writes.is_empty() => {
                written.with_label_values(&[word(&outcome)]).inc();
                let ended = match outcome {
                    Ok(status) => Ended::Done(status),
                    // Whatever is newer comes by the watch.
                    Err(ObserveError::Outdated { .. }) => Ended::Failed,
                    Err(error) => {
                        failures = failures.saturating_add(1);
                        if failures.is_power_of_two() {
                            warn!(failures, "{error}");
                        }
                        Ended::Failed
                    }
                };
                shared.lock().ended(&report, ended, shared.now());
            }
            () = tokio::time::sleep_until(shared.epoch + next.unwrap_or_default()), if next.is_some() => {}
        }
    }
}

fn word(outcome: &Result<DnsEndpointStatus, ObserveError>) -> &'static str {
    match outcome {
        Ok(_) => "written",
        Err(ObserveError::Outdated { .. }) => "outdated",
        Err(ObserveError::Forbidden { .. } | ObserveError::Failed { .. }) => "failed",
    }
}
