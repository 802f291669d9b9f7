//! Waits between attempts: failures flow in, growing jittered delays flow out. Every retry of the crate asks here.

use crate::limits::{FIRST_BACKOFF, LONGEST_BACKOFF};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// A delay that doubles with each failure, from [`FIRST_BACKOFF`] to [`LONGEST_BACKOFF`].
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after one more failure: between half and all of the current step, so that the proxies of many nodes do
    /// not knock in step.
    pub(crate) fn next(&mut self) -> Duration {
        let step = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(10)).min(LONGEST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        step / 2 + spread(step / 2)
    }

    /// Starts over after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random part of a duration.
pub(crate) fn spread(whole: Duration) -> Duration {
    // A fresh RandomState is keyed at random; that is all the randomness a jitter needs.
    let random = RandomState::new().build_hasher().finish() >> 32;
    whole.mul_f64(random as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_start_over() {
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..40).map(|_| backoff.next()).collect();
        assert!(delays[0] >= FIRST_BACKOFF / 2 && delays[0] <= FIRST_BACKOFF);
        assert!(delays[39] >= LONGEST_BACKOFF / 2 && delays[39] <= LONGEST_BACKOFF);
        backoff.reset();
        assert!(backoff.next() <= FIRST_BACKOFF);
    }
}
