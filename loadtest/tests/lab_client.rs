//! The lab's client and pods: names resolve over UDP and TCP, answers live for their TTL, bodies are verified, a node that does not
//! answer is passed over, redirects are followed.
#![expect(clippy::unwrap_used, reason = "tests")]

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use http::{HeaderValue, Method, header};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::client::{Call, Client, Habit, Kept, Ports, Protocol, Resolver, raw};
use nearside_loadtest::lab::network::Size;
use nearside_loadtest::lab::{Network, Place};
use nearside_loadtest::pods::{PodIdentity, PodServer, Socket, websocket};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A name server for tests: A records by host, any number of addresses, TTL as set.
struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<HashMap<String, Vec<Ipv4Addr>>>>,
    questions: Arc<AtomicUsize>,
}

impl NameServer {
    async fn start(ttl: u32) -> Self {
        // A port that is free for UDP may be taken for TCP.
        let (udp, tcp) = loop {
            let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(HashMap::<String, Vec<Ipv4Addr>>::new()));
        let questions = Arc::new(AtomicUsize::new(0));
        let answer = {
            let (zone, questions) = (zone.clone(), questions.clone());
            move |bytes: &[u8], limit: usize| {
                questions.fetch_add(1, Ordering::Relaxed);
                let question = Message::from_vec(bytes).unwrap();
                let query = question.queries[0].clone();
                let mut answer = Message::response(question.metadata.id, OpCode::Query);
                let host = query.name().to_ascii().trim_end_matches('.').to_owned();
                match zone.lock().unwrap().get(&host) {
                    None => answer.metadata.response_code = ResponseCode::NXDomain,
                    Some(addresses) if query.query_type() == RecordType::A => answer.answers.extend(
                        addresses.iter().map(|a| Record::from_rdata(query.name().clone(), ttl, RData::A(A(*a)))),
                    ),
                    Some(_) => {}
                }
                answer.add_query(query);
                let bytes = answer.to_vec().unwrap();
                if bytes.len() <= limit { bytes } else { answer.truncate().to_vec().unwrap() }
            }
        };
        let over_tcp = answer.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, peer) = udp.recv_from(&mut buffer).await.unwrap();
                udp.send_to(&answer(&buffer[..length], 1232), peer).await.unwrap();
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut question = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut question).await.unwrap();
                let bytes = over_tcp(&question, usize::from(u16::MAX));
                stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        });
        Self { address, zone, questions }
    }

    fn set(&self, host: &str, addresses: &[IpAddr]) {
        let v4 = addresses.iter().map(|address| match address {
            IpAddr::V4(v4) => *v4,
            IpAddr::V6(_) => panic!("IPv4 only"),
        });
        self.zone.lock().unwrap().insert(host.to_owned(), v4.collect());
    }
}

/// Two nodes of loopback addresses whose pods listen on the nodes' own addresses, so that a client reaches them without a router.
struct Lab {
    network: Network,
    names: NameServer,
    pods: Vec<PodServer>,
    client: Client,
    plain: Ports,
}

const PLAIN: u16 = 8080;
const TLS: u16 = 8443;

impl Lab {
    async fn new() -> Self {
        let network = Network::loopback(Size { nodes: 2, clients: 1 }).unwrap();
        let names = NameServer::start(60).await;
        let ca = TestCa::new("test").unwrap();
        let tls = ca.identity(&["*.example.test"]).unwrap().server().unwrap();
        let pods = network.nodes().iter().map(|node| {
            let socket = |port, tls| {
                let address = SocketAddr::new(node.place().address(), port);
                Socket { listener: node.place().tcp_listener(address).unwrap(), tls }
            };
            let identity = PodIdentity {
                namespace: "default".into(),
                name: format!("pod-{}", node.name()),
                node: node.name().into(),
            };
            PodServer::start(identity, vec![socket(PLAIN, None), socket(TLS, Some(tls.clone()))]).unwrap()
        });
        let pods = pods.collect();
        let plain = Ports { http: PLAIN, https: TLS };
        let client = Client::new(&network, &network.clients()[0], names.address, ca.client(&[]).unwrap(), plain);
        let addresses: Vec<IpAddr> = network.nodes().iter().map(|node| node.place().address()).collect();
        names.set("www.example.test", &addresses);
        Self { network, names, pods, client, plain }
    }
}

