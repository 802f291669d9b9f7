//! The lock on the directory of a manifest-mode controller: a path flows in, the sole right to write there flows out,
//! until it is dropped or the process ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The right to write in a directory.
#[derive(Debug)]
pub(crate) struct OutLock {
    directory: PathBuf,
    _file: File,
}

impl OutLock {
    /// Makes the directory if need be, and takes the lock.
    ///
    /// # Errors
    /// [`LockError`], also when another process holds it.
    pub(crate) fn take(directory: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { directory: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let file =
            File::options().create(true).write(true).truncate(false).open(directory.join(NAME)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_owned(), _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { directory: directory.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// What is locked.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// The directory cannot be written by this process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Two controllers would undo each other's work.
    #[error("--out {}: another controller writes there", directory.display())]
    Held {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory or the lock file cannot be made.
    #[error("--out {}: {source}", directory.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

const NAME: &str = ".lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_writer() {
        let root = tempfile::tempdir().unwrap();
        let first = OutLock::take(root.path()).unwrap();
        assert!(matches!(OutLock::take(root.path()), Err(LockError::Held { .. })));
        drop(first);
        OutLock::take(root.path()).unwrap();
    }
}
