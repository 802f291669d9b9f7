//! Names, labels, annotations and the other metadata every kind shares (`apimachinery` validation).

use super::super::error::Cause;
use super::super::kinds::ResourceKind;
use super::super::object::{items, meta, meta_text};
use super::has;
use serde_json::{Value, json};

/// The faults of `metadata`.
pub(super) fn metadata(kind: &ResourceKind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = meta_text(object, "name");
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        let fault = match kind.plural.as_str() {
            "services" => (!is_label(name) || !name.starts_with(|first: char| first.is_ascii_lowercase()))
                .then_some(NOT_A_LABEL_1035),
            "namespaces" => (!is_label(name)).then_some(NOT_A_LABEL),
            "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" => {
                (matches!(name, "." | "..") || name.contains(['/', '%'])).then_some(NOT_A_SEGMENT)
            }
            _ => (!is_subdomain(name)).then_some(NOT_A_SUBDOMAIN),
        };
        causes.extend(fault.map(|detail| Cause::invalid("metadata.name", &json!(name), detail)));
    }
    if let Some(labels) = meta(object, "labels") {
        for (key, value) in labels.as_object().into_iter().flatten() {
            if !is_qualified(key) {
                causes.push(Cause::invalid("metadata.labels", &json!(key), "name part must be a qualified name"));
            }
            if !value.as_str().is_some_and(is_label_value) {
                causes.push(Cause::invalid("metadata.labels", value, "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"));
            }
        }
    }
    if let Some(annotations) = meta(object, "annotations") {
        let mut size = 0;
        for (key, value) in annotations.as_object().into_iter().flatten() {
            size += key.len() + value.as_str().map_or(0, str::len);
            if !is_qualified(&key.to_lowercase()) {
                causes.push(Cause::invalid("metadata.annotations", &json!(key), "name part must be a qualified name"));
            }
            if !value.is_string() {
                causes.push(Cause::invalid("metadata.annotations", value, "must be a string"));
            }
        }
        if size > ANNOTATIONS_LIMIT {
            causes.push(Cause::too_long("metadata.annotations", ANNOTATIONS_LIMIT));
        }
    }
    for finalizer in items(object, "metadata.finalizers") {
        if !finalizer.as_str().is_some_and(is_qualified) {
            causes.push(Cause::invalid(
                "metadata.finalizers",
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    for owner in items(object, "metadata.ownerReferences") {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if !has(owner, field) {
                causes.push(Cause::required(format!("metadata.ownerReferences.{field}"), "must not be empty"));
            }
        }
    }
    causes
}

/// DNS-1123 label (RFC 1123 §2.1): at most 63 of a-z, 0-9 and `-`.
pub(super) fn is_label(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|byte| byte == b'-' || edge(Some(byte)))
}

/// DNS-1123 subdomain: at most 253 characters, labels of any length.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            edge(label.bytes().next())
                && edge(label.bytes().last())
                && label.bytes().all(|byte| byte == b'-' || edge(Some(byte)))
        })
}

/// `*.` and a subdomain.
pub(super) fn is_wildcard(text: &str) -> bool {
    text.strip_prefix("*.").is_some_and(is_subdomain)
}

/// Optional `prefix/`, then at most 63 of letters, digits, `-`, `_` and `.`.
pub(super) fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && !name.is_empty() && is_label_value(name),
        None => !text.is_empty() && is_label_value(text),
    }
}

fn is_label_value(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.is_empty()
        || (text.len() <= 63
            && edge(text.bytes().next())
            && edge(text.bytes().last())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')))
}

/// Bytes of all annotations of one object.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

const NOT_A_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const NOT_A_SEGMENT: &str = "may not be '.' or '..', and may not contain '/' or '%'";
const NOT_A_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const NOT_A_LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
