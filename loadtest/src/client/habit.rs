//! How long a client believes what a name server said: the TTL of an answer flows in, the moment until which it is kept flows
//! out. Called by `resolver`.

use serde::Serialize;
use std::time::Duration;

/// What user agents do with the TTL of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Habit {
    /// Asks each time.
    NoCache,
    /// Keeps an answer for its TTL.
    #[default]
    Ttl,
    /// Keeps an answer for its TTL, and at least so long; browsers take a minute.
    AtLeast(Duration),
    /// Asks once in its life, as a JVM with `networkaddress.cache.ttl=-1`.
    Forever,
}

impl Habit {
    /// How long an answer with this TTL is kept; `None` is for ever.
    #[must_use]
    pub fn keeps(self, ttl: Duration) -> Option<Duration> {
        match self {
            Self::NoCache => Some(Duration::ZERO),
            Self::Ttl => Some(ttl),
            Self::AtLeast(least) => Some(ttl.max(least)),
            Self::Forever => None,
        }
    }
}

impl std::fmt::Display for Habit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCache => f.write_str("no cache"),
            Self::Ttl => f.write_str("TTL"),
            Self::AtLeast(least) => write!(f, "at least {} s", least.as_secs()),
            Self::Forever => f.write_str("for ever"),
        }
    }
}
