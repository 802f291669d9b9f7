//! The lingering close (RFC 9112 §9.6): the socket of a connection that is over flows in, and is closed only when the client
//! has read everything. A socket that is closed while bytes of the client wait unread (a window update, a pipelined
//! request) sends a reset, and that destroys what the client has not read yet. Called by `accept`.

use crate::limits::{KERNEL_TLS_LOOK, LINGER_BYTES, LINGER_IDLE, LINGER_TIME};
use crate::splice::unacknowledged;
use socket2::SockRef;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where a [`super::client_stream::ClientStream`] leaves its socket when it ends. Clones share one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Parting(Arc<Mutex<Option<Parted>>>);

#[derive(Debug)]
struct Parted {
    socket: std::net::TcpStream,
    sealed: bool,
}

impl Parting {
    /// Keeps the connection open beyond the life of this socket. `sealed` says that its TLS is the kernel's.
    pub(super) fn keep(&self, socket: &TcpStream, sealed: bool) {
        // Without a descriptor to spare the connection is closed at once, as it would be without all this.
        let kept = SockRef::from(socket).try_clone().ok().map(|socket| Parted { socket: socket.into(), sealed });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// Says that nothing more comes, and waits until the client has closed too, for a while.
    pub(super) async fn linger(self) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Parted { socket, sealed }) = kept else { return };
        let Ok(mut socket) = TcpStream::from_std(socket) else { return };
        let until_closed = async {
            let (mut buffer, mut left) = ([0; 2048], LINGER_BYTES);
            // What the kernel has encrypted and TCP has no room for is lost with the end, so that waits until all is there.
            let mut open = sealed;
            if !open {
                socket.shutdown().await?;
            }
            loop {
                if open && unacknowledged(&socket) == 0 {
                    socket.shutdown().await?;
                    open = false;
                }
                let look = if open { KERNEL_TLS_LOOK } else { LINGER_IDLE };
                match timeout(look, socket.read(&mut buffer)).await {
                    Ok(read) => match read? {
                        count if count > 0 && count < left => left -= count,
                        _ => break,
                    },
                    Err(_) if open => {}
                    Err(_) => break,
                }
            }
            Ok::<(), std::io::Error>(())
        };
        // However it ends, there is nothing more to do for this client.
        drop(timeout(LINGER_TIME, until_closed).await);
    }
}
