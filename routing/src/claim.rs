//! Claims: one Route or Ingress flows in, the hosts and paths it asks for flow out, each already compiled to a rule, with
//! the problems found on the way. Who gets what it asks for is decided in [`crate::admission`].

#[cfg(test)]
mod arbitrary;
mod ingress;
mod other_hosts;
mod route;

pub use ingress::ingress_claims;
pub use route::route_claims;

use crate::admission::AdmissionRules;
use crate::annotation::Annotations;
use crate::certificate::KeyPair;
use crate::hostname::{HostPattern, Hostname};
use crate::object::{Age, Kind, Object, ObjectKey, ObjectMeta, WildcardPolicy, is_object_name};
use crate::policy::Policy;
use crate::table::CompiledRoute;
use crate::verdict::Problem;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The names of all annotations that are read, in every spelling: for whoever wants to suggest one.
pub fn known_annotations() -> Vec<&'static str> {
    let empty = ObjectMeta::default();
    let mut annotations = Annotations::new(&empty);
    Policy::read(&mut annotations);
    annotations.into_names()
}

/// The Secrets that an object would have followed ([`Claims::named_secrets`]), whatever its class and namespace; none for kinds that
/// claim nothing.
pub fn named_secrets(object: &Object, rules: &AdmissionRules) -> BTreeSet<ObjectKey> {
    match object {
        Object::Route(route) => route_claims(route, rules).named_secrets(),
        Object::Ingress(ingress) => ingress_claims(ingress, &rules.hosts).named_secrets(),
        _ => BTreeSet::new(),
    }
}

/// Everything one Route or Ingress asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// The Route or Ingress.
    pub object: ObjectKey,
    /// The effective host of a Route, the first host of an Ingress; empty where there is none.
    pub host: String,
    /// What a Route says of wildcards; `None` for an Ingress, or where it says neither word.
    pub wildcard_policy: Option<WildcardPolicy>,
    /// Every host that it names, also those of rules that cannot be served.
    pub hosts: BTreeSet<HostPattern>,
    /// The rules it asks for, in the order of the object.
    pub rules: Vec<Claim>,
    /// The certificates it brings by reference to a Secret.
    pub certificates: Vec<CertificateClaim>,
    /// What is wrong with parts of it.
    pub problems: Vec<Problem>,
}

/// One rule that an object asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The rule, ready to serve.
    pub route: Arc<CompiledRoute>,
    /// The object's place in the order of claims.
    pub age: Age,
    /// The field that states the rule, such as `spec.host` or `spec.rules[0].http.paths[1]`.
    pub field: String,
    /// The certificate that the rule brings along.
    pub certificate: ClaimedCertificate,
    /// Whether the rule is what the object is for, and not only a way to it.
    pub primary: bool,
    /// Where the rule asks for no host and path of its own, but to be a canary of the main rule for them.
    pub canary: Option<CanaryClaim>,
}

impl Claims {
    /// The Secrets of its namespace that the object names for something other than certificates to serve.
    pub fn named_secrets(&self) -> BTreeSet<ObjectKey> {
        // The rules of an object share one policy, as far as Secrets go.
        let names = self.rules.first().into_iter().flat_map(|rule| rule.route.policy.secrets());
        // What cannot be a name is not looked for; it would be more than a name in a selector.
        names.filter(|name| is_object_name(name)).map(|name| self.secret(name)).collect()
    }

    /// A Secret of its namespace.
    pub(crate) fn secret(&self, name: &str) -> ObjectKey {
        ObjectKey::new(Kind::Secret, &self.object.namespace, name)
    }
}

impl Claim {
    /// The namespace that asks.
    pub fn namespace(&self) -> &str {
        &self.route.source.namespace
    }
}

/// What a rule of a canary says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryClaim {
    /// The path as it is written, of type `ImplementationSpecific`: where the main rule's is a regular expression, it is the
    /// same one if it is written equally.
    pub written: Option<Box<str>>,
}

/// The certificate of a Route.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimedCertificate {
    /// None of its own.
    Default,
    /// Written in the Route.
    Inline(Arc<KeyPair>),
    /// In a Secret of the Route's namespace; without it the Route is not served.
    External {
        /// The Secret's name.
        secret: Box<str>,
    },
    /// Written in the Route and unusable: the Route keeps its claim but is not served.
    Unusable(Problem),
}

/// A certificate that an Ingress brings for hosts (`spec.tls[]`).
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateClaim {
    /// The hosts of the rule.
    pub pattern: HostPattern,
    /// The one host below a wildcard that the certificate is for; `None` means every host of the pattern.
    pub name: Option<Hostname>,
    /// The Secret's name, in the Ingress's namespace.
    pub secret: Box<str>,
    /// The Ingress's place in the order of claims.
    pub age: Age,
    /// The field that names the Secret.
    pub field: String,
}
