//! What a Route asks for: one host, one path, one termination (`route.openshift.io/v1`).

mod tls;

use super::other_hosts::{alias_claims, www_claims};
use super::{Claim, Claims};
use crate::admission::AdmissionRules;
use crate::annotation::Annotations;
use crate::endpoints::{PortSelector, ServiceKey};
use crate::hostname::{HostPattern, Hostname};
use crate::object::{Kind, Route, RouteTarget, WildcardPolicy};
use crate::path::PathRule;
use crate::policy::Policy;
use crate::policy::https_record::NAME as HTTPS_RECORD;
use crate::policy::termination::IngressTermination;
use crate::table::{CompiledRoute, Termination, WeightedBackend};
use crate::verdict::{Problem, Reason, shown};
use std::collections::BTreeSet;
use std::sync::Arc;
use tls::Tls;

/// The claims of a Route. A Route that cannot be served has no rules and at least one problem.
pub fn route_claims(route: &Route, rules: &AdmissionRules) -> Claims {
    let object = route.metadata.key(Kind::Route);
    let host = rules.hosts.host_of(route);
    let wildcard_policy = match route.spec.wildcard_policy.as_str() {
        "" | "None" => Some(WildcardPolicy::None),
        "Subdomain" => Some(WildcardPolicy::Subdomain),
        _ => None,
    };
    let mut claims = Claims {
        object,
        host: host.chars().take(SHOWN).collect(),
        wildcard_policy,
        hosts: BTreeSet::new(),
        rules: Vec::new(),
        certificates: Vec::new(),
        problems: Vec::new(),
    };
    let pattern = pattern(&host, wildcard_policy, route, rules);
    claims.hosts.extend(pattern.clone().ok());
    match pattern.and_then(|pattern| claim(route, rules, pattern, &mut claims.problems)) {
        Ok(claim) => {
            claims.rules.push(claim);
            let check = |pattern: &HostPattern| match pattern {
                HostPattern::Wildcard(_) if !rules.wildcard_routes => Err("wildcard routes are not allowed"),
                HostPattern::Exact(name) | HostPattern::Wildcard(name) => rules.hosts.check(name.as_str()),
                HostPattern::Any => rules.hosts.check_any(),
            };
            let Claims { rules: own, hosts, problems, .. } = &mut claims;
            own.extend(alias_claims(own, hosts, &check, problems));
            own.extend(www_claims(own, hosts, &rules.hosts));
        }
        // The decisive problem comes first: it is the reason in the Route's status.
        Err(problem) => claims.problems.insert(0, problem),
    }
    if !route.spec.host.is_empty() && !route.spec.subdomain.is_empty() {
        let message = "spec.host is set, so it has no effect";
        claims.problems.push(Problem::new("spec.subdomain", Reason::RouteNotAdmitted, message));
    }
    claims
}

