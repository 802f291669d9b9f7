//! The route table: compiled hosts flow in, and for each request the decision which Route or Ingress rule answers flows
//! out. Immutable; a change makes a new table that shares every host that did not change.

use crate::certificate::{Authority, KeyPair};
use crate::credentials::Credentials;
use crate::endpoints::{PortSelector, ServiceKey};
use crate::hostname::{HostPattern, Hostname, split_first_label};
use crate::node_id::NodeId;
use crate::object::{Kind, ObjectKey};
use crate::path::{NormalPath, PathRule};
use crate::policy::Policy;
use crate::policy::canary::CanaryRules;
use crate::policy::client_certificate::{ClientGuard, Demand};
use crate::shared_map::{Changed, SharedMap};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every host that is served.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    exact: SharedMap<Hostname, HostRoutes>,
    wildcard: SharedMap<Hostname, HostRoutes>,
    any: Option<Arc<HostRoutes>>,
    /// Hosts that somebody holds though nothing can be served for them, such as a Route whose Secret is gone. Rules
    /// without host, which may be anybody's, do not answer for them.
    held: SharedMap<HostPattern, ()>,
}

/// A host that is served otherwise in a later table than in an earlier one. At least one of the two has it.
#[derive(Clone, Copy, Debug)]
pub struct ChangedHost<'t> {
    /// In the earlier table.
    pub before: Option<&'t Arc<HostRoutes>>,
    /// In the later table.
    pub after: Option<&'t Arc<HostRoutes>>,
}

impl<'t> ChangedHost<'t> {
    /// The hosts.
    pub fn pattern(&self) -> Option<&'t HostPattern> {
        self.after.or(self.before).map(|host| &host.pattern)
    }
}

/// What is served for one host pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRoutes {
    /// The hosts.
    pub pattern: HostPattern,
    /// The kind that owns the hosts: Route or Ingress.
    pub kind: Kind,
    /// The namespace of the oldest claim. It owns the hosts, except where namespaces share them: rules without host, and
    /// [`crate::admission::Ownership::InterNamespace`].
    pub namespace: Box<str>,
    /// In the order in which they are tried. A passthrough route is among them.
    pub routes: Box<[Arc<CompiledRoute>]>,
    /// The certificate for these hosts; `None` means the default certificate.
    pub certificate: Option<Arc<KeyPair>>,
    /// Certificates for single hosts of a wildcard.
    pub named: BTreeMap<Hostname, Arc<KeyPair>>,
    /// What clients must show where TLS ends here; `None` where they are not asked.
    pub clients: Option<Arc<HostClients>>,
}

/// What clients of a host must show.
#[derive(Debug, PartialEq)]
pub struct HostClients {
    /// As the object that speaks for the host says.
    pub guard: Arc<ClientGuard>,
    /// Whose certificates are let in. `None` where the Secret cannot be used: then nobody is.
    pub authority: Option<Arc<Authority>>,
}

impl HostRoutes {
    /// Every certificate of these hosts.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<KeyPair>> {
        self.certificate.iter().chain(self.named.values())
    }
}

impl HostRoutes {
    /// See [`CompiledRoute::is_guarded`].
    pub fn is_guarded(&self) -> bool {
        self.clients.is_some() || self.routes.iter().any(|route| route.is_guarded())
    }

    /// See [`CompiledRoute::owns_connections`].
    pub fn owns_connections(&self) -> bool {
        self.clients.is_some() || self.routes.iter().any(|route| route.owns_connections())
    }
}

/// One rule of one Route or Ingress, ready to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledRoute {
    /// The Route or Ingress.
    pub source: ObjectKey,
    /// The hosts.
    pub pattern: HostPattern,
    /// The paths.
    pub path: PathRule,
    /// The Services that answer, each with its share.
    pub backends: Box<[WeightedBackend]>,
    /// Where TLS ends.
    pub termination: Termination,
    /// What a plain HTTP request gets.
    pub insecure: InsecurePolicy,
    /// How it is served otherwise.
    pub policy: Arc<Policy>,
    /// Who may authenticate where the policy asks for passwords; `None` where their Secret is not there.
    pub credentials: Option<Arc<Credentials>>,
    /// Whether nobody is served, because what the object asks of clients cannot be kept.
    pub closed: bool,
    /// What pods over TLS are shown, where the object names a Secret for that.
    pub pod_tls: Option<Arc<PodTls>>,
    /// What answers some of its requests instead.
    pub canary: Option<Arc<Canary>>,
}

