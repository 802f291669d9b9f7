//! Knot DNS as a second opinion: the same records in both servers, the same questions to both, the same answers wanted.
//!
//! Deliberate differences, which are not compared:
//! - ANY: HINFO here (RFC 8482 §4.2), all records there.
//! - AXFR and IXFR: REFUSED here, NOTAUTH there (not asked).
//! - The case of names in record data, which name compression decides (Knot compresses onto the question).
//! - A and AAAA sets that do not fit: so many as fit here, TC and none of them there.
//! - A CNAME loop: both stop, after different numbers of links.

use crate::client::{query, tcp, udp};
use crate::server::{Server, object, zone};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use nearside_dns_sync::limits::MAX_CNAME_CHAIN;
use nearside_loadtest::name_servers::{NameServer, Setup, Software, Source, Zone};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Starts Knot with the given (origin, zone file) pairs.
fn knot(zones: impl Iterator<Item = (String, String)>) -> NameServer {
    let zone = |(origin, text)| Zone {
        origin,
        source: Source::File(text),
        update: Vec::new(),
        transfer: Vec::new(),
        notify: Vec::new(),
    };
    let setup = Setup { zones: zones.map(zone).collect(), keys: Vec::new() };
    NameServer::start(Software::Knot, &setup).unwrap()
}

/// What is compared of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rcode: ResponseCode,
    authoritative: bool,
    truncated: bool,
    answers: BTreeSet<String>,
    soa_in_authority: Option<u32>,
}

fn seen(answer: &Message) -> Seen {
    let soa = answer.authorities.iter().find(|record| matches!(record.data, RData::SOA(_)));
    Seen {
        rcode: answer.metadata.response_code,
        authoritative: answer.metadata.authoritative,
        truncated: answer.metadata.truncation,
        answers: answer.answers.iter().map(|record| record.to_string().to_lowercase()).collect(),
        soa_in_authority: soa.map(|record| record.ttl),
    }
}

/// Numbers that are the same in every run.
struct Sequence(u32);

impl Sequence {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(self.0 >> 16).unwrap() % limit
    }

    fn name(&mut self, origin: &str, labels: &[&str]) -> String {
        let depth = self.below(4);
        let below: String = (0..depth).map(|_| format!("{}.", labels[self.below(labels.len())])).collect();
        format!("{below}{origin}")
    }
}

