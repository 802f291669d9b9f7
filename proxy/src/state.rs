//! The serving state: snapshots of the index flow in, one immutable value behind one pointer flows out. A request or
//! connection pins the value it started with; what must agree lives in it together.

use crate::backends::{Backends, BackendsBuilder};
use crate::balance::{BalanceDefaults, RouteBalances};
use crate::metrics::{AllSeries, Series};
use crate::tls::{Certificates, TlsMaterial};
use crate::upstream_tls::DestinationCas;
use arc_swap::ArcSwap;
use nearside_routing::{RouteTable, Snapshot};
use std::sync::Arc;
use std::time::Instant;

/// Everything that a decision is made from.
#[derive(Debug)]
pub(crate) struct State {
    /// What was read.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The certificates of the routes.
    pub(crate) certificates: Certificates,
    /// The CAs of the pods behind reencrypt routes.
    pub(crate) destination_cas: DestinationCas,
    /// The endpoints on this node.
    pub(crate) backends: Arc<Backends>,
    /// How each rule chooses among them.
    pub(crate) balances: RouteBalances,
    /// Where what they do is counted.
    pub(crate) series: Series,
}

impl State {
    /// Who answers which host and path.
    pub(crate) fn routes(&self) -> &RouteTable {
        &self.snapshot.routes
    }
}

/// The pointer to the present state. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct CurrentState(Arc<ArcSwap<State>>);

impl CurrentState {
    /// Starts with a state.
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(state)))
    }

    /// Pins the present state.
    pub(crate) fn load(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// Replaces it; who pinned the old one keeps it.
    pub(crate) fn store(&self, state: State) {
        self.0.store(Arc::new(state));
    }
}

/// Builds states one after the other and carries over what did not change.
#[derive(Debug)]
pub(crate) struct StateBuilder {
    backends: BackendsBuilder,
    routes: Option<Arc<RouteTable>>,
    certificates: Certificates,
    destination_cas: DestinationCas,
    balances: RouteBalances,
    series: AllSeries,
}

impl StateBuilder {
    /// For the pods of this node, with these certificates to begin with and these settings of routes that say nothing. What happens is counted in `series`.
    pub(crate) fn new(node: Arc<str>, certificates: Certificates, balance: BalanceDefaults, series: AllSeries) -> Self {
        Self {
            backends: BackendsBuilder::new(node),
            routes: None,
            certificates,
            destination_cas: DestinationCas::default(),
            balances: RouteBalances::new(balance),
            series,
        }
    }

    /// The state of a snapshot. Costs time where certificates are new; not to be called on a runtime's own threads.
    pub(crate) fn build(&mut self, snapshot: Arc<Snapshot>, material: &TlsMaterial) -> State {
        let same_routes = self.routes.as_ref().is_some_and(|routes| Arc::ptr_eq(routes, &snapshot.routes));
        if !material.is(self.certificates.material()) {
            match self.certificates.with_material(material) {
                Ok(certificates) => self.certificates = certificates,
                Err(error) => tracing::error!(%error, "the TLS files are not taken in; the last good ones hold"),
            }
        }
        self.destination_cas = self.destination_cas.with_default(material.destination_ca.as_ref());
        if !same_routes {
            self.certificates = self.certificates.follow(&snapshot.routes);
            self.destination_cas = self.destination_cas.follow(&snapshot.routes);
            self.balances = self.balances.follow(&snapshot.routes);
            self.routes = Some(Arc::clone(&snapshot.routes));
        }
        let backends = self.backends.build(&snapshot.endpoints, Instant::now());
        State {
            series: self.series.follow(&snapshot.routes, &backends, &self.balances),
            backends,
            certificates: self.certificates.clone(),
            destination_cas: self.destination_cas.clone(),
            balances: self.balances.clone(),
            snapshot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::TlsFiles;
    use crate::tls::agreement::{Agreement, Version};
    use nearside_routing::{Change, EndpointSource, Index, IndexConfig, Kind, Object};
    use serde_json::{Value, json};

    fn object(kind: Kind, name: &str, mut more: Value) -> Change {
        let metadata = json!({ "namespace": "shop", "name": name, "labels": { "app": "web" } });
        more["metadata"] = metadata;
        Change::Apply(Object::decode(kind, more).unwrap())
    }

    fn pod(name: &str, ip: &str) -> Change {
        let status = json!({ "podIP": ip, "conditions": [{ "type": "Ready", "status": "True" }] });
        object(Kind::Pod, name, json!({ "spec": { "nodeName": "n1", "containers": [] }, "status": status }))
    }

    fn route(certificate: &str, key: &str) -> Change {
        let tls = json!({ "termination": "edge", "certificate": certificate, "key": key });
        let spec = json!({ "host": "a.example.com", "to": { "kind": "Service", "name": "web" }, "tls": tls });
        object(Kind::Route, "web", json!({ "spec": spec }))
    }

    fn identity() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn pods_come_and_go_without_a_new_tls_configuration_and_a_new_certificate_makes_one() {
        let mut index =
            Index::new(IndexConfig { endpoints: EndpointSource::Pods { node: None }, ..IndexConfig::default() });
        let agreement = Agreement::new((Version::Tls12, Version::Tls13), vec![], vec![], true).unwrap();
        let material = TlsFiles::default().read().unwrap();
        let certificates = Certificates::new(Arc::new(agreement), material.clone()).unwrap();
        let mut builder =
            StateBuilder::new("n1".into(), certificates, BalanceDefaults::default(), AllSeries::new(10).unwrap());
        let mut after = |changes: Vec<Change>| {
            changes.into_iter().for_each(|change| index.apply(change));
            builder.build(index.publish(), &material)
        };
        let (certificate, key) = identity();
        let ports = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] });
        let service = object(Kind::Service, "web", json!({ "spec": ports }));
        let first = after(vec![route(&certificate, &key), service, pod("web-1", "10.0.0.1")]);
        let config = |state: &State| {
            Arc::clone(&state.certificates.serving(state.routes(), Some("a.example.com")).unwrap().config)
        };
        let second = after(vec![pod("web-2", "10.0.0.2")]);
        assert!(!Arc::ptr_eq(&first.backends, &second.backends), "the pod is there");
        assert!(Arc::ptr_eq(&config(&first), &config(&second)));
        let (certificate, key) = identity();
        let third = after(vec![route(&certificate, &key)]);
        assert!(!Arc::ptr_eq(&config(&second), &config(&third)));
        assert!(Arc::ptr_eq(&second.backends, &third.backends));
        let served = third.certificates.serving(third.routes(), Some("b.example.com")).unwrap();
        assert!(!Arc::ptr_eq(&served.config, &config(&third)), "other names see the default certificate");
    }
}
