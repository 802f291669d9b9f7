//! How many requests of a rule may be sent again after a pod had them: requests and repetitions flow in, whether there may be another
//! repetition flows out. A part of the requests of the last seconds, so that pods that all fail get hardly more than is asked of them.
//! Held by `balance`, asked by `http`.

use crate::limits::{RETRIES_LEAST, RETRIES_ONE_IN, RETRIES_WINDOW};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Of one rule.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    began: Instant,
    window: Mutex<Window>,
}

/// What happened in the last seconds.
#[derive(Debug, Default)]
struct Window {
    /// The second that the last slot in use stands for.
    second: u64,
    slots: [Slot; SLOTS],
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    requests: u32,
    repeated: u32,
}

impl RetryBudget {
    /// Of a rule that nobody has asked for anything.
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, window: Mutex::default() }
    }

    /// A request came.
    pub(crate) fn request(&self, now: Instant) {
        self.with(now, Window::request);
    }

    /// Whether one may be sent again. That counts as done.
    pub(crate) fn repeat(&self, now: Instant) -> bool {
        self.with(now, Window::repeat)
    }

    fn with<T>(&self, now: Instant, act: impl FnOnce(&mut Window, u64) -> T) -> T {
        let second = now.saturating_duration_since(self.began).as_secs();
        act(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner), second)
    }
}

impl Window {
    fn request(&mut self, second: u64) {
        let slot = self.slot(second);
        slot.requests = slot.requests.saturating_add(1);
    }

    fn repeat(&mut self, second: u64) -> bool {
        self.slot(second);
        let sum = |count: fn(&Slot) -> u32| self.slots.iter().map(|slot| u64::from(count(slot))).sum::<u64>();
        let most = (sum(|slot| slot.requests) / RETRIES_ONE_IN).max(RETRIES_LEAST);
        let may = sum(|slot| slot.repeated) < most;
        self.slot(second).repeated += u32::from(may);
        may
    }

    /// That of a second, or of the last one, where another thread was faster. What is older than the window is forgotten.
    fn slot(&mut self, second: u64) -> &mut Slot {
        let passed = second.saturating_sub(self.second).min(SLOTS as u64);
        for gone in 1..=passed {
            self.slots[place(self.second + gone)] = Slot::default();
        }
        self.second = self.second.max(second);
        &mut self.slots[place(self.second)]
    }
}

/// Where a second is counted.
fn place(second: u64) -> usize {
    (second % SLOTS as u64) as usize
}

/// One for each second of the window.
const SLOTS: usize = RETRIES_WINDOW.as_secs() as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn a_quiet_rule_has_a_few_and_a_busy_one_its_part() {
        let start = Instant::now();
        let budget = RetryBudget::new(start);
        let granted = |now| (0..1000).filter(|_| budget.repeat(now)).count() as u64;
        assert_eq!(granted(start), RETRIES_LEAST);
        (0..1000).for_each(|_| budget.request(start));
        assert_eq!(granted(start), 1000 / RETRIES_ONE_IN - RETRIES_LEAST);
        assert_eq!(granted(start + RETRIES_WINDOW - Duration::from_secs(1)), 0);
        assert_eq!(granted(start + RETRIES_WINDOW), RETRIES_LEAST, "all that is forgotten");
        assert_eq!(granted(start + RETRIES_WINDOW * 1000), RETRIES_LEAST);
    }

    proptest! {
        #[test]
        fn it_grants_what_the_list_of_all_that_happened_allows(
            steps in proptest::collection::vec((0_u64..4, 0_usize..100, 0_usize..40), 1..40),
        ) {
            let (mut window, mut second) = (Window::default(), 0);
            let (mut requests, mut repeated) = (Vec::new(), Vec::new());
            let recent = |times: &[u64], second: u64| {
                times.iter().filter(|time| second - **time < RETRIES_WINDOW.as_secs()).count() as u64
            };
            for (passed, came, asked) in steps {
                second += passed;
                (0..came).for_each(|_| window.request(second));
                requests.extend(vec![second; came]);
                for _ in 0..asked {
                    let most = (recent(&requests, second) / RETRIES_ONE_IN).max(RETRIES_LEAST);
                    let may = recent(&repeated, second) < most;
                    prop_assert_eq!(window.repeat(second), may);
                    repeated.extend(may.then_some(second));
                }
            }
        }
    }
}
