//! Certificates that single hosts ask their clients for: who is let in, what the pod is told, and that neither a session, a
//! connection nor another object of the host is a way around.

use super::support::client::{Reply, exchange};
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service};
use super::support::tls_clients::{Clients, VERSIONS, client};
use super::support::{Manifests, PATIENCE, Proxy, echo_pod, eventually, get};
use http::Request;
use http_body_util::Full;
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::PodServer;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, version};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const HOST: &str = "web.example.com";
const OPEN: &str = "open.example.com";

/// A guarded Ingress and an open one, over one pod.
struct Setup {
    ca: TestCa,
    clients: Clients,
    manifests: Manifests,
    _pod: PodServer,
}

fn secret(kind: &str, name: &str, entries: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": name }, "type": kind,
            "stringData": entries })
}

fn web(host: &str, path: &str) -> Value {
    let tls = json!({ "tls": [{ "hosts": [host], "secretName": "cert" }] });
    let name = format!("{}{}", host.replace('.', "-"), path.replace('/', ""));
    ingress(&name, host, &[("Prefix", path, "web")], tls)
}

fn guarded(annotations: &[(&str, &str)]) -> Value {
    let named: Vec<(String, &str)> = annotations
        .iter()
        .map(|(name, value)| (format!("nginx.ingress.kubernetes.io/auth-tls-{name}"), *value))
        .collect();
    let named: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    annotated(
        web(HOST, "/"),
        &[&[("nginx.ingress.kubernetes.io/auth-tls-secret", "shop/clients")], &named[..]].concat(),
    )
}

impl Setup {
    fn new(object: &Value) -> Self {
        let ca = TestCa::new("tenant").unwrap();
        let clients = Clients::new("clients");
        let identity = ca.identity(&["*.example.com"]).unwrap();
        let (web_pod, address) = echo_pod("web-1");
        let certificate = json!({ "tls.crt": identity.certificate, "tls.key": identity.key });
        let manifests = Manifests::with(&[
            ingress_class(),
            object.clone(),
            web(OPEN, "/"),
            service("web"),
            pod("web", "web-1", address),
            secret("kubernetes.io/tls", "cert", certificate),
            secret("Opaque", "clients", json!({ "ca.crt": clients.pem, "password": "never read" })),
        ]);
        Self { ca, clients, manifests, _pod: web_pod }
    }

    fn client(&self, shown: Option<&Clients>) -> Arc<ClientConfig> {
        client(&self.ca, &version::TLS13, shown.map(|ca| ca.client("one", 1)))
    }
}

/// A connection for a server name, and how it was made.
async fn connect(
    proxy: &Proxy,
    client: &Arc<ClientConfig>,
    name: &str,
) -> (HandshakeKind, tokio_rustls::client::TlsStream<TcpStream>) {
    let stream = TcpStream::connect(proxy.https).await.unwrap();
    let connected =
        TlsConnector::from(Arc::clone(client)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream);
    let stream = tokio::time::timeout(PATIENCE, connected).await.unwrap().unwrap();
    (stream.get_ref().1.handshake_kind().unwrap(), stream)
}

/// GET on a connection of its own for a server name, with fields that a client could make up.
async fn ask_as(
    proxy: &Proxy,
    client: &Arc<ClientConfig>,
    name: &str,
    host: &str,
    path: &str,
) -> (HandshakeKind, Reply) {
    let (kind, stream) = connect(proxy, client, name).await;
    let request = Request::get(path).header("host", host).header("Ssl-Client-Verify", "SUCCESS");
    let request = request.header("ssl_client_subject_dn", "CN=root").header("SSL-Client-Cert", "mine");
    (kind, exchange(stream, request.body(Full::default()).unwrap()).await)
}

async fn ask(proxy: &Proxy, client: &Arc<ClientConfig>, path: &str) -> Reply {
    ask_as(proxy, client, HOST, HOST, path).await.1
}

fn told(reply: &Reply, name: &str) -> Vec<String> {
    let names = [name.to_owned(), name.replace('-', "_")];
    let headers = reply.echo().headers;
    names.iter().filter_map(|name| headers.get(name)).flatten().cloned().collect()
}

