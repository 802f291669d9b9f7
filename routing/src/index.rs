//! The index: changes of objects flow in, one immutable snapshot flows out. It is the only owner of routing state; it
//! remembers which hosts and Services a change touches and recomputes only those.

mod dns;
mod domains;
mod hosts;
mod nodes;
mod published;
mod scope;
mod selection;
mod services;

use crate::address_policy::AddressPolicy;
use crate::admission::AdmissionRules;
use crate::endpoints::EndpointTable;
use crate::hostname::HostPattern;
use crate::object::{Kind, Object, ObjectKey};
use crate::placement::{NodeStates, RouterSelector};
use crate::published::{DnsPublication, PublishedAlias, PublishedHosts};
use crate::shared_map::SharedMap;
use crate::table::RouteTable;
use crate::verdict::Verdicts;
use dns::DnsIndex;
use hosts::HostIndex;
use nodes::NodeIndex;
use published::PublishedIndex;
use scope::Scope;
use services::ServiceIndex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A change of the objects of one source.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a change is handed over once and then taken apart")]
pub enum Change {
    /// The object is new or has changed.
    Apply(Object),
    /// The object is gone.
    Delete(ObjectKey),
    /// These are all objects of the kind: what is not among them is gone.
    Reset {
        /// The kind.
        kind: Kind,
        /// Every object of it.
        objects: Vec<Object>,
    },
}

/// What the index is to do with objects. Two programs with equal settings and equal objects agree on every verdict.
#[derive(Clone, Debug)]
pub struct IndexConfig {
    /// What Routes and Ingresses may claim.
    pub admission: AdmissionRules,
    /// Where endpoints come from.
    pub endpoints: EndpointSource,
    /// Which endpoint addresses are refused.
    pub addresses: AddressPolicy,
    /// Which pods are routers; only the controller asks.
    pub router_selector: RouterSelector,
    /// Whether what stands in DNSEndpoints is followed; only the controller asks.
    pub follow_dns: bool,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            admission: AdmissionRules::default(),
            endpoints: EndpointSource::Slices,
            addresses: AddressPolicy::default(),
            router_selector: RouterSelector::default(),
            follow_dns: false,
        }
    }
}

/// Where the endpoints of Services come from. EndpointSlices that no EndpointSlice controller manages count always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointSource {
    /// From pods: of this node only, or of every node (`None`, for a directory of manifests, where no EndpointSlice
    /// controller writes).
    Pods {
        /// The node whose pods count.
        node: Option<Arc<str>>,
    },
    /// From every EndpointSlice.
    Slices,
}

/// One consistent view of everything. Readers keep the `Arc` they started with.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Grows by one with each published change.
    pub generation: u64,
    /// Who answers which host and path.
    pub routes: Arc<RouteTable>,
    /// Every host that an object asks for and has not lost to another one, whether it is served or not: a Route whose
    /// certificate broke still claims its host.
    pub claimed: SharedMap<HostPattern, ()>,
    /// The endpoints of each Service.
    pub endpoints: EndpointTable,
    /// What DNS says of each host.
    pub published: PublishedHosts,
    /// What stands in the DNSEndpoints, where it is followed.
    pub dns: DnsPublication,
    /// The verdict on each Route and each Ingress of our class.
    pub verdicts: Verdicts,
    /// The nodes, as placement sees them.
    pub nodes: Arc<NodeStates>,
}

impl Snapshot {
    /// The nodes to which clients of a canonical host can be sent, with the names under which they reach it there. A name in the
    /// form of an alias that is a host of its own leads to that host, and to no node of this one.
    pub fn aliases(&self, host: &str) -> Vec<PublishedAlias> {
        let mut aliases = self.published.aliases(host);
        aliases.retain(|published| !self.routes.names_exactly(&published.alias));
        aliases
    }
}

/// Something worth a log line about one object that is not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// The object.
    pub object: ObjectKey,
    /// The path of the field.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

/// See the module head.
#[derive(Debug)]
pub struct Index {
    scope: Scope,
    hosts: HostIndex,
    services: ServiceIndex,
    nodes: NodeIndex,
    published: PublishedIndex,
    dns: DnsIndex,
    notices: BTreeSet<Notice>,
    snapshot: Arc<Snapshot>,
}

impl Index {
    /// An empty index.
    pub fn new(config: IndexConfig) -> Self {
        Self {
            hosts: HostIndex::new(config.admission.ownership),
            scope: Scope::new(config.admission),
            services: ServiceIndex::new(config.endpoints, config.addresses),
            nodes: NodeIndex::new(config.router_selector),
            published: PublishedIndex::default(),
            dns: DnsIndex::new(config.follow_dns),
            notices: BTreeSet::new(),
            snapshot: Arc::default(),
        }
    }

