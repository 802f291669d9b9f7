//! How many requests for pods are under way: each takes a place and gives it back. Streams of HTTP/2 are many on one connection, and each
//! may need a connection to a pod; so their number is bounded by that of connections, for which there are descriptors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The requests of all routes.
#[derive(Debug)]
pub(super) struct Requests {
    under_way: Arc<AtomicUsize>,
    most: usize,
}

/// One request, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<AtomicUsize>);

impl Requests {
    pub(super) fn new(most: usize) -> Self {
        Self { under_way: Arc::default(), most }
    }

    /// One more; `None` where there are as many as there may be.
    pub(super) fn begin(&self) -> Option<UnderWay> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        // Counted in any case; a refusal takes it back at once.
        let place = UnderWay(Arc::clone(&self.under_way));
        (before < self.most).then_some(place)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_makes_room_and_a_refusal_takes_none() {
        let requests = Requests::new(2);
        let (one, _two) = (requests.begin().unwrap(), requests.begin().unwrap());
        assert!(requests.begin().is_none() && requests.begin().is_none());
        drop(one);
        let _three = requests.begin().unwrap();
        assert!(requests.begin().is_none());
    }
}