#[tokio::test]
async fn a_host_lets_in_clients_of_its_ca_alone_and_says_to_pods_what_was_verified() {
    let setup = Setup::new(&guarded(&[]));
    let strangers = Clients::new("strangers");
    let proxy = Proxy::start(&setup.manifests, &[]);
    for version in VERSIONS {
        for (shown, reason) in [(None, "no_client_certificate"), (Some(&strangers), "bad_client_certificate")] {
            let client = client(&setup.ca, version, shown.map(|ca| ca.client("one", 1)));
            let reply = ask(&proxy, &client, "/").await;
            assert_eq!((reply.status, reply.pod()), (400, None), "{version:?}");
            assert!(reply.text().contains("certificate"), "a page says why: {}", reply.text());
            eventually("the log says why", || async {
                proxy.access_log().iter().any(|line| line["reason"] == reason).then_some(())
            })
            .await;
        }
        let client = client(&setup.ca, version, Some(setup.clients.client("one", 1)));
        let reply = ask(&proxy, &client, "/").await;
        assert_eq!(told(&reply, "ssl-client-verify"), ["SUCCESS"], "{version:?}");
        assert_eq!(told(&reply, "ssl-client-subject-dn"), ["CN=one,C=DE"]);
        assert_eq!(told(&reply, "ssl-client-issuer-dn"), ["CN=clients"]);
        assert!(told(&reply, "ssl-client-cert").is_empty(), "only where it is asked for");
        let (_, open) = ask_as(&proxy, &client, OPEN, OPEN, "/").await;
        assert!(told(&open, "ssl-client-verify").is_empty() && told(&open, "ssl-client-subject-dn").is_empty());
    }
}

#[tokio::test]
async fn neither_another_name_nor_plain_http_is_a_way_around() {
    // Plain HTTP is served beside TLS, so nothing but the guard keeps it out.
    let mut object = guarded(&[]);
    object["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-redirect"] = json!("false");
    let setup = Setup::new(&object);
    let default = setup.ca.identity(&["unknown.example.com"]).unwrap();
    let default = format!("--default-cert={}{}", default.certificate, default.key);
    let proxy = Proxy::start(&setup.manifests, &[&default]);
    let (nobody, one) = (setup.client(None), setup.client(Some(&setup.clients)));
    for client in [&nobody, &one] {
        assert_eq!(ask_as(&proxy, client, OPEN, HOST, "/").await.1.status, 421);
        assert_eq!(ask_as(&proxy, client, HOST, OPEN, "/").await.1.status, 421);
        assert_eq!(ask_as(&proxy, client, "unknown.example.com", HOST, "/").await.1.status, 421);
    }
    assert_eq!((get(proxy.http, HOST, "/").await.status, get(proxy.http, HOST, "/none").await.status), (403, 403));
    assert_eq!(ask(&proxy, &nobody, "/none").await.status, 400, "nothing is told of what is there");
    assert_eq!(ask_as(&proxy, &nobody, OPEN, OPEN, "/").await.1.status, 200);
}

#[tokio::test]
async fn a_revoked_client_is_out_whatever_session_or_connection_it_holds() {
    let setup = Setup::new(&guarded(&[]));
    let put = |lists: &str| {
        setup.manifests.put(&secret("Opaque", "clients", json!({ "ca.crt": setup.clients.pem, "ca.crl": lists })));
    };
    put(&setup.clients.revoking(&[]));
    let proxy = Proxy::start(&setup.manifests, &[]);
    let one = VERSIONS.map(|version| client(&setup.ca, version, Some(setup.clients.client("one", 7))));
    let other = client(&setup.ca, &version::TLS13, Some(setup.clients.client("two", 8)));
    for client in &one {
        assert_eq!(ask_as(&proxy, client, HOST, HOST, "/").await.0, HandshakeKind::Full);
        let (kind, reply) = ask_as(&proxy, client, HOST, HOST, "/").await;
        assert_eq!((kind, told(&reply, "ssl-client-verify")), (HandshakeKind::Resumed, vec!["SUCCESS".to_owned()]));
    }
    let (_, stream) = connect(&proxy, &one[0], HOST).await;
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(driver);
    let request = || Request::get("/").header("host", HOST).body(Full::<bytes::Bytes>::default()).unwrap();
    let first = sender.send_request(request()).await.unwrap();
    assert_eq!(first.status(), 200);
    drop(http_body_util::BodyExt::collect(first.into_body()).await.unwrap());
    put(&setup.clients.revoking(&[7]));
    for client in &one {
        eventually("the revoked client is refused", || async {
            (ask_as(&proxy, client, HOST, HOST, "/").await.1.status == 400).then_some(())
        })
        .await;
    }
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(request()).await.unwrap().status(), 400, "on the connection of before");
    driver.abort();
    assert_eq!(ask(&proxy, &other, "/").await.status, 200, "others are let in");
}

