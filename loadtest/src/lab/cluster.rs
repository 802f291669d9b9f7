//! Plays the parts of Kubernetes that no lab can do without: kubelet (pods run, become ready, end), scheduler (the caller's word),
//! EndpointSlice controller and node lifecycle controller. Orders come in as method calls; objects go out to an [`ObjectStore`].
//! Called by the demo and by tests.

mod api_store;
mod heartbeat;
mod names;
mod objects;
mod rest_store;
mod routers;
pub mod store;

pub use names::{Names, RUN_LABEL};
pub use objects::timestamp;
pub use rest_store::{RestStore, remove_leftovers};
pub use routers::{Probe, ROUTER_LABEL, ROUTER_NAMESPACE};
pub use store::{MemoryStore, ObjectStore, Reference};

use objects::timestamp_micros;

use super::network::{Node, PodAddresses};
use crate::pods::{PodIdentity, PodServer, Socket};
use anyhow::{Context as _, Result, ensure};
use rustls::ServerConfig;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The cluster's state and the store that shows it.
pub struct Cluster {
    nodes: Vec<Node>,
    store: Arc<dyn ObjectStore>,
    state: Mutex<State>,
}

/// A pod to run.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.nodeName`.
    pub node: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// What it listens on.
    pub ports: Vec<PodPort>,
}

/// A port of a pod.
#[derive(Clone, Debug)]
pub struct PodPort {
    /// `containerPort.name`.
    pub name: String,
    /// `containerPort.containerPort`.
    pub port: u16,
    /// TLS when there is a configuration.
    pub tls: Option<Arc<ServerConfig>>,
}

#[derive(Default)]
struct State {
    silent_nodes: BTreeSet<String>,
    services: BTreeMap<Key, Value>,
    slices: BTreeMap<Key, BTreeMap<Reference, Value>>,
    pods: BTreeMap<Key, PodState>,
    created: u64,
}

/// Namespace and name.
type Key = (String, String);

struct PodState {
    spec: PodSpec,
    uid: String,
    addresses: Vec<IpAddr>,
    host_network: bool,
    created: String,
    ready: bool,
    ready_since: String,
    deleted: Option<String>,
    server: Option<PodServer>,
    _lease: Option<PodAddresses>,
}

