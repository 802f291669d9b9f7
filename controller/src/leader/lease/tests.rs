//! Tests of the election, against an API server that is nothing but compare-and-swap.

use super::*;
use proptest::prelude::*;

const START: Duration = Duration::from_secs(1000);

fn seen(holder: &str, renewed: &str) -> Observed {
    Observed {
        version: renewed.into(),
        holder: holder.into(),
        transitions: 3,
        acquired: "2026-01-01T00:00:00Z".into(),
        renewed: renewed.into(),
        duration: DURATION,
    }
}

#[test]
fn a_lease_that_nobody_holds_is_taken() {
    let mut election = Election::new("a");
    election.learn(None, START);
    assert!(matches!(election.decide(START), Action::Create(claim) if claim.version.is_none() && claim.holder == "a"));
    election.learn(Some(seen("", "1")), START);
    let Action::Update(claim) = election.decide(START) else { panic!("waits for a released Lease") };
    assert_eq!((claim.version.as_deref(), claim.transitions), (Some("1"), 4));
}

#[test]
fn a_renewal_keeps_the_time_of_acquisition_and_the_count() {
    let mut election = Election::new("a");
    election.learn(Some(seen("a", "1")), START);
    let Action::Update(claim) = election.decide(START) else { panic!("does not renew") };
    assert_eq!((claim.transitions, claim.acquired.as_str()), (3, "2026-01-01T00:00:00Z"));
}

#[test]
fn a_follower_waits_from_the_last_change_that_it_saw_itself() {
    let mut election = Election::new("a");
    election.learn(Some(seen("b", "1")), START);
    election.learn(Some(seen("b", "1")), START + Duration::from_secs(8));
    assert_eq!(election.decide(START + Duration::from_secs(14)), Action::Wait);
    let mut renewed = election.clone();
    renewed.learn(Some(seen("b", "2")), START + Duration::from_secs(14));
    assert_eq!(renewed.decide(START + Duration::from_secs(20)), Action::Wait);
    assert!(matches!(election.decide(START + DURATION), Action::Update(_)));
}

#[test]
fn leadership_ends_by_the_clock_and_by_a_foreign_holder() {
    let mut election = Election::new("a");
    election.learn(Some(seen("a", "1")), START);
    assert!(!election.leads(START), "a Lease of our name is not won by reading it");
    election.won(START);
    assert!(election.leads(START + DEADLINE - Duration::from_millis(1)));
    assert!(!election.leads(START + DEADLINE));
    election.learn(Some(seen("b", "2")), START + Duration::from_secs(1));
    assert!(!election.leads(START + Duration::from_secs(1)));
    assert_eq!(election.release(), None);
}

#[test]
fn only_a_leader_releases() {
    let mut election = Election::new("a");
    election.learn(Some(seen("a", "1")), START);
    assert_eq!(election.release(), None);
    election.won(START);
    let claim = election.release().unwrap();
    assert_eq!((claim.holder.as_str(), claim.version.as_deref()), ("", Some("1")));
    assert!(!election.leads(START));
}

/// A candidate whose requests take time: a look, and then a write that reaches the server later and whose answer arrives
/// later still, if at all.
struct Process {
    election: Election,
    /// How far its clock is ahead of the others'.
    skew: Duration,
    looked: Option<(Option<Observed>, Duration)>,
    sent: Option<(Action, Duration)>,
    answered: Option<(Option<Observed>, Duration)>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Look,
    Send,
    Arrive,
    Answer,
    LoseAnswer,
    Release,
    Crash,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn never_two_leaders_under_any_interleaving(
        skews in proptest::collection::vec(0_u64..100_000, 3),
        steps in proptest::collection::vec(
            (0_usize..3, prop_oneof![
                8 => Just(Step::Look), 8 => Just(Step::Send), 8 => Just(Step::Arrive), 8 => Just(Step::Answer),
                2 => Just(Step::LoseAnswer), 1 => Just(Step::Release), 1 => Just(Step::Crash),
            ], 0_u64..6_000),
            1..300,
        ),
    ) {
        let mut server: Option<Observed> = None;
        let mut version = 0_u64;
        let mut clock = Duration::ZERO;
        let fresh = |place: usize, life: u64, skew: Duration| Process {
            election: Election::new(&format!("p{place}-{life}")),
            skew, looked: None, sent: None, answered: None,
        };
        let mut processes: Vec<Process> =
            skews.iter().enumerate().map(|(place, skew)| fresh(place, 0, Duration::from_secs(*skew))).collect();
        for (life, (place, step, pause)) in steps.into_iter().enumerate() {
            clock += Duration::from_millis(pause);
            let process = &mut processes[place];
            let now = clock + process.skew;
            match step {
                Step::Look => process.looked = Some((server.clone(), now)),
                Step::Send => if let Some((observed, at)) = process.looked.take() {
                    process.election.learn(observed, at);
                    process.sent = Some((process.election.decide(now), now));
                },
                Step::Arrive => if let Some((action, at)) = process.sent.take() {
                    let claim = match action {
                        Action::Wait => None,
                        Action::Create(claim) => server.is_none().then_some(claim),
                        Action::Update(claim) => {
                            let current = server.as_ref().map(|lease| lease.version.clone());
                            (current.is_some() && current == claim.version).then_some(claim)
                        }
                    };
                    if let Some(claim) = claim {
                        version += 1;
                        server = Some(Observed {
                            version: version.to_string(),
                            holder: claim.holder,
                            transitions: claim.transitions,
                            acquired: claim.acquired,
                            renewed: version.to_string(),
                            duration: claim.duration,
                        });
                        process.answered = Some((server.clone(), at));
                    }
                },
                Step::Answer => if let Some((observed, at)) = process.answered.take() {
                    process.election.learn(observed, at);
                    process.election.won(at);
                },
                Step::LoseAnswer => process.answered = None,
                Step::Release => if let Some(claim) = process.election.release() {
                    process.sent = Some((Action::Update(claim), now));
                    process.looked = None;
                    process.answered = None;
                },
                Step::Crash => {
                    let skew = process.skew;
                    *process = fresh(place, life as u64 + 1, skew);
                }
            }
            let leaders: Vec<&str> = processes.iter()
                .filter(|process| process.election.leads(clock + process.skew))
                .map(|process| process.election.identity.as_str())
                .collect();
            prop_assert!(leaders.len() <= 1, "{leaders:?} at {clock:?}");
        }
    }
}
