//! What the API server fills in before it stores an object: a decoded object goes in, the same with its defaults
//! comes out. `registry` calls it on create and update.

use super::kinds::ResourceKind;
use super::object::{child_map, items, text};
use super::structural;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

/// Hands out what a Service gets from the cluster: addresses of 10.96.0.0/12 and node ports from 30000.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    addresses: AtomicU32,
    node_ports: AtomicU32,
}

impl Allocator {
    fn address(&self) -> String {
        let n = self.addresses.fetch_add(1, Ordering::Relaxed) % 0x000f_ffff + 10;
        std::net::Ipv4Addr::from(0x0a60_0000 + n).to_string()
    }

    fn node_port(&self) -> u32 {
        30_000 + self.node_ports.fetch_add(1, Ordering::Relaxed) % 2768
    }
}

/// Defaults of a specification, on create and on update.
pub(crate) fn fill(kind: &ResourceKind, object: &mut Value, allocator: &Allocator) {
    if let Some(schema) = &kind.schema {
        structural::prune(schema, object);
        structural::fill(schema, object);
        return;
    }
    let namespace = text(object, "metadata.namespace").to_owned();
    let name = text(object, "metadata.name").to_owned();
    let Some(fields) = object.as_object_mut() else { return };
    match kind.plural.as_str() {
        "namespaces" => {
            let labels = child_map(child_map(fields, "metadata"), "labels");
            labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
            default(child_map(fields, "spec"), "finalizers", json!(["kubernetes"]));
        }
        "pods" => pod(child_map(fields, "spec")),
        "services" => service(child_map(fields, "spec"), allocator),
        "secrets" => secret(fields),
        "endpointslices" => {
            for port in fields.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(port) = port.as_object_mut() {
                    default(port, "protocol", json!("TCP"));
                    default(port, "name", json!(""));
                }
            }
        }
        "endpoints" => {
            for subset in fields.get_mut("subsets").and_then(Value::as_array_mut).into_iter().flatten() {
                for port in subset.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Some(port) = port.as_object_mut() {
                        default(port, "protocol", json!("TCP"));
                    }
                }
            }
        }
        "rolebindings" | "clusterrolebindings" => {
            default(child_map(fields, "roleRef"), "apiGroup", json!("rbac.authorization.k8s.io"));
        }
        "routes" => route(fields, &namespace, &name),
        "customresourcedefinitions" => definition(child_map(fields, "spec")),
        _ => {}
    }
}

/// Keeps what was handed out before, when a new version of an object does not name it.
pub(crate) fn keep_allocated(kind: &ResourceKind, live: &Value, object: &mut Value) {
    let fields: &[&str] = match kind.plural.as_str() {
        "services" if text(live, "spec.type") != "ExternalName" && text(object, "spec.type") != "ExternalName" => {
            &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]
        }
        "routes" if kind.typed => &["host"],
        _ => return,
    };
    let Some(held) = live.get("spec") else { return };
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for &field in fields {
        let is_absent = spec.get(field).is_none_or(|value| value.is_null() || value.as_str() == Some(""));
        if let Some(value) = held.get(field).filter(|_| is_absent) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
}

/// The status a fresh object starts with.
pub(crate) fn initial_status(kind: &ResourceKind, object: &Value, now: &str) -> Option<Value> {
    match kind.plural.as_str() {
        "namespaces" => Some(json!({"phase": "Active"})),
        "pods" => Some(json!({"phase": "Pending", "qosClass": "BestEffort"})),
        "services" | "ingresses" => Some(json!({"loadBalancer": {}})),
        "customresourcedefinitions" => {
            let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
            Some(json!({
                "acceptedNames": object.pointer("/spec/names"),
                "storedVersions": items(object, "spec.versions").iter()
                    .filter(|version| version["storage"] == true)
                    .map(|version| version["name"].clone()).collect::<Vec<_>>(),
                "conditions": [
                    condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                    condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
                ],
            }))
        }
        _ => None,
    }
}

fn default(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let slot = fields.entry(name.to_owned()).or_insert(Value::Null);
    if slot.is_null() {
        *slot = value;
    }
}

fn pod(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "schedulerName", json!("default-scheduler"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "securityContext", json!({}));
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            default(container, "imagePullPolicy", json!("IfNotPresent"));
            default(container, "resources", json!({}));
            default(container, "terminationMessagePath", json!("/dev/termination-log"));
            default(container, "terminationMessagePolicy", json!("File"));
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(port) = port.as_object_mut() {
                    default(port, "protocol", json!("TCP"));
                }
            }
        }
    }
}

fn service(spec: &mut Map<String, Value>, allocator: &Allocator) {
    default(spec, "type", json!("ClusterIP"));
    default(spec, "sessionAffinity", json!("None"));
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(port) = port.as_object_mut() else { continue };
        default(port, "protocol", json!("TCP"));
        let number = port.get("port").cloned().unwrap_or_default();
        default(port, "targetPort", number);
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
            default(port, "nodePort", json!(allocator.node_port()));
        }
    }
    if kind == "ExternalName" {
        return;
    }
    default(spec, "internalTrafficPolicy", json!("Cluster"));
    default(spec, "ipFamilyPolicy", json!("SingleStack"));
    if spec.get("clusterIP").and_then(Value::as_str).is_none_or(str::is_empty) {
        spec.insert("clusterIP".to_owned(), json!(allocator.address()));
    }
    let address = spec.get("clusterIP").cloned().unwrap_or_default();
    let family = if address.as_str().is_some_and(|text| text.contains(':')) { "IPv6" } else { "IPv4" };
    default(spec, "clusterIPs", json!([address]));
    default(spec, "ipFamilies", json!([family]));
}

fn secret(fields: &mut Map<String, Value>) {
    default(fields, "type", json!("Opaque"));
    if let Some(Value::Object(plain)) = fields.remove("stringData") {
        let data = child_map(fields, "data");
        for (key, value) in plain {
            data.insert(key, json!(STANDARD.encode(value.as_str().unwrap_or_default())));
        }
    }
}

fn route(fields: &mut Map<String, Value>, namespace: &str, name: &str) {
    let spec = child_map(fields, "spec");
    default(spec, "wildcardPolicy", json!("None"));
    let empty =
        |spec: &Map<String, Value>, field: &str| spec.get(field).and_then(Value::as_str).is_none_or(str::is_empty);
    if let Some(to) = spec.get_mut("to").and_then(Value::as_object_mut) {
        default(to, "kind", json!("Service"));
        default(to, "weight", json!(100));
    }
    for backend in spec.get_mut("alternateBackends").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(backend) = backend.as_object_mut() {
            default(backend, "kind", json!("Service"));
            default(backend, "weight", json!(100));
        }
    }
    let wildcard = spec.get("wildcardPolicy").and_then(Value::as_str) == Some("Subdomain");
    if empty(spec, "host") && empty(spec, "subdomain") && !wildcard {
        let host = format!("{}-{namespace}.{ROUTE_SUFFIX}", name.replace('.', "-"));
        spec.insert("host".to_owned(), json!(host));
        child_map(child_map(fields, "metadata"), "annotations")
            .insert("openshift.io/host.generated".to_owned(), json!("true"));
    }
}

fn definition(spec: &mut Map<String, Value>) {
    default(spec, "conversion", json!({"strategy": "None"}));
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        default(names, "singular", json!(kind.to_lowercase()));
        default(names, "listKind", json!(format!("{kind}List")));
    }
}

/// Where generated Route hosts live (`ingress.config` `spec.domain`'s fallback).
const ROUTE_SUFFIX: &str = "router.default.svc.cluster.local";
