//! Unites the selections of one kind: what each selection saw flows in, changes of whole kinds flow out. A list of one
//! selection must not delete what another one holds, and an object that cannot be decoded keeps its last good version.

use crate::{Change, Kind, Object, ObjectKey, Selection};
use std::collections::{BTreeMap, HashSet};

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
    /// A complete list. What is neither in `objects` nor in `kept` is gone.
    List {
        objects: Vec<Object>,
        /// Objects that exist but could not be decoded.
        kept: Vec<ObjectKey>,
    },
}

/// Which objects each selection holds.
#[derive(Debug)]
pub(crate) struct Merge {
    selections: BTreeMap<usize, Selected>,
}

#[derive(Debug)]
struct Selected {
    kind: Kind,
    listed: bool,
    /// Whether the first list has to come before anything counts as complete.
    essential: bool,
    keys: HashSet<ObjectKey>,
}

impl Selected {
    fn new(kind: Kind, essential: bool) -> Self {
        Self { kind, listed: false, essential, keys: HashSet::new() }
    }
}

impl Merge {
    pub(crate) fn new(selections: &[Selection]) -> Self {
        let selected = |(position, selection): (usize, &Selection)| (position, Selected::new(selection.kind, true));
        Self { selections: selections.iter().enumerate().map(selected).collect() }
    }

    /// Whether every selection of the program was listed.
    pub(crate) fn synced(&self) -> bool {
        self.selections.values().all(|selected| selected.listed || !selected.essential)
    }

    /// Adds a selection that came later.
    pub(crate) fn add(&mut self, position: usize, kind: Kind) {
        self.selections.insert(position, Selected::new(kind, false));
    }

    /// Takes such a selection out, and appends what is gone with it.
    pub(crate) fn remove(&mut self, position: usize, changes: &mut Vec<Change>) {
        for key in self.selections.remove(&position).into_iter().flat_map(|selected| selected.keys) {
            self.delete(position, key, changes);
        }
    }

    /// Whether a selection was listed; so does one count that is not there any more.
    pub(crate) fn is_listed(&self, position: usize) -> bool {
        self.selections.get(&position).is_none_or(|selected| selected.listed)
    }

    /// Takes a selection as listed.
    pub(crate) fn await_no_longer(&mut self, position: usize) {
        if let Some(selected) = self.selections.get_mut(&position) {
            selected.listed = true;
        }
    }

    /// Appends what an update means for its kind.
    pub(crate) fn take(&mut self, update: Update, changes: &mut Vec<Change>) {
        let Update { selection, event } = update;
        // What was on its way when its selection was taken out.
        let Some(selected) = self.selections.get_mut(&selection) else { return };
        match event {
            Event::Apply(object) => {
                selected.keys.insert(object.key());
                changes.push(Change::Apply(*object));
            }
            Event::Delete(key) => {
                selected.keys.remove(&key);
                self.delete(selection, key, changes);
            }
            Event::List { objects, kept } => self.list(selection, objects, &kept, changes),
        }
    }

