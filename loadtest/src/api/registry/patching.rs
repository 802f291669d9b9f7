//! PATCH: a patch of any of the four media types goes in, the changed object comes out. A server-side apply also creates
//! what does not exist.

use super::super::clock;
use super::super::defaults;
use super::super::error::{ApiError, Cause};
use super::super::event_conversion::to_stored;
use super::super::kinds::ResourceKind;
use super::super::object::{Key, meta, meta_text, set_field, set_meta, text};
use super::super::{patch, server_side_apply, validation};
use super::identity::{check_name, check_type, place};
use super::{Caller, Part, Proposal, Registry, SET_BY_SERVER, owner};
use serde_json::{Value, json};

/// A patch, by its media type.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
    Apply { config: Value, force: bool },
}

impl Registry {
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
        validation::create(kind, &object, self.author(caller))?;
        validation::size(&object)?;
        self.insert(kind, object, &owners, caller, &now).map(|object| (object, true))
    }
}
