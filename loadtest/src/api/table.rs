//! Tables for `kubectl get`: objects go in, rows with the columns of their kind come out.

use super::clock;
use super::kinds::ResourceKind;
use super::object::{at, is_deleting, items, meta_text, text};
use serde_json::{Value, json};

/// A `meta.k8s.io/v1` Table of objects.
pub(crate) fn table(kind: &ResourceKind, objects: &[Value], metadata: Value) -> Value {
    let columns: Vec<_> = columns(kind)
        .iter()
        .map(|&(name, priority)| {
            let format = if name == "Name" { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<_> = objects
        .iter()
        .map(|object| {
            json!({
                "cells": cells(kind, object),
                "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")},
            })
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

/// Names and priorities; priority 1 is shown with `-o wide`.
fn columns(kind: &ResourceKind) -> &'static [(&'static str, u8)] {
    match kind.plural.as_str() {
        "namespaces" => &[("Name", 0), ("Status", 0), ("Age", 0)],
        "nodes" => &[("Name", 0), ("Status", 0), ("Age", 0), ("Internal-IP", 1), ("External-IP", 1)],
        "pods" => &[("Name", 0), ("Ready", 0), ("Status", 0), ("Age", 0), ("IP", 1), ("Node", 1)],
        "services" => &[("Name", 0), ("Type", 0), ("Cluster-IP", 0), ("Port(s)", 0), ("Age", 0), ("Selector", 1)],
        "secrets" => &[("Name", 0), ("Type", 0), ("Data", 0), ("Age", 0)],
        "configmaps" => &[("Name", 0), ("Data", 0), ("Age", 0)],
        "events" => &[("Last Seen", 0), ("Type", 0), ("Reason", 0), ("Object", 0), ("Message", 0), ("Name", 1)],
        "endpointslices" => &[("Name", 0), ("AddressType", 0), ("Ports", 0), ("Endpoints", 0), ("Age", 0)],
        "endpoints" => &[("Name", 0), ("Endpoints", 0), ("Age", 0)],
        "ingresses" => &[("Name", 0), ("Class", 0), ("Hosts", 0), ("Address", 0), ("Ports", 0), ("Age", 0)],
        "ingressclasses" => &[("Name", 0), ("Controller", 0), ("Age", 0)],
        "leases" => &[("Name", 0), ("Holder", 0), ("Age", 0)],
        "routes" => &[("Name", 0), ("Host", 0), ("Admitted", 0), ("Service", 0), ("TLS", 0), ("Age", 0)],
        "dnsendpoints" => &[("Name", 0), ("Host", 0), ("Targets", 0), ("Age", 0)],
        "customresourcedefinitions" => &[("Name", 0), ("Created At", 0)],
        _ => &[("Name", 0), ("Age", 0)],
    }
}

fn cells(kind: &ResourceKind, object: &Value) -> Vec<String> {
    let name = meta_text(object, "name").to_owned();
    let age = clock::age(meta_text(object, "creationTimestamp"));
    let own = |path: &str| text(object, path).to_owned();
    match kind.plural.as_str() {
        "namespaces" => vec![name, own("status.phase"), age],
        "nodes" => {
            vec![name, node_status(object), age, node_address(object, "InternalIP"), node_address(object, "ExternalIP")]
        }
        "pods" => vec![
            name,
            pod_ready(object),
            pod_status(object),
            age,
            or_none(text(object, "status.podIP")),
            or_none(text(object, "spec.nodeName")),
        ],
        "services" => vec![
            name,
            own("spec.type"),
            or_none(text(object, "spec.clusterIP")),
            service_ports(object),
            age,
            selector(object),
        ],
        "secrets" => vec![name, own("type"), count(object, "data"), age],
        "configmaps" => vec![name, count(object, "data"), age],
        "events" => event(object, name),
        "endpointslices" => vec![
            name,
            own("addressType"),
            shown(items(object, "ports").iter().map(|port| port["port"].to_string())),
            shown(
                items(object, "endpoints").iter().flat_map(|endpoint| items(endpoint, "addresses")).filter_map(plain),
            ),
            age,
        ],
        "endpoints" => vec![
            name,
            shown(
                items(object, "subsets")
                    .iter()
                    .flat_map(|subset| items(subset, "addresses"))
                    .map(|address| text(address, "ip").to_owned()),
            ),
            age,
        ],
        "ingresses" => vec![
            name,
            or_none(text(object, "spec.ingressClassName")),
            hosts(object),
            items(object, "status.loadBalancer.ingress")
                .iter()
                .map(|entry| format!("{}{}", text(entry, "ip"), text(entry, "hostname")))
                .collect::<Vec<_>>()
                .join(","),
            if items(object, "spec.tls").is_empty() { "80".to_owned() } else { "80, 443".to_owned() },
            age,
        ],
        "ingressclasses" => vec![name, own("spec.controller"), age],
        "leases" => vec![name, own("spec.holderIdentity"), age],
        "routes" => vec![
            name,
            route_host(object),
            route_admitted(object),
            own("spec.to.name"),
            own("spec.tls.termination"),
            age,
        ],
        "dnsendpoints" => {
            let endpoints = items(object, "spec.endpoints");
            let host = endpoints.first().map(|endpoint| text(endpoint, "dnsName").to_owned()).unwrap_or_default();
            let targets = endpoints.first().map(|endpoint| items(endpoint, "targets")).unwrap_or_default();
            vec![name, host, shown(targets.iter().filter_map(plain)), age]
        }
        "customresourcedefinitions" => vec![name, own("metadata.creationTimestamp")],
        _ => vec![name, age],
    }
}

fn plain(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text.to_owned() }
}

fn count(object: &Value, path: &str) -> String {
    at(object, path).and_then(Value::as_object).map_or(0, serde_json::Map::len).to_string()
}

/// The first few of a list, and how many more there are.
fn shown(values: impl Iterator<Item = String>) -> String {
    let values: Vec<_> = values.collect();
    match values.len() {
        0 => "<none>".to_owned(),
        all @ 1..=SHOWN => values[..all].join(","),
        all => format!("{} + {} more...", values[..SHOWN].join(","), all - SHOWN),
    }
}

fn condition<'v>(object: &'v Value, path: &str, kind: &str) -> &'v str {
    items(object, path).iter().find(|entry| text(entry, "type") == kind).map_or("", |entry| text(entry, "status"))
}

