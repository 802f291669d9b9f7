//! Rules for dependencies: which crate may use which, the one door of each foreign library, and the oldest versions without
//! known faults.

use crate::tree;
use std::collections::BTreeSet;

/// Every crate, and the crates of ours that it uses outside tests.
const EDGES: [(&str, &[&str]); 7] = [
    ("routing", &[]),
    ("admin", &[]),
    ("watch", &["routing"]),
    ("proxy", &["admin", "routing", "watch"]),
    ("controller", &["admin", "routing", "watch"]),
    ("dns-sync", &["admin", "watch"]),
    ("loadtest", &[]),
];

/// The one crate that tests of any other may use: it plays the outside world.
const OF_TESTS: &str = "loadtest";

/// What a source says when it names a library, and the only places outside tests that may: files, or all below a prefix.
const DOORS: [(&str, &[&str]); 8] = [
    (
        "pingora::",
        &[
            "proxy/src/accept.rs",
            "proxy/src/accept/below.rs",
            "proxy/src/accept/client_stream.rs",
            "proxy/src/accept/http1_stream.rs",
            "proxy/src/accept/http2_stream.rs",
            "proxy/src/accept/requests.rs",
            "proxy/src/accept/tls_stream.rs",
            "proxy/src/ending.rs",
            "proxy/src/health/probe.rs",
            "proxy/src/http.rs",
            "proxy/src/http/body.rs",
            "proxy/src/http/direct",
            "proxy/src/http/downstream_header.rs",
            "proxy/src/http/affinity.rs",
            "proxy/src/http/failure.rs",
            "proxy/src/http/fields.rs",
            "proxy/src/http/gzip.rs",
            "proxy/src/http/header_case.rs",
            "proxy/src/http/old_clients.rs",
            "proxy/src/http/peer.rs",
            "proxy/src/http/phases.rs",
            "proxy/src/http/pod_stream.rs",
            "proxy/src/http/relay.rs",
            "proxy/src/http/response_head.rs",
            "proxy/src/http/queue.rs",
            "proxy/src/http/subrequest.rs",
            "proxy/src/http/tunnel.rs",
            "proxy/src/http/upstream_header.rs",
            "proxy/src/http/websocket.rs",
            "proxy/src/server.rs",
            "proxy/src/trace/export.rs",
            "proxy/src/upstream_tls.rs",
        ],
    ),
    ("kube::", &["watch/src/source.rs", "watch/src/cluster", "controller/src/leader.rs", "controller/src/writer"]),
    ("hickory_proto::", &["dns-sync/src/wire", "loadtest/src/"]),
    ("hickory_resolver::", &["dns-sync/src/verify"]),
    (
        "rustls::",
        &[
            "admin/src/arguments.rs",
            "admin/src/tls.rs",
            "proxy/src/tls",
            "proxy/src/accept/client_hello.rs",
            "proxy/src/accept/tls_stream.rs",
            "proxy/src/kernel_tls",
            "proxy/src/lib.rs",
            "routing/src/certificate",
            "loadtest/src/",
        ],
    ),
    ("landlock::", &["proxy/src/sandbox/files.rs"]),
    ("notify::", &["watch/src/manifests"]),
    ("seccompiler::", &["proxy/src/sandbox/system_calls.rs"]),
];

/// Versions below these have published advisories (RustSec). Only crates that are in the tree; `make audit` knows the rest.
const FLOORS: [(&str, [u64; 3]); 11] = [
    ("bytes", [1, 11, 1]),
    ("h2", [0, 4, 16]),
    ("hickory-proto", [0, 26, 1]),
    ("lru", [0, 18, 2]),
    ("ring", [0, 17, 12]),
    ("rustls", [0, 23, 18]),
    ("rustls-webpki", [0, 103, 13]),
    ("slab", [0, 4, 11]),
    ("time", [0, 3, 47]),
    ("tokio", [1, 44, 2]),
    ("tracing-subscriber", [0, 3, 20]),
];

/// Versions that the code is written against to the digit: what it relies on is not promised by their version numbers.
const PINS: [(&str, [u64; 3]); 4] = [
    ("hickory-proto", [0, 26, 3]),
    ("hickory-resolver", [0, 26, 3]),
    ("pingora", [0, 9, 1]),
    ("pingora-core", [0, 9, 1]),
];

