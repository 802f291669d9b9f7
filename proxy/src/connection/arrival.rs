//! When a connection came, and how long its client took until a request header was complete: marks flow in from `accept`
//! and `http`, durations for the access log flow out. A mark is one atomic number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The marks of one connection, in microseconds since its accept; 0 where there is none.
#[derive(Debug)]
pub(crate) struct Arrival {
    accepted_at: SystemTime,
    accepted: Instant,
    ready: AtomicU64,
    awaited: AtomicU64,
    begun: AtomicU64,
}

/// How long the client took with one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// From the accept until bytes of HTTP could flow; zero after the first request of the connection.
    pub(crate) handshake: Duration,
    /// From then, or from the end of the request before, to the first byte. Zero with HTTP/2.
    pub(crate) idle: Duration,
    /// From the first byte to the end of the header. Zero with HTTP/2.
    pub(crate) header: Duration,
}

impl Arrival {
    /// A connection that is accepted now.
    pub(crate) fn now() -> Self {
        Self {
            accepted_at: SystemTime::now(),
            accepted: Instant::now(),
            ready: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            begun: AtomicU64::new(0),
        }
    }

    /// When it was accepted.
    pub(crate) fn accepted_at(&self) -> SystemTime {
        self.accepted_at
    }

    /// Bytes of HTTP can flow.
    pub(crate) fn ready(&self) {
        let now = self.elapsed();
        self.ready.store(now, Ordering::Relaxed);
        self.awaited.store(now, Ordering::Relaxed);
    }

    /// A byte of a request header is there; only the first one counts.
    pub(crate) fn begin(&self) {
        if self.begun.load(Ordering::Relaxed) == 0 {
            self.begun.store(self.elapsed(), Ordering::Relaxed);
        }
    }

    /// The header is complete. `shared` says that other requests may come at the same time (HTTP/2), where only the
    /// handshake is known.
    pub(crate) fn take(&self, shared: bool) -> Arrived {
        let handshake = Duration::from_micros(self.ready.swap(0, Ordering::Relaxed));
        let begun = self.begun.swap(0, Ordering::Relaxed);
        // Bytes that came with the request before have no mark.
        if shared || begun == 0 {
            return Arrived { handshake, ..Arrived::default() };
        }
        let idle = Duration::from_micros(begun.saturating_sub(self.awaited.load(Ordering::Relaxed)));
        let header = Duration::from_micros(self.elapsed().saturating_sub(begun));
        Arrived { handshake, idle, header }
    }

    /// The request is over; the next one is awaited.
    pub(crate) fn next(&self) {
        self.awaited.store(self.elapsed(), Ordering::Relaxed);
    }

    /// Never 0.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_counts_once_and_what_came_before_its_time_counts_nothing() {
        let arrival = Arrival::now();
        arrival.ready();
        arrival.begin();
        assert!(arrival.take(false).handshake > Duration::ZERO);
        arrival.next();
        assert_eq!(arrival.take(false), Arrived::default(), "a request whose bytes were there already");
        arrival.begin();
        assert_eq!(arrival.take(true), Arrived::default(), "one of several streams");
    }

    #[test]
    fn the_first_byte_counts() {
        let arrival = Arrival::now();
        arrival.ready();
        arrival.begin();
        let begun = arrival.begun.load(Ordering::Relaxed);
        std::thread::yield_now();
        arrival.begin();
        assert_eq!(arrival.begun.load(Ordering::Relaxed), begun);
    }
}
