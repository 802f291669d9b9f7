//! Turns: candidates with weights flow in, whose turn it is flows out. Exact: in a run of as many requests as the sum of
//! the weights each candidate gets as many as its weight, spread over the run (the smooth weighted round robin of nginx).
//! The turns are of one route and outlive tables, so neither a new table nor a new connection starts from the first pod.

use super::Candidate;
use std::sync::{Mutex, PoisonError};

/// Whose turn it is on one route.
#[derive(Debug, Default)]
pub(crate) struct Rotation(Mutex<Vec<Turn>>);

/// Of one endpoint. The list is sorted by endpoint.
#[derive(Debug)]
struct Turn {
    endpoint: u64,
    /// How much of its share the endpoint has not had yet; less than nothing where it has had more.
    owed: i64,
}

impl Rotation {
    /// The place of the candidate whose turn it is; `None` if none has weight.
    pub(crate) fn next<'c>(&self, candidates: impl Iterator<Item = (usize, &'c Candidate)> + Clone) -> Option<usize> {
        let candidates = candidates.filter(|(_, candidate)| candidate.weight > 0);
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, candidate) in candidates.clone() {
            if let Err(at) = turns.binary_search_by_key(&candidate.endpoint, |turn| turn.endpoint) {
                turns.insert(at, Turn { endpoint: candidate.endpoint, owed: 0 });
            }
        }
        let (mut total, mut count) = (0, 0);
        let mut next: Option<(usize, u64, i64)> = None;
        for (place, candidate) in candidates.clone() {
            let Some(turn) = turn(&mut turns, candidate.endpoint) else { continue };
            turn.owed += candidate.weight;
            total += candidate.weight;
            count += 1;
            if next.is_none_or(|(_, _, most)| turn.owed > most) {
                next = Some((place, candidate.endpoint, turn.owed));
            }
        }
        let (place, endpoint, _) = next?;
        if let Some(turn) = turn(&mut turns, endpoint) {
            turn.owed -= total;
        }
        if turns.len() > count + AWAY {
            turns.retain(|turn| candidates.clone().any(|(_, candidate)| candidate.endpoint == turn.endpoint));
        }
        Some(place)
    }
}

fn turn(turns: &mut [Turn], endpoint: u64) -> Option<&mut Turn> {
    let at = turns.binary_search_by_key(&endpoint, |turn| turn.endpoint).ok()?;
    turns.get_mut(at)
}

/// Endpoints that are remembered while they cannot be chosen.
const AWAY: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(weights: &[(u64, i64)]) -> Vec<Candidate> {
        let candidate = |(endpoint, weight): &(u64, i64)| Candidate {
            endpoint: *endpoint,
            service: 0,
            weight: *weight,
            in_flight: 0,
            hash: 0,
        };
        weights.iter().map(candidate).collect()
    }

    fn turns(rotation: &Rotation, weights: &[(u64, i64)], count: usize) -> Vec<u64> {
        let candidates = candidates(weights);
        let next = || rotation.next(candidates.iter().enumerate()).unwrap();
        (0..count).map(|_| candidates[next()].endpoint).collect()
    }

    #[test]
    fn equal_candidates_take_turns_and_a_heavy_one_has_its_turns_spread() {
        let rotation = Rotation::default();
        assert_eq!(turns(&rotation, &[(1, 1), (2, 1), (3, 1)], 7), [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(turns(&Rotation::default(), &[(1, 5), (2, 1), (3, 1)], 7), [1, 1, 2, 1, 3, 1, 1]);
        assert_eq!(rotation.next(candidates(&[(1, 0)]).iter().enumerate()), None);
    }

    #[test]
    fn the_position_outlives_a_candidate_that_comes_or_goes() {
        let rotation = Rotation::default();
        assert_eq!(turns(&rotation, &[(1, 1), (2, 1), (3, 1)], 2), [1, 2]);
        assert_eq!(turns(&rotation, &[(1, 1), (2, 1), (3, 1), (4, 1)], 2), [3, 4], "not the first one again");
        let after = turns(&rotation, &[(1, 1), (4, 1)], 8);
        assert_eq!(after[4..], [4, 1, 4, 1], "what was owed is made up for within a round or two: {after:?}");
    }

    #[test]
    fn endpoints_of_the_past_are_forgotten() {
        let rotation = Rotation::default();
        for endpoint in 0..10_000 {
            turns(&rotation, &[(endpoint, 1), (endpoint + 1, 1)], 1);
        }
        assert!(rotation.0.lock().unwrap().len() <= 2 + AWAY);
    }

    proptest! {
        #[test]
        fn a_whole_round_gives_each_exactly_its_weight(weights in proptest::collection::vec(0_i64..20, 1..8)) {
            let weighted: Vec<(u64, i64)> = (0_u64..).zip(weights.iter().copied()).collect();
            let total: usize = weights.iter().map(|weight| usize::try_from(*weight).unwrap()).sum();
            if total > 0 {
                let chosen = turns(&Rotation::default(), &weighted, 2 * total);
                for (endpoint, weight) in weighted {
                    let count = chosen.iter().filter(|chosen| **chosen == endpoint).count();
                    prop_assert_eq!(count, 2 * usize::try_from(weight).unwrap());
                }
            }
        }
    }
}
