//! How much of what a node answers may be relayed: counts, bytes and times flow in, leave and waits flow out. Times are those
//! since some start. Pure.

use std::time::Duration;

/// The share of relayed responses over the last [`WINDOW`] to two of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    began: Duration,
    before: Counts,
    now: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    own: u64,
    relayed: u64,
}

impl Share {
    /// A response of this node's own.
    pub(super) fn answered(&mut self, now: Duration) {
        self.turn(now);
        self.now.own += 1;
    }

    /// Whether one more may be relayed where so many of a hundred may; counts it then. A few may in any case, so that a node
    /// with little to do helps its few clients.
    pub(super) fn admit(&mut self, now: Duration, share: u32) -> bool {
        self.turn(now);
        let relayed = self.before.relayed + self.now.relayed + 1;
        let all = self.before.own + self.now.own + relayed;
        let admitted = relayed <= FEW || relayed.saturating_mul(100) <= all.saturating_mul(share.into());
        self.now.relayed += u64::from(admitted);
        admitted
    }

    fn turn(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.began);
        if passed >= WINDOW * 2 {
            *self = Self { began: now, ..Self::default() };
        } else if passed >= WINDOW {
            *self = Self { began: self.began + WINDOW, before: self.now, now: Counts::default() };
        }
    }
}

/// Bytes a second, kept as the time at which all that was sent will have been due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    rate: u64,
    due: Duration,
}

impl Budget {
    /// With nothing sent. A rate of 0 is taken for 1.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), due: Duration::ZERO }
    }

    /// How far what was sent is ahead of the rate.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        self.due.saturating_sub(now)
    }

    /// Sends so many bytes; gives how long to wait before.
    pub(super) fn spend(&mut self, bytes: u64, now: Duration) -> Duration {
        let nanoseconds = u128::from(bytes) * NANOSECONDS / u128::from(self.rate);
        let time = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let wait = self.wait(now);
        self.due = self.due.max(now).saturating_add(time);
        wait
    }
}

const WINDOW: Duration = Duration::from_secs(10);
/// Relayed in any case within two windows.
const FEW: u64 = 10;
const NANOSECONDS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_few_are_relayed_in_any_case_and_then_a_share() {
        let mut share = Share::default();
        let relayed = (0..100).filter(|_| share.admit(Duration::ZERO, 5)).count();
        assert_eq!(relayed, 10, "of a node that answers nothing itself");
        (0..1000).for_each(|_| share.answered(Duration::from_secs(1)));
        let relayed = 10 + (0..1000).filter(|_| share.admit(Duration::from_secs(1), 5)).count();
        assert_eq!(relayed, 52, "at most 5 of 100");
        assert!(share.admit(Duration::from_secs(40), 0), "what is long ago counts no more");
    }

    #[test]
    fn bytes_beyond_the_rate_wait_for_their_time() {
        let mut budget = Budget::new(1000);
        assert_eq!(budget.spend(500, Duration::from_secs(10)), Duration::ZERO);
        assert_eq!(budget.spend(1000, Duration::from_secs(10)), Duration::from_millis(500));
        assert_eq!(budget.wait(Duration::from_secs(10)), Duration::from_millis(1500));
        assert_eq!(budget.wait(Duration::from_secs(12)), Duration::ZERO);
        assert_eq!(Budget::new(0).spend(u64::MAX, Duration::ZERO), Duration::ZERO);
    }

    proptest! {
        /// Whoever waits as told sends no more than the rate and one piece.
        #[test]
        fn the_rate_holds(rate in 1000_u64..10_000_000, pieces in proptest::collection::vec(1_u64..100_000, 1..200)) {
            let (mut budget, mut now, mut sent) = (Budget::new(rate), Duration::ZERO, 0);
            for piece in &pieces {
                now += budget.spend(*piece, now);
                sent += piece;
            }
            let allowed = u128::from(rate) * now.as_nanos() / NANOSECONDS + 100_000 + 200;
            prop_assert!(u128::from(sent) <= allowed, "{sent} of {allowed}");
        }

        /// Over any history the share is kept within two windows, but for the few.
        #[test]
        fn the_share_holds(steps in proptest::collection::vec((any::<bool>(), 0_u64..50), 1..500), percent in 0_u32..100) {
            let mut share = Share::default();
            let mut now = Duration::ZERO;
            for (own, pause) in steps {
                now += Duration::from_millis(pause);
                if own {
                    share.answered(now);
                } else if share.admit(now, percent) {
                    let relayed = share.before.relayed + share.now.relayed;
                    let all = relayed + share.before.own + share.now.own;
                    prop_assert!(relayed <= FEW || relayed * 100 <= all * u64::from(percent));
                }
            }
        }
    }
}
