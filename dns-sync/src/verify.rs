//! What name servers really answer: names and what should stand there flow in, sightings flow out, one stream for each server.
//! Asked over UDP first, like a client, without recursion and without a cache; what plans and writes reads otherwise, over
//! the connection that signs. Started by the publisher for each server of a zone, also for those that it only looks at.
//!
//! What an answer is worth decides `compare`, when to ask decides `schedule` (both pure); `resolver` asks.

mod compare;
pub(crate) mod peers;
mod resolver;
mod schedule;
mod watcher;

pub use compare::{Difference, asked, differences};
pub use resolver::{Resolver, Unseen};
pub use watcher::{Sighting, Sightings, Watcher};

use crate::publish::observed::RecordSets;

/// What a server answered about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether every answer that held records had AA (RFC 1035 §4.1.1). An empty answer counts as such where it came with the
    /// SOA of a zone (RFC 2308 §3).
    pub authoritative: bool,
    /// The RRsets of the types that were asked for.
    pub sets: RecordSets,
}
