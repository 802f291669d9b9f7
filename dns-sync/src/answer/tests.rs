//! The answer function against the cases of the RFCs, and against a resolver so naive that it can be read beside
//! RFC 4592 §3.3 and RFC 1034 §4.3.2.

use super::*;
use crate::desired::{DesiredEndpoint, DesiredObject, ObjectKey, parse};
use crate::zone::build::{NameServer, ZoneSettings, assemble};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The zone `z.test` with `ns1.z.test` at 192.0.2.53, and the given records.
fn zones(records: &[(&str, &str, &[&str])]) -> Zones {
    let endpoints = records.iter().map(|(dns_name, record_type, targets)| DesiredEndpoint {
        dns_name: (*dns_name).into(),
        record_type: (*record_type).into(),
        targets: targets.iter().map(|&target| target.into()).collect(),
        record_ttl: None,
    });
    let key = ObjectKey { namespace: "router".into(), name: "all".into() };
    let desired = parse(&DesiredObject { key, generation: 0, endpoints: endpoints.collect() });
    assert_eq!(desired.rejections, []);
    let server = NameServer { name: name("ns1.z.test"), addresses: vec!["192.0.2.53".parse().unwrap()] };
    let settings = [ZoneSettings { origin: name("z.test"), name_servers: vec![server] }];
    let (drafts, rejections) = assemble(&settings, std::iter::once(&desired));
    assert_eq!(rejections, []);
    Zones::new(drafts.into_iter().map(|draft| draft.finish(7)))
}

fn ask(zones: &Zones, qname: &str, record_type: RecordType) -> Seen {
    let question =
        Question { name: Name::from_labels(qname.split('.').map(str::as_bytes)).unwrap(), record_type, class: 1 };
    Seen::of(&answer(zones, &question, 0), &question)
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
    let apex = answer(&zones, &question, 0);
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
    assert_eq!(Seen::of(&answer(&zones, &chaos, 0), &chaos), refused);
    let root = Question { name: Name::from_labels([]).unwrap(), record_type: RecordType::Ns, class: 1 };
    assert_eq!(Seen::of(&answer(&zones, &root, 0), &root), refused);
}

#[test]
fn any_is_answered_with_hinfo_where_there_is_data() {
    let zones = zones(&[("a.b.z.test", "A", &["192.0.2.1"]), ("*.w.z.test", "A", &["192.0.2.1"])]);
    assert_eq!(ask(&zones, "a.b.z.test", RecordType::Any), Seen::positive(&["a.b.z.test HINFO"]));
    assert_eq!(ask(&zones, "x.w.z.test", RecordType::Any), Seen::positive(&["x.w.z.test HINFO"]));
    assert_eq!(ask(&zones, "b.z.test", RecordType::Any), Seen::nodata());
    assert_eq!(ask(&zones, "c.z.test", RecordType::Any), Seen::nxdomain());
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
    assert!(answer(&zones, &ring, 0).answers.len() <= MAX_CNAME_CHAIN + 1);
}

#[test]
fn every_address_comes_first_in_its_share_of_the_circle() {
    let zones = zones(&[("a.z.test", "A", &["192.0.2.1", "192.0.2.2", "192.0.2.3"])]);
    let question = Question { name: name("a.z.test"), record_type: RecordType::A, class: 1 };
    let mut firsts = [0; 3];
    for step in 0..300_u32 {
        let answer = answer(&zones, &question, step.wrapping_mul(0x9e37_79b9));
        let Data::Rrset { first, count, .. } = answer.answers[0].data else { panic!("no rrset") };
        assert_eq!(count, 3);
        firsts[first] += 1;
    }
    assert!(firsts.iter().all(|share| (98..=102).contains(share)), "{firsts:?}");
}

#[test]
fn a_set_beyond_100_records_is_answered_as_a_window() {
    let targets: Vec<String> = (0..250).map(|i| format!("198.18.0.{i}")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let zones = zones(&[("a.z.test", "A", &targets)]);
    let question = Question { name: name("a.z.test"), record_type: RecordType::A, class: 1 };
    let answer = answer(&zones, &question, u32::MAX);
    let Data::Rrset { first, count, .. } = answer.answers[0].data else { panic!("no rrset") };
    assert_eq!((first, count), (249, 100));
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
