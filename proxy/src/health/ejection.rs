//! When an endpoint is passed over for its failures: what requests saw of it flows in with the time, until when it is passed
//! over flows out. Pure.

use crate::limits::{EJECTION_AFTER, EJECTION_LONGEST, EJECTION_SHORTEST};
use std::time::Instant;

/// The failures of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    /// Failures without a success between them.
    failures: u32,
    /// Times that the endpoint was passed over without a success between them.
    times: u32,
    until: Option<Instant>,
}

impl Ejection {
    /// Notes a failure, and says whether the endpoint is passed over from now on. `chance`, from 0 to 1, spreads the
    /// returns of many endpoints that failed together. Failures while it is passed over count for nothing: they are of
    /// requests that were on their way, or had no other endpoint.
    pub(super) fn failed(&mut self, now: Instant, chance: f64) -> bool {
        if self.is_on(now) {
            return false;
        }
        self.failures += 1;
        // One that has come back has a single chance.
        if self.failures < EJECTION_AFTER && self.times == 0 {
            return false;
        }
        let longer = EJECTION_SHORTEST.saturating_mul(1 << self.times.min(16)).min(EJECTION_LONGEST);
        self.until = Some(now + longer.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0)));
        self.times += 1;
        true
    }

    /// Whether the endpoint is passed over.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn failures_in_succession_eject_for_longer_each_time() {
        let (mut ejection, mut now) = (Ejection::default(), Instant::now());
        assert!(!ejection.failed(now, 0.5) && !ejection.failed(now, 0.5) && ejection.failed(now, 0.5));
        for expected in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
            let time = Duration::from_secs(expected);
            assert!(ejection.is_on(now + time - Duration::from_millis(1)), "{expected} s");
            assert!(!ejection.failed(now, 0.5), "more of the same changes nothing");
            now += time;
            assert!(!ejection.is_on(now), "{expected} s are over");
            assert!(ejection.failed(now, 0.5), "one failure is enough for one that has come back");
        }
    }

    #[test]
    fn chance_spreads_the_returns_by_a_tenth() {
        let now = Instant::now();
        for (chance, millis) in [(0.0, 4_500), (1.0, 5_500), (7.0, 5_500)] {
            let mut ejection = Ejection::default();
            assert_eq!((0..3).filter(|_| ejection.failed(now, chance)).count(), 1);
            assert!(ejection.is_on(now + Duration::from_millis(millis - 1)));
            assert!(!ejection.is_on(now + Duration::from_millis(millis + 1)));
        }
    }
}
