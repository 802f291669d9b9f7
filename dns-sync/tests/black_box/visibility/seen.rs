//! What counts as seen: answers too large for UDP, and answers that nobody with the zone has given.

use super::{DEFINITION, Publisher, ZONE, all_three, ask, ask_for, cluster, condition, condition_of, primary, updated};
use crate::client::{eventually, query, tcp, udp};
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nearside_loadtest::name_servers::{NameServer, Software, TsigKey};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_too_large_for_udp_is_read_over_tcp_and_is_visible() {
    let key = TsigKey::new("nearside", "hmac-sha256", "large");
    let servers = all_three(&key);
    let api = cluster(DEFINITION).await;
    let addresses: Vec<String> = (1..=100).map(|number| format!("198.51.100.{number}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    ask(&api, "large", &[("large.apps.test", "A", &addresses)]);
    let _publisher = Publisher::start(&api, &key, &updated(&servers));
    eventually("it is visible", || condition_of(&api, "large", "Visible").0 == "True Visible");
    for server in &servers {
        let question = query("large.apps.test.", RecordType::A, Some(1232));
        let short = udp(server.address(), &question);
        assert!(short.metadata.truncation && short.answers.is_empty(), "{}: {short}", server.software());
        assert_eq!(tcp(server.address(), &question).answers.len(), 100, "{}", server.software());
    }
}

/// A name server of which nobody knows where it has its records from: it answers what is right, with authority or without.
fn without_authority(authority: Arc<AtomicBool>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // It ends with the process of the test.
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let Ok(mut message) = Message::from_vec(&buffer[..length]) else { continue };
            message.metadata.message_type = MessageType::Response;
            message.metadata.authoritative = authority.load(Ordering::Relaxed);
            let asked = message.queries[0].clone();
            if asked.query_type() == RecordType::A {
                let data = RData::A(A::new(192, 0, 2, 1));
                message.answers.push(Record::from_rdata(asked.name().clone(), 30, data));
            } else {
                let name = |text: &str| Name::from_ascii(text).unwrap();
                let soa = SOA::new(name("ns1.apps.test."), name("hostmaster.apps.test."), 1, 3600, 600, 604_800, 5);
                message.authorities.push(Record::from_rdata(name("apps.test."), 5, RData::SOA(soa)));
            }
            // A client that is gone loses nothing.
            let _ = socket.send_to(&message.to_vec().unwrap(), client);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_authority_is_not_believed_to_be_visible() {
    let key = TsigKey::new("nearside", "hmac-sha256", "authority");
    let server = NameServer::start(Software::Bind, &primary(&key)).unwrap();
    let authority = Arc::new(AtomicBool::new(false));
    let doubtful = without_authority(Arc::clone(&authority));
    let api = cluster(DEFINITION).await;
    ask_for(&api, "192.0.2.1");
    let _publisher = Publisher::start(&api, &key, &[(server.address(), true), (doubtful, false)]);
    eventually("it is told", || condition(&api, "Visible") == "False Differs");
    let message = condition_of(&api, "a", "Visible").1;
    assert!(message.contains(&doubtful.to_string()) && message.contains("without authority"), "{message}");
    assert_eq!(condition(&api, "Applied"), "True Applied", "{ZONE} is right where it is written");
    authority.store(true, Ordering::Relaxed);
    eventually("it is visible", || condition(&api, "Visible") == "True Visible");
}
