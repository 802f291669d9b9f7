//! The fuzz targets of the DNS side: messages of resolvers and of other name servers, records that stand in objects and in zones of
//! others, files of the publisher flow in, and a panic flows out where a parser fails or what must hold does not. Built for tests, which
//! replay the corpus, and by cargo-fuzz.

pub(crate) mod records;

pub use records::{desired, https_record, marker};

/// What a target is called, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 7] = [
    ("desired", desired),
    ("dns_query", dns_query),
    ("dns_reply", dns_reply),
    ("https_record", https_record),
    ("last_good", last_good),
    ("marker", marker),
    ("tsig", tsig),
];

/// A message that somebody sends to the name server.
pub fn dns_query(bytes: &[u8]) {
    crate::wire::fuzzing::query(bytes);
}

/// A message that another name server sends.
pub fn dns_reply(bytes: &[u8]) {
    crate::wire::fuzzing::reply(bytes);
}

/// A message that may be signed.
pub fn tsig(bytes: &[u8]) {
    crate::wire::tsig::fuzzing::signed(bytes);
}

/// The file of what was last known of a zone.
pub fn last_good(bytes: &[u8]) {
    crate::publish::last_good::fuzzing::file(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_replayed() {
        TARGETS.into_iter().for_each(nearside_loadtest::corpus::replay);
    }
}