fn claim(
    route: &Route,
    rules: &AdmissionRules,
    pattern: HostPattern,
    problems: &mut Vec<Problem>,
) -> Result<Claim, Problem> {
    let spec = &route.spec;
    let bad_path = |message: String| Problem::new("spec.path", Reason::InvalidPath, message);
    if !spec.path.is_empty() && !spec.path.starts_with('/') {
        return Err(bad_path("a path starts with a slash".into()));
    }
    let path = PathRule::route(&spec.path).map_err(|error| bad_path(error.to_string()))?;
    let Tls { termination, insecure, certificate } = Tls::read(spec.tls.as_ref(), rules.certificates);
    if termination == Termination::Passthrough && path != PathRule::Any {
        let message = "a path is not possible with passthrough";
        return Err(Problem::new("spec.path", Reason::RouteNotAdmitted, message));
    }
    let backends = backends(route, problems)?;
    let mut annotations = Annotations::new(&route.metadata);
    let mut policy = Policy::read(&mut annotations);
    problems.extend(annotations.into_problems());
    if policy.rewrite.use_regex {
        let message = "use-regex is for paths of Ingresses; the path of a Route is text";
        problems.push(Problem::new("spec.path", Reason::InvalidAnnotation, message));
    }
    if policy.redirects.https.is_some() {
        let message = "ssl-redirect and force-ssl-redirect are for Ingresses; this field decides for a Route";
        problems.push(Problem::new("spec.tls.insecureEdgeTerminationPolicy", Reason::InvalidAnnotation, message));
    }
    let through = policy.termination.take() == Some(IngressTermination::Passthrough);
    for (written, name, message) in [
        (policy.canary.take().is_some(), "canary", "is for Ingresses; a Route states spec.alternateBackends"),
        (
            policy.destination_ca.take().is_some() && !matches!(termination, Termination::Reencrypt { .. }),
            "destination-ca-certificate-secret",
            "is for Ingresses; a Route states spec.tls.destinationCACertificate",
        ),
        (
            through && termination != Termination::Passthrough,
            "ssl-passthrough",
            "is for Ingresses; spec.tls.termination decides for a Route",
        ),
    ] {
        if written {
            let field = format!("metadata.annotations[\"nearside.dev/{name}\"]");
            problems.push(Problem::new(field, Reason::InvalidAnnotation, message));
        }
    }
    let ends_here = matches!(termination, Termination::Edge | Termination::Reencrypt { .. });
    if !ends_here && policy.https_record.take().is_some() {
        let field = format!("metadata.annotations[\"{HTTPS_RECORD}\"]");
        let message = "has an effect only where TLS ends at the proxy (spec.tls.termination: edge or reencrypt)";
        problems.push(Problem::new(field, Reason::InvalidAnnotation, message));
    }
    problems.extend(policy.header_actions.and_of_route(&spec.http_headers, &termination));
    let source = route.metadata.key(Kind::Route);
    Ok(Claim {
        route: Arc::new(CompiledRoute {
            source,
            pattern,
            path,
            backends,
            termination,
            insecure,
            policy: Arc::new(policy),
            canary: None,
            credentials: None,
            closed: false,
            pod_tls: None,
        }),
        age: route.metadata.age(),
        field: "spec.host".into(),
        certificate,
        primary: true,
        canary: None,
    })
}

/// The hosts, in the order and with the words of the OpenShift router: domains, wildcards, then the host itself. `Subdomain`
/// turns `www.acme.test` into every host of one label below `acme.test`.
fn pattern(
    host: &str,
    policy: Option<WildcardPolicy>,
    route: &Route,
    rules: &AdmissionRules,
) -> Result<HostPattern, Problem> {
    let refused = |field: &str, message: &str| Problem::new(field, Reason::RouteNotAdmitted, message);
    if !host.is_empty() {
        rules.hosts.check(&host.to_ascii_lowercase()).map_err(|message| refused("spec.host", message))?;
    }
    let wildcard = match policy {
        Some(WildcardPolicy::None) => false,
        Some(WildcardPolicy::Subdomain) if rules.wildcard_routes => true,
        Some(WildcardPolicy::Subdomain) => {
            return Err(refused("spec.wildcardPolicy", "wildcard routes are not allowed"));
        }
        None => {
            let message = format!("unknown wildcard policy {}", shown(&route.spec.wildcard_policy));
            return Err(refused("spec.wildcardPolicy", &message));
        }
    };
    if host.is_empty() {
        let message = "no host value was defined for the route";
        return Err(Problem::new("spec.host", Reason::NoHostValue, message));
    }
    let invalid = |error: String| {
        let message = format!("host name validation errors: spec.host: Invalid value: {:?}: {error}", shown(host));
        Problem::new("spec.host", Reason::InvalidHost, message)
    };
    let name = Hostname::parse(host).map_err(|error| invalid(error.to_string()))?;
    if !wildcard {
        return Ok(HostPattern::Exact(name));
    }
    match name.split_first_label().1.map(Hostname::parse) {
        Some(Ok(domain)) => Ok(HostPattern::Wildcard(domain)),
        Some(Err(error)) => Err(invalid(error.to_string())),
        None => Err(invalid("a wildcard needs a host of at least two labels".into())),
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
