//! What is said of objects as facts and sightings come in.

use super::*;
use crate::publish::plan::Owner;
use crate::record::{Rrset, RrsetData, Ttl};
use crate::report::Statement;

struct World {
    progress: Progress,
    start: Instant,
    places: Vec<Place>,
}

fn zone() -> Name {
    "example.com".parse().unwrap()
}

fn host() -> Name {
    "a.example.com".parse().unwrap()
}

fn object() -> ObjectKey {
    ObjectKey { namespace: "router".into(), name: "a".into() }
}

fn wanted(generation: u64, last: u8, ttl: u16) -> DesiredName {
    let data = RrsetData::A(vec![[192, 0, 2, last].into()]);
    let sets = [(data.record_type(), Rrset { ttl: Ttl::constant(ttl), data })].into();
    DesiredName { sets, generation, object: object() }
}

impl World {
    /// Two servers that are updated, and a secondary.
    fn new() -> Self {
        let start = Instant::now();
        let place = |last: u8| Place { zone: zone(), server: ([127, 0, 0, last], 53).into() };
        let places: Vec<Place> = (1..4).map(place).collect();
        let updated = places.iter().cloned().zip([true, true, false]);
        let progress = Progress::new("prod-1", updated, start);
        Self { progress, start, places }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn want(&mut self, wanted: &DesiredName, seconds: u64) {
        let now = self.at(seconds);
        self.progress.intend(&zone(), &host(), Some(&Intent::Publish(wanted.clone())), now);
        self.progress.object(&object(), Some(i64::try_from(wanted.generation).unwrap()));
    }

    fn hear(&mut self, server: usize, event: NameEvent, seconds: u64) {
        let (at, place) = (self.at(seconds), self.places[server].clone());
        self.progress.hear(&Fact { at, place, event: Event::Name(host(), event) });
    }

    fn see(&mut self, server: usize, wanted: &DesiredName, outcome: Result<Vec<Difference>, Unseen>, seconds: u64) {
        let (now, place) = (self.at(seconds), self.places[server].clone());
        self.progress.saw(&place, &host(), &Arc::new(wanted.clone()), &outcome, now);
    }

    fn said(&mut self, seconds: u64) -> Statement {
        let now = self.at(seconds);
        self.progress.pass(now);
        self.progress.statements(now).remove(&object()).flatten().unwrap()
    }

    /// The conditions in short, such as `+Applied -Waiting -Waiting`.
    fn short(&mut self, seconds: u64) -> String {
        let said = self.said(seconds);
        let sign = |holds| if holds == Some(true) { '+' } else { '-' };
        let all: Vec<String> =
            said.conditions.iter().map(|told| format!("{}{}", sign(told.holds), told.reason)).collect();
        all.join(" ")
    }
}

#[test]
fn a_host_is_visible_when_every_server_answers_with_it_and_settled_when_older_answers_are_forgotten() {
    let mut stage = World::new();
    let first = wanted(1, 1, 30);
    stage.want(&first, 0);
    for server in [0, 1] {
        stage.hear(server, NameEvent::Differs(WriteKind::Create), 0);
        stage.see(server, &first, Ok(Vec::new()), 0);
    }
    assert!(!stage.said(0).visible, "what was not read back is not published");
    stage.hear(0, NameEvent::Applied { generation: 1 }, 1);
    assert_eq!(stage.short(1), "-Waiting -Waiting -Waiting");
    stage.hear(1, NameEvent::Applied { generation: 1 }, 1);
    assert_eq!(stage.short(1), "+Applied -Waiting -Waiting");
    stage.see(0, &first, Ok(Vec::new()), 2);
    stage.see(1, &first, Ok(Vec::new()), 2);
    stage.see(2, &first, Ok(vec![Difference::Missing(crate::record::RecordType::A)]), 2);
    assert_eq!(stage.short(2), "+Applied -Differs -Differs");
    let message = stage.said(2).conditions[1].message.clone();
    assert_eq!(message, "a.example.com: 127.0.0.3:53: it has no A");
    stage.see(2, &first, Ok(Vec::new()), 3);
    let said = stage.said(3);
    assert!(said.visible && said.generation == 1);
    assert_eq!(stage.short(67), "+Applied +Visible -Waiting");
    assert_eq!(stage.short(68), "+Applied +Visible +Settled", "nothing stood there before");
    let reached: Vec<Stage> = stage
        .progress
        .samples()
        .iter()
        .filter_map(|sample| match sample {
            Sample::Reached(stage, _) => Some(*stage),
            Sample::Drift(_) => None,
        })
        .collect();
    assert_eq!(reached, [Stage::Applied, Stage::Visible, Stage::Settled], "each once");

    let second = wanted(2, 2, 10);
    stage.want(&second, 100);
    assert_eq!(stage.short(100), "-Waiting -Waiting -Waiting");
    for server in [0, 1] {
        stage.hear(server, NameEvent::Applied { generation: 2 }, 100);
    }
    for server in 0..3 {
        stage.see(server, &first, Ok(Vec::new()), 100);
        assert!(!stage.said(100).visible, "that was about what stood there before");
        stage.see(server, &second, Ok(Vec::new()), 101);
    }
    assert!(stage.said(101).visible);
    assert_eq!(stage.short(101 + 94), "+Applied +Visible -Waiting", "the old TTL counts");
    assert_eq!(stage.short(101 + 95), "+Applied +Visible +Settled");
}

#[test]
fn a_server_that_is_silent_holds_a_host_back_for_ten_minutes_and_no_longer() {
    let mut stage = World::new();
    let wanted = wanted(1, 1, 30);
    stage.want(&wanted, 0);
    for server in [0, 1] {
        stage.hear(server, NameEvent::Applied { generation: 1 }, 0);
        stage.see(server, &wanted, Ok(Vec::new()), 0);
    }
    for seconds in [0, 300, 599, 700] {
        stage.see(2, &wanted, Err(Unseen::Timeout(Duration::from_secs(2))), seconds);
        let expected = if seconds < 600 { "+Applied -ServerDown -ServerDown" } else { "+Degraded +Degraded -Waiting" };
        assert_eq!(stage.short(seconds), expected, "{seconds}");
    }
    stage.see(2, &wanted, Ok(vec![Difference::NotAuthoritative]), 800);
    assert_eq!(stage.short(800), "+Applied -Differs -Differs", "it is back, and answers something else");
}

#[test]
fn what_stands_in_the_way_is_said_and_the_worst_first() {
    let mut stage = World::new();
    let wanted = wanted(1, 1, 30);
    stage.want(&wanted, 0);
    let owner = Owner::Cluster("other".into());
    let conflict = Conflict { name: host(), object: object(), owner };
    let place = stage.places[1].clone();
    let event = Event::Failed { failure: Failure::Refused, pause: Duration::from_secs(5) };
    stage.progress.hear(&Fact { at: stage.at(0), place: place.clone(), event });
    assert_eq!(stage.short(0), "-AuthFailed -AuthFailed -AuthFailed");
    stage.hear(0, NameEvent::Conflict(conflict), 0);
    assert_eq!(stage.short(0), "-Conflict -Conflict -Conflict");
    let message = stage.said(0).conditions[0].message.clone();
    assert_eq!(message, "a.example.com: 127.0.0.1:53: its marker is of the cluster \"other\"");
    stage.hear(0, NameEvent::Applied { generation: 1 }, 1);
    stage.progress.hear(&Fact { at: stage.at(1), place, event: Event::Reached });
    stage.hear(1, NameEvent::Applied { generation: 1 }, 1);
    assert_eq!(stage.short(1), "+Applied -Waiting -Waiting");
}

#[test]
fn a_name_that_is_changed_again_and_again_is_contested() {
    let mut stage = World::new();
    let wanted = wanted(1, 1, 30);
    stage.want(&wanted, 0);
    for round in 0..3 {
        for server in [0, 1] {
            stage.hear(server, NameEvent::Applied { generation: 1 }, round);
        }
        for server in 0..3 {
            stage.see(server, &wanted, Ok(Vec::new()), round);
        }
        assert!(stage.said(round).visible);
        stage.hear(0, NameEvent::Differs(WriteKind::Repair), round);
        assert!(!stage.said(round).visible);
    }
    assert_eq!(stage.short(3), "-Contested -Contested -Contested");
    let drifts = stage.progress.samples().iter().filter(|sample| matches!(sample, Sample::Drift(_))).count();
    assert_eq!(drifts, 3);
}

#[test]
fn of_an_object_whose_names_are_in_no_zone_of_ours_nothing_is_said() {
    let mut stage = World::new();
    stage.progress.object(&object(), Some(1));
    assert_eq!(stage.progress.statements(stage.at(0)), [(object(), None)].into());
}

#[test]
fn the_page_shows_each_name_on_each_server() {
    let mut stage = World::new();
    let wanted = wanted(7, 1, 30);
    stage.want(&wanted, 0);
    stage.hear(0, NameEvent::Applied { generation: 7 }, 2);
    stage.see(0, &wanted, Ok(Vec::new()), 3);
    stage.see(2, &wanted, Err(Unseen::Timeout(Duration::from_secs(2))), 3);
    let page = stage.progress.overview(stage.at(10));
    let [name] = page.names.as_slice() else { panic!("{page:?}") };
    assert_eq!((name.name.as_str(), name.object.as_deref()), ("a.example.com", Some("router/a")));
    let stages: Vec<(Stage, u64)> = name.servers.iter().map(|place| (place.stage, place.for_seconds)).collect();
    assert_eq!(stages, [(Stage::Visible, 7), (Stage::Unknown, 10), (Stage::Unknown, 10)]);
    assert_eq!(name.reason.as_deref(), Some("ServerDown"));
    assert_eq!(page.servers[2].up, Some(false));
}

#[test]
fn the_second_of_two_objects_that_ask_for_a_name_is_told_which_is_the_first() {
    let mut stage = World::new();
    let wanted = wanted(1, 1, 30);
    stage.want(&wanted, 0);
    let second = ObjectKey { namespace: "other".into(), name: "b".into() };
    stage.progress.object(&second, Some(4));
    stage.progress.share([(host(), vec![second.clone()])].into());
    let said = |stage: &mut World, seconds: u64| {
        let now = stage.at(seconds);
        stage.progress.pass(now);
        stage.progress.statements(now).remove(&second).flatten().unwrap()
    };
    assert!(!said(&mut stage, 0).visible);
    for server in [0, 1] {
        stage.hear(server, NameEvent::Applied { generation: 1 }, 1);
    }
    (0..3).for_each(|server| stage.see(server, &wanted, Ok(Vec::new()), 1));
    let told = said(&mut stage, 1);
    assert!(told.visible && told.generation == 4, "its records are there");
    let visible = &told.conditions[1];
    assert_eq!((visible.holds, visible.reason.as_str()), (Some(true), "Conflict"));
    assert!(visible.message.starts_with("a.example.com: DNSEndpoint router/a asks for it, too"), "{}", visible.message);
    assert_eq!(stage.short(1), "+Applied +Visible -Waiting", "the first is told nothing of it");
}

#[test]
fn what_is_left_out_without_a_loss_is_said_beside_what_is_visible() {
    let mut stage = World::new();
    let wanted = wanted(1, 1, 30);
    stage.want(&wanted, 0);
    let problem = |problem| Rejection { object: object(), field: "spec.endpoints[1].dnsName".into(), problem };
    stage.progress.rejected(&[problem(Problem::WildcardAlias("*--k3x7a.example.com".into()))].into());
    for server in [0, 1] {
        stage.hear(server, NameEvent::Applied { generation: 1 }, 1);
    }
    (0..3).for_each(|server| stage.see(server, &wanted, Ok(Vec::new()), 1));
    assert_eq!(stage.short(1), "+Applied +Visible -Waiting");
    let message = stage.said(1).conditions[1].message.clone();
    assert!(message.contains("spec.endpoints[1].dnsName: \"*--k3x7a.example.com\""), "{message}");
    stage.progress.rejected(&[problem(Problem::NoTarget)].into());
    assert_eq!(stage.short(2), "-Rejected -Rejected -Rejected");
}
