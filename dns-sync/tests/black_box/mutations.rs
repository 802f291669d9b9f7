//! Messages broken on purpose, by the million: each gets an answer that is one, no larger than it may be, or none. The numbers are
//! the same in every run.

use crate::client::{addresses, ips, query, udp};
use crate::server::{Server, object, zone};
use hickory_proto::op::{Edns, Message, OpCode};
use hickory_proto::rr::RecordType;
use nearside_dns_sync::metrics::Metrics;
use nearside_dns_sync::serve::{Answering, Client, Protocol, Reply, Responder, TransferKeys};
use nearside_dns_sync::wire::exchange::Request;
use nearside_dns_sync::wire::tsig::{Algorithm, Key, requests};
use nearside_dns_sync::zone_store::{Change, ZoneStore};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Messages in this process. With each some octets of a good one are changed, moved, cut or added.
const MESSAGES: u32 = 1_000_000;

/// Messages over sockets.
const DATAGRAMS: u32 = 20_000;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit.max(1)
    }

    fn octet(&mut self) -> u8 {
        // Values at which lengths, pointers, flags and counts change their meaning come more often.
        const EDGES: [u8; 12] = [0, 1, 2, 12, 28, 41, 63, 64, 127, 192, 250, 255];
        if self.below(2) == 0 { EDGES[self.below(EDGES.len())] } else { self.next().to_be_bytes()[0] }
    }

    fn mutate(&mut self, seeds: &[Vec<u8>], octets: &mut Vec<u8>) {
        octets.clear();
        octets.extend(&seeds[self.below(seeds.len())]);
        for _ in 0..=self.below(4) {
            let (at, length) = (self.below(octets.len()), octets.len());
            match self.below(8) {
                0..4 if length > 0 => octets[at] = self.octet(),
                4 => octets.truncate(at),
                5 => octets.extend_from_within(at..),
                6 => octets.insert(at, self.octet()),
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    octets.truncate(at);
                    octets.extend(&other[self.below(other.len())..]);
                }
            }
        }
        octets.truncate(4096);
    }
}

fn key() -> Arc<Key> {
    Arc::new(Key::new("transfer".parse().unwrap(), Algorithm::HmacSha256, &b"secret"[..]).unwrap())
}

/// Good messages of every kind that comes to a name server.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for name in
        ["video.apps.test.", "x.wild.apps.test.", "alias.apps.test.", "a--k3x7a.apps.test.", "gone.apps.test.", "."]
    {
        for record_type in [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::TXT, RecordType::ANY] {
            seeds.push(query(name, record_type, None).to_vec().unwrap());
            seeds.push(query(name, record_type, Some(4096)).to_vec().unwrap());
        }
    }
    let mut cookie = query("video.apps.test.", RecordType::A, Some(1232));
    let options = cookie.edns.get_or_insert_with(Edns::new).options_mut();
    options.insert(hickory_proto::rr::rdata::opt::EdnsOption::Unknown(10, vec![7; 8]));
    options.insert(hickory_proto::rr::rdata::opt::EdnsOption::Unknown(12, vec![0; 64]));
    seeds.push(cookie.to_vec().unwrap());
    for opcode in [OpCode::Update, OpCode::Notify, OpCode::Status] {
        let mut message = query("apps.test.", RecordType::SOA, None);
        message.metadata.op_code = opcode;
        seeds.push(message.to_vec().unwrap());
    }
    for record_type in [nearside_dns_sync::record::RecordType::Axfr, nearside_dns_sync::record::RecordType::Soa] {
        let mut octets = Request::query(7, "apps.test".parse().unwrap(), record_type).encode_query();
        seeds.push(octets.clone());
        requests::sign(&key(), &mut octets, 1_900_000_000);
        seeds.push(octets);
    }
    seeds
}

fn records() -> Vec<(&'static str, &'static str, &'static [&'static str])> {
    vec![
        ("video.apps.test", "A", &["192.0.2.1", "192.0.2.2"]),
        ("video.apps.test", "HTTPS", &["1 . alpn=\"h2\""]),
        ("*.wild.apps.test", "TXT", &["\"one\" \"two\""]),
        ("*--k3x7a.apps.test", "A", &["192.0.2.1"]),
        ("alias.apps.test", "CNAME", &["video.apps.test"]),
    ]
}

/// What holds for every answer, whatever was asked.
fn check(asked: &[u8], answer: &[u8], protocol: Protocol) {
    let limit = if protocol == Protocol::Udp { 1232 } else { 65_535 };
    assert!(answer.len() <= limit, "{} octets for {asked:02x?}", answer.len());
    assert_eq!(answer[..2], asked[..2], "the id of {asked:02x?}");
    assert!(answer[2] & 0x80 != 0 && asked[2] & 0x80 == 0, "a response was answered: {asked:02x?}");
    assert_eq!(answer[3] & 0x80, 0, "no recursion");
}

#[test]
fn a_million_broken_messages_do_no_harm() {
    let metrics = Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap());
    let mut store = ZoneStore::new(vec![zone("apps.test")], Arc::clone(&metrics));
    store.take(Change::Reset(vec![object("all", &records())]));
    store.publish();
    let keys = TransferKeys::default();
    keys.store(Arc::new(vec![key()]));
    let responder = Responder::new(store.zones(), metrics, &Answering::default(), keys);
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let responder = &responder;
            scope.spawn(move || {
                let (seeds, mut random, mut octets) = (seeds(), Random(0x5eed + thread), Vec::new());
                let (mut answered, mut decoded) = (0, 0);
                for index in 0..MESSAGES / u32::try_from(threads).unwrap() {
                    random.mutate(&seeds, &mut octets);
                    let protocol = if index % 4 == 0 { Protocol::Tcp } else { Protocol::Udp };
                    let client = Client { address: [127, 0, 0, 1].into(), protocol };
                    let Reply::Message(answer) = responder.respond(&octets, client) else { continue };
                    check(&octets, &answer, protocol);
                    answered += 1;
                    if index % 16 == 0 {
                        Message::from_vec(&answer)
                            .unwrap_or_else(|error| panic!("{error}: {answer:02x?} to {octets:02x?}"));
                        decoded += 1;
                    }
                }
                assert!(answered > 100_000 && decoded > 5000, "{answered} answered, {decoded} decoded");
            });
        }
    });
}

#[test]
fn a_normal_client_is_served_while_broken_messages_come() {
    let server = Server::start("127.0.0.1:0", vec![zone("apps.test")], vec![object("all", &records())]);
    let (address, done) = (server.address, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (seeds, mut random, mut octets) = (seeds(), Random(0xbad), Vec::new());
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut buffer = [0; 65_535];
            for _ in 0..DATAGRAMS {
                random.mutate(&seeds, &mut octets);
                let _ = socket.send(&octets);
                while let Ok(length) = socket.recv(&mut buffer) {
                    assert!(length <= 1232);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut served = 0;
        while !done.load(Ordering::Relaxed) || served == 0 {
            let answer = udp(address, &query("video.apps.test.", RecordType::A, Some(1232)));
            assert_eq!(addresses(&answer), ips(["192.0.2.1", "192.0.2.2"]));
            served += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}
