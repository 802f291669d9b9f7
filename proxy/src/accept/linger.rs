//! The lingering close (RFC 9112 §9.6): the socket of a connection that is over flows in, and is closed only when the client
//! has read everything. A socket that is closed while bytes of the client wait unread (a window update, a pipelined
//! request) sends a reset, and that destroys what the client has not read yet. Called by `accept`.

use crate::limits::{LINGER_BYTES, LINGER_IDLE, LINGER_TIME};
use socket2::SockRef;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where a [`super::client_stream::ClientStream`] leaves its socket when it ends. Clones share one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Parting(Arc<Mutex<Option<std::net::TcpStream>>>);

impl Parting {
    /// Keeps the connection open beyond the life of this socket.
    pub(super) fn keep(&self, socket: &TcpStream) {
        // Without a descriptor to spare the connection is closed at once, as it would be without all this.
        let kept = SockRef::from(socket).try_clone().ok().map(std::net::TcpStream::from);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// Says that nothing more comes, and waits until the client has closed too, for a while.
    pub(super) async fn linger(self) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Ok(mut socket)) = kept.map(TcpStream::from_std) else { return };
        let until_closed = async {
            socket.shutdown().await?;
            let (mut buffer, mut left) = ([0; 2048], LINGER_BYTES);
            while let Ok(read) = timeout(LINGER_IDLE, socket.read(&mut buffer)).await {
                match read? {
                    count if count > 0 && count < left => left -= count,
                    _ => break,
                }
            }
            Ok::<(), std::io::Error>(())
        };
        // However it ends, there is nothing more to do for this client.
        drop(timeout(LINGER_TIME, until_closed).await);
    }
}
