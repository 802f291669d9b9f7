//! The load of a soak: requests begin at a constant rate, however long the earlier ones take, from a client that remembers nothing; what
//! is wrong with any answer flows out as a line.

use super::TENANTS;
use crate::stage::Stage;
use nearside_loadtest::client::{Call, Record};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tenant {
    pub(super) namespace: &'static str,
    /// Its Service; its pods are called so, with a number.
    pub(super) app: &'static str,
    pub(super) host: &'static str,
}

pub(super) struct Load {
    ended: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Load {
    pub(super) fn start(stage: &Stage) -> Self {
        let (ended, count, failures) =
            (Arc::default(), Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (client, began) = (stage.client(), Instant::now());
        let task = tokio::spawn({
            let (ended, count, failures) = (Arc::clone(&ended), Arc::clone(&count), Arc::clone(&failures));
            async move {
                let mut ticks = interval(PACE);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let mut under_way = JoinSet::new();
                for number in 0_usize.. {
                    ticks.tick().await;
                    if AtomicBool::load(&ended, Ordering::Relaxed) {
                        break;
                    }
                    let (client, failures) = (client.clone(), Arc::clone(&failures));
                    let tenant = TENANTS[number % TENANTS.len()];
                    let size = SIZES[number % SIZES.len()];
                    count.fetch_add(1, Ordering::Relaxed);
                    under_way.spawn(async move {
                        let at = began.elapsed();
                        let record = client.fetch(&Call::get(&format!("http://{}/media/{size}", tenant.host))).await;
                        if let Some(fault) = fault(&record, tenant, size) {
                            let line = format!("{:8.2} s: {fault}: {record:?}", at.as_secs_f64());
                            failures.lock().unwrap().push(line);
                        }
                    });
                    while under_way.try_join_next().is_some() {}
                }
                under_way.join_all().await;
            }
        });
        Self { ended, count, failures, task }
    }

    /// How many requests there were, and what was wrong with which.
    pub(super) async fn stop(self) -> (usize, Vec<String>) {
        self.ended.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let failures = std::mem::take(&mut *self.failures.lock().unwrap());
        (self.count.load(Ordering::Relaxed), failures)
    }
}

/// What is wrong with an answer.
fn fault(record: &Record, tenant: Tenant, size: u64) -> Option<&'static str> {
    let own = record.pod.as_deref().is_some_and(|pod| pod.starts_with(tenant.app));
    match record {
        _ if record.failure.is_some() => Some("no answer"),
        _ if record.status != Some(200) => Some("another status"),
        _ if !own => Some("the answer of another tenant"),
        _ if record.bytes != size => Some("a part of the answer"),
        _ if !record.by_own_node() => Some("the answer of another node"),
        _ if !record.retries.is_empty() => Some("not at the first try"),
        _ => None,
    }
}

/// Between the beginnings of two requests.
const PACE: Duration = Duration::from_millis(20);
/// Bytes of answers: copied ones, and those that are moved in the kernel.
const SIZES: [u64; 3] = [2_000, 90_000, 400_000];
