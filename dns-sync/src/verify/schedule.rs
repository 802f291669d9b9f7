//! When one server is asked about which name: what should stand at each name and how looks ended flow in, the next look flows
//! out. Pure: times are arguments, counted from an epoch of the caller's.
//!
//! A name is looked at as soon as something new should stand there, quickly again for the first seconds, and then now and then
//! for as long as it is wanted. A server that is silent is asked one thing at a time.

use crate::limits::{FIRST_LOOKS, LOOK_AGAIN, LOOK_BURST, LOOKS_PER_SECOND, MAX_LOOKS, SILENCES_OF_A_DEAD_SERVER};
use crate::name::Name;
use crate::publish::intent::DesiredName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// One look at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The owner name.
    pub(super) name: Name,
    /// What should stand there.
    pub(super) wanted: Arc<DesiredName>,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It answers what is wanted.
    Visible,
    /// It answers something else, or refuses to.
    Differs,
    /// It does not answer.
    Silent,
}

/// See the module head.
#[derive(Debug)]
pub(super) struct Schedule {
    names: BTreeMap<Name, Entry>,
    /// Looks that somebody waits for.
    urgent: BTreeSet<(Duration, Name)>,
    /// Looks for drift, which the rate bounds.
    scans: BTreeSet<(Duration, Name)>,
    allowance: f64,
    counted_at: Duration,
    in_flight: usize,
    silences: u32,
    silent_until: Duration,
}

#[derive(Debug)]
struct Entry {
    wanted: Arc<DesiredName>,
    /// The look that waits; none while one is on its way.
    due: Option<Duration>,
    in_flight: bool,
    /// Looks since something new should stand there that did not find it.
    attempts: usize,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            names: BTreeMap::new(),
            urgent: BTreeSet::new(),
            scans: BTreeSet::new(),
            allowance: LOOK_BURST,
            counted_at: Duration::ZERO,
            in_flight: 0,
            silences: 0,
            silent_until: Duration::ZERO,
        }
    }
}

impl Schedule {
    /// This should stand at a name. Nothing changes where it should already.
    pub(super) fn want(&mut self, name: &Name, wanted: &Arc<DesiredName>, now: Duration) {
        if self.names.get(name).is_some_and(|entry| entry.wanted == *wanted) {
            return;
        }
        self.unqueue(name);
        let in_flight = self.names.get(name).is_some_and(|entry| entry.in_flight);
        let entry = Entry { wanted: Arc::clone(wanted), due: None, in_flight, attempts: 0 };
        self.names.insert(name.clone(), entry);
        self.queue(name, now);
    }

    /// Something was written at a name: it is looked at again at once.
    pub(super) fn hurry(&mut self, name: &Name, now: Duration) {
        self.unqueue(name);
        if let Some(entry) = self.names.get_mut(name) {
            entry.attempts = 0;
            self.queue(name, now);
        }
    }

    /// Nothing should stand at a name any more.
    pub(super) fn forget(&mut self, name: &Name) {
        self.unqueue(name);
        self.names.remove(name);
    }

    /// The next look, if one is due and may be made.
    pub(super) fn take(&mut self, now: Duration) -> Option<Look> {
        self.earn(now);
        if self.in_flight >= self.most_at_once() || (self.is_silent() && now < self.silent_until) {
            return None;
        }
        let is_due = |queue: &BTreeSet<(Duration, Name)>| queue.first().is_some_and(|(due, _)| *due <= now);
        let (_, name) = if is_due(&self.urgent) {
            self.urgent.pop_first()?
        } else if is_due(&self.scans) && self.allowance >= 1.0 {
            self.allowance -= 1.0;
            self.scans.pop_first()?
        } else {
            return None;
        };
        let entry = self.names.get_mut(&name)?;
        (entry.due, entry.in_flight) = (None, true);
        self.in_flight += 1;
        Some(Look { wanted: Arc::clone(&entry.wanted), name })
    }

