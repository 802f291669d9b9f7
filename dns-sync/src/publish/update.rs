//! One UPDATE message (RFC 2136 §2) as plain data: made by the plan, written and signed by `wire`. A message is applied as a
//! whole or not at all.

use crate::name::Name;
use crate::record::{RecordType, Rrset};

/// An UPDATE message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The zone section.
    pub zone: Name,
    /// All of them must hold, or nothing is changed.
    pub prerequisites: Vec<Prerequisite>,
    /// Applied in this order.
    pub changes: Vec<Change>,
}

/// What must be so on the server (RFC 2136 §2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prerequisite {
    /// §2.4.4: something stands at the name itself; a wildcard that stands for it does not count. Refused with NXDOMAIN.
    NameInUse(Name),
    /// §2.4.5: nothing stands at the name. Refused with YXDOMAIN.
    NameNotInUse(Name),
    /// §2.4.3: no RRset of this type stands there. Refused with YXRRSET.
    RrsetAbsent(Name, RecordType),
    /// §2.4.2: exactly these records stand there, whatever their TTL. Refused with NXRRSET.
    RrsetEquals(Name, Rrset),
}

/// What is done (RFC 2136 §2.5). There is no "delete all at a name": only types that are ours are ever deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// §2.5.2.
    DeleteRrset(Name, RecordType),
    /// §2.5.1, one for each record.
    AddRrset(Name, Rrset),
}
