//! Relaying, the exception that an operator switches on: what this node may relay at present, and how the proxies of a cluster
//! know one another. Settings flow in, leave to relay, the pace of what is relayed and marks flow out. Asked by `http::relay`.

mod key_file;
mod limits;
mod mark;

use crate::limits::{RELAY_PATIENCE, RELAYS};
pub(crate) use key_file::KeyFile;
use limits::{Budget, Share};
pub(crate) use mark::{Keys, MARK, Told};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much may be relayed.
#[derive(Clone, Debug)]
pub(crate) struct RelayConfig {
    /// By which proxies know one another.
    pub(crate) keys: KeyFile,
    /// Of a hundred responses, how many may be relayed.
    pub(crate) share: u32,
    /// Bytes of relayed responses a second.
    pub(crate) rate: u64,
    /// Bytes of one relayed response.
    pub(crate) response_bytes: u64,
}

/// The settings and what was relayed lately.
#[derive(Debug)]
pub(crate) struct Relays {
    config: RelayConfig,
    started: Instant,
    share: Mutex<Share>,
    budget: Mutex<Budget>,
    places: Arc<Semaphore>,
}

impl Relays {
    /// That has relayed nothing yet.
    pub(crate) fn new(config: RelayConfig) -> Self {
        Self {
            budget: Mutex::new(Budget::new(config.rate)),
            config,
            started: Instant::now(),
            share: Mutex::default(),
            places: Arc::new(Semaphore::new(RELAYS)),
        }
    }

    /// By which proxies know one another.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.config.keys.keys()
    }

    /// Bytes of one relayed response.
    pub(crate) fn response_bytes(&self) -> u64 {
        self.config.response_bytes
    }

    /// A response was this node's own.
    pub(crate) fn answered(&self) {
        self.share.lock().unwrap_or_else(PoisonError::into_inner).answered(self.started.elapsed());
    }

    /// Leave to relay one more request, while the value lives; `None` where a limit is reached.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        let now = self.started.elapsed();
        if self.budget.lock().unwrap_or_else(PoisonError::into_inner).wait(now) > RELAY_PATIENCE {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        share.admit(now, self.config.share).then_some(place)
    }

    /// So many bytes of a relayed response are about to be sent; gives the time to wait first.
    pub(crate) fn spend(&self, bytes: u64) -> Duration {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).spend(bytes, self.started.elapsed())
    }
}
