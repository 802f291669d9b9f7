//! When a worker looks at which name next: names and times flow in, the names that are due flow out. Pure; one for each
//! (server, zone). What has changed comes at once and in any number; what is only looked at again, whether it is still so, comes
//! seldom and a few at a time.

use crate::limits::{SCAN_NAMES, SCAN_PAUSE};
use crate::name::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The names of a zone in the order in which they are due.
#[derive(Clone, Debug, Default)]
pub(super) struct Due {
    urgent: Queue,
    scan: Queue,
    /// When something may be scanned again.
    scan_from: Option<Instant>,
}

/// Names by time, each once.
#[derive(Clone, Debug, Default)]
struct Queue {
    times: BTreeMap<Name, Instant>,
    order: BTreeSet<(Instant, Name)>,
}

impl Due {
    /// Something about the name has changed, or could not be done: look at it then. An earlier time counts more.
    pub(super) fn urgent(&mut self, name: &Name, at: Instant) {
        self.scan.remove(name);
        self.urgent.put(name, at, Ord::min);
    }

    /// The name is not looked at before then, whatever was said before.
    pub(super) fn not_before(&mut self, name: &Name, at: Instant) {
        self.scan.remove(name);
        self.urgent.put(name, at, |_, new| new);
    }

    /// The name is as it should be: look again then, and only then.
    pub(super) fn settled(&mut self, name: &Name, at: Instant) {
        self.urgent.remove(name);
        self.scan.put(name, at, |_, new| new);
    }

    /// The name is no matter of ours any more.
    pub(super) fn forget(&mut self, name: &Name) {
        self.urgent.remove(name);
        self.scan.remove(name);
    }

    /// Takes out what is due, at most so many; what is urgent before all else, and alone.
    pub(super) fn take(&mut self, now: Instant, most: usize) -> Vec<Name> {
        let urgent = self.urgent.take(now, most);
        if !urgent.is_empty() || self.scan_from.is_some_and(|from| from > now) {
            return urgent;
        }
        let scanned = self.scan.take(now, most.min(SCAN_NAMES));
        if !scanned.is_empty() {
            self.scan_from = Some(now + SCAN_PAUSE);
        }
        scanned
    }

    /// When [`Due::take`] has something.
    pub(super) fn next(&self) -> Option<Instant> {
        let scan = self.scan.next().map(|at| self.scan_from.map_or(at, |from| at.max(from)));
        self.urgent.next().into_iter().chain(scan).min()
    }
}

impl Queue {
    fn put(&mut self, name: &Name, at: Instant, choose: impl Fn(Instant, Instant) -> Instant) {
        let at = match self.remove(name) {
            Some(known) => choose(known, at),
            None => at,
        };
        self.times.insert(name.clone(), at);
        self.order.insert((at, name.clone()));
    }

    fn remove(&mut self, name: &Name) -> Option<Instant> {
        let (name, at) = self.times.remove_entry(name)?;
        self.order.remove(&(at, name));
        Some(at)
    }

    fn take(&mut self, now: Instant, most: usize) -> Vec<Name> {
        let mut names = Vec::new();
        while names.len() < most && self.next().is_some_and(|at| at <= now) {
            if let Some((_, name)) = self.order.pop_first() {
                self.times.remove(&name);
                names.push(name);
            }
        }
        names
    }

    fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::name;
    use std::time::Duration;

    #[test]
    fn what_has_changed_comes_before_what_is_looked_at_again() {
        let (mut due, start) = (Due::default(), Instant::now());
        due.settled(&name("a.test"), start);
        due.urgent(&name("b.test"), start);
        assert_eq!(due.take(start, 10), [name("b.test")]);
        assert_eq!(due.take(start, 10), [name("a.test")]);
        assert_eq!((due.take(start, 10), due.next()), (Vec::new(), None));
    }

    #[test]
    fn a_name_waits_until_its_time_and_a_change_brings_it_forward() {
        let (mut due, start) = (Due::default(), Instant::now());
        let later = start + Duration::from_secs(30);
        due.not_before(&name("a.test"), later);
        assert_eq!((due.take(start, 10), due.next()), (Vec::new(), Some(later)));
        due.urgent(&name("a.test"), start);
        assert_eq!(due.take(start, 10), [name("a.test")]);
        due.urgent(&name("a.test"), start);
        due.not_before(&name("a.test"), later);
        assert_eq!(due.take(start, 10), []);
    }

    #[test]
    fn a_scan_of_many_names_is_spread_over_time() {
        let (mut due, start) = (Due::default(), Instant::now());
        for number in 0..3 * SCAN_NAMES {
            due.settled(&name(&format!("n{number}.test")), start);
        }
        assert_eq!(due.take(start, 1000).len(), SCAN_NAMES);
        assert_eq!(due.take(start, 1000).len(), 0);
        let next = due.next().unwrap();
        assert_eq!(next, start + SCAN_PAUSE);
        assert_eq!(due.take(next, 1000).len(), SCAN_NAMES);
        due.urgent(&name("new.test"), next);
        assert_eq!(due.take(next, 1000), [name("new.test")], "a change does not wait for the scan");
    }
}
