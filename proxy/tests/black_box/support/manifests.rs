//! A directory of manifests that a test writes and the proxy reads.

use super::NODE;
use nearside_loadtest::certificates::TestCa;
use nearside_routing::NodeId;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;

/// The directory; gone with the value.
pub(crate) struct Manifests {
    directory: TempDir,
    outside: TempDir,
}

impl Manifests {
    /// With these objects.
    pub(crate) fn with(objects: &[Value]) -> Self {
        let manifests = Self { directory: TempDir::new().unwrap(), outside: TempDir::new().unwrap() };
        for object in objects {
            manifests.put(object);
        }
        manifests
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Puts an object in, or replaces it. The proxy never sees half of it.
    pub(crate) fn put(&self, object: &Value) {
        self.write(&file_name(object), object);
    }

    /// Puts a file of many objects in, or replaces it.
    pub(crate) fn put_list(&self, name: &str, objects: &[Value]) {
        self.write(name, &json!({ "apiVersion": "v1", "kind": "List", "items": objects }));
    }

    fn write(&self, name: &str, content: &Value) {
        let written = self.outside.path().join(name);
        std::fs::write(&written, serde_json::to_vec(content).unwrap()).unwrap();
        // Both directories are in one file system.
        std::fs::rename(written, self.directory.path().join(name)).unwrap();
    }

    /// Takes an object out.
    pub(crate) fn remove(&self, object: &Value) {
        std::fs::remove_file(self.directory.path().join(file_name(object))).unwrap();
    }
}

fn file_name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("cluster").to_owned();
    let metadata = &object["metadata"];
    format!("{}-{}-{}.json", text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
}

fn metadata(namespace: &str, name: &str) -> Value {
    json!({
        "namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"),
        "creationTimestamp": "2026-01-01T00:00:00Z"
    })
}

/// A Route of namespace `shop` to the Service of the same name.
pub(crate) fn route(name: &str, host: &str, more: Value) -> Value {
    let mut spec = json!({ "host": host, "to": { "kind": "Service", "name": name } });
    merge(&mut spec, more);
    json!({ "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": metadata("shop", name), "spec": spec })
}

/// A Route of one pod that is served with TLS and without, and who signed its certificate.
pub(crate) fn on_both_ports(host: &str, address: SocketAddr) -> ([Value; 3], TestCa) {
    let ca = TestCa::new("test").unwrap();
    let identity = ca.identity(&[host]).unwrap();
    let tls = json!({
        "termination": "edge", "certificate": identity.certificate, "key": identity.key,
        "insecureEdgeTerminationPolicy": "Allow",
    });
    ([route("web", host, json!({ "tls": tls })), service("web"), pod("web", "web-1", address)], ca)
}

/// An Ingress of namespace `shop` and class `nearside`: `paths` are type, path and Service, all for one host.
pub(crate) fn ingress(name: &str, host: &str, paths: &[(&str, &str, &str)], more: Value) -> Value {
    let path = |(kind, path, service): &(&str, &str, &str)| {
        json!({
            "path": path, "pathType": kind,
            "backend": { "service": { "name": service, "port": { "name": "http" } } }
        })
    };
    let paths: Vec<Value> = paths.iter().map(path).collect();
    let mut spec = json!({ "ingressClassName": "nearside", "rules": [{ "host": host, "http": { "paths": paths } }] });
    merge(&mut spec, more);
    json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata("shop", name), "spec": spec })
}

/// The object with these annotations.
pub(crate) fn annotated(mut object: Value, annotations: &[(&str, &str)]) -> Value {
    object["metadata"]["annotations"] = annotations.iter().map(|(name, value)| (*name, json!(*value))).collect();
    object
}

/// The IngressClass of Nearside.
pub(crate) fn ingress_class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "nearside" },
        "spec": { "controller": "nearside.dev/ingress" }
    })
}

/// A Service of namespace `shop` with one port, named `http`, that selects the pods of its own name.
pub(crate) fn service(name: &str) -> Value {
    service_with(name, json!({}))
}

/// The same with more fields in its port.
pub(crate) fn service_with(name: &str, more: Value) -> Value {
    let mut port = json!({ "name": "http", "port": 80, "targetPort": "http" });
    merge(&mut port, more);
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata("shop", name),
        "spec": { "selector": { "app": name }, "ports": [port] }
    })
}

/// A ready pod of a Service on this node.
pub(crate) fn pod(service: &str, name: &str, address: SocketAddr) -> Value {
    pod_on(NODE, service, name, address)
}

/// A ready pod of a Service on a node.
pub(crate) fn pod_on(node: &str, service: &str, name: &str, address: SocketAddr) -> Value {
    let mut metadata = metadata("shop", name);
    metadata["labels"] = json!({ "app": service });
    let ip = address.ip().to_string();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {
            "nodeName": node,
            "containers": [{ "name": "c", "ports": [{ "name": "http", "containerPort": address.port() }] }]
        },
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
            "conditions": [{ "type": "Ready", "status": "True" }]
        }
    })
}

/// The pod with its readiness changed.
pub(crate) fn with_readiness(mut pod: Value, ready: bool) -> Value {
    pod["status"]["conditions"][0]["status"] = json!(if ready { "True" } else { "False" });
    pod
}

/// The pod while it is being deleted.
pub(crate) fn terminating(mut pod: Value) -> Value {
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    pod
}

/// What DNS says of a host: the nodes that serve it.
pub(crate) fn published(host: &str, nodes: &[&str]) -> Value {
    let mut endpoints = vec![record(host, nodes.len())];
    endpoints.extend(nodes.iter().map(|node| record(&alias(host, node), 1)));
    json!({
        "apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint",
        "metadata": {
            "namespace": "nearside", "name": host.replace('.', "-"), "labels": { "nearside.dev/dns": "managed" }
        },
        "spec": { "endpoints": endpoints }
    })
}

/// What DNS says of a host: the nodes that serve it, each at an address.
pub(crate) fn published_at(host: &str, nodes: &[(&str, &str)]) -> Value {
    let names: Vec<&str> = nodes.iter().map(|(node, _)| *node).collect();
    let mut object = published(host, &names);
    for (at, (_, address)) in nodes.iter().enumerate() {
        object["spec"]["endpoints"][at + 1]["targets"] = json!([address]);
    }
    object
}

/// What DNS says of a wildcard: the nodes that serve it.
pub(crate) fn wildcard_published(domain: &str, nodes: &[&str]) -> Value {
    let mut object = published(&format!("*.{domain}"), nodes);
    object["metadata"]["name"] = json!(format!("wildcard-{}", domain.replace('.', "-")));
    object
}

/// The name of a host on one node.
pub(crate) fn alias(host: &str, node: &str) -> String {
    let (label, rest) = host.split_once('.').unwrap();
    format!("{label}--{}.{rest}", NodeId::of(node))
}

fn record(name: &str, count: usize) -> Value {
    let targets: Vec<String> = (1..=count).map(|number| format!("198.18.0.{number}")).collect();
    json!({ "dnsName": name, "recordType": "A", "recordTTL": 30, "targets": targets })
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
