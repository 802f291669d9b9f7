//! The shape of objects: JSON of a manifest flows in; fields that the API does not know, values of a wrong type and values that
//! it refuses flow out. Routes are held against the definition that Nearside ships, everything else against the types of
//! Kubernetes.

use super::finding::Remark;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nearside_routing::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// What is wrong with the shape of an object.
pub(super) fn remarks(kind: Kind, value: &Value) -> Vec<Remark> {
    match kind {
        Kind::Route => {
            let mut remarks = Vec::new();
            walk(&ROUTE, value, &mut String::new(), &mut remarks);
            if let Some(metadata) = value.get("metadata") {
                remarks.extend(
                    typed::<ObjectMeta>(metadata)
                        .into_iter()
                        .map(|remark| Remark { field: format!("metadata.{}", remark.field), ..remark }),
                );
            }
            remarks
        }
        Kind::Ingress => typed::<Ingress>(value),
        Kind::IngressClass => typed::<IngressClass>(value),
        Kind::Service => typed::<Service>(value),
        Kind::Secret => typed::<Secret>(value),
        Kind::Namespace => typed::<Namespace>(value),
        Kind::EndpointSlice => typed::<EndpointSlice>(value),
        Kind::Pod => typed::<Pod>(value),
        Kind::Node => typed::<Node>(value),
        Kind::DnsEndpoint => Vec::new(),
    }
}

/// An object is read as the API's type and written again: what is lost on the way, the API does not know.
fn typed<T: DeserializeOwned + Serialize>(value: &Value) -> Vec<Remark> {
    let read: T = match serde_path_to_error::deserialize(value) {
        Ok(read) => read,
        Err(error) => {
            let field = error.path().to_string();
            let field = if field == "." { String::new() } else { field };
            return vec![Remark::error(field, WRONG_TYPE, error.into_inner().to_string())];
        }
    };
    let mut remarks = Vec::new();
    if let Ok(written) = serde_json::to_value(&read) {
        lost(value, &written, &mut String::new(), &mut remarks);
    }
    remarks
}

fn lost(before: &Value, after: &Value, path: &mut String, remarks: &mut Vec<Remark>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (name, value) in before {
                let length = path.len();
                push(path, name);
                match after.get(name) {
                    Some(written) => lost(value, written, path, remarks),
                    None if is_empty(value) => {}
                    None => remarks.push(unknown(path, name)),
                }
                path.truncate(length);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for (number, (value, written)) in before.iter().zip(after).enumerate() {
                let length = path.len();
                path.push_str(&format!("[{number}]"));
                lost(value, written, path, remarks);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Values that the API leaves out when they say nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn unknown(path: &str, name: &str) -> Remark {
    Remark::error(
        path,
        UNKNOWN_FIELD,
        format!("{name:?} is no field of this kind; kubectl refuses it and the API server drops it"),
    )
}

fn push(path: &mut String, name: &str) {
    if name.contains(['.', '/', '[']) {
        path.push_str(&format!("[{name:?}]"));
    } else {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    }
}

/// A value against a schema of OpenAPI, as far as the definition of Routes uses it.
fn walk(schema: &Value, value: &Value, path: &mut String, remarks: &mut Vec<Remark>) {
    let wrong = |message: String| Remark::error(path.as_str(), WRONG_TYPE, message);
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if value.is_null() {
        return;
    }
    let anything = schema.get("x-kubernetes-int-or-string").and_then(Value::as_bool).unwrap_or_default();
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    };
    if anything && !(value.is_string() || value.is_i64()) {
        return remarks.push(wrong("a number or a text is expected".into()));
    }
    if !fits {
        return remarks.push(wrong(format!("{} is expected", article(wanted))));
    }
    if let Some(message) = refused(schema, value) {
        remarks.push(Remark::error(path.as_str(), INVALID_VALUE, message));
    }
    match value {
        Value::Object(fields) => walk_fields(schema, fields, path, remarks),
        Value::Array(items) => {
            let Some(of_items) = schema.get("items") else { return };
            for (number, item) in items.iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{number}]"));
                walk(of_items, item, path, remarks);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn walk_fields(schema: &Value, fields: &Map<String, Value>, path: &mut String, remarks: &mut Vec<Remark>) {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|name| fields.get(*name).is_none_or(Value::is_null)) {
        let length = path.len();
        push(path, name);
        remarks.push(Remark::error(path.as_str(), MISSING_FIELD, "is required"));
        path.truncate(length);
    }
    let Some(known) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, value) in fields {
        let length = path.len();
        push(path, name);
        match known.get(name) {
            Some(below) => walk(below, value, path, remarks),
            None => remarks.push(unknown(path, name)),
        }
        path.truncate(length);
    }
}

/// Why the API server refuses a value of the right type.
fn refused(schema: &Value, value: &Value) -> Option<String> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
    let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    match value {
        Value::String(text) => {
            let count = length(text.chars().count());
            let choices = schema.get("enum").and_then(Value::as_array);
            if let Some(choices) = choices.filter(|choices| !choices.contains(value)) {
                let choices: Vec<&str> =
                    choices.iter().filter_map(Value::as_str).filter(|one| !one.is_empty()).collect();
                return Some(format!("{text:?} is not one of {}", choices.join(", ")));
            }
            if bound("maxLength").is_some_and(|most| count > most) {
                return Some(format!("{count} characters are too many"));
            }
            bound("minLength").is_some_and(|least| count < least).then(|| "must not be empty".to_owned())
        }
        Value::Number(number) => {
            let number = number.as_i64()?;
            let (least, most) = (bound("minimum"), bound("maximum"));
            let outside = least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most);
            let range = |bound: Option<i64>| bound.map_or_else(|| "…".to_owned(), |bound| bound.to_string());
            outside.then(|| format!("{number} is not from {} to {}", range(least), range(most)))
        }
        Value::Array(items) => {
            let most = bound("maxItems")?;
            (length(items.len()) > most).then(|| format!("{} items are more than {most}", items.len()))
        }
        _ => None,
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "object" => "a map of fields",
        "array" => "a list",
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "another value",
    }
}

