//! The pod behind every proxy: `GET /bytes/N` comes in, N bytes of the content that clients can verify go out, from the page cache
//! into the socket by the kernel alone, so that it is never what the proxies wait for. Runs on a thread and a processor of its own
//! until the value is dropped.

use super::client::WEBSOCKET_ACCEPT;
use super::cores::Cores;
use crate::pods::media;
use anyhow::{Context as _, Result};
use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::net::{SendFlags, send};
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The running server.
#[derive(Debug)]
pub(super) struct Backend {
    address: SocketAddr,
    traffic: Traffic,
    /// Closed when this value goes.
    _end: oneshot::Sender<()>,
}

/// What the backend does; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Bytes of bodies.
    sent: AtomicU64,
    answers: AtomicU64,
}

/// An answer that is under way, until it is dropped.
struct UnderWay<'a>(&'a Counts);

/// What is served.
#[derive(Debug)]
struct Content {
    file: File,
    /// The first bytes of it, for answers that fit into one write with their header.
    beginning: Vec<u8>,
}

impl Backend {
    /// Serves objects of up to `largest` bytes.
    pub(super) fn start(cores: Cores, largest: u64) -> Result<Self> {
        let content = Arc::new(Content::new(largest).context("the content of the backend")?);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (end, ended) = oneshot::channel();
        let traffic = Traffic::default();
        let counts = traffic.clone();
        thread::Builder::new().name("backend".into()).spawn(move || -> Result<()> {
            Cores::bind(cores.backend)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                tokio::select! {
                    _ = ended => Ok(()),
                    served = serve(listener, content, counts) => served,
                }
            })
        })?;
        Ok(Self { address, traffic, _end: end })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }
}

impl Traffic {
    /// Bytes of bodies that the kernel has taken, of all answers so far.
    pub(super) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Answers that are being sent.
    pub(super) fn under_way(&self) -> u64 {
        self.0.answers.load(Ordering::Relaxed)
    }
}

impl<'a> UnderWay<'a> {
    fn begin(counts: &'a Counts) -> Self {
        counts.answers.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }

    fn sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Content {
    fn new(largest: u64) -> io::Result<Self> {
        let mut file = File::from(memfd_create("nearside-bench", MemfdFlags::CLOEXEC)?);
        let mut written = 0;
        while written < largest {
            let chunk = media::piece(written, usize::try_from(largest - written).unwrap_or(usize::MAX));
            file.write_all(&chunk)?;
            written += chunk.len() as u64;
        }
        let beginning = media::piece(0, usize::try_from(largest).unwrap_or(usize::MAX).min(IN_ONE)).to_vec();
        Ok(Self { file, beginning })
    }
}

async fn serve(listener: TcpListener, content: Arc<Content>, traffic: Traffic) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let (content, traffic) = (Arc::clone(&content), traffic.clone());
        // Proxies and clients leave whenever a phase is over.
        tokio::spawn(async move { answer(stream, &content, &traffic.0).await.ok() });
    }
}

async fn answer(mut stream: TcpStream, content: &Content, counts: &Counts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut seen = Vec::with_capacity(4096);
    loop {
        let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") else {
            if stream.read_buf(&mut seen).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = std::str::from_utf8(&seen[..end]).unwrap_or_default();
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path == "/websocket" {
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {WEBSOCKET_ACCEPT}\r\n\r\n"
            );
            send_all(&stream, answer.as_bytes(), SendFlags::NOSIGNAL).await?;
            // Nothing is said on it until the client leaves.
            while stream.read(&mut [0; 64]).await? > 0 {}
            return Ok(());
        }
        let asked = path.rsplit_once("/bytes/").and_then(|(_, bytes)| bytes.parse::<u64>().ok());
        seen.drain(..end + 4);
        let status = if asked.is_some() { "200 OK" } else { "404 Not Found" };
        let length = asked.unwrap_or_default();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: video/mp4\r\nContent-Length: {length}\r\n\r\n");
        let small = usize::try_from(length).ok().and_then(|length| content.beginning.get(..length));
        let under_way = UnderWay::begin(counts);
        if let Some(body) = small {
            send_all(&stream, &[head.as_bytes(), body].concat(), SendFlags::NOSIGNAL).await?;
            under_way.sent(body.len());
        } else {
            send_all(&stream, head.as_bytes(), SendFlags::NOSIGNAL | SendFlags::MORE).await?;
            send_content(&stream, &content.file, length, &under_way).await?;
        }
    }
}

async fn send_all(stream: &TcpStream, mut left: &[u8], flags: SendFlags) -> io::Result<()> {
    while !left.is_empty() {
        let sent = stream.async_io(Interest::WRITABLE, || Ok(send(stream, left, flags)?)).await?;
        left = &left[sent..];
    }
    Ok(())
}

async fn send_content(stream: &TcpStream, file: &File, length: u64, under_way: &UnderWay<'_>) -> io::Result<()> {
    let mut offset = 0;
    while offset < length {
        let left = usize::try_from(length - offset).unwrap_or(usize::MAX).min(AT_ONCE);
        let sent = stream.async_io(Interest::WRITABLE, || Ok(sendfile(stream, file, Some(&mut offset), left)?)).await?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        under_way.sent(sent);
    }
    Ok(())
}

/// Answers up to this size go out in one write with their header.
const IN_ONE: usize = 16 * 1024;
/// Others have their turn after so many bytes at the latest.
const AT_ONCE: usize = 1 << 20;
