//! What a Route asks for: one host, one path, one termination (`route.openshift.io/v1`).

use super::{Claim, ClaimedCertificate, Claims};
use crate::annotation::Annotations;
use crate::certificate::{CertificateError, KeyPair, read_chain};
use crate::endpoints::{PortSelector, ServiceKey};
use crate::hostname::{HostPattern, Hostname};
use crate::object::{Kind, Route, RouteTarget, RouteTls};
use crate::path::PathRule;
use crate::policy::Policy;
use crate::table::{CompiledRoute, InsecurePolicy, Termination, WeightedBackend};
use crate::verdict::{Problem, Reason, shown};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The claims of a Route. A Route that cannot be served has no rules and at least one problem.
pub fn route_claims(route: &Route) -> Claims {
    let object = route.metadata.key(Kind::Route);
    let mut claims = Claims {
        object,
        host: route.spec.host.chars().take(SHOWN).collect(),
        hosts: BTreeSet::new(),
        rules: Vec::new(),
        certificates: Vec::new(),
        problems: Vec::new(),
    };
    let pattern = pattern(&route.spec.host, &route.spec.wildcard_policy);
    claims.hosts.extend(pattern.clone().ok());
    match pattern.and_then(|pattern| claim(route, pattern, &mut claims.problems)) {
        Ok(claim) => claims.rules.push(claim),
        // The decisive problem comes first: it is the reason in the Route's status.
        Err(problem) => claims.problems.insert(0, problem),
    }
    claims
}

fn claim(route: &Route, pattern: HostPattern, problems: &mut Vec<Problem>) -> Result<Claim, Problem> {
    let spec = &route.spec;
    let bad_path = |message: String| Problem::new("spec.path", Reason::InvalidPath, message);
    if !spec.path.is_empty() && !spec.path.starts_with('/') {
        return Err(bad_path("a path starts with a slash".into()));
    }
    let path = PathRule::route(&spec.path).map_err(|error| bad_path(error.to_string()))?;
    let (termination, insecure) = termination(spec.tls.as_ref(), &path)?;
    let backends = backends(route, problems)?;
    let certificate = match &spec.tls {
        Some(tls) if termination != Termination::Passthrough => certificate(tls),
        _ => ClaimedCertificate::Default,
    };
    let mut annotations = Annotations::new(&route.metadata);
    let policy = Arc::new(Policy::read(&mut annotations));
    problems.extend(annotations.into_problems());
    let source = route.metadata.key(Kind::Route);
    Ok(Claim {
        route: Arc::new(CompiledRoute { source, pattern, path, backends, termination, insecure, policy }),
        age: route.metadata.age(),
        field: "spec.host".into(),
        certificate,
    })
}

/// `Subdomain` turns `www.acme.test` into every host of one label below `acme.test`.
fn pattern(host: &str, wildcard_policy: &str) -> Result<HostPattern, Problem> {
    if host.is_empty() {
        return Err(Problem::new("spec.host", Reason::NoHostValue, "the Route names no host"));
    }
    let invalid = |message: String| Problem::new("spec.host", Reason::InvalidHost, message);
    let name = Hostname::parse(host).map_err(|error| invalid(error.to_string()))?;
    match wildcard_policy {
        "" | "None" => Ok(HostPattern::Exact(name)),
        "Subdomain" => match name.split_first_label().1 {
            Some(domain) => {
                Ok(HostPattern::Wildcard(Hostname::parse(domain).map_err(|error| invalid(error.to_string()))?))
            }
            None => Err(invalid("a wildcard needs a host of at least two labels".into())),
        },
        other => Err(Problem::new(
            "spec.wildcardPolicy",
            Reason::RouteNotAdmitted,
            format!("{:?} is not one of None, Subdomain", shown(other)),
        )),
    }
}

fn termination(tls: Option<&RouteTls>, path: &PathRule) -> Result<(Termination, InsecurePolicy), Problem> {
    let Some(tls) = tls else {
        return Ok((Termination::None, InsecurePolicy::Allow));
    };
    let refuse = |field: &str, message: String| Problem::new(field, Reason::RouteNotAdmitted, message);
    let insecure = match tls.insecure_edge_termination_policy.as_str() {
        "" | "None" => InsecurePolicy::None,
        "Allow" => InsecurePolicy::Allow,
        "Redirect" => InsecurePolicy::Redirect,
        other => {
            let message = format!("{:?} is not one of None, Allow, Redirect", shown(other));
            return Err(refuse("spec.tls.insecureEdgeTerminationPolicy", message));
        }
    };
    let word = tls.termination.to_ascii_lowercase();
    let termination = match word.as_str() {
        "edge" => Termination::Edge,
        // The API's default: edge without a destination CA, reencrypt with one.
        "" if tls.destination_ca_certificate.is_empty() => Termination::Edge,
        "reencrypt" | "" => Termination::Reencrypt { destination_ca: destination_ca(tls)? },
        "passthrough" => Termination::Passthrough,
        _ => {
            let message = format!("{:?} is not one of edge, reencrypt, passthrough", shown(&tls.termination));
            return Err(refuse("spec.tls.termination", message));
        }
    };
    if termination == Termination::Passthrough {
        if insecure == InsecurePolicy::Allow {
            let message = "Allow is not possible with passthrough: the proxy holds no key".to_owned();
            return Err(refuse("spec.tls.insecureEdgeTerminationPolicy", message));
        }
        if *path != PathRule::Any {
            return Err(refuse("spec.path", "a path is not possible with passthrough".to_owned()));
        }
    }
    Ok((termination, insecure))
}

