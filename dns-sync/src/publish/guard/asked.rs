//! What the objects ask for, by name: objects flow in, what they ask for together flows out. Pure; a part of the guards. An object
//! that is missing in a list goes on asking until it is clear that it is gone.

use super::List;
use crate::desired::{Desired, ObjectKey, Rejection};
use crate::limits::ORPHAN_GRACE;
use crate::name::Name;
use crate::publish::observed::RecordSets;
use crate::record::Rrset;
use crate::zone::build::unite;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What one object asks for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    generation: u64,
    /// With the index in `spec.endpoints[]`.
    pub(super) records: Vec<(usize, Name, Rrset)>,
    /// Since which complete list it is missing.
    missing_since: Option<Instant>,
    /// Whether only the disk knows it.
    remembered: bool,
    /// What of it cannot be published.
    rejections: Vec<Rejection>,
}

/// What all objects that ask for a name ask for together.
#[derive(Debug)]
pub(super) struct United {
    pub(super) sets: RecordSets,
    pub(super) generation: u64,
    pub(super) object: ObjectKey,
    /// Whether none of them is known to be there.
    pub(super) unconfirmed: bool,
    pub(super) rejections: Vec<Rejection>,
    /// The others that are known to ask for it beside [`United::object`].
    pub(super) others: Vec<ObjectKey>,
}

/// All objects, by key and by the names that they ask for.
#[derive(Debug, Default)]
pub(super) struct Objects {
    by_key: BTreeMap<ObjectKey, Asked>,
    by_name: BTreeMap<Name, BTreeSet<ObjectKey>>,
    missing: BTreeSet<ObjectKey>,
    rejections: BTreeMap<ObjectKey, Vec<Rejection>>,
    /// Whether they are others than when that was asked last.
    rejections_changed: bool,
}

impl Asked {
    pub(super) fn of(object: &Desired, rejections: Vec<Rejection>) -> Self {
        let records = object.records.clone();
        Self { generation: object.generation, records, missing_since: None, remembered: false, rejections }
    }

    pub(super) fn remembered(generation: u64) -> Self {
        Self { generation, records: Vec::new(), missing_since: None, remembered: true, rejections: Vec::new() }
    }

    fn is_there(&self) -> bool {
        self.missing_since.is_none() && !self.remembered
    }
}

impl Objects {
    pub(super) fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.by_key.keys()
    }

    /// The names that an object asks for.
    pub(super) fn names(&self, key: &ObjectKey) -> BTreeSet<Name> {
        let records = self.by_key.get(key).into_iter().flat_map(|asked| &asked.records);
        records.map(|(_, name, _)| name.clone()).collect()
    }

    /// Puts an object in the place of what was known of it; gives the names that it asks or asked for.
    pub(super) fn put(&mut self, key: ObjectKey, asked: Asked) -> BTreeSet<Name> {
        let before = self.rejections.get(&key).cloned().unwrap_or_default();
        let changed = self.rejections_changed || before != asked.rejections;
        let mut names = self.remove(&key);
        self.rejections_changed = changed;
        if !asked.rejections.is_empty() {
            self.rejections.insert(key.clone(), asked.rejections.clone());
        }
        for (_, name, _) in &asked.records {
            self.by_name.entry(name.clone()).or_default().insert(key.clone());
            names.insert(name.clone());
        }
        self.by_key.insert(key, asked);
        names
    }

    /// Removes an object; gives the names that it asked for.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> BTreeSet<Name> {
        let names = self.names(key);
        self.by_key.remove(key);
        self.missing.remove(key);
        self.rejections_changed |= self.rejections.remove(key).is_some();
        for name in &names {
            if let Some(keys) = self.by_name.get_mut(name) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
        names
    }

    /// What of the objects cannot be published, whatever the others ask for.
    pub(super) fn rejections(&self) -> impl Iterator<Item = &Rejection> {
        self.rejections.values().flatten()
    }

    /// Whether that has changed since the last call.
    pub(super) fn rejections_have_changed(&mut self) -> bool {
        std::mem::take(&mut self.rejections_changed)
    }

    /// Takes note that an object is missing in a list; gives whether it is gone.
    pub(super) fn missing(&mut self, key: &ObjectKey, list: List, now: Instant) -> bool {
        let Some(asked) = self.by_key.get_mut(key) else { return true };
        if list == List::Certain && !asked.remembered {
            return true;
        }
        let since = *asked.missing_since.get_or_insert(now);
        self.missing.insert(key.clone());
        now.saturating_duration_since(since) >= ORPHAN_GRACE
    }

    /// Removes objects that were missing when the source last gave everything, and that it has not told of for so long although
    /// it tells all changes: as good as a second list.
    pub(super) fn expire(&mut self, live_since: Option<Instant>, now: Instant) -> BTreeSet<Name> {
        let over: Vec<ObjectKey> =
            self.expiries(live_since).filter(|(_, at)| *at <= now).map(|(key, _)| key.clone()).collect();
        over.iter().flat_map(|key| self.remove(key)).collect()
    }

    /// When the next object counts as gone.
    pub(super) fn next_expiry(&self, live_since: Option<Instant>) -> Option<Instant> {
        self.expiries(live_since).map(|(_, at)| at).min()
    }

    fn expiries(&self, live_since: Option<Instant>) -> impl Iterator<Item = (&ObjectKey, Instant)> {
        let since = move |key: &ObjectKey| Some(self.by_key.get(key)?.missing_since?.max(live_since?));
        self.missing.iter().filter_map(move |key| Some((key, since(key)? + ORPHAN_GRACE)))
    }

    /// What is asked for at a name; none where nothing is.
    pub(super) fn united(&self, name: &Name) -> Option<United> {
        let keys = self.by_name.get(name)?;
        let asking: Vec<(&ObjectKey, &Asked)> = keys.iter().filter_map(|key| self.by_key.get_key_value(key)).collect();
        let records = asking.iter().flat_map(|(key, asked)| {
            let here = asked.records.iter().filter(|(_, at, _)| at == name);
            here.map(|(index, _, rrset)| (*key, *index, rrset))
        });
        let (rrsets, rejections) = unite(name, records);
        let sets = rrsets.into_iter().map(|rrset| (rrset.data.record_type(), rrset)).collect();
        let mut there = asking.iter().filter(|(_, asked)| asked.is_there()).map(|(key, _)| (*key).clone());
        let first = there.next();
        Some(United {
            sets,
            generation: asking.iter().map(|(_, asked)| asked.generation).max()?,
            unconfirmed: first.is_none(),
            object: first.or_else(|| asking.first().map(|(key, _)| (*key).clone()))?,
            rejections,
            others: there.collect(),
        })
    }
}
