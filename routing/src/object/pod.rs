//! core/v1 Pod: JSON in; node, labels, ports, addresses and readiness out.

use super::meta::{Condition, ObjectMeta, condition_is_true, null_as_default};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of Pod as the API documents them")]
pub struct Pod {
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "null_as_default")]
    pub spec: PodSpec,
    #[serde(deserialize_with = "null_as_default")]
    pub status: PodStatus,
}

impl Pod {
    /// Whether the pod's `Ready` condition is true.
    pub fn is_ready(&self) -> bool {
        condition_is_true(&self.status.conditions, "Ready")
    }

    /// Whether the pod is called not ready though its kubelet says of all its containers that they are: the node controller has
    /// taken the readiness back, because it does not hear of the node (`ContainersReady` stays as the kubelet wrote it).
    pub fn is_lost(&self) -> bool {
        !self.is_ready() && condition_is_true(&self.status.conditions, "ContainersReady")
    }

    /// The pod's addresses, the first family first (`status.podIPs[]`, and `status.podIP` of older servers).
    pub fn addresses(&self) -> Vec<IpAddr> {
        let listed = self.status.pod_ips.iter().map(|entry| entry.ip.as_str());
        let all = listed.chain([self.status.pod_ip.as_str()]).filter_map(|text| text.parse().ok());
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in all {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Whether the pod is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether the pod has ended and never comes back (`status.phase` Failed or Succeeded).
    pub fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_str(), "Failed" | "Succeeded")
    }
}

/// `spec` of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of PodSpec as the API documents them")]
pub struct PodSpec {
    #[serde(deserialize_with = "null_as_default")]
    pub node_name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub containers: Vec<Container>,
    #[serde(deserialize_with = "null_as_default")]
    pub init_containers: Vec<Container>,
}

/// A container, of which only the ports matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of Container as the API documents them")]
pub struct Container {
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<ContainerPort>,
    /// `Always` on an init container makes it a sidecar, whose ports count.
    #[serde(deserialize_with = "null_as_default")]
    pub restart_policy: String,
}

/// `spec.containers[].ports[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of ContainerPort as the API documents them")]
pub struct ContainerPort {
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    pub container_port: u16,
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: String,
}

/// `status` of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of PodStatus as the API documents them")]
pub struct PodStatus {
    #[serde(deserialize_with = "null_as_default")]
    pub phase: String,
    #[serde(rename = "podIP", deserialize_with = "null_as_default")]
    pub pod_ip: String,
    #[serde(rename = "podIPs", deserialize_with = "null_as_default")]
    pub pod_ips: Vec<PodIp>,
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: Vec<Condition>,
}

/// `status.podIPs[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the one field of PodIP")]
pub struct PodIp {
    pub ip: String,
}
