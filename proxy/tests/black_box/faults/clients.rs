//! What clients do: one visit is one connection, with as many requests as its kind and its random numbers want, and the end that they
//! want. Those that end as they should are here, and what they are answered is looked at byte by byte; `breaking` has those that break off,
//! or whose pods do, `tunnels` what follows no HTTP.

use super::super::support::PATIENCE;
use super::super::support::wire::{Numbers, ask, bytes, read_head, upload};
use super::{breaking, tunnels};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Hosts by what their pods are like.
pub(super) const WEB: &str = "web.example.com";
pub(super) const RUDE: &str = "rude.example.com";
pub(super) const SURPLUS: &str = "surplus.example.com";
pub(super) const TUNNEL: &str = "tunnel.example.com";
pub(super) const REFUSED: &str = "refused.example.com";

/// Where the proxy is.
pub(super) struct Site {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) tls: Arc<ClientConfig>,
}

impl Site {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.http).await.unwrap()
    }

    pub(super) async fn connect_tls(&self) -> TlsStream<TcpStream> {
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = TcpStream::connect(self.https).await.unwrap();
        let handshake = connector.connect(ServerName::try_from(WEB).unwrap(), stream);
        timeout(PATIENCE, handshake).await.unwrap().unwrap()
    }
}

/// What a TLS client of this configuration says first to the host that is passed through: always equally long.
pub(super) fn hello(tls: &Arc<ClientConfig>) -> Vec<u8> {
    let mut hello = Vec::new();
    let mut client = ClientConnection::new(Arc::clone(tls), ServerName::try_from(TUNNEL).unwrap()).unwrap();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[derive(Clone, Copy, Debug)]
enum Visit {
    KeptAlive,
    Pipelined,
    OldProtocol,
    Large,
    Upload,
    Slow,
    LeavesIdle,
    LeavesInHeader,
    LeavesInUpload,
    LeavesInAnswer,
    Secure,
    LeavesInHandshake,
    Rude,
    Surplus,
    Refused,
    Tunnel,
    Upgrade,
}

/// How often each is made, of the sum of all.
const MIX: [(usize, Visit); 17] = [
    (40, Visit::KeptAlive),
    (5, Visit::Pipelined),
    (5, Visit::OldProtocol),
    (6, Visit::Large),
    (6, Visit::Upload),
    (1, Visit::Slow),
    (5, Visit::LeavesIdle),
    (6, Visit::LeavesInHeader),
    (4, Visit::LeavesInUpload),
    (6, Visit::LeavesInAnswer),
    (1, Visit::Secure),
    (1, Visit::LeavesInHandshake),
    (8, Visit::Rude),
    (2, Visit::Surplus),
    (2, Visit::Refused),
    (4, Visit::Tunnel),
    (2, Visit::Upgrade),
];

/// One connection. How many requests it brought, a passed-through connection being one.
pub(super) async fn visit(site: &Site, numbers: &mut Numbers) -> usize {
    let mut at = numbers.below(MIX.iter().map(|(often, _)| often).sum());
    let (_, visit) = MIX.iter().find(|(often, _)| at.checked_sub(*often).map(|rest| at = rest).is_none()).unwrap();
    match visit {
        Visit::KeptAlive => kept_alive(site, numbers).await,
        Visit::Pipelined => pipelined(site, numbers).await,
        Visit::OldProtocol => old_protocol(site, numbers).await,
        Visit::Large => large(site, numbers).await,
        Visit::Upload => uploads(site, numbers).await,
        Visit::Slow => slow(site, numbers).await,
        Visit::LeavesIdle => breaking::leaves_in(site, numbers, 0, &[]).await,
        Visit::LeavesInHeader => breaking::leaves_in_header(site, numbers).await,
        Visit::LeavesInUpload => breaking::leaves_in_upload(site, numbers).await,
        Visit::LeavesInAnswer => breaking::leaves_in_answer(site, numbers).await,
        Visit::Secure => secure(site, numbers).await,
        Visit::LeavesInHandshake => breaking::leaves_in_handshake(site, numbers).await,
        Visit::Rude => breaking::rude(site, numbers).await,
        Visit::Surplus => breaking::surplus(site, numbers).await,
        Visit::Refused => breaking::refused(site).await,
        Visit::Tunnel => tunnels::tunnel(site, numbers).await,
        Visit::Upgrade => tunnels::upgrade(site, numbers).await,
    }
}

pub(super) fn get(host: &str, path: &str, more: &str) -> String {
    format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")
}

/// A request for a body, and its length.
pub(super) fn download(numbers: &mut Numbers, size: usize) -> String {
    let framing = ["length", "length", "chunked", "close"][numbers.below(4)];
    get(WEB, &format!("{framing}/{size}/{}", 1000 + numbers.below(200_000)), "")
}

/// The end of a connection: closed, which is a reset where something was not read, or reset in any case.
pub(super) fn leave(stream: &TcpStream, numbers: &mut Numbers) {
    if numbers.below(2) == 0 {
        SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

pub(super) async fn to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    // A reset is an end too.
    drop(timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the proxy closes"));
    read
}

async fn kept_alive(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = site.connect().await;
    let count = 1 + numbers.below(16);
    for _ in 0..count {
        let size = numbers.below(2000);
        let (header, body) = ask(&mut client, download(numbers, size).as_bytes()).await;
        assert!(header.starts_with("HTTP/1.1 200 ") && body == bytes(size), "{size}: {}, {header}", body.len());
    }
    leave(&client, numbers);
    count
}

async fn pipelined(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = site.connect().await;
    let (first, second) = (numbers.below(3000), numbers.below(3000));
    let [one, other] = [(first, ""), (second, "Connection: close\r\n")]
        .map(|(size, more)| get(WEB, &format!("length/{size}/999"), more));
    client.write_all((one + &other).as_bytes()).await.unwrap();
    let mut read = to_end(&mut client).await;
    for size in [first, second] {
        let header = read_head(&mut client, &mut read).await.expect("both are answered");
        assert!(header.starts_with("HTTP/1.1 200 ") && read.len() >= size && read[..size] == bytes(size), "{header}");
        read.drain(..size);
    }
    assert!(read.is_empty());
    2
}

async fn old_protocol(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = site.connect().await;
    let size = numbers.below(3000);
    let request = get(WEB, &format!("length/{size}/999"), "").replace("HTTP/1.1", "HTTP/1.0");
    client.write_all(request.as_bytes()).await.unwrap();
    let answer = to_end(&mut client).await;
    assert!(answer.ends_with(&bytes(size)), "{request}: {}", String::from_utf8_lossy(&answer));
    1
}

/// Answers that are moved by the kernel where they may be.
async fn large(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = site.connect().await;
    for _ in 0..2 {
        let size = 100_000 + numbers.below(400_000);
        let (header, body) = ask(&mut client, download(numbers, size).as_bytes()).await;
        assert!(header.starts_with("HTTP/1.1 200 ") && body == bytes(size), "{size}: {}, {header}", body.len());
    }
    leave(&client, numbers);
    2
}

async fn uploads(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = site.connect().await;
    for turn in 0..2 {
        let body = bytes([numbers.below(5000), numbers.below(200_000)][turn]);
        let chunk = (numbers.below(2) == 0).then(|| 500 + numbers.below(50_000));
        let (header, mirrored) = ask(&mut client, &upload(WEB, &body, chunk)).await;
        assert!(
            header.starts_with("HTTP/1.1 200 ") && mirrored == body,
            "{}: {}, {header}",
            body.len(),
            mirrored.len()
        );
    }
    leave(&client, numbers);
    2
}

/// Reads little at a time, and sometimes not to the end.
async fn slow(site: &Site, numbers: &mut Numbers) -> usize {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(site.http).await.unwrap();
    let size = 150_000 + numbers.below(150_000);
    let request = get(WEB, &format!("length/{size}/100000"), "Connection: close\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("a header comes");
    let wanted = if numbers.below(2) == 0 { size } else { numbers.below(size) };
    let mut part = vec![0; 3000];
    while read.len() < wanted {
        tokio::task::yield_now().await;
        let count = timeout(PATIENCE, client.read(&mut part)).await.unwrap().unwrap();
        assert!(count > 0, "ended after {} of {size}", read.len());
        read.extend_from_slice(&part[..count]);
    }
    assert!(read == bytes(size)[..read.len()]);
    leave(&client, numbers);
    1
}

async fn secure(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = site.connect_tls().await;
    for limit in [2000, 300_000] {
        let size = numbers.below(limit);
        let (header, body) = ask(&mut client, download(numbers, size).as_bytes()).await;
        assert!(header.starts_with("HTTP/1.1 200 ") && body == bytes(size), "{size}: {}, {header}", body.len());
    }
    if numbers.below(2) == 0 {
        client.write_all(download(numbers, 400_000).as_bytes()).await.unwrap();
    }
    leave(client.get_ref().0, numbers);
    3
}
