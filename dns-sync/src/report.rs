//! What the controller is to be told: which generation of each DNSEndpoint exists, what its status says and what is served
//! flow in; which generation to write into which status, and when, flows out. Pure: times and chance are arguments.
//! `source` feeds it, `reporter` writes.
//!
//! Replicas serve the same objects and say the same, so one of them is enough: each waits a moment of its own, and who sees
//! that another has written writes nothing.

use crate::desired::ObjectKey;
use crate::limits::{FIRST_REPORT_RETRY, LONGEST_REPORT_RETRY, REPORT_BURST, REPORT_SPREAD, REPORTS_PER_SECOND};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The object.
    pub key: ObjectKey,
    /// `metadata.generation` of what is served.
    pub generation: i64,
    /// Whether its status says nothing yet.
    pub first: bool,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is written, or there is nothing to write any more.
    Done,
    /// It is to be tried again.
    Failed,
}

/// See the module head. Times are counted from an epoch of the caller's.
#[derive(Debug)]
pub struct Reports {
    objects: BTreeMap<ObjectKey, Seen>,
    /// What changed since the zones were published last, and what is not served.
    changed: BTreeSet<ObjectKey>,
    /// What is to be written, in the order of its time.
    due: BTreeSet<(Duration, ObjectKey)>,
    allowance: f64,
    counted_at: Duration,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    generation: i64,
    observed: i64,
    /// The generation that is served.
    served: i64,
    due: Option<Duration>,
    in_flight: bool,
    failures: u32,
}

impl Seen {
    /// Whether the status says less than it could.
    fn is_behind(&self) -> bool {
        self.served > self.observed && self.served == self.generation
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            changed: BTreeSet::new(),
            due: BTreeSet::new(),
            allowance: REPORT_BURST,
            counted_at: Duration::ZERO,
        }
    }
}

impl Reports {
    /// An object stands there with this `metadata.generation` and `status.observedGeneration`.
    pub fn saw(&mut self, key: ObjectKey, generation: i64, observed: i64) {
        let seen = self.objects.entry(key.clone()).or_default();
        if seen.generation != generation {
            seen.failures = 0;
        }
        (seen.generation, seen.observed) = (generation, observed);
        self.changed.insert(key);
    }

    /// An object is gone.
    pub fn gone(&mut self, key: &ObjectKey) {
        if let Some(due) = self.objects.remove(key).and_then(|seen| seen.due) {
            self.due.remove(&(due, key.clone()));
        }
        self.changed.remove(key);
    }

    /// These are all objects there are.
    pub fn reset(&mut self, keys: &BTreeSet<ObjectKey>) {
        let gone: Vec<ObjectKey> = self.objects.keys().filter(|key| !keys.contains(key)).cloned().collect();
        gone.iter().for_each(|key| self.gone(key));
    }

    /// The zones are published: `serves` says of which objects all that is ours to serve is in them. `chance` gives numbers
    /// from 0 to 1.
    pub fn published(&mut self, serves: impl Fn(&ObjectKey) -> bool, now: Duration, mut chance: impl FnMut() -> f64) {
        for key in std::mem::take(&mut self.changed) {
            let Some(seen) = self.objects.get_mut(&key) else { continue };
            if !serves(&key) {
                // It may be served after a change of another object.
                seen.served = 0;
                self.changed.insert(key);
                continue;
            }
            seen.served = seen.generation;
            if seen.is_behind() && seen.due.is_none() && !seen.in_flight {
                let due = now + REPORT_SPREAD.mul_f64(chance().clamp(0.0, 1.0));
                seen.due = Some(due);
                self.due.insert((due, key));
            }
        }
    }

    /// The next thing to write, if any is due and the rate allows it.
    pub fn take(&mut self, now: Duration) -> Option<Report> {
        self.earn(now);
        while self.allowance >= 1.0 {
            let (due, _) = self.due.first()?;
            if *due > now {
                return None;
            }
            let (_, key) = self.due.pop_first()?;
            let Some(seen) = self.objects.get_mut(&key) else { continue };
            seen.due = None;
            if seen.is_behind() {
                seen.in_flight = true;
                self.allowance -= 1.0;
                return Some(Report { key, generation: seen.served, first: seen.observed == 0 });
            }
        }
        None
    }

    /// A write has ended.
    pub fn ended(&mut self, report: &Report, ended: Ended, now: Duration) {
        let Some(seen) = self.objects.get_mut(&report.key) else { return };
        seen.in_flight = false;
        let due = match ended {
            Ended::Done => {
                seen.failures = 0;
                // The watch brings the same soon; until then it must not be written again.
                seen.observed = seen.observed.max(report.generation);
                now
            }
            Ended::Failed => {
                let pause = FIRST_REPORT_RETRY.saturating_mul(1 << seen.failures.min(10)).min(LONGEST_REPORT_RETRY);
                seen.failures = seen.failures.saturating_add(1);
                now + pause
            }
        };
        if seen.is_behind() {
            seen.due = Some(due);
            self.due.insert((due, report.key.clone()));
        }
    }

