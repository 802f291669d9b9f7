//! What was last known to be right, on disk: the names of a zone flow in and a file flows out, and back. Written by the publisher
//! when something has changed, read once at its start. Nothing follows from it alone but what to look for, so a file that cannot
//! be used costs only that.
//!
//! The first line says what it is, each further line is one RRset, the last one is the SHA-256 of all before it.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use super::observed::RecordSets;
use crate::desired::{DesiredEndpoint, DesiredObject, ObjectKey, parse};
use crate::name::Name;
use crate::record::Rrset;
use nearside_watch::sealed::{Sealed, replace, seal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The names of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastGood {
    /// What stood at each.
    pub names: BTreeMap<Name, Remembered>,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its RRsets; never none.
    pub sets: RecordSets,
    /// Its generation.
    pub generation: u64,
    /// The object that asked for it.
    pub object: ObjectKey,
}

/// The file of one zone.
#[derive(Clone, Debug)]
pub struct LastGoodFile {
    path: PathBuf,
    head: Head,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// It cannot be read.
    #[error("what was last known of the zone cannot be read from {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It cannot be written.
    #[error("what is known of the zone cannot be written to {}: {error} (stateDir)", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something else is in it.
    #[error("{} is not used: {problem}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        problem: Problem,
    },
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It ends early, or was never one.
    #[error("it is cut off, or no file of this program")]
    Truncated,
    /// Its checksum is another.
    #[error("it is damaged: its checksum is wrong")]
    Damaged,
    /// Of another version of the format.
    #[error("it is of version {0}, this program writes version {VERSION}")]
    Version(u64),
    /// Of another cluster.
    #[error("it is of the cluster \"{0}\"")]
    Cluster(String),
    /// Of another zone.
    #[error("it is of the zone \"{0}\"")]
    Zone(String),
    /// A record in it cannot be read.
    #[error("a record in it cannot be read")]
    Record,
}

impl LastGoodFile {
    /// The file of a zone in a directory.
    pub fn new(directory: &Path, cluster: &str, zone: &Name) -> Self {
        let head = Head { nearside_last_good: VERSION, cluster: cluster.to_owned(), zone: zone.to_string() };
        Self { path: directory.join(format!("{zone}.last-good")), head }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it; none where there is none.
    ///
    /// # Errors
    /// Where it cannot be read, or something else is in it.
    pub fn load(&self) -> Result<Option<LastGood>, LastGoodError> {
        let failed = |error| LastGoodError::Read { path: self.path.clone(), error };
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?.take(MAX_OCTETS).read_to_end(&mut bytes).map_err(failed)?,
        };
        let refused = |problem| LastGoodError::Refused { path: self.path.clone(), problem };
        decode(&bytes, &self.head).map(Some).map_err(refused)
    }

    /// Replaces it as a whole: after a crash there is the old one or the new one. Blocks.
    ///
    /// # Errors
    /// Where the disk does not take it; the old one stays then.
    pub fn store(&self, known: &LastGood) -> Result<(), LastGoodError> {
        replace(&self.path, &encode(known, &self.head))
            .map_err(|error| LastGoodError::Write { path: self.path.clone(), error })
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    nearside_last_good: u64,
    cluster: String,
    zone: String,
}

/// One further line; records as in `spec.endpoints[]` of a DNSEndpoint.
#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    record_type: String,
    ttl: u32,
    targets: Vec<String>,
    generation: u64,
    namespace: String,
    object: String,
}

fn encode(known: &LastGood, head: &Head) -> Vec<u8> {
    let lines = known.names.iter().flat_map(|(name, remembered)| {
        remembered.sets.values().map(move |rrset| Line {
            name: name.to_string(),
            record_type: rrset.data.record_type().to_string(),
            ttl: rrset.ttl.seconds(),
            targets: rrset.data.presentation(),
            generation: remembered.generation,
            namespace: remembered.object.namespace.clone(),
            object: remembered.object.name.clone(),
        })
    });
    let lines = lines.filter_map(|line| serde_json::to_vec(&line).ok());
    seal(serde_json::to_vec(head).unwrap_or_default(), lines)
}

fn decode(bytes: &[u8], head: &Head) -> Result<LastGood, Problem> {
    let sealed = Sealed::split(bytes).ok_or(Problem::Truncated)?;
    let mut lines = sealed.lines();
    let first = lines.next().unwrap_or_default();
    let version: Versioned = serde_json::from_slice(first).map_err(|_| Problem::Truncated)?;
    if version.nearside_last_good != VERSION {
        return Err(Problem::Version(version.nearside_last_good));
    }
    sealed.digest.ok_or(Problem::Truncated)?;
    if !sealed.is_whole() {
        return Err(Problem::Damaged);
    }
    let found: Head = serde_json::from_slice(first).map_err(|_| Problem::Truncated)?;
    if found.cluster != head.cluster {
        return Err(Problem::Cluster(found.cluster));
    }
    if found.zone != head.zone {
        return Err(Problem::Zone(found.zone));
    }
    let mut known = LastGood::default();
    for line in lines {
        let line: Line = serde_json::from_slice(line).map_err(|_| Problem::Record)?;
        let (name, rrset, generation, object) = read(line).ok_or(Problem::Record)?;
        let fresh = || Remembered { sets: RecordSets::new(), generation, object };
        known.names.entry(name).or_insert_with(fresh).sets.insert(rrset.data.record_type(), rrset);
    }
    Ok(known)
}

fn read(line: Line) -> Option<(Name, Rrset, u64, ObjectKey)> {
    let endpoint = DesiredEndpoint {
        dns_name: line.name,
        record_type: line.record_type,
        targets: line.targets,
        record_ttl: Some(line.ttl.into()),
    };
    let key = ObjectKey { namespace: line.namespace, name: line.object };
    let object = DesiredObject { key, generation: line.generation, endpoints: vec![endpoint], weights: None };
    let mut desired = parse(&object);
    let (_, name, rrset) = desired.records.pop().filter(|_| desired.rejections.is_empty())?;
    Some((name, rrset, desired.generation, desired.key))
}

#[derive(Deserialize)]
struct Versioned {
    nearside_last_good: u64,
}

/// Grows when the format or the meaning of what is kept changes.
const VERSION: u64 = 1;

/// More than half a million names with all their records.
const MAX_OCTETS: u64 = 1 << 30;

#[cfg(test)]
mod tests;
