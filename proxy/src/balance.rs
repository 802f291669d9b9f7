//! Choice among backends and endpoints: weights, loads and a random state flow in, the place of the chosen one flows out.
//! Pure; `backends` asks.

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
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0; each about equally often.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        (wide >> 64) as usize
    }
}

/// Chooses a place in proportion to its weight; `None` if every weight is 0.
pub(crate) fn weighted(weights: impl Iterator<Item = u16> + Clone, random: &mut Random) -> Option<usize> {
    let total: usize = weights.clone().map(usize::from).sum();
    if total == 0 {
        return None;
    }
    let mut left = random.below(total);
    weights.enumerate().find_map(|(place, weight)| {
        let weight = usize::from(weight);
        if left < weight {
            return Some(place);
        }
        left -= weight;
        None
    })
}

/// Power of two choices: the less loaded of two different random places out of `count`; `None` if there is none.
pub(crate) fn two_choices(count: usize, load: impl Fn(usize) -> usize, random: &mut Random) -> Option<usize> {
    match count {
        0 => None,
        1 => Some(0),
        _ => {
            let first = random.below(count);
            let mut second = random.below(count - 1);
            if second >= first {
                second += 1;
            }
            Some(if load(second) < load(first) { second } else { first })
        }
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_follow_the_weights() {
        let mut random = Random::seeded(1);
        let weights = [0_u16, 10, 30];
        let mut chosen = [0_usize; 3];
        for _ in 0..40_000 {
            chosen[weighted(weights.iter().copied(), &mut random).unwrap()] += 1;
        }
        assert_eq!(chosen[0], 0);
        assert!((9_400..10_600).contains(&chosen[1]), "{chosen:?}");
    }

    #[test]
    fn the_busier_of_two_is_never_chosen_and_the_idle_ones_share() {
        let mut random = Random::seeded(2);
        let loads = [5, 0, 0, 9];
        let mut chosen = [0_usize; 4];
        for _ in 0..10_000 {
            chosen[two_choices(loads.len(), |place| loads[place], &mut random).unwrap()] += 1;
        }
        assert_eq!(chosen[3], 0, "the busiest loses every pair");
        assert!(chosen[1] > 3_000 && chosen[2] > 3_000, "{chosen:?}");
    }

    #[test]
    fn fresh_states_differ() {
        let numbers: std::collections::BTreeSet<u64> = (0..1000).map(|_| Random::fresh().next()).collect();
        assert_eq!(numbers.len(), 1000);
    }

    proptest! {
        #[test]
        fn a_place_is_chosen_exactly_where_a_weight_is(weights in proptest::collection::vec(0_u16..=256, 0..8), seed: u64) {
            let choice = weighted(weights.iter().copied(), &mut Random::seeded(seed));
            prop_assert_eq!(choice.is_some(), weights.iter().any(|weight| *weight > 0));
            if let Some(place) = choice {
                prop_assert!(weights[place] > 0);
            }
        }

        #[test]
        fn of_two_places_the_less_loaded_is_chosen(loads in proptest::collection::vec(0_usize..5, 0..8), seed: u64) {
            let choice = two_choices(loads.len(), |place| loads[place], &mut Random::seeded(seed));
            prop_assert_eq!(choice.is_some(), !loads.is_empty());
            if let (Some(place), 2) = (choice, loads.len()) {
                prop_assert_eq!(loads[place], *loads.iter().min().unwrap());
            }
        }
    }
}
