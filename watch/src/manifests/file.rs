//! One manifest file: its bytes flow in, its selected objects and faults flow out; decides what stays in use when the
//! file is broken. `library` holds one per path.
//!
//! A file counts as a whole. If anything in it is broken, all its objects stay as they were when it was last good; half
//! of an edit is never served. A file that never was good has nothing to keep, so its good objects are used.

use super::document::{Document, Fault, parse};
use super::scan::Stamp;
use crate::limits::{CLOCK_GRANULARITY, MANIFEST_BYTES};
use crate::selector::Selector;
use crate::{Kind, Object, ObjectKey};
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// What a program selects, by kind.
pub(super) type Selectors = BTreeMap<Kind, Vec<Selector>>;

/// A file as it was last read.
#[derive(Debug, Default)]
pub(super) struct ManifestFile {
    /// The objects in use.
    pub(super) objects: BTreeMap<ObjectKey, Arc<Object>>,
    /// What is wrong with the file as it is now.
    pub(super) faults: Vec<String>,
    was_good: bool,
    stamp: Option<Stamp>,
    contents: Option<u64>,
}

impl ManifestFile {
    /// Reads the file if its stamp says that it may have changed. Gives whether `objects` or `faults` changed.
    pub(super) fn refresh(&mut self, path: &Path, stamp: Stamp, selectors: &Selectors) -> bool {
        if self.stamp == Some(stamp) {
            return false;
        }
        let now = SystemTime::now();
        self.stamp = (!stamp.is_younger_than(CLOCK_GRANULARITY, now)).then_some(stamp);
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                // Whatever comes next is parsed, even if it equals what was read before.
                (self.stamp, self.contents) = (None, None);
                return self.broken(vec![format!("cannot be read: {error}")]);
            }
        };
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        if self.contents.replace(hasher.finish()) == Some(hasher.finish()) {
            return false;
        }
        self.take(&bytes, path, selectors);
        true
    }

    fn take(&mut self, bytes: &[u8], path: &Path, selectors: &Selectors) {
        if bytes.is_empty() && !self.objects.is_empty() {
            // A writer that truncates before it writes must not take its objects away.
            self.broken(vec!["is empty; delete the file to remove its objects".to_owned()]);
            return;
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                self.broken(vec![format!("line {line}: not UTF-8")]);
                return;
            }
        };
        let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let parsed = parse(text, json);
        let mut faults = parsed.faults;
        let mut objects = BTreeMap::new();
        for document in parsed.documents {
            let place = document.place;
            match select(document, selectors) {
                Ok(None) => {}
                Ok(Some(object)) => match objects.entry(object.key()) {
                    Entry::Vacant(entry) => {
                        entry.insert(Arc::new(object));
                    }
                    Entry::Occupied(entry) => {
                        faults.push(Fault::new(place, format!("{} stands in this file twice", entry.key())));
                    }
                },
                Err(message) => faults.push(Fault::new(place, message)),
            }
        }
        faults.sort_by_key(|fault| fault.place.document);
        if faults.is_empty() || !self.was_good {
            self.objects = objects;
        }
        self.was_good |= faults.is_empty();
        self.faults = faults.iter().map(Fault::to_string).collect();
    }

    fn broken(&mut self, faults: Vec<String>) -> bool {
        let changed = self.faults != faults;
        self.faults = faults;
        changed
    }

    /// Whether good objects of an earlier version stand in for the present one.
    pub(super) fn keeps_last_good(&self) -> bool {
        self.was_good
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MANIFEST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MANIFEST_BYTES {
        return Err(io::Error::other(format!("larger than {} MiB", MANIFEST_BYTES >> 20)));
    }
    Ok(bytes)
}

/// The object of a document, if it is selected, as the API server would have it.
fn select(mut document: Document, selectors: &Selectors) -> Result<Option<Object>, String> {
    let Some(selectors) = selectors.get(&document.kind) else { return Ok(None) };
    if document.kind.namespaced()
        && let Some(metadata) = document.value.get_mut("metadata").and_then(Value::as_object_mut)
    {
        let namespace = metadata.entry("namespace").or_insert(Value::Null);
        if namespace.is_null() || namespace.as_str() == Some("") {
            *namespace = DEFAULT_NAMESPACE.into();
        }
    }
    if !selectors.iter().any(|selector| selector.matches(&document.value)) {
        return Ok(None);
    }
    Object::decode(document.kind, document.value).map(Some).map_err(|error| error.to_string())
}

/// Where `kubectl apply` puts an object that names no namespace.
const DEFAULT_NAMESPACE: &str = "default";
