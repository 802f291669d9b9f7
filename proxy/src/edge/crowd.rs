//! How near the proxy is to as many connections as it may have: their number flows in, how long a connection may wait for a request flows
//! out. The nearer, the shorter: whoever has waited longest goes first, and a crowd of idle clients keeps nobody else out.

use crate::lifecycle::Lifecycle;
use crate::limits::TIGHT_IDLE;
use std::future::pending;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The connections, as far as there are too many.
#[derive(Debug)]
pub(crate) struct Crowd {
    lifecycle: Lifecycle,
    /// How long they may wait; `None` for as long as they may at other times.
    patience: watch::Sender<Option<Duration>>,
}

impl Crowd {
    /// Of a process.
    pub(super) fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle, patience: watch::Sender::new(None) }
    }

    /// Looks at their number, which has changed.
    pub(crate) fn look(&self) {
        let now = patience(self.lifecycle.connections(), self.lifecycle.most() as usize);
        self.patience.send_if_modified(|patience| std::mem::replace(patience, now) != now);
    }

    /// Returns once a connection has waited for longer than it may. `since` tells from when on it has; `None` where it does not, and is
    /// asked again later.
    pub(crate) async fn idled(&self, since: impl Fn() -> Option<Instant>) {
        let mut changes = self.patience.subscribe();
        loop {
            let patience = *changes.borrow_and_update();
            let due = async {
                match patience {
                    Some(patience) => {
                        sleep_until(since().unwrap_or_else(Instant::now) + patience).await;
                        patience
                    }
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                // The sender lives as long as this value.
                _ = changes.changed() => {}
                patience = due => {
                    // Others may have gone meanwhile, and nobody has looked since.
                    self.look();
                    let present = *self.patience.borrow();
                    let waited = since().map(|since| since.elapsed());
                    if present.is_some_and(|present| present <= patience) && waited >= Some(patience) {
                        return;
                    }
                }
            }
        }
    }
}

/// How long a connection may wait among so many.
fn patience(connections: usize, most: usize) -> Option<Duration> {
    let percent = connections as u128 * 100 / (most as u128).max(1);
    STEPS.into_iter().find(|(from, _)| percent >= *from).map(|(_, patience)| patience)
}

/// From how many connections on, in percent of all that may be, for how long one may wait.
pub(super) const STEPS: [(u128, Duration); 3] =
    [(98, TIGHT_IDLE), (95, Duration::from_secs(5)), (90, Duration::from_secs(30))];

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[test]
    fn the_more_there_are_the_shorter_they_may_wait() {
        let seconds = |connections| patience(connections, 1000).map(|patience| patience.as_secs());
        assert_eq!(
            [0, 899, 900, 949, 950, 979, 980, 1000].map(seconds),
            [None, None, Some(30), Some(30), Some(5), Some(5), Some(1), Some(1)]
        );
        assert_eq!((patience(0, 0), patience(7, 8)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_sent_away_in_a_crowd_and_only_then() {
        let lifecycle = Lifecycle::serving(10);
        let crowd = Crowd::new(lifecycle.clone());
        let mut open = Vec::new();
        for _ in 0..8 {
            open.push(lifecycle.admit().await);
        }
        crowd.look();
        let since = Instant::now();
        let idle = || crowd.idled(|| Some(since));
        assert!(timeout(Duration::from_secs(3600), idle()).await.is_err(), "there is room");
        let idle_from_now = Instant::now();
        let waiting = crowd.idled(|| Some(idle_from_now));
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_secs(60), &mut waiting).await.is_err());
        open.push(lifecycle.admit().await);
        crowd.look();
        assert!(timeout(Duration::from_millis(1), &mut waiting).await.is_ok(), "it has waited for long enough");
        let fresh = Instant::now();
        let waiting = crowd.idled(|| Some(fresh));
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_secs(20), &mut waiting).await.is_err(), "it has not");
        open.truncate(5);
        assert!(timeout(Duration::from_secs(3600), &mut waiting).await.is_err(), "others have gone, and nobody looked");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_wait_stays() {
        let lifecycle = Lifecycle::serving(1);
        let crowd = Crowd::new(lifecycle.clone());
        let _all = lifecycle.admit().await;
        crowd.look();
        let busy = crowd.idled(|| None);
        assert!(timeout(Duration::from_secs(3600), busy).await.is_err());
    }
}
