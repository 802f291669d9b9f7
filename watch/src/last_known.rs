//! The last known good objects on disk: what the selections of a program hold flows in, files flow out, and from there back in
//! when the program starts without an API server. One file a selection, replaced as a whole, so a crash leaves the old one.
//! `source` makes a store where `--snapshot-dir` is given; `merge` records into it, `changes` reads it.

mod arguments;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod recorder;
mod volume;

pub use arguments::{SnapshotArguments, SnapshotSettings};
pub(crate) use file::cluster;
pub use file::{Problem as SnapshotProblem, SnapshotError};
pub(crate) use recorder::Recorder;

use crate::limits::{SNAPSHOT_BYTES, SNAPSHOT_PATIENCE, SNAPSHOT_RECENT, SNAPSHOT_RECENT_PATIENCE};
use crate::sealed::replace;
use crate::{Object, ObjectKey, Selection};
use file::Described;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The files of one program, in a directory of its own.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Which cluster the objects are of.
    cluster: String,
    /// Whether private keys and passwords may be written.
    keeps_keys: bool,
    at_once: bool,
    pending: Mutex<HashMap<PathBuf, Pending>>,
    /// Held while files are written.
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    /// Whether it was said that the disk does not take what is written.
    told_failure: bool,
}

/// Objects as they are written; `None` for those that are gone.
type Encoded = BTreeMap<ObjectKey, Option<Vec<u8>>>;

/// What a file has yet to take in.
#[derive(Debug)]
struct Pending {
    selection: Selection,
    /// Whether what the file holds counts no more.
    whole: bool,
    /// Whether it was ever listed as a whole; before, there is nothing to write.
    listed: bool,
    objects: Encoded,
}

/// What was read of a selection.
#[derive(Debug)]
pub(crate) struct LastKnown {
    pub(crate) objects: Vec<Object>,
    /// When it was as the cluster had it.
    pub(crate) at: SystemTime,
}

impl Store {
    /// Opens the directory, and makes it where it is not there.
    ///
    /// # Errors
    /// [`SnapshotError::Directory`] where it cannot be made or used.
    pub(crate) fn open(settings: &SnapshotSettings, cluster: String) -> Result<Self, SnapshotError> {
        let directory = settings.directory.clone();
        let failed = |error| SnapshotError::Directory { directory: directory.clone(), error };
        volume::prepare(&directory).map_err(failed)?;
        let in_memory = volume::is_in_memory(&directory).map_err(failed)?;
        let keeps_keys = in_memory || settings.keys_on_disk;
        if !keeps_keys {
            tracing::warn!(
                directory = %directory.display(),
                "the snapshot directory is not in memory (tmpfs): Secrets and Routes with a key are left out of it; \
                 --snapshot-keys-on-disk writes them all the same"
            );
        }
        let inner = Inner {
            directory,
            cluster,
            keeps_keys,
            at_once: settings.at_once,
            pending: Mutex::default(),
            writing: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// For how long the first lists are waited for before what is known is used, when the oldest of it is from then.
    pub(crate) fn patience(&self, oldest: SystemTime, now: SystemTime) -> Duration {
        let recent = now.duration_since(oldest).is_ok_and(|age| age <= SNAPSHOT_RECENT);
        if self.inner.at_once && recent { SNAPSHOT_RECENT_PATIENCE } else { SNAPSHOT_PATIENCE }
    }

    /// Reads what is known of a selection. What cannot be used is told, and is as if it were not there.
    pub(crate) fn load(&self, selection: &Selection) -> Option<LastKnown> {
        let path = self.path(selection);
        match self.read(&path, selection) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("{error}; it is not used");
                None
            }
        }
    }

    fn read(&self, path: &Path, selection: &Selection) -> Result<Option<LastKnown>, SnapshotError> {
        let Some((bytes, at)) = bytes_of(path).map_err(|error| SnapshotError::read(path, error))? else {
            return Ok(None);
        };
        let described = self.described(selection);
        let objects = file::read(&bytes, &described).map_err(|problem| problem.of(path))?;
        Ok(Some(LastKnown { objects: objects.decode(selection.kind).map_err(|problem| problem.of(path))?, at }))
    }

