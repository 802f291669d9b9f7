//! Secondaries: real BIND and Knot follow the zone by signed transfers, and nobody without the key gets it.

use crate::client::{PATIENCE, TcpClient, addresses, eventually, ips, query, udp};
use crate::server::{Server, object, zone};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use nearside_dns_sync::serve::{Answering, TransferKeys};
use nearside_dns_sync::wire::exchange::Request;
use nearside_dns_sync::wire::tsig::requests::{self, Verdict};
use nearside_dns_sync::wire::tsig::{Algorithm, Key};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const SECRET: &[u8] = b"a secret of thirty-two octets...";
const SECRET_TEXT: &str = "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBvY3RldHMuLi4=";

pub(crate) fn key(name: &str, secret: &[u8]) -> Arc<Key> {
    Arc::new(Key::new(name.parse().unwrap(), Algorithm::HmacSha256, secret).unwrap())
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A server whose zones may be transferred with the key `transfer`.
fn primary(records: &[(&str, &str, &[&str])]) -> Server {
    let keys = TransferKeys::default();
    keys.store(Arc::new(vec![key("transfer", SECRET)]));
    let objects = vec![object("all", records)];
    Server::start_with("127.0.0.1:0", vec![zone("apps.test")], objects, &Answering::default(), keys)
}

/// A name server of another make, in a directory of its own.
struct Secondary {
    address: SocketAddr,
    process: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Secondary {
    fn drop(&mut self) {
        // Best effort: the test is over either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Secondary {
    /// Starts one that transfers apps.test from the primary; `configure` writes its files and gives its command.
    fn start(primary: SocketAddr, configure: fn(&Path, SocketAddr, SocketAddr) -> Command) -> Self {
        // The free port may be taken between finding and using it; then the program ends and another port is tried.
        (0..10).find_map(|_| Self::try_start(primary, configure)).expect("the secondary starts and has the zone")
    }

    fn try_start(primary: SocketAddr, configure: fn(&Path, SocketAddr, SocketAddr) -> Command) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let free = UdpSocket::bind(address).ok()?;
        drop((tcp, free));
        let mut command = configure(directory.path(), address, primary);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.unwrap_or_else(|error| panic!("{command:?}: {error}; make test installs it"));
        let mut secondary = Self { address, process, _directory: directory };
        secondary.has_the_zone().then_some(secondary)
    }

    fn has_the_zone(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.process.try_wait().unwrap().is_none() {
            if self.serial().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn ask(&self, name: &str, record_type: RecordType) -> Option<Message> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket.send(&query(name, record_type, Some(1232)).to_vec().unwrap()).ok()?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).ok()?;
        Message::from_vec(&buffer[..length]).ok()
    }

    fn serial(&self) -> Option<u32> {
        serial(&self.ask("apps.test.", RecordType::SOA)?)
    }
}

fn serial(answer: &Message) -> Option<u32> {
    answer.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

fn bind(directory: &Path, own: SocketAddr, primary: SocketAddr) -> Command {
    let config = format!(
        "options {{ directory \"{path}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none; \
         session-keyfile none; recursion no; dnssec-validation no; notify no; }};\ncontrols {{ }};\n\
         key \"transfer\" {{ algorithm hmac-sha256; secret \"{SECRET_TEXT}\"; }};\n\
         zone \"apps.test\" {{ type secondary; primaries {{ 127.0.0.1 port {primary} key \"transfer\"; }}; file \"apps.test.db\"; \
         min-refresh-time 3600; }};\n",
        path = directory.display(),
        port = own.port(),
        primary = primary.port(),
    );
    let file = directory.join("named.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("/usr/sbin/named");
    command.args(["-g", "-n", "1", "-c"]).arg(file);
    command
}

fn knot(directory: &Path, own: SocketAddr, primary: SocketAddr) -> Command {
    let config = format!(
        "server:\n  rundir: \"{path}\"\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{path}\"\nlog:\n  - target: stderr\n    any: error\n\
         key:\n  - id: transfer\n    algorithm: hmac-sha256\n    secret: {SECRET_TEXT}\n\
         remote:\n  - id: primary\n    address: 127.0.0.1@{primary}\n    key: transfer\n\
         acl:\n  - id: notify\n    key: transfer\n    action: notify\n\
         template:\n  - id: default\n    storage: \"{path}\"\n\
         zone:\n  - domain: apps.test\n    master: primary\n    acl: notify\n    refresh-min-interval: 3600\n",
        path = directory.display(),
        port = own.port(),
        primary = primary.port(),
    );
    let file = directory.join("knot.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("/usr/sbin/knotd");
    command.arg("-c").arg(file);
    command
}

/// The secondary gets what is there, is told of each change, and answers as the primary does.
fn follows(configure: fn(&Path, SocketAddr, SocketAddr) -> Command) {
    let texts: Vec<String> = (0..60).map(|index| format!("\"{index} {}\"", "x".repeat(200))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let many: Vec<String> = (0..150).map(|index| format!("198.18.0.{index}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let records: Vec<(&str, &str, &[&str])> = vec![
        ("video.apps.test", "A", &["192.0.2.1", "192.0.2.2"]),
        ("video.apps.test", "AAAA", &["2001:db8::1"]),
        ("video.apps.test", "HTTPS", &["1 . alpn=\"h2,http/1.1\" port=8443"]),
        ("*.wild.apps.test", "A", &["192.0.2.3"]),
        ("*--k3x7a.apps.test", "A", &["192.0.2.1"]),
        ("alias.apps.test", "CNAME", &["video.apps.test"]),
        // More than one message.
        ("text.apps.test", "TXT", &texts),
        // BIND takes no zone with more than 100 records of one name and type.
        ("many.apps.test", "A", &many),
    ];
    let mut primary = primary(&records);
    let secondary = Secondary::start(primary.address, configure);
    primary.notify(secondary.address);
    for generation in 0..3 {
        for (name, record_type) in [
            ("video.apps.test.", RecordType::A),
            ("video.apps.test.", RecordType::AAAA),
            ("video.apps.test.", RecordType::HTTPS),
            ("x.wild.apps.test.", RecordType::A),
            ("x.wild.apps.test.", RecordType::AAAA),
            ("alias.apps.test.", RecordType::A),
            ("apps.test.", RecordType::NS),
            ("gone.apps.test.", RecordType::A),
            ("new2.apps.test.", RecordType::A),
        ] {
            let content = |answer: &Message| {
                let records: BTreeSet<String> = answer.answers.iter().map(ToString::to_string).collect();
                (answer.metadata.response_code, answer.metadata.authoritative, records)
            };
            let ours = content(&udp(primary.address, &query(name, record_type, Some(1232))));
            eventually(&format!("the secondary answers alike for {name} {record_type}"), || {
                secondary.ask(name, record_type).is_some_and(|theirs| content(&theirs) == ours)
            });
        }
        let changed = format!("192.0.2.{}", 100 + generation);
        let (changed, new) = ([changed.as_str()], format!("new{generation}.apps.test"));
        let mut records = records.clone();
        records[0].2 = &changed;
        records.push((&new, "A", &["192.0.2.9"]));
        primary.publish(vec![object("all", &records)]);
        let serial = serial(&udp(primary.address, &query("apps.test.", RecordType::SOA, None)));
        eventually("the secondary has the new serial", || secondary.serial() == serial);
    }
    // A wildcard alias is no record, so it is not transferred.
    let alias = secondary.ask("video--k3x7a.apps.test.", RecordType::A).unwrap();
    assert_eq!(alias.metadata.response_code, ResponseCode::NXDomain);
    assert!(primary.metric("nearside_dns_transfers_total") > 2.5);
}

#[test]
fn bind_follows_as_a_secondary() {
    follows(bind);
}

#[test]
fn knot_follows_as_a_secondary() {
    follows(knot);
}

/// What a request for the whole zone gets: the result, the TSIG error, and the messages.
pub(crate) fn transfer(
    server: SocketAddr,
    request: &Request,
    key: Option<&Arc<Key>>,
    time: u64,
) -> (u16, u16, Vec<Message>) {
    let mut octets = request.encode_query();
    let mut verifier = key.map(|key| requests::sign(key, &mut octets, time));
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length[..], &octets].concat()).unwrap();
    let (mut messages, mut result, mut soas) = (Vec::new(), (0, 0), 0);
    while soas < 2 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut octets).unwrap();
        let octets = match verifier.as_mut().map(|verifier| verifier.verify(&octets, time)) {
            Some(Ok(Verdict::Signed { message, error, .. })) => {
                result.1 = error;
                message
            }
            Some(Ok(Verdict::NotTaken { error })) => {
                result.1 = error;
                octets
            }
            None | Some(Ok(Verdict::Unsigned)) => octets,
            other => panic!("{other:?}"),
        };
        let message = Message::from_vec(&octets).unwrap();
        result.0 = u16::from(message.metadata.response_code);
        soas += message.answers.iter().filter(|record| matches!(record.data, RData::SOA(_))).count();
        let (alone, is_done) = (message.answers.len() == 1, result.0 != 0);
        messages.push(message);
        if is_done || (alone && messages.len() == 1) {
            break;
        }
    }
    (result.0, result.1, messages)
}

#[test]
fn a_zone_goes_to_nobody_without_the_key() {
    let server = primary(&[("video.apps.test", "A", &["192.0.2.1"])]);
    let axfr = Request::query(7, "apps.test".parse().unwrap(), nearside_dns_sync::record::RecordType::Axfr);
    let result = |key: Option<&Arc<Key>>, time| {
        let (rcode, error, messages) = transfer(server.address, &axfr, key, time);
        assert!(rcode == 0 || messages.iter().all(|message| message.answers.is_empty()));
        (rcode, error)
    };
    let right = key("transfer", SECRET);
    assert_eq!(result(None, now()), (5, 0), "REFUSED");
    assert_eq!(result(Some(&key("other", SECRET)), now()), (9, 17), "NOTAUTH, BADKEY");
    assert_eq!(result(Some(&key("transfer", b"another secret")), now()), (9, 16), "NOTAUTH, BADSIG");
    assert_eq!(result(Some(&right), now() - 1000), (9, 18), "NOTAUTH, BADTIME");
    assert_eq!(result(Some(&right), now()), (0, 0));
    for name in ["video.apps.test", "example.com"] {
        let elsewhere = Request::query(7, name.parse().unwrap(), nearside_dns_sync::record::RecordType::Axfr);
        assert_eq!(transfer(server.address, &elsewhere, Some(&right), now()).0, 9, "NOTAUTH for {name}");
    }
    // Over UDP there is no AXFR, and no other question needs a signature.
    let refused = udp(server.address, &query("apps.test.", RecordType::AXFR, None));
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    assert_eq!(addresses(&udp(server.address, &query("video.apps.test.", RecordType::A, None))), ips(["192.0.2.1"]));
}

#[test]
fn a_large_zone_comes_whole_in_many_signed_messages() {
    let names: Vec<String> = (0..3000).map(|index| format!("n{index}.apps.test")).collect();
    let records: Vec<(&str, &str, &[&str])> =
        names.iter().map(|name| (name.as_str(), "A", &["192.0.2.1", "192.0.2.2"][..])).collect();
    let objects: Vec<_> = records.chunks(500).enumerate().map(|(i, part)| object(&format!("o{i}"), part)).collect();
    let mut server = primary(&[]);
    server.publish(objects);
    let axfr = Request::query(9, "apps.test".parse().unwrap(), nearside_dns_sync::record::RecordType::Axfr);
    let (rcode, _, messages) = transfer(server.address, &axfr, Some(&key("transfer", SECRET)), now());
    assert_eq!(rcode, 0);
    assert!(messages.len() > 5, "{} messages", messages.len());
    let records: Vec<String> =
        messages.iter().flat_map(|message| message.answers.iter().map(ToString::to_string)).collect();
    // The SOA twice, NS and the address of ns1 beside the names.
    assert_eq!(records.len(), 2 + 2 + 6000);
    assert_eq!(records.first(), records.last());
    assert_eq!(records.iter().collect::<BTreeSet<_>>().len(), 6003);
}

#[test]
fn a_secondary_that_takes_nothing_holds_up_nobody() {
    let server = primary(&[("video.apps.test", "A", &["192.0.2.1"])]);
    let axfr = Request::query(9, "apps.test".parse().unwrap(), nearside_dns_sync::record::RecordType::Axfr);
    let right = key("transfer", SECRET);
    // Asks again and again and reads nothing.
    let mut greedy = TcpClient::connect(server.address);
    let mut octets = axfr.encode_query();
    requests::sign(&right, &mut octets, now());
    let framed = [&u16::try_from(octets.len()).unwrap().to_be_bytes()[..], &octets].concat();
    greedy.0.set_nonblocking(true).unwrap();
    for _ in 0..20_000 {
        if greedy.0.write_all(&framed).is_err() {
            break;
        }
    }
    assert_eq!(transfer(server.address, &axfr, Some(&right), now()).0, 0);
    assert_eq!(addresses(&udp(server.address, &query("video.apps.test.", RecordType::A, None))), ips(["192.0.2.1"]));
}
