//! What a server has used so far, with all of its processes: process ids come in, processor time in user and kernel mode and resident
//! memory as the kernel counts them come out. Called by the benchmarks of proxies and name servers.

use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The processor time of each thread up to a moment, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(in crate::bench) struct Processor(BTreeMap<u32, u64>);

impl Processor {
    /// Of a process and its children. A thread's time is what the scheduler counts, which is the sum of `utime` and `stime` without
    /// their rounding to hundredths of a second.
    pub(in crate::bench) fn of(process: u32) -> Result<Self> {
        let mut threads = BTreeMap::new();
        for process in tree(process)? {
            let Ok(entries) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for entry in entries {
                let path = entry?.path();
                // A thread may end at any time.
                let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
                let thread = path.file_name().and_then(|name| name.to_str()?.parse().ok());
                let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
                threads.insert(thread.context("a thread has a number")?, nanoseconds.context("schedstat has numbers")?);
            }
        }
        ensure!(!threads.is_empty(), "process {process} has ended");
        Ok(Self(threads))
    }

    /// What was used since an earlier moment. What a thread used that has ended in between is not known, and left out.
    pub(in crate::bench) fn since(&self, earlier: &Self) -> Duration {
        let used = |(thread, now): (&u32, &u64)| now.saturating_sub(earlier.0.get(thread).copied().unwrap_or_default());
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}

/// Memory that a process and its children hold; pages that they share count once, in parts.
pub(in crate::bench) fn resident(process: u32) -> Result<u64> {
    let mut kilobytes = 0;
    for process in tree(process)? {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).context("the memory of the process")?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup has Pss")?;
        kilobytes += line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(kilobytes * 1024)
}

/// A process and all that descend from it.
fn tree(process: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // The name in parentheses may hold anything; state and parent follow it (proc_pid_stat(5)).
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        parents.push((id, parent.unwrap_or_default()));
    }
    let mut all = vec![process];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        all.extend(parents.iter().filter(|(id, of)| *of == parent && *id != parent).map(|(id, _)| *id));
        at += 1;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_used_in_between_counts() {
        let earlier = Processor([(1, 5), (2, 7)].into());
        let later = Processor([(1, 9), (3, 2)].into());
        assert_eq!(later.since(&earlier), Duration::from_nanos(6));
    }

    #[test]
    fn a_running_process_has_time_and_memory() {
        let own = std::process::id();
        assert!(resident(own).unwrap() > 0);
        assert!(tree(own).unwrap().contains(&own));
        assert!(!Processor::of(own).unwrap().0.is_empty());
    }
}
