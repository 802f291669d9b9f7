//! The clients: a target and a schedule come in, what became of each request goes to the tally. A client does what HTTP asks of it and no
//! more: it leaves a connection when it was told to, and asks on it otherwise. A kept connection that ends without an answer, and without
//! a word before, is a failure.

use super::exchange::{After, begin, get};
use super::load::Schedule;
use super::tally::{Kind, Tally};
use crate::pods::media;
use crate::pods::websocket::{self, Frame};
use anyhow::{Context as _, Error, Result, bail, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where clients ask.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) host: String,
    /// Clients that offer HTTP/1.1, and those that offer HTTP/2; they resume sessions.
    pub(super) tls: Arc<ClientConfig>,
    /// See `tls`.
    pub(super) tls_h2: Arc<ClientConfig>,
}

/// A connection that is kept.
enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Http2(SendRequest<Empty<Bytes>>),
}

/// One request on a connection of its own each time.
pub(super) async fn new_connections(target: Arc<Target>, tally: Arc<Tally>, mut schedule: Schedule) {
    let mut requests = JoinSet::new();
    while schedule.due().await {
        let (target, tally) = (Arc::clone(&target), Arc::clone(&tally));
        requests.spawn(async move {
            let asked = async {
                let mut stream = TcpStream::connect(target.http).await.context("no connection")?;
                get(&mut stream, &target.host, SMALL, "Connection: close\r\n").await
            };
            tally.note(Kind::New, timed(asked).await.map(drop));
        });
        while requests.try_join_next().is_some() {}
    }
    requests.join_all().await;
}

/// One request after another on a connection that is kept as long as nothing speaks against it.
pub(super) async fn kept(kind: Kind, target: Arc<Target>, tally: Arc<Tally>, mut schedule: Schedule) {
    let mut connection = None;
    while schedule.due().await {
        let asked = timed(ask(kind, &target, &tally, connection.take())).await;
        connection = match asked {
            Ok(next) => {
                tally.note(kind, Ok::<_, Error>(()));
                next
            }
            Err(error) => {
                tally.note(kind, Err(error));
                None
            }
        };
    }
}

/// WebSockets or downloads, one after another.
pub(super) async fn lasting(kind: Kind, target: Arc<Target>, tally: Arc<Tally>, mut schedule: Schedule) {
    while schedule.due().await {
        let asked = match kind {
            Kind::WebSocket => timed(chat(&target)).await,
            _ => timed(download(&target)).await,
        };
        tally.note(kind, asked);
    }
}

async fn timed<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(PATIENCE, asked).await.context("no answer in time")?
}

/// Gives the connection back where another request may follow.
async fn ask(kind: Kind, target: &Target, tally: &Tally, kept: Option<Connection>) -> Result<Option<Connection>> {
    let connection = match kept {
        Some(kept) => kept,
        None => connect(kind, target, tally).await?,
    };
    let (connection, after) = match connection {
        Connection::Plain(mut stream) => {
            let after = get(&mut stream, &target.host, SMALL, "").await?;
            (Connection::Plain(stream), after)
        }
        Connection::Tls(mut stream) => {
            let after = get(&mut stream, &target.host, SMALL, "").await?;
            (Connection::Tls(stream), after)
        }
        Connection::Http2(sender) => (Connection::Http2(ask_h2(sender, target, tally).await?), After::Open),
    };
    if after == After::Told {
        tally.told(kind);
        return Ok(None);
    }
    Ok(Some(connection))
}

async fn connect(kind: Kind, target: &Target, tally: &Tally) -> Result<Connection> {
    if kind == Kind::Kept {
        return Ok(Connection::Plain(TcpStream::connect(target.http).await.context("no connection")?));
    }
    let config = if kind == Kind::Http2 { &target.tls_h2 } else { &target.tls };
    let stream = TcpStream::connect(target.https).await.context("no connection")?;
    let name = ServerName::try_from(target.host.clone())?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.context("no handshake")?;
    tally.handshake(kind, stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed));
    if kind == Kind::KeptTls {
        return Ok(Connection::Tls(Box::new(stream)));
    }
    let (sender, connection) =
        Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.context("no HTTP/2")?;
    // How it ends is seen by the requests.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection::Http2(sender))
}

