//! Bytes on a connection, for tests that need what no well-behaved client sends. Called by tests.

use crate::lab::Place;
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Connects from `place`.
///
/// # Errors
/// When there is no connection within five seconds.
pub async fn connect(place: &Place, address: SocketAddr) -> Result<TcpStream> {
    let socket = place.tcp_socket(address.ip())?;
    let stream = timeout(PATIENCE, socket.connect(address)).await;
    let stream = stream.with_context(|| format!("{}: {address} does not answer", place.name()))?;
    stream.with_context(|| format!("{}: cannot connect to {address}", place.name()))
}

/// Sends `bytes` and returns all that comes back until the peer closes.
///
/// # Errors
/// When there is no connection, or the peer does not close within five seconds of its last byte.
pub async fn exchange(place: &Place, address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = connect(place, address).await?;
    stream.write_all(bytes).await?;
    read_to_end(&mut stream).await
}

/// Everything until the peer closes; a reset after some bytes is an end too.
///
/// # Errors
/// When nothing comes for five seconds.
pub async fn read_to_end(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await;
        match read.with_context(|| format!("the peer neither sends nor closes after {} bytes", all.len()))? {
            Ok(0) | Err(_) => return Ok(all),
            Ok(length) => all.extend_from_slice(&buffer[..length]),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
