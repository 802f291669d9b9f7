//! TLS towards pods: the destination CAs of reencrypt routes flow in, the CA bundles that Pingora verifies pods with flow
//! out. Read once for each bundle, not for each connection. One of the few modules that name Pingora types.

use nearside_routing::certificate::read_bundle;
use nearside_routing::table::{CompiledRoute, PodTls, RouteTable, Termination};
use pingora::protocols::tls::CaType;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// The CA bundles of a route table.
#[derive(Clone, Default)]
pub(crate) struct DestinationCas {
    bundles: Arc<HashMap<Arc<str>, DestinationCa>>,
    /// What pods are shown, by the fingerprint of the certificate and its key.
    shown: Arc<HashMap<[u8; 32], Arc<CertKey>>>,
    default: Option<(Arc<str>, DestinationCa)>,
}

/// One bundle.
#[derive(Clone)]
pub(crate) struct DestinationCa {
    /// For [`pingora::upstreams::peer::PeerOptions`]; empty where the bundle cannot be read, so that nothing verifies.
    pub(crate) bundle: Arc<CaType>,
    /// Tells connections that were verified with this bundle from others.
    pub(crate) identity: u64,
    /// Whether the pod's certificate must be valid for its Service's name. A route's own CA vouches for the pod, whatever
    /// names its certificate holds, as in the OpenShift router; a CA for all Services must not.
    pub(crate) names: bool,
    /// Whether the system's CAs count instead.
    pub(crate) system: bool,
}

impl DestinationCas {
    /// The bundles of a table; those that were there already are kept.
    #[must_use]
    pub(crate) fn follow(&self, routes: &RouteTable) -> Self {
        let (mut bundles, mut shown) = (HashMap::new(), HashMap::new());
        for route in routes.hosts().flat_map(|host| &host.routes) {
            if let Some(PodTls { pair, authority }) = route.pod_tls.as_deref() {
                let known = self.bundles.get(authority.pem()).cloned();
                let read = || DestinationCa::read(authority.pem());
                bundles.entry(Arc::from(authority.pem())).or_insert_with(|| known.unwrap_or_else(read));
                shown.entry(pair.fingerprint()).or_insert_with(|| {
                    let chain = pair.chain().iter().map(|certificate| certificate.to_vec()).collect();
                    Arc::new(CertKey::new(chain, pair.key().secret_der().to_vec()))
                });
            }
            if let Termination::Reencrypt { destination_ca: Some(pem) } = &route.termination
                && !bundles.contains_key(pem)
            {
                let known = self.bundles.get(pem).cloned();
                bundles.insert(Arc::clone(pem), known.unwrap_or_else(|| DestinationCa::read(pem)));
            }
        }
        Self { bundles: Arc::new(bundles), shown: Arc::new(shown), default: self.default.clone() }
    }

    /// The same bundles, and this one for routes without.
    #[must_use]
    pub(crate) fn with_default(&self, pem: Option<&Arc<str>>) -> Self {
        let default = match (&self.default, pem) {
            (Some((known, ca)), Some(pem)) if known == pem => Some((Arc::clone(known), ca.clone())),
            (_, pem) => pem.map(|pem| (Arc::clone(pem), DestinationCa { names: true, ..DestinationCa::read(pem) })),
        };
        Self { bundles: Arc::clone(&self.bundles), shown: Arc::clone(&self.shown), default }
    }

    /// What servers that are no pods of a route are verified with: the CA for all Services where there is one, else the CAs of
    /// the system. Their certificate must be for their name.
    pub(crate) fn of_services(&self) -> DestinationCa {
        let system = || DestinationCa { names: true, system: true, ..DestinationCa::read("") };
        self.default.as_ref().map_or_else(system, |(_, ca)| ca.clone())
    }

    /// The certificate that a route's pods are shown, with what tells it from others.
    pub(crate) fn shown(&self, route: &CompiledRoute) -> Option<(Arc<CertKey>, [u8; 32])> {
        let fingerprint = route.pod_tls.as_ref()?.pair.fingerprint();
        Some((Arc::clone(self.shown.get(&fingerprint)?), fingerprint))
    }

    /// The bundle that a route's pods are verified with; `None` means that they are not. Who demands it where no CA is
    /// known gets an empty bundle, which verifies nothing.
    pub(crate) fn verifying(&self, route: &CompiledRoute) -> Option<&DestinationCa> {
        let default = self.default.as_ref().map(|(_, ca)| ca);
        match (&route.termination, route.policy.backend.verify) {
            // The Route's own CA counts, whatever an annotation says.
            (Termination::Reencrypt { destination_ca: Some(pem) }, _) => self.bundles.get(pem),
            (_, Some(true)) if route.pod_tls.is_some() => {
                let own = route.pod_tls.as_ref().and_then(|own| self.bundles.get(own.authority.pem()));
                Some(own.unwrap_or_else(|| NOBODY.get_or_init(|| DestinationCa::read(""))))
            }
            (_, Some(true)) => Some(default.unwrap_or_else(|| NOBODY.get_or_init(|| DestinationCa::read("")))),
            (Termination::Reencrypt { destination_ca: None }, None) => default,
            (_, None | Some(false)) => None,
        }
    }
}

impl DestinationCa {
    fn read(pem: &str) -> Self {
        // Admission refuses routes whose bundle cannot be read.
        let chain = read_bundle(pem.as_bytes()).unwrap_or_default();
        let bundle = chain.iter().map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509)).collect();
        let mut hasher = DefaultHasher::new();
        pem.hash(&mut hasher);
        Self { bundle, identity: hasher.finish(), names: false, system: false }
    }
}

/// Signs nobody's certificate.
static NOBODY: OnceLock<DestinationCa> = OnceLock::new();

impl fmt::Debug for DestinationCas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DestinationCas").field("bundles", &self.bundles.len()).finish_non_exhaustive()
    }
}