    /// A look has ended.
    pub(super) fn ended(&mut self, look: &Look, ended: Ended, now: Duration) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if ended == Ended::Silent {
            self.silences = self.silences.saturating_add(1);
            self.silent_until = now + pause(usize::try_from(self.silences).unwrap_or(usize::MAX));
        } else {
            self.silences = 0;
        }
        let Some(entry) = self.names.get_mut(&look.name) else { return };
        entry.in_flight = false;
        if entry.wanted != look.wanted || entry.due.is_some() {
            // Something new waits already.
            self.unqueue(&look.name);
            self.queue(&look.name, now);
            return;
        }
        let wait = match ended {
            Ended::Visible => {
                entry.attempts = usize::MAX;
                LOOK_AGAIN
            }
            Ended::Differs | Ended::Silent => {
                // What was visible and is not any more is looked at as what is new.
                entry.attempts = if entry.attempts == usize::MAX { 0 } else { entry.attempts.saturating_add(1) };
                pause(entry.attempts)
            }
        };
        self.queue(&look.name, now + wait);
    }

    /// When [`Schedule::take`] may have something; `None` where a look must end first, or nothing waits.
    pub(super) fn next(&mut self, now: Duration) -> Option<Duration> {
        self.earn(now);
        if self.in_flight >= self.most_at_once() {
            return None;
        }
        let urgent = self.urgent.first().map(|(due, _)| *due);
        let wait = (1.0 - self.allowance).max(0.0) / LOOKS_PER_SECOND;
        let scan = self.scans.first().map(|(due, _)| (*due).max(now + Duration::from_secs_f64(wait)));
        let next = urgent.into_iter().chain(scan).min()?;
        Some(if self.is_silent() { next.max(self.silent_until) } else { next })
    }

    fn queue(&mut self, name: &Name, due: Duration) {
        let Some(entry) = self.names.get_mut(name) else { return };
        entry.due = Some(due);
        // Queued when its look ends: of one name there is one look at a time.
        if !entry.in_flight {
            let queue = if entry.attempts < FIRST_LOOKS.len() { &mut self.urgent } else { &mut self.scans };
            queue.insert((due, name.clone()));
        }
    }

    fn unqueue(&mut self, name: &Name) {
        let Some(due) = self.names.get_mut(name).and_then(|entry| entry.due.take()) else { return };
        let waiting = (due, name.clone());
        self.urgent.remove(&waiting);
        self.scans.remove(&waiting);
    }

    fn is_silent(&self) -> bool {
        self.silences >= SILENCES_OF_A_DEAD_SERVER
    }

    fn most_at_once(&self) -> usize {
        if self.is_silent() { 1 } else { MAX_LOOKS }
    }

    fn earn(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.counted_at);
        self.allowance = (self.allowance + passed.as_secs_f64() * LOOKS_PER_SECOND).min(LOOK_BURST);
        self.counted_at = self.counted_at.max(now);
    }
}