#[test]
fn crates_use_each_other_in_one_direction() {
    let members: BTreeSet<String> = tree::files()
        .iter()
        .filter_map(|path| {
            // The fuzz targets are a workspace of their own, and part of no program.
            let folder = path.strip_suffix("/Cargo.toml").filter(|folder| !folder.contains('/') && *folder != "fuzz");
            folder.map(ToOwned::to_owned)
        })
        .collect();
    assert_eq!(members, EDGES.iter().map(|(name, _)| (*name).to_owned()).collect(), "the crates of this repository");
    for (name, wanted) in EDGES {
        let manifest = tree::text(&format!("{name}/Cargo.toml")).unwrap();
        let (of_tests, used) = uses(&manifest);
        let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(used, wanted, "what {name} uses of ours");
        let foreign: Vec<_> = of_tests.iter().filter(|used| *used != OF_TESTS && !wanted.contains(*used)).collect();
        assert!(foreign.is_empty(), "the tests of {name} may use {OF_TESTS} and use {foreign:?}");
    }
}

#[test]
fn a_foreign_library_comes_in_through_its_door() {
    let sources = tree::sources();
    for (library, doors) in DOORS {
        let names = |text: &str| text.lines().any(|line| !is_comment(line) && mentions(line, library));
        let naming: Vec<&String> = sources.iter().filter(|(_, text)| names(text)).map(|(path, _)| path).collect();
        for path in &naming {
            let of_tests = path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("/fuzzing.rs");
            let allowed = doors.iter().any(|door| path.starts_with(door));
            assert!(allowed || of_tests, "{path} names {library}, which comes in only through {doors:?}");
        }
        for door in doors {
            assert!(naming.iter().any(|path| path.starts_with(door)), "nothing comes in through {door} for {library}");
        }
    }
}

#[test]
fn no_dependency_is_older_than_its_last_known_fault() {
    let lock = tree::text("Cargo.lock").unwrap();
    for (name, floor) in FLOORS {
        let versions = versions(&lock, name);
        assert!(!versions.is_empty(), "{name} is not in the tree: its floor has no purpose");
        for version in versions {
            assert!(numbers(&version) >= floor, "{name} {version} is older than {floor:?}");
        }
    }
    for (name, pin) in PINS {
        let found: Vec<[u64; 3]> = versions(&lock, name).iter().map(|version| numbers(version)).collect();
        assert_eq!(found, [pin], "{name} is pinned");
    }
}

#[test]
fn there_is_one_tls_stack() {
    let lock = tree::text("Cargo.lock").unwrap();
    for name in ["rustls", "ring", "hickory-proto", "pingora-core", "kube-client", "h2", "tokio"] {
        let versions = versions(&lock, name);
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
    for name in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "reqwest", "hickory-recursor"] {
        assert!(versions(&lock, name).is_empty(), "{name} is in the tree");
    }
}

/// The crates of ours that a manifest names: those of tests, and those of the program (also under a target or for a build).
fn uses(manifest: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut of_tests, mut used) = (BTreeSet::new(), BTreeSet::new());
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        // Either a line of the section, or a section of its own: `[dependencies.nearside-routing]`.
        let entry = if line.starts_with('[') { line.rsplit("dependencies.").next() } else { Some(line) };
        let Some(rest) = entry.and_then(|entry| entry.strip_prefix("nearside-")) else { continue };
        let name = rest.split(['.', ' ', '=', ']']).next().unwrap_or_default().to_owned();
        if section.contains("dev-dependencies") {
            of_tests.insert(name);
        } else if section.contains("dependencies") {
            used.insert(name);
        }
    }
    (of_tests, used)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Whether a line names a library, and not another one whose name ends the same.
fn mentions(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The versions of a crate in the lock file.
fn versions(lock: &str, name: &str) -> Vec<String> {
    let head = format!("name = \"{name}\"");
    let after = lock.lines().zip(lock.lines().skip(1)).filter(|(line, _)| *line == head).map(|(_, next)| next);
    after.filter_map(|line| Some(line.strip_prefix("version = ")?.trim_matches('"').to_owned())).collect()
}

/// `1.2.3-rc.1` as `[1, 2, 3]`.
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}
