//! The Node and Pod objects that the lab's kubelet writes. Pure: state in, JSON out. Called by `lab::cluster`.

use super::PodState;
use crate::lab::Node;
use serde_json::{Value, json};
use std::time::SystemTime;

/// The Node object of a node of the lab.
pub(super) fn node(node: &Node, ready: bool, since: &str) -> Value {
    let addresses: Vec<Value> =
        node.place().addresses().iter().map(|ip| json!({"type": "InternalIP", "address": ip.to_string()})).collect();
    let ranges: Vec<String> = node.pod_ranges().iter().map(ToString::to_string).collect();
    // What the node lifecycle controller writes when the kubelet falls silent.
    let (status, reason, message) = if ready {
        ("True", "KubeletReady", "kubelet is posting ready status")
    } else {
        ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    };
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": node.name(),
            "labels": {"kubernetes.io/hostname": node.name(), "kubernetes.io/os": "linux"},
        },
        "spec": {"podCIDR": ranges.first(), "podCIDRs": ranges},
        "status": {
            "addresses": addresses,
            "conditions": [condition("Ready", status, reason, message, since)],
            "capacity": {"pods": "240"}, "allocatable": {"pods": "240"},
        },
    })
}

/// The Pod object of a pod in its present state.
pub(super) fn pod(pod: &PodState) -> Value {
    let ips: Vec<Value> = pod.addresses.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
    let ports: Vec<Value> = pod
        .spec
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "containerPort": port.port, "protocol": "TCP"}))
        .collect();
    let (status, reason) = if pod.ready { ("True", "") } else { ("False", "ContainersNotReady") };
    let since = pod.ready_since.as_str();
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": pod.spec.namespace, "name": pod.spec.name, "uid": pod.uid, "labels": pod.spec.labels,
            "creationTimestamp": pod.created,
        },
        "spec": {
            "nodeName": pod.spec.node,
            "containers": [{"name": "server", "image": "nearside.invalid/pod:lab", "ports": ports}],
            "hostNetwork": pod.host_network,
            "terminationGracePeriodSeconds": 30,
        },
        "status": {
            "phase": if ips.is_empty() { "Pending" } else { "Running" },
            "podIP": pod.addresses.first().map(ToString::to_string),
            "podIPs": ips,
            "startTime": pod.created,
            "conditions": [
                condition("PodScheduled", "True", "", "", &pod.created),
                condition("ContainersReady", status, reason, "", since),
                condition("Ready", status, reason, "", since),
            ],
        },
    });
    if let Some(time) = &pod.deleted {
        object["metadata"]["deletionTimestamp"] = json!(time);
        object["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    }
    object
}

/// A time as the API writes it (RFC 3339, UTC, whole seconds).
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The same as a `MicroTime`, which Leases use.
pub(super) fn timestamp_micros(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, since: &str) -> Value {
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": since});
    if !reason.is_empty() {
        condition["reason"] = json!(reason);
    }
    if !message.is_empty() {
        condition["message"] = json!(message);
    }
    condition
}
