//! The DNS lab with scaled times: in network namespaces as root, otherwise on loopback addresses. No request may fail, whatever the
//! clients' caching habits.

#![allow(clippy::unwrap_used)]

use nearside_loadtest::programs;
use std::process::Command;

#[test]
fn no_request_fails_while_pods_move_and_routers_and_nodes_go_whatever_the_clients_caching_habits() {
    let report = tempfile::tempdir().unwrap();
    let lab = Command::new(programs::binary("nearside-loadtest").unwrap())
        .args(["lab", "dns", "--rate", "2", "--report"])
        .arg(report.path())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&lab.stdout);
    let timeline = std::fs::read_to_string(report.path().join("dns-lab.md")).unwrap_or_default();
    assert!(lab.status.success(), "{shown}\n{}\n{timeline}", String::from_utf8_lossy(&lab.stderr));
    assert!(report.path().join("dns-lab.json").exists());
}
