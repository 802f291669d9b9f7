//! Contention over status: what we set and what is found in its place flow in, whether to write flows out. Somebody else who
//! keeps changing our entry would otherwise be fought for ever, at the price of the API server. Pure: times are arguments.
//! The writer of status asks it before each write.

use crate::limits::{CONTENTION_INTERVAL, CONTENTIONS};
use nearside_routing::ObjectKey;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of the entries that we have set.
#[derive(Debug, Default)]
pub(crate) struct Contention {
    set: BTreeMap<ObjectKey, Set>,
    /// Routes that are left alone, and until when.
    left: BTreeMap<ObjectKey, Duration>,
    /// When entries were found changed, within one interval.
    found: Vec<Duration>,
    /// Until when nothing is written at all.
    stopped: Option<Duration>,
}

/// An entry as we set it.
#[derive(Debug)]
struct Set {
    /// The object's `metadata.uid`: an object that was made anew has no entry of ours.
    uid: String,
    /// Without the times of its conditions.
    entry: Value,
}

/// Why nothing is written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contended {
    /// Somebody else has changed this entry.
    Route {
        /// Until when it is left alone.
        until: Duration,
        /// Whether that was found just now.
        new: bool,
    },
    /// Somebody else has changed too many entries.
    Everything {
        /// Until when nothing is written.
        until: Duration,
        /// Whether that was found just now.
        new: bool,
    },
}

impl Contended {
    /// When to try again.
    pub(crate) fn until(self) -> Duration {
        match self {
            Self::Route { until, .. } | Self::Everything { until, .. } => until,
        }
    }
}

impl Contention {
    /// Whether an object's status may be written, given our entry as it stands there.
    ///
    /// # Errors
    /// Somebody else writes it, or wrote too many others.
    pub(crate) fn check(
        &mut self,
        key: &ObjectKey,
        uid: &str,
        current: Option<&Value>,
        now: Duration,
    ) -> Result<(), Contended> {
        if self.stopped.is_some_and(|until| until <= now) {
            *self = Self::default();
        }
        if let Some(until) = self.stopped {
            return Err(Contended::Everything { until, new: false });
        }
        match self.left.get(key).copied() {
            Some(until) if until > now => return Err(Contended::Route { until, new: false }),
            // What stands there now is where we begin again.
            Some(_) => {
                self.forget(key);
                return Ok(());
            }
            None => {}
        }
        let known = self.set.get(key).filter(|set| set.uid == uid);
        if known.is_none_or(|set| set.entry == without_times(current)) {
            return Ok(());
        }
        let until = now + CONTENTION_INTERVAL;
        self.set.remove(key);
        self.left.retain(|_, until| *until > now);
        self.left.insert(key.clone(), until);
        self.found.retain(|at| now.saturating_sub(*at) < CONTENTION_INTERVAL);
        self.found.push(now);
        if self.found.len() > CONTENTIONS {
            self.stopped = Some(until);
            return Err(Contended::Everything { until, new: true });
        }
        Err(Contended::Route { until, new: true })
    }

    /// Our entry is now this one, or gone.
    pub(crate) fn set(&mut self, key: &ObjectKey, uid: &str, entry: Option<&Value>) {
        match entry {
            Some(_) => {
                let set = Set { uid: uid.to_owned(), entry: without_times(entry) };
                self.set.insert(key.clone(), set);
            }
            None => self.forget(key),
        }
    }

    /// The object is gone, or not ours any more.
    pub(crate) fn forget(&mut self, key: &ObjectKey) {
        self.set.remove(key);
        self.left.remove(key);
    }
}

