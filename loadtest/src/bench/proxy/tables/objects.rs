//! Objects of a cluster with many hosts: numbers come in, JSON as the API serves it goes out. Pure. The first hosts have a Service and a
//! pod each, whose readiness is changed; all others are of one Service, whose pod is the backend.

use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};

/// Everything but pods.
pub(super) fn fixed(hosts: u32) -> impl Iterator<Item = Value> {
    let head = [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE, "uid": "namespace" } }),
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "nearside", "uid": "class" },
            "spec": { "controller": "nearside.dev/ingress" } }),
        service("steady"),
    ];
    let changing_ones = changing_of(hosts);
    let services = (0..changing_ones).map(|number| service(&changing(number)));
    head.into_iter().chain(services).chain((0..hosts).map(move |number| ingress(number, number < changing_ones)))
}

/// The backend as a pod of the proxy's node.
pub(super) fn steady(backend: SocketAddr) -> Value {
    pod("steady", NODE, backend, true)
}

/// A pod of the proxy's node that changes. The first one answers; nobody asks the others.
pub(super) fn here(number: u32, backend: SocketAddr, ready: bool) -> Value {
    pod(&changing(number), NODE, at(number, backend), ready)
}

/// A pod that changes on another node.
pub(super) fn elsewhere(number: u32, backend: SocketAddr, ready: bool) -> Value {
    let mut pod = pod(&changing(number), OTHER_NODE, at(number, backend), ready);
    pod["metadata"]["name"] = json!(format!("other-{number}"));
    pod["metadata"]["uid"] = json!(format!("other-{number}"));
    pod
}

/// How many of the first hosts have a Service and a pod of their own.
pub(super) fn changing_of(hosts: u32) -> u32 {
    CHANGING.min(hosts / 2).max(1)
}

/// The name of a host.
pub(super) fn host(number: u32) -> String {
    format!("app-{number}.apps.example.com")
}

fn ingress(number: u32, is_changing: bool) -> Value {
    let service = if is_changing { changing(number) } else { "steady".to_owned() };
    let backend = json!({ "service": { "name": service, "port": { "name": "http" } } });
    let path = |path: &str| json!({ "path": path, "pathType": "Prefix", "backend": backend });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata(&format!("app-{number}")),
        "spec": { "ingressClassName": "nearside", "rules": [{ "host": host(number), "http": {
            "paths": [path("/"), path("/bytes"), path(&format!("/v{}/api", number % 10))] } }] },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(name),
        "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
    })
}

fn pod(service: &str, node: &str, address: SocketAddr, ready: bool) -> Value {
    let mut metadata = metadata(service);
    metadata["labels"] = json!({ "app": service });
    let (ip, ready) = (address.ip().to_string(), if ready { "True" } else { "False" });
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": { "nodeName": node, "containers": [{ "name": "app", "ports": [{ "name": "http", "containerPort": address.port() }] }] },
        "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }], "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

fn metadata(name: &str) -> Value {
    json!({ "namespace": NAMESPACE, "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z" })
}

fn changing(number: u32) -> String {
    format!("changing-{number}")
}

fn at(number: u32, backend: SocketAddr) -> SocketAddr {
    let [.., a, b] = number.to_be_bytes();
    if number == 0 { backend } else { (Ipv4Addr::new(127, 1, a, b), backend.port()).into() }
}

pub(super) const NODE: &str = "n1";
pub(super) const OTHER_NODE: &str = "n2";
pub(super) const PATHS: u32 = 3;
/// Services whose pod changes, at most.
const CHANGING: u32 = 500;
const NAMESPACE: &str = "bench";
