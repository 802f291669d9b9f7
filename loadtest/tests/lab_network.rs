//! The lab's network: what crosses between nodes is counted to the byte, links can be cut, nothing stays behind.
//!
//! Networks of namespaces need root. Without root those tests say so and pass; with root they must work.
#![expect(clippy::print_stderr, clippy::unwrap_used, reason = "tests")]

use nearside_loadtest::client::raw;
use nearside_loadtest::lab::counters::{Crossing, Direction, Peer, between_nodes, to_outside};
use nearside_loadtest::lab::network::Size;
use nearside_loadtest::lab::{Network, Node, Place, namespace};
use nearside_loadtest::pods::{PodIdentity, PodServer, Socket};
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

const SIZE: Size = Size { nodes: 2, clients: 1 };
const IPV4_AND_UDP: u64 = 20 + 8;
const IPV6_AND_UDP: u64 = 40 + 8;

/// A network of namespaces, or `None` with a word about it when not root.
fn namespaces() -> Option<Network> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root for network namespaces");
        return None;
    }
    Some(Network::namespaces(SIZE).unwrap())
}

/// Sends one datagram of `bytes` bytes from one place to another and waits for it there.
async fn send(from: &Place, to: &Place, address: IpAddr, bytes: usize) {
    let receiver = UdpSocket::from_std(to.udp_socket(SocketAddr::new(address, 0)).unwrap()).unwrap();
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let sender = UdpSocket::from_std(from.udp_socket(any.parse().unwrap()).unwrap()).unwrap();
    sender.send_to(&vec![7; bytes], receiver.local_addr().unwrap()).await.unwrap();
    let mut buffer = [0; 2048];
    let (length, _) = timeout(Duration::from_secs(10), receiver.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(length, bytes);
}

fn counted(crossings: &[Crossing], node: &Node, peer: &Node, direction: Direction) -> u64 {
    let wanted = Peer::Node(peer.name().to_owned());
    crossings.iter().find(|c| c.node == node.name() && c.peer == wanted && c.direction == direction).unwrap().bytes
}

#[tokio::test]
async fn a_datagram_between_nodes_is_counted_to_the_byte_at_both_ends() {
    let Some(network) = namespaces() else { return };
    let [first, second] = network.nodes() else { panic!("two nodes") };
    let [v4, v6] = second.place().addresses() else { panic!("two addresses") };
    send(first.place(), second.place(), *v4, 1000).await;
    send(first.place(), second.place(), *v6, 500).await;

    let crossings = network.crossings().unwrap();
    let expected = 1000 + IPV4_AND_UDP + 500 + IPV6_AND_UDP;
    assert_eq!(counted(&crossings, first, second, Direction::Sent), expected);
    assert_eq!(counted(&crossings, second, first, Direction::Received), expected);
    assert_eq!(counted(&crossings, second, first, Direction::Sent), 0);
    assert_eq!(between_nodes(&crossings), expected);
    assert_eq!(to_outside(&crossings), 0);
}

#[tokio::test]
async fn traffic_between_pods_of_two_nodes_counts_as_between_the_nodes() {
    let Some(network) = namespaces() else { return };
    let [first, second] = network.nodes() else { panic!("two nodes") };
    let (_here, there) = (first.pod_addresses().unwrap(), second.pod_addresses().unwrap());
    for address in there.addresses() {
        send(first.pods(), second.pods(), *address, 100).await;
    }
    let crossings = network.crossings().unwrap();
    assert_eq!(between_nodes(&crossings), 200 + IPV4_AND_UDP + IPV6_AND_UDP);
}

#[tokio::test]
async fn traffic_of_a_node_with_its_own_pods_and_with_clients_counts_as_none_between_nodes() {
    let Some(network) = namespaces() else { return };
    let node = &network.nodes()[0];
    let pod = node.pod_addresses().unwrap();
    send(node.place(), node.pods(), pod.addresses()[0], 1200).await;
    send(&network.clients()[0], node.place(), node.place().address(), 1200).await;
    assert_eq!(between_nodes(&network.crossings().unwrap()), 0);
    assert_eq!(to_outside(&network.crossings().unwrap()), 0);

    send(node.place(), &network.clients()[0], network.clients()[0].address(), 300).await;
    let crossings = network.crossings().unwrap();
    assert_eq!(between_nodes(&crossings), 0);
    assert_eq!(to_outside(&crossings), 300 + IPV4_AND_UDP);
}

/// What Nearside must never do, done on purpose: the gauge has to show it.
#[tokio::test]
async fn an_answer_relayed_by_another_node_is_counted_whole() {
    const BODY: usize = 3_000_000;
    let Some(network) = namespaces() else { return };
    let [first, second] = network.nodes() else { panic!("two nodes") };
    let pod = second.pod_addresses().unwrap();
    let upstream = SocketAddr::new(pod.addresses()[0], 8080);
    let socket = Socket { listener: second.pods().tcp_listener(upstream).unwrap(), tls: None };
    let identity = PodIdentity { namespace: "demo".into(), name: "web-1".into(), node: second.name().into() };
    let _server = PodServer::start(identity, vec![socket]).unwrap();

    let address = SocketAddr::new(first.place().address(), 80);
    let listener = TcpListener::from_std(first.place().tcp_listener(address).unwrap()).unwrap();
    let node = first.place().clone();
    let relay = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = node.tcp_socket(upstream.ip()).unwrap().connect(upstream).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    let request = format!("GET /media/{BODY} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = raw::exchange(&network.clients()[0], address, request.as_bytes()).await.unwrap();
    relay.await.unwrap();
    assert!(answer.len() > BODY);
    let crossings = network.crossings().unwrap();
    assert!(counted(&crossings, second, first, Direction::Sent) > BODY as u64, "{crossings:?}");
}

#[tokio::test]
async fn a_cut_node_is_silent_until_its_link_is_joined() {
    let Some(network) = namespaces() else { return };
    let [first, second] = network.nodes() else { panic!("two nodes") };
    let address = SocketAddr::new(second.place().address(), 8080);
    let _listener = second.place().tcp_listener(address).unwrap();
    let connect = async || {
        let socket = first.place().tcp_socket(address.ip()).unwrap();
        timeout(Duration::from_millis(300), socket.connect(address)).await
    };
    connect().await.unwrap().unwrap();
    second.cut().unwrap();
    assert!(!matches!(connect().await, Ok(Ok(_))), "a node without a link cannot be connected to");
    second.join().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !matches!(connect().await, Ok(Ok(_))) {
        assert!(std::time::Instant::now() < deadline, "the joined node answers again");
    }
    let pod = second.pod_addresses().unwrap();
    for address in second.place().addresses().iter().chain(pod.addresses()) {
        let to = if second.place().addresses().contains(address) { second.place() } else { second.pods() };
        send(first.place(), to, *address, 10).await;
    }
}

#[tokio::test]
async fn a_dropped_network_leaves_no_namespace() {
    let Some(network) = namespaces() else { return };
    let own = |all: Vec<(u32, String)>| all.into_iter().filter(|(pid, _)| *pid == std::process::id()).count();
    assert!(own(namespace::list()) >= 7, "switch, control, client and two of each node");
    drop(network);
    assert_eq!(own(namespace::list()), 0);
}

#[test]
fn namespaces_of_a_run_that_died_are_removed_and_its_programs_ended() {
    let Some(network) = namespaces() else { return };
    // Alive until all is in place: any other test that opens a network removes what is stale, too.
    let mut run = Command::new("sleep").arg("600").spawn().unwrap();
    let stale = format!("nearside-{}-0-n1", run.id());
    namespace::add([stale.as_str()]).unwrap();
    let mut orphan = Command::new("ip").args(["netns", "exec", &stale, "sleep", "600"]).spawn().unwrap();
    let inside =
        || String::from_utf8(Command::new("ip").args(["netns", "pids", &stale]).output().unwrap().stdout).unwrap();
    while inside().trim().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    namespace::remove_stale();
    assert!(!namespace::list().iter().any(|(_, name)| *name == stale));
    assert!(!orphan.wait().unwrap().success(), "the orphan was killed");
    assert!(
        namespace::list()
            .iter()
            .any(|(_, name)| Some(name.as_str()) == network.control().namespace().map(|n| n.name())),
        "a living run keeps its namespaces"
    );
}

#[tokio::test]
async fn two_loopback_networks_never_share_an_address() {
    let (one, two) = (Network::loopback(SIZE).unwrap(), Network::loopback(SIZE).unwrap());
    assert!(!one.has_links());
    assert!(one.crossings().unwrap().is_empty());
    for node in one.nodes() {
        let pod = node.pod_addresses().unwrap();
        assert!(two.node_of(node.place().address()).is_none());
        assert!(two.node_of(pod.addresses()[0]).is_none());
        assert_eq!(one.node_of(pod.addresses()[0]).unwrap().name(), node.name());
        send(&one.clients()[0], node.pods(), pod.addresses()[0], 10).await;
    }
    assert!(one.nodes()[0].cut().unwrap_err().to_string().contains("n1"), "the message names the node");
}

#[test]
fn a_pod_address_returns_to_its_node() {
    let network = Network::loopback(SIZE).unwrap();
    let node = &network.nodes()[0];
    let first = node.pod_addresses().unwrap();
    let address = first.addresses()[0];
    assert_ne!(node.pod_addresses().unwrap().addresses()[0], address);
    drop(first);
    assert_eq!(node.pod_addresses().unwrap().addresses()[0], address);
}
