//! HTTP/2 on one connection, a request at a time: an object's size comes in, the request goes out, and the body of the answer to its
//! sink. Wide windows never hold a proxy back. Called by `Connection`.

use super::{Answer, Sink};
use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

/// A connection; closed when dropped.
#[derive(Debug)]
pub(in crate::bench::proxy) struct Http2 {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    driver: JoinHandle<()>,
    /// An answer that nobody reads.
    left_alone: Option<Incoming>,
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Http2 {
    pub(super) async fn new(stream: TlsStream<TcpStream>, host: &str, window: u32) -> Result<Self> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(window)
            .max_frame_size(FRAME)
            .handshake(TokioIo::new(stream))
            .await?;
        // How it ends is seen by the requests.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, host: host.to_owned(), driver, left_alone: None })
    }

    pub(super) fn set_host(&mut self, host: &str) {
        host.clone_into(&mut self.host);
    }

    pub(super) async fn get(&mut self, bytes: u64, sink: Sink<'_>) -> Result<Answer> {
        let Some(mut body) = self.ask(bytes).await? else { return Ok(Answer::Closed) };
        let mut offset = 0;
        while let Some(frame) = body.frame().await {
            let Ok(chunk) = frame?.into_data() else { continue };
            sink.take(offset, &chunk)?;
            offset += chunk.len() as u64;
        }
        ensure!(offset == bytes, "the answer ended after {offset} of {bytes} bytes");
        Ok(Answer::Whole)
    }

    pub(super) async fn begin(&mut self, bytes: u64) -> Result<()> {
        self.left_alone = self.ask(bytes).await?;
        ensure!(self.left_alone.is_some(), "the connection was closed before the answer");
        Ok(())
    }

    async fn ask(&mut self, bytes: u64) -> Result<Option<Incoming>> {
        if self.sender.ready().await.is_err() {
            return Ok(None);
        }
        let uri = format!("https://{}/bytes/{bytes}", self.host);
        let request = Request::get(uri).header("user-agent", "bench").body(Empty::new())?;
        let answer = self.sender.send_request(request).await?;
        ensure!(answer.status() == StatusCode::OK, "the answer is {}", answer.status());
        Ok(Some(answer.into_body()))
    }
}

/// As much as browsers give, or more.
pub(super) const WIDE: u32 = 16 << 20;
/// What every stream and connection begins with (RFC 9113 §6.9.2).
pub(super) const NARROW: u32 = 65_535;
const FRAME: u32 = 16 * 1024;
