//! Server-side apply: a live object and one manager's configuration go in, the merged object and the new ownership
//! come out, or the conflicts. Pure; `registry` stores the result. Semantics: Kubernetes' "Server-Side Apply" page.

use super::error::{ApiError, Cause};
use super::kinds::ResourceKind;
use super::managed_fields::{Entry, FieldSet, Path, entries, item_element, leaves, spell};
use super::object::drop_nulls;
use super::patch::join;
use super::schema::{self, ListType};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Merges `applied` into `live`. Fields this manager applied before and no longer names are removed unless somebody
/// else owns them; fields of others with another value are a conflict (409), or taken over with `force`.
pub(crate) fn apply(
    kind: &ResourceKind,
    live: &Value,
    applied: &Value,
    mut owner: Entry,
    force: bool,
) -> Result<(Value, Vec<Entry>), ApiError> {
    let mut applied = applied.clone();
    drop_nulls(&mut applied);
    let held = leaves(kind, live);
    let named = leaves(kind, &applied);
    let mut owners = entries(live);

    let mut conflicts = Vec::new();
    for entry in owners.iter_mut().filter(|entry| !entry.is_same_owner(&owner)) {
        let disputed: Vec<Path> = entry
            .fields
            .iter()
            .filter(|path| named.get(*path).is_some_and(|value| held.get(*path) != Some(value)))
            .cloned()
            .collect();
        if force {
            entry.fields.retain(|path| !disputed.contains(path));
        } else {
            conflicts.extend(disputed.iter().map(|path| conflict(entry, path)));
        }
    }
    if !conflicts.is_empty() {
        return Err(ApiError::apply_conflict(&conflicts));
    }

    let mut merged = live.clone();
    merge(kind, "", &mut merged, &applied);
    owner.fields = named.into_keys().collect();
    let position = owners.iter().position(|entry| entry.is_same_owner(&owner));
    let previous = position.map(|at| owners.remove(at));
    if let Some(previous) = previous {
        let others: FieldSet = owners.iter().flat_map(|entry| entry.fields.iter().cloned()).collect();
        let mut dropped: Vec<&Path> =
            previous.fields.iter().filter(|path| !owner.fields.contains(*path) && !others.contains(*path)).collect();
        // Shortest first: an item goes as a whole, before the fields that tell it apart.
        dropped.sort_by_key(|path| path.len());
        for path in dropped {
            let kept = |path: &[String]| {
                owner
                    .fields
                    .iter()
                    .chain(&others)
                    .any(|other| other.len() >= path.len() && other[..path.len()] == *path)
            };
            if !kept(path) && !is_key_of_item(path) {
                remove(kind, &mut merged, path, &kept);
            }
        }
        if previous.fields == owner.fields {
            owner.time = previous.time;
        }
    }
    let remaining = leaves(kind, &merged);
    for entry in &mut owners {
        entry.fields.retain(|path| remaining.contains_key(path));
    }
    owners.insert(position.unwrap_or(owners.len()), owner);
    owners.retain(|entry| !entry.fields.is_empty());
    Ok((merged, owners))
}

/// `true` for a field by which its list item is told apart; it goes with the item only.
fn is_key_of_item(path: &Path) -> bool {
    let [.., item, field] = path.as_slice() else { return false };
    let keys: Option<Map<String, Value>> = item.strip_prefix("k:").and_then(|keys| serde_json::from_str(keys).ok());
    keys.is_some_and(|keys| field.strip_prefix("f:").is_some_and(|field| keys.contains_key(field)))
}

fn conflict(entry: &Entry, path: &Path) -> Cause {
    let subresource =
        if entry.subresource.is_empty() { String::new() } else { format!(" with subresource {:?}", entry.subresource) };
    let using = if entry.operation == "Update" {
        format!("{subresource} using {} at {}", entry.api_version, entry.time)
    } else {
        format!("{subresource} using {}", entry.api_version)
    };
    Cause {
        reason: "FieldManagerConflict",
        field: spell(path),
        message: format!("conflict with {:?}{using}", entry.manager),
    }
}

