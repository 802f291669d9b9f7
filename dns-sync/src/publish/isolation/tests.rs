//! The name at fault is found by halves and left out, every other one is written.

use super::*;
use crate::publish::batch::Round;
use crate::publish::plan::{Phase, Write, WriteKind};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn name(index: usize) -> Name {
    format!("h{index}.example.com").parse().unwrap()
}

fn write(index: usize) -> Write {
    Write {
        name: name(index),
        object: None,
        kind: WriteKind::Create,
        phase: Phase::Add,
        prerequisites: Vec::new(),
        changes: Vec::new(),
        marker: None,
        octets: 300,
    }
}

/// A server that refuses every message with a name of `bad`, and a worker that sends all it has until nothing is left but
/// quarantined names. Returns those, and how many messages it took.
fn publish(count: usize, bad: &BTreeSet<usize>, failure: &Failure) -> (BTreeSet<Name>, usize) {
    let bad: BTreeSet<Name> = bad.iter().copied().map(name).collect();
    let now = Instant::now();
    let mut isolation = Isolation::default();
    let mut left: Vec<Write> = (0..count).map(write).collect();
    let mut messages = 0;
    for _ in 0..100 {
        let mut round = Round::new(left.clone(), &isolation, now);
        let mut sent = false;
        while let Some(batch) = round.next() {
            sent = true;
            messages += 1;
            let names: Vec<Name> = batch.names().cloned().collect();
            if names.iter().any(|name| bad.contains(name)) {
                if !matches!(isolation.failed(&names, failure, now), Consequence::Quarantined(..)) {
                    round.failed(&batch);
                }
            } else {
                isolation.applied(&names);
                left.retain(|write| !names.contains(&write.name));
            }
        }
        if !sent {
            break;
        }
    }
    assert_eq!(left.iter().map(|write| write.name.clone()).collect::<BTreeSet<_>>(), bad, "all others were written");
    (isolation.quarantined().map(|(name, _)| name.clone()).collect(), messages)
}

#[test]
fn one_bad_name_among_two_hundred_is_found_in_few_messages() {
    let (quarantined, messages) = publish(200, &[77].into(), &Failure::ServerFailure);
    assert_eq!(quarantined, [name(77)].into());
    assert!(messages <= 20, "{messages}");
}

#[test]
fn a_server_that_applies_nothing_is_ill_itself() {
    let mut isolation = Isolation::default();
    let now = Instant::now();
    for _ in 0..50 {
        assert_eq!(isolation.failed(&[name(1)], &Failure::ServerFailure, now), Consequence::Retry);
    }
    assert_eq!(isolation.group(&name(1), now), Some(1));
    isolation.applied(&[name(2)]);
    assert!(matches!(isolation.failed(&[name(1)], &Failure::ServerFailure, now), Consequence::Quarantined(..)));
}

#[test]
fn a_quarantined_name_comes_back_alone_after_a_time_that_grows() {
    let mut isolation = Isolation::default();
    let mut now = Instant::now();
    isolation.failed(&[name(1)], &Failure::NotZone, now);
    isolation.applied(&[name(2)]);
    isolation.failed(&[name(1)], &Failure::NotZone, now);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let Consequence::Quarantined(_, quarantine) = isolation.failed(&[name(1)], &Failure::NotZone, now) else {
            panic!("not quarantined");
        };
        assert_eq!(isolation.group(&name(1), now), None);
        assert_eq!(isolation.next(now), Some(quarantine.until));
        pauses.push(quarantine.pause.as_secs());
        now = quarantine.until;
        assert_eq!(isolation.group(&name(1), now), Some(1), "alone");
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    isolation.applied(&[name(1)]);
    assert_eq!(isolation.group(&name(1), now), Some(MAX_UPDATE_NAMES));
}

#[test]
fn a_wrong_key_is_no_fault_of_a_name() {
    let mut isolation = Isolation::default();
    let now = Instant::now();
    isolation.applied(&[name(2)]);
    for _ in 0..10 {
        assert_eq!(isolation.failed(&[name(1)], &Failure::Refused, now), Consequence::Retry);
    }
    assert_eq!(isolation.group(&name(1), now), Some(MAX_UPDATE_NAMES));
}

#[test]
fn a_message_that_is_too_large_is_halved_at_once() {
    let mut isolation = Isolation::default();
    let names: Vec<Name> = (0..10).map(name).collect();
    assert_eq!(isolation.failed(&names, &Failure::TooLarge, Instant::now()), Consequence::Divide);
    assert_eq!(isolation.group(&name(3), Instant::now()), Some(5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever names a server refuses, all others are written, and as soon as anything is, those are left out.
    #[test]
    fn all_but_the_bad_names_are_written(count in 1_usize..300, bad in prop::collection::btree_set(0_usize..300, 0..6)) {
        let bad: BTreeSet<usize> = bad.into_iter().filter(|index| *index < count).collect();
        let (quarantined, _) = publish(count, &bad, &Failure::Prerequisite("YXDOMAIN"));
        if bad.len() < count {
            prop_assert_eq!(quarantined, bad.into_iter().map(name).collect());
        }
    }
}
