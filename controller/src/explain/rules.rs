//! Which rules a host has and which of them answers: the question, the snapshot and the objects flow in; host, rules and
//! what keeps other objects out flow out. Who answers is the word of the route table; here it is only put into sentences.

use super::explanation::{Host, ObjectProblem, Rule};
use super::question::Question;
use nearside_routing::admission::AdmissionRules;
use nearside_routing::claim::{ingress_claims, route_claims};
use nearside_routing::object::ObjectMeta;
use nearside_routing::table::{CompiledRoute, HostRoutes, InsecurePolicy, Termination};
use nearside_routing::{
    Decision, HostPattern, Hostname, Kind, NodeId, NormalPath, Object, ObjectKey, Outcome, Scheme, Snapshot,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The host as rules know it: a per-node alias stands for another one.
pub(super) fn looked_up(snapshot: &Snapshot, host: &str) -> (String, Option<NodeId>) {
    let named = |host: &str| patterns(host).iter().any(|pattern| snapshot.routes.host(pattern).is_some());
    let exact = Hostname::parse(host).ok().map(HostPattern::Exact);
    match NodeId::split_alias(host) {
        Some((original, node))
            if exact.is_none_or(|exact| snapshot.routes.host(&exact).is_none()) && named(&original) =>
        {
            (original, Some(node))
        }
        _ => (host.to_owned(), None),
    }
}

/// The exact host and the wildcard above it.
fn patterns(host: &str) -> Vec<HostPattern> {
    let Ok(name) = Hostname::parse(host) else { return Vec::new() };
    let above = name.split_first_label().1.and_then(|domain| Hostname::parse(domain).ok()).map(HostPattern::Wildcard);
    std::iter::once(HostPattern::Exact(name)).chain(above).collect()
}

/// The rule that speaks for the request: the one that answers it, or sends it to https, or passes its connection through.
pub(super) fn decisive<'s>(snapshot: &'s Snapshot, question: &Question) -> Option<&'s Arc<CompiledRoute>> {
    let url = &question.url;
    if url.scheme == Scheme::Https
        && let Some(route) = snapshot.routes.passthrough(&url.host)
    {
        return Some(route);
    }
    let path = NormalPath::parse(&url.path).ok()?;
    match snapshot.routes.find(url.scheme, &url.host, &path).decision {
        Decision::Serve(route) | Decision::RedirectToHttps(route) => Some(route),
        Decision::NoRoute => None,
    }
}

/// Whose the host is.
pub(super) fn host(snapshot: &Snapshot, question: &Question, decisive: Option<&CompiledRoute>) -> Host {
    let (name, node) = looked_up(snapshot, &question.url.host);
    let looked_into = hosts(snapshot, &name);
    let owner =
        decisive.and_then(|route| snapshot.routes.host(&route.pattern)).or_else(|| looked_into.first().copied());
    let considered = patterns(&name).into_iter().chain([HostPattern::Any]).map(|pattern| pattern.to_string());
    let claimed = patterns(&name)
        .iter()
        .any(|pattern| snapshot.claimed.contains_key(pattern) && snapshot.routes.host(pattern).is_none());
    Host {
        pattern: owner.map(|host| host.pattern.to_string()),
        alias_of: node.map(|_| name.clone()),
        alias_node: node.map(|node| {
            let named = snapshot.nodes.iter().find(|(_, state)| state.id == node).map(|(name, _)| name.to_string());
            named.unwrap_or_else(|| format!("no node has the id {node}"))
        }),
        kind: owner.map(|host| host.kind.name()),
        namespace: owner.map(|host| host.namespace.to_string()),
        considered: considered.collect(),
        claimed_but_not_served: claimed,
    }
}

/// What the table holds for a host, the most specific first.
fn hosts<'s>(snapshot: &'s Snapshot, host: &str) -> Vec<&'s Arc<HostRoutes>> {
    let own = patterns(host).into_iter().chain([HostPattern::Any]);
    own.filter_map(|pattern| snapshot.routes.host(&pattern)).collect()
}

/// Every rule that could have answered, in the order in which they are tried.
pub(super) fn rules(
    snapshot: &Snapshot,
    objects: &BTreeMap<ObjectKey, Object>,
    question: &Question,
    decisive: Option<&Arc<CompiledRoute>>,
) -> Vec<Rule> {
    let (name, _) = looked_up(snapshot, &question.url.host);
    let path = NormalPath::parse(&question.url.path).ok();
    let mut before: Option<&Arc<CompiledRoute>> = None;
    let mut rules = Vec::new();
    for host in hosts(snapshot, &name) {
        for route in &host.routes {
            let answers = decisive.is_some_and(|decisive| Arc::ptr_eq(decisive, route));
            let why = match (answers, &path) {
                (true, _) => wins(route, question.url.scheme),
                (false, None) => "the path is refused".to_owned(),
                (false, Some(path)) => loses(route, question.url.scheme, path, before, decisive),
            };
            if answers {
                before = Some(route);
            }
            rules.push(rule(route, objects, answers, why));
            if let Some(canary) = &route.canary {
                let share = canary.rules.share;
                let why = format!(
                    "a canary of the rule above: {} of {} requests, unless a request says otherwise",
                    share.weight, share.total
                );
                rules.push(rule(&canary.route, objects, false, why));
            }
        }
    }
    rules
}

