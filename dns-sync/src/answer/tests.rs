//! The answer function against the cases of the RFCs, and against a resolver so naive that it can be read beside
//! RFC 4592 §3.3 and RFC 1034 §4.3.2.

use super::*;
use crate::desired::{DesiredEndpoint, DesiredObject, ObjectKey, parse};
use crate::testing::name;
use crate::zone::build::{NameServer, ZoneSettings, assemble};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The zone `z.test` with `ns1.z.test` at 192.0.2.53, and the given records.
fn zones(records: &[(&str, &str, &[&str])]) -> Zones {
    let endpoints = records.iter().map(|(dns_name, record_type, targets)| DesiredEndpoint {
        dns_name: (*dns_name).into(),
        record_type: (*record_type).into(),
        targets: targets.iter().map(|&target| target.into()).collect(),
        record_ttl: None,
    });
    let key = ObjectKey { namespace: "router".into(), name: "all".into() };
    let endpoints = endpoints.collect();
    let desired = parse(&DesiredObject { key, endpoints, ..DesiredObject::default() });
    assert_eq!(desired.rejections, []);
    let server = NameServer { name: name("ns1.z.test"), addresses: vec!["192.0.2.53".parse().unwrap()] };
    let settings = [ZoneSettings { origin: name("z.test"), name_servers: vec![server] }];
    let (drafts, rejections) = assemble(&settings, std::iter::once(&desired));
    assert_eq!(rejections, []);
    Zones::new(drafts.into_iter().map(|draft| draft.finish(7)))
}

/// Room for all there is.
const ROOM: Room = Room { octets: 65_000, addresses: MAX_ANSWER_RECORDS, rotation: 0 };

fn ask(zones: &Zones, qname: &str, record_type: RecordType) -> Seen {
    let question =
        Question { name: Name::from_labels(qname.split('.').map(str::as_bytes)).unwrap(), record_type, class: 1 };
    Seen::of(&answer(zones, &question, &ROOM), &question)
}

/// What a client sees, in text.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rcode: Rcode,
    authoritative: bool,
    answers: BTreeSet<String>,
    soa: bool,
}

impl Seen {
    fn of(answer: &Answer<'_>, question: &Question) -> Self {
        let text = |placed: &Placed<'_>| {
            let owner = match placed.owner {
                Owner::Question => question.name.to_string(),
                Owner::Name(name) => name.to_string(),
            };
            match placed.data {
                Data::AnyHinfo => vec![format!("{owner} HINFO")],
                Data::Rrset { records: RrsetData::A(all), .. } => {
                    all.iter().map(|a| format!("{owner} A {a}")).collect()
                }
                Data::Rrset { records: RrsetData::Aaaa(all), .. } => {
                    all.iter().map(|a| format!("{owner} AAAA {a}")).collect()
                }
                Data::Rrset { records: RrsetData::Cname(target), .. } => vec![format!("{owner} CNAME {target}")],
                Data::Rrset { records, .. } => vec![format!("{owner} {}", records.record_type())],
            }
        };
        Self {
            rcode: answer.rcode,
            authoritative: answer.authoritative,
            answers: answer.answers.iter().flat_map(text).collect(),
            soa: answer.authorities.iter().any(|placed| {
                matches!(placed.data, Data::Rrset { records: RrsetData::Soa(_), .. }) && placed.ttl.seconds() == 5
            }),
        }
    }

    fn positive(answers: &[&str]) -> Self {
        let answers = answers.iter().map(ToString::to_string).collect();
        Self { rcode: Rcode::NoError, authoritative: true, answers, soa: false }
    }

    fn nodata() -> Self {
        Self { soa: true, ..Self::positive(&[]) }
    }

    fn nxdomain() -> Self {
        Self { rcode: Rcode::NxDomain, ..Self::nodata() }
    }
}

/// The zone of RFC 4592 §2.2.1 with the types this server knows: MX became TXT, SRV became AAAA.
fn rfc_4592() -> Zones {
    zones(&[
        ("*.z.test", "TXT", &["wildcard"]),
        ("*.z.test", "AAAA", &["2001:db8::1"]),
        ("host1.z.test", "A", &["192.0.2.1"]),
        ("_ssh._tcp.host1.z.test", "TXT", &["srv"]),
        ("_ssh._tcp.host2.z.test", "TXT", &["srv"]),
    ])
}

