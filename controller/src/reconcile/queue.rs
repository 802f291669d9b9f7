//! The work queue: keys that need attention flow in, the key to work on next flows out. A key is worked on by one worker
//! at a time, and waits longer after each failure. Pure: time and chance are arguments.
//!
//! Each key is in a lane. What matters more comes first, and within it the namespaces take turns, so that one in which
//! thousands of objects change delays no other.

use crate::limits::{FIRST_PAUSE, LONGEST_PAUSE};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// How much a key matters, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// DNSEndpoints, and the list of those that exist: requests of clients depend on them.
    Records,
    /// What people are told.
    Status,
}

/// Where a key waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    /// How much it matters.
    pub(crate) class: Class,
    /// Whose turn it takes.
    pub(crate) namespace: Arc<str>,
}

/// See the module head.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    ready: BTreeMap<Class, Turns<K>>,
    waiting: BTreeMap<K, (Duration, Lane)>,
    failures: BTreeMap<K, u32>,
    in_flight: BTreeMap<K, Lane>,
    /// In flight and marked again.
    again: BTreeSet<K>,
}

/// The keys of one class, by namespace.
#[derive(Debug)]
struct Turns<K> {
    keys: BTreeMap<Arc<str>, BTreeSet<K>>,
    /// Whose turn was last.
    last: Option<Arc<str>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), last: None }
    }
}

impl<K: Ord> Turns<K> {
    fn contains(&self, namespace: &str, key: &K) -> bool {
        self.keys.get(namespace).is_some_and(|keys| keys.contains(key))
    }

