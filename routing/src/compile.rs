//! Compiling: the claims on one group of hosts flow in, what is served for each host flows out, with the problems of the
//! claims that are not served.

use crate::admission::{Ownership, admit};
use crate::certificate::{CertificateError, KeyPair};
use crate::claim::{CertificateClaim, Claim, ClaimedCertificate, Claims};
use crate::hostname::HostPattern;
use crate::object::{ObjectKey, Secret};
use crate::table::{CompiledRoute, HostRoutes};
use crate::verdict::{Outcome, Problem, Reason, Verdict};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Finds a Secret by namespace and name.
pub type SecretLookup<'s> = &'s dyn Fn(&str, &str) -> Option<Arc<TlsSecret>>;

/// A TLS Secret with its material read once.
#[derive(Debug, PartialEq)]
pub struct TlsSecret {
    /// The chain and key, or why they cannot be used.
    pub material: Result<Arc<KeyPair>, CertificateError>,
}

impl TlsSecret {
    /// Reads the material of a Secret.
    pub fn new(secret: &Secret) -> Self {
        Self { material: KeyPair::from_pem(&secret.certificate, &secret.key).map(Arc::new) }
    }
}

/// What compiling a group of hosts gives.
#[derive(Debug, Default)]
pub struct CompiledGroup {
    /// What is served for each host of the group; nothing for hosts of which no claim can be served.
    pub hosts: BTreeMap<HostPattern, HostRoutes>,
    /// Rules that are not served, by object: the problem, and the rule's place in [`Claims::rules`].
    pub rejected: BTreeMap<ObjectKey, Vec<(usize, Problem)>>,
    /// Certificates that cannot be used, by object.
    pub problems: BTreeMap<ObjectKey, Vec<Problem>>,
}

/// Compiles a group: hosts that can conflict with each other. `claims` are the objects with at least one rule or
/// certificate for a host of the group; parts for other hosts are ignored. Never fails: what cannot be served becomes a
/// problem.
pub fn compile_group(
    in_group: &dyn Fn(&HostPattern) -> bool,
    claims: &[Arc<Claims>],
    ownership: Ownership,
    secrets: SecretLookup<'_>,
) -> CompiledGroup {
    let rules: Vec<(&Claims, usize, &Claim)> = claims
        .iter()
        .flat_map(|object| object.rules.iter().enumerate().map(move |(place, rule)| (&**object, place, rule)))
        .filter(|(_, _, rule)| in_group(&rule.route.pattern))
        .collect();
    let answers = admit(&rules.iter().map(|(_, _, rule)| *rule).collect::<Vec<_>>(), ownership);
    let mut out = CompiledGroup::default();
    let mut granted: BTreeMap<&HostPattern, Vec<(usize, &Claim)>> = BTreeMap::new();
    for ((object, place, rule), answer) in rules.into_iter().zip(answers) {
        match answer {
            Ok(()) => granted.entry(&rule.route.pattern).or_default().push((place, rule)),
            Err(problem) => out.rejected.entry(object.object.clone()).or_default().push((place, problem)),
        }
    }
    let certificates: Vec<(&Claims, &CertificateClaim)> =
        claims.iter().flat_map(|object| object.certificates.iter().map(move |c| (&**object, c))).collect();
    for (pattern, mut rules) in granted {
        rules.sort_by(|(_, a), (_, b)| (&a.age, &a.route.source).cmp(&(&b.age, &b.route.source)));
        let mut certificate = None;
        let mut routes: Vec<Arc<CompiledRoute>> = Vec::new();
        for (place, rule) in &rules {
            match route_certificate(rule, secrets) {
                Ok(own) => {
                    // Several Routes of one host: the oldest that brings a certificate decides.
                    certificate = certificate.or(own);
                    routes.push(Arc::clone(&rule.route));
                }
                Err(problem) => {
                    let source = rule.route.source.clone();
                    out.rejected.entry(source).or_default().push((*place, problem));
                }
            }
        }
        let (_, owner) = rules[0];
        let foreign =
            |object: &Claims| ownership == Ownership::Strict && *object.object.namespace != *owner.namespace();
        let mut brought: Vec<&(&Claims, &CertificateClaim)> = certificates
            .iter()
            .filter(|(object, c)| {
                c.pattern == *pattern && object.object.kind == owner.route.source.kind && !foreign(object)
            })
            .collect();
        brought.sort_by(|a, b| (&a.1.age, &a.0.object).cmp(&(&b.1.age, &b.0.object)));
        for (object, claim) in brought {
            match ingress_certificate(&object.object.namespace, claim, secrets) {
                Ok(pair) => certificate = certificate.or(Some(pair)),
                Err(problem) => out.problems.entry(object.object.clone()).or_default().push(problem),
            }
        }
        if routes.is_empty() {
            continue;
        }
        routes.sort_by_key(|route| route.path.precedence());
        let host = HostRoutes {
            pattern: pattern.clone(),
            kind: owner.route.source.kind,
            namespace: owner.namespace().into(),
            routes: routes.into(),
            certificate,
        };
        out.hosts.insert(pattern.clone(), host);
    }
    out
}

