//! `discovery.k8s.io/v1` EndpointSlice: JSON in, endpoints with their nodes out.

use super::meta::{ObjectMeta, null_as_default};
use serde::{Deserialize, Serialize};

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of EndpointSlice as the API documents them")]
pub struct EndpointSlice {
    pub metadata: ObjectMeta,
    pub address_type: String,
    #[serde(deserialize_with = "null_as_default")]
    pub endpoints: Vec<SliceEndpoint>,
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<EndpointPort>,
}

impl EndpointSlice {
    /// The name of the Service that the slice belongs to (label `kubernetes.io/service-name`).
    pub fn service_name(&self) -> Option<&str> {
        self.metadata.labels.get("kubernetes.io/service-name").map(String::as_str)
    }

    /// Whether the EndpointSlice controller of Kubernetes derives this slice from pods.
    pub fn is_derived_from_pods(&self) -> bool {
        self.metadata.labels.get(MANAGED_BY).is_some_and(|by| by == SLICE_CONTROLLER)
    }
}

/// Names what writes an EndpointSlice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on slices that are derived from pods.
pub const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// `endpoints[]` of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of Endpoint as the API documents them")]
pub struct SliceEndpoint {
    #[serde(deserialize_with = "null_as_default")]
    pub addresses: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: EndpointConditions,
    pub node_name: Option<String>,
    pub target_ref: Option<TargetReference>,
}

/// `endpoints[].conditions`; an absent `ready` means ready, an absent `serving` means the same as `ready`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of EndpointConditions as the API documents them")]
pub struct EndpointConditions {
    pub ready: Option<bool>,
    pub serving: Option<bool>,
    pub terminating: Option<bool>,
}

/// `endpoints[].targetRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of ObjectReference as the API documents them")]
pub struct TargetReference {
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// `ports[]` of an EndpointSlice: the Service port's name and the pod's port number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of EndpointPort as the API documents them")]
pub struct EndpointPort {
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    pub port: Option<u16>,
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: String,
    pub app_protocol: Option<String>,
}
