//! Unites the selections of one kind: what each selection saw flows in, changes of whole kinds flow out. A list of one
//! selection must not delete what another one holds, an object that cannot be decoded keeps its last good version, and a
//! list that lacks too much is not believed at once (`hold`). What a snapshot on disk knows waits here until it is needed.

use crate::hold::{Decision, Reading, decide};
use crate::last_known::Recorder;
use crate::{Change, Kind, Object, ObjectKey, Selection};
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::sync::oneshot;

/// What a source saw of one selection.
#[derive(Debug)]
pub(crate) struct Update {
    /// The position of the selection in the list that the program gave; selections that came later are numbered on.
    pub(crate) selection: usize,
    pub(crate) event: Event,
}

#[derive(Debug)]
pub(crate) enum Event {
    Apply(Box<Object>),
    Delete(ObjectKey),
    /// A complete list. What is neither in `objects` nor in `kept` is gone, if the list is believed.
    List {
        objects: Vec<Object>,
        /// Objects that exist but could not be decoded.
        kept: Vec<ObjectKey>,
        reading: Reading,
        /// Is told how many objects are held that the list lacks.
        held: Option<oneshot::Sender<usize>>,
    },
    /// The source cannot be asked for these objects, and nothing was read of them yet.
    StandIn {
        /// Whether there may be such objects all the same.
        unknown: bool,
    },
}

/// How what a selection holds came about, from the worst to the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing is known yet.
    #[default]
    Waiting,
    /// From the snapshot on disk.
    Snapshot,
    /// Nothing, or what the snapshot on disk holds, since we may not know: there is no permission.
    Unknown,
    /// Nothing, since the cluster does not have the kind.
    Missing,
    /// As the source lists it.
    Live,
}

/// Which objects each selection holds.
#[derive(Debug)]
pub(crate) struct Merge {
    selections: BTreeMap<usize, Selected>,
    recorder: Recorder,
}

#[derive(Debug)]
struct Selected {
    kind: Kind,
    standing: Standing,
    /// Whether the first list has to come before anything counts as complete.
    essential: bool,
    keys: HashSet<ObjectKey>,
    /// Of these keys, those that the last list lacked.
    held: HashSet<ObjectKey>,
    /// What the snapshot on disk holds, until it is used or a list comes.
    shelved: Option<Vec<Object>>,
}

impl Selected {
    fn new(kind: Kind, essential: bool) -> Self {
        let (keys, held) = (HashSet::new(), HashSet::new());
        Self { kind, standing: Standing::Waiting, essential, keys, held, shelved: None }
    }
}

impl Merge {
    pub(crate) fn new(selections: &[Selection], recorder: Recorder) -> Self {
        let selected = |(position, selection): (usize, &Selection)| (position, Selected::new(selection.kind, true));
        Self { selections: selections.iter().enumerate().map(selected).collect(), recorder }
    }

    /// Whether something is known of every selection of the program.
    pub(crate) fn synced(&self) -> bool {
        self.selections.values().all(|selected| selected.standing != Standing::Waiting || !selected.essential)
    }

    /// The worst standing of a selection of the program.
    pub(crate) fn standing(&self) -> Standing {
        let essential = self.selections.values().filter(|selected| selected.essential);
        essential.map(|selected| selected.standing).min().unwrap_or(Standing::Live)
    }

    /// The standing of a selection, how many objects it holds, and how many of them the last list lacked.
    pub(crate) fn stock(&self, position: usize) -> (Standing, usize, usize) {
        let selected = self.selections.get(&position);
        selected.map_or((Standing::Waiting, 0, 0), |it| (it.standing, it.keys.len(), it.held.len()))
    }

    /// Adds a selection that came later. While a snapshot on disk is served, so is what it holds of this one.
    pub(crate) fn add(&mut self, position: usize, selection: &Selection, changes: &mut Vec<Change>) {
        self.selections.insert(position, Selected::new(selection.kind, false));
        self.recorder.add(position, selection);
        if self.standing() == Standing::Snapshot
            && let Some(last_known) = self.recorder.load(position)
        {
            self.shelve(position, last_known.objects);
            self.unshelve_one(position, changes);
        }
    }

    /// Takes such a selection out, and appends what is gone with it.
    pub(crate) fn remove(&mut self, position: usize, changes: &mut Vec<Change>) {
        for key in self.selections.remove(&position).into_iter().flat_map(|selected| selected.keys) {
            self.delete(position, key, changes);
        }
        self.recorder.remove(position);
    }

    /// Whether a selection was listed; so does one count that is not there any more.
    pub(crate) fn is_listed(&self, position: usize) -> bool {
        self.selections.get(&position).is_none_or(|selected| selected.standing != Standing::Waiting)
    }

    /// Takes a selection as listed.
    pub(crate) fn await_no_longer(&mut self, position: usize) {
        if let Some(selected) = self.selections.get_mut(&position).filter(|it| it.standing == Standing::Waiting) {
            selected.standing = Standing::Unknown;
        }
    }

    /// Puts aside what the snapshot on disk holds of a selection.
    pub(crate) fn shelve(&mut self, position: usize, objects: Vec<Object>) {
        if let Some(selected) = self.selections.get_mut(&position) {
            selected.shelved = Some(objects);
        }
    }

    /// Takes what was put aside for those selections that still wait, and gives their positions.
    pub(crate) fn unshelve(&mut self, changes: &mut Vec<Change>) -> Vec<usize> {
        let waiting = |(_, it): &(&usize, &Selected)| it.standing == Standing::Waiting && it.shelved.is_some();
        let positions: Vec<usize> = self.selections.iter().filter(waiting).map(|(position, _)| *position).collect();
        for position in &positions {
            self.unshelve_one(*position, changes);
        }
        positions
    }

