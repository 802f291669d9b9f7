//! Idle connections to pods: connections flow in after an exchange, and out for the next one with the same endpoint. The one that was used last is used next, so that those that are not needed grow old and are closed. Time is an
//! argument; the task that closes old ones lives only while there are any.

use super::pod::PodSocket;
use crate::limits::{UPSTREAM_POOL, UPSTREAM_SWEEP};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::{Instant, sleep};

/// Idle connections, `T` being one.
#[derive(Debug)]
pub(super) struct Pool<T = Box<PodSocket>> {
    idle: Mutex<Idle<T>>,
}

#[derive(Debug)]
struct Idle<T> {
    /// By what they may be used for, those used last at the end.
    by_key: HashMap<u64, Vec<Parked<T>>>,
    count: usize,
    /// Whether a task looks after them.
    swept: bool,
}

#[derive(Debug)]
struct Parked<T> {
    connection: T,
    until: Instant,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { idle: Mutex::new(Idle { by_key: HashMap::new(), count: 0, swept: false }) }
    }
}

impl<T> Pool<T> {
    /// Takes the one that was used last, if it is not too old. Whether it is still open, its user must see.
    pub(super) fn take(&self, key: u64, now: Instant) -> Option<T> {
        let mut idle = self.idle();
        let parked = idle.by_key.get_mut(&key)?.pop()?;
        idle.count -= 1;
        (parked.until > now).then_some(parked.connection)
    }

    /// Keeps one, where there is room. Whether somebody must look after the pool from now on.
    fn keep(&self, key: u64, connection: T, until: Instant) -> bool {
        let mut idle = self.idle();
        if idle.count >= UPSTREAM_POOL {
            return false;
        }
        idle.count += 1;
        idle.by_key.entry(key).or_default().push(Parked { connection, until });
        !std::mem::replace(&mut idle.swept, true)
    }

    /// Gives out what has grown old or is not `usable` any more. Whether anything is left; if not, nobody looks after the pool.
    fn sweep(&self, now: Instant, usable: impl Fn(&T) -> bool) -> bool {
        let mut idle = self.idle();
        idle.by_key.retain(|_, parked| {
            parked.retain(|parked| parked.until > now && usable(&parked.connection));
            !parked.is_empty()
        });
        idle.count = idle.by_key.values().map(Vec::len).sum();
        idle.swept = idle.count > 0;
        idle.swept
    }

    fn idle(&self) -> MutexGuard<'_, Idle<T>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Keeps a connection until then.
    pub(super) fn put(pool: &Arc<Self>, key: u64, connection: Box<PodSocket>, until: Instant) {
        if pool.keep(key, connection, until) {
            let pool = Arc::downgrade(pool);
            tokio::spawn(async move {
                loop {
                    sleep(UPSTREAM_SWEEP).await;
                    if !pool.upgrade().is_some_and(|pool| pool.sweep(Instant::now(), |socket| socket.is_usable())) {
                        return;
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_one_used_last_is_used_next_and_only_for_the_same() {
        let (pool, now) = (Pool::default(), Instant::now());
        let until = now + Duration::from_secs(60);
        assert!(pool.keep(1, "first", until), "the first one has to be looked after");
        assert!(!pool.keep(1, "second", until) && !pool.keep(2, "other", until));
        assert_eq!(pool.take(1, now), Some("second"));
        assert_eq!(pool.take(1, now), Some("first"));
        assert_eq!((pool.take(1, now), pool.take(2, now)), (None, Some("other")));
    }

    #[test]
    fn old_and_broken_ones_go_and_the_last_look_ends_the_care() {
        let (pool, now) = (Pool::default(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        pool.keep(1, "old", later(10));
        pool.keep(1, "broken", later(60));
        pool.keep(2, "young", later(60));
        assert!(pool.sweep(later(20), |connection| *connection != "broken"));
        assert_eq!(pool.take(1, later(20)), None);
        assert_eq!(pool.take(2, later(70)), None, "nobody gets what is too old");
        assert!(!pool.sweep(later(70), |_| true));
        assert!(pool.keep(2, "next", later(99)), "and the next one is looked after again");
    }

    #[test]
    fn the_pool_is_bounded() {
        let (pool, now) = (Pool::default(), Instant::now());
        for number in 0..UPSTREAM_POOL as u64 * 2 {
            pool.keep(number, (), now + Duration::from_secs(1));
        }
        assert_eq!(pool.idle().count, UPSTREAM_POOL);
    }
}
