//! Targets of what is asked and of the rules that it is compared with: paths, hosts, values of headers.

use super::first_line;
use crate::header_value::{Side, ValueTemplate};
use crate::hostname::{Hostname, canonical_host};
use crate::index::{Change, Index, IndexConfig};
use crate::object::{Kind, Object};
use crate::path::{NormalPath, PathRule};
use crate::table::{CompiledRoute, Decision, RouteTable, Scheme};
use serde_json::{Value, json};
use std::sync::Arc;

/// The path of a request, and paths of rules, a line each.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (asked, rules) = first_line(text);
    let Ok(asked) = NormalPath::parse(asked) else { return };
    is_normal(&asked);
    for written in rules.split('\n').take(16) {
        let rules = [
            PathRule::route(written).ok(),
            PathRule::ingress_prefix(written).ok(),
            PathRule::ingress_exact(written).ok(),
        ];
        for rule in rules.into_iter().flatten() {
            if rule.matches(&asked) {
                let rest = rule.split(&asked).rest();
                assert!(asked.as_str().ends_with(rest));
            }
            whole_segments(&rule, &asked);
        }
        if let Ok(rule) = PathRule::ingress_regex(written)
            && rule.matches(&asked)
        {
            let split = rule.split(&asked);
            (0..10).for_each(|group| assert!(asked.as_str().contains(split.group(group))));
        }
    }
}

fn is_normal(path: &NormalPath<'_>) {
    let text = path.as_str();
    assert_eq!(NormalPath::parse(text).expect("a normal form is a path").as_str(), text);
    assert!(!text.contains(['\\', '\0']) && !text.bytes().any(|byte| byte.is_ascii_control()));
    if text.starts_with('/') {
        assert!(!text.split('/').any(|segment| matches!(segment, "." | "..")), "{text}");
    }
}

/// A rule speaks of whole segments: of what lies below a path it matches, but not of what only begins like it.
fn whole_segments(rule: &PathRule, asked: &NormalPath<'_>) {
    let (PathRule::Prefix { path, .. } | PathRule::Below(path)) = rule else { return };
    let Some(rest) = asked.as_str().strip_prefix(&**path) else {
        assert!(!rule.matches(asked));
        return;
    };
    let below = rest.is_empty() || rest.starts_with('/') || path.ends_with('/');
    assert_eq!(rule.matches(asked), below, "{rule} {}", asked.as_str());
}

/// The value of a header action.
pub fn header_value(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for side in [Side::Request, Side::Response] {
        let Ok(value) = ValueTemplate::parse(text, side) else { continue };
        assert_eq!(value.to_string(), text, "the segments are the text");
        assert_eq!(ValueTemplate::parse(&value.to_string(), side).as_ref(), Ok(&value));
        assert!(value.literal().is_none_or(|literal| !literal.contains(char::is_control)));
    }
}

/// Rules, a line each, and on the last line host and path of a request. A rule is `R` (Route) or the `pathType` of an Ingress by its
/// first letter, then host and path.
pub fn route_match(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (rules, asked) = text.rsplit_once('\n').unwrap_or(("", text));
    let mut index = Index::new(IndexConfig::default());
    index.apply(Change::Apply(decoded(
        Kind::IngressClass,
        json!({
            "metadata": { "name": "nearside" }, "spec": { "controller": crate::index::CONTROLLER }
        }),
    )));
    for (number, rule) in rules.split('\n').take(16).enumerate() {
        if let Some(object) = object(number, rule) {
            index.apply(Change::Apply(object));
        }
    }
    let snapshot = index.publish();
    let (host, path) = asked.split_once(' ').unwrap_or((asked, "/"));
    let host = canonical_host(host);
    if let Ok(name) = Hostname::parse(&host) {
        assert_eq!(Hostname::parse(name.as_str()).as_ref(), Ok(&name));
        assert_eq!(canonical_host(name.as_str()), name.as_str());
    }
    let Ok(path) = NormalPath::parse(path) else { return };
    for scheme in [Scheme::Http, Scheme::Https] {
        let found = snapshot.routes.find(scheme, &host, &path);
        let host = found.alias.as_ref().map_or(&*host, |(original, _)| original);
        match found.decision {
            Decision::Serve(route) => {
                assert!(route.serves(scheme));
                is_first(&snapshot.routes, route, scheme, host, &path);
            }
            Decision::RedirectToHttps(route) => assert!(route.path.matches(&path) && route.pattern.covers(host)),
            Decision::NoRoute => {}
        }
    }
}

/// The rule that answers speaks of what is asked, and no other rule for the same hosts does so earlier.
fn is_first(routes: &RouteTable, route: &Arc<CompiledRoute>, scheme: Scheme, host: &str, path: &NormalPath<'_>) {
    assert!(route.pattern.covers(host) && route.path.matches(path), "{:?} {host} {}", route.source, path.as_str());
    let same = routes.host(&route.pattern).expect("the host of a rule that answers");
    for other in same.routes.iter().filter(|other| other.serves(scheme) && other.path.matches(path)) {
        assert!(route.path.precedence() <= other.path.precedence(), "{} before {}", route.path, other.path);
    }
}

fn object(number: usize, rule: &str) -> Option<Object> {
    let mut words = rule.splitn(3, ' ');
    let (kind, host, path) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    let path_type = match kind {
        "P" => "Prefix",
        "E" => "Exact",
        "I" => "ImplementationSpecific",
        _ => "",
    };
    let metadata =
        json!({ "namespace": "ns", "name": format!("o{number}"), "creationTimestamp": "2025-01-01T00:00:00Z" });
    Some(if path_type.is_empty() {
        let (host, wildcard) = match host.strip_prefix("*.") {
            Some(domain) => (format!("any.{domain}"), "Subdomain"),
            None => (host.to_owned(), "None"),
        };
        let tls = (kind == "T").then(|| json!({ "termination": "edge", "insecureEdgeTerminationPolicy": "Redirect" }));
        let to = json!({ "kind": "Service", "name": "web" });
        decoded(
            Kind::Route,
            json!({
                "metadata": metadata, "spec": { "host": host, "path": path, "wildcardPolicy": wildcard, "to": to, "tls": tls }
            }),
        )
    } else {
        let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
        let paths = json!([{ "path": path, "pathType": path_type, "backend": backend }]);
        decoded(
            Kind::Ingress,
            json!({
                "metadata": metadata,
                "spec": { "ingressClassName": "nearside", "rules": [{ "host": host, "http": { "paths": paths } }] }
            }),
        )
    })
}

fn decoded(kind: Kind, value: Value) -> Object {
    Object::decode(kind, value).expect("every field has its type")
}
