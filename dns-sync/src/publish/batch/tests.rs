//! Messages are made of every write once, in the order of their phases, within the limits of a message.

use super::*;
use crate::publish::plan::WriteKind;
use proptest::prelude::*;

fn write(index: usize, phase: Phase, octets: usize) -> Write {
    Write {
        name: format!("h{index}.example.com").parse().unwrap(),
        object: None,
        kind: WriteKind::Replace,
        phase,
        prerequisites: Vec::new(),
        changes: Vec::new(),
        marker: None,
        octets,
    }
}

#[test]
fn a_phase_waits_for_the_one_before_but_not_for_its_own() {
    let writes = vec![
        write(0, Phase::Add, MAX_UPDATE_OCTETS),
        write(1, Phase::Add, MAX_UPDATE_OCTETS),
        write(2, Phase::Swap, 100),
        write(3, Phase::Remove, 100),
    ];
    let mut round = Round::new(writes, &Isolation::default(), Instant::now());
    let first = round.next().unwrap();
    round.failed(&first);
    assert_eq!(round.next().map(|batch| batch.phase), Some(Phase::Add));
    assert_eq!(round.next(), None);
    assert!(round.has_failed());
}

#[test]
fn a_message_is_all_its_writes() {
    let mut one = write(0, Phase::Add, 10);
    one.prerequisites.push(super::super::update::Prerequisite::NameNotInUse(one.name.clone()));
    let other = write(1, Phase::Add, 10);
    let zone: Name = "example.com".parse().unwrap();
    let update = Batch { phase: Phase::Add, writes: vec![one.clone(), other] }.update(&zone);
    assert_eq!(update, Update { zone, prerequisites: one.prerequisites, changes: Vec::new() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_write_is_in_one_batch_of_its_phase_within_the_bounds(
        sizes in prop::collection::vec((0_usize..3, 1_usize..3000), 0..500),
    ) {
        let phases = [Phase::Add, Phase::Swap, Phase::Remove];
        let writes: Vec<Write> = sizes.iter().enumerate().map(|(i, (phase, size))| write(i, phases[*phase], *size)).collect();
        let batches: Vec<Batch> = Round::new(writes.clone(), &Isolation::default(), Instant::now()).collect();
        prop_assert!(batches.is_sorted_by_key(|batch| batch.phase));
        for batch in &batches {
            prop_assert!(!batch.writes.is_empty() && batch.writes.len() <= MAX_UPDATE_NAMES);
            prop_assert!(batch.writes.iter().map(|write| write.octets).sum::<usize>() <= MAX_UPDATE_OCTETS);
            prop_assert!(batch.writes.iter().all(|write| write.phase == batch.phase));
        }
        let mut sent: Vec<Write> = batches.into_iter().flat_map(|batch| batch.writes).collect();
        let mut all = writes;
        sent.sort_by_key(|write| write.name.clone());
        all.sort_by_key(|write| write.name.clone());
        prop_assert_eq!(sent, all);
    }
}
