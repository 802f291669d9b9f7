//! The rules of the plan one by one: ownership, types that are ours, fences, adoption, what is left alone.

use super::*;
use crate::publish::intent::DesiredName;
use crate::publish::marker::digest;
use crate::publish::observed::{ObservedMarker, RecordSets};
use crate::record::{Rrset, RrsetData, Ttl};
use crate::testing::name;

const HOST: &str = "video.example.com";
const MARKER: &str = "video._nearside.example.com";

fn policy() -> ZonePolicy {
    ZonePolicy { origin: name("example.com"), cluster: "prod".into(), dedicated: false, adopt: BTreeSet::new() }
}

fn set(data: RrsetData) -> RecordSets {
    [(data.record_type(), Rrset { ttl: Ttl::constant(30), data })].into()
}

fn a(addresses: &[&str]) -> RecordSets {
    set(RrsetData::A(addresses.iter().map(|address| address.parse().unwrap()).collect()))
}

fn aaaa(address: &str) -> RecordSets {
    set(RrsetData::Aaaa(vec![address.parse().unwrap()]))
}

fn txt(text: &str) -> RecordSets {
    set(RrsetData::Txt(vec![vec![text.as_bytes().into()]]))
}

fn cname(target: &str) -> RecordSets {
    set(RrsetData::Cname(name(target)))
}

fn both(one: RecordSets, other: RecordSets) -> RecordSets {
    one.into_iter().chain(other).collect()
}

fn publish(generation: u64, sets: RecordSets) -> Intent {
    let object = ObjectKey { namespace: "router".into(), name: "video".into() };
    Intent::Publish(DesiredName { sets, generation, object })
}

fn marked(cluster: &str, generation: u64, sets: &RecordSets) -> ObservedMarker {
    ObservedMarker::Read(Marker::of(cluster, generation, sets))
}

/// Ours, as it was written.
fn ours(generation: u64, sets: RecordSets) -> Observed {
    Observed { marker: marked("prod", generation, &sets), sets, external_dns: None }
}

fn foreign(sets: RecordSets) -> Observed {
    Observed { sets, ..Observed::default() }
}

fn planned(policy: &ZonePolicy, host: &str, intent: Intent, observed: Observed) -> ZonePlan {
    plan(policy, &[(name(host), intent)].into(), &[(name(host), observed)].into(), &Lapsed::new())
}

fn write(plan: &ZonePlan) -> &Write {
    assert_eq!(plan.writes.len(), 1, "{plan:#?}");
    &plan.writes[0]
}

fn owner(plan: &ZonePlan) -> &Owner {
    assert!(plan.writes.is_empty(), "{plan:#?}");
    &plan.conflicts.values().next().unwrap_or_else(|| panic!("no conflict in {plan:#?}")).owner
}

#[test]
fn a_new_name_needs_a_name_and_a_marker_that_are_free() {
    let plan = planned(&policy(), HOST, publish(7, a(&["192.0.2.1"])), Observed::default());
    let write = write(&plan);
    assert_eq!((write.kind, write.phase), (WriteKind::Create, Phase::Add));
    assert_eq!(
        write.prerequisites,
        [Prerequisite::RrsetAbsent(name(MARKER), RecordType::Txt), Prerequisite::NameNotInUse(name(HOST)),]
    );
    let marker = Marker::of("prod", 7, &a(&["192.0.2.1"]));
    assert_eq!(
        write.changes,
        [
            Change::AddRrset(name(HOST), a(&["192.0.2.1"]).remove(&RecordType::A).unwrap()),
            Change::AddRrset(name(MARKER), marker.rrset()),
        ]
    );
    assert_eq!(write.marker, Some(marker));
}

