//! The flags of the snapshot on disk, which all programs share: text flows in, settings flow out.

use std::path::{Path, PathBuf};

/// The flags as they were typed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SnapshotArguments {
    /// Keep what is known of the cluster in this directory, and start from it while the API server does not answer. Each
    /// program needs its own; in memory (an `emptyDir` with `medium: Memory`), or keys are left out.
    #[arg(long, env = "NEARSIDE_SNAPSHOT_DIR", value_name = "DIR")]
    snapshot_dir: Option<PathBuf>,
    /// Write private keys and passwords into the snapshot although its directory is not in memory.
    #[arg(long, env = "NEARSIDE_SNAPSHOT_KEYS_ON_DISK")]
    snapshot_keys_on_disk: bool,
}

/// Where the last known objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    pub(crate) directory: PathBuf,
    pub(crate) keys_on_disk: bool,
    pub(crate) at_once: bool,
}

impl SnapshotSettings {
    /// Where files come and go.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl SnapshotArguments {
    /// The settings; `None` where nothing is to be kept.
    pub fn into_settings(self) -> Option<SnapshotSettings> {
        let directory = self.snapshot_dir.filter(|directory| !directory.as_os_str().is_empty())?;
        Some(SnapshotSettings { directory, keys_on_disk: self.snapshot_keys_on_disk, at_once: false })
    }
}

impl SnapshotSettings {
    /// For a program that serves from what it knows: after a crash it serves at once from what it knew a moment ago, while it reads the
    /// cluster.
    #[must_use]
    pub fn used_at_once(self) -> Self {
        Self { at_once: true, ..self }
    }
}
