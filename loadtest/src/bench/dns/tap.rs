//! A tap between a publisher and a name server: what goes through is passed on as it is, and the moment at which the server
//! acknowledges the update of a name flows out. Called by `latency`, for which it is the word of the server itself and not of the
//! program that is measured.

use anyhow::{Context as _, Result};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// The running tap; its tasks end with the value.
pub(super) struct Tap {
    address: SocketAddr,
    applied: Applied,
    tasks: Vec<JoinHandle<()>>,
}

/// When the last update of each name was acknowledged.
type Applied = Arc<Mutex<HashMap<String, Instant>>>;

/// The names of the updates of one connection that were not answered yet.
type Waiting = Arc<Mutex<HashMap<u16, Vec<String>>>>;

impl Tap {
    /// Leads from a new address to `server`.
    pub(super) async fn start(server: SocketAddr) -> Result<Self> {
        let (tcp, udp) = listen().await?;
        let address = tcp.local_addr()?;
        let applied = Applied::default();
        let shared = Arc::clone(&applied);
        let streams = tokio::spawn(async move {
            while let Ok((client, _)) = tcp.accept().await {
                tokio::spawn(relay(client, server, Arc::clone(&shared)));
            }
        });
        let datagrams = tokio::spawn(pass_datagrams(udp, server));
        Ok(Self { address, applied, tasks: vec![streams, datagrams] })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// When the last update of a name was acknowledged.
    pub(super) fn applied(&self, name: &str) -> Option<Instant> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn relay(client: TcpStream, server: SocketAddr, applied: Applied) -> Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let waiting = Waiting::default();
    let asked = Arc::clone(&waiting);
    let requests = pump(from_client, to_server, move |message| {
        if opcode(message) != u8::from(OpCode::Update) {
            return;
        }
        let Ok(update) = Message::from_vec(message) else { return };
        let mut names: Vec<String> =
            update.authorities.iter().map(|record| record.name.to_ascii().trim_end_matches('.').to_owned()).collect();
        names.dedup();
        asked.lock().unwrap_or_else(PoisonError::into_inner).insert(update.metadata.id, names);
    });
    let replies = pump(from_server, to_client, move |message| {
        let Some(id) = message.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return };
        let taken = message.get(3).is_some_and(|flags| u16::from(flags & 0x0f) == u16::from(ResponseCode::NoError));
        if opcode(message) != u8::from(OpCode::Update) || !taken {
            return;
        }
        let names = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id).unwrap_or_default();
        let now = Instant::now();
        applied.lock().unwrap_or_else(PoisonError::into_inner).extend(names.into_iter().map(|name| (name, now)));
    });
    tokio::try_join!(requests, replies).map(drop)
}

/// Passes messages with their lengths (RFC 1035 §4.2.2) on, and shows each.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut see: impl FnMut(&[u8])) -> Result<()> {
    loop {
        // Who is shown through must not wait for acknowledgements that it would get at once without the tap.
        let _ = from.as_ref().set_quickack(true);
        let mut framed = vec![0; 2];
        if from.read_exact(&mut framed).await.is_err() {
            // The end of one direction ends it at the other side as well.
            return Ok(to.shutdown().await?);
        }
        let length = usize::from(u16::from_be_bytes([framed[0], framed[1]]));
        framed.resize(2 + length, 0);
        from.read_exact(&mut framed[2..]).await?;
        see(&framed[2..]);
        to.write_all(&framed).await?;
    }
}

/// One datagram and its answer after the other: enough for a publisher that looks whether its records are there.
async fn pass_datagrams(socket: UdpSocket, server: SocketAddr) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let (query, socket) = (buffer[..length].to_vec(), Arc::clone(&socket));
        tokio::spawn(async move {
            let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            upstream.connect(server).await?;
            upstream.send(&query).await?;
            let mut answer = vec![0; 4096];
            let answered = tokio::time::timeout(PATIENCE, upstream.recv(&mut answer)).await;
            let length = answered.context("no answer")??;
            socket.send_to(&answer[..length], client).await?;
            anyhow::Ok(())
        });
    }
}

/// A port of 127.0.0.1 for both.
async fn listen() -> Result<(TcpListener, UdpSocket)> {
    for _ in 0..TRIES {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr()?).await {
            return Ok((tcp, udp));
        }
    }
    anyhow::bail!("no port of 127.0.0.1 is free for UDP and TCP")
}

fn opcode(message: &[u8]) -> u8 {
    message.get(2).map_or(0, |flags| (flags >> 3) & 0x0f)
}

const TRIES: u32 = 20;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
