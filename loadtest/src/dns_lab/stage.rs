//! The cluster of the DNS lab: network, API, pods, routers, controller and name server, from nothing to "every host resolves".
//! Called by `dns_lab`; `script` changes it, `load` and `watcher` ask it. Dropping it removes all of it.

use super::name_server::Answers;
use super::objects::{self, HOSTS, Host, NAMESPACE, POD_PORT, ZONE};
use super::times::Times;
use super::{Answering, Options};
use crate::certificates::TestCa;
use crate::client::{Client, Ports, Resolver};
use crate::demo::control::ControlPlane;
use crate::demo::view::View;
use crate::lab::cluster::{PodPort, PodSpec, Probe, ROUTER_NAMESPACE};
use crate::lab::network::Size;
use crate::lab::{Cluster, Network, Place};
use crate::programs::{self, Launch, Program, binary};
use anyhow::{Context as _, Result, bail};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use rustls::ClientConfig;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// The running cluster.
pub(super) struct Stage {
    pub(super) times: Times,
    pub(super) cluster: Arc<Cluster>,
    pub(super) control: ControlPlane,
    programs: BTreeMap<&'static str, Program>,
    /// The name server, where it is none of ours.
    answers: Option<Answers>,
    routers: BTreeMap<String, Router>,
    started: u32,
    tls: Arc<ClientConfig>,
    directory: PathBuf,
    /// Last: programs and sockets go before the namespaces they are in.
    pub(super) network: Network,
}

/// A proxy, and the pod that stands for it.
pub(super) struct Router {
    pod: String,
    program: Program,
    follower: JoinHandle<()>,
}

impl Stage {
    /// Builds everything and starts every program.
    pub(super) async fn build(options: &Options, times: Times, directory: &Path, view: &View) -> Result<Self> {
        // Before anything is built: a missing program should not cost a minute.
        for name in [PROXY, CONTROLLER, DNS_SYNC] {
            binary(name)?;
        }
        let size = Size { nodes: NODES, clients: CLIENTS };
        let network = if options.loopback { Network::loopback(size)? } else { Network::open(size)? };
        let kind =
            if network.has_links() { "network namespaces" } else { "loopback addresses: no links to count or cut" };
        view.event("lab", &format!("{NODES} nodes, {CLIENTS} clients and a control plane as {kind}"));
        let ca = TestCa::new("Nearside DNS lab CA")?;
        let control = ControlPlane::start(network.control(), API, directory).await?;
        let cluster = Cluster::new(network.nodes(), control.store())?;
        for object in objects::all(&ca.identity(&["*.apps.example.com"])?) {
            cluster.apply(&object)?;
        }
        let mut stage = Self {
            times,
            cluster,
            control,
            programs: BTreeMap::new(),
            answers: None,
            routers: BTreeMap::new(),
            started: 0,
            tls: ca.client(&[])?,
            directory: directory.to_owned(),
            network,
        };
        for host in &HOSTS {
            for (number, node) in (1..).zip(stage.first_nodes(host)) {
                stage.run_pod(host.app, number, &node)?;
            }
        }
        stage.start_control_plane(options.name_server).await?;
        for node in stage.nodes() {
            let router = stage.start_router(&node).await?;
            stage.routers.insert(node, router);
        }
        view.event("programs", "all are ready");
        Ok(stage)
    }

    /// Waits until DNS answers for every host with the nodes of its pods.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for host in &HOSTS {
            let wanted: BTreeSet<String> = self.first_nodes(host).into_iter().collect();
            while self.published(&host.name()).await.ok().as_ref() != Some(&wanted) {
                self.check()?;
                if Instant::now() > deadline {
                    bail!("{}: DNS does not have {wanted:?} after {PATIENCE:?}; see the logs", host.name());
                }
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// The names of the nodes.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.network.nodes().iter().map(|node| node.name().to_owned()).collect()
    }

    fn first_nodes(&self, host: &Host) -> Vec<String> {
        if host.nodes.is_empty() {
            self.nodes()
        } else {
            host.nodes.iter().map(|number| format!("n{number}")).collect()
        }
    }

    /// A client at one of the places for clients that has cached nothing.
    pub(super) fn client(&self, place: usize) -> Client {
        let place = &self.network.clients()[place % self.network.clients().len()];
        Client { in_order: true, ..Client::new(&self.network, place, self.dns(), self.tls.clone(), PORTS) }
    }

    /// Where the name server is.
    pub(super) fn dns(&self) -> SocketAddr {
        SocketAddr::new(self.network.control().address(), DNS)
    }

    /// Asks the name server from beside it.
    pub(super) fn names(&self) -> Names {
        let addresses = self
            .network
            .nodes()
            .iter()
            .flat_map(|node| node.place().addresses().iter().map(|address| (*address, node.name().to_owned())));
        Names { resolver: Resolver::new(self.network.control().clone(), self.dns()), nodes: addresses.collect() }
    }

    /// The nodes that DNS has for `host` right now.
    pub(super) async fn published(&self, host: &str) -> Result<BTreeSet<String>> {
        self.names().nodes_of(host).await
    }

