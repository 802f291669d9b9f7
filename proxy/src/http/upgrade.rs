//! Connections to pods for upgrades: an address flows in, a connection flows out on which nothing is read in the same turn
//! of the task in which something was written. One of the few modules that name Pingora types.
//!
//! Pingora 0.9.1 ends an upgraded connection as soon as it notes that the request has no body, unless it notes that before
//! it reads the pod's 101; which of the two comes first is left to chance where the pod answers at once. The turn in
//! between puts the body first.

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, OrErr, Result};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Connects to pods for upgrades.
#[derive(Debug)]
pub(super) struct UpgradeConnector {
    /// For a connection; Pingora enforces its own only on connections that it makes.
    pub(super) timeout: Duration,
}

#[async_trait]
impl L4Connect for UpgradeConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::InternalError, "a pod has an IP address");
        };
        let Ok(connected) = timeout(self.timeout, TcpStream::connect(address)).await else {
            return Error::e_explain(ErrorType::ConnectTimedout, "for an upgrade");
        };
        let socket = connected.or_err(ErrorType::ConnectError, "for an upgrade")?;
        Ok(VirtualSocketStream::new(Box::new(TurnTaking { socket, written: false })).into())
    }
}

/// A socket on which a read after a write takes one more turn.
#[derive(Debug)]
struct TurnTaking {
    socket: TcpStream,
    written: bool,
}

impl VirtualSocket for TurnTaking {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.socket.set_nodelay(true),
            // Keep-alive is not asked for: idle tunnels end by their own timeout.
            _ => Ok(()),
        }
    }
}

impl AsyncRead for TurnTaking {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.written) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for TurnTaking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
