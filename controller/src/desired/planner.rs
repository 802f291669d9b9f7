//! The planner: snapshots flow in, for each everything that should stand in the API flows out. It remembers what was good last,
//! and looks at the hosts and objects alone that differ from the snapshot before.

use super::any_host::nodes_for_any_host;
use super::route_status::Publication;
use super::{Desired, DnsEndpointIntent, HoldReason, Intent, Records, Target, event, ingress_status, route_status};
use crate::drain::Drains;
use crate::handover::{Addresses, Handovers, Judged, Sight, answers_for};
use crate::liveness::{Keeping, Liveness, Probes};
use crate::prober::Wanted;
use nearside_routing::object::DnsEndpointSpec;
use nearside_routing::placement::{
    Basis, HostPlacement, Placer, RecordPolicy, addresses, dns_endpoint_name, records_of, weights,
};
use nearside_routing::table::HostRoutes;
use nearside_routing::{HostPattern, Kind, ObjectKey, SharedMap, Snapshot, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// See the module head.
#[derive(Debug)]
pub(crate) struct Planner {
    policy: RecordPolicy,
    last_good: BTreeMap<HostPattern, DnsEndpointSpec>,
    placer: Placer,
    handovers: Handovers,
    /// What is made of nodes that are not Ready, where probes look at them.
    liveness: Option<Liveness>,
    probes: Probes,
    drains: Drains,
    /// When was planned last.
    now: Duration,
    /// What was planned last, and from what.
    desired: Desired,
    snapshot: Snapshot,
    /// The hosts that each Route and Ingress serves.
    hosts_of: BTreeMap<ObjectKey, BTreeSet<HostPattern>>,
}

impl Planner {
    /// A planner that has seen nothing yet.
    pub(crate) fn new(policy: RecordPolicy) -> Self {
        Self {
            policy,
            last_good: BTreeMap::new(),
            placer: Placer::default(),
            handovers: Handovers::default(),
            liveness: None,
            probes: Probes::new(),
            drains: Drains::default(),
            now: Duration::ZERO,
            desired: Desired::default(),
            snapshot: Snapshot::default(),
            hosts_of: BTreeMap::new(),
        }
    }

    /// Nodes that are not Ready are judged by probes as well, from now on.
    pub(crate) fn with_probes(self) -> Self {
        Self { liveness: Some(Liveness::default()), ..self }
    }

    /// What probes have found, for the next plan.
    pub(crate) fn observe(&mut self, probes: Probes) {
        self.probes = probes;
    }

    /// The nodes to probe, with their addresses.
    pub(crate) fn suspects(&self) -> Wanted {
        let kept = self.liveness.iter().flat_map(Liveness::kept);
        let with_addresses = kept.filter_map(|name| {
            let node = self.snapshot.nodes.get(name)?;
            Some((Arc::clone(name), addresses(node, &self.policy.address_types)))
        });
        with_addresses.collect()
    }

    /// What should stand in the API for this snapshot, which must be of a source that is in sync: a host that nothing in
    /// it claims is withdrawn.
    pub(crate) fn plan(&mut self, snapshot: &Snapshot, now: Duration) -> Desired {
        let last = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let mut hosts = self.placer.update(snapshot);
        hosts.extend(snapshot.claimed.changes_since(&last.claimed).into_iter().map(|changed| changed.key.clone()));
        hosts.extend(snapshot.dns.hosts.changes_since(&last.dns.hosts).into_iter().map(|changed| changed.key.clone()));
        hosts.extend(self.handovers.due(now));
        if let Some(liveness) = &mut self.liveness {
            let changed = liveness.step(&snapshot.nodes, &self.probes, now);
            hosts.extend(self.handovers.on(&changed).cloned());
            self.desired.kept = liveness.kept().cloned().collect();
            self.desired.keeping = liveness.keeping();
        }
        let mut objects = self.follow_routes(&last, snapshot);
        if (snapshot.dns.reports, snapshot.dns.is_followed) != (last.dns.reports, last.dns.is_followed) {
            // Every Route says whether its records are taken.
            objects.extend(snapshot.verdicts.keys().filter(|key| key.kind == Kind::Route).cloned());
        }
        self.now = now;
        self.drains.step(&snapshot.nodes, &snapshot.dns, now);
        self.desired.withdrawn = self.drains.state(self.ttl(), now);
        let addresses = Addresses::new(&snapshot.nodes);
        for pattern in &hosts {
            objects.extend(sources(snapshot.routes.host(pattern)).cloned());
            if *pattern != HostPattern::Any {
                self.plan_host(pattern, snapshot, &addresses, now);
            }
        }
        for changed in snapshot.verdicts.changes_since(&last.verdicts) {
            self.count_problems(changed.before, changed.after);
            objects.insert(changed.key.clone());
        }
        self.desired.placement = self.placer.placement().clone();
        for key in objects {
            self.plan_object(key, snapshot);
        }
        self.desired.dns = snapshot.dns.clone();
        self.desired.generation = snapshot.generation;
        self.desired.clone()
    }

    /// Takes in which objects serve which hosts, and gives the objects of hosts that are served otherwise.
    fn follow_routes(&mut self, last: &Snapshot, snapshot: &Snapshot) -> BTreeSet<ObjectKey> {
        let mut objects = BTreeSet::new();
        for changed in snapshot.routes.changes_since(&last.routes) {
            let Some(pattern) = changed.pattern() else { continue };
            for source in sources(changed.before) {
                if let Some(hosts) = self.hosts_of.get_mut(source) {
                    hosts.remove(pattern);
                    if hosts.is_empty() {
                        self.hosts_of.remove(source);
                    }
                }
            }
            for source in sources(changed.after) {
                self.hosts_of.entry(source.clone()).or_default().insert(pattern.clone());
            }
            objects.extend(sources(changed.before).chain(sources(changed.after)).cloned());
        }
        objects
    }

    /// When to plan again although nothing has changed; `None` where nothing waits.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let liveness = self.liveness.as_ref().and_then(Liveness::next_due);
        let drained = self.drains.next_due(self.ttl(), self.now);
        self.handovers.next_due().into_iter().chain(liveness).chain(drained).min()
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(self.policy.ttl.into())
    }

    fn plan_host(&mut self, pattern: &HostPattern, snapshot: &Snapshot, addresses: &Addresses<'_>, now: Duration) {
        let placed = self.placer.placement().hosts.get(pattern).cloned();
        self.count_basis(pattern, placed.as_deref());
        let mut keeps = false;
        let records = match &placed {
            Some(host) => {
                let host = self.settle(pattern, host, snapshot, addresses, now);
                keeps = self.desired.keeping == Keeping::Held
                    && host.nodes.iter().any(|node| self.desired.kept.contains(node));
                Some(self.records(pattern, &host, snapshot))
            }
            // A Route whose certificate broke still claims its host: its records stay until nobody claims the host.
            None => snapshot.claimed.contains_key(pattern).then_some(Records::Hold(HoldReason::NotServed)),
        };
        if records.is_none() {
            self.last_good.remove(pattern);
            self.handovers.forget(pattern);
        }
        let held = match records {
            // There is nothing to hold of a host that was never published.
            Some(Records::Hold(HoldReason::NotServed)) if !self.last_good.contains_key(pattern) => None,
            Some(Records::Hold(reason)) => Some(reason),
            Some(Records::Publish { .. }) => keeps.then_some(HoldReason::NodesNotReady),
            None => None,
        };
        set(&mut self.desired.held, pattern.clone(), held);
        let target = Target::DnsEndpoint(dns_endpoint_name(pattern));
        let owner = owner(pattern, snapshot);
        let intent =
            records.map(|records| Intent::DnsEndpoint(DnsEndpointIntent { pattern: pattern.clone(), owner, records }));
        set(&mut self.desired.intents, target, intent);
    }

    /// The nodes to publish at this moment, on the way to where the host should be.
    fn settle(
        &mut self,
        pattern: &HostPattern,
        wanted: &HostPlacement,
        snapshot: &Snapshot,
        addresses: &Addresses<'_>,
        now: Duration,
    ) -> HostPlacement {
        let dns = snapshot.dns.hosts.get(pattern);
        let sight = match dns {
            Some(dns) if dns.is_observed() && Some(&dns.spec) == self.last_good.get(pattern) => Sight::Seen,
            _ if snapshot.dns.reports => Sight::Awaited,
            _ => Sight::Blind,
        };
        let known = || dns.map(|dns| addresses.nodes_in(&dns.spec)).unwrap_or_default();
        let liveness = self.liveness.as_ref();
        let judged = |node: &str| match () {
            () if liveness.is_some_and(|liveness| liveness.answers(node)) => Judged::Kept,
            () if liveness.is_some_and(|liveness| liveness.keeps(node)) => Judged::Suspected,
            () if answers_for(pattern, node, snapshot) => Judged::Answers,
            () => Judged::Lost,
        };
        self.handovers.settle(pattern, wanted, known, judged, sight, now)
    }

    /// What is to be said of the publication of a host; `None` where nobody can know.
    fn publication(&self, pattern: &HostPattern, snapshot: &Snapshot) -> Option<Publication> {
        if !snapshot.dns.is_followed {
            return None;
        }
        let wanted = self.last_good.get(pattern);
        Some(match snapshot.dns.hosts.get(pattern) {
            dns if !snapshot.dns.reports && dns.is_none_or(|dns| dns.trouble().is_none()) => Publication::NotReported,
            Some(dns) if wanted.is_none_or(|wanted| dns.spec == *wanted) => match dns.trouble() {
                _ if dns.is_observed() => Publication::Observed,
                Some(trouble) => {
                    Publication::Troubled { reason: trouble.reason.clone(), message: trouble.message.clone() }
                }
                None => Publication::Waiting,
            },
            _ => Publication::Waiting,
        })
    }

    fn records(&mut self, pattern: &HostPattern, host: &HostPlacement, snapshot: &Snapshot) -> Records {
        match records_of(pattern, host, &snapshot.nodes, &snapshot.routes, &self.policy) {
            Some(spec) => {
                self.last_good.insert(pattern.clone(), spec.clone());
                let weights = snapshot.routes.host(pattern).map(|routes| {
                    let types = &self.policy.address_types;
                    weights(routes, host, &spec, &snapshot.nodes, &snapshot.endpoints, types)
                });
                Records::Publish { spec, basis: host.basis, weights: weights.unwrap_or_default() }
            }
            None if host.basis == Basis::NoReadyRouter => Records::Hold(HoldReason::NoReadyRouter),
            None => Records::Hold(HoldReason::NoAddress),
        }
    }

    fn plan_object(&mut self, key: ObjectKey, snapshot: &Snapshot) {
        let intent = snapshot.verdicts.get(&key).map(|verdict| {
            let (own, nowhere) = (self.hosts_of.get(&key), BTreeSet::new());
            let own = own.unwrap_or(&nowhere);
            let placement = &self.desired.placement;
            let events = event::events(verdict, own, placement, &snapshot.dns);
            match key.kind {
                Kind::Route => {
                    let publication = own.first().and_then(|pattern| self.publication(pattern, snapshot));
                    let held = &self.desired.held;
                    Intent::Route(route_status::intent(verdict, own, placement, held, publication, events))
                }
                _ => {
                    let addresses = self.addresses(snapshot, &key, own);
                    Intent::Ingress(ingress_status::intent(verdict, addresses, events))
                }
            }
        });
        set(&mut self.desired.intents, Target::Status(key), intent);
    }

    /// The addresses that are published for the hosts of an Ingress, sorted; `None` where none is known, because all of
    /// its hosts are held since before the controller started.
    fn addresses(&self, snapshot: &Snapshot, key: &ObjectKey, hosts: &BTreeSet<HostPattern>) -> Option<Vec<String>> {
        let any_host;
        let specs = hosts.iter().filter_map(|pattern| self.last_good.get(pattern).map(|spec| (pattern, spec)));
        let mut specs: Vec<_> = specs.collect();
        if hosts.contains(&HostPattern::Any) {
            let host = HostPlacement { nodes: nodes_for_any_host(snapshot, key), basis: Basis::AllServices };
            any_host = records_of(&HostPattern::Any, &host, &snapshot.nodes, &snapshot.routes, &self.policy);
            specs.extend(any_host.as_ref().map(|spec| (&HostPattern::Any, spec)));
        }
        if specs.is_empty() {
            return None;
        }
        let mut addresses: Vec<IpAddr> = specs
            .iter()
            .flat_map(|(pattern, spec)| {
                let name = pattern.to_string();
                spec.endpoints.iter().filter(move |set| set.dns_name == name).flat_map(|set| &set.targets)
            })
            .filter_map(|target| target.parse().ok())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        Some(addresses.iter().map(ToString::to_string).collect())
    }

    /// `placed` is not in `desired` yet.
    fn count_basis(&mut self, pattern: &HostPattern, placed: Option<&HostPlacement>) {
        let before = self.desired.placement.hosts.get(pattern).map(|host| host.basis.as_str());
        count(&mut self.desired.bases, before, placed.map(|host| host.basis.as_str()));
    }

    fn count_problems(&mut self, before: Option<&Arc<Verdict>>, after: Option<&Arc<Verdict>>) {
        let reasons = |verdict: Option<&Arc<Verdict>>| {
            let verdict = verdict.cloned();
            let of = |verdict: &Arc<Verdict>| -> Vec<_> {
                verdict.all_problems().map(|problem| (verdict.object.kind, problem.reason)).collect()
            };
            verdict.as_ref().map(of).unwrap_or_default()
        };
        reasons(before).into_iter().for_each(|reason| count(&mut self.desired.problems, Some(reason), None));
        reasons(after).into_iter().for_each(|reason| count(&mut self.desired.problems, None, Some(reason)));
    }
}

