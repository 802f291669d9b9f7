//! Thin typed views of the Kubernetes objects that Nearside reads: JSON as the API serves it flows in, structs that hold
//! only the fields in use flow out. Decoding drops everything else, so memory follows what is kept.

mod dns_endpoint;
mod endpoint_slice;
mod ingress;
mod ingress_class;
mod meta;
mod namespace;
mod node;
mod pod;
mod route;
mod secret;
mod service;

pub use dns_endpoint::{DnsEndpoint, DnsEndpointSpec, DnsEndpointStatus, PublicationCondition, RecordSet};
pub use endpoint_slice::{
    EndpointConditions, EndpointPort, EndpointSlice, MANAGED_BY, SLICE_CONTROLLER, SliceEndpoint, TargetReference,
};
pub use ingress::{
    Ingress, IngressBackend, IngressHttp, IngressPath, IngressRule, IngressSpec, IngressStatus, IngressTls,
    LoadBalancerIngress, LoadBalancerStatus, ServiceBackend, ServiceBackendPort,
};
pub use ingress_class::{IngressClass, IngressClassSpec};
pub use meta::{Age, Condition, IntOrString, ObjectMeta, OwnerReference};
pub use namespace::Namespace;
pub use node::{Node, NodeAddress, NodeSpec, NodeStatus, Taint};
pub use pod::{Container, ContainerPort, Pod, PodIp, PodSpec, PodStatus};
pub use route::{
    LocalObject, Route, RouteHeaderAction, RouteHeaderActionUnion, RouteHeaderActions, RouteHttpHeaders, RouteIngress,
    RoutePort, RouteSetHeader, RouteSpec, RouteStatus, RouteTarget, RouteTls, WildcardPolicy,
};
pub use secret::Secret;
pub use service::{Service, ServicePort, ServiceSpec};

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;

/// The kinds Nearside reads. Nothing else is ever listed or watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the Kubernetes kind of that name")]
pub enum Kind {
    Route,
    Ingress,
    IngressClass,
    Service,
    Pod,
    EndpointSlice,
    Node,
    Secret,
    Namespace,
    DnsEndpoint,
}

impl Kind {
    /// Every kind, in a fixed order.
    pub const ALL: [Self; 10] = [
        Self::Route,
        Self::Ingress,
        Self::IngressClass,
        Self::Service,
        Self::Pod,
        Self::EndpointSlice,
        Self::Node,
        Self::Secret,
        Self::Namespace,
        Self::DnsEndpoint,
    ];

    /// The API group, empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Route => "route.openshift.io",
            Self::Ingress | Self::IngressClass => "networking.k8s.io",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::DnsEndpoint => "externaldns.k8s.io",
            Self::Service | Self::Pod | Self::Node | Self::Secret | Self::Namespace => "",
        }
    }

    /// The API version within the group.
    pub fn version(self) -> &'static str {
        match self {
            Self::DnsEndpoint => "v1alpha1",
            _ => "v1",
        }
    }

    /// `apiVersion` as written in a manifest.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// `kind` as written in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "Route",
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::Service => "Service",
            Self::Pod => "Pod",
            Self::EndpointSlice => "EndpointSlice",
            Self::Node => "Node",
            Self::Secret => "Secret",
            Self::Namespace => "Namespace",
            Self::DnsEndpoint => "DNSEndpoint",
        }
    }

    /// The resource name in API paths and RBAC rules.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Route => "routes",
            Self::Ingress => "ingresses",
            Self::IngressClass => "ingressclasses",
            Self::Service => "services",
            Self::Pod => "pods",
            Self::EndpointSlice => "endpointslices",
            Self::Node => "nodes",
            Self::Secret => "secrets",
            Self::Namespace => "namespaces",
            Self::DnsEndpoint => "dnsendpoints",
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn namespaced(self) -> bool {
        !matches!(self, Self::IngressClass | Self::Node | Self::Namespace)
    }

    /// The kind that a manifest's `apiVersion` and `kind` name, if it is one Nearside reads.
    pub fn from_manifest(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == kind && k.api_version() == api_version)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What identifies an object: kind, namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The object's kind.
    pub kind: Kind,
    /// `metadata.namespace`, empty for cluster-scoped kinds.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
}

