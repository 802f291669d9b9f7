//! What is told to the cluster, when, how often, and what is not told again.

use super::*;
use nearside_watch::object::PublicationCondition;
use proptest::prelude::*;

const LATER: Duration = Duration::from_secs(3600);

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "nearside".into(), name: name.into() }
}

fn observed(generation: i64) -> DnsEndpointStatus {
    DnsEndpointStatus { observed_generation: generation, ..DnsEndpointStatus::default() }
}

fn told(kind: &'static str, holds: bool) -> Told {
    Told { kind, holds: Some(holds), reason: "Some".into(), message: String::new() }
}

fn visible(generation: i64) -> Option<Statement> {
    let conditions = vec![told(DnsEndpointStatus::VISIBLE, true)];
    Some(Statement { generation, visible: true, conditions })
}

fn trouble(generation: i64, reason: &str) -> Option<Statement> {
    let told = Told { reason: reason.into(), ..told(DnsEndpointStatus::VISIBLE, false) };
    Some(Statement { generation, visible: false, conditions: vec![told] })
}

/// What a server holds after a write; `None` where it refuses it.
fn stored(status: &DnsEndpointStatus, observation: &Observation, keeps: bool) -> Option<DnsEndpointStatus> {
    let mut status = status.clone();
    if observation.visible {
        status.observed_generation = status.observed_generation.max(observation.generation);
    }
    if observation.previous.conditions != status.conditions {
        return None;
    }
    for told in &observation.conditions {
        status.conditions.retain(|condition| condition.kind != told.kind);
        status.conditions.push(PublicationCondition {
            kind: told.kind.into(),
            status: if told.holds == Some(true) { "True" } else { "False" }.into(),
            observed_generation: observation.generation,
            reason: told.reason.clone(),
            message: told.message.clone(),
            last_transition_time: String::new(),
        });
    }
    status.conditions.retain(|_| keeps);
    Some(status)
}

fn write(reports: &mut Reports, report: &Report, keeps: bool, now: Duration) -> DnsEndpointStatus {
    let status = stored(&report.observation.previous, &report.observation, keeps).unwrap();
    reports.ended(report, Ended::Done(status.clone()), now);
    reports.consider(now, || 0.0);
    status
}

#[test]
fn what_is_visible_is_told_once_and_what_is_not_is_not() {
    let mut reports = Reports::default();
    reports.saw(key("a"), 3, &observed(2));
    reports.saw(key("b"), 1, &observed(0));
    reports.saw(key("c"), 4, &observed(4));
    reports.tell(&key("a"), visible(3));
    reports.consider(Duration::ZERO, || 0.5);
    assert_eq!(reports.take(Duration::ZERO), None, "not before its moment");
    let report = reports.take(REPORT_SPREAD).unwrap();
    assert_eq!((report.key.name.as_str(), report.observation.generation, report.observation.visible), ("a", 3, true));
    let status = write(&mut reports, &report, true, REPORT_SPREAD);
    reports.saw(key("a"), 3, &status);
    reports.consider(REPORT_SPREAD, || 0.0);
    assert_eq!(reports.take(LATER), None);
}

#[test]
fn nothing_is_told_of_another_generation_than_the_object_has() {
    let mut reports = Reports::default();
    reports.saw(key("a"), 3, &observed(2));
    reports.tell(&key("a"), visible(2));
    reports.consider(Duration::ZERO, || 0.0);
    assert_eq!(reports.take(LATER), None);
}

#[test]
fn who_sees_that_another_replica_has_written_writes_nothing() {
    let mut reports = Reports::default();
    reports.saw(key("a"), 1, &observed(0));
    reports.tell(&key("a"), visible(1));
    reports.consider(Duration::ZERO, || 1.0);
    let observation = Observation {
        generation: 1,
        visible: true,
        conditions: visible(1).unwrap().conditions,
        previous: DnsEndpointStatus::default(),
    };
    reports.saw(key("a"), 1, &stored(&observed(0), &observation, true).unwrap());
    reports.consider(Duration::ZERO, || 0.0);
    assert_eq!(reports.take(LATER), None);
}

#[test]
fn where_conditions_are_dropped_the_number_alone_is_told() {
    let mut reports = Reports::default();
    let now = Duration::from_secs(1);
    for name in ["a", "b"] {
        reports.saw(key(name), 1, &observed(0));
    }
    reports.tell(&key("a"), visible(1));
    reports.consider(now, || 0.0);
    let report = reports.take(now).unwrap();
    assert_eq!(report.observation.conditions.len(), 1);
    write(&mut reports, &report, false, now);
    assert_eq!(reports.take(now + REPORT_PAUSE), None, "and not again and again");
    reports.tell(&key("b"), trouble(1, "Conflict"));
    reports.consider(now, || 0.0);
    assert_eq!(reports.take(now + REPORT_PAUSE), None, "there is no place for it");
    reports.tell(&key("b"), visible(1));
    reports.consider(now, || 0.0);
    let report = reports.take(now + REPORT_PAUSE).unwrap();
    assert!(report.observation.visible && report.observation.conditions.is_empty());
}

