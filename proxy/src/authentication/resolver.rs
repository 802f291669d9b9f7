//! Names of services that decide about requests: a name flows in, its addresses flow out. The system resolves, which in a
//! cluster is its own DNS; what it said is remembered for a moment, also that it knows nothing.

use super::recent::{Recent, Tag};
use crate::limits::{RESOLVED, RESOLVED_TIME, RESOLVING, RESOLVING_TIME};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Resolves names.
pub(crate) struct Resolver {
    known: Recent<Arc<[IpAddr]>>,
    slots: Arc<Semaphore>,
}

impl Resolver {
    /// That has asked for nothing yet.
    pub(crate) fn new() -> Self {
        Self { known: Recent::new(RESOLVED), slots: Arc::new(Semaphore::new(RESOLVING)) }
    }

    /// The addresses of a name, or the address that it is; none where it has none, or they take too long. `tag` is that of the
    /// name.
    pub(crate) async fn resolve(&self, name: &str, tag: Tag) -> Arc<[IpAddr]> {
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Arc::new([address]);
        }
        if let Some(known) = self.known.get(&tag, Instant::now()) {
            return known;
        }
        let name = name.to_owned();
        let asking = async {
            let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
            let work = move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                // The slot is held to the end, also where nobody waits for it any more.
                drop(slot);
                found.map(|found| found.map(|address| address.ip()).collect::<Arc<[IpAddr]>>()).unwrap_or_default()
            };
            spawn_blocking(work).await.ok()
        };
        let found = timeout(RESOLVING_TIME, asking).await.ok().flatten().unwrap_or_default();
        self.known.put(tag, Instant::now() + RESOLVED_TIME, Arc::clone(&found));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_its_own_and_what_is_known_is_not_asked_for() {
        let resolver = Resolver::new();
        let one: Arc<[IpAddr]> = Arc::new(["192.0.2.1".parse().unwrap()]);
        assert_eq!(resolver.resolve("192.0.2.1", [0; 32]).await, one);
        assert_eq!(resolver.resolve("[2001:db8::1]", [0; 32]).await[0], "2001:db8::1".parse::<IpAddr>().unwrap());
        resolver.known.put([1; 32], Instant::now() + RESOLVED_TIME, Arc::clone(&one));
        assert_eq!(resolver.resolve("a name that no system knows", [1; 32]).await, one);
        assert!(resolver.resolve("a name that no system knows", [2; 32]).await.is_empty());
    }
}
