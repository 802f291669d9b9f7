//! Messages: the writes of a plan and what is known of names at fault flow in, batches flow out, each of one phase and within
//! the bounds of a message. Pure; the worker takes one batch after another from a [`Round`], one in flight at a time.

use super::isolation::Isolation;
use super::plan::{Phase, Write};
use super::update::Update;
use crate::limits::{MAX_UPDATE_NAMES, MAX_UPDATE_OCTETS};
use crate::name::Name;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// The writes of one message. They are applied as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The phase of all of them.
    pub phase: Phase,
    /// One for each name; never none.
    pub writes: Vec<Write>,
}

impl Batch {
    /// The names that it changes.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.writes.iter().map(|write| &write.name)
    }

    /// The message.
    pub fn update(&self, zone: &Name) -> Update {
        Update {
            zone: zone.clone(),
            prerequisites: self.writes.iter().flat_map(|write| write.prerequisites.iter().cloned()).collect(),
            changes: self.writes.iter().flat_map(|write| write.changes.iter().cloned()).collect(),
        }
    }
}

/// The batches of one plan. A phase begins only when nothing of the one before has failed; what is left after that waits for
/// the next plan.
#[derive(Clone, Debug, Default)]
pub struct Round {
    batches: VecDeque<Batch>,
    failed: Option<Phase>,
}

impl Round {
    /// The batches of the writes of a plan, in the order of their phases. Names that are left out for now are not among them.
    pub fn new(writes: Vec<Write>, isolation: &Isolation, now: Instant) -> Self {
        // Names that nobody suspects come first, so that those at fault delay nobody of their phase.
        let mut groups: BTreeMap<(Phase, std::cmp::Reverse<usize>), Vec<Write>> = BTreeMap::new();
        for write in writes {
            if let Some(companions) = isolation.group(&write.name, now) {
                groups.entry((write.phase, std::cmp::Reverse(companions))).or_default().push(write);
            }
        }
        let batches = groups.into_iter().flat_map(|((phase, size), writes)| cut(phase, size.0, writes)).collect();
        Self { batches, failed: None }
    }

    /// Takes note that a batch was not applied, and that its names are not left out either.
    pub fn failed(&mut self, batch: &Batch) {
        self.failed = Some(self.failed.map_or(batch.phase, |failed| failed.min(batch.phase)));
    }

    /// Whether a batch was not applied.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }
}

impl Iterator for Round {
    type Item = Batch;

    /// The next batch to send; none when the round is over.
    fn next(&mut self) -> Option<Batch> {
        let due = |batch: &Batch| self.failed.is_none_or(|failed| batch.phase <= failed);
        self.batches.front().is_some_and(due).then(|| self.batches.pop_front()).flatten()
    }
}

fn cut(phase: Phase, size: usize, writes: Vec<Write>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut octets = 0;
    for write in writes {
        let fits = |batch: &Batch| {
            batch.writes.len() < size.clamp(1, MAX_UPDATE_NAMES) && octets + write.octets <= MAX_UPDATE_OCTETS
        };
        match batches.last_mut().filter(|batch| fits(batch)) {
            Some(batch) => {
                octets += write.octets;
                batch.writes.push(write);
            }
            None => {
                octets = write.octets;
                batches.push(Batch { phase, writes: vec![write] });
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests;
