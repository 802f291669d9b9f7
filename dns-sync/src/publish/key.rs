//! The TSIG keys for one server: files flow in, the key to sign with flows out. Files are read again when they have changed, and of
//! several keys the one is used that the server takes. A file that was of use and is not any more keeps its last keys: what is
//! written badly, or not there for a moment, stops no publisher. Owned and called by the worker of the server.

mod syntax;

use super::config::KeySource;
use crate::limits::{MAX_KEY_FILE_OCTETS, MAX_KEYS};
use crate::name::NameError;
use crate::wire::tsig::Key;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The keys for a server, in the order in which they are tried.
#[derive(Debug)]
pub struct Keys {
    sources: Vec<Watched>,
    /// Which of [`Keys::all`] is used.
    current: usize,
    /// How many have been refused since one was taken.
    refused: usize,
}

/// A file that no key can be read from. Says which and what to look at, never what it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct UnusableKey {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: KeyProblem,
}

/// What is wrong with a file of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(String),
    /// It is too long for a key.
    #[error("has more than {MAX_KEY_FILE_OCTETS} octets")]
    TooLong,
    /// The syntax of BIND.
    #[error(
        "line {line}: {expected} was expected; tsig-keygen writes key \"NAME\" {{ algorithm hmac-sha256; secret \"…\"; }};"
    )]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// The name of a key.
    #[error("line {line}: the name of the key {problem}")]
    Name {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: NameError,
    },
    /// No clause at all, or too many.
    #[error("has {0} keys; one to {MAX_KEYS} are wanted")]
    Count(usize),
    /// The secret.
    #[error("the secret is not base64, or empty")]
    Secret,
}

/// A file as it was when it was read last.
#[derive(Debug)]
struct Watched {
    source: KeySource,
    stamp: Option<Stamp>,
    /// As they were read last, whatever became of the file since.
    keys: Vec<Arc<Key>>,
    /// What is wrong with the file now.
    problem: Option<UnusableKey>,
}

impl Watched {
    fn read(&mut self) {
        let (stamp, keys) = read(&self.source);
        self.stamp = stamp;
        match keys {
            Ok(keys) => (self.keys, self.problem) = (keys, None),
            Err(problem) => self.problem = Some(problem),
        }
    }
}

/// What changes when a file is written or replaced, also by another target of a symbolic link as Kubernetes does with Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl Keys {
    /// Reads all files. One that cannot be read is told by [`Keys::problems`] and read again when it has changed.
    pub fn read(sources: &[KeySource]) -> Self {
        let sources = sources.iter().map(|source| {
            let mut watched = Watched { source: source.clone(), stamp: None, keys: Vec::new(), problem: None };
            watched.read();
            watched
        });
        Self { sources: sources.collect(), current: 0, refused: 0 }
    }

    /// Reads the files again that have changed. Whether the keys are others now: then it is worth to try at once.
    pub fn refresh(&mut self) -> bool {
        let before = self.all();
        for watched in &mut self.sources {
            let path = path_of(&watched.source);
            // Without a stamp there was no file: every look may find one.
            if watched.stamp.is_none() || watched.stamp != stamp(path) {
                watched.read();
            }
        }
        let changed = self.all() != before;
        if changed {
            (self.current, self.refused) = (0, 0);
        }
        changed
    }

    /// The key to sign with; `None` where there is none, which is a mistake only where files were named.
    pub fn current(&self) -> Option<Arc<Key>> {
        self.all().into_iter().nth(self.current)
    }

    /// The server has taken the current key: it stays, and a later refusal tries all others again.
    pub fn taken(&mut self) {
        self.refused = 0;
    }

    /// The server has refused the current key. Whether there is another one to try now; if not, all have been refused, and the first
    /// of them is next after a pause.
    pub fn advance(&mut self) -> bool {
        let count = self.all().len();
        if count == 0 {
            return false;
        }
        self.current = (self.current + 1) % count;
        self.refused = (self.refused + 1) % count;
        self.refused != 0
    }

    /// The files that are of no use now, and why. Those that were of use before go on with the keys that they had.
    pub fn problems(&self) -> Vec<UnusableKey> {
        self.sources.iter().filter_map(|watched| watched.problem.clone()).collect()
    }

    /// Whether any file was named at all: else requests are not signed.
    pub fn are_wanted(&self) -> bool {
        !self.sources.is_empty()
    }

    /// All keys of all files that are of use.
    pub fn all(&self) -> Vec<Arc<Key>> {
        self.sources.iter().flat_map(|watched| &watched.keys).cloned().collect()
    }
}

/// Reads the keys of a source, and how its file looked before: a change on the way is then seen at the next look.
fn read(source: &KeySource) -> (Option<Stamp>, Result<Vec<Arc<Key>>, UnusableKey>) {
    let path = path_of(source);
    let stamp = stamp(path);
    let keys = text_of(path).and_then(|text| match source {
        KeySource::File(_) => syntax::clauses(&text),
        KeySource::Secret { name, algorithm, .. } => syntax::secret(&text)
            .and_then(|secret| Key::new(name.clone(), *algorithm, secret))
            .map(|key| vec![key])
            .ok_or(KeyProblem::Secret),
    });
    let keys = keys.map(|keys| keys.into_iter().map(Arc::new).collect());
    (stamp, keys.map_err(|problem| UnusableKey { file: path.to_path_buf(), problem }))
}

fn text_of(path: &Path) -> Result<String, KeyProblem> {
    let unread = |error: io::Error| KeyProblem::Read(error.to_string());
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_KEY_FILE_OCTETS + 1).read_to_string(&mut text)).map_err(unread)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= MAX_KEY_FILE_OCTETS) {
        Ok(text)
    } else {
        Err(KeyProblem::TooLong)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp { device: found.dev(), inode: found.ino(), length: found.len(), modified: found.modified().ok() })
}

fn path_of(source: &KeySource) -> &Path {
    match source {
        KeySource::File(file) | KeySource::Secret { file, .. } => file,
    }
}

#[cfg(test)]
mod tests;
