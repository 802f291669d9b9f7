//! Sockets whose TLS is the kernel's: keys flow in, plain bytes of the client flow out, and the end of a connection is said. Reading and
//! ending never wait. Called by `kernel_tls`, and by `accept` where the kernel has taken over.

use super::keys::{Keys, Suite};
use super::records::{CLOSE_NOTIFY, Came, Control};
use crate::limits::KERNEL_TLS_TRIAL;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{TcpTlsRx, TcpTlsTx, TcpUlp, TlsCryptoInfo};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TlsGetRecordType, recvmsg, setsockopt};
use socket2::{MsgHdr, SockRef};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll, ready};
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;

/// Prepares a socket. It serves on as before until it has keys.
pub(super) fn attach(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, TcpUlp::default(), b"tls")?)
}

/// From now on what is written is encrypted.
pub(super) fn encrypt(socket: &impl AsFd, keys: &TlsCryptoInfo) -> io::Result<()> {
    Ok(setsockopt(socket, TcpTlsTx, keys)?)
}

/// From now on what is read is decrypted.
pub(super) fn decrypt(socket: &impl AsFd, keys: &TlsCryptoInfo) -> io::Result<()> {
    Ok(setsockopt(socket, TcpTlsRx, keys)?)
}

/// Reads what the client sent. An end that the client has not said is an error, as with rustls.
///
/// # Errors
/// The socket's, or the client sent something that ends the connection.
pub(crate) fn poll_read(
    socket: &TcpStream,
    control: &mut Control,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if control.is_ended() || buf.remaining() == 0 {
        return Poll::Ready(Ok(()));
    }
    loop {
        ready!(socket.poll_read_ready(cx))?;
        let space = buf.initialize_unfilled();
        // Not by the stream's own reading: a record that is no data ends a part that is shorter than there is room for, and is there
        // all the same.
        let (count, kind) = match socket.try_io(Interest::READABLE, || receive(socket, space)) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let Some(kind) = kind.filter(|_| count > 0) else {
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        };
        match control.came(kind, &space[..count]).map_err(io::Error::other)? {
            Came::Data => {
                buf.advance(count);
                return Poll::Ready(Ok(()));
            }
            Came::End => return Poll::Ready(Ok(())),
            Came::Nothing => {}
        }
    }
}

/// Says that nothing more comes, once.
///
/// # Errors
/// The socket's.
pub(crate) fn poll_close(socket: &TcpStream, control: &mut Control, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    while !control.told {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, || say_close(socket)) {
            Ok(()) => control.told = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(0))
}

/// What came, and of which type the record is. No type and no bytes are the end.
fn receive(socket: &impl AsRawFd, into: &mut [u8]) -> io::Result<(usize, Option<TlsGetRecordType>)> {
    loop {
        let mut space = nix::cmsg_space!(u8);
        let mut parts = [IoSliceMut::new(into)];
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            message => message?,
        };
        let kind = message.cmsgs()?.find_map(|told| match told {
            ControlMessageOwned::TlsGetRecordType(kind) => Some(kind),
            _ => None,
        });
        return Ok((message.bytes, kind));
    }
}

/// Sends the alert that says that nothing more comes. What is held back for more leaves before it.
fn say_close(socket: &impl AsFd) -> io::Result<()> {
    let (control, alert) = (record_type(ALERT), [IoSlice::new(&[WARNING, CLOSE_NOTIFY])]);
    let message = MsgHdr::new().with_buffers(&alert).with_control(&control);
    loop {
        match SockRef::from(socket).sendmsg(&message, libc::MSG_NOSIGNAL) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            sent => return sent.map(drop),
        }
    }
}

/// The control message (`cmsghdr`) by which the kernel is told what a record is.
fn record_type(kind: u8) -> [u8; CONTROL] {
    let mut message = [0; CONTROL];
    let (length, rest) = message.split_at_mut(size_of::<usize>());
    length.copy_from_slice(&(CONTROL_HEADER + 1).to_ne_bytes());
    let (level, rest) = rest.split_at_mut(size_of::<libc::c_int>());
    level.copy_from_slice(&libc::SOL_TLS.to_ne_bytes());
    let (what, rest) = rest.split_at_mut(size_of::<libc::c_int>());
    what.copy_from_slice(&libc::TLS_SET_RECORD_TYPE.to_ne_bytes());
    rest[0] = kind;
    message
}

/// Whether a suite works, both ways and with records that are no data: between two sockets of the proxy's own.
pub(super) fn tries(suite: Suite) -> io::Result<()> {
    // There are clusters without IPv4, where even its loopback address may be missing.
    let loopback = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
    let listener = TcpListener::bind(&loopback[..])?;
    let mut near = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (far, peer) = listener.accept()?;
    if peer != near.local_addr()? {
        return Err(io::Error::other("somebody else connected"));
    }
    attach(&near)?;
    attach(&far)?;
    let key = [1; 32];
    let length = if suite.cipher == super::keys::Cipher::Aes128Gcm { 16 } else { 32 };
    let keys = Keys { suite, sequence: 1, key: &key[..length], iv: &[2; 12] };
    let unknown = || io::Error::from(ErrorKind::Unsupported);
    encrypt(&near, &keys.for_sending().ok_or_else(unknown)?)?;
    decrypt(&far, &keys.for_receiving().ok_or_else(unknown)?)?;
    far.set_read_timeout(Some(KERNEL_TLS_TRIAL))?;
    near.write_all(&[TRIAL])?;
    say_close(&near)?;
    let (mut read, mut control) = ([0; 16], Control::default());
    let data = receive(&far, &mut read)?;
    let right = data == (1, Some(TlsGetRecordType::ApplicationData)) && read[0] == TRIAL;
    let (count, kind) = receive(&far, &mut read)?;
    let ended = kind.map(|kind| control.came(kind, &read[..count])) == Some(Ok(Came::End));
    if right && ended { Ok(()) } else { Err(io::Error::other("what was sent is not what came")) }
}

/// Bytes of the header of a control message.
const CONTROL_HEADER: usize = size_of::<usize>() + 2 * size_of::<libc::c_int>();
/// Bytes of a control message with one byte in it, which ends where the next could begin.
const CONTROL: usize = CONTROL_HEADER + size_of::<usize>();
/// RFC 8446 §5.1.
const ALERT: u8 = 21;
/// RFC 8446 §6.
const WARNING: u8 = 1;
/// What is sent for a trial.
const TRIAL: u8 = b'?';
