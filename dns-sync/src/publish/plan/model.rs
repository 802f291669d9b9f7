//! A name server in a few lines, for tests: updates flow in and are applied as RFC 2136 §3 says, what it holds can be observed.

use crate::name::Name;
use crate::publish::failure::Failure;
use crate::publish::marker::marker_name;
use crate::publish::observed::{Observed, ObservedMarker, RecordSets};
use crate::publish::update::{Change, Prerequisite, Update};
use crate::record::{RecordType, Rrset, RrsetData};
use std::collections::BTreeMap;

/// All RRsets of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Server(pub(crate) BTreeMap<Name, RecordSets>);

impl Server {
    /// Applies a message as a whole, or not at all.
    pub(crate) fn update(&mut self, update: &Update) -> Result<(), Failure> {
        update.prerequisites.iter().try_for_each(|prerequisite| self.check(prerequisite))?;
        update.changes.iter().for_each(|change| self.change(change));
        Ok(())
    }

    /// What a publisher reads.
    pub(crate) fn observe(&self, zone: &Name, name: &Name) -> Observed {
        let marker = marker_name(name, zone).and_then(|at| self.set(&at, RecordType::Txt).cloned());
        let marker = match marker.map(|rrset| rrset.data) {
            None => ObservedMarker::Absent,
            Some(RrsetData::Txt(texts)) => {
                let read = |text: &[Box<[u8]>]| std::str::from_utf8(text.first()?).ok()?.parse().ok();
                match texts.as_slice() {
                    [only] => read(only).map_or_else(|| ObservedMarker::Foreign(texts.clone()), ObservedMarker::Read),
                    _ => ObservedMarker::Foreign(texts),
                }
            }
            Some(other) => panic!("{other:?} is no text"),
        };
        Observed { sets: self.0.get(name).cloned().unwrap_or_default(), marker, external_dns: None }
    }

    /// Puts an RRset in the place of what stands there, as somebody else might.
    pub(crate) fn put(&mut self, name: &Name, data: RrsetData, ttl: crate::record::Ttl) {
        self.change(&Change::DeleteRrset(name.clone(), data.record_type()));
        self.change(&Change::AddRrset(name.clone(), Rrset { ttl, data }));
    }

    fn set(&self, name: &Name, record_type: RecordType) -> Option<&Rrset> {
        self.0.get(name)?.get(&record_type)
    }

    /// RFC 2136 §3.2.
    fn check(&self, prerequisite: &Prerequisite) -> Result<(), Failure> {
        let (holds, rcode) = match prerequisite {
            Prerequisite::NameInUse(name) => (self.0.contains_key(name), "NXDOMAIN"),
            Prerequisite::NameNotInUse(name) => (!self.0.contains_key(name), "YXDOMAIN"),
            Prerequisite::RrsetAbsent(name, record_type) => (self.set(name, *record_type).is_none(), "YXRRSET"),
            Prerequisite::RrsetEquals(name, rrset) => {
                let held = self.set(name, rrset.data.record_type());
                (held.is_some_and(|held| held.data.sorted_texts() == rrset.data.sorted_texts()), "NXRRSET")
            }
        };
        if holds { Ok(()) } else { Err(Failure::Prerequisite(rcode)) }
    }

    /// RFC 2136 §3.4.2.
    fn change(&mut self, change: &Change) {
        match change {
            Change::DeleteRrset(name, record_type) => {
                if let Some(sets) = self.0.get_mut(name) {
                    sets.remove(record_type);
                    if sets.is_empty() {
                        self.0.remove(name);
                    }
                }
            }
            Change::AddRrset(name, rrset) => {
                let sets = self.0.get(name);
                let is_alias = matches!(rrset.data, RrsetData::Cname(_));
                let has_alias = sets.is_some_and(|sets| sets.contains_key(&RecordType::Cname));
                let has_data = sets.is_some_and(|sets| sets.keys().any(|held| *held != RecordType::Cname));
                if is_alias && has_data || !is_alias && has_alias {
                    return;
                }
                let sets = self.0.entry(name.clone()).or_default();
                let united = sets.get(&rrset.data.record_type()).and_then(|held| unite(&held.data, &rrset.data));
                let data = united.unwrap_or_else(|| rrset.data.clone());
                sets.insert(rrset.data.record_type(), Rrset { ttl: rrset.ttl, data });
            }
        }
    }
}

/// The records of both; only types of which the tests add to a set.
fn unite(held: &RrsetData, more: &RrsetData) -> Option<RrsetData> {
    match (held, more) {
        (RrsetData::A(held), RrsetData::A(more)) => Some(RrsetData::A(both(held, more))),
        (RrsetData::Txt(held), RrsetData::Txt(more)) => Some(RrsetData::Txt(both(held, more))),
        _ => None,
    }
}

fn both<T: Clone + Ord>(held: &[T], more: &[T]) -> Vec<T> {
    let mut all = [held, more].concat();
    all.sort();
    all.dedup();
    all
}
