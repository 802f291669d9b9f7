//! Nearside on a directory of manifests: a site comes in, the objects and a command come out.

use super::{HOST, Site, foreign};
use crate::programs::Launch;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

pub(super) fn launch(program: &Path, site: &Site<'_>) -> Result<Launch> {
    let manifests = site.directory.join("manifests");
    fs::create_dir_all(&manifests).with_context(|| format!("cannot make {}", manifests.display()))?;
    let identity = &site.world.identity;
    let tls = json!({
        "termination": "edge", "insecureEdgeTerminationPolicy": "Allow",
        "certificate": identity.certificate, "key": identity.key,
    });
    let mut objects = vec![service("main"), route("main", HOST, Some(tls)), pod(site.world.backend)];
    for (at, host) in site.other_hosts().enumerate() {
        let name = format!("r{at}");
        objects.extend([service(&name), route(&name, &host, None)]);
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    site.write("manifests/objects.json", &list.to_string())?;
    let mut arguments = vec![
        "--node-name=n1".to_owned(),
        format!("--manifests={}", manifests.display()),
        format!("--http-listen={}", site.http),
        format!("--https-listen={}", site.https),
        format!("--admin-listen={}", site.admin),
        "--allow-endpoints=127.0.0.0/8".to_owned(),
        "--access-log=off".to_owned(),
        // All clients are one.
        "--max-connections-per-source=off".to_owned(),
    ];
    arguments.extend(site.world.flags.iter().cloned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Ok(foreign("nearside-proxy", program, &arguments))
}

fn metadata(name: &str) -> Value {
    json!({ "namespace": "bench", "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z" })
}

/// Every Service has the same pod behind it.
fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(name),
        "spec": { "selector": { "app": "pod" }, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
    })
}

fn route(name: &str, host: &str, tls: Option<Value>) -> Value {
    let mut spec = json!({ "host": host, "to": { "kind": "Service", "name": name } });
    if let Some(tls) = tls {
        spec["tls"] = tls;
    }
    json!({ "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": metadata(name), "spec": spec })
}

fn pod(address: SocketAddr) -> Value {
    let mut metadata = metadata("pod");
    metadata["labels"] = json!({ "app": "pod" });
    let ip = address.ip().to_string();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": { "nodeName": "n1", "containers": [{ "name": "app", "ports": [{ "name": "http", "containerPort": address.port() }] }] },
        "status": { "podIP": ip, "podIPs": [{ "ip": ip }], "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}