/// The verdict on an object, from what reading it and compiling its hosts said.
pub fn verdict(claims: &Claims, rejected: &[(usize, Problem)], certificate_problems: &[Problem]) -> Verdict {
    let mut problems = claims.problems.clone();
    problems.extend(rejected.iter().map(|(_, problem)| problem.clone()));
    problems.extend(certificate_problems.iter().cloned());
    let mut refused: Vec<usize> = rejected.iter().map(|(place, _)| *place).collect();
    refused.sort_unstable();
    refused.dedup();
    let outcome = if claims.rules.is_empty() || refused.len() == claims.rules.len() {
        let decisive = if claims.rules.is_empty() { 0 } else { claims.problems.len() };
        let nothing = || Problem::new("spec.rules", Reason::RouteNotAdmitted, "the object states no rule to serve");
        Outcome::Rejected(if decisive < problems.len() { problems.remove(decisive) } else { nothing() })
    } else {
        Outcome::Admitted
    };
    problems.sort();
    problems.dedup();
    Verdict { object: claims.object.clone(), host: claims.host.clone(), outcome, problems }
}

/// A Route whose own certificate cannot be used is not served: the default certificate would be a wrong one.
fn route_certificate(claim: &Claim, secrets: SecretLookup<'_>) -> Result<Option<Arc<KeyPair>>, Problem> {
    match &claim.certificate {
        ClaimedCertificate::Default => Ok(None),
        ClaimedCertificate::Inline(pair) => Ok(Some(Arc::clone(pair))),
        ClaimedCertificate::Unusable(problem) => Err(problem.clone()),
        ClaimedCertificate::External { secret } => {
            let field = "spec.tls.externalCertificate.name";
            let found = secrets(claim.namespace(), secret).ok_or_else(|| {
                let message = format!("there is no Secret {secret} of type kubernetes.io/tls in the Route's namespace");
                Problem::new(field, Reason::ExternalCertificateGetFailed, message)
            })?;
            match &found.material {
                Ok(pair) => Ok(Some(Arc::clone(pair))),
                Err(error) => Err(Problem::new(
                    field,
                    Reason::ExternalCertificateValidationFailed,
                    format!("Secret {secret}: {error}"),
                )),
            }
        }
    }
}

/// An Ingress whose Secret cannot be used is served with the default certificate.
fn ingress_certificate(
    namespace: &str,
    claim: &CertificateClaim,
    secrets: SecretLookup<'_>,
) -> Result<Arc<KeyPair>, Problem> {
    let unusable = |message: String| Problem::new(claim.field.clone(), Reason::CertificateNotUsable, message);
    let found = secrets(namespace, &claim.secret).ok_or_else(|| {
        unusable(format!(
            "there is no Secret {} of type kubernetes.io/tls in the Ingress's namespace; the default certificate is served",
            claim.secret
        ))
    })?;
    match &found.material {
        Ok(pair) => Ok(Arc::clone(pair)),
        Err(error) => Err(unusable(format!("Secret {}: {error}; the default certificate is served", claim.secret))),
    }
}