#[tokio::test]
async fn an_answer_too_large_for_udp_comes_over_tcp() {
    let names = NameServer::start(60).await;
    let many: Vec<IpAddr> = (0..200).map(|n| IpAddr::from([192, 0, 2, n])).collect();
    names.set("many.example.test", &many);
    let resolver = Resolver::new(Place::host(), names.address);
    assert_eq!(resolver.addresses("many.example.test").await.unwrap(), many);
}

#[tokio::test]
async fn an_answer_is_asked_for_once_while_its_ttl_lasts_and_again_when_forgotten() {
    let names = NameServer::start(600).await;
    names.set("www.example.test", &[IpAddr::from([192, 0, 2, 1])]);
    let resolver = Resolver::new(Place::host(), names.address);
    resolver.addresses("www.example.test").await.unwrap();
    let asked = names.questions.load(Ordering::Relaxed);
    names.set("www.example.test", &[IpAddr::from([192, 0, 2, 2])]);
    assert_eq!(resolver.addresses("WWW.example.test").await.unwrap(), [IpAddr::from([192, 0, 2, 1])]);
    assert_eq!(names.questions.load(Ordering::Relaxed), asked);
    resolver.forget("www.example.test");
    assert_eq!(resolver.addresses("www.example.test").await.unwrap(), [IpAddr::from([192, 0, 2, 2])]);
}

#[tokio::test]
async fn with_ttl_zero_every_question_is_asked() {
    let names = NameServer::start(0).await;
    names.set("www.example.test", &[IpAddr::from([192, 0, 2, 1])]);
    let resolver = Resolver::new(Place::host(), names.address);
    resolver.addresses("www.example.test").await.unwrap();
    names.set("www.example.test", &[IpAddr::from([192, 0, 2, 2])]);
    assert_eq!(resolver.addresses("www.example.test").await.unwrap(), [IpAddr::from([192, 0, 2, 2])]);
}

#[tokio::test]
async fn each_habit_believes_an_answer_as_long_as_it_says() {
    let names = NameServer::start(0).await;
    let (before, after) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let resolver = |habit| Resolver::new(Place::host(), names.address).with_habit(habit);
    let long = Duration::from_secs(600);
    for (habit, then) in [
        (Habit::NoCache, after),
        (Habit::Ttl, after),
        (Habit::AtLeast(Duration::ZERO), after),
        (Habit::AtLeast(long), before),
        (Habit::Forever, before),
    ] {
        names.set("www.example.test", &[before]);
        let resolver = resolver(habit);
        assert_eq!(resolver.addresses("www.example.test").await.unwrap(), [before], "{habit}");
        names.set("www.example.test", &[after]);
        assert_eq!(resolver.addresses("www.example.test").await.unwrap(), [then], "{habit}");
    }
    assert_eq!(Habit::AtLeast(Duration::from_secs(60)).keeps(long), Some(long));
    assert_eq!(Habit::Forever.keeps(Duration::ZERO), None);
}

