//! When a name that somebody with a newer view has written may be overwritten all the same: the stale names of each plan and
//! the state of the source flow in, lapsed fences flow out. Pure; one for each (server, zone), kept by its worker.
//!
//! A marker of ours with a higher generation means that our view is old, or that the object was made again and counts from
//! the start. The first passes within seconds while the source is live; so what is left after a minute is the second.

use super::plan::{Lapsed, ZonePlan};
use crate::limits::FENCE;
use crate::name::Name;
use std::collections::BTreeMap;
use std::time::Instant;

/// The names that were found to be newer than we know.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    seen: BTreeMap<Name, (u64, Instant)>,
}

impl Fence {
    /// Takes note of what a plan says of its names; those that it does not deal with stay as they were.
    pub fn note(&mut self, plan: &ZonePlan, now: Instant) {
        for (name, stale) in &plan.stale {
            let entry = self.seen.entry(name.clone()).or_insert((stale.theirs, now));
            if entry.0 != stale.theirs {
                *entry = (stale.theirs, now);
            }
        }
        let settled = |name: &Name| {
            plan.unchanged.contains_key(name) || plan.conflicts.contains_key(name) || plan.unfit.contains_key(name)
        };
        self.seen.retain(|name, _| !settled(name));
    }

    /// What may be overwritten. `live_since` is since when the source has told all changes without a break.
    pub fn lapsed(&self, live_since: Option<Instant>, now: Instant) -> Lapsed {
        let Some(live_since) = live_since else { return Lapsed::new() };
        let is_over = |since: Instant| now.saturating_duration_since(since.max(live_since)) >= FENCE;
        self.seen
            .iter()
            .filter(|(_, (_, since))| is_over(*since))
            .map(|(name, (theirs, _))| (name.clone(), *theirs))
            .collect()
    }

    /// When the next fence lapses, if the source stays live.
    pub fn next(&self, live_since: Option<Instant>, now: Instant) -> Option<Instant> {
        let live_since = live_since?;
        self.seen.values().map(|(_, since)| (*since).max(live_since) + FENCE).filter(|due| *due > now).min()
    }
}
