//! What would come of Routes and Ingresses: their claims, the verdicts on them and all objects that are known flow in; what is
//! not served, what is not there, and what is odd about certificates flow out.

use super::finding::{Remark, Severity};
use crate::explain::{complaint, time_left};
use nearside_routing::certificate::{CertificateNames, KeyPair, Validity};
use nearside_routing::claim::{ClaimedCertificate, Claims, known_annotations};
use nearside_routing::endpoints::{PortSelector, ServiceKey};
use nearside_routing::known_secret::KnownSecret;
use nearside_routing::object::{IntOrString, Service, ServicePort};
use nearside_routing::{HostPattern, Hostname, Kind, NodeId, Object, ObjectKey, Outcome, Problem, Reason, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// What is known beside one object.
pub(super) struct Known<'k> {
    pub(super) objects: &'k BTreeMap<ObjectKey, Object>,
    /// Whether a cluster was read: then what is not among the objects is nowhere.
    pub(super) cluster: bool,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Known<'_> {
    /// Everything about one Route or Ingress of ours.
    pub(super) fn remarks(&self, claims: &Claims, verdict: &Verdict) -> Vec<Remark> {
        let mut remarks: Vec<Remark> =
            verdict.all_problems().map(|problem| self.problem(claims, verdict, problem)).collect();
        remarks.extend(self.services(claims));
        remarks.extend(self.certificates(claims));
        remarks
    }

    fn problem(&self, claims: &Claims, verdict: &Verdict, problem: &Problem) -> Remark {
        let rejected = matches!(&verdict.outcome, Outcome::Rejected(decisive) if decisive == problem);
        let about_secrets = matches!(
            problem.reason,
            Reason::ExternalCertificateGetFailed
                | Reason::CertificateNotUsable
                | Reason::CredentialsNotUsable
                | Reason::SecretNotUsable
        );
        let absent = self.secrets(claims).into_iter().find(|secret| {
            !self.objects.contains_key(&self.secret(claims, secret)) && problem.message.contains(&**secret)
        });
        let (severity, message) = match (absent, problem.reason) {
            (Some(secret), _) if about_secrets && !self.cluster => {
                let message = format!("Secret {secret} is not in the files (--cluster looks for it)");
                (Severity::Warning, message)
            }
            (_, Reason::InvalidAnnotation) if !rejected => (Severity::Warning, suggested(problem)),
            (_, Reason::InvalidHeaderAction) if !rejected => (Severity::Warning, problem.message.clone()),
            _ => (Severity::Error, problem.message.clone()),
        };
        Remark::new(severity, problem.field.clone(), problem.reason.as_str(), message)
    }

    /// The Secrets that an object names.
    fn secrets(&self, claims: &Claims) -> BTreeSet<String> {
        let by_rule = claims.rules.iter().filter_map(|rule| match &rule.certificate {
            ClaimedCertificate::External { secret } => Some(secret.to_string()),
            _ => None,
        });
        let by_policy = claims.rules.iter().flat_map(|rule| rule.route.policy.secrets().map(ToOwned::to_owned));
        let certificates = claims.certificates.iter().map(|certificate| certificate.secret.to_string());
        by_rule.chain(by_policy).chain(certificates).collect()
    }

    fn secret(&self, claims: &Claims, name: &str) -> ObjectKey {
        ObjectKey::new(Kind::Secret, &claims.object.namespace, name)
    }

    /// Services and ports that are not there, and Services that have no pods.
    fn services(&self, claims: &Claims) -> Vec<Remark> {
        let severity = if self.cluster { Severity::Error } else { Severity::Warning };
        let field = |rule: &str| match claims.object.kind {
            Kind::Route => "spec.to".to_owned(),
            _ => format!("{rule}.backend"),
        };
        let mut seen: BTreeSet<(String, &ServiceKey, &PortSelector)> = BTreeSet::new();
        let mut remarks = Vec::new();
        for rule in &claims.rules {
            for backend in &rule.route.backends {
                if !seen.insert((field(&rule.field), &backend.service, &backend.port)) {
                    continue;
                }
                let key = ObjectKey::new(Kind::Service, &backend.service.namespace, &backend.service.name);
                let mut add = |severity, reason: &str, message: String| {
                    remarks.push(Remark::new(severity, field(&rule.field), reason, message));
                };
                let Some(Object::Service(service)) = self.objects.get(&key) else {
                    let place =
                        if self.cluster { "neither in the files nor in the cluster" } else { "not in the files" };
                    add(severity, "ServiceNotFound", format!("Service {} is {place}", backend.service));
                    continue;
                };
                if service.spec.kind == "ExternalName" {
                    let message =
                        format!("Service {} is of type ExternalName: it has no pods to serve", backend.service);
                    add(Severity::Error, "ServiceWithoutPods", message);
                } else if !has_port(service, &backend.port) {
                    let message = format!("Service {} has no TCP port {}", backend.service, told(&backend.port));
                    add(Severity::Error, "PortNotFound", message);
                }
            }
        }
        remarks
    }

    /// Certificates that clients will not like.
    fn certificates(&self, claims: &Claims) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for rule in claims.rules.iter().filter(|rule| rule.primary) {
            match &rule.certificate {
                ClaimedCertificate::Inline(pair) => {
                    self.certificate(pair, &rule.route.pattern, "spec.tls.certificate", &mut remarks);
                }
                ClaimedCertificate::External { secret } => {
                    if let Some(pair) = self.pair(claims, secret) {
                        self.certificate(&pair, &rule.route.pattern, "spec.tls.externalCertificate", &mut remarks);
                    }
                }
                ClaimedCertificate::Default | ClaimedCertificate::Unusable(_) => {}
            }
        }
        for claim in &claims.certificates {
            if let Some(pair) = self.pair(claims, &claim.secret) {
                let pattern = claim.name.clone().map_or_else(|| claim.pattern.clone(), HostPattern::Exact);
                self.certificate(&pair, &pattern, &claim.field, &mut remarks);
            }
        }
        remarks.dedup();
        remarks
    }

    fn pair(&self, claims: &Claims, secret: &str) -> Option<std::sync::Arc<KeyPair>> {
        match self.objects.get(&self.secret(claims, secret)) {
            Some(Object::Secret(secret)) => KnownSecret::of(secret)?.pair.ok(),
            _ => None,
        }
    }

    fn certificate(&self, pair: &KeyPair, pattern: &HostPattern, field: &str, remarks: &mut Vec<Remark>) {
        let Some(leaf) = pair.chain().first() else { return };
        let names = CertificateNames::of(leaf);
        if let Some(validity) = Validity::of(leaf)
            && let Some(message) = complaint(validity, self.now)
        {
            let severity = if time_left(validity, self.now) < 0 { Severity::Error } else { Severity::Warning };
            let message = message.replacen("it ", "the certificate ", 1);
            remarks.push(Remark::new(severity, field, "CertificateExpires", message));
        }
        // Of a wildcard, any host stands for all.
        let host = match pattern {
            HostPattern::Exact(name) => name.clone(),
            HostPattern::Wildcard(domain) => match Hostname::parse(&format!("any.{domain}")) {
                Ok(name) => name,
                Err(_) => return,
            },
            HostPattern::Any => return,
        };
        if !names.cover(host.as_str()) {
            let names: Vec<&str> = names.iter().take(SHOWN).collect();
            let message = format!("the certificate is not for {pattern}, but for {}", names.join(", "));
            remarks.push(Remark::new(Severity::Warning, field, "CertificateNotForHost", message));
        } else if let (HostPattern::Exact(_), Some(alias)) = (pattern, NodeId::of("any node").alias(&host))
            && !names.cover(alias.as_str())
        {
            let message = format!(
                "the certificate does not cover per-node aliases such as {alias}: clients over TLS cannot be redirected to another node"
            );
            remarks.push(Remark::new(Severity::Info, field, "AliasNotCovered", message));
        }
    }
}

