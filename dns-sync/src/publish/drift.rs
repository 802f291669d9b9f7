//! Names that somebody else changes again and again: repairs flow in with times, the names that are contested flow out. Pure; one
//! for each (server, zone). Two that write the same name would otherwise fill the server's journal and tell clients two things in
//! turn for ever; so a contested name is repaired slowly.

use crate::limits::{CONTESTED_AFTER, CONTESTED_PAUSE, CONTESTED_WITHIN};
use crate::name::Name;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// The repairs of late.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    repairs: BTreeMap<Name, VecDeque<Instant>>,
}

impl Drift {
    /// A name had been changed by somebody else, and is repaired.
    pub fn repaired(&mut self, name: &Name, now: Instant) {
        let repairs = self.repairs.entry(name.clone()).or_default();
        repairs.push_back(now);
        while repairs.len() > CONTESTED_AFTER {
            repairs.pop_front();
        }
        self.repairs.retain(|_, repairs| repairs.back().is_some_and(|last| is_of_late(*last, now)));
    }

    /// Whether a name is contested.
    pub fn is_contested(&self, name: &Name, now: Instant) -> bool {
        let of_late = |repairs: &VecDeque<Instant>| repairs.iter().filter(|at| is_of_late(**at, now)).count();
        self.repairs.get(name).is_some_and(|repairs| of_late(repairs) >= CONTESTED_AFTER)
    }

    /// Until when the next repair of a contested name waits.
    pub fn waits_until(&self, name: &Name, now: Instant) -> Option<Instant> {
        let last = self.repairs.get(name).filter(|_| self.is_contested(name, now))?.back()?;
        Some(*last + CONTESTED_PAUSE).filter(|until| *until > now)
    }
}

fn is_of_late(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < CONTESTED_WITHIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_third_repair_within_ten_minutes_makes_a_name_contested() {
        let (mut drift, start) = (Drift::default(), Instant::now());
        let name: Name = "a.example.com".parse().unwrap();
        let at = |seconds| start + Duration::from_secs(seconds);
        drift.repaired(&name, at(0));
        drift.repaired(&name, at(30));
        assert!(!drift.is_contested(&name, at(60)));
        drift.repaired(&name, at(60));
        assert!(drift.is_contested(&name, at(60)));
        assert_eq!(drift.waits_until(&name, at(61)), Some(at(120)));
        assert_eq!(drift.waits_until(&name, at(120)), None);
        assert!(!drift.is_contested(&name, at(600)), "the first is too long ago");
        drift.repaired(&"b.example.com".parse().unwrap(), at(2000));
        assert_eq!(drift.repairs.len(), 1, "what is over is forgotten");
    }
}
