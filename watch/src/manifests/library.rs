//! All manifest files together: scans flow in, the difference to what was known flows out. Blocking; the task in
//! `manifests` runs it on a blocking thread.

use super::file::{ManifestFile, Selectors};
use super::scan::{FilePath, Scan, scan};
use crate::{Object, ObjectKey};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files and the objects in use.
#[derive(Debug)]
pub(super) struct Library {
    roots: Vec<PathBuf>,
    selectors: Selectors,
    files: BTreeMap<FilePath, ManifestFile>,
    unreadable: BTreeMap<PathBuf, String>,
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    duplicates: BTreeMap<ObjectKey, (PathBuf, PathBuf)>,
}

/// What a reload changed.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) applied: Vec<Arc<Object>>,
    pub(super) deleted: Vec<ObjectKey>,
}

impl Library {
    pub(super) fn new(roots: Vec<PathBuf>, selectors: Selectors) -> Self {
        Self {
            roots,
            selectors,
            files: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            objects: BTreeMap::new(),
            duplicates: BTreeMap::new(),
        }
    }

    /// Compares the files with what is known, reads what changed and tells the difference.
    pub(super) fn reload(&mut self) -> Difference {
        let scan = scan(&self.roots);
        self.report_unreadable(&scan);
        let known = self.files.len();
        self.files.retain(|file, _| scan.files.contains_key(file) || is_below_any(&scan.unreadable, &file.path));
        let mut changed = self.files.len() != known;
        for (file, stamp) in scan.files {
            let state = self.files.entry(file.clone()).or_default();
            if state.refresh(&file.path, stamp, &self.selectors) {
                changed = true;
                report_faults(&file.path, state);
            }
        }
        if changed { self.merge() } else { Difference::default() }
    }

    /// What is wrong at present, in one line.
    pub(super) fn error(&self) -> Option<String> {
        let unreadable = self.unreadable.iter().map(|(path, error)| format!("{}: {error}", path.display()));
        let faults = self.files.iter().flat_map(|(file, state)| {
            state.faults.iter().map(move |fault| format!("{}: {fault}", file.path.display()))
        });
        let mut all = unreadable.chain(faults);
        let first = all.next()?;
        match all.count() {
            0 => Some(first),
            more => Some(format!("{first} (and {more} more)")),
        }
    }

    /// Of an object that stands in several files the first one wins, in the order of the roots and then of the paths.
    fn merge(&mut self) -> Difference {
        let mut objects: BTreeMap<ObjectKey, (&Path, &Arc<Object>)> = BTreeMap::new();
        let mut duplicates = BTreeMap::new();
        for (file, state) in &self.files {
            for (key, object) in &state.objects {
                if let Some((first, _)) = objects.get(key) {
                    duplicates.entry(key.clone()).or_insert_with(|| (first.to_path_buf(), file.path.clone()));
                } else {
                    objects.insert(key.clone(), (&file.path, object));
                }
            }
        }
        for (key, (first, second)) in &duplicates {
            if self.duplicates.get(key).is_none_or(|known| (&known.0, &known.1) != (first, second)) {
                tracing::warn!(
                    object = %key,
                    used = %first.display(),
                    ignored = %second.display(),
                    "the object stands in two files"
                );
            }
        }
        let objects: BTreeMap<_, _> = objects.into_iter().map(|(key, (_, object))| (key, Arc::clone(object))).collect();
        let is_new = |(key, object): &(&ObjectKey, &Arc<Object>)| self.objects.get(*key) != Some(*object);
        let applied = objects.iter().filter(is_new).map(|(_, object)| Arc::clone(object)).collect();
        let deleted = self.objects.keys().filter(|key| !objects.contains_key(*key)).cloned().collect();
        self.objects = objects;
        self.duplicates = duplicates;
        Difference { applied, deleted }
    }

    fn report_unreadable(&mut self, scan: &Scan) {
        for (path, error) in &scan.unreadable {
            if self.unreadable.get(path) != Some(error) {
                tracing::warn!(path = %path.display(), "cannot be read, its last good objects stay: {error}");
            }
        }
        for path in self.unreadable.keys().filter(|path| !scan.unreadable.contains_key(*path)) {
            tracing::info!(path = %path.display(), "can be read again, or is gone");
        }
        self.unreadable.clone_from(&scan.unreadable);
    }
}

fn is_below_any(unreadable: &BTreeMap<PathBuf, String>, path: &Path) -> bool {
    path.ancestors().any(|ancestor| unreadable.contains_key(ancestor))
}

fn report_faults(path: &Path, file: &ManifestFile) {
    let stays = if file.keeps_last_good() { "its last good objects stay" } else { "its good objects are used" };
    for fault in file.faults.iter().take(REPORTED_FAULTS) {
        tracing::warn!(path = %path.display(), "{fault}; {stays}");
    }
    if let Some(more) = file.faults.len().checked_sub(REPORTED_FAULTS).filter(|more| *more > 0) {
        tracing::warn!(path = %path.display(), more, "further faults");
    }
}

/// Faults of one version of a file that are logged one by one.
const REPORTED_FAULTS: usize = 20;
