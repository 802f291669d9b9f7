//! Events exist once and are served twice, as core/v1 and as events.k8s.io/v1: an object of either goes in, the other
//! comes out. `registry` and `watch` call it at their edges; the store keeps the core form.

use super::kinds::ResourceKind;
use super::object::set_field;
use serde_json::{Value, json};

/// `true` for events.k8s.io, whose objects are kept in another form than they are served.
pub(crate) fn is_converted(kind: &ResourceKind) -> bool {
    kind.group == "events.k8s.io"
}

/// The stored form of an object that a client sent.
pub(crate) fn to_stored(kind: &ResourceKind, mut object: Value) -> Value {
    if is_converted(kind) {
        rename(&mut object, |(core, event)| (event, core));
        set_field(&mut object, "apiVersion", Some(json!("v1")));
    }
    object
}

/// What a client of `kind` sees of a stored object.
pub(crate) fn to_served(kind: &ResourceKind, mut object: Value) -> Value {
    if is_converted(kind) {
        rename(&mut object, |(core, event)| (core, event));
        set_field(&mut object, "apiVersion", Some(json!("events.k8s.io/v1")));
    }
    object
}

fn rename(object: &mut Value, direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Some(fields) = object.as_object_mut() else { return };
    for &pair in RENAMED {
        let (from, to) = direction(pair);
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

/// Field names of core/v1 and of events.k8s.io/v1.
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];
