//! Where bytes go: a client's socket or a pod's flows in, and what of it a transfer has to know flows out. Made by whoever begins one.

use tokio::net::TcpStream;

/// A socket that bytes are written to as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sink<'t> {
    pub(super) socket: &'t TcpStream,
    /// The kernel makes records of TLS of what it gets. One that waits for more cannot be let go but by more.
    pub(super) sealed: bool,
}

impl<'t> Sink<'t> {
    /// One whose TLS is the kernel's.
    pub(crate) fn sealed(socket: &'t TcpStream) -> Self {
        Self { socket, sealed: true }
    }

    /// Whether its TLS is the kernel's.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &'t TcpStream {
        self.socket
    }
}

impl<'t> From<&'t TcpStream> for Sink<'t> {
    fn from(socket: &'t TcpStream) -> Self {
        Self { socket, sealed: false }
    }
}
