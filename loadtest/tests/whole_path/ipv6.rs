//! A cluster without any IPv4 address, not even that of loopback: names are found, requests served and clients told of by IPv6.

use crate::objects::{edge, route, service, with_tls};
use crate::stage::{Source, Stage};
use nearside_loadtest::lab::Network;
use nearside_loadtest::lab::network::Size;
use nearside_loadtest::pods::Echo;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_ipv4_address_all_works_and_pods_are_told_of_clients_in_the_words_of_ipv6() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root for a network namespace without IPv4");
        return;
    }
    let network = Network::without_ipv4(Size { nodes: 2, clients: 1 }).unwrap();
    let loopback = network.control().tcp_listener("127.0.0.1:0".parse().unwrap());
    assert!(loopback.is_err(), "there is an IPv4 address: {loopback:?}");
    let mut stage = Stage::lay_in(network, Source::Api).await;
    let identity = stage.ca.identity(&[TLS]).unwrap();
    let tls = with_tls(route("tls", TLS, "web"), edge(&identity));
    stage.put_all(&[of_ipv6(service("web")), route("web", PLAIN, "web"), tls]);
    stage.run_pod("web", 1, "n1");
    stage.start_programs();
    stage.ready().await;

    let client = stage.network.clients()[0].address();
    for (host, url) in [(PLAIN, format!("http://{PLAIN}/")), (TLS, format!("https://{TLS}/"))] {
        // The name server has the addresses of IPv6 and no others.
        stage.until_published(host, &["n1"]).await;
        let record = stage.fetch(&url).await;
        assert!(record.status == Some(200) && record.by_own_node(), "{record:?}");
        let seen: Echo = serde_json::from_slice(&record.body).unwrap();
        assert!(seen.remote.is_ipv6());
        let field = |name: &str| seen.headers.get(name).map(|values| values.join(", ")).unwrap_or_default();
        assert_eq!(field("x-forwarded-for"), client.to_string());
        let forwarded = field("forwarded");
        assert!(
            forwarded.contains(&format!("for=\"[{client}]\"")),
            "RFC 7239 §6 wants brackets and quotes: {forwarded}"
        );
    }
    // A node without the pod sends clients to one that has it.
    let sent = stage.until_status("n2", &format!("http://{PLAIN}/"), 307).await;
    let followed = stage.fetch(sent.headers["location"].to_str().unwrap()).await;
    assert!(followed.status == Some(200) && followed.contacted.as_deref() == Some("n1"), "{followed:?}");
    // Addresses of IPv6 come and go like any.
    stage.run_pod("web", 2, "n2");
    stage.until_published(PLAIN, &["n1", "n2"]).await;
    stage.cluster.kill_pod("shop", "web-1").unwrap();
    stage.until_published(PLAIN, &["n2"]).await;
    let record = stage.fetch(&format!("http://{PLAIN}/")).await;
    assert!(record.status == Some(200) && record.by_own_node(), "{record:?}");
    stage.assert_nothing_crossed().await;
}

/// A Service of a cluster that has no IPv4.
fn of_ipv6(mut service: Value) -> Value {
    service["spec"]["ipFamilies"] = json!(["IPv6"]);
    service
}

const PLAIN: &str = "plain.apps.example.com";
const TLS: &str = "tls.apps.example.com";
