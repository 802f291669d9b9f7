//! A UDP socket that answers from the address that was asked: a query flows in with its sender and its destination, the
//! answer flows out with the two swapped. The only module that names `nix`; used by `udp`.
//!
//! A socket bound to one address does that by itself. One bound to all addresses would let the routing table choose, and
//! a client drops an answer from an address it did not ask; so the destination is taken from IP_PKTINFO (ip(7)) or
//! IPV6_PKTINFO (RFC 3542 §6) and given back as the source.

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::net::UdpSocket;

#[derive(Debug)]
pub(super) struct DatagramSocket {
    socket: UdpSocket,
    /// Whether it is bound to all addresses of its family.
    any_address: bool,
}

/// Who asked, and at which address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) client: SocketAddr,
    asked: Option<Asked>,
}

#[derive(Clone, Copy)]
enum Asked {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4(_) => "IPv4 address",
            Self::V6(_) => "IPv6 address",
        })
    }
}

impl DatagramSocket {
    /// Binds the address. `only_v6` keeps `[::]` from taking the IPv4 addresses too.
    pub(super) fn bind(address: SocketAddr, only_v6: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        // A burst that comes while a zone is built waits here. Where the system allows less, it gives less.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let any_address = address.ip().is_unspecified();
        if any_address {
            match address {
                SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            }
        }
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, any_address })
    }

    /// Waits for a datagram. One that is longer than the buffer is cut.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        if !self.any_address {
            let (length, client) = self.socket.recv_from(buffer).await?;
            return Ok((length, Peer { client, asked: None }));
        }
        self.socket.async_io(Interest::READABLE, || self.receive_message(buffer)).await
    }

    /// A datagram that has already arrived, or `WouldBlock`.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        if !self.any_address {
            let (length, client) = self.socket.try_recv_from(buffer)?;
            return Ok((length, Peer { client, asked: None }));
        }
        self.socket.try_io(Interest::READABLE, || self.receive_message(buffer))
    }

    /// Sends to whoever asked, from the address that was asked.
    pub(super) async fn send(&self, octets: &[u8], peer: Peer) -> io::Result<()> {
        let Some(asked) = peer.asked else {
            return self.socket.send_to(octets, peer.client).await.map(|_| ());
        };
        let control = match &asked {
            Asked::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Asked::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        };
        let client = SockaddrStorage::from(peer.client);
        let send = || {
            let octets = [IoSlice::new(octets)];
            sendmsg(self.socket.as_raw_fd(), &octets, &[control], MsgFlags::empty(), Some(&client))?;
            Ok(())
        };
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    fn receive_message(&self, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        let mut control = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
        let mut buffers = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::empty())?;
        let client = message.address.and_then(socket_address).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let asked = message.cmsgs()?.find_map(|control| match control {
            // The interface is left open, so that the answer takes the route to the client and not the way back.
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Asked::V4(libc::in_pktinfo { ipi_ifindex: 0, ..info })),
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Asked::V6(link_local_only_interface(info))),
            _ => None,
        });
        Ok((message.bytes, Peer { client, asked }))
    }
}

fn socket_address(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| std::net::SocketAddrV6::from(*v6).into()))
}

/// A link-local address means something only together with its interface; any other leaves the interface open.
fn link_local_only_interface(info: libc::in6_pktinfo) -> libc::in6_pktinfo {
    let address = std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr);
    if address.is_unicast_link_local() { info } else { libc::in6_pktinfo { ipi6_ifindex: 0, ..info } }
}

/// Octets; about 4000 queries.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
