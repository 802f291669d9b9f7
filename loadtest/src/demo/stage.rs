//! The demo's cluster: network, fake API, pods, routers, controller and name server, from nothing to "every host resolves". Called by
//! `demo`; `script` changes it, `traffic` uses its clients. Dropping it removes all of it.

use super::Options;
use super::control::ControlPlane;
use super::hosts::{self, Host, ZONE};
use super::objects::{self, Certificates};
use super::view::View;
use crate::client::{Client, Ports, Resolver};
use crate::lab::cluster::{PodPort, PodSpec, ROUTER_NAMESPACE, Reference};
use crate::lab::network::Size;
use crate::lab::{Cluster, Network, Place};
use crate::programs::{Launch, Program};
use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::rr::{RData, RecordType};
use rustls::ServerConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The running cluster.
pub(super) struct Stage {
    pub(super) hosts: Vec<Host>,
    pub(super) clients: Vec<Client>,
    /// For a person on this machine.
    pub(super) kubeconfig: PathBuf,
    pub(super) control: ControlPlane,
    pub(super) cluster: Arc<Cluster>,
    programs: BTreeMap<String, Program>,
    routers: BTreeMap<String, JoinHandle<()>>,
    names: Resolver,
    pod_tls: Arc<ServerConfig>,
    plan: Plan,
    directory: PathBuf,
    /// Last: programs and sockets go before the namespaces they are in.
    pub(super) network: Network,
}

/// Ports, which differ with what this process may bind.
#[derive(Clone, Copy, Debug)]
struct Plan {
    router: Ports,
    dns: u16,
    api: u16,
    admin: u16,
}

impl Stage {
    /// Builds everything and starts every program.
    pub(super) async fn build(options: &Options, directory: &Path, view: &View) -> Result<Self> {
        // Before anything is built: a missing program should not cost a minute.
        for name in [PROXY, CONTROLLER, DNS_SYNC] {
            crate::programs::binary(name)?;
        }
        let size = Size { nodes: options.nodes, clients: CLIENTS };
        let network = if options.loopback { Network::loopback(size)? } else { Network::open(size)? };
        let plan = if network.has_links() { IN_NAMESPACES } else { ON_LOOPBACK };
        let kind = if network.has_links() {
            "network namespaces"
        } else {
            "loopback addresses (not root: no links to count or cut)"
        };
        view.event("lab", &format!("{} nodes, {CLIENTS} clients and a control plane as {kind}", options.nodes));

        let certificates = Certificates::new()?;
        fs::write(directory.join("ca.pem"), certificates.ca.certificate())?;
        let control = ControlPlane::start(network.control(), plan.api, directory).await?;
        let cluster = Cluster::new(network.nodes(), control.store())?;
        for object in objects::all(&certificates) {
            cluster.apply(&object)?;
        }
        let tls = certificates.ca.client(&[])?;
        let dns = SocketAddr::new(network.control().address(), plan.dns);
        let clients =
            network.clients().iter().map(|place| Client::new(&network, place, dns, tls.clone(), plan.router)).collect();
        let mut stage = Self {
            hosts: hosts::hosts(),
            clients,
            kubeconfig: control.kubeconfig().to_owned(),
            control,
            cluster,
            programs: BTreeMap::new(),
            routers: BTreeMap::new(),
            names: Resolver::new(network.control().clone(), dns),
            pod_tls: certificates.pods.server()?,
            plan,
            directory: directory.to_owned(),
            network,
        };
        stage.run_pods()?;
        view.event("api", &format!("objects and pods are there; KUBECONFIG={}", stage.kubeconfig.display()));
        stage.start_programs(view).await?;
        Ok(stage)
    }

