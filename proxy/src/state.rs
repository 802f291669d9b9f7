//! The serving state: snapshots of the index flow in, one immutable value behind one pointer flows out. A request or
//! connection pins the value it started with; what must agree lives in it together.

use crate::backends::{Backends, BackendsBuilder};
use crate::tls::{Certificate, Certificates};
use crate::upstream_tls::DestinationCas;
use arc_swap::ArcSwap;
use nearside_routing::{RouteTable, Snapshot};
use std::sync::Arc;

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
}

impl StateBuilder {
    /// For the pods of this node and with this default certificate.
    pub(crate) fn new(node: Arc<str>, default: Arc<Certificate>) -> Self {
        Self {
            backends: BackendsBuilder::new(node),
            routes: None,
            certificates: Certificates::new(default),
            destination_cas: DestinationCas::default(),
        }
    }

    /// The state of a snapshot. Costs time where certificates are new; not to be called on a runtime's own threads.
    pub(crate) fn build(&mut self, snapshot: Arc<Snapshot>) -> State {
        let same_routes = self.routes.as_ref().is_some_and(|routes| Arc::ptr_eq(routes, &snapshot.routes));
        if !same_routes {
            self.certificates = self.certificates.follow(&snapshot.routes);
            self.destination_cas = self.destination_cas.follow(&snapshot.routes);
            self.routes = Some(Arc::clone(&snapshot.routes));
        }
        State {
            backends: self.backends.build(&snapshot.endpoints),
            certificates: self.certificates.clone(),
            destination_cas: self.destination_cas.clone(),
            snapshot,
        }
    }
}
