//! The serving state: snapshots of the index flow in, one immutable value behind one pointer flows out. A request or
//! connection pins the value it started with; what must agree lives in it together.

mod retired;

pub(crate) use retired::Retired;

use crate::backends::{Backends, BackendsBuilder};
use crate::balance::{BalanceDefaults, RouteBalances};
use crate::metrics::{AllSeries, Series};
use crate::rules::Rules;
use crate::tls::{Certificates, Following, TlsMaterial};
use crate::upstream_tls::{DestinationCas, Uses};
use arc_swap::ArcSwap;
use nearside_routing::{RouteTable, Snapshot};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

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
    /// Which rules can reach which of them.
    pub(crate) rules: Rules,
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
pub(crate) struct CurrentState {
    pointer: Arc<ArcSwap<State>>,
    replaced: watch::Sender<()>,
}

impl CurrentState {
    /// Starts with a state.
    pub(crate) fn new(state: State) -> Self {
        Self { pointer: Arc::new(ArcSwap::from_pointee(state)), replaced: watch::Sender::new(()) }
    }

    /// Pins the present state.
    pub(crate) fn load(&self) -> Arc<State> {
        self.pointer.load_full()
    }

    /// Replaces it, and gives the old one; who pinned it keeps it.
    pub(crate) fn replace(&self, state: State) -> Arc<State> {
        let before = self.pointer.swap(Arc::new(state));
        self.replaced.send_replace(());
        before
    }

    /// Tells that there is another state, for those that need not see each of them.
    pub(crate) fn replacements(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }
}

/// Builds states one after the other and carries over what did not change. What a change costs follows from what it touches.
#[derive(Debug)]
pub(crate) struct StateBuilder {
    backends: BackendsBuilder,
    routes: Arc<RouteTable>,
    certificates: Certificates,
    following: Following,
    destination_cas: DestinationCas,
    uses: Uses,
    balances: RouteBalances,
    rules: Rules,
    series: AllSeries,
}

impl StateBuilder {
    /// For the pods of this node, with these certificates to begin with and these settings of routes that say nothing. What happens is counted in `series`.
    pub(crate) fn new(node: Arc<str>, certificates: Certificates, balance: BalanceDefaults, series: AllSeries) -> Self {
        Self {
            backends: BackendsBuilder::new(node),
            routes: Arc::default(),
            certificates,
            following: Following::default(),
            destination_cas: DestinationCas::default(),
            uses: Uses::default(),
            balances: RouteBalances::new(balance),
            rules: Rules::default(),
            series,
        }
    }

    /// The state of a snapshot. Costs time where certificates are new; not to be called on a runtime's own threads.
    pub(crate) fn build(&mut self, snapshot: Arc<Snapshot>, material: &TlsMaterial) -> State {
        if !material.is(self.certificates.material()) {
            match self.certificates.with_material(material) {
                Ok(certificates) => self.certificates = certificates,
                Err(error) => tracing::error!(%error, "the TLS files are not taken in; the last good ones hold"),
            }
        }
        self.destination_cas = self.destination_cas.with_default(material.destination_ca.as_ref());
        let before = std::mem::replace(&mut self.routes, Arc::clone(&snapshot.routes));
        if !Arc::ptr_eq(&before, &snapshot.routes) {
            let changes = snapshot.routes.changes_since(&before);
            self.certificates = self.following.follow(&self.certificates, &snapshot.routes, &changes);
            self.destination_cas = self.destination_cas.follow(&mut self.uses, &changes);
            self.balances = self.balances.follow(&snapshot.routes, &changes);
            self.rules = self.rules.follow(&changes);
        }
        let backends = self.backends.build(&snapshot.endpoints, Instant::now());
        State {
            series: self.series.follow(&snapshot.routes, &self.rules, &backends, &self.balances),
            backends,
            certificates: self.certificates.clone(),
            destination_cas: self.destination_cas.clone(),
            balances: self.balances.clone(),
            rules: self.rules.clone(),
            snapshot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::TlsFiles;
    use crate::tls::agreement::{Agreement, Version};
    use nearside_routing::{Change, EndpointSource, Index, IndexConfig, Kind, Object, ObjectKey};
    use proptest::prelude::*;
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

    /// One thing that happens to the objects of a small cluster.
    #[derive(Clone, Debug)]
    enum Step {
        Route {
            host: u8,
            service: u8,
            certificate: Option<u8>,
        },
        NoRoute {
            host: u8,
        },
        Pod {
            pod: u8,
            service: u8,
        },
        NoPod {
            pod: u8,
        },
        /// The proxy sees what stands now.
        Publish,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u8..4, 0_u8..3, proptest::option::of(0_u8..2)).prop_map(|(host, service, certificate)| Step::Route {
                host,
                service,
                certificate
            }),
            (0_u8..4).prop_map(|host| Step::NoRoute { host }),
            (0_u8..4, 0_u8..3).prop_map(|(pod, service)| Step::Pod { pod, service }),
            (0_u8..4).prop_map(|pod| Step::NoPod { pod }),
            Just(Step::Publish),
            Just(Step::Publish),
        ]
    }

