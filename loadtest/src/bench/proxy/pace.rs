//! An open loop: a rate comes in, requests are due at even distances whether earlier ones were answered or not, and how long each took
//! from the moment at which it was due comes out. A thread of its own keeps the time, since the runtime's clock is too coarse. Called
//! by `answers` and `tables`.

use super::client::{Answer, Connection, Sink, Target, Transport};
use super::cores::Cores;
use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinSet;

/// Requests that go on until the value is dropped.
#[derive(Debug)]
pub(super) struct Pace {
    seen: Arc<Seen>,
    over: Arc<AtomicBool>,
    tasks: JoinSet<Result<()>>,
}

/// What was answered.
#[derive(Debug, Default)]
struct Seen {
    /// Of each request, in microseconds, since they were last taken.
    latencies: Mutex<Vec<f64>>,
    bytes: AtomicU64,
}

impl Pace {
    /// Asks at `rate` a second over `connections` kept connections, for one host after the other.
    pub(super) async fn start(
        targets: &[Target],
        transport: Transport,
        bytes: u64,
        rate: u32,
        connections: u32,
        cores: Cores,
    ) -> Result<Self> {
        let (due, waiting) = mpsc::unbounded_channel();
        let waiting = Arc::new(AsyncMutex::new(waiting));
        let (seen, over) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for number in 0..connections {
            let targets: Vec<Target> =
                targets.iter().skip(number as usize % targets.len()).step_by(STEP).cloned().collect();
            let connection = Connection::open(&targets[0], transport).await?;
            let (waiting, seen) = (Arc::clone(&waiting), Arc::clone(&seen));
            tasks.spawn(work(targets, connection, transport, bytes, waiting, seen));
        }
        let ended = Arc::clone(&over);
        thread::Builder::new().name("pace".into()).spawn(move || -> Result<()> {
            Cores::bind(cores.client)?;
            let interval = Duration::from_secs(1) / rate;
            let mut next = Instant::now();
            while !ended.load(Ordering::Relaxed) && due.send(next).is_ok() {
                next += interval;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(())
        })?;
        Ok(Self { seen, over, tasks })
    }

    /// The latencies since the last call, in microseconds.
    pub(super) fn take(&mut self) -> Result<Vec<f64>> {
        if let Some(ended) = self.tasks.try_join_next() {
            ended??;
        }
        Ok(std::mem::take(&mut *self.seen.latencies.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

async fn work(
    targets: Vec<Target>,
    mut connection: Connection,
    transport: Transport,
    bytes: u64,
    waiting: Arc<AsyncMutex<mpsc::UnboundedReceiver<Instant>>>,
    seen: Arc<Seen>,
) -> Result<()> {
    for target in targets.iter().cycle() {
        let next = waiting.lock().await.recv().await;
        let Some(due) = next else { break };
        connection.set_host(&target.host);
        if connection.get(bytes, Sink::Count(&seen.bytes)).await? == Answer::Closed {
            connection = Connection::open(target, transport).await?;
            ensure!(
                connection.get(bytes, Sink::Count(&seen.bytes)).await? == Answer::Whole,
                "a new connection was closed"
            );
        }
        let took = due.elapsed().as_secs_f64() * 1e6;
        seen.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(took);
    }
    Ok(())
}

/// Hosts are dealt out to connections by this stride.
const STEP: usize = 64;
