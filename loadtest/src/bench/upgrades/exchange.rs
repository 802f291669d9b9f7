//! One exchange over HTTP/1.1 that hides nothing: a stream and a path flow in, and whether the server asked to close flows out. There is no
//! second attempt, and no look whether the connection is still open.

use crate::pods::media;
use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Whether a connection may be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It may.
    Open,
    /// The server has said that it closes.
    Told,
}

/// The header of an answer, and the first bytes of its body.
pub(super) struct Begun {
    pub(super) status: u16,
    pub(super) after: After,
    length: Option<usize>,
    body: Vec<u8>,
}

/// GET of so many bytes of media, all of them compared.
pub(super) async fn get(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    bytes: usize,
    more: &str,
) -> Result<After> {
    let begun = begin(stream, &format!("GET /media/{bytes} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")).await?;
    ensure!(begun.status == 200, "the answer is {}", begun.status);
    ensure!(begun.length == Some(bytes), "the answer has {:?} bytes, not {bytes}", begun.length);
    let mut body = begun.body;
    let had = body.len();
    ensure!(had <= bytes, "the answer is too long");
    body.resize(bytes, 0);
    stream.read_exact(&mut body[had..]).await.context("the answer ends early")?;
    ensure!(media::verify(0, &body), "the answer has wrong bytes");
    Ok(begun.after)
}

/// Sends a request and reads the header of its answer.
pub(super) async fn begin(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> Result<Begun> {
    stream.write_all(request.as_bytes()).await.context("the request is not taken")?;
    stream.flush().await.context("the request is not taken")?;
    let mut seen = Vec::with_capacity(1024);
    let end = loop {
        if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut seen).await.context("no answer")? == 0 {
            bail!("the connection was closed without an answer, after {} bytes of it", seen.len());
        }
    };
    let body = seen.split_off(end + 4);
    let head = String::from_utf8_lossy(&seen).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let after = if field("connection:") == Some("close") { After::Told } else { After::Open };
    let length = field("content-length:").and_then(|length| length.parse().ok());
    Ok(Begun { status, after, length, body })
}

impl Begun {
    /// What has come of the body so far.
    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }
}