impl Cluster {
    /// A cluster of `nodes`, all Ready, whose objects go to `store`.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn new(nodes: &[Node], store: Arc<dyn ObjectStore>) -> Result<Arc<Self>> {
        let cluster = Self { nodes: nodes.to_vec(), store, state: Mutex::default() };
        for node in nodes {
            cluster.store.put(&objects::node(node, true, &now()))?;
        }
        Ok(Arc::new(cluster))
    }

    /// Stores any object. A Service gets its EndpointSlices from now on.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn apply(&self, object: &Value) -> Result<()> {
        let stored = self.store.put(object)?;
        if object.get("kind").and_then(Value::as_str) == Some("Service") {
            let reference = Reference::of(object)?;
            let mut state = self.lock();
            state.services.insert((reference.namespace, reference.name), stored);
            self.write_slices(&mut state)?;
        }
        Ok(())
    }

    /// Removes any object but a pod; with a Service go its EndpointSlices.
    ///
    /// # Errors
    /// When the store is gone.
    pub fn delete(&self, reference: &Reference) -> Result<()> {
        self.store.remove(reference)?;
        if reference.kind == "Service" {
            let mut state = self.lock();
            state.services.remove(&(reference.namespace.clone(), reference.name.clone()));
            self.write_slices(&mut state)?;
        }
        Ok(())
    }

    /// Runs a pod: first scheduled without an address, then serving and Ready.
    ///
    /// # Errors
    /// When there is no such node, the name is taken, or a port cannot be bound.
    pub fn run_pod(&self, spec: PodSpec) -> Result<()> {
        let node = self.node(&spec.node)?.clone();
        let (name, ports) = ((spec.namespace.clone(), spec.name.clone()), spec.ports.clone());
        let identity =
            PodIdentity { namespace: spec.namespace.clone(), name: spec.name.clone(), node: spec.node.clone() };
        self.add(spec, false)?;
        let lease = node.pod_addresses()?;
        let mut sockets = Vec::new();
        for port in &ports {
            for address in lease.addresses() {
                let listener = node.pods().tcp_listener(SocketAddr::new(*address, port.port))?;
                sockets.push(Socket { listener, tls: port.tls.clone() });
            }
        }
        let server = PodServer::start(identity, sockets)?;
        self.change(&name, |pod| {
            pod.addresses = lease.addresses().to_vec();
            pod._lease = Some(lease);
            pod.server = Some(server);
            pod.become_ready(true);
        })
    }

    /// Adds a pod on the node's own addresses that nothing is started for; not Ready.
    pub(super) fn add_host_pod(&self, spec: PodSpec) -> Result<()> {
        let name = (spec.namespace.clone(), spec.name.clone());
        let addresses = self.node(&spec.node)?.place().addresses().to_vec();
        self.add(spec, true)?;
        self.change(&name, |pod| pod.addresses = addresses)
    }

    /// Sets a pod's Ready condition, as its readiness probe would.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn set_ready(&self, namespace: &str, name: &str, ready: bool) -> Result<()> {
        let key = (namespace.to_owned(), name.to_owned());
        if self.lock().pods.get(&key).is_some_and(|pod| pod.ready == ready) {
            return Ok(());
        }
        self.change(&key, |pod| pod.become_ready(ready))
    }

    /// Ends a pod as `kubectl delete pod` does: it is Terminating and goes on serving for `notice`, then takes no more connections, has
    /// `grace` to finish what it is doing, and is removed.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn terminate_pod(&self, namespace: &str, name: &str, notice: Duration, grace: Duration) -> Result<()> {
        let key = (namespace.to_owned(), name.to_owned());
        self.change(&key, |pod| pod.deleted = Some(now()))?;
        // A preStop pause: what routes to the pod must hear of its end before it stops listening.
        tokio::time::sleep(notice).await;
        let server = self.lock().pods.get_mut(&key).and_then(|pod| pod.server.take());
        if let Some(server) = server {
            server.stop(grace).await;
        }
        self.forget_pod(&key)
    }

    /// Ends a pod in the middle of whatever it does, and removes its object.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn kill_pod(&self, namespace: &str, name: &str) -> Result<()> {
        self.forget_pod(&(namespace.to_owned(), name.to_owned()))
    }

    /// The processes of all pods on `node` end, and nobody says so to the API: what a power cut does.
    pub fn crash_pods(&self, node: &str) {
        let mut state = self.lock();
        for pod in state.pods.values_mut().filter(|pod| pod.spec.node == node) {
            pod.server = None;
        }
    }

    /// What the node lifecycle controller does when a node falls silent, or speaks again: the Node's Ready condition, and with its
    /// loss that of all its pods.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn set_node_ready(&self, node: &str, ready: bool) -> Result<()> {
        self.store.put(&objects::node(self.node(node)?, ready, &now()))?;
        let mut state = self.lock();
        if ready {
            state.silent_nodes.remove(node);
            return Ok(());
        }
        state.silent_nodes.insert(node.to_owned());
        for pod in state.pods.values_mut().filter(|pod| pod.spec.node == node && pod.ready) {
            pod.become_ready(false);
            self.store.put(&objects::pod(pod))?;
        }
        self.write_slices(&mut state)
    }

    /// Whether a node's kubelet is heard.
    #[must_use]
    pub fn is_node_ready(&self, node: &str) -> bool {
        !self.lock().silent_nodes.contains(node)
    }

    /// Names of the pods on a node, `namespace/name`, with their requests so far.
    #[must_use]
    pub fn pods_on(&self, node: &str) -> Vec<(String, u64)> {
        let state = self.lock();
        let pods = state.pods.values().filter(|pod| pod.spec.node == node);
        pods.map(|pod| {
            (format!("{}/{}", pod.spec.namespace, pod.spec.name), pod.server.as_ref().map_or(0, PodServer::requests))
        })
        .collect()
    }

    /// A node by name.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.iter().find(|node| node.name() == name).with_context(|| format!("the lab has no node {name}"))
    }

    fn add(&self, spec: PodSpec, host_network: bool) -> Result<()> {
        let mut state = self.lock();
        let key = (spec.namespace.clone(), spec.name.clone());
        ensure!(!state.pods.contains_key(&key), "pod {}/{} exists already", key.0, key.1);
        state.created += 1;
        let uid = format!("00000000-0000-4000-8000-{:012x}", state.created);
        let mut pod = PodState {
            spec,
            uid,
            addresses: Vec::new(),
            host_network,
            created: now(),
            ready: false,
            ready_since: now(),
            deleted: None,
            server: None,
            _lease: None,
        };
        let stored = self.store.put(&objects::pod(&pod))?;
        if let Some(uid) = stored.pointer("/metadata/uid").and_then(Value::as_str) {
            pod.uid = uid.to_owned();
        }
        state.pods.insert(key, pod);
        Ok(())
    }

    fn change(&self, key: &Key, change: impl FnOnce(&mut PodState)) -> Result<()> {
        let mut state = self.lock();
        let pod = state.pods.get_mut(key).with_context(|| format!("there is no pod {}/{}", key.0, key.1))?;
        change(pod);
        self.store.put(&objects::pod(pod))?;
        self.write_slices(&mut state)
    }

    fn forget_pod(&self, key: &Key) -> Result<()> {
        let mut state = self.lock();
        state.pods.remove(key).with_context(|| format!("there is no pod {}/{}", key.0, key.1))?;
        self.store.remove(&Reference::new("v1", "Pod", &key.0, &key.1))?;
        self.write_slices(&mut state)
    }

    /// Writes the slices that differ from what was last written.
    fn write_slices(&self, state: &mut State) -> Result<()> {
        if self.store.has_controllers() {
            return Ok(());
        }
        let pods: Vec<Value> = state.pods.values().map(objects::pod).collect();
        let mut written = BTreeMap::new();
        for (key, service) in &state.services {
            let mut wanted = BTreeMap::new();
            for slice in crate::api::endpoint_slices::slices(service, &pods) {
                wanted.insert(Reference::of(&slice)?, slice);
            }
            let old = state.slices.get(key);
            for (reference, slice) in &wanted {
                if old.and_then(|old| old.get(reference)) != Some(slice) {
                    self.store.put(slice)?;
                }
            }
            written.insert(key.clone(), wanted);
        }
        for (key, old) in &state.slices {
            let kept = written.get(key);
            for reference in old.keys().filter(|reference| !kept.is_some_and(|kept| kept.contains_key(reference))) {
                self.store.remove(reference)?;
            }
        }
        state.slices = written;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PodState {
    fn become_ready(&mut self, ready: bool) {
        if self.ready != ready {
            self.ready = ready;
            self.ready_since = now();
        }
        if let Some(server) = &self.server {
            server.set_ready(ready);
        }
    }
}

fn now() -> String {
    timestamp(SystemTime::now())
}