#[test]
fn the_examples_of_rfc_4592_section_2_2_1() {
    let zones = rfc_4592();
    // Synthesized from the wildcard.
    assert_eq!(ask(&zones, "host3.z.test", RecordType::Txt), Seen::positive(&["host3.z.test TXT"]));
    assert_eq!(ask(&zones, "host3.z.test", RecordType::A), Seen::nodata());
    assert_eq!(ask(&zones, "foo.bar.z.test", RecordType::Txt), Seen::positive(&["foo.bar.z.test TXT"]));
    // Not synthesized: the name exists, its closest encloser has no wildcard, or it is an empty non-terminal.
    assert_eq!(ask(&zones, "host1.z.test", RecordType::Txt), Seen::nodata());
    assert_eq!(ask(&zones, "sub.*.z.test", RecordType::Txt), Seen::nxdomain());
    assert_eq!(ask(&zones, "_telnet._tcp.host1.z.test", RecordType::Txt), Seen::nxdomain());
    assert_eq!(ask(&zones, "host2.z.test", RecordType::Txt), Seen::nodata());
    assert_eq!(ask(&zones, "_tcp.host2.z.test", RecordType::Aaaa), Seen::nodata());
    assert_eq!(ask(&zones, "*.z.test", RecordType::Txt), Seen::positive(&["*.z.test TXT"]));
}

#[test]
fn a_wildcard_without_the_type_is_nodata_not_nxdomain() {
    let zones = zones(&[("*.apps.z.test", "A", &["192.0.2.1"])]);
    assert_eq!(ask(&zones, "video.apps.z.test", RecordType::A), Seen::positive(&["video.apps.z.test A 192.0.2.1"]));
    assert_eq!(ask(&zones, "video.apps.z.test", RecordType::Aaaa), Seen::nodata());
    assert_eq!(ask(&zones, "apps.z.test", RecordType::A), Seen::nodata());
    assert_eq!(ask(&zones, "video.z.test", RecordType::A), Seen::nxdomain());
}

#[test]
fn the_apex_has_soa_and_ns_with_glue() {
    let zones = zones(&[]);
    assert_eq!(ask(&zones, "z.test", RecordType::Soa), Seen::positive(&["z.test SOA"]));
    assert_eq!(ask(&zones, "z.test", RecordType::A), Seen::nodata());
    let question = Question { name: name("z.test"), record_type: RecordType::Ns, class: 1 };
    let apex = answer(&zones, &question, &ROOM);
    assert_eq!(apex.answers[0].ttl.seconds(), 3600);
    let glue: Vec<String> =
        apex.additionals.iter().map(|placed| format!("{:?} {:?}", placed.owner, placed.data)).collect();
    assert_eq!(glue.len(), 1);
    assert!(glue[0].contains("ns1.z.test") && glue[0].contains("192.0.2.53"), "{glue:?}");
}

#[test]
fn what_is_not_served_here_is_refused_without_authority() {
    let zones = zones(&[("a.z.test", "A", &["192.0.2.1"])]);
    let refused = Seen { rcode: Rcode::Refused, authoritative: false, answers: BTreeSet::new(), soa: false };
    for (qname, record_type) in [
        ("example.com", RecordType::A),
        ("test", RecordType::A),
        ("notz.test", RecordType::A),
        ("z.test", RecordType::Axfr),
        ("z.test", RecordType::Ixfr),
    ] {
        assert_eq!(ask(&zones, qname, record_type), refused, "{qname} {record_type}");
    }
    let chaos = Question { name: name("a.z.test"), record_type: RecordType::A, class: 3 };
    assert_eq!(Seen::of(&answer(&zones, &chaos, &ROOM), &chaos), refused);
    let root = Question { name: Name::from_labels([]).unwrap(), record_type: RecordType::Ns, class: 1 };
    assert_eq!(Seen::of(&answer(&zones, &root, &ROOM), &root), refused);
}

