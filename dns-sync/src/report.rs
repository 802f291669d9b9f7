//! What the cluster is to be told: which DNSEndpoints there are, what their status says and what is to be said of each flow
//! in; what to write into which status, and when, flows out. Pure: times and chance are arguments. `source` and whoever
//! publishes feed it, `reporter` writes.
//!
//! Replicas publish the same objects and say the same, so one of them is enough: each waits a moment of its own, and who sees
//! that another has written writes nothing. Where they do not say the same, each lets what stands there stand for a while.

pub(crate) mod served;

use crate::desired::ObjectKey;
use crate::limits::{
    CONDITIONS_AGAIN, FIRST_REPORT_RETRY, LONGEST_REPORT_RETRY, REPORT_BURST, REPORT_PAUSE, REPORT_SPREAD,
    REPORTS_PER_SECOND, TROUBLE_AFTER,
};
use nearside_watch::object::DnsEndpointStatus;
use nearside_watch::{Observation, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is to be said of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// `metadata.generation` that it is about; nothing is written while the object has another one.
    pub generation: i64,
    /// Whether every name server answers what that generation asks for.
    pub visible: bool,
    /// What else.
    pub conditions: Vec<Told>,
}

/// Something to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The object.
    pub key: ObjectKey,
    /// What to write.
    pub observation: Observation,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is written, and this is the status now.
    Done(DnsEndpointStatus),
    /// It is to be tried again, unless something else comes by the watch before.
    Failed,
}

/// See the module head. Times are counted from an epoch of the caller's.
#[derive(Debug)]
pub struct Reports {
    objects: BTreeMap<ObjectKey, Seen>,
    /// What may have something to be said since it was considered last.
    changed: BTreeSet<ObjectKey>,
    /// What is to be written, in the order of its time.
    due: BTreeSet<(Duration, ObjectKey)>,
    /// Until then the definition of the kind in the cluster is taken for one that drops conditions.
    drops_conditions_until: Duration,
    /// Generations that nobody has asked for yet, where somebody will.
    noted: Option<BTreeMap<ObjectKey, Option<i64>>>,
    allowance: f64,
    counted_at: Duration,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    generation: i64,
    status: DnsEndpointStatus,
    statement: Option<Statement>,
    due: Option<Duration>,
    in_flight: bool,
    failures: u32,
    /// When this process wrote last.
    told_at: Option<Duration>,
}

/// What a status lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// That something is so that the controller waits for.
    Progress,
    /// Anything else.
    Words,
}

impl Seen {
    fn lack(&self, drops_conditions: bool) -> Option<Lack> {
        let statement = self.statement.as_ref().filter(|statement| statement.generation == self.generation)?;
        if statement.visible && self.status.observed_generation < self.generation {
            return Some(Lack::Progress);
        }
        let unsaid =
            |told: &&Told| !self.status.conditions.iter().any(|condition| told.is_said_by(condition, self.generation));
        let mut unsaid = statement.conditions.iter().filter(|_| !drops_conditions).filter(unsaid).peekable();
        unsaid.peek()?;
        let is_progress = |told: &Told| {
            told.holds == Some(true)
                && !self.status.condition(told.kind).is_some_and(|condition| condition.holds_for(self.generation))
        };
        Some(if unsaid.any(is_progress) { Lack::Progress } else { Lack::Words })
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            changed: BTreeSet::new(),
            due: BTreeSet::new(),
            drops_conditions_until: Duration::ZERO,
            noted: None,
            allowance: REPORT_BURST,
            counted_at: Duration::ZERO,
        }
    }
}

impl Reports {
    /// Reports that note which generations there are, for [`Reports::noted`].
    pub fn noting() -> Self {
        Self { noted: Some(BTreeMap::new()), ..Self::default() }
    }

