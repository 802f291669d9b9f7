//! The stage: a [`World`] comes in; a fake API that holds it, one listener that plays every pod, and the real programs, each
//! behind a meter, come out.

use super::meter::Meter;
use super::objects::{self, POD_PORT};
use super::process::Usage;
use super::report::Report;
use super::world::World;
use crate::api::{ApiServer, Options as ApiOptions};
use crate::bench::free_addresses::free_addresses;
use crate::certificates::TestCa;
use crate::lab::Place;
use crate::programs::{Launch, Program, get};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(super) struct Stage {
    pub(super) world: World,
    pub(super) api: ApiServer,
    pub(super) ca: TestCa,
    pub(super) proxy: Option<Actor>,
    pub(super) controller: Option<Actor>,
    /// Where the proxy serves plain HTTP.
    pub(super) http: SocketAddr,
    https: SocketAddr,
    /// Where it says how it is.
    admin: SocketAddr,
    /// Pods that are not ready, or not there, at present.
    pub(super) unready: BTreeSet<u32>,
    pub(super) gone: BTreeSet<u32>,
    directory: PathBuf,
    pods: JoinHandle<()>,
}

/// A program and what is measured of it.
pub(super) struct Actor {
    pub(super) program: Program,
    pub(super) meter: Meter,
    admin: SocketAddr,
}

impl Actor {
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.program.id().context("the program has ended")?)
    }

    /// A metric without labels.
    pub(super) async fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = get(&Place::host(), self.admin, "/metrics").await?;
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).context("no such metric")?;
        Ok(line.trim().parse()?)
    }
}

