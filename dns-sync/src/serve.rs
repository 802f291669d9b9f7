//! The sockets of the server: bound addresses and the zones of the moment flow in, answers flow out, until shutdown is
//! asked for. `main` binds after the first full sync and then runs this; `udp` and `tcp` hold the loops.

mod connections;
mod cookie;
mod datagram;
mod keys;
mod notify_secondaries;
pub mod rate_limit;
mod respond;
mod tcp;
mod transfer;
mod udp;

pub use keys::follow_keys;
pub use notify_secondaries::notify;
pub use respond::{Answering, Client, Protocol, Reply, Responder, TransferKeys};
pub use transfer::Transfer;

use datagram::BoundSocket;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Sockets that are bound and not yet served.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<(BoundSocket, TcpListener)>,
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({protocol}): {source}; is another name server bound to it?")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// `UDP` or `TCP`.
    pub protocol: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Listeners {
    /// Binds every address over UDP and TCP. Port 0 takes a free port, the same one for both.
    ///
    /// `[::]` answers IPv4 too, unless an IPv4 address with the same port is among the addresses.
    ///
    /// # Errors
    /// [`BindError`] names the first address that cannot be bound. Must be called within a tokio runtime.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut sockets = Vec::with_capacity(addresses.len());
        for &address in addresses {
            let only_v6 = addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port());
            sockets.push(bind(address, only_v6)?);
        }
        Ok(Self { sockets })
    }

    /// The addresses that are bound, in the order they were asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|(_, tcp)| tcp.local_addr().ok()).collect()
    }
}

/// A loop has ended although nobody asked for it: an address is not answered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a loop that answers queries has ended, which is a defect of this program; it must be started again")]
pub struct LoopEnded;

/// Serves until `shutdown` turns true (or its sender is gone), then answers what has already been received and returns.
///
/// # Errors
/// [`LoopEnded`] at once when a loop ends before. Other name servers of the zone answer until this one is started again.
pub async fn serve(
    listeners: Listeners,
    responder: Arc<Responder>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), LoopEnded> {
    let connections = connections::Connections::new(responder.metrics().tcp_connections.clone());
    let mut loops = JoinSet::new();
    for (udp, tcp) in listeners.sockets {
        let (responder_of_udp, stop) = (Arc::clone(&responder), shutdown.clone());
        loops.spawn_blocking(move || udp::serve(udp, &responder_of_udp, stop));
        loops.spawn(tcp::serve(tcp, Arc::clone(&responder), Arc::clone(&connections), shutdown.clone()));
    }
    while loops.join_next().await.is_some() {
        if shutdown.has_changed().is_ok() && !*shutdown.borrow() {
            return Err(LoopEnded);
        }
    }
    Ok(())
}

/// Completes when shutdown is asked for.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could ask: the program is ending.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Seconds since 1970, the time of signatures.
fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn bind(address: SocketAddr, only_v6: bool) -> Result<(BoundSocket, TcpListener), BindError> {
    let failed = |protocol, source| BindError { address, protocol, source };
    let mut attempts = if address.port() == 0 { FREE_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let tcp = listen(address, only_v6).map_err(|source| failed("TCP", source))?;
        let bound = tcp.local_addr().map_err(|source| failed("TCP", source))?;
        match BoundSocket::bind(bound, only_v6) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(source) if attempts == 0 => return Err(failed("UDP", source)),
            Err(_) => {}
        }
    }
}

fn listen(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Connections of an earlier process that linger must not keep a restarted server from its port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The port that is free for TCP may be taken for UDP.
const FREE_PORT_ATTEMPTS: u32 = 16;

/// Connections the system keeps for the accept loop.
const BACKLOG: i32 = 256;
