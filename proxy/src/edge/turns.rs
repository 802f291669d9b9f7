//! Whose turn it is to compute: handshakes flow in, which cost a client next to nothing and the proxy a signature, and their results flow
//! out. A few at a time are among what the threads have to do next; the others wait in the order in which they came, so that however
//! many there are, a request of somebody else waits for a few of them at most.
//!
//! A turn ends when the handshake waits for its client: whoever stops in the middle takes no turn from others.

use crate::limits::HANDSHAKE_PATIENCE;
use std::future::poll_fn;
use std::mem::replace;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::timeout;

/// The turns.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Semaphore,
    waiting: AtomicUsize,
    most: usize,
}

/// Too many wait already, or the turn did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoTurn;

impl Turns {
    /// So many at a time, and so many that wait.
    pub(super) fn new(at_a_time: usize, waiting: usize) -> Self {
        Self { free: Semaphore::new(at_a_time.max(1)), waiting: AtomicUsize::new(0), most: waiting }
    }

    /// Does some work, and waits for a turn each time that there is something to do.
    ///
    /// # Errors
    /// [`NoTurn`]; the work is dropped then.
    pub(crate) async fn take<F: Future>(&self, work: F) -> Result<F::Output, NoTurn> {
        let mut work = pin!(work);
        loop {
            let turn = self.turn().await?;
            // Behind everything else that is ready, which is what makes it a turn.
            yield_now().await;
            let done = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
            drop(turn);
            if let Poll::Ready(output) = done {
                return Ok(output);
            }
            let mut woken = false;
            // The work has left word of whom to wake.
            poll_fn(|_| if replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, NoTurn> {
        if let Ok(turn) = self.free.try_acquire() {
            return Ok(turn);
        }
        let _waits = Waits::begin(&self.waiting, self.most).ok_or(NoTurn)?;
        // The semaphore is never closed.
        timeout(HANDSHAKE_PATIENCE, self.free.acquire()).await.ok().and_then(Result::ok).ok_or(NoTurn)
    }
}

/// One that waits, for as long as the value lives.
struct Waits<'t>(&'t AtomicUsize);

impl<'t> Waits<'t> {
    fn begin(waiting: &'t AtomicUsize, most: usize) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Self(waiting);
        (before < most).then_some(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::Arc;
    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    #[tokio::test]
    async fn a_few_of_many_come_before_what_is_ready_and_all_are_done() {
        let (turns, done) = (Arc::new(Turns::new(2, 1000)), Arc::<AtomicUsize>::default());
        let mut all = JoinSet::new();
        for _ in 0..500 {
            let (turns, done) = (Arc::clone(&turns), Arc::clone(&done));
            all.spawn(async move { turns.take(async { done.fetch_add(1, Ordering::Relaxed) }).await.unwrap() });
        }
        let other = tokio::spawn(async move {
            let (mut before, mut most) = (0, 0);
            while before < 500 {
                yield_now().await;
                let now = done.load(Ordering::Relaxed);
                most = most.max(now - before);
                before = now;
            }
            most
        });
        let most = other.await.unwrap();
        assert!(most <= 4, "{most} came before somebody else");
        assert_eq!(all.join_all().await.len(), 500);
    }

    #[tokio::test]
    async fn whoever_waits_for_its_client_takes_no_turn_from_others() {
        let turns = Arc::new(Turns::new(1, 1000));
        for _ in 0..50 {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.take(pending::<()>()).await });
        }
        let (told, tells) = (Arc::new(Notify::new()), Arc::clone(&turns));
        let heard = Arc::clone(&told);
        let slow = tokio::spawn(async move { tells.take(heard.notified()).await });
        assert_eq!(turns.take(async { 7 }).await, Ok(7));
        told.notify_one();
        assert_eq!(slow.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_may_wait_are_refused_at_once_and_nobody_waits_for_ever() {
        let turns = Arc::new(Turns::new(1, 1));
        let held = turns.free.acquire().await.unwrap();
        let waits = Arc::clone(&turns);
        let waiting = tokio::spawn(async move { waits.take(async {}).await });
        yield_now().await;
        assert_eq!(timeout(HANDSHAKE_PATIENCE / 2, turns.take(async {})).await.unwrap(), Err(NoTurn));
        assert_eq!(waiting.await.unwrap(), Err(NoTurn), "its time is over");
        drop(held);
        assert_eq!(turns.take(async {}).await, Ok(()));
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }
}
