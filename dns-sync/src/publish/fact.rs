//! What happens while a zone is published, told as it happens: workers and the verifier tell facts, whoever keeps account of them
//! ([`Facts::listen`]) turns them into conditions, metrics and pages. Telling never waits for anybody.

use super::failure::Failure;
use super::garbage::Found;
use super::intent::Hold;
use super::plan::{Conflict, Stale, Unfit, WriteKind};
use crate::name::Name;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A zone on one of its servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The apex of the zone.
    pub zone: Name,
    /// The server.
    pub server: SocketAddr,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.zone, self.server)
    }
}

/// Something that has happened at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// When.
    pub at: Instant,
    /// Where.
    pub place: Place,
    /// What.
    pub event: Event,
}

/// What can happen at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server has answered for the zone, with a signature that is right where there is a key.
    Reached,
    /// An exchange has failed; the next comes after the pause.
    Failed {
        /// Why.
        failure: Failure,
        /// Until the next attempt.
        pause: Duration,
    },
    /// An update message was answered, or not.
    Updated {
        /// How many names it changes.
        names: usize,
        /// From sending to the reply.
        took: Duration,
        /// What the server said.
        outcome: Result<(), Failure>,
    },
    /// So many files of keys are of no use now. What was read from them before goes on to be used.
    UnusableKeys(usize),
    /// The whole zone was read: these names are there and nobody asks for them.
    Found(BTreeMap<Name, Found>),
    /// Something about one name.
    Name(Name, NameEvent),
}

/// What can happen to a name at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameEvent {
    /// It differs from what is desired, and is about to be written (or would be, in a dry run).
    Differs(WriteKind),
    /// It was read and is as desired, with this generation in its marker.
    Applied {
        /// Of the marker.
        generation: u64,
    },
    /// Nothing of ours stands there any more, as desired.
    Gone,
    /// It is somebody else's.
    Conflict(Conflict),
    /// It is left as it is.
    Held(Hold),
    /// Somebody with a newer view has written it.
    Stale(Stale),
    /// It cannot be published in the zone.
    Unfit(Unfit),
    /// The server cannot be told or asked about this name, though about others; the next attempt comes after the pause.
    Isolated {
        /// Why.
        failure: Failure,
        /// Until the next attempt.
        pause: Duration,
    },
}

/// Where facts are told. Clones tell the listeners that there were when they were made.
#[derive(Clone, Debug, Default)]
pub struct Facts(Vec<mpsc::UnboundedSender<Fact>>);

impl Facts {
    /// One more listener. There are a few facts for each change of a name, so one that does no input or output keeps up.
    pub fn listen(&mut self) -> mpsc::UnboundedReceiver<Fact> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.push(sender);
        receiver
    }

    /// Tells a fact.
    pub fn tell(&self, place: &Place, at: Instant, event: Event) {
        for listener in &self.0 {
            // At the end of the program nobody listens any more.
            drop(listener.send(Fact { at, place: place.clone(), event: event.clone() }));
        }
    }
}