impl ObjectKey {
    /// A key from its parts; the namespace of a cluster-scoped kind is dropped.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced() { namespace } else { "" };
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Whether it may be the name of an object (RFC 1123 subdomain).
pub fn is_object_name(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    text.len() <= NAME_BYTES
        && text.bytes().all(is_inner)
        && is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
}

/// One object of any kind that Nearside reads.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the Kubernetes kind of that name")]
#[expect(clippy::large_enum_variant, reason = "an object is handed over once and then taken apart")]
pub enum Object {
    Route(Route),
    Ingress(Ingress),
    IngressClass(IngressClass),
    Service(Service),
    Pod(Pod),
    EndpointSlice(EndpointSlice),
    Node(Node),
    Secret(Secret),
    Namespace(Namespace),
    DnsEndpoint(DnsEndpoint),
}

impl Object {
    /// Decodes one object of a known kind from the JSON that the API serves, dropping every field that is not in use.
    ///
    /// # Errors
    /// [`DecodeError`] names the object, as far as it is known, and the field that does not fit its type.
    pub fn decode(kind: Kind, value: Value) -> Result<Self, DecodeError> {
        let name = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = ObjectKey::new(kind, &name("/metadata/namespace"), &name("/metadata/name"));
        if key.name.is_empty() {
            return Err(DecodeError {
                object: key,
                field: "metadata.name".into(),
                message: "a name is required".into(),
            });
        }
        Ok(match kind {
            Kind::Route => Self::Route(decode(key, value)?),
            Kind::Ingress => Self::Ingress(decode(key, value)?),
            Kind::IngressClass => Self::IngressClass(decode(key, value)?),
            Kind::Service => Self::Service(decode(key, value)?),
            Kind::Pod => Self::Pod(decode(key, value)?),
            Kind::EndpointSlice => Self::EndpointSlice(decode(key, value)?),
            Kind::Node => Self::Node(decode(key, value)?),
            Kind::Secret => Self::Secret(decode(key, value)?),
            Kind::Namespace => Self::Namespace(decode(key, value)?),
            Kind::DnsEndpoint => Self::DnsEndpoint(decode(key, value)?),
        })
    }

