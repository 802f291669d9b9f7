//! core/v1 Node: JSON in; readiness, schedulability and addresses out.

use super::meta::{Condition, ObjectMeta, condition_is_true, null_as_default};
use serde::{Deserialize, Serialize};

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of Node as the API documents them")]
pub struct Node {
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "null_as_default")]
    pub spec: NodeSpec,
    #[serde(deserialize_with = "null_as_default")]
    pub status: NodeStatus,
}

impl Node {
    /// Whether the node's `Ready` condition is true.
    pub fn is_ready(&self) -> bool {
        condition_is_true(&self.status.conditions, "Ready")
    }

    /// Whether an operator has declared the node dead (the taint `node.kubernetes.io/out-of-service`).
    pub fn is_out_of_service(&self) -> bool {
        self.spec.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
    }
}

/// `spec` of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Set by `kubectl cordon`; a cordoned node keeps serving.
    #[serde(deserialize_with = "null_as_default")]
    pub unschedulable: bool,
    /// What keeps pods away.
    #[serde(deserialize_with = "null_as_default")]
    pub taints: Vec<Taint>,
}

/// `spec.taints[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Taint {
    /// What identifies it.
    pub key: String,
}

/// `status` of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of NodeStatus as the API documents them")]
pub struct NodeStatus {
    #[serde(deserialize_with = "null_as_default")]
    pub addresses: Vec<NodeAddress>,
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: Vec<Condition>,
}

/// `status.addresses[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of NodeAddress as the API documents them")]
pub struct NodeAddress {
    #[serde(rename = "type")]
    pub kind: String,
    pub address: String,
}

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
