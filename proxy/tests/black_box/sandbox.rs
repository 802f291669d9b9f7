//! A proxy that reads no cluster shuts itself in, and serves all the same.

use super::support::manifests::{pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, get};
use serde_json::json;
use std::process::Command;

/// A line of `/proc/PID/status`.
fn status(proxy: &Proxy, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.process())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

#[tokio::test]
async fn a_proxy_that_shut_itself_in_serves_and_one_that_may_not_does_not_start() {
    let (_pod, address) = echo_pod("web-1");
    let host = "web.example.com";
    let manifests = Manifests::with(&[route("web", host, json!({})), service("web"), pod("web", "web-1", address)]);
    for (flag, seccomp) in [("--sandbox=required", "2"), ("--sandbox=false", "0")] {
        let proxy = Proxy::start(&manifests, &[flag]);
        assert_eq!(get(proxy.http, host, "/").await.status, 200);
        assert_eq!(status(&proxy, "Seccomp"), seccomp, "{flag}");
        if flag.ends_with("required") {
            assert_eq!(status(&proxy, "NoNewPrivs"), "1");
        }
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearside-proxy"));
    let output = command.env_clear().args(["--node-name=n1", "--sandbox=required"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("--sandbox") && said.contains("--objects-from"), "{said}");
}
