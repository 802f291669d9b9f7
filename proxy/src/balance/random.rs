//! Numbers for choices: a seed flows in, numbers flow out. Pure but for where a fresh seed comes from.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// A random state (SplitMix64): fast, good enough to spread load, and of no use where secrets are needed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A state that gives the same numbers for the same seed.
    #[cfg(test)]
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A state that differs from every other one of this process and of other processes.
    pub(crate) fn fresh() -> Self {
        thread_local! {
            static NEXT: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
        }
        let seed = NEXT.get();
        NEXT.set(seed.wrapping_add(STEP << 1 | 1));
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.next()
    }

    /// A number below `bound`, which is not 0; each about equally often.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        (wide >> 64) as usize
    }

    /// A number from 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "as many bits as a number holds")]
        let (part, whole) = ((self.next() >> 12) as f64, (1_u64 << 52) as f64);
        part / whole
    }
}

/// Bits in which every bit of the input has its say.
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_states_differ() {
        let numbers: std::collections::BTreeSet<u64> = (0..1000).map(|_| Random::fresh().next()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
