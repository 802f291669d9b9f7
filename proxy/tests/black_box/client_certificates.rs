//! Certificates that clients show: who is let in, what the pod is told, and that a resumed session changes neither.

use super::support::client::read_to_end;
use super::support::manifests::{pod, route, service};
use super::support::pods::echo_pod_with;
use super::support::tls_clients::{Clients, VERSIONS, client};
use super::support::{Manifests, PATIENCE, Proxy, echo_pod, eventually};
use nearside_loadtest::certificates::TestCa;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, version};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const HOST: &str = "web.example.com";

/// GET on a connection of its own: the kind of handshake, status and body. `None` where the proxy refused the client.
async fn ask(proxy: &Proxy, client: &Arc<ClientConfig>, host: &str) -> Option<(HandshakeKind, u16, String)> {
    let stream = TcpStream::connect(proxy.https).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connected = TlsConnector::from(Arc::clone(client)).connect(name, stream);
    let mut stream = tokio::time::timeout(PATIENCE, connected).await.unwrap().ok()?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nX-SSL-Client-CN: root\r\nX-SSL-Own: mine\r\nConnection: close\r\n\r\n"
    );
    // A client of TLS 1.3 learns only now that its certificate was refused.
    drop(stream.write_all(request.as_bytes()).await);
    let answer = read_to_end(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some((stream.get_ref().1.handshake_kind().unwrap(), status, body.to_owned()))
}

async fn status(proxy: &Proxy, client: &Arc<ClientConfig>, host: &str) -> Option<u16> {
    ask(proxy, client, host).await.map(|(_, status, _)| status)
}

struct Setup {
    ca: TestCa,
    files: tempfile::TempDir,
    manifests: Manifests,
    _pods: (nearside_loadtest::pods::PodServer, nearside_loadtest::pods::PodServer),
}

impl Setup {
    fn new() -> Self {
        let ca = TestCa::new("tenant").unwrap();
        let identity = ca.identity(&[HOST]).unwrap();
        let closed = ca.identity(&["closed.example.com"]).unwrap().server().unwrap();
        let (web, address) = echo_pod("web-1");
        let (closed, closed_address) = echo_pod_with("closed-1", Some(closed));
        let tls = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key,
                          "insecureEdgeTerminationPolicy": "Allow" });
        let value = json!({ "value": "%{+Q}[ssl_c_der,base64]" });
        let der = json!({ "name": "X-Action-DER", "action": { "type": "Set", "set": value } });
        let manifests = Manifests::with(&[
            route("web", HOST, json!({ "tls": tls, "httpHeaders": { "actions": { "request": [der] } } })),
            service("web"),
            pod("web", "web-1", address),
            route("closed", "closed.example.com", json!({ "tls": { "termination": "passthrough" } })),
            service("closed"),
            pod("closed", "closed-1", closed_address),
        ]);
        Self { ca, files: tempfile::tempdir().unwrap(), manifests, _pods: (web, closed) }
    }

    fn write(&self, name: &str, content: &str) -> String {
        // As a volume of Kubernetes does: never half a file.
        let (path, written) = (self.files.path().join(name), self.files.path().join("new"));
        std::fs::write(&written, content).unwrap();
        std::fs::rename(written, &path).unwrap();
        Path::new(&path).display().to_string()
    }

    fn start(&self, clients: &Clients, flags: &[&str]) -> Proxy {
        let ca = format!("--client-tls-ca={}", self.write("ca.crt", &clients.pem));
        Proxy::start(&self.manifests, &[&[ca.as_str()], flags].concat())
    }
}

#[tokio::test]
async fn clients_show_a_certificate_of_the_ca_where_they_may_and_where_they_must() {
    let setup = Setup::new();
    let (clients, strangers) = (Clients::new("clients"), Clients::new("strangers"));
    // The demand, then the answers without a certificate, with one of the CA, and with one of another.
    let cases = [
        ("none", [Some(200), Some(200), Some(200)]),
        ("optional", [Some(200), Some(200), None]),
        ("required", [None, Some(200), None]),
    ];
    for (demand, expected) in cases {
        let proxy = setup.start(&clients, &[&format!("--client-tls={demand}")]);
        for version in VERSIONS {
            let shown = [None, Some(clients.client("one", 1)), Some(strangers.client("one", 1))];
            for (shown, expected) in shown.into_iter().zip(expected) {
                let case = format!("{demand} {version:?} {}", shown.is_some());
                let client = client(&setup.ca, version, shown);
                assert_eq!(status(&proxy, &client, HOST).await, expected, "{case}");
                assert_eq!(status(&proxy, &client, "closed.example.com").await, Some(200), "passthrough: {case}");
            }
        }
        assert_eq!(super::support::get(proxy.http, HOST, "/").await.status, 200, "plain HTTP has no certificates");
    }
}

