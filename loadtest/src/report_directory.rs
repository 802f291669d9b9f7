//! Where a run leaves its figures and the logs of the programs: what its user said flows in, a directory that is there flows out.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// The directory that was asked for, else one of this process in the system's temporary one; as an absolute path.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn report_directory(wanted: Option<&Path>, name: &str) -> Result<PathBuf> {
    let directory = match wanted {
        Some(directory) => directory.to_owned(),
        None => std::env::temp_dir().join(format!("{name}-{}", std::process::id())),
    };
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    directory.canonicalize().with_context(|| format!("cannot find {}", directory.display()))
}
