//! Who runs on which processor: those that this process may use come in, the one of the proxies and those of backend and clients
//! come out, and threads are bound to them. Called by `proxy` and by whoever starts a peer.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cores {
    /// Every proxy runs here, and nothing else of the benchmark.
    pub(super) proxy: usize,
    pub(super) client: usize,
    pub(super) backend: usize,
}

impl Cores {
    /// Of those that this thread may use: the first for the proxies, the others for the rest. With one processor all share it.
    pub(super) fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("the processors that may be used")?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        Self::of(&all).context("no processor may be used")
    }

    fn of(all: &[usize]) -> Option<Self> {
        let proxy = *all.first()?;
        let client = *all.get(1).unwrap_or(&proxy);
        Some(Self { proxy, client, backend: *all.get(2).unwrap_or(&client) })
    }

    /// Binds this thread, and what it starts from now on.
    pub(super) fn bind(core: usize) -> Result<()> {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set).with_context(|| format!("this thread cannot be bound to processor {core}"))
    }

    /// Starts something on the processor of the proxies. The caller is on that of the clients, and is so afterwards.
    pub(super) fn start_proxy<T>(self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        Self::bind(self.proxy)?;
        let started = start();
        Self::bind(self.client)?;
        started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_have_a_processor_of_their_own_as_soon_as_there_are_two() {
        let of = |all: &[usize]| Cores::of(all).map(|cores| (cores.proxy, cores.client, cores.backend));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3]), Some((3, 3, 3)));
        assert_eq!(of(&[0, 2]), Some((0, 2, 2)));
        assert_eq!(of(&[0, 1, 2, 3]), Some((0, 1, 2)));
    }
}
