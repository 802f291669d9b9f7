//! What the kernel counts of this process: `/proc` flows in, memory, descriptors and time flow out. Asked by the collectors
//! when somebody scrapes, and by `memory`.

use std::fs;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_files: u64,
    pub(super) cpu_seconds: f64,
}

/// Reads it; `None` where there is no `/proc`.
pub(super) fn read() -> Option<Process> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(Process {
        resident_bytes: bytes(&status, "VmRSS:")?,
        virtual_bytes: bytes(&status, "VmSize:")?,
        open_files: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        cpu_seconds: cpu_seconds(&fs::read_to_string("/proc/self/stat").ok()?)?,
    })
}

/// Memory that is resident, alone.
pub(crate) fn resident_bytes() -> Option<u64> {
    bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// A size of proc_pid_status(5), which are in KiB.
fn bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Time in user and kernel mode (proc_pid_stat(5), fields 14 and 15). The name in field 2 may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / TICKS)
}

/// `sysconf(_SC_CLK_TCK)` of every Linux.
const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_uses() {
        let process = read().unwrap();
        assert!(process.resident_bytes > 0 && process.virtual_bytes >= process.resident_bytes, "{process:?}");
        assert!(process.open_files > 0, "{process:?}");
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (x) S"), None);
    }
}
