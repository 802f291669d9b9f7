//! `externaldns.k8s.io/v1alpha1` DNSEndpoint, the contract between the controller, dns-sync and the proxies: read from
//! JSON, and written back as JSON by the controller.

use super::meta::{ObjectMeta, null_as_default};
use serde::{Deserialize, Serialize};

/// A DNSEndpoint; Nearside writes one per host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of DNSEndpoint as external-dns documents them")]
pub struct DnsEndpoint {
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "null_as_default")]
    pub spec: DnsEndpointSpec,
    #[serde(deserialize_with = "null_as_default")]
    pub status: DnsEndpointStatus,
}

/// `status` of a DNSEndpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsEndpointStatus {
    /// The newest `metadata.generation` that a publisher has taken; 0 before any has. Of Nearside's own publishers: that
    /// every name server was seen to answer with.
    #[serde(deserialize_with = "null_as_default")]
    pub observed_generation: i64,
    /// What Nearside's own publisher tells beyond that; empty where external-dns publishes, or its CRD is installed, which
    /// does not know them.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<PublicationCondition>,
}

/// One entry of `status.conditions[]` of a DNSEndpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of metav1.Condition as the API documents them")]
pub struct PublicationCondition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub last_transition_time: String,
    #[serde(deserialize_with = "null_as_default")]
    pub reason: String,
    #[serde(deserialize_with = "null_as_default")]
    pub message: String,
}

impl DnsEndpointStatus {
    /// The type of the condition that every name server has taken what the object asks for.
    pub const APPLIED: &str = "Applied";
    /// The type of the condition that every name server was seen to answer with it.
    pub const VISIBLE: &str = "Visible";
    /// The type of the condition that nobody can hold the answer before it any more: it is visible, and its TTL and what
    /// clients add to it have passed.
    pub const SETTLED: &str = "Settled";

    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&PublicationCondition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

impl PublicationCondition {
    /// Whether it holds for this `metadata.generation` of the object.
    pub fn holds_for(&self, generation: i64) -> bool {
        self.status == "True" && self.observed_generation >= generation
    }
}

/// Go leaves the number out where it is 0.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// `spec` of a DNSEndpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of DNSEndpointSpec as external-dns documents them")]
pub struct DnsEndpointSpec {
    #[serde(deserialize_with = "null_as_default")]
    pub endpoints: Vec<RecordSet>,
}

/// `spec.endpoints[]`: one RRset (RFC 2181 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of Endpoint as external-dns documents them")]
pub struct RecordSet {
    #[serde(deserialize_with = "null_as_default")]
    pub dns_name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub record_type: String,
    #[serde(deserialize_with = "null_as_default")]
    pub targets: Vec<String>,
    /// Seconds; absent or 0 means the publisher's default.
    #[serde(rename = "recordTTL", skip_serializing_if = "Option::is_none")]
    pub record_ttl: Option<i64>,
}
