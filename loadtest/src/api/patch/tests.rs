//! Each patch type against its specification.

use super::super::kinds::Kinds;
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn patched(kind: &str, mut object: Value, patch: &Value) -> Value {
    let kind = Kinds::builtin().by_resource("", "v1", kind).expect("in the table");
    strategic(&kind, &mut object, patch).expect("valid patch");
    object
}

#[test]
fn merge_patch_gives_the_results_of_rfc_7386_appendix_a() {
    for (target, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        let mut merged = target.clone();
        merge(&mut merged, &patch);
        assert_eq!(merged, result, "{target} with {patch}");
    }
}

#[test]
fn strategic_merge_matches_list_items_by_key() {
    let pod = json!({"spec": {"containers": [
        {"name": "a", "image": "1", "ports": [{"containerPort": 80, "name": "http"}]}, {"name": "b", "image": "1"}]}});
    let patch = json!({"spec": {"containers": [
        {"name": "b", "$patch": "delete"}, {"name": "a", "image": "2"}, {"name": "c", "image": "3"}]}});
    assert_eq!(
        patched("pods", pod, &patch),
        json!({"spec": {"containers": [
            {"name": "a", "image": "2", "ports": [{"containerPort": 80, "name": "http"}]}, {"name": "c", "image": "3"}]}})
    );
}

#[test]
fn strategic_merge_of_a_condition_leaves_the_others() {
    let node =
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Disk", "status": "False"}]}});
    let patch = json!({"status": {
        "$setElementOrder/conditions": [{"type": "Disk"}, {"type": "Ready"}],
        "conditions": [{"type": "Ready", "status": "False"}]}});
    assert_eq!(
        patched("nodes", node, &patch),
        json!({"status": {"conditions": [{"type": "Disk", "status": "False"}, {"type": "Ready", "status": "False"}]}})
    );
}

#[test]
fn strategic_merge_obeys_its_other_directives() {
    let object =
        json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1"}}, "spec": {"selector": {"a": "1"}}});
    let patch = json!({
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"x": null, "y": "2"}},
        "spec": {"selector": {"$patch": "replace", "b": "2"}}});
    assert_eq!(
        patched("services", object, &patch),
        json!({"metadata": {"finalizers": ["b"], "labels": {"y": "2"}}, "spec": {"selector": {"b": "2"}}})
    );
    let kind = Kinds::builtin().by_resource("", "v1", "pods").expect("in the table");
    let no_key = json!({"spec": {"containers": [{"image": "x"}]}});
    assert_eq!(strategic(&kind, &mut json!({}), &no_key).expect_err("no merge key").code, 400);
}

#[test]
fn json_patch_applies_operations_in_order_and_fails_as_a_whole() {
    let mut object = json!({"a": {"b/c": [1, 2]}});
    let operations = json!([
        {"op": "test", "path": "/a/b~1c/0", "value": 1}, {"op": "add", "path": "/a/b~1c/-", "value": 3},
        {"op": "remove", "path": "/a/b~1c/0"}, {"op": "copy", "from": "/a", "path": "/d"},
        {"op": "move", "from": "/d/b~1c", "path": "/e"}, {"op": "replace", "path": "/a", "value": {}}]);
    json_patch(&mut object, &operations).expect("valid");
    assert_eq!(object, json!({"a": {}, "d": {}, "e": [2, 3]}));
    let missing = json!([{"op": "remove", "path": "/nothing"}]);
    assert_eq!(json_patch(&mut object, &missing).expect_err("no such field").code, 422);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        "[a-c]".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().any(holds_null),
        _ => false,
    }
}

/// RFC 7386's own function, on a value instead of in place: the reference to compare with.
fn reference(target: Value, patch: &Value) -> Value {
    let Value::Object(fields) = patch else { return patch.clone() };
    let mut object = if let Value::Object(object) = target { object } else { Map::new() };
    for (name, value) in fields {
        let held = object.remove(name);
        if !value.is_null() {
            object.insert(name.clone(), reference(held.unwrap_or(Value::Null), value));
        }
    }
    Value::Object(object)
}

/// The patch that turns `from` into `to`, when neither holds a null member.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        match old.get(name) {
            Some(held) if held == value => {}
            Some(held) => drop(patch.insert(name.clone(), difference(held, value))),
            None => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}

proptest! {
    #[test]
    fn merge_patch_agrees_with_the_function_of_rfc_7386(target in any_json(), patch in any_json()) {
        let mut merged = target.clone();
        merge(&mut merged, &patch);
        prop_assert_eq!(&merged, &reference(target, &patch));
        let mut again = merged.clone();
        merge(&mut again, &patch);
        prop_assert_eq!(again, merged);
    }

    #[test]
    fn merge_patch_of_a_difference_reaches_the_goal(from in any_json(), to in any_json()) {
        prop_assume!(!holds_null(&from) && !holds_null(&to));
        let mut merged = from.clone();
        merge(&mut merged, &difference(&from, &to));
        prop_assert_eq!(merged, to);
    }
}