/// Times tell nothing of who wrote.
fn without_times(entry: Option<&Value>) -> Value {
    let mut entry = entry.cloned().unwrap_or_default();
    for condition in entry["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastTransitionTime");
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::Kind;
    use proptest::prelude::*;
    use serde_json::json;

    const START: Duration = Duration::from_secs(10);

    fn key(name: usize) -> ObjectKey {
        ObjectKey::new(Kind::Route, "shop", &name.to_string())
    }

    fn entry(host: &str, time: &str) -> Value {
        json!({ "host": host, "conditions": [{ "type": "Admitted", "status": "True", "lastTransitionTime": time }] })
    }

    #[test]
    fn an_entry_that_somebody_changes_is_left_alone_for_the_interval() {
        let mut contention = Contention::default();
        let (ours, foreign) = (entry("a", "1"), entry("b", "1"));
        assert_eq!(contention.check(&key(0), "u", Some(&foreign), START), Ok(()), "before we have set anything");
        contention.set(&key(0), "u", Some(&ours));
        assert_eq!(contention.check(&key(0), "u", Some(&entry("a", "2")), START), Ok(()), "times do not count");
        let until = START + CONTENTION_INTERVAL;
        assert_eq!(contention.check(&key(0), "u", Some(&foreign), START), Err(Contended::Route { until, new: true }));
        let later = until - Duration::from_nanos(1);
        assert_eq!(contention.check(&key(0), "u", Some(&ours), later), Err(Contended::Route { until, new: false }));
        assert_eq!(contention.check(&key(1), "v", None, later), Ok(()), "others are written");
        assert_eq!(contention.check(&key(0), "u", Some(&foreign), until), Ok(()), "and then it is tried again");
    }

    #[test]
    fn an_entry_that_is_gone_counts_and_one_of_an_object_that_was_made_anew_does_not() {
        let mut contention = Contention::default();
        for name in 0..3 {
            contention.set(&key(name), "u", Some(&entry("a", "1")));
        }
        assert!(contention.check(&key(0), "u", None, START).is_err());
        assert_eq!(contention.check(&key(1), "another", None, START), Ok(()));
        contention.forget(&key(2));
        assert_eq!(contention.check(&key(2), "u", None, START), Ok(()));
    }

    #[test]
    fn too_many_contentions_stop_every_write_for_the_interval() {
        let mut contention = Contention::default();
        for name in 0..=CONTENTIONS {
            contention.set(&key(name), "u", Some(&entry("a", "1")));
        }
        for name in 0..CONTENTIONS {
            assert!(matches!(contention.check(&key(name), "u", None, START), Err(Contended::Route { new: true, .. })));
        }
        assert_eq!(contention.check(&key(99), "u", None, START), Ok(()));
        let until = START + CONTENTION_INTERVAL;
        let all = |new| Err(Contended::Everything { until, new });
        assert_eq!(contention.check(&key(CONTENTIONS), "u", None, START), all(true));
        assert_eq!(contention.check(&key(99), "u", None, START), all(false));
        assert_eq!(contention.check(&key(99), "u", None, until), Ok(()));
    }

    proptest! {
        /// Whoever is not changed by others is written but in the intervals after too many contentions, and contentions that
        /// are further apart than the interval never stop everything.
        #[test]
        fn what_nobody_else_changes_is_written(steps in proptest::collection::vec((0_usize..8, any::<bool>(), 0_u64..400), 1..60)) {
            let mut contention = Contention::default();
            let (ours, foreign) = (entry("a", "1"), entry("b", "1"));
            let mut now = START;
            let mut found: Vec<Duration> = Vec::new();
            for (name, contended, pause) in steps {
                now += Duration::from_secs(pause);
                let known = contention.set.contains_key(&key(name));
                let current = if contended { &foreign } else { &ours };
                match contention.check(&key(name), "u", Some(current), now) {
                    Ok(()) => contention.set(&key(name), "u", Some(&ours)),
                    Err(Contended::Route { new, .. }) => {
                        prop_assert!(!new || (contended && known));
                        found.extend(new.then_some(now));
                    }
                    Err(Contended::Everything { new, .. }) => {
                        found.extend(new.then_some(now));
                        let recent = found.iter().filter(|at| now - **at <= CONTENTION_INTERVAL * 2).count();
                        prop_assert!(recent > CONTENTIONS);
                    }
                }
            }
        }
    }
}