#[test]
fn any_is_answered_with_hinfo_where_there_is_data() {
    let zones = zones(&[("a.b.z.test", "A", &["192.0.2.1"]), ("*.w.z.test", "A", &["192.0.2.1"])]);
    assert_eq!(ask(&zones, "a.b.z.test", RecordType::Any), Seen::positive(&["a.b.z.test HINFO"]));
    assert_eq!(ask(&zones, "x.w.z.test", RecordType::Any), Seen::positive(&["x.w.z.test HINFO"]));
    assert_eq!(ask(&zones, "b.z.test", RecordType::Any), Seen::nodata());
    assert_eq!(ask(&zones, "c.z.test", RecordType::Any), Seen::nxdomain());
}

/// The additional section for the HTTPS records of a name, each set with the number of its records in the answer.
fn beside_https(zones: &Zones, qname: &str, room: &Room) -> Vec<(String, RecordType, usize)> {
    let question = Question { name: name(qname), record_type: RecordType::Https, class: 1 };
    let answer = answer(zones, &question, room);
    let set = |placed: &Placed<'_>| {
        let Data::Rrset { records, selection } = &placed.data else { panic!("a set") };
        let owner = if let Owner::Name(name) = placed.owner { name.to_string() } else { "?".to_owned() };
        let given = match selection {
            Selection::All { .. } => records.count(),
            Selection::Some(places) => places.len(),
        };
        (owner, records.record_type(), given)
    };
    answer.additionals.iter().map(set).collect()
}

#[test]
fn https_records_bring_the_addresses_of_their_targets_as_far_as_they_fit() {
    let zones = zones(&[
        ("a.z.test", "A", &["192.0.2.1", "192.0.2.2"]),
        ("a.z.test", "AAAA", &["2001:db8::1"]),
        ("a.z.test", "HTTPS", &["1 . alpn=h2"]),
        ("other.z.test", "A", &["192.0.2.3"]),
        (
            "many.z.test",
            "HTTPS",
            &["1 other.z.test.", "2 other.z.test. port=8443", "3 a.z.test.", "4 www.example.com."],
        ),
        ("none.z.test", "HTTPS", &["0 ."]),
        ("alias.z.test", "HTTPS", &["0 a.z.test."]),
        ("*.wild.z.test", "A", &["192.0.2.4"]),
        ("*.wild.z.test", "HTTPS", &["1 . alpn=h2"]),
        ("lost.z.test", "HTTPS", &["1 nowhere.z.test."]),
    ]);
    let set = |owner: &str, record_type, count| (owner.to_owned(), record_type, count);
    let beside = |qname| beside_https(&zones, qname, &ROOM);
    assert_eq!(beside("a.z.test"), [set("?", RecordType::A, 2), set("?", RecordType::Aaaa, 1)]);
    let of_a = [set("a.z.test", RecordType::A, 2), set("a.z.test", RecordType::Aaaa, 1)];
    assert_eq!(beside("many.z.test"), [&[set("other.z.test", RecordType::A, 1)], &of_a[..]].concat());
    assert_eq!(beside("alias.z.test"), of_a);
    assert_eq!(beside("x.wild.z.test"), [set("?", RecordType::A, 1)]);
    assert_eq!(beside("none.z.test"), []);
    assert_eq!(beside("lost.z.test"), []);
    // 22 octets for the record itself, 16 for each IPv4 address and 28 for the other.
    let fitting = |octets| beside_https(&zones, "a.z.test", &Room { octets, ..ROOM });
    assert_eq!(fitting(22), []);
    assert_eq!(fitting(22 + 16), [set("?", RecordType::A, 1)]);
    assert_eq!(fitting(22 + 32 + 27), [set("?", RecordType::A, 2)]);
    assert_eq!(fitting(22 + 32 + 28), beside("a.z.test"));
}

