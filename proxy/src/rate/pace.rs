//! The speed of one response: a bandwidth and the time flow in, how many bytes may pass now, or when some may again, flow
//! out. A pause earns a burst of no more than [`BURST`]. Pure; the socket of the pod asks.

use nearside_routing::policy::bandwidth::Bandwidth;
use std::time::Duration;
use tokio::time::Instant;

/// A bucket that fills with bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    rate: u64,
    /// Bytes that are not held back any more before the limit counts.
    free: u64,
    /// Bytes in the bucket, times the nanoseconds of a second.
    fill: u128,
    filled: Instant,
}

impl Pace {
    /// For a response that begins now.
    pub(crate) fn new(bandwidth: Bandwidth, now: Instant) -> Self {
        Self { rate: bandwidth.rate.get(), free: bandwidth.after, fill: 0, filled: now }
    }

    /// Bytes that may pass now, at least one.
    ///
    /// # Errors
    /// How long none may pass.
    pub(crate) fn allowance(&mut self, now: Instant) -> Result<u64, Duration> {
        if self.free > 0 {
            self.filled = now;
            return Ok(self.free);
        }
        let most = u128::from(self.rate) * BURST.as_nanos();
        let earned = u128::from(self.rate) * now.saturating_duration_since(self.filled).as_nanos();
        self.fill = (self.fill + earned).min(most.max(SECOND));
        self.filled = now;
        // Bytes are let go in small lots rather than one by one.
        let lot = (u128::from(self.rate) * LOT.as_nanos()).max(SECOND);
        if self.fill >= lot {
            return Ok(u64::try_from(self.fill / SECOND).unwrap_or(u64::MAX));
        }
        let missing = (lot - self.fill).div_ceil(u128::from(self.rate));
        Err(Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX)))
    }

    /// So many bytes passed, no more than were allowed.
    pub(crate) fn spend(&mut self, bytes: u64) {
        let free = self.free.min(bytes);
        self.free -= free;
        self.fill = self.fill.saturating_sub(u128::from(bytes - free) * SECOND);
    }
}

/// What may pass at once after a pause, as the time in which it is earned.
const BURST: Duration = Duration::from_millis(250);
/// What is let go at once while there is more to send, as the time in which it is earned.
const LOT: Duration = Duration::from_millis(50);
const SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU64;

    fn bandwidth(rate: u64, after: u64) -> Bandwidth {
        Bandwidth { rate: NonZeroU64::new(rate).unwrap(), after }
    }

    /// What passes in `time`, asking again whenever there may be something, up to `chunk` bytes at once.
    fn sent(bandwidth: Bandwidth, time: Duration, chunk: u64) -> u64 {
        let start = Instant::now();
        let mut pace = Pace::new(bandwidth, start);
        let (mut now, mut sent) = (start, 0);
        while now <= start + time {
            match pace.allowance(now) {
                Ok(bytes) => {
                    pace.spend(bytes.min(chunk));
                    sent += bytes.min(chunk);
                }
                Err(wait) => now += wait,
            }
        }
        sent
    }

    #[test]
    fn a_pause_earns_a_small_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(bandwidth(1000, 0), start);
        assert!(pace.allowance(start).is_err(), "nothing is earned yet");
        assert_eq!(pace.allowance(start + Duration::from_secs(3600)), Ok(250));
        pace.spend(250);
        assert_eq!(pace.allowance(start + Duration::from_secs(3600)), Err(LOT));
    }

    proptest! {
        #[test]
        fn no_more_passes_than_was_earned_and_hardly_less(
            rate in 1_u64..10_000_000, after in 0_u64..100_000, seconds in 1_u64..20, chunk in 1_u64..70_000,
        ) {
            // With small chunks a fast rate takes too many steps to test.
            let chunk = chunk.max(rate / 100);
            let sent = sent(bandwidth(rate, after), Duration::from_secs(seconds), chunk);
            let earned = after + rate * seconds;
            prop_assert!(sent <= earned, "{sent} of {earned}");
            prop_assert!(sent + rate / 10 + 1 >= earned, "{sent} of {earned}");
        }
    }
}
