//! The stage of the large tables: a number of hosts comes in; a fake API that holds them, on a thread of its own, and a proxy that has
//! read them come out, and endpoints that change as often as is asked for.

use super::objects::{self, NODE, OTHER_NODE, changing_of};
use crate::api::{ApiServer, Options as ApiOptions};
use crate::bench::free_addresses::free_addresses;
use crate::bench::proxy::client::Target;
use crate::bench::proxy::cores::Cores;
use crate::bench::proxy::metric::Metric;
use crate::bench::proxy::peers::{Peer, Running, World};
use crate::lab::Place;
use crate::programs::{Launch, get};
use anyhow::{Context as _, Result};
use rustix::net::{RecvFlags, recv};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// See the module head.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) running: Running,
    pub(super) cores: Cores,
    /// From the start of the proxy until it was ready.
    pub(super) took: Duration,
    admin: SocketAddr,
    api: ApiServer,
    backend: SocketAddr,
    hosts: u32,
    /// Closed when the stage goes: the API ends.
    _end: oneshot::Sender<()>,
}

/// What the proxy has taken in up to a moment, by its own metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TakenIn {
    snapshots: Observed,
    updates: Observed,
}

/// A histogram: how often, and seconds in all.
#[derive(Clone, Copy, Debug, Default)]
struct Observed {
    count: f64,
    sum: f64,
}

/// Which endpoints change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    Here,
    Elsewhere,
}

/// Changes that go on until the value is ended.
#[derive(Debug)]
pub(super) struct Changing {
    over: Arc<AtomicBool>,
    made: Arc<AtomicU32>,
    begin: Instant,
    thread: JoinHandle<Result<()>>,
}

impl Changes {
    pub(super) fn name(self, rate: u32) -> String {
        match self {
            Self::Here => format!("{rate} changes a second"),
            Self::Elsewhere => "quiet".to_owned(),
        }
    }
}