#[test]
fn an_alias_is_followed_inside_the_zone_and_loops_end() {
    let zones = zones(&[
        ("alias.z.test", "CNAME", &["pool.z.test"]),
        ("pool.z.test", "A", &["192.0.2.1"]),
        ("away.z.test", "CNAME", &["www.example.com"]),
        ("broken.z.test", "CNAME", &["nothing.z.test"]),
        ("ring.z.test", "CNAME", &["ring.z.test"]),
    ]);
    let followed = Seen::positive(&["alias.z.test CNAME pool.z.test", "pool.z.test A 192.0.2.1"]);
    assert_eq!(ask(&zones, "alias.z.test", RecordType::A), followed);
    assert_eq!(ask(&zones, "alias.z.test", RecordType::Cname), Seen::positive(&["alias.z.test CNAME pool.z.test"]));
    assert_eq!(ask(&zones, "away.z.test", RecordType::A), Seen::positive(&["away.z.test CNAME www.example.com"]));
    // RFC 6604 §3: the result is that of the last name.
    let broken = ask(&zones, "broken.z.test", RecordType::A);
    assert_eq!((broken.rcode, broken.soa, broken.answers.len()), (Rcode::NxDomain, true, 1));
    let ring = Question { name: name("ring.z.test"), record_type: RecordType::A, class: 1 };
    assert!(answer(&zones, &ring, &ROOM).answers.len() <= MAX_CNAME_CHAIN + 1);
}

/// The places of the addresses that are given for `a.z.test`, in their order.
fn chosen(zones: &Zones, room: &Room) -> Vec<usize> {
    let question = Question { name: name("a.z.test"), record_type: RecordType::A, class: 1 };
    let answer = answer(zones, &question, room);
    let Data::Rrset { records, selection } = &answer.answers[0].data else { panic!("no rrset") };
    match selection {
        Selection::All { first } => (0..records.count()).map(|place| (first + place) % records.count()).collect(),
        Selection::Some(places) => places.iter().map(|place| usize::from(*place)).collect(),
    }
}

#[test]
fn every_address_comes_first_in_its_share_of_the_circle() {
    let zones = zones(&[("a.z.test", "A", &["192.0.2.1", "192.0.2.2", "192.0.2.3"])]);
    let mut firsts = [0; 3];
    for step in 0..300_u32 {
        let places = chosen(&zones, &Room { rotation: step.wrapping_mul(0x9e37_79b9), ..ROOM });
        assert_eq!(places.len(), 3);
        firsts[places[0]] += 1;
    }
    assert!(firsts.iter().all(|share| (98..=102).contains(share)), "{firsts:?}");
}

