//! How long to wait after a failure: remedies and a random number flow in, pauses flow out. Pure; one for each (server, zone),
//! kept by its worker. After the pause the newest state is read and planned: nothing is ever replayed.

use super::failure::Remedy;
use crate::limits::{FIRST_AUTHORISE, FIRST_RETRY, LONGEST_AUTHORISE, LONGEST_RETRY, OBSERVE_AT_ONCE};
use std::time::Duration;

/// A pause that doubles with each failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    last: Option<Remedy>,
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure, between half and all of the current step. `jitter` is a random number from 0 to 1.
    pub fn failed(&mut self, remedy: Remedy, jitter: f64) -> Duration {
        if self.last != Some(remedy) {
            *self = Self { last: Some(remedy), failures: 0 };
        }
        self.failures = self.failures.saturating_add(1);
        let (first, longest, past) = match remedy {
            // Two that write the same names at once must not fight without a rest.
            Remedy::Observe => (FIRST_RETRY, LONGEST_RETRY, self.failures.saturating_sub(OBSERVE_AT_ONCE)),
            Remedy::Retry | Remedy::Isolate => (FIRST_RETRY, LONGEST_RETRY, self.failures),
            Remedy::Authorise => (FIRST_AUTHORISE, LONGEST_AUTHORISE, self.failures),
        };
        let Some(doubled) = past.checked_sub(1) else { return Duration::ZERO };
        let step = first.saturating_mul(1 << doubled.min(10)).min(longest);
        step / 2 + (step / 2).mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// Starts over: something was applied, or the secret is another one now.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// How many failures there were in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(remedy: Remedy, jitter: f64) -> Vec<f64> {
        let mut backoff = Backoff::default();
        (0..9).map(|_| backoff.failed(remedy, jitter).as_secs_f64()).collect()
    }

    #[test]
    fn pauses_double_to_the_longest() {
        assert_eq!(pauses(Remedy::Retry, 1.0), [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        assert_eq!(pauses(Remedy::Retry, 0.0)[..3], [0.25, 0.5, 1.0]);
        assert_eq!(pauses(Remedy::Authorise, 1.0), [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0, 60.0]);
    }

    #[test]
    fn what_was_read_too_early_is_read_again_at_once_but_not_for_ever() {
        assert_eq!(pauses(Remedy::Observe, 1.0)[..5], [0.0, 0.0, 0.0, 0.5, 1.0]);
    }

    #[test]
    fn success_and_another_remedy_start_over() {
        let mut backoff = Backoff::default();
        backoff.failed(Remedy::Retry, 1.0);
        assert_eq!(backoff.failed(Remedy::Authorise, 1.0).as_secs(), 5);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
        assert_eq!(backoff.failed(Remedy::Authorise, 1.0).as_secs(), 5);
    }
}
