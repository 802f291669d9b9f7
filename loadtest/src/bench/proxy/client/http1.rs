//! HTTP/1.1 on one kept connection: an object's size comes in, the request goes out, and the body of the answer to its sink. Over
//! plain TCP a body that is only counted never leaves the kernel. Called by `Connection`.

use super::{Answer, Sink, WEBSOCKET_KEY};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{RecvFlags, recv};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection and what was read of it ahead.
#[derive(Debug)]
pub(in crate::bench::proxy) struct Http1<S> {
    stream: S,
    host: String,
    /// What came with a header.
    read: Vec<u8>,
    /// Never written to by plain TCP, so that it takes no memory there.
    scratch: Vec<u8>,
}

/// A stream whose bytes can be thrown away.
pub(in crate::bench::proxy) trait Discard: AsyncRead + AsyncWrite + Unpin {
    /// How much room the cheapest way needs.
    const SCRATCH: usize;

    /// Waits for bytes and throws up to `most` of them away. 0 at the end of the stream.
    fn discard(&mut self, scratch: &mut [u8], most: usize) -> impl Future<Output = io::Result<usize>>;
}

impl Discard for TcpStream {
    const SCRATCH: usize = 1 << 20;

    /// With `MSG_TRUNC` the kernel drops the bytes without a copy (tcp(7)).
    async fn discard(&mut self, scratch: &mut [u8], most: usize) -> io::Result<usize> {
        let most = most.min(scratch.len());
        let room = &mut scratch[..most];
        self.async_io(Interest::READABLE, || Ok(recv(&*self, &mut *room, RecvFlags::TRUNC)?.1)).await
    }
}

impl Discard for TlsStream<TcpStream> {
    const SCRATCH: usize = 64 * 1024;

    async fn discard(&mut self, scratch: &mut [u8], most: usize) -> io::Result<usize> {
        let most = most.min(scratch.len());
        self.read(&mut scratch[..most]).await
    }
}

impl<S: Discard> Http1<S> {
    pub(super) fn new(stream: S, host: &str) -> Self {
        Self { stream, host: host.to_owned(), read: Vec::new(), scratch: Vec::new() }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    pub(super) fn set_host(&mut self, host: &str) {
        host.clone_into(&mut self.host);
    }

    pub(super) async fn get(&mut self, bytes: u64, sink: Sink<'_>) -> Result<Answer> {
        if !self.ask(bytes).await? {
            return Ok(Answer::Closed);
        }
        sink.take(0, &self.read)?;
        let mut offset = self.read.len() as u64;
        self.read.clear();
        ensure!(offset <= bytes, "{offset} bytes of an answer of {bytes}");
        if offset < bytes && self.scratch.is_empty() {
            self.scratch = vec![0; S::SCRATCH];
        }
        let mut turn = offset + TURN;
        while offset < bytes {
            if offset >= turn {
                turn = offset + TURN;
                // Others have their turn, however much of this answer is there already.
                tokio::task::yield_now().await;
            }
            let left = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(self.scratch.len());
            let taken = if let Sink::Count(count) = sink {
                let taken = self.stream.discard(&mut self.scratch, left).await?;
                count.fetch_add(taken as u64, std::sync::atomic::Ordering::Relaxed);
                taken
            } else {
                let taken = self.stream.read(&mut self.scratch[..left]).await?;
                sink.take(offset, &self.scratch[..taken])?;
                taken
            };
            ensure!(taken > 0, "the answer ended after {offset} of {bytes} bytes");
            offset += taken as u64;
        }
        Ok(Answer::Whole)
    }

    pub(super) async fn begin(&mut self, bytes: u64) -> Result<()> {
        ensure!(self.ask(bytes).await?, "the connection was closed before the answer");
        Ok(())
    }

    pub(super) async fn upgrade(&mut self) -> Result<()> {
        let request = format!(
            "GET /websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n",
            self.host
        );
        let head = self.exchange(&request).await?.context("the connection was closed before the answer")?;
        let first = head.lines().next().unwrap_or_default();
        ensure!(first.starts_with("HTTP/1.1 101"), "the answer is {first:?}");
        Ok(())
    }

    /// Asks for the object; what follows the header of the answer is in `read` then. False where the proxy had closed the connection.
    async fn ask(&mut self, bytes: u64) -> Result<bool> {
        let request = format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench\r\n\r\n", self.host);
        match self.exchange(&request).await? {
            Some(head) => check(&head, bytes).map(|()| true),
            None => Ok(false),
        }
    }

    /// Sends a request and reads the header of the answer. Nothing where the proxy had closed the connection.
    async fn exchange(&mut self, request: &str) -> Result<Option<String>> {
        if self.stream.write_all(request.as_bytes()).await.is_err() {
            return Ok(None);
        }
        self.stream.flush().await?;
        self.read.reserve(READ);
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.read[..end]).context("a header that is no text")?.to_owned();
                self.read.drain(..end + 4);
                return Ok(Some(head));
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) if self.read.is_empty() => return Ok(None),
                Ok(0) => bail!("the connection ended within a header"),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The answer must be the object.
fn check(head: &str, bytes: u64) -> Result<()> {
    let first = head.lines().next().unwrap_or_default();
    ensure!(first.starts_with("HTTP/1.1 200"), "the answer is {first:?}");
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    });
    ensure!(length == Some(bytes), "an answer of {length:?} bytes instead of {bytes}");
    Ok(())
}

/// So much is taken at a time from one of many answers.
const TURN: u64 = 1 << 20;
/// A header, and a small body with it, come in one read.
const READ: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_counted_body_is_taken_to_its_end_and_no_further() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(&[7; 300]).await.unwrap();
        peer.write_all(b"next").await.unwrap();
        let mut scratch = vec![0; 1000];
        let mut taken = 0;
        while taken < 300 {
            taken += stream.discard(&mut scratch, 300 - taken).await.unwrap();
        }
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"next");
    }

    #[tokio::test]
    async fn a_short_answer_and_a_wrong_byte_are_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (body, bytes, said) in [(&b"short"[..], 9, "ended after 5 of 9"), (&b"123456789"[..], 9, "wrong bytes")] {
            let mut client = Http1::new(TcpStream::connect(address).await.unwrap(), "test");
            let (mut peer, _) = listener.accept().await.unwrap();
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
            peer.write_all(body).await.unwrap();
            peer.shutdown().await.unwrap();
            let count = AtomicU64::new(0);
            let sink = if body.len() < 9 { Sink::Count(&count) } else { Sink::Verify };
            let error = client.get(bytes, sink).await.unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