#[tokio::test]
async fn the_pod_is_told_what_was_verified_and_nothing_that_a_client_made_up() {
    let setup = Setup::new();
    let clients = Clients::new("clients");
    let told = async |proxy: &Proxy, shown: bool| -> Value {
        let shown = shown.then(|| clients.client("one", 0xab));
        let (_, status, body) = ask(proxy, &client(&setup.ca, &version::TLS13, shown), HOST).await.unwrap();
        assert_eq!(status, 200);
        serde_json::from_str::<Value>(&body).unwrap()["headers"].clone()
    };
    let proxy = setup.start(&clients, &["--client-tls=optional"]);
    let headers = told(&proxy, true).await;
    for (name, value) in [
        ("x-ssl", "1"),
        ("x-ssl-client-verify", "0"),
        ("x-ssl-client-dn", "\"/C=DE/CN=one\""),
        ("x-ssl-client-cn", "\"one\""),
        ("x-ssl-issuer", "\"/CN=clients\""),
        ("x-ssl-client-serial", "\"AB\""),
        ("x-ssl-client-version", "\"3\""),
    ] {
        assert!(headers[name][0].as_str().unwrap().ends_with(value), "{name}: {headers}");
    }
    for name in ["x-ssl-client-sha1", "x-ssl-client-der", "x-ssl-client-notbefore", "x-ssl-client-notafter"] {
        assert!(headers[name][0].as_str().unwrap().len() > 10, "{name}: {headers}");
    }
    assert!(headers["x-ssl-own"].is_null(), "{headers}");
    let of_action = headers["x-action-der"][0].as_str().unwrap().trim_matches('"');
    assert_eq!(of_action, headers["x-ssl-client-der"][0].as_str().unwrap().trim_matches('"'), "ssl_c_der of the Route");
    let headers = told(&proxy, false).await;
    assert_eq!(headers["x-action-der"][0], json!("\"\""), "no certificate, no bytes");
    assert_eq!((&headers["x-ssl"][0], &headers["x-ssl-client-cn"][0]), (&json!("1"), &json!("\"\"")));

    let proxy = setup.start(&clients, &[]);
    let headers = told(&proxy, true).await;
    assert!(headers["x-ssl"].is_null() && headers["x-ssl-client-cn"].is_null(), "not asked for: {headers}");
    let proxy = setup.start(&clients, &["--client-tls-header-filter=false"]);
    let headers = told(&proxy, false).await;
    assert_eq!((&headers["x-ssl-client-cn"], &headers["x-ssl-own"]), (&json!(["root"]), &json!(["mine"])));
}

#[tokio::test]
async fn a_subject_that_the_filter_does_not_find_is_forbidden() {
    let setup = Setup::new();
    let clients = Clients::new("clients");
    for (filter, one, nobody) in
        [("/CN=on", 200, 403), ("^/C=DE/CN=one$", 200, 403), ("^/CN=one", 403, 403), ("", 200, 200)]
    {
        let proxy = setup.start(&clients, &["--client-tls=optional", &format!("--client-tls-filter={filter}")]);
        let shown = client(&setup.ca, &version::TLS13, Some(clients.client("one", 1)));
        assert_eq!(status(&proxy, &shown, HOST).await, Some(one), "{filter}");
        assert_eq!(status(&proxy, &client(&setup.ca, &version::TLS13, None), HOST).await, Some(nobody), "{filter}");
        assert_eq!(super::support::get(proxy.http, HOST, "/").await.status, 200, "plain HTTP is not filtered");
    }
}

#[tokio::test]
async fn a_resumed_session_is_verified_again_and_ends_with_its_authority() {
    let setup = Setup::new();
    let clients = Clients::new("clients");
    let lists = setup.write("crl.pem", &clients.revoking(&[]));
    let proxy = setup.start(&clients, &["--client-tls=required", &format!("--client-tls-crl={lists}")]);
    let two = VERSIONS.map(|version| client(&setup.ca, version, Some(clients.client("one", 7))));
    let other = client(&setup.ca, &version::TLS13, Some(clients.client("two", 8)));
    for client in &two {
        assert_eq!(ask(&proxy, client, HOST).await.unwrap().0, HandshakeKind::Full);
        let (kind, status, body) = ask(&proxy, client, HOST).await.unwrap();
        assert_eq!((kind, status), (HandshakeKind::Resumed, 200), "a session is resumed");
        assert!(body.contains("/C=DE/CN=one"), "with its certificate: {body}");
    }
    setup.write("crl.pem", &clients.revoking(&[7]));
    for client in &two {
        eventually("a revoked client is refused", || async { ask(&proxy, client, HOST).await.is_none().then_some(()) })
            .await;
    }
    assert_eq!(status(&proxy, &other, HOST).await, Some(200), "others are not");
    // A list that cannot be read changes nothing.
    setup.write("crl.pem", "text");
    eventually("the file is told", || async { proxy.log().contains("its last good content holds").then_some(()) })
        .await;
    assert_eq!(status(&proxy, &two[0], HOST).await, None);
    assert_eq!(status(&proxy, &other, HOST).await, Some(200));
}

#[tokio::test]
async fn another_ca_is_followed() {
    let setup = Setup::new();
    let (before, after) = (Clients::new("before"), Clients::new("after"));
    let proxy = setup.start(&before, &["--client-tls=required"]);
    let [old, new] = [&before, &after].map(|ca| client(&setup.ca, &version::TLS13, Some(ca.client("one", 1))));
    assert_eq!((status(&proxy, &old, HOST).await, status(&proxy, &new, HOST).await), (Some(200), None));
    setup.write("ca.crt", &after.pem);
    eventually("the other CA holds", || async { status(&proxy, &new, HOST).await }).await;
    assert_eq!(status(&proxy, &old, HOST).await, None, "a session of before is no way in");
}
