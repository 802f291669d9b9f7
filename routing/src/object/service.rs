//! core/v1 Service: JSON in, selector and ports out.

use super::meta::{IntOrString, ObjectMeta, null_as_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of Service as the API documents them")]
pub struct Service {
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ServiceSpec,
}

/// `spec` of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of ServiceSpec as the API documents them")]
pub struct ServiceSpec {
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub selector: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<ServicePort>,
    #[serde(deserialize_with = "null_as_default")]
    pub publish_not_ready_addresses: bool,
    #[serde(deserialize_with = "null_as_default")]
    pub ip_families: Vec<String>,
}

/// `spec.ports[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of ServicePort as the API documents them")]
pub struct ServicePort {
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    pub port: u16,
    /// `TCP` when absent.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: String,
    /// The same number as `port` when absent.
    pub target_port: Option<IntOrString>,
    pub app_protocol: Option<String>,
}
