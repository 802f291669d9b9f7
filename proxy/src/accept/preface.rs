//! HTTP/2 by prior knowledge: the first bytes of a plain connection flow in, whether they are the preface of HTTP/2 flows
//! out. Stops at the first byte that differs, so that no HTTP/1 client waits; bounded in time by the caller.

use bytes::BytesMut;
use std::io;
use tokio::net::TcpStream;

/// Reads just enough to tell; `bytes` holds what was read.
///
/// # Errors
/// The connection failed, or ended before it could be told.
pub(super) async fn is_h2(socket: &TcpStream, bytes: &mut BytesMut) -> io::Result<bool> {
    loop {
        socket.readable().await?;
        let wanted = PREFACE.len() - bytes.len();
        let mut buffer = [0; PREFACE.len()];
        match socket.try_read(&mut buffer[..wanted]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if let Some(verdict) = verdict(bytes) {
            return Ok(verdict);
        }
    }
}

/// Whether the first bytes of a connection are the preface; `None` while they may become it.
pub(super) fn verdict(bytes: &[u8]) -> Option<bool> {
    match PREFACE.starts_with(bytes) {
        true => (bytes.len() == PREFACE.len()).then_some(true),
        false => Some(false),
    }
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
