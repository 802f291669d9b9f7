//! What readers hold after updates of one or several selections, held absences and snapshots on disk included.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

fn pod(name: &str) -> Object {
    Object::decode(Kind::Pod, json!({"metadata": {"namespace": "shop", "name": name}})).unwrap()
}

fn list(selection: usize, names: &[&str], kept: &[&str]) -> Update {
    read(selection, names, kept, Reading::Certain)
}

fn read(selection: usize, names: &[&str], kept: &[&str], reading: Reading) -> Update {
    let objects = names.iter().copied().map(pod).collect();
    let kept = kept.iter().map(|name| pod(name).key()).collect();
    Update { selection, event: Event::List { objects, kept, reading, held: None } }
}

fn merge_of(selections: &[Selection]) -> Merge {
    Merge::new(selections, Recorder::off())
}

fn take(merge: &mut Merge, update: Update) -> Vec<Change> {
    let mut changes = Vec::new();
    merge.take(update, &mut changes);
    changes
}

#[test]
fn the_list_of_a_kind_with_one_selection_is_a_reset() {
    let mut merge = merge_of(&[Selection::all(Kind::Pod)]);
    assert!(!merge.synced());
    let changes = take(&mut merge, list(0, &["a"], &["never-good"]));
    assert_eq!(changes, [Change::Reset { kind: Kind::Pod, objects: vec![pod("a")] }]);
    assert!(merge.synced());
}

#[test]
fn a_list_keeps_what_could_not_be_decoded() {
    let mut merge = merge_of(&[Selection::all(Kind::Pod)]);
    take(&mut merge, list(0, &["a", "b", "c"], &[]));
    let changes = take(&mut merge, list(0, &["a"], &["b"]));
    assert_eq!(changes, [Change::Delete(pod("c").key()), Change::Apply(pod("a"))]);
    let changes = take(&mut merge, list(0, &["a"], &[]));
    assert_eq!(changes, [Change::Reset { kind: Kind::Pod, objects: vec![pod("a")] }]);
}

#[test]
fn an_object_that_two_selections_hold_goes_with_the_second() {
    let both = [Selection::all(Kind::Pod).namespace("shop"), Selection::all(Kind::Pod).labels("app=router")];
    let mut merge = merge_of(&both);
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
    let mut merge = merge_of(&[Selection::all(Kind::Pod)]);
    take(&mut merge, list(0, &["a"], &[]));
    merge.add(1, &Selection::all(Kind::Pod), &mut Vec::new());
    assert!(merge.synced() && !merge.is_listed(1));
    assert_eq!(take(&mut merge, list(1, &["b"], &[])), [Change::Apply(pod("b"))]);
    assert_eq!(take(&mut merge, list(0, &["a"], &[])), [Change::Apply(pod("a"))], "a list is of its own selection");
    let mut changes = Vec::new();
    merge.remove(1, &mut changes);
    assert_eq!(changes, [Change::Delete(pod("b").key())]);
    assert_eq!(take(&mut merge, list(1, &["b"], &[])), [], "what was on its way");
    assert!(merge.is_listed(1));
}

#[test]
fn a_list_that_lacks_much_is_believed_only_when_a_second_one_agrees() {
    let mut merge = merge_of(&[Selection::all(Kind::Pod)]);
    let all = ["a", "b", "c", "d"];
    take(&mut merge, read(0, &all, &[], Reading::First));
    assert_eq!(take(&mut merge, read(0, &["a", "e"], &[], Reading::First)), [pod("a"), pod("e")].map(Change::Apply));
    assert_eq!(merge.stock(0), (Standing::Live, 5, 3));
    // Deleted by an event, changed by an event, and truly gone.
    let delete = Update { selection: 0, event: Event::Delete(pod("b").key()) };
    assert_eq!(take(&mut merge, delete), [Change::Delete(pod("b").key())]);
    take(&mut merge, Update { selection: 0, event: Event::Apply(Box::new(pod("c"))) });
    let changes = take(&mut merge, read(0, &["a", "c", "e"], &[], Reading::Second));
    let all = [pod("a"), pod("c"), pod("e")];
    assert_eq!(changes, [Change::Reset { kind: Kind::Pod, objects: all.to_vec() }]);
    assert_eq!(merge.stock(0), (Standing::Live, 3, 0));
}

