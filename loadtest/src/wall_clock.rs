//! A wall clock for programs under test that can be set while they run: an offset flows in, the environment flows out with which a
//! program has it. Debian's libfaketime stands between a program, linked dynamically, and its C library; time that only passes
//! (`CLOCK_MONOTONIC`) stays right. Called by tests.

use anyhow::Result;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A clock. Gone with the value; programs that have it are to be gone before.
#[derive(Debug)]
pub struct WallClock {
    folder: TempDir,
    library: PathBuf,
}

impl WallClock {
    /// One that is right until it is set; `None` where the library is not installed.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn new() -> Result<Option<Self>> {
        // One folder for each architecture.
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let Some(library) = libraries.find(|library| library.is_file()) else { return Ok(None) };
        let clock = Self { folder: TempDir::new()?, library };
        clock.set("+0")?;
        Ok(Some(clock))
    }

    /// Moves it by this much from the true time, such as `+10m` or `-1y`.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn set(&self, offset: &str) -> Result<()> {
        let written = self.folder.path().join("next");
        fs::write(&written, offset)?;
        // Whoever looks sees the one or the other.
        Ok(fs::rename(written, self.file())?)
    }

    /// What a program is started with. It must be able to read a file that none of its flags names: no sandbox.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}
