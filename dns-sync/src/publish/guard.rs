//! What should stand at each name, so that no data never means no records: what the source tells and what the disk remembers flow
//! in with times, intents flow out, those that have changed. Pure; one a process, so that all servers are told the same. Fed by
//! the task that reads the objects.
//!
//! A name is withdrawn only when its object was seen to be deleted or to name it no more, or was missing in complete lists for
//! [`ORPHAN_GRACE`]; only while the source is live; after a moment in which it may come back; and not together with a large part of
//! its zone before somebody has confirmed that. Withdrawals that are held for that reason stay so until then.

mod asked;
mod release;

use self::asked::{Asked, Objects};
use self::release::{Going, Releases, State};
use super::cap::{Capped, cap};
use super::garbage::Found;
use super::intent::{DesiredName, Hold, Intent};
use super::last_good::{LastGood, Remembered};
use super::observed::RecordSets;
use crate::desired::{Desired, ObjectKey, Problem, Rejection};
use crate::limits::{ORPHAN_GRACE, SOURCE_TOLERANCE};
use crate::name::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What is certain about a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// From a directory: what is not in it is gone.
    Certain,
    /// From a cluster: what is not in it may be there all the same.
    Claimed,
}

/// Whether the source tells all changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It does.
    Live,
    /// It cannot be read, or not completely.
    Failing,
}

/// What has changed, by zone and name. None for names that are no matter of ours any more.
pub type Changed = BTreeMap<Name, BTreeMap<Name, Option<Intent>>>;

/// Names that several objects ask for, with those that are not the first.
pub type Shared = BTreeMap<Name, Vec<ObjectKey>>;

/// Makes intents.
#[derive(Debug, Default)]
pub struct Guard {
    zones: BTreeMap<Name, Zone>,
    objects: Objects,
    dirty: BTreeSet<Name>,
    /// Whether a complete list has come.
    listed: bool,
    live_since: Option<Instant>,
    failing_since: Option<Instant>,
    rejections: BTreeMap<Name, Vec<Rejection>>,
    shared: Shared,
    capped: BTreeMap<Name, Vec<Capped>>,
}

#[derive(Debug, Default)]
struct Zone {
    names: BTreeMap<Name, Entry>,
    releases: Releases,
}

#[derive(Debug)]
struct Entry {
    /// What is asked for; of a name that goes what was asked for last.
    desired: DesiredName,
    /// Whether all objects that ask for it are missing in the list.
    unconfirmed: bool,
    going: Option<Going>,
    given: Option<Intent>,
}

impl Guard {
    /// Begins with these zones, by origin, and with what is remembered of them. Nothing follows from that but what to look for.
    pub fn new(zones: impl IntoIterator<Item = (Name, LastGood)>) -> Self {
        let mut guard = Self::default();
        let mut remembered: BTreeMap<ObjectKey, Asked> = BTreeMap::new();
        for (origin, known) in zones {
            let mut zone = Zone::default();
            for (name, Remembered { sets, generation, object }) in known.names {
                let asked = remembered.entry(object.clone()).or_insert_with(|| Asked::remembered(generation));
                asked.records.extend(sets.values().map(|rrset| (0, name.clone(), rrset.clone())));
                guard.dirty.insert(name.clone());
                let desired = DesiredName { sets, generation, object };
                zone.names.insert(name, Entry { desired, unconfirmed: true, going: None, given: None });
            }
            guard.zones.insert(origin, zone);
        }
        for (key, asked) in remembered {
            guard.objects.put(key, asked);
        }
        guard
    }

    /// An object was added or changed.
    pub fn apply(&mut self, object: &Desired) {
        let asked = Asked::of(object, self.rejections_of(object));
        self.dirty.extend(self.objects.put(object.key.clone(), asked));
    }

    /// What of an object cannot be published here. An object whose names are all outside of the zones is another publisher's matter,
    /// and shares of addresses are nothing that other name servers know.
    fn rejections_of(&self, object: &Desired) -> Vec<Rejection> {
        let aliases: Vec<_> =
            object.wildcard_aliases.iter().filter(|(_, alias, _)| self.zone_of(alias.domain()).is_some()).collect();
        let is_nameless = object.records.is_empty() && object.wildcard_aliases.is_empty();
        let is_ours = || object.records.iter().any(|(_, name, _)| self.zone_of(name).is_some());
        let mut found = Vec::new();
        if is_nameless || !aliases.is_empty() || is_ours() {
            let is_share = |rejection: &&Rejection| matches!(rejection.problem, Problem::Weights(_));
            found.extend(object.rejections.iter().filter(|rejection| !is_share(rejection)).cloned());
        }
        found.extend(aliases.into_iter().map(|(index, alias, _)| Rejection {
            object: object.key.clone(),
            field: format!("spec.endpoints[{index}].dnsName"),
            problem: Problem::WildcardAlias(alias.to_string()),
        }));
        found
    }

