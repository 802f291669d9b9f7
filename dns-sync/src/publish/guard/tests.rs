//! What may go and when: deletions that were seen, names that nobody asks for any more, too many at once, a silent source.

use super::*;
use crate::desired::{DesiredEndpoint, DesiredObject, parse};
use crate::limits::{ORPHAN_GRACE, RATIO_WINDOW, WITHDRAWAL_LINGER};
use crate::record::RecordType;
use proptest::prelude::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// An object with an A record at each of the names.
fn object(name: &str, generation: u64, hosts: &[&str], address: &str) -> Desired {
    let endpoint = |host: &&str| DesiredEndpoint {
        dns_name: format!("{host}.example.com"),
        record_type: "A".into(),
        targets: vec![address.into()],
        record_ttl: Some(30),
    };
    let key = key(name);
    parse(&DesiredObject { key, generation, endpoints: hosts.iter().map(endpoint).collect(), weights: None })
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "router".into(), name: name.into() }
}

fn host(text: &str) -> Name {
    format!("{text}.example.com").parse().unwrap()
}

fn zone() -> Name {
    "example.com".parse().unwrap()
}

/// A guard, a clock, and what a worker would know.
struct Bench {
    guard: Guard,
    now: Instant,
    known: BTreeMap<Name, Intent>,
}

impl Bench {
    fn new(known: LastGood) -> Self {
        let guard = Guard::new([(zone(), known)]);
        let mut bench = Self { guard, now: Instant::now(), known: BTreeMap::new() };
        bench.guard.source(Source::Live, bench.now);
        bench
    }

    fn listed(objects: &[Desired]) -> Self {
        let mut bench = Self::new(LastGood::default());
        bench.list(objects);
        bench
    }

    fn list(&mut self, objects: &[Desired]) {
        self.guard.listed(objects, List::Claimed, self.now);
        self.look();
    }