#[tokio::test]
async fn what_cannot_be_verified_closes_its_host_alone_and_is_followed() {
    let setup = Setup::new(&guarded(&[]));
    let proxy = Proxy::start(&setup.manifests, &[]);
    let one = setup.client(Some(&setup.clients));
    let good = secret("Opaque", "clients", json!({ "ca.crt": setup.clients.pem }));
    assert_eq!(ask(&proxy, &one, "/").await.status, 200);
    for (case, bad) in [
        ("no CA", secret("Opaque", "clients", json!({ "ca.crt": "text" }))),
        ("no list", secret("Opaque", "clients", json!({ "ca.crt": setup.clients.pem, "ca.crl": "text" }))),
        ("nothing of it", secret("Opaque", "clients", json!({ "password": "text" }))),
    ] {
        setup.manifests.put(&bad);
        let refused = eventually(case, || async {
            let reply = ask(&proxy, &one, "/").await;
            (reply.status == 503).then_some(reply)
        })
        .await;
        assert_eq!(refused.pod(), None, "{case}");
        assert_eq!(ask_as(&proxy, &one, OPEN, OPEN, "/").await.1.pod(), Some("web-1"), "{case}");
        let (_, page) = proxy.page("/routes").await;
        assert!(page.contains("requests are refused with 503"), "{case}: {page}");
        setup.manifests.put(&good);
        eventually("the Secret is there again", || async {
            (ask(&proxy, &one, "/").await.status == 200).then_some(())
        })
        .await;
    }
    setup.manifests.remove(&good);
    eventually("the Secret is gone", || async { (ask(&proxy, &one, "/").await.status == 503).then_some(()) }).await;
}

/// Annotations, and the answers to three clients.
type Case = (&'static [(&'static str, &'static str)], [&'static str; 3]);

#[tokio::test]
async fn each_annotation_does_what_it_does_in_ingress_nginx() {
    let strangers = Clients::new("strangers");
    let setup = Setup::new(&guarded(&[]));
    let proxy = Proxy::start(&setup.manifests, &[]);
    // The answers without a certificate, with one of the CA, and with one of another; `ssl-client-verify` where it is 200.
    let unknown = "FAILED:unable to get local issuer certificate";
    let cases: [Case; 8] = [
        (&[("verify-client", "on")], ["400", "SUCCESS", "400"]),
        (&[("verify-client", "optional")], ["NONE", "SUCCESS", "400"]),
        (&[("verify-client", "optional_no_ca")], ["NONE", "SUCCESS", unknown]),
        (&[("verify-client", "off")], ["", "", ""]),
        (&[("match-cn", "CN=(one|two)")], ["400", "SUCCESS", "400"]),
        (&[("match-cn", "CN=two")], ["400", "403", "400"]),
        (&[("match-cn", "CN=("), ("verify-client", "optional")], ["503", "503", "503"]),
        (&[("error-page", "https://help.example.com/why")], ["302", "SUCCESS", "302"]),
    ];
    for (annotations, expected) in cases {
        setup.manifests.put(&guarded(annotations));
        let shown = [None, Some(&setup.clients), Some(&strangers)];
        for (shown, expected) in shown.into_iter().zip(expected) {
            let client = setup.client(shown);
            eventually(&format!("{annotations:?}: {expected}"), || async {
                let reply = ask(&proxy, &client, "/").await;
                let seen = match reply.status {
                    200 => told(&reply, "ssl-client-verify").concat(),
                    302 if reply.header("location") != Some("https://help.example.com/why") => return None,
                    status => status.to_string(),
                };
                (seen == expected).then_some(())
            })
            .await;
        }
    }
    setup.manifests.put(&guarded(&[("pass-certificate-to-upstream", "true")]));
    let one = setup.client(Some(&setup.clients));
    let passed = eventually("the certificate is told", || async {
        told(&ask(&proxy, &one, "/").await, "ssl-client-cert").pop()
    })
    .await;
    assert!(passed.starts_with("-----BEGIN%20CERTIFICATE-----%0A"), "{passed}");
}