/// What pods over TLS are shown, and who vouches for them where they are verified.
#[derive(Debug, PartialEq)]
pub struct PodTls {
    /// The certificate and its key.
    pub pair: Arc<KeyPair>,
    /// The CAs.
    pub authority: Arc<Authority>,
}

/// What stands beside a rule and answers some of its requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// Which requests.
    pub rules: CanaryRules,
    /// The rule as the canary's Ingress serves it: its Services, and the policy of the main rule but for the choice of pods.
    pub route: Arc<CompiledRoute>,
}

impl CompiledRoute {
    /// Whether the route answers requests of this scheme (a redirect to https is not an answer).
    pub fn serves(&self, scheme: Scheme) -> bool {
        match scheme {
            Scheme::Http => self.termination == Termination::None || self.insecure == InsecurePolicy::Allow,
            Scheme::Https => matches!(self.termination, Termination::Edge | Termination::Reencrypt { .. }),
        }
    }

    /// Whether any of its Services may be asked at all.
    pub fn has_weight(&self) -> bool {
        self.backends.iter().any(|backend| backend.weight > 0)
    }

    /// Why nobody is served over this scheme, where that is so whoever asks.
    pub fn refuses(&self, scheme: Scheme) -> Option<Refused> {
        let guard = self.policy.client_certificates.guard.as_ref();
        if self.closed {
            return Some(Refused::Closed);
        }
        let needs_tls = guard.is_some_and(|guard| guard.demand == Demand::Required);
        (scheme == Scheme::Http && needs_tls).then_some(Refused::NeedsTls)
    }

    /// Whether the rule has a policy of its own on who may reach it, so that its host shares no TLS connection with others.
    pub fn is_guarded(&self) -> bool {
        self.owns_connections() || !self.policy.access.is_open()
    }

    /// Whether TLS connections for the rule's host are made by rules of its own.
    pub fn owns_connections(&self) -> bool {
        self.termination == Termination::Passthrough
    }

    /// The rule and what stands beside it.
    pub fn with_canary(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.canary.iter().map(|canary| &*canary.route))
    }

    /// The status of a redirect to https: 302 for Routes as OpenShift does, 308 for Ingresses.
    pub fn https_redirect_status(&self) -> u16 {
        if self.source.kind == Kind::Ingress { 308 } else { 302 }
    }
}

/// Why a rule serves nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// What its object asks of clients or pods cannot be kept.
    Closed,
    /// Clients must show a certificate, which they cannot over plain HTTP.
    NeedsTls,
}

/// A Service that answers for a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightedBackend {
    /// The Service.
    pub service: ServiceKey,
    /// Which of its ports.
    pub port: PortSelector,
    /// 0 to 256; the share among the backends that have local endpoints.
    pub weight: u16,
}

/// Where TLS ends (`spec.tls.termination`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Termination {
    /// No TLS: plain HTTP only.
    None,
    /// At the proxy; plain HTTP to the pod.
    Edge,
    /// At the proxy, and again at the pod.
    Reencrypt {
        /// PEM of the CA that must have signed the pod's certificate; `None` means no verification.
        destination_ca: Option<Arc<str>>,
    },
    /// At the pod; the proxy only moves bytes.
    Passthrough,
}

/// What a plain HTTP request gets where a route has TLS (`spec.tls.insecureEdgeTerminationPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsecurePolicy {
    /// The route does not exist on plain HTTP.
    None,
    /// The same answer as over TLS.
    Allow,
    /// A redirect to https.
    Redirect,
}

