//! An admin port that one process hands to the next on the same node: an address flows in, a listening socket flows out once
//! no other process has it, and goes away when the end of this one is asked for. Used by `server`.

use crate::signal::Shutdown;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// The TCP port of the admin pages.
#[derive(Debug)]
pub(crate) enum Port {
    /// Held until the process ends.
    Own(TcpListener),
    /// Taken from a process that is there already, and left to the next one.
    Shared(Shutdown),
}

/// Waits for the port to be free; `None` where the end is asked for before.
pub(crate) async fn take(address: SocketAddr, shutdown: &Shutdown) -> Option<TcpListener> {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(error) if !told => tell(address, &error),
            Err(_) => {}
        }
        told = true;
        tokio::select! {
            () = tokio::time::sleep(PORT_RETRY) => {}
            () = shutdown.requested() => return None,
        }
    }
}

fn tell(address: SocketAddr, error: &io::Error) {
    if error.kind() == io::ErrorKind::AddrInUse {
        tracing::info!(%address, "the admin port is another process's; it is taken once that one leaves it");
    } else {
        tracing::warn!(%address, %error, "the admin port cannot be opened now; this is tried again");
    }
}

/// Between two attempts to take the port.
const PORT_RETRY: Duration = Duration::from_millis(250);