#[tokio::test]
async fn one_object_speaks_for_the_host_and_who_asks_for_something_else_serves_nobody() {
    let setup = Setup::new(&guarded(&[]));
    let put = |path: &str, annotations: &[(&str, &str)]| {
        let mut object = annotated(web(HOST, path), annotations);
        object["metadata"]["creationTimestamp"] = json!("2026-02-01T00:00:00Z");
        setup.manifests.put(&object);
    };
    put("/plain", &[]);
    put("/same", &[("nearside.dev/auth-tls-secret", "shop/clients")]);
    put("/other", &[("nearside.dev/auth-tls-secret", "others")]);
    let proxy = Proxy::start(&setup.manifests, &[]);
    let (nobody, one) = (setup.client(None), setup.client(Some(&setup.clients)));
    for (path, without, with) in [("/", 400, 200), ("/plain", 400, 200), ("/same", 400, 200), ("/other", 400, 503)] {
        assert_eq!(ask(&proxy, &nobody, path).await.status, without, "{path}");
        let reply = ask(&proxy, &one, path).await;
        assert_eq!((reply.status, reply.pod().is_some()), (with, with == 200), "{path}");
    }
    let (_, page) = proxy.page("/routes").await;
    assert!(page.contains("asks clients for something else"), "{page}");
}

#[tokio::test]
async fn a_route_asks_as_an_ingress_does_and_a_demand_of_the_router_holds_besides() {
    let setup = Setup::new(&web("third.example.com", "/"));
    let routers = Clients::new("routers");
    let identity = setup.ca.identity(&[HOST]).unwrap();
    let tls = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key });
    setup
        .manifests
        .put(&annotated(route("web", HOST, json!({ "tls": tls })), &[("nearside.dev/auth-tls-secret", "clients")]));
    let files = tempfile::tempdir().unwrap();
    let ca = files.path().join("ca.crt");
    std::fs::write(&ca, &routers.pem).unwrap();
    let ca = format!("--client-tls-ca={}", ca.display());
    let one = setup.client(Some(&setup.clients));
    for (demand, own, open) in [("none", Some(200), Some(200)), ("optional", Some(200), None), ("required", None, None)]
    {
        let proxy = Proxy::start(&setup.manifests, &[&ca, &format!("--client-tls={demand}")]);
        assert_eq!(status(&proxy, &one, HOST).await, own, "{demand}");
        assert_eq!(status(&proxy, &one, OPEN).await, open, "{demand}: a host that asks for nothing itself");
        let of_router = client(&setup.ca, &version::TLS13, Some(routers.client("one", 1)));
        assert_eq!(status(&proxy, &of_router, HOST).await, Some(400), "{demand}: its own CA vouches for nobody else");
    }
}

/// The status; `None` where the proxy refused the connection.
async fn status(proxy: &Proxy, client: &Arc<ClientConfig>, host: &str) -> Option<u16> {
    use tokio::io::AsyncWriteExt;
    let stream = TcpStream::connect(proxy.https).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connected = TlsConnector::from(Arc::clone(client)).connect(name, stream);
    let mut stream = tokio::time::timeout(PATIENCE, connected).await.unwrap().ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    // A client of TLS 1.3 learns only now that its certificate was refused.
    drop(stream.write_all(request.as_bytes()).await);
    let answer = super::support::client::read_to_end(&mut stream).await;
    answer.split(' ').nth(1)?.parse().ok()
}
