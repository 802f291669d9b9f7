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

/// What happens next to a process.
#[derive(Clone, Copy, Debug)]
enum Step {
    Look,
    Send,
    Arrive,
    Answer,
    LoseAnswer,
    /// All of look, send, arrive and answer without delay, as it is nearly always.
    Round,
    Release,
    /// Another process takes its place.
    Crash,
}

/// The API server, which only compares and swaps.
#[derive(Default)]
struct Server {
    lease: Option<Observed>,
    version: u64,
}

impl Server {
    fn write(&mut self, action: Action) -> bool {
        let claim = match action {
            Action::Wait => None,
            Action::Create(claim) => self.lease.is_none().then_some(claim),
            Action::Update(claim) => {
                let current = self.lease.as_ref().map(|lease| lease.version.clone());
                (current.is_some() && current == claim.version).then_some(claim)
            }
        };
        let Some(claim) = claim else { return false };
        self.version += 1;
        self.lease = Some(Observed {
            version: self.version.to_string(),
            holder: claim.holder,
            transitions: claim.transitions,
            acquired: claim.acquired,
            renewed: self.version.to_string(),
            duration: claim.duration,
        });
        true
    }
}

impl Process {
    fn new(identity: &str, skew: Duration) -> Self {
        Self { election: Election::new(identity), skew, looked: None, sent: None, answered: None }
    }

    fn step(&mut self, step: Step, server: &mut Server, clock: Duration) {
        let now = clock + self.skew;
        match step {
            Step::Look => self.looked = Some((server.lease.clone(), now)),
            Step::Send => {
                if let Some((observed, at)) = self.looked.take() {
                    self.election.learn(observed, at);
                    self.sent = Some((self.election.decide(now), now));
                }
            }
            Step::Arrive => {
                if let Some((action, at)) = self.sent.take()
                    && server.write(action)
                {
                    self.answered = Some((server.lease.clone(), at));
                }
            }
            Step::Answer => {
                if let Some((observed, at)) = self.answered.take() {
                    let ours = observed.as_ref().is_some_and(|lease| lease.holder == self.election.identity);
                    self.election.learn(observed, at);
                    if ours {
                        self.election.won(at);
                    }
                }
            }
            Step::LoseAnswer => self.answered = None,
            Step::Round => {
                for step in [Step::Look, Step::Send, Step::Arrive, Step::Answer] {
                    self.step(step, server, clock);
                }
            }
            Step::Release => {
                if let Some(claim) = self.election.release() {
                    self.looked = None;
                    self.answered = None;
                    self.sent = Some((Action::Update(claim), now));
                }
            }
            Step::Crash => {
                let identity = format!("{}'", self.election.identity);
                *self = Self::new(&identity, self.skew);
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step, u64)>> {
    let step = prop_oneof![
        20 => Just(Step::Round), 2 => Just(Step::Look), 2 => Just(Step::Send), 2 => Just(Step::Arrive),
        2 => Just(Step::Answer), 1 => Just(Step::LoseAnswer), 1 => Just(Step::Release), 1 => Just(Step::Crash),
    ];
    let pause = prop_oneof![6 => 0_u64..1_000, 1 => 4_000_u64..11_000, 2 => 14_000_u64..16_000];
    proptest::collection::vec((0_usize..3, step, pause), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]
    #[test]
    fn never_two_leaders_under_any_interleaving(
        skews in proptest::collection::vec(0_u64..100_000, 3),
        steps in steps(),
    ) {
        let mut server = Server::default();
        let mut clock = Duration::ZERO;
        let mut processes: Vec<Process> = skews
            .iter()
            .enumerate()
            .map(|(place, skew)| Process::new(&format!("p{place}"), Duration::from_secs(*skew)))
            .collect();
        for (place, step, pause) in steps {
            clock += Duration::from_millis(pause);
            processes[place].step(step, &mut server, clock);
            let leaders: Vec<&str> = processes.iter()
                .filter(|process| process.election.leads(clock + process.skew))
                .map(|process| process.election.identity.as_str())
                .collect();
            prop_assert!(leaders.len() <= 1, "{leaders:?} at {clock:?}");
        }
    }
}
