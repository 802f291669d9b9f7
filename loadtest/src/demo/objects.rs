//! The Kubernetes objects of the demo: Namespaces, IngressClass, Services, Secrets, Routes and Ingresses of every kind. Pure but for
//! the certificates, which are made on the spot. Called by `stage`.

use crate::certificates::{Identity, TestCa};
use crate::lab::cluster::ROUTER_NAMESPACE;
use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The certificates that the demo's hosts show.
pub(super) struct Certificates {
    pub(super) ca: TestCa,
    /// For every host right below the zone, aliases included.
    apps: Identity,
    tenants: Identity,
    /// For the TLS pods themselves: the passthrough host and its aliases, and their Service's name for reencrypt.
    pub(super) pods: Identity,
}

impl Certificates {
    pub(super) fn new() -> Result<Self> {
        let ca = TestCa::new("Nearside demo CA")?;
        Ok(Self {
            apps: ca.identity(&["*.apps.example.com"])?,
            tenants: ca.identity(&["*.tenants.apps.example.com"])?,
            pods: ca.identity(&["*.apps.example.com", "secure.demo.svc", "secure.demo.svc.cluster.local"])?,
            ca,
        })
    }
}

/// Everything but nodes and pods, in the order of creation.
pub(super) fn all(certificates: &Certificates) -> Vec<Value> {
    let apps = &certificates.apps;
    let edge = json!({
        "termination": "edge", "certificate": apps.certificate, "key": apps.key, "insecureEdgeTerminationPolicy": "Redirect",
    });
    let reencrypt = json!({
        "termination": "reencrypt", "certificate": apps.certificate, "key": apps.key,
        "destinationCACertificate": certificates.ca.certificate(),
    });
    let mut objects: Vec<Value> = ["demo", "rival", ROUTER_NAMESPACE].iter().map(|name| namespace(name)).collect();
    objects.push(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "nearside"},
        "spec": {"controller": "nearside.dev/ingress"},
    }));
    objects.extend(["web", "video", "mover"].map(|app| service("demo", app, 80, 8080)));
    objects.push(service("demo", "secure", 443, 8443));
    objects.push(service("rival", "rival", 80, 8080));
    objects.push(secret("apps-tls", apps));
    objects.push(secret("tenants-tls", &certificates.tenants));
    objects.push(route("demo", "plain", "plain", "web", &Value::Null));
    objects.push(route("demo", "video", "video", "video", &edge));
    objects.push(route("demo", "passthrough", "passthrough", "secure", &json!({"termination": "passthrough"})));
    objects.push(route("demo", "reencrypt", "reencrypt", "secure", &reencrypt));
    objects.push(route("demo", "moving", "moving", "mover", &edge));
    objects.push(route("demo", "claimed", "claimed", "web", &Value::Null));
    objects.push(later(route("rival", "claimed", "claimed", "rival", &Value::Null)));
    objects.push(ingress("files", "files.apps.example.com", None, &[("/", "Prefix", "web")]));
    let shop = [("/api", "Exact", "web"), ("/media", "Prefix", "video"), ("/", "Prefix", "web")];
    objects.push(ingress("shop", "shop.apps.example.com", Some("apps-tls"), &shop));
    objects.push(ingress("tenants", "*.tenants.apps.example.com", Some("tenants-tls"), &[("/", "Prefix", "web")]));
    objects
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}})
}

fn service(namespace: &str, app: &str, port: u16, target: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": app},
        "spec": {
            "selector": {"app": app},
            "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{"name": "main", "port": port, "targetPort": target, "protocol": "TCP"}],
        },
    })
}

fn secret(name: &str, identity: &Identity) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"namespace": "demo", "name": name},
        "data": {"tls.crt": STANDARD.encode(&identity.certificate), "tls.key": STANDARD.encode(&identity.key)},
    })
}

fn route(namespace: &str, name: &str, label: &str, service: &str, tls: &Value) -> Value {
    let mut route = json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "host": format!("{label}.{}", super::hosts::ZONE),
            "to": {"kind": "Service", "name": service, "weight": 100},
            "wildcardPolicy": "None",
        },
    });
    if !tls.is_null() {
        route["spec"]["tls"] = tls.clone();
    }
    route
}

/// The same object, created a month later: the claim that loses.
fn later(mut object: Value) -> Value {
    object["metadata"]["creationTimestamp"] = json!("2026-02-01T00:00:00Z");
    object
}

fn ingress(name: &str, host: &str, secret: Option<&str>, paths: &[(&str, &str, &str)]) -> Value {
    let paths: Vec<Value> = paths
        .iter()
        .map(|(path, kind, service)| {
            let backend = json!({"service": {"name": service, "port": {"name": "main"}}});
            json!({"path": path, "pathType": kind, "backend": backend})
        })
        .collect();
    let mut ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": "demo", "name": name},
        "spec": {"ingressClassName": "nearside", "rules": [{"host": host, "http": {"paths": paths}}]},
    });
    if let Some(secret) = secret {
        ingress["spec"]["tls"] = json!([{"hosts": [host], "secretName": secret}]);
    }
    ingress
}
