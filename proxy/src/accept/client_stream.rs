//! The socket of a client as Pingora sees it: bytes that were read already come first, deadlines are enforced below
//! everything else, and the connection's context travels with it. One of the few modules that name Pingora types.
//!
//! Unbuffered: what a pod sends is on its way to the client as soon as Pingora writes it, and an idle connection holds
//! no buffer.

use super::linger::Parting;
use crate::connection::{Awaited, Connection};
use crate::deadline::Deadline;
use crate::edge::{Exceeded, Limit};
use crate::kernel_tls::{self, Control, RecordBoundary};
use crate::options::Timeouts;
use async_trait::async_trait;
use bytes::{Buf, Bytes};
use http::StatusCode;
use nearside_routing::Scheme;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// What becomes of the bytes of a socket.
#[derive(Debug)]
enum Security {
    /// Nothing.
    Plain,
    /// TLS above it, which gets whole records up to here.
    Above(RecordBoundary),
    /// TLS below it.
    Kernel(Control),
    /// The kernel was to do TLS and does not: no byte may pass.
    Broken,
}

/// A client's socket.
#[derive(Debug)]
pub(crate) struct ClientStream {
    socket: TcpStream,
    /// Read before it was known who serves the connection.
    first: Bytes,
    security: Security,
    connection: Arc<Connection>,
    digest: Arc<ProxyDigest>,
    addresses: Arc<SocketDigest>,
    h2: bool,
    header_time: Duration,
    header: Deadline,
    stall_time: Duration,
    stall: Deadline,
    parting: Parting,
    exceeded: Exceeded,
    /// The client has closed its side, or the connection is broken or cut: there is nobody to linger for.
    ended: bool,
}

impl ClientStream {
    /// A socket whose first bytes were read already. `h2` says that they are the preface of HTTP/2.
    pub(super) fn new(
        socket: TcpStream,
        first: Bytes,
        connection: Arc<Connection>,
        h2: bool,
        timeouts: &Timeouts,
        exceeded: &Exceeded,
    ) -> Self {
        let addresses = SocketDigest::from_raw_fd(socket.as_raw_fd());
        // The cells of a new value are empty, so setting them succeeds.
        drop(addresses.peer_addr.set(Some(socket::SocketAddr::Inet(connection.client))));
        drop(addresses.local_addr.set(Some(socket::SocketAddr::Inet(connection.local))));
        let context = Box::new(Arc::clone(&connection));
        // Pingora's own use of the digest, the answer of a proxy before it, has no meaning here.
        let unused = ResponseHeader::build(StatusCode::OK, Some(0)).expect("200 is a status");
        let digest = ProxyDigest::new(Box::new(unused), Some(context));
        let security = match connection.scheme {
            Scheme::Http => Security::Plain,
            Scheme::Https => Security::Above(RecordBoundary::default()),
        };
        Self {
            socket,
            first,
            security,
            connection,
            digest: Arc::new(digest),
            addresses: Arc::new(addresses),
            h2,
            header_time: timeouts.header,
            header: Deadline::default(),
            stall_time: timeouts.client_stall,
            stall: Deadline::default(),
            parting: Parting::default(),
            exceeded: exceeded.clone(),
            ended: false,
        }
    }

    /// Where the socket can be found when the stream has been dropped.
    pub(super) fn parting(&self) -> Parting {
        self.parting.clone()
    }

    /// The socket itself.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Its connection.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether everything that was read of it are whole records.
    pub(super) fn is_between_records(&self) -> bool {
        self.first.is_empty() && matches!(&self.security, Security::Above(boundary) if boundary.is_here())
    }

    /// From now on TLS is the kernel's.
    pub(super) fn seal(&mut self) {
        self.security = Security::Kernel(Control::default());
    }

    /// No byte may pass any more.
    pub(super) fn forbid(&mut self) {
        self.security = Security::Broken;
    }

    fn is_sealed(&self) -> bool {
        matches!(self.security, Security::Kernel(_))
    }

    /// Tells the client that its header took too long, where nothing but HTTP/1 without TLS can be on its way to it; `false`
    /// where that cannot be.
    fn told_header_timeout(&self) -> bool {
        let plain = self.connection.scheme == Scheme::Http && !self.h2;
        plain && self.socket.try_write(HEADER_TIMEOUT).is_ok_and(|written| written == HEADER_TIMEOUT.len())
    }

    fn guard_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.stall.clear();
            self.ended |= written.is_err();
            return Poll::Ready(written);
        }
        if !self.stall.is_set() {
            self.stall.set(self.stall_time);
        }
        ready!(self.stall.poll(cx));
        self.ended = true;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no bytes")))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if !self.ended {
            self.parting.keep(&self.socket, self.is_sealed());
        }
    }
}