    /// Decodes one object straight from JSON text: what is dropped never takes memory.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_text(kind: Kind, text: &[u8]) -> Result<Self, DecodeError> {
        fn read<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
            serde_json::from_slice(text).ok()
        }
        let object = match kind {
            Kind::Route => read(text).map(Self::Route),
            Kind::Ingress => read(text).map(Self::Ingress),
            Kind::IngressClass => read(text).map(Self::IngressClass),
            Kind::Service => read(text).map(Self::Service),
            Kind::Pod => read(text).map(Self::Pod),
            Kind::EndpointSlice => read(text).map(Self::EndpointSlice),
            Kind::Node => read(text).map(Self::Node),
            Kind::Secret => read(text).map(Self::Secret),
            Kind::Namespace => read(text).map(Self::Namespace),
            Kind::DnsEndpoint => read(text).map(Self::DnsEndpoint),
        };
        match object.filter(|object| !object.metadata().name.is_empty()) {
            Some(object) => Ok(object),
            // What is wrong, and with which field, is found out only where something is.
            None => Self::decode(kind, serde_json::from_slice(text).unwrap_or_default()),
        }
    }

    /// The object as JSON that [`Self::decode_text`] reads back: what was dropped is not in it, keys and passwords are.
    ///
    /// # Errors
    /// Never for an object that was decoded.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Route(o) => serde_json::to_vec(o),
            Self::Ingress(o) => serde_json::to_vec(o),
            Self::IngressClass(o) => serde_json::to_vec(o),
            Self::Service(o) => serde_json::to_vec(o),
            Self::Pod(o) => serde_json::to_vec(o),
            Self::EndpointSlice(o) => serde_json::to_vec(o),
            Self::Node(o) => serde_json::to_vec(o),
            Self::Secret(o) => serde_json::to_vec(o),
            Self::Namespace(o) => serde_json::to_vec(o),
            Self::DnsEndpoint(o) => serde_json::to_vec(o),
        }
    }

    /// Whether a private key or a password's hash is in it.
    pub fn holds_keys(&self) -> bool {
        match self {
            Self::Secret(_) => true,
            Self::Route(route) => route.spec.tls.as_ref().is_some_and(|tls| !tls.key.is_empty()),
            _ => false,
        }
    }

    /// The object's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Route(_) => Kind::Route,
            Self::Ingress(_) => Kind::Ingress,
            Self::IngressClass(_) => Kind::IngressClass,
            Self::Service(_) => Kind::Service,
            Self::Pod(_) => Kind::Pod,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Node(_) => Kind::Node,
            Self::Secret(_) => Kind::Secret,
            Self::Namespace(_) => Kind::Namespace,
            Self::DnsEndpoint(_) => Kind::DnsEndpoint,
        }
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Route(o) => &o.metadata,
            Self::Ingress(o) => &o.metadata,
            Self::IngressClass(o) => &o.metadata,
            Self::Service(o) => &o.metadata,
            Self::Pod(o) => &o.metadata,
            Self::EndpointSlice(o) => &o.metadata,
            Self::Node(o) => &o.metadata,
            Self::Secret(o) => &o.metadata,
            Self::Namespace(o) => &o.metadata,
            Self::DnsEndpoint(o) => &o.metadata,
        }
    }

    /// What identifies the object.
    pub fn key(&self) -> ObjectKey {
        self.metadata().key(self.kind())
    }
}

/// An object whose JSON does not have the shape of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {field}: {message}")]
pub struct DecodeError {
    /// The object, as far as its name could be read.
    pub object: ObjectKey,
    /// The JSON path of the field that does not fit, such as `spec.rules[0].host`.
    pub field: String,
    /// What was expected there.
    pub message: String,
}

fn decode<T: DeserializeOwned>(object: ObjectKey, value: Value) -> Result<T, DecodeError> {
    serde_path_to_error::deserialize(value).map_err(|error| DecodeError {
        object,
        field: error.path().to_string(),
        message: error.inner().to_string(),
    })
}

