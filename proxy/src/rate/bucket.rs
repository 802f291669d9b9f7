//! A steady rate with a burst: times flow in, whether one more is let in, or when, flows out. Pure. This is the leaky bucket
//! of nginx's `limit_req` with `nodelay`, kept as the time at which it will be empty.

use nearside_routing::policy::rate::Bucket;
use std::time::Duration;

/// When the bucket will be empty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LeakyBucket {
    empty: Duration,
}

impl LeakyBucket {
    /// Lets one in now, a time since some start that never goes back.
    ///
    /// # Errors
    /// How long it takes until there is room.
    pub(crate) fn admit(&mut self, bucket: &Bucket, now: Duration) -> Result<(), Duration> {
        let drop = bucket.period / bucket.most.max(1);
        let full = drop.saturating_mul(bucket.burst);
        let empty = self.empty.max(now);
        match (empty - now).checked_sub(full).filter(|wait| *wait > Duration::ZERO) {
            Some(wait) => Err(wait),
            None => {
                self.empty = empty.saturating_add(drop);
                Ok(())
            }
        }
    }

    /// From when on it is like a new one.
    pub(crate) fn forgotten(&self) -> Duration {
        self.empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_is_let_in_at_once_and_then_one_by_one() {
        let bucket = Bucket { most: 10, period: Duration::from_secs(1), burst: 3 };
        let mut counted = LeakyBucket::default();
        let at = Duration::from_millis;
        assert!((0..4).all(|_| counted.admit(&bucket, at(0)).is_ok()), "one, and a burst of three");
        assert_eq!(counted.admit(&bucket, at(0)), Err(at(100)));
        assert_eq!(counted.admit(&bucket, at(100)), Ok(()));
        assert_eq!(counted.admit(&bucket, at(150)), Err(at(50)));
        assert_eq!(counted.forgotten(), at(500));
    }

    proptest! {
        /// The model holds tokens, one for each that may come at once, and earns them one by one.
        #[test]
        fn it_lets_in_what_a_bucket_of_tokens_does(
            most in 1_u32..20,
            burst in 0_u32..5,
            steps in proptest::collection::vec(0_u64..3000, 1..80),
        ) {
            let bucket = Bucket { most, period: Duration::from_secs(1), burst };
            let earned = u128::from(bucket.period.as_nanos() as u64 / u64::from(most));
            let room = (u128::from(burst) + 1) * earned;
            let (mut tokens, mut counted, mut now) = (room, LeakyBucket::default(), Duration::ZERO);
            for step in steps {
                let step = Duration::from_millis(step / 10);
                now += step;
                tokens = (tokens + step.as_nanos()).min(room);
                let expected = tokens >= earned;
                let admitted = counted.admit(&bucket, now);
                prop_assert_eq!(admitted.is_ok(), expected);
                if expected {
                    tokens -= earned;
                }
                if let Err(wait) = admitted {
                    let mut later = counted;
                    prop_assert!(later.admit(&bucket, now + wait).is_ok());
                }
            }
        }
    }
}
