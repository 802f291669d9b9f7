//! The verbs that change objects: a decoded request goes in, the stored object or a refusal comes out. Create, update
//! and patch are here, deletion and listing in the files below. `http` calls them for clients, `ApiServer` for the lab.

mod deletion;
mod listing;

pub(crate) use deletion::{DeleteOptions, Deleted};
pub(crate) use listing::{ListQuery, Page, parse_revision};

use super::clock;
use super::defaults::{self, Allocator};
use super::error::{ApiError, Cause};
use super::event_conversion::{to_served, to_stored};
use super::kinds::{Kinds, ResourceKind};
use super::managed_fields::{self, Entry, FieldSet};
use super::object::{
    Key, has_finalizers, is_deleting, meta, meta_text, name_suffix, new_uid, resource_version, set_field, set_meta,
    text,
};
use super::patch;
use super::server_side_apply;
use super::store::{State, Store};
use super::validation;
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

/// A patch, by its media type.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
    Apply { config: Value, force: bool },
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
        validation::create(kind, &object)?;
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

    /// PATCH; an apply creates what does not exist. `true` when it did.
    pub(crate) fn patch(
        &self,
        kind: &ResourceKind,
        key: &Key,
        part: Part,
        patch: Patch,
        caller: &Caller,
    ) -> Result<(Value, bool), ApiError> {
        let plain = |object| Ok(Proposal { object, owners: None, is_update: false });
        let changed = match patch {
            Patch::Json(operations) => self.change(kind, key, part, caller, |live| {
                let mut object = live.clone();
                patch::json_patch(&mut object, &operations)?;
                plain(object)
            }),
            Patch::Merge(fields) => self.change(kind, key, part, caller, |live| {
                let mut object = live.clone();
                patch::merge(&mut object, &fields);
                plain(object)
            }),
            Patch::Strategic(fields) => self.change(kind, key, part, caller, |live| {
                let mut object = live.clone();
                patch::strategic(kind, &mut object, &fields)?;
                plain(object)
            }),
            Patch::Apply { config, force } => return self.apply(kind, key, part, config, force, caller),
        };
        changed.map(|object| (object, false))
    }

    fn apply(
        &self,
        kind: &ResourceKind,
        key: &Key,
        part: Part,
        mut config: Value,
        force: bool,
        caller: &Caller,
    ) -> Result<(Value, bool), ApiError> {
        if caller.manager.is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(ApiError::invalid(kind, &key.name, &[cause]));
        }
        if text(&config, "apiVersion").is_empty() || text(&config, "kind").is_empty() {
            return Err(ApiError::bad_request("apiVersion and kind must be set on the applied object"));
        }
        check_type(kind, &mut config)?;
        if meta(&config, "managedFields").is_some_and(|fields| fields != &json!([])) {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        place(kind, &key.namespace, &mut config)?;
        if meta_text(&config, "name").is_empty() {
            set_meta(&mut config, "name", Some(json!(key.name)));
        }
        check_name(key, &config)?;
        let now = clock::now();
        let owner = owner(kind, caller, "Apply", part.subresource(), &now);
        let mut owned = config.clone();
        match part {
            Part::Main if kind.status => set_field(&mut owned, "status", None),
            Part::Status => {
                if let Some(fields) = owned.as_object_mut() {
                    fields.retain(|field, _| ["apiVersion", "kind", "status"].contains(&field.as_str()));
                }
            }
            Part::Main | Part::Whole => {}
        }
        let exists = self.store.lock().get(&kind.storage, key).is_some();
        if exists || part == Part::Status {
            return self
                .change(kind, key, part, caller, |live| {
                    let (mut object, owners) = server_side_apply::apply(kind, live, &owned, owner, force)?;
                    for field in ["resourceVersion", "uid"] {
                        if let Some(wanted) = meta(&config, field) {
                            set_meta(&mut object, field, Some(wanted.clone()));
                        }
                    }
                    Ok(Proposal { object, owners: Some(owners), is_update: false })
                })
                .map(|object| (object, false));
        }
        if !meta_text(&config, "resourceVersion").is_empty() || !meta_text(&config, "uid").is_empty() {
            return Err(ApiError::stale(kind, &key.name));
        }
        let (object, owners) = server_side_apply::apply(kind, &owned, &owned, owner, force)?;
        let mut object = to_stored(kind, object);
        for field in SET_BY_SERVER {
            set_meta(&mut object, field, None);
        }
        defaults::fill(kind, &mut object, &self.allocator);
        let status = defaults::initial_status(kind, &object, &now);
        set_field(&mut object, "status", status);
        validation::create(kind, &object)?;
        validation::size(&object)?;
        self.insert(kind, object, &owners, caller, &now).map(|object| (object, true))
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
            set_meta(&mut object, field, meta(&live, field).cloned());
        }
        set_meta(&mut object, "resourceVersion", meta(&live, "resourceVersion").cloned());
        if part == Part::Status {
            validation::status(kind, &object)?;
        } else {
            defaults::fill(kind, &mut object, &self.allocator);
            if caller.is_lab { validation::create(kind, &object)? } else { validation::update(kind, &live, &object)? }
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

/// `apiVersion` and `kind` must be those of the URL; typed kinds may leave them out.
fn check_type(kind: &ResourceKind, object: &mut Value) -> Result<(), ApiError> {
    if !object.is_object() {
        return Err(ApiError::bad_request("the object provided is unrecognized (must be of type Object)"));
    }
    if object.get("metadata").is_some_and(|metadata| !metadata.is_object()) {
        return Err(ApiError::bad_request("metadata must be an object"));
    }
    let (api_version, name) = (text(object, "apiVersion").to_owned(), text(object, "kind").to_owned());
    if !kind.typed && name.is_empty() {
        return Err(ApiError::bad_request("Object 'Kind' is missing"));
    }
    let matches =
        (api_version.is_empty() || api_version == kind.api_version()) && (name.is_empty() || name == kind.kind);
    if !matches {
        let (api_version, name, wanted, expected) = (&api_version, &name, kind.api_version(), &kind.kind);
        return Err(ApiError::bad_request(format!(
            "{name} in version {api_version:?} cannot be handled as a {expected}: the API version in the data ({api_version}) and kind ({name}) do not match the expected {wanted}, {expected}"
        )));
    }
    set_field(object, "apiVersion", Some(json!(kind.api_version())));
    set_field(object, "kind", Some(json!(kind.kind)));
    Ok(())
}

/// The namespace of the URL is the object's; another one in the object is refused.
fn place(kind: &ResourceKind, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let own = meta_text(object, "namespace").to_owned();
    if !kind.namespaced {
        if own.is_empty() {
            return Ok(());
        }
        let cause = Cause::forbidden("metadata.namespace", "not allowed on this type");
        return Err(ApiError::invalid(kind, meta_text(object, "name"), &[cause]));
    }
    if !own.is_empty() && own != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    set_meta(object, "namespace", Some(json!(namespace)));
    Ok(())
}

fn check_name(key: &Key, object: &Value) -> Result<(), ApiError> {
    let name = meta_text(object, "name");
    if name != key.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    let namespace = meta_text(object, "namespace");
    if !namespace.is_empty() && namespace != key.namespace {
        return Err(ApiError::bad_request("the namespace of the object does not match the namespace on the URL"));
    }
    Ok(())
}

fn check_revision(
    kind: &ResourceKind,
    key: &Key,
    live: &Value,
    object: &Value,
    must_name_it: bool,
) -> Result<(), ApiError> {
    let wanted = meta_text(object, "resourceVersion");
    if matches!(wanted, "" | "0") {
        if must_name_it && !kind.unconditional_update {
            let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            return Err(ApiError::invalid(kind, &key.name, &[cause]));
        }
    } else if wanted != resource_version(live).to_string() {
        return Err(ApiError::stale(kind, &key.name));
    }
    let (uid, held) = (meta_text(object, "uid"), meta_text(live, "uid"));
    if !uid.is_empty() && uid != held {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {held}");
        return Err(ApiError::conflict(kind, &key.name, &why));
    }
    Ok(())
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
