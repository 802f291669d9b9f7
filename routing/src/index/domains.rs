//! Who holds which host, as far as neighbours must know: the claims on each changed host flow in, the hosts that must be
//! compiled again flow out. A change of one host of a domain touches its siblings only where it decides who holds the
//! wildcard above them, so a domain of many thousand hosts costs no more than one of few.

use crate::admission::{Holder, Neighbours, Ownership, Rank};
use crate::claim::Claim;
use crate::hostname::{HostPattern, Hostname};
use crate::node_id::NodeId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(super) struct Domains {
    ownership: Ownership,
    domains: BTreeMap<Box<str>, Domain>,
    /// The oldest claim on each exact host that is not kept out as an alias. Claims that a wildcard keeps out are among
    /// them: where one namespace holds the wildcard, no older claim of another exists below it.
    holders: BTreeMap<Hostname, Holder>,
    /// Hosts of the form of a per-node alias, by the host they stand for.
    aliases: BTreeMap<Hostname, BTreeSet<Hostname>>,
}

#[derive(Debug, Default)]
struct Domain {
    /// Every host directly below the domain, and its wildcard.
    hosts: BTreeSet<HostPattern>,
    /// The oldest claim of each namespace on the wildcard, oldest first.
    candidates: Vec<Holder>,
    wildcard: Option<Holder>,
    /// The holders of exact hosts, by namespace.
    below: BTreeMap<Box<str>, BTreeSet<(Rank, Hostname)>>,
    /// The oldest of each namespace.
    oldest: BTreeSet<(Rank, Box<str>)>,
}

impl Domains {
    pub(super) fn new(ownership: Ownership) -> Self {
        Self { ownership, domains: BTreeMap::new(), holders: BTreeMap::new(), aliases: BTreeMap::new() }
    }

    /// Somebody speaks of a host.
    pub(super) fn add(&mut self, pattern: &HostPattern) {
        self.domains.entry(domain(pattern).into()).or_default().hosts.insert(pattern.clone());
        if let HostPattern::Exact(name) = pattern
            && let Some(original) = original(name)
        {
            self.aliases.entry(original).or_default().insert(name.clone());
        }
    }

    /// Nobody speaks of a host any more. It must be settled once more.
    pub(super) fn remove(&mut self, pattern: &HostPattern) {
        if let Some(domain) = self.domains.get_mut(domain(pattern)) {
            domain.hosts.remove(pattern);
        }
        if let HostPattern::Exact(name) = pattern
            && let Some(original) = original(name)
            && let Some(aliases) = self.aliases.get_mut(&original)
        {
            aliases.remove(name);
            if aliases.is_empty() {
                self.aliases.remove(&original);
            }
        }
    }

    pub(super) fn neighbours(&self, pattern: &HostPattern) -> Neighbours<'_> {
        let wildcard = self.domains.get(domain(pattern)).and_then(|domain| domain.wildcard.as_ref());
        let original = match pattern {
            HostPattern::Exact(name) => original(name).and_then(|original| self.holders.get(&original)),
            HostPattern::Wildcard(_) | HostPattern::Any => None,
        };
        Neighbours { wildcard, original }
    }

    /// Works out who holds the changed hosts, and adds the hosts for which that makes a difference.
    pub(super) fn settle<'c>(
        &mut self,
        changed: BTreeSet<HostPattern>,
        claims: &dyn Fn(&HostPattern) -> Vec<&'c Claim>,
    ) -> BTreeSet<HostPattern> {
        let mut all = changed.clone();
        let mut domains: BTreeSet<Box<str>> = BTreeSet::new();
        // Shorter names first: an alias is longer than the host it stands for.
        let mut waiting: BTreeSet<(usize, Hostname)> = BTreeSet::new();
        for pattern in changed {
            domains.insert(domain(&pattern).into());
            match &pattern {
                HostPattern::Exact(name) => drop(waiting.insert((name.as_str().len(), name.clone()))),
                HostPattern::Wildcard(_) => {
                    let candidates = oldest_of_each_namespace(claims(&pattern));
                    self.domains.entry(domain(&pattern).into()).or_default().candidates = candidates;
                }
                HostPattern::Any => {}
            }
        }
        while let Some((_, name)) = waiting.pop_first() {
            let pattern = HostPattern::Exact(name);
            let kept_out = |claim: &&Claim| {
                let original = self.neighbours(&pattern).original;
                original.is_some_and(|holder| holder.keeps_out(claim))
            };
            let open = claims(&pattern).into_iter().filter(|claim| !kept_out(claim));
            let holder = open.min_by_key(|claim| (&claim.age, &claim.route.source)).map(Holder::by);
            let HostPattern::Exact(name) = pattern else { continue };
            if self.holders.get(&name) == holder.as_ref() {
                continue;
            }
            for alias in self.aliases.get(&name).into_iter().flatten() {
                waiting.insert((alias.as_str().len(), alias.clone()));
                all.insert(HostPattern::Exact(alias.clone()));
            }
            domains.insert(self.set_holder(name, holder));
        }
        for name in domains {
            let Some(domain) = self.domains.get_mut(&name) else {
                continue;
            };
            let wildcard = if self.ownership == Ownership::Strict { domain.wildcard_holder() } else { None };
            if domain.wildcard != wildcard {
                domain.wildcard = wildcard;
                all.extend(domain.hosts.iter().cloned());
            }
            if domain.hosts.is_empty() {
                self.domains.remove(&name);
            }
        }
        all
    }

    fn set_holder(&mut self, name: Hostname, holder: Option<Holder>) -> Box<str> {
        let key: Box<str> = domain(&HostPattern::Exact(name.clone())).into();
        let domain = self.domains.entry(key.clone()).or_default();
        let before = match &holder {
            Some(holder) => self.holders.insert(name.clone(), holder.clone()),
            None => self.holders.remove(&name),
        };
        if let Some(before) = before {
            domain.below(&before.namespace, |hosts| hosts.remove(&(before.since, name.clone())));
        }
        if let Some(holder) = holder {
            domain.below(&holder.namespace, |hosts| hosts.insert((holder.since, name)));
        }
        key
    }
}

