//! TLS: certificates by name, each termination, what plain HTTP gets, certificates that change.

use super::support::client::{connect_tls, exchange, get_h2, get_tls, read_to_end};
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service};
use super::support::pods::{Refusing, echo_pod_with};
use super::support::{Manifests, PATIENCE, Proxy, echo_pod, eventually, get};
use http::Request;
use http_body_util::Full;
use nearside_loadtest::certificates::{Identity, TestCa};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HOST: &str = "web.example.com";

fn edge(identity: &Identity) -> Value {
    json!({ "tls": { "termination": "edge", "certificate": identity.certificate, "key": identity.key } })
}

#[tokio::test]
async fn each_name_sees_its_own_certificate_and_others_the_default_one() {
    let (_pod, address) = echo_pod("web-1");
    let (ca, operator) = (TestCa::new("tenant").unwrap(), TestCa::new("operator").unwrap());
    let default = operator.identity(&["*.example.com"]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    std::fs::write(&certificate, &default.certificate).unwrap();
    std::fs::write(&key, &default.key).unwrap();
    let manifests = Manifests::with(&[
        route("web", HOST, edge(&ca.identity(&[HOST]).unwrap())),
        route(
            "plain",
            "other.example.com",
            json!({ "to": { "kind": "Service", "name": "web" }, "tls": { "termination": "edge" } }),
        ),
        service("web"),
        pod("web", "web-1", address),
    ]);
    let default = [format!("--default-cert={}", certificate.display()), format!("--default-key={}", key.display())];
    let flags: Vec<&str> = default.iter().map(String::as_str).collect();
    let proxy = Proxy::start(&manifests, &flags);
    let echo = get_tls(proxy.https, &ca, HOST, "/").await.unwrap().echo();
    assert_eq!(echo.headers["x-forwarded-proto"], ["https"]);
    assert!(!echo.tls, "plain to the pod");
    assert_eq!(get_tls(proxy.https, &operator, "other.example.com", "/").await.unwrap().pod(), Some("web-1"));
    assert!(get_tls(proxy.https, &operator, HOST, "/").await.is_err(), "not the default certificate");
    assert_eq!(get_tls(proxy.https, &operator, "unknown.example.com", "/").await.unwrap().status, 404);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 404, "without a policy the route does not exist on plain HTTP");

    let strict: Vec<&str> = flags.iter().copied().chain(["--strict-sni"]).collect();
    let proxy = Proxy::start(&manifests, &strict);
    assert!(get_tls(proxy.https, &operator, "unknown.example.org", "/").await.is_err());
    assert_eq!(get_tls(proxy.https, &operator, "other.example.com", "/").await.unwrap().status, 200);
    assert_eq!(proxy.metric("nearside_tls_failures_total", "unknown_name").await, Some(1.0));
}

