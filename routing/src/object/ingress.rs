//! `networking.k8s.io/v1` Ingress: JSON in, the fields that routing reads out.

use super::meta::{ObjectMeta, null_as_default};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An Ingress.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of Ingress as the API documents them")]
pub struct Ingress {
    pub metadata: ObjectMeta,
    pub spec: IngressSpec,
    #[serde(deserialize_with = "null_as_default")]
    pub status: IngressStatus,
}

/// `spec` of an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of IngressSpec as the API documents them")]
pub struct IngressSpec {
    pub ingress_class_name: Option<String>,
    pub default_backend: Option<IngressBackend>,
    #[serde(deserialize_with = "null_as_default")]
    pub tls: Vec<IngressTls>,
    #[serde(deserialize_with = "null_as_default")]
    pub rules: Vec<IngressRule>,
}

/// `spec.tls[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of IngressTLS as the API documents them")]
pub struct IngressTls {
    #[serde(deserialize_with = "null_as_default")]
    pub hosts: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub secret_name: String,
}

/// `spec.rules[]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of IngressRule as the API documents them")]
pub struct IngressRule {
    #[serde(deserialize_with = "null_as_default")]
    pub host: String,
    pub http: Option<IngressHttp>,
}

/// `spec.rules[].http`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of HTTPIngressRuleValue as the API documents them")]
pub struct IngressHttp {
    #[serde(deserialize_with = "null_as_default")]
    pub paths: Vec<IngressPath>,
}

/// `spec.rules[].http.paths[]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of HTTPIngressPath as the API documents them")]
pub struct IngressPath {
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    #[serde(deserialize_with = "null_as_default")]
    pub path_type: String,
    pub backend: IngressBackend,
}

/// A backend of an Ingress: a Service, or a resource, which Nearside does not serve.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of IngressBackend as the API documents them")]
pub struct IngressBackend {
    pub service: Option<ServiceBackend>,
    pub resource: Option<Value>,
}

/// A Service as backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of IngressServiceBackend as the API documents them")]
pub struct ServiceBackend {
    pub name: String,
    pub port: ServiceBackendPort,
}

/// The port of a Service, by name or by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of ServiceBackendPort as the API documents them")]
pub struct ServiceBackendPort {
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub number: i64,
}

/// `status` of an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of IngressStatus as the API documents them")]
pub struct IngressStatus {
    #[serde(deserialize_with = "null_as_default")]
    pub load_balancer: LoadBalancerStatus,
}

/// `status.loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of IngressLoadBalancerStatus as the API documents them")]
pub struct LoadBalancerStatus {
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<LoadBalancerIngress>,
}

/// `status.loadBalancer.ingress[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of IngressLoadBalancerIngress as the API documents them")]
pub struct LoadBalancerIngress {
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub ip: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
}
