//! A zone from the messages of its transfer (AXFR, RFC 5936 §2.2): verified replies flow in one by one, and once the SOA has come
//! again the whole zone flows out, or the reason why it is none. There never is a part of a zone. Called by the connection.

use super::failure::Failure;
use super::observed::RecordSets;
use crate::name::Name;
use crate::record::{RecordType, RrsetData, Soa};
use crate::wire::exchange::Reply;
use crate::wire::rdata;
use std::collections::{BTreeMap, BTreeSet};

/// All of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneContent {
    /// The start of authority, which is among the records of the apex as well.
    pub soa: Soa,
    /// Every name with records, and those that have a form of ours.
    pub names: BTreeMap<Name, RecordSets>,
    /// The other types that a name has, where it has any.
    pub other_types: BTreeMap<Name, BTreeSet<RecordType>>,
}

/// A transfer on its way.
#[derive(Debug)]
pub struct Transfer {
    zone: Name,
    soa: Option<Soa>,
    names: BTreeMap<Name, RecordSets>,
    other_types: BTreeMap<Name, BTreeSet<RecordType>>,
    octets: usize,
    most_names: usize,
    most_octets: usize,
    ended: bool,
}

/// Why messages are no transfer of the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferFault {
    /// TC, which says that something was left out.
    #[error("a message of the transfer is cut short")]
    Truncated,
    /// The first record must be the SOA of the zone.
    #[error("the transfer does not begin with the SOA of the zone")]
    NoSoa,
    /// The last record must be the same SOA; the zone may have changed on the way.
    #[error("the transfer ends with another SOA than it began with")]
    AnotherSoa,
    /// Something follows the last SOA.
    #[error("the transfer goes on after its end")]
    AfterTheEnd,
    /// A record that is not of the zone.
    #[error("the transfer has a record of another zone")]
    AnotherZone,
    /// More names or octets than are taken.
    #[error("the zone is too large")]
    TooLarge,
}

impl TransferFault {
    /// As a failure of the exchange.
    pub fn failure(self) -> Failure {
        Failure::Unbelievable(self.to_string().into())
    }
}

impl Transfer {
    /// Nothing yet of a zone, which may have so many names and octets.
    pub fn new(zone: Name, most_names: usize, most_octets: usize) -> Self {
        let (names, other_types) = (BTreeMap::new(), BTreeMap::new());
        Self { zone, soa: None, names, other_types, octets: 0, most_names, most_octets, ended: false }
    }

    /// Takes the next message, of so many octets, which was no refusal. The zone, when this was the last.
    ///
    /// # Errors
    /// Where it does not belong to a transfer; then the whole is worth nothing.
    pub fn take(&mut self, reply: Reply, octets: usize) -> Result<Option<ZoneContent>, TransferFault> {
        if reply.truncated {
            return Err(TransferFault::Truncated);
        }
        self.octets = self.octets.saturating_add(octets);
        if self.octets > self.most_octets {
            return Err(TransferFault::TooLarge);
        }
        for record in reply.answers {
            if self.ended {
                return Err(TransferFault::AfterTheEnd);
            }
            if !record.owner.is_within(&self.zone) {
                return Err(TransferFault::AnotherZone);
            }
            match (&self.soa, record.data) {
                (None, Some(RrsetData::Soa(soa))) if record.owner == self.zone => {
                    rdata::add(self.sets_of(record.owner)?, record.ttl, &RrsetData::Soa(soa.clone()));
                    self.soa = Some(soa);
                }
                (None, _) => return Err(TransferFault::NoSoa),
                (Some(first), Some(RrsetData::Soa(soa))) => {
                    if record.owner != self.zone {
                        return Err(TransferFault::AnotherZone);
                    }
                    if *first != soa {
                        return Err(TransferFault::AnotherSoa);
                    }
                    self.ended = true;
                }
                (Some(_), Some(data)) => rdata::add(self.sets_of(record.owner)?, record.ttl, &data),
                (Some(_), None) => {
                    self.sets_of(record.owner.clone())?;
                    self.other_types.entry(record.owner).or_default().insert(record.record_type);
                }
            }
        }
        if !self.ended {
            return Ok(None);
        }
        let (names, other_types) = (std::mem::take(&mut self.names), std::mem::take(&mut self.other_types));
        Ok(self.soa.take().map(|soa| ZoneContent { soa, names, other_types }))
    }

    fn sets_of(&mut self, name: Name) -> Result<&mut RecordSets, TransferFault> {
        if self.names.len() >= self.most_names && !self.names.contains_key(&name) {
            return Err(TransferFault::TooLarge);
        }
        Ok(self.names.entry(name).or_default())
    }
}
