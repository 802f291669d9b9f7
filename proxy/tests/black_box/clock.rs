//! The wall clock jumps while a proxy serves: nothing that it does depends on it, but the certificates of others and what it writes down.

use super::support::client::{connect_tls, get_tls};
use super::support::manifests::{annotated, pod, route, service};
use super::support::pods::echo_pod_with;
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::wall_clock::WallClock;
use serde_json::json;
use std::io::Write;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const HOST: &str = "web.example.com";
const TLS: &str = "tls.example.com";
const POD_TLS: &str = "reencrypt.example.com";

/// A clock, or `None` with a word about it.
fn clock() -> Option<WallClock> {
    let clock = WallClock::new().unwrap();
    if clock.is_none() {
        drop(std::io::stderr().write_all(b"SKIPPED: needs libfaketime (Debian: faketime)\n"));
    }
    clock
}

/// A proxy by this clock, which is no business of the sandbox: that would not let it read the file.
fn start(clock: &WallClock, manifests: &Manifests, flags: &[&str]) -> Proxy {
    let environment = clock.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let always = ["--allow-endpoints=127.0.0.0/8", "--sandbox=false"];
    Proxy::start_in(&environment, manifests, &[&always, flags].concat())
}

/// Minutes by which the clock is wrong, one after the other.
const JUMPS: [i64; 6] = [10, -10, 60 * 24 * 400, -60 * 24 * 400, 10, 0];

/// A connection to the proxy that is kept.
async fn keep(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, host: &str) -> u16 {
    let request = Request::get("/").header("host", host).body(Full::default()).unwrap();
    sender.ready().await.expect("the connection goes on");
    let reply = sender.send_request(request).await.unwrap();
    let status = reply.status().as_u16();
    reply.into_body().collect().await.unwrap();
    status
}

#[tokio::test]
async fn a_clock_that_jumps_costs_no_request_and_no_kept_connection() {
    let Some(clock) = clock() else { return };
    let ca = TestCa::new("test").unwrap();
    let identity = ca.identity(&[TLS]).unwrap();
    let tls = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key });
    let ((_web, web), (_two, two)) = (echo_pod("web-1"), echo_pod("web-2"));
    // What takes time, or is counted in it, goes on as well: limits, checks, cookies, slow starts.
    let annotations = [
        ("nearside.dev/rate-limit-connections", "true"),
        ("nearside.dev/rate-limit-connections.rate-http", "100000"),
        ("nearside.dev/retry-on", "error timeout http_503"),
        ("nearside.dev/slow-start", "10s"),
    ];
    let secure = json!({ "to": { "kind": "Service", "name": "web" }, "tls": tls });
    let objects = [
        annotated(route("web", HOST, json!({})), &annotations),
        annotated(route("tls", TLS, secure), &annotations),
        service("web"),
        pod("web", "web-1", web),
        pod("web", "web-2", two),
    ];
    let manifests = Manifests::with(&objects);
    let proxy =
        start(&clock, &manifests, &["--check-interval=100ms", "--unique-id-header=x-time", "--unique-id-format=%Ts"]);
    let mut kept = keep(TcpStream::connect(proxy.http).await.unwrap()).await;
    let mut kept_tls = keep(connect_tls(proxy.https, &ca, TLS, &["http/1.1"]).await.unwrap()).await;
    let mut names = Vec::new();
    for (number, minutes) in JUMPS.into_iter().enumerate() {
        clock.set(&format!("{minutes:+}m")).unwrap();
        // The proxy's own word for it.
        let told = get(proxy.http, HOST, "/").await.echo().headers["x-time"][0].parse::<i64>().unwrap();
        let off = told - now();
        assert!((off - minutes * 60).abs() < 60, "the clock is {off} s off, not {minutes} minutes");
        for _ in 0..20 {
            assert_eq!(get(proxy.http, HOST, "/").await.status, 200, "{minutes} minutes off");
            assert_eq!(get_tls(proxy.https, &ca, TLS, "/").await.unwrap().status, 200, "{minutes} minutes off");
            assert_eq!(ask(&mut kept, HOST).await, 200, "{minutes} minutes off");
            assert_eq!(ask(&mut kept_tls, TLS).await, 200, "{minutes} minutes off");
        }
        // Changes are taken in as ever.
        let host = format!("new-{number}.example.com");
        manifests.put(&route(&format!("new-{number}"), &host, json!({ "to": { "kind": "Service", "name": "web" } })));
        names.push(host.clone());
        eventually("the new route is served", || async {
            (get(proxy.http, &host, "/").await.status == 200).then_some(())
        })
        .await;
        assert_eq!(proxy.page("/healthz/ready").await.0, 200, "{minutes} minutes off");
    }
    for name in names {
        assert_eq!(get(proxy.http, &name, "/").await.status, 200, "{name}");
    }
    assert_eq!(proxy.metric("nearside_http_requests_total", "code=\"5").await, None);
}

#[tokio::test]
async fn certificates_of_pods_are_looked_at_by_the_wall_clock_when_they_are_shown() {
    let Some(clock) = clock() else { return };
    let (ca, pods) = (TestCa::new("test").unwrap(), TestCa::new("pods").unwrap());
    let shown = pods.identity_between(&["web.shop.svc"], 2020..2100).unwrap();
    let (_pod, address) = echo_pod_with("web-1", Some(shown.server().unwrap()));
    let identity = ca.identity(&[POD_TLS]).unwrap();
    let tls = json!({ "tls": {
        "termination": "reencrypt", "certificate": identity.certificate, "key": identity.key,
        "destinationCACertificate": pods.certificate()
    } });
    let manifests = Manifests::with(&[route("web", POD_TLS, tls), service("web"), pod("web", "web-1", address)]);
    for (offset, status) in [("+0", 200), ("+80y", 503), ("-10y", 503), ("+0", 200)] {
        clock.set(offset).unwrap();
        // Each has no connection yet.
        let proxy = start(&clock, &manifests, &["--check-interval=0s"]);
        assert_eq!(get_tls(proxy.https, &ca, POD_TLS, "/").await.unwrap().status, status, "{offset}");
        if status == 200 {
            clock.set("+80y").unwrap();
            let again = get_tls(proxy.https, &ca, POD_TLS, "/").await.unwrap().status;
            assert_eq!(again, 200, "what was shown in time holds as long as its connection");
        }
    }
}

fn now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}