/// What happens to a request for a host that has no ready pod on this node (`nearside.dev/on-miss`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissPolicy {
    /// 307 to the alias of a node that has one.
    Redirect,
    /// 503 with `Retry-After`; the connection is closed.
    Reject,
    /// Another node is asked in the client's place where the operator allows it, within limits; else as [`Self::Redirect`].
    Relay,
}

impl MissPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Redirect, Self::Reject, Self::Relay];

    /// Its name in annotations, flags and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Reject => "reject",
            Self::Relay => "relay",
        }
    }
}

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS that ended at the proxy.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What the table says of a request.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'t> {
    /// This route answers.
    Serve(&'t Arc<CompiledRoute>),
    /// Answer with a redirect to https on behalf of this route.
    RedirectToHttps(&'t Arc<CompiledRoute>),
    /// No admitted route speaks of the host and path.
    NoRoute,
}

/// A decision and the node that the host named, if the host was a per-node alias.
#[derive(Clone, Debug)]
pub struct Found<'t> {
    /// What to do.
    pub decision: Decision<'t>,
    /// The alias taken apart: the host it stands for and the node it names.
    pub alias: Option<(String, NodeId)>,
}

impl RouteTable {
    /// Looks a request up. `host` is canonical ([`crate::hostname::canonical_host`]). A host that no rule names but that has the form of a
    /// per-node alias is looked up as the host it stands for.
    pub fn find(&self, scheme: Scheme, host: &str, path: &NormalPath<'_>) -> Found<'_> {
        if !self.exact.contains_key(host)
            && let Some((original, node)) = NodeId::split_alias(host)
            && self.names(&original)
        {
            let decision = self.decide(scheme, &original, path);
            return Found { decision, alias: Some((original, node)) };
        }
        Found { decision: self.decide(scheme, host, path), alias: None }
    }

    /// Whether a pod could read a path that this route answers as one that the route does not speak of, or that another rule of its host
    /// has something to say about. `raw` is what the pod gets. A rule that is written with such signs knows what it does.
    pub fn is_ambiguous(&self, scheme: Scheme, host: &str, raw: &str, route: &Arc<CompiledRoute>) -> bool {
        let readings = NormalPath::other_readings(raw);
        let stated = || route.path.to_string();
        if readings.is_empty() || !NormalPath::other_readings(stated().trim_start_matches('=')).is_empty() {
            return false;
        }
        readings.iter().any(|path| match self.find(scheme, host, path).decision {
            Decision::Serve(other) | Decision::RedirectToHttps(other) => !Arc::ptr_eq(other, route),
            Decision::NoRoute => true,
        })
    }

    /// The passthrough route that a TLS connection with this server name belongs to. An exact host decides before a
    /// wildcard, whatever its termination. `Some` also for a per-node alias of a passthrough host.
    pub fn passthrough(&self, server_name: &str) -> Option<&Arc<CompiledRoute>> {
        let host = self.host_of_server_name(server_name)?;
        host.routes.iter().find(|route| route.termination == Termination::Passthrough)
    }

    /// Whether a request for `host` must not be answered on a TLS connection that was made for `server_name` (RFC 9110
    /// §15.5.20): one of the two keeps others off its connections, or off itself.
    pub fn is_misdirected(&self, server_name: Option<&str>, host: &str) -> bool {
        if server_name == Some(host) {
            return false;
        }
        let asked = self.host_of_server_name(host).map(Arc::as_ref);
        // Without a name there is nothing to disagree with, but such a connection was not made by the host's own rules.
        let Some(name) = server_name else { return asked.is_some_and(HostRoutes::owns_connections) };
        let named = self.host_of_server_name(name).map(Arc::as_ref);
        match (asked, named) {
            // The hosts of one wildcard have one policy.
            (Some(asked), Some(named)) if std::ptr::eq(asked, named) => false,
            _ => [asked, named].into_iter().flatten().any(HostRoutes::is_guarded),
        }
    }

    /// The certificate for a server name: the exact host's, else what the wildcard above it has for this name, else the
    /// wildcard's own; `None` means the default certificate.
    pub fn certificate(&self, server_name: &str) -> Option<&Arc<KeyPair>> {
        let of = |name: &str| {
            let exact = self.exact.get(name).and_then(|host| host.certificate.as_ref());
            exact.or_else(|| {
                let wildcard = self.wildcard_of(name)?;
                wildcard.named.get(name).or(wildcard.certificate.as_ref())
            })
        };
        of(server_name).or_else(|| NodeId::split_alias(server_name).and_then(|(original, _)| of(&original)))
    }

    /// What a TLS connection for this server name asks clients for. Where rules of a wildcard may answer for an exact host,
    /// what they ask for counts, too.
    pub fn clients(&self, server_name: &str) -> Option<&Arc<HostClients>> {
        let host = self.host_of_server_name(server_name)?;
        let above = || match &host.pattern {
            HostPattern::Exact(name) if host.kind == Kind::Route => self.wildcard_of(name.as_str())?.clients.as_ref(),
            _ => None,
        };
        host.clients.as_ref().or_else(above)
    }

    /// What a request over TLS for this host must have shown: to the host, and to the host of the rule that answers where
    /// that is another one.
    pub fn guards(&self, host: &str, route: Option<&CompiledRoute>) -> impl Iterator<Item = &Arc<HostClients>> {
        let named = self.host_of_server_name(host);
        let answering = route.and_then(|route| self.host(&route.pattern));
        let answering = answering.filter(|answering| named.is_none_or(|named| !Arc::ptr_eq(named, answering)));
        named.into_iter().chain(answering).filter_map(|host| host.clients.as_ref())
    }

    /// Whether any rule names this host, exactly, by wildcard, or as a per-node alias.
    pub fn knows(&self, server_name: &str) -> bool {
        self.host_of_server_name(server_name).is_some()
    }

    /// How many host patterns are served.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len() + usize::from(self.any.is_some())
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every host pattern that is served, in no particular order.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<HostRoutes>> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }

