//! A connection to a pod that Pingora could not make itself: an address flows in, a connection flows out that was told who the
//! client is (the PROXY protocol), or that is for one exchange alone and knows how far that is. The latter ends silences that last too long and lets the response pass no faster than it may; what it does not
//! take waits at the pod, in no buffer of the proxy. It also carries trailers, which Pingora drops; for that it is above the TLS
//! of the pod. One of the few modules that name Pingora types.
//!
//! Nothing is read in the same turn of the task in which something was written: Pingora 0.9.1 ends an upgraded connection
//! as soon as it notes that the request has no body, unless it notes that before it reads the pod's 101; which of the two
//! comes first is left to chance where the pod answers at once. The turn in between puts the body first.

use super::exchange::{Exchange, Silence};
use crate::deadline::Deadline;
use crate::edge::Upload;
use crate::proxy_protocol::{Addresses, encode_v2};
use crate::rate::pace::Pace;
use crate::trailers::{Incoming, Outgoing, Trailers};
use async_trait::async_trait;
use nearside_routing::policy::bandwidth::Bandwidth;
use pingora::connectors::{L4Connect, TransportConnector};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Connects to a pod.
#[derive(Debug)]
pub(super) struct PodConnector {
    /// For a connection; Pingora enforces its own only on connections that it makes.
    pub(super) timeout: Duration,
    /// Who the pod is told is connected.
    pub(super) client: Option<Addresses>,
    /// What the connection is for, if it is for one exchange alone.
    pub(super) exchange: Option<Arc<Exchange>>,
    /// How to connect where TLS is below what Pingora sees of the connection.
    pub(super) secured: Option<Box<HttpPeer>>,
}

#[async_trait]
impl L4Connect for PodConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::InternalError, "a pod has an IP address");
        };
        if let (Some(secured), Some(exchange)) = (&self.secured, &self.exchange) {
            let stream = TLS.get_or_init(|| TransportConnector::new(None)).new_stream(secured.as_ref()).await?;
            return Ok(VirtualSocketStream::new(Box::new(PodStream::new(stream, Arc::clone(exchange)))).into());
        }
        let connecting = async {
            let mut socket = TcpStream::connect(address).await?;
            if let Some(client) = &self.client {
                socket.write_all(&encode_v2(client)).await?;
            }
            io::Result::Ok(socket)
        };
        let Ok(connected) = timeout(self.timeout, connecting).await else {
            return Error::e_explain(ErrorType::ConnectTimedout, "by the connector for pods");
        };
        let socket = connected.map_err(|error| {
            // As Pingora's own connector calls it where this host has no port left.
            let no_port = error.kind() == io::ErrorKind::AddrNotAvailable;
            let kind = if no_port { ErrorType::BindError } else { ErrorType::ConnectError };
            Error::because(kind, "by the connector for pods", error)
        })?;
        Ok(match &self.exchange {
            Some(exchange) => VirtualSocketStream::new(Box::new(PodStream::new(socket, Arc::clone(exchange)))).into(),
            None => socket.into(),
        })
    }
}

/// Connects to pods over TLS; keeps no connections.
static TLS: OnceLock<TransportConnector> = OnceLock::new();

/// A pod's socket, or what is above its TLS.
#[derive(Debug)]
struct PodStream<S> {
    socket: S,
    exchange: Arc<Exchange>,
    written: bool,
    silence: Deadline,
    /// Whose silence the deadline is for.
    silent: Option<Silence>,
    /// The body of the request, where it must come with some speed.
    upload: Option<Upload>,
    slow: Deadline,
    /// The pod takes nothing.
    blocked: bool,
    pace: Option<Pace>,
    pause: Deadline,
    trailers_in: Option<Incoming>,
    trailers_out: Option<Outgoing>,
}

impl<S> PodStream<S> {
    fn new(socket: S, exchange: Arc<Exchange>) -> Self {
        let [silence, slow, pause] = [Deadline::default(), Deadline::default(), Deadline::default()];
        let trailers_in = exchange.trailers().and_then(Trailers::response_in);
        let trailers_out = exchange.trailers().and_then(Trailers::request_out);
        Self {
            socket,
            exchange,
            written: false,
            silence,
            silent: None,
            upload: None,
            slow,
            blocked: false,
            pace: None,
            pause,
            trailers_in,
            trailers_out,
        }
    }