/// The schema of the Route definition that Nearside ships. Its metadata is that of every object.
static ROUTE: LazyLock<Value> = LazyLock::new(|| {
    let parsed: Value =
        serde_saphyr::from_str(include_str!("../../../deploy/manifests/crd-route.yaml")).unwrap_or_default();
    parsed.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default()
});

const UNKNOWN_FIELD: &str = "UnknownField";
const MISSING_FIELD: &str = "MissingField";
const WRONG_TYPE: &str = "WrongType";
const INVALID_VALUE: &str = "InvalidValue";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(kind: Kind, value: &Value) -> Vec<(String, String)> {
        remarks(kind, value).into_iter().map(|remark| (remark.field, remark.reason)).collect()
    }

    fn route(spec: Value) -> Value {
        json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "a"}, "spec": spec})
    }

    fn one(field: &str, reason: &str) -> Vec<(String, String)> {
        vec![(field.to_owned(), reason.to_owned())]
    }

    #[test]
    fn routes_are_held_against_their_definition() {
        let to = json!({"kind": "Service", "name": "web"});
        let spec = |field: &str, value: Value| {
            let mut spec = json!({"host": "a.example.com", "to": to});
            spec[field] = value;
            told(Kind::Route, &route(spec))
        };
        assert_eq!(spec("path", json!("/")), []);
        assert_eq!(spec("pathh", json!("/")), one("spec.pathh", UNKNOWN_FIELD));
        assert_eq!(spec("path", json!(7)), one("spec.path", WRONG_TYPE));
        assert_eq!(spec("to", json!({"kind": "Service"})), one("spec.to.name", MISSING_FIELD));
        assert_eq!(spec("to", json!({"name": "a", "weight": 257})), one("spec.to.weight", INVALID_VALUE));
        let tls = json!({"termination": "edges", "caCert": "x"});
        let mut found = spec("tls", tls);
        found.sort();
        assert_eq!(found, [one("spec.tls.caCert", UNKNOWN_FIELD), one("spec.tls.termination", INVALID_VALUE)].concat());
        assert_eq!(spec("alternateBackends", json!([to, to, to, to])), one("spec.alternateBackends", INVALID_VALUE));
    }

    #[test]
    fn other_kinds_are_held_against_the_types_of_kubernetes() {
        let ingress = |spec: Value| json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "a"}, "spec": spec});
        let path =
            json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}});
        let rules = json!([{"host": "a.example.com", "http": {"paths": [path]}}]);
        assert_eq!(told(Kind::Ingress, &ingress(json!({"rules": rules, "tls": [], "ingressClassName": null}))), []);
        let typo = json!([{"host": "a", "http": {"paths": [{"path": "/", "backend": {"serviceName": "web"}}]}}]);
        let field = "spec.rules[0].http.paths[0].backend.serviceName";
        assert_eq!(told(Kind::Ingress, &ingress(json!({"rules": typo}))), one(field, UNKNOWN_FIELD));
        let wrong = told(Kind::Ingress, &ingress(json!({"rules": [{"host": 7}]})));
        assert_eq!(wrong, one("spec.rules[0].host", WRONG_TYPE));
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"a": "b"}, "data": {"c": "ZA=="}});
        assert_eq!(told(Kind::Secret, &secret), []);
    }
}
