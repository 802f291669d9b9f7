//! A plain connection to a pod: its description flows in, a socket flows out that Pingora's reader of HTTP/1 takes and that is
//! still ours. One of the few modules that name Pingora types.

use crate::splice::send_all;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use pingora::{Error, ErrorType, Result};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A pod's socket.
#[derive(Debug)]
pub(super) struct PodSocket {
    socket: Arc<TcpStream>,
    /// What was read of it and is to be read again.
    unread: Bytes,
}

/// Connects to a pod.
///
/// # Errors
/// The pod does not accept, or not in time.
pub(super) async fn connect(address: SocketAddr, limit: Duration) -> Result<PodSocket> {
    let Ok(connected) = timeout(limit, TcpStream::connect(address)).await else {
        return Error::e_explain(ErrorType::ConnectTimedout, format!("no answer within {limit:?}"));
    };
    let socket = connected.map_err(|error| Error::because(kind(&error), format!("connecting to {address}"), error))?;
    socket.set_nodelay(true).map_err(|error| Error::because(ErrorType::ConnectError, "on a socket to a pod", error))?;
    Ok(PodSocket { socket: Arc::new(socket), unread: Bytes::new() })
}

/// What is left of a session whose answer is whole: the connection, where both sides leave it open.
pub(super) async fn kept(mut pod: HttpSession) -> Option<Box<PodSocket>> {
    pod.respect_keepalive();
    pod.reuse().await.and_then(|stream| stream.into_any().downcast().ok())
}

/// Acknowledges at once what was received. A pod that writes header and body apart, without `TCP_NODELAY`, has the body wait for
/// that (RFC 9293 §3.7.4), which otherwise takes the kernel up to 40 ms on a kept connection.
pub(super) fn acknowledge(socket: &TcpStream) {
    // Fails only on a socket that is gone already, and then the next read says so.
    drop(SockRef::from(socket).set_tcp_quickack(true));
}

/// What came with the header of an answer that Pingora's reader has read, and is not in the socket any more.
///
/// # Errors
/// The pod broke off.
pub(super) async fn early(pod: &mut HttpSession) -> Result<&[u8]> {
    tokio::select! {
        biased;
        read = pod.read_body_ref() => Ok(read.map_err(Error::into_up)?.unwrap_or_default()),
        () = std::future::ready(()) => Ok(&[]),
    }
}

/// A connection whose answer is read from the socket from now on.
#[derive(Debug)]
pub(super) struct Detached {
    /// The connection.
    pub(super) pod: Box<PodSocket>,
    /// What was read of it before Pingora's reader was there, and has not been given out.
    pub(super) unread: Bytes,
    /// Bytes of the body after those, which are still in the socket or to come.
    pub(super) left: u64,
    /// Whether the connection can serve on after them.
    pub(super) serves_on: bool,
}

impl Detached {
    /// Of a session whose answer has so long a body, of which Pingora's reader has given out what it had.
    ///
    /// # Errors
    /// The connection is none of the proxy's own.
    pub(super) fn from(mut session: HttpSession, length: u64) -> Result<Self> {
        session.respect_keepalive();
        let (serves_on, given) = (session.will_keepalive(), session.body_bytes_received());
        let Ok(mut pod) = session.into_inner().into_any().downcast::<PodSocket>() else {
            return Error::e_explain(ErrorType::InternalError, "the connection to the pod is none of the proxy's own");
        };
        let unread = std::mem::take(&mut pod.unread);
        let left = length.saturating_sub((given + unread.len()) as u64);
        Ok(Self { pod, unread, left, serves_on })
    }
}

fn kind(error: &io::Error) -> ErrorType {
    match error.kind() {
        ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        // Nothing about the pod: this host has no port or no address for it. Pingora's connector calls it so.
        ErrorKind::AddrNotAvailable => ErrorType::BindError,
        _ => ErrorType::ConnectError,
    }
}

impl PodSocket {
    /// The socket, for what needs no reader of HTTP.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The same beside such a reader.
    pub(super) fn shared(&self) -> Arc<TcpStream> {
        Arc::clone(&self.socket)
    }

    /// Lets the next reader begin with what was read already.
    pub(super) fn unread(&mut self, read: Bytes) {
        self.unread = read;
    }

    /// See [`acknowledge`].
    pub(super) fn acknowledge(&self) {
        acknowledge(&self.socket);
    }

    /// Sends all of something. `patience` is for each time that the pod takes nothing.
    ///
    /// # Errors
    /// The pod takes it not, or not in time.
    pub(super) async fn send(&self, bytes: &[u8], patience: Duration) -> Result<()> {
        send_all(&self.socket, bytes, patience).await.map_err(|error| {
            let kind = if error.is_timeout() { ErrorType::WriteTimedout } else { ErrorType::WriteError };
            Error::because(kind, "a request to a pod", error)
        })
    }

    /// Whether the pod has neither closed it nor said anything since the last answer.
    pub(super) fn is_usable(&self) -> bool {
        let mut byte = [0];
        matches!(recv(&*self.socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN))
    }
}

impl AsyncRead for PodSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        if !self.unread.is_empty() {
            let again = self.unread.len().min(room);
            buf.put_slice(&self.unread.split_to(again));
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut read = None;
            let tried = self.socket.try_io(Interest::READABLE, || {
                let count = self.socket.try_read_buf(buf)?;
                read = Some(count);
                // Less than there is room for means that nothing is left: the kernel need not be asked to say so.
                if count > 0 && count < room { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match tried {
                _ if read.is_some() => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(self.socket.poll_read_ready(cx))?,
                tried => return Poll::Ready(tried),
            }
        }
    }
}

impl AsyncWrite for PodSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.socket.try_write_vectored(bufs) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(self.socket.poll_write_ready(cx))?,
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.socket).shutdown(std::net::Shutdown::Write))
    }
}

#[async_trait]
impl Shutdown for PodSocket {
    async fn shutdown(&mut self) {
        // A pod that is gone needs no goodbye.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

impl UniqueID for PodSocket {
    fn id(&self) -> UniqueIDType {
        self.socket.as_raw_fd()
    }
}

impl Ssl for PodSocket {}

impl Peek for PodSocket {}

impl GetTimingDigest for PodSocket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for PodSocket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for PodSocket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