    /// Writes what has changed. Blocks; a full disk costs only the snapshot.
    pub(crate) fn flush(&self) {
        let mut writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let paths: Vec<PathBuf> =
            self.pending().iter().filter(|(_, it)| it.is_due()).map(|(path, _)| path.clone()).collect();
        for path in paths {
            let Some((selection, whole, objects)) = self.take(&path) else { continue };
            match self.write(&path, &selection, whole, &objects) {
                Ok(()) => writing.told_failure = false,
                // Only another list can make it whole.
                Err(error @ (SnapshotError::Gone { .. } | SnapshotError::Refused { .. })) => {
                    self.note(&selection, |pending| pending.listed = false);
                    tracing::warn!("{error}; it is written anew with the next list");
                }
                Err(error) => {
                    self.put_back(&path, whole, objects);
                    if !std::mem::replace(&mut writing.told_failure, true) {
                        tracing::warn!("{error}; the program goes on without, and tries again");
                    }
                }
            }
        }
    }

    /// Removes what is kept of a selection.
    pub(crate) fn forget(&self, selection: &Selection) {
        let path = self.path(selection);
        self.pending().remove(&path);
        // One that was never written is not there.
        drop(fs::remove_file(path));
    }

    /// Notes that a selection is as its cluster has it.
    pub(crate) fn touch(&self, selection: &Selection) {
        if let Ok(file) = File::options().write(true).open(self.path(selection)) {
            // Costs only the age that is shown.
            drop(file.set_modified(SystemTime::now()));
        }
    }

    fn take(&self, path: &Path) -> Option<(Selection, bool, Encoded)> {
        let mut pending = self.pending();
        let pending = pending.get_mut(path)?;
        let whole = std::mem::replace(&mut pending.whole, false);
        Some((pending.selection.clone(), whole, std::mem::take(&mut pending.objects)))
    }

    fn put_back(&self, path: &Path, whole: bool, objects: Encoded) {
        if let Some(pending) = self.pending().get_mut(path) {
            // What came meanwhile is newer.
            if !pending.whole {
                pending.whole = whole;
                for (key, object) in objects {
                    pending.objects.entry(key).or_insert(object);
                }
            }
        }
    }

    fn write(&self, path: &Path, selection: &Selection, whole: bool, objects: &Encoded) -> Result<(), SnapshotError> {
        let described = self.described(selection);
        let old = if whole { None } else { bytes_of(path).map_err(|error| SnapshotError::read(path, error))? };
        let mut kept = match &old {
            Some((bytes, _)) => file::read(bytes, &described).map_err(|problem| problem.of(path))?.keyed(),
            None if whole => BTreeMap::new(),
            None => return Err(SnapshotError::Gone { path: path.to_owned() }),
        };
        for (key, object) in objects {
            let key = (key.namespace.to_string(), key.name.to_string());
            match object {
                Some(object) => kept.insert(key, object),
                None => kept.remove(&key),
            };
        }
        let bytes = file::write(&described, kept.into_values());
        replace(path, &bytes).map_err(|error| SnapshotError::Write { path: path.to_owned(), error })
    }

    fn described(&self, selection: &Selection) -> Described {
        Described::new(&self.inner.cluster, selection)
    }

    fn path(&self, selection: &Selection) -> PathBuf {
        self.inner.directory.join(file::name(selection))
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<PathBuf, Pending>> {
        self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, selection: &Selection, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending();
        let entry = pending.entry(self.path(selection));
        change(entry.or_insert_with(|| Pending {
            selection: selection.clone(),
            whole: false,
            listed: false,
            objects: BTreeMap::new(),
        }));
    }

    /// The text of an object as it may be kept; `None` where it may not.
    fn encode(&self, object: &Object) -> Option<Vec<u8>> {
        if !self.inner.keeps_keys && object.holds_keys() {
            return None;
        }
        object.encode().ok()
    }
}

impl Pending {
    fn is_due(&self) -> bool {
        self.listed && (self.whole || !self.objects.is_empty())
    }
}

/// The bytes of a file and its time; `None` where there is none.
fn bytes_of(path: &Path) -> io::Result<Option<(Vec<u8>, SystemTime)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(SNAPSHOT_BYTES).read_to_end(&mut bytes)?;
    Ok(Some((bytes, metadata.modified()?)))
}

#[cfg(test)]
mod tests;
