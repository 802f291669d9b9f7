//! How far each name has come on each name server: what is desired, what workers tell and what looks show flow in with times; what
//! to say of each object, the page and samples for the metrics flow out. Pure; kept by [`account`](super::account).
//!
//! A name server that is silent for [`DOWN_FOR_GOOD`] holds nothing back any more. One that answers something else does, for ever:
//! clients get what it answers.

mod show;
mod statement;
#[cfg(test)]
mod tests;

use super::fact::{Event, Fact, NameEvent, Place};
use super::failure::Failure;
use super::guard::Shared;
use super::intent::{DesiredName, Hold, Intent};
use super::observed::RecordSets;
use super::plan::{Conflict, Stale, Unfit, WriteKind};
use crate::desired::{ObjectKey, Problem, Rejection};
use crate::limits::{CONTESTED_AFTER, CONTESTED_WITHIN, DOWN_FOR_GOOD, SETTLING};
use crate::name::Name;
use crate::overview::Stage;
use crate::verify::{Difference, Unseen};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See the module head.
#[derive(Debug, Default)]
pub struct Progress {
    cluster: String,
    places: BTreeMap<Place, Server>,
    names: BTreeMap<Name, NameProgress>,
    objects: BTreeMap<ObjectKey, Object>,
    rejected: BTreeMap<ObjectKey, Rejected>,
    shared: Shared,
    synced: bool,
    samples: Vec<Sample>,
}

/// Something for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A name has come so far everywhere, so long after it was desired.
    Reached(Stage, Duration),
    /// What was as desired is not any more.
    Drift(Drift),
}

/// What has found a drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// A worker, which repairs it.
    Repaired,
    /// A look: a name server answers something else than before.
    Seen,
}

/// A name server of a zone.
#[derive(Debug)]
struct Server {
    /// Whether records are written there.
    updated: bool,
    up: Option<bool>,
    since: Instant,
    /// Why the last exchange has failed.
    failure: Option<Failure>,
    pause: Duration,
    /// Why the last look has failed.
    unseen: Option<Unseen>,
}

/// An object that asks for names.
#[derive(Debug, Default)]
struct Object {
    /// `metadata.generation` that the intents follow from.
    generation: i64,
}

/// What of an object is not published.
#[derive(Debug, Default)]
struct Rejected {
    faults: Vec<Rejection>,
    /// Without a loss to what can be asked for in DNS.
    left_out: Vec<Rejection>,
}

#[derive(Debug)]
struct NameProgress {
    zone: Name,
    intent: Intent,
    /// What should stand there, where something should.
    wanted: Option<Arc<DesiredName>>,
    /// Since when.
    since: Instant,
    /// How long an answer from before may be held: the longest TTL that stood there.
    held_for: Duration,
    at: BTreeMap<Place, At>,
    /// Which samples were given.
    reached: BTreeSet<Stage>,
    visible_since: Option<Instant>,
    repairs: Vec<Instant>,
}

/// A name at a place.
#[derive(Debug)]
struct At {
    stage: Stage,
    since: Instant,
    trouble: Option<Trouble>,
    /// What the last look differed in.
    differences: Vec<Difference>,
    generation: Option<u64>,
}

/// What stands in the way of a name at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Conflict(Conflict),
    Held(Hold),
    Stale(Stale),
    Unfit(Unfit),
    Isolated(Failure),
}

impl Progress {
    /// Nothing is known yet. Each place with whether records are written there.
    pub fn new(cluster: &str, places: impl IntoIterator<Item = (Place, bool)>, now: Instant) -> Self {
        let server =
            |updated| Server { updated, up: None, since: now, failure: None, pause: Duration::ZERO, unseen: None };
        let places = places.into_iter().map(|(place, updated)| (place, server(updated))).collect();
        Self { cluster: cluster.to_owned(), places, ..Self::default() }
    }

    /// All objects are known.
    pub fn synced(&mut self) {
        self.synced = true;
    }

    /// The intents follow from this `metadata.generation` of an object; `None` where it is gone.
    pub fn object(&mut self, key: &ObjectKey, generation: Option<i64>) {
        match generation {
            Some(generation) => self.objects.entry(key.clone()).or_default().generation = generation,
            None => drop(self.objects.remove(key)),
        }
    }

