//! Who owns which field: objects and `metadata.managedFields` go in, ownership sets and new entries come out.
//! `registry` calls it on every create, update and patch; `server_side_apply` builds on its sets.
//! Format: `FieldsV1` of the structured-merge-diff specification.

use super::kinds::ResourceKind;
use super::object::{items, text};
use super::patch::join;
use super::schema::{self, ListType};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A field: elements `f:name`, `k:{"key":"value"}` (list item by key) or `v:value` (member of a set).
pub(crate) type Path = Vec<String>;

/// Fields, in order.
pub(crate) type FieldSet = BTreeSet<Path>;

/// One entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) manager: String,
    /// `Apply` or `Update`.
    pub(crate) operation: String,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: String,
    pub(crate) fields: FieldSet,
}

impl Entry {
    pub(crate) fn is_same_owner(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.api_version == other.api_version
            && self.subresource == other.subresource
    }
}

/// The entries of an object; those that cannot be read are left out.
pub(crate) fn entries(object: &Value) -> Vec<Entry> {
    items(object, "metadata.managedFields")
        .iter()
        .map(|entry| {
            let mut fields = FieldSet::new();
            if let Some(tree) = entry.get("fieldsV1") {
                decode(tree, &mut Vec::new(), &mut fields);
            }
            Entry {
                manager: text(entry, "manager").to_owned(),
                operation: text(entry, "operation").to_owned(),
                api_version: text(entry, "apiVersion").to_owned(),
                subresource: text(entry, "subresource").to_owned(),
                time: text(entry, "time").to_owned(),
                fields,
            }
        })
        .collect()
}

/// The value of `metadata.managedFields`; entries that own nothing are dropped.
pub(crate) fn to_value(entries: &[Entry]) -> Value {
    entries
        .iter()
        .filter(|entry| !entry.fields.is_empty())
        .map(|entry| {
            let mut value = json!({
                "manager": entry.manager, "operation": entry.operation, "apiVersion": entry.api_version,
                "time": entry.time, "fieldsType": "FieldsV1", "fieldsV1": encode(&entry.fields),
            });
            if !entry.subresource.is_empty() {
                value["subresource"] = json!(entry.subresource);
            }
            value
        })
        .collect()
}

/// Ownership after a create, update or patch by `owner`: changed fields are its own, removed ones nobody's.
pub(crate) fn after_update(kind: &ResourceKind, before: Option<&Value>, after: &Value, mut owner: Entry) -> Vec<Entry> {
    let old = before.map(|before| leaves(kind, before)).unwrap_or_default();
    let new = leaves(kind, after);
    let changed: FieldSet =
        new.iter().filter(|(path, value)| old.get(*path) != Some(value)).map(|(path, _)| path.clone()).collect();
    let mut entries = before.map(entries).unwrap_or_default();
    for entry in &mut entries {
        entry.fields.retain(|path| new.contains_key(path) && !changed.contains(path));
    }
    if !changed.is_empty() {
        owner.fields = changed;
        match entries.iter_mut().find(|entry| entry.is_same_owner(&owner)) {
            Some(entry) => {
                entry.fields.append(&mut owner.fields);
                entry.time = owner.time;
            }
            None => entries.push(owner),
        }
    }
    entries.retain(|entry| !entry.fields.is_empty());
    entries
}

/// Every field an object holds, with its value; a list item stands for itself with `null`.
pub(crate) fn leaves<'v>(kind: &ResourceKind, object: &'v Value) -> BTreeMap<Path, &'v Value> {
    let mut found = BTreeMap::new();
    let Some(fields) = object.as_object() else { return found };
    for (name, value) in fields {
        if name == "apiVersion" || name == "kind" {
            continue;
        }
        let mut path = vec![format!("f:{name}")];
        if name == "metadata" {
            for (name, value) in value.as_object().into_iter().flatten() {
                if !SERVER_METADATA.contains(&name.as_str()) {
                    path.push(format!("f:{name}"));
                    walk(kind, &join("metadata", name), value, &mut path, &mut found);
                    path.pop();
                }
            }
        } else {
            walk(kind, name, value, &mut path, &mut found);
        }
    }
    found
}