/// How long to wait after so many looks that did not find what is wanted.
fn pause(attempts: usize) -> Duration {
    let last = FIRST_LOOKS[FIRST_LOOKS.len() - 1];
    attempts.checked_sub(1).and_then(|attempt| FIRST_LOOKS.get(attempt)).copied().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::ObjectKey;
    use crate::testing::name;
    use proptest::prelude::*;

    fn wanted(generation: u64) -> Arc<DesiredName> {
        let object = ObjectKey { namespace: "nearside".into(), name: "a".into() };
        Arc::new(DesiredName { sets: [].into(), generation, object })
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_is_new_is_looked_at_quickly_until_it_is_visible() {
        let mut schedule = Schedule::default();
        let (a, mut now) = (name("a.example"), Duration::ZERO);
        schedule.want(&a, &wanted(1), now);
        let mut waited = Vec::new();
        for _ in 0..8 {
            let next = schedule.next(now).unwrap();
            waited.push((next - now).as_millis());
            now = next;
            let look = schedule.take(now).unwrap();
            schedule.ended(&look, Ended::Differs, now);
        }
        assert_eq!(waited, [0, 100, 150, 250, 500, 1000, 2000, 5000]);
        now += LOOK_AGAIN;
        let look = schedule.take(now).unwrap();
        schedule.ended(&look, Ended::Visible, now);
        assert_eq!(schedule.next(now), Some(now + LOOK_AGAIN));
    }

    #[test]
    fn a_write_is_looked_at_at_once_also_while_a_look_is_on_its_way() {
        let mut schedule = Schedule::default();
        let a = name("a.example");
        schedule.want(&a, &wanted(1), millis(0));
        let look = schedule.take(millis(0)).unwrap();
        schedule.want(&a, &wanted(2), millis(1));
        schedule.hurry(&a, millis(2));
        assert_eq!(schedule.take(millis(2)), None, "one look of a name at a time");
        schedule.ended(&look, Ended::Visible, millis(3));
        assert_eq!(schedule.take(millis(3)).unwrap().wanted, wanted(2));
    }

    #[test]
    fn a_silent_server_is_asked_one_thing_at_a_time_and_all_again_once_it_answers() {
        let mut schedule = Schedule::default();
        for number in 0..100 {
            schedule.want(&name(&format!("a{number}.example")), &wanted(1), millis(0));
        }
        let looks: Vec<Look> = std::iter::from_fn(|| schedule.take(millis(0))).collect();
        assert_eq!(looks.len(), MAX_LOOKS);
        looks.iter().for_each(|look| schedule.ended(look, Ended::Silent, millis(2000)));
        assert_eq!(schedule.take(millis(2001)), None);
        let next = schedule.next(millis(2001)).unwrap();
        let look = schedule.take(next).unwrap();
        assert_eq!(schedule.take(next), None, "only one");
        schedule.ended(&look, Ended::Differs, next);
        assert!(schedule.take(next).is_some() && schedule.take(next).is_some());
    }

    #[test]
    fn looks_for_drift_are_bounded_in_rate_and_hold_up_no_write() {
        let mut schedule = Schedule::default();
        for number in 0..1000 {
            schedule.want(&name(&format!("a{number}.example")), &wanted(1), millis(0));
        }
        while let Some(look) = schedule.take(millis(0)) {
            schedule.ended(&look, Ended::Visible, millis(0));
        }
        let later = LOOK_AGAIN;
        let mut count = 0;
        while let Some(look) = schedule.take(later) {
            schedule.ended(&look, Ended::Visible, later);
            count += 1;
        }
        assert_eq!(f64::from(count), LOOK_BURST);
        schedule.want(&name("new.example"), &wanted(1), later);
        assert_eq!(schedule.take(later).unwrap().name, name("new.example"));
    }

    proptest! {
        /// Whatever happens, each name that is wanted is looked at again, with what is wanted last; no other is; and never are
        /// two looks at one name on their way.
        #[test]
        fn no_name_is_lost(steps in proptest::collection::vec((0_u8..6, 0_usize..4), 1..100)) {
            let mut schedule = Schedule::default();
            let mut model: BTreeMap<Name, u64> = BTreeMap::new();
            let mut flying: Vec<Look> = Vec::new();
            let mut now = Duration::ZERO;
            for (round, (step, place)) in steps.into_iter().enumerate() {
                now += millis(40);
                let name = name(&format!("a{place}.example"));
                match step {
                    0 => {
                        model.insert(name.clone(), round as u64);
                        schedule.want(&name, &wanted(round as u64), now);
                    }
                    1 => schedule.hurry(&name, now),
                    2 => {
                        model.remove(&name);
                        schedule.forget(&name);
                    }
                    3 => if let Some(look) = schedule.take(now) {
                        prop_assert_eq!(model.get(&look.name), Some(&look.wanted.generation));
                        flying.push(look);
                    },
                    _ => if let Some(look) = flying.pop() {
                        let ended = [Ended::Visible, Ended::Differs, Ended::Silent][place % 3];
                        schedule.ended(&look, ended, now);
                    },
                }
            }
            flying.drain(..).for_each(|look| schedule.ended(&look, Ended::Differs, now));
            let mut seen = BTreeMap::new();
            for _ in 0..20 {
                let Some(next) = schedule.next(now) else { break };
                now = now.max(next);
                while let Some(look) = schedule.take(now) {
                    seen.insert(look.name.clone(), look.wanted.generation);
                    schedule.ended(&look, Ended::Visible, now);
                }
            }
            prop_assert_eq!(seen, model);
        }
    }
}