    fn change(step: Step, identities: &[(String, String)]) -> Option<Change> {
        let delete = |kind, name: String| Some(Change::Delete(ObjectKey::new(kind, "shop", &name)));
        match step {
            Step::Route { host, service, certificate } => {
                let mut spec = json!({ "host": format!("h{host}.example.com"), "to": { "kind": "Service", "name": format!("s{service}") },
                    "alternateBackends": [{ "kind": "Service", "name": "s0", "weight": 1 }] });
                if let Some((certificate, key)) = certificate.map(|at| &identities[usize::from(at)]) {
                    spec["tls"] = json!({ "termination": "edge", "certificate": certificate, "key": key });
                }
                Some(object(Kind::Route, &format!("h{host}"), json!({ "spec": spec })))
            }
            Step::NoRoute { host } => delete(Kind::Route, format!("h{host}")),
            Step::Pod { pod, service } => {
                let status =
                    json!({ "podIP": format!("10.0.0.{pod}"), "conditions": [{ "type": "Ready", "status": "True" }] });
                let mut pod = json!({ "metadata": { "namespace": "shop", "name": format!("p{pod}") },
                    "spec": { "nodeName": "n1", "containers": [] }, "status": status });
                pod["metadata"]["labels"] = json!({ "app": format!("s{service}") });
                Some(Change::Apply(Object::decode(Kind::Pod, pod).unwrap()))
            }
            Step::NoPod { pod } => delete(Kind::Pod, format!("p{pod}")),
            Step::Publish => None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever changes, and however many snapshots are skipped: a state that was built from the one before is the state
        /// that would be built from nothing.
        #[test]
        fn a_state_built_from_the_one_before_is_one_built_from_nothing(
            steps in proptest::collection::vec(step(), 0..40),
            limit in 0_usize..8,
        ) {
            let mut index =
                Index::new(IndexConfig { endpoints: EndpointSource::Pods { node: None }, ..IndexConfig::default() });
            for service in 0..3 {
                let spec = json!({ "selector": { "app": format!("s{service}") }, "ports": [{ "port": 80 }] });
                index.apply(object(Kind::Service, &format!("s{service}"), json!({ "spec": spec })));
            }
            let agreement = Arc::new(Agreement::new((Version::Tls12, Version::Tls13), vec![], vec![], true).unwrap());
            let material = TlsFiles::default().read().unwrap();
            let builder = || {
                let certificates = Certificates::new(Arc::clone(&agreement), material.clone()).unwrap();
                let series = AllSeries::new(limit).unwrap();
                (StateBuilder::new("n1".into(), certificates, BalanceDefaults::default(), series.clone()), series)
            };
            let identities = [identity(), identity()];
            let (mut kept, kept_series) = builder();
            for step in steps.into_iter().chain([Step::Publish]) {
                if let Some(change) = change(step, &identities) {
                    index.apply(change);
                    continue;
                }
                let snapshot = index.publish();
                let state = kept.build(Arc::clone(&snapshot), &material);
                let (mut fresh, fresh_series) = builder();
                let expected = fresh.build(snapshot, &material);
                prop_assert_eq!(state.certificates.told(), expected.certificates.told());
                let (told, expected_told) = (kept_series.told(), fresh_series.told());
                prop_assert_eq!(&told.0, &expected_told.0);
                prop_assert_eq!((told.1.len(), told.2), (expected_told.1.len(), expected_told.2));
                for (_, rule) in told.1 {
                    prop_assert!(state.routes().hosts().flat_map(|host| &host.routes).any(|route| route.source == rule));
                }
                let interval = std::time::Duration::from_secs(5);
                prop_assert_eq!(crate::health::plan(&state, interval).len(), crate::health::plan(&expected, interval).len());
                for rule in state.routes().hosts().flat_map(|host| &host.routes) {
                    prop_assert!(state.series.of(rule).is_some());
                    for backend in &rule.backends {
                        prop_assert!(state.rules.of(&backend.service).iter().any(|known| Arc::ptr_eq(known, rule)));
                        prop_assert_eq!(state.backends.local(backend).count(), expected.backends.local(backend).count());
                    }
                }
            }
        }
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
