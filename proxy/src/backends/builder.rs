//! Builds [`Backends`] one after the other, from what changed, and carries over what is known of each endpoint. Called by
//! `state`.

use super::tracked::Tracked;
use super::{Backends, LocalEndpoint, LocalService};
use crate::balance::{CookieValue, hash};
use nearside_routing::endpoints::{Endpoint, EndpointTable, ServiceEndpoints, ServiceKey};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// What makes an endpoint the one that it was: its address, the namespace and the name of its pod. A pod of another namespace that has the
/// address and even the name is another one, with which nothing is shared.
type Identity = (SocketAddr, Box<str>, Arc<str>);

/// See the module.
#[derive(Debug)]
pub(crate) struct BackendsBuilder {
    node: Arc<str>,
    last: Arc<Backends>,
    source: EndpointTable,
    known: HashMap<Identity, Weak<Tracked>>,
    /// Endpoints of the last snapshot; `None` before the first.
    present: Option<HashSet<u64>>,
}

impl BackendsBuilder {
    /// For the endpoints on this node.
    pub(crate) fn new(node: Arc<str>) -> Self {
        Self { node, last: Arc::default(), source: EndpointTable::default(), known: HashMap::new(), present: None }
    }

    /// The backends of a snapshot; the same ones if its endpoints are the same.
    pub(crate) fn build(&mut self, endpoints: &EndpointTable, now: Instant) -> Arc<Backends> {
        if self.source.is_same(endpoints) {
            return Arc::clone(&self.last);
        }
        let mut services = self.last.services.clone();
        for changed in endpoints.changes_since(&std::mem::take(&mut self.source)) {
            let service = changed.after.map(|all| self.local_service(changed.key, all, now));
            let local = service.filter(|service| service.ports.iter().any(|endpoints| !endpoints.is_empty()));
            if local.is_some() || services.contains_key(changed.key) {
                services.set(changed.key.clone(), local.map(Arc::new));
            }
        }
        self.source = endpoints.clone();
        self.last = Arc::new(Backends { services });
        self.known.retain(|_, tracked| tracked.strong_count() > 0);
        let all = self.last.services.values().flat_map(|service| service.ports.iter().flatten());
        self.present = Some(all.map(|local| local.tracked.id()).collect());
        Arc::clone(&self.last)
    }

    fn local_service(&mut self, key: &ServiceKey, all: &Arc<ServiceEndpoints>, now: Instant) -> LocalService {
        let node = Arc::clone(&self.node);
        let here = |endpoint: &&Endpoint| endpoint.node == node;
        let mut local = |port: &str, endpoint: &Endpoint| LocalEndpoint {
            cookie: CookieValue::of(key, port, endpoint),
            endpoint: endpoint.clone(),
            tracked: self.tracked(key, endpoint, now),
            hash: hash(endpoint.address.to_string().as_bytes()),
        };
        let ports = all
            .ports
            .iter()
            .map(|port| port.endpoints.iter().filter(here).map(|endpoint| local(&port.name, endpoint)).collect());
        let ports = ports.collect();
        LocalService { key: Arc::new(key.clone()), all: Arc::clone(all), ports }
    }

    fn tracked(&mut self, key: &ServiceKey, endpoint: &Endpoint, now: Instant) -> Arc<Tracked> {
        let since = self.present.as_ref().map(|_| now);
        let known = self.known.entry((endpoint.address, key.namespace.clone(), Arc::clone(&endpoint.pod))).or_default();
        let tracked = known.upgrade().unwrap_or_else(|| Arc::new(Tracked::new(since)));
        *known = Arc::downgrade(&tracked);
        // Requests can outlive the time in which their pod was not ready.
        if self.present.as_ref().is_some_and(|present| !present.contains(&tracked.id())) {
            tracked.came(now);
        }
        tracked
    }
}
