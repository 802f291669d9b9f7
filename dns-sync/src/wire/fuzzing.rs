//! The fuzz targets of messages: octets of resolvers and of other name servers flow in. What is read and written by hand means what
//! the library reads and writes, and no answer is larger than its client takes.

use super::exchange::Request;
use super::rdata::{wire_data, wire_name};
use super::tsig::{Algorithm, Key, replies};
use super::*;
use crate::answer::{Room, answer};
use crate::desired::{DesiredEndpoint, DesiredObject, ObjectKey, parse};
use crate::fuzzing::records::zones;
use crate::name::Name;
use crate::zone::Zones;
use std::sync::{Arc, LazyLock};

/// See [`crate::fuzzing::dns_query`].
pub(crate) fn query(octets: &[u8]) {
    read_alike(octets);
    let (query, answer) = match decode(octets) {
        Received::Drop => {
            assert!(octets.len() < 12 || octets[2] & 0x80 != 0);
            return;
        }
        Received::Reject(query, rcode) => (query, Answer::error(rcode)),
        Received::Query(query) => {
            let room = Room { octets: query.room(query.udp_limit()), addresses: 100, rotation: 0x5555_5555 };
            let answer = answer(&ZONES, query.question().expect("a query has one"), &room);
            (query, answer)
        }
    };
    for limit in [query.udp_limit(), usize::from(u16::MAX)] {
        let encoded = encode(&query, &answer, limit);
        assert!(encoded.octets.len() <= limit && encoded.octets[..2] == octets[..2]);
        assert!(matches!(decode(&encoded.octets), Received::Drop), "an answer is answered");
        let read = Message::from_vec(&encoded.octets).expect("the library reads what is written");
        assert_eq!(read.metadata.truncation, encoded.truncated);
        let library = encode_by_library(&query, &answer, limit);
        assert_eq!(encoded.truncated, library.truncated);
        if answer.authoritative {
            let library = Message::from_vec(&library.octets).expect("it is its own");
            assert_eq!(
                (read.answers.len(), read.authorities.len()),
                (library.answers.len(), library.authorities.len())
            );
        } else {
            // Nobody's zone makes a small question a large answer.
            assert!(encoded.octets.len() <= octets.len(), "{} became {}", octets.len(), encoded.octets.len());
        }
    }
    let key = Key::new("key.test".parse().expect("a name"), Algorithm::HmacSha256, *b"a secret").map(Arc::new);
    let verdict = replies::verify(octets, key.iter(), 1_700_000_000);
    assert!(!matches!(verdict, replies::Verdict::Accepted(..)), "signed without the key");
}

/// What is read by hand, the library reads too, and as the same.
fn read_alike(octets: &[u8]) {
    let Received::Query(ours) = decode(octets) else { return };
    if ours.plain.is_none() {
        return;
    }
    let header = Header::read(octets).expect("a query has one");
    let Received::Query(library) = decode_by_library(&header, octets) else { panic!("the library reads no query") };
    assert_eq!(ours.question, library.question);
    assert_eq!(ours.metadata, library.metadata);
    // The library knows no smaller size than that of plain DNS, which is what an answer is cut to.
    let edns = |query: &Query| query.edns.as_ref().map(|edns| (edns.dnssec_ok, edns.cookie));
    assert_eq!((edns(&ours), ours.udp_limit()), (edns(&library), library.udp_limit()));
    assert_eq!((ours.is_signed, ours.serial), (library.is_signed, library.serial));
}

/// See [`crate::fuzzing::dns_reply`].
pub(crate) fn reply(octets: &[u8]) {
    let id = octets.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let zone: Name = "z.test".parse().expect("a name");
    for record_type in [RecordType::A, RecordType::Txt, RecordType::Https, RecordType::Axfr, RecordType::Soa] {
        let request = Request::query(id, zone.clone(), record_type);
        for further in [false, true] {
            let Ok(reply) = request.read_reply(octets, further) else { continue };
            assert!(octets.len() >= 12 + 11 * reply.answers.len(), "a record has 11 octets at least");
            drop(rdata::gather(&reply.answers));
            let again =
                request.read_reply(&written(&request, &reply.answers), further).expect("what was read is written");
            let comparable = |records: &[rdata::ReadRecord]| -> Vec<rdata::ReadRecord> {
                records.iter().filter(|record| is_whole(record)).cloned().collect()
            };
            assert_eq!(again.answers, comparable(&reply.answers));
        }
    }
    for request in [Request::update(id, zone.clone()), Request::notify(id, zone)] {
        if let Ok(reply) = request.read_reply(octets, false) {
            assert!(reply.answers.is_empty(), "an answer to what was no question");
        }
    }
}

/// Whether all of a record has a form of ours; the times of an SOA are cut where they are beyond all reason.
fn is_whole(record: &rdata::ReadRecord) -> bool {
    record.data.as_ref().is_some_and(|data| !matches!(data, RrsetData::Soa(_)))
}

/// The records as the library writes them.
fn written(request: &Request, records: &[rdata::ReadRecord]) -> Vec<u8> {
    let mut message = Message::from_vec(&request.encode_query()).expect("a query");
    message.metadata.message_type = MessageType::Response;
    for record in records.iter().filter(|record| is_whole(record)) {
        let data = record.data.iter().flat_map(wire_data);
        let owner = wire_name(&record.owner);
        message.answers.extend(data.map(|data| Record::from_rdata(owner.clone(), record.ttl.seconds(), data)));
    }
    message.to_vec().expect("no more than was read")
}

static ZONES: LazyLock<Zones> = LazyLock::new(|| {
    let endpoint = |dns_name: &str, record_type: &str, targets: Vec<String>| DesiredEndpoint {
        dns_name: dns_name.into(),
        record_type: record_type.into(),
        targets,
        record_ttl: Some(20),
    };
    let endpoints = vec![
        endpoint("*.z.test", "A", (0..50).map(|i| format!("198.18.0.{i}")).collect()),
        endpoint("text.z.test", "TXT", vec!["\"one\" \"two\"".into()]),
        endpoint("long.z.test", "TXT", vec!["x".repeat(700)]),
        endpoint("text.z.test", "HTTPS", vec!["1 . alpn=\"h2,http/1.1\" port=8443".into()]),
        endpoint("web.z.test", "HTTPS", vec!["1 other.z.test. alpn=h2".into(), "2 ns1.z.test.".into()]),
        endpoint("alias.z.test", "CNAME", vec!["text.z.test".into()]),
    ];
    let key = ObjectKey { namespace: "router".into(), name: "all".into() };
    zones(&[parse(&DesiredObject { key, endpoints, ..DesiredObject::default() })])
});