fn destination_ca(tls: &RouteTls) -> Result<Option<Arc<str>>, Problem> {
    let pem = &tls.destination_ca_certificate;
    if pem.is_empty() {
        return Ok(None);
    }
    match read_chain(pem.as_bytes()) {
        Ok(_) => Ok(Some(pem.as_str().into())),
        Err(error) => {
            Err(Problem::new("spec.tls.destinationCACertificate", Reason::ExtendedValidationFailed, error.to_string()))
        }
    }
}

fn certificate(tls: &RouteTls) -> ClaimedCertificate {
    let unusable = |field: &str, message: String| {
        ClaimedCertificate::Unusable(Problem::new(field, Reason::ExtendedValidationFailed, message))
    };
    if let Some(secret) = &tls.external_certificate {
        if !tls.certificate.is_empty() {
            return unusable("spec.tls.externalCertificate", "excludes spec.tls.certificate".into());
        }
        return ClaimedCertificate::External { secret: secret.name.as_str().into() };
    }
    if tls.certificate.is_empty() && tls.key.is_empty() {
        return ClaimedCertificate::Default;
    }
    if !tls.ca_certificate.is_empty()
        && let Err(error) = read_chain(tls.ca_certificate.as_bytes())
    {
        return unusable("spec.tls.caCertificate", error.to_string());
    }
    // OpenShift lets the key stand in the certificate's field.
    let key = if tls.key.is_empty() { &tls.certificate } else { &tls.key };
    let chain = format!("{}\n{}", tls.certificate, tls.ca_certificate);
    match KeyPair::from_pem(chain.as_bytes(), key.as_bytes()) {
        Ok(pair) => ClaimedCertificate::Inline(Arc::new(pair)),
        Err(error @ CertificateError::Certificate(_)) => unusable("spec.tls.certificate", error.to_string()),
        Err(error @ CertificateError::Key(_)) => unusable("spec.tls.key", error.to_string()),
    }
}

fn backends(route: &Route, problems: &mut Vec<Problem>) -> Result<Box<[WeightedBackend]>, Problem> {
    let spec = &route.spec;
    let port = match &spec.port {
        Some(port) => PortSelector::TargetPort(port.target_port.to_string().into()),
        None => PortSelector::All,
    };
    let backend = |target: &RouteTarget, field: String| {
        if !matches!(target.kind.as_str(), "" | "Service") || target.name.is_empty() {
            let message = "the backend must be a Service of the Route's namespace";
            return Err(Problem::new(field, Reason::InvalidBackend, message));
        }
        let weight = u16::try_from(target.weight.unwrap_or(DEFAULT_WEIGHT).clamp(0, MAX_WEIGHT)).unwrap_or_default();
        let service = ServiceKey::new(&route.metadata.namespace, &target.name);
        Ok(WeightedBackend { service, port: port.clone(), weight })
    };
    let mut backends = vec![backend(&spec.to, "spec.to".into())?];
    if spec.alternate_backends.len() > MAX_ALTERNATES {
        let message = format!("only the first {MAX_ALTERNATES} alternate backends are used");
        problems.push(Problem::new("spec.alternateBackends", Reason::InvalidBackend, message));
    }
    for (place, target) in spec.alternate_backends.iter().take(MAX_ALTERNATES).enumerate() {
        match backend(target, format!("spec.alternateBackends[{place}]")) {
            // A Service named twice counts once, as it was named last.
            Ok(alternate) => {
                backends.retain(|known| known.service != alternate.service);
                backends.push(alternate);
            }
            Err(problem) => problems.push(problem),
        }
    }
    Ok(backends.into())
}

/// The API's own limit.
const MAX_ALTERNATES: usize = 3;
/// The API's default and its upper limit.
const DEFAULT_WEIGHT: i64 = 100;
const MAX_WEIGHT: i64 = 256;
/// Characters of a host that a verdict repeats; a valid host is shorter.
const SHOWN: usize = 253;
