//! What an Ingress asks for: hosts with paths, certificates, default backends (`networking.k8s.io/v1`).

mod policy;

use super::other_hosts::{alias_claims, www_claims};
use super::{CanaryClaim, CertificateClaim, Claim, ClaimedCertificate, Claims};
use crate::admission::HostRules;
use crate::annotation::Annotations;
use crate::endpoints::{PortSelector, ServiceKey};
use crate::hostname::{HostPattern, Hostname};
use crate::object::{Ingress, IngressBackend, IngressPath, Kind};
use crate::path::PathRule;
use crate::policy::Policy;
use crate::policy::termination::IngressTermination;
use crate::table::{CompiledRoute, InsecurePolicy, Termination, WeightedBackend};
use crate::verdict::{Problem, Reason, shown};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The claims of an Ingress of our class. Each rule, path and certificate stands for itself: a bad one is a problem, the
/// others are served.
pub fn ingress_claims(ingress: &Ingress, host_rules: &HostRules) -> Claims {
    let mut annotations = Annotations::new(&ingress.metadata);
    let policy = policy::read(&mut annotations);
    let termination = match policy.termination {
        None | Some(IngressTermination::Edge) => Termination::Edge,
        Some(IngressTermination::Reencrypt) => Termination::Reencrypt { destination_ca: None },
        Some(IngressTermination::Passthrough) => Termination::Passthrough,
    };
    let mut builder = Builder {
        ingress,
        host_rules,
        policy: Arc::new(policy),
        termination,
        hosts: BTreeSet::new(),
        rules: Vec::new(),
        tls_hosts: BTreeSet::new(),
        defaults: BTreeSet::new(),
        regex_bytes: 0,
        problems: annotations.into_problems(),
    };
    let certificates = builder.certificates();
    builder.rules();
    let Builder { mut hosts, mut rules, mut problems, .. } = builder;
    let check = |pattern: &HostPattern| check(host_rules, pattern);
    rules.extend(alias_claims(&rules, &mut hosts, &check, &mut problems));
    rules.extend(www_claims(&rules, &mut hosts, host_rules));
    let first_host = ingress.spec.rules.iter().map(|rule| rule.host.as_str()).find(|host| !host.is_empty());
    Claims {
        object: ingress.metadata.key(Kind::Ingress),
        host: first_host.unwrap_or_default().chars().take(SHOWN).collect(),
        wildcard_policy: None,
        hosts,
        rules,
        certificates,
        problems,
    }
}

fn check(host_rules: &HostRules, pattern: &HostPattern) -> Result<(), &'static str> {
    match pattern {
        HostPattern::Exact(name) | HostPattern::Wildcard(name) => host_rules.check(name.as_str()),
        HostPattern::Any => host_rules.check_any(),
    }
}

