//! The format of one file of the snapshot: a description and the JSON of objects flow in, bytes flow out, and back. Pure.
//! The first line describes what it is, each further line is one object, the last one is the SHA-256 of all before it.

use crate::sealed::{Sealed, checksum, hex, seal};
use crate::{Kind, Object, Selection};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Why a snapshot cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Its directory.
    #[error("the snapshot directory {} cannot be used: {error} (--snapshot-dir)", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that cannot be read.
    #[error("the snapshot {} cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that cannot be written.
    #[error("the snapshot {} cannot be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that is to be changed and is not there.
    #[error("the snapshot {} is gone", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// A file with something else in it.
    #[error("the snapshot {} is refused: {problem}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        problem: Problem,
    },
}

impl SnapshotError {
    pub(super) fn read(path: &Path, error: io::Error) -> Self {
        Self::Read { path: path.to_owned(), error }
    }
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It ends early, or was never one.
    #[error("it is cut off or no snapshot")]
    Truncated,
    /// Its checksum is another.
    #[error("it is damaged: its checksum is wrong")]
    Damaged,
    /// Of another version of the format.
    #[error("it is of version {0}, this program writes version {VERSION}")]
    Version(u64),
    /// Of another cluster.
    #[error("it is of another cluster")]
    Cluster,
    /// Of other objects.
    #[error("it is of another selection of objects")]
    Selection,
    /// An object in it cannot be read.
    #[error("an object in it cannot be read: {0}")]
    Object(String),
}

impl Problem {
    pub(super) fn of(self, path: &Path) -> SnapshotError {
        SnapshotError::Refused { path: path.to_owned(), problem: self }
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Described {
    nearside_snapshot: u64,
    cluster: String,
    kind: String,
    api_version: String,
    fields: Option<String>,
    labels: Option<String>,
    namespace: Option<String>,
}

impl Described {
    pub(super) fn new(cluster: &str, selection: &Selection) -> Self {
        Self {
            nearside_snapshot: VERSION,
            cluster: cluster.to_owned(),
            kind: selection.kind.name().to_owned(),
            api_version: selection.kind.api_version(),
            fields: selection.fields.clone(),
            labels: selection.labels.clone(),
            namespace: selection.namespace.clone(),
        }
    }

    fn check(&self, found: &Self) -> Result<(), Problem> {
        if found.nearside_snapshot != self.nearside_snapshot {
            Err(Problem::Version(found.nearside_snapshot))
        } else if found.cluster != self.cluster {
            Err(Problem::Cluster)
        } else if found != self {
            Err(Problem::Selection)
        } else {
            Ok(())
        }
    }
}

/// The objects of a file that was found to be whole.
pub(super) struct Lines<'f>(Vec<&'f [u8]>);

impl<'f> Lines<'f> {
    /// The objects; all of them or none.
    pub(super) fn decode(&self, kind: Kind) -> Result<Vec<Object>, Problem> {
        let decode = |line: &&[u8]| Object::decode_text(kind, line).map_err(|error| Problem::Object(error.to_string()));
        self.0.iter().map(decode).collect()
    }

    /// The lines by namespace and name.
    pub(super) fn keyed(self) -> BTreeMap<(String, String), &'f [u8]> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Named {
            metadata: Names,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Names {
            namespace: String,
            name: String,
        }
        let named = |line: &'f [u8]| {
            let Named { metadata } = serde_json::from_slice(line).ok()?;
            Some(((metadata.namespace, metadata.name), line))
        };
        self.0.into_iter().filter_map(named).collect()
    }
}

/// The name of the file of a selection.
pub(super) fn name(selection: &Selection) -> String {
    let Selection { kind, fields, labels, namespace } = selection;
    let digest = checksum(format!("{fields:?} {labels:?} {namespace:?}"));
    format!("{}-{}.snapshot", kind.plural(), &digest[..16])
}

