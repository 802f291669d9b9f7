//! `kubectl apply -k` against an API server: everything is accepted, and a second time nothing is changed.

use crate::tools::{ok, tool};
use nearside_loadtest::api::{ApiServer, ObjectRef, Options};
use serde_json::Value;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn the_manifests_install_with_one_command_and_a_second_time_change_nothing() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let home = TempDir::new().unwrap();
    let config = home.path().join("config");
    std::fs::write(&config, server.kubeconfig_yaml()).unwrap();
    let apply = |overlay: &str| {
        let mut kubectl = tool("kubectl");
        kubectl.env("KUBECONFIG", &config).env("HOME", home.path());
        kubectl.args(["apply", "-k", &format!("deploy/{overlay}")]);
        kubectl
    };
    let first = tokio::task::block_in_place(|| ok(&mut apply("manifests")));
    assert!(first.lines().all(|line| line.ends_with(" created") || line.ends_with(" configured")), "{first}");
    assert!(first.contains("daemonset.apps/nearside-proxy created"), "{first}");
    let versions = || -> Vec<Value> {
        let budget = |name| server.get(ObjectRef::new("policy/v1", "PodDisruptionBudget", "nearside", name)).unwrap();
        ["nearside-controller", "nearside-dns-sync"]
            .map(|name| budget(name)["metadata"]["resourceVersion"].clone())
            .into()
    };
    let before = versions();
    let second = tokio::task::block_in_place(|| ok(&mut apply("manifests")));
    // kubectl replaces the selector of a budget each time, by an equal one: the server then changes nothing.
    let kept = |line: &str| line.ends_with(" unchanged") || line.starts_with("poddisruptionbudget.policy/");
    assert!(second.lines().all(kept), "{second}");
    assert_eq!(versions(), before);
    assert_eq!(first.lines().count(), second.lines().count());
    let proxy = server.get(ObjectRef::new("apps/v1", "DaemonSet", "nearside", "nearside-proxy")).unwrap();
    assert_eq!(proxy["spec"]["template"]["spec"]["hostNetwork"], true);
}
