//! Alternative services: which clients are told of another node, by which answers, and which are not.

use super::support::client::{connect_tls, exchange, get_tls};
use super::support::manifests::{alias, annotated, pod, published, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use http::Request;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::net::SocketAddr;

const HOST: &str = "video.example.com";

struct Stage {
    ca: TestCa,
    manifests: Manifests,
    proxy: Proxy,
}

impl Stage {
    /// A host over TLS and plain HTTP that DNS names n2 for, with a certificate for these names.
    fn start(names: &[&str], pod_here: Option<SocketAddr>, flags: &[&str]) -> Self {
        let ca = TestCa::new("test").unwrap();
        let identity = ca.identity(names).unwrap();
        let tls = json!({ "tls": {
            "termination": "edge", "insecureEdgeTerminationPolicy": "Allow",
            "certificate": identity.certificate, "key": identity.key
        } });
        let mut objects = vec![route("video", HOST, tls), service("video"), published(HOST, &["n2"])];
        objects.extend(pod_here.map(|address| pod("video", "video-1", address)));
        let manifests = Manifests::with(&objects);
        let proxy = Proxy::start(&manifests, flags);
        Self { ca, manifests, proxy }
    }

    /// Status and `Alt-Svc` of an answer over TLS to a request with these fields.
    async fn ask(&self, fields: &[(&str, &str)]) -> (u16, Option<String>) {
        let stream = connect_tls(self.proxy.https, &self.ca, HOST, &["http/1.1"]).await.unwrap();
        let mut request = Request::get("/");
        for (name, value) in [("host", HOST)].iter().chain(fields.iter().filter(|(name, _)| *name != "host")) {
            request = request.header(*name, *value);
        }
        let reply = exchange(stream, request.body(Default::default()).unwrap()).await;
        (reply.status, reply.header("alt-svc").map(str::to_owned))
    }
}

fn at_n2() -> Option<String> {
    Some(format!("h2=\"{}:443\"; ma=60", alias(HOST, "n2")))
}

#[tokio::test]
async fn a_redirected_client_learns_where_its_next_request_may_go_under_the_same_name() {
    let stage = Stage::start(&["*.example.com"], None, &[]);
    assert_eq!(stage.ask(&[]).await, (307, at_n2()));
    assert_eq!(
        get(stage.proxy.http, HOST, "/").await.header("alt-svc"),
        None,
        "nothing proves who answers without TLS"
    );
    let came = alias(HOST, "n1");
    let moved = get_tls(stage.proxy.https, &stage.ca, &came, "/").await.unwrap();
    assert_eq!((moved.status, moved.header("alt-svc")), (503, None), "who was moved is not moved on");
    let (_, cleared) = stage.ask(&[("alt-used", &alias(HOST, "n1"))]).await;
    assert_eq!(cleared.as_deref(), Some("clear"), "who came by an alternative is to ask DNS again");
}

#[tokio::test]
async fn a_client_that_would_not_trust_the_alias_is_refused_and_told_where_to_try() {
    let stage = Stage::start(&[HOST], None, &[]);
    assert_eq!(stage.ask(&[]).await, (503, at_n2()));
}

#[tokio::test]
async fn answers_of_a_pod_tell_of_another_node_while_dns_does_not_name_this_one() {
    let (_pod, address) = echo_pod("video-1");
    let stage = Stage::start(&["*.example.com"], Some(address), &[]);
    assert_eq!(stage.ask(&[]).await, (200, at_n2()));
    assert_eq!(stage.ask(&[("via", "1.1 cdn")]).await, (200, None), "it is no word for clients of a cache");
    assert_eq!(stage.ask(&[("alt-used", &alias(HOST, "n1"))]).await, (200, None));
    stage.manifests.put(&published(HOST, &["n1", "n2"]));
    eventually("DNS names this node", || async { (stage.ask(&[]).await == (200, None)).then_some(()) }).await;
}

#[tokio::test]
async fn nobody_is_told_where_the_route_or_the_operator_says_so() {
    let stage = Stage::start(&["*.example.com"], None, &["--alt-svc=false"]);
    assert_eq!(stage.ask(&[]).await, (307, None));
    let set = |value: &str, miss: &str| {
        let annotations = [("nearside.dev/alt-svc", value), ("nearside.dev/on-miss", miss)];
        stage.manifests.put(&annotated(with_spec_of(&stage), &annotations));
    };
    set("true", "redirect");
    eventually("the annotation counts", || async { (stage.ask(&[]).await == (307, at_n2())).then_some(()) }).await;
    set("true", "reject");
    eventually("who refuses does not move", || async { (stage.ask(&[]).await == (503, None)).then_some(()) }).await;
    set("false", "redirect");
    eventually("the annotation counts", || async { (stage.ask(&[]).await == (307, None)).then_some(()) }).await;
}

/// The Route as it stands in the directory.
fn with_spec_of(stage: &Stage) -> Value {
    let file = stage.manifests.path().join("Route-shop-video.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}
