//! What one server holds at one name, as it was read with authority (AA): an input of the plan.

use super::failure::Failure;
use super::marker::Marker;
use crate::name::Name;
use crate::record::{RecordType, Rrset, Text};
use std::collections::BTreeMap;

/// The RRsets of one name by type.
pub type RecordSets = BTreeMap<RecordType, Rrset>;

/// What stands at an owner name, and who says that it is theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Every RRset of a type that a publisher could write there: A, AAAA, CNAME, TXT, HTTPS.
    pub sets: RecordSets,
    /// What stands at the marker's name.
    pub marker: ObservedMarker,
    /// The owner that an external-dns has noted for the name (`heritage=external-dns,external-dns/owner=…`), at the name
    /// itself or in front of it (`a-`, `aaaa-`, `cname-`).
    pub external_dns: Option<String>,
}

/// What stands at the name of a marker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ObservedMarker {
    /// No TXT record.
    #[default]
    Absent,
    /// A marker of an installation, perhaps another.
    Read(Marker),
    /// Text that is no marker, or more than one record: nobody's to change.
    Foreign(Vec<Text>),
}

/// What stands at many names of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Every name that could be read.
    pub names: BTreeMap<Name, Observed>,
    /// The others, and why not: what is wrong with one must not keep the others from being published.
    pub unreadable: BTreeMap<Name, Failure>,
}
