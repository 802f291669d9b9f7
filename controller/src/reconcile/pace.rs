//! The rate of requests: how many were sent flows in, whether more may be sent flows out. A token bucket that may run into
//! debt, because what a piece of work costs is known only when it is done. Pure: time is an argument.

use std::time::Duration;

/// See the module head. Times are counted from an epoch of the caller's.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    burst: f64,
    allowance: f64,
    counted_at: Duration,
    closed_until: Duration,
}

impl Pace {
    /// So many requests a second, and so many at once after a quiet time.
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, allowance: burst, counted_at: Duration::ZERO, closed_until: Duration::ZERO }
    }

    /// Whether more may be sent now.
    pub(crate) fn is_open(&mut self, now: Duration) -> bool {
        self.earn(now);
        now >= self.closed_until && self.allowance >= 0.0
    }

    /// So many requests were sent.
    pub(crate) fn spend(&mut self, requests: u32, now: Duration) {
        self.earn(now);
        self.allowance -= f64::from(requests);
    }

    /// The server has asked for a pause.
    pub(crate) fn close_until(&mut self, until: Duration) {
        self.closed_until = self.closed_until.max(until);
    }

    /// When more may be sent if nothing is until then.
    pub(crate) fn opens_at(&self) -> Duration {
        let earned = Duration::from_secs_f64((-self.allowance).max(0.0) / self.per_second);
        self.closed_until.max(self.counted_at + earned + Duration::from_millis(1))
    }

    fn earn(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.counted_at).as_secs_f64();
        self.allowance = (self.allowance + passed * self.per_second).min(self.burst);
        self.counted_at = self.counted_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_server_that_asks_for_a_pause_gets_it() {
        let mut pace = Pace::new(10.0, 5.0);
        pace.close_until(Duration::from_secs(3));
        assert!(!pace.is_open(Duration::from_secs(2)));
        assert_eq!(pace.opens_at(), Duration::from_secs(3));
        assert!(pace.is_open(Duration::from_secs(3)));
    }

    proptest! {
        /// However work comes in, over any time no more is sent than the rate and the burst allow and one piece of work more.
        #[test]
        fn the_rate_holds(steps in proptest::collection::vec((0_u64..300, 1_u32..4), 1..200)) {
            let (rate, burst) = (20.0, 10.0);
            let mut pace = Pace::new(rate, burst);
            let mut now = Duration::ZERO;
            let mut sent: Vec<(Duration, u32)> = Vec::new();
            for (pause, cost) in steps {
                now += Duration::from_millis(pause / 10);
                if !pace.is_open(now) {
                    let opens = pace.opens_at();
                    prop_assert!(opens > now);
                    prop_assert!(pace.is_open(opens));
                    now = opens;
                }
                pace.spend(cost, now);
                sent.push((now, cost));
            }
            for (first, (from, _)) in sent.iter().enumerate() {
                let mut sum = 0.0;
                for (at, cost) in &sent[first..] {
                    sum += f64::from(*cost);
                    prop_assert!(sum <= burst + rate * (*at - *from).as_secs_f64() + 3.1, "{sum}");
                }
            }
        }
    }
}
