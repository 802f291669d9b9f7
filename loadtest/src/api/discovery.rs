//! What the server says it serves: the kinds go in, the discovery documents of `/api` and `/apis` and a small OpenAPI
//! document come out. `kubectl` asks before everything else.

use super::kinds::{Kinds, ResourceKind};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}

/// `/api`.
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub(crate) fn groups(kinds: &Kinds) -> Value {
    let groups: Vec<_> = group_versions(kinds)
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| body(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; `None` when nothing of the group is served.
pub(crate) fn group(kinds: &Kinds, name: &str) -> Option<Value> {
    let (group, versions) = group_versions(kinds).into_iter().find(|(group, _)| group == name)?;
    let mut document = body(&group, &versions);
    document["kind"] = json!("APIGroup");
    document["apiVersion"] = json!("v1");
    Some(document)
}

/// `/api/v1` and `/apis/GROUP/VERSION`; `None` when nothing of it is served.
pub(crate) fn resources(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    let mut api_version = String::new();
    for kind in kinds.served().iter().filter(|kind| kind.group == group && kind.version == version) {
        api_version = kind.api_version();
        list.push(json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": VERBS, "shortNames": kind.short_names,
        }));
        if kind.status {
            list.push(json!({
                "name": format!("{}/status", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": kind.kind, "verbs": ["get", "patch", "update"],
            }));
        }
        if kind.plural == "serviceaccounts" {
            list.push(json!({
                "name": "serviceaccounts/token", "singularName": "", "namespaced": true, "group": "authentication.k8s.io",
                "version": "v1", "kind": "TokenRequest", "verbs": ["create"],
            }));
        }
    }
    (!list.is_empty())
        .then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": list}))
}

/// `/openapi/v3`.
pub(crate) fn openapi_paths(kinds: &Kinds) -> Value {
    let mut paths = Map::new();
    for kind in kinds.served() {
        let root = root(&kind);
        paths.insert(root.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{root}")}));
    }
    json!({"paths": paths})
}

/// `/openapi/v3/ROOT`: enough for `kubectl` to see that the server validates fields itself and knows dry runs.
pub(crate) fn openapi(kinds: &Kinds, wanted: &str) -> Option<Value> {
    let mut paths = Map::new();
    for kind in kinds.served().iter().filter(|kind| root(kind) == wanted) {
        let namespace = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        paths.insert(
            format!("/{wanted}/{namespace}{}/{{name}}", kind.plural),
            json!({"patch": {
                "operationId": format!("patch{}", kind.kind),
                "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"), parameter("force")],
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            }}),
        );
    }
    (!paths.is_empty()).then(|| {
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.0"}, "paths": paths, "components": {"schemas": {}}})
    })
}

fn root(kind: &Arc<ResourceKind>) -> String {
    if kind.group.is_empty() { format!("api/{}", kind.version) } else { format!("apis/{}", kind.api_version()) }
}

fn group_versions(kinds: &Kinds) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for kind in kinds.served() {
        match groups.iter_mut().find(|(group, _)| *group == kind.group) {
            Some((_, versions)) if versions.contains(&kind.version) => {}
            Some((_, versions)) => versions.push(kind.version.clone()),
            None => groups.push((kind.group.clone(), vec![kind.version.clone()])),
        }
    }
    groups
}

fn body(group: &str, versions: &[String]) -> Value {
    let versions: Vec<_> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
