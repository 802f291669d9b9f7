//! A timer for polled code: a duration flows in, readiness flows out once the time has come. Costs nothing until something
//! is waited for. Used by the sockets of clients and pods.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A point in time, or none.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// This long from now on.
    pub(crate) fn set(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.at = Some(at);
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(at);
        }
    }

    /// None any more.
    pub(crate) fn clear(&mut self) {
        self.at = None;
        self.sleep = None;
    }

    pub(crate) fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Ready once the time has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        sleep.as_mut().poll(cx)
    }
}
