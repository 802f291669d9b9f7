//! Who claims a host that is not served: the route table and the verdicts flow in, the hosts whose records must not be
//! withdrawn flow out. A Route whose certificate broke still claims its host; only its deletion gives the host up.

use nearside_routing::verdict::Verdict;
use nearside_routing::{HostPattern, Hostname, Kind, ObjectKey, Outcome, RouteTable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Remembers which objects served a host, so that it is known who may still claim it when it is served no more.
#[derive(Debug, Default)]
pub(crate) struct Claimants {
    served_by: BTreeMap<HostPattern, BTreeSet<ObjectKey>>,
    /// Wildcards whose claimants are known to be gone, though a rejected Route could have claimed them.
    released: BTreeSet<HostPattern>,
}

impl Claimants {
    /// The hosts that are not in the table but that an object still asks for.
    pub(crate) fn unserved(
        &mut self,
        routes: &RouteTable,
        verdicts: &BTreeMap<ObjectKey, Arc<Verdict>>,
    ) -> BTreeSet<HostPattern> {
        let mut served_by: BTreeMap<HostPattern, BTreeSet<ObjectKey>> = BTreeMap::new();
        for host in routes.hosts() {
            let sources = host.routes.iter().map(|route| route.source.clone());
            served_by.insert(host.pattern.clone(), sources.collect());
        }
        let mut unserved = asked_by_rejected(routes, verdicts);
        self.released.retain(|pattern| unserved.contains(pattern));
        for (pattern, sources) in std::mem::take(&mut self.served_by) {
            if served_by.contains_key(&pattern) {
                continue;
            }
            let asks = |key: &ObjectKey| verdicts.get(key).is_some_and(|verdict| may_ask_for(verdict, &pattern));
            if sources.iter().any(asks) {
                unserved.insert(pattern.clone());
                served_by.insert(pattern, sources);
            } else if unserved.contains(&pattern) && matches!(pattern, HostPattern::Wildcard(_)) {
                self.released.insert(pattern);
            }
        }
        self.served_by = served_by;
        unserved.retain(|pattern| !self.released.contains(pattern));
        unserved
    }
}

/// The hosts that rejected objects name. What was served before this process started is not remembered, so this is all
/// that is known of it; the host of a Route stands for its wildcard too, because the verdict does not tell which it is.
fn asked_by_rejected(routes: &RouteTable, verdicts: &BTreeMap<ObjectKey, Arc<Verdict>>) -> BTreeSet<HostPattern> {
    let rejected = verdicts.values().filter(|verdict| matches!(verdict.outcome, Outcome::Rejected(_)));
    let asked = rejected.flat_map(|verdict| {
        let named = HostPattern::parse(&verdict.host).ok();
        let above = (verdict.object.kind == Kind::Route).then(|| parent_wildcard(&verdict.host)).flatten();
        named.into_iter().chain(above)
    });
    asked.filter(|pattern| *pattern != HostPattern::Any && routes.host(pattern).is_none()).collect()
}

/// Whether an object that once served a host may still ask for it. A Route has one host, which its verdict names; of an
/// Ingress it is known only that some of its rules are not served.
fn may_ask_for(verdict: &Verdict, pattern: &HostPattern) -> bool {
    match (verdict.object.kind, pattern) {
        (_, HostPattern::Any) => false,
        (Kind::Route, HostPattern::Exact(name)) => verdict.host.eq_ignore_ascii_case(name.as_str()),
        (Kind::Route, wildcard) => parent_wildcard(&verdict.host).is_some_and(|parent| parent == *wildcard),
        _ => {
            matches!(verdict.outcome, Outcome::Rejected(_))
                || verdict.problems.iter().any(|problem| {
                    problem.field.starts_with("spec.rules") || problem.field.starts_with("spec.defaultBackend")
                })
        }
    }
}

/// The wildcard that a Route of this host claims with `wildcardPolicy: Subdomain`.
fn parent_wildcard(host: &str) -> Option<HostPattern> {
    let name = Hostname::parse(host).ok()?;
    let (_, domain) = name.split_first_label();
    Some(HostPattern::Wildcard(Hostname::parse(domain?).ok()?))
}