    fn take(&mut self) -> Option<(Arc<str>, K)> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, |last| Bound::Excluded(Arc::clone(last)));
        let next = self.keys.range((after, Bound::Unbounded)).next().or_else(|| self.keys.iter().next());
        let namespace = next.map(|(namespace, _)| Arc::clone(namespace))?;
        let keys = self.keys.get_mut(&namespace)?;
        let key = keys.pop_first()?;
        if keys.is_empty() {
            self.keys.remove(&namespace);
        }
        self.last = Some(Arc::clone(&namespace));
        Some((namespace, key))
    }
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            ready: BTreeMap::new(),
            waiting: BTreeMap::new(),
            failures: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            again: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// The key needs attention. One that waits after a failure keeps waiting: when its time comes, the newest content is
    /// written anyway.
    pub(crate) fn mark(&mut self, key: K, lane: Lane) {
        if self.in_flight.contains_key(&key) {
            self.again.insert(key);
        } else if !self.failures.contains_key(&key) {
            self.waiting.remove(&key);
            self.push(key, &lane);
        }
    }

    /// The key needs attention at a time, or earlier if it is marked.
    pub(crate) fn mark_at(&mut self, key: K, lane: Lane, due: Duration) {
        let ready = self.ready.get(&lane.class).is_some_and(|turns| turns.contains(&lane.namespace, &key));
        if !ready && !self.in_flight.contains_key(&key) {
            self.waiting.entry(key).or_insert((due, lane));
        }
    }

    /// The next key to work on, if any is due, of a class that is open.
    pub(crate) fn take(&mut self, now: Duration, open: impl Fn(Class) -> bool) -> Option<K> {
        let due: Vec<(K, (Duration, Lane))> = self.waiting.extract_if(.., |_, (due, _)| *due <= now).collect();
        for (key, (_, lane)) in due {
            self.push(key, &lane);
        }
        let taken = self.ready.iter_mut().filter(|(class, _)| open(**class));
        let taken = taken.filter_map(|(class, turns)| Some((*class, turns.take()?))).next();
        let (class, (namespace, key)) = taken?;
        self.in_flight.insert(key.clone(), Lane { class, namespace });
        Some(key)
    }

    /// The work on a key has succeeded. Gives the lane in which it was.
    pub(crate) fn succeeded(&mut self, key: &K) -> Option<Lane> {
        let lane = self.in_flight.remove(key)?;
        self.failures.remove(key);
        if self.again.remove(key) {
            self.push(key.clone(), &lane);
        }
        Some(lane)
    }

    /// The work on a key has failed; it is tried again after a pause, or at `earliest` if that is later. `chance` is from 0
    /// to 1. Gives the number of failures in a row.
    pub(crate) fn failed(&mut self, key: &K, now: Duration, earliest: Duration, chance: f64) -> u32 {
        let lane = self.in_flight.remove(key);
        self.again.remove(key);
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(*failures)).min(LONGEST_PAUSE);
        *failures = failures.saturating_add(1);
        let due = (now + pause.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)).max(earliest);
        if let Some(lane) = lane {
            self.waiting.insert(key.clone(), (due, lane));
        }
        *failures
    }

    /// When the next waiting key is due; `None` where nothing waits.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.waiting.values().map(|(due, _)| *due).min()
    }

    /// Whether a key of this class could be worked on at once.
    pub(crate) fn has_ready(&self, class: Class) -> bool {
        self.ready.get(&class).is_some_and(|turns| !turns.keys.is_empty())
    }

    /// Keys of this class that are worked on.
    pub(crate) fn in_flight(&self, class: Class) -> usize {
        self.in_flight.values().filter(|lane| lane.class == class).count()
    }

    /// Forgets everything: the work in flight was abandoned.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, key: K, lane: &Lane) {
        let turns = self.ready.entry(lane.class).or_default();
        turns.keys.entry(Arc::clone(&lane.namespace)).or_default().insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Duration = Duration::ZERO;

    fn lane(class: Class, namespace: &str) -> Lane {
        Lane { class, namespace: namespace.into() }
    }

    fn any() -> Lane {
        lane(Class::Records, "shop")
    }

    impl<K: Ord + Clone> Queue<K> {
        fn next(&mut self, now: Duration) -> Option<K> {
            self.take(now, |_| true)
        }
    }

    #[test]
    fn records_come_before_status_and_namespaces_take_turns() {
        let mut queue = Queue::default();
        for number in 0..3 {
            queue.mark(format!("noisy status {number}"), lane(Class::Status, "noisy"));
            queue.mark(format!("noisy records {number}"), lane(Class::Records, "noisy"));
        }
        queue.mark("quiet status".to_owned(), lane(Class::Status, "quiet"));
        queue.mark("quiet records".to_owned(), lane(Class::Records, "quiet"));
        let order: Vec<String> = std::iter::from_fn(|| queue.next(START)).collect();
        assert_eq!(order[..2], ["noisy records 0", "quiet records"]);
        assert_eq!(order[2..6], ["noisy records 1", "noisy records 2", "noisy status 0", "quiet status"]);
        assert_eq!(queue.in_flight(Class::Records), 4);
    }

    #[test]
    fn a_class_that_is_closed_waits_and_holds_up_no_other() {
        let mut queue = Queue::default();
        queue.mark("records", any());
        queue.mark("status", lane(Class::Status, "shop"));
        assert_eq!(queue.take(START, |class| class == Class::Status), Some("status"));
        assert_eq!(queue.take(START, |class| class == Class::Status), None);
        assert!(queue.has_ready(Class::Records) && !queue.has_ready(Class::Status));
        assert_eq!(queue.next(START), Some("records"));
    }

    #[test]
    fn a_server_that_names_a_time_is_not_asked_before() {
        let mut queue = Queue::default();
        queue.mark("a", any());
        queue.next(START);
        queue.failed(&"a", START, Duration::from_secs(7), 1.0);
        assert_eq!(queue.next_due(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_key_marked_while_in_flight_is_worked_on_again() {
        let mut queue = Queue::default();
        queue.mark("a", any());
        assert_eq!(queue.next(START), Some("a"));
        queue.mark("a", any());
        assert_eq!(queue.next(START), None);
        queue.succeeded(&"a");
        assert_eq!(queue.next(START), Some("a"));
        queue.succeeded(&"a");
        assert_eq!(queue.next(START), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_a_success_resets_them() {
        let mut queue = Queue::default();
        queue.mark("a", any());
        let mut now = START;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(queue.next(now), Some("a"));
            queue.failed(&"a", now, START, 1.0);
            let due = queue.next_due().unwrap();
            pauses.push(due - now);
            queue.mark("a", any());
            assert_eq!(queue.next(due - Duration::from_nanos(1)), None);
            now = due;
        }
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert_eq!(pauses[1], FIRST_PAUSE * 2);
        assert_eq!(*pauses.last().unwrap(), LONGEST_PAUSE);
        assert_eq!(queue.next(now), Some("a"));
        queue.succeeded(&"a");
        queue.mark("a", any());
        assert_eq!(queue.next(now), Some("a"));
        assert_eq!(queue.failed(&"a", now, START, 1.0), 1);
    }

    #[test]
    fn a_mark_brings_a_planned_key_forward() {
        let mut queue = Queue::default();
        queue.mark_at("a", any(), Duration::from_secs(60));
        assert_eq!(queue.next(START), None);
        queue.mark("a", any());
        assert_eq!(queue.next(START), Some("a"));
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
                        queue.mark(key, any());
                        pending.insert(key);
                    }
                    1 => {
                        if let Some(key) = queue.next(now) {
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
                            queue.failed(&key, now, START, 0.5);
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
            while let Some(key) = queue.next(now) {
                queue.succeeded(&key);
                done.insert(key);
            }
            prop_assert!(pending.is_subset(&done), "{pending:?} not in {done:?}");
        }
    }
}
