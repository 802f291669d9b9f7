//! What the fake API server refuses: an error goes in with its object and reason, a `Status` object comes out.
//! Every verb answers with these; `http` sends them, tests read them.

use super::kinds::ResourceKind;
use serde_json::{Value, json};

/// A refusal of the API, shaped like the `Status` object that a client gets (`meta/v1` Status).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code} {reason}: {message}")]
pub struct ApiError {
    /// HTTP status code, also `Status.code`.
    pub code: u16,
    /// `Status.reason`, such as `Conflict`.
    pub reason: &'static str,
    /// `Status.message`.
    pub message: String,
    /// `Status.details`; `null` when there are none.
    pub details: Value,
}

/// One entry of `Status.details.causes`: a field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Cause {
    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {value}: {detail}") }
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {detail}") }
    }

    pub(crate) fn unsupported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list = supported.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            message: format!("Unsupported value: {value}: supported values: {list}"),
        }
    }

    pub(crate) fn too_long(field: impl Into<String>, limit: usize) -> Self {
        Self {
            reason: "FieldValueTooLong",
            field: field.into(),
            message: format!("Too long: may not be more than {limit} bytes"),
        }
    }
}

impl ApiError {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn not_found(kind: &ResourceKind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", kind.qualified())).about(kind, name)
    }

    pub(crate) fn already_exists(kind: &ResourceKind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", kind.qualified())).about(kind, name)
    }

    pub(crate) fn conflict(kind: &ResourceKind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    pub(crate) fn stale(kind: &ResourceKind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(crate) fn forbidden(kind: &ResourceKind, name: &str, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{} {name:?} is forbidden: {why}", kind.qualified())).about(kind, name)
    }

    /// 422 with one cause a field, as validation reports it.
    pub(crate) fn invalid(kind: &ResourceKind, name: &str, causes: &[Cause]) -> Self {
        let texts = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect::<Vec<_>>();
        let list = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
        let qualified = if kind.group.is_empty() { kind.kind.clone() } else { format!("{}.{}", kind.kind, kind.group) };
        let mut error = Self::new(422, "Invalid", format!("{qualified} {name:?} is invalid: {list}"));
        error.details = json!({
            "name": name, "group": kind.group, "kind": kind.kind,
            "causes": causes.iter().map(|cause| json!({
                "reason": cause.reason, "message": cause.message, "field": cause.field,
            })).collect::<Vec<_>>(),
        });
        error
    }

    /// 409 of server-side apply: the fields another manager owns.
    pub(crate) fn apply_conflict(causes: &[Cause]) -> Self {
        let plural = if causes.len() == 1 { "" } else { "s" };
        let list = causes.iter().map(|cause| format!("{}: {}", cause.message, cause.field)).collect::<Vec<_>>();
        let mut error = Self::new(
            409,
            "Conflict",
            format!("Apply failed with {} conflict{plural}: {}", causes.len(), list.join("\n")),
        );
        error.details = json!({
            "causes": causes.iter().map(|cause| json!({
                "reason": cause.reason, "message": cause.message, "field": cause.field,
            })).collect::<Vec<_>>(),
        });
        error
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 504 of a read that asks for a revision which does not exist yet.
    pub(crate) fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let mut error = Self::new(504, "Timeout", format!("Too large resource version: {asked}, current: {current}"));
        error.details = json!({
            "retryAfterSeconds": 1,
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        });
        error
    }

    fn about(mut self, kind: &ResourceKind, name: &str) -> Self {
        self.details = json!({"name": name, "group": kind.group, "kind": kind.plural});
        self
    }

    /// `Status.details.retryAfterSeconds`, also the `Retry-After` header.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        if !self.details.is_object() {
            self.details = json!({});
        }
        self.details["retryAfterSeconds"] = json!(seconds);
        self
    }

    /// Seconds for the `Retry-After` header, if any.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.details.get("retryAfterSeconds").and_then(Value::as_u64)
    }

    /// The `Status` object a client reads.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        let mut details = self.details.clone();
        if let Some(map) = details.as_object_mut() {
            map.retain(|_, value| value.as_str() != Some(""));
            status["details"] = details;
        }
        status
    }
}
