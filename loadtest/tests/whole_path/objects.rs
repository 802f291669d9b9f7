//! The Kubernetes objects that tests put into their clusters. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nearside_loadtest::certificates::Identity;
use serde_json::{Value, json};

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}})
}

pub(crate) fn ingress_class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "nearside"},
        "spec": {"controller": "nearside.dev/ingress"},
    })
}

/// `shop/APP`, plain.
pub(crate) fn service(app: &str) -> Value {
    service_in("shop", app, 80, 8080)
}

/// `shop/secure`, TLS.
pub(crate) fn secure_service() -> Value {
    service_in("shop", "secure", 443, 8443)
}

pub(crate) fn service_in(namespace: &str, app: &str, port: u16, target: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": app},
        "spec": {
            "selector": {"app": app}, "ipFamilies": ["IPv4"],
            "ports": [{"name": "main", "port": port, "targetPort": target, "protocol": "TCP"}],
        },
    })
}

pub(crate) fn secret(name: &str, certificate: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"namespace": "shop", "name": name},
        "data": {"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key)},
    })
}

/// `shop/NAME` for a host, without TLS.
pub(crate) fn route(name: &str, host: &str, service: &str) -> Value {
    route_in("shop", name, host, service)
}

pub(crate) fn route_in(namespace: &str, name: &str, host: &str, service: &str) -> Value {
    json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "host": host, "to": {"kind": "Service", "name": service, "weight": 100}, "wildcardPolicy": "None",
        },
    })
}

/// The same Route with a TLS section.
pub(crate) fn with_tls(mut route: Value, tls: Value) -> Value {
    route["spec"]["tls"] = tls;
    route
}

/// The TLS section of edge termination with the certificate in it.
pub(crate) fn edge(identity: &Identity) -> Value {
    json!({"termination": "edge", "certificate": identity.certificate, "key": identity.key})
}

/// The same object with an annotation.
pub(crate) fn annotated(mut object: Value, name: &str, value: &str) -> Value {
    object["metadata"]["annotations"][name] = json!(value);
    object
}

/// The same object, created a month later: the claim that loses.
pub(crate) fn later(mut object: Value) -> Value {
    object["metadata"]["creationTimestamp"] = json!("2026-02-01T00:00:00Z");
    object
}

/// `shop/NAME` with rules: path, pathType, Service.
pub(crate) fn ingress(name: &str, host: &str, paths: &[(&str, &str, &str)]) -> Value {
    let paths: Vec<Value> = paths
        .iter()
        .map(|(path, kind, service)| {
            json!({"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"name": "main"}}}})
        })
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"namespace": "shop", "name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"ingressClassName": "nearside", "rules": [{"host": host, "http": {"paths": paths}}]},
    })
}
