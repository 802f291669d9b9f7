//! From an event to what shows it: the moment at which the API has an object comes in from the clock of this process, the moment
//! at which a request is answered otherwise, or a DNSEndpoint is written, from asking again and again; the distribution goes out.

use super::Options;
use super::churn::set_ready;
use super::report::Report;
use super::stage::{NAMESPACE, Stage};
use super::world::Shape;
use crate::api::ObjectRef;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Measures, on a cluster that is calm otherwise.
pub(super) async fn measure(stage: &mut Stage, options: &Options, report: &mut Report) -> Result<()> {
    restore(stage)?;
    sleep(super::stage::SETTLE).await;
    let own = own_routes(stage);
    let samples = options.events.min(SAMPLES) as usize;
    let mut client = Client::connect(stage.http).await?;
    let (mut readiness, mut routes) = (Vec::new(), Vec::new());
    for (at, (pod, route)) in own.iter().cycle().take(samples / 2).enumerate() {
        let host = stage.world.host(*route);
        for ready in [false, true] {
            let begin = Instant::now();
            set_ready(stage, *pod, ready)?;
            readiness.push(client.until(&host, "/", |status| (status == 200) == ready, begin).await?);
        }
        for path in [Some(format!("/v{at}")), None] {
            let object = stage.world.route(*route, path.as_deref(), &stage.ca)?;
            let begin = Instant::now();
            stage.api.load(object)?;
            routes.push(client.until(&host, "/", |status| (status == 200) == path.is_none(), begin).await?);
        }
    }
    report.times("latency", "proxy: a pod's readiness, until a request is answered by it", &mut readiness);
    report.times("latency", "proxy: a changed Route, until a request is answered by it", &mut routes);
    let mut written = controller(stage, samples).await?;
    report.times("latency", "controller: a pod's readiness, until the DNSEndpoint is written", &mut written);
    Ok(())
}

/// How long the proxy takes to answer by a change that is made now.
pub(super) async fn caught_up(stage: &mut Stage) -> Result<Duration> {
    restore(stage)?;
    let (pod, route) = *own_routes(stage).first().context("no pod on the proxy's node has a Route of its own")?;
    let host = stage.world.host(route);
    let begin = Instant::now();
    set_ready(stage, pod, false)?;
    Client::connect(stage.http).await?.until(&host, "/", |status| status != 200, begin).await
}

/// The pods of the proxy's node that answer alone for a Route there, with the Route.
fn own_routes(stage: &Stage) -> Vec<(u32, u32)> {
    let world = &stage.world;
    let alone = |pod: &u32| {
        let service = world.service_of_pod(*pod);
        world.pods_of_service(service).filter(|other| world.node_of_pod(*other) == 0).count() == 1
    };
    let route = |pod: u32| {
        let route = world.route_of_service(world.service_of_pod(pod))?;
        (world.shape(route) == Shape::Plain).then_some((pod, route))
    };
    world.own_pods().filter(alone).filter_map(route).collect()
}

/// Ends what earlier events have begun: every pod is there and ready, every Route as in the beginning.
fn restore(stage: &mut Stage) -> Result<()> {
    let pods: Vec<u32> = std::mem::take(&mut stage.gone).into_iter().chain(stage.unready.clone()).collect();
    for pod in pods {
        set_ready(stage, pod, true)?;
    }
    for (_, route) in own_routes(stage) {
        stage.api.load(stage.world.route(route, None, &stage.ca)?)?;
    }
    Ok(())
}

async fn controller(stage: &mut Stage, samples: usize) -> Result<Vec<Duration>> {
    let known: BTreeMap<String, String> = stage
        .api
        .list(DNS_API, "DNSEndpoint", NAMESPACE)
        .iter()
        .filter_map(|object| {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            Some((text("/metadata/annotations/nearside.dev~1host")?, text("/metadata/name")?))
        })
        .collect();
    let pods: Vec<u32> = (0..stage.world.pods).filter(|pod| stage.world.node_of_pod(*pod) != 0).collect();
    let stride = (pods.len() / (samples / 2).max(1)).max(1);
    let mut times = Vec::new();
    for pod in pods.into_iter().step_by(stride).take(samples / 2) {
        let Some(route) = stage.world.route_of_service(stage.world.service_of_pod(pod)) else { continue };
        let name = known.get(&stage.world.host(route)).context("a host has no DNSEndpoint")?;
        let reference = ObjectRef { api_version: DNS_API, kind: "DNSEndpoint", namespace: NAMESPACE, name };
        for ready in [false, true] {
            let before = stage.api.get(reference).map(|object| object["spec"].clone());
            let begin = Instant::now();
            set_ready(stage, pod, ready)?;
            while stage.api.get(reference).map(|object| object["spec"].clone()) == before {
                if begin.elapsed() > PATIENCE {
                    bail!("the DNSEndpoint {name} does not change after {PATIENCE:?}");
                }
                sleep(POLL).await;
            }
            times.push(begin.elapsed());
        }
    }
    Ok(times)
}

/// One client that keeps its connection where the proxy lets it.
struct Client {
    proxy: SocketAddr,
    stream: TcpStream,
}

impl Client {
    async fn connect(proxy: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(proxy).await?;
        stream.set_nodelay(true)?;
        Ok(Self { proxy, stream })
    }

    /// Asks until the answer is as wanted, and gives the time since `begin`.
    async fn until(
        &mut self,
        host: &str,
        path: &str,
        wanted: impl Fn(u16) -> bool,
        begin: Instant,
    ) -> Result<Duration> {
        loop {
            match self.ask(host, path).await {
                Ok(status) if wanted(status) => return Ok(begin.elapsed()),
                Ok(_) => sleep(POLL).await,
                // Some refusals end the connection.
                Err(_) => *self = Self::connect(self.proxy).await?,
            }
            if begin.elapsed() > PATIENCE {
                bail!("{host}{path} is not answered as it should be after {PATIENCE:?}");
            }
        }
    }

    async fn ask(&mut self, host: &str, path: &str) -> Result<u16> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let length = self.stream.read(&mut buffer).await?;
            anyhow::ensure!(length > 0, "the connection has ended");
            answer.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let value = |name: &str| {
                let fields = head.lines().filter_map(|line| line.split_once(':'));
                fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
            };
            let expected = value("content-length").and_then(|value| value.parse::<usize>().ok()).unwrap_or_default();
            if body.len() < expected {
                continue;
            }
            let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
            if value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                *self = Self::connect(self.proxy).await?;
            }
            return Ok(status);
        }
    }
}

const DNS_API: &str = "externaldns.k8s.io/v1alpha1";
/// Of each kind, at most.
const SAMPLES: u32 = 1_000;
const POLL: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(30);
