//! Health on the public port, as load balancers in front of an OpenShift router ask for it.

use super::support::client::{read_to_end, read_until};
use super::support::manifests::{pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use nearside_loadtest::pods::PodServer;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HOST: &str = "web.example.com";
const PATH: &str = "/_______internal_router_healthz";

fn web() -> (PodServer, Manifests) {
    let (server, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    (server, manifests)
}

#[tokio::test]
async fn a_load_balancer_is_told_for_any_host_and_nobody_reads_of_it() {
    let (_pod, manifests) = web();
    let proxy = Proxy::start(&manifests, &[]);
    for host in [HOST, "nobody.example.com", "192.0.2.1"] {
        let reply = get(proxy.http, host, PATH).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "ok\n"), "{host}");
    }
    let mut old = TcpStream::connect(proxy.http).await.unwrap();
    old.write_all(format!("GET {PATH} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    assert!(read_to_end(&mut old).await.contains(" 200 "), "a probe without Host");
    assert_eq!(get(proxy.http, HOST, &format!("{PATH}/more")).await.pod(), Some("web-1"));
    proxy.access_line(HOST).await;
    let paths: Vec<String> = proxy.access_log().iter().map(|line| line["path"].to_string()).collect();
    assert_eq!(paths, [format!("\"{PATH}/more\"")], "probes are not in the access log");
}

#[tokio::test]
async fn a_load_balancer_is_told_to_send_nobody_any_more_while_the_proxy_still_serves() {
    let (_pod, manifests) = web();
    let proxy = Proxy::start(&manifests, &["--shutdown-delay=10m"]);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    proxy.terminate();
    eventually("the probe fails", || async { (get(proxy.http, HOST, PATH).await.status == 503).then_some(()) }).await;
    assert_eq!(get(proxy.http, HOST, "/").await.status, 200, "who comes all the same is served");
}

#[tokio::test]
async fn the_path_can_be_another_or_none() {
    let (_pod, manifests) = web();
    let proxy = Proxy::start(&manifests, &["--public-health-path=/lb"]);
    assert_eq!(get(proxy.http, "nobody.example.com", "/lb").await.status, 200);
    assert_eq!(get(proxy.http, "nobody.example.com", PATH).await.status, 404);
    drop(proxy);
    let proxy = Proxy::start(&manifests, &["--public-health-path=off"]);
    assert_eq!(get(proxy.http, "nobody.example.com", PATH).await.status, 404);
}