    /// Objects with other generations than at the last call; without one those that are gone.
    pub fn noted(&mut self) -> BTreeMap<ObjectKey, Option<i64>> {
        self.noted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// An object stands there with this `metadata.generation` and status.
    pub fn saw(&mut self, key: ObjectKey, generation: i64, status: &DnsEndpointStatus) {
        let seen = self.objects.entry(key.clone()).or_default();
        if seen.generation == generation && seen.status == *status {
            return;
        }
        if let Some(noted) = self.noted.as_mut().filter(|_| seen.generation != generation) {
            noted.insert(key.clone(), Some(generation));
        }
        seen.failures = 0;
        seen.generation = generation;
        seen.status = status.clone();
        if !status.conditions.is_empty() {
            self.drops_conditions_until = Duration::ZERO;
        }
        self.changed.insert(key);
    }

    /// An object is gone.
    pub fn gone(&mut self, key: &ObjectKey) {
        if let Some(noted) = &mut self.noted {
            noted.insert(key.clone(), None);
        }
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

    /// This is to be said of an object; `None` where nothing is. An object that is not there is nothing to speak of.
    pub fn tell(&mut self, key: &ObjectKey, statement: Option<Statement>) {
        let Some(seen) = self.objects.get_mut(key) else { return };
        if seen.statement != statement {
            seen.statement = statement;
            self.changed.insert(key.clone());
        }
    }

    /// The objects and the generations that they have now.
    pub fn generations(&self) -> impl Iterator<Item = (&ObjectKey, i64)> {
        self.objects.iter().map(|(key, seen)| (key, seen.generation))
    }

    /// Gives everything that changed its moment. `chance` gives numbers from 0 to 1.
    pub fn consider(&mut self, now: Duration, mut chance: impl FnMut() -> f64) {
        let drops_conditions = now < self.drops_conditions_until;
        for key in std::mem::take(&mut self.changed) {
            let Some(seen) = self.objects.get_mut(&key) else { continue };
            if seen.in_flight {
                continue;
            }
            let spread = REPORT_SPREAD.mul_f64(chance().clamp(0.0, 1.0));
            let due = match seen.lack(drops_conditions) {
                None => None,
                Some(Lack::Progress) => Some(now + spread),
                Some(Lack::Words) => {
                    let rest = seen.told_at.map(|at| at + REPORT_PAUSE).unwrap_or_default();
                    Some((now + TROUBLE_AFTER).max(rest) + spread)
                }
            };
            // What waits already keeps its moment, unless there is reason to hurry.
            let due = match (seen.due, due) {
                (Some(waits), Some(due)) => Some(waits.min(due)),
                (_, due) => due,
            };
            if let Some(waits) = seen.due.take() {
                self.due.remove(&(waits, key.clone()));
            }
            seen.due = due;
            self.due.extend(due.map(|due| (due, key)));
        }
    }

    /// The next thing to write, if any is due and the rate allows it.
    pub fn take(&mut self, now: Duration) -> Option<Report> {
        self.earn(now);
        let drops_conditions = now < self.drops_conditions_until;
        while self.allowance >= 1.0 {
            let (due, _) = self.due.first()?;
            if *due > now {
                return None;
            }
            let (_, key) = self.due.pop_first()?;
            let Some(seen) = self.objects.get_mut(&key) else { continue };
            seen.due = None;
            let Some(statement) = seen.statement.as_ref().filter(|_| seen.lack(drops_conditions).is_some()) else {
                continue;
            };
            let conditions = if drops_conditions { Vec::new() } else { statement.conditions.clone() };
            let previous = seen.status.clone();
            let (generation, visible) = (statement.generation, statement.visible);
            seen.in_flight = true;
            self.allowance -= 1.0;
            return Some(Report { key, observation: Observation { generation, visible, conditions, previous } });
        }
        None
    }

    /// A write has ended.
    pub fn ended(&mut self, report: &Report, ended: Ended, now: Duration) {
        let Some(seen) = self.objects.get_mut(&report.key) else { return };
        seen.in_flight = false;
        match ended {
            Ended::Done(status) => {
                if !report.observation.conditions.is_empty() && status.conditions.is_empty() {
                    self.drops_conditions_until = now + CONDITIONS_AGAIN;
                }
                seen.failures = 0;
                seen.told_at = Some(now);
                // The watch brings the same soon; until then it must not be written again.
                if seen.generation == report.observation.generation {
                    seen.status = status;
                }
                self.changed.insert(report.key.clone());
            }
            Ended::Failed => {
                let pause = FIRST_REPORT_RETRY.saturating_mul(1 << seen.failures.min(10)).min(LONGEST_REPORT_RETRY);
                seen.failures = seen.failures.saturating_add(1);
                let due = now + pause;
                if let Some(waits) = seen.due.replace(due) {
                    self.due.remove(&(waits, report.key.clone()));
                }
                self.due.insert((due, report.key.clone()));
            }
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
mod tests;
