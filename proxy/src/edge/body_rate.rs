//! How slowly a request body may come: bytes and times flow in, how long the client still has flows out. Only time in which the proxy
//! waits for the client counts; while the pod takes nothing, the client cannot send. Pure.
//!
//! A client has a credit of time. Waiting for it spends it, each byte earns some, up to what it began with: whoever sends more than the
//! least rate has it all, and whoever sends less has used it up in the end, however much came before.

use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::Instant;

/// What is demanded of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyRate {
    /// Bytes a second.
    pub(crate) least: NonZeroU32,
    /// The credit that a body begins with.
    pub(crate) grace: Duration,
}

/// A body that comes.
#[derive(Debug)]
pub(crate) struct Upload {
    rate: BodyRate,
    credit: Duration,
    /// Since when the client is waited for; `None` while it is not.
    since: Option<Instant>,
}

/// The body came too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request body comes too slowly")]
pub(crate) struct Slow;

impl Upload {
    /// One whose client is waited for from now on.
    pub(crate) fn begin(rate: BodyRate, now: Instant) -> Self {
        Self { rate, credit: rate.grace, since: Some(now) }
    }

    /// So many bytes came, and the client is waited for again.
    pub(crate) fn came(&mut self, bytes: usize, now: Instant) {
        self.settle(now);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(bytes.into()) / self.rate.least.get();
        self.credit = (self.credit + earned).min(self.rate.grace);
        self.since = Some(now);
    }

    /// The client is not waited for: the pod takes nothing.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.settle(now);
        self.since = None;
    }

    /// How long the client may go on without a byte: nothing, once it was too slow. `None` while it is not waited for.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        Some(self.credit.saturating_sub(now.saturating_duration_since(self.since?)))
    }

    fn settle(&mut self, now: Instant) {
        if let Some(since) = self.since {
            self.credit = self.credit.saturating_sub(now.saturating_duration_since(since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn rate() -> BodyRate {
        BodyRate { least: NonZeroU32::new(240).unwrap(), grace: GRACE }
    }

    /// How long a body lasts of which so many bytes come each second, a thousand seconds at most.
    fn lasts(bytes: usize, first: usize) -> u64 {
        let start = Instant::now();
        let mut upload = Upload::begin(rate(), start);
        upload.came(first, start);
        for second in 1..1000 {
            let now = start + Duration::from_secs(second);
            if upload.left(now) == Some(Duration::ZERO) {
                return second;
            }
            upload.came(bytes, now);
        }
        1000
    }

    #[test]
    fn a_client_that_trickles_is_cut_after_the_grace_and_one_that_keeps_the_rate_never() {
        assert_eq!((lasts(0, 0), lasts(1, 0), lasts(1, 1_000_000)), (30, 31, 31));
        assert_eq!((lasts(120, 0), lasts(240, 0), lasts(5000, 0)), (59, 1000, 1000));
    }

    #[test]
    fn time_in_which_the_pod_takes_nothing_does_not_count() {
        let start = Instant::now();
        let mut upload = Upload::begin(rate(), start);
        upload.pause(start + GRACE / 2);
        assert_eq!(upload.left(start + GRACE * 100), None);
        upload.pause(start + GRACE * 100);
        upload.came(0, start + GRACE * 100);
        assert_eq!(upload.left(start + GRACE * 100), Some(GRACE / 2));
    }

    proptest! {
        #[test]
        fn more_bytes_never_leave_less_time(
            steps in proptest::collection::vec((0_u64..40, 0_usize..10_000, 0_usize..10_000), 1..20),
        ) {
            let start = Instant::now();
            let [mut few, mut many] = [Upload::begin(rate(), start), Upload::begin(rate(), start)];
            let mut now = start;
            for (seconds, bytes, more) in steps {
                now += Duration::from_secs(seconds);
                few.came(bytes, now);
                many.came(bytes + more, now);
                prop_assert!(few.left(now) <= many.left(now) && many.left(now) <= Some(GRACE));
            }
        }
    }
}