    /// These parts of objects are not published.
    pub fn rejected(&mut self, rejections: &BTreeSet<Rejection>) {
        self.rejected.clear();
        for rejection in rejections.iter().filter(|one| !matches!(one.problem, Problem::OutsideZones(_))) {
            let rejected = self.rejected.entry(rejection.object.clone()).or_default();
            match rejection.problem {
                Problem::WildcardAlias(_) => rejected.left_out.push(rejection.clone()),
                _ => rejected.faults.push(rejection.clone()),
            }
        }
    }

    /// These names are asked for by several objects.
    pub fn share(&mut self, shared: Shared) {
        self.shared = shared;
    }

    /// This is to be done about a name of a zone; `None` where it is no matter of ours any more. Gives what should be looked for.
    pub fn intend(
        &mut self,
        zone: &Name,
        name: &Name,
        intent: Option<&Intent>,
        now: Instant,
    ) -> Option<Arc<DesiredName>> {
        let Some(intent) = intent else {
            self.names.remove(name);
            return None;
        };
        let wanted = match intent {
            Intent::Publish(desired) => Some(Arc::new(desired.clone())),
            Intent::Withdraw { .. } | Intent::Hold(_) => None,
        };
        let at = |since| At { stage: Stage::Unknown, since, trouble: None, differences: Vec::new(), generation: None };
        let places = self.places.keys().filter(|place| place.zone == *zone);
        let known = self.names.entry(name.clone()).or_insert_with(|| NameProgress {
            zone: zone.clone(),
            intent: intent.clone(),
            wanted: None,
            since: now,
            held_for: Duration::ZERO,
            at: places.map(|place| (place.clone(), at(now))).collect(),
            reached: BTreeSet::new(),
            visible_since: None,
            repairs: Vec::new(),
        });
        known.intent = intent.clone();
        let is_same = match (&known.wanted, &wanted) {
            (Some(before), Some(after)) => before.sets == after.sets && before.generation == after.generation,
            _ => false,
        };
        if !is_same {
            if let Some(before) = &known.wanted {
                let settled = known.is_settled(now);
                let is_other = wanted.as_ref().is_none_or(|wanted| wanted.sets != before.sets);
                let before = if is_other { longest_ttl(&before.sets) } else { Duration::ZERO };
                known.held_for = if settled { before } else { known.held_for.max(before) };
            }
            known.since = now;
            known.visible_since = None;
            known.reached.clear();
            for at in known.at.values_mut() {
                at.enter(Stage::Unknown, now);
                at.differences.clear();
            }
        }
        if wanted.is_some() {
            known.wanted = wanted;
        }
        match intent {
            Intent::Publish(_) => known.wanted.clone(),
            Intent::Withdraw { .. } | Intent::Hold(_) => None,
        }
    }

    /// A worker has told something. Gives the name that was written just now, if one was.
    pub fn hear(&mut self, fact: &Fact) -> Option<Name> {
        let now = fact.at;
        let server = self.places.get_mut(&fact.place)?;
        match &fact.event {
            Event::Reached => server.failure = None,
            Event::Failed { failure, pause } => {
                server.failure = Some(failure.clone());
                server.pause = *pause;
            }
            Event::Updated { .. } | Event::UnusableKeys(_) | Event::Found(_) => {}
            Event::Name(name, event) => return self.hear_of(name, &fact.place, event, now),
        }
        None
    }

    fn hear_of(&mut self, name: &Name, place: &Place, event: &NameEvent, now: Instant) -> Option<Name> {
        let known = self.names.get_mut(name)?;
        let at = known.at.get_mut(place)?;
        at.trouble = None;
        match event {
            NameEvent::Differs(kind) => {
                if *kind == WriteKind::Repair {
                    known.repairs.retain(|at| now.saturating_duration_since(*at) < CONTESTED_WITHIN);
                    known.repairs.push(now);
                    self.samples.push(Sample::Drift(Drift::Repaired));
                }
                at.enter(Stage::Sent, now);
            }
            NameEvent::Applied { generation } => {
                at.generation = Some(*generation);
                let is_new = at.stage < Stage::Applied;
                if is_new {
                    at.enter(Stage::Applied, now);
                    return Some(name.clone());
                }
            }
            NameEvent::Gone => at.enter(Stage::Applied, now),
            NameEvent::Conflict(conflict) => at.stop(Trouble::Conflict(conflict.clone()), now),
            NameEvent::Held(hold) => at.stop(Trouble::Held(hold.clone()), now),
            NameEvent::Stale(stale) => at.stop(Trouble::Stale(*stale), now),
            NameEvent::Unfit(unfit) => at.stop(Trouble::Unfit(*unfit), now),
            NameEvent::Isolated { failure, .. } => at.stop(Trouble::Isolated(failure.clone()), now),
        }
        None
    }

