//! Pod, Service, Secret, ConfigMap, Event, EndpointSlice, Lease, DNSEndpoint and CustomResourceDefinition, as far as
//! their rules can be broken by what the project writes or tests write.

use super::super::error::Cause;
use super::super::object::{at, items, meta_text, text};
use super::names::{is_label, is_subdomain};
use super::{Author, has};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) fn pod(object: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let containers = items(object, "spec.containers");
    if containers.is_empty() {
        causes.push(Cause::required("spec.containers", ""));
    }
    for (index, container) in containers.iter().enumerate() {
        let field = format!("spec.containers[{index}]");
        if !is_label(text(container, "name")) {
            causes.push(Cause::invalid(
                format!("{field}.name"),
                &json!(text(container, "name")),
                "a lowercase RFC 1123 label",
            ));
        }
        if before.is_none() && !has(container, "image") {
            causes.push(Cause::required(format!("{field}.image"), ""));
        }
        for (index, port) in items(container, "ports").iter().enumerate() {
            self::port(at(port, "containerPort"), &format!("{field}.ports[{index}].containerPort"), &mut causes);
        }
    }
    if let Some(before) = before
        && fixed_pod_fields(before) != fixed_pod_fields(object)
    {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations), `spec.terminationGracePeriodSeconds`",
        ));
    }
    causes
}

fn fixed_pod_fields(pod: &Value) -> Value {
    let mut spec = pod.get("spec").cloned().unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            spec.remove(field);
        }
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(container) = container.as_object_mut() {
                    container.remove("image");
                }
            }
        }
    }
    spec
}

pub(super) fn service(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let kind = text(object, "spec.type");
    let ports = items(object, "spec.ports");
    if !["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"].contains(&kind) {
        causes.push(Cause::unsupported(
            "spec.type",
            &json!(kind),
            &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        ));
    }
    if kind == "ExternalName" {
        if !is_subdomain(text(object, "spec.externalName").trim_end_matches('.')) {
            causes.push(Cause::invalid(
                "spec.externalName",
                &json!(text(object, "spec.externalName")),
                "a lowercase RFC 1123 subdomain",
            ));
        }
    } else if ports.is_empty() && text(object, "spec.clusterIP") != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, entry) in ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        port(at(entry, "port"), &format!("{field}.port"), &mut causes);
        let name = text(entry, "name");
        if ports.len() > 1 && name.is_empty() {
            causes.push(Cause::required(format!("{field}.name"), ""));
        } else if !name.is_empty() && !is_label(name) {
            causes.push(Cause::invalid(format!("{field}.name"), &json!(name), "a lowercase RFC 1123 label"));
        }
        let number = at(entry, "port").map(Value::to_string);
        if !names.insert(name) || !numbers.insert((number, text(entry, "protocol"))) {
            causes.push(duplicate(field, entry));
        }
        if let Some(Value::Number(_)) = at(entry, "targetPort") {
            port(at(entry, "targetPort"), &format!("spec.ports[{index}].targetPort"), &mut causes);
        }
    }
    causes
}

pub(super) fn secret(object: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = data(object, before);
    for (key, value) in at(object, "data").and_then(Value::as_object).into_iter().flatten() {
        if value.as_str().is_none_or(|value| STANDARD.decode(value).is_err()) {
            causes.push(Cause::invalid(format!("data[{key}]"), &json!("redacted"), "illegal base64 data"));
        }
    }
    if text(object, "type") == "kubernetes.io/tls" {
        for key in ["tls.crt", "tls.key"] {
            if object.get("data").and_then(|data| data.get(key)).is_none() {
                causes.push(Cause::required(format!("data[{key}]"), ""));
            }
        }
    }
    causes
}

pub(super) fn config_map(object: &Value, before: Option<&Value>) -> Vec<Cause> {
    data(object, before)
}

fn data(object: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut size = 0;
    for (key, value) in at(object, "data").and_then(Value::as_object).into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        let plain = !key.is_empty()
            && key.len() <= 253
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !plain {
            causes.push(Cause::invalid(
                format!("data[{key}]"),
                &json!(key),
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            ));
        }
    }
    if size > DATA_LIMIT {
        causes.push(Cause::too_long("data", DATA_LIMIT));
    }
    if let Some(before) = before
        && before.get("immutable") == Some(&Value::Bool(true))
        && (before.get("data") != object.get("data") || object.get("immutable") != Some(&Value::Bool(true)))
    {
        causes.push(Cause::forbidden("data", "field is immutable when `immutable` is set"));
    }
    causes
}

pub(super) fn event(object: &Value) -> Vec<Cause> {
    let namespace = text(object, "involvedObject.namespace");
    let own = meta_text(object, "namespace");
    if namespace != own && !(namespace.is_empty() && own == "default") {
        return vec![Cause::invalid("involvedObject.namespace", &json!(namespace), "does not match event.namespace")];
    }
    if at(object, "eventTime").is_none() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    for field in ["reportingComponent", "reportingInstance", "action", "reason"] {
        if !has(object, field) {
            let shown = if field == "reportingComponent" { "reportingController" } else { field };
            causes.push(Cause::required(shown, ""));
        }
    }
    if !["Normal", "Warning"].contains(&text(object, "type")) {
        causes.push(Cause::invalid("type", &json!(text(object, "type")), "has invalid value"));
    }
    if text(object, "message").len() > 1024 {
        causes.push(Cause::invalid("message", &json!(""), "can have at most 1024 characters"));
    }
    for (field, limit) in [("reason", 128), ("action", 128), ("reportingInstance", 128)] {
        if text(object, field).len() > limit {
            causes.push(Cause::invalid(field, &json!(""), "can have at most 128 characters"));
        }
    }
    causes
}

