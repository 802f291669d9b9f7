//! Nodes whose tables are stale, each in its own way: whoever follows them ends after one hop.

use super::support::manifests::{annotated, published_at, route, service};
use super::support::nodes::{NODES, address_of_alias, start};
use super::support::{Manifests, Proxy, get};
use serde_json::json;

const HOST: &str = "video.example.com";

/// Each node believes that the pod is on the next ones, and none has it.
fn stale(node: usize, policy: &str) -> Manifests {
    let others: Vec<(&str, &str)> =
        NODES.iter().enumerate().filter(|(at, _)| *at != node).map(|(_, node)| *node).collect();
    Manifests::with(&[
        annotated(route("video", HOST, json!({})), &[("nearside.dev/on-miss", policy)]),
        service("video"),
        published_at(HOST, &others),
    ])
}

/// The statuses that a client meets which follows every redirect.
async fn follow(proxies: &[Proxy], first: usize) -> Vec<u16> {
    let port = proxies[0].http.port();
    let (mut address, mut host, mut seen) = (proxies[first].http, format!("{HOST}:{port}"), Vec::new());
    while seen.len() < 10 {
        let reply = get(address, &host, "/").await;
        seen.push(reply.status);
        let Some(location) = reply.header("location") else { break };
        host = location.strip_prefix("http://").unwrap().strip_suffix('/').unwrap().to_owned();
        address = address_of_alias(&host, port).unwrap();
    }
    seen
}

#[tokio::test]
async fn clients_of_nodes_that_each_name_the_others_end_after_one_hop() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "k".repeat(40)).unwrap();
    let flag = format!("--relay-key-file={}", key.path().display());
    for (policies, expected) in [
        (["redirect"; 3], [&[307, 503][..]; 3]),
        (["relay"; 3], [&[503][..]; 3]),
        (["redirect", "relay", "reject"], [&[307, 503][..], &[503], &[503]]),
    ] {
        let manifests: Vec<Manifests> = (0..3).map(|node| stale(node, policies[node])).collect();
        let proxies = start(&manifests.iter().collect::<Vec<_>>(), &[&flag]);
        for (first, expected) in expected.iter().enumerate() {
            for _ in 0..4 {
                assert_eq!(follow(&proxies, first).await, *expected, "{policies:?} from {}", NODES[first].0);
            }
        }
        let mut misses = 0.0;
        for proxy in &proxies {
            misses += proxy.metric("nearside_misses_total", "").await.unwrap_or_default();
        }
        assert!(misses <= 24.0, "no request was moved more than once: {misses}");
    }
}
