//! What became of all that clients did: outcomes flow in from every client, counts and the first failures flow out.

use serde::Serialize;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Kind {
    /// A request on a connection of its own.
    New,
    /// One on a kept connection over HTTP/1.1.
    Kept,
    /// The same with TLS.
    KeptTls,
    /// The same over HTTP/2, with TLS.
    Http2,
    /// A WebSocket of some seconds.
    WebSocket,
    /// A download of some seconds.
    Download,
}

/// The counts of one kind.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counts {
    /// What was begun, and is over.
    pub(super) done: u64,
    /// Of these.
    pub(super) failed: u64,
    /// Connections that the proxy asked the client to leave.
    pub(super) told: u64,
    /// TLS handshakes, and those of them that resumed a session.
    pub(super) handshakes: u64,
    /// See `handshakes`.
    pub(super) resumed: u64,
}

/// See the module head.
#[derive(Debug)]
pub(super) struct Tally {
    begin: Instant,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    counts: [Counts; Kind::ALL.len()],
    failures: Vec<String>,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::New, Self::Kept, Self::KeptTls, Self::Http2, Self::WebSocket, Self::Download];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::New => "new connections",
            Self::Kept => "kept, plain",
            Self::KeptTls => "kept, TLS",
            Self::Http2 => "kept, HTTP/2",
            Self::WebSocket => "WebSockets",
            Self::Download => "downloads",
        }
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { begin: Instant::now(), state: Mutex::default() }
    }

    /// Something is over.
    pub(super) fn note(&self, kind: Kind, outcome: Result<(), impl Display>) {
        let at = self.begin.elapsed();
        self.with(|state| {
            let counts = &mut state.counts[kind as usize];
            counts.done += 1;
            if let Err(error) = outcome {
                counts.failed += 1;
                if state.failures.len() < TOLD {
                    state.failures.push(format!("{}, after {:.2} s: {error:#}", kind.name(), at.as_secs_f64()));
                }
            }
        });
    }

    /// A client was asked to make another connection.
    pub(super) fn told(&self, kind: Kind) {
        self.with(|state| state.counts[kind as usize].told += 1);
    }

    /// A TLS handshake is done.
    pub(super) fn handshake(&self, kind: Kind, resumed: bool) {
        self.with(|state| {
            let counts = &mut state.counts[kind as usize];
            counts.handshakes += 1;
            counts.resumed += u64::from(resumed);
        });
    }

    pub(super) fn of(&self, kind: Kind) -> Counts {
        self.with(|state| state.counts[kind as usize])
    }

    /// The first failures, in words.
    pub(super) fn failures(&self) -> Vec<String> {
        self.with(|state| state.failures.clone())
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Failures that are told in words.
const TOLD: usize = 20;
