//! What an Ingress asks for: hosts with paths, certificates, default backends (`networking.k8s.io/v1`).

use super::{CertificateClaim, Claim, ClaimedCertificate, Claims, annotation};
use crate::endpoints::{PortSelector, ServiceKey};
use crate::hostname::HostPattern;
use crate::object::{Ingress, IngressBackend, IngressPath, Kind};
use crate::path::PathRule;
use crate::table::{CompiledRoute, InsecurePolicy, MissPolicy, Termination, WeightedBackend};
use crate::verdict::{Problem, Reason};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The claims of an Ingress of our class. Each rule, path and certificate stands for itself: a bad one is a problem, the
/// others are served.
pub fn ingress_claims(ingress: &Ingress) -> Claims {
    let mut problems = Vec::new();
    let on_miss = annotation::on_miss(&ingress.metadata, &mut problems);
    let mut builder =
        Builder { ingress, on_miss, hosts: BTreeSet::new(), rules: Vec::new(), tls_hosts: Vec::new(), problems };
    let certificates = builder.certificates();
    builder.rules();
    let Builder { hosts, rules, problems, .. } = builder;
    let first_host = ingress.spec.rules.iter().map(|rule| rule.host.as_str()).find(|host| !host.is_empty());
    Claims {
        object: ingress.metadata.key(Kind::Ingress),
        host: first_host.unwrap_or_default().chars().take(SHOWN).collect(),
        hosts,
        rules,
        certificates,
        problems,
    }
}

struct Builder<'i> {
    ingress: &'i Ingress,
    on_miss: Option<MissPolicy>,
    hosts: BTreeSet<HostPattern>,
    rules: Vec<Claim>,
    tls_hosts: Vec<HostPattern>,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    fn problem(&mut self, field: impl Into<String>, reason: Reason, message: impl Into<String>) {
        self.problems.push(Problem::new(field, reason, message));
    }

    /// Reads `spec.tls[]`; an entry without hosts means all hosts of the Ingress, one without Secret the default
    /// certificate.
    fn certificates(&mut self) -> Vec<CertificateClaim> {
        let ingress = self.ingress;
        let mut claims = Vec::new();
        for (place, tls) in ingress.spec.tls.iter().enumerate() {
            let mut hosts: Vec<&str> = tls.hosts.iter().map(String::as_str).collect();
            if hosts.is_empty() {
                hosts = ingress.spec.rules.iter().map(|rule| rule.host.as_str()).collect();
            }
            for host in hosts {
                match HostPattern::parse(host) {
                    Ok(pattern) => {
                        if !tls.secret_name.is_empty() && pattern != HostPattern::Any {
                            claims.push(CertificateClaim {
                                pattern: pattern.clone(),
                                secret: tls.secret_name.as_str().into(),
                                age: ingress.metadata.age(),
                                field: format!("spec.tls[{place}].secretName"),
                            });
                        }
                        self.tls_hosts.push(pattern);
                    }
                    Err(error) => {
                        self.problem(format!("spec.tls[{place}].hosts"), Reason::InvalidHost, error.to_string());
                    }
                }
            }
        }
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
            self.hosts.insert(pattern.clone());
            for (place, path) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
                self.path(&pattern, path, &format!("{field}.http.paths[{place}]"));
            }
            if let Some(backend) = &ingress.spec.default_backend {
                self.claim(pattern, PathRule::Default, backend, "spec.defaultBackend");
            }
        }
        if let Some(backend) = &ingress.spec.default_backend
            && ingress.spec.rules.is_empty()
        {
            self.hosts.insert(HostPattern::Any);
            self.claim(HostPattern::Any, PathRule::Default, backend, "spec.defaultBackend");
        }
    }

    fn path(&mut self, pattern: &HostPattern, path: &IngressPath, field: &str) {
        let rule = match path.path_type.as_str() {
            "Exact" => PathRule::ingress_exact(&path.path),
            "Prefix" | "ImplementationSpecific" => PathRule::ingress_prefix(&path.path),
            other => {
                let message = format!("{other:?} is not one of Exact, Prefix, ImplementationSpecific");
                self.problem(format!("{field}.pathType"), Reason::InvalidPath, message);
                return;
            }
        };
        match rule {
            Ok(rule) if path.path.is_empty() || path.path.starts_with('/') => {
                self.claim(pattern.clone(), rule, &path.backend, field);
            }
            Ok(_) => self.problem(format!("{field}.path"), Reason::InvalidPath, "a path starts with a slash"),
            Err(error) => self.problem(format!("{field}.path"), Reason::InvalidPath, error.to_string()),
        }
    }

    fn claim(&mut self, pattern: HostPattern, path: PathRule, backend: &IngressBackend, field: &str) {
        let Some(backend) = self.backend(backend, field) else {
            return;
        };
        let has_tls = self.tls_hosts.iter().any(|tls| match &pattern {
            HostPattern::Exact(name) => tls.covers(name.as_str()),
            other => tls == other,
        });
        let route = CompiledRoute {
            source: self.ingress.metadata.key(Kind::Ingress),
            pattern,
            path,
            backends: Box::new([backend]),
            // Without `spec.tls` the host is served over TLS as well, with the default certificate.
            termination: Termination::Edge,
            insecure: if has_tls { InsecurePolicy::Redirect } else { InsecurePolicy::Allow },
            on_miss: self.on_miss,
        };
        self.rules.push(Claim {
            route: Arc::new(route),
            age: self.ingress.metadata.age(),
            field: field.to_owned(),
            certificate: ClaimedCertificate::Default,
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

/// Characters of a host that a verdict repeats; a valid host is shorter.
const SHOWN: usize = 255;
