//! The fence before every write: until when this process holds the Lease flows in from the election, whether it may write at
//! this very moment flows out to the writers. The clock decides, not a message: a process that was stopped past its Lease
//! and goes on finds the fence closed, whatever it had begun.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    until: Arc<Mutex<Until>>,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    /// There is no election: nobody else writes.
    Always,
    Never,
    At(Instant),
}

impl Fence {
    /// For a process that is alone.
    pub(crate) fn open() -> Self {
        Self { until: Arc::new(Mutex::new(Until::Always)) }
    }

    /// For a candidate, which does not lead yet.
    pub(crate) fn closed() -> Self {
        Self { until: Arc::new(Mutex::new(Until::Never)) }
    }

    /// For how long a request that is sent now may take, at most `most`; `None` if none may be sent.
    pub(crate) fn allows(&self, most: Duration) -> Option<Duration> {
        self.allows_at(Instant::now(), most)
    }

    fn allows_at(&self, now: Instant, most: Duration) -> Option<Duration> {
        match *self.until.lock().unwrap_or_else(PoisonError::into_inner) {
            Until::Always => Some(most),
            Until::Never => None,
            Until::At(until) => {
                let left = until.saturating_duration_since(now);
                (!left.is_zero()).then(|| left.min(most))
            }
        }
    }

    /// The Lease is held until then; `None`: it is not.
    pub(super) fn set(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until.map_or(Until::Never, Until::At);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_with_the_lease_and_none_begins_after_it() {
        let (now, most) = (Instant::now(), Duration::from_secs(10));
        let fence = Fence::closed();
        assert_eq!(fence.allows_at(now, most), None);
        fence.set(Some(now + Duration::from_secs(8)));
        assert_eq!(fence.allows_at(now, most), Some(Duration::from_secs(8)));
        assert_eq!(fence.allows_at(now, Duration::from_secs(5)), Some(Duration::from_secs(5)));
        assert_eq!(fence.allows_at(now + Duration::from_secs(8), most), None, "nobody has to tell it");
        fence.set(None);
        assert_eq!(fence.allows_at(now, most), None);
        assert_eq!(Fence::open().allows_at(now, most), Some(most));
    }
}