#[test]
fn a_new_name_in_a_dedicated_zone_needs_only_the_absence_of_its_marker() {
    let policy = ZonePolicy { dedicated: true, ..policy() };
    let no_marker = [Prerequisite::RrsetAbsent(name(MARKER), RecordType::Txt)];
    let plan = planned(&policy, HOST, publish(7, a(&["192.0.2.1"])), Observed::default());
    assert_eq!(write(&plan).prerequisites, no_marker);
    let plan = planned(&policy, HOST, publish(7, a(&["192.0.2.1"])), foreign(both(aaaa("2001:db8::1"), txt("x"))));
    let write = write(&plan);
    assert_eq!((write.kind, &write.prerequisites[..]), (WriteKind::Adopt, &no_marker[..]));
    assert_eq!(write.changes[0], Change::DeleteRrset(name(HOST), RecordType::Aaaa));
    assert!(!write.changes.contains(&Change::DeleteRrset(name(HOST), RecordType::Txt)));
}

#[test]
fn the_apex_is_published_beside_what_always_stands_there() {
    let plan = planned(&policy(), "example.com", publish(7, a(&["192.0.2.1"])), foreign(txt("v=spf1 -all")));
    let write = write(&plan);
    assert!(!write.prerequisites.iter().any(|it| matches!(it, Prerequisite::NameNotInUse(_))));
    assert!(write.prerequisites.contains(&Prerequisite::RrsetAbsent(name("example.com"), RecordType::A)));
    let plan = planned(&policy(), "example.com", publish(7, a(&["192.0.2.1"])), foreign(aaaa("2001:db8::1")));
    assert_eq!(owner(&plan), &Owner::Records([RecordType::Aaaa].into()));
    let plan = planned(&policy(), "example.com", publish(7, cname("a.example")), Observed::default());
    assert_eq!(plan.unfit[&name("example.com")], Unfit::ApexAlias);
}

#[test]
fn what_is_right_is_not_written() {
    for held in [7, 6, 0] {
        let plan = planned(&policy(), HOST, publish(7, a(&["192.0.2.1"])), ours(held, a(&["192.0.2.1"])));
        assert_eq!(plan, ZonePlan { unchanged: [(name(HOST), Some(held))].into(), ..ZonePlan::default() });
    }
    // What a newer view wants too.
    let plan = planned(&policy(), HOST, publish(7, a(&["192.0.2.1"])), ours(9, a(&["192.0.2.1"])));
    assert_eq!(plan.unchanged[&name(HOST)], Some(9));
}

#[test]
fn a_replacement_is_bound_to_the_marker_and_touches_only_what_changes() {
    let was = both(both(a(&["192.0.2.1"]), aaaa("2001:db8::1")), txt("ours"));
    let mut observed = ours(6, was.clone());
    let wanted = both(a(&["192.0.2.1"]), aaaa("2001:db8::2"));
    let plan = planned(&policy(), HOST, publish(7, wanted.clone()), observed.clone());
    let held = Marker::of("prod", 6, &was);
    assert_eq!(write(&plan).kind, WriteKind::Replace);
    assert_eq!(write(&plan).prerequisites, [Prerequisite::RrsetEquals(name(MARKER), held.rrset())]);
    assert_eq!(
        write(&plan).changes,
        [
            Change::DeleteRrset(name(HOST), RecordType::Txt),
            Change::DeleteRrset(name(HOST), RecordType::Aaaa),
            Change::AddRrset(name(HOST), wanted[&RecordType::Aaaa].clone()),
            Change::DeleteRrset(name(MARKER), RecordType::Txt),
            Change::AddRrset(name(MARKER), Marker::of("prod", 7, &wanted).rrset()),
        ]
    );
    // The same text, but somebody else's: the marker does not name its type.
    let without = both(a(&["192.0.2.1"]), aaaa("2001:db8::1"));
    observed.marker = marked("prod", 6, &without);
    let plan = planned(&policy(), HOST, publish(7, wanted), observed);
    assert!(!write(&plan).changes.contains(&Change::DeleteRrset(name(HOST), RecordType::Txt)));
}

#[test]
fn another_ttl_is_a_change() {
    let mut was = a(&["192.0.2.1"]);
    was.values_mut().for_each(|rrset| rrset.ttl = Ttl::constant(0));
    let plan = planned(&policy(), HOST, publish(7, a(&["192.0.2.1"])), ours(7, was));
    assert_eq!((write(&plan).kind, write(&plan).phase), (WriteKind::Replace, Phase::Swap));
}