    /// An object was seen to be deleted.
    pub fn deleted(&mut self, object: &ObjectKey) {
        self.dirty.extend(self.objects.remove(object));
    }

    /// These are all objects there are.
    pub fn listed<'d>(&mut self, objects: impl IntoIterator<Item = &'d Desired>, list: List, now: Instant) {
        let mut there = BTreeSet::new();
        for object in objects {
            self.apply(object);
            there.insert(object.key.clone());
        }
        let absent: Vec<ObjectKey> = self.objects.keys().filter(|key| !there.contains(*key)).cloned().collect();
        for key in absent {
            let names = match self.objects.missing(&key, list, now) {
                true => self.objects.remove(&key),
                false => self.objects.names(&key),
            };
            self.dirty.extend(names);
        }
        if !std::mem::replace(&mut self.listed, true) {
            self.dirty.extend(self.zones.values().flat_map(|zone| zone.names.keys().cloned()));
        }
    }

    /// The source tells all changes from now on, or does not.
    pub fn source(&mut self, source: Source, now: Instant) {
        (self.live_since, self.failing_since) = match source {
            Source::Live => (self.live_since.or(Some(now)), None),
            Source::Failing => (None, self.failing_since.or(Some(now))),
        };
    }

    /// Somebody has confirmed that names of a zone may go until then, however many.
    pub fn confirm(&mut self, zone: &Name, until: Instant) {
        if let Some(zone) = self.zones.get_mut(zone) {
            zone.releases.confirm(until);
        }
    }

    /// No server of the zone holds the name any more. Does nothing where it is asked for again.
    pub fn gone(&mut self, zone: &Name, name: &Name) {
        let Some(zone) = self.zones.get_mut(zone) else { return };
        if zone.names.get(name).is_some_and(|entry| matches!(entry.given, Some(Intent::Withdraw { .. }))) {
            zone.names.remove(name);
            self.dirty.insert(name.clone());
        }
    }

    /// A server holds a name that nobody asks for, and that is ours by its marker or by being nobody's in a dedicated zone. Unless
    /// somebody asks for it meanwhile it goes after [`ORPHAN_GRACE`], as everything that goes.
    pub fn found(&mut self, zone: &Name, name: &Name, found: Found, now: Instant) {
        if self.zone_of(name).as_ref() != Some(zone) {
            return;
        }
        let Some(zone) = self.zones.get_mut(zone).filter(|zone| !zone.names.contains_key(name)) else { return };
        let object = ObjectKey { namespace: String::new(), name: String::new() };
        let desired = DesiredName { sets: found.sets, generation: found.generation, object };
        let going = Some(Going { since: now + ORPHAN_GRACE, state: State::Pending });
        zone.releases.note(name);
        zone.names.insert(name.clone(), Entry { desired, unconfirmed: true, going, given: None });
    }

    /// A server holds what is asked for under a marker of this generation. What changes from now on is newer than that.
    pub fn saw(&mut self, zone: &Name, name: &Name, generation: u64) {
        let entry = self.zones.get_mut(zone).and_then(|zone| zone.names.get_mut(name));
        if let Some(entry) = entry.filter(|entry| entry.desired.generation < generation) {
            entry.desired.generation = generation;
        }
    }

    /// What has changed since the last call.
    pub fn changed(&mut self, now: Instant) -> Changed {
        let expired = self.objects.expire(self.live_since, now);
        self.dirty.extend(expired);
        let dirty = std::mem::take(&mut self.dirty);
        let mut changed = Changed::new();
        for name in &dirty {
            let Some(origin) = self.zone_of(name) else { continue };
            if !self.update(&origin, name, now) {
                changed.entry(origin).or_default().insert(name.clone(), None);
            }
        }
        let silent = self.is_silent(now);
        let listed = self.listed;
        for (origin, zone) in &mut self.zones {
            if !silent {
                release::decide(zone, now);
            }
            let going: Vec<Name> = zone.releases.going().cloned().collect();
            for name in dirty.iter().chain(&going) {
                let Some(entry) = zone.names.get_mut(name) else { continue };
                let intent = entry.intent(listed, silent);
                if entry.given.as_ref() != Some(&intent) {
                    entry.given = Some(intent.clone());
                    changed.entry(origin.clone()).or_default().insert(name.clone(), Some(intent));
                }
            }
        }
        changed
    }

    /// When [`changed`](Self::changed) has something although nothing new is told.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let silence = self.failing_since.map(|since| since + SOURCE_TOLERANCE);
        let expiry = self.objects.next_expiry(self.live_since);
        let release = self.zones.values().filter_map(release::next);
        silence.into_iter().chain(expiry).chain(release).filter(|at| *at > now).min()
    }

    /// Since when the source has told all changes without a break.
    pub fn live_since(&self) -> Option<Instant> {
        self.live_since.filter(|_| self.listed)
    }

    /// Whether the source has been silent for so long that nothing is withdrawn.
    pub fn is_silent(&self, now: Instant) -> bool {
        !self.listed || self.failing_since.is_some_and(|since| now.saturating_duration_since(since) >= SOURCE_TOLERANCE)
    }

    /// The names that an object asks for, with their zones; those outside of all zones are another publisher's matter.
    pub fn names_of(&self, object: &ObjectKey) -> BTreeMap<Name, Name> {
        let names = self.objects.names(object).into_iter();
        names.filter_map(|name| Some((name.clone(), self.zone_of(&name)?))).collect()
    }

    /// What was left out: of single objects, and because other objects ask for something that cannot stand beside it.
    pub fn rejections(&self) -> impl Iterator<Item = &Rejection> {
        self.objects.rejections().chain(self.rejections.values().flatten())
    }

    /// Whether an object has other parts that cannot be published than at the last call, though it may ask for the same.
    pub fn rejections_have_changed(&mut self) -> bool {
        self.objects.rejections_have_changed()
    }

    /// The names that several objects ask for.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The RRsets of which only a part is published.
    pub fn capped(&self) -> impl Iterator<Item = (&Name, &Capped)> {
        self.capped.iter().flat_map(|(name, all)| all.iter().map(move |one| (name, one)))
    }

    /// What is to be remembered of a zone.
    pub fn last_good(&self, zone: &Name) -> LastGood {
        let entries = self.zones.get(zone).into_iter().flat_map(|zone| &zone.names);
        let remembered = |(name, entry): (&Name, &Entry)| {
            let DesiredName { sets, generation, object } = entry.desired.clone();
            (name.clone(), Remembered { sets, generation, object })
        };
        // What was found at a server is found there again.
        let asked_for = entries.filter(|(_, entry)| !entry.desired.object.name.is_empty());
        LastGood { names: asked_for.map(remembered).collect() }
    }

    fn zone_of(&self, name: &Name) -> Option<Name> {
        name.suffixes().find_map(|suffix| self.zones.get_key_value(suffix)).map(|(origin, _)| origin.clone())
    }

    /// Whether there still is anything to say about the name.
    fn update(&mut self, origin: &Name, name: &Name, now: Instant) -> bool {
        let Some(zone) = self.zones.get_mut(origin) else { return true };
        let Some(united) = self.objects.united(name) else {
            self.rejections.remove(name);
            self.shared.remove(name);
            self.capped.remove(name);
            let Some(entry) = zone.names.get_mut(name) else { return false };
            if entry.going.is_none() {
                entry.going = Some(Going { since: now, state: State::Pending });
                zone.releases.note(name);
            }
            return true;
        };
        set(&mut self.rejections, name, united.rejections);
        set(&mut self.shared, name, united.others);
        let (sets, capped) = cap(name, united.sets);
        set(&mut self.capped, name, capped);
        let last = zone.names.get(name);
        let generation = next_generation(last.map(|entry| &entry.desired), united.generation, &sets);
        let given = last.and_then(|entry| entry.given.clone());
        let desired = DesiredName { sets, generation, object: united.object };
        zone.releases.forget(name);
        zone.names.insert(name.clone(), Entry { desired, unconfirmed: united.unconfirmed, going: None, given });
        true
    }
}

