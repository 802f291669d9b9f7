//! The verbs that change objects: a decoded request goes in, the stored object or a refusal comes out. Create and
//! update are here, the others in the files below. `http` calls them for clients, `ApiServer` for the lab.

mod deletion;
mod identity;
mod listing;
mod patching;

pub(crate) use deletion::{DeleteOptions, Deleted};
pub(crate) use listing::{ListQuery, Page, parse_revision};
pub(crate) use patching::Patch;

use super::clock;
use super::defaults::{self, Allocator};
use super::error::ApiError;
use super::event_conversion::{to_served, to_stored};
use super::faults::Behind;
use super::kinds::{Kinds, ResourceKind};
use super::managed_fields::{self, Entry, FieldSet};
use super::object::{
    Key, has_finalizers, is_deleting, meta, meta_text, name_suffix, new_uid, set_field, set_meta, text,
};
use super::store::{State, Store};
use super::structural;
use super::validation::{self, Author};
use identity::{check_name, check_revision, check_type, place};
use serde_json::{Value, json};
use std::sync::Arc;

/// Objects, kinds and the rules between them.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) store: Store,
    pub(crate) kinds: Kinds,
    pub(crate) allocator: Allocator,
    /// Pods with a grace period stay, marked, until they are deleted with 0.
    pub(crate) graceful_pod_deletion: bool,
    /// Pods need a ServiceAccount that exists.
    pub(crate) needs_accounts: bool,
    /// Endpoints may have loopback addresses.
    pub(crate) loopback_endpoints: bool,
}

/// On whose behalf a change is made.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// `fieldManager`.
    pub(crate) manager: String,
    /// `dryRun=All`: everything is checked and nothing stored.
    pub(crate) dry_run: bool,
    /// The lab: may set times and status, and change what is immutable.
    pub(crate) is_lab: bool,
}

/// Which endpoint of an object a change goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The object itself; its status is left alone where the kind has a status endpoint.
    Main,
    /// `/status`: nothing but the status changes.
    Status,
    /// All of it, for the lab.
    Whole,
}

impl Part {
    fn subresource(self) -> &'static str {
        if self == Self::Status { "status" } else { "" }
    }
}

/// What an object is to become, and who then owns its fields when the change decides that.
struct Proposal {
    object: Value,
    owners: Option<Vec<Entry>>,
    /// A plain update: must name the revision it is based on where the kind asks for it.
    is_update: bool,
}

impl Registry {
    pub(crate) fn get(&self, kind: &ResourceKind, key: &Key) -> Result<Value, ApiError> {
        let object = self.store.lock().get(&kind.storage, key).ok_or_else(|| ApiError::not_found(kind, &key.name))?;
        Ok(to_served(kind, Value::clone(&object)))
    }

