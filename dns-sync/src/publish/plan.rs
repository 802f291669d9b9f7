//! What to write to one server: the policy of a zone, what should stand at each name, what the server holds there and which
//! fences have lapsed flow in; writes, conflicts and what is left alone flow out. Pure; called by the worker of each
//! (server, zone) with the names that are due. Every name is decided for itself (`plan::decide`), so the order of objects and
//! names makes no difference, and a plan for some names is a part of the plan for all.

mod decide;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use super::intent::{Hold, Intent};
use super::marker::Marker;
use super::observed::Observed;
use super::update::{Change, Prerequisite};
use crate::desired::ObjectKey;
use crate::name::Name;
use crate::record::RecordType;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the operator says about a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZonePolicy {
    /// The name of the apex.
    pub origin: Name,
    /// Who writes: part of every marker.
    pub cluster: String,
    /// Whether nobody else writes in the zone: what stands at a name without a marker is then nobody's.
    pub dedicated: bool,
    /// Names that may be taken over although somebody else has them.
    pub adopt: BTreeSet<Name>,
}

/// Names whose marker of a higher generation may be overwritten, with that generation
/// ([`Fence::lapsed`](super::fence::Fence::lapsed)).
pub type Lapsed = BTreeMap<Name, u64>;

/// What to do at one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZonePlan {
    /// In the order in which they should be made: by phase, then by name.
    pub writes: Vec<Write>,
    /// Names that are somebody else's.
    pub conflicts: BTreeMap<Name, Conflict>,
    /// Names that are left as they are because the guards say so.
    pub holds: BTreeMap<Name, Hold>,
    /// Names that somebody with a newer view has written: nothing is done about them.
    pub stale: BTreeMap<Name, Stale>,
    /// Names that cannot be published in this zone.
    pub unfit: BTreeMap<Name, Unfit>,
    /// Names that are as they should be, with the generation of their marker; none for those that should not be there and are not.
    pub unchanged: BTreeMap<Name, Option<u64>>,
    /// Names that were not read yet.
    pub unread: BTreeSet<Name>,
}

/// A change of one name, in one message or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The owner name.
    pub name: Name,
    /// The object that asks for it; none for a withdrawal.
    pub object: Option<ObjectKey>,
    /// What sort of change it is.
    pub kind: WriteKind,
    /// When it is due.
    pub phase: Phase,
    /// What must be so on the server.
    pub prerequisites: Vec<Prerequisite>,
    /// What is done.
    pub changes: Vec<Change>,
    /// What the marker says afterwards; none after a deletion.
    pub marker: Option<Marker>,
    /// At most so many octets of a message.
    pub octets: usize,
}

/// What sort of change a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WriteKind {
    /// Nothing stands there.
    Create,
    /// Ours, with other content.
    Replace,
    /// Ours by its marker, and not what the marker says: somebody else has changed it.
    Repair,
    /// Somebody else's, which the policy lets us take over.
    Adopt,
    /// Ours, and not asked for any more.
    Delete,
}

impl WriteKind {
    /// The word for it in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Repair => "repair",
            Self::Adopt => "adopt",
            Self::Delete => "delete",
        }
    }
}

/// In which order writes are made: a phase begins when the writes of the one before were applied or are given up for now. So
/// what replaces is there before what it replaces goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Records are added, none goes.
    Add,
    /// Records are added and others go, or their TTL changes.
    Swap,
    /// Records go, none is added.
    Remove,
}

/// A name that is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{name}\" is not ours to write: {owner}")]
pub struct Conflict {
    /// The name.
    pub name: Name,
    /// The object that asks for it.
    pub object: ObjectKey,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Another installation, by its marker.
    Cluster(String),
    /// An external-dns, by the owner that it has noted.
    ExternalDns(String),
    /// Nobody knows: records of these types without a marker.
    Records(BTreeSet<RecordType>),
    /// Records of these types beside our own, which only who made them may remove.
    Beside(BTreeSet<RecordType>),
    /// At the marker's name stands text that is no marker of ours.
    Text,
}

impl Owner {
    /// The owner in a word for conditions and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "OtherCluster",
            Self::ExternalDns(_) => "ExternalDns",
            Self::Records(_) | Self::Beside(_) => "ForeignRecords",
            Self::Text => "ForeignMarker",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |types: &BTreeSet<RecordType>| types.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ");
        match self {
            Self::Cluster(cluster) => write!(f, "its marker is of the cluster \"{cluster}\""),
            Self::ExternalDns(owner) => write!(f, "an external-dns with the owner id \"{owner}\" has it"),
            Self::Records(types) => write!(f, "records without a marker stand there ({})", list(types)),
            Self::Beside(types) => write!(f, "records that are not ours stand in the way ({})", list(types)),
            Self::Text => write!(f, "text that is no marker stands at the name of its marker"),
        }
    }
}

/// A name that somebody with a newer view has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("written with generation {theirs}, we have {ours}")]
pub struct Stale {
    /// The generation that we would write.
    pub ours: u64,
    /// The generation of the marker.
    pub theirs: u64,
}

/// Why a name cannot be published in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Unfit {
    /// It is no name of the zone.
    #[error("is not within the zone")]
    OutsideZone,
    /// Only markers stand there.
    #[error("is below _nearside, where only markers stand")]
    SideTree,
    /// RFC 1035 §2.3.4.
    #[error("is so long that there is no room for the name of its marker")]
    LongMarker,
    /// RFC 1034 §3.6.2: SOA and NS stand there.
    #[error("is the apex of the zone, where no CNAME can stand")]
    ApexAlias,
    /// RFC 1034 §3.6.2.
    #[error("would have a CNAME beside other records")]
    AliasBesideData,
    /// Nothing is never published.
    #[error("has no record")]
    Empty,
}

/// What to write, given what the server holds. `observed` holds the names that were read; the others wait.
pub fn plan(
    policy: &ZonePolicy,
    intents: &BTreeMap<Name, Intent>,
    observed: &BTreeMap<Name, Observed>,
    lapsed: &Lapsed,
) -> ZonePlan {
    let mut plan = ZonePlan::default();
    for (name, intent) in intents {
        let name = name.clone();
        match decide::decide(policy, &name, intent, observed.get(&name), lapsed.get(&name).copied()) {
            decide::Verdict::Write(write) => plan.writes.push(*write),
            decide::Verdict::Conflict(conflict) => drop(plan.conflicts.insert(name, conflict)),
            decide::Verdict::Hold(hold) => drop(plan.holds.insert(name, hold)),
            decide::Verdict::Stale(stale) => drop(plan.stale.insert(name, stale)),
            decide::Verdict::Unfit(unfit) => drop(plan.unfit.insert(name, unfit)),
            decide::Verdict::Unchanged(generation) => drop(plan.unchanged.insert(name, generation)),
            decide::Verdict::Unread => drop(plan.unread.insert(name)),
        }
    }
    plan.writes.sort_by_key(|write| write.phase);
    plan
}

/// Types that answer a client's question for an address: at a name of ours they are all ours, since one that somebody else
/// adds would send clients elsewhere. Of the others only those that the marker names are.
pub(super) const EXCLUSIVE: [RecordType; 3] = [RecordType::A, RecordType::Aaaa, RecordType::Cname];
