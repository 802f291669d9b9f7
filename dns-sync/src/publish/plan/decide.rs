//! What becomes of one name at one server: the policy, the intent and what was read flow in, a verdict flows out. Pure; called
//! by `plan` for every name. A write is bound to the marker that was read, so what changed meanwhile makes it fail as a whole.

use super::{Conflict, EXCLUSIVE, Owner, Phase, Stale, Unfit, Write, WriteKind, ZonePolicy};
use crate::name::Name;
use crate::publish::intent::{DesiredName, Hold, Intent};
use crate::publish::marker::{Marker, is_in_side_tree, marker_name};
use crate::publish::observed::{Observed, ObservedMarker};
use crate::publish::update::{Change, Prerequisite};
use crate::record::{RecordType, Rrset};
use std::collections::BTreeSet;

/// What becomes of a name.
pub(super) enum Verdict {
    Write(Box<Write>),
    Conflict(Conflict),
    Hold(Hold),
    Stale(Stale),
    Unfit(Unfit),
    Unchanged(Option<u64>),
    Unread,
}

/// Decides. `lapsed` is the generation of a marker that may be overwritten although it is higher than ours.
pub(super) fn decide(
    policy: &ZonePolicy,
    name: &Name,
    intent: &Intent,
    observed: Option<&Observed>,
    lapsed: Option<u64>,
) -> Verdict {
    let marker_name = match fit(policy, name, intent) {
        Ok(marker_name) => marker_name,
        Err(unfit) => return Verdict::Unfit(unfit),
    };
    let Some(observed) = observed else { return Verdict::Unread };
    let place = Place { policy, name, marker_name, observed, lapsed };
    match intent {
        Intent::Hold(hold) => Verdict::Hold(hold.clone()),
        Intent::Withdraw { generation } => place.withdraw(*generation),
        Intent::Publish(desired) => place.publish(desired),
    }
}

/// The name of the marker, where the name can be published in the zone.
fn fit(policy: &ZonePolicy, name: &Name, intent: &Intent) -> Result<Name, Unfit> {
    if !name.is_within(&policy.origin) {
        return Err(Unfit::OutsideZone);
    }
    if is_in_side_tree(name, &policy.origin) {
        return Err(Unfit::SideTree);
    }
    if let Intent::Publish(desired) = intent {
        if desired.sets.values().all(|rrset| rrset.data.count() == 0) {
            return Err(Unfit::Empty);
        }
        if desired.sets.contains_key(&RecordType::Cname) {
            if *name == policy.origin {
                return Err(Unfit::ApexAlias);
            }
            if desired.sets.len() > 1 {
                return Err(Unfit::AliasBesideData);
            }
        }
    }
    marker_name(name, &policy.origin).ok_or(Unfit::LongMarker)
}

/// One name at one server.
struct Place<'p> {
    policy: &'p ZonePolicy,
    name: &'p Name,
    marker_name: Name,
    observed: &'p Observed,
    lapsed: Option<u64>,
}

