//! A node: the way in which its proxies follow each other comes in, real proxies run on the same ports one after another, each started
//! beside the one before or after its death.

use super::clients::Target;
use crate::bench::free_addresses::free_addresses;
use crate::certificates::TestCa;
use crate::lab::Place;
use crate::pods::{PodIdentity, PodServer, Socket};
use crate::programs::{Launch, Program, get_at_socket};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How proxies follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Succession {
    /// The old one hands its sockets over.
    Handover,
    /// Both share the ports.
    SharedPorts,
    /// The old one was killed.
    Crash,
}

/// See the module head.
#[derive(Debug)]
pub(super) struct Node {
    succession: Succession,
    directory: PathBuf,
    ca: TestCa,
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
    current: Option<Program>,
    /// Those that were told to end.
    ending: VecDeque<Program>,
    started: u32,
    _pod: PodServer,
}

impl Succession {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Handover => "handover",
            Self::SharedPorts => "shared ports",
            Self::Crash => "crashes",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Handover => "handover",
            Self::SharedPorts => "shared-ports",
            Self::Crash => "crashes",
        }
    }
}

impl Node {
    pub(super) fn new(succession: Succession, directory: &Path) -> Result<Self> {
        let directory = directory.join(succession.folder());
        let manifests = directory.join("manifests");
        std::fs::create_dir_all(&manifests).with_context(|| format!("cannot make {}", manifests.display()))?;
        let ca = TestCa::new("Nearside upgrades CA")?;
        let identity = PodIdentity { namespace: "bench".into(), name: "pod".into(), node: "n1".into() };
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let pod = PodServer::start(identity, vec![Socket { listener, tls: None }])?;
        let address = *pod.addresses().first().context("the pod has an address")?;
        std::fs::write(manifests.join("objects.json"), objects(&ca, address)?.to_string())?;
        let [http, https, admin] = free_addresses()?;
        Ok(Self {
            succession,
            directory,
            ca,
            http,
            https,
            admin,
            current: None,
            ending: VecDeque::new(),
            started: 0,
            _pod: pod,
        })
    }

    pub(super) fn target(&self) -> Result<Target> {
        let (tls, tls_h2) = (self.ca.client(&["http/1.1"])?, self.ca.client(&["h2"])?);
        Ok(Target { http: self.http, https: self.https, host: HOST.to_owned(), tls, tls_h2 })
    }

    /// Starts a proxy and returns when it is ready, by what a kubelet asks.
    pub(super) async fn start(&mut self) -> Result<()> {
        let (program, socket) = self.launch()?;
        self.ready(program, &socket).await
    }

    /// Starts the next proxy, and tells the one before to end once that is ready.
    pub(super) async fn replace(&mut self) -> Result<()> {
        let old = self.current.take();
        self.start().await?;
        if let Some(old) = old {
            old.signal(Signal::TERM);
            self.ending.push_back(old);
        }
        if self.ending.len() > AT_A_TIME {
            self.reap().await?;
        }
        Ok(())
    }

    /// Kills the proxy and starts another; gives the time from its start until it accepts connections.
    pub(super) async fn crash(&mut self) -> Result<Duration> {
        if let Some(program) = self.current.take() {
            program.kill().await;
        }
        let begin = Instant::now();
        let (program, socket) = self.launch()?;
        while TcpStream::connect(self.http).await.is_err() {
            ensure!(begin.elapsed() < PATIENCE, "nobody listens; see {}", program.log().display());
            sleep(Duration::from_millis(1)).await;
        }
        let took = begin.elapsed();
        self.ready(program, &socket).await?;
        Ok(took)
    }

    /// Tells the last proxy to end, and waits for all that still do.
    pub(super) async fn end(mut self) -> Result<()> {
        if let Some(program) = self.current.take() {
            program.signal(Signal::TERM);
            self.ending.push_back(program);
        }
        while !self.ending.is_empty() {
            self.reap().await?;
        }
        Ok(())
    }

    async fn reap(&mut self) -> Result<()> {
        let Some(mut old) = self.ending.pop_front() else { return Ok(()) };
        let status = old.ended(PATIENCE).await?;
        ensure!(status.success(), "{} ended with {status}; the end of its log:\n{}", old.name(), old.tail(20));
        Ok(())
    }

    fn launch(&mut self) -> Result<(Program, PathBuf)> {
        self.started += 1;
        let name = format!("proxy-{}", self.started);
        // The path of a Unix socket is short.
        let socket = self.directory.join(format!("{}.s", self.started));
        let mut arguments = vec![
            "--node-name=n1".to_owned(),
            format!("--manifests={}", self.directory.join("manifests").display()),
            format!("--http-listen={}", self.http),
            format!("--https-listen={}", self.https),
            format!("--admin-listen={}", self.admin),
            format!("--admin-socket={}", socket.display()),
            "--allow-endpoints=127.0.0.0/8".to_owned(),
            "--access-log=off".to_owned(),
            // Where nobody takes over, DNS would be waited for, and there is none.
            "--shutdown-delay-max=2s".to_owned(),
        ];
        match self.succession {
            Succession::SharedPorts => arguments.push("--share-ports".to_owned()),
            Succession::Handover | Succession::Crash => {
                arguments.push(format!("--handover-socket={}", self.directory.join("handover.s").display()));
            }
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = Launch::new("nearside-proxy", &name, &Place::host(), &arguments)?.start(&self.directory)?;
        Ok((program, socket))
    }

    async fn ready(&mut self, mut program: Program, socket: &Path) -> Result<()> {
        let begin = Instant::now();
        while !matches!(get_at_socket(socket, "/healthz/ready").await, Ok((200, _))) {
            program.check()?;
            if begin.elapsed() > PATIENCE {
                bail!("{} is not ready; the end of its log:\n{}", program.name(), program.tail(20));
            }
            sleep(Duration::from_millis(10)).await;
        }
        self.current = Some(program);
        Ok(())
    }
}

fn objects(ca: &TestCa, pod: SocketAddr) -> Result<Value> {
    let identity = ca.identity(&[HOST])?;
    let metadata = |labels: Value| {
        json!({
            "namespace": "bench", "name": "web", "uid": "web", "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z"
        })
    };
    let tls = json!({
        "termination": "edge", "insecureEdgeTerminationPolicy": "Allow",
        "certificate": identity.certificate, "key": identity.key,
    });
    let ip = pod.ip().to_string();
    Ok(json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": metadata(json!({})),
          "spec": { "host": HOST, "to": { "kind": "Service", "name": "web" }, "tls": tls } },
        { "apiVersion": "v1", "kind": "Service", "metadata": metadata(json!({})),
          "spec": { "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] } },
        { "apiVersion": "v1", "kind": "Pod", "metadata": metadata(json!({ "app": "web" })),
          "spec": { "nodeName": "n1",
                    "containers": [{ "name": "c", "ports": [{ "name": "http", "containerPort": pod.port() }] }] },
          "status": { "podIP": ip, "podIPs": [{ "ip": ip }], "conditions": [{ "type": "Ready", "status": "True" }] } },
    ] }))
}

const HOST: &str = "web.example.com";
const PATIENCE: Duration = Duration::from_secs(60);
/// Proxies that still end, beside the one that serves.
const AT_A_TIME: usize = 8;