#[tokio::test]
async fn a_kept_connection_goes_on_past_dns_and_is_replaced_when_it_was_closed() {
    let mut lab = Lab::new().await;
    let (first, second) = (lab.network.nodes()[0].place().address(), lab.network.nodes()[1].place().address());
    let client = Client { kept: Some(Arc::new(Kept::default())), in_order: true, ..lab.client.clone() };
    for protocol in [Protocol::Http1, Protocol::Http2] {
        lab.names.set("www.example.test", &[first, second]);
        lab.client.resolver.forget("www.example.test");
        let call = Call { protocol, ..Call::get("http://www.example.test/") };
        assert_eq!(client.fetch(&call).await.answered.as_deref(), Some("n1"));
        lab.names.set("www.example.test", &[second]);
        lab.client.resolver.forget("www.example.test");
        assert_eq!(client.fetch(&call).await.answered.as_deref(), Some("n1"), "{protocol:?}");
    }
    drop(lab.pods.remove(0));
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let record = client.fetch(&Call { protocol, ..Call::get("http://www.example.test/") }).await;
        assert!(record.good() && record.retries.is_empty(), "{record:?}");
        assert_eq!(record.answered.as_deref(), Some("n2"));
    }
}

#[tokio::test]
async fn a_missing_name_is_a_failure_that_says_so() {
    let lab = Lab::new().await;
    let record = lab.client.fetch(&Call::get("http://nowhere.example.test/")).await;
    assert!(!record.good());
    let failure = record.failure.unwrap();
    assert!(failure.contains("nowhere.example.test"), "{failure}");
}

#[tokio::test]
async fn the_record_tells_node_and_pod_in_every_protocol() {
    let lab = Lab::new().await;
    for (scheme, protocol, spoken) in [
        ("http", Protocol::Http1, "HTTP/1.1"),
        ("http", Protocol::Http2, "HTTP/2.0"),
        ("https", Protocol::Http1, "HTTP/1.1"),
        ("https", Protocol::Http2, "HTTP/2.0"),
    ] {
        let call = Call { protocol, ..Call::get(&format!("{scheme}://www.example.test/a?b=c")) };
        let record = lab.client.fetch(&call).await;
        assert!(record.good() && record.by_own_node(), "{record:?}");
        let echo: nearside_loadtest::pods::Echo = serde_json::from_slice(&record.body).unwrap();
        assert_eq!((echo.protocol.as_str(), echo.path.as_str(), echo.tls), (spoken, "/a?b=c", scheme == "https"));
        assert_eq!(Some(echo.pod), record.pod);
        let port = if echo.tls { lab.plain.https } else { lab.plain.http };
        assert_eq!(echo.host, format!("www.example.test:{port}"));
    }
}

#[tokio::test]
async fn media_of_any_size_arrives_whole_and_verified() {
    let lab = Lab::new().await;
    for bytes in [0, 1, 65_521, 5_000_000] {
        let record = lab.client.fetch(&Call::get(&format!("http://www.example.test/media/{bytes}"))).await;
        assert!(record.good(), "{record:?}");
        assert_eq!(record.bytes, bytes);
    }
}

#[tokio::test]
async fn parts_of_media_are_served_as_rfc_9110_says() {
    let lab = Lab::new().await;
    let fetch = async |range: &'static str| {
        let mut call = Call::get("http://www.example.test/media/100000");
        call.headers.insert(header::RANGE, HeaderValue::from_static(range));
        lab.client.fetch(&call).await
    };
    let part = fetch("bytes=70000-70099").await;
    assert_eq!((part.status, part.bytes, part.failure), (Some(206), 100, None));
    assert_eq!(part.headers[header::CONTENT_RANGE], "bytes 70000-70099/100000");
    let outside = fetch("bytes=100000-").await;
    assert_eq!((outside.status, outside.bytes), (Some(416), 0));
    assert_eq!(outside.headers[header::CONTENT_RANGE], "bytes */100000");

    let mut same = Call::get("http://www.example.test/media/100000");
    same.headers.insert(header::IF_NONE_MATCH, part.headers[header::ETAG].clone());
    assert_eq!(lab.client.fetch(&same).await.status, Some(304));
    let head =
        lab.client.fetch(&Call { method: Method::HEAD, ..Call::get("http://www.example.test/media/100000") }).await;
    assert_eq!((head.status, head.bytes), (Some(200), 0));
    assert_eq!(head.headers[header::CONTENT_LENGTH], "100000");
}