    fn unshelve_one(&mut self, position: usize, changes: &mut Vec<Change>) -> bool {
        let Some(selected) = self.selections.get_mut(&position) else { return false };
        let Some(objects) = selected.shelved.take() else { return false };
        selected.standing = Standing::Snapshot;
        selected.keys = objects.iter().map(Object::key).collect();
        self.replace(position, objects, changes);
        true
    }

    /// Appends what an update means for its kind.
    pub(crate) fn take(&mut self, update: Update, changes: &mut Vec<Change>) {
        let Update { selection, event } = update;
        // What was on its way when its selection was taken out.
        let Some(selected) = self.selections.get_mut(&selection) else { return };
        match event {
            Event::Apply(object) => {
                let key = object.key();
                selected.held.remove(&key);
                selected.keys.insert(key);
                self.recorder.apply(selection, &object);
                changes.push(Change::Apply(*object));
            }
            Event::Delete(key) => {
                selected.held.remove(&key);
                // Of something that was never known there is nothing to delete.
                let known = selected.keys.remove(&key);
                self.recorder.delete(selection, &key);
                if known {
                    self.delete(selection, key, changes);
                }
            }
            Event::List { objects, kept, reading, held } => {
                let count = self.list(selection, objects, &kept, reading, changes);
                // Nobody waits for the answer of a list of manifests.
                held.map(|held| held.send(count));
            }
            Event::StandIn { unknown } => self.stand_in(selection, unknown, changes),
        }
    }

    fn stand_in(&mut self, position: usize, unknown: bool, changes: &mut Vec<Change>) {
        let has_shelved = self.unshelve_one(position, changes);
        let Some(selected) = self.selections.get_mut(&position) else { return };
        let first = selected.standing == Standing::Waiting;
        if first || selected.standing == Standing::Snapshot {
            let unknown = unknown || !selected.keys.is_empty();
            selected.standing = if unknown { Standing::Unknown } else { Standing::Missing };
        }
        if first && !has_shelved {
            self.recorder.whole(position, &[]);
            self.replace(position, Vec::new(), changes);
        }
    }

    /// Gives how many objects are held that the list lacks.
    fn list(
        &mut self,
        position: usize,
        objects: Vec<Object>,
        kept: &[ObjectKey],
        reading: Reading,
        changes: &mut Vec<Change>,
    ) -> usize {
        let Some(selected) = self.selections.get_mut(&position) else { return 0 };
        let mut shelved: HashMap<ObjectKey, Object> = HashMap::new();
        shelved.extend(selected.shelved.take().into_iter().flatten().map(|object| (object.key(), object)));
        selected.standing = Standing::Live;
        let listed: HashSet<ObjectKey> = objects.iter().map(Object::key).collect();
        let is_known = |key: &ObjectKey| selected.keys.contains(key) || shelved.contains_key(key);
        let kept: HashSet<ObjectKey> =
            kept.iter().filter(|key| is_known(key) && !listed.contains(*key)).cloned().collect();
        let all: HashSet<&ObjectKey> = selected.keys.iter().chain(shelved.keys()).collect();
        let known = all.len();
        let absent = all.into_iter().filter(|key| !listed.contains(*key) && !kept.contains(*key)).cloned().collect();
        let Decision { gone, held } = decide(known, absent, &selected.held, reading);
        // What is not in the list and stays comes from the shelf, unless readers have it.
        let stay = kept.iter().chain(&held).filter(|key| !selected.keys.contains(*key));
        let returned: Vec<Object> = stay.filter_map(|key| shelved.remove(key)).collect();
        let gone: Vec<ObjectKey> = gone.into_iter().filter(|key| selected.keys.contains(key)).collect();
        let is_whole = kept.is_empty() && held.is_empty();
        selected.keys = listed.into_iter().chain(kept).chain(held.iter().cloned()).collect();
        let count = held.len();
        selected.held = held;
        if is_whole {
            self.recorder.whole(position, &objects);
        } else {
            self.recorder.listed(position);
            objects.iter().chain(&returned).for_each(|object| self.recorder.apply(position, object));
            gone.iter().for_each(|key| self.recorder.delete(position, key));
        }
        if is_whole && self.is_alone(position) {
            self.replace(position, objects, changes);
            return count;
        }
        for key in gone {
            self.delete(position, key, changes);
        }
        changes.extend(returned.into_iter().chain(objects).map(Change::Apply));
        count
    }

    /// Everything that a selection holds, at once.
    fn replace(&self, position: usize, objects: Vec<Object>, changes: &mut Vec<Change>) {
        match self.selections.get(&position) {
            Some(selected) if self.is_alone(position) => changes.push(Change::Reset { kind: selected.kind, objects }),
            _ => changes.extend(objects.into_iter().map(Change::Apply)),
        }
    }

    fn is_alone(&self, position: usize) -> bool {
        let kind = self.selections.get(&position).map(|selected| selected.kind);
        self.selections.values().filter(|selected| Some(selected.kind) == kind).count() == 1
    }

    /// Deletes an object unless another selection of its kind holds it.
    fn delete(&self, selection: usize, key: ObjectKey, changes: &mut Vec<Change>) {
        let held = |(other, selected): (&usize, &Selected)| *other != selection && selected.keys.contains(&key);
        if !self.selections.iter().any(held) {
            changes.push(Change::Delete(key));
        }
    }
}

#[cfg(test)]
mod tests;
