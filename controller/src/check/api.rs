//! What an API server refuses of objects whose shape is right: names and, of Ingresses, what belongs together. An object as
//! JSON flows in, remarks flow out.

use super::finding::Remark;
use nearside_routing::{Hostname, Kind};
use serde_json::Value;

/// Every remark.
pub(super) fn remarks(kind: Kind, value: &Value) -> Vec<Remark> {
    let mut remarks = names(kind, value);
    if kind == Kind::Ingress {
        remarks.extend(ingress(value));
    }
    remarks
}

fn names(kind: Kind, value: &Value) -> Vec<Remark> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    let mut remarks = Vec::new();
    if name.is_empty() && text("/metadata/generateName").is_empty() {
        remarks.push(Remark::error("metadata.name", "MissingField", "is required"));
    }
    // A Service's name is the name of a host, too (RFC 1035); anything else is a DNS subdomain.
    let is_label = |name: &str| Hostname::parse(name).is_ok_and(|parsed| parsed.split_first_label().1.is_none());
    let starts_with_letter = name.starts_with(|first: char| first.is_ascii_lowercase());
    let valid = Hostname::parse(name).is_ok_and(|parsed| parsed.as_str() == name)
        && (kind != Kind::Service || is_label(name) && starts_with_letter)
        && (kind != Kind::Namespace || is_label(name));
    if !name.is_empty() && !valid {
        let message = format!("{name:?} is not a name that this kind may have: lower case letters, digits, - and .");
        remarks.push(Remark::error("metadata.name", "InvalidName", message));
    }
    let is_namespace =
        is_label(namespace) && Hostname::parse(namespace).is_ok_and(|parsed| parsed.as_str() == namespace);
    if !namespace.is_empty() && !is_namespace {
        let message = format!("{namespace:?} is not the name of a namespace");
        remarks.push(Remark::error("metadata.namespace", "InvalidName", message));
    }
    remarks
}

fn ingress(value: &Value) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(spec) = value.get("spec") else {
        return vec![Remark::error("spec", "MissingField", "rules or a default backend are required")];
    };
    let rules = list(spec, "rules");
    if let Some(default) = spec.get("defaultBackend").filter(|default| !default.is_null()) {
        backend(default, "spec.defaultBackend", &mut remarks);
    } else if rules.is_empty() {
        remarks.push(Remark::error("spec", "MissingField", "rules or a default backend are required"));
    }
    for (number, rule) in rules.iter().enumerate() {
        let field = format!("spec.rules[{number}]");
        if let Some(host) = rule.get("host").and_then(Value::as_str).filter(|host| !host.is_empty()) {
            let name = host.strip_prefix("*.").unwrap_or(host);
            if !Hostname::parse(name).is_ok_and(|parsed| parsed.as_str() == name) {
                let message = format!("{host:?} is not a DNS name, with or without a leading *.");
                remarks.push(Remark::error(format!("{field}.host"), "InvalidHost", message));
            } else if name.parse::<std::net::IpAddr>().is_ok() {
                let message = format!("{host:?} is an address; a name is needed");
                remarks.push(Remark::error(format!("{field}.host"), "InvalidHost", message));
            }
        }
        let Some(http) = rule.get("http").filter(|http| !http.is_null()) else { continue };
        let paths = list(http, "paths");
        if paths.is_empty() {
            remarks.push(Remark::error(format!("{field}.http.paths"), "MissingField", "is required"));
        }
        for (number, path) in paths.iter().enumerate() {
            self::path(path, &format!("{field}.http.paths[{number}]"), &mut remarks);
        }
    }
    remarks
}

