//! Whose a name is: TXT records in a side tree of the zone, `<name>._nearside.<zone>`, so that no name becomes an empty
//! non-terminal that hides a wildcard. Text flows in and a marker out, and back. A marker is part of every message that
//! changes its name, as prerequisite and as change.

use super::observed::RecordSets;
use crate::name::Name;
use crate::record::{RecordType, Rrset, RrsetData, Text, Ttl};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The installation that has written the name; of letters, digits, `.`, `-` and `_`.
    pub cluster: String,
    /// The generation of the object at that time.
    pub generation: u64,
    /// The types of the RRsets that belong to it.
    pub types: BTreeSet<RecordType>,
    /// What these RRsets were, see [`digest`].
    pub digest: String,
}

/// Text that is no marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this text is no marker of Nearside")]
pub struct NoMarker;

impl Marker {
    /// The marker of records that are about to be written.
    pub fn of(cluster: &str, generation: u64, sets: &RecordSets) -> Self {
        Self { cluster: cluster.to_owned(), generation, types: sets.keys().copied().collect(), digest: digest(sets) }
    }

    /// As an RRset.
    pub fn rrset(&self) -> Rrset {
        let text: Text = vec![self.to_string().into_bytes().into()];
        Rrset { ttl: MARKER_TTL, data: RrsetData::Txt(vec![text]) }
    }
}

/// The name of a marker; `None` where it would be too long, and for names outside of the zone. `*` is spelled `_wildcard`, the
/// apex `_apex`.
pub fn marker_name(name: &Name, zone: &Name) -> Option<Name> {
    if !name.is_within(zone) {
        return None;
    }
    let below = name.label_count() - zone.label_count();
    let own = name.labels().take(below).map(|label| if label == b"*" { WILDCARD } else { label });
    let apex = (below == 0).then_some(APEX);
    Name::from_labels(own.chain(apex).chain([SIDE_TREE]).chain(zone.labels()))
}

/// Whether a name is in the side tree of a zone, where only markers may stand.
pub fn is_in_side_tree(name: &Name, zone: &Name) -> bool {
    let below = name.label_count().saturating_sub(zone.label_count());
    name.is_within(zone) && below > 0 && name.labels().nth(below - 1) == Some(SIDE_TREE)
}

/// The name that a marker's name stands for, if it is one.
pub fn marked_name(marker: &Name, zone: &Name) -> Option<Name> {
    if !is_in_side_tree(marker, zone) {
        return None;
    }
    let below = marker.label_count() - zone.label_count() - 1;
    let own: Vec<&[u8]> = marker.labels().take(below).collect();
    match own.as_slice() {
        [] => None,
        [only] if *only == APEX => Some(zone.clone()),
        [first, rest @ ..] => {
            let first = if *first == WILDCARD { b"*" } else { *first };
            Name::from_labels([first].into_iter().chain(rest.iter().copied()).chain(zone.labels()))
        }
    }
}

/// Sixteen hexadecimal digits of the SHA-256 of records and TTLs, the same in whatever order they are held.
pub fn digest(sets: &RecordSets) -> String {
    let mut hash = Sha256::new();
    for (record_type, rrset) in sets {
        hash.update(record_type.to_string());
        hash.update(rrset.ttl.seconds().to_be_bytes());
        for record in rrset.data.sorted_texts() {
            hash.update(u32::try_from(record.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(record);
        }
    }
    hash.finalize().iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<String> = self.types.iter().map(ToString::to_string).collect();
        write!(f, "{VERSION} c={} g={} t={} h={}", self.cluster, self.generation, types.join(","), self.digest)
    }
}

impl FromStr for Marker {
    type Err = NoMarker;

    fn from_str(text: &str) -> Result<Self, NoMarker> {
        let mut words = text.split(' ');
        if words.next() != Some(VERSION) {
            return Err(NoMarker);
        }
        let mut field = |name: &str| words.next().and_then(|word| word.strip_prefix(name)).ok_or(NoMarker);
        let cluster = field("c=")?.to_owned();
        let generation = field("g=")?.parse().map_err(|_| NoMarker)?;
        let types =
            field("t=")?.split(',').map(|word| word.parse().map_err(|()| NoMarker)).collect::<Result<_, _>>()?;
        let digest = field("h=")?.to_owned();
        let marker = Self { cluster, generation, types, digest };
        // What it would not write itself it does not take for its own.
        if marker.to_string() == text && !marker.cluster.is_empty() { Ok(marker) } else { Err(NoMarker) }
    }
}

const VERSION: &str = "nearside1";
const SIDE_TREE: &[u8] = b"_nearside";
const WILDCARD: &[u8] = b"_wildcard";
const APEX: &[u8] = b"_apex";
const MARKER_TTL: Ttl = Ttl::constant(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{a, name};
    use proptest::prelude::*;

    #[test]
    fn a_marker_stands_in_the_side_tree_and_leads_back() {
        let zone = name("example.com");
        for (host, marker) in [
            ("a.b.example.com", "a.b._nearside.example.com"),
            ("*.b.example.com", "_wildcard.b._nearside.example.com"),
            ("example.com", "_apex._nearside.example.com"),
        ] {
            assert_eq!(marker_name(&name(host), &zone), Some(name(marker)));
            assert_eq!(marked_name(&name(marker), &zone), Some(name(host)));
            assert!(is_in_side_tree(&name(marker), &zone));
        }
        assert_eq!(marker_name(&name("a.example.net"), &zone), None);
        assert_eq!(marked_name(&name("a.example.com"), &zone), None);
        assert_eq!(marked_name(&name("_nearside.example.com"), &zone), None);
        let long = ["x".repeat(63).as_str(); 3].join(".") + ".x.y.example.com";
        assert_eq!(marker_name(&name(&format!("{}.{long}", "y".repeat(40))), &zone), None, "no room for it");
    }

    #[test]
    fn only_its_own_text_is_a_marker() {
        let marker = Marker::of("prod-1", 7, &a(&["192.0.2.1"]));
        assert_eq!(marker.to_string(), format!("nearside1 c=prod-1 g=7 t=A h={}", marker.digest));
        assert_eq!(marker.to_string().parse(), Ok(marker));
        for other in ["", "nearside2 c=a g=1 t=A h=0", "nearside1 c= g=1 t=A h=0", "nearside1 c=a g=01 t=A h=0"] {
            assert_eq!(other.parse::<Marker>(), Err(NoMarker), "{other}");
        }
    }

    #[test]
    fn the_digest_is_of_records_and_ttls() {
        let one = digest(&a(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(digest(&a(&["192.0.2.2", "192.0.2.1"])), one);
        assert_ne!(digest(&a(&["192.0.2.1"])), one);
        let mut later = a(&["192.0.2.1", "192.0.2.2"]);
        later.values_mut().for_each(|rrset| rrset.ttl = Ttl::constant(31));
        assert_ne!(digest(&later), one);
    }

    proptest! {
        #[test]
        fn text_that_is_read_is_what_is_written(text in "nearside1 c=[a-z.]{0,3} g=[0-9]{1,20} t=(A|AAAA|TYPE[0-9]{1,5}|,){1,3} h=[0-9a-f]{0,16}") {
            if let Ok(marker) = text.parse::<Marker>() {
                prop_assert_eq!(marker.to_string(), text);
            }
        }
    }
}
