//! The work queue: keys that need attention flow in, the key to work on next flows out. A key is worked on by one worker
//! at a time, and waits longer after each failure. Pure: time and chance are arguments.

use crate::limits::{FIRST_PAUSE, LONGEST_PAUSE};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// See the module head. Keys come out in their order, so that what matters most comes first.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    ready: BTreeSet<K>,
    waiting: BTreeMap<K, Duration>,
    failures: BTreeMap<K, u32>,
    in_flight: BTreeSet<K>,
    /// In flight and marked again.
    again: BTreeSet<K>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            ready: BTreeSet::new(),
            waiting: BTreeMap::new(),
            failures: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            again: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// The key needs attention. One that waits after a failure keeps waiting: when its time comes, the newest content is
    /// written anyway.
    pub(crate) fn mark(&mut self, key: K) {
        if self.in_flight.contains(&key) {
            self.again.insert(key);
        } else if !self.failures.contains_key(&key) {
            self.waiting.remove(&key);
            self.ready.insert(key);
        }
    }

    /// The key needs attention at a time, or earlier if it is marked.
    pub(crate) fn mark_at(&mut self, key: K, due: Duration) {
        if !self.ready.contains(&key) && !self.in_flight.contains(&key) {
            self.waiting.entry(key).or_insert(due);
        }
    }

    /// The next key to work on, if any is due.
    pub(crate) fn take(&mut self, now: Duration) -> Option<K> {
        let due = self.waiting.extract_if(.., |_, due| *due <= now).map(|(key, _)| key);
        self.ready.extend(due);
        let key = self.ready.pop_first()?;
        self.in_flight.insert(key.clone());
        Some(key)
    }

    /// The work on a key has succeeded.
    pub(crate) fn succeeded(&mut self, key: &K) {
        self.in_flight.remove(key);
        self.failures.remove(key);
        if self.again.remove(key) {
            self.ready.insert(key.clone());
        }
    }

    /// The work on a key has failed; it is tried again after a pause. `chance` is from 0 to 1. Gives the number of
    /// failures in a row.
    pub(crate) fn failed(&mut self, key: &K, now: Duration, chance: f64) -> u32 {
        self.in_flight.remove(key);
        self.again.remove(key);
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(*failures)).min(LONGEST_PAUSE);
        *failures = failures.saturating_add(1);
        self.waiting.insert(key.clone(), now + pause.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0));
        *failures
    }

    /// When the next waiting key is due; `None` where nothing waits.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.waiting.values().min().copied()
    }

    /// Forgets everything: the work in flight was abandoned.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Duration = Duration::ZERO;

    #[test]
    fn a_key_marked_while_in_flight_is_worked_on_again() {
        let mut queue = Queue::default();
        queue.mark("a");
        assert_eq!(queue.take(START), Some("a"));
        queue.mark("a");
        assert_eq!(queue.take(START), None);
        queue.succeeded(&"a");
        assert_eq!(queue.take(START), Some("a"));
        queue.succeeded(&"a");
        assert_eq!(queue.take(START), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_a_success_resets_them() {
        let mut queue = Queue::default();
        queue.mark("a");
        let mut now = START;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(queue.take(now), Some("a"));
            queue.failed(&"a", now, 1.0);
            let due = queue.next_due().unwrap();
            pauses.push(due - now);
            queue.mark("a");
            assert_eq!(queue.take(due - Duration::from_nanos(1)), None);
            now = due;
        }
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert_eq!(pauses[1], FIRST_PAUSE * 2);
        assert_eq!(*pauses.last().unwrap(), LONGEST_PAUSE);
        assert_eq!(queue.take(now), Some("a"));
        queue.succeeded(&"a");
        queue.mark("a");
        assert_eq!(queue.take(now), Some("a"));
        assert_eq!(queue.failed(&"a", now, 1.0), 1);
    }

    #[test]
    fn a_mark_brings_a_planned_key_forward() {
        let mut queue = Queue::default();
        queue.mark_at("a", Duration::from_secs(60));
        assert_eq!(queue.take(START), None);
        queue.mark("a");
        assert_eq!(queue.take(START), Some("a"));
    }

    proptest! {
        /// Against a model: every key whose last mark came after its last successful start is worked on in the end, and
        /// no key is in flight twice.
        #[test]
        fn no_mark_is_lost(steps in proptest::collection::vec((0_u8..4, 0_u8..5), 1..60)) {
            let mut queue: Queue<u8> = Queue::default();
            let mut pending: BTreeSet<u8> = BTreeSet::new();
            let mut flying: BTreeSet<u8> = BTreeSet::new();
            let mut now = START;
            for (step, key) in steps {
                match step {
                    0 => {
                        queue.mark(key);
                        pending.insert(key);
                    }
                    1 => {
                        if let Some(key) = queue.take(now) {
                            prop_assert!(flying.insert(key));
                            pending.remove(&key);
                        }
                    }
                    2 => {
                        if let Some(key) = flying.pop_first() {
                            queue.succeeded(&key);
                        }
                    }
                    _ => {
                        if let Some(key) = flying.pop_last() {
                            queue.failed(&key, now, 0.5);
                            pending.insert(key);
                        }
                    }
                }
                now += Duration::from_millis(10);
            }
            for key in std::mem::take(&mut flying) {
                queue.succeeded(&key);
            }
            now += LONGEST_PAUSE * 2;
            let mut done = BTreeSet::new();
            while let Some(key) = queue.take(now) {
                queue.succeeded(&key);
                done.insert(key);
            }
            prop_assert!(pending.is_subset(&done), "{pending:?} not in {done:?}");
        }
    }
}