    /// When [`Reports::take`] may have something; `None` where nothing waits.
    pub fn next(&mut self, now: Duration) -> Option<Duration> {
        self.earn(now);
        let (due, _) = self.due.first()?;
        let wait = (1.0 - self.allowance).max(0.0) / REPORTS_PER_SECOND;
        Some((*due).max(now + Duration::from_secs_f64(wait)))
    }

    fn earn(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.counted_at);
        self.allowance = (self.allowance + passed.as_secs_f64() * REPORTS_PER_SECOND).min(REPORT_BURST);
        self.counted_at = self.counted_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LATER: Duration = Duration::from_secs(3600);

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "nearside".into(), name: name.into() }
    }

    #[test]
    fn what_is_served_is_told_once_and_what_is_not_is_not() {
        let mut reports = Reports::default();
        reports.saw(key("a"), 3, 2);
        reports.saw(key("b"), 1, 0);
        reports.saw(key("c"), 4, 4);
        reports.published(|key| key.name != "b", Duration::ZERO, || 0.5);
        assert_eq!(reports.take(Duration::ZERO), None, "not before its moment");
        let report = reports.take(REPORT_SPREAD).unwrap();
        assert_eq!(report, Report { key: key("a"), generation: 3, first: false });
        reports.ended(&report, Ended::Done, REPORT_SPREAD);
        reports.saw(key("a"), 3, 2);
        reports.saw(key("a"), 3, 3);
        reports.published(|_| true, REPORT_SPREAD, || 0.0);
        let second = reports.take(LATER).unwrap();
        assert_eq!(second, Report { key: key("b"), generation: 1, first: true });
        assert_eq!(reports.take(LATER), None);
    }

    #[test]
    fn who_sees_that_another_replica_has_written_writes_nothing() {
        let mut reports = Reports::default();
        reports.saw(key("a"), 1, 0);
        reports.published(|_| true, Duration::ZERO, || 1.0);
        reports.saw(key("a"), 1, 1);
        reports.published(|_| true, Duration::ZERO, || 0.0);
        assert_eq!(reports.take(LATER), None);
    }

    #[test]
    fn a_write_that_fails_is_tried_again_later_and_with_the_newest_generation() {
        let mut reports = Reports::default();
        reports.saw(key("a"), 1, 0);
        reports.published(|_| true, Duration::ZERO, || 0.0);
        let report = reports.take(Duration::ZERO).unwrap();
        reports.saw(key("a"), 2, 0);
        reports.published(|_| true, Duration::ZERO, || 0.0);
        assert_eq!(reports.take(Duration::ZERO), None, "one write of an object at a time");
        reports.ended(&report, Ended::Failed, Duration::ZERO);
        assert_eq!(reports.take(Duration::ZERO), None);
        assert_eq!(reports.take(FIRST_REPORT_RETRY).unwrap().generation, 2);
    }

    #[test]
    fn a_burst_is_spread_over_time() {
        let mut reports = Reports::default();
        for number in 0..1000 {
            reports.saw(key(&number.to_string()), 1, 0);
        }
        reports.published(|_| true, Duration::ZERO, || 0.0);
        let at_once = std::iter::from_fn(|| reports.take(REPORT_SPREAD)).count();
        assert_eq!(at_once as f64, REPORT_BURST);
        let next = reports.next(REPORT_SPREAD).unwrap();
        assert!(reports.take(next - Duration::from_millis(1)).is_none());
        assert!(reports.take(next + Duration::from_millis(1)).is_some());
    }

    proptest! {
        /// Whatever happens, in the end the status of everything that is served says so, no number falls, and nothing is
        /// written for what the status says already.
        #[test]
        fn in_the_end_the_status_says_what_is_served(steps in proptest::collection::vec((0_u8..5, 0_usize..3), 1..80)) {
            let mut reports = Reports::default();
            let mut stored = [(0_i64, 0_i64); 3];
            let mut flying: Vec<Report> = Vec::new();
            let mut now = Duration::ZERO;
            let name = |place: usize| key(&place.to_string());
            for (step, place) in steps {
                now += Duration::from_millis(70);
                match step {
                    0 => {
                        stored[place].0 += 1;
                        reports.saw(name(place), stored[place].0, stored[place].1);
                    }
                    1 => reports.published(|_| true, now, || 0.5),
                    2 => flying.extend(reports.take(now)),
                    3 => if let Some(report) = flying.pop() {
                        let place: usize = report.key.name.parse().unwrap();
                        if report.generation == stored[place].0 {
                            prop_assert!(report.generation > stored[place].1);
                            stored[place].1 = report.generation;
                        }
                        reports.ended(&report, Ended::Done, now);
                    },
                    _ => if let Some(report) = flying.pop() {
                        reports.ended(&report, Ended::Failed, now);
                    },
                }
            }
            for report in flying {
                reports.ended(&report, Ended::Failed, now);
            }
            now += LATER;
            reports.published(|_| true, now, || 0.0);
            while let Some(report) = reports.take(now) {
                let place: usize = report.key.name.parse().unwrap();
                stored[place].1 = report.generation;
                reports.ended(&report, Ended::Done, now);
                now += LATER;
            }
            prop_assert!(stored.iter().all(|(generation, observed)| generation == observed), "{stored:?}");
        }
    }
}
