//! What a process has used so far: a process id comes in, processor time and memory as the kernel counts them come out.

use anyhow::{Context as _, Result};
use std::fs;
use std::time::Duration;

/// See the module head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// In user and kernel mode, of all threads.
    pub(super) processor: Duration,
    /// Bytes of memory that are resident.
    pub(super) resident: u64,
}

impl Usage {
    pub(super) fn of(process: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the process has ended")?;
        // The name in parentheses may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        let resident: u64 = resident.trim().trim_end_matches(" kB").parse().context("no resident size")?;
        let processor = Duration::from_millis((ticks(USER) + ticks(SYSTEM)) * TICK);
        Ok(Self { processor, resident: resident * 1024 })
    }
}

/// Places of `utime` and `stime` behind the name (proc_pid_stat(5)).
const USER: usize = 11;
const SYSTEM: usize = 12;
/// Milliseconds: `USER_HZ` is 100 wherever Linux runs.
const TICK: u64 = 10;
