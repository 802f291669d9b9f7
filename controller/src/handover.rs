//! Make before break: the nodes that a host should be on, those that can still answer for it and what publishers have taken
//! flow in, the nodes to publish at this moment flow out. A node that is to go but could stay goes when those that take its
//! place are seen in DNS, or after a bounded wait; one that cannot answer goes at once. A node that has come and gone too
//! often comes back later and later, as long as others answer. Pure: time is an argument. The planner asks it for each host.

use crate::limits::{
    FLAP_FREE, FLAP_LONGEST, FLAP_PAUSE, FLAP_WINDOW, HANDOVER_BLIND, HANDOVER_LONGEST, HANDOVER_SEEN, LOST_TOGETHER,
};
use nearside_routing::endpoints::EndpointState;
use nearside_routing::object::DnsEndpointSpec;
use nearside_routing::placement::{Basis, HostPlacement, NodeState, NodeStates};
use nearside_routing::table::WeightedBackend;
use nearside_routing::{HostPattern, Snapshot};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

type Node = Arc<str>;

/// What is known of the publication of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A publisher has taken the records that were written last.
    Seen,
    /// Publishers tell what they have taken, and they have not taken these yet.
    Awaited,
    /// No publisher of this cluster has ever told anything.
    Blind,
}

/// What is known of a node that is published for a host and should not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It stays, although it is not Ready: a probe has found that it answers.
    Kept,
    /// It stays until a probe has ended.
    Suspected,
    /// A request for the host that reaches it is answered by a pod.
    Answers,
    /// It is not.
    Lost,
}

/// What is remembered of the hosts. Times are counted from an epoch of the caller's.
#[derive(Debug, Default)]
pub(crate) struct Handovers {
    hosts: BTreeMap<HostPattern, Host>,
    due: BTreeSet<(Duration, HostPattern)>,
}

/// Which node has an address; made when it is first asked for, since most snapshots need it for no host.
pub(crate) struct Addresses<'s> {
    nodes: &'s NodeStates,
    by_address: OnceCell<HashMap<&'s str, &'s Node>>,
}

impl<'s> Addresses<'s> {
    pub(crate) fn new(nodes: &'s NodeStates) -> Self {
        Self { nodes, by_address: OnceCell::new() }
    }

    /// The nodes that records name.
    pub(crate) fn nodes_in(&self, spec: &DnsEndpointSpec) -> BTreeSet<Node> {
        let by_address = self.by_address.get_or_init(|| {
            let addresses = self.nodes.iter().flat_map(|(name, node)| node.addresses.iter().map(move |a| (name, a)));
            addresses.map(|(name, address)| (address.address.as_str(), name)).collect()
        });
        let targets = spec.endpoints.iter().flat_map(|set| &set.targets);
        targets.filter_map(|target| by_address.get(target.as_str())).map(|name| Arc::clone(name)).collect()
    }
}

/// Whether a request for a host that reaches a node is answered by a pod there, be the pod or the router about to end.
pub(crate) fn answers_for(pattern: &HostPattern, node: &str, snapshot: &Snapshot) -> bool {
    let holds = |backend: &WeightedBackend| {
        let endpoints = snapshot.endpoints.get(&backend.service);
        endpoints.is_some_and(|endpoints| {
            let serves = |state| matches!(state, EndpointState::Ready | EndpointState::ServingTerminating);
            endpoints.select(&backend.port).any(|(_, endpoint)| serves(endpoint.state) && *endpoint.node == *node)
        })
    };
    let routes = snapshot.routes.host(pattern).into_iter().flat_map(|host| host.routes.iter());
    snapshot.nodes.get(node).is_some_and(NodeState::answers)
        && routes.flat_map(|route| &route.backends).filter(|backend| backend.weight > 0).any(holds)
}

