//! Rules for dependencies: which crate may use which, the one door of each foreign library, and the oldest versions without
//! known faults.

use crate::tree;
use std::collections::BTreeSet;

/// Crate, and the crates of ours that it may use outside tests.
const EDGES: [(&str, &[&str]); 7] = [
    ("routing", &[]),
    ("admin", &[]),
    ("watch", &["routing"]),
    ("proxy", &["admin", "routing", "watch"]),
    ("controller", &["admin", "routing", "watch"]),
    ("dns-sync", &["admin", "watch"]),
    ("loadtest", &[]),
];

/// What a source says when it names a library, and the only places outside tests that may.
const DOORS: [(&str, &[&str]); 5] = [
    (
        "pingora::",
        &[
            "proxy/src/accept.rs",
            "proxy/src/accept/client_stream.rs",
            "proxy/src/http.rs",
            "proxy/src/http/",
            "proxy/src/main.rs",
            "proxy/src/server.rs",
            "proxy/src/upstream_tls.rs",
        ],
    ),
    ("kube::", &["watch/src/source.rs", "watch/src/cluster", "controller/src/leader.rs", "controller/src/writer"]),
    ("hickory_proto::", &["dns-sync/src/wire", "loadtest/"]),
    ("rustls::", &["proxy/src/tls", "proxy/src/accept/client_hello.rs", "proxy/src/main.rs", "loadtest/"]),
    ("notify::", &["watch/src/manifests"]),
];

/// Versions below these have published advisories (RustSec), or are pinned because the next one breaks.
const FLOORS: [(&str, [u64; 3]); 10] = [
    ("bytes", [1, 11, 1]),
    ("h2", [0, 4, 16]),
    ("hickory-proto", [0, 26, 3]),
    ("lru", [0, 16, 3]),
    ("pingora", [0, 9, 1]),
    ("protobuf", [3, 7, 2]),
    ("ring", [0, 17, 12]),
    ("rustls", [0, 23, 18]),
    ("rustls-webpki", [0, 103, 13]),
    ("tokio", [1, 44, 2]),
];

#[test]
fn crates_use_each_other_in_one_direction() {
    for (name, allowed) in EDGES {
        let manifest = tree::text(&format!("{name}/Cargo.toml")).unwrap();
        let used: BTreeSet<String> = section(&manifest, "[dependencies]")
            .filter_map(|line| line.strip_prefix("nearside-")?.split(['.', ' ', '=']).next().map(ToOwned::to_owned))
            .collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        assert!(used.is_subset(&allowed), "{name} may use {allowed:?} and uses {used:?}");
    }
}

#[test]
fn a_foreign_library_comes_in_through_its_door() {
    for (path, text) in tree::sources() {
        let of_tests = path.contains("/tests/") || path.ends_with("/tests.rs");
        for (library, doors) in DOORS {
            let names = text.lines().any(|line| !line.trim_start().starts_with("//") && mentions(line, library));
            let allowed = doors.iter().any(|door| path.starts_with(door));
            assert!(!names || allowed || of_tests, "{path} names {library}, which comes in only through {doors:?}");
        }
    }
}

#[test]
fn no_dependency_is_older_than_its_last_known_fault() {
    let lock = tree::text("Cargo.lock").unwrap();
    let packages = packages(&lock);
    for (name, floor) in FLOORS {
        for (_, version) in packages.iter().filter(|(package, _)| package == name) {
            let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
            let found: [u64; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
            assert!(found >= floor, "{name} {version} is older than {floor:?}");
        }
    }
}

#[test]
fn there_is_one_tls_stack() {
    let lock = tree::text("Cargo.lock").unwrap();
    let packages = packages(&lock);
    for name in ["rustls", "ring", "hickory-proto", "pingora-core", "kube-client", "h2", "tokio"] {
        let versions: Vec<&String> = packages.iter().filter(|(package, _)| package == name).map(|(_, v)| v).collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
    for name in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "reqwest", "hickory-recursor"] {
        assert!(packages.iter().all(|(package, _)| package != name), "{name} is in the tree");
    }
}

/// The lines of a section of a manifest.
fn section<'t>(manifest: &'t str, head: &'t str) -> impl Iterator<Item = &'t str> {
    manifest.lines().skip_while(move |line| line.trim() != head).skip(1).take_while(|line| !line.starts_with('['))
}

/// Whether a line names a library, and not another one whose name ends the same.
fn mentions(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn packages(lock: &str) -> Vec<(String, String)> {
    let value = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches('"').to_owned());
    let lines: Vec<&str> = lock.lines().collect();
    let pairs = lines.windows(2).filter_map(|two| Some((value(two[0], "name = ")?, value(two[1], "version = ")?)));
    pairs.collect()
}
