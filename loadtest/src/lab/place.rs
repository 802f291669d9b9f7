//! A place in the lab's network where a program or a socket can be: a network namespace, or the host with loopback
//! addresses. Sockets and commands made here are in that place. Called by pods, clients, programs and the API server's starter.

use super::namespace::Namespace;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;

/// A place to open sockets and start programs in; cheap to clone.
#[derive(Clone, Debug)]
pub struct Place {
    name: Arc<str>,
    namespace: Option<Arc<Namespace>>,
    addresses: Arc<[IpAddr]>,
    /// Whether other places are in the same network namespace.
    shared: bool,
}

impl Place {
    /// A place in a namespace, or on the host when there is none.
    pub(crate) fn new(name: &str, namespace: Option<Arc<Namespace>>, addresses: &[IpAddr]) -> Self {
        let shared = namespace.is_none();
        Self { name: name.into(), namespace, addresses: addresses.into(), shared }
    }

    /// A place in a namespace that it shares with others.
    pub(crate) fn within(name: &str, namespace: &Arc<Namespace>, addresses: &[IpAddr]) -> Self {
        Self { shared: true, ..Self::new(name, Some(Arc::clone(namespace)), addresses) }
    }

    /// Whether other places are in the same network namespace, with addresses that need no setting up.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// The host itself: ordinary loopback sockets.
    #[must_use]
    pub fn host() -> Self {
        Self::new("host", None, &[IpAddr::from([127, 0, 0, 1])])
    }

    /// A short name for messages and file names, such as `n1` or `client1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The network namespace, when there is one.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_deref()
    }

    /// The fixed addresses of the place, IPv4 before IPv6.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The first address.
    ///
    /// # Panics
    /// Never for a place of a [`super::Network`]: each has an address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        *self.addresses.first().expect("every place has an address")
    }

    /// A listening TCP socket, not blocking.
    ///
    /// # Errors
    /// When the address is taken or does not exist in this place.
    pub fn tcp_listener(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let listener: TcpListener = self
            .run(move || {
                let socket =
                    Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
                if address.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                socket.set_reuse_address(true)?;
                socket.bind(&address.into())?;
                socket.listen(BACKLOG)?;
                Ok(socket)
            })
            .map_err(|e| self.at(address, e))?
            .into();
        Ok(listener)
    }

    /// A UDP socket, not blocking.
    ///
    /// # Errors
    /// When the address is taken or does not exist in this place.
    pub fn udp_socket(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        self.run(move || {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
            socket.bind(&address.into())?;
            Ok(socket.into())
        })
        .map_err(|e| self.at(address, e))
    }

    /// A TCP socket of the family of `peer`, ready to connect.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn tcp_socket(&self, peer: IpAddr) -> io::Result<TcpSocket> {
        let source = self.addresses.iter().copied().find(|own| own.is_ipv4() == peer.is_ipv4());
        let shared = self.shared;
        let socket = self.run(move || {
            let domain = if peer.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
            let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
            // Where places share one interface, only a bound source tells them apart.
            if let Some(source) = source.filter(|_| shared) {
                socket.bind(&SocketAddr::new(source, 0).into())?;
            }
            Ok(socket)
        })?;
        Ok(TcpSocket::from_std_stream(socket.into()))
    }

    /// An open TCP connection, blocking.
    ///
    /// # Errors
    /// When nobody takes it in time.
    pub fn connect(&self, peer: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let socket = self.run(move || Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP)))?;
        socket.connect_timeout(&peer.into(), limit)?;
        Ok(socket.into())
    }

    /// A command that runs in this place.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
        match &self.namespace {
            None => std::process::Command::new(program),
            Some(namespace) => {
                let mut command = std::process::Command::new("ip");
                command.args(["netns", "exec", namespace.name()]).arg(program);
                command
            }
        }
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        match &self.namespace {
            None => job(),
            Some(namespace) => namespace.run(job),
        }
    }

    fn at(&self, address: SocketAddr, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: cannot bind {address}: {error}", self.name))
    }
}

const BACKLOG: i32 = 1024;
