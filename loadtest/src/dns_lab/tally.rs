//! What counts as a failed request, and the counts: records of requests flow in, a tally for each kind of client and the first
//! faults flow out. Pure. Called by `load`; `report` shows it.

use crate::client::{Habit, Record};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a client goes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Manner {
    /// What it does with answers of DNS.
    pub(super) habit: Habit,
    /// Whether it keeps connections for further requests.
    pub(super) keeps_connections: bool,
}

/// Nodes that do not answer by now.
#[derive(Clone, Debug, Default)]
pub(super) struct Unreachable {
    /// Lost without a word. From the time on that stands here, no router sends anybody there; none while that is not so yet.
    pub(super) dead: BTreeMap<String, Option<Duration>>,
    /// Whose router ends or has ended, now or once; until it ends, everybody else has had the time to hear of it.
    pub(super) left: BTreeSet<String>,
}

/// The counts of one kind of client.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) requests: u64,
    /// Were sent to another node by redirect.
    pub(super) redirected: u64,
    /// Got no answer from a node and one from the next address.
    pub(super) passed_over: u64,
    /// Found a kept connection closed and opened another.
    pub(super) reconnected: u64,
    /// Were sent by redirect to a node that had just died, the only one that the new name leads to.
    pub(super) dead_ends: u64,
    pub(super) failed: u64,
    pub(super) bytes: u64,
    /// The longest request, in milliseconds.
    pub(super) longest: u64,
}

impl Tally {
    pub(super) fn add(&mut self, record: &Record, fault: Option<&Fault>) {
        self.requests += 1;
        self.dead_ends += u64::from(fault == Some(&Fault::DeadEnd));
        self.redirected += u64::from(record.redirects > 0);
        self.passed_over += u64::from(!record.retries.is_empty());
        self.reconnected += u64::from(record.reconnects > 0);
        self.failed += u64::from(matches!(fault, Some(Fault::Failed(_))));
        self.bytes += record.bytes;
        self.longest = self.longest.max(u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX));
    }
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A client that never asks again was redirected to a node that had just died. Its router did not know yet, and the alias has
    /// one node.
    DeadEnd,
    /// Anything else, in words.
    Failed(String),
}

/// What is wrong with a request as its user agent saw it. One that got an answer from the next address of the same DNS answer, where
/// the first did not answer, is in order if that node is dead, for every client; if it has only left, for those who never ask again.
/// `began` is on the clock of `unreachable`.
pub(super) fn fault(manner: Manner, record: &Record, began: Duration, unreachable: &Unreachable) -> Option<Fault> {
    if let Some(failure) = &record.failure {
        let death = record.contacted.as_ref().and_then(|node| unreachable.dead.get(node));
        let is_unknown = death.is_some_and(|known| known.is_none_or(|known| began < known));
        let is_dead_end = manner.habit == Habit::Forever && record.redirects > 0 && is_unknown;
        return Some(if is_dead_end { Fault::DeadEnd } else { Fault::Failed(failure.clone()) });
    }
    wrong_answer(manner, record, unreachable).map(Fault::Failed)
}

fn wrong_answer(manner: Manner, record: &Record, unreachable: &Unreachable) -> Option<String> {
    if !record.good() {
        return Some(format!("status {}", record.status.unwrap_or(0)));
    }
    if !record.by_own_node() {
        let name = |node: &Option<String>| node.clone().unwrap_or_else(|| "nobody".into());
        return Some(format!("asked node {}, answered by node {}", name(&record.contacted), name(&record.answered)));
    }
    let excused = |node: &str| {
        unreachable.dead.contains_key(node) || (manner.habit == Habit::Forever && unreachable.left.contains(node))
    };
    let stranger = record.retries.iter().find(|retry| !excused(&retry.node))?;
    Some(format!("node {} did not answer though DNS may still lead to it: {}", stranger.node, stranger.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Retry;

    fn manner(habit: Habit) -> Manner {
        Manner { habit, keeps_connections: false }
    }

    fn good() -> Record {
        let node = Some("n1".to_owned());
        Record { status: Some(200), contacted: node.clone(), answered: node, ..Record::default() }
    }

    fn dead(node: &str, known: Option<Duration>) -> Unreachable {
        Unreachable { dead: BTreeMap::from([(node.to_owned(), known)]), ..Unreachable::default() }
    }

    const BEGAN: Duration = Duration::from_secs(60);

    #[test]
    fn each_way_to_be_wrong_is_a_fault_for_every_habit() {
        let wrong = [
            Record { failure: Some("body stalled".into()), ..good() },
            Record { status: Some(503), ..good() },
            Record { answered: Some("n2".into()), ..good() },
            Record { answered: None, ..good() },
        ];
        for habit in [Habit::NoCache, Habit::Ttl, Habit::Forever] {
            assert_eq!(fault(manner(habit), &good(), BEGAN, &Unreachable::default()), None);
            for record in &wrong {
                assert!(fault(manner(habit), record, BEGAN, &Unreachable::default()).is_some(), "{record:?}");
            }
        }
    }

    #[test]
    fn a_redirect_to_a_node_that_has_just_died_is_a_dead_end_for_those_who_never_ask_again_alone() {
        let record = Record { failure: Some("connect: no answer".into()), redirects: 1, ..good() };
        let failed = |habit, record: &Record, unreachable: &Unreachable| match fault(
            manner(habit),
            record,
            BEGAN,
            unreachable,
        ) {
            Some(Fault::Failed(_)) => true,
            Some(Fault::DeadEnd) => false,
            None => panic!("{record:?} is not in order"),
        };
        assert!(!failed(Habit::Forever, &record, &dead("n1", None)));
        assert!(failed(Habit::Ttl, &record, &dead("n1", None)));
        assert!(failed(Habit::Forever, &record, &Unreachable::default()));
        assert!(failed(Habit::Forever, &Record { redirects: 0, ..record }, &dead("n1", None)));
    }

    #[test]
    fn once_the_routers_know_of_a_death_nobody_may_be_sent_there() {
        let record = Record { failure: Some("connect: no answer".into()), redirects: 1, ..good() };
        let fault = |known| fault(manner(Habit::Forever), &record, BEGAN, &dead("n1", Some(known)));
        assert_eq!(fault(BEGAN + Duration::from_millis(1)), Some(Fault::DeadEnd), "it began before");
        assert!(matches!(fault(BEGAN), Some(Fault::Failed(_))));
    }

    #[test]
    fn a_dead_node_may_be_passed_over_by_all_and_one_that_left_by_those_who_never_ask_again() {
        let passed_over =
            Record { retries: vec![Retry { node: "n2".into(), reason: "connect: no answer".into() }], ..good() };
        let dead = dead("n2", Some(Duration::ZERO));
        let left = Unreachable { left: BTreeSet::from(["n2".to_owned()]), ..Unreachable::default() };
        for (habit, forgives_left) in [(Habit::NoCache, false), (Habit::Ttl, false), (Habit::Forever, true)] {
            assert_eq!(fault(manner(habit), &passed_over, BEGAN, &dead), None);
            assert_eq!(fault(manner(habit), &passed_over, BEGAN, &left).is_none(), forgives_left);
            assert!(fault(manner(habit), &passed_over, BEGAN, &Unreachable::default()).is_some());
        }
    }
}