    /// Bytes that may be read now; pending while none may.
    fn poll_allowance(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let Some(Bandwidth { rate, after }) = self.exchange.pace() else { return Poll::Ready(usize::MAX) };
        let bandwidth = Bandwidth { rate, after: after.saturating_add(RESPONSE_HEADER) };
        loop {
            if self.pause.is_set() {
                ready!(self.pause.poll(cx));
                self.pause.clear();
            }
            let now = Instant::now();
            match self.pace.get_or_insert_with(|| Pace::new(bandwidth, now)).allowance(now) {
                Ok(bytes) => return Poll::Ready(usize::try_from(bytes).unwrap_or(usize::MAX)),
                Err(wait) => self.pause.set(wait),
            }
        }
    }

    fn moved(&mut self) {
        self.silent = None;
        self.silence.clear();
    }

    /// The socket has taken bytes, or has no room for them. Who writes may read again only when it is woken (HTTP/2), so the silence
    /// from now on must wake it.
    fn wrote(&mut self, cx: &mut Context<'_>, written: &Poll<io::Result<usize>>) {
        self.blocked = written.is_pending();
        match (&mut self.upload, written) {
            (Some(upload), Poll::Ready(Ok(bytes))) => upload.came(*bytes, Instant::now()),
            (Some(upload), Poll::Pending) => upload.pause(Instant::now()),
            _ => {}
        }
        if self.blocked {
            return;
        }
        self.moved();
        if self.poll_silence(cx).is_ready() {
            // The next read says it.
            cx.waker().wake_by_ref();
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (silence, limit) = self.exchange.awaited();
        if self.silent != Some(silence) {
            self.silent = Some(silence);
            self.silence.set(limit);
        }
        if self.silence.poll(cx).is_pending() {
            ready!(self.poll_slow(cx));
            self.exchange.expire(Silence::Trickle);
        } else {
            self.exchange.expire(silence);
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing moved for too long")))
    }

    /// Ready once the client has sent less than it must for too long.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(rate) = self.exchange.body_rate().filter(|_| !self.blocked) else { return Poll::Pending };
        loop {
            let now = Instant::now();
            let upload = self.upload.get_or_insert_with(|| Upload::begin(rate, now));
            // While the pod takes nothing, the next write asks again.
            let Some(left) = upload.left(now) else { return Poll::Pending };
            if left.is_zero() {
                return Poll::Ready(());
            }
            if !self.slow.is_set() {
                self.slow.set(left);
            }
            ready!(self.slow.poll(cx));
            self.slow.clear();
        }
    }
}

impl<S: Socket> VirtualSocket for PodStream<S> {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.socket.set_nodelay(),
            // Keep-alive is not asked for: idle tunnels end by their own timeout.
            _ => Ok(()),
        }
    }
}

