//! Whether the other name servers of a zone serve what this one serves: what was published here with its serials, and the serials that
//! others show, flow in with times; since when each statement is true everywhere flows out. Pure; kept by `peer_watch`.
//!
//! The low half of a serial is a digest of the content (see [`serial`](crate::serial)), so an equal half is the same content. A
//! greater serial is of a server that has seen more; what it has not seen of ours came before that.

use crate::limits::DOWN_FOR_GOOD;
use crate::name::Name;
use crate::serial::is_greater;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

/// The serials of all zones at one moment.
pub(crate) type Serials = BTreeMap<Name, u32>;

/// See the module head.
#[derive(Debug)]
pub(crate) struct Peers {
    peers: BTreeMap<SocketAddr, Peer>,
    /// What was published here and is not confirmed by all, the newest last.
    published: VecDeque<(u64, Serials)>,
    newest: u64,
}

#[derive(Debug)]
struct Peer {
    /// The newest of ours that it serves.
    confirmed: u64,
    silent_since: Option<Instant>,
}

impl Peers {
    /// Nothing is known of them.
    pub(crate) fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let peer = |address| (address, Peer { confirmed: 0, silent_since: None });
        Self { peers: addresses.into_iter().map(peer).collect(), published: VecDeque::new(), newest: 0 }
    }

    /// Zones were published with these serials. Gives the number of the moment.
    pub(crate) fn published(&mut self, serials: Serials) -> u64 {
        if self.published.back().is_none_or(|(_, newest)| *newest != serials) {
            self.newest += 1;
            self.published.push_back((self.newest, serials));
            if self.published.len() > MAX_REMEMBERED {
                self.published.pop_front();
            }
        }
        self.newest
    }

    /// A server shows these serials; `None` where it does not answer.
    pub(crate) fn saw(&mut self, peer: SocketAddr, serials: Option<&Serials>, now: Instant) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        let Some(serials) = serials else {
            peer.silent_since.get_or_insert(now);
            return;
        };
        peer.silent_since = None;
        let serves = |ours: &Serials| {
            ours.iter().all(|(zone, ours)| {
                let theirs = serials.get(zone);
                theirs.is_some_and(|theirs| theirs & 0xffff == ours & 0xffff || is_greater(*theirs, *ours))
            })
        };
        let confirmed = self.published.iter().rev().find(|(_, ours)| serves(ours)).map(|(moment, _)| *moment);
        peer.confirmed = peer.confirmed.max(confirmed.unwrap_or(0));
    }

    /// The newest moment that all serve, and the servers that do not serve the newest.
    pub(crate) fn everywhere(&self, now: Instant) -> (u64, Vec<SocketAddr>) {
        let is_down =
            |peer: &Peer| peer.silent_since.is_some_and(|since| now.saturating_duration_since(since) >= DOWN_FOR_GOOD);
        let counted = || self.peers.iter().filter(|(_, peer)| !is_down(peer));
        let moment = counted().map(|(_, peer)| peer.confirmed).min().unwrap_or(self.newest);
        let behind = counted().filter(|(_, peer)| peer.confirmed < self.newest).map(|(address, _)| *address);
        (moment, behind.collect())
    }
}

/// Moments that are remembered: at twenty a second far more than a name server may be behind.
const MAX_REMEMBERED: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn serials(serial: u32) -> Serials {
        [("example.com".parse().unwrap(), serial)].into()
    }

    fn peer(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 53).into()
    }

    #[test]
    fn a_moment_is_everywhere_once_every_server_shows_its_content_or_a_later_one() {
        let now = Instant::now();
        let mut peers = Peers::new([peer(1), peer(2)]);
        let first = peers.published(serials(0x0001_aaaa));
        assert_eq!(peers.published(serials(0x0001_aaaa)), first, "nothing has changed");
        let second = peers.published(serials(0x0002_bbbb));
        assert_eq!(peers.everywhere(now), (0, vec![peer(1), peer(2)]));
        peers.saw(peer(1), Some(&serials(0x0007_bbbb)), now);
        peers.saw(peer(2), Some(&serials(0x0001_aaaa)), now);
        assert_eq!(peers.everywhere(now), (first, vec![peer(2)]), "the low half is the content");
        peers.saw(peer(2), Some(&serials(0x0003_cccc)), now);
        assert_eq!(peers.everywhere(now), (second, Vec::new()), "a greater one has seen more");
        peers.saw(peer(2), Some(&Serials::new()), now);
        assert_eq!(peers.published(serials(0x0004_dddd)), 3);
        assert_eq!(peers.everywhere(now).0, second, "what was seen stays seen");
    }

    #[test]
    fn a_server_that_is_silent_holds_back_for_ten_minutes_and_no_longer() {
        let start = Instant::now();
        let mut peers = Peers::new([peer(1), peer(2)]);
        let moment = peers.published(serials(1));
        peers.saw(peer(1), Some(&serials(1)), start);
        peers.saw(peer(2), None, start);
        peers.saw(peer(2), None, start + Duration::from_secs(599));
        assert_eq!(peers.everywhere(start + Duration::from_secs(599)), (0, vec![peer(2)]));
        assert_eq!(peers.everywhere(start + DOWN_FOR_GOOD), (moment, Vec::new()));
        peers.saw(peer(2), Some(&serials(0)), start + DOWN_FOR_GOOD);
        assert_eq!(peers.everywhere(start + DOWN_FOR_GOOD), (0, vec![peer(2)]));
    }

    #[test]
    fn without_others_everything_is_everywhere_at_once() {
        let mut peers = Peers::new([]);
        let moment = peers.published(serials(1));
        assert_eq!(peers.everywhere(Instant::now()), (moment, Vec::new()));
    }
}
