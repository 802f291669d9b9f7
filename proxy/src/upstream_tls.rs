//! TLS towards pods: the destination CAs of reencrypt routes flow in, the CA bundles that Pingora verifies pods with flow
//! out. Read once for each bundle, not for each connection. One of the few modules that name Pingora types.

use nearside_routing::certificate::read_bundle;
use nearside_routing::table::{RouteTable, Termination};
use pingora::protocols::tls::CaType;
use pingora::utils::tls::{WrappedX509, parse_x509};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The CA bundles of a route table.
#[derive(Clone, Default)]
pub(crate) struct DestinationCas(Arc<HashMap<Arc<str>, DestinationCa>>);

/// One bundle.
#[derive(Clone)]
pub(crate) struct DestinationCa {
    /// For [`pingora::upstreams::peer::PeerOptions`]; empty where the bundle cannot be read, so that nothing verifies.
    pub(crate) bundle: Arc<CaType>,
    /// Tells connections that were verified with this bundle from others.
    pub(crate) identity: u64,
}

impl DestinationCas {
    /// The bundles of a table; those that were there already are kept.
    #[must_use]
    pub(crate) fn follow(&self, routes: &RouteTable) -> Self {
        let mut bundles = HashMap::new();
        for route in routes.hosts().flat_map(|host| &host.routes) {
            if let Termination::Reencrypt { destination_ca: Some(pem) } = &route.termination
                && !bundles.contains_key(pem)
            {
                let known = self.0.get(pem).cloned();
                bundles.insert(Arc::clone(pem), known.unwrap_or_else(|| DestinationCa::read(pem)));
            }
        }
        Self(Arc::new(bundles))
    }

    /// The bundle of a route's PEM.
    pub(crate) fn get(&self, pem: &Arc<str>) -> Option<&DestinationCa> {
        self.0.get(pem)
    }
}

impl DestinationCa {
    fn read(pem: &str) -> Self {
        // Admission refuses routes whose bundle cannot be read.
        let chain = read_bundle(pem.as_bytes()).unwrap_or_default();
        let bundle = chain.iter().map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509)).collect();
        let mut hasher = DefaultHasher::new();
        pem.hash(&mut hasher);
        Self { bundle, identity: hasher.finish() }
    }
}

impl fmt::Debug for DestinationCas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DestinationCas").field("bundles", &self.0.len()).finish()
    }
}
