//! `route.openshift.io/v1` Route: JSON in, the fields that routing reads out.

use super::meta::{Condition, IntOrString, ObjectMeta, null_as_default};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An OpenShift Route.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of Route as the API documents them")]
pub struct Route {
    pub metadata: ObjectMeta,
    pub spec: RouteSpec,
    #[serde(deserialize_with = "null_as_default")]
    pub status: RouteStatus,
}

/// `spec` of a Route. Enumerations stay text here, so that a wrong word becomes a verdict and not a lost object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of RouteSpec as the API documents them")]
pub struct RouteSpec {
    #[serde(deserialize_with = "null_as_default")]
    pub host: String,
    #[serde(deserialize_with = "null_as_default")]
    pub subdomain: String,
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    pub to: RouteTarget,
    #[serde(deserialize_with = "null_as_default")]
    pub alternate_backends: Vec<RouteTarget>,
    pub port: Option<RoutePort>,
    pub tls: Option<RouteTls>,
    #[serde(deserialize_with = "null_as_default")]
    pub wildcard_policy: String,
    #[serde(deserialize_with = "null_as_default")]
    pub http_headers: RouteHttpHeaders,
}

/// `spec.httpHeaders`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of RouteHTTPHeaders as the API documents them")]
pub struct RouteHttpHeaders {
    pub actions: RouteHeaderActions,
}

/// `spec.httpHeaders.actions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of RouteHTTPHeaderActions as the API documents them")]
pub struct RouteHeaderActions {
    #[serde(deserialize_with = "null_as_default")]
    pub request: Vec<RouteHeaderAction>,
    #[serde(deserialize_with = "null_as_default")]
    pub response: Vec<RouteHeaderAction>,
}

/// `spec.httpHeaders.actions.{request,response}[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of RouteHTTPHeader as the API documents them")]
pub struct RouteHeaderAction {
    pub name: String,
    pub action: RouteHeaderActionUnion,
}

/// What one item does: `Set` with a value, or `Delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of RouteHTTPHeaderActionUnion as the API documents them")]
pub struct RouteHeaderActionUnion {
    #[serde(rename = "type")]
    pub kind: String,
    pub set: Option<RouteSetHeader>,
}

/// The value that an item sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the one field of RouteSetHTTPHeader")]
pub struct RouteSetHeader {
    pub value: String,
}

/// `spec.wildcardPolicy` of a Route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WildcardPolicy {
    /// The host as it is written, also where nothing is.
    None,
    /// Every host of one label below the domain of the host.
    Subdomain,
}

impl WildcardPolicy {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Subdomain => "Subdomain",
        }
    }
}

/// `spec.to` and `spec.alternateBackends[]`: a Service of the same namespace and its share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of RouteTargetReference as the API documents them")]
pub struct RouteTarget {
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// 0 to 256; absent means 100, the API's default.
    pub weight: Option<i64>,
}

/// `spec.port`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields of RoutePort as the API documents them")]
pub struct RoutePort {
    pub target_port: IntOrString,
}

/// `spec.tls`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of TLSConfig as the API documents them")]
pub struct RouteTls {
    #[serde(deserialize_with = "null_as_default")]
    pub termination: String,
    #[serde(deserialize_with = "null_as_default")]
    pub certificate: String,
    #[serde(deserialize_with = "null_as_default")]
    pub key: String,
    #[serde(rename = "caCertificate", deserialize_with = "null_as_default")]
    pub ca_certificate: String,
    #[serde(rename = "destinationCACertificate", deserialize_with = "null_as_default")]
    pub destination_ca_certificate: String,
    #[serde(deserialize_with = "null_as_default")]
    pub insecure_edge_termination_policy: String,
    pub external_certificate: Option<LocalObject>,
}

impl fmt::Debug for RouteTls {
    /// Leaves the private key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteTls")
            .field("termination", &self.termination)
            .field("insecure_edge_termination_policy", &self.insecure_edge_termination_policy)
            .field("external_certificate", &self.external_certificate)
            .finish_non_exhaustive()
    }
}

/// A reference to an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the one field of LocalObjectReference")]
pub struct LocalObject {
    pub name: String,
}

/// `status` of a Route, one entry per router that knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of RouteStatus as the API documents them")]
pub struct RouteStatus {
    #[serde(deserialize_with = "null_as_default")]
    pub ingress: Vec<RouteIngress>,
}

/// `status.ingress[]`: what one router says of the Route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of RouteIngress as the API documents them")]
pub struct RouteIngress {
    #[serde(deserialize_with = "null_as_default")]
    pub host: String,
    #[serde(deserialize_with = "null_as_default")]
    pub router_name: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub router_canonical_hostname: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub wildcard_policy: String,
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: Vec<Condition>,
}
