//! The processor time of a process and all of its threads: a process id comes in, nanoseconds as the scheduler counts them come out.
//! Finer than the ticks of `/proc/PID/stat`, which are a hundredth of a second. Called by `throughput`.

use anyhow::{Context as _, Result};
use std::fs;
use std::time::Duration;

/// In user and kernel mode, of all threads that have not ended.
pub(super) fn used(process: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{process}/task")).context("the server has ended")? {
        let text = fs::read_to_string(thread?.path().join("schedstat")).context("/proc has no schedstat")?;
        let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
        sum += Duration::from_nanos(nanoseconds.context("schedstat begins with nanoseconds")?);
    }
    Ok(sum)
}
