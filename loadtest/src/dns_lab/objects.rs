//! The Kubernetes objects of the DNS lab: five hosts of different kinds, each with pods of its own. Pure but for the certificate,
//! which is made on the spot. Called by `stage`.

use crate::certificates::Identity;
use crate::client::Protocol;
use crate::lab::cluster::ROUTER_NAMESPACE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A host, and what clients ask of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    /// First label, and the application behind it.
    pub(super) app: &'static str,
    /// `https`, or `http` for a host without TLS.
    pub(super) scheme: &'static str,
    pub(super) protocol: Protocol,
    /// Requested in turn.
    pub(super) paths: &'static [&'static str],
    /// The nodes that its pods begin on, by number; none for all.
    pub(super) nodes: &'static [u8],
}

impl Host {
    pub(super) fn name(&self) -> String {
        format!("{}.{ZONE}", self.app)
    }
}

/// All hosts. Each but the moving one and the single one has a pod left, whatever the script does to one node.
pub(super) const HOSTS: [Host; 5] = [
    Host { app: "everywhere", scheme: "https", protocol: Protocol::Http1, paths: &["/", SMALL], nodes: &[] },
    Host { app: "video", scheme: "http", protocol: Protocol::Http1, paths: &[SMALL, MEDIUM], nodes: &[2, 3, 4] },
    Host { app: MOVING, scheme: "https", protocol: Protocol::Http1, paths: &["/", SMALL], nodes: &[1] },
    Host { app: "shop", scheme: "https", protocol: Protocol::Http2, paths: &["/", SMALL], nodes: &[1, 3] },
    Host { app: SINGLE, scheme: "https", protocol: Protocol::Http1, paths: &["/", SMALL], nodes: &[1] },
];

/// Its pod moves.
pub(super) const MOVING: &str = "moving";
/// Its pod stays on the one node whose router is replaced.
pub(super) const SINGLE: &str = "single";
/// What dns-sync serves.
pub(super) const ZONE: &str = "apps.example.com";
/// Where the applications are.
pub(super) const NAMESPACE: &str = "lab";

/// Everything but nodes and pods, in the order of creation.
pub(super) fn all(identity: &Identity) -> Vec<Value> {
    let mut objects: Vec<Value> = [NAMESPACE, ROUTER_NAMESPACE]
        .iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    objects.push(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "nearside"},
        "spec": {"controller": "nearside.dev/ingress"},
    }));
    objects.push(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"namespace": NAMESPACE, "name": "tls"},
        "data": {"tls.crt": STANDARD.encode(&identity.certificate), "tls.key": STANDARD.encode(&identity.key)},
    }));
    for host in &HOSTS {
        objects.push(service(host.app));
        objects.push(if host.protocol == Protocol::Http2 { ingress(host) } else { route(host, identity) });
    }
    objects
}

fn service(app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": NAMESPACE, "name": app},
        "spec": {
            "selector": {"app": app},
            "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{"name": "main", "port": 80, "targetPort": POD_PORT, "protocol": "TCP"}],
        },
    })
}

fn route(host: &Host, identity: &Identity) -> Value {
    let mut route = json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {"namespace": NAMESPACE, "name": host.app},
        "spec": {"host": host.name(), "to": {"kind": "Service", "name": host.app, "weight": 100}, "wildcardPolicy": "None"},
    });
    if host.scheme == "https" {
        route["spec"]["tls"] = json!({"termination": "edge", "certificate": identity.certificate, "key": identity.key});
    }
    route
}

fn ingress(host: &Host) -> Value {
    let backend = json!({"service": {"name": host.app, "port": {"number": 80}}});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": NAMESPACE, "name": host.app},
        "spec": {
            "ingressClassName": "nearside",
            "tls": [{"hosts": [host.name()], "secretName": "tls"}],
            "rules": [{"host": host.name(), "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        },
    })
}

/// Where pods listen.
pub(super) const POD_PORT: u16 = 8080;
const SMALL: &str = "/media/16384";
const MEDIUM: &str = "/media/1048576";
