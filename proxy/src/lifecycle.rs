//! From serving to the end: the wish to end flows in from `main`, and every part that must behave differently asks here.
//! Connections hold a [`Busy`] guard, so that the drain knows when the last one is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Where the process is in its life. Clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    leaving: Arc<AtomicBool>,
    succeeded: Arc<watch::Sender<bool>>,
    going: Arc<watch::Sender<bool>>,
    draining: Arc<watch::Sender<bool>>,
    idle_closed: Arc<watch::Sender<bool>>,
    connections: Arc<Semaphore>,
    most: u32,
}

/// A connection that is served.
pub(crate) type Busy = OwnedSemaphorePermit;

impl Lifecycle {
    /// A process that serves at most this many connections at a time.
    pub(crate) fn serving(most: u32) -> Self {
        Self {
            leaving: Arc::default(),
            succeeded: Arc::new(watch::Sender::new(false)),
            going: Arc::new(watch::Sender::new(false)),
            draining: Arc::new(watch::Sender::new(false)),
            idle_closed: Arc::new(watch::Sender::new(false)),
            connections: Arc::new(Semaphore::new(most as usize)),
            most,
        }
    }

    /// From now on each HTTP/1.1 response asks its client to close, so that clients move on while this node still
    /// accepts connections.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether clients are asked to go.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.is_succeeded()
    }

    /// Another process of this node serves in the place of this one: clients are asked to make their next connection, which is its.
    pub(crate) fn hand_over(&self) {
        self.succeeded.send_replace(true);
        self.going.send_replace(true);
    }

    /// The other process is gone. Clients that were asked to go go, and new ones stay.
    pub(crate) fn take_back(&self) {
        self.succeeded.send_replace(false);
        self.going.send_replace(*self.draining.borrow());
    }

    /// Whether another process serves in the place of this one.
    pub(crate) fn is_succeeded(&self) -> bool {
        *self.succeeded.borrow()
    }

    /// Waits for [`Self::hand_over`].
    pub(crate) async fn succeeded(&self) {
        // The sender lives as long as this value.
        drop(self.succeeded.subscribe().wait_for(|succeeded| *succeeded).await);
    }

    /// Whether new clients of this node are not served for much longer.
    pub(crate) fn is_node_left(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) && !self.is_succeeded()
    }

    /// No connection is accepted from now on; HTTP/2 connections get GOAWAY.
    pub(crate) fn drain(&self) {
        self.leave();
        self.draining.send_replace(true);
        self.going.send_replace(true);
    }

    /// True while HTTP/2 connections are told to go.
    pub(crate) fn going(&self) -> watch::Receiver<bool> {
        self.going.subscribe()
    }

    /// Turns true when the drain begins.
    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Connections that wait for a request over HTTP/1, or for their first byte, are closed from now on.
    pub(crate) fn close_idle(&self) {
        self.idle_closed.send_replace(true);
    }

    /// Waits for [`Self::close_idle`].
    pub(crate) async fn idle_closed(&self) {
        // The sender lives as long as this value.
        drop(self.idle_closed.subscribe().wait_for(|closed| *closed).await);
    }

    /// Room for one more connection, where there is some.
    pub(crate) fn try_admit(&self) -> Option<Busy> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// Waits for room for one more connection.
    pub(crate) async fn admit(&self) -> Busy {
        let permit = Arc::clone(&self.connections).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Connections that are served at most.
    pub(crate) fn most(&self) -> u32 {
        self.most
    }

    /// Connections that are served now.
    pub(crate) fn connections(&self) -> usize {
        (self.most as usize).saturating_sub(self.connections.available_permits())
    }

    /// Waits until no connection is served, but not longer than this; gives the number of those that are left.
    pub(crate) async fn drained(&self, timeout: Duration) -> usize {
        match tokio::time::timeout(timeout, self.connections.acquire_many(self.most)).await {
            Ok(_) => 0,
            Err(_) => self.connections(),
        }
    }
}
