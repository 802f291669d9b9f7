//! A running cluster: network, object store, pods, proxies, controller and name server. Tests put objects and pods into it, ask it as
//! clients do, and read what it publishes. Dropping it ends all of it.

mod installation;
mod observe;
mod source;

pub(crate) use observe::PATIENCE;
pub(crate) use source::Source;

use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::client::{Call, Client, Ports, Record, Resolver};
use nearside_loadtest::lab::cluster::{PodPort, PodSpec, ROUTER_NAMESPACE, Reference};
use nearside_loadtest::lab::network::Size;
use nearside_loadtest::lab::{Cluster, Network, Place};
use nearside_loadtest::programs::{Launch, Program};
use rustls::ServerConfig;
use serde_json::Value;
use source::Objects;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The cluster of one test.
pub(crate) struct Stage {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) objects: Objects,
    /// Signs what clients trust.
    pub(crate) ca: TestCa,
    pub(crate) programs: BTreeMap<String, Program>,
    pub(crate) network: Network,
    pub(crate) directory: TempDir,
    pub(crate) proxy_flags: Vec<String>,
    /// What programs are started with beside flags.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Whether programs keep what they know on disk.
    pub(crate) keeps_snapshots: bool,
    /// Whether proxies have their objects from a process of their own, which alone has credentials.
    pub(crate) separates_credentials: bool,
    /// These processes, by node.
    pub(crate) readers: BTreeMap<String, Program>,
    /// What kubelets do all the time: heartbeats, and probes of the routers.
    routers: Vec<JoinHandle<()>>,
    names: Resolver,
    pod_tls: Arc<ServerConfig>,
}

impl Stage {
    /// A cluster whose programs run and are ready; `objects` gives what exists before they start.
    pub(crate) async fn start(source: Source, nodes: u8, objects: impl FnOnce(&Self)) -> Self {
        let mut stage = Self::lay(source, nodes).await;
        objects(&stage);
        stage.start_programs();
        stage.ready().await;
        stage
    }

    /// A cluster whose programs do not run yet.
    pub(crate) async fn lay(source: Source, nodes: u8) -> Self {
        Self::lay_in(Network::without_links(Size { nodes, clients: 1 }).unwrap(), source).await
    }