    /// Fails if a program has ended that nobody ended.
    pub(super) fn check(&mut self) -> Result<()> {
        let routers = self.routers.values_mut().map(|router| &mut router.program);
        self.programs.values_mut().chain(routers).try_for_each(Program::check)
    }

    /// Runs the pod `APP-NUMBER`; it is Ready when this returns.
    pub(super) fn run_pod(&self, app: &str, number: u8, node: &str) -> Result<()> {
        self.cluster.run_pod(PodSpec {
            namespace: NAMESPACE.into(),
            name: format!("{app}-{number}"),
            node: node.into(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            ports: vec![PodPort { name: "http".into(), port: POD_PORT, tls: None }],
        })
    }

    /// Ends a pod as a Deployment ends one that has its successor.
    pub(super) async fn end_pod(&self, app: &str, number: u8) -> Result<()> {
        self.cluster.terminate_pod(NAMESPACE, &format!("{app}-{number}"), self.times.notice, GRACE).await
    }

    /// Starts a proxy on a node, beside any that runs there, and returns when its pod is Ready.
    pub(super) async fn start_router(&mut self, node: &str) -> Result<Router> {
        self.started += 1;
        let place = self.cluster.node(node)?.place().clone();
        let (name, pod) = (format!("proxy-{node}-{}", self.started), format!("nearside-proxy-{node}-{}", self.started));
        let socket = self.directory.join(format!("{name}.sock"));
        let mut arguments = vec![
            format!("--node-name={node}"),
            format!("--namespace={ROUTER_NAMESPACE}"),
            format!("--admin-listen={}", SocketAddr::new(place.address(), ADMIN)),
            format!("--admin-socket={}", socket.display()),
            format!("--drain-timeout={}s", DRAIN.as_secs()),
            "--share-ports".to_owned(),
        ];
        for address in place.addresses() {
            arguments.push(format!("--http-listen={}", SocketAddr::new(*address, PORTS.http)));
            arguments.push(format!("--https-listen={}", SocketAddr::new(*address, PORTS.https)));
        }
        if let Some(delay) = self.times.shutdown_delay {
            arguments.push(format!("--shutdown-delay={}s", delay.as_secs()));
        }
        let mut program = self.start(PROXY, &name, &place, arguments)?;
        let follower = self.cluster.follow_router_pod(node, &pod, Probe::Socket(socket))?;
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready(&pod) {
            program.check()?;
            if Instant::now() > deadline {
                bail!("{name} is not ready after {PATIENCE:?}; the end of its log:\n{}", program.tail(20));
            }
            sleep(POLL).await;
        }
        Ok(Router { pod, program, follower })
    }

    /// Whether the API says that a router pod is Ready, which is what a DaemonSet waits for.
    fn is_ready(&self, pod: &str) -> bool {
        let pod = self.control.get("v1", "Pod", ROUTER_NAMESPACE, pod).unwrap_or_default();
        let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }

    /// Makes `router` the one of its node; returns the one before it.
    pub(super) fn install_router(&mut self, node: &str, router: Router) -> Option<Router> {
        self.routers.insert(node.to_owned(), router)
    }

    /// Takes the router of a node out, so that it may end.
    pub(super) fn take_router(&mut self, node: &str) -> Result<Router> {
        self.routers.remove(node).with_context(|| format!("no router on {node}"))
    }

    /// The id of a node in aliases, as its router says it.
    pub(super) async fn id_of(&self, node: &str) -> Result<String> {
        let page = self.routes_of(node).await?;
        page["node_id"].as_str().map(str::to_owned).with_context(|| format!("the router on {node} does not say its id"))
    }

    /// Whether any router would send clients to the node of this id.
    pub(super) async fn is_named(&self, id: &str) -> Result<bool> {
        for node in self.routers.keys() {
            let page = self.routes_of(node).await?;
            let hosts = page["hosts"].as_object().with_context(|| format!("the router on {node} tells no hosts"))?;
            let mut published = hosts.values().filter_map(|host| host["published"].as_array()).flatten();
            if published.any(|published| published["node_id"] == id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The table of a node's router.
    async fn routes_of(&self, node: &str) -> Result<Value> {
        let place = self.cluster.node(node)?.place();
        let admin = SocketAddr::new(place.address(), ADMIN);
        let (status, page) = programs::get(place, admin, "/routes").await?;
        if status != 200 {
            bail!("the router on {node} answers {status} to /routes");
        }
        Ok(serde_json::from_str(&page)?)
    }

    /// A node's power goes: no packet leaves it from here on, and nothing on it runs.
    pub(super) async fn kill_node(&mut self, node: &str) -> Result<()> {
        if self.network.has_links() {
            self.cluster.node(node)?.cut()?;
        }
        let router = self.take_router(node)?;
        router.follower.abort();
        router.program.kill().await;
        self.cluster.crash_pods(node);
        Ok(())
    }

    /// Ends the programs in order.
    pub(super) async fn end(mut self) {
        for router in std::mem::take(&mut self.routers).into_values() {
            router.follower.abort();
            router.program.kill().await;
        }
        for program in std::mem::take(&mut self.programs).into_values() {
            program.kill().await;
        }
    }

    async fn start_control_plane(&mut self, answering: Answering) -> Result<()> {
        let place = self.network.control().clone();
        let arguments = match Answers::start(answering, &place, self.dns(), &self.directory).await? {
            Some(answers) => {
                let arguments = vec!["publish".to_owned(), format!("--config={}", answers.config().display())];
                self.answers = Some(answers);
                arguments
            }
            None => {
                let listen = place.addresses().iter().map(|ip| format!("--listen={}", SocketAddr::new(*ip, DNS)));
                // Clients without a cache ask for one name again and again, all from one network.
                let flags = ["serve".to_owned(), format!("--zone={ZONE}"), "--rrl-rate=0".to_owned()];
                flags.into_iter().chain(listen).collect()
            }
        };
        self.start_at_control(DNS_SYNC, ADMIN + 1, arguments)?;
        let arguments = vec![
            "--node-address-type=InternalIP".to_owned(),
            format!("--record-ttl={}", self.times.ttl.as_secs()),
            format!("--namespace={ROUTER_NAMESPACE}"),
        ];
        self.start_at_control(CONTROLLER, ADMIN + 2, arguments)?;
        for (name, port) in [(DNS_SYNC, ADMIN + 1), (CONTROLLER, ADMIN + 2)] {
            let admin = SocketAddr::new(place.address(), port);
            self.programs.get_mut(name).context("it was started")?.ready(admin, "/healthz/ready", PATIENCE).await?;
        }
        Ok(())
    }

    fn start_at_control(&mut self, name: &'static str, admin: u16, mut arguments: Vec<String>) -> Result<()> {
        let place = self.network.control().clone();
        arguments.push(format!("--admin-listen={}", SocketAddr::new(place.address(), admin)));
        let program = self.start(name, name, &place, arguments)?;
        self.programs.insert(name, program);
        Ok(())
    }

    fn start(&self, binary: &str, name: &str, place: &Place, mut arguments: Vec<String>) -> Result<Program> {
        if !self.network.has_links() && binary != DNS_SYNC {
            // Here pods are loopback addresses, which are refused for good reasons.
            arguments.push("--allow-endpoints=127.0.0.0/8".to_owned());
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let kubeconfig = self.control.kubeconfig_inside().display().to_string();
        Launch::new(binary, name, place, &arguments)?.env("KUBECONFIG", &kubeconfig).start(&self.directory)
    }
}

impl Router {
    /// Ends it as a kubelet does whose DaemonSet deletes the pod: SIGTERM, and as long as it takes.
    pub(super) async fn end(self, cluster: &Cluster, patience: Duration) -> Result<()> {
        cluster.delete_router_pod(&self.pod)?;
        let status = self.program.terminate(patience).await?;
        self.follower.abort();
        cluster.kill_pod(ROUTER_NAMESPACE, &self.pod)?;
        if !status.success() {
            bail!("{} ended with {status}", self.pod);
        }
        Ok(())
    }
}

/// The name server's answers as names of nodes.
#[derive(Debug)]
pub(super) struct Names {
    resolver: Resolver,
    nodes: BTreeMap<IpAddr, String>,
}

impl Names {
    /// The nodes in the answers for A and AAAA; a node is only there with both.
    pub(super) async fn nodes_of(&self, host: &str) -> Result<BTreeSet<String>> {
        let mut families = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let answer = self.resolver.ask(host, kind).await?;
            let code = answer.metadata.response_code;
            if code != ResponseCode::NoError {
                bail!("{host} {kind}: {code}");
            }
            let mut nodes = BTreeSet::new();
            for record in &answer.answers {
                let address: IpAddr = match &record.data {
                    RData::A(a) => a.0.into(),
                    RData::AAAA(aaaa) => aaaa.0.into(),
                    _ => continue,
                };
                nodes.insert(self.nodes.get(&address).cloned().unwrap_or_else(|| address.to_string()));
            }
            families.push(nodes);
        }
        // On loopback addresses nodes have no IPv6.
        let ipv6 = self.nodes.keys().any(IpAddr::is_ipv6);
        let [v4, v6] = &families[..] else { bail!("two families were asked for") };
        Ok(if ipv6 { v4.intersection(v6).cloned().collect() } else { v4.clone() })
    }
}

/// How long a pod that was told to end may take to finish its requests.
const GRACE: Duration = Duration::from_secs(20);
const NODES: u8 = 4;
const CLIENTS: u8 = 2;
const PROXY: &str = "nearside-proxy";
const CONTROLLER: &str = "nearside-controller";
const DNS_SYNC: &str = "nearside-dns-sync";
const PORTS: Ports = Ports { http: 8080, https: 8443 };
const DNS: u16 = 5353;
const API: u16 = 6443;
const ADMIN: u16 = 9901;
/// The longest that a router waits for connections that are busy.
pub(super) const DRAIN: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
