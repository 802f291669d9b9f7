//! The wire format against octets written by hand, octets at random, and messages of the library broken on purpose.

use super::*;
use crate::answer::{Room, answer};
use crate::desired::{DesiredEndpoint, DesiredObject, ObjectKey, parse};
use crate::name::Name;
use crate::record::{Https, Rrset, Ttl};
use crate::zone::Zones;
use crate::zone::build::{NameServer, ZoneSettings, assemble};
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::RecordType as WireType;
use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};
use proptest::prelude::*;

pub(super) fn zones(addresses: usize) -> Zones {
    let endpoints = vec![
        DesiredEndpoint {
            dns_name: "*.z.test".into(),
            record_type: "A".into(),
            targets: (0..addresses).map(|i| format!("198.18.{}.{}", i / 200, i % 200)).collect(),
            record_ttl: Some(20),
        },
        DesiredEndpoint {
            dns_name: "text.z.test".into(),
            record_type: "TXT".into(),
            targets: vec!["\"one\" \"two\"".into()],
            record_ttl: None,
        },
        DesiredEndpoint {
            dns_name: "long.z.test".into(),
            record_type: "TXT".into(),
            targets: vec!["x".repeat(700)],
            record_ttl: None,
        },
        DesiredEndpoint {
            dns_name: "text.z.test".into(),
            record_type: "HTTPS".into(),
            targets: vec!["1 . alpn=\"h2,http/1.1\" port=8443".into(), "2 text.z.test. key667=\"x\"".into()],
            record_ttl: None,
        },
        DesiredEndpoint {
            dns_name: "web.z.test".into(),
            record_type: "HTTPS".into(),
            targets: vec!["1 other.z.test. alpn=h2".into(), "2 ns1.z.test.".into()],
            record_ttl: None,
        },
    ];
    let key = ObjectKey { namespace: "router".into(), name: "all".into() };
    let desired = parse(&DesiredObject { key, endpoints, ..DesiredObject::default() });
    let server = NameServer { name: "ns1.z.test".parse().unwrap(), addresses: vec!["192.0.2.53".parse().unwrap()] };
    let settings = [ZoneSettings { origin: "z.test".parse().unwrap(), name_servers: vec![server] }];
    let (drafts, _) = assemble(&settings, std::iter::once(&desired));
    Zones::new(drafts.into_iter().map(|draft| draft.finish(7)))
}

pub(super) fn query(qname: &str, record_type: WireType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(WireQuery::query(WireName::from_ascii(qname).unwrap(), record_type));
    message
}

pub(super) fn with_edns(mut message: Message, max_payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(max_payload);
    message.set_edns(edns);
    message
}

/// The answer as a client decodes it, and its size.
fn respond(zones: &Zones, octets: &[u8], tcp: bool) -> Option<(Message, usize)> {
    let (query, answer) = match decode(octets) {
        Received::Drop => return None,
        Received::Reject(query, rcode) => (query, Answer::error(rcode)),
        Received::Query(query) => {
            let limit = if tcp { 65_535 } else { query.udp_limit() };
            let room = Room { octets: query.room(limit), addresses: 100, rotation: 0 };
            let answer = answer(zones, query.question().unwrap(), &room);
            (query, answer)
        }
    };
    let limit = if tcp { 65_535 } else { query.udp_limit() };
    let encoded = encode(&query, &answer, limit);
    Some((Message::from_vec(&encoded.octets).unwrap(), encoded.octets.len()))
}

fn udp(zones: &Zones, message: &Message) -> (Message, usize) {
    respond(zones, &message.to_vec().unwrap(), false).unwrap()
}

#[test]
fn the_answer_keeps_id_rd_and_the_spelling_of_the_question() {
    let (answer, _) = udp(&zones(2), &query("ViDeO.Z.tEsT.", WireType::A));
    assert_eq!(answer.metadata.id, 0x1234);
    assert!(answer.metadata.authoritative && answer.metadata.recursion_desired);
    assert!(!answer.metadata.recursion_available && !answer.metadata.truncation);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert_eq!(answer.queries[0].name().to_ascii(), "ViDeO.Z.tEsT.");
    assert_eq!(answer.answers.len(), 2);
    for record in &answer.answers {
        assert_eq!(record.name.to_ascii(), "ViDeO.Z.tEsT.");
        assert_eq!(record.ttl, 20);
    }
    assert!(answer.edns.is_none());
}