#[test]
fn what_somebody_changes_under_our_marker_is_repaired() {
    let wanted = a(&["192.0.2.1"]);
    for (held, changed) in [
        (7, a(&["192.0.2.9"])),
        (7, RecordSets::new()),
        (7, cname("elsewhere.example")),
        (7, both(wanted.clone(), aaaa("2001:db8::9"))),
        // Also where a newer view has written it: what it wanted is what we want.
        (9, a(&["192.0.2.9"])),
    ] {
        let observed = Observed { sets: changed, ..ours(held, wanted.clone()) };
        let plan = planned(&policy(), HOST, publish(7, wanted.clone()), observed);
        let write = write(&plan);
        assert_eq!(write.kind, WriteKind::Repair);
        assert_eq!(write.marker.as_ref().unwrap().generation, held);
        assert!(write.changes.iter().all(|change| match change {
            Change::DeleteRrset(at, _) | Change::AddRrset(at, _) => *at == name(HOST),
        }));
    }
    // Foreign text and HTTPS records do no harm.
    let observed = Observed { sets: both(wanted.clone(), txt("verification")), ..ours(7, wanted.clone()) };
    assert!(planned(&policy(), HOST, publish(7, wanted), observed).writes.is_empty());
}

#[test]
fn a_newer_view_is_not_overwritten_before_its_fence_lapses() {
    let intents = BTreeMap::from([(name(HOST), publish(7, a(&["192.0.2.1"])))]);
    let withdrawal = BTreeMap::from([(name(HOST), Intent::Withdraw { generation: 7 })]);
    let observed = BTreeMap::from([(name(HOST), ours(9, a(&["192.0.2.2"])))]);
    for lapsed in [Lapsed::new(), [(name(HOST), 8)].into()] {
        for intents in [&intents, &withdrawal] {
            let plan = plan(&policy(), intents, &observed, &lapsed);
            assert!(plan.writes.is_empty());
            assert_eq!(plan.stale[&name(HOST)], Stale { ours: 7, theirs: 9 });
        }
    }
    for (intents, kind) in [(&intents, WriteKind::Replace), (&withdrawal, WriteKind::Delete)] {
        assert_eq!(write(&plan(&policy(), intents, &observed, &[(name(HOST), 9)].into())).kind, kind);
    }
}

#[test]
fn what_is_not_ours_is_a_conflict_that_names_its_owner() {
    let heritage = Observed { external_dns: Some("default".into()), ..foreign(a(&["192.0.2.1"])) };
    let other = Observed { marker: marked("stage", 1, &a(&["192.0.2.1"])), ..foreign(a(&["192.0.2.1"])) };
    let text = Observed { marker: ObservedMarker::Foreign(Vec::new()), ..Observed::default() };
    for (observed, expected) in [
        (foreign(a(&["192.0.2.1"])), Owner::Records([RecordType::A].into())),
        (foreign(cname("elsewhere.example")), Owner::Records([RecordType::Cname].into())),
        (foreign(txt("verification")), Owner::Records([RecordType::Txt].into())),
        (heritage, Owner::ExternalDns("default".into())),
        (other, Owner::Cluster("stage".into())),
        (text, Owner::Text),
    ] {
        let plan = planned(&policy(), HOST, publish(7, a(&["192.0.2.1"])), observed.clone());
        assert_eq!(owner(&plan), &expected);
        // There is nothing of ours to withdraw.
        let plan = planned(&policy(), HOST, Intent::Withdraw { generation: 7 }, observed);
        assert!(plan.writes.is_empty() && plan.conflicts.is_empty());
    }
    let text = planned(&policy(), HOST, publish(7, a(&["192.0.2.1"])), foreign(aaaa("2001:db8::1")));
    assert_eq!(
        text.conflicts[&name(HOST)].to_string(),
        "\"video.example.com\" is not ours to write: records without a marker stand there (AAAA)"
    );
}

