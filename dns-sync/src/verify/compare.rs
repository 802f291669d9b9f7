//! Whether an answer is what it should be: wanted RRsets and what was seen flow in, every difference flows out, in words for
//! conditions and the page. Pure.

use super::Seen;
use crate::publish::observed::RecordSets;
use crate::record::{RecordType, RrsetData, Ttl};
use std::collections::BTreeSet;
use std::fmt;

/// One thing that an answer lacks, or has too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The server does not answer as one that holds the zone: what it has may be somebody else's, or old.
    NotAuthoritative,
    /// No record of a type that should be there.
    Missing(RecordType),
    /// Records of a type that should not be there.
    Surplus(RecordType),
    /// Other records than there should be.
    Records {
        /// The type of the RRset.
        record_type: RecordType,
        /// How many are not there.
        missing: usize,
        /// How many should not be there.
        surplus: usize,
    },
    /// The right records with another TTL.
    Ttl {
        /// The type of the RRset.
        record_type: RecordType,
        /// What it should be.
        wanted: Ttl,
        /// What it is.
        seen: Ttl,
    },
}

/// The types to ask for at a name: those that are wanted, and addresses where they could stand beside them.
pub fn asked(wanted: &RecordSets) -> BTreeSet<RecordType> {
    let mut types: BTreeSet<RecordType> = wanted.keys().copied().collect();
    if !types.contains(&RecordType::Cname) {
        types.extend([RecordType::A, RecordType::Aaaa]);
    }
    types
}

/// Everything in which an answer differs from what is wanted; nothing where it is visible.
pub fn differences(wanted: &RecordSets, seen: &Seen) -> Vec<Difference> {
    let mut found = Vec::new();
    if !seen.authoritative {
        found.push(Difference::NotAuthoritative);
    }
    for (&record_type, wanted) in wanted {
        let Some(seen) = seen.sets.get(&record_type) else {
            found.push(Difference::Missing(record_type));
            continue;
        };
        let (missing, surplus) = apart(&wanted.data, &seen.data);
        if missing + surplus > 0 {
            found.push(Difference::Records { record_type, missing, surplus });
        } else if wanted.ttl != seen.ttl {
            found.push(Difference::Ttl { record_type, wanted: wanted.ttl, seen: seen.ttl });
        }
    }
    let surplus = seen.sets.keys().filter(|record_type| !wanted.contains_key(record_type));
    found.extend(surplus.map(|&record_type| Difference::Surplus(record_type)));
    found
}

/// How many records of the one are not in the other, and the other way round.
fn apart(wanted: &RrsetData, seen: &RrsetData) -> (usize, usize) {
    let (wanted, seen) = (wanted.sorted_texts(), seen.sorted_texts());
    let lacks =
        |one: &[Vec<u8>], other: &[Vec<u8>]| one.iter().filter(|record| other.binary_search(record).is_err()).count();
    (lacks(&wanted, &seen), lacks(&seen, &wanted))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAuthoritative => f.write_str("it answers without authority"),
            Self::Missing(record_type) => write!(f, "it has no {record_type}"),
            Self::Surplus(record_type) => write!(f, "it still has {record_type}"),
            Self::Records { record_type, missing, surplus } => match (missing, surplus) {
                (missing, 0) => write!(f, "{record_type} lacks {missing}"),
                (0, surplus) => write!(f, "{record_type} has {surplus} too many"),
                (missing, surplus) => write!(f, "{record_type} lacks {missing} and has {surplus} too many"),
            },
            Self::Ttl { record_type, wanted, seen } => {
                write!(f, "{record_type} has TTL {} instead of {}", seen.seconds(), wanted.seconds())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Rrset;
    use proptest::prelude::*;

    fn a(ttl: u16, last: &[u8]) -> Rrset {
        Rrset {
            ttl: Ttl::constant(ttl),
            data: RrsetData::A(last.iter().map(|&last| [192, 0, 2, last].into()).collect()),
        }
    }

    fn sets(all: impl IntoIterator<Item = Rrset>) -> RecordSets {
        all.into_iter().map(|set| (set.data.record_type(), set)).collect()
    }

    fn words(wanted: RecordSets, seen: RecordSets, authoritative: bool) -> Vec<String> {
        differences(&wanted, &Seen { authoritative, sets: seen }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_visible_is_the_wanted_set_with_its_ttl_from_an_authority() {
        let wanted = || sets([a(30, &[1, 2])]);
        assert_eq!(words(wanted(), sets([a(30, &[2, 1])]), true), [""; 0]);
        assert_eq!(words(wanted(), wanted(), false), ["it answers without authority"]);
        assert_eq!(words(wanted(), sets([a(29, &[1, 2])]), true), ["A has TTL 29 instead of 30"]);
        assert_eq!(words(wanted(), sets([a(30, &[1])]), true), ["A lacks 1"]);
        assert_eq!(words(wanted(), sets([a(30, &[1, 3, 4])]), true), ["A lacks 1 and has 2 too many"]);
        assert_eq!(words(wanted(), sets([]), true), ["it has no A"]);
    }

    #[test]
    fn an_address_of_the_other_family_that_should_be_gone_counts() {
        let loopback = Rrset { ttl: Ttl::constant(30), data: RrsetData::Aaaa(vec![std::net::Ipv6Addr::LOCALHOST]) };
        assert!(asked(&sets([a(30, &[1])])).contains(&RecordType::Aaaa));
        assert_eq!(words(sets([a(30, &[1])]), sets([a(30, &[1]), loopback]), true), ["it still has AAAA"]);
    }

    #[test]
    fn beside_a_cname_nothing_else_is_asked_for() {
        let target = Rrset { ttl: Ttl::constant(30), data: RrsetData::Cname("a.example".parse().unwrap()) };
        assert_eq!(asked(&sets([target])), [RecordType::Cname].into());
    }

    proptest! {
        #[test]
        fn sets_are_equal_where_nothing_is_missing_or_surplus(
            wanted in proptest::collection::btree_set(0_u8..6, 1..5),
            seen in proptest::collection::btree_set(0_u8..6, 1..5),
        ) {
            let of = |last: &BTreeSet<u8>| sets([a(30, &last.iter().copied().collect::<Vec<_>>())]);
            let found = differences(&of(&wanted), &Seen { authoritative: true, sets: of(&seen) });
            prop_assert_eq!(found.is_empty(), wanted == seen);
            if let [Difference::Records { missing, surplus, .. }] = found.as_slice() {
                prop_assert_eq!(*missing, wanted.difference(&seen).count());
                prop_assert_eq!(*surplus, seen.difference(&wanted).count());
            }
        }
    }
}
