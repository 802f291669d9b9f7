//! Names and record data between our types and the library's, both ways. Used by what is served, and by what is written to and
//! read from other servers. What has no form of ours comes back as its type alone.

use crate::name::Name;
use crate::record::{Https, RecordType, Rrset, RrsetData, Soa, Text, Ttl};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, NULL, SOA, TXT};
use hickory_proto::rr::{Name as WireName, RData, RecordType as WireType};
use std::collections::BTreeMap;

/// One record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its owner.
    pub owner: Name,
    /// Its type.
    pub record_type: RecordType,
    /// Its TTL.
    pub ttl: Ttl,
    /// Its data, as a set of its own; `None` for a type that has no form of ours.
    pub data: Option<RrsetData>,
}

/// RRsets from the records of one owner: each sorted as [`Rrset`] wants it, with the smallest TTL of its records. Records of types
/// without a form of ours are left out.
pub fn gather<'r>(records: impl IntoIterator<Item = &'r ReadRecord>) -> BTreeMap<RecordType, Rrset> {
    let mut sets = BTreeMap::new();
    for record in records {
        if let Some(data) = &record.data {
            add(&mut sets, record.ttl, data);
        }
    }
    sets
}

/// Adds a record to the sets of its owner.
pub fn add(sets: &mut BTreeMap<RecordType, Rrset>, ttl: Ttl, data: &RrsetData) {
    let set = sets.entry(data.record_type()).or_insert_with(|| Rrset { ttl, data: data.clone() });
    set.ttl = set.ttl.min(ttl);
    join(&mut set.data, data.clone());
}

/// A name for the library.
pub(super) fn wire_name(name: &Name) -> WireName {
    let mut wire = WireName::from_labels(name.labels()).expect("a Name keeps the limits of RFC 1035 §2.3.4");
    wire.set_fqdn(true);
    wire
}

/// A name from the library, in lower case.
pub(super) fn own_name(name: &WireName) -> Option<Name> {
    Name::from_labels(name.iter())
}

/// The data of every record of a set, in the order of the set.
pub(super) fn wire_data(data: &RrsetData) -> Vec<RData> {
    match data {
        RrsetData::A(all) => all.iter().map(|&address| RData::A(A(address))).collect(),
        RrsetData::Aaaa(all) => all.iter().map(|&address| RData::AAAA(AAAA(address))).collect(),
        RrsetData::Txt(all) => all.iter().map(|text| RData::TXT(wire_text(text))).collect(),
        RrsetData::Https(all) => all.iter().map(wire_https).collect(),
        RrsetData::Ns(all) => all.iter().map(|server| RData::NS(NS(wire_name(server)))).collect(),
        RrsetData::Cname(target) => vec![RData::CNAME(CNAME(wire_name(target)))],
        RrsetData::Soa(soa) => vec![RData::SOA(wire_soa(soa))],
    }
}

/// The data of one record as a set of its own; `None` where we have no form for the type. HTTPS comes in its own octets.
pub(super) fn own_data(data: &RData) -> Option<RrsetData> {
    Some(match data {
        RData::A(address) => RrsetData::A(vec![address.0]),
        RData::AAAA(address) => RrsetData::Aaaa(vec![address.0]),
        RData::TXT(text) => RrsetData::Txt(vec![text.txt_data.to_vec()]),
        RData::NS(server) => RrsetData::Ns(vec![own_name(&server.0)?]),
        RData::CNAME(target) => RrsetData::Cname(own_name(&target.0)?),
        RData::SOA(soa) => RrsetData::Soa(own_soa(soa)?),
        _ => return None,
    })
}

/// An HTTPS record in its own octets: the target must not be compressed (RFC 9460 §2.2).
pub(super) fn wire_https(record: &Https) -> RData {
    RData::Unknown { code: WireType::HTTPS, rdata: NULL::with(record.to_wire()) }
}

/// The strings of a TXT record.
pub(super) fn wire_text(text: &Text) -> TXT {
    TXT::from_bytes(text.iter().map(|string| &**string).collect())
}

/// A start of authority for the library.
pub(super) fn wire_soa(soa: &Soa) -> SOA {
    let seconds = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    SOA::new(
        wire_name(&soa.mname),
        wire_name(&soa.rname),
        soa.serial,
        seconds(soa.refresh),
        seconds(soa.retry),
        seconds(soa.expire),
        soa.minimum,
    )
}

fn own_soa(soa: &SOA) -> Option<Soa> {
    Some(Soa {
        mname: own_name(&soa.mname)?,
        rname: own_name(&soa.rname)?,
        serial: soa.serial,
        refresh: soa.refresh.cast_unsigned(),
        retry: soa.retry.cast_unsigned(),
        expire: soa.expire.cast_unsigned(),
        minimum: soa.minimum,
    })
}

/// Adds the records of `more` to a set of the same type. Of a type with one record for each name the first stays.
fn join(set: &mut RrsetData, more: RrsetData) {
    fn merge<T: Ord>(set: &mut Vec<T>, more: Vec<T>) {
        for record in more {
            if let Err(place) = set.binary_search(&record) {
                set.insert(place, record);
            }
        }
    }
    match (set, more) {
        (RrsetData::A(set), RrsetData::A(more)) => merge(set, more),
        (RrsetData::Aaaa(set), RrsetData::Aaaa(more)) => merge(set, more),
        (RrsetData::Txt(set), RrsetData::Txt(more)) => merge(set, more),
        (RrsetData::Https(set), RrsetData::Https(more)) => merge(set, more),
        (RrsetData::Ns(set), RrsetData::Ns(more)) => merge(set, more),
        _ => {}
    }
}