#[test]
fn a_negative_answer_carries_the_soa_with_the_negative_ttl() {
    let (answer, _) = udp(&zones(1), &query("a.text.z.test.", WireType::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    let RData::SOA(soa) = &answer.authorities[0].data else { panic!("no SOA") };
    assert_eq!((answer.authorities[0].ttl, soa.minimum, soa.serial), (5, 5, 7));
    assert_eq!(soa.mname.to_ascii(), "ns1.z.test.");
    assert_eq!(answer.authorities[0].name.to_ascii(), "z.test.");
}

#[test]
fn txt_strings_and_any_survive_the_wire() {
    let (answer, _) = udp(&zones(1), &query("text.z.test.", WireType::TXT));
    let RData::TXT(text) = &answer.answers[0].data else { panic!("no TXT") };
    assert_eq!(
        text.txt_data.iter().map(|string| string.to_vec()).collect::<Vec<_>>(),
        [b"one".to_vec(), b"two".to_vec()]
    );
    let (answer, _) = udp(&zones(1), &query("text.z.test.", WireType::ANY));
    let RData::HINFO(hinfo) = &answer.answers[0].data else { panic!("no HINFO") };
    assert_eq!(&*hinfo.cpu, b"RFC8482");
}

#[test]
fn https_records_are_read_back_by_the_library() {
    let (answer, _) = udp(&zones(1), &query("text.z.test.", WireType::HTTPS));
    assert_eq!(answer.answers.len(), 2);
    let RData::HTTPS(https) = &answer.answers[0].data else { panic!("no HTTPS record") };
    assert_eq!((https.svc_priority, https.target_name.to_ascii().as_str()), (1, "."));
    assert_eq!(https.svc_params.len(), 2);
    assert!(matches!(&https.svc_params[0].1, SvcParamValue::Alpn(alpn) if alpn.0 == ["h2", "http/1.1"]));
    assert!(matches!(&https.svc_params[1].1, SvcParamValue::Port(8443)));
    let RData::HTTPS(https) = &answer.answers[1].data else { panic!("no HTTPS record") };
    assert_eq!((https.svc_priority, https.target_name.to_ascii().as_str()), (2, "text.z.test."));
    assert_eq!(https.svc_params[0].0, SvcParamKey::Unknown(667));
}

#[test]
fn udp_answers_are_clamped_and_hold_as_many_addresses_as_fit() {
    // 28 octets of header and question, 16 octets a record, 11 octets of OPT.
    for (addresses, max_payload, given) in [
        (29, None, 29),
        (40, None, 30),
        (40, Some(0), 29),
        (40, Some(800), 40),
        (73, Some(1232), 73),
        (80, Some(1232), 74),
        (80, Some(4096), 74),
    ] {
        let mut message = query("video.z.test.", WireType::A);
        if let Some(max_payload) = max_payload {
            message = with_edns(message, max_payload);
        }
        let (answer, size) = udp(&zones(addresses), &message);
        assert!(!answer.metadata.truncation, "{addresses} {max_payload:?}");
        assert_eq!(answer.answers.len(), given, "{addresses} {max_payload:?}");
        assert_eq!(answer.edns.is_some(), max_payload.is_some());
        let limit = usize::from(max_payload.unwrap_or(512).clamp(512, 1232));
        assert!(size <= limit && (given == addresses || size + 16 > limit), "{size} of {limit}");
        assert_eq!(answer.queries.len(), 1);
    }
    let subnet = ClientSubnet::new("2001:db8::".parse().unwrap(), 128, 0);
    let mut message = with_edns(query("video.z.test.", WireType::A), 1232);
    message.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Subnet(subnet));
    assert!(!udp(&zones(100), &message).0.metadata.truncation);
}

#[test]
fn an_answer_of_another_type_that_does_not_fit_is_empty_and_truncated() {
    let (answer, size) = udp(&zones(1), &query("long.z.test.", WireType::TXT));
    assert!(answer.metadata.truncation && answer.answers.is_empty() && size <= 512);
    assert_eq!(answer.queries.len(), 1);
    let (answer, _) = respond(&zones(1), &query("long.z.test.", WireType::TXT).to_vec().unwrap(), true).unwrap();
    assert_eq!((answer.metadata.truncation, answer.answers.len()), (false, 1));
}

#[test]
fn tcp_answers_are_whole() {
    let message = query("video.z.test.", WireType::A).to_vec().unwrap();
    let (answer, _) = respond(&zones(100), &message, true).unwrap();
    assert!(!answer.metadata.truncation);
    assert_eq!(answer.answers.len(), 100);
}

#[test]
fn an_unknown_edns_version_is_badvers_with_ours() {
    let mut message = with_edns(query("video.z.test.", WireType::A), 1232);
    message.edns.as_mut().unwrap().set_version(1);
    let octets = message.to_vec().unwrap();
    let Received::Reject(query, Rcode::BadVers) = decode(&octets) else { panic!("not rejected") };
    let (answer, _) = respond(&zones(1), &octets, false).unwrap();
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.unwrap().version(), 0);
    assert!(query.question().is_some() && answer.answers.is_empty());
}

