//! The file with the keys by which the proxies of a cluster know one another: a path flows in, keys flow out, and again when the file
//! changes. A file that cannot be used at the start is a mistake in the flags; later its last good content holds and the log says so.

use super::mark::{KeyError, Keys};
use crate::limits::RELAY_KEY_CHECK;
use arc_swap::ArcSwap;
use nearside_admin::file_stamp::{Stamp, stamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// The file and what it held last. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct KeyFile {
    path: Arc<Path>,
    present: Arc<ArcSwap<Keys>>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds something else than keys.
    #[error("{} {source}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
}

impl KeyFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyFileError> {
        Ok(Self { path: path.into(), present: Arc::new(ArcSwap::from_pointee(read(path)?)) })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys as they are now.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.present.load_full()
    }

    /// Follows the file for ever.
    pub(crate) async fn follow(self) {
        let mut known = None;
        loop {
            tokio::time::sleep(RELAY_KEY_CHECK).await;
            let file = self.clone();
            // A panic while reading: what was read before holds.
            if let Ok(now) = spawn_blocking(move || file.refresh(known)).await {
                known = Some(now);
            }
        }
    }

    fn refresh(&self, known: Option<Stamp>) -> Stamp {
        let now = stamp(&self.path);
        if known == Some(now) {
            return now;
        }
        match read(&self.path) {
            // Read for the first time after the start, it has most likely not changed.
            Ok(keys) if known.is_none() => self.present.store(Arc::new(keys)),
            Ok(keys) => {
                tracing::info!(file = %self.path.display(), ?keys, "the keys of relays are read again");
                self.present.store(Arc::new(keys));
            }
            Err(error) => tracing::error!(%error, "the keys of relays cannot be used; the last good ones hold"),
        }
        now
    }
}

fn read(path: &Path) -> Result<Keys, KeyFileError> {
    let text = std::fs::read_to_string(path).map_err(|source| KeyFileError::Read { path: path.into(), source })?;
    text.parse().map_err(|source| KeyFileError::Keys { path: path.into(), source })
}
