//! Pages of the operator's own for answers that no pod made: files flow in, for each status a page flows out, and again when a
//! file changes. A file that cannot be used at the start is a mistake in the flags; later its last good content holds and the
//! log says so.

mod page;

pub(crate) use page::{ErrorPage, html_fields};

use crate::limits::{ERROR_PAGE_BYTES, PAGE_FILE_CHECK};
use arc_swap::ArcSwap;
use nearside_admin::file_stamp::{Stamp, stamp};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// The pages. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorPages {
    files: Arc<BTreeMap<u16, PathBuf>>,
    present: Arc<ArcSwap<BTreeMap<u16, Arc<ErrorPage>>>>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub(crate) struct PageFileError {
    path: PathBuf,
    message: String,
}

impl ErrorPages {
    /// Reads every file, each for the answers of its status.
    ///
    /// # Errors
    /// Every one that cannot be used.
    pub(crate) fn read(files: BTreeMap<u16, PathBuf>) -> Result<Self, Vec<PageFileError>> {
        let (mut pages, mut errors) = (BTreeMap::new(), Vec::new());
        for (status, path) in &files {
            match read(*status, path) {
                Ok(page) => drop(pages.insert(*status, Arc::new(page))),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { files: Arc::new(files), present: Arc::new(ArcSwap::from_pointee(pages)) })
    }

    /// Its files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.values().map(PathBuf::as_path)
    }

    /// The page for answers of a status, where there is one.
    pub(crate) fn of(&self, status: u16) -> Option<Arc<ErrorPage>> {
        self.present.load().get(&status).cloned()
    }

    /// Follows the files for ever; ends at once where there are none.
    pub(crate) async fn follow(self) {
        let mut known: BTreeMap<u16, Stamp> = BTreeMap::new();
        while !self.files.is_empty() {
            tokio::time::sleep(PAGE_FILE_CHECK).await;
            let pages = self.clone();
            let before = known.clone();
            // A panic while reading: what was read before holds.
            if let Ok(stamps) = spawn_blocking(move || pages.refresh(&before)).await {
                known = stamps;
            }
        }
    }

    fn refresh(&self, known: &BTreeMap<u16, Stamp>) -> BTreeMap<u16, Stamp> {
        let mut stamps = BTreeMap::new();
        let mut pages = BTreeMap::clone(&self.present.load());
        for (status, path) in self.files.iter() {
            let now = stamp(path);
            stamps.insert(*status, now);
            if known.get(status) == Some(&now) {
                continue;
            }
            match read(*status, path) {
                Ok(page) if pages.get(status).is_some_and(|last| **last == page) => {}
                Ok(page) => {
                    tracing::info!(file = %path.display(), "an error page has changed");
                    pages.insert(*status, Arc::new(page));
                }
                Err(error) => tracing::error!(%error, "an error page cannot be used; its last good content holds"),
            }
        }
        self.present.store(Arc::new(pages));
        stamps
    }
}

fn read(status: u16, path: &Path) -> Result<ErrorPage, PageFileError> {
    let fault = |message: String| PageFileError { path: path.into(), message };
    let bytes = bounded(path).map_err(|error| fault(error.to_string()))?;
    ErrorPage::parse(status, &bytes).map_err(|error| fault(error.to_string()))
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(ERROR_PAGE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > ERROR_PAGE_BYTES {
        return Err(io::Error::other(format!("is larger than {ERROR_PAGE_BYTES} bytes")));
    }
    Ok(bytes)
}
