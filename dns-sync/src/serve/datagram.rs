//! A UDP socket that answers from the address that was asked: queries flow in with their senders and their destination, the
//! answers flow out with the two swapped, many of each with one system call (recvmmsg(2), sendmmsg(2)). The only module that
//! names `nix`; used by `udp`.
//!
//! A socket bound to one address does that by itself. One bound to all addresses would let the routing table choose, and
//! a client drops an answer from an address it did not ask; so the destination is taken from IP_PKTINFO (ip(7)) or
//! IPV6_PKTINFO (RFC 3542 §6) and given back as the source.

use crate::limits::{DATAGRAMS_AT_ONCE, MAX_QUERY_OCTETS};
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg,
    setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::debug;

/// A socket that is bound; datagrams wait in it.
#[derive(Debug)]
pub(super) struct BoundSocket {
    socket: std::net::UdpSocket,
    any_address: bool,
}

/// A socket that is read by the runtime that was entered when it was made.
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

#[derive(Clone, Copy, PartialEq, Eq)]
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

impl BoundSocket {
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
        Ok(Self { socket: socket.into(), any_address })
    }

    /// The socket of the runtime that is entered.
    pub(super) fn register(self) -> io::Result<DatagramSocket> {
        Ok(DatagramSocket { socket: UdpSocket::from_std(self.socket)?, any_address: self.any_address })
    }
}

impl DatagramSocket {
    /// Waits for datagrams and takes all that have come, or as many as the inbox holds. One that is longer than the longest
    /// query is cut.
    pub(super) async fn receive(&self, inbox: &mut Inbox) -> io::Result<()> {
        loop {
            self.socket.readable().await?;
            match self.try_receive(inbox) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Takes the datagrams that have already come, or says `WouldBlock`.
    pub(super) fn try_receive(&self, inbox: &mut Inbox) -> io::Result<()> {
        inbox.datagrams.clear();
        let result = self.socket.try_io(Interest::READABLE, || {
            self.take(inbox)?;
            // Fewer than there is room for are all there were. Saying so here saves the call that would find nothing more.
            if inbox.datagrams.len() < DATAGRAMS_AT_ONCE { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if inbox.datagrams.is_empty() { result } else { Ok(()) }
    }

    fn take(&self, inbox: &mut Inbox) -> io::Result<()> {
        let Inbox { buffers, headers, datagrams } = inbox;
        let mut buffers: Vec<[IoSliceMut<'_>; 1]> =
            buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let messages = recvmmsg(self.socket.as_raw_fd(), headers, &mut buffers, MsgFlags::empty(), None)?;
        for message in messages {
            // Without an address nobody can be answered; the datagram is then one of nobody.
            let client = message.address.and_then(socket_address).unwrap_or(NOBODY);
            let asked = if self.any_address { asked(&message) } else { None };
            datagrams.push((message.bytes, Peer { client, asked }));
        }
        if self.any_address && datagrams.iter().any(|(_, peer)| peer.asked.is_none()) {
            // The system shortens the room for control data to what it used.
            *headers = Inbox::headers();
        }
        Ok(())
    }

    /// Sends each answer to whoever asked, from the address that was asked. What cannot be sent is left out.
    pub(super) async fn send(&self, mut answers: &[(Vec<u8>, Peer)]) {
        while let Some((_, first)) = answers.first() {
            let alike = answers.iter().take_while(|(_, peer)| peer.asked == first.asked).count();
            match self.socket.async_io(Interest::WRITABLE, || self.give(&answers[..alike], first.asked)).await {
                Ok(sent) => answers = &answers[sent.clamp(1, alike)..],
                Err(error) => {
                    debug!(client = %first.client, %error, "sending an answer failed");
                    answers = &answers[1..];
                }
            }
        }
    }

    /// Sends answers that leave from the same address; how many were taken.
    fn give(&self, answers: &[(Vec<u8>, Peer)], asked: Option<Asked>) -> io::Result<usize> {
        let octets: Vec<[IoSlice<'_>; 1]> = answers.iter().map(|(octets, _)| [IoSlice::new(octets)]).collect();
        let clients: Vec<Option<SockaddrStorage>> =
            answers.iter().map(|(_, peer)| Some(SockaddrStorage::from(peer.client))).collect();
        // The room is for exactly the message that is given.
        let (control, room) = match &asked {
            None => (None, None),
            Some(Asked::V4(info)) => {
                (Some(ControlMessage::Ipv4PacketInfo(info)), Some(nix::cmsg_space!(libc::in_pktinfo)))
            }
            Some(Asked::V6(info)) => {
                (Some(ControlMessage::Ipv6PacketInfo(info)), Some(nix::cmsg_space!(libc::in6_pktinfo)))
            }
        };
        let mut headers = MultiHeaders::preallocate(answers.len(), room);
        let fd = self.socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut headers, &octets, clients, control.as_slice(), MsgFlags::empty())?;
        Ok(sent.count())
    }
}

/// Datagrams that were received together, and the room for them.
pub(super) struct Inbox {
    buffers: Box<[[u8; BUFFER]]>,
    headers: MultiHeaders<SockaddrStorage>,
    datagrams: Vec<(usize, Peer)>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let buffers = vec![[0; BUFFER]; DATAGRAMS_AT_ONCE].into();
        Self { buffers, headers: Self::headers(), datagrams: Vec::with_capacity(DATAGRAMS_AT_ONCE) }
    }

    fn headers() -> MultiHeaders<SockaddrStorage> {
        MultiHeaders::preallocate(DATAGRAMS_AT_ONCE, Some(nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo)))
    }

    /// What came last, in the order in which it came.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&[u8], Peer)> {
        let octets = |(buffer, (length, peer)): (_, &(usize, Peer))| {
            let buffer: &[u8; BUFFER] = buffer;
            (&buffer[..(*length).min(BUFFER)], *peer)
        };
        self.buffers.iter().zip(&self.datagrams).map(octets)
    }
}

/// The address that a datagram was sent to.
fn asked(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Asked> {
    message.cmsgs().ok()?.find_map(|control| match control {
        // The interface is left open, so that the answer takes the route to the client and not the way back.
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Asked::V4(libc::in_pktinfo { ipi_ifindex: 0, ..info })),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Asked::V6(link_local_only_interface(info))),
        _ => None,
    })
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

/// A sender that gets no answer: its port is 0.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// One more than the largest query, so that a larger one is seen to be too large.
const BUFFER: usize = MAX_QUERY_OCTETS + 1;

/// Octets; about 4000 queries.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