    pub(crate) fn create(
        &self,
        kind: &ResourceKind,
        namespace: &str,
        mut object: Value,
        caller: &Caller,
    ) -> Result<Value, ApiError> {
        check_type(kind, &mut object)?;
        place(kind, namespace, &mut object)?;
        if !caller.is_lab && !meta_text(&object, "resourceVersion").is_empty() {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let prefix = meta_text(&object, "generateName").to_owned();
        if meta_text(&object, "name").is_empty() && !prefix.is_empty() {
            set_meta(&mut object, "name", Some(json!(format!("{prefix}{}", name_suffix()))));
        }
        let now = clock::now();
        let mut object = to_stored(kind, object);
        for field in SET_BY_SERVER {
            if !(caller.is_lab && *field == "creationTimestamp" && meta(&object, field).is_some()) {
                set_meta(&mut object, field, None);
            }
        }
        let drops_status = !caller.is_lab && (kind.status || kind.plural == "customresourcedefinitions");
        if drops_status {
            set_field(&mut object, "status", None);
        }
        defaults::fill(kind, &mut object, &self.allocator);
        if object.get("status").is_none() {
            let status = defaults::initial_status(kind, &object, &now);
            set_field(&mut object, "status", status);
        }
        validation::create(kind, &object, self.author(caller))?;
        validation::size(&object)?;
        let owner = owner(kind, caller, "Update", "", &now);
        let owners =
            managed_fields::after_update(kind, None, &without_initial_status(kind, &object, drops_status), owner);
        self.insert(kind, object, &owners, caller, &now)
    }

    /// Stores a fresh object after the checks that need the other objects.
    fn insert(
        &self,
        kind: &ResourceKind,
        mut object: Value,
        owners: &[Entry],
        caller: &Caller,
        now: &str,
    ) -> Result<Value, ApiError> {
        set_meta(&mut object, "uid", Some(json!(new_uid())));
        if meta(&object, "creationTimestamp").is_none() {
            set_meta(&mut object, "creationTimestamp", Some(json!(now)));
        }
        if kind.generation {
            set_meta(&mut object, "generation", Some(json!(1)));
        }
        set_meta(&mut object, "managedFields", Some(managed_fields::to_value(owners)));
        let key = Key::new(meta_text(&object, "namespace"), meta_text(&object, "name"));
        let mut state = self.store.lock();
        if kind.namespaced {
            self.check_namespace(&state, kind, &key)?;
            self.check_account(&state, kind, &key, &object)?;
        }
        if state.get(&kind.storage, &key).is_some() {
            return Err(ApiError::already_exists(kind, &key.name));
        }
        let stored = if caller.dry_run { Arc::new(object) } else { self.put(&mut state, kind, key, object) };
        Ok(to_served(kind, Value::clone(&stored)))
    }

    fn check_namespace(&self, state: &State, kind: &ResourceKind, key: &Key) -> Result<(), ApiError> {
        let Some(namespaces) = self.kinds.by_type("v1", "Namespace") else { return Ok(()) };
        let namespace = state
            .get(&namespaces.storage, &Key::new("", &key.namespace))
            .ok_or_else(|| ApiError::not_found(&namespaces, &key.namespace))?;
        if !is_deleting(&namespace) {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {} because it is being terminated", key.namespace);
        let mut error = ApiError::forbidden(kind, &key.name, &why);
        error.details["causes"] = json!([{
            "reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {} is being terminated", key.namespace),
        }]);
        Err(error)
    }

    fn author(&self, caller: &Caller) -> Author {
        if caller.is_lab || self.loopback_endpoints { Author::Lab } else { Author::Client }
    }

    /// What the admission plugin `ServiceAccount` asks for.
    fn check_account(&self, state: &State, kind: &ResourceKind, key: &Key, object: &Value) -> Result<(), ApiError> {
        if kind.plural != "pods" || !self.needs_accounts {
            return Ok(());
        }
        let Some(accounts) = self.kinds.by_type("v1", "ServiceAccount") else { return Ok(()) };
        let name = match text(object, "spec.serviceAccountName") {
            "" => "default",
            name => name,
        };
        if state.get(&accounts.storage, &Key::new(key.namespace.as_str(), name)).is_some() {
            return Ok(());
        }
        let namespace = &key.namespace;
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        Err(ApiError::forbidden(kind, &key.name, &why))
    }

    /// Stores an object and does what its kind asks for beside that.
    fn put(&self, state: &mut State, kind: &ResourceKind, key: Key, object: Value) -> Arc<Value> {
        let stored = state.put(&kind.storage, key, object);
        if kind.plural == "customresourcedefinitions" {
            self.kinds.define(&stored);
        }
        stored
    }

    /// PUT.
    pub(crate) fn update(
        &self,
        kind: &ResourceKind,
        key: &Key,
        part: Part,
        mut object: Value,
        caller: &Caller,
    ) -> Result<Value, ApiError> {
        check_type(kind, &mut object)?;
        place(kind, &key.namespace, &mut object)?;
        self.change(kind, key, part, caller, |_| Ok(Proposal { object, owners: None, is_update: true }))
    }

    /// Read, change, check and store one object under the lock.
    fn change(
        &self,
        kind: &ResourceKind,
        key: &Key,
        part: Part,
        caller: &Caller,
        proposed: impl FnOnce(&Value) -> Result<Proposal, ApiError>,
    ) -> Result<Value, ApiError> {
        let mut state = self.store.lock();
        let live = state.get(&kind.storage, key).ok_or_else(|| ApiError::not_found(kind, &key.name))?;
        let Proposal { mut object, owners, is_update } = proposed(&to_served(kind, Value::clone(&live)))?;
        check_type(kind, &mut object)?;
        check_name(key, &object)?;
        check_revision(kind, key, &live, &object, is_update && !caller.is_lab)?;
        let mut object = to_stored(kind, object);
        match part {
            Part::Main if kind.status => set_field(&mut object, "status", live.get("status").cloned()),
            Part::Status => {
                let status = object.get("status").cloned();
                object = Value::clone(&live);
                set_field(&mut object, "status", status);
            }
            Part::Main | Part::Whole => {}
        }
        for field in SET_BY_SERVER.iter().chain(&["generateName"]) {
            let is_given = part == Part::Whole && *field == "creationTimestamp" && meta(&object, field).is_some();
            if !is_given {
                set_meta(&mut object, field, meta(&live, field).cloned());
            }
        }
        if part == Part::Status {
            if let Some(schema) = &kind.schema {
                structural::prune(schema, &mut object);
            }
            validation::status(kind, &object)?;
        } else {
            defaults::keep_allocated(kind, &live, &mut object);
            defaults::fill(kind, &mut object, &self.allocator);
            if caller.is_lab {
                validation::create(kind, &object, Author::Lab)?;
            } else {
                validation::update(kind, &live, &object, self.author(caller))?;
            }
        }
        validation::size(&object)?;
        if kind.generation && part != Part::Status && specification(&live) != specification(&object) {
            let generation = meta(&live, "generation").and_then(Value::as_i64).unwrap_or(0);
            set_meta(&mut object, "generation", Some(json!(generation + 1)));
        }
        let owners = owners.unwrap_or_else(|| {
            let owner = owner(kind, caller, "Update", part.subresource(), &clock::now());
            managed_fields::after_update(kind, Some(&live), &object, owner)
        });
        set_meta(&mut object, "managedFields", Some(managed_fields::to_value(&owners)));
        if object == *live {
            return Ok(to_served(kind, object));
        }
        if caller.dry_run {
            return Ok(to_served(kind, object));
        }
        let waits = meta(&object, "deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0) > 0;
        let is_done = is_deleting(&object) && !has_finalizers(&object) && has_finalizers(&live) && !waits;
        if is_done && kind.plural != "namespaces" {
            self.remove(&mut state, &kind.storage, key);
            return Ok(to_served(kind, object));
        }
        let stored = self.put(&mut state, kind, key.clone(), object);
        if is_done {
            self.finish_namespace(&mut state, &key.name);
        }
        Ok(to_served(kind, Value::clone(&stored)))
    }

    /// Makes an object exist exactly as given, status and creation time included; for the lab. A missing namespace is
    /// made too.
    pub(crate) fn seed(&self, kind: &ResourceKind, object: Value, caller: &Caller) -> Result<Value, ApiError> {
        let key = Key::new(meta_text(&object, "namespace"), meta_text(&object, "name"));
        if let Some(namespaces) = self.kinds.by_type("v1", "Namespace")
            && kind.namespaced
            && self.get(&namespaces, &Key::new("", &key.namespace)).is_err()
        {
            self.create(&namespaces, "", json!({"metadata": {"name": key.namespace}}), caller)?;
        }
        if self.get(kind, &key).is_err() {
            return self.create(kind, &key.namespace, object, caller);
        }
        self.change(kind, &key, Part::Whole, caller, |live| {
            let mut object = object;
            for field in ["resourceVersion", "uid"] {
                set_meta(&mut object, field, meta(live, field).cloned());
            }
            if object.get("status").is_none() {
                set_field(&mut object, "status", live.get("status").cloned());
            }
            Ok(Proposal { object, owners: None, is_update: false })
        })
    }
}

impl Behind for Registry {
    fn compact(&self) {
        self.store.lock().compact();
    }

    fn set_served(&self, name: &str, served: bool) -> Vec<String> {
        let changed = self.kinds.set_enabled(name, served);
        changed.iter().map(|storage| storage.split('.').next().unwrap_or_default().to_owned()).collect()
    }
}

fn owner(kind: &ResourceKind, caller: &Caller, operation: &str, subresource: &str, now: &str) -> Entry {
    Entry {
        manager: caller.manager.clone(),
        operation: operation.to_owned(),
        api_version: kind.api_version(),
        subresource: subresource.to_owned(),
        time: now.to_owned(),
        fields: FieldSet::new(),
    }
}

/// The initial status is the server's, not the client's that created the object.
fn without_initial_status(kind: &ResourceKind, object: &Value, drops_status: bool) -> Value {
    let mut owned = object.clone();
    if drops_status && kind.status {
        set_field(&mut owned, "status", None);
    }
    owned
}

/// Everything whose change counts as a new generation.
fn specification(object: &Value) -> Value {
    let mut rest = object.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.retain(|field, _| !["metadata", "status", "apiVersion", "kind"].contains(&field.as_str()));
    }
    rest
}

/// Metadata that clients cannot set; kept from the stored object on every change.
const SET_BY_SERVER: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "selfLink",
    "resourceVersion",
];
