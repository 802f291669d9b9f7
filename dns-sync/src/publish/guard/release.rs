//! Whether names that nobody asks for any more may go now: the names of a zone flow in, each of those that go is released, held or
//! waits. Pure; a part of the guards. Names of nodes (`<first label>--<node id>`) follow their host and are not counted.

use super::Zone;
use crate::limits::{RATIO_AT_LEAST, RATIO_PERCENT, RATIO_WINDOW, WITHDRAWAL_LINGER};
use crate::name::Name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

/// A name that nobody asks for any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Going {
    pub(super) since: Instant,
    pub(super) state: State,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It may come back in a moment.
    Pending,
    /// Together with others it is too much.
    Held { going: usize, of: usize },
    /// It may go.
    Released,
}

/// What is known of the names of a zone that go.
#[derive(Debug, Default)]
pub(super) struct Releases {
    going: BTreeSet<Name>,
    /// When hosts were released, in order.
    recent: VecDeque<Instant>,
    confirmed_until: Option<Instant>,
}

impl Releases {
    pub(super) fn going(&self) -> impl Iterator<Item = &Name> {
        self.going.iter()
    }

    pub(super) fn note(&mut self, name: &Name) {
        self.going.insert(name.clone());
    }

    pub(super) fn forget(&mut self, name: &Name) {
        self.going.remove(name);
    }

    pub(super) fn confirm(&mut self, until: Instant) {
        self.confirmed_until = Some(until);
    }
}

/// Decides about the names that go. To be called only while the source tells everything.
pub(super) fn decide(zone: &mut Zone, now: Instant) {
    let Zone { names, releases } = zone;
    releases.going.retain(|name| names.contains_key(name));
    while releases.recent.front().is_some_and(|at| now.saturating_duration_since(*at) >= RATIO_WINDOW) {
        releases.recent.pop_front();
    }
    let state = |name: &Name| names.get(name).and_then(|entry| entry.going);
    // What was found at a server has not begun to go before its time.
    let waits = |name: &&Name| state(name).is_some_and(|it| it.state != State::Released && it.since <= now);
    let waiting: Vec<Name> = releases.going.iter().filter(waits).cloned().collect();
    if waiting.is_empty() {
        return;
    }
    let hosts: BTreeMap<Name, Name> = waiting
        .iter()
        .filter_map(|alias| Some((alias.clone(), host_of(alias).filter(|host| names.contains_key(host))?)))
        .collect();
    let confirmed = releases.confirmed_until.is_some_and(|until| now < until);
    let going = waiting.len() - hosts.len() + releases.recent.len();
    let counted = names.iter().filter(|(name, entry)| {
        let is_alias = host_of(name).is_some_and(|host| names.contains_key(&host));
        !is_alias && entry.going.is_none_or(|it| it.state != State::Released)
    });
    let of = counted.count() + releases.recent.len();
    let too_many = going >= RATIO_AT_LEAST && going * 100 > of * RATIO_PERCENT;
    for name in waiting.iter().filter(|name| !hosts.contains_key(*name)) {
        let Some(it) = names.get_mut(name).and_then(|entry| entry.going.as_mut()) else { continue };
        let is_held = matches!(it.state, State::Held { .. });
        if confirmed || !is_held && !too_many {
            if it.since + WITHDRAWAL_LINGER <= now || is_held {
                it.state = State::Released;
                releases.recent.push_back(now);
            }
        } else if !is_held {
            it.state = State::Held { going, of };
        }
    }
    for (alias, host) in &hosts {
        let of_host = names.get(host).and_then(|entry| entry.going).map_or(State::Released, |it| it.state);
        let Some(it) = names.get_mut(alias).and_then(|entry| entry.going.as_mut()) else { continue };
        it.state = if it.since + WITHDRAWAL_LINGER <= now { of_host } else { State::Pending };
    }
    if confirmed {
        // What was confirmed does not count against what comes next.
        releases.recent.clear();
    }
}

/// When a name that waits may go.
pub(super) fn next(zone: &Zone) -> Option<Instant> {
    let going = zone.releases.going.iter().filter_map(|name| zone.names.get(name)?.going);
    going.filter(|it| it.state == State::Pending).map(|it| it.since + WITHDRAWAL_LINGER).min()
}

/// The host that a name of a node stands for, if it looks like one.
fn host_of(name: &Name) -> Option<Name> {
    let mut labels = name.labels();
    let first = labels.next()?;
    let end = first.len().checked_sub(NODE_ID + SEPARATOR.len()).filter(|end| *end > 0)?;
    let (host, rest) = first.split_at(end);
    rest.starts_with(SEPARATOR).then(|| Name::from_labels(std::iter::once(host).chain(labels)))?
}

/// Between the first label of a host and the id of a node.
const SEPARATOR: &[u8] = b"--";

/// Characters of the id of a node.
const NODE_ID: usize = 5;
