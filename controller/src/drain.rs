//! Nodes that are taken out: what stands in the DNSEndpoints and what publishers have taken of it flow in, how far DNS has let go
//! of each node flows out, for the operator who waits to end it. Pure: time is an argument. The planner asks it.

use crate::limits::BEYOND_TTL;
use nearside_routing::placement::NodeStates;
use nearside_routing::published::{DnsPublication, DnsRecords};
use nearside_routing::{HostPattern, SharedMap};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

type Node = Arc<str>;

/// How far DNS has let go of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Letting {
    /// Hosts are published on it, or name servers may still answer so.
    Named,
    /// No name server names it; resolvers and clients may remember it.
    Settling,
    /// Nobody is sent there who heeds the TTL.
    Drained,
}

impl Letting {
    /// The word for metrics and pages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Settling => "settling",
            Self::Drained => "drained",
        }
    }

    /// Every one.
    pub(crate) const ALL: [Self; 3] = [Self::Named, Self::Settling, Self::Drained];
}

/// What is remembered. Times are counted from an epoch of the caller's.
#[derive(Debug, Default)]
pub(crate) struct Drains {
    nodes: BTreeMap<Node, Drain>,
    /// What stood in the DNSEndpoints the last time.
    seen: SharedMap<HostPattern, DnsRecords>,
}

#[derive(Debug, Default)]
struct Drain {
    /// Hosts that were published on the node, and of which publishers have not taken anything else yet.
    hosts: BTreeSet<HostPattern>,
    /// Since when there is none.
    left: Option<Duration>,
}

impl Drains {
    /// Takes in what is known now. Only a node that is new here costs a look at every host.
    pub(crate) fn step(&mut self, nodes: &NodeStates, dns: &DnsPublication, now: Duration) {
        self.nodes.retain(|name, _| nodes.get(name).is_some_and(|node| node.withdrawn));
        let before = std::mem::replace(&mut self.seen, dns.hosts.clone());
        if !dns.is_followed {
            return;
        }
        let is_taken = |records: &DnsRecords| records.is_observed() || !dns.reports;
        for (name, node) in nodes.iter().filter(|(_, node)| node.withdrawn) {
            let names = |records: &DnsRecords| {
                let mut targets = records.spec.endpoints.iter().flat_map(|set| &set.targets);
                targets.any(|target| node.addresses.iter().any(|address| address.address == *target))
            };
            let is_new = !self.nodes.contains_key(name);
            let drain = self.nodes.entry(Arc::clone(name)).or_default();
            if is_new {
                // What stood there before, when nobody looked, may still be answered.
                let on = dns.hosts.iter().filter(|(_, records)| names(records) || !is_taken(records));
                drain.hosts = on.map(|(pattern, _)| pattern.clone()).collect();
            } else {
                for changed in dns.hosts.changes_since(&before) {
                    let was_on = drain.hosts.contains(changed.key);
                    let is_on = |records: &Arc<DnsRecords>| names(records) || (was_on && !is_taken(records));
                    if changed.after.is_some_and(is_on) {
                        drain.hosts.insert(changed.key.clone());
                    } else {
                        drain.hosts.remove(changed.key);
                    }
                }
            }
            drain.left = if drain.hosts.is_empty() { drain.left.or(Some(now)) } else { None };
        }
    }

    /// How far DNS has let go of each node that is taken out. `ttl` is that of the records.
    pub(crate) fn state(&self, ttl: Duration, now: Duration) -> BTreeMap<Node, Letting> {
        let letting = |drain: &Drain| match drain.left {
            None => Letting::Named,
            Some(since) if now < since + ttl + BEYOND_TTL => Letting::Settling,
            Some(_) => Letting::Drained,
        };
        self.nodes.iter().map(|(name, drain)| (Arc::clone(name), letting(drain))).collect()
    }

    /// When the next node is drained although nothing changes.
    pub(crate) fn next_due(&self, ttl: Duration, now: Duration) -> Option<Duration> {
        let due = self.nodes.values().filter_map(|drain| drain.left).map(|since| since + ttl + BEYOND_TTL);
        due.filter(|due| *due > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::NodeId;
    use nearside_routing::object::{DnsEndpointSpec, NodeAddress, RecordSet};
    use nearside_routing::placement::NodeState;

    const TTL: Duration = Duration::from_secs(30);

    fn nodes(withdrawn: bool) -> NodeStates {
        let address = NodeAddress { kind: "InternalIP".into(), address: "198.18.0.1".into() };
        let node = NodeState {
            id: NodeId::of("n1"),
            addresses: vec![address],
            ready: true,
            withdrawn,
            router: Some(true),
            router_ends: false,
            router_lost: false,
        };
        [("n1".into(), node)].into()
    }

    fn put(dns: &mut DnsPublication, host: &str, target: &str, generation: i64, observed: i64) {
        let set = RecordSet {
            dns_name: host.into(),
            record_type: "A".into(),
            targets: vec![target.into()],
            record_ttl: Some(30),
        };
        let spec = DnsEndpointSpec { endpoints: vec![set] };
        let records = DnsRecords { spec, generation, observed, conditions: Vec::new() };
        dns.hosts.insert(HostPattern::parse(host).unwrap(), Arc::new(records));
    }

    #[test]
    fn a_node_is_drained_when_every_name_server_and_every_resolver_has_let_go_of_it() {
        let mut dns = DnsPublication { is_followed: true, reports: true, ..DnsPublication::default() };
        put(&mut dns, "a.test", "198.18.0.1", 1, 1);
        put(&mut dns, "b.test", "198.18.0.2", 1, 1);
        let (mut drains, mut now) = (Drains::default(), Duration::from_secs(1000));
        let mut step = |nodes: &NodeStates, dns: &DnsPublication, wait: u64| {
            now += Duration::from_secs(wait);
            drains.step(nodes, dns, now);
            (drains.state(TTL, now).get("n1").copied(), drains.next_due(TTL, now).map(|due| due - now))
        };
        assert_eq!(step(&nodes(false), &dns, 0), (None, None));
        assert_eq!(step(&nodes(true), &dns, 1), (Some(Letting::Named), None));
        put(&mut dns, "a.test", "198.18.0.2", 2, 1);
        assert_eq!(step(&nodes(true), &dns, 60), (Some(Letting::Named), None), "written, and not taken yet");
        put(&mut dns, "a.test", "198.18.0.2", 2, 2);
        let wait = TTL + BEYOND_TTL;
        assert_eq!(step(&nodes(true), &dns, 1), (Some(Letting::Settling), Some(wait)));
        assert_eq!(step(&nodes(true), &dns, wait.as_secs()), (Some(Letting::Drained), None));
        put(&mut dns, "b.test", "198.18.0.1", 2, 2);
        assert_eq!(step(&nodes(true), &dns, 1), (Some(Letting::Named), None), "nobody else was there");
        assert_eq!(step(&nodes(false), &dns, 1), (None, None), "it is back");
    }

    #[test]
    fn a_process_that_has_just_started_waits_for_what_is_not_taken_yet() {
        let mut dns = DnsPublication { is_followed: true, reports: true, ..DnsPublication::default() };
        put(&mut dns, "a.test", "198.18.0.2", 2, 1);
        let mut drains = Drains::default();
        drains.step(&nodes(true), &dns, TTL);
        assert_eq!(drains.state(TTL, TTL)["n1"], Letting::Named);
        dns.hosts.remove(&HostPattern::parse("a.test").unwrap());
        drains.step(&nodes(true), &dns, TTL);
        assert_eq!(drains.state(TTL, TTL)["n1"], Letting::Settling, "the host is gone");
    }
}
