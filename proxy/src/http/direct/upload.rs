//! The rest of a request's body on its way to a pod: parts of the client flow in, framed as the header for the pod says, or lots that the
//! kernel holds; bytes flow out to the socket as it takes them. Holds one part at a time. Called by `streaming`.

use super::pod;
use crate::limits::SPLICED_LEAST;
use crate::splice::{Lot, PipePool, RelayError};
use bytes::{Buf, Bytes, buf::Chain};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use std::io::{self, IoSlice};
use std::sync::Arc;
use tokio::net::TcpStream;

/// A body that goes out.
#[derive(Debug)]
pub(super) struct Upload {
    socket: Arc<TcpStream>,
    framing: Framing,
    /// What the socket has not taken yet of the present part.
    part: Chain<Chain<Bytes, Bytes>, Bytes>,
    /// The same where the present part was never here.
    lot: Option<Lot>,
    /// There was one.
    moves: bool,
    pipes: PipePool,
    complete: bool,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// With its last chunk.
    Chunked,
    /// After so many bytes, which are still to come.
    Length(u64),
}

impl Upload {
    /// Of a request whose header is sent.
    pub(super) fn new(socket: Arc<TcpStream>, framing: Framing, pipes: PipePool) -> Self {
        Self { socket, framing, part: framed("", Bytes::new(), ""), lot: None, moves: false, pipes, complete: false }
    }

    /// See [`super::pod::acknowledge`].
    pub(super) fn acknowledge(&self) {
        pod::acknowledge(&self.socket);
    }

    /// Whether something waits for the socket.
    pub(super) fn is_pending(&self) -> bool {
        self.part.has_remaining() || self.lot.is_some()
    }

    /// Whether everything was sent, and is what the header says.
    pub(super) fn is_sent(&self) -> bool {
        self.complete && !self.is_pending() && matches!(self.framing, Framing::Chunked | Framing::Length(0))
    }

    /// Takes the next part, to be called while nothing is pending. `last` says that nothing follows it.
    pub(super) fn put(&mut self, part: Option<Bytes>, last: bool) {
        let part = part.unwrap_or_default();
        self.complete = last;
        self.part = match &mut self.framing {
            Framing::Chunked => {
                let head = if part.is_empty() { String::new() } else { format!("{:x}\r\n", part.len()) };
                let tail = match (part.is_empty(), last) {
                    (true, true) => "0\r\n\r\n",
                    (true, false) => "",
                    (false, true) => "\r\n0\r\n\r\n",
                    (false, false) => "\r\n",
                };
                Bytes::from(head).chain(part).chain(Bytes::from_static(tail.as_bytes()))
            }
            Framing::Length(left) => {
                // More would be another request to the pod.
                let part = part.slice(..part.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                *left -= part.len() as u64;
                framed("", part, "")
            }
        };
    }

    /// Bytes that may be moved in the kernel, where that is worth it.
    pub(super) fn spliced(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(left) if left > 0 && (left >= SPLICED_LEAST || self.moves) => Some(left),
            _ => None,
        }
    }

    /// Waits for the next lot of at most `most` bytes, while nothing is pending. May be dropped at any time and called again.
    ///
    /// # Errors
    /// The client's socket's, or its end.
    pub(super) async fn fetch(&self, client: &TcpStream, most: u64) -> Result<Lot, RelayError> {
        Lot::fetch(client, &self.socket, most, &self.pipes).await
    }

    /// Takes the next lot, to be called while nothing is pending. Gives its bytes.
    pub(super) fn put_lot(&mut self, lot: Lot) -> u64 {
        let bytes = lot.left() as u64;
        if let Framing::Length(left) = &mut self.framing {
            *left = left.saturating_sub(bytes);
            self.complete = *left == 0;
        }
        self.lot = Some(lot);
        self.moves = true;
        bytes
    }

    /// Whether nothing of the body is still to come.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Sends what is pending. May be dropped at any time and called again.
    ///
    /// # Errors
    /// The socket's.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        if let Some(lot) = &mut self.lot {
            match lot.give(&self.socket, !self.complete, &self.pipes).await {
                Ok(()) => self.lot = None,
                Err(RelayError::Sink(error)) => return Err(error),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        while self.part.has_remaining() {
            let mut parts = [IoSlice::new(&[]); 3];
            let count = self.part.chunks_vectored(&mut parts);
            match self.socket.try_write_vectored(&parts[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.part.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Framing {
    /// As Pingora reads the header that it sends: a body without a length that can be read has none.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(TRANSFER_ENCODING) {
            return Self::Chunked;
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
        Self::Length(length.unwrap_or(0))
    }
}

fn framed(head: &'static str, part: Bytes, tail: &'static str) -> Chain<Chain<Bytes, Bytes>, Bytes> {
    Bytes::from_static(head.as_bytes()).chain(part).chain(Bytes::from_static(tail.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splice::SpliceCounts;
    use prometheus::Registry;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    fn pipes() -> PipePool {
        PipePool::new(SpliceCounts::new(&Registry::new()).unwrap(), true)
    }

    async fn sent(name: &'static str, value: &str, parts: &[&'static str]) -> (String, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (mut pod, _) = listener.accept().await.unwrap();
        let headers = [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
        let mut upload = Upload::new(socket, Framing::of(&headers), pipes());
        for (number, part) in parts.iter().enumerate() {
            upload.put(Some(Bytes::from_static(part.as_bytes())), number + 1 == parts.len());
            upload.send().await.unwrap();
            assert!(!upload.is_pending());
        }
        let complete = upload.is_sent();
        drop(upload);
        let mut read = String::new();
        pod.read_to_string(&mut read).await.unwrap();
        (read, complete)
    }

    #[tokio::test]
    async fn a_body_is_framed_as_its_header_says() {
        let chunked = sent("transfer-encoding", "chunked", &["abc", "", "defghijklmnopqrst", ""]).await;
        assert_eq!(chunked, ("3\r\nabc\r\n11\r\ndefghijklmnopqrst\r\n0\r\n\r\n".to_owned(), true));
        assert_eq!(sent("transfer-encoding", "chunked", &["abc"]).await.0, "3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(sent("content-length", "5", &["abc", "de"]).await, ("abcde".to_owned(), true));
    }

    #[tokio::test]
    async fn a_length_is_neither_exceeded_nor_taken_for_reached() {
        assert_eq!(sent("content-length", "4", &["abc", "de"]).await, ("abcd".to_owned(), true));
        assert_eq!(sent("content-length", "6", &["abc", "de"]).await, ("abcde".to_owned(), false));
        assert_eq!(sent("x-none", "6", &["abc"]).await, (String::new(), true));
    }
}
