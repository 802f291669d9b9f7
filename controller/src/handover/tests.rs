//! Handovers of one host, step by step and in random histories.

use super::*;
use proptest::prelude::*;

fn names(numbers: &[u8]) -> BTreeSet<Node> {
    numbers.iter().map(|number| format!("n{number}").into()).collect()
}

fn placed(numbers: &[u8], basis: Basis) -> HostPlacement {
    HostPlacement { nodes: names(numbers).into_iter().collect(), basis }
}

fn pattern() -> HostPattern {
    HostPattern::parse("video.example.com").unwrap()
}

/// One host and its clock.
struct Stage {
    handovers: Handovers,
    known: Vec<u8>,
    /// The nodes that stay although they are not Ready.
    kept: Vec<u8>,
    now: Duration,
}

impl Stage {
    fn new(known: &[u8]) -> Self {
        Self {
            handovers: Handovers::default(),
            known: known.to_vec(),
            kept: Vec::new(),
            now: Duration::from_secs(1000),
        }
    }

    fn step(&mut self, wanted: &[u8], able: &[u8], sight: Sight) -> BTreeSet<Node> {
        self.step_on(Basis::AllServices, wanted, able, sight)
    }

    fn step_on(&mut self, basis: Basis, wanted: &[u8], able: &[u8], sight: Sight) -> BTreeSet<Node> {
        self.placement(basis, wanted, able, sight).nodes.iter().cloned().collect()
    }

