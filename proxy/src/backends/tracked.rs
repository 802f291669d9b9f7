//! What is known of one endpoint as long as it exists, whatever becomes of tables and Services: how busy it is, how it
//! fares, and since when it is there. `builder` makes them, `backends` and `health` read them.

use super::slots::Slots;
use crate::health::Health;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Tracked {
    id: u64,
    pub(super) slots: Slots,
    /// How it fares.
    pub(crate) health: Health,
    /// When it came; `None` if it was there before the proxy.
    since: Mutex<Option<Instant>>,
}

impl Tracked {
    /// Of an endpoint that came then.
    pub(super) fn new(since: Option<Instant>) -> Self {
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            slots: Slots::default(),
            health: Health::default(),
            since: Mutex::new(since),
        }
    }

    /// Tells it from every other endpoint of this process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Requests and passed-through connections that it is busy with.
    pub(super) fn in_flight(&self) -> usize {
        self.slots.in_flight()
    }

    /// Requests that wait for it.
    pub(crate) fn waiting(&self) -> usize {
        self.slots.waiting()
    }

    /// It was away and has come back.
    pub(super) fn came(&self, now: Instant) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// The part of a weight that it carries while it warms up, growing in a line over that time; never nothing, so that it
    /// does warm up.
    pub(super) fn warmed(&self, weight: i64, warm_up: Duration, now: Instant) -> i64 {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(age) = since.map(|since| now.saturating_duration_since(since)).filter(|age| *age < warm_up) else {
            return weight;
        };
        let part = i128::from(weight) * i128::try_from(age.as_millis()).unwrap_or(i128::MAX >> 64);
        let part = part / i128::try_from(warm_up.as_millis().max(1)).unwrap_or(i128::MAX);
        i64::try_from(part).unwrap_or(weight).max(weight / LEAST_PART)
    }
}

/// The least part of its weight that an endpoint carries.
const LEAST_PART: i64 = 32;

static NEXT: AtomicU64 = AtomicU64::new(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_grows_with_the_age_of_an_endpoint_and_is_whole_for_those_that_were_there() {
        let start = Instant::now();
        let weight = |tracked: &Tracked, seconds: u64| {
            tracked.warmed(3200, Duration::from_secs(10), start + Duration::from_secs(seconds))
        };
        assert_eq!(weight(&Tracked::new(None), 0), 3200);
        let new = Tracked::new(Some(start));
        assert_eq!([0, 1, 5, 9, 10, 99].map(|seconds| weight(&new, seconds)), [100, 320, 1600, 2880, 3200, 3200]);
        new.came(start + Duration::from_secs(50));
        assert_eq!(weight(&new, 55), 1600);
    }
}
