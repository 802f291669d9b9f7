//! The streams of a connection over HTTP/2: each begins and ends, and whether there is one, or since when there is none, flows out.

use super::Connection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::SetOnce;
use tokio::time::Instant;

/// How many there are.
#[derive(Debug)]
pub(crate) struct Streams {
    count: Mutex<Count>,
    /// The first one has begun.
    first: SetOnce<()>,
}

#[derive(Debug)]
struct Count {
    under_way: usize,
    /// When the last one ended, or the connection began.
    since: Instant,
}

/// One of them, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Stream(Arc<Connection>);

impl Default for Streams {
    fn default() -> Self {
        Self { count: Mutex::new(Count { under_way: 0, since: Instant::now() }), first: SetOnce::new() }
    }
}

impl Streams {
    /// Since when there is none; `None` while there is one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let count = self.count();
        (count.under_way == 0).then_some(count.since)
    }

    /// Waits until there has been one.
    pub(crate) async fn begun(&self) {
        self.first.wait().await;
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// One more on this connection.
    pub(crate) fn begin(connection: &Arc<Connection>) -> Self {
        connection.streams.count().under_way += 1;
        // Of the others nobody is told.
        drop(connection.streams.first.set(()));
        Self(Arc::clone(connection))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut count = self.0.streams.count();
        count.under_way -= 1;
        count.since = Instant::now();
    }
}
