//! Listening sockets: addresses flow in, and what another process has handed over; sockets of this process, or an error that names the
//! address, flow out.

use crate::handover::Inherited;
use crate::limits::BACKLOG;
use crate::options::ListenAddress;
use nearside_routing::Scheme;
use nix::errno::Errno;
use nix::libc::{sock_filter, sock_fprog};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::AttachReusePortCbpf;
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The addresses that are listened on; port 0 is replaced by the port that was free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Listeners {
    /// Plain HTTP.
    pub(crate) http: Vec<SocketAddr>,
    /// TLS.
    pub(crate) https: Vec<SocketAddr>,
}

/// A listening socket. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    /// What is spoken on it.
    pub(crate) scheme: Scheme,
    /// Where.
    pub(crate) address: SocketAddr,
    /// The socket.
    pub(crate) socket: Arc<TcpListener>,
    resting: Arc<watch::Sender<bool>>,
}

impl Listening {
    fn new(scheme: Scheme, address: SocketAddr, socket: TcpListener) -> Self {
        Self { scheme, address, socket: Arc::new(socket), resting: Arc::new(watch::Sender::new(false)) }
    }

    /// Whether connections are left to another process that has the same socket.
    pub(crate) fn rest(&self, resting: bool) {
        self.resting.send_replace(resting);
    }

    /// See [`Self::rest`].
    pub(super) fn is_resting(&self) -> bool {
        *self.resting.borrow()
    }

    /// Waits until it rests, or does not.
    pub(super) async fn rests(&self, resting: bool) {
        // The sender lives as long as this value.
        drop(self.resting.subscribe().wait_for(|now| *now == resting).await);
    }
}

/// Binds every address of a scheme that was not handed over, and notes what is listened on. `shared` ports may be another proxy's as
/// well; the kernel then gives each a part of the connections.
///
/// # Errors
/// [`BindError`] for the first address that cannot be bound.
pub(crate) fn bind(
    scheme: Scheme,
    addresses: &[ListenAddress],
    shared: bool,
    mut inherited: Option<&mut Inherited>,
    bound: &mut Listeners,
) -> Result<Vec<Listening>, BindError> {
    let mut sockets = Vec::with_capacity(addresses.len());
    for ListenAddress { address, optional } in addresses {
        let inherited = inherited.as_mut().and_then(|inherited| inherited.take(scheme, *address));
        match inherited.map_or_else(|| listen(*address, shared), adopt) {
            Ok(socket) => {
                let address = socket.local_addr().map_err(|source| BindError { address: *address, source })?;
                match scheme {
                    Scheme::Http => bound.http.push(address),
                    Scheme::Https => bound.https.push(address),
                }
                tracing::info!(scheme = name(scheme), %address, "listening");
                sockets.push(Listening::new(scheme, address, socket));
            }
            Err(source) if *optional && is_missing_family(&source) => {
                tracing::info!(scheme = name(scheme), %address, "not listening: this host has no such addresses");
            }
            Err(source) => return Err(BindError { address: *address, source }),
        }
    }
    Ok(sockets)
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be listened on: {source}; {}", advice(.source))]
pub(crate) struct BindError {
    address: SocketAddr,
    source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses the port (--http-listen, --https-listen)",
        io::ErrorKind::PermissionDenied => "a port below 1024 needs the capability NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "this host does not have the address",
        _ => "check --http-listen and --https-listen",
    }
}

/// An IPv6 socket takes IPv6 clients only, so that it never competes with the IPv4 socket of the same port.
fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Another process has bound it.
fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Has the kernel give new connections to the socket at a place in the group that shares the port, in the order in which they were
/// bound, rather than to one by chance; a place without a socket leaves it at chance. What is under way stays where it began.
pub(super) fn prefer(listener: &TcpListener, place: u32) -> Result<(), Errno> {
    // A classic BPF program of one instruction: return the constant.
    let mut program = [sock_filter { code: BPF_RETURN, jt: 0, jf: 0, k: place }];
    setsockopt(listener, AttachReusePortCbpf, &sock_fprog { len: 1, filter: program.as_mut_ptr() })
}

fn is_missing_family(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own in the standard library.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

/// `BPF_RET | BPF_K` of linux/bpf_common.h.
const BPF_RETURN: u16 = 0x06;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let address = |address: SocketAddr| [ListenAddress { address, optional: false }];
        let mut bound = Listeners::default();
        let held = bind(Scheme::Http, &address("127.0.0.1:0".parse().unwrap()), false, None, &mut bound).unwrap();
        let taken = held[0].address;
        assert_eq!(bound.http, [taken]);
        let error = bind(Scheme::Http, &address(taken), false, None, &mut bound).unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("another program"), "{error}");
    }
}
