//! The same tests on a cluster that `KUBECONFIG` names: here a server that is a process of its own, over TLS and with roles. What is
//! asserted is that they pass there as they do on servers of their own, and that nothing of them is left.

use nearside_loadtest::lab::Place;
use nearside_loadtest::lab::cluster::RUN_LABEL;
use nearside_loadtest::programs::Launch;
use nearside_loadtest::rest::{Kubeconfig, Rest};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_served_on_a_cluster_given_by_kubeconfig() {
    pass_on_a_cluster(&[
        "bad_input::each_bad_object_is_named_and_the_good_ones_are_served_from_the_api",
        "certificates::an_open_connection_goes_on_and_a_new_one_sees_the_new_certificate_from_the_api",
        "claims::the_older_claim_wins_and_passes_on_when_it_is_deleted_from_the_api",
        "matching::ingresses_match_exact_prefix_wildcard_and_default_from_the_api",
        "tls::each_mode_is_served_with_its_certificate_from_the_api",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_come_and_go_and_faults_are_met_on_a_cluster_given_by_kubeconfig() {
    pass_on_a_cluster(&[
        "api_server::no_request_fails_when_watches_end_and_their_history_is_gone",
        "pods::readiness_decides_what_is_served_and_published_from_the_api",
        "pods::the_last_pod_serves_until_it_is_gone",
        "redirect::a_client_is_sent_to_the_alias_of_a_node_that_holds_the_pod_from_the_api",
        "start::programs_wait_for_an_api_server_that_is_not_there_yet",
    ])
    .await;
}

async fn pass_on_a_cluster(tests: &[&str]) {
    if std::env::var_os("NEARSIDE_TEST_CLUSTER").is_some() {
        eprintln!("SKIPPED: these tests are on a cluster already");
        return;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root for addresses that a real API server takes");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let flags = ["api".to_owned(), "--listen=127.0.0.1:0".to_owned(), format!("--kubeconfig={}", kubeconfig.display())];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let launch = Launch::new("nearside-loadtest", "api", &Place::host(), &flags).unwrap();
    let mut server = launch.start(directory.path()).unwrap();
    while !kubeconfig.exists() {
        server.check().unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--test-threads=1", "--exact"])
        .args(tests)
        .env("KUBECONFIG", &kubeconfig)
        .env("NEARSIDE_TEST_CLUSTER", "1")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains(&format!("test result: ok. {} passed", tests.len())),
        "not all of {tests:?} were found: {told}"
    );
    nothing_is_left(&kubeconfig);
}

fn nothing_is_left(kubeconfig: &Path) {
    let rest = Rest::new(&Kubeconfig::read(kubeconfig).unwrap()).unwrap();
    for (api_version, kind) in [
        ("v1", "Namespace"),
        ("v1", "Node"),
        ("coordination.k8s.io/v1", "Lease"),
        ("networking.k8s.io/v1", "IngressClass"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ] {
        let left = rest.list(api_version, kind, "", RUN_LABEL).unwrap();
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
    assert!(rest.list("route.openshift.io/v1", "Route", "", "").unwrap().is_empty());
}