#[cfg(test)]
impl Planner {
    /// One that knows what was good last and has to look at everything.
    pub(super) fn forgetful(&self) -> Self {
        Self { last_good: self.last_good.clone(), ..Self::new(self.policy.clone()) }
    }
}

/// Leaves what is equal where it is, so that it makes no difference to whoever compares.
fn set<K: Ord + Hash + Clone, V: PartialEq>(map: &mut SharedMap<K, V>, key: K, value: Option<V>) {
    if map.get(&key).map(AsRef::as_ref) != value.as_ref() {
        map.set(key, value.map(Arc::new));
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, usize>, before: Option<K>, after: Option<K>) {
    if let Some(before) = before
        && let Some(known) = counts.get_mut(&before)
    {
        *known -= 1;
        if *known == 0 {
            counts.remove(&before);
        }
    }
    if let Some(after) = after {
        *counts.entry(after).or_insert(0) += 1;
    }
}

/// The namespace of the first object that serves a host.
fn owner(pattern: &HostPattern, snapshot: &Snapshot) -> Option<Arc<str>> {
    let routes = &snapshot.routes.host(pattern)?.routes;
    routes.first().map(|route| (&*route.source.namespace).into())
}

/// The Routes and Ingresses that serve a host.
fn sources(host: Option<&Arc<HostRoutes>>) -> impl Iterator<Item = &ObjectKey> {
    let rules = host.into_iter().flat_map(|host| host.routes.iter());
    rules.flat_map(|rule| rule.with_canary()).map(|route| &route.source)
}