fn walk<'v>(
    kind: &ResourceKind,
    dotted: &str,
    value: &'v Value,
    path: &mut Path,
    found: &mut BTreeMap<Path, &'v Value>,
) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !schema::is_atomic_map(kind, dotted) => {
            for (name, value) in fields {
                path.push(format!("f:{name}"));
                walk(kind, &join(dotted, name), value, path, found);
                path.pop();
            }
        }
        Value::Array(list) if !list.is_empty() => match schema::list_type(kind, dotted) {
            ListType::Atomic => drop(found.insert(path.clone(), value)),
            ListType::Set => {
                for item in list {
                    path.push(format!("v:{item}"));
                    found.insert(path.clone(), &Value::Null);
                    path.pop();
                }
            }
            ListType::Map(keys) => {
                for item in list {
                    path.push(item_element(item, &keys));
                    found.insert(path.clone(), &Value::Null);
                    for (name, value) in item.as_object().into_iter().flatten() {
                        path.push(format!("f:{name}"));
                        walk(kind, &join(dotted, name), value, path, found);
                        path.pop();
                    }
                    path.pop();
                }
            }
        },
        _ => drop(found.insert(path.clone(), value)),
    }
}

/// The element that names a list item: `k:` and its key fields as JSON.
pub(crate) fn item_element(item: &Value, keys: &[String]) -> String {
    let identity: Map<String, Value> = keys
        .iter()
        .filter_map(|key| {
            let held = item.get(key).cloned().or_else(|| (key == "protocol").then(|| json!("TCP")))?;
            Some((key.clone(), held))
        })
        .collect();
    format!("k:{}", Value::Object(identity))
}

/// A path as conflict messages spell it: `.status.conditions[type="Ready"].status`.
pub(crate) fn spell(path: &Path) -> String {
    let mut text = String::new();
    for element in path {
        match element.split_once(':') {
            Some(("f", name)) => {
                text.push('.');
                text.push_str(name);
            }
            Some(("k", keys)) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let list = keys.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
                text.push_str(&format!("[{}]", list.join(",")));
            }
            Some((_, value)) => text.push_str(&format!("[={value}]")),
            None => text.push_str(element),
        }
    }
    text
}

fn encode(fields: &FieldSet) -> Value {
    let mut tree = Map::new();
    for path in fields {
        let mut node = &mut tree;
        // A path sorts before those below it, so a node that already exists empty is one that owns itself.
        for (depth, element) in path.iter().enumerate() {
            let is_new = !node.contains_key(element);
            let slot = node.entry(element.clone()).or_insert_with(|| json!({}));
            let Value::Object(next) = slot else { break };
            let is_last = depth + 1 == path.len();
            if !is_new && !is_last && next.is_empty() {
                next.insert(".".to_owned(), json!({}));
            }
            node = next;
        }
    }
    Value::Object(tree)
}

fn decode(tree: &Value, path: &mut Path, found: &mut FieldSet) {
    let Some(fields) = tree.as_object() else { return };
    if fields.is_empty() && !path.is_empty() {
        found.insert(path.clone());
    }
    for (element, below) in fields {
        if element == "." {
            found.insert(path.clone());
        } else {
            path.push(element.clone());
            decode(below, path, found);
            path.pop();
        }
    }
}

/// Metadata that the server sets; nobody owns it.
const SERVER_METADATA: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
];

#[cfg(test)]
mod tests {
    use super::super::kinds::Kinds;
    use super::*;

    fn node() -> std::sync::Arc<ResourceKind> {
        Kinds::builtin().by_resource("", "v1", "nodes").expect("in the table")
    }

    #[test]
    fn fields_survive_their_encoding() {
        let object = json!({
            "metadata": {"name": "n", "labels": {"a": "1"}, "finalizers": ["x"]},
            "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let fields: FieldSet = leaves(&node(), &object).into_keys().collect();
        let tree = encode(&fields);
        assert_eq!(
            tree,
            json!({
                "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {"v:\"x\"": {}}}, "f:spec": {},
                "f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:type": {}, "f:status": {}}}}})
        );
        let mut decoded = FieldSet::new();
        decode(&tree, &mut Vec::new(), &mut decoded);
        assert_eq!(decoded, fields);
    }

    #[test]
    fn an_update_takes_over_what_it_changes() {
        let owner = |manager: &str| Entry {
            manager: manager.into(),
            operation: "Update".into(),
            api_version: "v1".into(),
            subresource: String::new(),
            time: String::new(),
            fields: FieldSet::new(),
        };
        let mut first = json!({"metadata": {"labels": {"a": "1", "b": "1"}}});
        let entries = after_update(&node(), None, &first, owner("one"));
        first["metadata"]["managedFields"] = to_value(&entries);
        let second = json!({"metadata": {"labels": {"a": "2"}}});
        let entries = after_update(&node(), Some(&first), &second, owner("two"));
        assert_eq!(entries.len(), 1, "the first manager owns nothing any more");
        assert_eq!(entries[0].manager, "two");
        assert_eq!(spell(entries[0].fields.first().expect("one field")), ".metadata.labels.a");
    }
}
