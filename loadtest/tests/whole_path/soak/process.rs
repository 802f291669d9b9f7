//! What a process takes: its number flows in, its memory, descriptors and threads flow out, and are held against what they were.

use std::fs;

/// What `/proc` says.
#[derive(Clone, Debug)]
pub(super) struct Footprint {
    resident: u64,
    descriptors: usize,
    threads: u64,
}

impl Footprint {
    /// `None` for a process that is gone.
    pub(super) fn of(process: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        // Those of a process that shut itself in are shown to root alone.
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        Some(Self { resident: number("VmRSS:")? * 1024, descriptors, threads: number("Threads:")? })
    }

    /// Some more is the memory of what was seen on the way; without end it must not be.
    pub(super) fn assert_bounded(&self, before: &Self, when: &str) {
        assert!(self.resident < 2 * before.resident + ROOM, "{when}: {self:?}, at first {before:?}");
        assert!(self.descriptors < before.descriptors + DESCRIPTORS, "{when}: {self:?}, at first {before:?}");
        assert!(self.threads < before.threads + THREADS, "{when}: {self:?}, at first {before:?}");
    }
}

/// Bytes, beside twice of what there was.
const ROOM: u64 = 64 * 1024 * 1024;
const DESCRIPTORS: usize = 300;
/// Work on changes is done on threads that end after a while.
const THREADS: u64 = 64;