impl Domain {
    /// Changes the hosts of one namespace, and keeps the oldest of each namespace in step.
    fn below(&mut self, namespace: &str, change: impl FnOnce(&mut BTreeSet<(Rank, Hostname)>) -> bool) {
        let hosts = self.below.entry(namespace.into()).or_default();
        if let Some((oldest, _)) = hosts.first() {
            self.oldest.remove(&(oldest.clone(), namespace.into()));
        }
        change(hosts);
        match hosts.first() {
            Some((oldest, _)) => drop(self.oldest.insert((oldest.clone(), namespace.into()))),
            None => drop(self.below.remove(namespace)),
        }
    }

    /// The oldest claim on the wildcard for which no older host below is of another namespace.
    fn wildcard_holder(&self) -> Option<Holder> {
        let granted = self.candidates.iter().find(|candidate| {
            let foreign = self.oldest.iter().find(|(_, namespace)| *namespace != candidate.namespace);
            foreign.is_none_or(|(since, _)| *since > candidate.since)
        });
        granted.cloned()
    }
}

fn oldest_of_each_namespace(claims: Vec<&Claim>) -> Vec<Holder> {
    let mut oldest: BTreeMap<Box<str>, Holder> = BTreeMap::new();
    for holder in claims.into_iter().map(Holder::by) {
        let known = oldest.get(&holder.namespace);
        if known.is_none_or(|known| holder.since < known.since) {
            oldest.insert(holder.namespace.clone(), holder);
        }
    }
    let mut holders: Vec<Holder> = oldest.into_values().collect();
    holders.sort_by(|a, b| a.since.cmp(&b.since));
    holders
}

fn original(name: &Hostname) -> Option<Hostname> {
    NodeId::split_alias(name.as_str()).and_then(|(host, _)| Hostname::parse(&host).ok())
}

/// The domain directly above a host; hosts of one label have none, and are siblings all the same.
fn domain(pattern: &HostPattern) -> &str {
    pattern.parent().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::route_claims;
    use crate::object::Object;
    use crate::testing::{config, objects, route};

    fn claim(yaml: &str) -> Claim {
        match objects(yaml).remove(0) {
            Object::Route(route) => route_claims(&route, &config().admission).rules.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// The hosts that are compiled again when these Routes come one after the other.
    fn touched(routes: &[String]) -> Vec<Vec<String>> {
        let mut domains = Domains::new(Ownership::Strict);
        let mut all: Vec<Claim> = Vec::new();
        let mut touched = Vec::new();
        for yaml in routes {
            all.push(claim(yaml));
            let pattern = all[all.len() - 1].route.pattern.clone();
            domains.add(&pattern);
            let on = |pattern: &HostPattern| all.iter().filter(|claim| claim.route.pattern == *pattern).collect();
            let again = domains.settle([pattern].into(), &on);
            touched.push(again.iter().map(ToString::to_string).collect());
        }
        touched
    }

    #[test]
    fn a_host_below_a_wildcard_touches_its_siblings_only_where_the_wildcard_passes_on() {
        let wild = |namespace, second| route(namespace, "wild", second, "host: any.d.test, wildcardPolicy: Subdomain");
        let routes = [
            route("a", "x", 2, "host: x.d.test"),
            wild("a", 3),
            route("a", "why", 4, "host: y.d.test"),
            route("a", "alias", 5, "host: y--abcde.d.test"),
            route("a", "why", 1, "host: y.d.test, path: /p"),
            route("b", "z", 1, "host: z.d.test"),
        ];
        assert_eq!(
            touched(&routes),
            [
                vec!["x.d.test"],
                vec!["x.d.test", "*.d.test"],
                vec!["y.d.test"],
                vec!["y--abcde.d.test"],
                vec!["y.d.test", "y--abcde.d.test"],
                vec!["x.d.test", "y.d.test", "y--abcde.d.test", "z.d.test", "*.d.test"],
            ]
            .map(|hosts| {
                let mut hosts: Vec<HostPattern> = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
                hosts.sort();
                hosts.iter().map(ToString::to_string).collect::<Vec<_>>()
            })
        );
    }
}
