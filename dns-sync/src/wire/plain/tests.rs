//! What is written by hand against what the library writes and reads: for every plain query both must mean the same.

use crate::answer::{Answer, Rcode, Room, answer};
use crate::wire::tests::{query, with_edns, zones};
use crate::wire::{Header, Received, decode, decode_by_library, encode, encode_by_library};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType as WireType;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use proptest::prelude::*;

/// What both ways write for the same octets, as the library reads it.
fn both(octets: &[u8], addresses: usize) -> Option<(Message, Message)> {
    let zones = zones(addresses);
    let (query, answer) = match decode(octets) {
        Received::Drop => return None,
        Received::Reject(query, rcode) => (query, Answer::error(rcode)),
        Received::Query(query) => {
            let room = Room { octets: query.room(query.udp_limit()), addresses: 100, rotation: 0 };
            let answer = answer(&zones, query.question().unwrap(), &room);
            (query, answer)
        }
    };
    let limit = query.udp_limit();
    let (ours, library) = (encode(&query, &answer, limit), encode_by_library(&query, &answer, limit));
    assert_eq!(ours.truncated, library.truncated);
    assert!(ours.octets.len() <= limit);
    Some((Message::from_vec(&ours.octets).unwrap(), Message::from_vec(&library.octets).unwrap()))
}

/// What is read by hand, the library must read too, and as the same.
fn read_alike(octets: &[u8]) -> Result<(), TestCaseError> {
    let Received::Query(ours) = decode(octets) else { return Ok(()) };
    let Some(asked) = ours.plain.as_ref() else { return Ok(()) };
    let header = Header::read(octets).unwrap();
    let Received::Query(library) = decode_by_library(&header, octets) else {
        return Err(TestCaseError::fail(format!("the library reads no query in {octets:?}")));
    };
    prop_assert_eq!(&ours.question, &library.question);
    prop_assert_eq!(&ours.metadata, &library.metadata);
    prop_assert_eq!(&ours.edns, &library.edns);
    prop_assert_eq!((ours.is_signed, ours.serial), (library.is_signed, library.serial));
    prop_assert_eq!(ours.asked().unwrap().name().to_ascii(), library.asked().unwrap().name().to_ascii());
    prop_assert_eq!(asked.len(), library.question.as_ref().unwrap().name.as_wire().len() + 4);
    Ok(())
}

fn names() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        "[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,10}[a-zA-Z0-9_])?",
        Just("*".to_owned()),
        Just("text".to_owned()),
        Just("TeXT".to_owned()),
        Just("weB".to_owned())
    ];
    let zone =
        prop_oneof![Just("z.test."), Just("Z.Test."), Just("ns1.z.test."), Just("test."), Just("other.example.")];
    (proptest::collection::vec(label, 0..4), zone)
        .prop_map(|(labels, zone)| labels.iter().map(|label| format!("{label}.")).chain([zone.to_owned()]).collect())
}

fn cookies() -> impl Strategy<Value = Option<(EdnsCode, EdnsOption)>> {
    let length = prop_oneof![Just(8), Just(24), 0..45_usize];
    let octets = length.prop_flat_map(|length| proptest::collection::vec(any::<u8>(), length));
    let option = octets.prop_map(|octets| (EdnsCode::Cookie, EdnsOption::Unknown(EdnsCode::Cookie.into(), octets)));
    proptest::option::of(option)
}

fn types() -> impl Strategy<Value = WireType> {
    prop_oneof![
        Just(WireType::A),
        Just(WireType::AAAA),
        Just(WireType::SOA),
        Just(WireType::NS),
        Just(WireType::TXT),
        Just(WireType::HTTPS),
        Just(WireType::ANY)
    ]
}

proptest! {
    #[test]
    fn what_is_written_by_hand_means_what_the_library_would_have_written(
        name in names(),
        kind in types(),
        edns in proptest::option::of(0..5000_u16),
        dnssec_ok: bool,
        cookie in cookies(),
        addresses in 1..120_usize,
    ) {
        let mut message = query(&name, kind);
        if let Some(max_payload) = edns {
            message = with_edns(message, max_payload);
            let edns = message.edns.as_mut().unwrap();
            edns.set_dnssec_ok(dnssec_ok);
            edns.options_mut().options.extend(cookie);
        }
        let (ours, library) = both(&message.to_vec().unwrap(), addresses).unwrap();
        prop_assert_eq!(ours.metadata, library.metadata);
        prop_assert_eq!(ours.queries[0].name().to_ascii(), library.queries[0].name().to_ascii());
        prop_assert_eq!(ours.queries, library.queries);
        prop_assert_eq!(ours.answers, library.answers);
        prop_assert_eq!(ours.authorities, library.authorities);
        prop_assert_eq!(ours.additionals, library.additionals);
        prop_assert_eq!(ours.edns, library.edns);
    }

    #[test]
    fn what_is_read_by_hand_is_what_the_library_would_have_read(
        name in names(),
        kind in types(),
        edns in proptest::option::of(any::<u16>()),
        cookie in cookies(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut message = query(&name, kind);
        if let Some(max_payload) = edns {
            message = with_edns(message, max_payload);
            message.edns.as_mut().unwrap().options_mut().options.extend(cookie);
        }
        let mut octets = message.to_vec().unwrap();
        for (place, octet) in changes {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        if let Some(cut) = cut {
            octets.truncate(cut.index(octets.len()) + 1);
        }
        read_alike(&octets)?;
        if let Some((ours, library)) = both(&octets, 3) {
            prop_assert_eq!(ours, library);
        }
    }

    #[test]
    fn octets_at_random_behind_a_header_get_the_same_answer(
        rest in proptest::collection::vec(any::<u8>(), 0..80),
        additionals in 0..2_u8,
    ) {
        let mut octets = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, additionals];
        octets.extend(&rest);
        read_alike(&octets)?;
        if let Some((ours, library)) = both(&octets, 3) {
            prop_assert_eq!(ours, library);
        }
    }
}

#[test]
fn the_common_queries_are_plain_and_those_with_options_are_not() {
    let is_plain = |message: &Message| super::read(&message.to_vec().unwrap()).is_some();
    assert!(is_plain(&query("video.z.test.", WireType::A)));
    let mut message = with_edns(query("video.z.test.", WireType::AAAA), 1232);
    assert!(is_plain(&message));
    let subnet = ClientSubnet::new("198.51.100.0".parse().unwrap(), 24, 0);
    message.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Subnet(subnet));
    assert!(!is_plain(&message));
    let mut longer = query("video.z.test.", WireType::A).to_vec().unwrap();
    longer.push(0);
    assert!(super::read(&longer).is_none());
}

#[test]
fn an_error_names_the_question_as_well() {
    let octets = query("ElseWhere.example.", WireType::A).to_vec().unwrap();
    let Received::Query(query) = decode(&octets) else { panic!("a query") };
    let refused = Message::from_vec(&encode(&query, &Answer::error(Rcode::Refused), 512).octets).unwrap();
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    assert_eq!(refused.queries[0].name().to_ascii(), "ElseWhere.example.");
}