/// What identifies a cluster: where its API server is, and who vouches for it.
pub(crate) fn cluster(server: &str, authorities: Option<&[Vec<u8>]>) -> String {
    let mut digest = Sha256::new();
    digest.update(server);
    authorities.into_iter().flatten().for_each(|certificate| digest.update(certificate));
    hex(&digest.finalize())
}

/// A whole file.
pub(super) fn write<'l>(
    described: &Described,
    lines: impl Iterator<Item = &'l (impl AsRef<[u8]> + ?Sized + 'l)>,
) -> Vec<u8> {
    seal(serde_json::to_vec(described).unwrap_or_default(), lines)
}

/// The objects of a file, if it is whole and what it should be.
pub(super) fn read<'f>(bytes: &'f [u8], described: &Described) -> Result<Lines<'f>, Problem> {
    let sealed = Sealed::split(bytes).ok_or(Problem::Truncated)?;
    let mut lines = sealed.lines();
    let first = lines.next().unwrap_or_default();
    let version: Versioned = serde_json::from_slice(first).map_err(|_| Problem::Truncated)?;
    if version.nearside_snapshot != described.nearside_snapshot {
        return Err(Problem::Version(version.nearside_snapshot));
    }
    if !sealed.digest.is_some_and(|digest| digest.iter().all(u8::is_ascii_hexdigit)) {
        return Err(Problem::Truncated);
    }
    if !sealed.is_whole() {
        return Err(Problem::Damaged);
    }
    let found: Described = serde_json::from_slice(first).map_err(|_| Problem::Truncated)?;
    described.check(&found)?;
    Ok(Lines(lines.collect()))
}

#[derive(Deserialize)]
struct Versioned {
    nearside_snapshot: u64,
}

/// Grows when the format or the meaning of what is kept changes.
const VERSION: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn described() -> Described {
        Described::new("here", &Selection::all(Kind::Pod))
    }

    fn line(name: &str) -> Vec<u8> {
        json!({"metadata": {"namespace": "shop", "name": name}}).to_string().into_bytes()
    }

    fn problem(bytes: &[u8], described: &Described) -> Option<Problem> {
        read(bytes, described).err()
    }

    #[test]
    fn what_is_foreign_is_refused_in_words() {
        let bytes = write(&described(), [line("a")].iter());
        assert_eq!(problem(&bytes, &Described::new("there", &Selection::all(Kind::Pod))), Some(Problem::Cluster));
        let other = Described::new("here", &Selection::all(Kind::Pod).labels("a=b"));
        assert_eq!(problem(&bytes, &other), Some(Problem::Selection));
        let newer = Described { nearside_snapshot: 2, ..described() };
        assert_eq!(problem(&bytes, &newer), Some(Problem::Version(1)));
        assert_eq!(problem(b"", &described()), Some(Problem::Truncated));
        let words = Problem::Damaged.of(Path::new("/tmp/x")).to_string();
        assert_eq!(words, "the snapshot /tmp/x is refused: it is damaged: its checksum is wrong");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(names in prop::collection::vec("[a-z]{1,8}", 0..20)) {
            let lines: Vec<Vec<u8>> = names.iter().map(|name| line(name)).collect();
            let bytes = write(&described(), lines.iter());
            let objects = read(&bytes, &described()).unwrap().decode(Kind::Pod).unwrap();
            let found: Vec<&str> = objects.iter().map(|object| &*object.metadata().name).collect();
            prop_assert_eq!(found, names);
        }

        #[test]
        fn a_file_that_is_cut_or_changed_is_refused(
            names in prop::collection::vec("[a-z]{1,8}", 0..8), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let lines: Vec<Vec<u8>> = names.iter().map(|name| line(name)).collect();
            let bytes = write(&described(), lines.iter());
            let at = at.index(bytes.len());
            prop_assert!(read(&bytes[..at], &described()).is_err());
            let mut changed = bytes.clone();
            changed[at] = byte;
            prop_assert!(changed == bytes || read(&changed, &described()).is_err());
        }
    }
}
