//! UDP and TCP: what fits, what is truncated, what is pipelined, what is refused, and what ends well.

use crate::client::{PATIENCE, TcpClient, addresses, dig, eventually, ips, ordered_addresses, query, tcp, udp};
use crate::server::{Server, object, zone};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use nearside_dns_sync::limits::TCP_IDLE;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

fn many(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("198.18.{}.{}", i / 250, i % 250)).collect()
}

fn server() -> Server {
    let many = many(60);
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(900);
    let records: [(&str, &str, &[&str]); 5] = [
        ("video.apps.test", "A", &["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
        ("video.apps.test", "AAAA", &["2001:db8::1"]),
        ("*.apps.test", "A", &["192.0.2.9"]),
        ("many.apps.test", "A", &many),
        ("long.apps.test", "TXT", &[&long]),
    ];
    Server::start("127.0.0.1:0", vec![zone("apps.test")], vec![object("all", &records)])
}

#[test]
fn dig_gets_its_answers_over_both_transports() {
    let server = server();
    for transport in ["+notcp", "+tcp"] {
        let short = |arguments: &[&str]| {
            let output = dig(server.address, &[&[transport, "+short"], arguments].concat());
            let mut lines: Vec<String> = output.lines().map(Into::into).collect();
            lines.sort();
            lines
        };
        assert_eq!(short(&["video.apps.test", "A"]), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        assert_eq!(short(&["video.apps.test", "AAAA"]), ["2001:db8::1"]);
        assert_eq!(short(&["any.thing.apps.test", "A"]), ["192.0.2.9"]);
        assert_eq!(short(&["apps.test", "NS"]), ["ns1.apps.test."]);
        assert_eq!(short(&["video.apps.test", "ANY"]), ["\"RFC8482\" \"\""]);
        // As many as fit beside the cookie that dig asks for, and the whole of what cannot be cut: a truncated answer makes dig
        // ask again over TCP.
        let given = if transport == "+tcp" { 60 } else { 27 };
        assert_eq!(short(&["+bufsize=512", "many.apps.test", "A"]).len(), given);
        assert_eq!(short(&["+bufsize=512", "long.apps.test", "TXT"]).len(), 1);
        let full = dig(server.address, &[transport, "gone.video.apps.test", "A"]);
        assert!(full.contains("status: NXDOMAIN") && full.contains("flags: qr aa rd;"), "{full}");
        assert!(full.contains("recursion requested but not available"), "{full}");
        let refused = dig(server.address, &[transport, "example.com", "A"]);
        assert!(refused.contains("status: REFUSED"), "{refused}");
    }
    let transfer = dig(server.address, &["apps.test", "AXFR"]);
    assert!(transfer.contains("Transfer failed"), "{transfer}");
}

#[test]
fn a_swap_is_seen_by_the_next_query_and_never_halfway() {
    let mut server = server();
    let before = ips(["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    let after = ips(["192.0.2.4", "192.0.2.5"]);
    let question = query("video.apps.test.", RecordType::A, None);
    let address = server.address;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (before_seen, after_seen) = (before.clone(), after.clone());
    let watcher = std::thread::spawn(move || {
        let mut answers = 0;
        while stopped.try_recv().is_err() {
            let seen = addresses(&udp(address, &query("video.apps.test.", RecordType::A, None)));
            assert!(seen == before_seen || seen == after_seen, "{seen:?}");
            answers += 1;
        }
        answers
    });
    assert_eq!(addresses(&udp(server.address, &question)), before);
    for _ in 0..20 {
        server.publish(vec![object("all", &[("video.apps.test", "A", &["192.0.2.4", "192.0.2.5"][..])])]);
        assert_eq!(addresses(&udp(server.address, &question)), after);
        let first: &[&str] = &["192.0.2.1", "192.0.2.2", "192.0.2.3"];
        server.publish(vec![object("all", &[("video.apps.test", "A", first)])]);
        assert_eq!(addresses(&udp(server.address, &question)), before);
    }
    stop.send(()).unwrap();
    assert!(watcher.join().unwrap() > 0);
}

#[test]
fn every_address_comes_first_about_equally_often() {
    let server = server();
    let mut firsts: BTreeMap<IpAddr, u32> = BTreeMap::new();
    for _ in 0..150 {
        // The pattern of a client with both families, which a plain counter would turn into a fixed order.
        let a = udp(server.address, &query("video.apps.test.", RecordType::A, None));
        udp(server.address, &query("video.apps.test.", RecordType::AAAA, None));
        *firsts.entry(ordered_addresses(&a)[0]).or_default() += 1;
    }
    assert_eq!(firsts.len(), 3);
    assert!(firsts.values().all(|&share| (40..=60).contains(&share)), "{firsts:?}");
}

#[test]
fn an_answer_that_does_not_fit_is_empty_and_comes_whole_over_tcp() {
    let server = server();
    for edns in [None, Some(512), Some(900)] {
        let truncated = udp(server.address, &query("long.apps.test.", RecordType::TXT, edns));
        assert!(truncated.metadata.truncation && truncated.answers.is_empty());
        assert_eq!(truncated.edns.is_some(), edns.is_some());
        let whole = tcp(server.address, &query("long.apps.test.", RecordType::TXT, edns));
        assert!(!whole.metadata.truncation);
        assert_eq!(whole.answers.len(), 1);
    }
    assert!(server.metric("nearside_dns_truncated_total") >= 3.0);
}

#[test]
fn of_more_addresses_than_fit_each_answer_has_some_and_all_are_reached() {
    let server = server();
    let (mut seen, mut answers) = (std::collections::BTreeSet::new(), 0);
    while seen.len() < 60 && answers < 200 {
        let answer = udp(server.address, &query("many.apps.test.", RecordType::A, None));
        assert!(!answer.metadata.truncation && answer.answers.len() >= 29);
        seen.extend(addresses(&answer));
        answers += 1;
    }
    assert_eq!(seen.len(), 60);
    assert_eq!(addresses(&udp(server.address, &query("many.apps.test.", RecordType::A, Some(4096)))).len(), 60);
    assert_eq!(addresses(&tcp(server.address, &query("many.apps.test.", RecordType::A, None))).len(), 60);
}

/// What the controller publishes at most by default (`--max-addresses`), under the longest name that there is.
#[test]
fn as_many_addresses_as_a_host_has_by_default_fit_into_an_answer() {
    let addresses: Vec<String> = (0..24).map(|number| format!("2001:db8::{number:x}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let long = format!("{0}.{0}.{0}.{1}.apps.test", "x".repeat(63), "y".repeat(51));
    let records: [(&str, &str, &[&str]); 2] = [(&long, "AAAA", &addresses), ("video.apps.test", "AAAA", &addresses)];
    let server = Server::start("127.0.0.1:0", vec![zone("apps.test")], vec![object("all", &records)]);
    let count = |name: &str, edns| {
        let answer = udp(server.address, &query(&format!("{name}."), RecordType::AAAA, edns));
        (answer.metadata.truncation, answer.answers.len())
    };
    assert_eq!(count(&long, Some(1232)), (false, 24));
    assert_eq!(count("video.apps.test", Some(1232)), (false, 24));
    let (truncated, without_edns) = count("video.apps.test", None);
    assert!(!truncated && without_edns >= 16, "{without_edns}");
}

#[test]
fn pipelined_queries_are_answered_in_order() {
    let server = server();
    let mut client = TcpClient::connect(server.address);
    let queries: Vec<_> = (0..500)
        .map(|i| query(&format!("n{i}.apps.test."), if i % 7 == 0 { RecordType::AAAA } else { RecordType::A }, None))
        .collect();
    let sender = {
        let mut client = TcpClient(client.0.try_clone().unwrap());
        let queries = queries.clone();
        std::thread::spawn(move || client.send(&queries.iter().collect::<Vec<_>>()))
    };
    for query in &queries {
        let answer = client.receive().expect("an answer to each query");
        assert_eq!(answer.metadata.id, query.metadata.id);
        assert_eq!(answer.queries, query.queries);
    }
    sender.join().unwrap();
    // A query that arrives octet by octet.
    let last = query("video.apps.test.", RecordType::A, None);
    let octets = last.to_vec().unwrap();
    for octet in u16::try_from(octets.len()).unwrap().to_be_bytes().iter().chain(&octets) {
        client.0.write_all(&[*octet]).unwrap();
    }
    assert_eq!(addresses(&client.receive().unwrap()).len(), 3);
}

#[test]
fn garbage_costs_only_itself() {
    let server = server();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 1_u32;
    for length in (0..1400).step_by(7) {
        let octets: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        socket.send_to(&octets, server.address).unwrap();
        let mut client = TcpClient::connect(server.address);
        // The server may already have closed the connection.
        let _ = client.0.write_all(&octets);
    }
    let mut oversized = TcpClient::connect(server.address);
    oversized.0.write_all(&[0xff, 0xff, 0, 0]).unwrap();
    assert!(oversized.receive().is_none());
    let expected = ips(["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(addresses(&udp(server.address, &query("video.apps.test.", RecordType::A, None))), expected);
    assert_eq!(addresses(&tcp(server.address, &query("video.apps.test.", RecordType::A, None))), expected);
}

/// A connection from a loopback address of choice.
fn connect_from(source: &str, server: SocketAddr) -> TcpClient {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&format!("{source}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect_timeout(&server.into(), PATIENCE).unwrap();
    TcpClient::over(socket.into())
}

/// As many connections as the server takes, each used once, so that it is known to be accepted before the next comes.
fn fill(server: SocketAddr) -> Vec<TcpClient> {
    let question = query("video.apps.test.", RecordType::A, None);
    // On a machine so slow that the first are idle too long before the last is open, there is nothing to see.
    for _ in 0..20 {
        let begin = Instant::now();
        let mut open = Vec::new();
        for source in 1..=16 {
            for _ in 0..16 {
                let mut client = connect_from(&format!("127.0.1.{source}"), server);
                client.send(&[&question]);
                if client.receive().is_some() {
                    open.push(client);
                }
            }
        }
        if begin.elapsed() < TCP_IDLE / 2 {
            return open;
        }
    }
    panic!("256 connections take longer than half of the idle time");
}

#[test]
fn connections_beyond_the_caps_are_closed_and_the_others_are_served() {
    let server = server();
    let question = query("video.apps.test.", RecordType::A, None);
    let mut open = fill(server.address);
    assert_eq!(open.len(), 256);
    assert!(connect_from("127.0.2.1", server.address).receive().is_none(), "a 257th connection");
    assert!((server.metric("nearside_dns_tcp_connections") - 256.0).abs() < 0.5);
    open[17].send(&[&question]);
    assert_eq!(addresses(&open[17].receive().unwrap()).len(), 3);
    open.drain(..16);
    eventually("places are given back", || server.metric("nearside_dns_tcp_connections") < 240.5);
    let again: Vec<TcpClient> = (0..16).map(|_| connect_from("127.0.3.1", server.address)).collect();
    eventually("the new connections are accepted", || server.metric("nearside_dns_tcp_connections") > 255.5);
    drop((open, again));
    eventually("places are given back", || server.metric("nearside_dns_tcp_connections") < 0.5);
    assert!(server.metric("nearside_dns_tcp_refused_total") >= 1.0);
    assert_eq!(addresses(&tcp(server.address, &question)).len(), 3);
}

#[test]
fn a_17th_connection_of_one_source_is_closed() {
    let server = server();
    let question = query("video.apps.test.", RecordType::A, None);
    let open: Vec<TcpClient> = (0..16).map(|_| connect_from("127.0.1.1", server.address)).collect();
    eventually("16 connections are open", || server.metric("nearside_dns_tcp_connections") > 15.5);
    assert!(connect_from("127.0.1.1", server.address).receive().is_none());
    let mut other = connect_from("127.0.1.2", server.address);
    other.send(&[&question]);
    assert_eq!(addresses(&other.receive().unwrap()).len(), 3);
    drop(open);
}

#[test]
fn an_idle_connection_is_closed_by_the_server() {
    let server = server();
    let mut idle = TcpClient::connect(server.address);
    let mut trickle = TcpClient::connect(server.address);
    trickle.0.write_all(&[0]).unwrap();
    assert!(idle.receive().is_none());
    let mut rest = Vec::new();
    // Closed or reset, but not left open.
    let _ = trickle.0.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn a_server_on_all_addresses_answers_from_the_one_that_was_asked() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let objects = vec![object("all", &[("video.apps.test", "A", &["192.0.2.1"][..])])];
        let server = Server::start(listen, vec![zone("apps.test")], objects);
        for asked in ["127.0.0.1", "127.9.8.7"] {
            let server = SocketAddr::new(asked.parse().unwrap(), server.address.port());
            assert_eq!(addresses(&udp(server, &query("video.apps.test.", RecordType::A, None))), ips(["192.0.2.1"]));
        }
    }
}

#[test]
fn at_shutdown_what_was_received_is_answered_and_the_port_is_free() {
    let mut server = server();
    let question = query("video.apps.test.", RecordType::A, None);
    let mut client = TcpClient::connect(server.address);
    client.send(&[&question]);
    assert_eq!(addresses(&client.receive().unwrap()).len(), 3);
    let queries: Vec<_> = (0..50).map(|_| query("video.apps.test.", RecordType::A, None)).collect();
    client.send(&queries.iter().collect::<Vec<_>>());
    // Once the first is answered, the rest has arrived with it: they were sent in one piece.
    assert!(client.receive().is_some());
    server.ask_to_stop();
    let answered = std::iter::from_fn(|| client.receive()).count();
    assert_eq!(answered, 49);
    server.join();
    drop(client);
    let socket = UdpSocket::bind(server.address).expect("the UDP port is free again");
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
}

#[test]
fn refusals_carry_no_authority() {
    let server = server();
    let refused = udp(server.address, &query("www.example.com.", RecordType::A, Some(1232)));
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    assert!(!refused.metadata.authoritative && refused.authorities.is_empty() && refused.edns.is_some());
}