#[test]
fn a_snapshot_is_served_until_a_list_comes_which_may_not_lack_much_of_it() {
    let mut merge = merge_of(&[Selection::all(Kind::Pod)]);
    merge.shelve(0, ["a", "b", "c"].map(pod).to_vec());
    assert!(!merge.synced());
    let mut changes = Vec::new();
    assert_eq!(merge.unshelve(&mut changes), [0]);
    assert!(merge.synced() && merge.standing() == Standing::Snapshot);
    assert_eq!(changes, [Change::Reset { kind: Kind::Pod, objects: ["a", "b", "c"].map(pod).to_vec() }]);
    assert_eq!(take(&mut merge, read(0, &[], &[], Reading::First)), []);
    assert_eq!(merge.stock(0), (Standing::Live, 3, 3));
    let changes = take(&mut merge, read(0, &["d"], &[], Reading::Second));
    assert_eq!(changes, [Change::Reset { kind: Kind::Pod, objects: vec![pod("d")] }]);
}

#[test]
fn a_snapshot_that_was_not_served_puts_back_what_the_first_list_lacks() {
    let mut merge = merge_of(&[Selection::all(Kind::Pod)]);
    merge.shelve(0, ["a", "b", "c"].map(pod).to_vec());
    let changes = take(&mut merge, read(0, &["d"], &["a"], Reading::First));
    assert_eq!(changes, [pod("a"), pod("d")].map(Change::Apply), "two are few");
    assert_eq!(merge.stock(0), (Standing::Live, 2, 0));
    let mut merge = merge_of(&[Selection::all(Kind::Pod)]);
    merge.shelve(0, ["a", "b", "c"].map(pod).to_vec());
    let changes = take(&mut merge, read(0, &["d"], &[], Reading::First));
    assert_eq!((changes.len(), merge.stock(0)), (4, (Standing::Live, 4, 3)));
}

#[test]
fn where_nothing_can_be_asked_the_snapshot_stands_in_or_else_nothing() {
    let mut merge = merge_of(&[Selection::all(Kind::Pod), Selection::all(Kind::Node)]);
    merge.shelve(0, vec![pod("a")]);
    let stand_in = |selection| Update { selection, event: Event::StandIn { unknown: true } };
    assert_eq!(take(&mut merge, stand_in(0)), [Change::Reset { kind: Kind::Pod, objects: vec![pod("a")] }]);
    assert_eq!(take(&mut merge, stand_in(1)), [Change::Reset { kind: Kind::Node, objects: vec![] }]);
    assert_eq!((merge.stock(0).0, merge.stock(1).0), (Standing::Unknown, Standing::Unknown));
    assert_eq!(take(&mut merge, stand_in(0)), [], "what is known stays");
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
            reading: Reading::Certain,
            held: None,
        }),
    ];
    vec((0_usize..3, event).prop_map(|(selection, event)| Update { selection, event }), 0..40)
}

proptest! {
    /// The reference: each selection on its own, and their union at the end.
    #[test]
    fn readers_hold_the_union_of_the_selections(updates in updates(), count in 1_usize..4) {
        let mut merge = merge_of(&std::vec::from_elem(Selection::all(Kind::Pod), count));
        let mut held: BTreeSet<ObjectKey> = BTreeSet::new();
        let mut seen: Vec<BTreeSet<ObjectKey>> = std::vec::from_elem(BTreeSet::new(), count);
        for mut update in updates {
            update.selection %= count;
            let own = &mut seen[update.selection];
            match &update.event {
                Event::Apply(object) => { own.insert(object.key()); }
                Event::Delete(key) => { own.remove(key); }
                Event::List { objects, kept, .. } => {
                    let listed: BTreeSet<_> = objects.iter().map(Object::key).collect();
                    own.retain(|key| kept.contains(key));
                    own.extend(listed);
                }
                Event::StandIn { .. } => {}
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