#[test]
fn a_client_subnet_is_answered_with_scope_zero_and_dnssec_ok_is_copied() {
    let mut message = with_edns(query("video.z.test.", WireType::A), 1232);
    let edns = message.edns.as_mut().unwrap();
    edns.set_dnssec_ok(true);
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new("198.51.100.0".parse().unwrap(), 24, 0)));
    edns.options_mut().insert(EdnsOption::Unknown(65_001, vec![1; 8]));
    let edns = udp(&zones(1), &message).0.edns.unwrap();
    let Some(EdnsOption::Subnet(subnet)) = edns.option(EdnsCode::Subnet) else { panic!("no subnet") };
    assert_eq!((subnet.source_prefix(), subnet.scope_prefix()), (24, 0));
    assert!(edns.flags().dnssec_ok);
    assert_eq!(edns.options().as_ref().len(), 1);
}

#[test]
fn other_operations_are_refused_or_not_implemented() {
    for (opcode, expected) in [
        (OpCode::Update, ResponseCode::Refused),
        (OpCode::Notify, ResponseCode::NotImp),
        (OpCode::Status, ResponseCode::NotImp),
        (OpCode::Unknown(9), ResponseCode::NotImp),
    ] {
        let mut message = with_edns(query("z.test.", WireType::SOA), 1232);
        message.metadata.op_code = opcode;
        let (answer, _) = udp(&zones(1), &message);
        assert_eq!(answer.metadata.response_code, expected, "{opcode}");
        assert_eq!(answer.metadata.op_code, opcode);
        assert!(!answer.metadata.authoritative && answer.edns.is_some());
    }
}

#[test]
fn what_is_no_single_question_is_a_format_error() {
    let zones = zones(1);
    let formerr = |octets: &[u8]| {
        let (answer, size) = respond(&zones, octets, false).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
        assert!(size <= octets.len() && answer.answers.is_empty());
    };
    let good = query("video.z.test.", WireType::A).to_vec().unwrap();
    formerr(&good[..12]);
    formerr(&good[..good.len() - 1]);
    for (at, value) in [(5, 0), (5, 2), (7, 1), (9, 2), (11, 200)] {
        let mut octets = good.clone();
        octets[at] = value;
        formerr(&octets);
    }
    let mut long = good;
    long.resize(1233, 0);
    formerr(&long);
    let mut two = query("video.z.test.", WireType::A);
    two.add_query(WireQuery::query(WireName::from_ascii("b.z.test.").unwrap(), WireType::A));
    formerr(&two.to_vec().unwrap());
}

#[test]
fn responses_and_fragments_get_no_answer() {
    let zones = zones(1);
    let mut octets = query("video.z.test.", WireType::A).to_vec().unwrap();
    assert!(respond(&zones, &octets[..11], false).is_none());
    assert!(respond(&zones, &[], false).is_none());
    octets[2] |= 0x80;
    assert!(respond(&zones, &octets, false).is_none());
}

