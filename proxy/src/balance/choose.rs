//! One choice among candidates: the method, weights and loads flow in, the place of the chosen one flows out.

use super::random::{Random, mix};
use super::rotation::Rotation;

/// An endpoint that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Tells the endpoint from every other one of this process.
    pub(crate) endpoint: u64,
    /// The place of its Service among those of the route.
    pub(crate) service: usize,
    /// Its share of the requests.
    pub(crate) weight: i64,
    /// Requests that it is busy with.
    pub(crate) in_flight: usize,
    /// Of its address, the same in every process.
    pub(crate) hash: u64,
}

/// How to choose for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Whose turn it is.
    RoundRobin,
    /// The least busy one for its weight; by turns among equals.
    LeastConnections,
    /// A Service by weight, then the less busy of two of its endpoints.
    Random,
    /// The one that this hash belongs to.
    Hash(u64),
}

/// Chooses; `None` if no candidate has weight.
pub(crate) fn choose(
    method: Method,
    candidates: &[Candidate],
    rotation: &Rotation,
    random: &mut Random,
) -> Option<usize> {
    let all = candidates.iter().enumerate();
    match method {
        Method::RoundRobin => rotation.next(all),
        Method::LeastConnections => {
            let least = candidates.iter().filter(|one| one.weight > 0).min_by(|a, b| busier(a, b))?;
            rotation.next(all.filter(|(_, one)| busier(one, least).is_eq()))
        }
        Method::Random => {
            let first = weighted(all.clone(), random)?;
            let service = candidates[first].service;
            let others = all.filter(|(place, one)| *place != first && one.service == service);
            Some(match weighted(others, random) {
                Some(second) if busier(&candidates[second], &candidates[first]).is_lt() => second,
                _ => first,
            })
        }
        Method::Hash(key) => {
            let weighed = all.filter(|(_, one)| one.weight > 0);
            weighed.min_by(|(_, a), (_, b)| distance(key, a).total_cmp(&distance(key, b))).map(|(place, _)| place)
        }
    }
}

/// A hash of bytes that is the same in every process, so that a client keeps its pod over a restart of the proxy. Clients
/// who look for collisions only find the pod that others are on.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    // FNV-1a.
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Compares requests in flight for the weight, as HAProxy does: an idle endpoint is idle whatever its weight. Endpoints
/// without weight are only compared where there are no others.
fn busier(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let load = |one: &Candidate| if one.in_flight == 0 { 0 } else { one.in_flight as u128 + 1 };
    let weight = |one: &Candidate| u128::from(one.weight.unsigned_abs());
    (load(a) * weight(b)).cmp(&(load(b) * weight(a)))
}

fn weighted<'c>(
    candidates: impl Iterator<Item = (usize, &'c Candidate)> + Clone,
    random: &mut Random,
) -> Option<usize> {
    let weight = |one: &Candidate| usize::try_from(one.weight).unwrap_or_default();
    let total: usize = candidates.clone().map(|(_, one)| weight(one)).sum();
    if total == 0 {
        return None;
    }
    let mut left = random.below(total);
    for (place, one) in candidates {
        if left < weight(one) {
            return Some(place);
        }
        left -= weight(one);
    }
    None
}