impl Place<'_> {
    fn publish(&self, desired: &DesiredName) -> Verdict {
        let owner = match &self.observed.marker {
            ObservedMarker::Read(marker) if marker.cluster == self.policy.cluster => {
                return self.keep(desired, marker);
            }
            ObservedMarker::Foreign(_) => return self.conflict(desired, Owner::Text),
            ObservedMarker::Read(marker) => Some(Owner::Cluster(marker.cluster.clone())),
            ObservedMarker::Absent => self.observed.external_dns.clone().map(Owner::ExternalDns),
        };
        let foreign = self.foreign(desired);
        // In a dedicated zone records without a marker are nobody's.
        let records = || (!foreign.is_empty() && !self.policy.dedicated).then(|| Owner::Records(foreign.clone()));
        match owner.or_else(records) {
            Some(owner) if !self.policy.adopt.contains(self.name) => self.conflict(desired, owner),
            None if foreign.is_empty() => self.create(desired),
            _ => self.take_over(desired),
        }
    }

    /// The types of the records in the way of a name that is not ours.
    fn foreign(&self, desired: &DesiredName) -> BTreeSet<RecordType> {
        let counts = |held: &RecordType| {
            // The apex always has records; elsewhere a name that is in use is somebody's.
            *self.name != self.policy.origin || EXCLUSIVE.contains(held) || desired.sets.contains_key(held)
        };
        self.observed.sets.keys().copied().filter(counts).collect()
    }

    fn create(&self, desired: &DesiredName) -> Verdict {
        let mut prerequisites = vec![self.no_marker()];
        if *self.name == self.policy.origin {
            let types: BTreeSet<RecordType> = desired.sets.keys().copied().chain(EXCLUSIVE).collect();
            prerequisites.extend(types.into_iter().map(|held| self.absent(held)));
        } else if !self.policy.dedicated {
            prerequisites.push(Prerequisite::NameNotInUse(self.name.clone()));
        }
        let marker = Marker::of(&self.policy.cluster, desired.generation, &desired.sets);
        let mut changes = self.additions(desired, |_| true);
        changes.push(Change::AddRrset(self.marker_name.clone(), marker.rrset()));
        self.write(WriteKind::Create, desired, prerequisites, changes, marker)
    }

    /// Takes over a name without a marker of ours; bound to what was read, except in a dedicated zone.
    fn take_over(&self, desired: &DesiredName) -> Verdict {
        let theirs = match &self.observed.marker {
            ObservedMarker::Read(marker) => marker.types.clone(),
            _ => BTreeSet::new(),
        };
        let goes =
            |held: &RecordType| EXCLUSIVE.contains(held) || theirs.contains(held) || desired.sets.contains_key(held);
        if let Some(conflict) = self.beside(desired, goes) {
            return conflict;
        }
        let going: Vec<RecordType> = self.observed.sets.keys().copied().filter(goes).collect();
        let mut prerequisites = match &self.observed.marker {
            ObservedMarker::Read(marker) => vec![self.marker_is(marker)],
            _ => vec![self.no_marker()],
        };
        if !self.policy.dedicated {
            let was = |held: &RecordType| {
                let rrset = self.observed.sets.get(held)?;
                Some(Prerequisite::RrsetEquals(self.name.clone(), rrset.clone()))
            };
            prerequisites.extend(going.iter().filter_map(was));
            let new = desired.sets.keys().filter(|wanted| !self.observed.sets.contains_key(wanted));
            prerequisites.extend(new.map(|wanted| self.absent(*wanted)));
        }
        let mut changes: Vec<Change> = going.into_iter().map(|held| self.removal(held)).collect();
        changes.extend(self.additions(desired, |_| true));
        let marker = Marker::of(&self.policy.cluster, desired.generation, &desired.sets);
        if matches!(self.observed.marker, ObservedMarker::Read(_)) {
            changes.push(Change::DeleteRrset(self.marker_name.clone(), RecordType::Txt));
        }
        changes.push(Change::AddRrset(self.marker_name.clone(), marker.rrset()));
        self.write(WriteKind::Adopt, desired, prerequisites, changes, marker)
    }

    /// Makes a name of ours what it should be.
    fn keep(&self, desired: &DesiredName, held: &Marker) -> Verdict {
        let goes = |known: &RecordType| EXCLUSIVE.contains(known) || held.types.contains(known);
        let adopted = self.policy.adopt.contains(self.name);
        if let Some(conflict) = self.beside(desired, |known| goes(known) || adopted && desired.sets.contains_key(known))
        {
            return conflict;
        }
        let mut marker = Marker::of(&self.policy.cluster, desired.generation, &desired.sets);
        let is_said = marker.digest == held.digest && marker.types == held.types;
        if is_said {
            // Whoever wrote it wants the same, and knows a newer object.
            marker.generation = marker.generation.max(held.generation);
        }
        let differs = |wanted: RecordType| !matches!((desired.sets.get(&wanted), self.observed.sets.get(&wanted)), (Some(a), Some(b)) if is_same(a, b));
        let surplus: Vec<RecordType> = self.observed.sets.keys().copied().filter(goes).collect();
        let surplus: Vec<RecordType> = surplus.into_iter().filter(|known| !desired.sets.contains_key(known)).collect();
        let right = surplus.is_empty() && desired.sets.keys().all(|wanted| !differs(*wanted));
        if right && is_said {
            return Verdict::Unchanged(Some(held.generation));
        }
        if held.generation > marker.generation && self.lapsed != Some(held.generation) {
            return Verdict::Stale(Stale { ours: desired.generation, theirs: held.generation });
        }
        let replaced = desired.sets.keys().filter(|wanted| differs(**wanted));
        let replaced = replaced.filter(|wanted| self.observed.sets.contains_key(wanted));
        let mut changes: Vec<Change> = surplus.iter().chain(replaced).map(|going| self.removal(*going)).collect();
        changes.extend(self.additions(desired, differs));
        if marker != *held {
            changes.push(Change::DeleteRrset(self.marker_name.clone(), RecordType::Txt));
            changes.push(Change::AddRrset(self.marker_name.clone(), marker.rrset()));
        }
        let kind = if is_said { WriteKind::Repair } else { WriteKind::Replace };
        self.write(kind, desired, vec![self.marker_is(held)], changes, marker)
    }

    fn withdraw(&self, generation: u64) -> Verdict {
        let held = match &self.observed.marker {
            ObservedMarker::Read(marker) if marker.cluster == self.policy.cluster => marker,
            ObservedMarker::Absent if self.policy.dedicated && self.observed.external_dns.is_none() => {
                return self.collect();
            }
            _ => return Verdict::Unchanged(None),
        };
        if held.generation > generation && self.lapsed != Some(held.generation) {
            return Verdict::Stale(Stale { ours: generation, theirs: held.generation });
        }
        let going = held.types.iter().filter(|known| self.observed.sets.contains_key(known));
        let mut changes: Vec<Change> = going.map(|known| self.removal(*known)).collect();
        changes.push(Change::DeleteRrset(self.marker_name.clone(), RecordType::Txt));
        self.delete(vec![self.marker_is(held)], changes)
    }

    /// Removes the addresses of a name that is nobody's, as they were read.
    fn collect(&self) -> Verdict {
        let addresses = || self.observed.sets.iter().filter(|(known, _)| EXCLUSIVE.contains(known));
        let was = addresses().map(|(_, rrset)| Prerequisite::RrsetEquals(self.name.clone(), rrset.clone()));
        let prerequisites: Vec<Prerequisite> = std::iter::once(self.no_marker()).chain(was).collect();
        let changes: Vec<Change> = addresses().map(|(known, _)| self.removal(*known)).collect();
        if changes.is_empty() { Verdict::Unchanged(None) } else { self.delete(prerequisites, changes) }
    }

    fn delete(&self, prerequisites: Vec<Prerequisite>, changes: Vec<Change>) -> Verdict {
        let octets = octets(&prerequisites, &changes);
        Verdict::Write(Box::new(Write {
            name: self.name.clone(),
            object: None,
            kind: WriteKind::Delete,
            phase: Phase::Remove,
            prerequisites,
            changes,
            marker: None,
            octets,
        }))
    }

    /// The conflict with records that stay and cannot stand beside ours.
    fn beside(&self, desired: &DesiredName, goes: impl Fn(&RecordType) -> bool) -> Option<Verdict> {
        let is_alias = desired.sets.contains_key(&RecordType::Cname);
        let in_the_way = |known: &RecordType| !goes(known) && (is_alias || desired.sets.contains_key(known));
        let types: BTreeSet<RecordType> = self.observed.sets.keys().copied().filter(in_the_way).collect();
        (!types.is_empty()).then(|| self.conflict(desired, Owner::Beside(types)))
    }

    fn conflict(&self, desired: &DesiredName, owner: Owner) -> Verdict {
        Verdict::Conflict(Conflict { name: self.name.clone(), object: desired.object.clone(), owner })
    }

    fn write(
        &self,
        kind: WriteKind,
        desired: &DesiredName,
        prerequisites: Vec<Prerequisite>,
        changes: Vec<Change>,
        marker: Marker,
    ) -> Verdict {
        let octets = octets(&prerequisites, &changes);
        Verdict::Write(Box::new(Write {
            name: self.name.clone(),
            object: Some(desired.object.clone()),
            kind,
            phase: self.phase(&changes),
            prerequisites,
            changes,
            marker: Some(marker),
            octets,
        }))
    }

    /// By the records that come and go at the name itself.
    fn phase(&self, changes: &[Change]) -> Phase {
        let (mut old, mut new): (BTreeSet<_>, BTreeSet<_>) = (BTreeSet::new(), BTreeSet::new());
        let records_of = |rrset: &Rrset, all: &mut BTreeSet<(RecordType, u32, Vec<u8>)>| {
            let texts = rrset.data.sorted_texts().into_iter();
            all.extend(texts.map(|text| (rrset.data.record_type(), rrset.ttl.seconds(), text)));
        };
        for change in changes {
            match change {
                Change::DeleteRrset(name, known) if name == self.name => {
                    self.observed.sets.get(known).into_iter().for_each(|rrset| records_of(rrset, &mut old));
                }
                Change::AddRrset(name, rrset) if name == self.name => records_of(rrset, &mut new),
                _ => {}
            }
        }
        match (new.is_subset(&old), old.is_subset(&new)) {
            (true, true) | (false, false) => Phase::Swap,
            (false, true) => Phase::Add,
            (true, false) => Phase::Remove,
        }
    }

    fn additions(&self, desired: &DesiredName, wanted: impl Fn(RecordType) -> bool) -> Vec<Change> {
        let sets = desired.sets.iter().filter(|(record_type, _)| wanted(**record_type));
        sets.map(|(_, rrset)| Change::AddRrset(self.name.clone(), rrset.clone())).collect()
    }

    fn removal(&self, record_type: RecordType) -> Change {
        Change::DeleteRrset(self.name.clone(), record_type)
    }

    fn absent(&self, record_type: RecordType) -> Prerequisite {
        Prerequisite::RrsetAbsent(self.name.clone(), record_type)
    }

    fn no_marker(&self) -> Prerequisite {
        Prerequisite::RrsetAbsent(self.marker_name.clone(), RecordType::Txt)
    }

    fn marker_is(&self, marker: &Marker) -> Prerequisite {
        Prerequisite::RrsetEquals(self.marker_name.clone(), marker.rrset())
    }
}