struct Builder<'i> {
    ingress: &'i Ingress,
    host_rules: &'i HostRules,
    policy: Arc<Policy>,
    termination: Termination,
    hosts: BTreeSet<HostPattern>,
    rules: Vec<Claim>,
    /// The hosts that `spec.tls` speaks of.
    tls_hosts: BTreeSet<HostPattern>,
    /// The hosts for which `spec.defaultBackend` was claimed: several rules may name one host.
    defaults: BTreeSet<HostPattern>,
    /// What the regular expressions take so far.
    regex_bytes: usize,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    fn problem(&mut self, field: impl Into<String>, reason: Reason, message: impl Into<String>) {
        self.problems.push(Problem::new(field, reason, message));
    }

    /// Reads `spec.tls[]`. A rule's host takes the entry that lists it, else the one that lists the wildcard above it,
    /// else the one without hosts, which means all hosts. An entry without Secret means the default certificate.
    /// An alias without an entry has that of the host that it stands for.
    fn certificates(&mut self) -> Vec<CertificateClaim> {
        let ingress = self.ingress;
        if self.policy.canary.is_some() || self.termination == Termination::Passthrough {
            // The main rule brings the certificate, or the pod.
            return Vec::new();
        }
        let mut secrets: BTreeMap<HostPattern, (usize, &str)> = BTreeMap::new();
        let mut of_all_hosts = None;
        for (place, tls) in ingress.spec.tls.iter().enumerate() {
            if tls.hosts.is_empty() {
                of_all_hosts = of_all_hosts.or(Some((place, tls.secret_name.as_str())));
            }
            for host in &tls.hosts {
                match HostPattern::parse(host) {
                    Ok(pattern) => drop(secrets.entry(pattern).or_insert((place, tls.secret_name.as_str()))),
                    Err(error) => {
                        self.problem(format!("spec.tls[{place}].hosts"), Reason::InvalidHost, error.to_string());
                    }
                }
            }
        }
        let hosts = || ingress.spec.rules.iter().filter_map(|rule| HostPattern::parse(&rule.host).ok());
        let aliases = self.policy.aliases.hosts();
        let ruled: BTreeSet<HostPattern> = hosts().chain(aliases.iter().cloned()).collect();
        let without_rules = ingress.spec.rules.is_empty().then_some(HostPattern::Any);
        for host in ruled.iter().cloned().chain(without_rules) {
            let above = wildcard_above(&host).and_then(|wildcard| secrets.get(&wildcard).copied());
            if let Some(secret) = above.or(of_all_hosts) {
                secrets.entry(host).or_insert(secret);
            }
        }
        if let Some(secret) =
            hosts().find(|host| *host != HostPattern::Any).and_then(|host| secrets.get(&host).copied())
        {
            for alias in aliases {
                secrets.entry(alias.clone()).or_insert(secret);
            }
        }
        let named = secrets.iter().filter(|(host, (_, secret))| !secret.is_empty() && **host != HostPattern::Any);
        let claims = named.map(|(host, (place, secret))| {
            // A host that is listed by name, and served by a rule for the wildcard above it.
            let served_by = wildcard_above(host).filter(|wildcard| !ruled.contains(host) && ruled.contains(wildcard));
            let (pattern, name) = match (served_by, host) {
                (Some(wildcard), HostPattern::Exact(name)) => (wildcard, Some(name.clone())),
                _ => (host.clone(), None),
            };
            let field = format!("spec.tls[{place}].secretName");
            CertificateClaim { pattern, name, secret: (*secret).into(), age: ingress.metadata.age(), field }
        });
        let claims = claims.collect();
        self.tls_hosts = secrets.into_keys().collect();
        claims
    }

    fn rules(&mut self) {
        let ingress = self.ingress;
        for (place, rule) in ingress.spec.rules.iter().enumerate() {
            let field = format!("spec.rules[{place}]");
            let pattern = match HostPattern::parse(&rule.host) {
                Ok(pattern) => pattern,
                Err(error) => {
                    self.problem(format!("{field}.host"), Reason::InvalidHost, error.to_string());
                    continue;
                }
            };
            if let Err(message) = check(self.host_rules, &pattern) {
                self.problem(format!("{field}.host"), Reason::RouteNotAdmitted, message);
                continue;
            }
            if self.termination == Termination::Passthrough && pattern == HostPattern::Any {
                let message = "passthrough needs a host: connections are told apart by the server name";
                self.problem(format!("{field}.host"), Reason::RouteNotAdmitted, message);
                continue;
            }
            self.ask_for(&pattern);
            for (place, path) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
                self.path(&pattern, path, &format!("{field}.http.paths[{place}]"));
            }
            if let Some(backend) = &ingress.spec.default_backend
                && self.defaults.insert(pattern.clone())
                && self.termination != Termination::Passthrough
            {
                self.claim(pattern, PathRule::Default, backend, "spec.defaultBackend");
            }
        }
        let Some(backend) = &ingress.spec.default_backend else { return };
        if self.termination == Termination::Passthrough {
            let message = "is not possible with passthrough: the path / of a host says where its connections go";
            self.problem("spec.defaultBackend", Reason::RouteNotAdmitted, message);
        } else if ingress.spec.rules.is_empty() {
            if let Err(message) = check(self.host_rules, &HostPattern::Any) {
                self.problem("spec.defaultBackend", Reason::RouteNotAdmitted, message);
                return;
            }
            self.ask_for(&HostPattern::Any);
            self.claim(HostPattern::Any, PathRule::Default, backend, "spec.defaultBackend");
        }
    }

    /// A canary asks for no host; it stands where the main rule stands.
    fn ask_for(&mut self, pattern: &HostPattern) {
        if self.policy.canary.is_none() {
            self.hosts.insert(pattern.clone());
        }
    }

    fn path(&mut self, pattern: &HostPattern, path: &IngressPath, field: &str) {
        let canary = self.policy.canary.is_some();
        let regex = self.policy.rewrite.has_regex_paths() || (canary && PathRule::ingress_prefix(&path.path).is_err());
        let rule = match path.path_type.as_str() {
            "ImplementationSpecific" if regex && !path.path.is_empty() => {
                self.regex(pattern, path, field);
                return;
            }
            "Exact" => PathRule::ingress_exact(&path.path),
            "Prefix" | "ImplementationSpecific" => PathRule::ingress_prefix(&path.path),
            other => {
                let message = format!("{:?} is not one of Exact, Prefix, ImplementationSpecific", shown(other));
                self.problem(format!("{field}.pathType"), Reason::InvalidPath, message);
                return;
            }
        };
        if regex && path.path_type == "Prefix" && path.path.contains(['(', '[', '{', '*', '|', '^', '$', '\\']) {
            let message = "is taken as text; a regular expression needs the type ImplementationSpecific";
            self.problem(format!("{field}.pathType"), Reason::InvalidPath, message);
        }
        match rule {
            Ok(rule) if self.termination == Termination::Passthrough && !is_whole(&rule) => {
                let message = "a path is not possible with passthrough: nothing of a request is seen";
                self.problem(format!("{field}.path"), Reason::RouteNotAdmitted, message);
            }
            Ok(rule) if path.path.is_empty() || path.path.starts_with('/') => {
                self.claim(pattern.clone(), rule, &path.backend, field);
                if let (true, Some(claim)) = (path.path_type == "ImplementationSpecific", self.rules.last_mut()) {
                    claim.canary.iter_mut().for_each(|canary| canary.written = Some(path.path.as_str().into()));
                }
            }
            Ok(_) => self.problem(format!("{field}.path"), Reason::InvalidPath, "a path starts with a slash"),
            Err(error) => self.problem(format!("{field}.path"), Reason::InvalidPath, error.to_string()),
        }
    }

    fn regex(&mut self, pattern: &HostPattern, path: &IngressPath, field: &str) {
        match PathRule::ingress_regex(&path.path) {
            Ok(rule) => {
                if let PathRule::Regex(regex) = &rule {
                    self.regex_bytes += regex.memory();
                }
                if self.regex_bytes > REGEX_BYTES {
                    let message = "the regular expressions of this Ingress are too large together";
                    self.problem(format!("{field}.path"), Reason::InvalidPath, message);
                } else {
                    self.claim(pattern.clone(), rule, &path.backend, field);
                }
            }
            Err(error) => self.problem(format!("{field}.path"), Reason::InvalidPath, error.to_string()),
        }
    }

    /// What plain HTTP gets: where there is TLS, a redirect, unless the object says otherwise. A rule for the challenges of
    /// a certificate authority (RFC 8555 §8.3) stays open: the certificate may be what is missing.
    fn insecure(&self, pattern: &HostPattern, path: &PathRule) -> InsecurePolicy {
        let challenge = match path {
            PathRule::Exact(path) | PathRule::Below(path) | PathRule::Prefix { path, .. } => {
                path.starts_with("/.well-known/acme-challenge")
            }
            PathRule::Any | PathRule::Default | PathRule::Regex(_) => false,
        };
        let tls = || self.policy.termination.is_some() || self.tls_hosts.contains(pattern);
        match (self.policy.redirects.https.unwrap_or_else(tls) && !challenge, &self.termination) {
            (true, _) => InsecurePolicy::Redirect,
            // The proxy holds no key, and a pod that expects TLS no plain requests.
            (false, Termination::Passthrough) => InsecurePolicy::None,
            (false, _) => InsecurePolicy::Allow,
        }
    }

    fn claim(&mut self, pattern: HostPattern, path: PathRule, backend: &IngressBackend, field: &str) {
        // A path whose backend cannot be served answers 503; a broader rule must not answer in its place.
        let backends: Box<[WeightedBackend]> = self.backend(backend, field).into_iter().collect();
        let insecure = self.insecure(&pattern, &path);
        let route = CompiledRoute {
            source: self.ingress.metadata.key(Kind::Ingress),
            pattern,
            path,
            backends,
            // Without `spec.tls` the host is served over TLS as well, with the default certificate.
            termination: self.termination.clone(),
            insecure,
            policy: Arc::clone(&self.policy),
            canary: None,
            credentials: None,
            closed: false,
            pod_tls: None,
        };
        self.rules.push(Claim {
            route: Arc::new(route),
            age: self.ingress.metadata.age(),
            field: field.to_owned(),
            certificate: ClaimedCertificate::Default,
            primary: true,
            canary: self.policy.canary.is_some().then_some(CanaryClaim { written: None }),
        });
    }

    fn backend(&mut self, backend: &IngressBackend, field: &str) -> Option<WeightedBackend> {
        let field = if field == "spec.defaultBackend" { field.to_owned() } else { format!("{field}.backend") };
        let Some(service) = &backend.service else {
            self.problem(field, Reason::InvalidBackend, "the backend must be a Service of the Ingress's namespace");
            return None;
        };
        let port = match (service.port.name.as_str(), u16::try_from(service.port.number)) {
            ("", Ok(number)) if number != 0 => PortSelector::ServicePort(number),
            ("", _) => {
                let message = "the port needs a name, or a number from 1 to 65535";
                self.problem(format!("{field}.service.port"), Reason::InvalidBackend, message);
                return None;
            }
            (name, _) => PortSelector::ServicePortName(name.into()),
        };
        Some(WeightedBackend {
            service: ServiceKey::new(&self.ingress.metadata.namespace, &service.name),
            port,
            weight: 1,
        })
    }
}

fn is_whole(path: &PathRule) -> bool {
    matches!(path, PathRule::Any) || matches!(path, PathRule::Prefix { path, .. } if path.is_empty())
}

/// The wildcard that covers an exact host.
fn wildcard_above(host: &HostPattern) -> Option<HostPattern> {
    match host {
        HostPattern::Exact(name) => {
            name.split_first_label().1.and_then(|domain| Hostname::parse(domain).ok()).map(HostPattern::Wildcard)
        }
        HostPattern::Wildcard(_) | HostPattern::Any => None,
    }
}

/// Characters of a host that a verdict repeats; a valid host is shorter.
const SHOWN: usize = 255;
/// Bytes that the compiled regular expressions of one Ingress take together.
const REGEX_BYTES: usize = 256 * 1024;