#[test]
fn another_class_is_refused() {
    let mut message = query("video.z.test.", WireType::A);
    message.queries[0].set_query_class(DNSClass::CH);
    let (answer, _) = udp(&zones(1), &message);
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

/// A valid query with some octets changed, cut or added.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let qname = prop_oneof![Just("video.z.test."), Just("z.test."), Just("example.com."), Just(".")];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (qname, any::<u16>(), any::<bool>(), edits, prop::collection::vec(any::<u8>(), 0..40), any::<prop::sample::Index>())
        .prop_map(|(qname, record_type, edns, edits, tail, cut)| {
            let mut message = query(qname, WireType::from(record_type));
            if edns {
                message = with_edns(message, 1232);
            }
            let mut octets = message.to_vec().unwrap();
            octets.extend(tail);
            for (at, value) in edits {
                let at = at.index(octets.len());
                octets[at] = value;
            }
            if cut.index(3) == 0 {
                octets.truncate(cut.index(octets.len()));
            }
            octets
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_octets_panic_and_nothing_outside_our_zones_is_amplified(
        octets in prop_oneof![prop::collection::vec(any::<u8>(), 0..1400), mutated()],
    ) {
        let zones = zones(50);
        let Some((answer, size)) = respond(&zones, &octets, false) else {
            prop_assert!(octets.len() < 12 || octets[2] & 0x80 != 0);
            return Ok(());
        };
        prop_assert!(size <= 1232);
        prop_assert_eq!(&octets[..2], &answer.metadata.id.to_be_bytes());
        if !answer.metadata.authoritative {
            prop_assert!(answer.answers.is_empty() && answer.authorities.is_empty() && answer.additionals.is_empty());
            prop_assert!(size <= octets.len(), "{} octets became {}", octets.len(), size);
        }
    }
}

fn a_name() -> impl Strategy<Value = Name> {
    "[a-z0-9*]{1,20}(\\.[a-z0-9-]{1,30}){0,5}\\.z\\.test".prop_filter_map("a name", |text| text.parse().ok())
}

fn rrset() -> impl Strategy<Value = Rrset> {
    let text = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60).prop_map(Into::into), 1..4);
    let https = prop_oneof![
        Just("1 ."),
        Just("0 svc.z.test."),
        Just("16 svc.z.test. alpn=\"h2,h3\" port=53"),
        Just("2 . key667=\"\\000\\255\" ipv4hint=192.0.2.1 mandatory=ipv4hint"),
    ];
    let https = https.prop_map(|text| text.parse::<Https>().unwrap());
    let sorted = |mut data: RrsetData| {
        match &mut data {
            RrsetData::A(all) => (all.sort(), all.dedup()).1,
            RrsetData::Aaaa(all) => (all.sort(), all.dedup()).1,
            RrsetData::Txt(all) => (all.sort(), all.dedup()).1,
            RrsetData::Https(all) => (all.sort(), all.dedup()).1,
            RrsetData::Ns(all) => (all.sort(), all.dedup()).1,
            RrsetData::Cname(_) | RrsetData::Soa(_) => {}
        }
        data
    };
    let data = prop_oneof![
        prop::collection::vec(any::<[u8; 4]>().prop_map(Into::into), 1..40).prop_map(RrsetData::A),
        prop::collection::vec(any::<[u8; 16]>().prop_map(Into::into), 1..40).prop_map(RrsetData::Aaaa),
        prop::collection::vec(text, 1..10).prop_map(RrsetData::Txt),
        prop::collection::vec(https, 1..5).prop_map(RrsetData::Https),
        prop::collection::vec(a_name(), 1..10).prop_map(RrsetData::Ns),
        a_name().prop_map(RrsetData::Cname),
    ];
    (0..1000_u32, data.prop_map(sorted)).prop_map(|(ttl, data)| Rrset { ttl: Ttl::new(ttl).unwrap(), data })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_what_was_meant(
        sets in prop::collection::btree_map(a_name(), rrset(), 1..12),
        edns in any::<bool>(),
    ) {
        let request = exchange::Request::query(7, "z.test".parse().unwrap(), RecordType::Axfr);
        let mut message = Message::from_vec(&request.encode_query()).unwrap();
        if edns {
            message = with_edns(message, 1232);
        }
        let Received::Query(query) = decode(&message.to_vec().unwrap()) else { panic!("no query") };
        let answers = sets.iter().map(|(name, rrset)| Placed::whole(Owner::Name(name), rrset)).collect();
        let encoded = encode(&query, &Answer { answers, ..Answer::error(Rcode::NoError) }, 65_535);
        prop_assert!(!encoded.truncated);
        let reply = request.read_reply(&encoded.octets, false).unwrap();
        for (name, rrset) in &sets {
            let read = rdata::gather(reply.answers.iter().filter(|record| record.owner == *name));
            prop_assert_eq!(read.values().collect::<Vec<_>>(), [rrset]);
        }
    }
}
