//! How many connections each source has: addresses flow in, places flow out. A source is an IPv4 address, or the 64 bits of an IPv6
//! address that one subscriber has. No source is kept without a connection, so there are never more of them than connections.

use crate::rate::network;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sources with their connections.
#[derive(Debug)]
pub(super) struct Sources {
    table: Arc<Table>,
    most: u32,
}

#[derive(Debug)]
struct Table {
    shards: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
    shard: RandomState,
}

/// One connection of a source, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Place {
    table: Arc<Table>,
    source: IpAddr,
}

impl Sources {
    /// Each source may have so many connections.
    pub(super) fn new(most: u32) -> Self {
        let table = Table { shards: Default::default(), shard: RandomState::new() };
        Self { table: Arc::new(table), most }
    }

    /// One more connection of a source; `None` where it has as many as it may.
    pub(super) fn enter(&self, source: IpAddr) -> Option<Place> {
        let source = network(source);
        let mut shard = self.table.shard(source);
        let connections = shard.entry(source).or_insert(0);
        if *connections >= self.most {
            return None;
        }
        *connections += 1;
        Some(Place { table: Arc::clone(&self.table), source })
    }
}

impl Table {
    fn shard(&self, source: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let shard = usize::try_from(self.shard.hash_one(source) >> 32).unwrap_or_default() % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.table.shard(self.source);
        if let Entry::Occupied(mut connections) = shard.entry(self.source) {
            *connections.get_mut() -= 1;
            if *connections.get() == 0 {
                connections.remove();
            }
        }
    }
}

const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sizes(sources: &Sources) -> usize {
        sources.table.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn an_ipv6_source_is_a_network_and_each_end_makes_room() {
        let sources = Sources::new(2);
        let enter = |source: &str| sources.enter(source.parse().unwrap());
        let one = enter("2001:db8:0:1::1");
        let _two = enter("2001:db8:0:1:ffff::2").unwrap();
        assert!(one.is_some() && enter("2001:db8:0:1::3").is_none() && enter("2001:db8:0:2::1").is_some());
        drop(one);
        assert!(enter("2001:db8:0:1::3").is_some());
    }

    proptest! {
        #[test]
        fn no_source_has_more_than_it_may_and_none_is_kept_without_a_connection(
            steps in proptest::collection::vec((0_u8..5, any::<bool>()), 0..200),
        ) {
            let sources = Sources::new(3);
            let mut open: HashMap<u8, Vec<Place>> = HashMap::new();
            for (number, comes) in steps {
                let of_source = open.entry(number).or_default();
                if comes {
                    let place = sources.enter(IpAddr::from([192, 0, 2, number]));
                    prop_assert_eq!(place.is_some(), of_source.len() < 3);
                    of_source.extend(place);
                } else {
                    of_source.pop();
                }
                let present = open.values().filter(|places| !places.is_empty()).count();
                prop_assert_eq!(sizes(&sources), present);
            }
        }
    }
}
