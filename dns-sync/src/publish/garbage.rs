//! What a server holds that nobody asks for: a complete transfer, the policy of the zone and the names that are known flow in; names
//! that may be garbage flow out. Pure; called by a worker now and then. Nothing is removed because of this alone: the guards wait
//! whether somebody asks for the names, and a write is bound to what is read then.

use super::marker::{Marker, is_in_side_tree, marked_name, marker_name};
use super::observed::RecordSets;
use super::plan::{EXCLUSIVE, ZonePolicy};
use super::transfer::ZoneContent;
use crate::name::Name;
use crate::record::{RecordType, Rrset, RrsetData};
use std::collections::{BTreeMap, BTreeSet};

/// What was found at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The records that would go; none where only the marker is left.
    pub sets: RecordSets,
    /// The generation of its marker; 0 without one.
    pub generation: u64,
}

/// The names that are ours and that nobody asks for. In a dedicated zone addresses without any marker count as ours, except those
/// that the zone itself needs: of its name servers, at and below delegations, and at names that have other data.
pub fn find(policy: &ZonePolicy, content: &ZoneContent, is_known: impl Fn(&Name) -> bool) -> BTreeMap<Name, Found> {
    let mut found = BTreeMap::new();
    for (at, sets) in &content.names {
        let Some(name) = marked_name(at, &policy.origin) else { continue };
        // Of two spellings of a marker's name only one is ours.
        let is_marker = marker_name(&name, &policy.origin).as_ref() == Some(at);
        let Some(marker) = sets.get(&RecordType::Txt).and_then(marker_of).filter(|_| is_marker) else { continue };
        if marker.cluster == policy.cluster && !is_known(&name) {
            let ours = |(known, _): &(&RecordType, &Rrset)| marker.types.contains(known);
            let there = content.names.get(&name).into_iter().flatten();
            let sets = there.filter(ours).map(|(known, rrset)| (*known, rrset.clone())).collect();
            found.insert(name, Found { sets, generation: marker.generation });
        }
    }
    if policy.dedicated {
        let needed = Needed::of(policy, content);
        for (name, sets) in &content.names {
            let has_marker = marker_name(name, &policy.origin).is_none_or(|at| content.names.contains_key(&at));
            let is_other = is_in_side_tree(name, &policy.origin) || content.other_types.contains_key(name);
            if has_marker || is_other || is_known(name) || needed.contains(name) {
                continue;
            }
            let addresses = sets.iter().filter(|(known, _)| EXCLUSIVE.contains(known));
            let sets: RecordSets = addresses.map(|(known, rrset)| (*known, rrset.clone())).collect();
            if !sets.is_empty() {
                found.insert(name.clone(), Found { sets, generation: 0 });
            }
        }
    }
    found
}

/// Names that a zone needs whoever asks for them.
struct Needed {
    servers: BTreeSet<Name>,
    cuts: BTreeSet<Name>,
}

impl Needed {
    fn of(policy: &ZonePolicy, content: &ZoneContent) -> Self {
        let mut needed = Self { servers: [content.soa.mname.clone()].into(), cuts: BTreeSet::new() };
        for (name, sets) in &content.names {
            if let Some(Rrset { data: RrsetData::Ns(servers), .. }) = sets.get(&RecordType::Ns) {
                needed.servers.extend(servers.iter().cloned());
                if *name != policy.origin {
                    needed.cuts.insert(name.clone());
                }
            }
        }
        needed
    }

    fn contains(&self, name: &Name) -> bool {
        self.servers.contains(name) || name.suffixes().any(|suffix| self.cuts.contains(suffix))
    }
}

fn marker_of(rrset: &Rrset) -> Option<Marker> {
    let RrsetData::Txt(texts) = &rrset.data else { return None };
    match texts.as_slice() {
        [text] => match text.as_slice() {
            [only] => std::str::from_utf8(only).ok()?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Soa, Ttl};
    use crate::testing::name;

    fn set(data: RrsetData) -> RecordSets {
        [(data.record_type(), Rrset { ttl: Ttl::constant(30), data })].into()
    }

    fn a(address: &str) -> RecordSets {
        set(RrsetData::A(vec![address.parse().unwrap()]))
    }

    fn marker(cluster: &str, generation: u64) -> RecordSets {
        set(Marker::of(cluster, generation, &a("192.0.2.1")).rrset().data)
    }

    fn content() -> ZoneContent {
        let numbers = (1, 2, 3, 4, 5);
        let soa = Soa {
            mname: name("hidden.example.com"),
            rname: name("hostmaster.example.com"),
            serial: numbers.0,
            refresh: numbers.1,
            retry: numbers.2,
            expire: numbers.3,
            minimum: numbers.4,
        };
        let names = [
            ("example.com", set(RrsetData::Ns(vec![name("ns1.example.com")]))),
            ("ns1.example.com", a("192.0.2.53")),
            ("hidden.example.com", a("192.0.2.54")),
            ("sub.example.com", set(RrsetData::Ns(vec![name("ns.sub.example.com")]))),
            ("x.sub.example.com", a("192.0.2.55")),
            ("mail.example.com", a("192.0.2.25")),
            ("known.example.com", a("192.0.2.1")),
            ("known._nearside.example.com", marker("prod", 7)),
            ("orphan.example.com", a("192.0.2.1")),
            ("orphan._nearside.example.com", marker("prod", 8)),
            ("left._nearside.example.com", marker("prod", 9)),
            ("other.example.com", a("192.0.2.1")),
            ("other._nearside.example.com", marker("stage", 8)),
            ("odd.example.com", a("192.0.2.1")),
            ("odd._nearside.example.com", set(RrsetData::Txt(vec![vec![b"hello".as_slice().into()]]))),
            ("stray.example.com", a("192.0.2.9")),
            ("note.example.com", set(RrsetData::Txt(vec![vec![b"hello".as_slice().into()]]))),
        ];
        ZoneContent {
            soa,
            names: names.into_iter().map(|(at, sets)| (name(at), sets)).collect(),
            other_types: [(name("mail.example.com"), [RecordType::Other(15)].into())].into(),
        }
    }

    fn found(dedicated: bool) -> Vec<(String, u64)> {
        let policy =
            ZonePolicy { origin: name("example.com"), cluster: "prod".into(), dedicated, adopt: BTreeSet::new() };
        let found = find(&policy, &content(), |known| *known == name("known.example.com"));
        found.into_iter().map(|(name, found)| (name.to_string(), found.generation)).collect()
    }

    #[test]
    fn only_what_our_marker_says_is_found_in_a_shared_zone() {
        assert_eq!(found(false), [("left.example.com".to_owned(), 9), ("orphan.example.com".to_owned(), 8)]);
    }

    #[test]
    fn addresses_that_nobody_needs_are_found_in_a_dedicated_zone() {
        let names: Vec<String> = found(true).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.contains(&"stray.example.com".to_owned()));
    }
}
