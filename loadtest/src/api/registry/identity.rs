//! Does a sent object belong to the URL it was sent to: type, namespace, name, revision and uid. The object goes in with
//! what the URL says, a refusal comes out. Every change goes through here.

use super::super::error::{ApiError, Cause};
use super::super::kinds::ResourceKind;
use super::super::object::{Key, drop_nulls, meta_text, resource_version, set_field, set_meta, text};
use serde_json::{Value, json};

/// `apiVersion` and `kind` must be those of the URL; typed kinds may leave them out.
pub(super) fn check_type(kind: &ResourceKind, object: &mut Value) -> Result<(), ApiError> {
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
    drop_nulls(object);
    set_field(object, "apiVersion", Some(json!(kind.api_version())));
    set_field(object, "kind", Some(json!(kind.kind)));
    Ok(())
}

/// The namespace of the URL is the object's; another one in the object is refused.
pub(super) fn place(kind: &ResourceKind, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
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

/// The name and namespace of an object must be those of the URL.
pub(super) fn check_name(key: &Key, object: &Value) -> Result<(), ApiError> {
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

/// The revision and uid that a change is based on, if it names them, must be the stored ones.
pub(super) fn check_revision(
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
