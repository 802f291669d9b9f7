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
    /// The newest `metadata.generation` that a publisher has taken; 0 before any has.
    #[serde(deserialize_with = "null_as_default")]
    pub observed_generation: i64,
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