#[test]
fn trouble_is_told_where_it_lasts_and_not_too_often() {
    let mut reports = Reports::default();
    let start = Duration::from_secs(100);
    reports.saw(key("a"), 1, &observed(0));
    reports.tell(&key("a"), trouble(1, "ServerDown"));
    reports.consider(start, || 0.0);
    assert_eq!(reports.take(start), None);
    let report = reports.take(start + TROUBLE_AFTER).unwrap();
    write(&mut reports, &report, true, start + TROUBLE_AFTER);
    reports.tell(&key("a"), trouble(1, "Conflict"));
    reports.consider(start + TROUBLE_AFTER, || 0.0);
    assert_eq!(reports.take(start + TROUBLE_AFTER + REPORT_PAUSE / 2), None);
    assert!(reports.take(start + TROUBLE_AFTER + REPORT_PAUSE).is_some());
    reports.saw(key("b"), 1, &observed(0));
    reports.tell(&key("b"), trouble(1, "ServerDown"));
    reports.consider(start, || 0.0);
    reports.tell(&key("b"), visible(1));
    reports.consider(start, || 0.0);
    assert!(reports.take(start).unwrap().observation.visible, "what is waited for does not wait");
}

#[test]
fn a_write_that_fails_is_tried_again_later_and_with_the_newest_generation() {
    let mut reports = Reports::default();
    reports.saw(key("a"), 1, &observed(0));
    reports.tell(&key("a"), visible(1));
    reports.consider(Duration::ZERO, || 0.0);
    let report = reports.take(Duration::ZERO).unwrap();
    reports.saw(key("a"), 2, &observed(0));
    reports.tell(&key("a"), visible(2));
    reports.consider(Duration::ZERO, || 0.0);
    assert_eq!(reports.take(Duration::ZERO), None, "one write of an object at a time");
    reports.ended(&report, Ended::Failed, Duration::ZERO);
    assert_eq!(reports.take(Duration::ZERO), None);
    assert_eq!(reports.take(FIRST_REPORT_RETRY).unwrap().observation.generation, 2);
}

#[test]
fn a_burst_is_spread_over_time() {
    let mut reports = Reports::default();
    for number in 0..1000 {
        reports.saw(key(&number.to_string()), 1, &observed(0));
        reports.tell(&key(&number.to_string()), visible(1));
    }
    reports.consider(Duration::ZERO, || 0.0);
    let at_once = std::iter::from_fn(|| reports.take(REPORT_SPREAD)).count();
    assert_eq!(at_once as f64, REPORT_BURST);
    let next = reports.next(REPORT_SPREAD).unwrap();
    assert!(reports.take(next - Duration::from_millis(1)).is_none());
    assert!(reports.take(next + Duration::from_millis(1)).is_some());
}

proptest! {
    /// Whatever happens, in the end the status of every object says what is to be said, no number falls, and nothing is
    /// written for what the status says already.
    #[test]
    fn in_the_end_the_status_says_what_is_to_be_said(
        steps in proptest::collection::vec((0_u8..7, 0_usize..3), 1..80),
        keeps in any::<bool>(),
    ) {
        let mut reports = Reports::default();
        let mut world = vec![(0_i64, DnsEndpointStatus::default()); 3];
        let mut flying: Vec<Report> = Vec::new();
        let mut now = Duration::ZERO;
        let name = |place: usize| key(&place.to_string());
        for (step, place) in steps {
            now += Duration::from_millis(70);
            match step {
                0 => {
                    world[place].0 += 1;
                    reports.saw(name(place), world[place].0, &world[place].1);
                }
                1 => reports.saw(name(place), world[place].0, &world[place].1),
                2 => reports.tell(&name(place), visible(world[place].0)),
                3 => reports.tell(&name(place), trouble(world[place].0, "Conflict")),
                4 => flying.extend(reports.take(now)),
                5 => if let Some(report) = flying.pop() {
                    let place: usize = report.key.name.parse().unwrap();
                    let status = if report.observation.generation == world[place].0 {
                        stored(&world[place].1, &report.observation, keeps)
                    } else {
                        None
                    };
                    let ended = match status {
                        Some(status) => {
                            prop_assert!(status.observed_generation >= world[place].1.observed_generation);
                            world[place].1 = status.clone();
                            Ended::Done(status)
                        }
                        None => Ended::Failed,
                    };
                    reports.ended(&report, ended, now);
                },
                _ => if let Some(report) = flying.pop() {
                    reports.ended(&report, Ended::Failed, now);
                },
            }
            reports.consider(now, || 0.5);
        }
        for report in flying {
            reports.ended(&report, Ended::Failed, now);
        }
        for (place, (generation, status)) in world.iter().enumerate() {
            reports.saw(name(place), *generation, status);
            reports.tell(&name(place), visible(*generation));
        }
        let mut writes = 0;
        for _ in 0..20 {
            now += Duration::from_secs(60);
            reports.consider(now, || 0.0);
            while let Some(report) = reports.take(now) {
                let place: usize = report.key.name.parse().unwrap();
                let status = stored(&world[place].1, &report.observation, keeps).unwrap();
                world[place].1 = status.clone();
                reports.ended(&report, Ended::Done(status), now);
                writes += 1;
            }
        }
        prop_assert!(writes <= 2 * world.len(), "{writes}");
        for (generation, status) in &world {
            prop_assert_eq!(status.observed_generation, *generation);
            let said = status.condition(DnsEndpointStatus::VISIBLE).is_some_and(|said| said.holds_for(*generation));
            prop_assert!(said || !keeps);
        }
    }
}