/// What a [`PodStream`] is made of.
trait Socket: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send + Sync {
    /// Sends what is written at once.
    fn set_nodelay(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn set_nodelay(&self) -> io::Result<()> {
        Self::set_nodelay(self, true)
    }
}

impl Socket for pingora::protocols::Stream {
    /// Pingora, which made the connection, did it.
    fn set_nodelay(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Socket> AsyncRead for PodStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if std::mem::take(&mut this.written) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let allowance = ready!(this.poll_allowance(cx));
        let room = buf.remaining().min(allowance);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        match Pin::new(&mut this.socket).poll_read(cx, &mut part) {
            Poll::Ready(Ok(())) => {
                let read = part.filled().len();
                if let Some(trailers) = &mut this.trailers_in {
                    trailers.read(part.filled())?;
                }
                buf.advance(read);
                if let Some(pace) = &mut this.pace {
                    pace.spend(read as u64);
                }
                this.moved();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_silence(cx),
        }
    }
}

impl<S: Socket> AsyncWrite for PodStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.written = true;
        let socket = Pin::new(&mut this.socket);
        let written = match &mut this.trailers_out {
            Some(trailers) => trailers.poll_write(cx, socket, buf),
            None => socket.poll_write(cx, buf),
        };
        this.wrote(cx, &written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.written = true;
        let socket = Pin::new(&mut this.socket);
        let written = match &mut this.trailers_out {
            Some(trailers) => trailers.poll_write_vectored(cx, socket, bufs),
            None => socket.poll_write_vectored(cx, bufs),
        };
        this.wrote(cx, &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(trailers) = &mut this.trailers_out {
            ready!(trailers.poll_due(cx, Pin::new(&mut this.socket)))?;
        }
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Bytes before the body that are not held back: a usual response header.
const RESPONSE_HEADER: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::super::exchange::Patience;
    use super::*;
    use crate::edge::BodyRate;
    use std::num::{NonZeroU32, NonZeroU64};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    const PATIENCE: Patience =
        Patience { client: Duration::from_secs(60), pod: Duration::from_secs(5), tunnel: Duration::from_secs(3600) };

    async fn connected(exchange: &Arc<Exchange>) -> (PodStream<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (PodStream::new(socket, Arc::clone(exchange)), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn only_the_silence_that_counts_ends_the_exchange() {
        let exchange = Arc::new(Exchange::new(PATIENCE, None, false));
        let (mut stream, _pod) = connected(&exchange).await;
        tokio::time::pause();
        let start = Instant::now();
        let early = timeout(PATIENCE.pod * 3, stream.read_u8()).await;
        assert!(early.is_err(), "the request is not sent yet");
        stream.write_all(b"rest").await.unwrap();
        exchange.request_sent();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= PATIENCE.pod * 4 && start.elapsed() < PATIENCE.client);
        assert_eq!(exchange.failure().unwrap().reason, "pod_timeout");
    }

    #[tokio::test]
    async fn the_pods_silence_counts_where_nothing_is_read_after_the_last_write() {
        let exchange = Arc::new(Exchange::new(PATIENCE, None, false));
        let (mut stream, _pod) = connected(&exchange).await;
        tokio::time::pause();
        let mut written = false;
        let reading = std::future::poll_fn(|cx| {
            let mut byte = [0];
            let read = Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut byte));
            if read.is_pending() && !written {
                written = true;
                exchange.request_sent();
                assert!(Pin::new(&mut stream).poll_write(cx, b"rest").is_ready());
            }
            read
        });
        let ended = timeout(PATIENCE.client / 2, reading).await.expect("the silence ends the exchange");
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(exchange.failure().unwrap().reason, "pod_timeout");
    }

    #[tokio::test]
    async fn a_request_that_trickles_ends_the_exchange_although_nobody_is_silent() {
        let rate = BodyRate { least: NonZeroU32::new(100).unwrap(), grace: Duration::from_secs(10) };
        let exchange = Arc::new(Exchange::new(PATIENCE, None, false).with_body_rate(Some(rate)));
        let (mut stream, _pod) = connected(&exchange).await;
        exchange.connected();
        tokio::time::pause();
        let start = Instant::now();
        let error = loop {
            match timeout(Duration::from_secs(1), stream.read_u8()).await {
                Ok(read) => break read.unwrap_err(),
                Err(_) => stream.write_all(b"x").await.unwrap(),
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(exchange.failure().unwrap().reason, "client_rate");
        assert!(start.elapsed() >= rate.grace && start.elapsed() < rate.grace * 2, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_byte_either_way_keeps_a_tunnel_alive() {
        let exchange = Arc::new(Exchange::new(PATIENCE, None, true));
        exchange.answered(true);
        let (mut stream, _pod) = connected(&exchange).await;
        tokio::time::pause();
        for _ in 0..3 {
            assert!(timeout(PATIENCE.tunnel * 2 / 3, stream.read_u8()).await.is_err(), "nobody speaks, nobody is cut");
            stream.write_all(b"ping").await.unwrap();
        }
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(exchange.failure().unwrap().reason, "idle");
    }

    #[tokio::test]
    async fn a_response_is_read_no_faster_than_it_may_pass() {
        let bandwidth = Bandwidth { rate: NonZeroU64::new(1000).unwrap(), after: 500 };
        let exchange = Arc::new(Exchange::new(PATIENCE, Some(bandwidth), true));
        let (mut stream, mut pod) = connected(&exchange).await;
        pod.write_all(&[b'x'; 10_000]).await.unwrap();
        let mut handshake = [0; 1000];
        stream.read_exact(&mut handshake).await.unwrap();
        tokio::time::pause();
        let start = Instant::now();
        exchange.connected();
        let mut body = [0; 5524];
        stream.read_exact(&mut body).await.unwrap();
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(3900) && took <= Duration::from_millis(4200), "{took:?}");
    }
}
