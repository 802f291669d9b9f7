//! Lines with descriptors between two processes: messages and sockets flow in and out of a Unix socket, bounded in size, number and
//! time. Used by `give` and `take`.

use super::place::PlaceError;
use crate::limits::{HANDOVER_MESSAGE_BYTES, HANDOVER_SOCKETS, HANDOVER_TIME};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A connection to the other process.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    /// Read, and not taken as a message yet.
    read: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// Why nothing is handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandoverError {
    /// There is nobody who may be spoken with.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The connection broke.
    #[error("the connection to the other process broke: {0}")]
    Io(#[from] io::Error),
    /// The other process went.
    #[error("the other process has closed the connection")]
    Closed,
    /// It says nothing.
    #[error("the other process says nothing in time")]
    Silence,
    /// It says something else.
    #[error("the other process says what is not understood: {0}")]
    Garbled(#[from] serde_json::Error),
    /// It says too much.
    #[error(
        "the other process says more than {} bytes at once, or sends more than {} sockets",
        HANDOVER_MESSAGE_BYTES,
        HANDOVER_SOCKETS
    )]
    TooMuch,
    /// It speaks another version of the protocol.
    #[error("the other process, version {0}, hands sockets over in another way")]
    OtherProtocol(String),
    /// It sends sockets that are not what it says.
    #[error("the sockets of the other process are not what it says they are")]
    Mismatch,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, read: Vec::new(), descriptors: Vec::new() }
    }

    /// Says something, and gives copies of these descriptors.
    pub(super) async fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), HandoverError> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        if line.len() > HANDOVER_MESSAGE_BYTES || descriptors.len() > HANDOVER_SOCKETS {
            return Err(HandoverError::TooMuch);
        }
        let sent = async {
            // They go with the first byte.
            let first = self.stream.async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); SPACE];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() {
                    control.push(SendAncillaryMessage::ScmRights(descriptors));
                }
                Ok(sendmsg(&self.stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?)
            });
            let first = first.await?;
            self.stream.write_all(&line[first..]).await
        };
        timeout(HANDOVER_TIME, sent).await.map_err(|_| HandoverError::Silence)?.map_err(HandoverError::Io)
    }

    /// The next message in due time, with the descriptors that came with it.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> Result<(T, Vec<OwnedFd>), HandoverError> {
        timeout(HANDOVER_TIME, self.next()).await.map_err(|_| HandoverError::Silence)?
    }

    /// The same, however long it takes.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<(T, Vec<OwnedFd>), HandoverError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let message = serde_json::from_slice(&self.read[..end])?;
                self.read.drain(..=end);
                return Ok((message, std::mem::take(&mut self.descriptors)));
            }
            if self.read.len() >= HANDOVER_MESSAGE_BYTES {
                return Err(HandoverError::TooMuch);
            }
            if self.fill().await? == 0 {
                return Err(HandoverError::Closed);
            }
        }
    }

    /// Reads what is there. Safe to cancel.
    async fn fill(&mut self) -> Result<usize, HandoverError> {
        let mut bytes = [0; READ_AT_ONCE];
        let (stream, descriptors) = (&self.stream, &mut self.descriptors);
        let (count, whole) = stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); SPACE];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut into = [IoSliceMut::new(&mut bytes)];
                let received = recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(sent) = message {
                        descriptors.extend(sent);
                    }
                }
                // The kernel says that there was no room for all of them.
                Ok((received.bytes, !received.flags.contains(ReturnFlags::CTRUNC)))
            })
            .await?;
        self.read.extend_from_slice(&bytes[..count]);
        if whole && self.descriptors.len() <= HANDOVER_SOCKETS { Ok(count) } else { Err(HandoverError::TooMuch) }
    }
}

const SPACE: usize = cmsg_space!(ScmRights(HANDOVER_SOCKETS));
const READ_AT_ONCE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Channel::new(ours), theirs)
    }

    #[tokio::test]
    async fn sockets_travel_with_their_message_and_are_the_same_sockets() {
        let (mut one, theirs) = pair();
        let mut other = Channel::new(theirs);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        one.send(&"take", &[listener.as_fd()]).await.unwrap();
        one.send(&"more", &[]).await.unwrap();
        drop(listener);
        let (word, mut descriptors) = other.receive::<String>().await.unwrap();
        let copy = std::net::TcpListener::from(descriptors.pop().unwrap());
        assert_eq!((word.as_str(), copy.local_addr().unwrap()), ("take", address));
        tokio::net::TcpStream::connect(address).await.unwrap();
        let (word, descriptors) = other.receive::<String>().await.unwrap();
        assert!(word == "more" && descriptors.is_empty());
        drop(one);
        assert!(matches!(other.receive::<String>().await, Err(HandoverError::Closed)));
    }

    #[tokio::test]
    async fn what_is_no_message_or_too_much_of_one_is_refused() {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"HTTP/1.1 400 Bad Request\n").await.unwrap();
        assert!(matches!(ours.receive::<String>().await, Err(HandoverError::Garbled(_))));
        let (mut ours, mut theirs) = pair();
        theirs.write_all(&vec![b'x'; HANDOVER_MESSAGE_BYTES + READ_AT_ONCE]).await.unwrap();
        assert!(matches!(ours.receive::<String>().await, Err(HandoverError::TooMuch)));
        let (mut ours, _theirs) = pair();
        assert!(matches!(ours.send(&"x".repeat(HANDOVER_MESSAGE_BYTES), &[]).await, Err(HandoverError::TooMuch)));
        let (ours, mut theirs) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let many = vec![listener.as_fd(); HANDOVER_SOCKETS];
        let mut sender = ours;
        sender.send(&1, &many).await.unwrap();
        theirs.read_exact(&mut [0; 2]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"\"begun").await.unwrap();
        assert!(matches!(ours.receive::<String>().await, Err(HandoverError::Silence)));
    }
}
