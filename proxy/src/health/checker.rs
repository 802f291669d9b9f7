//! Runs the checks: plans flow in, endpoints go down and come up. One task for each check; what a check has found lives as
//! long as the check is in the plan, whatever else changes. Started by `main`.

use super::check::{CheckKind, Tally};
use super::plan::{CheckKey, Plan, Planned};
use super::probe::Probe;
use crate::balance::Random;
use crate::limits::CHECKS_AT_A_TIME;
use crate::metrics::Metrics;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Follows plans until there are no more.
pub(crate) async fn run(mut plans: watch::Receiver<Plan>, metrics: Metrics) {
    let tools = Arc::new(Tools { probe: Probe::new(), permits: Semaphore::new(CHECKS_AT_A_TIME), metrics });
    let mut running: HashMap<CheckKey, Running> = HashMap::new();
    loop {
        let plan = plans.borrow_and_update().clone();
        running.retain(|key, _| plan.contains_key(key));
        for (key, planned) in plan {
            match running.get(&key) {
                Some(known) => {
                    known.planned.send_if_modified(|known| {
                        let changed = !known.is_as(&planned);
                        *known = planned;
                        changed
                    });
                }
                None => {
                    let started = Running::start(key.kind.clone(), planned, Arc::clone(&tools));
                    running.insert(key, started);
                }
            }
        }
        if plans.changed().await.is_err() {
            return;
        }
    }
}

/// What all checks share.
struct Tools {
    probe: Probe,
    permits: Semaphore,
    metrics: Metrics,
}

/// A check that goes on while the value lives.
struct Running {
    planned: watch::Sender<Arc<Planned>>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(kind: CheckKind, planned: Arc<Planned>, tools: Arc<Tools>) -> Self {
        let (sender, receiver) = watch::channel(planned);
        Self { planned: sender, task: tokio::spawn(check(kind, receiver, tools)) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn check(kind: CheckKind, mut plans: watch::Receiver<Arc<Planned>>, tools: Arc<Tools>) {
    let (mut tally, mut random) = (Tally::default(), Random::fresh());
    let first = Arc::clone(&plans.borrow_and_update());
    let shown = Shown { kind: &kind, planned: Arc::clone(&first), metrics: &tools.metrics };
    tools.metrics.endpoint_up(&shown.labels(), true);
    // Checks that began together are spread over an interval, and drift apart from then on.
    sleep(first.interval.mul_f64(random.fraction())).await;
    loop {
        let planned = Arc::clone(&plans.borrow_and_update());
        // The semaphore is never closed.
        let permit = tools.permits.acquire().await;
        let passed = tools.probe.passes(&kind, &planned).await;
        drop(permit);
        if let Some(passed) = passed {
            tools.metrics.checked(kind.name(), passed);
        }
        if let Some(up) = passed.and_then(|passed| tally.note(passed)) {
            planned.tracked.health.set_checked(&kind, up);
            tracing::info!(
                service = %planned.service, pod = &*planned.pod, address = %planned.address, check = kind.name(),
                "the pod is {} by its checks", if up { "up" } else { "down" }
            );
        }
        tools.metrics.endpoint_up(&shown.labels(), tally.is_up());
        tokio::select! {
            () = sleep(planned.interval.mul_f64(0.9 + 0.2 * random.fraction())) => {}
            changed = plans.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// What others know of a check; forgotten with it, so that an endpoint that is not checked is not down.
struct Shown<'s> {
    kind: &'s CheckKind,
    planned: Arc<Planned>,
    metrics: &'s Metrics,
}

impl Shown<'_> {
    fn labels(&self) -> [String; 5] {
        let Planned { service, pod, address, .. } = &*self.planned;
        let path = self.kind.path.as_deref().unwrap_or_default();
        [service.namespace.to_string(), pod.to_string(), address.to_string(), self.kind.name().into(), path.into()]
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.planned.tracked.health.set_checked(self.kind, true);
        self.metrics.endpoint_forgotten(&self.labels());
    }
}
