//! The place of the snapshot: a directory flows in, whether it can be used and whether it is kept in memory flows out.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes the directory, for us alone.
pub(super) fn prepare(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let metadata = fs::metadata(directory)?;
    // Of a volume that somebody else made, the files alone are for us only.
    if metadata.uid() == rustix::process::geteuid().as_raw() && metadata.permissions().mode() & 0o077 != 0 {
        drop(fs::set_permissions(directory, fs::Permissions::from_mode(0o700)));
    }
    Ok(())
}

/// Whether what is written there is gone with the power.
pub(super) fn is_in_memory(directory: &Path) -> io::Result<bool> {
    let kind = rustix::fs::statfs(directory)?.f_type;
    Ok(kind == TMPFS || kind == RAMFS)
}

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of `statfs(2)`.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
const RAMFS: rustix::fs::FsWord = 0x8584_58f6;
