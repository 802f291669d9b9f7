//! Every object of every overlay and of every set of values, judged by the schemas of all Kubernetes versions that we support.

use crate::chart::values;
use crate::objects::template;
use crate::tools::{ok, refused, script, tool};
use std::process::Command;
use tempfile::TempDir;

#[test]
fn every_overlay_validates_strictly() {
    for overlay in ["manifests", "openshift", "monitoring", "external-dns"] {
        validates(overlay, &ok(tool("kubectl").args(["kustomize", &format!("deploy/{overlay}")])));
    }
}

#[test]
fn unusual_values_validate_strictly() {
    for values in values() {
        let name = values.clone().unwrap_or_default();
        validates(&name, &ok(&mut template(&values.iter().map(String::as_str).collect::<Vec<_>>())));
    }
}

#[test]
fn what_a_server_would_not_know_is_named() {
    let folder = TempDir::new().unwrap();
    let complaint = |text: &str| {
        let file = folder.path().join("objects.yaml");
        std::fs::write(&file, text).unwrap();
        refused(script("validate-manifests").arg(&file))
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: 80}\n";
    assert!(complaint(service).contains("Service a (1.30): spec: "), "{}", complaint(service));
    let monitor = "apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nmetadata: {name: a}\nspec: {selector: {}}\n";
    assert!(complaint(monitor).contains("PodMonitor a: spec"), "{}", complaint(monitor));
    let unknown = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n";
    assert!(complaint(unknown).contains("Thing"), "{}", complaint(unknown));
}

fn validates(name: &str, text: &str) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("objects.yaml");
    std::fs::write(&file, text).unwrap();
    let said = ok(Command::arg(&mut script("validate-manifests"), &file));
    assert!(said.ends_with(" 0 mistakes\n") && !said.starts_with("0 objects"), "{name}: {said}");
}