#[tokio::test]
async fn a_dead_address_is_passed_over_and_counted() {
    let mut lab = Lab::new().await;
    drop(lab.pods.remove(1));
    let mut retried = 0;
    // Which address comes first is chance; within many requests both do.
    while retried == 0 {
        let record = lab.client.fetch(&Call::get("http://www.example.test/")).await;
        assert!(record.good(), "{record:?}");
        assert_eq!(record.answered.as_deref(), Some("n1"));
        assert!(record.retries.iter().all(|retry| retry.node == "n2"), "{record:?}");
        retried += record.retries.len();
    }
}

#[tokio::test]
async fn a_post_that_was_under_way_is_not_repeated() {
    let lab = Lab::new().await;
    // Accepts, reads, and closes without an answer.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    lab.names.set("closing.example.test", &[IpAddr::from([127, 0, 0, 1]); 2]);
    let call = Call { method: Method::POST, ..Call::get(&format!("http://closing.example.test:{port}/")) };
    assert!(lab.client.fetch(&call).await.failure.is_some());
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_redirect_to_another_host_is_followed_and_counted() {
    let lab = Lab::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://www--abcde.example.test:{PLAIN}/media/10\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    lab.names.set("old.example.test", &[IpAddr::from([127, 0, 0, 1])]);
    lab.names.set("www--abcde.example.test", &[lab.network.nodes()[1].place().address()]);
    let record = lab.client.fetch(&Call::get(&format!("http://old.example.test:{port}/media/10"))).await;
    assert!(record.good() && record.by_own_node(), "{record:?}");
    assert_eq!((record.redirects, record.answered.as_deref(), record.bytes), (1, Some("n2"), 10));
}

#[tokio::test]
async fn an_untrusted_certificate_is_a_failure() {
    let lab = Lab::new().await;
    let stranger = TestCa::new("stranger").unwrap();
    let client = Client { tls: stranger.client(&[]).unwrap(), ..lab.client.clone() };
    let record = client.fetch(&Call { rounds: 0, ..Call::get("https://www.example.test/") }).await;
    assert!(record.failure.unwrap().contains("TLS handshake"));
}

#[tokio::test]
async fn a_stopped_pod_finishes_what_it_does_and_a_killed_one_does_not() {
    let mut lab = Lab::new().await;
    let (node, other) = (&lab.network.nodes()[0], &lab.network.nodes()[1]);
    lab.names.set("first.example.test", &[node.place().address()]);
    lab.names.set("second.example.test", &[other.place().address()]);
    let stream = async |host: &'static str| {
        let call = Call { rounds: 0, ..Call::get(&format!("http://{host}/stream?events=20&interval=20")) };
        lab.client.fetch(&call).await
    };
    let (killed, stopped) = (lab.pods.pop().unwrap(), lab.pods.pop().unwrap());
    let end = async {
        while killed.requests() == 0 || stopped.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(killed);
        stopped.stop(Duration::from_secs(20)).await;
    };
    let (first, second, ()) = tokio::join!(stream("first.example.test"), stream("second.example.test"), end);
    assert!(first.good() && first.body.ends_with(b"data: event 19\n\n"), "{first:?}");
    assert!(second.failure.is_some(), "{second:?}");
}

#[tokio::test]
async fn a_websocket_echoes() {
    let lab = Lab::new().await;
    let address = SocketAddr::new(lab.network.nodes()[0].place().address(), PLAIN);
    let mut stream = raw::connect(&lab.network.clients()[0], address).await.unwrap();
    let request = "GET /chat HTTP/1.1\r\nHost: www.example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(
        head.starts_with("http/1.1 101") && head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    let frame = websocket::Frame { fin: true, opcode: 1, payload: b"hello".to_vec() };
    websocket::write(&mut stream, &frame, Some([9, 8, 7, 6])).await.unwrap();
    assert_eq!(websocket::read(&mut stream).await.unwrap(), Some(frame));
}
