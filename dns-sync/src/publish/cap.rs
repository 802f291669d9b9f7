//! Cuts RRsets to what name servers and resolvers take: the sets of a name flow in, no set of more than a hundred records flows out.
//! Pure; called by the guards. Which records stay is chosen by rendezvous hashing of name and record, so it is the same for every
//! replica, differs between names, and the end of one record changes one place.

use super::observed::RecordSets;
use crate::limits::MAX_ANSWER_RECORDS;
use crate::name::Name;
use crate::record::{RecordType, Rrset, RrsetData};
use sha2::{Digest, Sha256};

/// An RRset of which only a part is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capped {
    /// The type of the RRset.
    pub record_type: RecordType,
    /// How many records it should have.
    pub of: usize,
}

/// Cuts the sets of a name to [`MAX_ANSWER_RECORDS`], and tells which were cut.
pub fn cap(name: &Name, sets: RecordSets) -> (RecordSets, Vec<Capped>) {
    let mut capped = Vec::new();
    let cut = |(record_type, mut rrset): (RecordType, Rrset)| {
        let of = rrset.data.count();
        if of > MAX_ANSWER_RECORDS {
            capped.push(Capped { record_type, of });
            match &mut rrset.data {
                RrsetData::A(all) => choose(name, all, |address| address.octets().into()),
                RrsetData::Aaaa(all) => choose(name, all, |address| address.octets().into()),
                RrsetData::Txt(all) => choose(name, all, |text| text.concat()),
                RrsetData::Https(all) => choose(name, all, |record| record.to_string().into_bytes()),
                RrsetData::Ns(all) => choose(name, all, |server| server.as_wire().into()),
                RrsetData::Cname(_) | RrsetData::Soa(_) => {}
            }
        }
        (record_type, rrset)
    };
    (sets.into_iter().map(cut).collect(), capped)
}

/// Keeps the records with the highest scores, in the order in which they were.
fn choose<T: Clone>(name: &Name, all: &mut Vec<T>, octets: impl Fn(&T) -> Vec<u8>) {
    let score = |record: &T| {
        let hash = Sha256::new_with_prefix(name.as_wire()).chain_update(octets(record)).finalize();
        hash.iter().take(8).fold(0_u64, |score, octet| score << 8 | u64::from(*octet))
    };
    let mut scores: Vec<(u64, usize)> = all.iter().enumerate().map(|(place, record)| (score(record), place)).collect();
    scores.sort_unstable_by(|a, b| b.cmp(a));
    scores.truncate(MAX_ANSWER_RECORDS);
    let mut places: Vec<usize> = scores.into_iter().map(|(_, place)| place).collect();
    places.sort_unstable();
    *all = places.into_iter().filter_map(|place| all.get(place).cloned()).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Ttl;
    use std::net::Ipv4Addr;

    fn sets(addresses: impl IntoIterator<Item = u16>) -> RecordSets {
        let address = |n: u16| Ipv4Addr::new(10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]);
        let data = RrsetData::A(addresses.into_iter().map(address).collect());
        [(RecordType::A, Rrset { ttl: Ttl::constant(30), data })].into()
    }

    fn kept(name: &str, addresses: impl IntoIterator<Item = u16>) -> Vec<Ipv4Addr> {
        let (sets, _) = cap(&name.parse().unwrap(), sets(addresses));
        let RrsetData::A(all) = sets[&RecordType::A].data.clone() else { panic!("no addresses") };
        all
    }

    #[test]
    fn a_hundred_records_stay_and_the_cut_is_told() {
        let (all, told) = cap(&"a.example".parse().unwrap(), sets(0..100));
        assert_eq!((all, told), (sets(0..100), Vec::new()));
        let (some, told) = cap(&"a.example".parse().unwrap(), sets(0..101));
        assert_eq!(some[&RecordType::A].data.count(), 100);
        assert_eq!(told, [Capped { record_type: RecordType::A, of: 101 }]);
    }

    #[test]
    fn the_end_of_one_record_changes_one_place_and_names_differ() {
        let before = kept("a.example", 0..200);
        assert!(before.is_sorted());
        for gone in 0..200 {
            let after = kept("a.example", (0..200).filter(|n| *n != gone));
            assert!(before.iter().filter(|address| !after.contains(address)).count() <= 1);
        }
        assert_ne!(before, kept("b.example", 0..200));
    }
}
