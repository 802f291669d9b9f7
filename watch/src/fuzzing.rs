//! The fuzz targets of what is read from disk: files of manifests and snapshots flow in, and a panic flows out where a parser fails or
//! what must hold does not. Built for tests, which replay the corpus, and by cargo-fuzz; each body is beside its parser.

/// What a target is called, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 2] = [("manifests", manifests), ("snapshot", snapshot)];

/// A file of manifests.
pub fn manifests(bytes: &[u8]) {
    crate::manifests::fuzzing::manifests(bytes);
}

/// A file of the snapshot.
pub fn snapshot(bytes: &[u8]) {
    crate::last_known::fuzzing::snapshot(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_replayed() {
        TARGETS.into_iter().for_each(nearside_loadtest::corpus::replay);
    }
}
