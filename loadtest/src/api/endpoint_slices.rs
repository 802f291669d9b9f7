//! The EndpointSlices that the real controller would write for a Service. Pure: a Service and pods in, slices out. Follows
//! `pkg/controller/endpointslice` and `staging/src/k8s.io/endpointslice` of Kubernetes: one slice set per address family and per set
//! of resolved ports, at most 100 endpoints a slice, one empty slice per family when nothing is selected. Called by the server's
//! controllers, and by the lab where there are none.

use super::object::{is_deleting, items, meta, meta_text, text};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The slices for `service`; none for a Service without a selector.
pub(crate) fn slices(service: &Value, pods: &[Value]) -> Vec<Value> {
    let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object).filter(|s| !s.is_empty()) else {
        return Vec::new();
    };
    if text("/spec/type") == "ExternalName" {
        return Vec::new();
    }
    let selected: Vec<&Value> = pods
        .iter()
        .filter(|pod| meta_text(pod, "namespace") == namespace && selects(selector, meta(pod, "labels")))
        .filter(|pod| !matches!(self::text(pod, "status.phase"), "Succeeded" | "Failed"))
        .collect();
    let publish_not_ready = service.pointer("/spec/publishNotReadyAddresses").and_then(Value::as_bool).unwrap_or(false);

    let mut slices = Vec::new();
    for family in families(service) {
        // Pods that resolve a named port differently cannot share a slice.
        let mut groups = BTreeMap::<String, (Value, Vec<Value>)>::new();
        for pod in &selected {
            let addresses = items(pod, "status.podIPs").iter().filter_map(|entry| self::text(entry, "ip").parse().ok());
            let Some(address) = addresses.into_iter().find(|address| family_of(*address) == family) else { continue };
            let ports = resolve(service, pod);
            let group = groups.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new()));
            group.1.push(endpoint(pod, address, publish_not_ready));
        }
        if groups.is_empty() {
            slices.push(slice(service, family, &json!([]), &[], name, "none", 0));
        }
        for (key, (ports, endpoints)) in &groups {
            for (index, chunk) in endpoints.chunks(MOST_ENDPOINTS).enumerate() {
                slices.push(slice(service, family, ports, chunk, name, key, index));
            }
        }
    }
    slices
}

fn slice(
    service: &Value,
    family: &str,
    ports: &Value,
    endpoints: &[Value],
    name: &str,
    key: &str,
    index: usize,
) -> Value {
    let mut labels = service.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    labels.insert("kubernetes.io/service-name".into(), json!(name));
    labels.insert("endpointslice.kubernetes.io/managed-by".into(), json!("endpointslice-controller.k8s.io"));
    if service.pointer("/spec/clusterIP").and_then(Value::as_str) == Some("None") {
        labels.insert("service.kubernetes.io/headless".into(), json!(""));
    }
    let mut metadata = json!({
        "namespace": service.pointer("/metadata/namespace"),
        "name": format!("{name}-{}", suffix(&format!("{family} {key} {index}"))),
        "generateName": format!("{name}-"),
        "labels": labels,
    });
    if let Some(uid) = service.pointer("/metadata/uid") {
        metadata["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "Service", "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": true,
        }]);
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": metadata, "addressType": family, "endpoints": endpoints, "ports": ports,
    })
}

fn endpoint(pod: &Value, address: IpAddr, publish_not_ready: bool) -> Value {
    let terminating = is_deleting(pod);
    let ready = items(pod, "status.conditions")
        .iter()
        .any(|condition| text(condition, "type") == "Ready" && text(condition, "status") == "True");
    json!({
        "addresses": [address.to_string()],
        "conditions": {
            "ready": publish_not_ready || (ready && !terminating),
            "serving": ready,
            "terminating": terminating,
        },
        "nodeName": text(pod, "spec.nodeName"),
        "targetRef": {
            "kind": "Pod", "namespace": meta_text(pod, "namespace"), "name": meta_text(pod, "name"),
            "uid": meta_text(pod, "uid"),
        },
    })
}

/// The Service's ports with the numbers they have in this pod; a named port that the pod lacks is left out.
fn resolve(service: &Value, pod: &Value) -> Value {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let resolved = ports.iter().filter_map(|port| {
        let number = match port.get("targetPort") {
            Some(Value::String(name)) => items(pod, "spec.containers")
                .iter()
                .flat_map(|container| items(container, "ports"))
                .find(|port| text(port, "name") == name)?
                .get("containerPort")?
                .clone(),
            Some(Value::Number(number)) if number.as_u64() != Some(0) => json!(number),
            _ => port.get("port")?.clone(),
        };
        let mut resolved = Map::new();
        resolved.insert("name".into(), port.get("name").cloned().unwrap_or_else(|| json!("")));
        resolved.insert("protocol".into(), port.get("protocol").cloned().unwrap_or_else(|| json!("TCP")));
        resolved.insert("port".into(), number);
        if let Some(protocol) = port.get("appProtocol") {
            resolved.insert("appProtocol".into(), protocol.clone());
        }
        Some(Value::Object(resolved))
    });
    Value::Array(resolved.collect())
}

/// `spec.ipFamilies`, which the API server always fills in; IPv4 where nobody did.
fn families(service: &Value) -> Vec<&'static str> {
    let listed = service.pointer("/spec/ipFamilies").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let families: Vec<&'static str> =
        ["IPv4", "IPv6"].into_iter().filter(|family| listed.iter().any(|value| value == family)).collect();
    if families.is_empty() { vec!["IPv4"] } else { families }
}

fn family_of(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn selects(selector: &Map<String, Value>, labels: Option<&Value>) -> bool {
    selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Five characters that look like a generated name's and are the same each time (FNV-1a).
fn suffix(text: &str) -> String {
    let mut hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut suffix = String::new();
    for _ in 0..5 {
        suffix.push(char::from(ALPHABET[usize::try_from(hash % ALPHABET.len() as u64).unwrap_or(0)]));
        hash /= ALPHABET.len() as u64;
    }
    suffix
}

/// `--max-endpoints-per-slice` of kube-controller-manager.
const MOST_ENDPOINTS: usize = 100;
/// The alphabet of generated names in Kubernetes.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
