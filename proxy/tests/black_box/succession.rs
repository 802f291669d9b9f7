//! One proxy takes over from another on the same node, as in a rolling update with a surge: same ports, and no client notices.

use super::support::client::get_h2;
use super::support::manifests::{pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const HOST: &str = "web.example.com";

/// The exit code of a probe at this socket, and what it says.
fn probe(what: &str, socket: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearside-proxy"));
    command.env_clear().env("NEARSIDE_ADMIN_SOCKET", socket).arg(format!("--probe={what}"));
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_follow_each_other_on_the_same_ports_without_a_failed_request() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let folder = TempDir::new().unwrap();
    let socket = |turn: usize| folder.path().join(format!("{turn}.sock"));
    let start = |turn: usize, ports: &[String]| {
        let own = [format!("--admin-socket={}", socket(turn).display()), "--share-ports".into()];
        let flags: Vec<&str> = own.iter().chain(ports).map(String::as_str).collect();
        Proxy::start(&manifests, &[&flags[..], &["--shutdown-delay=200ms", "--drain-timeout=60s"]].concat())
    };
    let mut current = start(0, &[]);
    let ports = [("http", current.http), ("https", current.https), ("admin", current.admin)];
    let ports = ports.map(|(name, address)| format!("--{name}-listen={address}"));
    let (http, ended, served) = (current.http, Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for client in 0..4 {
        let (ended, served) = (Arc::clone(&ended), Arc::clone(&served));
        load.spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let reply = if client % 2 == 0 {
                    get(http, HOST, "/").await
                } else {
                    let stream = TcpStream::connect(http).await.unwrap();
                    get_h2(stream, &format!("http://{HOST}/")).await
                };
                assert_eq!(reply.status, 200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for turn in 1..4 {
        let next = start(turn, &ports);
        assert_eq!(probe("live", &socket(turn)), (Some(0), String::new()));
        assert_eq!(probe("ready", &socket(turn)), (Some(0), String::new()));
        current.terminate();
        let left = || async { probe("ready", &socket(turn - 1)).1.contains("shutting down").then_some(()) };
        eventually("the one that ends says so at its own socket", left).await;
        assert_eq!(probe("live", &socket(turn - 1)).0, Some(0), "it serves on until it has drained");
        assert_eq!(current.ended().await.code(), Some(0));
        let page = || async {
            TcpStream::connect(next.admin).await.ok()?;
            (next.page("/healthz/ready").await.0 == 200).then_some(())
        };
        eventually("the admin port is the next one's", page).await;
        let (before, seen) = (served.load(Ordering::Relaxed), Arc::clone(&served));
        eventually("requests go on", || async { (seen.load(Ordering::Relaxed) > before + 10).then_some(()) }).await;
        current = next;
    }
    ended.store(true, Ordering::Relaxed);
    load.join_all().await;
}

#[tokio::test]
async fn a_probe_of_nobody_fails_and_says_why() {
    let folder = TempDir::new().unwrap();
    let (code, said) = probe("ready", &folder.path().join("nobody.sock"));
    assert!(code == Some(1) && said.contains("nobody.sock"), "{said}");
    let (code, said) = probe("well", &folder.path().join("nobody.sock"));
    assert!(code == Some(2) && said.contains("live, ready"), "{said}");
}

#[tokio::test]
async fn without_sharing_a_second_proxy_does_not_get_the_ports() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let first = Proxy::start(&manifests, &["--share-ports"]);
    let mut second = Command::new(env!("CARGO_BIN_EXE_nearside-proxy"));
    second.env_clear().args(["--node-name=n1", "--admin-listen=127.0.0.1:0", "--https-listen=127.0.0.1:0"]);
    let output = second.arg("--manifests").arg(manifests.path()).arg(format!("--http-listen={}", first.http)).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("another program uses the port"), "{said}");
}