    fn look(&mut self) {
        for (origin, names) in self.guard.changed(self.now) {
            assert_eq!(origin, zone());
            for (name, intent) in names {
                match intent {
                    Some(intent) => {
                        assert_ne!(self.known.insert(name, intent.clone()), Some(intent), "a change is one")
                    }
                    None => drop(self.known.remove(&name)),
                }
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.guard.next(self.now).filter(|next| *next <= end) {
            self.now = next;
            self.look();
        }
        self.now = end;
        self.look();
    }

    fn delete(&mut self, name: &str) {
        self.guard.deleted(&key(name));
        self.look();
    }

    fn apply(&mut self, object: &Desired) {
        self.guard.apply(object);
        self.look();
    }

    fn intent(&self, name: &str) -> &Intent {
        &self.known[&host(name)]
    }

    fn withdrawn(&self) -> usize {
        self.known.values().filter(|intent| matches!(intent, Intent::Withdraw { .. })).count()
    }

    fn published(&self, name: &str) -> &DesiredName {
        match self.intent(name) {
            Intent::Publish(desired) => desired,
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn many(count: usize) -> Vec<Desired> {
    (0..count).map(|n| object(&format!("o{n}"), 1, &[&format!("h{n}")], "192.0.2.1")).collect()
}

#[test]
fn nothing_is_withdrawn_because_the_disk_says_so() {
    let mut before = Bench::listed(&[object("a", 7, &["a"], "192.0.2.1"), object("b", 3, &["b"], "192.0.2.1")]);
    before.wait(SECOND);
    let mut bench = Bench::new(before.guard.last_good(&zone()));
    bench.wait(ORPHAN_GRACE * 2);
    assert_eq!(bench.intent("a"), &Intent::Hold(Hold::SourceSilent), "no list has come");
    bench.list(&[object("b", 3, &["b"], "192.0.2.1")]);
    assert_eq!(bench.intent("a"), &Intent::Hold(Hold::Unconfirmed));
    assert_eq!(bench.published("b").generation, 3);
    bench.wait(ORPHAN_GRACE - SECOND);
    assert_eq!(bench.intent("a"), &Intent::Hold(Hold::Unconfirmed));
    bench.wait(SECOND + WITHDRAWAL_LINGER);
    assert_eq!(bench.intent("a"), &Intent::Withdraw { generation: 7 });
}

#[test]
fn an_empty_first_list_withdraws_nothing_also_from_a_directory() {
    let before = Bench::listed(&many(3));
    let mut bench = Bench::new(before.guard.last_good(&zone()));
    bench.guard.listed(&[], List::Certain, bench.now);
    bench.wait(ORPHAN_GRACE - SECOND);
    assert_eq!(bench.withdrawn(), 0);
    let mut bench = Bench::listed(&many(3));
    bench.guard.listed(&many(2), List::Certain, bench.now);
    bench.look();
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!(bench.withdrawn(), 1, "but a file that goes takes its names along");
}

#[test]
fn a_deletion_that_was_seen_withdraws_after_a_moment() {
    let mut bench = Bench::listed(&[object("a", 7, &["a"], "192.0.2.1")]);
    bench.delete("a");
    assert_eq!(bench.intent("a"), &Intent::Hold(Hold::Lingering));
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!(bench.intent("a"), &Intent::Withdraw { generation: 7 });
    bench.guard.gone(&zone(), &host("a"));
    bench.look();
    assert!(bench.known.is_empty() && bench.guard.last_good(&zone()).names.is_empty());
}

#[test]
fn what_is_made_again_at_once_is_never_withdrawn_and_counts_on() {
    let mut bench = Bench::listed(&[object("a", 7, &["a"], "192.0.2.1")]);
    bench.delete("a");
    bench.wait(SECOND);
    bench.apply(&object("a", 1, &["a"], "192.0.2.2"));
    assert_eq!(bench.published("a").generation, 8);
    bench.wait(ORPHAN_GRACE);
    assert_eq!(bench.withdrawn(), 0);
    bench.apply(&object("a", 2, &["a"], "192.0.2.2"));
    assert_eq!(bench.published("a").generation, 8, "the same content");
}

#[test]
fn objects_without_a_generation_give_no_order() {
    let mut bench = Bench::listed(&[object("a", 0, &["a"], "192.0.2.1")]);
    bench.apply(&object("a", 0, &["a"], "192.0.2.2"));
    assert_eq!(bench.published("a").generation, 0);
}

#[test]
fn a_name_that_its_object_drops_goes_and_its_others_stay() {
    let mut bench = Bench::listed(&[object("a", 7, &["a", "b"], "192.0.2.1")]);
    bench.apply(&object("a", 8, &["a"], "192.0.2.1"));
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!(bench.intent("b"), &Intent::Withdraw { generation: 7 });
    assert_eq!(bench.published("a").generation, 8);
}

#[test]
fn while_the_source_is_silent_nothing_goes() {
    let mut bench = Bench::listed(&[object("a", 7, &["a"], "192.0.2.1"), object("b", 7, &["b"], "192.0.2.1")]);
    bench.delete("a");
    bench.wait(WITHDRAWAL_LINGER);
    bench.guard.source(Source::Failing, bench.now);
    bench.wait(SOURCE_TOLERANCE - SECOND);
    assert_eq!(bench.intent("a"), &Intent::Withdraw { generation: 7 });
    bench.wait(SECOND);
    assert_eq!(bench.intent("a"), &Intent::Hold(Hold::SourceSilent));
    assert_eq!(bench.published("b").generation, 7, "what is asked for stays so");
    bench.delete("b");
    bench.wait(ORPHAN_GRACE * 2);
    assert_eq!(bench.withdrawn(), 0);
    bench.guard.source(Source::Live, bench.now);
    bench.look();
    assert_eq!(bench.withdrawn(), 2);
}

#[test]
fn a_gap_in_what_the_source_tells_starts_the_grace_again_but_a_second_list_ends_it() {
    for second_list in [false, true] {
        let mut bench = Bench::listed(&[object("a", 7, &["a"], "192.0.2.1")]);
        bench.list(&[]);
        bench.wait(ORPHAN_GRACE - SECOND);
        bench.guard.source(Source::Failing, bench.now);
        bench.wait(SECOND * 2);
        bench.guard.source(Source::Live, bench.now);
        if second_list {
            bench.list(&[]);
        }
        bench.wait(WITHDRAWAL_LINGER);
        assert_eq!(bench.withdrawn(), usize::from(second_list));
        bench.wait(ORPHAN_GRACE);
        assert_eq!(bench.withdrawn(), 1);
    }
}

#[test]
fn too_many_at_once_wait_for_a_confirmation_and_for_nothing_else() {
    let mut bench = Bench::listed(&many(30));
    for n in 0..9 {
        bench.delete(&format!("o{n}"));
    }
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!(bench.withdrawn(), 9, "nine are few");
    bench.delete("o9");
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!(bench.intent("h9"), &Intent::Hold(Hold::TooMany { going: 10, of: 30 }));
    bench.wait(ORPHAN_GRACE * 10);
    assert_eq!(bench.withdrawn(), 9);
    bench.delete("o10");
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!(bench.withdrawn(), 10, "one more, much later");
    bench.guard.confirm(&zone(), bench.now + SECOND);
    bench.look();
    assert_eq!(bench.withdrawn(), 11);
}

#[test]
fn all_hosts_at_once_are_held_before_the_first_goes() {
    let mut bench = Bench::listed(&many(50));
    for n in 0..50 {
        bench.delete(&format!("o{n}"));
        bench.wait(Duration::from_millis(100));
    }
    bench.wait(RATIO_WINDOW * 3);
    assert!(bench.withdrawn() <= 15, "{}", bench.withdrawn());
    // What comes back is asked for again; the others wait.
    bench.apply(&object("o49", 2, &["h49"], "192.0.2.1"));
    bench.published("h49");
    bench.guard.confirm(&zone(), bench.now + SECOND * 60);
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!(bench.withdrawn(), 49);
}

#[test]
fn the_names_of_a_node_that_dies_are_not_counted() {
    let with = |n: usize, aliases: &[&str]| {
        let names: Vec<String> =
            std::iter::once(format!("h{n}")).chain(aliases.iter().map(|id| format!("h{n}--{id}"))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        object(&format!("o{n}"), 1, &names, "192.0.2.1")
    };
    let mut bench = Bench::listed(&(0..20).map(|n| with(n, &["k3x7a", "abcde"])).collect::<Vec<_>>());
    for n in 0..20 {
        bench.apply(&with(n, &["abcde"]));
    }
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!(bench.withdrawn(), 20);
    for n in 0..20 {
        bench.delete(&format!("o{n}"));
    }
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!(bench.withdrawn(), 20, "the aliases stay with their hosts");
    assert_eq!(bench.intent("h3--abcde"), bench.intent("h3"));
}

#[test]
fn objects_that_ask_for_the_same_name_are_united_and_leave_one_by_one() {
    let one = object("a", 7, &["x"], "192.0.2.1");
    let other = object("b", 9, &["x"], "192.0.2.2");
    let mut bench = Bench::listed(&[one, other]);
    assert_eq!(bench.published("x").sets[&RecordType::A].data.count(), 2);
    assert_eq!((bench.published("x").generation, &bench.published("x").object), (9, &key("a")));
    bench.delete("b");
    assert_eq!(bench.published("x").sets[&RecordType::A].data.count(), 1);
    assert_eq!(bench.published("x").generation, 10, "newer than what was there");
    bench.list(&[]);
    assert_eq!(bench.intent("x"), &Intent::Hold(Hold::Unconfirmed));
}

#[test]
fn of_objects_that_ask_for_the_same_name_the_others_are_known() {
    let mut bench = Bench::listed(&[object("b", 9, &["x"], "192.0.2.2"), object("a", 7, &["x", "y"], "192.0.2.1")]);
    assert_eq!(bench.guard.shared(), &[(host("x"), vec![key("b")])].into());
    bench.delete("a");
    assert!(bench.guard.shared().is_empty());
    assert_eq!(bench.published("x").object, key("b"));
}

#[test]
fn what_cannot_be_published_costs_itself_alone_and_is_told_until_it_is_mended() {
    let endpoint = |name: &str, record_type: &str, target: &str| DesiredEndpoint {
        dns_name: name.into(),
        record_type: record_type.into(),
        targets: vec![target.into()],
        record_ttl: Some(30),
    };
    let of = |name: &str, endpoints: Vec<DesiredEndpoint>| {
        parse(&DesiredObject { key: key(name), generation: 1, endpoints, weights: Some("no weights".into()) })
    };
    let wild = vec![
        endpoint("*.example.com", "A", "192.0.2.1"),
        endpoint("*--k3x7a.example.com", "A", "192.0.2.1"),
        endpoint("mail.example.com", "MX", "10 mail"),
    ];
    let elsewhere =
        vec![endpoint("*--k3x7a.example.net", "A", "192.0.2.1"), endpoint("x.example.net", "MX", "10 mail")];
    let mut bench = Bench::listed(&[of("wild", wild.clone()), of("elsewhere", elsewhere)]);
    bench.published("*");
    let said = |bench: &Bench| bench.guard.rejections().map(ToString::to_string).collect::<Vec<_>>();
    let all = said(&bench);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].contains("spec.endpoints[2].recordType") && all[1].contains("*--k3x7a.example.com"), "{all:?}");
    assert!(bench.guard.rejections_have_changed() && !bench.guard.rejections_have_changed());
    // The same names are asked for.
    bench.apply(&of("wild", wild[..1].to_vec()));
    assert!(bench.guard.rejections_have_changed());
    assert_eq!(said(&bench), Vec::<String>::new());
}

#[test]
fn what_a_server_holds_already_makes_what_follows_newer() {
    let mut bench = Bench::listed(&[object("a", 2, &["a"], "192.0.2.1")]);
    bench.guard.saw(&zone(), &host("a"), 9);
    bench.apply(&object("a", 3, &["a"], "192.0.2.2"));
    assert_eq!(bench.published("a").generation, 10);
}

#[test]
fn names_outside_of_all_zones_are_no_matter_of_ours() {
    let mut elsewhere = object("a", 1, &["a"], "192.0.2.1");
    elsewhere.records[0].1 = "a.example.net".parse().unwrap();
    let mut bench = Bench::listed(&[elsewhere]);
    bench.delete("a");
    assert!(bench.known.is_empty() && bench.guard.names_of(&key("a")).is_empty());
}

#[test]
fn what_is_found_at_a_server_goes_after_the_grace_unless_somebody_asks_for_it() {
    let mut bench = Bench::listed(&many(3));
    let sets = bench.published("h0").sets.clone();
    for name in ["a", "b", "h1"] {
        bench.guard.found(&zone(), &host(name), Found { sets: sets.clone(), generation: 5 }, bench.now);
    }
    bench.look();
    assert_eq!(bench.intent("a"), &Intent::Hold(Hold::Unconfirmed));
    bench.published("h1");
    assert_eq!(bench.guard.last_good(&zone()).names.len(), 3);
    bench.apply(&object("b", 1, &["b"], "192.0.2.1"));
    assert_eq!(bench.published("b").generation, 5, "it is as it was found");
    bench.wait(ORPHAN_GRACE);
    assert_eq!(bench.withdrawn(), 0);
    bench.wait(WITHDRAWAL_LINGER);
    assert_eq!((bench.withdrawn(), bench.intent("a")), (1, &Intent::Withdraw { generation: 5 }));
}

#[derive(Clone, Debug)]
enum Step {
    Apply(u8, Vec<u8>, u8),
    Delete(u8),
    List(Vec<u8>),
    Source(bool),
    Wait(u64),
    Confirm,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..14, prop::collection::vec(0_u8..20, 1..4), 1_u8..5).prop_map(|(o, names, a)| Step::Apply(o, names, a)),
        3 => (0_u8..14).prop_map(Step::Delete),
        1 => prop::collection::vec(0_u8..14, 0..14).prop_map(Step::List),
        1 => any::<bool>().prop_map(Step::Source),
        3 => prop_oneof![0_u64..5, 0_u64..700].prop_map(Step::Wait),
        1 => Just(Step::Confirm),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens: what a known object asks for is published as all of them ask; what goes was seen to go.
    #[test]
    fn what_is_asked_for_is_published_and_nothing_goes_unseen(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::listed(&[]);
        let mut there: BTreeMap<u8, Desired> = BTreeMap::new();
        // Missing in a list, and until when that is not enough.
        let mut missing: BTreeMap<u8, (Desired, Instant)> = BTreeMap::new();
        let mut generation = 1;
        for step in steps {
            match step {
                Step::Apply(number, names, address) => {
                    generation += 1;
                    let names: Vec<String> = names.iter().map(|name| format!("h{name}")).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let object = object(&format!("o{number}"), generation, &names, &format!("192.0.2.{address}"));
                    missing.remove(&number);
                    there.insert(number, object.clone());
                    bench.apply(&object);
                }
                Step::Delete(number) => {
                    there.remove(&number);
                    missing.remove(&number);
                    bench.delete(&format!("o{number}"));
                }
                Step::List(numbers) => {
                    let gone: Vec<u8> = there.keys().copied().filter(|number| !numbers.contains(number)).collect();
                    for number in gone {
                        let object = there.remove(&number).unwrap();
                        missing.insert(number, (object, bench.now + ORPHAN_GRACE));
                    }
                    let all: Vec<Desired> = there.values().cloned().collect();
                    bench.list(&all);
                }
                Step::Source(is_live) => {
                    bench.guard.source(if is_live { Source::Live } else { Source::Failing }, bench.now);
                    bench.look();
                }
                Step::Wait(seconds) => bench.wait(SECOND * u32::try_from(seconds).unwrap()),
                Step::Confirm => bench.guard.confirm(&zone(), bench.now + SECOND * 3),
            }
            missing.retain(|_, (_, until)| *until > bench.now);
            for (name, intent) in &bench.known {
                let asked = |object: &&Desired| object.records.iter().any(|(_, at, _)| at == name);
                let asking: Vec<&Desired> = there.values().filter(asked).collect();
                let maybe = missing.values().map(|(object, _)| object).filter(asked).count();
                match intent {
                    Intent::Publish(desired) => {
                        prop_assert!(!asking.is_empty());
                        let of = |object: &&Desired| object.records.iter().filter(|(_, at, _)| at == name).map(|(_, _, it)| it.data.sorted_texts()).collect::<Vec<_>>();
                        let wanted: BTreeSet<Vec<u8>> = asking.iter().flat_map(of).flatten().collect();
                        let published: BTreeSet<Vec<u8>> = desired.sets[&RecordType::A].data.sorted_texts().into_iter().collect();
                        prop_assert!(wanted.is_subset(&published));
                        // Without anybody of whom it is not clear whether they are there.
                        if bench.guard.objects.keys().count() == there.len() {
                            prop_assert_eq!(wanted, published);
                        }
                    }
                    Intent::Withdraw { .. } => prop_assert!(asking.is_empty() && maybe == 0, "{name} goes"),
                    Intent::Hold(_) => prop_assert!(asking.is_empty(), "{name} is held"),
                }
            }
            for object in there.values() {
                for (_, name, _) in &object.records {
                    prop_assert!(matches!(bench.known.get(name), Some(Intent::Publish(_))), "{name} is asked for");
                }
            }
        }
    }

    /// In whatever order objects come, the intents are the same.
    #[test]
    fn the_order_of_objects_makes_no_difference(
        objects in prop::collection::btree_map(0_u8..8, (prop::collection::vec(0_u8..6, 1..4), 1_u8..5, 1_u64..9), 1..8), seed in any::<u64>(),
    ) {
        let objects: Vec<Desired> = objects.iter().map(|(number, (names, address, generation))| {
            let names: Vec<String> = names.iter().map(|name| format!("h{name}")).collect();
            object(&format!("o{number}"), *generation, &names.iter().map(String::as_str).collect::<Vec<_>>(), &format!("192.0.2.{address}"))
        }).collect();
        let mut shuffled = objects.clone();
        shuffled.rotate_left(usize::try_from(seed % objects.len() as u64).unwrap());
        if seed % 2 == 0 {
            shuffled.reverse();
        }
        let one = Bench::listed(&objects);
        let mut other = Bench::new(LastGood::default());
        shuffled.iter().for_each(|object| other.guard.apply(object));
        other.list(&shuffled);
        prop_assert_eq!(one.known, other.known);
    }
}