fn path(path: &Value, field: &str, remarks: &mut Vec<Remark>) {
    let text = |name: &str| path.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = text("pathType");
    match kind {
        "Exact" | "Prefix" if !text("path").starts_with('/') => {
            let message = format!("{:?}: a path of type {kind} starts with a slash", text("path"));
            remarks.push(Remark::error(format!("{field}.path"), "InvalidPath", message));
        }
        "Exact" | "Prefix" | "ImplementationSpecific" => {}
        "" => remarks.push(Remark::error(format!("{field}.pathType"), "MissingField", "is required")),
        other => {
            let message = format!("{other:?} is not one of Exact, Prefix, ImplementationSpecific");
            remarks.push(Remark::error(format!("{field}.pathType"), "InvalidValue", message));
        }
    }
    match path.get("backend") {
        Some(value) => backend(value, &format!("{field}.backend"), remarks),
        None => remarks.push(Remark::error(format!("{field}.backend"), "MissingField", "is required")),
    }
}

fn backend(backend: &Value, field: &str, remarks: &mut Vec<Remark>) {
    let given = |value: &Value, name: &str| value.get(name).is_some_and(|value| !value.is_null());
    let Some(service) = backend.get("service").filter(|service| !service.is_null()) else {
        if !given(backend, "resource") {
            remarks.push(Remark::error(format!("{field}.service"), "MissingField", "is required"));
        }
        return;
    };
    let port = service.get("port").cloned().unwrap_or_default();
    let name = service.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        remarks.push(Remark::error(format!("{field}.service.name"), "MissingField", "is required"));
    }
    if given(&port, "name") == given(&port, "number") {
        let message = "either a number or a name is required";
        remarks.push(Remark::error(format!("{field}.service.port"), "MissingField", message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(kind: Kind, value: &Value) -> Vec<String> {
        remarks(kind, value).into_iter().map(|remark| remark.field).collect()
    }

    #[test]
    fn names_are_those_of_the_api() {
        let named = |kind, name: &str, namespace: &str| {
            fields(kind, &json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"rules": [{}]}}))
        };
        assert_eq!(named(Kind::Route, "a.b-1", "shop"), Vec::<String>::new());
        assert_eq!(named(Kind::Service, "web", ""), Vec::<String>::new());
        for (kind, name) in [(Kind::Route, "A"), (Kind::Service, "a.b"), (Kind::Service, "1a"), (Kind::Route, "a_b")] {
            assert_eq!(named(kind, name, "shop"), ["metadata.name"], "{name}");
        }
        assert_eq!(named(Kind::Route, "a", "a.b"), ["metadata.namespace"]);
        assert_eq!(named(Kind::Route, "", "a"), ["metadata.name"]);
    }

    #[test]
    fn what_belongs_together_in_an_ingress_is_asked_for() {
        let of = |spec: Value| fields(Kind::Ingress, &json!({"metadata": {"name": "a"}, "spec": spec}));
        let path = |path: Value| of(json!({"rules": [{"host": "*.a.b", "http": {"paths": [path]}}]}));
        let port = |port: Value| json!({"service": {"name": "web", "port": port}});
        let good = json!({"path": "/", "pathType": "Prefix", "backend": port(json!({"number": 80}))});
        assert_eq!(path(good), Vec::<String>::new());
        assert_eq!(of(json!({})), ["spec"]);
        let at = |name: &str| format!("spec.rules[0].http.paths[0].{name}");
        assert_eq!(
            path(json!({"path": "a", "pathType": "Exact", "backend": port(json!({"name": "a"}))})),
            [at("path")]
        );
        assert_eq!(path(json!({"path": "/", "backend": port(json!({"name": "a"}))})), [at("pathType")]);
        assert_eq!(
            path(json!({"path": "/", "pathType": "Prefix", "backend": port(json!({}))})),
            [at("backend.service.port")]
        );
        assert_eq!(path(json!({"path": "/", "pathType": "Prefix"})), [at("backend")]);
        assert_eq!(
            of(json!({"rules": [{"host": "10.0.0.1"}, {"host": "A.b"}]})),
            ["spec.rules[0].host", "spec.rules[1].host"]
        );
    }
}