/// One host.
#[derive(Debug, Default)]
struct Host {
    /// The nodes that were given last.
    nodes: BTreeSet<Node>,
    /// Why they were given, the last time that none of them was kept though it is not Ready.
    basis: Option<Basis>,
    /// Since when a node has been among them that was not seen in DNS yet.
    unseen: Option<Duration>,
    /// Nodes that should go and are kept, since when.
    leaving: BTreeMap<Node, Duration>,
    /// Nodes that went because they could not answer: when the last time, and how often.
    failed: BTreeMap<Node, (Duration, u32)>,
    due: Option<Duration>,
}

impl Handovers {
    /// The nodes to publish for a host now. `known` gives those that DNS names already; it is asked for a host that is new
    /// here. What is published on a node that `judged` calls kept is not given up, whatever the placement says of it.
    pub(crate) fn settle(
        &mut self,
        pattern: &HostPattern,
        wanted: &HostPlacement,
        known: impl FnOnce() -> BTreeSet<Node>,
        judged: impl Fn(&str) -> Judged,
        sight: Sight,
        now: Duration,
    ) -> HostPlacement {
        if wanted.nodes.is_empty() && !self.hosts.contains_key(pattern) {
            return wanted.clone();
        }
        let host = self.hosts.entry(pattern.clone()).or_insert_with(|| Host { nodes: known(), ..Host::default() });
        let wanted = host.with_kept(wanted, &judged, now);
        if wanted.nodes.is_empty() {
            return wanted;
        }
        if let Some(due) = host.due.take() {
            self.due.remove(&(due, pattern.clone()));
        }
        let (placement, due) = host.step(&wanted, &|node| judged(node) == Judged::Answers, sight, now);
        if let Some(due) = due {
            host.due = Some(due);
            self.due.insert((due, pattern.clone()));
        }
        placement
    }

    /// Nothing claims the host any more.
    pub(crate) fn forget(&mut self, pattern: &HostPattern) {
        if let Some(due) = self.hosts.remove(pattern).and_then(|host| host.due) {
            self.due.remove(&(due, pattern.clone()));
        }
    }

    /// The hosts to settle again, although nothing has changed but the time.
    pub(crate) fn due(&self, now: Duration) -> Vec<HostPattern> {
        self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, pattern)| pattern.clone()).collect()
    }

    /// The hosts that are published on any of these nodes, or were before it failed.
    pub(crate) fn on<'h>(&'h self, nodes: &'h BTreeSet<Node>) -> impl Iterator<Item = &'h HostPattern> {
        let hosts = self.hosts.iter().filter(|_| !nodes.is_empty());
        let is_on = |host: &Host| nodes.iter().any(|node| host.nodes.contains(node) || host.failed.contains_key(node));
        hosts.filter(move |(_, host)| is_on(host)).map(|(pattern, _)| pattern)
    }

    /// When the next host is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Nodes that are published only until others are seen.
    #[cfg(test)]
    fn leaving(&self, pattern: &HostPattern) -> impl Iterator<Item = &Node> {
        self.hosts.get(pattern).into_iter().flat_map(|host| host.leaving.keys())
    }
}

impl Host {
    /// The wanted placement with the nodes that are kept. Nodes that could only refuse do not take the place of these. That pods
    /// are not ready may be heard a moment before it is heard of their node: who went just now and answers comes back.
    fn with_kept(&mut self, wanted: &HostPlacement, judged: &impl Fn(&str) -> Judged, now: Duration) -> HostPlacement {
        let stays = |node: &&Node| matches!(judged(node), Judged::Kept | Judged::Suspected);
        let just_lost = self.failed.iter().filter(|(_, (at, _))| now < *at + LOST_TOGETHER).map(|(node, _)| node);
        let back = just_lost.filter(|node| judged(node) == Judged::Kept);
        let kept: BTreeSet<Node> = self.nodes.iter().filter(stays).chain(back).cloned().collect();
        if kept.is_empty() {
            self.basis = Some(wanted.basis);
            return wanted.clone();
        }
        let by_pods = |basis: Basis| !matches!(basis, Basis::NoReadyPods | Basis::NoReadyRouter);
        let before = self.basis.unwrap_or(Basis::AllServices);
        if !by_pods(wanted.basis) && by_pods(before) {
            return HostPlacement { nodes: kept.into_iter().collect(), basis: before };
        }
        let nodes: BTreeSet<Node> = wanted.nodes.iter().cloned().chain(kept).collect();
        HostPlacement { nodes: nodes.into_iter().collect(), basis: wanted.basis }
    }

