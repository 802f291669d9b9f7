//! What is known of one endpoint as long as it exists, whatever becomes of tables and Services: how busy it is.
//! `builder` makes them, `backends` reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Tracked {
    id: u64,
    in_flight: AtomicUsize,
}

impl Tracked {
    /// Of an endpoint that is new.
    pub(super) fn new() -> Self {
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), in_flight: AtomicUsize::new(0) }
    }

    /// Tells it from every other endpoint of this process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Requests and passed-through connections that it is busy with.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// A request that an endpoint is busy with while the value lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Tracked>);

impl InFlight {
    /// Begins one.
    pub(super) fn begin(tracked: &Arc<Tracked>) -> Self {
        tracked.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(tracked))
    }

    /// Whose it is.
    pub(crate) fn endpoint(&self) -> &Tracked {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);