/// A client that has heard GOAWAY makes another connection; what it had sent before is answered.
async fn ask_h2(
    mut sender: SendRequest<Empty<Bytes>>,
    target: &Target,
    tally: &Tally,
) -> Result<SendRequest<Empty<Bytes>>> {
    for _ in 0..ATTEMPTS {
        if sender.ready().await.is_ok() {
            let uri = format!("https://{}/media/{SMALL}", target.host);
            match sender.send_request(Request::get(uri).body(Empty::new())?).await {
                Ok(answer) => {
                    ensure!(answer.status() == 200, "the answer is {}", answer.status());
                    let body = answer.into_body().collect().await.context("the answer ends early")?.to_bytes();
                    ensure!(body.len() == SMALL && media::verify(0, &body), "the answer has wrong bytes");
                    return Ok(sender);
                }
                // It heard GOAWAY before it had sent anything.
                Err(error) if error.is_canceled() || was_told(&error) => {}
                Err(error) => return Err(Error::new(error).context("no answer")),
            }
        }
        tally.told(Kind::Http2);
        let Connection::Http2(next) = connect(Kind::Http2, target, tally).await? else {
            bail!("another connection than was asked for")
        };
        sender = next;
    }
    bail!("no connection stays open long enough for a request")
}

/// Whether the server has said in order that it takes no more requests: what is not among the last ones that it takes was not looked at,
/// and may be asked elsewhere (RFC 9113 §6.8).
fn was_told(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR))
}

/// A WebSocket that says something now and then, and hears it back.
async fn chat(target: &Target) -> Result<()> {
    let mut stream = TcpStream::connect(target.http).await.context("no connection")?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        target.host
    );
    let begun = begin(&mut stream, &request).await?;
    ensure!(begun.status == 101, "the answer is {}", begun.status);
    for turn in 0..TURNS {
        sleep(LASTS / TURNS).await;
        let frame = Frame { fin: true, opcode: 2, payload: turn.to_be_bytes().to_vec() };
        websocket::write(&mut stream, &frame, Some(MASK)).await.context("cut")?;
        let heard = websocket::read(&mut stream).await.context("cut")?.context("ended early")?;
        ensure!(heard.payload == frame.payload, "it hears something else");
    }
    let close = Frame { fin: true, opcode: 8, payload: vec![3, 232] };
    websocket::write(&mut stream, &close, Some(MASK)).await.context("cut")?;
    let heard = websocket::read(&mut stream).await.context("cut")?.context("ended early")?;
    ensure!(heard.opcode == 8, "it does not end in order");
    Ok(())
}

/// A download by a slow client.
async fn download(target: &Target) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    // Or the kernel would have all of it long before the client.
    socket.set_recv_buffer_size(64 * 1024)?;
    let mut stream = socket.connect(target.http).await.context("no connection")?;
    let request = format!("GET /media/{LARGE} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.host);
    let begun = begin(&mut stream, &request).await?;
    ensure!(begun.status == 200, "the answer is {}", begun.status);
    let mut chunk = begun.into_body();
    let (start, mut offset) = (Instant::now(), 0_u64);
    loop {
        ensure!(media::verify(offset, &chunk), "wrong bytes behind {offset}");
        offset += chunk.len() as u64;
        if offset == LARGE {
            return Ok(stream.shutdown().await?);
        }
        sleep_until(start + LASTS.mul_f64(offset as f64 / LARGE as f64)).await;
        chunk.clear();
        chunk.reserve(64 * 1024);
        ensure!(stream.read_buf(&mut chunk).await.context("cut")? > 0, "ended after {offset} of {LARGE} bytes");
    }
}

/// Bytes of a small answer.
const SMALL: usize = 1000;
/// Bytes of a download.
const LARGE: u64 = 16_000_000;
/// How long a WebSocket and a download take.
const LASTS: Duration = Duration::from_secs(2);
const TURNS: u32 = 20;
const MASK: [u8; 4] = [1, 2, 3, 4];
/// A request, WebSocket or download that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that may be told to go before they have carried a request.
const ATTEMPTS: usize = 5;