    fn step(
        &mut self,
        wanted: &HostPlacement,
        answers: &impl Fn(&str) -> bool,
        sight: Sight,
        now: Duration,
    ) -> (HostPlacement, Option<Duration>) {
        let bound = if sight == Sight::Blind { HANDOVER_BLIND } else { HANDOVER_SEEN };
        if sight == Sight::Seen || self.unseen.is_some_and(|since| now >= since + bound) {
            self.unseen = None;
        }
        let mut due: Vec<Duration> = Vec::new();
        let wanted_nodes: BTreeSet<Node> = wanted.nodes.iter().cloned().collect();
        let gone: BTreeSet<Node> = self.nodes.difference(&wanted_nodes).cloned().collect();
        let (able, lost): (BTreeSet<Node>, BTreeSet<Node>) = gone.into_iter().partition(|node| answers(node));
        self.note_failures(&lost, now);
        self.leaving.retain(|node, _| able.contains(node));
        for node in &able {
            self.leaving.entry(Arc::clone(node)).or_insert(now);
        }
        // However often others come and go, nobody is kept for longer than this.
        let in_time = |node: &&Node| self.leaving.get(*node).is_some_and(|since| now < *since + HANDOVER_LONGEST);
        let mut kept: BTreeSet<Node> = able.iter().filter(in_time).cloned().collect();

        let nobody_else_answers = wanted.basis == Basis::NoReadyPods && !kept.is_empty();
        let mut basis = wanted.basis;
        let next: BTreeSet<Node> = if nobody_else_answers {
            // They hold the pods. Who reads that there are none sends nobody to them.
            basis = Basis::Terminating;
            self.basis = Some(basis);
            kept.clone()
        } else {
            let come = self.undamped(&wanted_nodes, now, &mut due);
            if self.unseen.is_none() && come.is_subset(&self.nodes) {
                kept.clear();
            }
            come.union(&kept).cloned().collect()
        };
        self.leaving.retain(|node, _| next.contains(node));
        if !self.nodes.is_empty() && !next.is_subset(&self.nodes) {
            self.unseen = Some(now);
        }
        self.nodes.clone_from(&next);
        if !kept.is_empty() {
            due.extend(self.unseen.map(|since| since + bound));
            due.extend(self.leaving.values().map(|since| *since + HANDOVER_LONGEST));
        }
        (HostPlacement { nodes: next.into_iter().collect(), basis }, due.into_iter().min())
    }

    /// The wanted nodes without those that come back too often, if others remain.
    fn undamped(&self, wanted: &BTreeSet<Node>, now: Duration, due: &mut Vec<Duration>) -> BTreeSet<Node> {
        let held_back = |node: &Node| {
            let (at, times) = self.failed.get(node).filter(|_| !self.nodes.contains(node))?;
            let further = times.checked_sub(FLAP_FREE + 1)?;
            let until = *at + FLAP_PAUSE.saturating_mul(1 << further.min(10)).min(FLAP_LONGEST);
            (now < until).then_some(until)
        };
        let steady: BTreeSet<Node> = wanted.iter().filter(|node| held_back(node).is_none()).cloned().collect();
        if steady.is_empty() {
            return wanted.clone();
        }
        due.extend(wanted.iter().filter_map(held_back));
        steady
    }

    fn note_failures(&mut self, lost: &BTreeSet<Node>, now: Duration) {
        self.failed.retain(|_, (at, _)| now < *at + FLAP_WINDOW);
        for node in lost {
            let (at, times) = self.failed.entry(Arc::clone(node)).or_insert((now, 0));
            (*at, *times) = (now, times.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests;
