//! Knot DNS as a second opinion: the same records in both servers, the same questions to both, the same answers wanted.
//!
//! Deliberate differences, which are not compared:
//! - ANY: HINFO here (RFC 8482 §4.2), all records there.
//! - AXFR and IXFR: REFUSED here, NOTAUTH there (not asked).
//! - The case of names in record data, which name compression decides (Knot compresses onto the question).
//! - A CNAME loop: both stop, after different numbers of links.

use crate::client::{PATIENCE, query, udp};
use crate::server::{Server, object, zone};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use nearside_dns_sync::limits::MAX_CNAME_CHAIN;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Knot {
    address: SocketAddr,
    process: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Knot {
    fn drop(&mut self) {
        // Best effort: the test is over either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Knot {
    /// Starts an instance with the given (origin, zone file) pairs on a free port of 127.0.0.1.
    fn start(zones: &[(String, String)]) -> Self {
        // The free port may be taken between finding and using it; then Knot ends and another port is tried.
        (0..10).find_map(|_| Self::try_start(zones)).expect("knotd starts and answers")
    }

    fn try_start(zones: &[(String, String)]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let udp_port = UdpSocket::bind(address).ok()?;
        drop((tcp, udp_port));
        let mut config = format!(
            "server:\n  rundir: \"{path}\"\n  listen: 127.0.0.1@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: \"{path}\"\nlog:\n  - target: stderr\n    any: error\n\
             template:\n  - id: default\n    storage: \"{path}\"\n    semantic-checks: off\nzone:\n",
            address.port()
        );
        for (origin, text) in zones {
            std::fs::write(directory.path().join(format!("{origin}.zone")), text).unwrap();
            writeln!(config, "  - domain: {origin}\n    file: \"{origin}.zone\"").unwrap();
        }
        let file = directory.path().join("knot.conf");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("/usr/sbin/knotd")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("/usr/sbin/knotd can be started; it is in the Debian package knot (make test installs it)");
        let mut knot = Self { address, process, _directory: directory };
        knot.answers(zones).then_some(knot)
    }

    /// Waits until every zone is served; false when the process has ended.
    fn answers(&mut self, zones: &[(String, String)]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut buffer = [0; 4096];
        for (origin, _) in zones {
            let question = query(&format!("{origin}."), RecordType::SOA, None).to_vec().unwrap();
            loop {
                if self.process.try_wait().unwrap().is_some() || Instant::now() > deadline {
                    return false;
                }
                // A refused datagram shows as an error on one of these; the loop asks again.
                let _ = socket.send(&question);
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                let answer = Message::from_vec(&buffer[..length]).unwrap();
                if answer.metadata.response_code == ResponseCode::NoError && !answer.answers.is_empty() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        true
    }
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
        let below = sequence.name(origin, &["a", "b", "c"]);
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
            records.push((owner, "TXT", vec!["\"one\" \"two\"".into()]));
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
    let knot = Knot::start(&files.collect::<Vec<_>>());

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
            let mut qname = sequence.name(origin, &["a", "b", "c", "d", "*", "A", "ns1"]);
            qname.push('.');
            for record_type in types {
                let edns = [None, Some(512), Some(1232)][sequence.below(3)];
                let question = query(&qname, record_type, edns);
                let (ours, theirs) = (udp(server.address, &question), udp(knot.address, &question));
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
