//! Reading and writing the metadata of objects kept as JSON. Everything that handles an object goes through here,
//! so that a missing or mistyped `metadata` reads as absent and never panics.

use serde_json::{Map, Value, json};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Names one object; what in-process callers pass to read, change or delete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRef<'a> {
    /// `apiVersion`, such as `networking.k8s.io/v1`.
    pub api_version: &'a str,
    /// `kind`, such as `Ingress`.
    pub kind: &'a str,
    /// `metadata.namespace`; empty for a cluster-scoped object.
    pub namespace: &'a str,
    /// `metadata.name`.
    pub name: &'a str,
}

impl<'a> ObjectRef<'a> {
    /// Names an object of a namespace (empty for a cluster-scoped kind).
    #[must_use]
    pub fn new(api_version: &'a str, kind: &'a str, namespace: &'a str, name: &'a str) -> Self {
        Self { api_version, kind, namespace, name }
    }
}

/// Where an object sits in its collection; the order of lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// The value at a dotted path, such as `spec.nodeName`.
pub(crate) fn at<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(object, |value, field| value.get(field)).filter(|value| !value.is_null())
}

/// The text at a dotted path; empty when absent or not text.
pub(crate) fn text<'v>(object: &'v Value, path: &str) -> &'v str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The items at a dotted path; empty when absent or not a list.
pub(crate) fn items<'v>(object: &'v Value, path: &str) -> &'v [Value] {
    at(object, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn meta<'v>(object: &'v Value, field: &str) -> Option<&'v Value> {
    object.get("metadata")?.get(field).filter(|value| !value.is_null())
}

pub(crate) fn meta_text<'v>(object: &'v Value, field: &str) -> &'v str {
    meta(object, field).and_then(Value::as_str).unwrap_or_default()
}

/// The map under `field`, made when it is missing or of another type.
pub(crate) fn child_map<'v>(parent: &'v mut Map<String, Value>, field: &str) -> &'v mut Map<String, Value> {
    let slot = parent.entry(field.to_owned()).or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    match slot {
        Value::Object(map) => map,
        _ => unreachable!("the slot was made an object just above"),
    }
}

/// `metadata`, made when it is missing. `object` must be a JSON object, which every decoded body is.
pub(crate) fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    match object {
        Value::Object(map) => child_map(map, "metadata"),
        _ => unreachable!("made an object just above"),
    }
}

/// Sets `metadata.field`, or removes it when there is no value.
pub(crate) fn set_meta(object: &mut Value, field: &str, value: Option<Value>) {
    let metadata = meta_mut(object);
    match value {
        Some(value) => metadata.insert(field.to_owned(), value),
        None => metadata.remove(field),
    };
}

/// Sets a top-level field, or removes it when there is no value.
pub(crate) fn set_field(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => map.insert(field.to_owned(), value),
            None => map.remove(field),
        };
    }
}

pub(crate) fn resource_version(object: &Value) -> u64 {
    meta_text(object, "resourceVersion").parse().unwrap_or(0)
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    meta(object, "deletionTimestamp").is_some()
}

pub(crate) fn has_finalizers(object: &Value) -> bool {
    !items(object, "metadata.finalizers").is_empty()
}

/// Removes fields that are `null`: for the API they are absent.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A number nobody can foresee; enough for uids and generated names.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A version 4 UUID (RFC 9562 §5.4).
pub(crate) fn new_uid() -> String {
    let (high, low) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

/// The five characters the API server appends to `metadata.generateName`.
pub(crate) fn name_suffix() -> String {
    let mut seed = random();
    (0..5)
        .map(|_| {
            let letter = SUFFIX_LETTERS[(seed % SUFFIX_LETTERS.len() as u64) as usize];
            seed /= SUFFIX_LETTERS.len() as u64;
            char::from(letter)
        })
        .collect()
}

/// No vowels and no digits that read as letters, so that no words appear.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
