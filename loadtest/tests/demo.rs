//! The demo as a newcomer runs it: in network namespaces as root, otherwise on loopback addresses. It must end well.

#![allow(clippy::unwrap_used)]

use nearside_loadtest::programs;
use std::process::Command;

#[test]
fn every_request_is_answered_and_no_byte_crosses() {
    let report = tempfile::tempdir().unwrap();
    let demo = Command::new(programs::binary("nearside-loadtest").unwrap())
        .args(["demo", "--report"])
        .arg(report.path())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{shown}\n{}", String::from_utf8_lossy(&demo.stderr));
    assert!(shown.lines().any(|line| line == "response bytes between nodes: 0"), "{shown}");
    assert!(report.path().join("report.md").exists() && report.path().join("report.json").exists());
}