    /// Takes a change in. Nothing is visible before [`Index::publish`].
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Apply(object) => self.put(object),
            Change::Delete(key) => self.remove(&key),
            Change::Reset { kind, objects } => {
                let keep: BTreeSet<ObjectKey> = objects.iter().map(Object::key).collect();
                for key in self.keys(kind) {
                    if !keep.contains(&key) {
                        self.remove(&key);
                    }
                }
                for object in objects.into_iter().filter(|object| object.kind() == kind) {
                    self.put(object);
                }
            }
        }
    }

    /// Recomputes what the changes since the last call touched and gives the new snapshot; the same one if nothing
    /// changed.
    pub fn publish(&mut self) -> Arc<Snapshot> {
        let mut next = Snapshot::clone(&self.snapshot);
        let mut changed = false;
        if let Some((routes, verdicts)) = self.hosts.publish(&next.routes, &next.verdicts) {
            (next.routes, next.verdicts, changed) = (routes, verdicts, true);
        }
        if !next.claimed.is_same(self.hosts.claimed()) {
            (next.claimed, changed) = (self.hosts.claimed().clone(), true);
        }
        let addresses = |node: &str| self.nodes.addresses(node);
        if let Some(endpoints) = self.services.publish(&next.endpoints, &addresses, &mut self.notices) {
            (next.endpoints, changed) = (endpoints, true);
        }
        if let Some(published) = self.published.publish(&next.published) {
            (next.published, changed) = (published, true);
        }
        if let Some(dns) = self.dns.publish() {
            (next.dns, changed) = (dns, true);
        }
        if let Some(nodes) = self.nodes.publish(&next.nodes) {
            (next.nodes, changed) = (nodes, true);
        }
        if changed {
            next.generation += 1;
            self.snapshot = Arc::new(next);
        }
        Arc::clone(&self.snapshot)
    }

    /// The Secrets that objects name by annotations, whether they are there or not: a source need read no others beside
    /// those of the type for certificates. `None` if they are those of the last call.
    pub fn take_named_secrets(&mut self) -> Option<BTreeSet<ObjectKey>> {
        self.hosts.take_named_secrets()
    }

    /// What came up since the last call and is worth a log line.
    pub fn take_notices(&mut self) -> BTreeSet<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn put(&mut self, object: Object) {
        match object {
            Object::Route(route) => {
                let touched = self.scope.put_route(&route);
                self.reconsider(&touched);
            }
            Object::Ingress(ingress) => {
                let touched = self.scope.put_ingress(ingress);
                self.reconsider(&touched);
            }
            Object::IngressClass(class) => {
                let touched = self.scope.put_class(&class);
                self.reconsider(&touched);
            }
            Object::Namespace(namespace) => {
                let touched = self.scope.put_namespace(&namespace);
                self.reconsider(&touched);
            }
            Object::Service(service) => self.services.put_service(service),
            Object::Pod(pod) => {
                self.nodes.put_pod(&pod);
                self.services.put_pod(pod);
            }
            Object::EndpointSlice(slice) => self.services.put_slice(slice),
            Object::Secret(secret) => self.hosts.put_secret(&secret),
            Object::Node(node) => {
                let moved = self.nodes.put(node);
                self.readdress(moved.as_deref());
            }
            Object::DnsEndpoint(endpoint) => {
                self.dns.put(&endpoint);
                self.published.put(&endpoint);
            }
        }
    }

    fn remove(&mut self, key: &ObjectKey) {
        match key.kind {
            Kind::Route | Kind::Ingress | Kind::IngressClass | Kind::Namespace => {
                let touched = self.scope.remove(key);
                self.reconsider(&touched);
            }
            Kind::Service => self.services.remove_service(key),
            Kind::Pod => {
                self.nodes.remove_pod(key);
                self.services.remove_pod(key);
            }
            Kind::EndpointSlice => self.services.remove_slice(key),
            Kind::Secret => self.hosts.remove_secret(key),
            Kind::Node => {
                let gone = self.nodes.remove(key);
                self.readdress(gone.as_deref());
            }
            Kind::DnsEndpoint => {
                self.dns.remove(key);
                self.published.remove(key);
            }
        }
    }

    fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        match kind {
            Kind::Route | Kind::Ingress | Kind::IngressClass | Kind::Namespace => self.scope.keys(kind),
            Kind::Secret => self.hosts.secrets(),
            Kind::Service | Kind::Pod | Kind::EndpointSlice => self.services.keys(kind),
            Kind::Node => self.nodes.keys(),
            Kind::DnsEndpoint => self.published.keys(),
        }
    }

    /// Takes the claims of objects that are ours, and drops those of objects that are not, or not any more.
    fn reconsider(&mut self, touched: &[ObjectKey]) {
        for key in touched {
            match self.scope.claims(key) {
                Some(claims) => self.hosts.put(claims),
                None => self.hosts.remove(key),
            }
        }
    }

    fn readdress(&mut self, node: Option<&str>) {
        if let Some(node) = node {
            self.services.readdress(node, &self.snapshot.endpoints);
        }
    }
}

/// `spec.controller` of the IngressClasses that Nearside serves.
pub const CONTROLLER: &str = "nearside.dev/ingress";

#[cfg(test)]
mod tests;