#[test]
fn of_a_large_set_as_many_addresses_are_given_as_are_allowed_and_fit() {
    let targets: Vec<String> = (0..250).map(|i| format!("198.18.0.{i}")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let zones = zones(&[("a.z.test", "A", &targets)]);
    for (octets, addresses, given) in [
        (65_000, MAX_ANSWER_RECORDS, 100),
        (65_000, 1000, 100),
        (65_000, 8, 8),
        (475, 100, 29),
        (3, 100, 1),
        (475, 0, 1),
    ] {
        let mut seen = BTreeSet::new();
        for step in 0..2000_u32 {
            let rotation = step.wrapping_mul(0x9e37_79b9);
            let places = chosen(&zones, &Room { octets, addresses, rotation });
            assert_eq!(places.len(), given, "{octets} {addresses}");
            seen.extend(places);
        }
        assert_eq!(seen.len(), 250, "each address is reached");
    }
}

#[test]
fn an_alias_of_a_wildcard_host_stands_for_one_label_that_no_name_owns() {
    let zones = zones(&[
        ("*.z.test", "A", &["192.0.2.1", "192.0.2.2"]),
        ("*--k3x7a.z.test", "A", &["192.0.2.1"]),
        ("*--k3x7a.apps.z.test", "A", &["192.0.2.7"]),
        ("own--k3x7a.z.test", "A", &["192.0.2.9"]),
        ("below.tree--k3x7a.z.test", "A", &["192.0.2.9"]),
    ]);
    let a = |qname: &str| ask(&zones, qname, RecordType::A);
    assert_eq!(a("video--k3x7a.z.test"), Seen::positive(&["video--k3x7a.z.test A 192.0.2.1"]));
    assert_eq!(a("a--b--k3x7a.z.test"), Seen::positive(&["a--b--k3x7a.z.test A 192.0.2.1"]));
    assert_eq!(a("video--k3x7a.apps.z.test"), Seen::positive(&["video--k3x7a.apps.z.test A 192.0.2.7"]));
    assert_eq!(ask(&zones, "video--k3x7a.z.test", RecordType::Aaaa), Seen::nodata());
    // What an exact name owns is its own, also where it has no data.
    assert_eq!(a("own--k3x7a.z.test"), Seen::positive(&["own--k3x7a.z.test A 192.0.2.9"]));
    assert_eq!(a("tree--k3x7a.z.test"), Seen::nodata());
    // Another node, no host at all, and two labels are the matter of the wildcard.
    for qname in ["video--other.z.test", "--k3x7a.z.test", "a.video--k3x7a.z.test"] {
        let both = [format!("{qname} A 192.0.2.1"), format!("{qname} A 192.0.2.2")];
        assert_eq!(a(qname), Seen::positive(&[&both[0], &both[1]]));
    }
    // The domain of an alias exists, so the wildcard above does not reach below it.
    assert_eq!(a("apps.z.test"), Seen::nodata());
    assert_eq!(a("video.apps.z.test"), Seen::nxdomain());
}

#[test]
fn weights_of_the_pods_decide_how_often_an_address_is_given() {
    let endpoint = |dns_name: &str, record_type: &str, targets: [&str; 3]| DesiredEndpoint {
        dns_name: dns_name.into(),
        record_type: record_type.into(),
        targets: targets.map(Into::into).to_vec(),
        record_ttl: None,
    };
    let endpoints = vec![
        endpoint("a.z.test", "A", ["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
        endpoint("a.z.test", "AAAA", ["2001:db8::1", "2001:db8::2", "2001:db8::3"]),
    ];
    let weights =
        r#"{"192.0.2.1": 1, "192.0.2.2": 1, "192.0.2.3": 2, "2001:db8::1": 1, "2001:db8::2": 1, "2001:db8::3": 2}"#;
    let object = DesiredObject { endpoints, weights: Some(weights.into()), ..DesiredObject::default() };
    let settings = [ZoneSettings { origin: name("z.test"), name_servers: Vec::new() }];
    let (drafts, rejections) = assemble(&settings, std::iter::once(&parse(&object)));
    assert_eq!(rejections, []);
    let zones = Zones::new(drafts.into_iter().map(|draft| draft.finish(7)));
    for record_type in [RecordType::A, RecordType::Aaaa] {
        let question = Question { name: name("a.z.test"), record_type, class: 1 };
        let mut given = [0; 3];
        for step in 0..4000_u32 {
            let room = Room { addresses: 1, rotation: step.wrapping_mul(0x9e37_79b9), ..ROOM };
            let answer = answer(&zones, &question, &room);
            let Data::Rrset { selection: Selection::Some(places), .. } = &answer.answers[0].data else { panic!("all") };
            places.iter().for_each(|place| given[usize::from(*place)] += 1);
        }
        assert!(given[2] > 1950 && given[2] < 2050 && given[0] > 950 && given[1] > 950, "{given:?}");
    }
}

/// What one name of a random zone holds.
#[derive(Clone, Debug)]
enum Content {
    Alias(String),
    Data { a: bool, aaaa: bool, txt: bool },
}

type Model = BTreeMap<String, Content>;

/// RFC 1034 §4.3.2 and RFC 4592 §3.3, with strings and linear search.
fn naive(model: &Model, qname: &str, record_type: RecordType) -> Seen {
    let mut seen = Seen::positive(&[]);
    let mut current = qname.to_owned();
    for _ in 0..=MAX_CNAME_CHAIN {
        let exists = |name: &str| {
            model.keys().any(|owner| owner == name || owner.ends_with(&format!(".{name}")))
                || "ns1.z.test" == name
                || "z.test" == name
        };
        let source = if exists(&current) {
            current.clone()
        } else {
            let mut encloser = current.as_str();
            while !exists(encloser) {
                encloser = encloser.split_once('.').unwrap().1;
            }
            format!("*.{encloser}")
        };
        if !exists(&source) {
            seen.rcode = Rcode::NxDomain;
            seen.soa = true;
            return seen;
        }
        let mut held: Vec<(RecordType, String)> = match (source.as_str(), model.get(&source)) {
            (_, Some(Content::Alias(target))) => vec![(RecordType::Cname, format!("{current} CNAME {target}"))],
            (_, Some(Content::Data { a, aaaa, txt })) => [
                (*a, RecordType::A, format!("{current} A 192.0.2.1")),
                (*aaaa, RecordType::Aaaa, format!("{current} AAAA 2001:db8::1")),
                (*txt, RecordType::Txt, format!("{current} TXT")),
            ]
            .into_iter()
            .filter_map(|(there, record_type, text)| there.then_some((record_type, text)))
            .collect(),
            _ => Vec::new(),
        };
        match source.as_str() {
            "ns1.z.test" => held.push((RecordType::A, "ns1.z.test A 192.0.2.53".into())),
            "z.test" => {
                held.push((RecordType::Soa, "z.test SOA".into()));
                held.push((RecordType::Ns, "z.test NS".into()));
            }
            _ => {}
        }
        if record_type == RecordType::Any && !held.is_empty() {
            seen.answers.insert(format!("{current} HINFO"));
            return seen;
        }
        match (model.get(&source), record_type) {
            (Some(Content::Alias(target)), kind) if kind != RecordType::Cname => {
                seen.answers.insert(format!("{current} CNAME {target}"));
                if !(target == "z.test" || target.ends_with(".z.test")) {
                    return seen;
                }
                current.clone_from(target);
            }
            _ => {
                let matching: Vec<String> =
                    held.into_iter().filter(|(kind, _)| *kind == record_type).map(|(_, text)| text).collect();
                seen.soa = matching.is_empty();
                seen.answers.extend(matching);
                return seen;
            }
        }
    }
    seen
}

fn owner() -> impl Strategy<Value = String> {
    let below = prop_oneof![3 => Just(""), 2 => Just("*."), 2 => Just("a."), 2 => Just("b.a."), 1 => Just("*.b."), 1 => Just("c.b.a.")];
    let base = prop_oneof![3 => Just("z.test"), 2 => Just("a.z.test"), 2 => Just("b.z.test"), 1 => Just("b.a.z.test")];
    (below, base).prop_map(|(below, base)| format!("{below}{base}"))
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(a, aaaa, txt)| Content::Data { a, aaaa, txt }),
        1 => prop_oneof![owner(), Just("away.test".to_owned())].prop_map(Content::Alias),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn answers_agree_with_a_naive_resolver(
        model in prop::collection::btree_map(owner(), content(), 0..8),
        below in prop::collection::vec("[abcd*]", 0..4),
        base in owner(),
    ) {
        // A name holds data or nothing was written for it, and the apex is no alias.
        let model: Model = model
            .into_iter()
            .filter(|(owner, content)| match content {
                Content::Alias(_) => owner != "z.test",
                Content::Data { a, aaaa, txt } => *a || *aaaa || *txt,
            })
            .collect();
        let mut records: Vec<(&str, &str, Vec<&str>)> = Vec::new();
        for (owner, content) in &model {
            match content {
                Content::Alias(target) => records.push((owner, "CNAME", vec![target])),
                Content::Data { a, aaaa, txt } => {
                    let sets = [(*a, "A", "192.0.2.1"), (*aaaa, "AAAA", "2001:db8::1"), (*txt, "TXT", "text")];
                    records.extend(sets.iter().filter(|set| set.0).map(|set| (owner.as_str(), set.1, vec![set.2])));
                }
            }
        }
        let records: Vec<(&str, &str, &[&str])> = records.iter().map(|(o, t, targets)| (*o, *t, targets.as_slice())).collect();
        let zones = zones(&records);
        let qname = below.iter().map(|label| format!("{label}.")).collect::<String>() + &base;
        for record_type in [RecordType::A, RecordType::Aaaa, RecordType::Txt, RecordType::Cname, RecordType::Ns,
            RecordType::Soa, RecordType::Any, RecordType::Other(15)]
        {
            prop_assert_eq!(ask(&zones, &qname, record_type), naive(&model, &qname, record_type), "{} {}", qname, record_type);
        }
    }
}
