//! Messages as they are on the wire: bodies whose every byte is known, their lengths, and the reading of headers and bodies as they are
//! framed. Streams and random numbers flow in, headers and bodies flow out; for tests of the bytes themselves.

use super::PATIENCE;
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Numbers that look random and are the same each time (a linear congruential generator).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// One of so many.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.next() as usize % count
    }

    /// Around a threshold, or anywhere below one.
    pub(crate) fn size(&mut self) -> usize {
        // The largest ones more rarely: most of the time would be theirs.
        let count = if self.below(4) == 0 { THRESHOLDS.len() } else { THRESHOLDS.len() - 2 };
        let threshold = THRESHOLDS[self.below(count)];
        let random = self.next() as usize;
        match random % 3 {
            0 => (threshold + random % 9).saturating_sub(4),
            1 => threshold + random % 600,
            _ => random % threshold,
        }
    }
}

/// The bytes of a body: each differs from its neighbours, and no part repeats at the lengths of buffers. A shorter body is what a longer
/// one begins with.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let mut known = BYTES.lock().unwrap_or_else(PoisonError::into_inner);
    let more = known.len() as u64..length as u64;
    known.extend(more.map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8 ^ (at >> 16) as u8));
    known[..length].to_vec()
}

/// Reads a header; what came with it is left in `read`, and what is there already counts. `None` where the stream ends before.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            return String::from_utf8(read.drain(..end + 4).collect()).ok();
        }
        stream.read_buf(read).await.ok().filter(|count| *count > 0)?;
    }
}

/// Reads on, at most so many bytes at once; there are some.
pub(crate) async fn read_more(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>, most: usize) {
    let mut part = vec![0; most];
    let came = timeout(PATIENCE, stream.read(&mut part)).await;
    let count = came.unwrap_or_else(|_| panic!("nothing comes after {} bytes", read.len())).unwrap();
    assert!(count > 0, "ended after {} bytes", read.len());
    read.extend_from_slice(&part[..count]);
}

/// Reads a body as its header frames it, in the same way.
pub(crate) async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    header: &str,
    read: &mut Vec<u8>,
) -> Option<Vec<u8>> {
    if field(header, "transfer-encoding").is_some() {
        let mut body = Vec::new();
        loop {
            while !read.windows(2).any(|end| end == b"\r\n") {
                stream.read_buf(read).await.ok().filter(|count| *count > 0)?;
            }
            let line = read.windows(2).position(|end| end == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&read[..line]).ok()?.trim(), 16).ok()?;
            while read.len() < line + 2 + size + 2 {
                stream.read_buf(read).await.ok().filter(|count| *count > 0)?;
            }
            body.extend_from_slice(&read[line + 2..line + 2 + size]);
            read.drain(..line + 2 + size + 2);
            if size == 0 {
                return Some(body);
            }
        }
    }
    let length: usize = field(header, "content-length").map_or(0, |length| length.parse().unwrap());
    while read.len() < length {
        stream.read_buf(read).await.ok().filter(|count| *count > 0)?;
    }
    Some(read.drain(..length).collect())
}

/// One exchange on a connection that lives on: header and body of the answer.
pub(crate) async fn ask(client: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> (String, Vec<u8>) {
    let exchange = async {
        client.write_all(request).await.unwrap();
        // TLS may hold a part back.
        client.flush().await.unwrap();
        let mut read = Vec::new();
        let header = read_head(client, &mut read).await.expect("a header comes");
        let body = read_body(client, &header, &mut read).await.expect("the whole body comes");
        assert!(read.is_empty(), "nothing follows the body");
        (header, body)
    };
    timeout(PATIENCE, exchange).await.expect("an answer comes")
}

/// A request with a body of one of two framings.
pub(crate) fn upload(host: &str, body: &[u8], chunk: Option<usize>) -> Vec<u8> {
    match chunk {
        None => {
            let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        }
        Some(size) => {
            let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunks = body.chunks(size);
            let chunks = chunks.map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
            [head.into_bytes(), chunks.collect::<Vec<_>>().concat(), b"0\r\n\r\n".to_vec()].concat()
        }
    }
}

/// The value of a field.
fn field<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = header.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// What was asked for of [`bytes`] so far: to make them takes longer than to send them.
static BYTES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Where something changes: buffers of parsers, of a hold, of TLS records, of bodies, of what is spliced, and of pipes.
const THRESHOLDS: [usize; 9] = [1, 1024, 4096, 16 << 10, 64 << 10, 128 << 10, 192 << 10, 1 << 20, 3 << 20];
