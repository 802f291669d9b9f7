//! Paths that lose packets, take small ones alone, or are slow: what clients send and get is complete and right to the byte, with and
//! without TLS. The loss is that of the network between a client and its node, in both directions.

use crate::objects::{edge, route, service, with_tls};
use crate::stage::{PORTS, Stage};
use nearside_loadtest::lab::Place;
use nearside_loadtest::pods::{Echo, media};
use rustls::pki_types::ServerName;
use socket2::SockRef;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_complete_though_every_hundredth_or_tenth_packet_is_lost() {
    let Some(stage) = start().await else { return };
    for (percent, bytes) in [(1, 512 << 10), (10, 96 << 10)] {
        let rules = format!(
            "table inet loss {{\nchain input {{\ntype filter hook input priority 0;\n\
             iifname \"eth0\" numgen random mod 100 < {percent} counter drop\n}}\n}}\n"
        );
        for place in ends(&stage) {
            place.namespace().unwrap().nft(&rules).unwrap();
        }
        transfer(&stage, bytes).await;
        for place in ends(&stage) {
            let table = run(&place, &["nft", "list", "table", "inet", "loss"]);
            assert!(table.contains("packets ") && !table.contains("packets 0 "), "{percent} % are lost: {table}");
            place.namespace().unwrap().nft("delete table inet loss\n").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_complete_on_paths_that_take_small_packets_alone() {
    let Some(stage) = start().await else { return };
    for largest in [1280, 576] {
        stage.network.nodes()[0].place().namespace().unwrap().ip(&format!("link set eth0 mtu {largest}\n")).unwrap();
        let stream = connect(&stage, PORTS.http).await;
        let segment = SockRef::from(&stream).tcp_mss().unwrap();
        assert!(segment < largest, "segments of {segment} bytes do not fit into {largest}");
        transfer(&stage, 512 << 10).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_complete_on_a_path_of_a_megabit_a_second() {
    let Some(stage) = start().await else { return };
    for place in ends(&stage) {
        let filter = "tc qdisc add dev eth0 root tbf rate 1mbit burst 8kb latency 400ms";
        run(&place, &filter.split(' ').collect::<Vec<_>>());
    }
    transfer(&stage, 64 << 10).await;
}

async fn start() -> Option<Stage> {
    let stage = Stage::start_linked_node(|stage| {
        let identity = stage.ca.identity(&[SECURE]).unwrap();
        stage.put_all(&[
            service("web"),
            route("web", PLAIN, "web"),
            with_tls(route("secure", SECURE, "web"), edge(&identity)),
        ]);
        stage.run_pod("web", 1, "n1");
    })
    .await?;
    for place in ends(&stage) {
        // The kernel hands segments on many at a time otherwise, and one loss would be that of all of them.
        place.namespace().unwrap().ip("link set eth0 gso_max_segs 1\n").unwrap();
    }
    Some(stage)
}

/// Both ends of the path between the client and its node.
fn ends(stage: &Stage) -> [Place; 2] {
    [stage.network.clients()[0].clone(), stage.network.nodes()[0].place().clone()]
}

/// A download and an upload of so many bytes, plain and over TLS.
async fn transfer(stage: &Stage, bytes: usize) {
    for upload in [false, true] {
        exchange(connect(stage, PORTS.http).await, PLAIN, bytes, upload).await;
        let connector = TlsConnector::from(stage.ca.client(&[]).unwrap());
        let stream = connect(stage, PORTS.https).await;
        let stream = connector.connect(ServerName::try_from(SECURE).unwrap(), stream);
        let stream = timeout(PATIENCE, stream).await.expect("the handshake ends").unwrap();
        exchange(stream, SECURE, bytes, upload).await;
    }
}

async fn connect(stage: &Stage, port: u16) -> TcpStream {
    let address = SocketAddr::new(stage.address("n1"), port);
    let socket = stage.network.clients()[0].tcp_socket(address.ip()).unwrap();
    timeout(PATIENCE, socket.connect(address)).await.expect("a connection").unwrap()
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, bytes: usize, upload: bool) {
    let fields = format!("Host: {host}\r\nConnection: close\r\n");
    let request = match upload {
        true => format!("POST / HTTP/1.1\r\n{fields}Content-Length: {bytes}\r\n\r\n"),
        false => format!("GET /media/{bytes} HTTP/1.1\r\n{fields}\r\n"),
    };
    let (mut answer, mut sent) = (Vec::new(), request.into_bytes());
    if upload {
        sent.resize(sent.len() + bytes, b'x');
    }
    let exchanged = async {
        stream.write_all(&sent).await.unwrap();
        stream.flush().await.unwrap();
        stream.read_to_end(&mut answer).await.unwrap();
    };
    timeout(PATIENCE, exchanged).await.expect("the transfer ends");
    let header = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer") + 4;
    let (header, body) = answer.split_at(header);
    assert!(header.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(header));
    match upload {
        true => assert_eq!(serde_json::from_slice::<Echo>(body).unwrap().body_bytes, bytes as u64),
        false => assert!(body.len() == bytes && media::verify(0, body), "{} of {bytes} bytes, or others", body.len()),
    }
}

/// Runs a command at a place; what it prints.
fn run(place: &Place, command: &[&str]) -> String {
    let output = place.command(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const PLAIN: &str = "web.apps.example.com";
const SECURE: &str = "secure.apps.example.com";
/// Lost packets are sent again after a time that doubles: a transfer may meet with several such losses in succession.
const PATIENCE: Duration = Duration::from_secs(60);
