//! The affinity cookie: a route and its annotations flow in, the cookie's name and attributes flow out; an endpoint flows in,
//! the value that names it flows out. Names and values are those of the OpenShift router, so that clients keep their pods
//! when it is replaced. Pure.

use md5::{Digest, Md5};
use nearside_routing::endpoints::{Endpoint, ServiceKey};
use nearside_routing::policy::affinity::{CookieName, SameSite};
use nearside_routing::table::{CompiledRoute, InsecurePolicy, Termination};
use nearside_routing::{HostPattern, Hostname, Kind, NodeId, ObjectKey};

/// The cookie of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AffinityCookie {
    /// The name.
    pub(crate) name: Box<str>,
    /// What follows the value.
    attributes: Box<str>,
    /// The node, where values tell it.
    home: Option<NodeId>,
}

/// What a cookie says to name an endpoint: a digest in hexadecimal digits, which tells nobody the pod's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CookieValue([u8; DIGEST]);

impl AffinityCookie {
    /// That of a route, if it has one. `name` is what routes use that state none; without it the cookie is named after an
    /// object. `home` is this node, where clients are to come back to it.
    pub(super) fn of(
        route: &CompiledRoute,
        object: &ObjectKey,
        name: Option<&CookieName>,
        home: Option<NodeId>,
    ) -> Option<Self> {
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
        // A browser throws away a cookie for a domain that is not the host's (RFC 6265 §5.3).
        if let Some(domain) = affinity.domain.as_ref().filter(|domain| is_below(&route.pattern, domain)) {
            attributes.push_str(&format!("; Domain={domain}"));
        }
        let name = match affinity.name.as_ref().or(name) {
            Some(name) => name.as_str().into(),
            None => route_name(&object.namespace, &object.name),
        };
        Some(Self { name, attributes: attributes.into(), home })
    }

    /// Whether clients come back to the node of their pod.
    pub(crate) fn brings_back(&self) -> bool {
        self.home.is_some()
    }

    /// The value of a `Set-Cookie` field that names an endpoint of this node.
    pub(crate) fn set(&self, value: &CookieValue) -> String {
        let home = self.home.map(|home| format!("-{home}")).unwrap_or_default();
        [&*self.name, "=", value.as_str(), &home, &*self.attributes].concat()
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

    /// Whether a client's value names this endpoint. What it says of the node counts for nothing here, so that values
    /// with and without it are good for one another's time.
    pub(crate) fn is(&self, value: &[u8]) -> bool {
        value.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || node(rest).is_some())
    }

    /// The node that a client's value tells, if it does.
    pub(crate) fn home(value: &[u8]) -> Option<NodeId> {
        node(value.get(DIGEST..)?)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are text")
    }
}

/// The node in what follows a digest.
fn node(rest: &[u8]) -> Option<NodeId> {
    NodeId::parse(std::str::from_utf8(rest.strip_prefix(b"-")?).ok()?)
}

/// Whether all hosts of a pattern are the domain or below it.
fn is_below(pattern: &HostPattern, domain: &Hostname) -> bool {
    let (HostPattern::Exact(host) | HostPattern::Wildcard(host)) = pattern else { return false };
    let above = host.as_str().strip_suffix(domain.as_str());
    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// The leading blank is where the OpenShift router would have the termination, which it does not know yet at that point.
fn route_name(namespace: &str, name: &str) -> Box<str> {
    let digits = hex(&format!(" {namespace}:{name}"));
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// MD5 because the names and values that clients hold were made with it; nothing is kept secret or proven by it.
fn hex(text: &str) -> [u8; DIGEST] {
    let digest = Md5::digest(text.as_bytes());
    let mut digits = [0; DIGEST];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digits
}

/// Characters of a digest.
const DIGEST: usize = 32;
const DIGITS: [u8; 16] = *b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::PathRule;
    use nearside_routing::endpoints::EndpointState;
    use nearside_routing::policy::Policy;
    use nearside_routing::policy::affinity::Affinity;
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

    #[test]
    fn a_value_may_tell_the_node_and_names_the_endpoint_with_and_without_it() {
        let (value, node) = (CookieValue([b'a'; DIGEST]), NodeId::of("n1"));
        let plain = "a".repeat(DIGEST);
        let cookie = AffinityCookie { name: "c".into(), attributes: "; path=/".into(), home: Some(node) };
        let with_node = format!("{plain}-{node}");
        assert_eq!(cookie.set(&value), format!("c={with_node}; path=/"));
        assert!(value.is(plain.as_bytes()) && value.is(with_node.as_bytes()));
        assert_eq!(CookieValue::home(with_node.as_bytes()), Some(node));
        for other in
            [plain.clone(), format!("{plain}-"), format!("{plain}-{node}x"), format!("{plain}{node}"), "-".into()]
        {
            assert_eq!(CookieValue::home(other.as_bytes()), None, "{other}");
            assert_eq!(value.is(other.as_bytes()), other == plain, "{other}");
        }
    }

    fn set(kind: Kind, termination: Termination, insecure: InsecurePolicy, affinity: Affinity) -> Option<String> {
        let route = CompiledRoute {
            source: ObjectKey::new(kind, "shop", "web"),
            pattern: HostPattern::Exact(Hostname::parse("www.example.com").unwrap()),
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
        AffinityCookie::of(&route, &route.source, Some(&name), None)
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
            domain: Hostname::parse("example.com").ok(),
            sticky: None,
        };
        let ingress = set(Kind::Ingress, Edge, Redirect, asked.clone());
        assert_eq!(
            ingress.as_deref(),
            Some("own=v; path=/shop; HttpOnly; SameSite=Lax; Max-Age=60; Domain=example.com")
        );
        let foreign = Affinity { domain: Hostname::parse("ample.com").ok(), ..asked.clone() };
        let foreign = set(Kind::Ingress, Edge, Redirect, foreign);
        assert_eq!(foreign.as_deref(), Some("own=v; path=/shop; HttpOnly; SameSite=Lax; Max-Age=60"));
        assert_eq!(set(Kind::Route, Plain, Allow, Affinity { cookie: Some(false), ..asked }), None);
    }
}
