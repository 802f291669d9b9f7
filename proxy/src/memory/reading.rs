//! What the kernel says of the memory in use: files of `/proc` and of the cgroup flow in, a limit and readings flow out. Asked by
//! `memory`. A container's memory holds the buffers of its sockets and pipes too, a process's own does not.

use super::MemoryLimit;
use crate::metrics::resident_bytes;
use std::fs;
use std::path::{Path, PathBuf};

/// Where a reading comes from, and the limit that it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// In bytes.
    pub(super) limit: u64,
    /// The cgroup; the process itself where there is none.
    group: Option<PathBuf>,
}

impl Account {
    /// None where there is no limit.
    pub(super) fn of(limit: MemoryLimit) -> Option<Self> {
        match limit {
            MemoryLimit::None => None,
            MemoryLimit::Bytes(limit) => Some(Self { limit, group: None }),
            MemoryLimit::OfContainer => {
                let group = group(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
                Self::of_group(&group)
            }
        }
    }

    fn of_group(group: &Path) -> Option<Self> {
        let limit = fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()?;
        Some(Self { limit, group: Some(group.to_owned()) })
    }

    /// Bytes in use; of a container without what the kernel can drop at any time.
    pub(super) fn used(&self) -> Option<u64> {
        let Some(group) = &self.group else { return resident_bytes() };
        let all: u64 = fs::read_to_string(group.join("memory.current")).ok()?.trim().parse().ok()?;
        let files = field(&fs::read_to_string(group.join("memory.stat")).ok()?, "inactive_file");
        Some(all.saturating_sub(files.unwrap_or_default()))
    }
}

/// A number of `memory.stat`, in bytes.
fn field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The process's own cgroup (cgroup v2), from `/proc/self/cgroup`.
fn group(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_without_what_can_be_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("memory.max", "max\n");
        assert_eq!(Account::of_group(folder.path()), None, "no limit");
        put("memory.max", "536870912\n");
        let account = Account::of_group(folder.path()).unwrap();
        assert_eq!((account.limit, account.used()), (536_870_912, None));
        put("memory.current", "300000\n");
        put("memory.stat", "anon 1000\nfile 200000\ninactive_file 100000\nsock 5\n");
        assert_eq!(account.used(), Some(200_000));
    }

    #[test]
    fn a_process_is_read_whole() {
        let account = Account::of(MemoryLimit::Bytes(1000)).unwrap();
        assert!(account.limit == 1000 && account.used().unwrap() > 100_000);
        assert_eq!(Account::of(MemoryLimit::None), None);
    }

    #[test]
    fn the_own_cgroup_is_that_of_version_2() {
        assert_eq!(group("0::/\n"), Some(PathBuf::from("/sys/fs/cgroup/")));
        assert_eq!(group("1:cpu:/x\n0::/a/b\n"), Some(PathBuf::from("/sys/fs/cgroup/a/b")));
        assert_eq!(group("4:memory:/x\n"), None);
    }
}