fn rule(route: &CompiledRoute, objects: &BTreeMap<ObjectKey, Object>, answers: bool, why: String) -> Rule {
    let since = objects.get(&route.source).and_then(|object| metadata(object)?.creation_timestamp.clone());
    Rule {
        object: route.source.to_string(),
        pattern: route.pattern.to_string(),
        path: route.path.to_string(),
        termination: termination(route),
        since,
        answers,
        why,
    }
}

fn wins(route: &CompiledRoute, scheme: Scheme) -> String {
    match scheme {
        Scheme::Https if route.termination == Termination::Passthrough => {
            "answers: TLS passes through, whatever the path".into()
        }
        Scheme::Http if !route.serves(scheme) => "answers with a redirect to https".into(),
        _ => "answers: the first in order whose path matches".into(),
    }
}

fn loses(
    route: &CompiledRoute,
    scheme: Scheme,
    path: &NormalPath<'_>,
    before: Option<&Arc<CompiledRoute>>,
    decisive: Option<&Arc<CompiledRoute>>,
) -> String {
    if !route.path.matches(path) {
        return "its path does not match".into();
    }
    if !route.serves(scheme) && (scheme == Scheme::Https || route.insecure != InsecurePolicy::Redirect) {
        return match scheme {
            Scheme::Http => "its path matches, and it does not serve plain HTTP".into(),
            Scheme::Https => "its path matches, and it has no TLS that ends at the proxy".into(),
        };
    }
    match (before, decisive) {
        (Some(before), _) if before.pattern == route.pattern => format!("{} has a more specific path", before.source),
        (Some(before), _) => format!("{} is for a more specific host", before.source),
        (None, Some(decisive)) => format!("{} answers instead", decisive.source),
        (None, None) => {
            "a host that is more specific, of Ingresses or claimed without being served, keeps it out".into()
        }
    }
}

/// What is wrong with the objects that speak of the host, and which of them are not ours.
pub(super) fn problems(
    snapshot: &Snapshot,
    objects: &BTreeMap<ObjectKey, Object>,
    rules: &AdmissionRules,
    host: &str,
) -> Vec<ObjectProblem> {
    let (name, _) = looked_up(snapshot, host);
    let mut problems = BTreeSet::new();
    for (key, object) in objects.iter().filter(|(key, _)| matches!(key.kind, Kind::Route | Kind::Ingress)) {
        match snapshot.verdicts.get(key) {
            None if written(object).iter().any(|pattern| covers(pattern, &name)) => {
                problems.insert(not_ours(key, object));
            }
            Some(verdict) if verdict.all_problems().next().is_some() => {
                let hosts = match object {
                    Object::Route(route) => route_claims(route, rules).hosts,
                    Object::Ingress(ingress) => ingress_claims(ingress, &rules.hosts).hosts,
                    _ => BTreeSet::new(),
                };
                if verdict.host == name || hosts.iter().any(|pattern| covers(pattern, &name)) {
                    problems.extend(verdict.all_problems().map(|problem| ObjectProblem {
                        object: key.to_string(),
                        rejected: matches!(&verdict.outcome, Outcome::Rejected(decisive) if decisive == problem),
                        reason: problem.reason.to_string(),
                        field: problem.field.clone(),
                        message: problem.message.clone(),
                    }));
                }
            }
            _ => {}
        }
    }
    problems.into_iter().collect()
}

/// Rules without host are for everything and of nobody.
fn covers(pattern: &HostPattern, host: &str) -> bool {
    *pattern != HostPattern::Any && pattern.covers(host)
}

/// The hosts as they stand in the object.
fn written(object: &Object) -> Vec<HostPattern> {
    let texts: Vec<&str> = match object {
        Object::Route(route) => vec![&route.spec.host],
        Object::Ingress(ingress) => ingress.spec.rules.iter().map(|rule| &*rule.host).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().filter_map(|text| HostPattern::parse(text).ok()).collect()
}

fn not_ours(key: &ObjectKey, object: &Object) -> ObjectProblem {
    let (field, message) = match object {
        Object::Ingress(ingress) => {
            let class = ingress.spec.ingress_class_name.as_deref();
            let class = class.map_or_else(|| "no class".to_owned(), |class| format!("class {class:?}"));
            let message = format!("it is of {class} and not ours, or its labels or namespace are not selected");
            ("spec.ingressClassName", message)
        }
        _ => ("metadata", "its labels, fields or namespace are not selected, or an Ingress of ours made it".to_owned()),
    };
    ObjectProblem { object: key.to_string(), rejected: true, reason: "NotOurs".into(), field: field.into(), message }
}

/// Where TLS ends, in the words of a Route.
pub(super) fn termination(route: &CompiledRoute) -> &'static str {
    match route.termination {
        Termination::None => "none",
        Termination::Edge => "edge",
        Termination::Reencrypt { .. } => "reencrypt",
        Termination::Passthrough => "passthrough",
    }
}

fn metadata(object: &Object) -> Option<&ObjectMeta> {
    match object {
        Object::Route(route) => Some(&route.metadata),
        Object::Ingress(ingress) => Some(&ingress.metadata),
        _ => None,
    }
}