    /// The hosts that are served otherwise than in another table: what that one has, and what this one has.
    pub fn changes_since<'t>(&'t self, before: &'t Self) -> Vec<ChangedHost<'t>> {
        let of =
            |changed: Changed<'t, Hostname, HostRoutes>| ChangedHost { before: changed.before, after: changed.after };
        let mut all: Vec<ChangedHost<'t>> = self.exact.changes_since(&before.exact).into_iter().map(of).collect();
        all.extend(self.wildcard.changes_since(&before.wildcard).into_iter().map(of));
        let any = ChangedHost { before: before.any.as_ref(), after: self.any.as_ref() };
        if any.before.map(Arc::as_ptr) != any.after.map(Arc::as_ptr) {
            all.push(any);
        }
        all
    }

    /// What is served for a pattern.
    pub fn host(&self, pattern: &HostPattern) -> Option<&Arc<HostRoutes>> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Wildcard(domain) => self.wildcard.get(domain),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// Whether rules name this very host; in the form of an alias it is none then.
    pub fn names_exactly(&self, host: &Hostname) -> bool {
        self.exact.contains_key(host)
    }

    /// Puts a host in or, where nothing is served for it any more, takes it out. `held` says whether somebody asks for
    /// it all the same ([`crate::Snapshot::claimed`]).
    pub(crate) fn set(&mut self, pattern: &HostPattern, routes: Option<Arc<HostRoutes>>, held: bool) {
        if held && routes.is_none() {
            if !self.held.contains_key(pattern) {
                self.held.insert(pattern.clone(), Arc::default());
            }
        } else {
            self.held.remove(pattern);
        }
        if self.host(pattern).map(Arc::as_ptr) == routes.as_ref().map(Arc::as_ptr) {
            return;
        }
        match (pattern, routes) {
            (HostPattern::Exact(name), routes) => self.exact.set(name.clone(), routes),
            (HostPattern::Wildcard(domain), routes) => self.wildcard.set(domain.clone(), routes),
            (HostPattern::Any, routes) => self.any = routes,
        }
    }

    fn names(&self, host: &str) -> bool {
        self.exact.contains_key(host) || self.wildcard_of(host).is_some()
    }

