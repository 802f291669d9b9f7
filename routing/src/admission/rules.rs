//! What the operator lets Routes and Ingresses claim: the settings that proxy and controller share, as values. Flags flow in
//! (`nearside_watch` reads them), the index and the claims ask.

use super::Ownership;
use super::host_rules::HostRules;

/// The operator's rules. Two programs with equal rules and equal objects agree on every verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionRules {
    /// How far the oldest claim on a host reaches.
    pub ownership: Ownership,
    /// Whether a Route may claim every host below a domain (`spec.wildcardPolicy: Subdomain`). Wildcards of Ingresses need
    /// no leave.
    pub wildcard_routes: bool,
    /// Which hosts may be claimed, and which host a Route without one gets.
    pub hosts: HostRules,
    /// Which Ingresses are ours.
    pub classes: ClassRules,
    /// How certificates of Routes are looked at.
    pub certificates: CertificateRules,
    /// Whether only the objects of namespaces that the source gives are ours: the source selects namespaces by label.
    pub selected_namespaces: bool,
}

/// How certificates of Routes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateRules {
    /// Whether a certificate in a Route must be signed by its `caCertificate` and without a hash that can be forged. One that
    /// cannot be served is refused in any case.
    pub extended_validation: bool,
    /// Whether a Route may name a Secret for its certificate (`spec.tls.externalCertificate`).
    pub external: bool,
}

impl Default for CertificateRules {
    fn default() -> Self {
        Self { extended_validation: true, external: true }
    }
}

/// Which Ingresses are ours, beside those that name an IngressClass of our controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRules {
    /// The name of our class in the annotation `kubernetes.io/ingress.class`.
    pub name: String,
    /// Whether Ingresses that name no class are ours.
    pub without_class: bool,
    /// Whether an Ingress that names no class is of the default class. An API server fills that in when an Ingress is
    /// made, and one that is older than the class stays without; manifests have nobody who would.
    pub fill_in_default: bool,
}

impl Default for ClassRules {
    fn default() -> Self {
        Self { name: "nearside".into(), without_class: false, fill_in_default: false }
    }
}