#[tokio::test]
async fn an_ingress_takes_its_certificate_from_a_secret_and_redirects() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("test").unwrap();
    let identity = ca.identity(&[HOST]).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": "web-tls" },
        "type": "kubernetes.io/tls", "stringData": { "tls.crt": identity.certificate, "tls.key": identity.key }
    });
    let tls = json!({ "tls": [{ "hosts": [HOST], "secretName": "web-tls" }] });
    let manifests = Manifests::with(&[
        ingress_class(),
        ingress("web", HOST, &[("Prefix", "/", "web")], tls),
        secret,
        service("web"),
        pod("web", "web-1", address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(get_tls(proxy.https, &ca, HOST, "/").await.unwrap().pod(), Some("web-1"));
    let reply = get(proxy.http, HOST, "/a?b").await;
    assert_eq!((reply.status, reply.header("location")), (308, Some("https://web.example.com/a?b")));
}

#[tokio::test]
async fn plain_http_gets_what_the_route_allows() {
    let (_pod, address) = echo_pod("web-1");
    let with = |policy: &str| json!({ "tls": { "termination": "edge", "insecureEdgeTerminationPolicy": policy } });
    let manifests =
        Manifests::with(&[route("web", HOST, with("Redirect")), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get(proxy.http, &format!("{HOST}:8080"), "/a?b").await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://web.example.com/a?b")));
    manifests.put(&route("web", HOST, with("Allow")));
    eventually("plain HTTP is allowed", || async { (get(proxy.http, HOST, "/").await.status == 200).then_some(()) })
        .await;
}

#[tokio::test]
async fn http_2_is_agreed_on_and_a_connection_may_serve_other_hosts() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("test").unwrap();
    let identity = ca.identity(&["*.example.com"]).unwrap();
    let manifests = Manifests::with(&[
        route("web", HOST, edge(&identity)),
        route("also", "also.example.com", {
            let mut spec = edge(&identity);
            spec["to"] = json!({ "kind": "Service", "name": "web" });
            spec
        }),
        route("closed", "closed.example.com", json!({ "tls": { "termination": "passthrough" } })),
        annotated(
            route("listed", "listed.example.com", {
                let mut spec = edge(&identity);
                spec["to"] = json!({ "kind": "Service", "name": "web" });
                spec
            }),
            &[("haproxy.router.openshift.io/ip_allowlist", "127.0.0.0/8")],
        ),
        service("web"),
        pod("web", "web-1", address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let listed = "listed.example.com";
    for (name, host, expected) in [
        (HOST, HOST, 200),
        (HOST, "also.example.com", 200),
        (HOST, "closed.example.com", 421),
        (HOST, "no.example.com", 404),
        (HOST, listed, 421),
        (listed, listed, 200),
        (listed, HOST, 421),
    ] {
        let stream = connect_tls(proxy.https, &ca, name, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let reply = get_h2(stream, &format!("https://{host}/")).await;
        assert_eq!((reply.status, reply.version), (expected, http::Version::HTTP_2), "{host}");
    }
}

#[tokio::test]
async fn reencrypt_verifies_the_pod_by_its_ca() {
    let (client_ca, pod_ca, other_ca) =
        (TestCa::new("clients").unwrap(), TestCa::new("pods").unwrap(), TestCa::new("others").unwrap());
    let pod_tls = pod_ca.identity(&["any.name.invalid"]).unwrap().server().unwrap();
    let (_pod, address) = echo_pod_with("web-1", Some(pod_tls));
    let identity = client_ca.identity(&[HOST]).unwrap();
    let with = |destination: &str| {
        let mut spec = edge(&identity);
        spec["tls"]["termination"] = json!("reencrypt");
        spec["tls"]["destinationCACertificate"] = json!(destination);
        route("web", HOST, spec)
    };
    let manifests = Manifests::with(&[with(pod_ca.certificate()), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let echo = get_tls(proxy.https, &client_ca, HOST, "/").await.unwrap().echo();
    assert!(echo.tls && echo.protocol == "HTTP/2.0" && echo.host == HOST, "{echo:?}");

    manifests.put(&with(other_ca.certificate()));
    let refused = eventually("the other CA holds", || async {
        let reply = get_tls(proxy.https, &client_ca, HOST, "/").await.unwrap();
        (reply.status != 200).then_some(reply)
    })
    .await;
    assert_eq!(refused.status, 503, "a connection made under the first CA must not be used under the second");
    eventually("the reason is logged", || async {
        (proxy.access_line(HOST).await["reason"] == "pod_tls").then_some(())
    })
    .await;

    manifests.put(&with(""));
    eventually("without a CA nothing is verified", || async {
        (get_tls(proxy.https, &client_ca, HOST, "/").await.unwrap().status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_websocket_reaches_a_pod_behind_reencrypt() {
    let ca = TestCa::new("test").unwrap();
    let (_pod, address) = echo_pod_with("web-1", Some(ca.identity(&["pod"]).unwrap().server().unwrap()));
    let mut spec = edge(&ca.identity(&[HOST]).unwrap());
    spec["tls"]["termination"] = json!("reencrypt");
    let manifests = Manifests::with(&[route("web", HOST, spec), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut stream = connect_tls(proxy.https, &ca, HOST, &["http/1.1"]).await.unwrap();
    let bytes = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let head = super::support::client::read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn passthrough_ends_at_the_pod() {
    let (ca, edge_ca) = (TestCa::new("pod").unwrap(), TestCa::new("edge").unwrap());
    let (pod_server, address) = echo_pod_with("web-1", Some(ca.identity(&[HOST]).unwrap().server().unwrap()));
    let first = pod("web", "web-1", address);
    let manifests = Manifests::with(&[
        route(
            "web",
            HOST,
            json!({ "tls": { "termination": "passthrough", "insecureEdgeTerminationPolicy": "Redirect" } }),
        ),
        service("web"),
        first.clone(),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get_tls(proxy.https, &ca, HOST, "/").await.unwrap();
    assert!(reply.echo().tls && reply.pod() == Some("web-1"));
    assert!(get_tls(proxy.https, &edge_ca, HOST, "/").await.is_err(), "the pod's certificate is what the client sees");
    assert_eq!(get(proxy.http, HOST, "/x").await.header("location"), Some("https://web.example.com/x"));
    eventually("the connection is counted", || async {
        proxy.metric("nearside_passthrough_connections_total", "route=\"web\"").await.filter(|count| *count >= 2.0)
    })
    .await;
    assert!(proxy.metric("nearside_response_bytes_total", "route=\"web\"").await.unwrap() > 0.0);

    manifests.remove(&first);
    drop(pod_server);
    eventually("a route without pods is closed", || async { get_tls(proxy.https, &ca, HOST, "/").await.err() }).await;
    eventually("the miss is counted", || async { proxy.metric("nearside_misses_total", "reject").await }).await;
}

#[tokio::test]
async fn passthrough_goes_to_another_pod_when_one_cannot_be_reached() {
    let ca = TestCa::new("pod").unwrap();
    let (_pod, address) = echo_pod_with("web-1", Some(ca.identity(&[HOST]).unwrap().server().unwrap()));
    let gone = Refusing::new();
    let manifests = Manifests::with(&[
        route("web", HOST, json!({ "tls": { "termination": "passthrough" } })),
        service("web"),
        pod("web", "web-1", address),
        pod("web", "web-2", gone.address()),
    ]);
    let proxy = Proxy::start(&manifests, &["--tcp-balance=roundrobin"]);
    for _ in 0..20 {
        assert_eq!(get_tls(proxy.https, &ca, HOST, "/").await.unwrap().pod(), Some("web-1"));
    }
    assert!(proxy.metric("nearside_upstream_connect_failures_total", "").await.unwrap() > 0.0, "none was ever tried");
}

#[tokio::test]
async fn a_certificate_is_replaced_while_connections_live() {
    let (_pod, address) = echo_pod("web-1");
    let (before, after) = (TestCa::new("before").unwrap(), TestCa::new("after").unwrap());
    let manifests = Manifests::with(&[
        route("web", HOST, edge(&before.identity(&[HOST]).unwrap())),
        service("web"),
        pod("web", "web-1", address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut old = connect_tls(proxy.https, &before, HOST, &["http/1.1"]).await.unwrap();
    manifests.put(&route("web", HOST, edge(&after.identity(&[HOST]).unwrap())));
    eventually("the new certificate is served", || async { get_tls(proxy.https, &after, HOST, "/").await.ok() }).await;
    old.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut old).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn what_is_no_tls_is_closed() {
    let manifests = Manifests::with(&[]);
    let proxy = Proxy::start(&manifests, &[]);
    let mut stream = TcpStream::connect(proxy.https).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    let whole = tokio::time::timeout(PATIENCE, async {
        while proxy.metric("nearside_tls_failures_total", "not_tls").await != Some(1.0) {}
    });
    whole.await.unwrap();
    let request = Request::get("/").header("host", HOST).body(Full::default()).unwrap();
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    assert_eq!(exchange(stream, request).await.status, 404);
}
