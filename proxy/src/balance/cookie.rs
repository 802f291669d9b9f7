//! The affinity cookie: a route and its annotations flow in, the cookie's name and attributes flow out; an endpoint flows in,
//! the value that names it flows out. Names and values are those of the OpenShift router, so that clients keep their pods
//! when it is replaced. Pure.

use md5::{Digest, Md5};
use nearside_routing::endpoints::{Endpoint, ServiceKey};
use nearside_routing::policy::affinity::{CookieName, SameSite};
use nearside_routing::table::{CompiledRoute, InsecurePolicy, Termination};
use nearside_routing::{Kind, ObjectKey};

/// The cookie of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AffinityCookie {
    /// The name.
    pub(crate) name: Box<str>,
    /// What follows the value.
    attributes: Box<str>,
}

/// What a cookie says to name an endpoint: a digest in hexadecimal digits, which tells nobody the pod's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CookieValue([u8; 32]);

impl AffinityCookie {
    /// That of a route, if it has one. `name` is what routes use that state none; without it the cookie is named after an
    /// object.
    pub(super) fn of(route: &CompiledRoute, object: &ObjectKey, name: Option<&CookieName>) -> Option<Self> {
        let (affinity, is_route) = (&route.policy.affinity, route.source.kind == Kind::Route);
        if route.termination == Termination::Passthrough || !affinity.cookie.unwrap_or(is_route) {
            return None;
        }
        let tls_only = route.termination != Termination::None && route.insecure != InsecurePolicy::Allow;
        let mut attributes = format!("; path={}; HttpOnly", affinity.path.as_deref().unwrap_or("/"));
        if affinity.secure.unwrap_or(tls_only) {
            attributes.push_str("; Secure");
        }
        // Browsers refuse `SameSite=None` without `Secure`. The OpenShift router states it nowhere else.
        let same_site = match affinity.same_site {
            Some(same_site) if tls_only || !is_route => Some(same_site),
            None if tls_only && is_route => Some(SameSite::None),
            _ => None,
        };
        if let Some(same_site) = same_site {
            attributes.push_str(&format!("; SameSite={same_site}"));
        }
        if let Some(age) = affinity.max_age {
            attributes.push_str(&format!("; Max-Age={}", age.as_secs()));
        }
        let name = match affinity.name.as_ref().or(name) {
            Some(name) => name.as_str().into(),
            None => route_name(&object.namespace, &object.name),
        };
        Some(Self { name, attributes: attributes.into() })
    }

    /// The value of a `Set-Cookie` field that names an endpoint.
    pub(crate) fn set(&self, value: &CookieValue) -> String {
        format!("{}={}{}", self.name, value.as_str(), self.attributes)
    }
}

impl CookieValue {
    /// That of an endpoint for a Service port.
    pub(crate) fn of(service: &ServiceKey, port: &str, endpoint: &Endpoint) -> Self {
        let (ip, number) = (endpoint.address.ip(), endpoint.address.port());
        let rest = format!("{}:{port}:{ip}:{number}", service.name);
        let text = if endpoint.pod.is_empty() { format!("ept:{rest}") } else { format!("pod:{}:{rest}", endpoint.pod) };
        Self(hex(&text))
    }

    /// Whether a client's value names this endpoint.
    pub(crate) fn is(&self, value: &[u8]) -> bool {
        self.0 == value
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are text")
    }
}

/// The leading blank is where the OpenShift router would have the termination, which it does not know yet at that point.
fn route_name(namespace: &str, name: &str) -> Box<str> {
    let digits = hex(&format!(" {namespace}:{name}"));
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// MD5 because the names and values that clients hold were made with it; nothing is kept secret or proven by it.
fn hex(text: &str) -> [u8; 32] {
    let digest = Md5::digest(text.as_bytes());
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digits
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::endpoints::EndpointState;
    use nearside_routing::policy::Policy;
    use nearside_routing::policy::affinity::Affinity;
    use nearside_routing::{HostPattern, PathRule};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn the_name_is_that_of_the_openshift_router() {
        assert_eq!(&*route_name("openshift-console", "console"), "1e2670d92730b515ce3a1bb65da45062");
    }

    #[test]
    fn the_value_is_the_digest_of_the_endpoints_name() {
        let endpoint = |pod: &str| Endpoint {
            address: "10.128.0.7:8443".parse().unwrap(),
            node: "n1".into(),
            pod: pod.into(),
            state: EndpointState::Ready,
        };
        let of = |pod: &str| CookieValue::of(&ServiceKey::new("shop", "web"), "https", &endpoint(pod));
        assert_eq!(of("web-1").0, hex("pod:web-1:web:https:10.128.0.7:8443"));
        assert_eq!(of("").0, hex("ept:web:https:10.128.0.7:8443"));
        assert!(
            of("web-1").is(of("web-1").as_str().as_bytes()) && !of("web-1").is(b"") && !of("web-2").is(&of("web-1").0)
        );
    }

    fn set(kind: Kind, termination: Termination, insecure: InsecurePolicy, affinity: Affinity) -> Option<String> {
        let route = CompiledRoute {
            source: ObjectKey::new(kind, "shop", "web"),
            pattern: HostPattern::Any,
            path: PathRule::Any,
            backends: [].into(),
            termination,
            insecure,
            policy: Arc::new(Policy { affinity, ..Policy::default() }),
            canary: None,
            credentials: None,
            closed: false,
            pod_tls: None,
        };
        let name = CookieName::parse("c").unwrap();
        AffinityCookie::of(&route, &route.source, Some(&name))
            .map(|cookie| cookie.set(&CookieValue([b'v'; 32])).replace(&"v".repeat(32), "v"))
    }

    #[test]
    fn attributes_depend_on_the_kind_the_termination_and_the_insecure_policy() {
        use InsecurePolicy::{Allow, None as Never, Redirect};
        use Termination::{Edge, None as Plain, Passthrough};
        let reencrypt = || Termination::Reencrypt { destination_ca: None };
        let plain = Some("c=v; path=/; HttpOnly");
        let secure = Some("c=v; path=/; HttpOnly; Secure; SameSite=None");
        for (kind, termination, insecure, expected) in [
            (Kind::Route, Plain, Allow, plain),
            (Kind::Route, Edge, Allow, plain),
            (Kind::Route, Edge, Redirect, secure),
            (Kind::Route, Edge, Never, secure),
            (Kind::Route, reencrypt(), Redirect, secure),
            (Kind::Route, reencrypt(), Allow, plain),
            (Kind::Route, Passthrough, Never, None),
            (Kind::Ingress, Edge, Redirect, None),
        ] {
            let found = set(kind, termination.clone(), insecure, Affinity::default());
            assert_eq!(found.as_deref(), expected, "{kind:?} {termination:?} {insecure:?}");
        }
        let asked = Affinity {
            cookie: Some(true),
            name: CookieName::parse("own").ok(),
            same_site: Some(SameSite::Lax),
            secure: Some(false),
            path: Some("/shop".into()),
            max_age: Some(Duration::from_secs(60)),
        };
        let ingress = set(Kind::Ingress, Edge, Redirect, asked.clone());
        assert_eq!(ingress.as_deref(), Some("own=v; path=/shop; HttpOnly; SameSite=Lax; Max-Age=60"));
        assert_eq!(set(Kind::Route, Plain, Allow, Affinity { cookie: Some(false), ..asked }), None);
    }
}