fn node_status(node: &Value) -> String {
    let ready = match condition(node, "status.conditions", "Ready") {
        "True" => "Ready",
        "" => "Unknown",
        _ => "NotReady",
    };
    let cordoned = at(node, "spec.unschedulable").and_then(Value::as_bool).unwrap_or(false);
    format!("{ready}{}", if cordoned { ",SchedulingDisabled" } else { "" })
}

fn node_address(node: &Value, kind: &str) -> String {
    let addresses = items(node, "status.addresses");
    or_none(addresses.iter().find(|entry| text(entry, "type") == kind).map_or("", |entry| text(entry, "address")))
}

fn pod_ready(pod: &Value) -> String {
    let all = items(pod, "spec.containers").len();
    let states = items(pod, "status.containerStatuses");
    let ready = match condition(pod, "status.conditions", "Ready") {
        "True" if states.is_empty() => all,
        _ => states.iter().filter(|state| state["ready"] == true).count(),
    };
    format!("{ready}/{all}")
}

fn pod_status(pod: &Value) -> String {
    if is_deleting(pod) { "Terminating".to_owned() } else { text(pod, "status.phase").to_owned() }
}

fn service_ports(service: &Value) -> String {
    let ports = items(service, "spec.ports");
    let list: Vec<_> = ports
        .iter()
        .map(|port| {
            let node_port = at(port, "nodePort").map(|number| format!(":{number}")).unwrap_or_default();
            format!("{}{node_port}/{}", port["port"], text(port, "protocol"))
        })
        .collect();
    or_none(&list.join(","))
}

fn selector(service: &Value) -> String {
    let pairs: Vec<_> = at(service, "spec.selector")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(&pairs.join(","))
}

fn event(event: &Value, name: String) -> Vec<String> {
    let first = |paths: &[&str]| {
        paths.iter().map(|path| text(event, path)).find(|text| !text.is_empty()).unwrap_or_default().to_owned()
    };
    let seen = first(&[
        "series.lastObservedTime",
        "lastTimestamp",
        "deprecatedLastTimestamp",
        "eventTime",
        "metadata.creationTimestamp",
    ]);
    let object = format!(
        "{}/{}",
        first(&["involvedObject.kind", "regarding.kind"]).to_lowercase(),
        first(&["involvedObject.name", "regarding.name"])
    );
    vec![clock::age(&seen), first(&["type"]), first(&["reason"]), object, first(&["message", "note"]), name]
}

fn hosts(ingress: &Value) -> String {
    let hosts: Vec<_> = items(ingress, "spec.rules")
        .iter()
        .map(|rule| text(rule, "host"))
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect();
    if hosts.is_empty() { "*".to_owned() } else { shown(hosts.into_iter()) }
}

fn route_host(route: &Value) -> String {
    match items(route, "status.ingress").first() {
        Some(entry) => text(entry, "host").to_owned(),
        None => text(route, "spec.host").to_owned(),
    }
}

fn route_admitted(route: &Value) -> String {
    items(route, "status.ingress")
        .first()
        .map(|entry| condition(entry, "conditions", "Admitted").to_owned())
        .unwrap_or_default()
}

/// Entries of a list in one cell.
const SHOWN: usize = 3;