/// Equal records and TTL, in whatever order they are held.
pub(super) fn is_same(a: &Rrset, b: &Rrset) -> bool {
    let of = |rrset: &Rrset| (rrset.data.record_type(), rrset.ttl, rrset.data.sorted_texts());
    a == b || of(a) == of(b)
}

/// The octets of a message, names not compressed.
fn octets(prerequisites: &[Prerequisite], changes: &[Change]) -> usize {
    let empty = |name: &Name| name.as_wire().len() + RECORD_OCTETS;
    let records = |name: &Name, rrset: &Rrset| -> usize {
        rrset.data.sorted_texts().iter().map(|record| empty(name) + record.len()).sum()
    };
    let before = prerequisites.iter().map(|prerequisite| match prerequisite {
        Prerequisite::NameInUse(name) | Prerequisite::NameNotInUse(name) | Prerequisite::RrsetAbsent(name, _) => {
            empty(name)
        }
        Prerequisite::RrsetEquals(name, rrset) => records(name, rrset),
    });
    let after = changes.iter().map(|change| match change {
        Change::DeleteRrset(name, _) => empty(name),
        Change::AddRrset(name, rrset) => records(name, rrset),
    });
    before.chain(after).sum()
}

/// Type, class, TTL and length of a record (RFC 1035 §3.2.1).
const RECORD_OCTETS: usize = 10;