    /// A look has shown something.
    pub fn saw(
        &mut self,
        place: &Place,
        name: &Name,
        wanted: &Arc<DesiredName>,
        outcome: &Result<Vec<Difference>, Unseen>,
        now: Instant,
    ) {
        let Some(server) = self.places.get_mut(place) else { return };
        let is_up = !matches!(outcome, Err(unseen) if unseen.is_silence());
        if server.up != Some(is_up) {
            server.up = Some(is_up);
            server.since = now;
        }
        server.unseen = outcome.as_ref().err().cloned();
        let updated = server.updated;
        let Some(known) = self.names.get_mut(name) else { return };
        // What was looked for before is not what is wanted now.
        if known.wanted.as_ref() != Some(wanted) {
            return;
        }
        let Some(at) = known.at.get_mut(place) else { return };
        let Ok(differences) = outcome else { return };
        if differences.is_empty() {
            at.differences.clear();
            // What a worker has not read back is not ours yet, though it may look the same.
            if at.stage == Stage::Applied || (!updated && at.stage < Stage::Visible) {
                at.enter(Stage::Visible, now);
            }
            return;
        }
        at.differences.clone_from(differences);
        if at.stage >= Stage::Visible {
            self.samples.push(Sample::Drift(Drift::Seen));
            at.enter(if updated { Stage::Applied } else { Stage::Differs }, now);
        } else if !updated {
            at.enter(Stage::Differs, now);
        }
    }

    /// Time has passed: takes note of what has come so far everywhere.
    pub fn pass(&mut self, now: Instant) {
        for known in self.names.values_mut() {
            let stage = known.everywhere(&self.places, now);
            if stage < Stage::Visible {
                known.visible_since = None;
            } else {
                known.visible_since.get_or_insert(now);
            }
            let stage = if known.is_settled(now) { Stage::Settled } else { stage };
            if !matches!(known.intent, Intent::Publish(_)) {
                continue;
            }
            for reached in [Stage::Applied, Stage::Visible, Stage::Settled] {
                if stage >= reached && known.reached.insert(reached) {
                    self.samples.push(Sample::Reached(reached, now.saturating_duration_since(known.since)));
                }
            }
        }
    }

    /// Takes the samples since the last call.
    pub fn samples(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.samples)
    }
}

impl NameProgress {
    /// How far it has come on every server that counts.
    fn everywhere(&self, places: &BTreeMap<Place, Server>, now: Instant) -> Stage {
        let counts = |place: &Place| places.get(place).is_some_and(|server| !server.is_down_for_good(now));
        let stages = self.at.iter().filter(|(place, _)| counts(place)).map(|(_, at)| at.stage);
        // Where no server counts, nobody has seen anything.
        stages.min().unwrap_or(Stage::Unknown)
    }

    /// How far it has come on every server that takes updates and counts.
    fn is_applied(&self, places: &BTreeMap<Place, Server>, now: Instant) -> bool {
        let counts =
            |place: &Place| places.get(place).is_some_and(|server| server.updated && !server.is_down_for_good(now));
        let stages = self.at.iter().filter(|(place, _)| counts(place)).map(|(_, at)| at.stage);
        stages.min().is_some_and(|stage| stage >= Stage::Applied)
    }

    fn is_settled(&self, now: Instant) -> bool {
        self.visible_since.is_some_and(|since| now >= since + self.held_for + SETTLING)
    }

    fn is_contested(&self, now: Instant) -> bool {
        let recent = |at: &&Instant| now.saturating_duration_since(**at) < CONTESTED_WITHIN;
        self.repairs.iter().filter(recent).count() >= CONTESTED_AFTER
    }
}

impl Server {
    fn is_down_for_good(&self, now: Instant) -> bool {
        self.up == Some(false) && now.saturating_duration_since(self.since) >= DOWN_FOR_GOOD
    }
}

impl At {
    fn enter(&mut self, stage: Stage, now: Instant) {
        if self.stage != stage {
            self.stage = stage;
            self.since = now;
        }
    }

    fn stop(&mut self, trouble: Trouble, now: Instant) {
        self.trouble = Some(trouble);
        self.enter(Stage::Differs, now);
    }
}

fn longest_ttl(sets: &RecordSets) -> Duration {
    let longest = sets.values().map(|set| set.ttl.seconds()).max().unwrap_or(0);
    Duration::from_secs(u64::from(longest))
}