    fn list(&mut self, selection: usize, objects: Vec<Object>, kept: &[ObjectKey], changes: &mut Vec<Change>) {
        let Some(kind) = self.selections.get(&selection).map(|selected| selected.kind) else { return };
        let alone = self.selections.values().filter(|selected| selected.kind == kind).count() == 1;
        let Some(selected) = self.selections.get_mut(&selection) else { return };
        let mut keys: HashSet<ObjectKey> = objects.iter().map(Object::key).collect();
        let known = kept.iter().filter(|key| selected.keys.contains(*key) && !keys.contains(*key)).cloned();
        let known: Vec<ObjectKey> = known.collect();
        let whole = alone && known.is_empty();
        keys.extend(known);
        selected.listed = true;
        if whole {
            selected.keys = keys;
            changes.push(Change::Reset { kind, objects });
            return;
        }
        let gone: Vec<ObjectKey> = selected.keys.iter().filter(|key| !keys.contains(*key)).cloned().collect();
        selected.keys = keys;
        for key in gone {
            self.delete(selection, key, changes);
        }
        changes.extend(objects.into_iter().map(Change::Apply));
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
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn pod(name: &str) -> Object {
        Object::decode(Kind::Pod, json!({"metadata": {"namespace": "shop", "name": name}})).unwrap()
    }

    fn list(selection: usize, names: &[&str], kept: &[&str]) -> Update {
        let objects = names.iter().copied().map(pod).collect();
        Update { selection, event: Event::List { objects, kept: kept.iter().map(|name| pod(name).key()).collect() } }
    }

    fn take(merge: &mut Merge, update: Update) -> Vec<Change> {
        let mut changes = Vec::new();
        merge.take(update, &mut changes);
        changes
    }

    #[test]
    fn the_list_of_a_kind_with_one_selection_is_a_reset() {
        let mut merge = Merge::new(&[Selection::all(Kind::Pod)]);
        assert!(!merge.synced());
        let changes = take(&mut merge, list(0, &["a"], &["never-good"]));
        assert_eq!(changes, [Change::Reset { kind: Kind::Pod, objects: vec![pod("a")] }]);
        assert!(merge.synced());
    }

    #[test]
    fn a_list_keeps_what_could_not_be_decoded() {
        let mut merge = Merge::new(&[Selection::all(Kind::Pod)]);
        take(&mut merge, list(0, &["a", "b", "c"], &[]));
        let changes = take(&mut merge, list(0, &["a"], &["b"]));
        assert_eq!(changes, [Change::Delete(pod("c").key()), Change::Apply(pod("a"))]);
        let changes = take(&mut merge, list(0, &["a"], &[]));
        assert_eq!(changes, [Change::Reset { kind: Kind::Pod, objects: vec![pod("a")] }]);
    }

    #[test]
    fn an_object_that_two_selections_hold_goes_with_the_second() {
        let both = [Selection::all(Kind::Pod).namespace("shop"), Selection::all(Kind::Pod).labels("app=router")];
        let mut merge = Merge::new(&both);
        assert_eq!(take(&mut merge, list(0, &["a"], &[])), [Change::Apply(pod("a"))]);
        assert!(!merge.synced());
        assert_eq!(take(&mut merge, list(1, &["a"], &[])), [Change::Apply(pod("a"))]);
        assert!(merge.synced());
        assert_eq!(take(&mut merge, list(0, &[], &[])), []);
        let delete = Update { selection: 1, event: Event::Delete(pod("a").key()) };
        assert_eq!(take(&mut merge, delete), [Change::Delete(pod("a").key())]);
    }

    #[test]
    fn a_selection_that_comes_later_is_not_awaited_and_leaves_nothing_behind() {
        let mut merge = Merge::new(&[Selection::all(Kind::Pod)]);
        take(&mut merge, list(0, &["a"], &[]));
        merge.add(1, Kind::Pod);
        assert!(merge.synced() && !merge.is_listed(1));
        assert_eq!(take(&mut merge, list(1, &["b"], &[])), [Change::Apply(pod("b"))]);
        assert_eq!(take(&mut merge, list(0, &["a"], &[])), [Change::Apply(pod("a"))], "a list is of its own selection");
        let mut changes = Vec::new();
        merge.remove(1, &mut changes);
        assert_eq!(changes, [Change::Delete(pod("b").key())]);
        assert_eq!(take(&mut merge, list(1, &["b"], &[])), [], "what was on its way");
        assert!(merge.is_listed(1));
    }

    /// What a selection sees next, in small numbers so that selections overlap.
    fn updates() -> impl Strategy<Value = Vec<Update>> {
        let key = |name: u8| pod(&name.to_string()).key();
        let event = prop_oneof![
            (0_u8..5).prop_map(|name| Event::Apply(Box::new(pod(&name.to_string())))),
            (0_u8..5).prop_map(move |name| Event::Delete(key(name))),
            (vec(0_u8..5, 0..5), vec(0_u8..5, 0..3)).prop_map(move |(objects, kept)| Event::List {
                objects: BTreeSet::from_iter(objects).iter().map(|name| pod(&name.to_string())).collect(),
                kept: kept.into_iter().map(key).collect(),
            }),
        ];
        vec((0_usize..3, event).prop_map(|(selection, event)| Update { selection, event }), 0..40)
    }

    proptest! {
        /// The reference: each selection on its own, and their union at the end.
        #[test]
        fn readers_hold_the_union_of_the_selections(updates in updates(), count in 1_usize..4) {
            let mut merge = Merge::new(&std::vec::from_elem(Selection::all(Kind::Pod), count));
            let mut held: BTreeSet<ObjectKey> = BTreeSet::new();
            let mut seen: Vec<BTreeSet<ObjectKey>> = std::vec::from_elem(BTreeSet::new(), count);
            for mut update in updates {
                update.selection %= count;
                let own = &mut seen[update.selection];
                match &update.event {
                    Event::Apply(object) => { own.insert(object.key()); }
                    Event::Delete(key) => { own.remove(key); }
                    Event::List { objects, kept } => {
                        let listed: BTreeSet<_> = objects.iter().map(Object::key).collect();
                        own.retain(|key| kept.contains(key));
                        own.extend(listed);
                    }
                }
                for change in take(&mut merge, update) {
                    match change {
                        Change::Apply(object) => { held.insert(object.key()); }
                        Change::Delete(key) => { held.remove(&key); }
                        Change::Reset { objects, .. } => held = objects.iter().map(Object::key).collect(),
                    }
                }
                let union: BTreeSet<_> = seen.iter().flatten().cloned().collect();
                prop_assert_eq!(&held, &union);
            }
        }
    }
}