    /// Waits until DNS answers for every host and no answer changes any more.
    pub(super) async fn settle(&mut self, view: &View) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let (mut before, mut since) = (BTreeMap::new(), Instant::now());
        loop {
            self.check()?;
            let mut now = BTreeMap::new();
            for host in self.names() {
                // Until its first answer, a name server that is just starting is no failure.
                let nodes = self.published(&host).await.unwrap_or_default();
                now.insert(host, nodes);
            }
            let missing: Vec<&String> =
                now.iter().filter(|(_, nodes)| nodes.is_empty()).map(|(host, _)| host).collect();
            if missing.is_empty() && now == before && since.elapsed() > CALM {
                break;
            }
            if Instant::now() > deadline {
                bail!(
                    "no address in DNS after {PATIENCE:?} for {missing:?}; see the logs in {}",
                    self.directory.display()
                );
            }
            if now != before {
                (before, since) = (now, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (host, nodes) in before {
            let nodes: Vec<String> = nodes.into_iter().collect();
            view.event("dns", &format!("{host} -> {}", nodes.join(" ")));
        }
        Ok(())
    }

    /// The nodes whose addresses DNS has for `host` right now, past all caches; none for a name that does not exist.
    pub(super) async fn published(&self, host: &str) -> Result<BTreeSet<String>> {
        let mut nodes = BTreeSet::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            for record in self.names.ask(host, kind).await?.answers {
                let address: IpAddr = match record.data {
                    RData::A(a) => a.0.into(),
                    RData::AAAA(aaaa) => aaaa.0.into(),
                    _ => continue,
                };
                let node = self.network.nodes().iter().find(|node| node.place().addresses().contains(&address));
                nodes.insert(node.map_or_else(|| address.to_string(), |node| node.name().to_owned()));
            }
        }
        Ok(nodes)
    }

    /// One resolvable name for each host.
    pub(super) fn names(&self) -> Vec<String> {
        self.hosts.iter().map(|host| host.name.replace('*', "alice")).collect()
    }

    /// Fails if a program has ended that nobody killed.
    pub(super) fn check(&mut self) -> Result<()> {
        self.programs.values_mut().try_for_each(Program::check)
    }

    /// A node's power goes: no packet leaves it from here on, and nothing on it runs.
    pub(super) async fn kill_node(&mut self, node: &str) -> Result<()> {
        if self.network.has_links() {
            self.cluster.node(node)?.cut()?;
        }
        if let Some(follower) = self.routers.remove(node) {
            follower.abort();
        }
        if let Some(proxy) = self.programs.remove(&format!("proxy-{node}")) {
            proxy.kill().await;
        }
        self.cluster.crash_pods(node);
        Ok(())
    }

    /// The admin ports of the proxies that run.
    pub(super) fn admin_ports(&self) -> Vec<(Place, SocketAddr)> {
        let alive =
            self.network.nodes().iter().filter(|node| self.programs.contains_key(&format!("proxy-{}", node.name())));
        alive.map(|node| (node.place().clone(), SocketAddr::new(node.place().address(), self.plan.admin))).collect()
    }

    /// Plays kubelet for pods that somebody deletes through the API, for as long as it is polled.
    pub(super) async fn run_on(&self) -> Result<()> {
        let mut ending = BTreeSet::new();
        loop {
            for (namespace, name) in self.control.deleted_pods() {
                if !ending.insert((namespace.clone(), name.clone())) {
                    continue;
                }
                let cluster = self.cluster.clone();
                tokio::spawn(async move {
                    if cluster.terminate_pod(&namespace, &name, NOTICE, GRACE).await.is_err() {
                        // The lab does not run it, so nothing but its object has to end.
                        let _ = cluster.delete(&Reference::new("v1", "Pod", &namespace, &name));
                    }
                });
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends the programs in order.
    pub(super) async fn end(mut self) {
        self.routers.values().for_each(JoinHandle::abort);
        for (_, program) in std::mem::take(&mut self.programs) {
            program.kill().await;
        }
    }

    /// What a person can do with a cluster that was kept.
    pub(super) fn directions(&self) -> String {
        let kubeconfig = self.kubeconfig.display();
        let node = &self.network.nodes()[0];
        let (control, address) = (self.network.control(), node.place().address());
        let run =
            |place: &Place| place.namespace().map_or_else(String::new, |ns| format!("ip netns exec {} ", ns.name()));
        format!(
            "
The cluster goes on until Ctrl-C. Try:
  kubectl --kubeconfig {kubeconfig} get routes,ingresses,pods,dnsendpoints -A -o wide
  kubectl --kubeconfig {kubeconfig} -n demo delete pod web-1    # and watch DNS follow
  {}dig @{} -p {} video.{ZONE}
  {}curl --cacert {} --resolve video.{ZONE}:{https}:{address} https://video.{ZONE}:{https}/
  {}curl http://{address}:{}/routes
",
            run(control),
            control.address(),
            self.plan.dns,
            run(&self.network.clients()[0]),
            self.directory.join("ca.pem").display(),
            run(node.place()),
            self.plan.admin,
            https = self.plan.router.https,
        )
    }

    /// web everywhere; the others on two nodes each, so that one node's death leaves one; mover on the first alone.
    fn run_pods(&self) -> Result<()> {
        let nodes: Vec<String> = self.network.nodes().iter().map(|node| node.name().to_owned()).collect();
        ensure!(nodes.len() >= 3, "the demo needs three nodes");
        let (first, last, before) = (&nodes[0], &nodes[nodes.len() - 1], &nodes[nodes.len() - 2]);
        for (number, node) in (1..).zip(&nodes) {
            self.cluster.run_pod(pod(self, "demo", "web", number, node)?)?;
        }
        for (app, number, node) in
            [("video", 1, first), ("video", 2, last), ("secure", 1, before), ("secure", 2, last), ("mover", 1, first)]
        {
            self.cluster.run_pod(pod(self, "demo", app, number, node)?)?;
        }
        self.cluster.run_pod(pod(self, "rival", "rival", 1, first)?)
    }

    async fn start_programs(&mut self, view: &View) -> Result<()> {
        let kubeconfig = self.control.kubeconfig_inside().display().to_string();
        let control = self.network.control().clone();
        let start = |binary: &str, name: &str, place: &Place, arguments: &[String]| -> Result<Program> {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            Launch::new(binary, name, place, &arguments)?.env("KUBECONFIG", &kubeconfig).start(&self.directory)
        };
        let flag = |name: &str, value: &dyn ToString| [name.to_owned(), value.to_string()];
        let at = |address: IpAddr, port: u16| SocketAddr::new(address, port);
        let mut waiting = Vec::new();

        let admin = at(control.address(), DNS_ADMIN);
        let mut arguments = vec!["serve".to_owned()];
        arguments.extend(flag("--zone", &ZONE));
        // Clients without a cache ask for one name again and again, all from one network.
        arguments.extend(flag("--rrl-rate", &0));
        for address in control.addresses() {
            arguments.extend(flag("--listen", &at(*address, self.plan.dns)));
        }
        arguments.extend(flag("--admin-listen", &admin));
        waiting.push(("dns-sync".to_owned(), admin, start(DNS_SYNC, "dns-sync", &control, &arguments)?));

        let admin = at(control.address(), CONTROLLER_ADMIN);
        let mut arguments = flag("--admin-listen", &admin).to_vec();
        arguments.extend(flag("--router-selector", &"app.kubernetes.io/name=nearside-proxy"));
        arguments.extend(flag("--node-address-type", &"InternalIP"));
        arguments.extend(flag("--record-ttl", &RECORD_TTL));
        arguments.extend(flag("--namespace", &ROUTER_NAMESPACE));
        if !self.network.has_links() {
            // Here pods are loopback addresses, which are refused for good reasons.
            arguments.extend(flag("--allow-endpoints", &LOOPBACK));
        }
        waiting.push(("controller".to_owned(), admin, start(CONTROLLER, "controller", &control, &arguments)?));

        for node in self.network.nodes() {
            let mut arguments = flag("--node-name", &node.name()).to_vec();
            arguments.extend(flag("--namespace", &ROUTER_NAMESPACE));
            for address in node.place().addresses() {
                arguments.extend(flag("--http-listen", &at(*address, self.plan.router.http)));
                arguments.extend(flag("--https-listen", &at(*address, self.plan.router.https)));
            }
            let admin = at(node.place().address(), self.plan.admin);
            arguments.extend(flag("--admin-listen", &admin));
            if !self.network.has_links() {
                arguments.extend(flag("--allow-endpoints", &LOOPBACK));
            }
            let name = format!("proxy-{}", node.name());
            waiting.push((name.clone(), admin, start(PROXY, &name, node.place(), &arguments)?));
            self.routers.insert(node.name().to_owned(), self.cluster.follow_router(node.name(), admin)?);
        }
        for (name, admin, mut program) in waiting {
            program.ready(admin, "/healthz/ready", PATIENCE).await?;
            view.event("programs", &format!("{name} is ready"));
            self.programs.insert(name, program);
        }
        Ok(())
    }
}

/// A pod of one of the demo's applications.
pub(super) fn pod(stage: &Stage, namespace: &str, app: &str, number: u8, node: &str) -> Result<PodSpec> {
    stage.cluster.node(node).context("the script names nodes of the lab only")?;
    Ok(PodSpec {
        namespace: namespace.into(),
        name: format!("{app}-{number}"),
        node: node.into(),
        labels: [("app".to_owned(), app.to_owned())].into(),
        ports: vec![
            PodPort { name: "http".into(), port: 8080, tls: None },
            PodPort { name: "https".into(), port: 8443, tls: Some(stage.pod_tls.clone()) },
        ],
    })
}

/// How long a deleted pod goes on taking requests, until everybody knows.
pub(super) const NOTICE: Duration = Duration::from_secs(1);
/// How long it may then take to finish them.
pub(super) const GRACE: Duration = Duration::from_secs(20);
const PROXY: &str = "nearside-proxy";
const CONTROLLER: &str = "nearside-controller";
const DNS_SYNC: &str = "nearside-dns-sync";
const CLIENTS: u8 = 2;
const IN_NAMESPACES: Plan = Plan { router: Ports { http: 80, https: 443 }, dns: 53, api: 6443, admin: 9901 };
const ON_LOOPBACK: Plan = Plan { router: Ports { http: 8080, https: 8443 }, dns: 5353, api: 6443, admin: 9901 };
const LOOPBACK: &str = "127.0.0.0/8";
const CONTROLLER_ADMIN: u16 = 9902;
const DNS_ADMIN: u16 = 9903;
/// Seconds. Short, so that a demo of half a minute shows clients with stale and with fresh answers.
const RECORD_TTL: u32 = 5;
/// Routers become ready one after another; that long without a change means that all are.
const CALM: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
