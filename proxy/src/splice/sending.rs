//! Bytes of this process that go out as those that are moved do: a socket and bytes flow in, all of them flow out to the socket. Called
//! for what was read before a transfer begins, and for headers.

use super::relay::RelayError;
use super::room::writable;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::net::TcpStream;

/// Sends all of something.
///
/// # Errors
/// The socket broke, or took nothing for as long as `stall`.
pub(crate) async fn send_all(to: &TcpStream, mut bytes: &[u8], stall: Duration) -> Result<(), RelayError> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => writable(to, Some(stall)).await?,
            Err(error) => return Err(RelayError::Sink(error)),
        }
    }
    Ok(())
}
