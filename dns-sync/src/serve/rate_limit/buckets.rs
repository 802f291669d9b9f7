//! How often each key was let through: a key and a time flow in, a verdict flows out. A table of fixed size, so that no flood of
//! forged addresses costs memory. Called by the limiter.

use std::time::Duration;

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Send it.
    Answer,
    /// Send an empty one with TC.
    Truncate,
    /// Send nothing.
    Drop,
}

/// One bucket for each key that was seen lately. Each lets a second's worth through at once and then one whenever its time has
/// come (the generic cell rate algorithm: a single time says how full a bucket is).
#[derive(Debug)]
pub(super) struct Buckets {
    interval: u64,
    sets: Box<[[Bucket; WAYS]]>,
}

/// Times in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    key: u64,
    /// When the bucket will be full again; one that is full is as good as none.
    full_at: u64,
    /// Answers beyond the bound.
    limited: u32,
}

impl Buckets {
    pub(super) fn new(per_second: u32, count: usize) -> Self {
        let sets = vec![[Bucket::default(); WAYS]; (count / WAYS).max(1)];
        Self { interval: (SECOND / u64::from(per_second.max(1))).max(1), sets: sets.into() }
    }

    /// Whether one more answer goes through. A key whose place others have taken begins anew: under a flood of keys the limiter
    /// lets more through, never less.
    pub(super) fn take(&mut self, key: u64, now: Duration) -> Verdict {
        // A second ahead, so that an empty table is full of full buckets.
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2).saturating_add(SECOND);
        let set = usize::try_from(key % self.sets.len() as u64).unwrap_or(0);
        let set = &mut self.sets[set];
        let known = set.iter().position(|bucket| bucket.key == key);
        let place = known.or_else(|| (0..WAYS).min_by_key(|place| set[*place].full_at)).unwrap_or(0);
        let bucket = &mut set[place];
        if known.is_none() || bucket.full_at <= now {
            *bucket = Bucket { key, full_at: now, limited: 0 };
        }
        let full_at = bucket.full_at + self.interval;
        if full_at <= now + SECOND {
            bucket.full_at = full_at;
            return Verdict::Answer;
        }
        bucket.limited = bucket.limited.wrapping_add(1);
        if bucket.limited % 2 == 1 { Verdict::Truncate } else { Verdict::Drop }
    }
}

const SECOND: u64 = 1_000_000;

/// Buckets that a key can have its place in.
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// A token bucket in micro-tokens, for each key.
    #[derive(Default)]
    struct Naive(HashMap<u64, (u64, u64)>);

    impl Naive {
        fn lets_through(&mut self, key: u64, rate: u64, now: u64) -> bool {
            let (tokens, since) = self.0.entry(key).or_insert((rate * SECOND, now));
            *tokens = (*tokens + (now - *since) * rate).min(rate * SECOND);
            *since = now;
            let enough = *tokens >= SECOND;
            *tokens -= if enough { SECOND } else { 0 };
            enough
        }
    }

    proptest! {
        #[test]
        fn each_key_is_limited_as_by_a_token_bucket_of_its_own(
            rate in prop::sample::select(vec![1_u32, 2, 5, 10, 20, 100, 1000]),
            steps in prop::collection::vec((0..6_u64, prop_oneof![0..2000_u64, 0..400_000_u64]), 1..400),
        ) {
            let (mut buckets, mut naive, mut now) = (Buckets::new(rate, 4096), Naive::default(), 0);
            let mut limited: HashMap<u64, Vec<Verdict>> = HashMap::new();
            for (key, pause) in steps {
                now += pause;
                let verdict = buckets.take(key, Duration::from_micros(now));
                prop_assert_eq!(verdict == Verdict::Answer, naive.lets_through(key, u64::from(rate), now));
                limited.entry(key).or_default().push(verdict);
            }
            for verdicts in limited.values() {
                // Between two answers every second one is truncated.
                let runs = verdicts.split(|verdict| *verdict == Verdict::Answer);
                for run in runs {
                    prop_assert!(run.windows(2).all(|pair| pair[0] != pair[1]));
                }
            }
        }

        #[test]
        fn a_client_below_the_rate_is_never_limited_whatever_others_do(
            keys in prop::collection::vec(any::<u64>(), 0..300),
            start in 0..1_000_000_000_u64,
        ) {
            let mut buckets = Buckets::new(20, 64);
            for round in 0..100 {
                let now = Duration::from_micros(start + round * 50_000);
                for key in &keys {
                    buckets.take(*key, now);
                }
                prop_assert_eq!(buckets.take(7, now), Verdict::Answer);
            }
        }

        #[test]
        fn no_more_than_the_rate_goes_through(pauses in prop::collection::vec(0..30_000_u64, 2..500)) {
            let (mut buckets, mut now, mut through) = (Buckets::new(20, 64), 0, 0_u64);
            for pause in pauses {
                now += pause;
                through += u64::from(buckets.take(1, Duration::from_micros(now)) == Verdict::Answer);
                prop_assert!(through <= 20 + now * 20 / SECOND + 1);
            }
        }
    }
}