impl Stage {
    pub(super) async fn build(world: World, directory: &Path, report: &mut Report) -> Result<Self> {
        let begin = Instant::now();
        // No watch may be cut because this process was busy with making events.
        let api = ApiServer::start(ApiOptions { watch_queue: 100_000, ..ApiOptions::default() }).await?;
        let ca = TestCa::new("scale")?;
        let (filled, world, ca) = tokio::task::spawn_blocking({
            let api = api.clone();
            move || (fill(&api, &world, &ca), world, ca)
        })
        .await?;
        filled?;
        report.say(&format!("the fake API holds it after {:.1} s", begin.elapsed().as_secs_f64()));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, POD_PORT)).await;
        let listener = listener.with_context(|| format!("port {POD_PORT}, where the pods of the benchmark listen"))?;
        let pods = tokio::spawn(play_pods(listener));
        let (unready, gone) = (BTreeSet::new(), BTreeSet::new());
        let directory = directory.to_path_buf();
        let [http, https, admin] = free_addresses()?;
        let (proxy, controller) = (None, None);
        Ok(Self { world, api, ca, proxy, controller, http, https, admin, unready, gone, directory, pods })
    }

    pub(super) async fn start_proxy(&mut self, report: &mut Report) -> Result<()> {
        let admin = self.admin;
        let own = self.world.own_pods().count();
        let arguments = [
            ("--node-name", World::node_name(0)),
            ("--http-listen", self.http.to_string()),
            ("--https-listen", self.https.to_string()),
            ("--admin-listen", admin.to_string()),
            ("--allow-endpoints", "127.0.0.0/8".to_owned()),
        ];
        let (actor, took) = self.start("nearside-proxy", admin, &arguments).await?;
        report.start("proxy", took, &actor, &format!("{own} pods on its node"))?;
        self.proxy = Some(actor);
        Ok(())
    }

    /// Starts it and waits until every host has its DNSEndpoint.
    pub(super) async fn start_controller(&mut self, report: &mut Report) -> Result<()> {
        let [admin] = free_addresses()?;
        let arguments = [
            ("--namespace", NAMESPACE.to_owned()),
            ("--node-address-type", "InternalIP".to_owned()),
            ("--admin-listen", admin.to_string()),
            ("--allow-endpoints", "127.0.0.0/8".to_owned()),
        ];
        let begin = Instant::now();
        let (mut actor, took) = self.start("nearside-controller", admin, &arguments).await?;
        let hosts = self.world.routes as usize;
        while self.api.list("externaldns.k8s.io/v1alpha1", "DNSEndpoint", NAMESPACE).len() < hosts {
            actor.program.check()?;
            if begin.elapsed() > PATIENCE {
                bail!("not every host has a DNSEndpoint after {PATIENCE:?}; see {}", actor.program.log().display());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        report.value("start", "controller: all DNSEndpoints written after", begin.elapsed().as_secs_f64(), "s");
        report.start("controller", took, &actor, "everything")?;
        let begin = Instant::now();
        if calm(&actor).await? {
            let took = begin.elapsed().as_secs_f64();
            report.value("start", "controller: calm, every status written, after further", took, "s");
        } else {
            report.say("the controller does not come to rest; what it does besides is taken off the figures of events");
        }
        report.value("start", "controller: resident then", megabytes(actor.usage()?.resident), "MB");
        if let Some(proxy) = &self.proxy {
            let resident = proxy.usage()?.resident;
            report.value("start", "proxy: resident with every DNSEndpoint", megabytes(resident), "MB");
            report.value("start", "proxy: received with every DNSEndpoint", megabytes(proxy.meter.received()), "MB");
        }
        self.controller = Some(actor);
        Ok(())
    }

    async fn start(&self, binary: &str, admin: SocketAddr, arguments: &[(&str, String)]) -> Result<(Actor, Duration)> {
        let meter = Meter::start(self.api.address()).await?;
        let kubeconfig = self.directory.join(format!("{binary}.kubeconfig"));
        std::fs::write(&kubeconfig, self.api.kubeconfig_yaml_for(meter.address()))?;
        let arguments: Vec<&str> = arguments.iter().flat_map(|(name, value)| [*name, value.as_str()]).collect();
        let launch = Launch::new(binary, binary, &Place::host(), &arguments)?;
        let launch = launch.env("KUBECONFIG", &kubeconfig.display().to_string());
        let begin = Instant::now();
        let mut program = launch.start(&self.directory)?;
        program.ready(admin, "/healthz/ready", PATIENCE).await?;
        let took = begin.elapsed();
        tokio::time::sleep(SETTLE).await;
        Ok((Actor { program, meter, admin }, took))
    }

    pub(super) async fn end(self) {
        for actor in [self.proxy, self.controller].into_iter().flatten() {
            actor.program.kill().await;
        }
        self.pods.abort();
    }
}

/// Waits until a program has hardly anything to do. Whether that moment came.
async fn calm(actor: &Actor) -> Result<bool> {
    let begin = Instant::now();
    while begin.elapsed() < CALM_PATIENCE {
        let before = actor.usage()?.processor;
        tokio::time::sleep(SETTLE).await;
        if actor.usage()?.processor - before < SETTLE / 50 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn fill(api: &ApiServer, world: &World, ca: &TestCa) -> Result<()> {
    let named = world.namespaces().chain([NAMESPACE.to_owned()]).map(|name| objects::namespace(&name));
    let nodes = (0..world.nodes).flat_map(|node| [objects::node(node), objects::router(node)]);
    let services = (0..world.services).flat_map(|service| [world.service(service), world.slice(service, &[], &[])]);
    let pods = (0..world.pods).map(|pod| world.pod(pod, true));
    let plain = named.chain([objects::ingress_class()]).chain(nodes).chain(services).chain(pods);
    for object in plain {
        api.load(object)?;
    }
    for route in 0..world.routes {
        api.load(world.route(route, None, ca)?)?;
    }
    Ok(())
}

/// Answers every request on every address.
async fn play_pods(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut buffer = [0; 16 * 1024];
            let mut seen = Vec::new();
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                seen.extend_from_slice(&buffer[..length]);
                while let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                    seen.drain(..end + 4);
                    if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

pub(super) const NAMESPACE: &str = "nearside";
/// What a program does after it is ready, such as giving memory back, is over by then.
pub(super) const SETTLE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(900);
/// Twenty thousand statuses at their bounded rate, with some time to spare.
const CALM_PATIENCE: Duration = Duration::from_secs(300);
