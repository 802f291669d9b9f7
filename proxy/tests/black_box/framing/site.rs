//! The ways from a client to a pod, and a proxy that serves them all.

use super::pods::{self, Record};
use crate::byte_path::{WAYS, Wire};
use crate::support::client::connect_tls;
use crate::support::manifests::{pod, route, service, service_with};
use crate::support::{Manifests, Proxy, Scripted};
use nearside_loadtest::certificates::TestCa;
use rustls::ServerConfig;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpStream;

/// One way: a host, how clients reach it, and the pod behind it.
pub(super) struct Way {
    pub(super) host: &'static str,
    pub(super) over_tls: bool,
    /// The pod speaks HTTP/2, too.
    pub(super) to_http2: bool,
    pub(super) record: Record,
    _pod: Scripted,
}

/// Pods, and the objects that name them.
pub(super) struct Site {
    pub(super) ways: Vec<Way>,
    ca: TestCa,
    manifests: Manifests,
}

/// One of the proxies that serve a site.
pub(super) struct Served<'s> {
    pub(super) site: &'s Site,
    pub(super) proxy: Proxy,
    pub(super) flags: &'static [&'static str],
}

impl Site {
    pub(super) async fn new() -> Self {
        let ca = TestCa::new("test").unwrap();
        let identity = ca.identity(&["pod.invalid"]).unwrap();
        let speaking = |http2: bool| {
            let mut config = ServerConfig::clone(&identity.server().unwrap());
            // What needs HTTP/1 for its framing gets it from a pod that speaks both.
            config.alpn_protocols.retain(|protocol| http2 || protocol != b"h2");
            Arc::new(config)
        };
        let (mut ways, mut objects) = (Vec::new(), Vec::new());
        for (name, host, termination, to_http2) in [
            ("plain", "plain.example.com", None, false),
            ("edge", "edge.example.com", Some("edge"), false),
            ("again", "again.example.com", Some("reencrypt"), false),
            ("h2c", "h2c.example.com", None, true),
            ("h2edge", "h2edge.example.com", Some("edge"), true),
            ("h2again", "h2again.example.com", Some("reencrypt"), true),
        ] {
            let tls = (termination == Some("reencrypt")).then(|| speaking(to_http2));
            let (scripted, record) = pods::recording(to_http2, tls).await;
            objects.push(route(name, host, spec(&ca, host, termination)));
            objects.push(match to_http2 && termination != Some("reencrypt") {
                true => service_with(name, json!({ "appProtocol": "kubernetes.io/h2c" })),
                false => service(name),
            });
            objects.push(pod(name, &format!("{name}-1"), scripted.address));
            ways.push(Way { host, over_tls: termination.is_some(), to_http2, record, _pod: scripted });
        }
        Self { ways, ca, manifests: Manifests::with(&objects) }
    }

    /// A proxy for each way that bytes can take in it.
    pub(super) fn served(&self) -> impl Iterator<Item = Served<'_>> {
        WAYS.into_iter().map(|flags| Served { site: self, proxy: Proxy::start(&self.manifests, flags), flags })
    }
}

impl Served<'_> {
    /// A connection of a client over HTTP/1.
    pub(super) async fn connect(&self, way: &Way) -> Box<dyn Wire> {
        self.connect_by(way, "http/1.1").await
    }

    /// A connection of a client that agrees on this protocol, where there is anybody to agree with.
    pub(super) async fn connect_by(&self, way: &Way, protocol: &str) -> Box<dyn Wire> {
        match way.over_tls {
            true => Box::new(connect_tls(self.proxy.https, &self.site.ca, way.host, &[protocol]).await.unwrap()),
            false => Box::new(TcpStream::connect(self.proxy.http).await.unwrap()),
        }
    }
}

fn spec(ca: &TestCa, host: &str, termination: Option<&str>) -> Value {
    let Some(termination) = termination else { return json!({}) };
    let identity = ca.identity(&[host]).unwrap();
    json!({ "tls": { "termination": termination, "certificate": identity.certificate, "key": identity.key } })
}
