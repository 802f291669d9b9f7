//! The other side of the wire: queries by UDP and TCP, `dig`, and waiting for a condition. Used by every topic.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A query with a random id; `edns` is the advertised size.
pub(crate) fn query(name: &str, record_type: RecordType, edns: Option<u16>) -> Message {
    let mut message = Message::query();
    message.metadata.message_type = MessageType::Query;
    message.metadata.op_code = OpCode::Query;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message
}

/// Asks over UDP until an answer comes: datagrams may be lost.
pub(crate) fn udp(server: SocketAddr, message: &Message) -> Message {
    let local: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((local, 0)).unwrap();
    // Connected, so that an answer from another address than the one asked does not count.
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let octets = message.to_vec().unwrap();
    let mut buffer = [0; 65_535];
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        socket.send(&octets).unwrap();
        if let Ok(length) = socket.recv(&mut buffer) {
            let answer = Message::from_vec(&buffer[..length]).unwrap();
            if answer.metadata.id == message.metadata.id {
                return answer;
            }
        }
    }
    panic!("no answer from {server} over UDP to {message}");
}

/// An open TCP connection that speaks in length-framed messages.
pub(crate) struct TcpClient(pub(crate) TcpStream);

impl TcpClient {
    pub(crate) fn connect(server: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&server, PATIENCE).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, messages: &[&Message]) {
        let mut octets = Vec::new();
        for message in messages {
            let message = message.to_vec().unwrap();
            octets.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
            octets.extend(message);
        }
        self.0.write_all(&octets).unwrap();
    }

    /// The next answer, or `None` when the server has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        let mut length = [0; 2];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("the server neither answered nor closed the connection")
            }
            Err(_) => return None,
        }
        let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut octets).unwrap();
        Some(Message::from_vec(&octets).unwrap())
    }
}

/// Asks over a TCP connection of its own.
pub(crate) fn tcp(server: SocketAddr, message: &Message) -> Message {
    let mut client = TcpClient::connect(server);
    client.send(&[message]);
    client.receive().expect("an answer over TCP")
}

/// The addresses in the answer section, as a set.
pub(crate) fn addresses(answer: &Message) -> BTreeSet<IpAddr> {
    ordered_addresses(answer).into_iter().collect()
}

/// The addresses in the answer section, in their order.
pub(crate) fn ordered_addresses(answer: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| address(&record.data)).collect()
}

pub(crate) fn ips<const N: usize>(addresses: [&str; N]) -> BTreeSet<IpAddr> {
    addresses.iter().map(|address| IpAddr::from_str(address).unwrap()).collect()
}

/// What `dig` prints for the given arguments.
pub(crate) fn dig(server: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("dig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string(), "+tries=5", "+timeout=5"])
        .args(arguments)
        .output()
        .expect("`dig` can be started; it is in the Debian package bind9-dnsutils (make test installs it)");
    assert!(output.status.success(), "dig {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the condition holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