fn merge(kind: &ResourceKind, path: &str, target: &mut Value, applied: &Value) {
    match applied {
        Value::Object(fields) if !schema::is_atomic_map(kind, path) => {
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            let Value::Object(object) = target else { return };
            for (name, value) in fields {
                merge(kind, &join(path, name), object.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        Value::Array(items) => match schema::list_type(kind, path) {
            ListType::Atomic => *target = applied.clone(),
            ListType::Set => {
                let mut union = target.as_array().cloned().unwrap_or_default();
                for item in items {
                    if !union.contains(item) {
                        union.push(item.clone());
                    }
                }
                *target = union.into();
            }
            ListType::Map(keys) => {
                let mut list = target.as_array().cloned().unwrap_or_default();
                let mut places: BTreeMap<String, usize> =
                    list.iter().enumerate().map(|(at, item)| (item_element(item, &keys), at)).collect();
                for item in items {
                    let at = *places.entry(item_element(item, &keys)).or_insert_with(|| {
                        list.push(Value::Null);
                        list.len() - 1
                    });
                    merge(kind, path, &mut list[at], item);
                }
                *target = list.into();
            }
        },
        _ => *target = applied.clone(),
    }
}

/// Removes what `path` names, then every map or list above it that is left empty and nobody wants.
fn remove(kind: &ResourceKind, object: &mut Value, path: &[String], kept: &impl Fn(&[String]) -> bool) {
    remove_below(kind, object, "", path);
    for length in (1..path.len()).rev() {
        let above = &path[..length];
        let is_empty = lookup(kind, object, "", above).is_some_and(|value| {
            value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
        });
        if !is_empty || kept(above) || above == ["f:metadata"] {
            break;
        }
        remove_below(kind, object, "", above);
    }
}

fn position(kind: &ResourceKind, list: &[Value], dotted: &str, element: &str) -> Option<usize> {
    match schema::list_type(kind, dotted) {
        ListType::Map(keys) => list.iter().position(|item| item_element(item, &keys) == element),
        _ => list.iter().position(|item| format!("v:{item}") == element),
    }
}

fn lookup<'v>(kind: &ResourceKind, value: &'v Value, dotted: &str, path: &[String]) -> Option<&'v Value> {
    let Some((element, rest)) = path.split_first() else { return Some(value) };
    match (value, element.strip_prefix("f:")) {
        (Value::Object(map), Some(name)) => lookup(kind, map.get(name)?, &join(dotted, name), rest),
        (Value::Array(list), None) => lookup(kind, &list[position(kind, list, dotted, element)?], dotted, rest),
        _ => None,
    }
}

fn remove_below(kind: &ResourceKind, value: &mut Value, dotted: &str, path: &[String]) {
    let Some((element, rest)) = path.split_first() else { return };
    match (value, element.strip_prefix("f:")) {
        (Value::Object(map), Some(name)) if rest.is_empty() => drop(map.remove(name)),
        (Value::Object(map), Some(name)) => {
            if let Some(below) = map.get_mut(name) {
                remove_below(kind, below, &join(dotted, name), rest);
            }
        }
        (Value::Array(list), None) => {
            if let Some(at) = position(kind, list, dotted, element) {
                if rest.is_empty() {
                    list.remove(at);
                } else {
                    remove_below(kind, &mut list[at], dotted, rest);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::Kinds;
    use super::super::managed_fields::to_value;
    use super::*;
    use serde_json::json;

    fn applied_by(plural: &str, live: &Value, manager: &str, config: &Value, force: bool) -> Result<Value, ApiError> {
        let kind = Kinds::builtin().by_resource("", "v1", plural).expect("in the table");
        let owner = Entry {
            manager: manager.into(),
            operation: "Apply".into(),
            api_version: "v1".into(),
            subresource: String::new(),
            time: String::new(),
            fields: FieldSet::new(),
        };
        let (mut object, owners) = apply(&kind, live, config, owner, force)?;
        object["metadata"]["managedFields"] = to_value(&owners);
        Ok(object)
    }

    fn without_owners(mut object: Value) -> Value {
        object["metadata"].as_object_mut().expect("metadata").remove("managedFields");
        object
    }

    #[test]
    fn another_value_for_a_field_of_another_manager_is_a_conflict_until_forced() {
        let live =
            applied_by("configmaps", &json!({}), "a", &json!({"data": {"k": "1", "l": "1"}}), false).expect("new");
        let config = json!({"data": {"k": "2"}});
        let error = applied_by("configmaps", &live, "b", &config, false).expect_err("owned by a");
        assert_eq!((error.code, error.reason), (409, "Conflict"));
        assert_eq!(error.details["causes"][0]["field"], ".data.k");
        let forced = applied_by("configmaps", &live, "b", &config, true).expect("forced");
        assert_eq!(forced["data"], json!({"k": "2", "l": "1"}));
        let error =
            applied_by("configmaps", &forced, "a", &json!({"data": {"k": "1"}}), false).expect_err("b owns k now");
        assert_eq!(error.code, 409);
    }

    #[test]
    fn the_same_value_is_owned_together_and_stays_until_the_last_owner_drops_it() {
        let config = json!({"data": {"k": "1"}});
        let live = applied_by("configmaps", &json!({}), "a", &config, false).expect("new");
        let live = applied_by("configmaps", &live, "b", &config, false).expect("same value");
        let live = applied_by("configmaps", &live, "a", &json!({}), false).expect("a drops it");
        assert_eq!(live["data"], json!({"k": "1"}));
        let live = applied_by("configmaps", &live, "b", &json!({}), false).expect("b drops it");
        assert_eq!(without_owners(live), json!({"metadata": {}}));
    }

    #[test]
    fn items_of_a_keyed_list_belong_to_different_managers() {
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let disk = json!({"status": {"conditions": [{"type": "Disk", "status": "False", "reason": "x"}]}});
        let live = applied_by("nodes", &json!({}), "a", &ready, false).expect("new");
        let live = applied_by("nodes", &live, "b", &disk, false).expect("another item");
        assert_eq!(live["status"]["conditions"].as_array().map(Vec::len), Some(2));
        let trimmed = json!({"status": {"conditions": [{"type": "Disk", "status": "False"}]}});
        let live = applied_by("nodes", &live, "b", &trimmed, false).expect("drops the reason");
        assert_eq!(live["status"]["conditions"][1], json!({"type": "Disk", "status": "False"}));
        let live = applied_by("nodes", &live, "b", &json!({}), false).expect("drops the item");
        assert_eq!(without_owners(live), json!({"metadata": {}, "status": ready["status"]}));
    }

    #[test]
    fn applying_the_same_again_changes_nothing() {
        let config = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"ports": [{"port": 80, "name": "http"}]}});
        let live = applied_by("services", &json!({}), "a", &config, false).expect("new");
        assert_eq!(applied_by("services", &live, "a", &config, false).expect("again"), live);
        let live = applied_by("services", &live, "b", &json!({"spec": {"type": "ClusterIP"}}), false).expect("more");
        assert_eq!(applied_by("services", &live, "a", &config, false).expect("again"), live);
    }
}
