//! Floods: a network that wants too much of one answer gets it over TCP, and nobody else notices.

use crate::client::{addresses, dig, ips, query, tcp, udp};
use crate::server::{Server, object, zone};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use nearside_dns_sync::serve::rate_limit::RateLimit;
use nearside_dns_sync::serve::{Answering, TransferKeys};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Asks so often from one address without waiting, and returns what comes.
fn flood(server: SocketAddr, source: &str, messages: impl Iterator<Item = Message>) -> Vec<Message> {
    let socket = UdpSocket::bind((source, 0)).unwrap();
    socket.connect(server).unwrap();
    let reader = socket.try_clone().unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        std::iter::from_fn(|| reader.recv(&mut buffer).ok().map(|length| Message::from_vec(&buffer[..length]).unwrap()))
            .collect::<Vec<_>>()
    });
    for message in messages {
        socket.send(&message.to_vec().unwrap()).unwrap();
    }
    reader.join().unwrap()
}

#[test]
fn a_flood_is_answered_within_its_rate_and_others_as_ever() {
    let answering =
        Answering { rate_limit: Some(RateLimit { per_second: 20, exempt: Vec::new() }), ..Answering::default() };
    let records = [("video.apps.test", "A", &["192.0.2.1"][..]), ("other.apps.test", "A", &["192.0.2.2"])];
    let objects = vec![object("all", &records)];
    let server =
        Server::start_with("127.0.0.1:0", vec![zone("apps.test")], objects, &answering, TransferKeys::default());
    let video = || query("video.apps.test.", RecordType::A, None);
    let asked = 2000;
    let answers = flood(server.address, "127.0.1.1", (0..asked).map(|_| video()));
    let (truncated, whole): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.metadata.truncation);
    // Twenty at once and twenty more each second that the flood lasts.
    assert!(whole.len() >= 20 && whole.len() < asked / 4, "{} whole", whole.len());
    assert!(truncated.len() > whole.len() && truncated.iter().all(|answer| answer.answers.is_empty()));
    assert!(answers.len() < asked * 2 / 3, "every second of what is too much gets no answer: {}", answers.len());
    assert!(server.metric("nearside_dns_rate_limited_total") > 0.0);
    // The same network is answered over TCP, and another name over UDP; another network anything.
    assert_eq!(addresses(&tcp(server.address, &video())), ips(["192.0.2.1"]));
    let other = flood(server.address, "127.0.1.9", std::iter::once(query("other.apps.test.", RecordType::A, None)));
    assert_eq!(addresses(&other[0]), ips(["192.0.2.2"]));
    let elsewhere = flood(server.address, "127.0.2.1", std::iter::once(video()));
    assert_eq!(addresses(&elsewhere[0]), ips(["192.0.2.1"]));
    // Names that do not exist are alike, however they are called.
    let random = (0..500).map(|index| query(&format!("n{index}.apps.test."), RecordType::A, None));
    let denied = flood(server.address, "127.0.3.1", random);
    assert!(denied.iter().filter(|answer| !answer.metadata.truncation).count() < 200);
}

#[test]
fn who_shows_a_cookie_of_this_server_is_not_limited() {
    let answering =
        Answering { rate_limit: Some(RateLimit { per_second: 1, exempt: Vec::new() }), ..Answering::default() };
    let objects = vec![object("all", &[("video.apps.test", "A", &["192.0.2.1"][..])])];
    let server =
        Server::start_with("127.0.0.1:0", vec![zone("apps.test")], objects, &answering, TransferKeys::default());
    let with_cookie = |cookie: &[u8]| {
        let mut message = query("video.apps.test.", RecordType::A, Some(1232));
        let option = EdnsOption::Unknown(EdnsCode::Cookie.into(), cookie.to_vec());
        message.edns.as_mut().unwrap().options_mut().insert(option);
        message
    };
    let cookie_of = |answer: &Message| match answer.edns.as_ref().unwrap().option(EdnsCode::Cookie) {
        Some(EdnsOption::Unknown(_, octets)) => octets.clone(),
        other => panic!("a cookie in {other:?}"),
    };
    let first = udp(server.address, &with_cookie(b"8 octets"));
    let cookie = cookie_of(&first);
    assert!(cookie.starts_with(b"8 octets") && cookie.len() == 24, "{cookie:?}");
    for _ in 0..50 {
        let answer = udp(server.address, &with_cookie(&cookie));
        assert!(!answer.metadata.truncation);
        assert_eq!(addresses(&answer), ips(["192.0.2.1"]));
    }
    assert!(server.metric("nearside_dns_rate_limited_total") < 0.5);
    // A cookie that somebody made up, and one that another address was given, are worth nothing.
    let mut forged = cookie.clone();
    forged[23] ^= 1;
    let made_up = flood(server.address, "127.0.1.1", (0..100).map(|_| with_cookie(&forged)));
    let stolen = flood(server.address, "127.0.2.1", (0..100).map(|_| with_cookie(&cookie)));
    for answers in [made_up, stolen] {
        assert!(answers.len() < 80, "{} of 100 are answered", answers.len());
        // Each is told a cookie of its own all the same.
        assert!(answers.iter().all(|answer| cookie_of(answer)[8..] != cookie[8..]));
    }
    assert_eq!(udp(server.address, &with_cookie(b"short")).metadata.response_code, ResponseCode::FormErr);
    let seen = dig(server.address, &["+cookie", "video.apps.test", "A"]);
    assert!(seen.contains("(good)"), "{seen}");
}

#[test]
fn a_client_that_asks_as_clients_do_is_never_limited() {
    let answering =
        Answering { rate_limit: Some(RateLimit { per_second: 20, exempt: Vec::new() }), ..Answering::default() };
    let objects =
        vec![object("all", &[("*.apps.test", "A", &["192.0.2.1"][..]), ("a.apps.test", "A", &["192.0.2.1"])])];
    let server =
        Server::start_with("127.0.0.1:0", vec![zone("apps.test")], objects, &answering, TransferKeys::default());
    for record_type in [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::NS] {
        for _ in 0..4 {
            udp(server.address, &query("a.apps.test.", record_type, Some(1232)));
        }
    }
    assert!(server.metric("nearside_dns_rate_limited_total") < 0.5);
}
