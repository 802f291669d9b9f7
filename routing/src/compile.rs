//! Compiling: the claims on one host flow in, what is served for it flows out, with what is wrong with the claims that are
//! not served. The index calls it for each host that a change touches.

mod canary;
mod host_guard;

use crate::admission::{Neighbours, Ownership, admit};
use crate::annotation::field;
use crate::certificate::KeyPair;
use crate::claim::{CertificateClaim, Claim, ClaimedCertificate, Claims};
use crate::hostname::HostPattern;
use crate::known_secret::KnownSecret;
use crate::object::ObjectKey;
use crate::path::PathRule;
use crate::policy::backend::SECRET as SECRET_OF_PODS;
use crate::policy::termination::DESTINATION_CA;
use crate::table::{CompiledRoute, HostRoutes, PodTls, Termination};
use crate::verdict::{Outcome, Problem, Reason, Verdict, shown};
use host_guard::HostGuard;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// Finds a Secret by namespace and name.
pub type SecretLookup<'s> = &'s dyn Fn(&str, &str) -> Option<Arc<KnownSecret>>;

/// One object that speaks of a host, with the places of its rules and certificates for that host.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'c> {
    /// The object.
    pub claims: &'c Claims,
    /// Places in [`Claims::rules`].
    pub rules: &'c [usize],
    /// Places in [`Claims::certificates`].
    pub certificates: &'c [usize],
}

/// What compiling a host gives.
#[derive(Debug, Default)]
pub struct CompiledHost {
    /// What is served; `None` where no claim can be served.
    pub routes: Option<HostRoutes>,
    /// What was wrong, by object.
    pub findings: BTreeMap<ObjectKey, Findings>,
}

/// What was wrong with the parts of one object that speak of one host.
#[derive(Debug, Default, PartialEq)]
pub struct Findings {
    /// Rules that are not served: the rule's place in [`Claims::rules`], and the problem.
    pub rejected: Vec<(usize, Problem)>,
    /// Secrets that cannot be used, or not wholly, though the rules that need them hold their places.
    pub secrets: Vec<Problem>,
}

