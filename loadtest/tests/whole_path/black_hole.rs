//! The network between a program and the API server swallows everything, without a word to either: the program notices within half a
//! minute, by the kernel's own probes of its connections, goes on with what it knows, and comes back by itself.

use crate::stage::PATIENCE;
use nearside_loadtest::api::{ApiServer, Options};
use nearside_loadtest::lab::Network;
use nearside_loadtest::lab::network::Size;
use nearside_loadtest::programs::{Launch, get};
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_everything_is_noticed_and_the_program_comes_back() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root for network namespaces");
        return;
    }
    let network = Network::namespaces(Size { nodes: 1, clients: 1 }).unwrap();
    let (control, place) = (network.control().clone(), network.nodes()[0].place().clone());
    let listener = control.tcp_listener(SocketAddr::new(control.address(), 6443)).unwrap();
    let api = ApiServer::start_on(vec![listener], Options::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    fs::write(&kubeconfig, api.kubeconfig_yaml()).unwrap();
    let (admin, dns) = (SocketAddr::new(place.address(), 9903), SocketAddr::new(place.address(), 5353));
    let arguments = [
        "serve".to_owned(),
        "--zone=apps.example.com".to_owned(),
        format!("--listen={dns}"),
        format!("--admin-listen={admin}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let launch = Launch::new("nearside-dns-sync", "dns-sync", &place, &arguments).unwrap();
    let mut program = launch.env("KUBECONFIG", kubeconfig.to_str().unwrap()).start(directory.path()).unwrap();
    program.ready(admin, "/healthz/ready", PATIENCE).await.unwrap();

    let there = "chain there { type filter hook output priority 0; tcp dport 6443 drop; }";
    let back = "chain back { type filter hook input priority 0; tcp sport 6443 drop; }";
    place.namespace().unwrap().nft(&format!("table inet hole {{\n{there}\n{back}\n}}\n")).unwrap();
    let until = async |what: &str| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = get(&place, admin, "/sources").await.map(|(_, page)| page).unwrap_or_default();
            if page.contains(what) {
                return;
            }
            assert!(Instant::now() < deadline, "never {what}: {page}\n{}", program.tail(20));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until("\"Unreachable\"").await;
    let endpoint = json!({"apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint",
        "metadata": {"namespace": "default", "name": "late"},
        "spec": {"endpoints": [{"dnsName": "late.apps.example.com", "recordType": "A", "targets": ["192.0.2.1"]}]}});
    api.seed(endpoint).unwrap();
    place.namespace().unwrap().nft("delete table inet hole\n").unwrap();
    until("\"live\"").await;
    until("\"objects\":1").await;
}
