//! Rules for the bills of materials that `make sbom` writes: they say of each program what cargo links into it, in the versions and with
//! the checksums of Cargo.lock, and the same each time.

use crate::tree;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn a_bill_of_materials_says_what_is_linked_into_its_program() {
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(first.path());
    write(second.path());
    let lock = tree::text("Cargo.lock").unwrap();
    for program in ["nearside-proxy", "nearside-controller", "nearside-dns-sync"] {
        let file = format!("{program}.cdx.json");
        let bytes = std::fs::read(first.path().join(&file)).unwrap();
        assert_eq!(bytes, std::fs::read(second.path().join(&file)).unwrap(), "{program} is told differently each time");
        let bill: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
        assert_eq!(bill["metadata"]["component"]["name"], program);
        let components = bill["components"].as_array().unwrap();
        for component in components {
            is_locked(&lock, component);
        }
        let told: BTreeSet<String> =
            components.iter().map(|one| format!("{} {}", text(one, "name"), text(one, "version"))).collect();
        let linked = linked(program);
        assert!(linked.len() > 100, "what cargo links into {program} was not found");
        let missing: Vec<_> = linked.difference(&told).collect();
        assert!(missing.is_empty(), "{program} holds {missing:?}, which its bill of materials does not name");
        let references: BTreeSet<&str> = components.iter().map(|one| text(one, "bom-ref")).collect();
        let used = bill["dependencies"].as_array().unwrap().iter().flat_map(|one| one["dependsOn"].as_array().unwrap());
        for reference in used.filter_map(Value::as_str) {
            assert!(references.contains(reference), "{program} uses {reference}, which is no component");
        }
    }
}

fn write(folder: &Path) {
    let script = tree::root().join("scripts/bill_of_materials.py");
    let done = Command::new("python3").arg(script).arg(folder).env("SOURCE_DATE_EPOCH", "1700000000").output();
    let done = done.expect("python3 (scripts/setup test)");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn text<'c>(component: &'c Value, field: &str) -> &'c str {
    component[field].as_str().unwrap_or_default()
}

/// That a crate is in Cargo.lock with this checksum; those of the workspace have none.
fn is_locked(lock: &str, component: &Value) {
    let (name, version) = (text(component, "name"), text(component, "version"));
    let head = format!("name = \"{name}\"\nversion = \"{version}\"\n");
    let entry = lock.split("[[package]]\n").find(|entry| entry.starts_with(&head));
    let entry = entry.unwrap_or_else(|| panic!("{name} {version} is not in Cargo.lock"));
    match component.pointer("/hashes/0/content").and_then(Value::as_str) {
        Some(checksum) => assert!(entry.contains(&format!("checksum = \"{checksum}\"")), "{name} {version}"),
        None => assert!(!entry.contains("source = "), "{name} {version} comes from elsewhere and has no checksum"),
    }
    let licence = component.pointer("/licenses/0/expression").and_then(Value::as_str).unwrap_or_default();
    assert!(!licence.is_empty(), "{name} {version} has no licence");
}

/// What cargo says that it links into a program, as names with versions.
fn linked(program: &str) -> BTreeSet<String> {
    let arguments =
        ["tree", "--locked", "--offline", "--prefix", "none", "--edges", "normal,no-proc-macro", "--no-dedupe"];
    let target = ["--target", "x86_64-unknown-linux-gnu", "--format", "{p}", "--package", program];
    let told = Command::new(env!("CARGO")).args(arguments).args(target).current_dir(tree::root()).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let lines = String::from_utf8(told.stdout).unwrap();
    let packages = lines.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?.strip_prefix('v')?))
    });
    packages.filter(|package| !package.starts_with(&format!("{program} "))).collect()
}
