//! The stage of the large tables: a number of hosts comes in; a fake API that holds them, on a thread of its own, and a proxy that has
//! read them come out, and endpoints that change as often as is asked for.

use super::objects::{self, NODE, changing_of};
use crate::api::{ApiServer, Options as ApiOptions};
use crate::bench::proxy::client::Target;
use crate::bench::proxy::cores::Cores;
use crate::bench::proxy::peers::{Peer, Running, World, free_address};
use crate::lab::Place;
use crate::programs::Launch;
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
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
    api: ApiServer,
    backend: SocketAddr,
    hosts: u32,
    /// Closed when the stage goes: the API ends.
    _end: oneshot::Sender<()>,
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
        let (http, https, admin) = (free_address()?, free_address()?, free_address()?);
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
        let running = Running::of(Peer::nearside()?, target, program, world)?;
        Ok(Self { running, cores, took, api, backend, hosts, _end: end })
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

    /// Changes endpoints from now on, each in turn.
    pub(super) fn change(&self, changes: Changes, rate: u32) -> Changing {
        let (over, made) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (ended, count, api) = (Arc::clone(&over), Arc::clone(&made), self.api.clone());
        let (cores, backend, pods) = (self.cores, self.backend, changing_of(self.hosts));
        let begin = Instant::now();
        let thread = thread::spawn(move || {
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
        });
        Changing { over, made, begin, thread }
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

/// Hosts that are asked for, of all.
const ASKED: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(900);
