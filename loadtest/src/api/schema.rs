//! How lists and maps merge: `(kind, path)` goes in, the list type of server-side apply or the merge key of a
//! strategic merge comes out. `server_side_apply`, `managed_fields` and `patch` read it. What is not listed is
//! atomic when a list and granular when a map, as for a custom resource without annotations.

use super::kinds::ResourceKind;
use serde_json::Value;

/// `x-kubernetes-list-type` of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items are told apart by these fields.
    Map(Vec<String>),
}

/// The list type of the list at `path`, fields joined by dots and list items left out: `spec.containers.ports`.
pub(crate) fn list_type(kind: &ResourceKind, path: &str) -> ListType {
    if let Some(rule) = rule(kind, path) {
        return match rule.keys {
            [] => ListType::Set,
            keys => ListType::Map(keys.iter().map(|&key| key.to_owned()).collect()),
        };
    }
    kind.schema.as_ref().and_then(|schema| schema_list_type(schema, path)).unwrap_or(ListType::Atomic)
}

/// `true` when the map at `path` is replaced as a whole.
pub(crate) fn is_atomic_map(kind: &ResourceKind, path: &str) -> bool {
    ATOMIC_MAPS.iter().any(|&(plural, at)| kind.plural == plural && path == at)
        || kind
            .schema
            .as_ref()
            .and_then(|schema| schema_node(schema, path))
            .is_some_and(|node| node.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"))
}

/// How a strategic merge treats the list at `path`: by this key, as a set of scalars (empty key), or not at all.
pub(crate) fn merge_key(kind: &ResourceKind, path: &str) -> Option<&'static str> {
    rule(kind, path).map(|rule| rule.merge_key)
}

struct Rule {
    /// Plural of the kind; `*` for every kind.
    plural: &'static str,
    path: &'static str,
    /// Keys of server-side apply; none for a set of scalars.
    keys: &'static [&'static str],
    /// `patchMergeKey`; empty for a list of scalars.
    merge_key: &'static str,
}

fn rule(kind: &ResourceKind, path: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.path == path && (rule.plural == "*" || (kind.typed && rule.plural == kind.plural)))
}

fn schema_node<'s>(schema: &'s Value, path: &str) -> Option<&'s Value> {
    path.split('.').try_fold(schema, |node, field| {
        let node = node.get("items").unwrap_or(node);
        node.get("properties").and_then(|fields| fields.get(field)).or_else(|| node.get("additionalProperties"))
    })
}

fn schema_list_type(schema: &Value, path: &str) -> Option<ListType> {
    let node = schema_node(schema, path)?;
    match node.get("x-kubernetes-list-type")?.as_str()? {
        "set" => Some(ListType::Set),
        "map" => Some(ListType::Map(
            node.get("x-kubernetes-list-map-keys")?
                .as_array()?
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
        )),
        _ => Some(ListType::Atomic),
    }
}

const fn map(plural: &'static str, path: &'static str, keys: &'static [&'static str]) -> Rule {
    Rule { plural, path, keys, merge_key: keys[0] }
}

const RULES: &[Rule] = &[
    map("*", "metadata.ownerReferences", &["uid"]),
    Rule { plural: "*", path: "metadata.finalizers", keys: &[], merge_key: "" },
    map("namespaces", "status.conditions", &["type"]),
    map("nodes", "status.conditions", &["type"]),
    map("nodes", "status.addresses", &["type"]),
    map("pods", "spec.containers", &["name"]),
    map("pods", "spec.containers.ports", &["containerPort", "protocol"]),
    map("pods", "spec.containers.env", &["name"]),
    map("pods", "spec.containers.volumeMounts", &["mountPath"]),
    map("pods", "spec.initContainers", &["name"]),
    map("pods", "spec.initContainers.ports", &["containerPort", "protocol"]),
    map("pods", "spec.initContainers.env", &["name"]),
    map("pods", "spec.initContainers.volumeMounts", &["mountPath"]),
    map("pods", "spec.volumes", &["name"]),
    map("pods", "spec.imagePullSecrets", &["name"]),
    map("pods", "spec.hostAliases", &["ip"]),
    map("pods", "spec.readinessGates", &["conditionType"]),
    map("pods", "status.conditions", &["type"]),
    map("pods", "status.podIPs", &["ip"]),
    map("services", "spec.ports", &["port", "protocol"]),
    map("services", "status.conditions", &["type"]),
    map("routes", "spec.alternateBackends", &["name", "kind"]),
    map("customresourcedefinitions", "status.conditions", &["type"]),
];

const ATOMIC_MAPS: &[(&str, &str)] = &[
    ("services", "spec.selector"),
    ("pods", "spec.nodeSelector"),
    ("events", "involvedObject"),
    ("events", "related"),
    ("ingresses", "spec.defaultBackend.resource"),
    ("customresourcedefinitions", "spec.versions.schema"),
];
