//! The Node and Pod objects that the lab's kubelet writes. Pure: state in, JSON out. Called by `lab::cluster`.

use super::PodState;
use crate::lab::Node;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// Now, as the API writes times (RFC 3339, UTC, whole seconds).
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to civil date, counted in 400-year cycles from 0000-03-01.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_known_days() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_417_445, "2026-11-23T07:04:05Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