#[test]
fn text_of_others_beside_ours_stays_and_is_not_mixed_with_ours() {
    let observed = Observed { sets: both(a(&["192.0.2.1"]), txt("theirs")), ..ours(6, a(&["192.0.2.1"])) };
    let plan = planned(&policy(), HOST, publish(7, both(a(&["192.0.2.1"]), txt("ours"))), observed.clone());
    assert_eq!(owner(&plan), &Owner::Beside([RecordType::Txt].into()));
    // A CNAME would be ignored beside it (RFC 2136 §3.4.2.2).
    let plan = planned(&policy(), HOST, publish(7, cname("pool.example")), observed);
    assert_eq!(owner(&plan), &Owner::Beside([RecordType::Txt].into()));
}

#[test]
fn only_a_listed_name_is_taken_over_and_only_as_it_was_read() {
    let policy = ZonePolicy { adopt: [name(HOST)].into(), ..policy() };
    let theirs = both(a(&["192.0.2.9"]), txt("theirs"));
    let plan =
        planned(&policy, HOST, publish(7, both(a(&["192.0.2.1"]), aaaa("2001:db8::1"))), foreign(theirs.clone()));
    assert_eq!(write(&plan).kind, WriteKind::Adopt);
    assert_eq!(
        write(&plan).prerequisites,
        [
            Prerequisite::RrsetAbsent(name(MARKER), RecordType::Txt),
            Prerequisite::RrsetEquals(name(HOST), theirs[&RecordType::A].clone()),
            Prerequisite::RrsetAbsent(name(HOST), RecordType::Aaaa),
        ]
    );
    assert!(!write(&plan).changes.contains(&Change::DeleteRrset(name(HOST), RecordType::Txt)));
    let other = Observed { marker: marked("stage", 90, &a(&["192.0.2.9"])), ..foreign(a(&["192.0.2.9"])) };
    let plan = planned(&policy, HOST, publish(7, a(&["192.0.2.1"])), other);
    let marker = Marker::of("stage", 90, &a(&["192.0.2.9"]));
    assert_eq!(write(&plan).prerequisites[0], Prerequisite::RrsetEquals(name(MARKER), marker.rrset()));
    assert!(write(&plan).changes.contains(&Change::DeleteRrset(name(MARKER), RecordType::Txt)));
    // Text that is no marker is nobody's, and stays.
    let text = Observed { marker: ObservedMarker::Foreign(Vec::new()), ..Observed::default() };
    assert_eq!(owner(&planned(&policy, HOST, publish(7, a(&["192.0.2.1"])), text)), &Owner::Text);
}

#[test]
fn a_withdrawal_takes_what_the_marker_names_and_the_marker() {
    let was = both(a(&["192.0.2.1"]), aaaa("2001:db8::1"));
    let observed = Observed { sets: both(was.clone(), txt("theirs")), ..ours(7, was.clone()) };
    let plan = planned(&policy(), HOST, Intent::Withdraw { generation: 7 }, observed);
    let write = write(&plan);
    assert_eq!((write.kind, write.phase, &write.marker), (WriteKind::Delete, Phase::Remove, &None));
    assert_eq!(write.prerequisites, [Prerequisite::RrsetEquals(name(MARKER), Marker::of("prod", 7, &was).rrset())]);
    assert_eq!(
        write.changes,
        [
            Change::DeleteRrset(name(HOST), RecordType::A),
            Change::DeleteRrset(name(HOST), RecordType::Aaaa),
            Change::DeleteRrset(name(MARKER), RecordType::Txt),
        ]
    );
}

