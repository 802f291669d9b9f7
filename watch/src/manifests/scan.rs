//! The walk through the manifest directories: roots flow in, the files that are there and the places that cannot be read
//! flow out. It looks at names and metadata only.

use crate::limits::{MANIFEST_DEPTH, MANIFEST_FILES};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The manifest files with what tells one version from the next; in path order within the order of the roots.
    pub(super) files: BTreeMap<FilePath, Stamp>,
    /// Files and directories that exist but cannot be read, and roots that do not exist: nothing is known of what is
    /// below them.
    pub(super) unreadable: BTreeMap<PathBuf, String>,
}

/// A file below the root at a position. Orders by precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FilePath {
    pub(super) root: usize,
    pub(super) path: PathBuf,
}

/// What changes when the contents of a file change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    pub(super) modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file changed within this time before `now`, or after it.
    pub(super) fn is_younger_than(&self, age: Duration, now: SystemTime) -> bool {
        let since = |(seconds, nanoseconds): (i64, i64)| {
            Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0))
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(since(self.modified).max(since(self.changed))) < age
    }
}

/// Walks through all roots.
pub(super) fn scan(roots: &[PathBuf]) -> Scan {
    let mut scan = Scan::default();
    for (position, root) in roots.iter().enumerate() {
        match fs::metadata(root) {
            Ok(metadata) if metadata.is_dir() => scan.directory(position, root, 0),
            // A file that is named itself is read whatever its name is.
            Ok(metadata) => scan.file(position, root, &metadata),
            Err(error) => scan.fail(root, &error),
        }
    }
    scan
}

/// What tells whether a directory is still the one that is watched.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Scan {
    fn directory(&mut self, root: usize, path: &Path, depth: usize) {
        if depth > MANIFEST_DEPTH {
            self.unreadable.insert(path.to_owned(), format!("more than {MANIFEST_DEPTH} directories deep"));
            return;
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            // It went between the listing of its parent and now.
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return,
            Err(error) => return self.fail(path, &error),
        };
        for entry in entries {
            match entry {
                Ok(entry) if is_hidden(&entry.file_name()) => {}
                Ok(entry) => self.entry(root, &entry.path(), depth),
                Err(error) => self.fail(path, &error),
            }
        }
    }

    /// Symbolic links are followed: a ConfigMap volume consists of them.
    fn entry(&mut self, root: usize, path: &Path, depth: usize) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.directory(root, path, depth + 1),
            Ok(metadata) if metadata.is_file() && is_manifest(path) => self.file(root, path, &metadata),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {}
            // A link that leads nowhere: what it led to may come back.
            Err(error) => self.fail(path, &error),
        }
    }

    fn file(&mut self, root: usize, path: &Path, metadata: &Metadata) {
        if self.files.len() >= MANIFEST_FILES {
            self.unreadable.insert(path.to_owned(), format!("more than {MANIFEST_FILES} files"));
            return;
        }
        self.files.insert(FilePath { root, path: path.to_owned() }, Stamp::of(metadata));
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        self.unreadable.insert(path.to_owned(), error.to_string());
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