/// Compiles a host. Never fails: what cannot be served becomes a finding.
pub fn compile_host(
    pattern: &HostPattern,
    speakers: &[Speaker<'_>],
    neighbours: Neighbours<'_>,
    ownership: Ownership,
    secrets: SecretLookup<'_>,
) -> CompiledHost {
    let (canaries, rules): (Vec<_>, Vec<(usize, &Claim)>) = speakers
        .iter()
        .flat_map(|speaker| speaker.rules.iter().map(|place| (*place, &speaker.claims.rules[*place])))
        .partition(|(_, rule)| rule.canary.is_some());
    let answers = admit(&rules.iter().map(|(_, rule)| *rule).collect::<Vec<_>>(), neighbours, ownership);
    let mut out = CompiledHost::default();
    let mut granted: Vec<(usize, &Claim)> = Vec::new();
    for ((place, rule), answer) in rules.into_iter().zip(answers) {
        match answer {
            Ok(()) => granted.push((place, rule)),
            Err(problem) => out.reject(rule, place, problem),
        }
    }
    granted.sort_by(|(_, a), (_, b)| (&a.age, &a.route.source).cmp(&(&b.age, &b.route.source)));
    let Some((_, owner)) = granted.first().copied() else {
        canary::attach(&mut [], canaries, &mut out);
        return out;
    };
    let guards = HostGuard::of(pattern, granted.iter().map(|(_, rule)| *rule), secrets);
    let clients = guards.clients();
    let mut certificate = None;
    let mut routes: Vec<Arc<CompiledRoute>> = Vec::new();
    let mut regex_bytes = 0;
    for (place, rule) in &granted {
        if let PathRule::Regex(regex) = &rule.route.path {
            regex_bytes += regex.memory();
            if regex_bytes > REGEX_BYTES {
                let message =
                    "the regular expressions of this host are too large together; those of older claims are served";
                out.reject(rule, *place, Problem::new(rule.field.clone(), Reason::InvalidPath, message));
                continue;
            }
        }
        let brought = route_certificate(rule, secrets).and_then(|own| Ok((own, with_destination_ca(rule, secrets)?)));
        match brought {
            Ok((own, route)) => {
                // Several Routes of one host: the oldest that brings a certificate decides.
                certificate = certificate.or(own);
                let route = out.with_credentials(rule, route, secrets);
                let route = out.with_pod_tls(rule, route, secrets);
                routes.push(out.guarded(rule, route, &guards));
            }
            Err(problem) => out.reject(rule, *place, problem),
        }
    }
    canary::attach(&mut routes, canaries, &mut out);
    // Who has no rule on a host has no say in its certificate.
    let namespaces: HashSet<&str> = granted.iter().map(|(_, rule)| rule.namespace()).collect();
    let mut brought: Vec<(&ObjectKey, &CertificateClaim)> = speakers
        .iter()
        .filter(|speaker| speaker.claims.object.kind == owner.route.source.kind)
        .filter(|speaker| namespaces.contains(&*speaker.claims.object.namespace))
        .filter(|speaker| speaker.claims.hosts.contains(pattern))
        .flat_map(|speaker| {
            speaker.certificates.iter().map(|place| (&speaker.claims.object, &speaker.claims.certificates[*place]))
        })
        .collect();
    let mut named = BTreeMap::new();
    brought.sort_by(|a, b| (&a.1.age, a.0).cmp(&(&b.1.age, b.0)));
    for (object, claim) in brought {
        match (ingress_certificate(&object.namespace, claim, secrets), &claim.name) {
            (Ok(pair), None) => certificate = certificate.or(Some(pair)),
            (Ok(pair), Some(name)) => drop(named.entry(name.clone()).or_insert(pair)),
            (Err(problem), _) => out.findings.entry(object.clone()).or_default().secrets.push(problem),
        }
    }
    if !routes.is_empty() {
        routes.sort_by_key(|route| route.path.precedence());
        out.routes = Some(HostRoutes {
            pattern: pattern.clone(),
            kind: owner.route.source.kind,
            namespace: owner.namespace().into(),
            routes: routes.into(),
            certificate,
            named,
            clients,
        });
    }
    out
}

impl CompiledHost {
    fn reject(&mut self, rule: &Claim, place: usize, problem: Problem) {
        self.findings.entry(rule.route.source.clone()).or_default().rejected.push((place, problem));
    }

    /// The rule with those who may authenticate. Where they are not known, it is the proxy that refuses everybody: a broader
    /// rule must not answer in its place.
    fn with_credentials(
        &mut self,
        rule: &Claim,
        route: Arc<CompiledRoute>,
        secrets: SecretLookup<'_>,
    ) -> Arc<CompiledRoute> {
        let Some(basic) = &rule.route.policy.authentication.basic else { return route };
        let secret = &basic.secret;
        let found = secrets(rule.namespace(), secret).filter(|found| !found.serves);
        let found = found.map(|found| Arc::clone(found.passwords.credentials(basic.form)));
        let message = match found.as_ref().map(|credentials| (credentials.is_empty(), credentials.complaint())) {
            None => Some(format!(
                "there is no Secret {secret} with passwords in the namespace; requests are refused with 503"
            )),
            Some((true, complaint)) => {
                let complaint = complaint.unwrap_or_default();
                Some(format!("Secret {secret}: {complaint}; requests are refused with 503"))
            }
            Some((false, complaint)) => complaint.map(|complaint| format!("Secret {secret}: {complaint}")),
        };
        if let Some(message) = message {
            let problem = Problem::new(field(basic.field), Reason::CredentialsNotUsable, message);
            let known = &mut self.findings.entry(rule.route.source.clone()).or_default().secrets;
            // The rules of an object share one Secret.
            if known.last() != Some(&problem) {
                known.push(problem);
            }
        }
        let credentials = found.filter(|credentials| !credentials.is_empty());
        Arc::new(CompiledRoute { credentials, ..CompiledRoute::clone(&route) })
    }

    /// The rule with what its pods are shown. Where that cannot be had, no pod is asked: it would serve somebody it does not
    /// know, or the proxy a pod that nobody vouches for.
    fn with_pod_tls(
        &mut self,
        rule: &Claim,
        route: Arc<CompiledRoute>,
        secrets: SecretLookup<'_>,
    ) -> Arc<CompiledRoute> {
        let Some(name) = &rule.route.policy.backend.secret else { return route };
        let closed = |route: &CompiledRoute| Arc::new(CompiledRoute { closed: true, ..route.clone() });
        // What is not understood was told.
        let Some(name) = name else { return closed(&route) };
        let material = match secrets(rule.namespace(), name) {
            None => Err("it is not there".to_owned()),
            Some(known) => match (&known.pair, &known.authority) {
                (Ok(pair), Ok(authority)) => Ok(PodTls { pair: Arc::clone(pair), authority: Arc::clone(authority) }),
                (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
            },
        };
        match material {
            Ok(material) => {
                Arc::new(CompiledRoute { pod_tls: Some(Arc::new(material)), ..CompiledRoute::clone(&route) })
            }
            Err(message) => {
                let message = format!("Secret {name} for pods: {message}; requests are refused with 503");
                let problem = Problem::new(field(SECRET_OF_PODS[0]), Reason::SecretNotUsable, message);
                let known = &mut self.findings.entry(rule.route.source.clone()).or_default().secrets;
                if !known.contains(&problem) {
                    known.push(problem);
                }
                closed(&route)
            }
        }
    }

    /// The rule, closed where what its object asks of clients cannot be kept: a broader rule must not answer in its place.
    fn guarded(&mut self, rule: &Claim, route: Arc<CompiledRoute>, guard: &HostGuard) -> Arc<CompiledRoute> {
        let Err(problem) = guard.keeps(rule) else { return route };
        if let Some(problem) = problem {
            let known = &mut self.findings.entry(rule.route.source.clone()).or_default().secrets;
            // The rules of one object ask for the same.
            if !known.contains(&problem) {
                known.push(problem);
            }
        }
        Arc::new(CompiledRoute { closed: true, ..CompiledRoute::clone(&route) })
    }
}

/// The verdict on an object, from what reading it and compiling its hosts said.
pub fn verdict(claims: &Claims, rejected: &[(usize, Problem)], secret_problems: &[Problem]) -> Verdict {
    let mut problems = claims.problems.clone();
    problems.extend(rejected.iter().map(|(_, problem)| problem.clone()));
    problems.extend(secret_problems.iter().cloned());
    let without_backend = |(_, rule): &(usize, &Claim)| rule.route.backends.is_empty();
    let primary = |place: &usize| claims.rules.get(*place).is_some_and(|rule| rule.primary);
    let mut refused: BTreeSet<usize> = rejected.iter().map(|(place, _)| *place).collect();
    refused.extend(claims.rules.iter().enumerate().filter(without_backend).map(|(place, _)| place));
    refused.retain(primary);
    let outcome = if refused.len() == claims.rules.iter().filter(|rule| rule.primary).count() {
        let first = rejected.iter().position(|(place, _)| primary(place));
        let decisive = first.map_or(0, |first| claims.problems.len() + first);
        let nothing = || Problem::new("spec.rules", Reason::RouteNotAdmitted, "the object states no rule to serve");
        Outcome::Rejected(if decisive < problems.len() { problems.remove(decisive) } else { nothing() })
    } else {
        Outcome::Admitted
    };
    problems.sort();
    problems.dedup();
    if problems.len() > MAX_PROBLEMS {
        let message = format!("{} more problems are not listed", problems.len() - MAX_PROBLEMS);
        let reason = problems[MAX_PROBLEMS].reason;
        problems.truncate(MAX_PROBLEMS);
        problems.push(Problem::new("spec", reason, message));
    }
    Verdict {
        object: claims.object.clone(),
        host: claims.host.clone(),
        wildcard_policy: claims.wildcard_policy,
        outcome,
        problems,
    }
}

/// A Route whose own certificate cannot be used is not served: the default certificate would be a wrong one.
fn route_certificate(claim: &Claim, secrets: SecretLookup<'_>) -> Result<Option<Arc<KeyPair>>, Problem> {
    match &claim.certificate {
        ClaimedCertificate::Default => Ok(None),
        ClaimedCertificate::Inline(pair) => Ok(Some(Arc::clone(pair))),
        ClaimedCertificate::Unusable(problem) => Err(problem.clone()),
        ClaimedCertificate::External { secret } => {
            let field = "spec.tls.externalCertificate.name";
            let found = secrets(claim.namespace(), secret).filter(|found| found.serves).ok_or_else(|| {
                let message = format!("there is no Secret {secret} of type kubernetes.io/tls in the Route's namespace");
                Problem::new(field, Reason::ExternalCertificateGetFailed, message)
            })?;
            match &found.pair {
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

/// The rule with the CA of its pods, where an Ingress names a Secret for that. Without it the rule is not served: pods that
/// were to be verified would not be.
fn with_destination_ca(claim: &Claim, secrets: SecretLookup<'_>) -> Result<Arc<CompiledRoute>, Problem> {
    let (Some(secret), Termination::Reencrypt { .. }) = (&claim.route.policy.destination_ca, &claim.route.termination)
    else {
        return Ok(Arc::clone(&claim.route));
    };
    let refuse = |message: String| {
        let field = format!("metadata.annotations[\"{DESTINATION_CA}\"]");
        Problem::new(field, Reason::ExtendedValidationFailed, message)
    };
    let found = secrets(claim.namespace(), secret).ok_or_else(|| {
        let name = shown(secret);
        refuse(format!("there is no Secret {name:?} with certificates in the Ingress's namespace"))
    })?;
    match &found.bundle {
        Ok(pem) => {
            let termination = Termination::Reencrypt { destination_ca: Some(Arc::clone(pem)) };
            Ok(Arc::new(CompiledRoute { termination, ..CompiledRoute::clone(&claim.route) }))
        }
        Err(error) => Err(refuse(format!("tls.crt of Secret {secret}: {error}"))),
    }
}

/// An Ingress whose Secret cannot be used is served with the default certificate.
fn ingress_certificate(
    namespace: &str,
    claim: &CertificateClaim,
    secrets: SecretLookup<'_>,
) -> Result<Arc<KeyPair>, Problem> {
    let unusable = |message: String| Problem::new(claim.field.clone(), Reason::CertificateNotUsable, message);
    let found = secrets(namespace, &claim.secret).filter(|found| found.serves).ok_or_else(|| {
        unusable(format!(
            "there is no Secret {} of type kubernetes.io/tls in the Ingress's namespace; the default certificate is served",
            claim.secret
        ))
    })?;
    match &found.pair {
        Ok(pair) => Ok(Arc::clone(pair)),
        Err(error) => Err(unusable(format!("Secret {}: {error}; the default certificate is served", claim.secret))),
    }
}

/// Bytes that the compiled regular expressions of one host take together: each of them may be asked about a request.
const REGEX_BYTES: usize = 256 * 1024;

/// Problems of one object that a verdict lists: an object may hold tens of thousands of bad rules.
const MAX_PROBLEMS: usize = 32;