impl Entry {
    fn intent(&self, listed: bool, silent: bool) -> Intent {
        match &self.going {
            _ if !listed => Intent::Hold(Hold::SourceSilent),
            None if self.unconfirmed => Intent::Hold(Hold::Unconfirmed),
            None => Intent::Publish(self.desired.clone()),
            Some(_) if silent => Intent::Hold(Hold::SourceSilent),
            Some(Going { state: State::Pending, .. }) if self.unconfirmed => Intent::Hold(Hold::Unconfirmed),
            Some(Going { state: State::Pending, .. }) => Intent::Hold(Hold::Lingering),
            Some(Going { state: State::Held { going, of }, .. }) => {
                Intent::Hold(Hold::TooMany { going: *going, of: *of })
            }
            Some(Going { state: State::Released, .. }) => Intent::Withdraw { generation: self.desired.generation },
        }
    }
}

/// The generation of new content is higher than that of the content before, also where an object was made again and counts from
/// the start, or where the one with the highest generation is gone. Objects without any generation give no order.
fn next_generation(last: Option<&DesiredName>, generation: u64, sets: &RecordSets) -> u64 {
    match last {
        Some(last) if generation > 0 && last.generation >= generation => {
            last.generation + u64::from(last.sets != *sets)
        }
        _ => generation,
    }
}

fn set<T>(all: &mut BTreeMap<Name, Vec<T>>, name: &Name, new: Vec<T>) {
    if new.is_empty() {
        all.remove(name);
    } else {
        all.insert(name.clone(), new);
    }
}

#[cfg(test)]
mod tests;
