//! Deletion: options and preconditions go in, the object goes away, or is marked until its finalizers and grace
//! period let it go. A namespace takes its objects with it, a CustomResourceDefinition its kind.

use super::super::clock;
use super::super::error::ApiError;
use super::super::event_conversion::to_served;
use super::super::kinds::ResourceKind;
use super::super::object::{Key, has_finalizers, is_deleting, meta, meta_text, set_field, set_meta, text};
use super::super::store::State;
use super::{Caller, ListQuery, Registry};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// `meta/v1` DeleteOptions, as far as they are obeyed.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    /// Seconds; `None` takes the kind's own.
    pub(crate) grace_period: Option<u64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the body of a DELETE request.
    pub(crate) fn parse(body: &Value) -> Self {
        let preconditions = |field: &str| {
            body.get("preconditions").and_then(|held| held.get(field)).and_then(Value::as_str).map(str::to_owned)
        };
        Self {
            grace_period: body.get("gracePeriodSeconds").and_then(Value::as_u64),
            uid: preconditions("uid"),
            resource_version: preconditions("resourceVersion"),
        }
    }
}

/// What became of a deletion.
#[derive(Clone, Debug)]
pub(crate) enum Deleted {
    /// The object is gone; its last state.
    Gone(Value),
    /// The object is marked and waits for finalizers or its grace period.
    Waiting(Value),
}

impl Registry {
    pub(crate) fn delete(
        &self,
        kind: &ResourceKind,
        key: &Key,
        options: &DeleteOptions,
        caller: &Caller,
    ) -> Result<Deleted, ApiError> {
        let mut state = self.store.lock();
        let live = state.get(&kind.storage, key).ok_or_else(|| ApiError::not_found(kind, &key.name))?;
        for (field, wanted, label) in
            [("uid", &options.uid, "UID"), ("resourceVersion", &options.resource_version, "ResourceVersion")]
        {
            let held = meta_text(&live, field);
            if let Some(wanted) = wanted.as_deref().filter(|&wanted| wanted != held) {
                let why =
                    format!("Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {held}");
                return Err(ApiError::conflict(kind, &key.name, &why));
            }
        }
        if caller.dry_run {
            return Ok(Deleted::Gone(to_served(kind, Value::clone(&live))));
        }
        Ok(match self.delete_locked(&mut state, kind, key, options.grace_period) {
            Some(marked) => Deleted::Waiting(to_served(kind, Value::clone(&marked))),
            None => Deleted::Gone(to_served(kind, Value::clone(&live))),
        })
    }

    /// Deletes what a list would show; what was deleted or marked.
    pub(crate) fn delete_collection(
        &self,
        kind: &ResourceKind,
        query: &ListQuery,
        options: &DeleteOptions,
        caller: &Caller,
    ) -> Result<Vec<Value>, ApiError> {
        let page = self.list(kind, query)?;
        for object in &page.items {
            let key = Key::new(meta_text(object, "namespace"), meta_text(object, "name"));
            match self.delete(kind, &key, options, caller) {
                Ok(_) => {}
                Err(gone) if gone.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(page.items)
    }

    /// The marked object when it must wait, nothing when it is gone.
    fn delete_locked(
        &self,
        state: &mut State,
        kind: &ResourceKind,
        key: &Key,
        grace_period: Option<u64>,
    ) -> Option<Arc<Value>> {
        let live = state.get(&kind.storage, key)?;
        let grace = self.grace(kind, &live, grace_period);
        let is_namespace = kind.plural == "namespaces";
        if !has_finalizers(&live) && grace == 0 && !is_namespace {
            self.remove(state, &kind.storage, key);
            return None;
        }
        let held = meta(&live, "deletionGracePeriodSeconds").and_then(Value::as_u64);
        let mut marked = Value::clone(&live);
        if !is_deleting(&live) || held.is_some_and(|held| grace < held) {
            set_meta(&mut marked, "deletionTimestamp", Some(json!(clock::now_plus(Duration::from_secs(grace)))));
            set_meta(&mut marked, "deletionGracePeriodSeconds", Some(json!(grace)));
            if kind.generation {
                let generation = meta(&live, "generation").and_then(Value::as_i64).unwrap_or(0);
                set_meta(&mut marked, "generation", Some(json!(generation + 1)));
            }
        }
        if is_namespace {
            set_field(&mut marked, "status", Some(json!({"phase": "Terminating"})));
        }
        let stored = if marked == *live { live } else { state.put(&kind.storage, key.clone(), marked) };
        if !is_namespace {
            return Some(stored);
        }
        for (storage, inner) in state.in_namespace(&key.name) {
            if let Some(kind) = self.kinds.by_storage(&storage) {
                self.delete_locked(state, &kind, &inner, None);
            } else {
                state.remove(&storage, &inner);
            }
        }
        self.finish_namespace(state, &key.name);
        state.get(&kind.storage, key)
    }

    /// Seconds that a deletion waits: only pods on a node have any.
    fn grace(&self, kind: &ResourceKind, object: &Value, asked: Option<u64>) -> u64 {
        let is_over = matches!(text(object, "status.phase"), "Succeeded" | "Failed");
        let is_placed = !text(object, "spec.nodeName").is_empty();
        if kind.plural != "pods" || !self.graceful_pod_deletion || is_over || !is_placed {
            return 0;
        }
        let own = object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64);
        asked.or(own).unwrap_or(DEFAULT_GRACE)
    }

    /// Takes an object away, then what depended on it.
    pub(super) fn remove(&self, state: &mut State, storage: &Arc<str>, key: &Key) {
        let Some(gone) = state.remove(storage, key) else { return };
        if text(&gone, "kind") == "CustomResourceDefinition" {
            for storage in self.kinds.undefine(&gone) {
                let keys: Vec<Key> = state.collection(&storage).keys().cloned().collect();
                for key in keys {
                    state.remove(&storage, &key);
                }
            }
        }
        if !key.namespace.is_empty() {
            self.finish_namespace(state, &key.namespace);
        }
    }

    /// Removes a terminating namespace once nothing is left in it.
    pub(super) fn finish_namespace(&self, state: &mut State, name: &str) {
        let Some(namespaces) = self.kinds.by_type("v1", "Namespace") else { return };
        let key = Key::new("", name);
        let is_over = state
            .get(&namespaces.storage, &key)
            .is_some_and(|namespace| is_deleting(&namespace) && !has_finalizers(&namespace));
        if is_over && state.in_namespace(name).is_empty() {
            state.remove(&namespaces.storage, &key);
        }
    }
}

/// A pod's grace period in seconds when neither the request nor the pod says.
const DEFAULT_GRACE: u64 = 30;