/// Bytes of an object's name; the API's own limit.
const NAME_BYTES: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_decode_error_names_the_object_and_the_field() {
        let error = Object::decode(
            Kind::Ingress,
            json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"rules": [{"host": 7}]}}),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Ingress shop/web: spec.rules[0].host: invalid type: integer `7`, expected a string"
        );
    }

    #[test]
    fn an_object_reads_back_as_it_was_kept() {
        let meta = json!({"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "7", "generation": 2,
                          "labels": {"a": "b"}, "annotations": {"x": "y"}, "creationTimestamp": "2025-01-01T00:00:00Z",
                          "managedFields": [{"manager": "kubectl"}],
                          "ownerReferences": [{"kind": "Job", "name": "j", "controller": true}]});
        let condition = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}]);
        let rest = [
            (
                Kind::Route,
                json!({"spec": {"host": "a.test", "to": {"kind": "Service", "name": "a", "weight": 7}, "path": "/x",
                "port": {"targetPort": 8080}, "alternateBackends": [{"kind": "Service", "name": "b"}],
                "tls": {"termination": "edge", "key": "k", "certificate": "c", "externalCertificate": {"name": "s"}},
                "httpHeaders": {"actions": {"request": [{"name": "X", "action": {"type": "Set", "set": {"value": "v"}}}]}}},
                "status": {"ingress": [{"host": "a.test", "routerName": "r", "conditions": condition}]}}),
            ),
            (
                Kind::Ingress,
                json!({"spec": {"ingressClassName": "nearside", "tls": [{"hosts": ["a.test"], "secretName": "s"}],
                "defaultBackend": {"resource": {"kind": "Bucket", "name": "b"}},
                "rules": [{"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": "a", "port": {"name": "http"}}}}]}}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}),
            ),
            (Kind::IngressClass, json!({"spec": {"controller": "nearside.dev/ingress"}})),
            (
                Kind::Service,
                json!({"spec": {"type": "ClusterIP", "selector": {"app": "web"}, "ipFamilies": ["IPv4"],
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "web", "appProtocol": "h2c"}]}}),
            ),
            (
                Kind::Pod,
                json!({"spec": {"nodeName": "n1", "containers": [{"image": "x", "ports": [{"name": "web", "containerPort": 80}]}]},
                "status": {"phase": "Running", "podIP": "192.0.2.7", "podIPs": [{"ip": "192.0.2.7"}], "conditions": condition}}),
            ),
            (
                Kind::EndpointSlice,
                json!({"addressType": "IPv4", "ports": [{"name": "http", "port": 80}],
                "endpoints": [{"addresses": ["192.0.2.7"], "nodeName": "n1", "conditions": {"ready": true, "terminating": false},
                               "targetRef": {"kind": "Pod", "name": "web-1", "namespace": "shop"}}]}),
            ),
            (
                Kind::Node,
                json!({"spec": {"unschedulable": true}, "status": {"conditions": condition,
                "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}),
            ),
            (
                Kind::Secret,
                json!({"type": "Opaque", "data": {"tls.key": "a2V5", "auth": "YTokMnkkMTAk", "user": "JDJ5JDEw", "other": "b3RoZXI="}}),
            ),
            (Kind::Namespace, json!({})),
            (
                Kind::DnsEndpoint,
                json!({"spec": {"endpoints": [{"dnsName": "a.test", "recordType": "A", "targets": ["192.0.2.1"], "recordTTL": 5}]}}),
            ),
        ];
        for (kind, mut value) in rest {
            value["metadata"] = meta.clone();
            let text = value.to_string();
            let object = Object::decode_text(kind, text.as_bytes()).unwrap();
            assert_eq!(object, Object::decode(kind, value).unwrap(), "both ways to decode agree");
            let kept = object.encode().unwrap();
            assert_eq!(Object::decode_text(kind, &kept).unwrap(), object, "{}", String::from_utf8_lossy(&kept));
            assert!(!String::from_utf8_lossy(&kept).contains("managedFields"));
            assert_eq!(object.holds_keys(), matches!(kind, Kind::Secret | Kind::Route));
        }
    }

    #[test]
    fn an_object_without_a_name_is_refused() {
        let error = Object::decode(Kind::Pod, json!({"metadata": {"namespace": "shop"}})).unwrap_err();
        assert_eq!(error.field, "metadata.name");
    }

    #[test]
    fn nulls_that_go_writes_for_empty_lists_are_read_as_empty() {
        let object = Object::decode(
            Kind::EndpointSlice,
            json!({"metadata": {"namespace": "shop", "name": "web-1", "labels": null, "annotations": null},
                   "addressType": "IPv4", "endpoints": null, "ports": null}),
        )
        .unwrap();
        let Object::EndpointSlice(slice) = object else { panic!("not a slice") };
        assert!(slice.endpoints.is_empty() && slice.ports.is_empty());
    }

    #[test]
    fn kinds_are_found_by_their_manifest_header() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_manifest(&kind.api_version(), kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_manifest("v1", "ConfigMap"), None);
        assert_eq!(Kind::from_manifest("extensions/v1beta1", "Ingress"), None);
    }
}
