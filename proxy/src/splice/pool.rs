//! The pipes that bytes are moved through: a wish for one flows in, an empty pipe flows out, or none once the budget is spent.
//! Asked by `relay` each time that it moves something. Only empty pipes come back; one with content is closed, content and all.

use super::counts::SpliceCounts;
use crate::limits::{GATHERING_TRANSFERS, PIPE_BUDGET, PIPE_LEAST, PIPE_SIZES, PIPES};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All pipes. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct PipePool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pipes: Mutex<Pipes>,
    counts: SpliceCounts,
    /// Transfers under way.
    transfers: AtomicUsize,
}

#[derive(Debug)]
struct Pipes {
    idle: Vec<Ends>,
    /// Pipes that there are, in use or not.
    count: usize,
    /// What is left of the bytes that all pipes together may hold.
    budget: usize,
}

/// A transfer.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Inner>);

impl UnderWay {
    /// Whether there are few others.
    pub(super) fn is_one_of_few(&self) -> bool {
        self.0.transfers.load(Ordering::Relaxed) <= GATHERING_TRANSFERS
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.transfers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The two ends of a pipe.
#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

/// A pipe in use.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Always there until it is dropped.
    ends: Option<Ends>,
    /// Bytes in it.
    pub(super) held: usize,
    pool: Arc<Inner>,
}

impl PipePool {
    /// Without any pipe yet; for good where bytes are to be copied (not `wanted`).
    pub(crate) fn new(counts: SpliceCounts, wanted: bool) -> Self {
        Self::with_budget(counts, if wanted { PIPE_BUDGET } else { 0 })
    }

    pub(super) fn with_budget(counts: SpliceCounts, budget: usize) -> Self {
        Self(Arc::new(Inner {
            pipes: Mutex::new(Pipes { idle: Vec::new(), count: 0, budget }),
            counts,
            transfers: AtomicUsize::new(0),
        }))
    }

    /// A transfer that is under way while the value lives.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.transfers.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.0))
    }

    /// An empty pipe, or none where there may be no more of them.
    pub(super) fn pipe(&self) -> Option<Pipe> {
        let mut pipes = self.0.pipes();
        let ends = match pipes.idle.pop() {
            Some(ends) => Some(ends),
            None => self.0.open(&mut pipes),
        };
        drop(pipes);
        if ends.is_none() {
            self.0.counts.none();
        }
        Some(Pipe { ends: Some(ends?), held: 0, pool: Arc::clone(&self.0) })
    }

    pub(super) fn counts(&self) -> &SpliceCounts {
        &self.0.counts
    }

    /// Pipes that wait for a use, and all that there are.
    #[cfg(test)]
    pub(super) fn idle_and_all(&self) -> (usize, usize) {
        let pipes = self.0.pipes();
        (pipes.idle.len(), pipes.count)
    }
}

impl Inner {
    fn pipes(&self) -> MutexGuard<'_, Pipes> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, pipes: &mut Pipes) -> Option<Ends> {
        if pipes.count >= PIPES || pipes.budget < PIPE_LEAST {
            return None;
        }
        let ends = Ends::open(pipes.budget).ok().flatten()?;
        pipes.count += 1;
        pipes.budget -= ends.capacity;
        self.counts.pipes.inc();
        self.counts.capacity.add(i64::try_from(ends.capacity).unwrap_or(i64::MAX));
        if ends.capacity < PIPE_SIZES[0] {
            self.counts.smaller();
        }
        Some(ends)
    }

    fn closed(&self, ends: &Ends) {
        let mut pipes = self.pipes();
        pipes.count -= 1;
        pipes.budget += ends.capacity;
        self.counts.pipes.dec();
        self.counts.capacity.sub(i64::try_from(ends.capacity).unwrap_or(i64::MAX));
    }
}

impl Ends {
    /// As large as the kernel grants it (`fs.pipe-max-size`, and `fs.pipe-user-pages-soft` without privileges), within so many bytes.
    fn open(budget: usize) -> Result<Option<Self>, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let fits = |size: &&usize| **size <= budget;
        let _granted = PIPE_SIZES.iter().filter(fits).find(|size| fcntl_setpipe_size(&write, **size).is_ok());
        let capacity = fcntl_getpipe_size(&write)?;
        // Where the pages of the user are used up the kernel gives pipes of one page or two, which move no more than a copy does.
        Ok((PIPE_LEAST..=budget).contains(&capacity).then_some(Self { read, write, capacity }))
    }
}

impl Pipe {
    /// Where bytes go in.
    pub(super) fn entrance(&self) -> Option<&OwnedFd> {
        self.ends.as_ref().map(|ends| &ends.write)
    }

    /// Where bytes come out.
    pub(super) fn exit(&self) -> Option<&OwnedFd> {
        self.ends.as_ref().map(|ends| &ends.read)
    }

    pub(super) fn capacity(&self) -> usize {
        self.ends.as_ref().map_or(0, |ends| ends.capacity)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        if self.held == 0 {
            self.pool.pipes().idle.push(ends);
        } else {
            self.pool.closed(&ends);
        }
    }
}
