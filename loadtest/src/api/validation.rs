//! What the API server refuses: an object goes in, the faults of its fields come out as 422 (or 400 when it does not
//! decode). `registry` calls it before it stores anything; the rules of each kind are in the files below.

mod core;
mod ingress;
mod names;
mod rbac;
mod route;

use super::error::{ApiError, Cause};
use super::kinds::ResourceKind;
use super::object::{at, items, meta, meta_text, text};
use super::structural::{self, Fault};
use k8s_openapi::api;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Whose object is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// Anybody who sends requests.
    Client,
    /// The lab, whose pods may have loopback addresses: without root there are no others.
    Lab,
}

/// Checks an object that is to be created, after its defaults are filled in.
pub(crate) fn create(kind: &ResourceKind, object: &Value, author: Author) -> Result<(), ApiError> {
    decodes(kind, object)?;
    let mut causes = names::metadata(kind, object);
    causes.extend(specification(kind, object, None, author));
    refuse(kind, object, &causes)
}

/// Checks an object that is to replace `before`, fields that must not change included.
pub(crate) fn update(kind: &ResourceKind, before: &Value, object: &Value, author: Author) -> Result<(), ApiError> {
    decodes(kind, object)?;
    let mut causes = names::metadata(kind, object);
    causes.extend(specification(kind, object, Some(before), author));
    for &(plural, path) in IMMUTABLE {
        if kind.plural == plural && at(before, path) != at(object, path) {
            let value = at(object, path).cloned().unwrap_or_default();
            causes.push(Cause::invalid(path, &value, "field is immutable"));
        }
    }
    if meta(before, "deletionTimestamp").is_some() {
        let held = items(before, "metadata.finalizers");
        if items(object, "metadata.finalizers").iter().any(|finalizer| !held.contains(finalizer)) {
            causes.push(Cause::forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted",
            ));
        }
    }
    refuse(kind, object, &causes)
}

/// Checks a new status; only its shape is checked.
pub(crate) fn status(kind: &ResourceKind, object: &Value) -> Result<(), ApiError> {
    decodes(kind, object)?;
    let causes = match &kind.schema {
        Some(schema) => structural::fault(schema, object, None, "").into_iter().map(custom).collect(),
        None if kind.plural == "ingresses" => ingress::status(object),
        None => Vec::new(),
    };
    refuse(kind, object, &causes)
}

/// 413 for an object that etcd would not take.
pub(crate) fn size(object: &Value) -> Result<(), ApiError> {
    if object.to_string().len() > OBJECT_LIMIT {
        return Err(ApiError::new(413, "RequestEntityTooLarge", "etcdserver: request is too large"));
    }
    Ok(())
}

fn refuse(kind: &ResourceKind, object: &Value, causes: &[Cause]) -> Result<(), ApiError> {
    if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, meta_text(object, "name"), causes)) }
}

fn specification(kind: &ResourceKind, object: &Value, before: Option<&Value>, author: Author) -> Vec<Cause> {
    if let Some(schema) = &kind.schema {
        return structural::fault(schema, object, before, "").into_iter().map(custom).collect();
    }
    match kind.plural.as_str() {
        "ingresses" => ingress::ingress(object, before.is_none()),
        "ingressclasses" => ingress::class(object),
        "routes" => route::route(object, before),
        "pods" => core::pod(object, before),
        "services" => core::service(object),
        "secrets" => core::secret(object, before),
        "configmaps" => core::config_map(object, before),
        "events" => core::event(object),
        "endpointslices" => core::endpoint_slice(object, author),
        "leases" => core::lease(object),
        "dnsendpoints" => core::dns_endpoint(object),
        "customresourcedefinitions" => core::definition(object),
        "roles" | "clusterroles" => rbac::role(kind, object),
        "rolebindings" | "clusterrolebindings" => rbac::binding(kind, object, before),
        _ => Vec::new(),
    }
}

fn custom(fault: Fault) -> Cause {
    let field = fault.field.trim_start_matches('.').to_owned();
    Cause { reason: "FieldValueInvalid", field, message: format!("Invalid value: {}", fault.detail) }
}

/// 400 for a field of the wrong type, as the server's decoder answers.
fn decodes(kind: &ResourceKind, object: &Value) -> Result<(), ApiError> {
    let outcome = match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "namespaces") => decode::<api::core::v1::Namespace>(object),
        ("", "nodes") => decode::<api::core::v1::Node>(object),
        ("", "pods") => decode::<api::core::v1::Pod>(object),
        ("", "services") => decode::<api::core::v1::Service>(object),
        ("", "secrets") => decode::<api::core::v1::Secret>(object),
        ("", "configmaps") => decode::<api::core::v1::ConfigMap>(object),
        ("", "endpoints") => decode::<api::core::v1::Endpoints>(object),
        ("discovery.k8s.io", "endpointslices") => decode::<api::discovery::v1::EndpointSlice>(object),
        ("networking.k8s.io", "ingresses") => decode::<api::networking::v1::Ingress>(object),
        ("networking.k8s.io", "ingressclasses") => decode::<api::networking::v1::IngressClass>(object),
        ("", "serviceaccounts") => decode::<api::core::v1::ServiceAccount>(object),
        ("rbac.authorization.k8s.io", "roles") => decode::<api::rbac::v1::Role>(object),
        ("rbac.authorization.k8s.io", "clusterroles") => decode::<api::rbac::v1::ClusterRole>(object),
        ("rbac.authorization.k8s.io", "rolebindings") => decode::<api::rbac::v1::RoleBinding>(object),
        ("rbac.authorization.k8s.io", "clusterrolebindings") => decode::<api::rbac::v1::ClusterRoleBinding>(object),
        ("coordination.k8s.io", "leases") => decode::<api::coordination::v1::Lease>(object),
        _ => Ok(()),
    };
    outcome.map_err(|why| {
        let name = &kind.kind;
        ApiError::bad_request(format!(
            "{name} in version {:?} cannot be handled as a {name}: json: {why}",
            kind.version
        ))
    })
}

fn decode<T: DeserializeOwned>(object: &Value) -> Result<(), serde_json::Error> {
    T::deserialize(object).map(drop)
}

/// `true` for a value that is present as text and not empty.
fn has(object: &Value, path: &str) -> bool {
    !text(object, path).is_empty()
}

/// Fields that an update may not change.
const IMMUTABLE: &[(&str, &str)] = &[
    ("secrets", "type"),
    ("endpointslices", "addressType"),
    ("ingressclasses", "spec.controller"),
    ("routes", "spec.wildcardPolicy"),
    ("services", "spec.clusterIP"),
];

/// etcd's request limit (`--max-request-bytes`), in bytes.
const OBJECT_LIMIT: usize = 1_572_864;

#[cfg(test)]
mod tests;
