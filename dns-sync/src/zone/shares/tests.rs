//! Shares against what they promise: how often each record is in, over many answers.

use super::*;
use proptest::prelude::*;

/// The step of the responder.
const GOLDEN_RATIO: u32 = 0x9e37_79b9;

fn places(selection: &Selection, total: usize) -> Vec<usize> {
    match selection {
        Selection::All { first } => (0..total).map(|place| (first + place) % total).collect(),
        Selection::Some(places) => places.iter().map(|place| usize::from(*place)).collect(),
    }
}

/// How often each record is in an answer, and comes first, over so many answers.
fn counts(shares: &Shares, total: usize, room: usize, answers: u32, step: u32) -> (Vec<u32>, Vec<u32>) {
    let (mut seen, mut firsts) = (vec![0; total], vec![0; total]);
    for answer in 0..answers {
        let places = places(&shares.choose(total, room, answer.wrapping_mul(step)), total);
        firsts[places[0]] += 1;
        places.into_iter().for_each(|place| seen[place] += 1);
    }
    (seen, firsts)
}

/// What systematic sampling is to give: shares in proportion to the weights, none above one, the rest shared again.
fn expected(weights: &[f64], room: usize) -> Vec<f64> {
    let mut always = vec![false; weights.len()];
    loop {
        let points = room as f64 - always.iter().filter(|always| **always).count() as f64;
        let sum: f64 = weights.iter().zip(&always).filter(|(_, always)| !**always).map(|(weight, _)| weight).sum();
        let shares: Vec<f64> = weights.iter().map(|weight| points * weight / sum).collect();
        match (0..weights.len()).find(|place| !always[*place] && shares[*place] > 1.0 + 1e-9) {
            Some(place) => always[place] = true,
            None => {
                return shares.iter().zip(&always).map(|(share, always)| if *always { 1.0 } else { *share }).collect();
            }
        }
    }
}

#[test]
fn without_weights_every_record_is_in_equally_often() {
    let shares = Shares::of(&vec![None; 200]);
    let (seen, firsts) = counts(&shares, 200, 8, 10_000, GOLDEN_RATIO);
    assert!(seen.iter().all(|seen| (390..=410).contains(seen)), "{seen:?}");
    assert!(firsts.iter().all(|first| (40..=60).contains(first)), "{firsts:?}");
}

#[test]
fn a_set_that_fits_is_given_whole_and_the_heavier_come_first_more_often() {
    let shares = Shares::of(&[Some(1), Some(1), Some(2)]);
    let (seen, firsts) = counts(&shares, 3, 29, 4000, GOLDEN_RATIO);
    assert_eq!(seen, [4000; 3]);
    assert!((firsts[2].abs_diff(2000)) < 40 && firsts[0].abs_diff(1000) < 40, "{firsts:?}");
}

#[test]
fn weights_are_kept_within_one_to_four() {
    let shares = Shares::of(&[Some(1000), Some(1), Some(0), None]);
    assert_eq!(shares.weights, [64, 16, 16, 22]);
    assert_eq!(Shares::of(&[Some(3), Some(3), None]), Shares::default());
    assert_eq!(Shares::of(&[Some(0), None]), Shares::default());
    assert_eq!(Shares::of(&[]), Shares::default());
}

proptest! {
    #[test]
    fn shares_follow_the_weights(
        pods in prop::collection::vec(prop::option::weighted(0.9, 0..50_u32), 1..120),
        room in 1..40_usize,
        // Of one host among many, every few answers.
        stride in 1..40_u32,
    ) {
        let shares = Shares::of(&pods);
        let weights: Vec<f64> = if shares.weights.is_empty() {
            vec![1.0; pods.len()]
        } else {
            shares.weights.iter().map(|weight| f64::from(*weight)).collect()
        };
        let answers = 4096;
        let (seen, _) = counts(&shares, pods.len(), room, answers, GOLDEN_RATIO.wrapping_mul(stride));
        let expected = if room >= pods.len() { vec![1.0; pods.len()] } else { expected(&weights, room) };
        for (seen, expected) in seen.iter().zip(&expected) {
            let share = f64::from(*seen) / f64::from(answers);
            // Each record can be reached, and none is in noticeably more or less often than is its due.
            prop_assert!(*seen > 0);
            prop_assert!((share - expected).abs() < 0.05, "{share} instead of {expected}");
        }
    }

    #[test]
    fn an_answer_holds_as_many_as_fit_and_none_twice(
        pods in prop::collection::vec(prop::option::of(any::<u32>()), 1..300),
        room in 1..130_usize,
        rotation in any::<u32>(),
    ) {
        let chosen = places(&Shares::of(&pods).choose(pods.len(), room, rotation), pods.len());
        prop_assert_eq!(chosen.len(), room.min(pods.len()));
        let distinct: std::collections::BTreeSet<usize> = chosen.iter().copied().collect();
        prop_assert_eq!(distinct.len(), chosen.len());
        prop_assert!(chosen.iter().all(|place| *place < pods.len()));
    }
}
