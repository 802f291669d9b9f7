//! Role, ClusterRole and their bindings (`pkg/apis/rbac/validation`).

use super::super::error::Cause;
use super::super::kinds::ResourceKind;
use super::super::object::{at, items, text};
use super::has;
use serde_json::{Value, json};

pub(super) fn role(kind: &ResourceKind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, rule) in items(object, "rules").iter().enumerate() {
        let field = |name: &str| format!("rules[{index}].{name}");
        if items(rule, "verbs").is_empty() {
            causes.push(Cause::required(field("verbs"), "verbs must contain at least one value"));
        }
        let paths = items(rule, "nonResourceURLs");
        if !paths.is_empty() {
            if kind.namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                causes.push(Cause::invalid(field("nonResourceURLs"), &json!(paths), detail));
            }
            if !items(rule, "apiGroups").is_empty() || !items(rule, "resources").is_empty() {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                causes.push(Cause::invalid(field("nonResourceURLs"), &json!(paths), detail));
            }
            continue;
        }
        if items(rule, "apiGroups").is_empty() {
            causes.push(Cause::required(field("apiGroups"), "resource rules must supply at least one api group"));
        }
        if items(rule, "resources").is_empty() {
            causes.push(Cause::required(field("resources"), "resource rules must supply at least one resource"));
        }
    }
    causes
}

pub(super) fn binding(kind: &ResourceKind, object: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let known: &[&str] = if kind.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !known.contains(&text(object, "roleRef.kind")) {
        causes.push(Cause::unsupported("roleRef.kind", &json!(text(object, "roleRef.kind")), known));
    }
    if text(object, "roleRef.apiGroup") != kind.group {
        causes.push(Cause::unsupported("roleRef.apiGroup", &json!(text(object, "roleRef.apiGroup")), &[&kind.group]));
    }
    if !has(object, "roleRef.name") {
        causes.push(Cause::required("roleRef.name", ""));
    }
    if before.is_some_and(|before| at(before, "roleRef") != at(object, "roleRef")) {
        let value = at(object, "roleRef").cloned().unwrap_or_default();
        causes.push(Cause::invalid("roleRef", &value, "cannot change roleRef"));
    }
    for (index, subject) in items(object, "subjects").iter().enumerate() {
        let field = |name: &str| format!("subjects[{index}].{name}");
        if !has(subject, "name") {
            causes.push(Cause::required(field("name"), ""));
        }
        let subject_kind = text(subject, "kind");
        match subject_kind {
            "ServiceAccount" if !kind.namespaced && !has(subject, "namespace") => {
                causes.push(Cause::required(field("namespace"), ""));
            }
            "ServiceAccount" | "User" | "Group" => {}
            other => {
                causes.push(Cause::unsupported(field("kind"), &json!(other), &["Group", "ServiceAccount", "User"]));
            }
        }
    }
    causes
}