    fn wildcard_of(&self, host: &str) -> Option<&Arc<HostRoutes>> {
        let (label, domain) = split_first_label(host);
        self.wildcard.get(domain.filter(|_| !label.is_empty())?)
    }

    fn host_of_server_name(&self, name: &str) -> Option<&Arc<HostRoutes>> {
        let named = |name: &str| self.exact.get(name).or_else(|| self.wildcard_of(name));
        if let Some(host) = self.exact.get(name) {
            return Some(host);
        }
        NodeId::split_alias(name).and_then(|(original, _)| named(&original)).or_else(|| named(name))
    }

    /// The most specific rule that matches decides on a redirect to https: a rule without redirect shields its subtree
    /// from a broader one, also from that of a wildcard. The answer is that of the most specific rule that serves the
    /// scheme.
    fn decide(&self, scheme: Scheme, host: &str, path: &NormalPath<'_>) -> Decision<'_> {
        let (exact, wildcard) = (self.exact.get(host), self.wildcard_of(host));
        let mut matched = false;
        for found in [exact, wildcard].into_iter().flatten() {
            match decide_within(found, scheme, path, matched) {
                Within::Decided(decision) => return decision,
                Within::NotServed => matched = true,
                Within::NoMatch => {}
            }
            // Routes fall through to the wildcard above them, Ingresses do not.
            if found.kind == Kind::Ingress {
                return if matched { Decision::NoRoute } else { self.catch_all_default(found, scheme) };
            }
        }
        match &self.any {
            Some(any) if exact.is_none() && wildcard.is_none() && !self.is_held(host) => {
                match decide_within(any, scheme, path, false) {
                    Within::Decided(decision) => decision,
                    Within::NotServed | Within::NoMatch => Decision::NoRoute,
                }
            }
            _ => Decision::NoRoute,
        }
    }

    /// The default backend of an Ingress without rules serves what no rule of a host matches, within its own namespace:
    /// anyone may write such an Ingress, and must not be able to answer for the hosts of others.
    fn catch_all_default(&self, host: &HostRoutes, scheme: Scheme) -> Decision<'_> {
        let any = self.any.as_ref().map(|any| any.routes.iter()).unwrap_or_default();
        let own =
            |route: &&Arc<CompiledRoute>| route.path == PathRule::Default && route.source.namespace == host.namespace;
        match any.into_iter().find(own) {
            Some(route) if scheme == Scheme::Http && route.insecure == InsecurePolicy::Redirect => {
                Decision::RedirectToHttps(route)
            }
            Some(route) if route.serves(scheme) => Decision::Serve(route),
            _ => Decision::NoRoute,
        }
    }

    fn is_held(&self, host: &str) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let Ok(name) = Hostname::parse(host) else {
            return false;
        };
        let domain = name.split_first_label().1.and_then(|domain| Hostname::parse(domain).ok());
        domain.is_some_and(|domain| self.held.contains_key(&HostPattern::Wildcard(domain)))
            || self.held.contains_key(&HostPattern::Exact(name))
    }
}

/// What the rules of one host say of a request.
enum Within<'t> {
    Decided(Decision<'t>),
    /// Rules match, and none serves the scheme.
    NotServed,
    NoMatch,
}

/// `shielded` says that a rule of a more specific host matched: then no rule of this one redirects.
fn decide_within<'t>(host: &'t HostRoutes, scheme: Scheme, path: &NormalPath<'_>, shielded: bool) -> Within<'t> {
    let mut matching = host.routes.iter().filter(|route| route.path.matches(path)).peekable();
    let Some(first) = matching.peek() else {
        return Within::NoMatch;
    };
    if scheme == Scheme::Http && !shielded && first.insecure == InsecurePolicy::Redirect {
        return Within::Decided(Decision::RedirectToHttps(first));
    }
    matching
        .find(|route| route.serves(scheme))
        .map_or(Within::NotServed, |route| Within::Decided(Decision::Serve(route)))
}

#[cfg(test)]
mod tests;