impl TakenIn {
    /// The time of each snapshot and of each swap since an earlier moment. Nothing where there was none.
    pub(super) fn since(&self, earlier: &Self) -> Vec<(Metric, f64)> {
        let each = |metric, now: Observed, then: Observed| {
            let count = now.count - then.count;
            (count > 0.0).then(|| (metric, (now.sum - then.sum) * 1e6 / count))
        };
        [
            each(Metric::SnapshotMicroseconds, self.snapshots, earlier.snapshots),
            each(Metric::SwapMicroseconds, self.updates, earlier.updates),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Observed {
    fn read(page: &str, name: &str) -> Result<Self> {
        let value = |suffix: &str| -> Result<f64> {
            let name = format!("{name}_{suffix} ");
            let line = page.lines().find_map(|line| line.strip_prefix(&name));
            Ok(line.with_context(|| format!("no metric {name}"))?.trim().parse()?)
        };
        Ok(Self { count: value("count")?, sum: value("sum")? })
    }
}

impl Stage {
    pub(super) async fn build(world: &World, hosts: u32) -> Result<Self> {
        let cores = world.cores;
        let (end, ended) = oneshot::channel::<()>();
        let (sender, started) = oneshot::channel();
        thread::Builder::new().name("api".into()).spawn(move || -> Result<()> {
            Cores::bind(cores.backend)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                // No watch may be cut because this process was busy with making changes.
                let api = ApiServer::start(ApiOptions { watch_queue: 100_000, ..ApiOptions::default() }).await?;
                drop(sender.send(api));
                drop(ended.await);
                Ok(())
            })
        })?;
        let api: ApiServer = started.await.context("the API does not start")?;
        let backend = world.backend;
        for object in objects::fixed(hosts) {
            api.load(object)?;
        }
        api.load(objects::steady(backend))?;
        for number in 0..changing_of(hosts) {
            api.load(objects::here(number, backend, true))?;
            api.load(objects::elsewhere(number, backend, true))?;
        }
        let directory = world.directory.join(format!("tables-{hosts}"));
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let kubeconfig = directory.join("kubeconfig");
        std::fs::write(&kubeconfig, api.kubeconfig_yaml())?;
        let [http, https, admin] = free_addresses()?;
        let mut arguments = vec![
            format!("--node-name={NODE}"),
            format!("--http-listen={http}"),
            format!("--https-listen={https}"),
            format!("--admin-listen={admin}"),
            "--allow-endpoints=127.0.0.0/8".to_owned(),
            "--access-log=off".to_owned(),
        ];
        arguments.extend(world.flags.iter().cloned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let launch = Launch::new("nearside-proxy", "proxy", &Place::host(), &arguments)?;
        let launch = launch.env("KUBECONFIG", &kubeconfig.display().to_string());
        let begin = Instant::now();
        let mut program = cores.start_proxy(|| launch.start(&directory))?;
        program.ready(admin, "/healthz/ready", PATIENCE).await?;
        let took = begin.elapsed();
        let target = Target::new(http, https, &objects::host(0), world.tls.clone());
        watch_the_other_node(&api, cores)?;
        let running = Running::of(Peer::nearside()?, target, program, world)?;
        Ok(Self { running, cores, took, admin, api, backend, hosts, _end: end })
    }

    /// Hosts from all over the table.
    pub(super) fn targets(&self) -> Vec<Target> {
        let first = changing_of(self.hosts);
        let stride = ((self.hosts - first) / ASKED).max(1) as usize;
        (first..self.hosts)
            .step_by(stride)
            .map(|number| self.running.target.with_host(&objects::host(number)))
            .collect()
    }

    /// A host whose pod stays as it is.
    pub(super) fn steady(&self) -> Target {
        self.running.target.with_host(&objects::host(self.hosts - 1))
    }

    /// The host whose pod is the first one that changes.
    pub(super) fn changing(&self) -> Target {
        self.running.target.with_host(&objects::host(0))
    }

    pub(super) fn set_ready(&self, number: u32, ready: bool) -> Result<()> {
        Ok(self.api.load(objects::here(number, self.backend, ready))?)
    }

    pub(super) async fn taken_in(&self) -> Result<TakenIn> {
        let (_, page) = get(&Place::host(), self.admin, "/metrics").await?;
        Ok(TakenIn {
            snapshots: Observed::read(&page, "nearside_watch_snapshot_seconds")?,
            updates: Observed::read(&page, "nearside_table_update_seconds")?,
        })
    }

    /// Changes endpoints from now on, each in turn.
    pub(super) fn change(&self, changes: Changes, rate: u32) -> Result<Changing> {
        let (over, made) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (ended, count, api) = (Arc::clone(&over), Arc::clone(&made), self.api.clone());
        let (cores, backend, pods) = (self.cores, self.backend, changing_of(self.hosts));
        let begin = Instant::now();
        let changing = thread::Builder::new().name("changes".into());
        let thread = changing.spawn(move || {
            Cores::bind(cores.backend)?;
            let interval = Duration::from_secs(1) / rate;
            for number in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep((begin + interval * number).saturating_duration_since(Instant::now()));
                // The first pod is asked by others.
                let (pod, ready) = (1 + number % (pods - 1).max(1), number / (pods - 1).max(1) % 2 == 1);
                let object = match changes {
                    Changes::Here => objects::here(pod, backend, ready),
                    Changes::Elsewhere => objects::elsewhere(pod, backend, ready),
                };
                api.load(object)?;
                count.store(number + 1, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok(Changing { over, made, begin, thread })
    }

    pub(super) async fn end(self) {
        self.running.end().await;
    }
}

impl Changing {
    /// How many were made a second; nothing where they failed.
    pub(super) fn end(self) -> Option<f64> {
        let rate = f64::from(self.made.load(Ordering::Relaxed)) / self.begin.elapsed().as_secs_f64();
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().ok()?.ok()?;
        Some(rate)
    }
}

/// Takes what changes on the other node, as the proxy there would, for as long as the API is there: the kernel drops it, now and then,
/// so that it costs next to nothing.
fn watch_the_other_node(api: &ApiServer, cores: Cores) -> Result<()> {
    let mut stream = TcpStream::connect(api.address())?;
    let request = format!(
        "GET /api/v1/pods?watch=true&resourceVersion={}&timeoutSeconds=86400&fieldSelector=spec.nodeName%3D{OTHER_NODE} HTTP/1.1\r\n\
         Host: api\r\nAccept: application/json\r\n\r\n",
        api.resource_version()
    );
    stream.write_all(request.as_bytes())?;
    thread::Builder::new().name("other-node".into()).spawn(move || -> Result<()> {
        Cores::bind(cores.client)?;
        // Never written to.
        let mut room = vec![0; 4 << 20];
        while recv(&stream, &mut *room, RecvFlags::TRUNC)?.1 > 0 {
            thread::sleep(DROPPED_EVERY);
        }
        Ok(())
    })?;
    Ok(())
}

const DROPPED_EVERY: Duration = Duration::from_millis(20);
/// Hosts that are asked for, of all.
const ASKED: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(300);