#[test]
fn what_cannot_be_published_says_why() {
    let long = format!("{}.{}.example.com", "x".repeat(63), vec!["y".repeat(58); 3].join("."));
    for (host, sets, expected) in [
        ("video.example.net", a(&["192.0.2.1"]), Unfit::OutsideZone),
        ("x._nearside.example.com", a(&["192.0.2.1"]), Unfit::SideTree),
        (&long, a(&["192.0.2.1"]), Unfit::LongMarker),
        (HOST, RecordSets::new(), Unfit::Empty),
        (HOST, a(&[]), Unfit::Empty),
        (HOST, both(a(&["192.0.2.1"]), cname("pool.example")), Unfit::AliasBesideData),
    ] {
        let plan = planned(&policy(), host, publish(7, sets), Observed::default());
        assert_eq!((plan.writes.len(), plan.unfit.get(&name(host))), (0, Some(&expected)), "{host}");
    }
}

#[test]
fn a_held_name_is_left_whatever_stands_there() {
    let plan = planned(&policy(), HOST, Intent::Hold(Hold::SourceSilent), ours(7, a(&["192.0.2.1"])));
    assert_eq!(plan, ZonePlan { holds: [(name(HOST), Hold::SourceSilent)].into(), ..ZonePlan::default() });
}

#[test]
fn what_comes_goes_before_what_goes() {
    let hosts = ["a.example.com", "b.example.com", "c.example.com", "d.example.com"];
    let intents = [
        Intent::Withdraw { generation: 7 },
        publish(8, a(&["192.0.2.2"])),
        publish(8, a(&["192.0.2.1", "192.0.2.2"])),
        publish(8, a(&["192.0.2.1"])),
    ];
    let one = || ours(7, a(&["192.0.2.1"]));
    let observed = [one(), one(), one(), ours(7, a(&["192.0.2.1", "192.0.2.2"]))];
    let plan = plan(
        &policy(),
        &hosts.map(name).into_iter().zip(intents).collect(),
        &hosts.map(name).into_iter().zip(observed).collect(),
        &Lapsed::new(),
    );
    let order: Vec<_> = plan.writes.iter().map(|write| (write.name.to_string(), write.phase)).collect();
    let expected = [(2, Phase::Add), (1, Phase::Swap), (0, Phase::Remove), (3, Phase::Remove)];
    assert_eq!(order, expected.map(|(index, phase)| (hosts[index].to_owned(), phase)));
}

#[test]
fn names_that_were_not_read_wait() {
    let plan = plan(&policy(), &[(name(HOST), publish(7, a(&["192.0.2.1"])))].into(), &BTreeMap::new(), &Lapsed::new());
    assert_eq!(plan, ZonePlan { unread: [name(HOST)].into(), ..ZonePlan::default() });
}

#[test]
fn a_marker_that_says_something_else_than_stands_there_is_mended() {
    let observed = Observed { marker: marked("prod", 6, &a(&["192.0.2.9"])), ..foreign(a(&["192.0.2.1"])) };
    let plan = planned(&policy(), HOST, publish(7, a(&["192.0.2.1"])), observed);
    assert_eq!(write(&plan).changes.len(), 2);
    assert_eq!(write(&plan).marker.as_ref().unwrap().digest, digest(&a(&["192.0.2.1"])));
}

#[test]
fn what_nobody_asks_for_in_a_dedicated_zone_loses_its_addresses_as_they_were_read() {
    let policy = ZonePolicy { dedicated: true, ..policy() };
    let stray = both(a(&["192.0.2.9"]), txt("note"));
    let planned = |observed| planned(&policy, HOST, Intent::Withdraw { generation: 0 }, observed);
    let plan = planned(foreign(stray.clone()));
    assert_eq!(
        write(&plan).prerequisites,
        [
            Prerequisite::RrsetAbsent(name(MARKER), RecordType::Txt),
            Prerequisite::RrsetEquals(name(HOST), stray[&RecordType::A].clone()),
        ]
    );
    assert_eq!(write(&plan).changes, [Change::DeleteRrset(name(HOST), RecordType::A)]);
    let heritage = Observed { external_dns: Some("default".into()), ..foreign(stray.clone()) };
    let other = Observed { marker: marked("stage", 1, &stray), ..foreign(stray) };
    for observed in [heritage, other, foreign(txt("note")), Observed::default()] {
        assert_eq!(planned(observed).unchanged[&name(HOST)], None);
    }
}
