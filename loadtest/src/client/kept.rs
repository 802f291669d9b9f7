//! Connections that a client keeps alive for its next request to the same origin, as browsers and HTTP libraries do: one that has
//! brought its answer flows in, the next request to the origin takes it out. While one is idle, the origin's name is not looked
//! up. Called by `fetch`.

use super::connection::{Connection, Protocol};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The idle connections of one client.
#[derive(Debug, Default)]
pub struct Kept {
    idle: Mutex<HashMap<Origin, Vec<(IpAddr, Connection)>>>,
}

/// Whom a connection may be used for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
}

impl Kept {
    /// The connection to `origin` that was used last, and the address at its other end. One that is closed already is none.
    pub(super) fn take(&self, origin: &Origin) -> Option<(IpAddr, Connection)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.get_mut(origin)?;
        while let Some((address, connection)) = connections.pop() {
            if connection.is_open() {
                return Some((address, connection));
            }
        }
        None
    }

    /// Keeps a connection, unless it is about to close or there are enough.
    pub(super) async fn keep(&self, origin: Origin, address: IpAddr, mut connection: Connection) {
        if !connection.rests().await {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.entry(origin).or_default();
        if connections.len() < MOST {
            connections.push((address, connection));
        }
    }
}

/// As many as browsers open to an origin over HTTP/1.
const MOST: usize = 6;