    fn placement(&mut self, basis: Basis, wanted: &[u8], able: &[u8], sight: Sight) -> HostPlacement {
        let able = names(able);
        let known = names(&self.known);
        let wanted = placed(wanted, basis);
        let kept = names(&self.kept);
        let judged = |node: &str| match () {
            () if kept.contains(node) => Judged::Kept,
            () if able.contains(node) => Judged::Answers,
            () => Judged::Lost,
        };
        self.handovers.settle(&pattern(), &wanted, || known, judged, sight, self.now)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

#[test]
fn the_new_node_is_seen_before_the_old_one_goes() {
    let mut stage = Stage::new(&[1]);
    assert_eq!(stage.step(&[1], &[1], Sight::Seen), names(&[1]));
    assert_eq!(stage.step(&[2], &[1, 2], Sight::Seen), names(&[1, 2]));
    assert_eq!(stage.step(&[2], &[1, 2], Sight::Awaited), names(&[1, 2]));
    assert_eq!(stage.handovers.leaving(&pattern()).count(), 1);
    assert_eq!(stage.step(&[2], &[1, 2], Sight::Seen), names(&[2]));
    assert_eq!((stage.handovers.next_due(), stage.handovers.leaving(&pattern()).count()), (None, 0));
}

#[test]
fn a_node_that_cannot_answer_goes_at_once() {
    let mut stage = Stage::new(&[1]);
    assert_eq!(stage.step(&[2], &[2], Sight::Awaited), names(&[2]));
    let mut stage = Stage::new(&[1]);
    assert_eq!(stage.step(&[2], &[1, 2], Sight::Awaited), names(&[1, 2]));
    assert_eq!(stage.step(&[2], &[2], Sight::Awaited), names(&[2]), "also in the middle");
}

#[test]
fn a_node_goes_at_once_where_nothing_new_takes_its_place() {
    let mut stage = Stage::new(&[1, 2, 3]);
    assert_eq!(stage.step(&[1, 2], &[1, 2, 3], Sight::Awaited), names(&[1, 2]));
}

#[test]
fn nobody_waits_for_ever() {
    for (sight, bound) in [(Sight::Awaited, HANDOVER_SEEN), (Sight::Blind, HANDOVER_BLIND)] {
        let mut stage = Stage::new(&[1]);
        stage.step(&[2], &[1, 2], sight);
        assert_eq!(stage.handovers.next_due(), Some(stage.now + bound));
        stage.wait(bound);
        assert_eq!(stage.handovers.due(stage.now), [pattern()]);
        assert_eq!(stage.step(&[2], &[1, 2], sight), names(&[2]));
    }
    // Not even where another node comes each moment.
    let mut stage = Stage::new(&[1]);
    let begun = stage.now;
    let mut next = 2;
    while stage.step(&[next], &[1, next], Sight::Awaited).contains("n1") {
        next = if next == 2 { 3 } else { 2 };
        stage.wait(Duration::from_secs(1));
        assert!(stage.now <= begun + HANDOVER_LONGEST);
    }
}

#[test]
fn the_only_node_that_answers_stays_while_others_could_only_refuse() {
    let mut stage = Stage::new(&[1]);
    assert_eq!(stage.step_on(Basis::NoReadyPods, &[2, 3], &[1], Sight::Seen), names(&[1]));
    assert_eq!(stage.step(&[2], &[1, 2], Sight::Seen), names(&[1, 2]), "until another does");
    let mut stage = Stage::new(&[1]);
    stage.step_on(Basis::NoReadyPods, &[2, 3], &[1], Sight::Seen);
    assert_eq!(stage.step_on(Basis::NoReadyPods, &[2, 3], &[], Sight::Seen), names(&[2, 3]), "or it does no more");
    let mut stage = Stage::new(&[1]);
    stage.step_on(Basis::NoReadyPods, &[2, 3], &[1], Sight::Seen);
    stage.wait(HANDOVER_LONGEST);
    assert_eq!(stage.step_on(Basis::NoReadyPods, &[2, 3], &[1], Sight::Seen), names(&[2, 3]), "or for too long");
}

#[test]
fn nodes_that_stay_because_they_alone_answer_are_not_told_as_nodes_without_pods() {
    let mut stage = Stage::new(&[1]);
    stage.step(&[1], &[1], Sight::Seen);
    let draining = |stage: &mut Stage| stage.placement(Basis::NoReadyPods, &[2, 3], &[1], Sight::Seen);
    assert_eq!(draining(&mut stage), placed(&[1], Basis::Terminating));
    assert_eq!(draining(&mut stage), placed(&[1], Basis::Terminating), "for as long as it lasts");
    let mut restarted = Stage::new(&[1]);
    assert_eq!(draining(&mut restarted), placed(&[1], Basis::Terminating), "nor by a new process");
    stage.wait(HANDOVER_LONGEST);
    assert_eq!(draining(&mut stage), placed(&[2, 3], Basis::NoReadyPods), "those that take over can only refuse");
}

#[test]
fn a_node_that_fails_again_and_again_comes_back_later_and_later() {
    let mut stage = Stage::new(&[1, 2]);
    let mut waits = Vec::new();
    for _ in 0..6 {
        assert_eq!(stage.step(&[1], &[1], Sight::Seen), names(&[1]), "a failure is never damped");
        let gone_at = stage.now;
        while !stage.step(&[1, 2], &[1, 2], Sight::Seen).contains("n2") {
            let due = stage.handovers.next_due().unwrap();
            assert!(due > stage.now);
            stage.now = due;
        }
        waits.push(stage.now - gone_at);
    }
    let zero = Duration::ZERO;
    assert_eq!(waits, [zero, zero, zero, FLAP_PAUSE, FLAP_PAUSE * 2, FLAP_PAUSE * 4]);
    stage.step(&[1], &[1], Sight::Seen);
    assert_eq!(stage.step(&[2], &[2], Sight::Seen), names(&[2]), "not where nobody else answers");
    stage.wait(FLAP_WINDOW);
    stage.step(&[1], &[1], Sight::Seen);
    assert_eq!(stage.step(&[1, 2], &[1, 2], Sight::Seen), names(&[1, 2]), "and in the end it is forgiven");
}

#[test]
fn what_dns_names_is_where_a_new_process_begins() {
    let mut stage = Stage::new(&[1, 2]);
    assert_eq!(stage.step(&[2], &[1, 2], Sight::Awaited), names(&[2]), "2 is in DNS already");
    let mut stage = Stage::new(&[]);
    assert_eq!(stage.step(&[2, 3], &[1, 2, 3], Sight::Blind), names(&[2, 3]));
}

#[test]
fn a_node_that_is_kept_stays_where_it_is_published_and_only_there() {
    let mut stage = Stage::new(&[1, 2]);
    stage.step(&[1, 2], &[1, 2], Sight::Seen);
    stage.kept = vec![2, 3];
    assert_eq!(stage.step(&[1], &[1], Sight::Seen), names(&[1, 2]), "3 was not published");
    stage.wait(HANDOVER_LONGEST);
    assert_eq!(stage.step(&[1], &[1], Sight::Seen), names(&[1, 2]), "a handover does not end it");
    assert_eq!(stage.step_on(Basis::NoReadyPods, &[1, 4], &[], Sight::Seen), names(&[2]), "others could only refuse");
    stage.kept.clear();
    assert_eq!(stage.step_on(Basis::NoReadyPods, &[1, 4], &[], Sight::Seen), names(&[1, 4]));
    assert_eq!(stage.step(&[1], &[1], Sight::Seen), names(&[1]));
}

#[test]
fn a_node_whose_pods_were_lost_a_moment_before_it_comes_back_to_be_kept() {
    let mut stage = Stage::new(&[1, 2]);
    stage.step(&[1, 2], &[1, 2], Sight::Seen);
    assert_eq!(stage.step(&[1], &[1], Sight::Seen), names(&[1]));
    stage.kept = vec![2];
    assert_eq!(stage.handovers.on(&names(&[2])).count(), 1);
    assert_eq!(stage.step(&[1], &[1], Sight::Seen), names(&[1, 2]));
    let mut stage = Stage::new(&[1, 2]);
    stage.step(&[1], &[1], Sight::Seen);
    stage.wait(LOST_TOGETHER);
    stage.kept = vec![2];
    assert_eq!(stage.step(&[1], &[1], Sight::Seen), names(&[1]), "long before is another matter");
}

#[test]
fn where_all_nodes_are_kept_nothing_changes() {
    let mut stage = Stage::new(&[1, 2]);
    stage.kept = vec![1, 2];
    assert_eq!(
        stage.step_on(Basis::NoReadyRouter, &[], &[], Sight::Blind),
        names(&[]),
        "nothing is known of the host yet"
    );
    assert_eq!(stage.step(&[1, 2], &[1, 2], Sight::Seen), names(&[1, 2]));
    assert_eq!(stage.step_on(Basis::NoReadyRouter, &[], &[], Sight::Seen), names(&[1, 2]));
    stage.kept = vec![2];
    assert_eq!(stage.step_on(Basis::NoReadyRouter, &[], &[], Sight::Seen), names(&[2]), "what does not answer goes");
    stage.kept.clear();
    assert_eq!(
        stage.step_on(Basis::NoReadyRouter, &[], &[], Sight::Seen),
        names(&[]),
        "and the planner holds the last"
    );
}

proptest! {
    #[test]
    fn a_host_is_never_without_an_answer_and_ends_where_it_should_be(
        known in proptest::collection::vec(1_u8..5, 0..4),
        steps in proptest::collection::vec(
            (
                proptest::collection::btree_set(1_u8..5, 1..4),
                proptest::collection::btree_set(1_u8..5, 0..5),
                0_u8..3,
                0_u64..100,
                any::<bool>(),
            ),
            1..40,
        ),
    ) {
        let mut stage = Stage::new(&known);
        let mut before = names(&known);
        for (wanted, able, sight, pause, pods) in steps {
            stage.wait(Duration::from_secs(pause));
            let sight = [Sight::Seen, Sight::Awaited, Sight::Blind][usize::from(sight)];
            // Whoever is wanted on account of its pods answers.
            let basis = if pods { Basis::AllServices } else { Basis::NoReadyPods };
            let wanted: Vec<u8> = wanted.into_iter().collect();
            let able: Vec<u8> = if pods { wanted.iter().copied().chain(able).collect() } else { able.into_iter().collect() };
            let placement = stage.placement(basis, &wanted, &able, sight);
            let given: BTreeSet<Node> = placement.nodes.iter().cloned().collect();
            prop_assert!(!given.is_empty());
            if placement.basis == Basis::NoReadyPods {
                prop_assert!(given.is_subset(&names(&wanted)), "a node that stays on account of its pods is told as one without");
            }
            for node in given.difference(&names(&wanted)) {
                prop_assert!(names(&able).contains(node), "{node} cannot answer");
                prop_assert!(before.contains(node), "{node} was not published and is not wanted");
            }
            before = given;
            // With nothing but time, it ends at the placement, and in bounded time.
            let limit = stage.now + HANDOVER_LONGEST.max(FLAP_LONGEST);
            let saved = stage.now;
            if pause % 7 == 0 {
                while before != names(&wanted) {
                    let due = stage.handovers.next_due();
                    prop_assert!(due.is_some_and(|due| due > stage.now && due <= limit), "{due:?}");
                    stage.now = due.unwrap_or(limit);
                    before = stage.step_on(basis, &wanted, &able, Sight::Awaited);
                }
            }
            prop_assert!(stage.now >= saved);
        }
    }
}