pub(super) fn endpoint_slice(object: &Value, author: Author) -> Vec<Cause> {
    let is_allowed = |ip: IpAddr| {
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        !ip.is_unspecified() && !is_link_local && (author == Author::Lab || !ip.is_loopback())
    };
    let mut causes = Vec::new();
    let family = text(object, "addressType");
    if !["IPv4", "IPv6", "FQDN"].contains(&family) {
        causes.push(Cause::unsupported("addressType", &json!(family), &["FQDN", "IPv4", "IPv6"]));
    }
    let endpoints = items(object, "endpoints");
    if endpoints.len() > 1000 {
        causes.push(Cause::too_long("endpoints", 1000));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let addresses = items(endpoint, "addresses");
        if addresses.is_empty() {
            causes.push(Cause::required(format!("endpoints[{index}].addresses"), "must contain at least 1 address"));
        }
        for address in addresses {
            let held = address.as_str().unwrap_or_default();
            let valid = match (family, held.parse::<IpAddr>()) {
                ("IPv4", Ok(ip)) => ip.is_ipv4() && is_allowed(ip),
                ("IPv6", Ok(ip)) => ip.is_ipv6() && is_allowed(ip),
                ("FQDN", _) => is_subdomain(held),
                _ => false,
            };
            if !valid {
                causes.push(Cause::invalid(
                    format!("endpoints[{index}].addresses"),
                    address,
                    "must be a valid address of the addressType, neither loopback nor link-local",
                ));
            }
        }
    }
    causes
}

pub(super) fn lease(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(seconds) = at(object, "spec.leaseDurationSeconds")
        && seconds.as_i64().unwrap_or(0) <= 0
    {
        causes.push(Cause::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    if let Some(count) = at(object, "spec.leaseTransitions")
        && count.as_i64().unwrap_or(-1) < 0
    {
        causes.push(Cause::invalid("spec.leaseTransitions", count, "must be greater than or equal to 0"));
    }
    causes
}

pub(super) fn dns_endpoint(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, endpoint) in items(object, "spec.endpoints").iter().enumerate() {
        let field = |name: &str| format!("spec.endpoints[{index}].{name}");
        for name in ["dnsName", "recordType", "setIdentifier"] {
            if let Some(value) = at(endpoint, name).filter(|value| !value.is_string()) {
                causes.push(Cause::invalid(field(name), value, "must be of type string"));
            }
        }
        if let Some(ttl) = at(endpoint, "recordTTL").filter(|ttl| !ttl.is_i64()) {
            causes.push(Cause::invalid(field("recordTTL"), ttl, "must be of type integer"));
        }
        let targets = at(endpoint, "targets");
        if let Some(targets) =
            targets.filter(|list| !list.as_array().is_some_and(|list| list.iter().all(Value::is_string)))
        {
            causes.push(Cause::invalid(field("targets"), targets, "must be a list of strings"));
        }
    }
    causes
}

pub(super) fn definition(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["spec.group", "spec.names.plural", "spec.names.kind"] {
        if !has(object, field) {
            causes.push(Cause::required(field, ""));
        }
    }
    let expected = format!("{}.{}", text(object, "spec.names.plural"), text(object, "spec.group"));
    if meta_text(object, "name") != expected {
        causes.push(Cause::invalid(
            "metadata.name",
            &json!(meta_text(object, "name")),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    let scope = text(object, "spec.scope");
    if !["Namespaced", "Cluster"].contains(&scope) {
        causes.push(Cause::unsupported("spec.scope", &json!(scope), &["Cluster", "Namespaced"]));
    }
    let versions = items(object, "spec.versions");
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        causes.push(Cause::invalid(
            "spec.versions",
            &json!(versions.len()),
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        if !is_label(text(version, "name")) {
            causes.push(Cause::invalid(
                format!("spec.versions[{index}].name"),
                &json!(text(version, "name")),
                "a DNS-1035 label",
            ));
        }
        if at(version, "schema.openAPIV3Schema").is_none() {
            causes.push(Cause::required(
                format!("spec.versions[{index}].schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
    }
    causes
}

fn port(value: Option<&Value>, field: &str, causes: &mut Vec<Cause>) {
    match value {
        None => causes.push(Cause::required(field, "")),
        Some(value) if value.as_i64().is_some_and(|number| (1..=65_535).contains(&number)) => {}
        Some(value) => causes.push(Cause::invalid(field, value, "must be between 1 and 65535, inclusive")),
    }
}

fn duplicate(field: String, value: &Value) -> Cause {
    Cause { reason: "FieldValueDuplicate", field, message: format!("Duplicate value: {value}") }
}

/// Bytes of the data of one Secret or ConfigMap.
const DATA_LIMIT: usize = 1024 * 1024;