/// Rendezvous hashing: each key has its own order of all endpoints, and the first of them that is there gets it. One that
/// goes leaves the keys of all others where they are. The logarithm makes shares follow the weights.
fn distance(key: u64, one: &Candidate) -> f64 {
    let bits = mix(mix(key).wrapping_add(one.hash));
    #[expect(clippy::cast_precision_loss, reason = "the bits are as many as a number holds, and weights are small")]
    let (fraction, weight) = (((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64, one.weight as f64);
    -fraction.ln() / weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(number: u64, weight: i64, in_flight: usize) -> Candidate {
        let hash = hash(format!("10.0.0.{number}:80").as_bytes());
        Candidate { endpoint: number, service: usize::from(number >= 10), weight, in_flight, hash }
    }

    fn shares(method: impl Fn(u64) -> Method, candidates: &[Candidate], count: u64) -> Vec<usize> {
        let (rotation, mut random) = (Rotation::default(), Random::seeded(1));
        let mut shares = vec![0; candidates.len()];
        for number in 0..count {
            shares[choose(method(number), candidates, &rotation, &mut random).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn random_choices_follow_the_weights_of_services_and_shun_the_busier_of_two() {
        let services = [candidate(1, 10, 0), candidate(10, 30, 99), candidate(2, 0, 0)];
        let chosen = shares(|_| Method::Random, &services, 40_000);
        assert!((9_400..10_600).contains(&chosen[0]), "load does not move the shares of Services: {chosen:?}");
        assert_eq!(chosen[2], 0);
        let pods = [candidate(1, 1, 5), candidate(2, 1, 0), candidate(3, 1, 0), candidate(4, 1, 9)];
        let chosen = shares(|_| Method::Random, &pods, 10_000);
        assert_eq!(chosen[3], 0, "the busiest loses every pair");
        assert!(chosen[1] > 3_000 && chosen[2] > 3_000, "{chosen:?}");
    }

    #[test]
    fn the_fewest_connections_for_the_weight_win_and_equals_take_turns() {
        let loads = [candidate(1, 1, 1), candidate(2, 4, 3), candidate(3, 1, 2), candidate(4, 0, 0)];
        assert_eq!(shares(|_| Method::LeastConnections, &loads, 3), [0, 3, 0, 0], "3 of weight 4 is less than 1 of 1");
        let equal = [candidate(1, 1, 0), candidate(2, 1, 0), candidate(3, 1, 7)];
        assert_eq!(shares(|_| Method::LeastConnections, &equal, 10), [5, 5, 0]);
    }

    #[test]
    fn hashed_keys_spread_by_weight() {
        let chosen = shares(Method::Hash, &[candidate(1, 1, 0), candidate(2, 3, 0), candidate(3, 0, 0)], 40_000);
        assert!((9_400..10_600).contains(&chosen[0]) && chosen[2] == 0, "{chosen:?}");
    }

    fn hashed(key: u64, candidates: &[Candidate]) -> Option<u64> {
        let place = choose(Method::Hash(key), candidates, &Rotation::default(), &mut Random::seeded(1));
        place.map(|place| candidates[place].endpoint)
    }

    proptest! {
        #[test]
        fn a_key_moves_only_where_its_endpoint_goes_or_to_one_that_came(key: u64, count in 1_u64..12, gone in 1_u64..12) {
            let before: Vec<Candidate> = (1..=count).map(|number| candidate(number, 1, 0)).collect();
            let after: Vec<Candidate> = before.iter().filter(|one| one.endpoint != gone).cloned().collect();
            let (first, second) = (hashed(key, &before), hashed(key, &after));
            prop_assert!(second == first || first == Some(gone), "{:?} became {:?}", first, second);
            let shuffled: Vec<Candidate> = before.iter().rev().cloned().collect();
            prop_assert_eq!(first, hashed(key, &shuffled), "the order in a list says nothing");
        }

        #[test]
        fn a_place_is_chosen_exactly_where_a_weight_is(
            weights in proptest::collection::vec((0_i64..=256, 0_usize..4), 0..8), key: u64,
        ) {
            let candidates: Vec<Candidate> =
                (0..).zip(&weights).map(|(number, (weight, load))| candidate(number, *weight, *load)).collect();
            for method in [Method::RoundRobin, Method::LeastConnections, Method::Random, Method::Hash(key)] {
                let choice = choose(method, &candidates, &Rotation::default(), &mut Random::seeded(key));
                prop_assert_eq!(choice.is_some(), weights.iter().any(|(weight, _)| *weight > 0), "{:?}", method);
                prop_assert!(choice.is_none_or(|place| weights[place].0 > 0), "{:?}", method);
            }
        }
    }
}
