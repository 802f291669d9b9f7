//! As much of RFC 6455 as an echo and its test client need: the handshake's key, and whole frames in both directions. Called by the
//! pods' handler and by `client`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// One frame; fragments are passed on as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The FIN bit.
    pub fin: bool,
    /// 1 text, 2 binary, 8 close, 9 ping, 10 pong (§5.2).
    pub opcode: u8,
    /// Unmasked.
    pub payload: Vec<u8>,
}

/// The value of `Sec-WebSocket-Accept` for a version 13 handshake's header fields (§4.2.2); `None` if they are no such handshake.
#[must_use]
pub fn accept_key(fields: &HeaderMap) -> Option<String> {
    let text = |name| fields.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let websocket = text(header::UPGRADE)?.eq_ignore_ascii_case("websocket");
    let version = text(header::SEC_WEBSOCKET_VERSION)? == "13";
    let key = text(header::SEC_WEBSOCKET_KEY)?;
    (websocket && version).then(|| {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
        STANDARD.encode(digest)
    })
}

/// Sends back every data frame, answers pings, and ends with a close frame or the stream.
///
/// # Errors
/// When the stream breaks or a frame is too large.
pub async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    while let Some(mut frame) = read(&mut stream).await? {
        let close = frame.opcode == CLOSE;
        if frame.opcode == PING {
            frame.opcode = PONG;
        }
        if frame.opcode != PONG || !frame.payload.is_empty() {
            write(&mut stream, &frame, None).await?;
        }
        if close {
            break;
        }
    }
    stream.shutdown().await
}

/// The next frame, unmasked; `None` at the end of the stream.
///
/// # Errors
/// When the stream ends within a frame, or a frame is larger than 1 MiB.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; 2];
    match stream.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let length = match head[1] & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST_FRAME);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "WebSocket frame above 1 MiB"))?;
    let mut mask = [0; 4];
    if head[1] & MASKED != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    apply(mask, &mut payload);
    Ok(Some(Frame { fin: head[0] & FIN != 0, opcode: head[0] & 0x0f, payload }))
}

/// Writes one frame; clients pass a mask, servers none (§5.1).
///
/// # Errors
/// When the stream breaks.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &Frame, mask: Option<[u8; 4]>) -> io::Result<()> {
    let mut bytes = vec![if frame.fin { FIN } else { 0 } | frame.opcode];
    let masked = if mask.is_some() { MASKED } else { 0 };
    let length = frame.payload.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => bytes.push(masked | short),
        (_, Ok(medium)) => {
            bytes.push(masked | 126);
            bytes.extend(medium.to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let start = bytes.len() + mask.map_or(0, |mask| mask.len());
    bytes.extend(mask.unwrap_or_default().iter().take(start - bytes.len()));
    bytes.extend(&frame.payload);
    apply(mask.unwrap_or_default(), &mut bytes[start..]);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const LARGEST_FRAME: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_s_example() {
        let mut fields = HeaderMap::new();
        fields.insert(header::UPGRADE, "WebSocket".parse().unwrap());
        fields.insert(header::SEC_WEBSOCKET_VERSION, "13".parse().unwrap());
        fields.insert(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        assert_eq!(accept_key(&fields).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[tokio::test]
    async fn frames_of_every_length_form_come_back() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(echo(server));
        for length in [0, 125, 126, 65_535, 65_536, LARGEST_FRAME] {
            let frame = Frame { fin: true, opcode: 2, payload: vec![7; length] };
            let (mut reader, mut writer) = tokio::io::split(&mut client);
            let (sent, received) = tokio::join!(write(&mut writer, &frame, Some([1, 2, 3, 4])), read(&mut reader));
            sent.unwrap();
            assert_eq!(received.unwrap(), Some(frame), "{length} bytes");
        }
        write(&mut client, &Frame { fin: true, opcode: CLOSE, payload: vec![] }, Some([0; 4])).await.unwrap();
        assert_eq!(read(&mut client).await.unwrap().map(|frame| frame.opcode), Some(CLOSE));
        server.await.unwrap().unwrap();
    }
}
