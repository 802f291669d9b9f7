//! Which TCP connections may exist: a source asks for a place and holds a guard while its connection lives. Called by
//! the accept loop of `tcp`.

use crate::limits::{MAX_TCP_CONNECTIONS, MAX_TCP_CONNECTIONS_PER_SOURCE};
use prometheus::IntGauge;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The places of all TCP connections of the process.
#[derive(Debug)]
pub(super) struct Connections {
    by_source: Mutex<HashMap<IpAddr, usize>>,
    open: IntGauge,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    source: IpAddr,
    connections: Arc<Connections>,
}

impl Connections {
    pub(super) fn new(open: IntGauge) -> Arc<Self> {
        Arc::new(Self { by_source: Mutex::default(), open })
    }

    /// A place for a connection from this address, or `None` when the process or the source has no more.
    pub(super) fn place(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let source = source(client);
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = by_source.values().sum();
        let own = by_source.get(&source).copied().unwrap_or(0);
        if total >= MAX_TCP_CONNECTIONS || own >= MAX_TCP_CONNECTIONS_PER_SOURCE {
            return None;
        }
        by_source.insert(source, own + 1);
        self.open.inc();
        Some(Place { source, connections: Arc::clone(self) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_source = self.connections.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = by_source.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                by_source.remove(&self.source);
            }
        }
        self.connections.open.dec();
    }
}

/// What counts as one source: an IPv4 address, or the /64 that one IPv6 host can draw addresses from.
fn source(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections() -> Arc<Connections> {
        Connections::new(IntGauge::new("open", "open").unwrap())
    }

    #[test]
    fn a_source_has_16_places_and_gets_one_back_when_a_connection_ends() {
        let all = connections();
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let mut places: Vec<Place> = (0..16).map(|_| all.place(client).unwrap()).collect();
        assert!(all.place(client).is_none());
        assert!(all.place("::ffff:192.0.2.1".parse().unwrap()).is_none());
        assert!(all.place("192.0.2.2".parse().unwrap()).is_some());
        places.pop();
        assert!(all.place(client).is_some());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_share_their_places() {
        let all = connections();
        let _places: Vec<Place> =
            (0..16).map(|i| all.place(format!("2001:db8::{i:x}").parse().unwrap()).unwrap()).collect();
        assert!(all.place("2001:db8::ffff".parse().unwrap()).is_none());
        assert!(all.place("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn the_process_has_256_places() {
        let all = connections();
        let places: Vec<Place> =
            (0..256_u32).map(|i| all.place(IpAddr::V4((0x0a00_0000 + i).into())).unwrap()).collect();
        assert!(all.place("192.0.2.1".parse().unwrap()).is_none());
        assert_eq!(all.open.get(), 256);
        drop(places);
        assert_eq!(all.open.get(), 0);
        assert!(all.by_source.lock().unwrap().is_empty());
    }
}
