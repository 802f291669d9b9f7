//! What tests of many modules are made of: names and sets of addresses from text.

use crate::name::Name;
use crate::publish::observed::RecordSets;
use crate::record::{RecordType, Rrset, RrsetData, Ttl};

/// A name from text that is one.
pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A set of IPv4 addresses with a TTL of 30 seconds.
pub(crate) fn a(addresses: &[&str]) -> RecordSets {
    let data = RrsetData::A(addresses.iter().map(|address| address.parse().unwrap()).collect());
    [(RecordType::A, Rrset { ttl: Ttl::constant(30), data })].into()
}