    /// One node with links of its own, on which a proxy alone runs; its objects are files. `None`, with a word about it, where there can
    /// be no such network.
    pub(crate) async fn start_linked_node(objects: impl FnOnce(&Self)) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root for network namespaces");
            return None;
        }
        let network = Network::namespaces(Size { nodes: 1, clients: 1 }).unwrap();
        let mut stage = Self::lay_in(network, Source::Manifests).await;
        objects(&stage);
        stage.start_proxy("n1");
        stage.ready().await;
        Some(stage)
    }

    /// A cluster in a network, whose programs do not run yet.
    pub(crate) async fn lay_in(network: Network, source: Source) -> Self {
        let directory = TempDir::new().unwrap();
        let objects = Objects::new(source, &network, directory.path()).await;
        let cluster = Cluster::new(network.nodes(), objects.store()).unwrap();
        let ca = TestCa::new("whole path").unwrap();
        let service = format!("secure.{}.svc", objects.names().global("shop"));
        let pod_names = ["*.apps.example.com", &service, &format!("{service}.cluster.local")];
        let pod_tls = ca.identity(&pod_names).unwrap().server().unwrap();
        let heartbeats = cluster.send_heartbeats();
        let dns = SocketAddr::new(network.control().address(), DNS);
        let stage = Self {
            names: Resolver::new(network.control().clone(), dns),
            cluster,
            objects,
            ca,
            programs: BTreeMap::new(),
            network,
            directory,
            keeps_snapshots: false,
            separates_credentials: false,
            readers: BTreeMap::new(),
            environment: Vec::new(),
            proxy_flags: ["--shutdown-delay=300ms", "--drain-timeout=20s"].map(String::from).to_vec(),
            routers: vec![heartbeats],
            pod_tls,
        };
        for namespace in NAMESPACES {
            stage.put(&crate::objects::namespace(namespace));
        }
        stage.put(&crate::objects::ingress_class());
        stage
    }

    /// Starts all programs; they may not become ready at once.
    pub(crate) fn start_programs(&mut self) {
        self.start_dns_sync();
        self.start_controller();
        let nodes: Vec<String> = self.network.nodes().iter().map(|node| node.name().to_owned()).collect();
        for node in nodes {
            self.start_proxy(&node);
            let admin = self.admin(&format!("proxy-{node}"));
            self.routers.push(self.cluster.follow_router(&node, admin).unwrap());
        }
    }

    /// Starts all programs once more, after they have ended; the routers are followed already.
    pub(crate) fn start_again(&mut self) {
        self.start_dns_sync();
        self.start_controller();
        let nodes: Vec<String> = self.network.nodes().iter().map(|node| node.name().to_owned()).collect();
        nodes.iter().for_each(|node| self.start_proxy(node));
    }

    /// Waits until every program says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let admin: Vec<SocketAddr> = self.programs.keys().map(|name| self.admin(name)).collect();
        for (program, admin) in self.programs.values_mut().zip(admin) {
            program.ready(admin, "/healthz/ready", PATIENCE).await.unwrap();
        }
    }

    fn start_dns_sync(&mut self) {
        // Clients without a cache ask for one name again and again, all from one network.
        let mut arguments = vec!["serve".to_owned(), format!("--zone={ZONE}"), "--rrl-rate=0".to_owned()];
        arguments.push(format!("--listen={}", SocketAddr::new(self.network.control().address(), DNS)));
        arguments.extend(self.objects.flags_for_records());
        let place = self.network.control().clone();
        self.launch("nearside-dns-sync", "dns-sync", &place, arguments);
    }

    fn start_controller(&mut self) {
        self.start_controller_as("controller");
    }

    /// Starts another controller.
    pub(crate) fn start_controller_as(&mut self, name: &str) {
        let mut arguments: Vec<String> =
            ["--node-address-type=InternalIP", "--record-ttl=5", WILDCARDS].map(String::from).into();
        arguments.extend(self.flags_for_addresses());
        arguments.push(format!("--namespace={}", self.objects.names().global(ROUTER_NAMESPACE)));
        arguments.extend(self.objects.flags_for_controller());
        let place = self.network.control().clone();
        self.launch("nearside-controller", name, &place, arguments);
    }

    /// The arguments of the proxy of a node.
    pub(crate) fn proxy_arguments(&self, node: &str) -> Vec<String> {
        let address = self.address(node);
        let mut arguments = vec![
            format!("--node-name={}", self.objects.names().global(node)),
            format!("--namespace={}", self.objects.names().global(ROUTER_NAMESPACE)),
            format!("--http-listen={}", SocketAddr::new(address, PORTS.http)),
            format!("--https-listen={}", SocketAddr::new(address, PORTS.https)),
            WILDCARDS.to_owned(),
        ];
        arguments.extend(self.flags_for_addresses());
        arguments.extend(self.proxy_flags.clone());
        arguments.extend(self.objects.flags_for_proxy());
        arguments
    }

    /// Without root the lab has no addresses but those that a router refuses otherwise.
    fn flags_for_addresses(&self) -> Option<String> {
        self.network.is_loopback().then(|| "--allow-endpoints=127.0.0.0/8".to_owned())
    }

    /// Starts the proxy of a node.
    pub(crate) fn start_proxy(&mut self, node: &str) {
        let mut arguments = self.proxy_arguments(node);
        let place = self.cluster.node(node).unwrap().place().clone();
        if self.separates_credentials {
            self.start_reader(node);
            arguments.push(format!("--objects-from={}", self.objects_socket(node).display()));
        }
        self.launch("nearside-proxy", &format!("proxy-{node}"), &place, arguments);
    }

    /// Starts the process that reads the cluster for the proxy of a node.
    pub(crate) fn start_reader(&mut self, node: &str) {
        let mut arguments = self.proxy_arguments(node);
        arguments.push(format!("--serve-objects={}", self.objects_socket(node).display()));
        let place = self.cluster.node(node).unwrap().place().clone();
        let reader = self.start_as("nearside-proxy", &format!("objects-{node}"), &place, &arguments);
        self.readers.insert(node.to_owned(), reader);
    }

    fn objects_socket(&self, node: &str) -> PathBuf {
        self.directory.path().join(format!("objects-{node}.sock"))
    }

    fn launch(&mut self, binary: &str, name: &str, place: &Place, mut arguments: Vec<String>) {
        arguments.push(format!("--admin-listen={}", self.admin(name)));
        if self.keeps_snapshots {
            arguments.push(format!("--snapshot-dir={}", self.directory.path().join("kept").join(name).display()));
        }
        let program = self.start_as(binary, name, place, &arguments);
        self.programs.insert(name.to_owned(), program);
    }

    /// Starts a program with these arguments and no others.
    pub(crate) fn start_as(&self, binary: &str, name: &str, place: &Place, arguments: &[String]) -> Program {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut launch = Launch::new(binary, name, place, &arguments).unwrap();
        let needs_none = arguments.iter().any(|argument| argument.starts_with("--objects-from="));
        if let Some(kubeconfig) = self.objects.kubeconfig(binary).filter(|_| !needs_none) {
            launch = launch.env("KUBECONFIG", kubeconfig.to_str().unwrap());
        }
        for (name, value) in &self.environment {
            launch = launch.env(name, value);
        }
        launch.start(self.directory.path()).unwrap()
    }

    /// Where a program shows its health.
    pub(crate) fn admin(&self, program: &str) -> SocketAddr {
        let control = self.network.control().address();
        match program.strip_prefix("proxy-") {
            Some(node) => SocketAddr::new(self.address(node), 9901),
            None if program == "controller" => SocketAddr::new(control, 9902),
            None if program == "second-controller" => SocketAddr::new(control, 9904),
            None => SocketAddr::new(control, 9903),
        }
    }

    /// A node's own address.
    pub(crate) fn address(&self, node: &str) -> IpAddr {
        self.cluster.node(node).unwrap().place().address()
    }

    /// Stores an object.
    pub(crate) fn put(&self, object: &Value) {
        self.cluster.apply(object).unwrap();
    }

    /// Stores two objects of which the first is the older one. In manifests both say their age, and the younger comes first: age
    /// decides, not the order of arrival. An API says itself when an object was made.
    pub(crate) async fn put_by_age(&self, older: &Value, younger: &Value) {
        if let Objects::Manifests { .. } = self.objects {
            self.put(&crate::objects::later(younger.clone()));
            return self.put(older);
        }
        self.put(older);
        self.objects.api().next_second().await;
        self.put(younger);
    }

    /// Stores objects.
    pub(crate) fn put_all(&self, objects: &[Value]) {
        objects.iter().for_each(|object| self.put(object));
    }

    /// Removes an object.
    pub(crate) fn delete(&self, object: &Value) {
        self.cluster.delete(&Reference::of(object).unwrap()).unwrap();
    }

    /// Runs `shop/APP-NUMBER`, which serves plain on 8080 and TLS on 8443.
    pub(crate) fn run_pod(&self, app: &str, number: u8, node: &str) {
        self.run_pod_in("shop", app, number, node);
    }

    /// Runs a pod in any namespace.
    pub(crate) fn run_pod_in(&self, namespace: &str, app: &str, number: u8, node: &str) {
        let port = |name: &str, port, tls| PodPort { name: name.into(), port, tls };
        let spec = PodSpec {
            namespace: namespace.into(),
            name: format!("{app}-{number}"),
            node: node.into(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            ports: vec![port("http", 8080, None), port("https", 8443, Some(self.pod_tls.clone()))],
        };
        self.cluster.run_pod(spec).unwrap();
    }

    /// A client that trusts the stage's authority and has cached nothing.
    pub(crate) fn client(&self) -> Client {
        let dns = SocketAddr::new(self.network.control().address(), DNS);
        Client::new(&self.network, &self.network.clients()[0], dns, self.ca.client(&[]).unwrap(), PORTS)
    }

    /// One request as a browser makes it: DNS, then redirects.
    pub(crate) async fn fetch(&self, url: &str) -> Record {
        self.client().fetch(&Call::get(url)).await
    }

    /// One request to a node, whatever DNS says; redirects are not followed.
    pub(crate) async fn ask(&self, node: &str, url: &str) -> Record {
        self.ask_with(node, Call::get(url)).await
    }

    /// The same with any request.
    pub(crate) async fn ask_with(&self, node: &str, call: Call) -> Record {
        let client = Client { address: Some(self.address(node)), ..self.client() };
        client.fetch(&Call { redirects: 0, rounds: 0, ..call }).await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.routers.iter().for_each(JoinHandle::abort);
        // Before the objects of a shared cluster go, which they would write again.
        self.programs.clear();
    }
}

/// The namespaces that tests use.
pub(crate) const NAMESPACES: [&str; 3] = ["shop", "rival", ROUTER_NAMESPACE];
/// The zone that dns-sync serves.
pub(crate) const ZONE: &str = "apps.example.com";
pub(crate) const PORTS: Ports = Ports { http: 8080, https: 8443 };
const DNS: u16 = 5353;
/// What proxy and controller must agree on.
const WILDCARDS: &str = "--allow-wildcard-routes";