/// A misspelt annotation with the name that was meant, perhaps.
fn suggested(problem: &Problem) -> String {
    let written = problem.field.strip_prefix("metadata.annotations[\"").and_then(|rest| rest.strip_suffix("\"]"));
    let known = known_annotations();
    let Some(written) = written.filter(|written| !known.contains(written)) else { return problem.message.clone() };
    let near = known.into_iter().map(|known| (distance(written, known), known)).min();
    match near {
        Some((distance, known)) if distance <= NEAR => format!("{}; did you mean {known}?", problem.message),
        _ => problem.message.clone(),
    }
}

/// How many letters must be put in, taken out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().take(LONGEST).enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (place, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[b.len()]
}

fn has_port(service: &Service, port: &PortSelector) -> bool {
    let mut tcp = service.spec.ports.iter().filter(|port| matches!(port.protocol.as_str(), "" | "TCP"));
    let target = |entry: &ServicePort, wanted: &str| match &entry.target_port {
        None => wanted.parse() == Ok(entry.port),
        Some(IntOrString::Int(number)) => wanted.parse() == Ok(*number),
        // What the pods call by this name is not known.
        Some(IntOrString::String(_)) => wanted.parse::<u16>().is_ok(),
    };
    match port {
        PortSelector::All => tcp.next().is_some(),
        PortSelector::ServicePort(number) => tcp.any(|entry| entry.port == *number),
        PortSelector::ServicePortName(name) => tcp.any(|entry| *entry.name == **name),
        PortSelector::TargetPort(wanted) => tcp.any(|entry| *entry.name == **wanted || target(entry, wanted)),
    }
}

fn told(port: &PortSelector) -> String {
    match port {
        PortSelector::All => "at all".into(),
        PortSelector::ServicePort(number) => number.to_string(),
        PortSelector::ServicePortName(name) | PortSelector::TargetPort(name) => name.to_string(),
    }
}

/// Letters by which a misspelt name differs from the one that was meant.
const NEAR: usize = 4;
/// Letters of a name that are compared.
const LONGEST: usize = 128;
/// Names of a certificate that are told.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_annotation_is_told_what_was_meant() {
        let told = |name: &str| {
            suggested(&Problem::new(
                format!("metadata.annotations[\"{name}\"]"),
                Reason::InvalidAnnotation,
                "is not offered",
            ))
        };
        assert!(
            told("nearside.dev/on-mis").ends_with("did you mean nearside.dev/on-miss?"),
            "{}",
            told("nearside.dev/on-mis")
        );
        assert_eq!(told("nginx.ingress.kubernetes.io/server-snippet"), "is not offered");
        assert_eq!(told("nearside.dev/on-miss"), "is not offered", "its value is wrong, not its name");
    }

    #[test]
    fn distances_count_letters() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("abc", "abd", 1), ("abc", "bc", 1), ("on-miss", "on-mss", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
