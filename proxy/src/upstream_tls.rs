//! TLS towards pods: the destination CAs of reencrypt routes flow in, the CA bundles that Pingora verifies pods with flow
//! out. Read once for each bundle, not for each connection. One of the few modules that name Pingora types.

use crate::counted::Counted;
use nearside_routing::SharedMap;
use nearside_routing::certificate::read_bundle;
use nearside_routing::table::{ChangedHost, CompiledRoute, HostRoutes, PodTls, Termination};
use pingora::protocols::tls::CaType;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// The CA bundles of a route table.
#[derive(Clone, Default)]
pub(crate) struct DestinationCas {
    bundles: SharedMap<Arc<str>, DestinationCa>,
    /// What pods are shown, by the fingerprint of the certificate and its key.
    shown: SharedMap<[u8; 32], CertKey>,
    default: Option<(Arc<str>, DestinationCa)>,
}

/// How many rules use each bundle and each certificate.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    bundles: Counted<Arc<str>>,
    shown: Counted<[u8; 32]>,
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
    /// The bundles of a later table, given how its hosts differ; those that were there already are kept.
    #[must_use]
    pub(crate) fn follow(&self, uses: &mut Uses, changes: &[ChangedHost<'_>]) -> Self {
        let mut next = self.clone();
        for route in changes.iter().flat_map(|change| main_rules(change.after)) {
            if let Some(PodTls { pair, .. }) = route.pod_tls.as_deref()
                && uses.shown.add(pair.fingerprint())
            {
                let chain = pair.chain().iter().map(|certificate| certificate.to_vec()).collect();
                let key = CertKey::new(chain, pair.key().secret_der().to_vec());
                next.shown.insert(pair.fingerprint(), Arc::new(key));
            }
            for pem in bundles(route).filter(|pem| uses.bundles.add(Arc::clone(pem))) {
                next.bundles.insert(Arc::clone(&pem), Arc::new(DestinationCa::read(&pem)));
            }
        }
        for route in changes.iter().flat_map(|change| main_rules(change.before)) {
            if let Some(PodTls { pair, .. }) = route.pod_tls.as_deref()
                && uses.shown.remove(&pair.fingerprint())
            {
                next.shown.remove(&pair.fingerprint());
            }
            for pem in bundles(route).filter(|pem| uses.bundles.remove(pem)) {
                next.bundles.remove(&pem);
            }
        }
        next
    }

    /// The same bundles, and this one for routes without.
    #[must_use]
    pub(crate) fn with_default(&self, pem: Option<&Arc<str>>) -> Self {
        let default = match (&self.default, pem) {
            (Some((known, ca)), Some(pem)) if known == pem => Some((Arc::clone(known), ca.clone())),
            (_, pem) => pem.map(|pem| (Arc::clone(pem), DestinationCa { names: true, ..DestinationCa::read(pem) })),
        };
        Self { bundles: self.bundles.clone(), shown: self.shown.clone(), default }
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
            (Termination::Reencrypt { destination_ca: Some(pem) }, _) => self.bundles.get(pem).map(AsRef::as_ref),
            (_, Some(true)) if route.pod_tls.is_some() => {
                let own =
                    route.pod_tls.as_ref().and_then(|own| self.bundles.get(own.authority.pem()).map(AsRef::as_ref));
                Some(own.unwrap_or_else(|| NOBODY.get_or_init(|| DestinationCa::read(""))))
            }
            (_, Some(true)) => Some(default.unwrap_or_else(|| NOBODY.get_or_init(|| DestinationCa::read("")))),
            (Termination::Reencrypt { destination_ca: None }, None) => default,
            (_, None | Some(false)) => None,
        }
    }
}

/// A canary verifies its pods as the rule beside which it stands.
fn main_rules(host: Option<&Arc<HostRoutes>>) -> impl Iterator<Item = &Arc<CompiledRoute>> {
    host.into_iter().flat_map(|host| host.routes.iter())
}

fn bundles(route: &CompiledRoute) -> impl Iterator<Item = Arc<str>> {
    let own = route.pod_tls.as_ref().map(|own| Arc::from(own.authority.pem()));
    let of_route = match &route.termination {
        Termination::Reencrypt { destination_ca } => destination_ca.clone(),
        _ => None,
    };
    own.into_iter().chain(of_route)
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