/// The context of the connection that a Pingora session runs on.
pub(crate) fn connection_of(digest: Option<&Digest>) -> Option<&Arc<Connection>> {
    digest?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let before = buf.filled().len();
            let count = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first[..count]);
            this.first.advance(count);
            // The rest of the header has mostly come as well; what is wrong with the socket is said next time.
            if this.first.is_empty() && buf.remaining() > 0 {
                drop(this.socket.try_read_buf(buf));
            }
            this.security.pass(&buf.filled()[before..]);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let room = buf.remaining() > 0;
        let read = match &mut this.security {
            Security::Plain => Pin::new(&mut this.socket).poll_read(cx, buf),
            Security::Above(boundary) => {
                let read = Pin::new(&mut this.socket).poll_read(cx, buf);
                boundary.pass(&buf.filled()[before..]);
                read
            }
            Security::Kernel(control) => kernel_tls::poll_read(&this.socket, control, cx, buf),
            Security::Broken => Poll::Ready(Err(forbidden())),
        };
        this.ended |= match &read {
            Poll::Ready(Ok(())) => room && buf.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        let awaited = this.connection.header.awaited();
        let of_header = matches!(awaited, Awaited::Header | Awaited::NextRequest);
        if of_header && read.is_ready() && buf.filled().len() > before {
            this.connection.arrival.begin();
        }
        match awaited {
            Awaited::Nothing | Awaited::Other => this.header.clear(),
            Awaited::Header => {
                if !this.header.is_set() {
                    this.header.set(this.header_time);
                }
                if read.is_pending() {
                    ready!(this.header.poll(cx));
                    this.exceeded.count(Limit::HeaderTime);
                    this.ended = !this.told_header_timeout();
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the request header takes too long",
                    )));
                }
            }
            Awaited::NextRequest => {
                if read.is_ready() && buf.filled().len() > before {
                    this.connection.header.set(Awaited::Header);
                    this.header.set(this.header_time);
                }
            }
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self.security {
            Security::Broken => Poll::Ready(Err(forbidden())),
            _ => Pin::new(&mut self.socket).poll_write(cx, buf),
        };
        self.guard_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match self.security {
            Security::Broken => Poll::Ready(Err(forbidden())),
            _ => Pin::new(&mut self.socket).poll_write_vectored(cx, bufs),
        };
        self.guard_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.security {
            // The end of the socket itself waits until the kernel has sent what it has encrypted.
            Security::Kernel(control) => {
                let told = kernel_tls::poll_close(&this.socket, control, cx);
                this.guard_write(cx, told).map_ok(drop)
            }
            Security::Plain | Security::Above(_) | Security::Broken => Pin::new(&mut this.socket).poll_shutdown(cx),
        }
    }
}

impl Security {
    /// These bytes go up.
    fn pass(&mut self, bytes: &[u8]) {
        if let Self::Above(boundary) = self {
            boundary.pass(bytes);
        }
    }
}

fn forbidden() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the kernel was to encrypt and does not")
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // A client that is gone needs no goodbye.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.socket.as_raw_fd()
    }
}

impl Ssl for ClientStream {
    /// Pingora serves HTTP/2 on a stream that says it was agreed on; by prior knowledge it is.
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.h2.then_some(ALPN::H2)
    }
}

impl Peek for ClientStream {}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.addresses))
    }
}

/// RFC 9110 §15.5.9.
pub(super) const HEADER_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Arrival, HeaderWatch, Hold};
    use crate::trailers::TrailerWatch;
    use prometheus::Registry;
    use std::sync::OnceLock;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    const TIMEOUTS: Timeouts = Timeouts {
        connect: Duration::from_secs(5),
        read: Duration::from_secs(30),
        client: Duration::from_secs(30),
        client_stall: Duration::from_secs(60),
        tunnel: Duration::from_secs(3600),
        client_fin: Duration::from_secs(1),
        server_fin: Duration::from_secs(1),
        header: Duration::from_secs(10),
        keep_alive: Duration::from_secs(300),
    };

    async fn pair(first: &'static [u8]) -> (ClientStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        let connection = Connection {
            client: peer,
            local: socket.local_addr().unwrap(),
            scheme: Scheme::Http,
            server_name: None,
            arrival: Arrival::now(),
            header: HeaderWatch::default(),
            hold: Hold::default(),
            sealing: Default::default(),
            trailers: TrailerWatch::default(),
            certificate: OnceLock::new(),
            presented: OnceLock::new(),
            lasting: Default::default(),
            parting: tokio::sync::Notify::new(),
            streams: Default::default(),
            _place: None,
        };
        let exceeded = Exceeded::new(&Registry::new()).unwrap();
        let first = Bytes::from_static(first);
        (ClientStream::new(socket, first, Arc::new(connection), false, &TIMEOUTS, &exceeded), client)
    }

    #[tokio::test]
    async fn bytes_that_were_read_before_come_first() {
        let (mut stream, mut client) = pair(b"GET ").await;
        client.write_all(b"/ HTTP").await.unwrap();
        let mut read = [0; 10];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"GET / HTTP");
    }

    #[tokio::test]
    async fn a_request_header_that_trickles_is_cut_and_a_body_is_not() {
        let (mut stream, mut client) = pair(b"").await;
        tokio::time::pause();
        client.write_all(b"G").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'G');
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        stream.connection.header.set(Awaited::Other);
        let waited = tokio::time::timeout(TIMEOUTS.header * 100, stream.read_u8()).await;
        assert!(waited.is_err(), "no deadline on anything but the header");
    }

    #[tokio::test]
    async fn the_next_header_has_its_time_from_its_first_byte() {
        let (mut stream, mut client) = pair(b"").await;
        stream.connection.header.set(Awaited::NextRequest);
        tokio::time::pause();
        let idle = tokio::time::timeout(TIMEOUTS.header * 10, stream.read_u8()).await;
        assert!(idle.is_err(), "an idle connection is not cut by the deadline on headers");
        tokio::time::resume();
        client.write_all(b"G").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'G');
        tokio::time::pause();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
