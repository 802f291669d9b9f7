//! HTTP/2 as it is on the wire, for what no library sends: frames and header blocks flow out as a test writes them, frames of the proxy
//! flow in. Header blocks are literals without Huffman coding (RFC 7541 §6.2.2).

use super::PATIENCE;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ACK: u8 = 1;

/// A frame of the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) content: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.content[at..at + 4].try_into().unwrap())
    }

    /// The status of a header block of the proxy, as far as it stands in the static table; 0 for any other.
    pub(crate) fn status(&self) -> u16 {
        // The size of the table may come before it.
        let first = self.content.iter().find(|byte| *byte & 0xe0 != 0x20);
        match first {
            Some(0x88) => 200,
            Some(0x8c) => 400,
            Some(0x8d) => 404,
            Some(0x8e) => 500,
            _ => 0,
        }
    }
}

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// A header block of these fields.
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for part in [name, value] {
            integer(&mut block, part.len(), 7, 0);
            block.extend_from_slice(part);
        }
    }
    block
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1), below what stands before it in its first byte.
pub(crate) fn integer(block: &mut Vec<u8>, value: usize, prefix: u32, before: u8) {
    let most = (1_usize << prefix) - 1;
    if value < most {
        block.push(before | u8::try_from(value).unwrap());
        return;
    }
    block.push(before | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The fields of a GET, and these.
pub(crate) fn get(host: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", host)];
    let fields: Vec<(&[u8], &[u8])> =
        fields.iter().chain(more).map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    block(&fields)
}

/// A connection of a client that has sent its preface and these settings, as pairs of identifier and value.
pub(crate) struct Wire<S> {
    pub(crate) stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) async fn begin(mut stream: S, settings: &[(u16, u32)]) -> Self {
        let values = settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
        let values: Vec<u8> = values.collect();
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &values)].concat();
        stream.write_all(&preface).await.unwrap();
        stream.flush().await.unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Sends bytes; `false` where the proxy takes no more.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = async { self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok() };
        timeout(PATIENCE, sent).await.expect("the proxy reads or closes")
    }

    /// The next frame; `None` where the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.read()).await.expect("a frame comes, or the end")
    }

    /// The same, without being told to be patient.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(head) = self.read.first_chunk::<9>() {
                let [a, b, c, kind, flags, stream @ ..] = *head;
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                if self.read.len() >= 9 + length {
                    let content = self.read.drain(..9 + length).skip(9).collect();
                    return Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), content });
                }
            }
            // A reset is an end too.
            self.stream.read_buf(&mut self.read).await.ok().filter(|count| *count > 0)?;
        }
    }

    /// What became of a stream: the status of its answer, or nothing where it was reset or the connection ended. Says yes to settings on
    /// its way.
    pub(crate) async fn answer(&mut self, stream: u32) -> Option<u16> {
        loop {
            let frame = self.next().await?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => drop(self.send(&self::frame(SETTINGS, ACK, 0, &[])).await),
                HEADERS if frame.stream == stream => return Some(frame.status()),
                RST_STREAM if frame.stream == stream => return None,
                _ => {}
            }
        }
    }

    /// Reads to the end of the connection. The code of GOAWAY, where one came.
    pub(crate) async fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(frame.code());
            }
        }
        code
    }
}
