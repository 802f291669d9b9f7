//! Two signals: what the API server says of nodes and what probes of their routers find flow in, the nodes that stay published
//! although they are not Ready flow out. A node that the API server calls not Ready may only have lost its way to the API
//! server, and its pods are then called not ready with it, while both serve. Pure: time is an argument. The planner asks it.
//!
//! A probe that fails agrees with the API server: the node goes at once. A node that answers goes after a bounded time. Where many
//! are to go at once and all answer, the fault is more likely on the other side: none of them goes by time alone. Whatever else
//! takes a node out (drain, deletion, exclusion, a taint, its router that ends, pods that move while it is Ready) waits for nothing.

use crate::limits::{MANY_NODES, MANY_PER_CENT, NOT_READY_BUT_ANSWERS, PROBE_PATIENCE, RECOVERY};
use nearside_routing::placement::{NodeState, NodeStates};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

type Node = Arc<str>;

/// Whether the router of a node takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// It does.
    Green,
    /// It does not, or not in time.
    Red,
}

/// What probes found last, each with the time when it began.
pub(crate) type Probes = BTreeMap<Node, (Probe, Duration)>;

/// Why nodes stay that are not Ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Few, and each for a bounded time.
    #[default]
    Bounded,
    /// Many at once: until they are Ready, do not answer, or are taken out by an operator.
    Held,
}

/// What is remembered. Times are counted from an epoch of the caller's.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    suspects: BTreeMap<Node, Suspect>,
    many: bool,
}

/// A node that is not Ready, with nothing else against it.
#[derive(Debug)]
struct Suspect {
    since: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No probe has ended yet.
    Unknown,
    Answers,
    /// It is Ready again since then, and its pods will be called ready again in a moment.
    Recovers(Duration),
    /// It is treated as the API server says until it is Ready again.
    Gone,
}

impl Liveness {
    /// Takes in what is known now. Gives the nodes that are kept otherwise than before.
    pub(crate) fn step(&mut self, nodes: &NodeStates, probes: &Probes, now: Duration) -> BTreeSet<Node> {
        let before = (self.keeping(), self.kept().cloned().collect::<BTreeSet<_>>());
        let answered: BTreeSet<Node> = before.1.iter().filter(|name| self.answers(name)).cloned().collect();
        self.suspects.retain(|name, suspect| suspect.stays(nodes.get(name), now));
        for (name, _) in nodes.iter().filter(|(_, node)| node.is_suspect()) {
            let suspect =
                self.suspects.entry(Arc::clone(name)).or_insert(Suspect { since: now, state: State::Unknown });
            let probe = probes.get(name).filter(|(_, at)| *at >= suspect.since).map(|(probe, _)| *probe);
            suspect.state = match (suspect.state, probe) {
                (State::Gone, _) | (_, Some(Probe::Red)) => State::Gone,
                (_, Some(Probe::Green)) => State::Answers,
                (State::Unknown, None) if now >= suspect.since + PROBE_PATIENCE => State::Gone,
                (State::Recovers(_), None) => State::Answers,
                (state, None) => state,
            };
        }
        let answering = self.suspects.values().filter(|suspect| suspect.state == State::Answers).count();
        let published = nodes.iter().filter(|(name, node)| node.is_eligible() || self.keeps(name)).count();
        let many = answering >= MANY_NODES && answering * 100 > published * MANY_PER_CENT;
        let was_many = std::mem::replace(&mut self.many, many);
        for suspect in self.suspects.values_mut().filter(|suspect| suspect.state == State::Answers) {
            if was_many && !many {
                // The time of those that are left begins when they are few.
                suspect.since = now;
            }
            if !many && now >= suspect.since + NOT_READY_BUT_ANSWERS {
                suspect.state = State::Gone;
            }
        }
        let after: BTreeSet<Node> = self.kept().cloned().collect();
        if before.0 == self.keeping() {
            let now_answer = after.iter().filter(|name| self.answers(name) && !answered.contains(*name));
            before.1.symmetric_difference(&after).chain(now_answer).cloned().collect()
        } else {
            before.1.union(&after).cloned().collect()
        }
    }

    /// Whether a probe has found that a node that is kept answers.
    pub(crate) fn answers(&self, node: &str) -> bool {
        let answers = |suspect: &Suspect| matches!(suspect.state, State::Answers | State::Recovers(_));
        self.suspects.get(node).is_some_and(answers)
    }

    /// Whether a node that is not Ready stays where it is published.
    pub(crate) fn keeps(&self, node: &str) -> bool {
        self.suspects.get(node).is_some_and(|suspect| suspect.state != State::Gone)
    }

    /// The nodes that stay; these are the ones to probe.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Node> {
        self.suspects.iter().filter(|(_, suspect)| suspect.state != State::Gone).map(|(name, _)| name)
    }

    /// Why they stay.
    pub(crate) fn keeping(&self) -> Keeping {
        if self.many { Keeping::Held } else { Keeping::Bounded }
    }

    /// When the next of them goes although nothing changes.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let due = |suspect: &Suspect| match suspect.state {
            State::Unknown => Some(suspect.since + PROBE_PATIENCE),
            State::Answers => (!self.many).then_some(suspect.since + NOT_READY_BUT_ANSWERS),
            State::Recovers(since) => Some(since + RECOVERY),
            State::Gone => None,
        };
        self.suspects.values().filter_map(due).min()
    }
}

impl Suspect {
    /// Whether there is still anything to remember of the node.
    fn stays(&mut self, node: Option<&NodeState>, now: Duration) -> bool {
        let Some(node) = node.filter(|node| node.is_suspect() || node.is_eligible()) else { return false };
        if !node.is_eligible() {
            return true;
        }
        match self.state {
            State::Recovers(since) => now < since + RECOVERY,
            State::Unknown | State::Answers => {
                self.state = State::Recovers(now);
                true
            }
            State::Gone => false,
        }
    }
}

#[cfg(test)]
mod tests;