type Records = Vec<(String, &'static str, Vec<String>)>;

/// Random records of a zone: a name is an alias or has data, as both servers demand.
fn records(sequence: &mut Sequence, origin: &str) -> Records {
    let mut records = Records::new();
    let mut names = BTreeSet::new();
    for _ in 0..12 {
        let below = sequence.name(origin, &["a", "b", "c", "a--k3x7a"]);
        let owner = if sequence.below(3) == 0 { format!("*.{below}") } else { below };
        if owner == format!("ns1.{origin}") || !names.insert(owner.clone()) {
            continue;
        }
        let kind = sequence.below(5);
        if kind == 0 && owner != origin {
            let target = match sequence.below(4) {
                0 => "www.example.com".to_owned(),
                _ => sequence.name(origin, &["a", "b", "c", "d"]),
            };
            records.push((owner, "CNAME", vec![target]));
            continue;
        }
        if kind != 1 {
            let count = 1 + sequence.below(40);
            records.push((owner.clone(), "A", (0..count).map(|i| format!("192.0.2.{i}")).collect()));
        }
        if kind != 2 {
            records.push((owner.clone(), "AAAA", vec!["2001:db8::1".into(), "2001:db8::2".into()]));
        }
        if kind > 2 {
            records.push((owner.clone(), "TXT", vec!["\"one\" \"two\"".into()]));
        }
        if kind.is_multiple_of(2) {
            let records_of_service = ["1 . alpn=\"h2,http/1.1\" port=8443", "2 svc.example.com. key667=\"x\\210\""];
            records.push((owner, "HTTPS", records_of_service.map(Into::into).into()));
        }
    }
    records
}

fn zone_file(origin: &str, serial: u32, records: &Records) -> String {
    let mut text = format!(
        "$ORIGIN {origin}.\n@ 30 SOA ns1 hostmaster {serial} 3600 600 604800 5\n@ 3600 NS ns1\nns1 3600 A 192.0.2.53\n"
    );
    for (owner, record_type, targets) in records {
        for target in targets {
            let dot = if *record_type == "CNAME" { "." } else { "" };
            writeln!(text, "{owner}. 30 {record_type} {target}{dot}").unwrap();
        }
    }
    text
}

#[test]
fn answers_agree_with_knot() {
    let mut sequence = Sequence(20_261_123);
    let origins: Vec<String> = (0..8).map(|i| format!("z{i}.test")).collect();
    let all: Vec<Records> = origins.iter().map(|origin| records(&mut sequence, origin)).collect();
    let objects = all.iter().enumerate().map(|(index, records)| {
        let records: Vec<_> =
            records.iter().map(|(owner, kind, targets)| (owner.as_str(), *kind, targets.as_slice())).collect();
        object(&format!("zone-{index}"), &records)
    });
    let server = Server::start("127.0.0.1:0", origins.iter().map(|origin| zone(origin)).collect(), objects.collect());
    assert!(server.metric("nearside_dns_rejected_endpoints") < 0.5, "both servers hold the same records");
    let zones = server.store.zones().load_full();
    let files = origins.iter().zip(&all).map(|(origin, records)| {
        let serial = zones.find(&origin.parse().unwrap()).unwrap().serial();
        (origin.clone(), zone_file(origin, serial, records))
    });
    let knot = knot(files);

    let types = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::TXT,
        RecordType::CNAME,
        RecordType::NS,
        RecordType::SOA,
        RecordType::MX,
        RecordType::HTTPS,
        RecordType::DS,
        RecordType::ANY,
    ];
    let mut compared = 0;
    for origin in origins.iter().map(String::as_str).chain(["example.com", "test"]) {
        for _ in 0..40 {
            let mut qname = sequence.name(origin, &["a", "b", "c", "d", "*", "A", "ns1", "a--k3x7a", "b--k3x7a"]);
            qname.push('.');
            for record_type in types {
                let edns = [None, Some(512), Some(1232)][sequence.below(3)];
                let question = query(&qname, record_type, edns);
                let (ours, theirs) = (udp(server.address, &question), udp(knot.address(), &question));
                if is_alias_loop(&ours) || is_alias_loop(&theirs) {
                    continue;
                }
                let (mut ours, mut theirs) = (seen(&ours), seen(&theirs));
                if record_type == RecordType::ANY {
                    let there = !theirs.answers.is_empty() || theirs.truncated;
                    assert_eq!(!ours.answers.is_empty(), there, "{qname} ANY");
                    ours.answers.clear();
                    theirs.answers.clear();
                    theirs.truncated = false;
                }
                if theirs.truncated && !ours.truncated && matches!(record_type, RecordType::A | RecordType::AAAA) {
                    let whole = seen(&tcp(knot.address(), &question)).answers;
                    assert!(ours.answers.is_subset(&whole), "{qname} {record_type} with EDNS {edns:?}");
                    // What Knot gives beside TC are the aliases on the way.
                    assert!(theirs.answers.is_subset(&whole), "{qname} {record_type} with EDNS {edns:?}");
                    ours.answers.clear();
                    theirs.answers.clear();
                    theirs.truncated = false;
                }
                assert_eq!(ours, theirs, "ours and Knot's: {qname} {record_type} with EDNS {edns:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 2000, "only {compared} answers compared");
}

/// Whether the aliases in the answer lead back to one of them.
fn is_alias_loop(answer: &Message) -> bool {
    let aliases: Vec<(String, String)> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::CNAME(target) => Some((record.name.to_lowercase().to_string(), target.0.to_lowercase().to_string())),
            _ => None,
        })
        .collect();
    let last = aliases.last().map(|(_, target)| target);
    aliases.iter().any(|(owner, _)| Some(owner) == last) || aliases.len() > MAX_CNAME_CHAIN
}
